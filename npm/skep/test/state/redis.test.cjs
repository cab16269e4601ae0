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
