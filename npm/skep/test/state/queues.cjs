'use strict'
// What every queue must do, wherever its jobs are.

const assert = require('node:assert/strict')
const { test } = require('node:test')

/** Longer than two flushes of a busy disk. */
const DELAY_MS = 500

const tick = () => new Promise(resolve => setImmediate(resolve))

/** A promise and its hands. */
function deferred () {
  let resolve, reject
  const promise = new Promise((_resolve, _reject) => { [resolve, reject] = [_resolve, _reject] })
  return { promise, resolve, reject }
}

function queues (mode, queue, fresh) {
  test(`${mode}a queue gives each job once, by priority, and takes what is pushed later`, async () => {
    const jobs = queue(fresh())
    for (const [data, priority] of [['low', 0], ['high', 9], ['low too', 0]]) await jobs.push(data, { priority })
    const [seen, done] = [[], deferred()]
    const consumer = jobs.process(async job => {
      if (seen.push(job.data) === 4) done.resolve()
    })
    while (seen.length < 3) await tick()
    await jobs.push('later')
    await done.promise
    await consumer.stop()
    assert.deepEqual(seen, ['high', 'low', 'low too', 'later'])
    assert.deepEqual(await jobs.counts(), { ready: 0, delayed: 0, active: 0, dead: 0 })
  })

  test(`${mode}a job that fails is tried again, then lies among the dead, and can be revived`, async () => {
    const jobs = queue(fresh(), { retries: 2, backoff: { type: 'fixed', delay: 1 } })
    const attempts = []
    let ok = false
    const succeeded = deferred()
    const consumer = jobs.process(async job => {
      attempts.push(job.attempt)
      if (!ok) throw new Error('no luck')
      succeeded.resolve()
    })
    await jobs.push({ to: 'ann' })
    while ((await jobs.counts()).dead === 0) await tick()
    assert.deepEqual(attempts, [1, 2, 3])
    const [dead] = await jobs.dead()
    assert.deepEqual(dead.data, { to: 'ann' })
    assert.match(dead.error, /no luck/)
    ok = true
    assert.equal(await jobs.revive(), 1)
    await succeeded.promise
    await consumer.stop()
  })

  test(`${mode}a delayed job waits for its time`, async () => {
    const jobs = queue(fresh())
    const begin = Date.now()
    const got = deferred()
    const consumer = jobs.process(async () => got.resolve(Date.now()))
    await jobs.push('x', { delay: DELAY_MS })
    assert.equal((await jobs.counts()).delayed, 1)
    assert.ok(await got.promise >= begin + DELAY_MS)
    await consumer.stop()
  })
}

module.exports = { deferred, queues, tick }
