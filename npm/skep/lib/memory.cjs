'use strict'
// The state of one process alone, with the semantics of the native client: for `node app.js` without skep, and tests.
// Same methods, same answers (see npm/addon/src/client.rs); events come by `onwake`.

const { performance } = require('node:perf_hooks')

const { MemoryKeys } = require('./memory-keys.cjs')

class MemoryClient extends MemoryKeys {
  #events = []
  #signalled = false
  #fence = Math.floor((performance.timeOrigin + performance.now()) * 1000)
  #locks = new Map()
  #flights = new Map()
  #channels = new Set()
  #queues = new Map()
  #jobs = 0

  owner () { return '0.0' }
  signalled () { return this.#signalled }
  setPatience () {}
  detach () {}

  poll () {
    this.#signalled = false
    return [false, ...this.#events.splice(0)]
  }

  #tell (...event) {
    this.#events.push(event)
    this.#signalled = true
    this.onwake?.()
  }

  // --- locks

  lock (name, request, shared, ifBusy, ttl) {
    const lock = this.#locks.get(name) ?? { held: [], pending: [] }
    this.#locks.set(name, lock)
    const who = { request, shared, ttl, since: Date.now() }
    if (lock.pending.length === 0 && admits(lock, who)) return this.#grant(name, lock, who)
    if (ifBusy === 1) return -1
    if (ifBusy === 2) {
      for (const holder of lock.held.splice(0)) this.#lose(holder)
      return this.#grant(name, lock, who)
    }
    lock.pending.push(who)
    return 0
  }

  #lose (holder) {
    clearTimeout(holder.timer)
    this.#tell('lost', holder.request)
  }

  #grant (name, lock, who) {
    who.token = ++this.#fence
    who.since = Date.now()
    if (who.ttl > 0) {
      who.timer = setTimeout(() => {
        lock.held = lock.held.filter(holder => holder !== who)
        this.#lose(who)
        this.#next(name, lock)
      }, who.ttl)
    }
    lock.held.push(who)
    return who.token
  }

  #next (name, lock) {
    while (lock.pending.length > 0 && admits(lock, lock.pending[0])) {
      const who = lock.pending.shift()
      this.#tell('lock', who.request, this.#grant(name, lock, who))
    }
    if (lock.held.length === 0 && lock.pending.length === 0) this.#locks.delete(name)
  }

  unlock (name, request) {
    const lock = this.#locks.get(name)
    const holder = lock?.held.find(holder => holder.request === request)
    if (!holder) return false
    clearTimeout(holder.timer)
    lock.held = lock.held.filter(other => other !== holder)
    this.#next(name, lock)
    return true
  }

  lockCancel (request) {
    for (const [name, lock] of this.#locks) {
      const index = lock.pending.findIndex(who => who.request === request)
      if (index >= 0) {
        lock.pending.splice(index, 1)
        this.#next(name, lock)
        return true
      }
    }
    return false
  }

  locks () {
    const who = ({ shared, token, since }) =>
      ({ worker: '0.0', mode: shared ? 'shared' : 'exclusive', token, since })
    return JSON.stringify([...this.#locks].map(([name, lock]) =>
      ({ name, held: lock.held.map(who), pending: lock.pending.map(who) })))
  }

  // --- single flight

  flightBegin (name, request, leaseMs) {
    const now = Date.now()
    const flight = this.#flights.get(name) ?? { lease: 0, until: 0, waiting: [] }
    this.#flights.set(name, flight)
    const leased = flight.lease !== 0 && flight.until > now
    const fresh = flight.token !== undefined && flight.fresh > now
    if (fresh && (leased || flight.refresh > now)) return ['fresh', flight.value]
    if (leased) {
      flight.waiting.push(request)
      return ['wait', flight.until]
    }
    flight.lease = ++this.#fence
    flight.until = now + leaseMs
    if (fresh) return ['refresh', flight.value, flight.lease]
    const usable = flight.token !== undefined && flight.stale > now
    return ['fetch', usable ? flight.value : undefined, flight.lease]
  }

  #leased (name, token) {
    const flight = this.#flights.get(name)
    if (!flight || flight.lease !== token || token === 0) return undefined
    flight.lease = 0
    return flight
  }

  flightLand (name, token, value, freshMs, refreshBeforeMs, staleMs) {
    const flight = this.#leased(name, token)
    if (!flight) return false
    const now = Date.now()
    Object.assign(flight, {
      value, token, fresh: now + freshMs, refresh: now + freshMs - refreshBeforeMs, stale: now + freshMs + staleMs
    })
    for (const request of flight.waiting.splice(0)) this.#tell('landed', request, token)
    return true
  }

  flightFail (name, token, message) {
    const flight = this.#leased(name, token)
    if (!flight) return false
    for (const request of flight.waiting.splice(0)) this.#tell('failed', request, message)
    return true
  }

  flightValue (name, token) {
    const flight = this.#flights.get(name)
    if (flight?.token === undefined) return null
    return (token === 0 ? flight.stale > Date.now() : flight.token >= token) ? flight.value : null
  }

  flightCancel (request) {
    for (const flight of this.#flights.values()) {
      const index = flight.waiting.indexOf(request)
      if (index >= 0) return flight.waiting.splice(index, 1).length === 1
    }
    return false
  }

  flightForget (name) {
    const flight = this.#flights.get(name)
    const had = flight?.token !== undefined
    if (flight) flight.token = flight.value = undefined
    return had
  }

  // --- channels

  subscribe (channel) { this.#channels.add(channel) }
  unsubscribe (channel) { this.#channels.delete(channel) }

  publish (channel, port, payload) {
    if (!this.#channels.has(channel)) return 0
    this.#tell('message', channel, port, payload, 1)
    return 1
  }

  // --- queues

  #queue (name) {
    let queue = this.#queues.get(name)
    if (!queue) this.#queues.set(name, queue = { jobs: new Map(), waiting: [] })
    return queue
  }

  #tellOne (queue) {
    const request = queue.waiting.shift()
    if (request !== undefined) this.#tell('queue', request)
  }

  push (name, data, priority, delay, retries, after, doubles) {
    const queue = this.#queue(name)
    const id = String(++this.#jobs)
    const [at, part] = [Date.now() + delay, delay > 0 ? 'delayed' : 'ready']
    queue.jobs.set(id, { id, data, priority, order: this.#jobs, at, retries, after, doubles, attempts: 0, part })
    this.#tellOne(queue)
    return id
  }

  pop (name, request, visibility) {
    const queue = this.#queue(name)
    queue.waiting = queue.waiting.filter(other => other !== request)
    const now = Date.now()
    let [first, due] = [undefined, 0]
    for (const job of queue.jobs.values()) {
      const resting = job.part === 'delayed' || job.part === 'active'
      if (resting && job.at <= now) job.part = job.attempts > job.retries ? 'dead' : 'ready'
      else if (resting) due = due === 0 ? job.at : Math.min(due, job.at)
      if (job.part !== 'ready') continue
      const before = !first || job.priority > first.priority ||
        (job.priority === first.priority && job.order < first.order)
      if (before) first = job
    }
    if (!first) {
      queue.waiting.push(request)
      return [due]
    }
    Object.assign(first, { part: 'active', at: now + visibility, attempts: first.attempts + 1 })
    return [first.id, first.data, first.attempts]
  }

  #held (name, id, attempt) {
    const job = this.#queue(name).jobs.get(id)
    return job?.part === 'active' && job.attempts === attempt ? job : undefined
  }

  jobDone (name, id, attempt) {
    return this.#held(name, id, attempt) !== undefined && this.#queue(name).jobs.delete(id)
  }

  jobFailed (name, id, attempt, error, retries, after, doubles) {
    const job = this.#held(name, id, attempt)
    if (!job) return false
    if (retries >= 0) Object.assign(job, { retries, after, doubles })
    if (job.attempts > job.retries) {
      Object.assign(job, { part: 'dead', error })
    } else {
      const doublings = job.doubles ? Math.min(job.attempts - 1, 6) : 0
      Object.assign(job, { part: 'delayed', at: Date.now() + job.after * 2 ** doublings })
    }
    this.#tellOne(this.#queue(name))
    return true
  }

  jobExtend (name, id, attempt, ms) {
    const job = this.#held(name, id, attempt)
    if (job) job.at = Date.now() + ms
    return job !== undefined
  }

  queueLeave (name) { this.#queue(name).waiting = [] }

  queueView (name) {
    const counts = { ready: 0, delayed: 0, active: 0, dead: 0 }
    for (const job of this.#queue(name).jobs.values()) counts[job.part]++
    return [counts.ready, counts.delayed, counts.active, counts.dead]
  }

  queueDead (name, most) {
    const dead = [...this.#queue(name).jobs.values()].filter(job => job.part === 'dead').slice(0, most)
    return dead.flatMap(job => [job.id, job.data, job.error ?? ''])
  }

  queueRevive (name, most) {
    const queue = this.#queue(name)
    const dead = [...queue.jobs.values()].filter(job => job.part === 'dead').slice(0, most)
    for (const job of dead) {
      Object.assign(job, { part: 'ready', attempts: 0 })
      this.#tellOne(queue)
    }
    return dead.length
  }
}

function admits (lock, who) {
  return lock.held.length === 0 || (who.shared && lock.held.every(holder => holder.shared))
}

module.exports = { MemoryClient }
