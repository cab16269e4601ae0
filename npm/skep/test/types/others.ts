// The entries beside the main one.
import { Supervisor } from 'skep/supervisor'
import type { StoreOptions } from 'skep/supervisor'
import connect = require('skep/express-session')
import { SkepRateLimitStore } from 'skep/rate-limit'
import { createAdapter } from 'skep/socket.io'

/** What `require('express-session')` gives. */
declare const session: unknown
const options: StoreOptions = { dataBytes: 1 << 21, workers: 64 }
const supervisor = new Supervisor('/dev/shm/mine', options)
const environment: { SKEP_STATE: string } = supervisor.env(1)
const Store = connect(session)
export const store = new Store({ ttl: '1d' })
export const limits: Promise<{ totalHits: number, resetTime: Date }> = new SkepRateLimitStore({ name: 'api' }).increment('me')
export const adapter = createAdapter({ key: 'rooms' })
console.log(environment.SKEP_STATE, supervisor.workerEnded(1), supervisor.stats())
