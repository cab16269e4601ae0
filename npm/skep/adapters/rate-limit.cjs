'use strict'
// A store for express-rate-limit: `rateLimit({ windowMs, limit, store: new SkepRateLimitStore() })`.

const { limiter } = require('../index.cjs')

class SkepRateLimitStore {
  #name
  #limiter

  constructor ({ name = 'rate-limit' } = {}) {
    this.#name = name
    this.prefix = name
  }

  /** express-rate-limit calls this with its options. */
  init ({ windowMs }) {
    // The middleware compares with its own limit: here nothing is ever too much.
    this.#limiter = limiter(this.#name, { points: Number.MAX_SAFE_INTEGER, per: windowMs })
  }

  async increment (key) {
    return info(await this.#limiter.tryConsume(key))
  }

  async get (key) {
    const verdict = await this.#limiter.check(key)
    return verdict.used === 0 ? undefined : info(verdict)
  }

  async decrement (key) {
    await this.#limiter.refund(key)
  }

  async resetKey (key) {
    await this.#limiter.reset(key)
  }
}

function info ({ used, resetMs }) {
  return { totalHits: used, resetTime: new Date(Date.now() + resetMs) }
}

module.exports = { SkepRateLimitStore }
