'use strict'
// launchBus(): skep's events and log lines under the names that PM2 gives them.
//
//   process:event      { event: 'online' | 'start' | 'exit' | 'restart' | 'stop' | 'delete' | 'restart overlimit' | …,
//                        process, manually, at }
//   log:out, log:err   { process: { pm_id, name, namespace }, data, at }
//   process:msg        { process, raw, data, topic, at }
//   process:exception, human:event, axm:monitor, axm:reply, and any other `type` that a process sends
//                      { process, data, at }

const { EventEmitter } = require('node:events')

/** skep's kinds of events in PM2's words. */
const WORDS = {
  worker_spawned: 'start',
  worker_ready: 'online',
  worker_exited: 'exit',
  worker_stopping: 'stop',
  restart_delayed: 'restart',
  gave_up: 'restart overlimit',
  app_deleted: 'delete',
  rollout_started: 'graceful reload',
  rollout_slot_done: 'reload'
}

class Bus extends EventEmitter {
  #control
  #requests = new Set()
  #closed = false

  constructor (control) {
    super()
    this.#control = control
  }

  /** Listens; resolves once nothing that happens from now on is missed. */
  async open () {
    await Promise.all([
      this.#follow('/v1/events?follow=true', event => this.#event(event), true),
      this.#follow('/v1/logs/all?follow=true&lines=0', line => this.#line(line), false)
    ])
  }

  close () {
    if (this.#closed) return
    this.#closed = true
    for (const request of this.#requests) request.destroy()
    this.emit('close')
  }

  /** Every event, with its name: `bus.on('*', (name, data) => …)`. */
  #tell (name, data) {
    this.emit(name, data)
    this.emit('*', name, data)
  }

  #follow (target, take, skipPast) {
    return new Promise((resolve, reject) => {
      const began = Date.now()
      const read = async () => {
        const seen = request => {
          this.#requests.add(request)
          request.once('response', () => resolve())
          request.once('close', () => this.#requests.delete(request))
        }
        for await (const value of this.#control.lines('GET', target, undefined, seen)) {
          // Events that are remembered from before the bus was opened are not news.
          if (!skipPast || value.time_unix_ms >= began) take(value)
        }
      }
      read().then(() => this.close(), error => {
        if (this.#closed) return
        reject(error)
        this.close()
      })
    })
  }

  #line (line) {
    const process = { pm_id: line.slot, name: line.app, namespace: line.namespace ?? 'default', rev: null }
    const text = line.text ?? Buffer.from(line.base64 ?? '', 'base64').toString('latin1')
    this.#tell(line.stream === 'err' ? 'log:err' : 'log:out', {
      process,
      data: `${text}\n`,
      at: line.time_unix_ms ?? Date.now()
    })
  }

  #event (event) {
    const at = event.time_unix_ms
    const process = { pm_id: event.slot, name: event.app, namespace: event.namespace, rev: null, versioning: null }
    if (event.kind === 'worker_message') return this.#message(event.data, process, at)
    const word = WORDS[event.kind]
    if (word === undefined) return
    this.#tell('process:event', {
      event: word,
      manually: event.kind === 'worker_stopping',
      process: { ...process, pid: event.pid, exit_code: event.exit_code, status: STATUS[word] },
      at
    })
  }

  #message (message, process, at) {
    if (message === null || typeof message !== 'object' || typeof message.type !== 'string') {
      return this.#tell('process:msg', { process, raw: message, data: message, at })
    }
    const { type, data, topic } = message
    this.#tell(type, { process, raw: message, data: type === 'process:msg' ? data : data, topic, at })
  }
}

const STATUS = {
  start: 'launching',
  online: 'online',
  exit: 'stopped',
  stop: 'stopping',
  restart: 'waiting restart',
  'restart overlimit': 'errored',
  delete: 'stopped'
}

module.exports = { Bus }
