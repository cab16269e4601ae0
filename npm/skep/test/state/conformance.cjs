'use strict'
// What every backend must do: the same sentences for the store in shared memory and for one process alone.

const assert = require('node:assert/strict')
const { test } = require('node:test')

const { deferred, queues, tick } = require('./queues.cjs')

module.exports = (skep, { remote = false } = {}) => {
  const { LimitError, atomic, channel, counter, leaderboard, limiter, locks, map, once, queue } = skep
  let names = 0
  const fresh = () => `name-${++names}`

  test('a counter adds, subtracts, and keeps to safe integers', async () => {
    const times = counter(fresh())
    assert.equal(times.add(), 1)
    assert.equal(times.add(41), 42)
    assert.equal(times.add(-2), 40)
    assert.equal(times.value, 40)
    assert.equal(await times.get(), 40)
    assert.equal(times.set(Number.MAX_SAFE_INTEGER), 40)
    assert.throws(() => times.add(1), RangeError)
    assert.equal(times.value, Number.MAX_SAFE_INTEGER)
    assert.throws(() => times.add(0.5), RangeError)
  })

  test('a map keeps what JSON can say, and what it cannot', async () => {
    const values = map(fresh())
    const all = {
      text: 'ü€', number: -1.5, nothing: null, yes: true, list: [1, [2]], object: { a: { b: 1 } }, empty: '',
      date: new Date(0), map: new Map([[1, { a: 2 }]]), set: new Set([1]), big: 2n ** 70n, nan: NaN, zero: -0,
      bytes: Buffer.from([0, 255]), long: 'ü'.repeat(100_000), broken: '\ud800'.repeat(300), deep: { when: new Date(1) }
    }
    for (const [key, value] of Object.entries(all)) {
      assert.equal(await values.set(key, value), true)
      assert.deepEqual(await values.get(key), value, key)
    }
    assert.equal(await values.get('missing'), undefined)
    assert.equal(await values.has('text'), true)
    assert.equal(await values.delete('text'), true)
    assert.equal(await values.delete('text'), false)
    assert.equal(await values.has('text'), false)
    if (remote) {
      assert.throws(() => values.setSync('now', 1), { code: 'ERR_SKEP_SYNC' })
    } else {
      values.setSync('now', 1)
      assert.equal(values.getSync('now'), 1)
      assert.equal(values.deleteSync('now'), true)
    }
    await assert.rejects(values.set('f', () => {}))
  })

  test('a map scans its keys in order, in pages, and can be cleared', async () => {
    const values = map(fresh())
    const keys = Array.from({ length: 300 }, (_, i) => `k${String(i).padStart(4, '0')}`)
    for (const key of keys) await values.set(key, key.toUpperCase())
    const seen = []
    for await (const [key, value] of values) {
      assert.equal(value, key.toUpperCase())
      seen.push(key)
    }
    assert.deepEqual(seen, keys)
    assert.equal(await values.size(), 300)
    await values.clear()
    assert.equal(await values.size(), 0)
  })

  test('what has a ttl is gone when it is over, and may be given more time', async () => {
    const values = map(fresh(), { ttl: '1h' })
    await values.set('a', 1)
    const left = await values.ttl('a')
    assert.ok(left > 3_500_000 && left <= 3_600_000, String(left))
    await values.set('b', 1, { ttl: 0 })
    assert.equal(await values.ttl('b'), Infinity)
    assert.equal(await values.ttl('c'), undefined)
    assert.equal(await values.touch('b', { ttl: 60_000 }), true)
    assert.ok(await values.ttl('b') <= 60_000)
    await values.update('b', n => n + 1)
    assert.ok(await values.ttl('b') <= 60_000, 'an update keeps the end')
    await values.set('d', 1, { ttl: 1 })
    while (await values.has('d')) await tick()
    assert.equal(await values.get('d'), undefined)
    assert.throws(() => map('x', { ttl: 'soon' }), /soon.*'30m'/)
  })

  test('set with ifMissing sets only once', async () => {
    const values = map(fresh())
    assert.equal(await values.set('a', 1, { ifMissing: true }), true)
    assert.equal(await values.set('a', 2, { ifMissing: true }), false)
    assert.equal(await values.get('a'), 1)
  })

  test('no update is lost, however they interleave', async () => {
    const values = map(fresh())
    const add = async () => values.update('n', async n => { await tick(); return (n ?? 0) + 1 })
    await Promise.all(Array.from({ length: 20 }, add))
    assert.equal(await values.get('n'), 20)
    assert.equal(await values.update('n', () => undefined), undefined)
    assert.equal(await values.has('n'), false)
  })

  test('a durable queue is no part of atomic', () => {
    const durable = queue(fresh(), { durable: true })
    assert.throws(() => atomic().push(durable, 1), /is durable and cannot be part of atomic/)
  })

  test('atomic does all or nothing', async () => {
    const [values, jobs] = [map(fresh()), queue(fresh())]
    await values.set('a', 1)
    const { version } = await values.getVersioned('a')
    assert.equal(await atomic().check(values, 'a', version).check(values, 'b', 0)
      .set(values, 'b', 2).delete(values, 'a').push(jobs, 'job').commit(), true)
    assert.deepEqual([await values.get('a'), await values.get('b')], [undefined, 2])
    assert.equal((await jobs.counts()).ready, 1)
    assert.equal(await atomic().check(values, 'a', version).set(values, 'b', 3).commit(), false)
    assert.equal(await values.get('b'), 2)
  })

  test('a lock excludes, in the order of arrival, with growing tokens', async () => {
    const name = fresh()
    let inside = 0
    const tokens = []
    await Promise.all(Array.from({ length: 50 }, (_, i) => locks.request(name, async lock => {
      assert.equal(++inside, 1)
      tokens.push([lock.token, i])
      await tick()
      inside--
    })))
    assert.deepEqual(tokens.map(([, i]) => i), Array.from({ length: 50 }, (_, i) => i))
    for (let i = 1; i < 50; i++) assert.ok(tokens[i][0] > tokens[i - 1][0])
    const { held, pending } = await locks.query()
    assert.ok(![...held, ...pending].some(lock => lock.name === name))
  })

  test('a lock can be shared, tried, aborted and stolen', async () => {
    const name = fresh()
    const open = deferred()
    const shared = Promise.allSettled([1, 2].map(() => locks.request(name, { mode: 'shared' }, () => open.promise)))
    while ((await locks.query()).held.filter(lock => lock.name === name).length < 2) await tick()
    assert.equal(await locks.request(name, { ifAvailable: true }, lock => lock), null)
    const controller = new AbortController()
    const waits = locks.request(name, { signal: controller.signal }, () => assert.fail('it was aborted'))
    while ((await locks.query()).pending.every(lock => lock.name !== name)) await tick()
    controller.abort()
    await assert.rejects(waits, { name: 'AbortError' })
    assert.equal((await locks.query()).held.filter(lock => lock.name === name).length, 2)
    const stolen = await locks.request(name, { steal: true }, lock => lock.mode)
    assert.equal(stolen, 'exclusive')
    for (const { reason } of await shared) assert.equal(reason.name, 'AbortError')
    open.resolve()
    assert.equal(await locks.request(name, () => 'free again'), 'free again')
    await assert.rejects(locks.request(name, { mode: 'both' }, () => {}), /'exclusive' or 'shared'/)
    await assert.rejects(locks.request(name, () => { throw new Error('mine') }), /mine/)
  })

  test('once fetches once for all who ask at one time, and again when the ttl is over', async () => {
    const name = fresh()
    let calls = 0
    const fetch = async () => { await tick(); return { token: ++calls } }
    const all = await Promise.all(Array.from({ length: 20 }, () => once(name, fetch, { ttl: 60_000 })))
    assert.ok(all.every(value => value.token === 1))
    assert.deepEqual(await once(name, fetch, { ttl: 60_000 }), { token: 1 })
    assert.equal(await once.forget(name), true)
    assert.deepEqual(await once(name, fetch, { ttl: value => value.token * 60_000 }), { token: 2 })
  })

  test('once without a ttl shares a flight, not its value', async () => {
    const name = fresh()
    let calls = 0
    const fetch = async () => { await tick(); return ++calls }
    assert.deepEqual(await Promise.all([once(name, fetch), once(name, fetch)]), [1, 1])
    assert.equal(await once(name, fetch), 2)
  })

  test('a failed once tells all who wait, keeps nothing, or serves what is stale', async () => {
    const name = fresh()
    const fail = async () => { await tick(); throw new Error('upstream is down') }
    const both = await Promise.allSettled([once(name, fail), once(name, fail)])
    assert.ok(both.every(one => /upstream is down/.test(one.reason.message)))
    assert.equal(await once(name, async () => 'good', { ttl: 1, staleIfError: true }), 'good')
    let value
    do value = await once(name, fail, { ttl: 1, staleIfError: true }); while (await tick())
    assert.equal(value, 'good')
  })

  test('an upstream that never answers is an error, and its signal says so', async () => {
    const aborted = deferred()
    const never = ({ signal }) => new Promise(() => signal.addEventListener('abort', () => aborted.resolve()))
    await assert.rejects(once(fresh(), never, { timeout: 20 }), /no answer within 20 ms/)
    await aborted.promise
  })

  test('a channel reaches every other object of its name, not the sender', async () => {
    const name = fresh()
    const [one, two, other] = [channel(name), channel(name), channel(fresh())]
    const got = deferred()
    one.onmessage = () => assert.fail('the sender hears itself')
    other.onmessage = () => assert.fail('another channel')
    const all = []
    two.addEventListener('message', event => { if (all.push(event.data) === 3) got.resolve() })
    for (const message of [1, { a: [2] }, 'three']) one.postMessage(message)
    await got.promise
    assert.deepEqual(all, [1, { a: [2] }, 'three'])
    for (const each of [one, two, other]) each.close()
    assert.throws(() => one.postMessage(1), { name: 'InvalidStateError' })
  })

  queues('', queue, fresh)
  queues('durable: ', (name, options) => queue(name, { ...options, durable: true }), fresh)

  test('a leaderboard ranks', async () => {
    const board = leaderboard(fresh())
    for (const [member, score] of [['ann', 5], ['bob', 7], ['cat', 5], ['dan', -1.5]]) await board.add(member, score)
    assert.equal(await board.add('ann', 1), 6)
    assert.deepEqual(await board.top(2), [
      { member: 'bob', score: 7, rank: 1 }, { member: 'ann', score: 6, rank: 2 }])
    assert.deepEqual([await board.rank('dan'), await board.rank('eve')], [4, undefined])
    assert.deepEqual((await board.around('cat', 1)).map(one => one.member), ['ann', 'cat', 'dan'])
    assert.equal(await board.score('cat'), 5)
    assert.equal(await board.set('cat', 100), false)
    assert.equal(await board.rank('cat'), 1)
    assert.equal(await board.remove('cat'), true)
    assert.equal(await board.size(), 3)
    await assert.rejects(board.set('x', NaN), { code: 'ERR_SKEP_NOT_A_NUMBER' })
  })

  test('a limiter counts, refuses, and forgets', async () => {
    const login = limiter(fresh(), { points: 2, per: '1m', block: '1h' })
    assert.equal((await login.consume('ip')).remaining, 1)
    assert.equal((await login.check('ip')).used, 1)
    await login.consume('ip')
    const error = await login.consume('ip').catch(error => error)
    assert.ok(error instanceof LimitError && error.resetMs > 60_000, 'it is blocked for longer than its window')
    assert.equal((await login.tryConsume('other')).allowed, true)
    await login.reset('ip')
    assert.equal((await login.consume('ip')).remaining, 1)
  })
}
