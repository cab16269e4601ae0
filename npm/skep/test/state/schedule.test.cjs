'use strict'
// Schedules without skep: this process is the only one.

const assert = require('node:assert')
const { test } = require('node:test')

const { schedule } = require('../../index.cjs')

test('an interval calls the function with its fire time', async () => {
  let job
  const run = await new Promise(resolve => { job = schedule('tick', { every: '1s' }, resolve) })
  job.stop()
  assert.strictEqual(run.job, 'tick')
  assert.strictEqual(run.scheduledAt.getTime() % 1000, 0)
  assert.ok(run.signal instanceof AbortSignal)
})

test('a single date calls once', async () => {
  const at = new Date(Math.ceil(Date.now() / 1000) * 1000 + 1000)
  const run = await new Promise(resolve => schedule('once', { at }, resolve))
  assert.strictEqual(run.scheduledAt.getTime(), at.getTime())
})

test('what makes no sense is refused at once, naming the field', () => {
  assert.throws(() => schedule('x', { every: '10ms' }, () => {}), /every is at least 1s/)
  assert.throws(() => schedule('x', { often: true }, () => {}), /cron pattern/)
  assert.throws(() => schedule('x', '* * * * *', () => {}, { overlaps: 'forbid' }), /there is no option overlaps/)
  assert.throws(() => schedule('', () => {}), /a name is text/)
  assert.throws(() => schedule('x', '* * * * *'), /a function is missing/)
  assert.throws(() => schedule('x', '* * * * *', () => {}), { code: 'ERR_SKEP_SCHEDULE' })
})
