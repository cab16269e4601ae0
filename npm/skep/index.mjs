import skep from './index.cjs'

export const { LimitError, atomic, channel, counter, leaderboard, limiter, locks, map, once, pool, queue, schedule,
  worker } = skep
export default skep
