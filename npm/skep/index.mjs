import skep from './index.cjs'

export const { LimitError, atomic, channel, counter, leaderboard, limiter, locks, map, once, queue, worker } = skep
export default skep
