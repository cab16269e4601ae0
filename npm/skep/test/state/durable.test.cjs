'use strict'
// Durable queues of programs alone: where they are, what a SIGKILL leaves, and what is refused.

const assert = require('node:assert/strict')
const { fork } = require('node:child_process')
const { once } = require('node:events')
const fs = require('node:fs')
const path = require('node:path')
const { test } = require('node:test')

const { connect } = require('../../lib/durable.cjs')
const { onSmallDisk } = require('./small-disk.cjs')

const WORKER = path.join(__dirname, 'durable-worker.cjs')

function folder (t) {
  const dir = fs.mkdtempSync('/tmp/skep-queues-')
  t.after(() => fs.rmSync(dir, { recursive: true, force: true }))
  return dir
}

/** Starts a program in `cwd`; its first message. */
async function run (t, cwd, ...args) {
  const env = { ...process.env }
  for (const name of ['SKEP_STATE', 'SKEP_QUEUES', 'SKEP_WORKER_ID', 'SKEP_REDIS']) delete env[name]
  const child = fork(WORKER, args, { cwd, env })
  t.after(() => child.kill('SIGKILL'))
  const [message] = await Promise.race([once(child, 'message'), once(child, 'exit').then(() => [undefined])])
  assert.ok(message, 'it ended before it said anything')
  return { child, message }
}

async function kill (child) {
  child.kill('SIGKILL')
  await once(child, 'exit')
}

test('what a killed program had pushed and not settled comes again, what it had settled does not', async t => {
  const cwd = folder(t)
  const pusher = await run(t, cwd, 'push', '10')
  assert.equal(new Set(pusher.message.ids).size, 10)
  await kill(pusher.child)
  const worker = await run(t, cwd, 'work', '4')
  await kill(worker.child)
  const { message: { seen } } = await run(t, cwd, 'drain')
  assert.deepEqual(seen.map(([data]) => data).sort(), [4, 5, 6, 7, 8, 9])
  assert.ok(seen.every(([, attempt]) => attempt === 2), JSON.stringify(seen))
})

test('a program alone has its durable queues in its folder, which no repository takes', async t => {
  const cwd = folder(t)
  await run(t, cwd, 'push', '1')
  const dir = path.join(cwd, '.skep', 'queues')
  assert.equal(fs.statSync(dir).mode & 0o777, 0o700)
  assert.equal(fs.statSync(path.join(dir, 'data.mdb')).mode & 0o777, 0o600)
  assert.equal(fs.readFileSync(path.join(cwd, '.skep', '.gitignore'), 'utf8'), '*\n')
})

test('a folder that others may enter, a file that is none of ours, and no folder at all are refused', t => {
  const open = fs.mkdtempSync(path.join(folder(t), 'open-'))
  fs.chmodSync(open, 0o755)
  assert.throws(() => connect({ SKEP_QUEUES: open }), { code: 'ERR_SKEP_NOT_OURS', message: /chmod/ })
  const foreign = folder(t)
  fs.writeFileSync(path.join(foreign, 'data.mdb'), 'x'.repeat(1 << 20), { mode: 0o600 })
  assert.throws(() => connect({ SKEP_QUEUES: foreign }), { code: 'ERR_SKEP_CORRUPT', message: /restore a backup/ })
  assert.throws(() => connect({ SKEP_QUEUES: '/dev/null/queues' }), { code: 'ERR_SKEP_IO' })
  assert.throws(() => connect({ SKEP_STATE: '/dev/shm/x' }), { code: 'ERR_SKEP_STATE', message: /SKEP_QUEUES/ })
  assert.throws(() => connect({ SKEP_STATE_REFUSED: 'no room' }), { code: 'ERR_SKEP_STATE', message: /no room/ })
})

test('a full disk is an error that loses nothing, and jobs can still be settled', () => {
  const ended = onSmallDisk(`
    process.env.SKEP_QUEUES = '/mnt/queues'
    const { queue } = require(${JSON.stringify(require.resolve('../../index.cjs'))})
    const jobs = queue('jobs', { durable: true })
    const fill = async () => {
      for (let pushed = 0; ; pushed++) {
        try { await jobs.push('x'.repeat(50_000)) } catch (error) { return [pushed, error.code, error.message] }
      }
    }
    ;(async () => {
      const [pushed, code, message] = await fill()
      const { ready } = await jobs.counts()
      let worked = 0
      await new Promise(resolve => {
        const consumer = jobs.process(() => { if (++worked === ready) consumer.stop().then(resolve) }, { concurrency: 8 })
      })
      const after = await jobs.counts()
      await jobs.push('there is room again')
      console.log(JSON.stringify({ pushed, code, message, ready, worked, after }))
      process.exit()
    })()`)
  const { stdout, stderr, signal } = ended
  assert.equal(signal, null, stderr)
  assert.notEqual(stdout, '', stderr)
  const said = JSON.parse(stdout)
  assert.equal(said.code, 'ERR_SKEP_NO_SPACE', said.message)
  assert.match(said.message, /\/mnt\/queues/)
  assert.ok(said.pushed > 20 && said.ready === said.pushed && said.worked === said.ready, stdout)
  assert.deepEqual(said.after, { ready: 0, delayed: 0, active: 0, dead: 0 })
})
