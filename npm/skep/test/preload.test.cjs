'use strict'
// The preload must not be noticed by anything that runs in the worker. Run with any Node from 18: node --test
const assert = require('node:assert')
const { spawn, spawnSync } = require('node:child_process')
const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')
const test = require('node:test')

const PRELOAD = path.join(__dirname, '..', 'preload.cjs')
const REQUIRE = `--require="${PRELOAD}"`
const [major, minor] = process.versions.node.split('.').map(Number)
const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'skep-preload-'))
test.after(() => fs.rmSync(folder, { recursive: true }))

function write(name, text) {
  const file = path.join(folder, name)
  fs.writeFileSync(file, text)
  return file
}

/** Runs a program with an IPC channel, as a cluster worker or not; gives what it printed and sent. */
function run(args, { options = REQUIRE, cluster = false, input, drain, env = {} } = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, args, {
      stdio: ['pipe', 'pipe', 'pipe', 'ipc'],
      env: clean({ ...process.env, ...env, NODE_OPTIONS: options, ...(cluster ? { NODE_UNIQUE_ID: '1' } : {}) }),
    })
    const result = { stdout: '', stderr: '', messages: [], internal: [] }
    child.stdout.on('data', (data) => {
      result.stdout += data
      // A cluster worker stays until its channel ends.
      if (cluster && child.connected && result.stdout.endsWith('\n')) child.disconnect()
    })
    child.stderr.on('data', (data) => (result.stderr += data))
    child.on('message', (message) => result.messages.push(message))
    child.on('internalMessage', (message) => {
      result.internal.push(message)
      if (drain && drain(message)) child.send({ cmd: 'NODE_SKEP', act: 'drain', mode: 'migrate', graceMs: 100 })
    })
    child.stdin.end(input)
    child.on('error', reject)
    // Not 'close': Node does not emit it after disconnect().
    const ends = [child.stdout, child.stderr].map((stream) => new Promise((end) => stream.on('end', end)))
    child.on('exit', (code, signal) => Promise.all(ends).then(() => resolve({ ...result, code, signal })))
  })
}

function clean(env) {
  return Object.fromEntries(Object.entries(env).filter(([name, value]) => value !== undefined && name !== 'NODE_TEST_CONTEXT'))
}

/** What a program can see of itself, printed as JSON; also by an ES module. */
const LOOK = `
const look = () => ({
  options: process.env.NODE_OPTIONS,
  globals: Object.getOwnPropertyNames(globalThis).sort(),
  argv: process.execArgv,
  message: process.listenerCount('message'), disconnect: process.listenerCount('disconnect'), exit: process.listenerCount('exit'),
  errors: process.listenerCount('uncaughtException') + process.listenerCount('unhandledRejection'),
  events: process.eventNames().map(String).sort(),
  env: Object.keys(process.env).filter((name) => /SKEP|NODE_CHANNEL|UNIQUE/.test(name)),
  prototype: Object.keys(require('net').Server.prototype),
  cache: Object.keys(require.cache).filter((file) => /preload|drain/.test(file)),
  listen: String(require('net').Server.prototype.listen).length,
})
`

test('a program sees no difference', async () => {
  const file = write('look.cjs', LOOK + 'console.log(JSON.stringify(look()))')
  const module = write('look.mjs', `import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);` + LOOK + 'console.log(JSON.stringify(look()))')
  for (const program of [file, module]) {
    for (const cluster of [false, true]) {
      const without = await run([program], { options: undefined, cluster })
      const withIt = await run([program], { cluster })
      assert.deepStrictEqual(JSON.parse(withIt.stdout), JSON.parse(without.stdout), `${program} ${cluster}`)
      assert.strictEqual(withIt.stderr, '')
      assert.strictEqual(withIt.code, 0, 'nothing keeps the event loop alive')
      assert.ok(withIt.internal.some((message) => message.act === 'hello' && message.cluster === cluster))
    }
  }
})

test("the user's own NODE_OPTIONS stay byte for byte, for the program and its children", async () => {
  const file = write('options.cjs', `
    const child = require('child_process').execFileSync(process.execPath, ['-p', 'process.env.NODE_OPTIONS'], { encoding: 'utf8' })
    console.log(JSON.stringify([process.env.NODE_OPTIONS, process.title, child.slice(0, -1)]))`)
  const own = [undefined, '', ' ', '--title=x', ' --title="a  b"  ', `--title="q\\"\\\\"`, '--no-warnings --title=y --no-deprecation']
  for (const users of own) {
    const title = JSON.parse((await run([file], { options: users === undefined ? undefined : users })).stdout)
    const options = users === undefined ? REQUIRE : `${REQUIRE} ${users}`
    const { stdout, stderr } = await run([file], { options })
    assert.deepStrictEqual(JSON.parse(stdout), title, JSON.stringify(users))
    assert.strictEqual(stderr, '')
  }
  // Something put its own options before ours.
  const { stdout } = await run([file], { options: `--no-warnings ${REQUIRE} --title=z` })
  assert.strictEqual(JSON.parse(stdout)[0], '--no-warnings --title=z')
})

test('stack traces and errors of listen are the same', async () => {
  const file = write('trace.cjs', `
    const net = require('net')
    const seen = []
    const server = net.createServer().listen(0, '127.0.0.1', () => {
      try { server.listen(1) } catch (error) { seen.push(error.stack) }
      const { port } = server.address()
      net.createServer().on('error', (error) => {
        seen.push(error.stack.replaceAll(String(port), 'PORT'))
        seen.push(Object.keys(server).join(), server._connectionKey.replace(/\\d+$/, ''))
        seen.push(server.eventNames().map((name) => String(name) + server.listenerCount(name)).join())
        console.log(JSON.stringify(seen))
        server.close()
      }).listen(port, '127.0.0.1')
    })`)
  const without = await run([file], { options: undefined })
  const withIt = await run([file])
  assert.deepStrictEqual(JSON.parse(withIt.stdout), JSON.parse(without.stdout))
  assert.strictEqual(withIt.code, 0)
})

test('an HTTP server has no listener more', async () => {
  const file = write('listeners.cjs', `
    const http = require('http')
    const server = http.createServer((request, response) => {
      const count = (emitter) => emitter.eventNames().map((name) => String(name) + emitter.listenerCount(name))
      response.end(JSON.stringify([count(server), count(request), count(response), count(request.socket),
        require('diagnostics_channel').channel('http.server.request.start').hasSubscribers]))
    }).listen(0, () => http.get({ port: server.address().port, agent: false }, (response) => {
      response.pipe(process.stdout)
      response.on('end', () => server.close())
    }))`)
  const without = await run([file], { options: undefined })
  const withIt = await run([file])
  assert.deepStrictEqual(JSON.parse(withIt.stdout), JSON.parse(without.stdout))
})

test('worker threads, the test runner, the REPL and a program without a channel run as ever', async () => {
  const threads = write('threads.cjs', `
    const { Worker, isMainThread, parentPort } = require('worker_threads')
    if (isMainThread) new Worker(__filename).on('message', (text) => console.log(text))
    else parentPort.postMessage(JSON.stringify([process.env.NODE_OPTIONS ?? null, typeof process.send]))`)
  const thread = await run([threads])
  assert.strictEqual(thread.stdout, '[null,"undefined"]\n')
  assert.strictEqual(thread.code, 0)
  assert.strictEqual(thread.internal.filter((message) => message.act === 'hello').length, 1)

  const tests = write('some.test.cjs', `require('node:test')('one', (t) => { require('assert').strictEqual(process.env.NODE_OPTIONS, undefined) })`)
  const tested = await run(['--test', tests])
  assert.strictEqual(tested.code, 0, tested.stdout)
  assert.strictEqual(tested.internal.filter((message) => message.act === 'hello').length, 1, 'its children do not inherit us')

  const repl = await run(['-i'], { input: '6 * 7\n' })
  assert.match(repl.stdout, /42/)
  assert.strictEqual(repl.code, 0)

  const alone = spawnSync(process.execPath, ['-p', 'process.env.NODE_OPTIONS'], { encoding: 'utf8', env: clean({ ...process.env, NODE_OPTIONS: REQUIRE }) })
  assert.strictEqual(alone.stdout + alone.stderr, 'undefined\n')
})

test('TypeScript by type stripping runs as ever', { skip: major < 22 || (major === 22 && minor < 18) }, async () => {
  const file = write('typed.ts', `const one: number = 1; console.log(one satisfies number, process.env.NODE_OPTIONS)`)
  const { stdout, code } = await run([file])
  assert.strictEqual(stdout, '1 undefined\n')
  assert.strictEqual(code, 0)
})

test('messages before and after a listener are delivered as ever', async () => {
  const file = write('messages.cjs', `
    process.send({ cmd: 'NODE_', text: 'a' })
    process.once('message', (message) => process.send(message, () => process.disconnect()))`)
  const child = spawn(process.execPath, [file], { stdio: ['ignore', 'ignore', 'inherit', 'ipc'], env: clean({ ...process.env, NODE_OPTIONS: REQUIRE }) })
  const got = []
  child.on('message', (message) => got.push(message))
  child.send({ hello: 'ä\n' })
  const code = await new Promise((resolve) => child.on('exit', resolve))
  assert.deepStrictEqual(got, [{ cmd: 'NODE_', text: 'a' }, { hello: 'ä\n' }])
  assert.strictEqual(code, 0)
})

test('a stray acknowledgement does no harm', async () => {
  const file = write('stray.cjs', `process.once('message', () => process.exit(7))`)
  const child = spawn(process.execPath, [file], { stdio: ['ignore', 'ignore', 'inherit', 'ipc'], env: clean({ ...process.env, NODE_OPTIONS: REQUIRE }) })
  child.send({ cmd: 'NODE_HANDLE_ACK' })
  child.send({ cmd: 'NODE_HANDLE_NACK' })
  child.send('on')
  assert.strictEqual(await new Promise((resolve) => child.on('exit', resolve)), 7)
})

test('fake timers of the app do not stop a drain, and its wrapped process.send is not used', async () => {
  const file = write('fake.cjs', `
    const never = () => ({ unref() {}, ref() {} })
    globalThis.setTimeout = globalThis.setInterval = globalThis.setImmediate = never
    process.send = () => { throw new Error('mine') }
    const server = require('http').createServer().listen(0)`)
  const { code, stderr } = await run([file], { drain: (message) => message.act === 'listening' })
  assert.strictEqual(stderr, '')
  assert.strictEqual(code, 0)
})

test('an app that forbids everything it does not know is not broken by us', async () => {
  const file = write('frozen.cjs', `
    'use strict'
    for (const object of [Object.prototype, Array.prototype, Function.prototype, process]) Object.freeze(object)
    const server = require('http').createServer().listen(0)`)
  const { stderr, code } = await run([file], { drain: (message) => message.act === 'listening' })
  assert.strictEqual(stderr, '')
  assert.strictEqual(code, 0)
})
