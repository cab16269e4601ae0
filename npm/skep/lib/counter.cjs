'use strict'
// Counters: atomics in shared memory, incremented by JavaScript itself.

const MAX = Number.MAX_SAFE_INTEGER

class Counter {
  #view
  #place
  #client

  constructor (hub, name) {
    this.name = name
    this.#client = hub.client
    this.#place = hub.now(client => client.counterPlace(name))
    hub.counters ??= page(hub.client)
    this.#view = hub.counters
  }

  /** Adds (1, or any whole number) and returns the new value. Atomic over all processes. */
  add (by = 1) {
    if (!Number.isSafeInteger(by)) {
      throw new RangeError(`skep: counter ${this.name}: add(${by}) is not a whole number within ±2^53`)
    }
    let sum
    if (this.#view) {
      sum = Number(Atomics.add(this.#view, this.#place, by === 1 ? 1n : BigInt(by))) + by
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
    if (this.#view) return Number(Atomics.exchange(this.#view, this.#place, BigInt(value)))
    return Number(this.#client.counterSet(this.#place, value))
  }

  /** The value, awaited: the form that also works where the state is on another machine. */
  async get () {
    return this.#client.counterRead ? this.#client.counterRead(this.#place) : this.value
  }
}

function page (client) {
  const memory = client.counterPage()
  return memory ? new BigInt64Array(memory) : undefined
}

module.exports = { Counter }
