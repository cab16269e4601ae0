'use strict'
// The supervisor's side of the shared state, for programs that supervise their own workers (node:cluster, tests).
// Under skep the daemon does this; nothing here is needed then.

const net = require('node:net')

const native = require('./lib/native.cjs')

const TIMER_MAX_MS = 2 ** 31 - 1

class Supervisor {
  #native
  #socket
  #timer
  #dir

  /** Makes or opens the store in `dir`; see index.d.ts for the options. */
  constructor (dir, options = {}) {
    this.#dir = dir
    this.#native = new (native.load().Supervisor)(dir, options)
    this.#socket = new net.Socket({ fd: this.#native.wakeFd(), readable: true, writable: false })
    this.#socket.on('data', () => this.#maintain())
    this.#socket.unref()
    this.#maintain()
  }

  /** The environment of a worker: `fork(file, { env: { ...process.env, ...supervisor.env(1) } })`. */
  env (id, generation = 0) {
    return { SKEP_STATE: this.#dir, SKEP_WORKER_ID: String(id), SKEP_WORKER_GEN: String(generation) }
  }

  /** To be called when a worker's process has ended: gives back at once what it held. */
  workerEnded (id, generation = 0) {
    return this.#native.workerEnded(id, generation)
  }

  stats () {
    return JSON.parse(this.#native.stats())
  }

  locks () {
    return JSON.parse(this.#native.locks())
  }

  backup (file) {
    this.#native.backup(file)
  }

  restore (file) {
    this.#native.restore(file)
  }

  #maintain () {
    clearTimeout(this.#timer)
    const at = this.#native.maintain()
    if (at > 0) {
      this.#timer = setTimeout(() => this.#maintain(), Math.min(Math.max(at - Date.now(), 1), TIMER_MAX_MS))
      this.#timer.unref()
    }
  }

  close () {
    clearTimeout(this.#timer)
    this.#socket.destroy()
  }
}

module.exports = { Supervisor }
