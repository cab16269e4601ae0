/** A store for express-rate-limit. */
export class SkepRateLimitStore {
  constructor (options?: { name?: string })
  init (options: { windowMs: number }): void
  increment (key: string): Promise<{ totalHits: number, resetTime: Date }>
  get (key: string): Promise<{ totalHits: number, resetTime: Date } | undefined>
  decrement (key: string): Promise<void>
  resetKey (key: string): Promise<void>
}
