'use strict'
// Threads of a worker are somebody of their own; what they hold comes back with their process.

const assert = require('node:assert/strict')
const { once } = require('node:events')
const path = require('node:path')
const { test } = require('node:test')

const { Cluster, ask } = require('./cluster.cjs')

test('threads count, lock and speak with each other and with the main thread', async t => {
  const all = new Cluster()
  t.after(() => all.close())
  const worker = await all.start(path.join(__dirname, 'threads.cjs'))
  assert.deepEqual(await ask(worker, 'run'), { counted: 4000, most: 1, heard: 4 })
})

test('what a killed process held goes on to the next, its threads\' too', async t => {
  const all = new Cluster()
  t.after(() => all.close())
  const [one, two] = await Promise.all([1, 2].map(() => all.start(path.join(__dirname, 'threads.cjs'))))
  assert.equal(await ask(one, 'hold'), 'held')
  const answer = ask(two, 'take')
  while (all.supervisor.locks().flatMap(lock => lock.pending).length < 2) await new Promise(resolve => setImmediate(resolve))
  one.kill('SIGKILL')
  await once(one, 'exit')
  assert.equal(await answer, 'taken')
})
