'use strict'
// Who this process is, and who leads.

const LEADER = 'skep:leader'

class Worker {
  #locks
  #leading = false
  #token
  #standing = false
  #listeners = []

  constructor (locks) {
    this.#locks = locks
  }

  /** The worker's id, unique on this machine; 0 without skep. */
  get id () {
    return Number(process.env.SKEP_WORKER_ID ?? 0)
  }

  /** Whether this worker is the one that leads: exactly one does, another takes over when it ends. */
  get isLeader () {
    this.#stand()
    return this.#leading
  }

  /** Has `fn` called when this worker becomes the leader (at once if it is), with its fencing token. */
  onLeader (fn) {
    this.#stand()
    if (this.#leading) queueMicrotask(() => fn(this.#token))
    else this.#listeners.push(fn)
  }

  #stand () {
    if (this.#standing) return
    this.#standing = true
    this.#locks.lead(LEADER, token => {
      this.#leading = true
      this.#token = token
      for (const fn of this.#listeners.splice(0)) fn(token)
    })
  }
}

module.exports = { Worker }
