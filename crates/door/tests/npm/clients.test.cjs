'use strict'
// Run with --test-force-exit: queues and servers would have to be closed in an order of their own.
// Clients and libraries from npm, unmodified, do their normal job at the door (or at any Redis: SKEP_REDIS_PATH).

const assert = require('node:assert/strict')
const { once } = require('node:events')
const http = require('node:http')
const { test } = require('node:test')

const path = process.env.SKEP_REDIS_PATH
const Redis = require('ioredis')
const LONG = { timeout: 60_000 }

const ioredis = options => new Redis({ path, maxRetriesPerRequest: null, ...options })

/** Connected clients of node-redis, of this major version. */
async function nodeRedis(options, version = 'redis') {
  const { createClient } = require(version)
  const client = createClient({ socket: { path }, ...options })
  client.on('error', () => {})
  await client.connect()
  return client
}

test('ioredis takes the URL that workers are given', LONG, async () => {
  const client = new Redis(`unix://${path}`)
  assert.equal(await client.set('url', 'yes'), 'OK')
  assert.equal(await client.get('url'), 'yes')
})

for (const version of ['ioredis', 'ioredis-5']) test(`${version}: commands, pipelines, transactions, scans, messages, scripts`, LONG, async () => {
  const Redis = require(version)
  const ioredis = () => new Redis({ path, maxRetriesPerRequest: null })
  const client = ioredis()
  await client.del('h', 'n', 'z')
  const [news, later] = [`news:${version}`, `later:${version}`]
  await client.hset('h', { a: 1, b: 2 })
  assert.deepEqual(await client.hgetall('h'), { a: '1', b: '2' })
  const piped = await client.pipeline().incr('n').incr('n').get('n').lpush('n', 'x').exec()
  assert.deepEqual(piped.slice(0, 3), [[null, 1], [null, 2], [null, '2']])
  assert.match(piped[3][0].message, /WRONGTYPE/)
  assert.deepEqual(await client.multi().zadd('z', 1, 'a', 2, 'b').zrange('z', 0, -1, 'WITHSCORES').exec(),
    [[null, 2], [null, ['a', '1', 'b', '2']]])
  await Promise.all(Array.from({ length: 300 }, (_, i) => client.set(`scan:${i}`, i)))
  const found = new Set()
  for await (const keys of client.scanStream({ match: 'scan:*', count: 50 })) keys.forEach(key => found.add(key))
  assert.equal(found.size, 300)
  client.defineCommand('twice', { numberOfKeys: 1, lua: "return redis.call('incrby', KEYS[1], ARGV[1] * 2)" })
  assert.equal(await client.twice('n', 4), 10)
  assert.equal(await client.twice('n', 4), 18)
  const listener = ioredis()
  await listener.subscribe(news)
  const heard = once(listener, 'message')
  assert.equal(await client.publish(news, 'hello'), 1)
  assert.deepEqual(await heard, [news, 'hello'])
  const waiting = ioredis().blpop(later, 0)
  while (!(await client.client('LIST')).includes('cmd=blpop')) ;
  await client.rpush(later, 'now')
  assert.deepEqual(await waiting, [later, 'now'])
})

for (const version of ['redis', 'redis-5']) test(`node-redis (${version}): RESP2 and RESP3, WATCH, iterators, messages`, LONG, async () => {
  for (const RESP of [2, 3]) {
    const client = await nodeRedis({ RESP }, version)
    await client.del(['nr', 'nr:z'])
    await client.hSet('nr', { a: '1', b: '2' })
    assert.deepEqual({ ...await client.hGetAll('nr') }, { a: '1', b: '2' })
    await client.zAdd('nr:z', [{ score: 1.5, value: 'a' }, { score: 2, value: 'b' }])
    assert.deepEqual(await client.zRangeWithScores('nr:z', 0, -1), [{ value: 'a', score: 1.5 }, { value: 'b', score: 2 }])
    assert.equal(await client.zScore('nr:z', 'a'), 1.5)
    await client.watch('nr')
    const other = await nodeRedis({ RESP }, version)
    await other.hSet('nr', 'a', '9')
    await assert.rejects(client.multi().hGet('nr', 'a').exec(), /watched keys/i)
    assert.deepEqual(await client.multi().hGet('nr', 'a').ping().exec(), ['9', 'PONG'])
    const channel = `nr:news:${version}:${RESP}`
    const heard = new Promise(resolve => other.subscribe(channel, resolve))
    while ((await client.publish(channel, 'x')) === 0) ;
    assert.equal(await heard, 'x')
    await client.xAdd('nr:s', '*', { k: 'v' })
    const [entry] = await client.xRange('nr:s', '-', '+')
    assert.deepEqual({ ...entry.message }, { k: 'v' })
    await client.del('nr:s')
  }
})

test('connect-redis keeps sessions of express-session', LONG, async () => {
  const express = require('express')
  const session = require('express-session')
  const { RedisStore } = require('connect-redis')
  const client = await nodeRedis()
  const prefix = `sess${process.pid}:`
  const app = express()
  app.use(session({ store: new RedisStore({ client, prefix }), secret: 's', resave: false, saveUninitialized: false }))
  app.get('/', (request, response) => response.json(request.session.count = (request.session.count ?? 0) + 1))
  const server = app.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const url = `http://127.0.0.1:${server.address().port}/`
  const first = await fetch(url)
  const cookie = first.headers.getSetCookie()[0].split(';')[0]
  assert.equal(await (await fetch(url, { headers: { cookie } })).json(), 2)
  assert.equal(await (await fetch(url, { headers: { cookie } })).json(), 3)
  const store = new RedisStore({ client, prefix })
  assert.equal(await store.length(), 1)
})

test('rate-limiter-flexible counts, blocks and rewards', LONG, async () => {
  const { RateLimiterRedis } = require('rate-limiter-flexible')
  for (const [name, storeClient] of [['io', ioredis({ enableOfflineQueue: true })], ['nr', await nodeRedis()]]) {
    const limiter = new RateLimiterRedis({ storeClient, points: 3, duration: 60, blockDuration: 60, keyPrefix: `rl:${name}`,
      useRedisPackage: name === 'nr' })
    await limiter.delete('ann')
    for (let i = 2; i >= 0; i--) assert.equal((await limiter.consume('ann')).remainingPoints, i)
    await assert.rejects(limiter.consume('ann'), refusal => refusal.msBeforeNext > 50_000)
    assert.equal((await limiter.consume('bob')).remainingPoints, 2)
    assert.equal((await limiter.get('bob')).consumedPoints, 1)
    await limiter.delete('bob')
  }
})

for (const version of ['redlock', 'redlock-4']) test(`${version} excludes, extends and lets go`, LONG, async () => {
  const exported = require(version)
  const Redlock = exported.default ?? exported
  const redlock = new Redlock([ioredis()], { retryCount: 0 })
  redlock.on('error', () => {})
  const lock = await redlock.acquire(['lock:a'], 30_000)
  await assert.rejects(redlock.acquire(['lock:a'], 30_000))
  const longer = await lock.extend(30_000)
  const release = lock => version === 'redlock' ? lock.release() : lock.unlock()
  await release(longer)
  await release(await redlock.acquire(['lock:a'], 30_000))
})

test('@socket.io/redis-adapter carries messages between servers', LONG, async () => {
  const { Server } = require('socket.io')
  const { io: connect } = require('socket.io-client')
  const { createAdapter } = require('@socket.io/redis-adapter')
  const servers = []
  for (let i = 0; i < 2; i++) {
    const server = http.createServer()
    const io = new Server(server, { adapter: createAdapter(ioredis(), ioredis()) })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    servers.push({ io, url: `http://127.0.0.1:${server.address().port}` })
  }
  const clients = servers.map(({ url }) => connect(url, { transports: ['websocket'] }))
  await Promise.all(clients.map(client => once(client, 'connect')))
  // Both adapters have subscribed when each sees the sockets of both.
  while ((await servers[0].io.fetchSockets().catch(() => [])).length < 2) ;
  const heard = Promise.all(clients.map(client => once(client, 'news')))
  servers[0].io.emit('news', 'hello')
  assert.deepEqual(await heard, [['hello'], ['hello']])
})

for (const version of ['bullmq', 'bullmq-5']) test(`${version}: jobs, retries, delays, priorities, repeats, flows, events`, LONG, async () => {
  const { Queue, Worker, QueueEvents, FlowProducer } = require(version)
  const connection = { path }
  const name = `${version}${process.pid}`
  const queue = new Queue(name, { connection })
  const events = new QueueEvents(name, { connection })
  await events.waitUntilReady()
  const done = []
  const worker = new Worker(name, async job => {
    if (job.name === 'fails once' && job.attemptsMade === 0) throw new Error('first try')
    done.push(job.name)
    return job.data.n * 2
  }, { connection, concurrency: 4 })
  const job = await queue.add('plain', { n: 21 })
  assert.equal(await job.waitUntilFinished(events), 42)
  const retried = await queue.add('fails once', { n: 1 }, { attempts: 2, backoff: { type: 'fixed', delay: 5 } })
  assert.equal(await retried.waitUntilFinished(events), 2)
  const delayed = await queue.add('delayed', { n: 2 }, { delay: 50 })
  assert.equal(await delayed.waitUntilFinished(events), 4)
  const bulk = await queue.addBulk(Array.from({ length: 50 }, (_, n) => ({ name: 'bulk', data: { n }, opts: { priority: 1 + n % 3 } })))
  await Promise.all(bulk.map(job => job.waitUntilFinished(events)))
  await queue.upsertJobScheduler('every', { every: 30 }, { name: 'repeated', data: { n: 0 } })
  while (done.filter(job => job === 'repeated').length < 2) await once(worker, 'completed')
  await queue.removeJobScheduler('every')
  const flow = new FlowProducer({ connection })
  const tree = await flow.add({ name: 'parent', queueName: name, data: { n: 5 }, children: [{ name: 'child', queueName: name, data: { n: 1 } }] })
  assert.equal(await tree.job.waitUntilFinished(events), 10)
  assert.ok(done.indexOf('child') < done.indexOf('parent'))
  assert.equal((await queue.getJobCounts()).failed, 0)
})

test('Bull: jobs, a failure, a delay', LONG, async () => {
  const Bull = require('bull')
  const queue = new Bull(`bull${process.pid}`, { redis: { path }, settings: { guardInterval: 100 } })
  queue.process(async job => {
    if (job.data.fail) throw new Error('no')
    return job.data.n + 1
  })
  assert.equal(await (await queue.add({ n: 1 })).finished(), 2)
  await assert.rejects((await queue.add({ fail: true })).finished(), /no/)
  assert.equal(await (await queue.add({ n: 2 }, { delay: 50 })).finished(), 3)
})

test('Bee-Queue: jobs and their results', LONG, async () => {
  const Bee = require('bee-queue')
  const queue = new Bee(`bee${process.pid}`, { redis: { path } })
  queue.process(async job => job.data.x + job.data.y)
  const job = queue.createJob({ x: 2, y: 3 })
  const succeeded = once(job, 'succeeded')
  await job.save()
  assert.deepEqual(await succeeded, [5])
})

test('Bottleneck clustered keeps to its limit', LONG, async () => {
  const Bottleneck = require('bottleneck')
  const limiter = new Bottleneck({ id: `bn${process.pid}`, datastore: 'ioredis', clearDatastore: true, maxConcurrent: 2,
    clientOptions: { path }, Redis })
  await limiter.ready()
  let running = 0
  let most = 0
  await Promise.all(Array.from({ length: 20 }, () => limiter.schedule(async () => {
    most = Math.max(most, ++running)
    await new Promise(setImmediate)
    running--
  })))
  assert.ok(most <= 2)
})
