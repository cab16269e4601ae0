'use strict'
// Shared state side by side with Redis in one run: raw figures, medians of rotated rounds. `cargo xtask bench state` runs
// it; by hand it wants redis-server on the PATH and `npm install` done in npm/skep. ROUNDS (5), SECONDS (0.5) a
// measurement; RESULTS, the file for what bench/src/report.rs keeps.

const { execFileSync, fork, spawn } = require('node:child_process')
const { once } = require('node:events')
const fs = require('node:fs')
const path = require('node:path')
const { monitorEventLoopDelay, performance, PerformanceObserver } = require('node:perf_hooks')

const PACKAGE = path.join(__dirname, '..', '..', 'npm', 'skep')
const Redis = require(path.join(PACKAGE, 'node_modules', 'ioredis'))
const nodeRedis = require(path.join(PACKAGE, 'node_modules', 'redis'))
const { Supervisor } = require(path.join(PACKAGE, 'supervisor.cjs'))

const ROUNDS = Number(process.env.ROUNDS ?? 5)
const SECONDS = Number(process.env.SECONDS ?? 0.5)
/** What only stands beside takes this part of the time. */
const ASIDE = 0.4
/** Commands in flight of those who pipeline. */
const TOGETHER = 64
const MEMBERS = 100_000
const KEYS = Number(process.env.KEYS ?? 1_000_000)

const median = list => [...list].sort((a, b) => a - b)[Math.floor(list.length / 2)]
const percentile = (list, p) => [...list].sort((a, b) => a - b)[Math.min(list.length - 1, Math.floor(list.length * p))]
const text = n => n >= 100 ? Math.round(n).toLocaleString('en-US') : n.toFixed(1)

/** Operations a second of a synchronous `f`. */
function sync (f, seconds = SECONDS) {
  const end = process.hrtime.bigint() + BigInt(Math.round(seconds * 1e9))
  const begin = process.hrtime.bigint()
  let count = 0
  do {
    for (let i = 0; i < 200; i++) f(count + i)
    count += 200
  } while (process.hrtime.bigint() < end)
  return count / (Number(process.hrtime.bigint() - begin) / 1e9)
}

/** Operations a second of an awaited `f`, one at a time. */
async function sequential (f, seconds = SECONDS) {
  const begin = process.hrtime.bigint()
  const end = begin + BigInt(Math.round(seconds * 1e9))
  let count = 0
  do {
    for (let i = 0; i < 20; i++) await f(count + i)
    count += 20
  } while (process.hrtime.bigint() < end)
  return count / (Number(process.hrtime.bigint() - begin) / 1e9)
}

/** Operations a second of an awaited `f`, many at a time. */
function pipelined (f, seconds) {
  const piece = i => Promise.all(Array.from({ length: TOGETHER }, (_, j) => f(i * TOGETHER + j)))
  return sequential(piece, seconds).then(rate => rate * TOGETHER)
}

/** Clients of a Redis. */
async function connectTo ({ port, socket }) {
  const clients = {
    tcp: new Redis({ port, host: '127.0.0.1' }),
    unix: new Redis(socket),
    piped: new Redis(socket, { enableAutoPipelining: true }),
    nodeTcp: nodeRedis.createClient({ socket: { port, host: '127.0.0.1' } }),
    nodeUnix: nodeRedis.createClient({ socket: { path: socket } })
  }
  for (const client of [clients.tcp, clients.unix, clients.piped]) {
    client.defineCommand('unlock', { numberOfKeys: 1, lua: UNLOCK })
  }
  await Promise.all([clients.tcp.ping(), clients.nodeTcp.connect(), clients.nodeUnix.connect()])
  return clients
}

async function startRedis (dir) {
  const socket = path.join(dir, 'redis.sock')
  const port = 20_000 + process.pid % 20_000
  const server = spawn('redis-server', ['--port', String(port), '--unixsocket', socket, '--save', '', '--appendonly', 'no',
    '--loglevel', 'warning'], { stdio: ['ignore', 'inherit', 'inherit'] })
  // ioredis tries until somebody listens.
  const first = new Redis({ port, host: '127.0.0.1' })
  first.on('error', () => {})
  await first.ping()
  first.disconnect()
  return { server, port, socket, ...await connectTo({ port, socket }) }
}

const UNLOCK = 'if redis.call("get",KEYS[1])==ARGV[1] then return redis.call("del",KEYS[1]) else return 0 end'

/** Microseconds of CPU that one operation costs, on both sides: tells what wall time hides on a busy machine. */
async function cpu (contestant, redis) {
  const used = async () => {
    if (!redis) return 0
    const text = await redis.tcp.info('cpu')
    return ['user', 'sys'].reduce((sum, kind) => sum + Number(text.match(new RegExp(`used_cpu_${kind}:(\\S+)`))[1]), 0) * 1e6
  }
  const [server, client, begin] = [await used(), process.cpuUsage(), process.hrtime.bigint()]
  const rate = await contestant()
  const count = rate * Number(process.hrtime.bigint() - begin) / 1e9
  const { user, system } = process.cpuUsage(client)
  return { rate, cpu: (user + system + await used() - server) / count }
}

/** What bench/src/report.rs keeps: raw figures, and the value of each promise of bench/src/promises.rs. */
const results = { figures: {}, promises: {} }
function keep (key, value, note = '') {
  results.promises[`state.${key}`] = { value, note }
}

/**
 * What is compared: name, the promise about it, and the contestants by name, each given the seconds that it has. With
 * ioredis an operation is `io(client, i)`, with node-redis `node(client, i)`; `map` is the same on a value of this very
 * process: nothing that is shared can be faster.
 */
function contests (skep, redis) {
  const times = skep.counter('times')
  const sessions = skep.map('sessions')
  const board = skep.leaderboard('score')
  const limit = skep.limiter('login', { points: 1e9, per: '1h' })
  const jobs = skep.queue('jobs')
  const value = 'x'.repeat(98)
  const large = 'x'.repeat(10_000)
  const own = { count: 0, map: new Map([['k', value], ['l', large]]), list: [] }
  const member = i => `m${i * 7919 % MEMBERS}`
  const lock = (set, unlock) => async client => {
    await set(client)
    await unlock(client)
  }
  const row = (name, promise, ours, io, node, map) => {
    const contestants = {
      skep: ours,
      'ioredis TCP': s => sequential(i => io(redis.tcp, i), s),
      'ioredis unix': s => sequential(i => io(redis.unix, i), s),
      [`ioredis unix, ${TOGETHER} at once`]: s => pipelined(i => io(redis.piped, i), s),
      'node-redis TCP': s => sequential(i => node(redis.nodeTcp, i), s),
      'node-redis unix': s => sequential(i => node(redis.nodeUnix, i), s),
      [`node-redis unix, ${TOGETHER} at once`]: s => pipelined(i => node(redis.nodeUnix, i), s)
    }
    if (map) contestants['a value of its own'] = s => sync(map, s)
    return { name, promise, contestants }
  }
  const get = key => [c => c.get(key), c => c.get(key), () => own.map.get(key)]
  const set = (key, text) => [c => c.set(key, text), c => c.set(key, text), () => own.map.set(key, text)]
  return [
    row('counter add', 'add', s => sync(() => times.add(1), s), c => c.incr('times'), c => c.incr('times'),
      () => { own.count += 1 }),
    row('map get 100 B', 'get', s => sync(() => sessions.getSync('k'), s), ...get('k')),
    row('map set 100 B', 'set', s => sync(() => sessions.setSync('k', value), s), ...set('k', value)),
    row('map get 100 B, awaited', '', s => sequential(() => sessions.get('k'), s), ...get('k')),
    row('map set 100 B, awaited', '', s => sequential(() => sessions.set('k', value), s), ...set('k', value)),
    row('map get 10 KB', '', s => sync(() => sessions.getSync('l'), s), ...get('l')),
    row('map set 10 KB', '', s => sync(() => sessions.setSync('l', large), s), ...set('l', large)),
    row('lock + unlock', 'lock', s => sequential(() => skep.locks.request('lock', () => {}), s),
      lock(c => c.set('lock', 'me', 'PX', 10_000, 'NX'), c => c.unlock('lock', 'me')),
      lock(c => c.set('lock', 'me', { PX: 10_000, NX: true }), c => c.eval(UNLOCK, { keys: ['lock'], arguments: ['me'] }))),
    row('leaderboard add at 100,000', 'board', s => sequential(i => board.add(member(i), i % 10), s),
      (c, i) => c.zincrby('board', i % 10, member(i)), (c, i) => c.zIncrBy('board', i % 10, member(i))),
    row('leaderboard top 10', '', s => sequential(() => board.top(10), s),
      c => c.zrevrange('board', 0, 9, 'WITHSCORES'), c => c.zRangeWithScores('board', 0, 9, { REV: true })),
    row('leaderboard rank', '', s => sequential(i => board.rank(member(i)), s),
      (c, i) => c.zrevrank('board', member(i)), (c, i) => c.zRevRank('board', member(i))),
    row('limiter consume', '', s => sequential(() => limit.consume('ip'), s), c => c.incr('ip'), c => c.incr('ip')),
    row('queue push', '', s => sequential(() => jobs.push('job'), s), c => c.lpush('jobs', 'job'), c => c.lPush('jobs', 'job'),
      () => own.list.push('job'))
  ]
}

/** One worker: every contest beside all others, in rotated rounds. */
async function compare (skep, redis) {
  for (const { name, promise, contestants } of contests(skep, redis)) {
    const names = Object.keys(contestants)
    const figures = names.map(() => ({ rate: [], cpu: [] }))
    for (let round = 0; round < ROUNDS; round++) {
      for (let i = 0; i < names.length; i++) {
        const which = (i + round) % names.length
        const seconds = which < 2 ? SECONDS : SECONDS * ASIDE
        const own = names[which] === 'skep' || names[which] === 'a value of its own'
        const figure = await cpu(() => contestants[names[which]](seconds), !own && redis)
        figures[which].rate.push(figure.rate)
        figures[which].cpu.push(figure.cpu)
      }
    }
    console.log(name)
    const ours = median(figures[0].rate)
    names.forEach((who, i) => {
      const rate = median(figures[i].rate)
      results.figures[`${name}, ${who} (ops/s)`] = figures[i].rate
      console.log(`  ${who.padEnd(30)}${text(rate).padStart(14)} a second${median(figures[i].cpu).toFixed(2).padStart(9)} us CPU` +
        (i > 0 ? `   skep ${text(ours / rate)} times` : ''))
    })
    const tcp = median(figures[1].rate)
    if (promise) keep(promise, ours / tcp, `${text(ours)} beside ${text(tcp)} a second`)
  }
}

/** Two workers at the same time, on the same names. */
async function compareTwo (skep, redis, env) {
  const other = fork(__filename, ['second'], { env: { ...process.env, ...env } })
  await once(other, 'message')
  console.log('two workers at once, both together')
  for (const { name, contestants } of contests(skep, redis)) {
    const rates = { skep: [], 'ioredis TCP': [], 'ioredis unix': [] }
    for (let round = 0; round < ROUNDS; round++) {
      for (const who of Object.keys(rates)) {
        other.send([name, who])
        const answer = once(other, 'message')
        const mine = await contestants[who](SECONDS * ASIDE)
        rates[who].push(mine + (await answer)[0])
      }
    }
    const [ours, ...others] = Object.values(rates).map(median)
    for (const who of Object.keys(rates)) results.figures[`${name}, 2 workers, ${who} (ops/s)`] = rates[who]
    console.log(`  ${name.padEnd(30)}${text(ours).padStart(14)}, ioredis TCP ${text(others[0])}, unix ${text(others[1])} a second`)
  }
  other.kill()
}

async function second () {
  const redis = await connectTo({ port: Number(process.env.REDIS_PORT), socket: process.env.REDIS_SOCKET })
  const all = contests(require(PACKAGE), redis)
  process.on('message', async ([name, who]) => {
    process.send(await all.find(one => one.name === name).contestants[who](SECONDS * ASIDE))
  })
  process.send('ready')
}

/** p50 and p99 of a message to another process, in microseconds: in a conversation, and after a pause. */
async function latency (kind, env) {
  const child = fork(__filename, ['echo', kind], { env: { ...process.env, ...env } })
  await once(child, 'message')
  child.send('go')
  const [{ quick, rare }] = await once(child, 'message')
  child.kill()
  return { p50: percentile(quick, 0.5), p99: percentile(quick, 0.99), rare: percentile(rare, 0.5) }
}

/** The other half of a ping-pong over two processes: this one measures, its own child echoes. */
async function echo (kind) {
  const skep = kind === 'skep' ? require(PACKAGE) : undefined
  const pair = (name, onmessage) => {
    if (skep) {
      const channel = skep.channel(name)
      channel.onmessage = event => onmessage(event.data)
      return { ready: Promise.resolve(), send: value => channel.postMessage(value) }
    }
    const [out, into] = [0, 1].map(() => new Redis(kind === 'unix' ? process.env.REDIS_SOCKET : Number(process.env.REDIS_PORT)))
    into.on('message', (_, message) => onmessage(message))
    return { ready: into.subscribe(name), send: value => out.publish(name === 'ping' ? 'pong' : 'ping', value) }
  }
  if (process.env.ECHO) {
    // Redis's publisher names the other channel; skep's channels do not hear themselves, so one is enough.
    const other = pair(skep ? 'ping' : 'pong', value => other.send(value))
    await other.ready
    process.send('ready')
    return
  }
  const child = fork(__filename, ['echo', kind], {
    env: { ...process.env, ECHO: '1', SKEP_WORKER_ID: String(Number(process.env.SKEP_WORKER_ID ?? 0) + 1) }
  })
  await once(child, 'message')
  let arrived
  const here = pair('ping', () => arrived())
  await here.ready
  process.send('ready')
  await once(process, 'message')
  const there = async () => {
    const begin = process.hrtime.bigint()
    const back = new Promise(resolve => { arrived = resolve })
    here.send('x')
    await back
    // There and back: one message takes half of it.
    return Number(process.hrtime.bigint() - begin) / 2000
  }
  const [quick, rare] = [[], []]
  for (let i = 0; i < 2500; i++) quick.push(await there())
  for (let i = 0; i < 300; i++) {
    await new Promise(resolve => setTimeout(resolve, 3))
    rare.push(await there())
  }
  child.kill()
  process.send({ quick: quick.slice(500), rare })
}

/**
 * How long the event loop is kept while `work` runs: its turns one by one, how late a timer of 1 ms is, and how much of
 * both are V8's collections (which also wait for their helpers, on a busy machine).
 */
async function lateness (work) {
  const collections = []
  const observer = new PerformanceObserver(list => collections.push(...list.getEntries().map(entry => entry.duration)))
  observer.observe({ entryTypes: ['gc'] })
  const turns = []
  let last = performance.now()
  let looking = true
  const look = () => {
    const now = performance.now()
    turns.push(now - last)
    last = now
    if (looking) setImmediate(look)
  }
  setImmediate(look)
  const histogram = monitorEventLoopDelay({ resolution: 1 })
  histogram.enable()
  const begin = performance.now()
  await work()
  const took = performance.now() - begin
  looking = false
  histogram.disable()
  await new Promise(resolve => setTimeout(resolve, 50))
  observer.disconnect()
  // The histogram measures the distance of two looks, 1 ms apart when nothing blocks.
  const late = p => Math.max(histogram.percentile(p) / 1e6 - 1, 0)
  return {
    took,
    turn: percentile(turns, 0.5),
    turn99: percentile(turns, 0.99),
    longest: percentile(turns, 1),
    late50: late(50),
    late99: late(99),
    collections: collections.length,
    collected: collections.length ? Math.max(...collections) : 0
  }
}

/** 10,000 acquisitions of one lock, 100 of which always wait; the second time, when the code is compiled. */
async function contended (skep) {
  const crowd = () => Promise.all(Array.from({ length: 100 }, async () => {
    for (let i = 0; i < 100; i++) await skep.locks.request('crowded', () => {})
  }))
  await crowd()
  return lateness(crowd)
}

function lateText ({ took, turn, turn99, longest, late50, late99, collections, collected }) {
  const ms = number => number.toFixed(2)
  return `${text(took)} ms; a turn of the event loop p50 ${ms(turn)} ms, p99 ${ms(turn99)} ms, max ${ms(longest)} ms; ` +
    `a timer late by p50 ${ms(late50)} ms, p99 ${ms(late99)} ms; ${collections} collections of garbage, max ${ms(collected)} ms`
}

/** Milliseconds from the SIGKILL of a lock's owner to the next one's callback, under skep itself: SKEP_BIN. */
async function handover (skepBin, rounds) {
  const dir = fs.mkdtempSync('/tmp/skep-bench-')
  const modules = path.join(dir, 'modules')
  fs.mkdirSync(modules)
  fs.symlinkSync(PACKAGE, path.join(modules, 'skep'))
  const app = path.join(dir, 'app.js')
  const log = path.join(dir, 'log')
  fs.writeFileSync(app, `
    require('skep').locks.request('held', () => {
      require('fs').appendFileSync(process.env.LOG, process.pid + ' ' + process.hrtime.bigint() + '\\n')
      return new Promise(() => {})
    })
    setInterval(() => {}, 1e6)`)
  const env = { ...process.env, SKEP_HOME: path.join(dir, 'home'), NODE_PATH: modules, LOG: log }
  const skep = (...args) => execFileSync(skepBin, args, { env, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] })
  const until = async f => { for (let seen; ;) { if ((seen = f())) return seen; await new Promise(resolve => setTimeout(resolve, 5)) } }
  const times = []
  try {
    skep('start', app, '-i', '3', '--name', 'locks')
    const grants = () => fs.existsSync(log) ? fs.readFileSync(log, 'utf8').trim().split('\n').map(line => line.split(' ')) : []
    const waiting = () => JSON.parse(skep('state', 'locks', '--json'))[0]?.waiting.length === 2
    for (let round = 1; round <= rounds; round++) {
      const [pid] = (await until(() => grants().length === round && grants()))[round - 1]
      await until(waiting)
      const begin = process.hrtime.bigint()
      process.kill(Number(pid), 'SIGKILL')
      // Clocks of one machine: hrtime is CLOCK_MONOTONIC for all of its processes.
      const [, at] = (await until(() => grants().length === round + 1 && grants()))[round]
      times.push(Number(BigInt(at) - begin) / 1e6)
    }
  } finally {
    skep('kill')
    fs.rmSync(dir, { recursive: true, force: true })
  }
  return { p50: percentile(times, 0.5), max: Math.max(...times) }
}

async function memory (skep, redis) {
  const map = skep.map('million')
  const before = (await redis.tcp.info('memory')).match(/used_memory:(\d+)/)[1]
  const stats = () => JSON.parse(require(path.join(PACKAGE, 'lib', 'hub.cjs')).theHub().client.stats()).usedBytes
  const ours = stats()
  for (let i = 0; i < KEYS; i += 1000) {
    const pipeline = redis.unix.pipeline()
    for (let j = i; j < i + 1000; j++) {
      map.setSync(`key:${j}`, j)
      pipeline.set(`key:${j}`, j)
    }
    await pipeline.exec()
  }
  const after = (await redis.tcp.info('memory')).match(/used_memory:(\d+)/)[1]
  return { skep: (stats() - ours) / KEYS, redis: (after - before) / KEYS }
}

async function main () {
  const dir = fs.mkdtempSync('/dev/shm/skep-bench-')
  const supervisor = new Supervisor(path.join(dir, 'store'))
  const redis = await startRedis(dir)
  Object.assign(process.env, supervisor.env(1))
  const skep = require(PACKAGE)
  const large = 'x'.repeat(10_000)
  for (const [key, value] of [['k', 'x'.repeat(98)], ['l', large]]) {
    skep.map('sessions').setSync(key, value)
    await redis.tcp.set(key, value)
  }
  for (let i = 0; i < MEMBERS; i += 1000) {
    const pipeline = redis.unix.pipeline()
    for (let j = i; j < i + 1000; j++) {
      await skep.leaderboard('score').add(`m${j}`, j)
      pipeline.zadd('board', j, `m${j}`)
    }
    await pipeline.exec()
  }
  const version = (await redis.tcp.info('server')).match(/redis_version:(\S+)/)[1]
  console.log(`Node ${process.version}, Redis ${version}, ${require('node:os').cpus().length} CPUs, load ` +
    `${require('node:os').loadavg()[0].toFixed(1)}, medians of ${ROUNDS} rounds of ${SECONDS} s`)
  const env = { REDIS_SOCKET: redis.socket, REDIS_PORT: String(redis.port) }
  await compare(skep, redis)
  await compareTwo(skep, redis, { ...env, ...supervisor.env(2) })
  const message = {}
  for (const kind of ['skep', 'tcp', 'unix']) {
    const own = kind === 'skep' ? supervisor.env(10) : {}
    const { p50, p99, rare } = await latency(kind, { ...env, ...own })
    message[kind] = { p50, rare }
    results.figures[`message to another process, ${kind} (p50, p99 us)`] = [p50, p99]
    results.figures[`message to another process after a pause of 3 ms, ${kind} (p50 us)`] = [rare]
    console.log(`message to another process, ${kind}: p50 ${text(p50)} us, p99 ${text(p99)} us; after a pause p50 ${text(rare)} us`)
  }
  const { skep: ours, tcp } = message
  keep('message', ours.p50 / tcp.p50, `${text(ours.p50)} beside ${text(tcp.p50)} us; after a pause ${text(ours.rare)} beside ${text(tcp.rare)} us`)
  if (process.env.SKEP_BIN) {
    const { p50, max } = await handover(process.env.SKEP_BIN, 20)
    console.log(`a killed owner's lock at the next one: p50 ${p50.toFixed(2)} ms, max ${max.toFixed(2)} ms`)
    keep('handover', p50, `max ${max.toFixed(1)}`)
  }
  const idle = await lateness(() => new Promise(resolve => setTimeout(resolve, 200)))
  const crowded = await contended(skep)
  console.log(`nothing at all: ${lateText(idle)}`)
  console.log(`10,000 acquisitions of one lock, 100 waiting: ${lateText(crowded)}`)
  keep('late', crowded.turn99, `p50 ${crowded.turn.toFixed(2)}, max ${crowded.longest.toFixed(1)}`)
  const bytes = await memory(skep, redis)
  console.log(`memory of ${KEYS.toLocaleString('en-US')} small keys, bytes each: skep ${text(bytes.skep)}, Redis ` +
    `${text(bytes.redis)} (${(bytes.skep / bytes.redis).toFixed(2)} times)`)
  keep('memory', bytes.skep / bytes.redis, `${text(bytes.skep)} beside ${text(bytes.redis)} bytes a key`)
  redis.server.kill()
  fs.rmSync(dir, { recursive: true, force: true })
  if (process.env.RESULTS) fs.writeFileSync(process.env.RESULTS, JSON.stringify(results))
  process.exit(0)
}

if (process.argv[2] === 'echo') echo(process.argv[3])
else if (process.argv[2] === 'second') second()
else main()
