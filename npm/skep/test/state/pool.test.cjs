'use strict'
// Heavy functions in child processes: answers, failures that stay with their call, and children that end with us.

const assert = require('node:assert')
const { once } = require('node:events')
const { fork } = require('node:child_process')
const fs = require('node:fs')
const path = require('node:path')
const { test } = require('node:test')
const { pathToFileURL } = require('node:url')

const { pool } = require('../../index.cjs')

const WORK = path.join(__dirname, 'pool-work.cjs')

/** Looks until there is something to see. */
async function until (what, look) {
  const end = Date.now() + 30_000
  for (;;) {
    if (look()) return
    assert.ok(Date.now() < end, `waited in vain: ${what}`)
    await new Promise(resolve => setImmediate(resolve))
  }
}

test('calls are answered in child processes, buffers and errors cross', async () => {
  const work = pool(WORK, { workers: 2 })
  assert.deepStrictEqual(await Promise.all([10, 11, 12, 13].map(n => work.run(n))), [55, 89, 144, 233])
  assert.ok(work.size.children <= 2)
  assert.notStrictEqual(await work.run(undefined, { name: 'pid' }), process.pid)
  const bytes = await work.run(Buffer.from([1, 2, 3]), { name: 'reversed' })
  assert.deepStrictEqual([...bytes], [3, 2, 1])
  await assert.rejects(work.run(1, { name: 'fails' }), { name: 'RangeError', message: 'no', code: 'E_NO' })
  await assert.rejects(work.run(1, { name: 'missing' }), /exports no function missing/)
  await assert.rejects(work.run(() => {}), /could not be cloned/)
  work.close()
  await assert.rejects(work.run(1), { code: 'ERR_SKEP_POOL_CLOSED' })
})

test('an ES module and a URL do as well', async () => {
  const work = pool(pathToFileURL(path.join(__dirname, 'pool-work.mjs')), { workers: 1 })
  assert.strictEqual(await work.run(20), 21)
  work.close()
})

test('a crash rejects its own call only, and the next has a new process', async () => {
  const work = pool(WORK, { workers: 2 })
  const calls = [work.run(0, { name: 'crashes' }), work.run(10), work.run(11)]
  const [crashed, ...others] = await Promise.allSettled(calls)
  assert.strictEqual(crashed.reason.code, 'ERR_SKEP_POOL_CRASH')
  assert.deepStrictEqual(others.map(one => one.value), [55, 89])
  assert.strictEqual(await work.run(12), 144)
  work.close()
})

test('a timeout and a signal end a computation that nothing else ends', async () => {
  const work = pool(WORK, { workers: 1 })
  await assert.rejects(work.run(0, { name: 'forever', timeout: 100 }), { code: 'ERR_SKEP_POOL_TIMEOUT' })
  const stop = new AbortController()
  const endless = work.run(0, { name: 'forever', signal: stop.signal })
  const waiting = work.run(0, { signal: stop.signal })
  await until('the computation', () => work.size.children === 1)
  stop.abort(new Error('enough'))
  await assert.rejects(endless, /enough/)
  await assert.rejects(waiting, /enough/)
  assert.strictEqual(await work.run(10), 55)
  work.close()
})

test('no more calls run at once than there are workers, over all pools of the process', async () => {
  const pools = [pool(WORK, { workers: 2 }), pool(WORK, { workers: 2 })]
  const folder = fs.mkdtempSync(path.join(require('node:os').tmpdir(), 'skep-pool-'))
  const calls = Array.from({ length: 12 }, (_, i) => pools[i % 2].run(folder, { name: 'crowd' }))
  assert.ok(Math.max(...await Promise.all(calls)) <= 2)
  fs.rmSync(folder, { recursive: true })
  for (const one of pools) one.close()
})

test('children are no workers of skep, and end with a parent that is killed in the middle', async () => {
  const parent = fork(path.join(__dirname, 'pool-parent.cjs'), { env: { ...process.env, NODE_UNIQUE_ID: '', SKEP_STATE: '' } })
  const [{ pid, env }] = await once(parent, 'message')
  assert.deepStrictEqual(env, [])
  parent.kill('SIGKILL')
  await until('the end of the child', () => {
    try {
      process.kill(pid, 0)
      // A zombie that nobody has waited for yet has ended.
      return /^State:\s+Z/m.test(fs.readFileSync(`/proc/${pid}/status`, 'utf8'))
    } catch {
      return true
    }
  })
})
