'use strict'
// Several changes at once, if what was read is still so: as `atomic()` of Deno KV.

const { encode } = require('./values.cjs')

const SET = 0
const DELETE = 1
const PUSH = 2

class Atomic {
  #hub
  #checks = []
  #changes = []

  constructor (hub) {
    this.#hub = hub
  }

  /** Only if the key of the map still has this version (`map.getVersioned`); 0: only if it is missing. */
  check (map, key, version) {
    this.#checks.push(map.space, key, version)
    return this
  }

  set (map, key, value, options) {
    this.#changes.push(SET, map.space, key, encode(value), map.expiry(options))
    return this
  }

  delete (map, key) {
    this.#changes.push(DELETE, map.space, key)
    return this
  }

  push (queue, job) {
    // Another store, hence another transaction.
    if (queue.durable) throw new TypeError(`skep: queue('${queue.name}') is durable and cannot be part of atomic(): push to it alone`)
    this.#changes.push(PUSH, queue.name, encode(job))
    return this
  }

  /** Does all of it, or, if a check fails, nothing: then false. */
  async commit () {
    const done = await this.#hub.run(client => client.atomic(this.#checks, this.#changes))
    this.#hub.kick()
    return done
  }
}

module.exports = { Atomic }
