'use strict'
// A process in conversation with another looks for the next message by itself, and sleeps again when none comes.

const assert = require('node:assert/strict')
const { fork } = require('node:child_process')
const { once } = require('node:events')
const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')
const { test } = require('node:test')

const { Supervisor } = require('../../supervisor.cjs')
const { Hub } = require('../../lib/hub.cjs')

const LONG = { timeout: 120_000 }
const turn = () => new Promise(resolve => setImmediate(resolve))

/** A client whose messages come when the test says so. */
class Scripted {
  awake = 0
  waiting = []
  /** Whether a message would be seen by who looks. */
  flag = false
  wakeFd () { return fs.openSync('/dev/null', 'r') }
  signalled () { return this.flag }
  calledWithin () { return this.flag }
  stayAwake () { this.awake++ }
  fallAsleep () { this.awake--; return this.flag }
  poll () {
    this.flag = false
    return [false, ...this.waiting.splice(0)]
  }

  send (own = 0) {
    this.waiting.push(['message', 'talk', 1, 'hello', own])
    this.flag = true
  }
}

const alone = os.availableParallelism?.() === 1

test('who hears one message soon after another stays awake, sleeps when none comes, and misses none', LONG, async () => {
  const client = new Scripted()
  const hub = new Hub(client)
  let heard = 0
  hub.onmessage = () => heard++
  let sent = 0
  const send = async () => {
    client.send()
    sent++
    hub.kick()
    while (heard < sent) await turn()
  }
  // A busy machine may keep us from sending them soon after one another.
  while (!alone && client.awake === 0) await send()
  for (let i = 0; i < 20; i++) {
    client.send()
    sent++
    // While it is awake nobody kicks: it looks by itself.
    if (client.awake === 0) hub.kick()
    while (heard < sent) await turn()
  }
  while (client.awake > 0) await turn()
  await send()
  assert.equal(heard, sent)
})

test('own messages keep nobody awake', LONG, async () => {
  const client = new Scripted()
  const hub = new Hub(client)
  let heard = 0
  hub.onmessage = () => heard++
  for (let sent = 1; sent <= 100; sent++) {
    client.send(1)
    hub.kick()
    while (heard < sent) await turn()
  }
  assert.equal(client.awake, 0)
})

test('two workers in conversation lose nothing, whether they are awake or asleep', LONG, async t => {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'skep-talk-'))
  const supervisor = new Supervisor(path.join(dir, 'store'))
  const workers = [1, 2].map(id => fork(path.join(__dirname, 'talk.cjs'), { env: { ...process.env, ...supervisor.env(id) } }))
  t.after(() => {
    for (const worker of workers) worker.kill('SIGKILL')
    supervisor.close()
    fs.rmSync(dir, { recursive: true, force: true })
  })
  await Promise.all(workers.map(worker => once(worker, 'message')))
  for (const messages of [1, 5000, 1, 1, 300]) {
    workers[0].send(messages)
    assert.deepEqual(await once(workers[0], 'message').then(([last]) => last), messages)
  }
})
