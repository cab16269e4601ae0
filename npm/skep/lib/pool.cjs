'use strict'
// Heavy functions off the event loop: child processes, each with one call at a time, and no more calls at once than the
// machine has processors, over all workers that share a state.

const { fork } = require('node:child_process')
const os = require('node:os')
const path = require('node:path')
const { pathToFileURL } = require('node:url')

const { durationOr } = require('./duration.cjs')

const CHILD = path.join(__dirname, 'pool-child.cjs')
/** A child with nothing to do ends after this time; starting one costs some tens of milliseconds. */
const IDLE_MS = 10_000
/** So many calls of one pool may wait. */
const WAITING_MAX = 10_000
/** What makes a process a worker of skep, or a cluster worker: a child is neither. */
const OURS = ['NODE_UNIQUE_ID', 'NODE_CHANNEL_FD', 'SKEP_WORKER_ID', 'SKEP_WORKER_GEN', 'LISTEN_FDS', 'LISTEN_PID', 'LISTEN_FDNAMES']

const failure = (code, message, cause) => Object.assign(new Error(`skep: ${message}`, cause && { cause }), { code })

function environment () {
  const env = { ...process.env }
  for (const name of OURS) delete env[name]
  // Whoever kills a worker of skep's kills what it started; elsewhere the child looks after itself.
  if (process.env.SKEP_WORKER_ID === undefined) env.SKEP_POOL_GUARD = String(process.pid)
  return env
}

/** One child process and the call that it works on. */
class Child {
  #process
  #call
  #timer
  #gone

  constructor (file, gone) {
    this.#gone = gone
    this.#process = fork(CHILD, [file], {
      serialization: 'advanced', env: environment(), execArgv: [], stdio: ['ignore', 'inherit', 'inherit', 'ipc']
    })
    this.#process.on('message', message => this.#answer(message))
    this.#process.on('error', error => this.#end(error))
    this.#process.on('exit', (code, signal) => this.#end(undefined, signal ?? `exit code ${code}`))
    this.rest()
  }

  /** Gives it a call; `settle(error, result)` comes once. */
  work (name, data, settle) {
    clearTimeout(this.#timer)
    this.#process.ref()
    this.#process.channel?.ref()
    this.#call = settle
    this.#process.send({ name, data }, error => { if (error) this.#end(error) })
  }

  /** Waits for a call, without keeping this process alive. */
  rest () {
    this.#process.unref()
    this.#process.channel?.unref()
    this.#timer = setTimeout(() => this.stop(), IDLE_MS)
    this.#timer.unref()
  }

  #answer ({ error, result }) {
    const settle = this.#call
    this.#call = undefined
    if (!settle) return
    if (error) settle(Object.assign(new Error(error.message), error))
    else settle(undefined, result)
  }

  #end (error, how) {
    clearTimeout(this.#timer)
    const [settle, gone] = [this.#call, this.#gone]
    this.#call = this.#gone = undefined
    gone?.(this)
    settle?.(failure('ERR_SKEP_POOL_CRASH', `the process of a pool ended in the middle of a call: ${how ?? error.message}`, error))
  }

  stop () {
    this.#process.kill('SIGKILL')
    this.#end(undefined, 'stopped')
  }
}

class Pool {
  #file
  #workers
  #timeout
  #slots
  #idle = []
  #children = new Set()
  #waiting = 0
  #closed = false

  constructor (file, options, slots) {
    const { workers = os.availableParallelism?.() ?? os.cpus().length, timeout } = options
    if (!Number.isInteger(workers) || workers < 1 || workers > 1024) {
      throw new RangeError(`skep: pool: workers is ${String(workers)}; give a whole number from 1 to 1024`)
    }
    this.#file = file
    this.#workers = workers
    this.#timeout = durationOr(timeout, 0, 'pool timeout')
    this.#slots = slots
  }

  /**
   * Calls the file's function (`name`: one of its exports) with `data`, which is copied. Options: `name`, `timeout`,
   * `signal`; both end the child process, since nothing else ends a computation.
   */
  async run (data, { name = 'default', timeout, signal } = {}) {
    if (this.#closed) throw failure('ERR_SKEP_POOL_CLOSED', 'the pool is closed')
    if (this.#waiting >= WAITING_MAX) throw failure('ERR_SKEP_POOL_FULL', `${WAITING_MAX} calls wait already`)
    signal?.throwIfAborted()
    const within = durationOr(timeout, this.#timeout, 'pool.run timeout')
    this.#waiting++
    let entered = false
    const enter = () => {
      entered = true
      this.#waiting--
    }
    try {
      return await this.#slots(this.#workers, signal, () => {
        enter()
        return this.#work(name, data, within, signal)
      })
    } finally {
      if (!entered) this.#waiting--
    }
  }

  #work (name, data, timeout, signal) {
    signal?.throwIfAborted()
    if (this.#closed) throw failure('ERR_SKEP_POOL_CLOSED', 'the pool is closed')
    const child = this.#idle.pop() ?? this.#start()
    return new Promise((resolve, reject) => {
      let timer
      const abort = () => settle(signal.reason, undefined, true)
      const settle = (error, result, stop) => {
        clearTimeout(timer)
        signal?.removeEventListener('abort', abort)
        if (error) reject(error)
        else resolve(result)
        // Its end settles the call once more, which changes nothing.
        if (stop) child.stop()
        else if (this.#children.has(child)) {
          child.rest()
          this.#idle.push(child)
        }
      }
      signal?.addEventListener('abort', abort, { once: true })
      if (timeout > 0) {
        const late = () => settle(failure('ERR_SKEP_POOL_TIMEOUT', `the call took longer than ${timeout} ms`), undefined, true)
        timer = setTimeout(late, timeout)
      }
      try {
        child.work(name, data, settle)
      } catch (error) {
        // Something that cannot be copied: the child is as good as before.
        settle(error)
      }
    })
  }

  #start () {
    const child = new Child(this.#file, gone => {
      this.#children.delete(gone)
      this.#idle = this.#idle.filter(one => one !== gone)
    })
    this.#children.add(child)
    return child
  }

  /** How many children there are, how many of them rest, and how many calls wait. */
  get size () {
    return { children: this.#children.size, idle: this.#idle.length, waiting: this.#waiting }
  }

  /** Ends the children; calls under way fail. */
  close () {
    this.#closed = true
    for (const child of [...this.#children]) child.stop()
  }
}

/** Runs `work` while one of `count` slots is held, which all processes with this state share. */
function sharedSlots (locks) {
  return async (count, signal, work) => {
    const stop = new AbortController()
    const giveUp = () => stop.abort(signal.reason)
    signal?.addEventListener('abort', giveUp, { once: true })
    const first = Math.floor(Math.random() * count)
    let won
    const tries = Array.from({ length: count }, (_, i) => {
      const name = `skep:pool:${(first + i) % count}`
      return locks.request(name, { signal: stop.signal }, async () => {
        // Two may be granted before the others are called off: the second goes back at once.
        if (won) return undefined
        won = Promise.resolve().then(() => {
          stop.abort()
          return work()
        })
        await won.catch(() => {})
      }).catch(error => error)
    })
    const errors = await Promise.all(tries)
    signal?.removeEventListener('abort', giveUp)
    if (won) return won
    signal?.throwIfAborted()
    throw errors.find(error => error !== undefined)
  }
}

/** A file as the child will import it: relative to whoever calls. */
function located (file, from) {
  if (file instanceof URL) return file.href
  if (typeof file !== 'string' || file === '') throw new TypeError(`skep: pool: a file is a path or a file: URL, got ${String(file)}`)
  if (file.startsWith('file:')) return file
  return pathToFileURL(path.resolve(from, file)).href
}

function makePool (locks) {
  return (file, options = {}) => new Pool(located(file, process.cwd()), options, sharedSlots(locks))
}

module.exports = { makePool }
