'use strict'
// Locks in the shape of Web Locks (navigator.locks), with a fencing token.

const { durationOr } = require('./duration.cjs')

const WAIT = 0
const REFUSE = 1
const STEAL = 2

function aborted (reason) {
  return reason ?? new DOMException('The operation was aborted', 'AbortError')
}

class Lock {
  // Made when it is asked for: it costs more than the lock.
  #controller
  #lost

  constructor (name, mode, token) {
    this.name = name
    this.mode = mode
    /** Above every token given before: have what you protect refuse a lower one. */
    this.token = token
  }

  /** Aborts when the lock is lost: stolen, or its ttl is over. */
  get signal () {
    if (!this.#controller) {
      this.#controller = new AbortController()
      if (this.#lost) this.#controller.abort(this.#lost)
    }
    return this.#controller.signal
  }

  lose (reason) {
    this.#lost = reason
    this.#controller?.abort(reason)
  }
}

class Locks {
  #hub

  constructor (hub) {
    this.#hub = hub
  }

  /**
   * Runs `callback` while the lock is held, and returns what it returns. Options as in Web Locks: `mode`, `signal`,
   * `ifAvailable` (then `callback(null)` if it is not), `steal`; and `ttl`, after which the lock is taken away.
   */
  async request (name, options, callback) {
    if (typeof options === 'function') [options, callback] = [{}, options]
    const { mode = 'exclusive', signal, ifAvailable = false, steal = false } = options
    if (mode !== 'exclusive' && mode !== 'shared') {
      throw new TypeError(`skep: locks.request: mode is ${JSON.stringify(mode)}; it is 'exclusive' or 'shared'`)
    }
    if (steal && ifAvailable) throw new DOMException('steal and ifAvailable exclude each other', 'NotSupportedError')
    if (signal && (steal || ifAvailable)) {
      throw new DOMException('signal cannot be used with steal or ifAvailable', 'NotSupportedError')
    }
    if (signal?.aborted) throw aborted(signal.reason)
    const ttl = durationOr(options.ttl, 0, 'locks.request ttl')
    const hub = this.#hub
    const request = hub.request()
    const ifBusy = steal ? STEAL : ifAvailable ? REFUSE : WAIT
    // Awaited even when it is there: a callback never runs before `request` has returned, as in Web Locks.
    let token = await hub.call(client => client.lock(name, request, mode === 'shared', ifBusy, ttl))
    if (token < 0) return callback(null)
    if (token === 0) token = await this.#granted(request, name, signal)
    const lock = new Lock(name, mode, token)
    let result
    try {
      result = callback(lock)
    } catch (error) {
      await this.#release(name, request)
      throw error
    }
    if (typeof result?.then === 'function') return this.#hold(lock, request, result)
    // Done before anything could take the lock away: events come between turns only.
    const released = this.#release(name, request)
    if (typeof released?.then === 'function') await released
    return result
  }

  #granted (request, name, signal) {
    const hub = this.#hub
    return new Promise((resolve, reject) => {
      const stop = () => {
        // Too late if it is granted already: then it goes back as soon as the grant arrives.
        hub.run(client => client.lockCancel(request)).then(cancelled => {
          if (cancelled) hub.off(request)
          reject(aborted(signal.reason))
        }, reject)
      }
      signal?.addEventListener('abort', stop, { once: true })
      hub.on(request, event => {
        if (event[0] !== 'lock') return
        hub.off(request)
        signal?.removeEventListener('abort', stop)
        if (signal?.aborted) (async () => this.#release(name, request))().catch(reject)
        else resolve(event[2])
      })
    })
  }

  /** Waits for what the callback promised, or for the loss of the lock. */
  async #hold (lock, request, promised) {
    const hub = this.#hub
    let lost = false
    try {
      return await new Promise((resolve, reject) => {
        hub.on(request, event => {
          if (event[0] !== 'lost') return
          lost = true
          const reason = new DOMException(`The lock '${lock.name}' was taken away`, 'AbortError')
          lock.lose(reason)
          reject(reason)
        })
        promised.then(resolve, reject)
      })
    } finally {
      hub.off(request)
      if (!lost) await this.#release(lock.name, request)
    }
  }

  /** Whether it was held still; promised if it could not be done at once. */
  #release (name, request) {
    const was = this.#hub.call(client => client.unlock(name, request))
    if (typeof was?.then === 'function') return was.then(was => { this.#hub.kick(); return was })
    this.#hub.kick()
    return was
  }

  /** Asks for a lock to keep for life, without keeping the process alive. */
  lead (name, elected) {
    const hub = this.#hub
    const request = hub.request()
    const token = hub.now(client => client.lock(name, request, false, WAIT, 0))
    if (token > 0) elected(token)
    else hub.listen(request, event => { if (event[0] === 'lock') elected(event[2]) })
  }

  /** Who holds and who waits, over all processes: `{ held: [...], pending: [...] }`. */
  async query () {
    const all = JSON.parse(await this.#hub.run(client => client.locks()))
    const flat = part => all.flatMap(lock => lock[part].map(who => ({
      name: lock.name, mode: who.mode, clientId: who.worker, since: who.since
    })))
    return { held: flat('held'), pending: flat('pending') }
  }
}

module.exports = { Locks }
