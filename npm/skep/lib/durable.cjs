'use strict'
// Durable queues: a store of their own on a disk, which has a push before its promise resolves. The native side has a
// thread that waits for the disk; here calls become promises, and answers come by the hub's descriptor.

const fs = require('node:fs')
const path = require('node:path')

const { Hub, theHub } = require('./hub.cjs')
const native = require('./native.cjs')

/** Where a program without skep keeps its durable queues, unless SKEP_QUEUES says so. */
const ALONE = path.join('.skep', 'queues')

const first = ([answer]) => answer
const flag = ([answer]) => answer === 1
const all = answer => answer
const nothing = () => undefined

/** What the native answers of these calls stand for; the arguments are those of the native client's methods. */
const CALLS = {
  push: first,
  pop: all,
  jobDone: flag,
  jobFailed: flag,
  jobExtend: flag,
  queueLeave: nothing,
  queueView: all,
  queueDead: all,
  queueRevive: first
}

class DurableClient {
  /** Calls made at one time share a flush of the disk. */
  together = true
  #native
  #pending = new Map()
  #numbers = 0
  #hub

  constructor (handle) {
    this.#native = handle
    for (const [name, read] of Object.entries(CALLS)) this[name] = (...args) => this.#call(name, read, args)
  }

  /** Whose event loop it is: kept alive while a call is on its way. */
  belongs (hub) { this.#hub = hub }

  wakeFd () { return this.#native.wakeFd() }
  signalled () { return this.#native.signalled() }
  detach () { this.#native.detach() }

  #call (name, read, args) {
    return new Promise((resolve, reject) => {
      this.#numbers = (this.#numbers + 1) >>> 0
      const number = this.#numbers
      this.#native[name](number, ...args)
      this.#pending.set(number, { read, resolve, reject })
      this.#hub.hold()
    })
  }

  poll () {
    const events = []
    for (const item of this.#native.poll()) {
      if (item[0] === 'done' || item[0] === 'refused') this.#answer(item)
      else events.push(item)
    }
    return [false, ...events]
  }

  #answer ([how, number, ...rest]) {
    const call = this.#pending.get(number)
    this.#pending.delete(number)
    this.#hub.release()
    if (how === 'done') return call.resolve(call.read(rest))
    const [code, message] = rest
    call.reject(Object.assign(new Error(message), { code }))
  }
}

const refusal = message => Object.assign(new Error(`skep: ${message}`), { code: 'ERR_SKEP_STATE' })

/** The folder, made if it is this program's own. */
function folder (env) {
  if (env.SKEP_QUEUES) return path.resolve(env.SKEP_QUEUES)
  if (env.SKEP_STATE_REFUSED) throw refusal(`there are no durable queues: ${env.SKEP_STATE_REFUSED}`)
  // Other workers would not look into a folder that this one chose.
  if (env.SKEP_STATE) throw refusal('nobody said where durable queues are: set SKEP_QUEUES to a folder, for all workers')
  const dir = path.resolve(ALONE)
  const above = path.dirname(dir)
  fs.mkdirSync(above, { recursive: true, mode: 0o700 })
  // Nobody wants it in a repository.
  const ignore = path.join(above, '.gitignore')
  if (!fs.existsSync(ignore)) fs.writeFileSync(ignore, '*\n')
  return dir
}

function connect (env = process.env) {
  const { Durable } = native.load()
  const { isMainThread } = require('node:worker_threads')
  const id = isMainThread && env.SKEP_WORKER_ID ? Number(env.SKEP_WORKER_ID) : undefined
  const handle = new Durable(folder(env), id, id === undefined ? undefined : Number(env.SKEP_WORKER_GEN ?? 0))
  const client = new DurableClient(handle)
  const hub = new Hub(client)
  client.belongs(hub)
  process.once('exit', () => {
    // If this fails the supervisor does it, as for a process that was killed.
    try { client.detach() } catch {}
  })
  return hub
}

/** On Redis durable is what its configuration says: it is told once if that is nothing. */
async function warnOfRedis (client) {
  if (await client.keeps().catch(() => true)) return
  process.emitWarning('this Redis keeps no append-only file: durable queues in it last as long as its last snapshot. ' +
    'Set `appendonly yes` (and `appendfsync always` for no loss at all)', { code: 'SKEP_DURABLE' })
}

let hub
/** The hub of durable queues, connected when the first one is used. */
function theDurableHub () {
  if (hub) return hub
  if (process.env.SKEP_REDIS) {
    hub = theHub()
    warnOfRedis(hub.client)
  } else {
    hub = connect()
  }
  return hub
}

module.exports = { connect, theDurableHub }
