'use strict'
// The state on a Redis or Valkey server, for more than one machine: `SKEP_REDIS=redis://host:6379` (needs the package
// `ioredis`). Same methods as the native client, but each returns a promise. Every change of more than one key is one
// script (redis-scripts.cjs), hence atomic.
//
// What Redis promises less: nobody tells it when a worker dies, so locks, leases and jobs come back when their lease
// ends (LEASE_MS) instead of at once; a failover may lose an acknowledged write; a message published while the
// connection is down is lost.

const { randomUUID } = require('node:crypto')

const scripts = require('./redis-scripts.cjs')

/** A dead worker's locks are free after this time; a live one renews them three times as often. */
const LEASE_MS = 10_000
/** Calls that wait for a lost connection; more are refused. */
const PENDING_MAX = 10_000
/** How long a call waits for a lost connection. */
const COMMAND_MS = 10_000

const tagged = value => typeof value === 'string' ? Buffer.concat([Buffer.from([1]), Buffer.from(value)]) : value

/** As the native client gives values: text without its tag, or a Buffer with it. */
function untagged (stored) {
  if (stored === null || stored === undefined) return null
  return stored[0] === 1 ? stored.utf8Slice(1) : stored
}

/** The bytes of a space's key; the space is a text. */
const at = (space, key) => Buffer.concat([Buffer.from(`${space}:`), Buffer.from(key)])

class RedisClient {
  remote = true
  #redis
  #subscriber
  #events = []
  #id = randomUUID()
  #held = new Map()
  #waits = new Map()
  #counters = new Map()
  #renewal

  constructor (url, Redis) {
    const options = {
      enableAutoPipelining: true,
      commandTimeout: COMMAND_MS,
      maxRetriesPerRequest: null,
      retryStrategy: attempt => Math.min(50 * 2 ** Math.min(attempt, 6), 2000),
      reconnectOnError: error => /^(READONLY|LOADING|MASTERDOWN)/.test(error.message) ? 2 : false
    }
    this.#redis = new Redis(url, options)
    this.#subscriber = new Redis(url, { ...options, commandTimeout: undefined, enableAutoPipelining: false })
    for (const connection of [this.#redis, this.#subscriber]) connection.on('error', () => {})
    for (const [name, [numberOfKeys, lua]] of Object.entries(scripts)) {
      this.#redis.defineCommand(`skep${name}`, { numberOfKeys, lua })
    }
    this.#subscriber.subscribe(`skep:to:${this.#id}`)
    this.#subscriber.on('messageBuffer', (channel, message) => this.#heard(String(channel), message))
    this.#unref()
  }

  #unref () {
    for (const connection of [this.#redis, this.#subscriber]) {
      connection.on('connect', () => this.#holding || connection.stream?.unref?.())
    }
  }

  #holding = false

  /** The hub tells whether somebody waits: then the connections keep the process alive. */
  keepAlive (holding) {
    this.#holding = holding
    for (const { stream } of [this.#redis, this.#subscriber]) holding ? stream?.ref?.() : stream?.unref?.()
  }

  #call (script, keys, ...args) {
    if (this.#redis.commandQueue.length + this.#redis.offlineQueue.length > PENDING_MAX) {
      throw Object.assign(new Error(`skep: ${PENDING_MAX} calls wait for Redis already; is it reachable?`),
        { code: 'ERR_SKEP_REDIS' })
    }
    return this.#redis[`skep${script}Buffer`](...keys, ...args)
  }

  #heard (channel, message) {
    if (channel === `skep:to:${this.#id}`) {
      const [kind, request, ...rest] = String(message).split('\0')
      this.#tell(kind, Number(request), kind === 'failed' ? rest.join('\0') : Number(rest[0]))
    } else {
      const [head, payload] = [message.subarray(0, 40), message.subarray(40)]
      const own = head.latin1Slice(0, 36) === this.#id
      this.#tell('message', channel.slice('skep:ch:'.length), head.readUInt32BE(36), untagged(payload), own ? 1 : 0)
    }
  }

  #tell (...event) {
    this.#events.push(event)
    this.onwake?.()
  }

  signalled () { return this.#events.length > 0 }
  poll () { return [false, ...this.#events.splice(0)] }
  setPatience () {}

  /** Whether the server keeps an append-only file. */
  async keeps () {
    return !/^aof_enabled:0/m.test(await this.#redis.info('persistence'))
  }

  async close () {
    clearInterval(this.#renewal)
    this.#redis.disconnect()
    this.#subscriber.disconnect()
  }

  // --- counters: `add` answers at once with what it knows; the sum on the server is exact

  counterPlace (name) {
    if (!this.#counters.has(name)) this.#counters.set(name, { value: 0 })
    return name
  }

  counterPage () { return null }

  counterAdd (name, by) {
    const counter = this.#counters.get(name)
    counter.value += by
    if (by !== 0) this.#redis.incrby(`skep:n:${name}`, by).then(sum => { counter.value = sum }, () => {})
    return counter.value
  }

  counterSet (name, value) {
    const counter = this.#counters.get(name)
    const before = counter.value
    counter.value = value
    this.#redis.set(`skep:n:${name}`, value).catch(() => {})
    return before
  }

  async counterRead (name) { return Number(await this.#redis.get(`skep:n:${name}`) ?? 0) }

  // --- keys

  space (kind, name) { return `skep:${kind}:${name}` }

  async get (space, key) { return untagged(await this.#redis.getBuffer(at(space, key))) }

  async getVersioned (space, key) {
    const [value, version] = await this.#call('Versioned', [at(space, key)])
    return value === null ? null : [untagged(value), String(version)]
  }

  async set (space, key, value, expires, when) {
    const end = expires > 0 ? ['PXAT', Math.ceil(expires)] : []
    const condition = [[], ['NX'], ['XX']][when]
    return await this.#redis.set(at(space, key), tagged(value), ...end, ...condition) !== null
  }

  async setIfVersion (space, key, value, expires, version) {
    const to = value === undefined ? ['', 0] : [tagged(value), 1]
    return await this.#call('SetIfVersion', [at(space, key)], String(version), ...to, Math.ceil(expires)) === 1
  }

  async delete (space, key) { return await this.#redis.del(at(space, key)) === 1 }

  async expire (space, key, end) {
    if (end > 0) return await this.#redis.pexpireat(at(space, key), Math.ceil(end)) === 1
    await this.#redis.persist(at(space, key))
    return await this.#redis.exists(at(space, key)) === 1
  }

  async expires (space, key) {
    const end = await this.#redis.pexpiretime(at(space, key))
    return end === -2 ? -1 : Math.max(end, 0)
  }

  async #keys (space) {
    const keys = new Set()
    let cursor = '0'
    do {
      const pattern = `${space.replace(/[*?[\]\\]/g, '\\$&')}:*`
      const [next, page] = await this.#redis.scan(cursor, 'MATCH', pattern, 'COUNT', 1000)
      for (const key of page) keys.add(key)
      cursor = next
    } while (cursor !== '0')
    return [...keys]
  }

  /** All at once: Redis knows no order of keys. */
  async scan (space) {
    const keys = (await this.#keys(space)).sort()
    const values = keys.length > 0 ? await this.#redis.mgetBuffer(keys) : []
    const flat = keys.flatMap((key, i) => values[i] === null ? [] : [key.slice(space.length + 1), untagged(values[i])])
    return [null, ...flat]
  }

  async clear (space) {
    const keys = await this.#keys(space)
    if (keys.length > 0) await this.#redis.unlink(keys)
    return 0
  }

  async atomic (checks, changes) {
    const [keys, args] = [[], [checks.length / 3]]
    for (let i = 0; i < checks.length; i += 3) {
      keys.push(at(checks[i], checks[i + 1]))
      args.push(String(checks[i + 2]))
    }
    for (let i = 0; i < changes.length;) {
      const kind = changes[i++]
      if (kind === 2) {
        keys.push(`skep:q:${changes[i++]}`)
        args.push(2, tagged(changes[i++]), Date.now())
      } else {
        keys.push(at(changes[i++], changes[i++]))
        if (kind === 0) args.push(0, tagged(changes[i++]), Math.ceil(changes[i++]))
        else args.push(1, '', 0)
      }
    }
    return await this.#redis.skepAtomic(keys.length, ...keys, ...args) === 1
  }

  // --- locks

  async lock (name, request, shared, ifBusy, ttl) {
    const me = `${this.#id}\0${request}`
    const mode = shared ? 's' : 'x'
    const token = await this.#call('Lock', [`skep:l:${name}`], me, mode, ifBusy, ttl || LEASE_MS, Date.now(), this.#id)
    if (token === 0) this.#await(request, name, LEASE_MS)
    if (token > 0) this.#hold(request, name, ttl)
    return token
  }

  /** Looks again when the holder's lease would be over: it may have died. */
  #await (request, name, ms) {
    const again = setInterval(() => {
      this.#call('LockNext', [`skep:l:${name}`], Date.now(), LEASE_MS).catch(() => {})
    }, ms / 2)
    again.unref()
    this.#waits.set(request, { name, again })
  }

  #hold (request, name, ttl) {
    if (ttl > 0) {
      const timer = setTimeout(() => this.#lost(request), ttl)
      this.#held.set(request, { name, timer })
      return
    }
    this.#held.set(request, { name })
    this.#renewal ??= setInterval(() => this.#renew(), LEASE_MS / 3).unref()
  }

  #lost (request) {
    const { name } = this.#held.get(request) ?? {}
    this.#tell('lost', request)
    if (name !== undefined) this.#call('LockNext', [`skep:l:${name}`], Date.now(), LEASE_MS).catch(() => {})
  }

  #renew () {
    for (const [request, { name, timer }] of this.#held) {
      if (timer) continue
      this.#call('Renew', [`skep:l:${name}`], `${this.#id}\0${request}`, Date.now() + LEASE_MS).then(mine => {
        if (mine === 0 && this.#held.has(request)) this.#tell('lost', request)
      }, () => {})
    }
  }

  /** The hub hands a grant over: from now on it is held. */
  granted (request) {
    const wait = this.#waits.get(request)
    if (!wait) return
    clearInterval(wait.again)
    this.#waits.delete(request)
    this.#hold(request, wait.name, 0)
  }

  async unlock (name, request) {
    clearTimeout(this.#held.get(request)?.timer)
    this.#held.delete(request)
    return await this.#call('Unlock', [`skep:l:${name}`], `${this.#id}\0${request}`, Date.now(), LEASE_MS) === 1
  }

  async lockCancel (request) {
    const wait = this.#waits.get(request)
    if (!wait) return false
    clearInterval(wait.again)
    const me = `${this.#id}\0${request}`
    return await this.#call('LockCancel', [`skep:l:${wait.name}`], me, Date.now(), LEASE_MS) === 1
  }

  async locks () {
    const names = await this.#keys('skep:l')
    const all = await Promise.all(names.filter(name => !name.endsWith('\0w')).map(async key => {
      const [held, pending] = await this.#call('LockView', [key])
      const who = text => {
        const [worker, , mode, token, since] = String(text).split('\0')
        return { worker, mode: mode === 's' ? 'shared' : 'exclusive', token: Number(token), since: Number(since) }
      }
      return { name: key.slice('skep:l:'.length), held: held.map(who), pending: pending.map(who) }
    }))
    return JSON.stringify(all)
  }

  // --- single flight

  async flightBegin (name, request, leaseMs) {
    const [kind, value, token] =
      await this.#call('Begin', [`skep:o:${name}`], `${this.#id}\0${request}`, leaseMs, Date.now())
    const number = token === null || token === undefined ? undefined : Number(token)
    if (String(kind) === 'wait') return ['wait', number]
    return [String(kind), untagged(value) ?? undefined, number]
  }

  async flightLand (name, token, value, fresh, before, stale) {
    return await this.#call('Land', [`skep:o:${name}`], token, tagged(value), Math.ceil(fresh), Math.ceil(before),
      Math.ceil(stale), Date.now()) === 1
  }

  async flightFail (name, token, message) {
    return await this.#call('Fail', [`skep:o:${name}`], token, message) === 1
  }

  async flightValue (name, token) {
    return untagged(await this.#call('Landed', [`skep:o:${name}`], token, Date.now()))
  }

  async flightCancel () { return false }
  async flightForget (name) { return await this.#redis.hdel(`skep:o:${name}`, 'token', 'value') > 0 }

  // --- channels

  subscribe (channel) { this.#ready = this.#subscriber.subscribe(`skep:ch:${channel}`) }
  unsubscribe (channel) { this.#subscriber.unsubscribe(`skep:ch:${channel}`) }
  #ready

  async publish (channel, port, payload) {
    const head = Buffer.alloc(40)
    head.write(this.#id, 'latin1')
    head.writeUInt32BE(port, 36)
    // Own listeners first: what is posted after `channel()` returned reaches them.
    await this.#ready
    return this.#redis.publish(`skep:ch:${channel}`, Buffer.concat([head, tagged(payload)]))
  }

  // --- queues

  async push (name, data, priority, delay, retries, after, doubles) {
    return String(await this.#call('Push', [`skep:q:${name}`], tagged(data), priority, Math.ceil(delay), retries,
      Math.ceil(after), doubles ? 1 : 0, Date.now()))
  }

  async pop (name, request, visibility) {
    const answer = await this.#call('Pop', [`skep:q:${name}`], `${this.#id}\0${request}`, Math.ceil(visibility), Date.now())
    if (answer.length === 1) return [Number(answer[0])]
    return [String(answer[0]), untagged(answer[1]), Number(answer[2])]
  }

  async jobDone (name, id, attempt) { return await this.#call('Done', [`skep:q:${name}`], id, attempt) === 1 }

  async jobFailed (name, id, attempt, error, retries, after, doubles) {
    return await this.#call('JobFailed', [`skep:q:${name}`], id, attempt, error.slice(0, 4096), retries, Math.ceil(after),
      doubles ? 1 : 0, Date.now()) === 1
  }

  async jobExtend (name, id, attempt, ms) {
    return await this.#call('Extend', [`skep:q:${name}`], id, attempt, Math.ceil(Date.now() + ms)) === 1
  }

  async queueLeave (name) { await this.#call('Leave', [`skep:q:${name}`], this.#id) }
  async queueView (name) { return this.#call('View', [`skep:q:${name}`]) }

  async queueDead (name, most) {
    const flat = await this.#call('Dead', [`skep:q:${name}`], most)
    return flat.map((item, i) => i % 3 === 1 ? untagged(item) : String(item))
  }

  async queueRevive (name, most) { return this.#call('Revive', [`skep:q:${name}`], most) }

  // --- leaderboards

  async boardSet (space, member, score) {
    number(score)
    return await this.#redis.zadd(space, score, member) === 1
  }

  async boardAdd (space, member, by) { return Number(await this.#redis.zincrby(space, number(by), member)) }
  async boardRemove (space, member) { return await this.#redis.zrem(space, member) === 1 }

  async boardScore (space, member) {
    const score = await this.#redis.zscore(space, member)
    return score === null ? null : Number(score)
  }

  boardRank (space, member) { return this.#redis.zrevrank(space, member) }
  boardLen (space) { return this.#redis.zcard(space) }

  async boardRange (space, start, most) {
    const flat = await this.#redis.zrevrange(space, start, start + most - 1, 'WITHSCORES')
    return flat.map((item, i) => i % 2 === 1 ? Number(item) : item)
  }

  // --- limiters

  consume (space, key, points, limit, windowMs, blockMs) {
    return this.#call('Consume', [at(space, key)], points, limit, Math.ceil(windowMs), Math.ceil(blockMs), Date.now())
  }
}

function number (score) {
  if (!Number.isNaN(score)) return score
  throw Object.assign(new Error('the value is not a valid float'), { code: 'ERR_SKEP_NOT_A_NUMBER' })
}

module.exports = { RedisClient }
