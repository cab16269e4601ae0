'use strict'
// Single flight: 8 processes ask for one token at the same instant, round after round. How often is the upstream asked,
// and how long do they wait? skep's `once` beside the SETNX recipe that people copy and beside redlock, both on a Redis of
// its own. `cargo xtask bench once` runs it. CALLS (1000) rounds of each, in turns; RESULTS, the file for what is kept.

const { fork, spawn } = require('node:child_process')
const { once: event } = require('node:events')
const fs = require('node:fs')
const http = require('node:http')
const path = require('node:path')

const ROOT = path.join(__dirname, '..', '..')
const PACKAGE = path.join(ROOT, 'npm', 'skep')
const DOOR = path.join(ROOT, 'crates', 'door', 'tests', 'npm', 'node_modules')
const WORKERS = 8
const CALLS = Number(process.env.CALLS ?? 1000)
/** Rounds of one contestant before the next one's turn. */
const TURN = 50
/** What the upstream takes to answer. */
const UPSTREAM_MS = 5
/** How often those who lost SETNX look again: what the recipes say. */
const RETRY_MS = 10
const CONTESTANTS = ['skep', 'setnx', 'redlock']

const sleep = ms => new Promise(resolve => setTimeout(resolve, ms))
const percentile = (list, p) => [...list].sort((a, b) => a - b)[Math.min(list.length - 1, Math.floor(list.length * p))]

async function upstream () {
  const answer = await fetch(process.env.UPSTREAM)
  return answer.text()
}

/** Each contestant: `(round) => token`. */
function contestants () {
  const { once } = require(PACKAGE)
  const Redis = require(path.join(PACKAGE, 'node_modules', 'ioredis'))
  const redlock = require(path.join(DOOR, 'redlock'))
  const Redlock = redlock.default ?? redlock
  const redis = new Redis(process.env.REDIS_SOCKET)
  const locks = new Redlock([redis], { retryCount: -1, retryDelay: RETRY_MS, retryJitter: 0 })
  return {
    skep: round => once(`token:${round}`, upstream, { ttl: '1m' }),
    setnx: async round => {
      for (;;) {
        const token = await redis.get(`setnx:${round}`)
        if (token) return token
        if (await redis.set(`setnx:${round}:lock`, process.pid, 'PX', 10_000, 'NX')) {
          // Another may have been here between the two.
          const fresh = await redis.get(`setnx:${round}`) ?? await upstream()
          await redis.set(`setnx:${round}`, fresh, 'PX', 60_000)
          await redis.del(`setnx:${round}:lock`)
          return fresh
        }
        await sleep(RETRY_MS)
      }
    },
    redlock: async round => {
      const key = `redlock:${round}`
      const token = await redis.get(key)
      if (token) return token
      const lock = await locks.acquire([`${key}:lock`], 10_000)
      try {
        const fresh = await redis.get(key) ?? await upstream()
        await redis.set(key, fresh, 'PX', 60_000)
        return fresh
      } finally {
        await lock.release()
      }
    }
  }
}

function worker () {
  const all = contestants()
  process.on('message', async ({ who, round }) => {
    const begin = process.hrtime.bigint()
    const token = await all[who](round)
    process.send({ token, ms: Number(process.hrtime.bigint() - begin) / 1e6 })
  })
  process.send('ready')
}

async function main () {
  const { Supervisor } = require(path.join(PACKAGE, 'supervisor.cjs'))
  const dir = fs.mkdtempSync('/dev/shm/skep-bench-')
  const supervisor = new Supervisor(path.join(dir, 'store'))
  const socket = path.join(dir, 'redis.sock')
  const redis = spawn('redis-server', ['--port', '0', '--unixsocket', socket, '--save', '', '--loglevel', 'warning'],
    { stdio: ['ignore', 'inherit', 'inherit'] })
  while (!fs.existsSync(socket)) await sleep(10)
  let calls = 0
  // Each answer voids those before, as some upstreams do.
  const server = http.createServer((_, response) => setTimeout(() => response.end(`token-${++calls}`), UPSTREAM_MS))
  await event(server.listen(0, '127.0.0.1'), 'listening')
  const env = { ...process.env, UPSTREAM: `http://127.0.0.1:${server.address().port}/`, REDIS_SOCKET: socket }
  const workers = Array.from({ length: WORKERS }, (_, i) =>
    fork(__filename, ['worker'], { env: { ...env, ...supervisor.env(i + 1) } }))
  await Promise.all(workers.map(worker => event(worker, 'message')))

  const seen = Object.fromEntries(CONTESTANTS.map(who => [who, { calls: 0, rounds: 0, wrong: 0, ms: [] }]))
  for (let turn = 0; turn < CALLS / TURN; turn++) {
    for (const who of CONTESTANTS) {
      for (let i = 0; i < TURN; i++) {
        const round = turn * TURN + i
        const before = calls
        const answers = workers.map(worker => event(worker, 'message'))
        for (const worker of workers) worker.send({ who, round })
        const tokens = (await Promise.all(answers)).map(([answer]) => answer)
        const figures = seen[who]
        figures.rounds++
        figures.calls += calls - before
        figures.wrong += tokens.filter(({ token }) => token !== `token-${calls}`).length
        figures.ms.push(Math.max(...tokens.map(({ ms }) => ms)))
      }
    }
  }
  const results = { figures: {}, promises: {} }
  const notes = []
  for (const who of CONTESTANTS) {
    const { calls, rounds, wrong, ms } = seen[who]
    const [p50, p99] = [percentile(ms, 0.5), percentile(ms, 0.99)]
    console.log(`${who.padEnd(10)} ${calls} upstream calls in ${rounds} rounds of ${WORKERS}; ${wrong} void tokens; until the last ` +
      `one has it: p50 ${p50.toFixed(2)} ms, p99 ${p99.toFixed(2)} ms (the upstream takes ${UPSTREAM_MS})`)
    results.figures[`${who} (calls, rounds, void tokens, p50 ms, p99 ms)`] = [calls, rounds, wrong, p50, p99]
    notes.push(`${who} ${p50.toFixed(1)} ms`)
  }
  const { calls: ours, rounds, wrong } = seen.skep
  // A round without a call would be as wrong as one with two: then somebody got a void token.
  results.promises['once.calls'] = { value: (ours + wrong) / rounds, note: `p50 until the last has it: ${notes.join(', ')}` }
  if (process.env.RESULTS) fs.writeFileSync(process.env.RESULTS, JSON.stringify(results))
  for (const worker of workers) worker.kill()
  redis.kill()
  fs.rmSync(dir, { recursive: true, force: true })
  process.exit(0)
}

if (process.argv[2] === 'worker') worker()
else main()
