'use strict'
// Rate limits: so many points in a window that begins with the first of them.

const { duration, durationOr } = require('./duration.cjs')

class LimitError extends Error {
  constructor (name, verdict) {
    super(`skep: limiter('${name}') is used up; again in ${verdict.resetMs} ms`)
    this.name = 'LimitError'
    this.code = 'ERR_SKEP_LIMIT'
    Object.assign(this, verdict)
  }
}

class Limiter {
  #hub
  #space
  #limit

  constructor (hub, name, options) {
    const { points } = options ?? {}
    if (!Number.isSafeInteger(points) || points < 0) {
      throw new TypeError(`skep: limiter('${name}').points is ${points}; give a whole number`)
    }
    this.name = name
    this.#hub = hub
    this.#limit = [points, duration(options.per, `limiter('${name}').per`),
      durationOr(options.block, 0, `limiter('${name}').block`)]
    this.#space = hub.now(client => client.space('limiter', name))
  }

  async #ask (key, points) {
    const [allowed, used, remaining, resetMs] =
      await this.#hub.call(client => client.consume(this.#space, key, points, ...this.#limit))
    return { allowed: allowed === 1, used, remaining, resetMs }
  }

  /** Uses points of a key; throws a LimitError (with `resetMs`) when there are too few. */
  async consume (key, points = 1) {
    const verdict = await this.#ask(key, points)
    if (!verdict.allowed) throw new LimitError(this.name, verdict)
    return verdict
  }

  /** The same without throwing: look at `allowed`. */
  async tryConsume (key, points = 1) {
    return this.#ask(key, points)
  }

  /** What a key has used, without using more. */
  async check (key) {
    return this.#ask(key, 0)
  }

  /** Gives points back. */
  async refund (key, points = 1) {
    return this.#ask(key, -points)
  }

  /** Forgets a key. */
  async reset (key) {
    return this.#hub.call(client => client.delete(this.#space, key))
  }
}

module.exports = { LimitError, Limiter }
