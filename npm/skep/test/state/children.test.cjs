'use strict'
// Programs that a worker starts inherit its number; they must not be taken for it.

const assert = require('node:assert/strict')
const path = require('node:path')
const { test } = require('node:test')

const { Cluster, ask } = require('./cluster.cjs')

const file = path.join(__dirname, 'children.cjs')

test('a program that a worker starts is somebody of its own, and what it held comes back', async t => {
  const all = new Cluster()
  t.after(() => all.close())
  const worker = await all.start(file, { env: { FIRST: '1' } })
  assert.equal(await ask(worker, 'owner'), '1.1')
  assert.notEqual(await ask(worker, 'child'), '1.1')
  assert.equal(await ask(worker, 'childHolds'), 'held')
  assert.equal(await ask(worker, 'killChild'), 'killed')
  // The next that attaches or ends finds it dead.
  const other = await all.start(file, { env: { FIRST: '1' } })
  assert.equal(await ask(other, 'take'), 'taken')
})

test('a program that is started again under the same number takes the place of the dead one', async t => {
  const all = new Cluster()
  t.after(() => all.close())
  // As under `npm run dev`: the worker itself does not use the state.
  const worker = await all.start(file, { env: { FIRST: '1' } })
  assert.equal(await ask(worker, 'child'), '1.1')
  assert.equal(await ask(worker, 'childHolds'), 'held')
  assert.equal(await ask(worker, 'killChild'), 'killed')
  assert.equal(await ask(worker, 'child'), '1.1')
  assert.equal(await ask(worker, 'childHolds'), 'held')
})

test('a worker that skep could not give a state is told why', async () => {
  const { connect } = require('../../lib/hub.cjs')
  assert.throws(() => connect({ SKEP_STATE_REFUSED: 'no room' }), { code: 'ERR_SKEP_STATE', message: /no room/ })
})
