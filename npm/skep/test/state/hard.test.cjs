'use strict'
// Full, too long, not text, foreign, damaged, of another version, not ours: a clear error with a code, nothing lost.

const assert = require('node:assert/strict')
const { execFileSync, spawnSync } = require('node:child_process')
const fs = require('node:fs')
const path = require('node:path')
const { test } = require('node:test')

const { connect } = require('../../lib/hub.cjs')
const { Supervisor } = require('../../supervisor.cjs')
const { onSmallDisk } = require('./small-disk.cjs')

function store (t, options) {
  const dir = fs.mkdtempSync('/dev/shm/skep-test-')
  const supervisor = new Supervisor(path.join(dir, 'store'), options)
  t.after(() => {
    supervisor.close()
    fs.rmSync(dir, { recursive: true, force: true })
  })
  return { supervisor, dir: path.join(dir, 'store') }
}

const env = (supervisor, id = 1) => ({ ...process.env, ...supervisor.env(id) })

test('names and values over their limits are refused with both numbers, any bytes are a key', t => {
  const { supervisor } = store(t, { valueBytesMax: 1_000_000 })
  const { client } = connect(supervisor.env(1))
  const space = client.space('map', 'm')
  const key = 'k'.repeat(10_000_000)
  assert.throws(() => client.set(space, key, '1', 0, 0), { code: 'ERR_SKEP_KEY_TOO_LONG', message: /10000000.*65536/ })
  assert.throws(() => client.space('map', key), { code: 'ERR_SKEP_KEY_TOO_LONG' })
  assert.throws(() => client.set(space, 'k', `"${'v'.repeat(1_000_000)}"`, 0, 0),
    { code: 'ERR_SKEP_VALUE_TOO_LONG', message: /1000000/ })
  const keys = [Buffer.from([0xff, 0xfe]), Buffer.from([0xff, 0xfd]), Buffer.from([0]), Buffer.alloc(0)]
  keys.forEach((bytes, i) => client.set(space, bytes, String(i), 0, 0))
  keys.forEach((bytes, i) => assert.equal(client.get(space, bytes), String(i)))
})

test('a full store says so, keeps everything, and can be emptied', t => {
  const { supervisor } = store(t, { dataBytes: 1 << 20, dataBytesMax: 4 << 20 })
  const said = JSON.parse(execFileSync(process.execPath, [path.join(__dirname, 'hard.cjs')], { env: env(supervisor) }))
  assert.equal(said.code, 'ERR_SKEP_FULL')
  assert.match(said.message, /skep state config max_size/)
  assert.ok(said.count > 10 && said.size === said.count, JSON.stringify(said))
  assert.ok(said.again >= said.count / 2, JSON.stringify(said))
})

test('a full file system is an error and no SIGBUS', () => {
  const script = `
    const { Supervisor } = require(${JSON.stringify(path.join(__dirname, '..', '..', 'supervisor.cjs'))})
    Object.assign(process.env, new Supervisor('/mnt/store').env(1))
    require(${JSON.stringify(path.join(__dirname, 'hard.cjs'))})`
  const ended = onSmallDisk(script)
  const { stdout, stderr, signal } = ended
  assert.equal(signal, null, stderr)
  assert.notEqual(stdout, '', stderr)
  const said = JSON.parse(stdout)
  assert.equal(said.code, 'ERR_SKEP_NO_SPACE')
  assert.ok(said.count > 10 && said.size === said.count && said.again >= said.count / 2, stdout)
})

/** The code and the message with which a process of its own fails to attach. */
function attach (dir) {
  const script = `
    try { require(${JSON.stringify(path.join(__dirname, '..', '..', 'lib', 'hub.cjs'))}).connect(); console.log('attached') }
    catch (error) { console.log(error.code, error.message) }
    process.exit()`
  return execFileSync(process.execPath, ['-e', script], {
    env: { ...process.env, SKEP_STATE: dir, SKEP_WORKER_ID: '1' }, encoding: 'utf8'
  })
}

test('what is no store of ours, or one of another version, is named', t => {
  const { dir } = store(t)
  assert.equal(attach(dir), 'attached\n')
  let copies = 0
  const copy = change => {
    const other = `${dir}-${++copies}`
    fs.mkdirSync(other, { mode: 0o700 })
    for (const file of ['control', 'data.mdb', 'lock.mdb']) fs.copyFileSync(path.join(dir, file), path.join(other, file))
    fs.mkdirSync(path.join(other, 'wake'), { mode: 0o700 })
    change(other, path.join(other, 'control'))
    return attach(other)
  }
  assert.equal(copy(() => {}), 'attached\n')
  assert.match(copy((_, control) => {
    const bytes = fs.readFileSync(control)
    bytes.writeUInt32LE(99, 8)
    fs.writeFileSync(control, bytes)
  }), /^ERR_SKEP_VERSION .*layout 99/)
  assert.match(copy((_, control) => fs.writeFileSync(control, 'somebody else\'s'.padEnd(8192))), /^ERR_SKEP_FOREIGN/)
  assert.match(copy((_, control) => fs.truncateSync(control, 8192)), /^ERR_SKEP_CORRUPT/)
  assert.match(copy(other => fs.writeFileSync(path.join(other, 'data.mdb'), 'short')), /^ERR_SKEP_CORRUPT/)
  assert.match(copy(other => fs.chmodSync(other, 0o755)), /^ERR_SKEP_NOT_OURS .*mode 755/)
  assert.match(copy((_, control) => fs.chmodSync(control, 0o644)), /^ERR_SKEP_NOT_OURS/)
  assert.match(copy((_, control) => fs.rmSync(control)), /^ERR_SKEP_NO_STORE/)
  assert.match(attach('/nowhere/at/all'), /^ERR_SKEP_NO_STORE/)
})
