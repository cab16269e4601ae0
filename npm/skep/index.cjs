'use strict'
// skep: state that the processes of one machine share. See index.d.ts for what each function promises.

const { Atomic } = require('./lib/atomic.cjs')
const { Channel, Channels } = require('./lib/channel.cjs')
const { Counter } = require('./lib/counter.cjs')
const { theDurableHub } = require('./lib/durable.cjs')
const { theHub } = require('./lib/hub.cjs')
const { Leaderboard } = require('./lib/leaderboard.cjs')
const { LimitError, Limiter } = require('./lib/limiter.cjs')
const { Locks } = require('./lib/locks.cjs')
const { SharedMap } = require('./lib/map.cjs')
const { Flights } = require('./lib/once.cjs')
const { makePool } = require('./lib/pool.cjs')
const { Queue } = require('./lib/queue.cjs')
const { schedule } = require('./lib/schedule.cjs')
const { Worker } = require('./lib/worker.cjs')

/** One object a name: `counter('a') === counter('a')`. */
function named (make) {
  const known = new Map()
  return name => {
    if (typeof name !== 'string' || name === '') throw new TypeError(`skep: a name is text, got ${String(name)}`)
    let object = known.get(name)
    if (!object) known.set(name, object = make(theHub(), name))
    return object
  }
}

function lazily (make) {
  let object
  return () => (object ??= make(theHub()))
}

const counter = named((hub, name) => new Counter(hub, name))
const leaderboard = named((hub, name) => new Leaderboard(hub, name))
const theLocks = lazily(hub => new Locks(hub))
const theFlights = lazily(hub => new Flights(hub))
const theChannels = lazily(hub => new Channels(hub))

const map = (name, options) => new SharedMap(theHub(), name, options)
const queue = (name, options) => new Queue(options?.durable ? theDurableHub() : theHub(), name, options)
const limiter = (name, options) => new Limiter(theHub(), name, options)
const channel = name => new Channel(theChannels(), name)
const atomic = () => new Atomic(theHub())
const once = (name, fn, options) => theFlights().once(name, fn, options)
once.forget = name => theFlights().forget(name)

const locks = {
  request: (name, options, callback) => theLocks().request(name, options, callback),
  query: () => theLocks().query()
}

const pool = makePool(locks)
const worker = new Worker({ lead: (name, elected) => theLocks().lead(name, elected) })

module.exports = {
  LimitError, atomic, channel, counter, leaderboard, limiter, locks, map, once, pool, queue, schedule,
  worker
}
