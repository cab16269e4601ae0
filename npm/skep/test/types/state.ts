// Every export of `skep`, as a TypeScript program uses it. Compiled strictly by types.test.cjs, never run.
import * as skep from 'skep'
import {
  atomic, channel, counter, leaderboard, limiter, LimitError, locks, map, once, pool, queue, schedule, worker,
} from 'skep'
import type {
  Atomic, Channel, Counter, Duration, Job, Key, Leaderboard, Limiter, Lock, LockInfo, LockOptions, OnceOptions, Place, Pool,
  PoolOptions, ProcessOptions, PushOptions, Queue, QueueOptions, RetryOptions, Run, ScheduleOptions, Scheduled, SetOptions, SharedMap,
  Verdict,
} from 'skep'

interface User { name: string, visits: number }

const ttl: Duration = '30m'
const key: Key = new Uint8Array([1])

export async function state (): Promise<number> {
  const visits: Counter = counter('visits')
  const sum: number = visits.add() + visits.add(2) + visits.set(0) + visits.value + await visits.get()
  const options: SetOptions = { ttl, ifMissing: true }
  const users: SharedMap<User> = map<User>('users', { ttl: 1000 })
  const isNew: boolean = await users.set('a', { name: 'Ann', visits: sum }, options)
  const user: User | undefined = await users.get(key)
  await users.update('a', (old) => old && { ...old, visits: old.visits + 1 }, { ttl: '1h' })
  const { value, version } = await users.getVersioned('a')
  for await (const [name, each] of users) console.log(name, each.visits)
  for await (const name of users.keys()) console.log(name.length)
  for await (const each of users.values()) console.log(each.name)
  await users.touch('a', { ttl })
  const left: number | undefined = await users.ttl('a')
  const now: User | undefined = users.getSync('a')
  users.setSync('b', { name: 'Bob', visits: 0 })
  users.deleteSync('b')
  if (await users.has('a')) await users.delete('a')
  await users.clear()
  console.log(isNew, user?.name, value?.name, left, now, await users.size())
  const all: Atomic = atomic()
  const done: boolean = await all.check(users, 'a', version).set(users, 'a', { name: 'Ann', visits: 1 }).delete(users, 'b').commit()
  return done ? 1 : 0
}

export async function waiting (signal: AbortSignal): Promise<string> {
  const options: OnceOptions<string> = { ttl: (value) => value.length, refreshBefore: 100, staleIfError: true, timeout: '5s' }
  const token: string = await once('token', async ({ signal }) => signal.aborted ? '' : 'token', options)
  await once.forget('token')
  const shared: LockOptions = { mode: 'shared', signal, ttl: '1m', steal: false }
  const number: number = await locks.request('a', shared, (lock: Lock) => lock.token)
  const maybe: string = await locks.request('a', { ifAvailable: true }, (lock) => lock === null ? 'held' : lock.name)
  const { held, pending } = await locks.query()
  const who: LockInfo[] = [...held, ...pending]
  const news: Channel<{ at: number }> = channel<{ at: number }>('news')
  news.onmessage = (event) => console.log(event.data.at)
  news.postMessage({ at: number })
  news.unref().ref().close()
  return token + maybe + who.length
}

export async function work (): Promise<void> {
  const retry: RetryOptions = { retries: 5, backoff: { type: 'fixed', delay: '1s' } }
  const mails: Queue<{ to: string }> = queue<{ to: string }>('mails', retry)
  const lasting: QueueOptions = { ...retry, durable: true }
  const orders: Queue<number> = queue<number>('orders', lasting)
  await orders.push(1)
  const push: PushOptions = { delay: '1m', priority: 9 }
  const how: ProcessOptions = { concurrency: 4, visibility: 1000, onerror: (error, id) => console.error(error, id) }
  const id: string = await mails.push({ to: 'a' }, push)
  const working = mails.process(async (job: Job<{ to: string }>) => job.signal.aborted ? job.id : job.data.to, how)
  await atomic().push(mails, { to: 'b' }).commit()
  const { ready, dead } = await mails.counts()
  console.log(id, ready, dead, (await mails.dead(1))[0]?.data.to, await mails.revive())
  await working.stop()
  const board: Leaderboard = leaderboard('points')
  await board.add('ann', 3)
  const places: Place[] = [...await board.top(), ...await board.range(1, 2), ...await board.around('ann')]
  const rank: number | undefined = await board.rank('ann') ?? await board.score('ann')
  const logins: Limiter = limiter('logins', { points: 5, per: '1m', block: '10m' })
  const verdict: Verdict = await logins.tryConsume('ann')
  try {
    await logins.consume('ann', 2)
  } catch (error) {
    if (error instanceof LimitError && error.code === 'ERR_SKEP_LIMIT') console.log(error.resetMs, error.remaining)
  }
  console.log(places[0]?.member, rank, verdict.allowed, (await logins.refund('ann')).used, await logins.reset('ann'))
}

const nightly: ScheduleOptions = { timezone: 'Europe/Berlin', overlap: 'queue', missed: 'all', missedLimit: 2, onLost: 'rerun' }
const job: Scheduled = schedule('report', '0 3 * * *', (run: Run) => run.scheduledAt.getTime() + run.token, nightly)
schedule('declared', async (run) => run.attempt)
schedule('often', { every: '5m' }, () => undefined, { shared: true, onUnreachable: 'run', keep: 1 })
job.ready.then(() => job.stop())

const limits: PoolOptions = { workers: 2, timeout: '10s' }
const heavy: Pool = pool(new URL('file:///srv/heavy.js'), limits)
heavy.run<number>({ n: 40 }, { name: 'fibonacci' }).then((n) => n.toFixed())
console.log(heavy.size.idle)
heavy.close()
worker.onLeader((token) => console.log(token.toFixed(), worker.id, worker.isLeader))
console.log(skep.counter === counter)
