'use strict'
// The state on a real redis-server. Skipped where there is none.

const { spawn, spawnSync } = require('node:child_process')
const { once } = require('node:events')
const fs = require('node:fs')
const net = require('node:net')
const path = require('node:path')
const { after, before, test } = require('node:test')

if (spawnSync('redis-server', ['--version']).error) {
  test('redis', { skip: 'redis-server is not installed' })
} else {
  const dir = fs.mkdtempSync('/tmp/skep-redis-')
  const socket = path.join(dir, 'redis.sock')
  const start = () => spawn('redis-server', ['--port', '0', '--unixsocket', socket, '--save', '', '--appendonly', 'yes',
    '--appendfsync', 'always', '--dir', dir], { stdio: 'ignore' })
  let server = start()
  process.env.SKEP_REDIS = `unix://${socket}`
  before(async () => {
    // ioredis waits for the server by itself; the suite only should not time that.
    for (let up = false; !up;) {
      up = await new Promise(resolve => {
        const probe = net.connect(socket, () => { probe.destroy(); resolve(true) })
        probe.on('error', () => setImmediate(resolve, false))
      })
    }
  })
  after(async () => {
    await require('../../lib/hub.cjs').theHub().client.close()
    server.kill()
    fs.rmSync(dir, { recursive: true })
  })
  require('./conformance.cjs')(require('../../index.cjs'), { remote: true })

  test('a Redis that keeps no append-only file is warned of when a queue should be durable', async t => {
    const assert = require('node:assert/strict')
    const forgetful = path.join(dir, 'forgetful.sock')
    const other = spawn('redis-server', ['--port', '0', '--unixsocket', forgetful, '--save', '', '--dir', dir],
      { stdio: 'ignore' })
    t.after(() => other.kill('SIGKILL'))
    const script = `const { queue } = require(${JSON.stringify(require.resolve('../../index.cjs'))})
      const { theHub } = require(${JSON.stringify(require.resolve('../../lib/hub.cjs'))})
      process.on('warning', warning => console.log(warning.code))
      queue('kept', { durable: true }).push(1)
        .then(() => theHub().client.keeps()).then(kept => { console.log(kept); setImmediate(process.exit) })`
    const told = at => spawnSync(process.execPath, ['-e', script],
      { encoding: 'utf8', env: { ...process.env, SKEP_REDIS: `unix://${at}` } }).stdout.trim().split('\n')
    assert.deepEqual(told(socket), ['true'])
    assert.deepEqual(told(forgetful), ['SKEP_DURABLE', 'false'])
  })

  test('what is asked while the server is away is done when it is back, and what it acknowledged is there', async () => {
    const assert = require('node:assert/strict')
    const { channel, map } = require('../../index.cjs')
    const values = map('durable')
    await values.set('before', 1)
    server.kill('SIGKILL')
    await once(server, 'exit')
    const asked = values.set('meanwhile', 2)
    server = start()
    assert.equal(await asked, true)
    assert.deepEqual([await values.get('before'), await values.get('meanwhile')], [1, 2])
    const [here, there] = [channel('again'), channel('again')]
    const heard = new Promise(resolve => { there.onmessage = event => resolve(event.data) })
    here.postMessage('hello')
    assert.equal(await heard, 'hello')
    here.close()
    there.close()
  })
}
