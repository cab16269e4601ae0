'use strict'
// Maps: keys with values, with or without an end, changed by compare-and-set.

const { durationOr } = require('./duration.cjs')
const { decode, encode, isText } = require('./values.cjs')

const ALWAYS = 0
const IF_MISSING = 1
const KEEP_EXPIRY = -1
const PAGE = 128
/** Attempts of an update whose key others keep changing; then it is an error rather than a spin for ever. */
const UPDATES_MAX = 10_000

class SharedMap {
  #hub
  #space
  #ttl
  /** Shared memory, or this process's own, which answer at once; not a server. */
  #local
  /** The add-on's shortest way for a text without an end. */
  #plain

  constructor (hub, name, options = {}) {
    this.name = name
    this.#hub = hub
    this.#ttl = durationOr(options.ttl, 0, `map('${name}').ttl`)
    this.#space = hub.now(client => client.space('map', name))
    this.#local = !hub.client.remote
    this.#plain = hub.client.setText
  }

  get space () {
    return this.#space
  }

  expiry (options) {
    const ttl = durationOr(options?.ttl, this.#ttl, `map('${this.name}').set ttl`)
    return ttl > 0 ? Date.now() + Math.ceil(ttl) : 0
  }

  async get (key) {
    return decode(await this.#hub.call(client => client.get(this.#space, key)))
  }

  /** Only shared memory answers at once. */
  #here () {
    if (this.#local) return
    throw Object.assign(new Error(`skep: map('${this.name}') is on Redis, where nothing is synchronous: use the awaited form`),
      { code: 'ERR_SKEP_SYNC' })
  }

  getSync (key) {
    this.#here()
    return decode(this.#hub.client.get(this.#space, key))
  }

  /** Sets a key. `ttl` overrides the map's; `ifMissing` sets only what is not there: false then says that it was. */
  async set (key, value, options) {
    const when = options?.ifMissing ? IF_MISSING : ALWAYS
    const [bytes, expires] = [encode(value), this.expiry(options)]
    return this.#hub.call(client => client.set(this.#space, key, bytes, expires, when))
  }

  setSync (key, value, options) {
    this.#here()
    if (options === undefined && this.#ttl === 0 && this.#plain && isText(value)) {
      try {
        return this.#plain(this.#space, key, value)
      } catch (error) {
        // A frozen writer: the long way waits for it.
        if (error.code !== 'ERR_SKEP_BUSY') throw error
      }
    }
    const bytes = encode(value)
    const when = options?.ifMissing ? IF_MISSING : ALWAYS
    const expires = this.expiry(options)
    return this.#hub.now(client => client.set(this.#space, key, bytes, expires, when))
  }

  async has (key) {
    return await this.#hub.call(client => client.expires(this.#space, key)) >= 0
  }

  async delete (key) {
    return this.#hub.call(client => client.delete(this.#space, key))
  }

  deleteSync (key) {
    this.#here()
    return this.#hub.now(client => client.delete(this.#space, key))
  }

  /** The value and its version, for `atomic().check`; version 0: there is none. */
  async getVersioned (key) {
    const found = await this.#hub.call(client => client.getVersioned(this.#space, key))
    return found ? { value: decode(found[0]), version: found[1] } : { value: undefined, version: 0 }
  }

  /**
   * Replaces a value by what `fn` makes of it, and again if somebody else was faster: no update is lost. `fn` may be
   * async; `undefined` removes the key. Keeps the key's end unless `ttl` is given. Returns the new value.
   */
  async update (key, fn, options) {
    for (let attempt = 0; attempt < UPDATES_MAX; attempt++) {
      const { value, version } = await this.getVersioned(key)
      const next = await fn(value)
      if (next === undefined && version === 0) return undefined
      const bytes = next === undefined ? undefined : encode(next)
      const expires = options?.ttl === undefined && version !== 0 ? KEEP_EXPIRY : this.expiry(options)
      if (await this.#hub.call(c => c.setIfVersion(this.#space, key, bytes, expires, version))) return next
    }
    throw Object.assign(new Error(`skep: map('${this.name}').update: others changed the key ${UPDATES_MAX} times`),
      { code: 'ERR_SKEP_CONTENDED' })
  }

  /** Gives a key a new end without touching its value; false if it is not there. */
  async touch (key, options) {
    return this.#hub.call(client => client.expire(this.#space, key, this.expiry(options)))
  }

  /** Milliseconds that a key has left; Infinity: no end; undefined: it is not there. */
  async ttl (key) {
    const at = await this.#hub.call(client => client.expires(this.#space, key))
    if (at < 0) return undefined
    return at === 0 ? Infinity : Math.max(at - Date.now(), 0)
  }

  /** All entries, in the order of the keys; what is there all along comes exactly once. */
  async * entries () {
    let from = null
    do {
      const [next, ...flat] = await this.#hub.call(client => client.scan(this.#space, from, PAGE))
      for (let i = 0; i < flat.length; i += 2) yield [flat[i], decode(flat[i + 1])]
      from = next
    } while (from !== null)
  }

  async * keys () {
    for await (const [key] of this.entries()) yield key
  }

  async * values () {
    for await (const [, value] of this.entries()) yield value
  }

  [Symbol.asyncIterator] () {
    return this.entries()
  }

  /** How many keys there are; looks at all of them. */
  async size () {
    let count = 0
    for await (const _ of this.keys()) count++ // eslint-disable-line no-unused-vars
    return count
  }

  async clear () {
    while (await this.#hub.call(client => client.clear(this.#space, PAGE)) === PAGE);
  }
}

module.exports = { SharedMap }
