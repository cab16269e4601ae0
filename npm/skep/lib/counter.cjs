'use strict'
// Counters: atomics in shared memory, incremented by JavaScript itself.

const MAX = Number.MAX_SAFE_INTEGER
/** Where nobody can look for changes. */
const UNWATCHED = new Int32Array(1)

class Counter {
  #view
  #watched
  #place
  #client

  constructor (hub, name) {
    this.name = name
    this.#client = hub.client
    this.#place = hub.now(client => client.counterPlace(name))
    hub.counters ??= page(hub.client)
    this.#view = hub.counters.view
    this.#watched = hub.counters.watched
  }

  /**
   * Tells whoever looks (`skep state watch`) of a change. A plain load: `Atomics.load` is a call in V8, and costs as much
   * as all the rest of `add`. What the processor may put in another order because of that, the looker makes good.
   */
  #changed () {
    if (this.#watched[0] !== 0) this.#client.countersChanged()
  }

  /** Adds (1, or any whole number) and returns the new value. Atomic over all processes. */
  add (by = 1) {
    if (!Number.isSafeInteger(by)) {
      throw new RangeError(`skep: counter ${this.name}: add(${by}) is not a whole number within ±2^53`)
    }
    let sum
    if (this.#view) {
      sum = Number(Atomics.add(this.#view, this.#place, by === 1 ? 1n : BigInt(by))) + by
      this.#changed()
    } else {
      sum = Number(this.#client.counterAdd(this.#place, by))
    }
    if (sum > MAX || sum < -MAX) {
      if (this.#view) Atomics.sub(this.#view, this.#place, BigInt(by))
      else this.#client.counterAdd(this.#place, -by)
      throw new RangeError(`skep: counter ${this.name} would leave the range of safe integers (±2^53)`)
    }
    return sum
  }

  /** The value now. */
  get value () {
    if (this.#view) return Number(Atomics.load(this.#view, this.#place))
    return Number(this.#client.counterAdd(this.#place, 0))
  }

  /** Sets the value; returns the one before. */
  set (value) {
    if (!Number.isSafeInteger(value)) {
      throw new RangeError(`skep: counter ${this.name}: set(${value}) is not a whole number within ±2^53`)
    }
    if (this.#view) {
      const before = Number(Atomics.exchange(this.#view, this.#place, BigInt(value)))
      this.#changed()
      return before
    }
    return Number(this.#client.counterSet(this.#place, value))
  }

  /** The value, awaited: the form that also works where the state is on another machine. */
  async get () {
    return this.#client.counterRead ? this.#client.counterRead(this.#place) : this.value
  }
}

function page (client) {
  const memory = client.counterPage()
  if (!memory) return {}
  const watched = client.countersWatched?.()
  return { view: new BigInt64Array(memory), watched: watched ? new Int32Array(watched) : UNWATCHED }
}

module.exports = { Counter }
