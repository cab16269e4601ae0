'use strict'
// The one connection of this process to its state: the client (native, or in memory), who waits for which event, and
// patience with a writer that is frozen.

const net = require('node:net')
const os = require('node:os')
const { performance } = require('node:perf_hooks')

const { MemoryClient } = require('./memory.cjs')
const native = require('./native.cjs')

/** A call gives up after this time when another process blocks all writing. */
const BUSY_MS = 5000
/** How long one call blocks this thread for another writer, in microseconds: a transaction takes a few. */
const PATIENCE_US = 200
/** When a call that met a frozen writer is tried again. */
const RETRY_MS = 1
/**
 * Calls in one turn of the event loop: some hundred microseconds. An answer is there at once, so that a loop of awaits
 * would otherwise never let timers and sockets have their turn.
 */
const TURN_CALLS = 32
/** And no further call when a turn has taken so long: large values, and callbacks of the app between the calls. */
const TURN_MS = 0.4
/** Events given out in one turn: each may run a callback of the app. */
const TURN_EVENTS = 32
/**
 * Messages that come within this time of each other are a conversation: after some of them in a row the process looks for
 * the next one by itself instead of being woken, which takes longer than all the rest of a message.
 */
const TALK_MS = 0.1
const TALK_MESSAGES = 3
/** Fewer answers, and it was in vain: another process may need the processor to answer. */
const TALK_WORTH = 8
/** Then so many messages pass until the next try, each time twice as many, up to the number at which trying costs nothing. */
const PAUSE_MESSAGES = 8
const PAUSE_MESSAGES_MAX = 1024
/** One look, in microseconds: as long as an answer takes. Longer would keep sockets and timers waiting. */
const LOOK_US = 20
/** Looks, each in a turn of the event loop, until a process goes back to sleep: the other one may have to be woken. */
const LOOKS = 5
/** Alone on a processor, looking keeps the other one from answering. */
const TALKS = (os.availableParallelism?.() ?? os.cpus().length) > 1
/** Wake-ups read at once: a byte each, whose value says nothing. */
const WAKE_BYTES = 256
/** A timer waits at most this long (setTimeout's limit is 2^31 - 1 ms). */
const TIMER_MAX_MS = 2 ** 31 - 1

const busy = error => error.code === 'ERR_SKEP_BUSY'

class Hub {
  #requests = 0
  #handlers = new Map()
  /** Events of requests whose answer is still on its way to the one who asked (a few microtasks). */
  #early = new Map()
  #socket
  #holds = 0
  #polling = false
  /** Events that this turn had no time for. */
  #events = []
  #turn = 0
  #turnBegan = 0
  #turnEnds = false
  #retry
  /** When the last message of another process came, and how many in a row have come soon after one another. */
  #heard = 0
  #inARow = 0
  /** Whether it stays awake for the next one. */
  #awake = false
  /** Messages until it may do so again, and how many these will be when it was in vain. */
  #pause = 0
  #nextPause = PAUSE_MESSAGES
  /** Calls that wait for the next turn, or for a frozen writer. */
  #queue = []

  constructor (client) {
    this.client = client
    /** Whether events come by a descriptor; otherwise the client tells. */
    this.shared = typeof client.wakeFd === 'function'
    /** Called with (channel, port, value, own) for each message of a channel. */
    this.onmessage = undefined
    if (!this.shared) client.onwake = () => setImmediate(() => this.kick())
  }

  /** A number for something that this process will wait for. */
  request () {
    this.#requests = (this.#requests + 1) >>> 0
    return this.#requests
  }

  /** Has `handler` called with the events of a request; keeps the process alive until `off`. */
  on (request, handler) {
    this.hold()
    this.#handlers.set(request, handler)
    this.#deliverEarly(request, handler)
  }

  /** The same without keeping the process alive; for its whole life. */
  listen (request, handler) {
    this.hold()
    this.release()
    this.#handlers.set(request, handler)
    this.#deliverEarly(request, handler)
  }

  #deliverEarly (request, handler) {
    const early = this.#early.get(request)
    if (early) {
      this.#early.delete(request)
      for (const event of early) handler(event)
    }
  }

  off (request) {
    if (this.#handlers.delete(request)) this.release()
  }

  /** Waits for one event of a request, at most until `until` (ms since 1970; 0: no limit); then `undefined`. */
  wait (request, until = 0) {
    return new Promise(resolve => {
      let timer
      const done = event => {
        clearTimeout(timer)
        this.off(request)
        resolve(event)
      }
      if (until > 0) timer = setTimeout(done, Math.min(Math.max(until - Date.now(), 0), TIMER_MAX_MS))
      this.on(request, done)
    })
  }

  /** Keeps the process alive, and its ears open. */
  hold () {
    this.#holds++
    if (this.shared) {
      this.#socket ??= this.#open()
      if (this.#holds === 1) this.#socket.ref()
    }
    if (this.#holds === 1) this.client.keepAlive?.(true)
  }

  release () {
    this.#holds--
    if (this.#holds > 0) return
    this.#socket?.unref()
    this.client.keepAlive?.(false)
  }

  #open () {
    const options = { fd: this.client.wakeFd(), readable: true, writable: false }
    // Node otherwise makes a buffer of 64 KB for each byte that wakes; Bun and Deno have nothing else.
    const own = !process.versions.bun && !process.versions.deno
    if (own) options.onread = { buffer: Buffer.alloc(WAKE_BYTES), callback: () => { this.#poll(); return true } }
    const socket = new net.Socket(options)
    socket.unref()
    if (!own) socket.on('data', () => this.#poll())
    socket.on('error', error => { throw error })
    return socket
  }

  /** Looks for events soon, if there are any. To be called after whatever may have made some for this process. */
  kick () {
    if (this.#polling || !this.client.signalled()) return
    this.#polling = true
    const look = () => {
      this.#polling = false
      this.#poll()
    }
    if (this.#mayCall()) {
      this.#count()
      queueMicrotask(look)
    } else {
      setImmediate(look)
    }
  }

  #poll () {
    // What is left of the last look comes first; then it looks again.
    if (this.#events.length > 0) return
    let more, events
    try {
      [more, ...events] = this.client.poll()
    } catch (error) {
      if (!busy(error)) throw error
      setTimeout(() => this.#poll(), RETRY_MS)
      return
    }
    this.#events = events
    if (TALKS && this.shared && events.some(event => event[0] === 'message' && event[4] === 0)) this.#hear()
    this.#giveOut(more)
  }

  /** A message of another process has come. */
  #hear () {
    const now = performance.now()
    this.#inARow = now - this.#heard < TALK_MS ? this.#inARow + 1 : 0
    this.#heard = now
    if (this.#pause > 0) this.#pause--
    else if (this.#inARow >= TALK_MESSAGES && !this.#awake) this.#stayAwake()
  }

  /** Looks for messages by itself until none comes for a moment. */
  #stayAwake () {
    this.#awake = true
    this.client.stayAwake()
    let [answers, looks] = [0, 0]
    const look = () => {
      const last = this.#heard
      if (this.client.calledWithin(LOOK_US)) this.#poll()
      if (this.#heard !== last) {
        answers++
        looks = 0
      } else if (++looks === LOOKS) {
        this.#awake = false
        this.#inARow = 0
        this.#pause = answers < TALK_WORTH ? this.#nextPause : 0
        this.#nextPause = this.#pause === 0 ? PAUSE_MESSAGES : Math.min(this.#pause * 2, PAUSE_MESSAGES_MAX)
        if (this.client.fallAsleep()) this.#poll()
        return
      }
      setImmediate(look)
    }
    setImmediate(look)
  }

  /** Has this turn's share of the events handled; the next turn has the rest, and looks for more. */
  #giveOut (more) {
    const events = this.#events.splice(0, TURN_EVENTS)
    if (this.#events.length > 0) setImmediate(() => this.#giveOut(true))
    else if (more) setImmediate(() => this.#poll())
    for (const event of events) this.#dispatch(event)
  }

  #dispatch (event) {
    if (event[0] === 'message') {
      this.onmessage?.(event[1], event[2], event[3], event[4] === 1)
    } else if (event[0] === 'gap') {
      this.ongap?.()
    } else {
      if (event[0] === 'lock') this.client.granted?.(event[1])
      const handler = this.#handlers.get(event[1])
      if (handler) handler(event)
      else this.#keep(event)
    }
  }

  #keep (event) {
    if (this.#early.size === 0) setImmediate(() => this.#early.clear())
    const early = this.#early.get(event[1])
    if (early) early.push(event)
    else this.#early.set(event[1], [event])
  }

  /** Calls `f` until no frozen writer is in the way, blocking: for what is synchronous by its nature. */
  now (f) {
    for (let end; ;) {
      try {
        return f(this.client)
      } catch (error) {
        end ??= Date.now() + BUSY_MS
        if (!busy(error) || Date.now() > end) throw error
      }
    }
  }

  /** The same without blocking: in order, later if a writer is frozen or this turn has had enough. */
  async run (f) {
    return this.call(f)
  }

  /** As `run`, but what is there at once comes without a promise around it, whose making costs as much as a read. */
  call (f) {
    if (this.#queue.length === 0 && this.#mayCall()) {
      this.#count()
      try {
        return f(this.client)
      } catch (error) {
        if (!busy(error)) throw error
        this.#retryLater()
      }
    }
    return new Promise((resolve, reject) => {
      this.#queue.push({ f, resolve, reject, end: Date.now() + BUSY_MS })
    })
  }

  /** Whether this turn of the event loop has time for a call. Asking the clock costs a tenth of one: not each time. */
  #mayCall () {
    if (this.#turn % 4 !== 0 || this.#turn === 0) return this.#turn < TURN_CALLS
    return this.#turn < TURN_CALLS && performance.now() - this.#turnBegan < TURN_MS
  }

  #count () {
    this.#turn++
    if (this.#turnEnds) return
    this.#turnEnds = true
    this.#turnBegan = performance.now()
    setImmediate(() => {
      this.#turnEnds = false
      this.#turn = 0
      this.#drain()
    })
  }

  #retryLater () {
    this.#retry ??= setTimeout(() => {
      this.#retry = undefined
      this.#drain()
    }, RETRY_MS)
  }

  #drain () {
    // A writer is frozen: the timer comes back.
    if (this.#retry) return
    let done = 0
    while (done < this.#queue.length && this.#mayCall()) {
      const call = this.#queue[done]
      this.#count()
      try {
        call.resolve(call.f(this.client))
      } catch (error) {
        if (busy(error) && Date.now() < call.end) {
          this.#retryLater()
          break
        }
        call.reject(error)
      }
      done++
    }
    this.#queue.splice(0, done)
  }
}

/** ioredis belongs to the app: only who uses Redis needs it. */
function redis (url) {
  const { RedisClient } = require('./redis.cjs')
  let Redis
  try {
    Redis = require('ioredis')
  } catch (cause) {
    throw Object.assign(new Error(`skep: SKEP_REDIS=${new URL(url).host} needs the package ioredis: npm install ioredis`,
      { cause }), { code: 'ERR_SKEP_REDIS' })
  }
  return new RedisClient(url, Redis)
}

function connect (env = process.env) {
  if (env.SKEP_REDIS) return new Hub(redis(env.SKEP_REDIS))
  const dir = env.SKEP_STATE
  // One process's own memory would be a wrong answer here: other workers do not see it.
  if (!dir && env.SKEP_STATE_REFUSED) {
    throw Object.assign(new Error(`skep: there is no shared state: ${env.SKEP_STATE_REFUSED}`), { code: 'ERR_SKEP_STATE' })
  }
  if (!dir) return new Hub(new MemoryClient())
  const { Client } = native.load()
  const { isMainThread } = require('node:worker_threads')
  // A thread has requests of its own, hence is somebody of its own; it ends with its process.
  const id = isMainThread && env.SKEP_WORKER_ID ? Number(env.SKEP_WORKER_ID) : undefined
  const client = new Client(dir, id, id === undefined ? undefined : Number(env.SKEP_WORKER_GEN ?? 0))
  client.setPatience(PATIENCE_US)
  const hot = client.hot()
  for (let i = 0; i < hot.length; i += 2) Object.defineProperty(client, hot[i], { value: hot[i + 1] })
  process.once('exit', () => {
    // If this fails the supervisor does it, as for a process that was killed.
    try { client.detach() } catch {}
  })
  return new Hub(client)
}

let hub
/** The process's hub, connected when it is first needed. */
function theHub () {
  hub ??= connect()
  return hub
}

module.exports = { Hub, connect, theHub }
