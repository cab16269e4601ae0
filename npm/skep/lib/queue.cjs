'use strict'
// Queues: at least once. A job is invisible while it is worked on; it comes back if its worker ends or is too slow.
// Durable ones differ only in their hub (durable.cjs).

const { durationOr } = require('./duration.cjs')
const { decode, encode } = require('./values.cjs')

const RETRIES = 3
const BACKOFF_MS = 1000
const VISIBILITY_MS = 30_000
const TIMER_MAX_MS = 2 ** 31 - 1
/** So many jobs are taken at one time. */
const TOGETHER_MAX = 64

class Queue {
  #hub
  #defaults

  constructor (hub, name, options = {}) {
    this.name = name
    this.durable = Boolean(options.durable)
    this.#hub = hub
    this.#defaults = options
  }

  /** Puts a job in; its id. Options: `delay`, `priority` (0–255, higher first), `retries`, `backoff`. */
  async push (data, options) {
    const { priority = 0, delay, retries = RETRIES, backoff } = { ...this.#defaults, ...options }
    const bytes = encode(data)
    const [after, doubles] = rest(backoff)
    const wait = durationOr(delay, 0, `queue('${this.name}').push delay`)
    const id = await this.#hub.run(c => c.push(this.name, bytes, priority, wait, retries, after, doubles))
    this.#hub.kick()
    return id
  }

  /** Works on jobs until `stop`. Options: `concurrency`, `visibility`, `retries`, `backoff`, `onerror`. */
  process (handler, options = {}) {
    return new Consumer(this.#hub, this, handler, { ...this.#defaults, ...options })
  }

  /** How many jobs are `ready`, `delayed`, `active`, `dead`. */
  async counts () {
    const [ready, delayed, active, dead] = await this.#hub.run(client => client.queueView(this.name))
    return { ready, delayed, active, dead }
  }

  /** Jobs that failed too often: `{ id, data, error }`. */
  async dead (most = 100) {
    const flat = await this.#hub.run(client => client.queueDead(this.name, most))
    const jobs = []
    for (let i = 0; i < flat.length; i += 3) {
      jobs.push({ id: flat[i], data: decode(flat[i + 1]), error: flat[i + 2] })
    }
    return jobs
  }

  /** Puts dead jobs back; how many. */
  async revive (most = 1000) {
    const count = await this.#hub.run(client => client.queueRevive(this.name, most))
    this.#hub.kick()
    return count
  }
}

function rest (backoff) {
  if (backoff === undefined) return [BACKOFF_MS, true]
  if (typeof backoff === 'object') {
    return [durationOr(backoff.delay, BACKOFF_MS, 'backoff.delay'), backoff.type !== 'fixed']
  }
  return [durationOr(backoff, BACKOFF_MS, 'backoff'), true]
}

class Consumer {
  #hub
  #queue
  #handler
  #options
  #request
  #running = 0
  #stopped = false
  #timer
  #idle
  #filling = false
  #filled
  /** Word of a job has come since the last time that it asked for one. */
  #told = false

  constructor (hub, queue, handler, options) {
    this.#hub = hub
    this.#queue = queue
    this.#handler = handler
    const { concurrency = 1, retries, backoff, onerror } = options
    const visibility = durationOr(options.visibility, VISIBILITY_MS, `queue('${queue.name}').visibility`)
    this.#options = { concurrency, visibility, onerror, retries: retries ?? -1, rest: rest(backoff) }
    this.#request = hub.request()
    hub.on(this.#request, () => {
      this.#told = true
      this.#fill()
    })
    queueMicrotask(() => this.#fill())
  }

  /** Takes no more jobs, and resolves when those under way are settled. */
  async stop () {
    if (!this.#stopped) {
      this.#stopped = true
      clearTimeout(this.#timer)
      this.#hub.off(this.#request)
      await this.#hub.run(client => client.queueLeave(this.#queue.name))
      // What was on its way when it stopped is worked on.
      await this.#filled
    }
    if (this.#running > 0) await new Promise(resolve => { this.#idle = resolve })
  }

  #fill () {
    if (!this.#filling) this.#filled = this.#take()
  }

  async #take () {
    this.#filling = true
    try {
      while (!this.#stopped && this.#running < this.#options.concurrency) {
        this.#told = false
        if (!await this.#takeSome() && !this.#told) break
      }
    } catch (error) {
      this.#report(error)
    } finally {
      // Not a moment after the last look: a job that ends in between would find it busy.
      this.#filling = false
    }
  }

  /** Takes a job, or several together; false: there were no more. */
  async #takeSome () {
    const { concurrency, visibility } = this.#options
    const pop = () => this.#hub.run(c => c.pop(this.#queue.name, this.#request, visibility))
    // Where each call waits for a disk, those for all free places wait for one flush of it.
    const many = this.#hub.client.together ? Math.min(concurrency - this.#running, TOGETHER_MAX) : 1
    if (many === 1) return this.#given(await pop())
    const answers = await Promise.allSettled(Array.from({ length: many }, pop))
    let more = true
    for (const { value } of answers.filter(one => one.status === 'fulfilled')) more = this.#given(value) && more
    // One that failed loses no job that others got.
    const failed = answers.find(one => one.status === 'rejected')
    if (failed) throw failed.reason
    return more
  }

  /** Works on what a call gave; false if that was nothing. */
  #given ([id, data, attempt]) {
    if (typeof id === 'number') {
      this.#sleepUntil(id)
      return false
    }
    this.#running++
    this.#work(id, data, attempt)
    return true
  }

  /** Nothing is ready: an event will tell of new jobs, the clock of resting and overdue ones. */
  #sleepUntil (due) {
    clearTimeout(this.#timer)
    if (due === 0 || this.#stopped) return
    const ms = Math.min(Math.max(due - Date.now(), 0), TIMER_MAX_MS)
    this.#timer = setTimeout(() => this.#fill(), ms)
  }

  async #work (id, stored, attempt) {
    const { visibility } = this.#options
    const name = this.#queue.name
    const lost = new AbortController()
    const extend = setInterval(() => {
      this.#hub.run(client => client.jobExtend(name, id, attempt, visibility)).then(mine => {
        if (!mine) lost.abort(new Error(`skep: job ${id} was given to another worker`))
      }, error => this.#report(error))
    }, Math.max(visibility / 2, 1))
    try {
      await this.#handler({ id, data: decode(stored), attempt, signal: lost.signal })
      await this.#hub.run(client => client.jobDone(name, id, attempt))
    } catch (error) {
      await this.#failed(id, attempt, error)
    } finally {
      clearInterval(extend)
      this.#running--
      if (this.#running === 0) this.#idle?.()
      this.#fill()
    }
  }

  async #failed (id, attempt, error) {
    this.#report(error, id)
    const text = String(error?.stack ?? error)
    const { retries, rest: [after, doubles] } = this.#options
    try {
      await this.#hub.run(c => c.jobFailed(this.#queue.name, id, attempt, text, retries, after, doubles))
      this.#hub.kick()
    } catch (error) {
      this.#report(error, id)
    }
  }

  #report (error, id) {
    this.#options.onerror?.(error, id)
  }
}

module.exports = { Queue }
