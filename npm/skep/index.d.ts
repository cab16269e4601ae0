/**
 * State that the processes of one machine share. Under `skep start` every worker sees the same; without skep the same
 * calls work in one process alone.
 *
 * Durations are milliseconds, or text like `'30m'`, `'1.5h'`, `'250ms'`. Values are what JSON can say, plus what V8 can
 * serialize (Date, Map, Set, BigInt, bytes). Errors have a `code`: `ERR_SKEP_FULL`, `ERR_SKEP_VALUE_TOO_LONG`, …
 */

export type Duration = number | string
export type Key = string | Uint8Array

/** A 64-bit number that JavaScript itself increments in shared memory. */
export interface Counter {
  readonly name: string
  /** Adds (1, or any whole number) and returns the new value. Throws a RangeError at ±2^53. */
  add (by?: number): number
  /** The value now. */
  readonly value: number
  /** Sets the value; returns the one before. */
  set (value: number): number
  /** The value, awaited. */
  get (): Promise<number>
}

/** The counter of a name; the same object for the same name. */
export function counter (name: string): Counter

export interface SetOptions {
  /** When the key ends; 0: never. Default: the map's. */
  ttl?: Duration
  /** Only if the key is not there. */
  ifMissing?: boolean
}

export interface SharedMap<V = unknown> extends AsyncIterable<[string, V]> {
  readonly name: string
  get (key: Key): Promise<V | undefined>
  /** Sets a key; false if `ifMissing` was asked for and it was there. */
  set (key: Key, value: V, options?: SetOptions): Promise<boolean>
  has (key: Key): Promise<boolean>
  delete (key: Key): Promise<boolean>
  /** Replaces a value by what `fn` makes of it, again if somebody was faster. `undefined` removes the key. */
  update (key: Key, fn: (value: V | undefined) => V | undefined | Promise<V | undefined>, options?: { ttl?: Duration }):
    Promise<V | undefined>
  /** The value and its version, for {@link Atomic.check}; version 0: it is not there. */
  getVersioned (key: Key): Promise<{ value: V | undefined, version: number }>
  /** Gives a key a new end; false if it is not there. */
  touch (key: Key, options?: { ttl?: Duration }): Promise<boolean>
  /** Milliseconds left; Infinity: no end; undefined: not there. */
  ttl (key: Key): Promise<number | undefined>
  entries (): AsyncIterableIterator<[string, V]>
  keys (): AsyncIterableIterator<string>
  values (): AsyncIterableIterator<V>
  /** How many keys there are; looks at all of them. */
  size (): Promise<number>
  clear (): Promise<void>
  /** As `get`, `set`, `delete`, without a promise: microseconds, on one machine only. */
  getSync (key: Key): V | undefined
  setSync (key: Key, value: V, options?: SetOptions): boolean
  deleteSync (key: Key): boolean
}

export function map<V = unknown> (name: string, options?: { ttl?: Duration }): SharedMap<V>

export interface OnceOptions<V> {
  /** How long the value serves; default 0: it is shared with those who wait, and not kept. */
  ttl?: Duration | ((value: V) => Duration)
  /** This long before its end one caller fetches anew while the others are served. */
  refreshBefore?: Duration
  /** If fetching fails, a value past its end serves: for ever (`true`) or this much longer. */
  staleIfError?: boolean | Duration
  /** After this time without an answer it is an error, and another may fetch. Default 30 s. */
  timeout?: Duration
}

/** Of all callers in all processes one calls `fn`; the others get what it got. */
export const once: {
  <V> (name: string, fn: (context: { signal: AbortSignal }) => V | Promise<V>, options?: OnceOptions<V>): Promise<V>
  /** Forgets a value, so that the next caller fetches. */
  forget (name: string): Promise<boolean>
}

export interface Lock {
  readonly name: string
  readonly mode: 'exclusive' | 'shared'
  /** The fencing token: above every one given before. Have what you protect refuse a lower one. */
  readonly token: number
  /** Aborts when the lock is stolen or its ttl is over. */
  readonly signal: AbortSignal
}

export interface LockOptions {
  mode?: 'exclusive' | 'shared'
  /** Stops waiting. */
  signal?: AbortSignal
  /** Does not wait: `callback(null)` if the lock is held. */
  ifAvailable?: boolean
  /** Takes the lock from whoever holds it. */
  steal?: boolean
  /** The lock is taken away after this time. Default: never; a dead worker's locks are given back anyway. */
  ttl?: Duration
}

export interface LockInfo { name: string, mode: 'exclusive' | 'shared', clientId: string, since: number }

/** Locks as `navigator.locks` has them: fair by arrival, over all processes. */
export const locks: {
  request<T> (name: string, callback: (lock: Lock) => T | Promise<T>): Promise<T>
  request<T> (name: string, options: LockOptions & { ifAvailable: true }, callback: (lock: Lock | null) => T | Promise<T>):
    Promise<T>
  request<T> (name: string, options: LockOptions, callback: (lock: Lock) => T | Promise<T>): Promise<T>
  query (): Promise<{ held: LockInfo[], pending: LockInfo[] }>
}

/** As BroadcastChannel, over all processes. */
export interface Channel<V = unknown> extends EventTarget {
  readonly name: string
  /** Sends a value to all other channel objects of this name. */
  postMessage (value: V): void
  onmessage: ((event: MessageEvent<V>) => void) | null
  /** Messages were dropped because this process read too slowly. */
  onmessageerror: ((event: MessageEvent) => void) | null
  close (): void
  /** Whether the open channel keeps the process alive (it does). */
  ref (): this
  unref (): this
}

export function channel<V = unknown> (name: string): Channel<V>

export interface RetryOptions {
  /** How often a job is tried again. Default 3. */
  retries?: number
  /** The rest before the first retry; it doubles each time. Default 1 s. */
  backoff?: Duration | { type: 'fixed' | 'exponential', delay: Duration }
}

export interface PushOptions extends RetryOptions {
  delay?: Duration
  /** 0–255, higher first. */
  priority?: number
}

export interface Job<V> {
  readonly id: string
  readonly data: V
  /** Which try this is, from 1. */
  readonly attempt: number
  /** Aborts when the job was given to another worker. */
  readonly signal: AbortSignal
}

export interface ProcessOptions extends RetryOptions {
  /** Jobs at one time. Default 1. */
  concurrency?: number
  /** How long a job may be silent before another worker gets it; extended while the handler runs. Default 30 s. */
  visibility?: Duration
  onerror?: (error: unknown, id?: string) => void
}

export interface QueueOptions extends RetryOptions {
  /**
   * Its jobs are on the disk: `push` resolves when they are (milliseconds, a flush of the disk), and a restart of the
   * machine loses none. Under skep in its home, else in `SKEP_QUEUES` or `./.skep/queues`; on Redis as durable as its
   * configuration. Another queue than the one of the same name without it. Default false.
   */
  durable?: boolean
}

/** Jobs, each worked on at least once. */
export interface Queue<V = unknown> {
  readonly name: string
  readonly durable: boolean
  push (data: V, options?: PushOptions): Promise<string>
  process (handler: (job: Job<V>) => unknown, options?: ProcessOptions): { stop (): Promise<void> }
  counts (): Promise<{ ready: number, delayed: number, active: number, dead: number }>
  /** Jobs that failed too often. */
  dead (most?: number): Promise<Array<{ id: string, data: V, error: string }>>
  /** Puts dead jobs back; how many. */
  revive (most?: number): Promise<number>
}

export function queue<V = unknown> (name: string, options?: QueueOptions): Queue<V>

export interface Place { member: string, score: number, rank: number }

export interface Leaderboard {
  readonly name: string
  /** Adds to a member's score; the sum. */
  add (member: Key, by?: number): Promise<number>
  /** Sets a score; whether the member is new. */
  set (member: Key, score: number): Promise<boolean>
  score (member: Key): Promise<number | undefined>
  /** 1 for the first. */
  rank (member: Key): Promise<number | undefined>
  top (count?: number): Promise<Place[]>
  range (from: number, count: number): Promise<Place[]>
  around (member: Key, reach?: number): Promise<Place[]>
  remove (member: Key): Promise<boolean>
  size (): Promise<number>
}

export function leaderboard (name: string): Leaderboard

export interface Verdict { allowed: boolean, used: number, remaining: number, resetMs: number }

export class LimitError extends Error implements Verdict {
  code: 'ERR_SKEP_LIMIT'
  allowed: boolean
  used: number
  remaining: number
  resetMs: number
}

export interface Limiter {
  readonly name: string
  /** Uses points of a key; throws a {@link LimitError} when there are too few. */
  consume (key: Key, points?: number): Promise<Verdict>
  /** The same without throwing. */
  tryConsume (key: Key, points?: number): Promise<Verdict>
  check (key: Key): Promise<Verdict>
  refund (key: Key, points?: number): Promise<Verdict>
  reset (key: Key): Promise<boolean>
}

export function limiter (name: string, options: { points: number, per: Duration, block?: Duration }): Limiter

/** Several changes at once, if what was read is still so. */
export interface Atomic {
  check (map: SharedMap<any>, key: Key, version: number): this
  set<V> (map: SharedMap<V>, key: Key, value: V, options?: { ttl?: Duration }): this
  delete (map: SharedMap<any>, key: Key): this
  push<V> (queue: Queue<V>, job: V): this
  /** Does all of it; or, if a check fails, nothing: false. */
  commit (): Promise<boolean>
}

export function atomic (): Atomic

/** One run of a scheduled function. */
export interface Run {
  /** The same for every attempt: the idempotency key. */
  readonly id: string
  readonly job: string
  /** The time that it is for; it may have begun later. */
  readonly scheduledAt: Date
  /** From 1. */
  readonly attempt: number
  /** The fencing token: above every one given before. Have what you protect refuse a lower one. */
  readonly token: number
  /** Somebody asked for it by `skep jobs run`. */
  readonly manual: boolean
  /** Aborts when the run took longer than its timeout, or was cancelled or replaced. */
  readonly signal: AbortSignal
}

export interface ScheduleOptions {
  /** A name of the IANA database. Default: the machine's zone. */
  timezone?: string
  /** Each run begins up to so much later, by chance. */
  jitter?: Duration
  /** If the run before is still under way: skip this one, wait, end that one, or run both. Default `'forbid'`. */
  overlap?: 'forbid' | 'queue' | 'replace' | 'allow'
  /** Fire times while nobody was there. Default `'skip'`; for a single date `'once'`. */
  missed?: 'skip' | 'once' | 'all'
  /** With `missed: 'all'`, so many at most. Default 10. */
  missedLimit?: number
  /** Then `signal` aborts and the run counts as failed. Default: never. */
  timeout?: Duration
  /** A run that failed is tried again so often. Default 0. */
  retries?: number
  /** The rest before the first retry; it doubles each time. Default 1 s. */
  backoff?: Duration
  backoffMax?: Duration
  /** A run whose worker was killed: `'record'` (at most once) or `'rerun'` (at least once). Default `'record'`. */
  onLost?: 'record' | 'rerun'
  /** Of several hosts that share a store (`skep hosts`), only one runs it at each fire time. Default: true where there is one. */
  shared?: boolean
  /** A shared job's fire time when that store cannot be reached. Default `'skip'`; `'run'`: perhaps on each host. */
  onUnreachable?: 'skip' | 'run'
  /** So many runs are remembered. Default 100. */
  keep?: number
}

export interface Scheduled {
  readonly name: string
  /** Resolves when the supervisor has it; rejects if it makes no sense. */
  readonly ready: Promise<void>
  stop (): void
}

/** Has `fn` called by the clock, in one worker of the app; what it returns is kept in the history. */
export function schedule (
  name: string,
  when: string | Date | { every: Duration } | { at: Date | string } | { cron: string },
  fn: (run: Run) => unknown,
  options?: ScheduleOptions
): Scheduled
/** The function of a job that the app's file declares (`function: name`). */
export function schedule (name: string, fn: (run: Run) => unknown): Scheduled

export interface PoolOptions {
  /** Calls at one time, over all workers and pools that share the state. Default: as many as there are processors. */
  workers?: number
  /** A call that takes longer is ended. Default: never. */
  timeout?: Duration
}

/** Heavy functions off the event loop, in child processes. */
export interface Pool {
  /**
   * Calls the file's default export, or the export `name`, with a copy of `data` (what V8 can serialize, buffers too).
   * `timeout` and `signal` end the child process. A crash rejects this call alone: `ERR_SKEP_POOL_CRASH`.
   */
  run<R = unknown> (data?: unknown, options?: { name?: string, timeout?: Duration, signal?: AbortSignal }): Promise<R>
  readonly size: { children: number, idle: number, waiting: number }
  /** Ends the children; calls under way fail. */
  close (): void
}

/** A pool for the functions of a file: a path (from the working directory) or a `file:` URL. */
export function pool (file: string | URL, options?: PoolOptions): Pool

export const worker: {
  /** The worker's id; 0 without skep. */
  readonly id: number
  /** Exactly one worker leads; another takes over when it ends. */
  readonly isLeader: boolean
  onLeader (fn: (token: number) => void): void
}
