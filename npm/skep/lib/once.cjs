'use strict'
// Single flight: of all callers in all processes one calls `fn`; the others get what it got.

const { durationOr } = require('./duration.cjs')
const { decode, encode } = require('./values.cjs')

const TIMEOUT_MS = 30_000
/** The lease outlives the fetcher's own timeout by this much, so that its own error comes first. */
const GRACE_MS = 1000
/** "For ever", in a span that the store can add to the present. */
const FOR_EVER_MS = 1000 * 365 * 86_400_000

function failure (name, message) {
  return Object.assign(new Error(message), { code: 'ERR_SKEP_ONCE', once: name })
}

class Flights {
  #hub
  #under = new Map()

  constructor (hub) {
    this.#hub = hub
  }

  /** See `once` in index.d.ts. */
  once (name, fn, options = {}) {
    // Callers of this process share one wait.
    const under = this.#under.get(name)
    if (under) return under
    const flight = this.#fly(name, fn, options)
    this.#under.set(name, flight)
    const done = () => this.#under.delete(name)
    flight.then(done, done)
    return flight
  }

  /** Forgets the value, so that the next caller fetches. */
  forget (name) {
    return this.#hub.run(client => client.flightForget(name))
  }

  async #fly (name, fn, options) {
    const hub = this.#hub
    const timeout = durationOr(options.timeout, TIMEOUT_MS, `once('${name}').timeout`)
    for (;;) {
      const request = hub.request()
      const [kind, value, token] = await hub.run(c => c.flightBegin(name, request, timeout + GRACE_MS))
      if (kind === 'fresh') return decode(value)
      if (kind === 'refresh') {
        this.#fetch(name, fn, options, timeout, token, value).catch(() => {})
        return decode(value)
      }
      const outcome = kind === 'fetch'
        ? await this.#fetch(name, fn, options, timeout, token, value)
        : await this.#landed(name, options, request, value)
      if (outcome) return outcome.value
    }
  }

  /** Waits for another's fetch; `undefined`: begin again. */
  async #landed (name, options, request, until) {
    const hub = this.#hub
    const event = await hub.wait(request, until)
    switch (event?.[0]) {
      case 'landed': {
        const value = await hub.run(client => client.flightValue(name, event[2]))
        return value === null || value === undefined ? undefined : { value: decode(value) }
      }
      case 'failed': {
        const stale = options.staleIfError && await hub.run(client => client.flightValue(name, 0))
        if (stale) return { value: decode(stale) }
        throw failure(name, event[2])
      }
      case 'again':
        return undefined
      default:
        await hub.run(client => client.flightCancel(request))
        return undefined
    }
  }

  /** Fetches with the lease; `undefined`: the lease was lost, somebody else's value counts. */
  async #fetch (name, fn, options, timeout, token, stale) {
    const hub = this.#hub
    let value
    try {
      value = await withTimeout(name, fn, timeout)
      const keep = lifetimes(name, options, value)
      const bytes = encode(value)
      const landed = await hub.run(client => client.flightLand(name, token, bytes, ...keep))
      hub.kick()
      return landed ? { value } : undefined
    } catch (error) {
      const mine = await hub.run(client => client.flightFail(name, token, String(error?.message ?? error)))
      hub.kick()
      if (!mine) return undefined
      if (options.staleIfError && stale !== undefined && stale !== null) return { value: decode(stale) }
      throw error
    }
  }
}

function lifetimes (name, options, value) {
  const { ttl } = options
  const fresh = durationOr(typeof ttl === 'function' ? ttl(value) : ttl, 0, `once('${name}').ttl`)
  const before = durationOr(options.refreshBefore, 0, `once('${name}').refreshBefore`)
  const { staleIfError = false } = options
  const stale = staleIfError === true ? FOR_EVER_MS : staleIfError === false ? 0 : durationOr(staleIfError, 0,
    `once('${name}').staleIfError`)
  return [Math.min(fresh, FOR_EVER_MS), Math.min(before, fresh), stale]
}

async function withTimeout (name, fn, timeout) {
  const controller = new AbortController()
  let timer
  const late = new Promise((resolve, reject) => {
    timer = setTimeout(() => {
      const error = failure(name, `skep: once('${name}') got no answer within ${timeout} ms`)
      controller.abort(error)
      reject(error)
    }, timeout)
  })
  try {
    return await Promise.race([fn({ signal: controller.signal }), late])
  } finally {
    clearTimeout(timer)
  }
}

module.exports = { Flights }
