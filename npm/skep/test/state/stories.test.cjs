'use strict'
// The stories of the examples, end to end: real apps, several processes, load, and kills.

const assert = require('node:assert/strict')
const { once } = require('node:events')
const http = require('node:http')
const { test } = require('node:test')

const { Cluster } = require('./cluster.cjs')

async function cluster (t, name, count, env) {
  const all = new Cluster()
  t.after(() => all.close())
  await all.example(name, count, env)
  return all
}

const agent = new http.Agent({ keepAlive: true, maxSockets: 100 })

function get (port, path, headers = {}) {
  return new Promise((resolve, reject) => {
    http.get({ port, path, agent, headers }, response => {
      const chunks = []
      response.on('data', chunk => chunks.push(chunk))
      response.on('end', () => resolve({
        status: response.statusCode, text: Buffer.concat(chunks).toString(), cookie: response.headers['set-cookie']?.[0]
      }))
    }).on('error', reject)
  })
}

/** Runs `f(i)` for 0..count, `width` at a time. */
async function many (count, width, f) {
  let next = 0
  const lane = async () => { while (next < count) await f(next++) }
  await Promise.all(Array.from({ length: width }, lane))
}

test('counter: 1000 increments by 50 connections to 4 workers are 1000 for every worker', async t => {
  const { workers } = await cluster(t, 'counter/app.js', 4)
  const seen = new Set()
  await many(1000, 50, async i => seen.add((await get(workers[i % 4].port, '/inc')).text))
  assert.equal(seen.size, 1000, 'every increment had its own value')
  for (const worker of workers) assert.equal((await get(worker.port, '/')).text, '1000')
})

test('leaderboard: 4 workers, 2000 scores, one order', async t => {
  const { workers } = await cluster(t, 'leaderboard/app.js', 4)
  await many(2000, 50, i => get(workers[i % 4].port, `/score?member=m${i % 500}&by=${i % 500}`))
  for (const worker of workers) {
    const top = JSON.parse((await get(worker.port, '/top')).text)
    assert.deepEqual(top[0], { member: 'm499', score: 4 * 499, rank: 1 })
    assert.equal(top.length, 10)
    assert.equal((await get(worker.port, '/rank?member=m0')).text, '500')
  }
})

test('session: whichever worker gets a request finds the session, and the login is limited over all', async t => {
  const { workers } = await cluster(t, 'session/app.js', 4)
  await many(10, 5, async i => {
    const { cookie, text } = await get(workers[i % 4].port, `/login?user=u${i}`)
    assert.equal(JSON.parse(text).user, `u${i}`)
    const headers = { cookie: cookie.split(';')[0] }
    for (let visit = 1; visit <= 8; visit++) {
      const me = await get(workers[(i + visit) % 4].port, '/me', headers)
      assert.deepEqual(JSON.parse(me.text), { user: `u${i}`, visits: visit })
    }
    await get(workers[0].port, '/logout', headers)
    assert.equal((await get(workers[1].port, '/me', headers)).status, 401)
  })
  const statuses = []
  await many(20, 1, async i => statuses.push((await get(workers[i % 4].port, '/login?user=x')).status))
  assert.deepEqual(statuses, [...Array(10).fill(200), ...Array(10).fill(429)])
})

/** An upstream that gives tokens of which only the last is valid. */
async function upstream (t) {
  const state = { calls: 0, valid: undefined, answer: undefined }
  const server = http.createServer(async (request, response) => {
    const call = ++state.calls
    const worker = Number(request.headers.worker)
    const how = await state.answer?.(call, worker)
    if (how === 'fail') {
      response.statusCode = 500
      return response.end()
    }
    if (response.destroyed) return
    state.valid = `token-${call}`
    response.end(JSON.stringify({ access_token: state.valid, expires_in: 3600 }))
  })
  server.listen(0)
  await once(server, 'listening')
  t.after(() => { server.closeAllConnections(); server.close() })
  state.env = { UPSTREAM: `http://127.0.0.1:${server.address().port}/` }
  return state
}

test('token: 8 workers, many rounds: one upstream call a round, and everybody gets the valid token', async t => {
  const up = await upstream(t)
  const { workers } = await cluster(t, 'token/app.js', 8, up.env)
  const rounds = Number(process.env.ROUNDS ?? 100)
  for (let round = 1; round <= rounds; round++) {
    const all = await Promise.all(workers.flatMap(({ port }) => [get(port, '/'), get(port, '/')]))
    assert.equal(up.calls, round)
    for (const { text } of all) assert.equal(text, up.valid)
    await get(workers[round % 8].port, '/forget')
  }
})

test('token: when the fetching worker is killed, another takes over and everybody is served', async t => {
  const up = await upstream(t)
  const all = await cluster(t, 'token/app.js', 4, up.env)
  let fetching
  const asked = new Promise(resolve => { fetching = resolve })
  up.answer = async (call, worker) => {
    if (call > 1) return
    fetching(worker)
    await new Promise(() => {})
  }
  const answers = all.workers.map(worker => get(worker.port, '/').catch(() => 'dead').then(answer => [worker, answer]))
  const victim = all.workers[await asked - 1]
  victim.kill('SIGKILL')
  for (const [worker, answer] of await Promise.all(answers)) {
    if (worker === victim) assert.equal(answer, 'dead')
    else assert.equal(answer.text, up.valid)
  }
  assert.equal(up.calls, 2)
})

test('token: a failing upstream fails for those who wait, and an old token serves if asked', async t => {
  const up = await upstream(t)
  const { workers } = await cluster(t, 'token/app.js', 4, up.env)
  up.answer = () => 'fail'
  const failed = await Promise.all(workers.map(({ port }) => get(port, '/')))
  assert.ok(failed.every(({ status, text }) => status === 502 && /upstream says 500/.test(text)))
  up.answer = undefined
  assert.equal((await get(workers[0].port, '/')).text, up.valid)
})

test('token: an upstream that never answers holds nobody for ever', async t => {
  const up = await upstream(t)
  const { workers } = await cluster(t, 'token/app.js', 4, { ...up.env, TIMEOUT: '200ms' })
  up.answer = () => new Promise(() => {})
  const answers = await Promise.all(workers.map(({ port }) => get(port, '/')))
  assert.ok(answers.every(({ status }) => status === 502))
})

test('chat: what one client says, the clients of all workers hear', async t => {
  const { WebSocket } = require('ws')
  const { workers } = await cluster(t, 'chat/app.js', 4)
  const clients = await Promise.all(workers.flatMap(({ port }) => [port, port]).map(async port => {
    const socket = new WebSocket(`ws://127.0.0.1:${port}`)
    const heard = []
    let enough
    const all = new Promise(resolve => { enough = resolve })
    socket.on('message', data => { if (heard.push(String(data)) === 800) enough() })
    await once(socket, 'open')
    return { socket, heard, all }
  }))
  clients.forEach(({ socket }, c) => { for (let i = 0; i < 100; i++) socket.send(`${c}:${i}`) })
  await Promise.all(clients.map(({ all }) => all))
  for (const { heard, socket } of clients) {
    assert.equal(new Set(heard).size, 800, 'each message once')
    for (let c = 0; c < clients.length; c++) {
      const own = heard.filter(text => text.startsWith(`${c}:`))
      assert.deepEqual(own, Array.from({ length: 100 }, (_, i) => `${c}:${i}`), 'in the order in which they were said')
    }
    socket.close()
  }
})

test('chat: socket.io rooms reach over all workers', async t => {
  const { io } = require('socket.io-client')
  const { workers } = await cluster(t, 'chat/socketio.js', 3)
  const clients = await Promise.all(workers.map(async ({ port }) => {
    const socket = io(`http://127.0.0.1:${port}`, { transports: ['websocket'], reconnection: false })
    await once(socket, 'connect')
    await socket.emitWithAck('join', 'room')
    return socket
  }))
  // The servers learn of each other by their first heartbeats.
  while (await clients[0].emitWithAck('count') < 3);
  const heard = clients.map(socket => once(socket, 'said'))
  clients[0].emit('say', 'room', 'hello')
  assert.deepEqual(await Promise.all(heard), [['hello'], ['hello'], ['hello']])
  for (const socket of clients) socket.close()
})
