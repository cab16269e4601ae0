'use strict'
// Functions that run by the clock, in one worker each time. Under skep the supervisor decides and remembers; without it
// this process does, as long as it lives.

const { duration } = require('./duration.cjs')

const CMD = 'NODE_SKEP'
/** So many ended runs are remembered: a supervisor that restarted asks again how one ended. */
const REMEMBERED = 1000
/** setTimeout's limit. */
const TIMER_MAX_MS = 2 ** 31 - 1
/** Options that the supervisor knows, in its spelling. */
const OPTIONS = {
  timezone: 'timezone', jitter: 'jitter', overlap: 'overlap', missed: 'missed', missedLimit: 'missed_limit',
  timeout: 'timeout', retries: 'retries', backoff: 'backoff', backoffMax: 'backoff_max', onLost: 'on_lost', keep: 'keep',
  shared: 'shared', onUnreachable: 'on_unreachable'
}

/** What a run's function is given. */
function context (run, signal) {
  return Object.freeze({ ...run, scheduledAt: new Date(run.scheduledAt), signal })
}

const text = error => {
  const said = error instanceof Error ? error.stack ?? String(error) : String(error)
  return said.slice(0, 16 * 1024)
}

/** A schedule as the app's file would have it; undefined: the file says when. */
function described (name, when, options) {
  const known = {}
  for (const [key, value] of Object.entries(options)) {
    if (!(key in OPTIONS)) {
      throw new TypeError(`skep: schedule('${name}'): there is no option ${key}; there are ${Object.keys(OPTIONS).join(', ')}`)
    }
    if (value !== undefined) known[OPTIONS[key]] = value
  }
  if (when === undefined) return undefined
  if (typeof when === 'string') return { cron: when, ...known }
  if (when instanceof Date) return { at: when.toISOString(), ...known }
  if (when !== null && typeof when === 'object') {
    const { every, at, cron, ...rest } = when
    if (Object.keys(rest).length === 0 && [every, at, cron].filter(x => x !== undefined).length === 1) {
      if (every !== undefined) return { every, ...known }
      if (cron !== undefined) return { cron, ...known }
      return { at: at instanceof Date ? at.toISOString() : at, ...known }
    }
  }
  throw new TypeError(`skep: schedule('${name}'): when is a cron pattern, { every: '5m' } or { at: date }`)
}

/** Under skep: the supervisor calls over the worker's channel. */
class Supervised {
  #functions = new Map()
  /** Runs under way and ended, by token. */
  #runs = new Map()
  #alive
  /** For the drain code, which lets go of the channel when nothing is under way. */
  #busy = { count: 0, idle: undefined }

  constructor () {
    Object.defineProperty(process, Symbol.for('skep.jobs'), { value: this.#busy })
    process.on('internalMessage', message => {
      if (message?.cmd === CMD) this.#hear(message)
    })
    process.once('disconnect', () => clearInterval(this.#alive))
  }

  add (name, schedule, fn) {
    let ready
    const job = { fn, ready: new Promise((resolve, reject) => { ready = { resolve, reject } }), settle: ready }
    this.#functions.set(name, job)
    // Who waits to be called is not done.
    this.#alive ??= setInterval(() => {}, TIMER_MAX_MS)
    this.#say({ act: 'schedule', name, schedule })
    return job.ready
  }

  remove (name) {
    if (!this.#functions.delete(name)) return
    if (this.#functions.size === 0) {
      clearInterval(this.#alive)
      this.#alive = undefined
    }
    this.#say({ act: 'unschedule', name })
  }

  #say (body) {
    if (process.connected) process.send({ cmd: CMD, ...body }, undefined, undefined, () => {})
  }

  #hear (message) {
    const { act, name, token } = message
    if (act === 'scheduled') this.#functions.get(name)?.settle.resolve()
    else if (act === 'unscheduled') {
      const job = this.#functions.get(name)
      this.#functions.delete(name)
      job?.settle.reject(Object.assign(new Error(`skep: schedule('${name}'): ${message.problem}`), { code: 'ERR_SKEP_SCHEDULE' }))
    } else if (act === 'run') this.#run(message)
    else if (act === 'cancel') this.#runs.get(token)?.controller?.abort(new DOMException(message.reason, 'AbortError'))
  }

  #run ({ name, token, run }) {
    const known = this.#runs.get(token)
    if (known) {
      // The supervisor restarted: it is running, or has ended and the answer is told again.
      if (known.answer) this.#say(known.answer)
      return
    }
    const job = this.#functions.get(name)
    if (!job) return this.#say({ act: 'ran', token, refused: true })
    const controller = new AbortController()
    this.#runs.set(token, { controller })
    this.#busy.count++
    const done = (ok, result) => {
      let answer = { act: 'ran', token, ok, result }
      try {
        JSON.stringify(answer)
      } catch (error) {
        answer = { act: 'ran', token, ok, result: `a result that JSON cannot say: ${error.message}` }
      }
      this.#runs.delete(token)
      this.#runs.set(token, { answer })
      this.#forget()
      this.#say(answer)
      if (--this.#busy.count === 0) this.#busy.idle?.()
    }
    new Promise(resolve => resolve(job.fn(context(run, controller.signal))))
      .then(result => done(true, result), error => done(false, text(error)))
  }

  #forget () {
    for (const [token, { answer }] of this.#runs) {
      if (this.#runs.size <= REMEMBERED) return
      if (answer) this.#runs.delete(token)
    }
  }
}

/** Without skep: this process is the only one. Nothing is remembered when it ends. */
class Alone {
  #timers = new Map()
  #running = new Set()
  #token = 0

  add (name, schedule, fn) {
    if (schedule === undefined) return Promise.resolve()
    this.remove(name)
    const next = this.#clock(name, schedule)
    const arm = () => {
      const at = next(Date.now())
      if (at === undefined) return this.#timers.delete(name)
      const wait = () => {
        const left = at - Date.now()
        if (left > 0) return this.#timers.set(name, setTimeout(wait, Math.min(left, TIMER_MAX_MS)))
        arm()
        this.#run(name, schedule, fn, at)
      }
      wait()
    }
    arm()
    return Promise.resolve()
  }

  remove (name) {
    clearTimeout(this.#timers.get(name))
    this.#timers.delete(name)
  }

  /** A function from a moment to the next fire time. */
  #clock (name, schedule) {
    if (schedule.every !== undefined) {
      const every = duration(schedule.every, `schedule('${name}') every`)
      if (!(every >= 1000) || every % 1000 !== 0) throw new RangeError(`skep: schedule('${name}'): every is at least 1s, in whole seconds`)
      return now => (Math.floor(now / every) + 1) * every
    }
    if (schedule.at !== undefined) {
      const at = Date.parse(schedule.at)
      if (Number.isNaN(at)) throw new RangeError(`skep: schedule('${name}'): at is no date: ${schedule.at}`)
      return now => at > now ? at : undefined
    }
    let Cron
    try {
      ({ Cron } = require('croner'))
    } catch (cause) {
      throw Object.assign(new Error(`skep: schedule('${name}'): cron patterns without skep need the package croner: npm install croner`, { cause }),
        { code: 'ERR_SKEP_SCHEDULE' })
    }
    const cron = new Cron(schedule.cron, { timezone: schedule.timezone, paused: true })
    return now => cron.nextRun(new Date(now))?.getTime()
  }

  async #run (name, { overlap = 'forbid' }, fn, scheduledAt) {
    if (overlap !== 'allow' && this.#running.has(name)) return
    this.#running.add(name)
    const token = ++this.#token
    const run = { id: `${name}@${scheduledAt}`, job: name, scheduledAt, attempt: 1, token, manual: false }
    try {
      await fn(context(run, new AbortController().signal))
    } catch (error) {
      console.error(`skep: schedule('${name}') failed:`, error)
    } finally {
      this.#running.delete(name)
    }
  }
}

let clock
function theClock () {
  // A thread has no channel of its own, and a program that a worker starts is no worker.
  const supervised = process.env.SKEP_WORKER_ID !== undefined && process.channel != null && process.connected
  clock ??= supervised ? new Supervised() : new Alone()
  return clock
}

/**
 * Has `fn` called by the clock, in one worker of the app. `when` is a cron pattern, `{ every }` or `{ at }`; left out
 * (`schedule(name, fn)`) the app's file says it.
 */
function schedule (name, when, fn, options = {}) {
  if (typeof when === 'function') [when, fn, options] = [undefined, when, fn ?? {}]
  if (typeof name !== 'string' || name === '') throw new TypeError(`skep: schedule: a name is text, got ${String(name)}`)
  if (typeof fn !== 'function') throw new TypeError(`skep: schedule('${name}'): a function is missing`)
  const ready = theClock().add(name, described(name, when, options), fn)
  return { name, ready, stop: () => theClock().remove(name) }
}

module.exports = { schedule }
