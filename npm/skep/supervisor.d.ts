/** The supervisor's side of the shared state, for programs that supervise their own workers. */

export interface StoreOptions {
  /** First size of the data in bytes (2 MiB), and its largest (1 GiB). */
  dataBytes?: number
  dataBytesMax?: number
  /** Largest value in bytes (16 MiB). */
  valueBytesMax?: number
  /** Number of counters (16,384) and of processes (1,024). */
  counters?: number
  workers?: number
}

export class Supervisor {
  /** Makes or opens the store in a folder, which should lie in memory (`/dev/shm/...`). */
  constructor (dir: string, options?: StoreOptions)
  /** The environment of a worker. */
  env (id: number, generation?: number): { SKEP_STATE: string, SKEP_WORKER_ID: string, SKEP_WORKER_GEN: string }
  /** To be called when a worker's process has ended: gives back at once what it held; how many things. */
  workerEnded (id: number, generation?: number): number
  stats (): Record<string, any>
  locks (): Array<{ name: string, held: any[], pending: any[] }>
  backup (file: string): void
  restore (file: string): void
  close (): void
}
