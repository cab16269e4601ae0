/// <reference types="node" />
import { EventEmitter } from 'node:events'

declare namespace pm2 {
  type Callback<T> = (error: Error | null, result: T) => void
  /** A name, a namespace, an id, a script's path, `/a pattern/` or `all`. */
  type Target = string | number

  type ProcessStatus = 'online' | 'stopping' | 'stopped' | 'launching' | 'errored' | 'waiting restart' | 'one-launch-status'

  interface Pm2Env {
    name: string
    namespace: string
    pm_id: number
    status: ProcessStatus
    exec_mode: 'fork_mode' | 'cluster_mode'
    exec_interpreter: string
    instances: number
    pm_exec_path: string
    pm_cwd: string
    pm_out_log_path: string
    pm_err_log_path: string
    pm_pid_path: string
    /** Milliseconds since 1970. */
    pm_uptime: number
    created_at: number
    restart_time: number
    unstable_restarts: number
    unique_id: string
    node_version?: string
    version?: string
    exit_code?: number
    env: Record<string, unknown>
    axm_actions: { action_name: string, action_type?: string, opts?: unknown, arity?: number }[]
    axm_monitor: Record<string, { value: unknown, unit?: string, type?: string, historic?: boolean }>
    axm_options: Record<string, unknown>
    axm_dynamic: Record<string, unknown>
    [key: string]: unknown
  }

  interface ProcessDescription {
    name: string
    /** 0 when it does not run. */
    pid: number
    pm_id: number
    monit: { memory: number, cpu: number }
    pm2_env: Pm2Env
  }

  /** What commands answer with. */
  interface Proc {
    name: string
    namespace: string
    pm_id: number
    pid: number
    status: ProcessStatus
    restart_time: number
    pm2_env: Pm2Env
  }

  interface StartOptions {
    script?: string
    name?: string
    namespace?: string
    cwd?: string
    args?: string | string[]
    interpreter?: string
    interpreter_args?: string | string[]
    node_args?: string | string[]
    env?: Record<string, unknown>
    filter_env?: boolean | string | string[]
    instances?: number | 'max' | string
    exec_mode?: 'fork' | 'cluster' | 'fork_mode' | 'cluster_mode'
    increment_var?: string
    instance_var?: string
    port?: number
    output?: string
    out_file?: string
    error?: string
    error_file?: string
    /** `true`: the usual file for both streams. */
    log_file?: boolean | string
    log?: boolean | string
    log_type?: 'json' | 'raw' | 'pairs' | 'named'
    log_date_format?: string
    time?: boolean
    merge_logs?: boolean
    disable_logs?: boolean
    autorestart?: boolean
    autostart?: boolean
    max_restarts?: number
    min_uptime?: number | string
    restart_delay?: number
    exp_backoff_restart_delay?: number
    stop_exit_codes?: number | number[]
    max_memory_restart?: number | string
    cron_restart?: string
    watch?: boolean | string | string[]
    /** As in a `.gitignore`; a `RegExp` counts for the whole path. */
    ignore_watch?: string | RegExp | Array<string | RegExp>
    kill_timeout?: number
    kill_signal?: string
    listen_timeout?: number
    wait_ready?: boolean
    shutdown_with_message?: boolean
    treekill?: boolean
    uid?: number | string
    gid?: number | string
    force?: boolean
    /** skep's own. */
    balance?: string
    runtime?: string
    max_surge?: number | string
  }

  /** For a file of apps, or for apps that are there. */
  interface CommandOptions {
    /** Chooses `env_NAME` of a file. */
    env?: string
    /** Of a file's apps, only these. */
    only?: string | string[]
    /** Gives the variables of this process to apps that are there already. */
    updateEnv?: boolean
    force?: boolean
    /** How many processes are restarted at once. */
    parallel?: number
  }

  /** For apps that are there: any attribute may change, the name too. */
  type ChangeOptions = CommandOptions & Omit<StartOptions, 'script' | 'env' | 'force'>

  interface BusProcess {
    pm_id?: number
    name?: string
    namespace?: string
    rev: null
  }

  interface BusEvents {
    'process:event': [{ event: string, manually: boolean, process: BusProcess & { pid?: number, exit_code?: number, status?: string }, at: number }]
    'log:out': [{ process: BusProcess, data: string, at: number }]
    'log:err': [{ process: BusProcess, data: string, at: number }]
    'process:msg': [{ process: BusProcess, raw: unknown, data: unknown, topic?: string, at: number }]
    'process:exception': [{ process: BusProcess, raw: unknown, data: unknown, at: number }]
    'axm:monitor': [{ process: BusProcess, raw: unknown, data: unknown, at: number }]
    '*': [name: string, data: unknown]
    close: []
  }

  interface Bus extends EventEmitter {
    on<E extends keyof BusEvents>(event: E, listener: (...args: BusEvents[E]) => void): this
    on(event: string, listener: (...args: any[]) => void): this
    close(): void
  }

  interface Packet {
    type?: string
    topic: string | boolean
    data: unknown
    id?: number
  }
}

declare class PM2 extends EventEmitter {
  constructor(options?: { pm2_home?: string, home?: string, cwd?: string })
  readonly pm2_home: string
  connect(callback: pm2.Callback<unknown>): void
  connect(noDaemon: boolean, callback: pm2.Callback<unknown>): void
  connect(noDaemon?: boolean): Promise<unknown>
  disconnect(callback: pm2.Callback<unknown>): void
  disconnect(): Promise<unknown>
  close(callback: pm2.Callback<unknown>): void
  close(): Promise<unknown>
  list(callback: pm2.Callback<pm2.ProcessDescription[]>): void
  list(): Promise<pm2.ProcessDescription[]>
  describe(target: pm2.Target, callback: pm2.Callback<pm2.ProcessDescription[]>): void
  describe(target: pm2.Target): Promise<pm2.ProcessDescription[]>
  start(what: pm2.Target | pm2.StartOptions | pm2.StartOptions[] | { apps: pm2.StartOptions[] }, callback: pm2.Callback<(pm2.Proc | pm2.ProcessDescription)[]>): void
  start(what: pm2.Target, options: pm2.StartOptions | pm2.CommandOptions, callback: pm2.Callback<(pm2.Proc | pm2.ProcessDescription)[]>): void
  start(what: pm2.Target | pm2.StartOptions | pm2.StartOptions[] | { apps: pm2.StartOptions[] }, options?: pm2.StartOptions | pm2.CommandOptions): Promise<(pm2.Proc | pm2.ProcessDescription)[]>
  stop(target: pm2.Target, callback: pm2.Callback<pm2.Proc[]>): void
  stop(target: pm2.Target): Promise<pm2.Proc[]>
  restart(target: pm2.Target | pm2.StartOptions, callback: pm2.Callback<pm2.Proc[]>): void
  restart(target: pm2.Target | pm2.StartOptions, options: pm2.ChangeOptions, callback: pm2.Callback<pm2.Proc[]>): void
  restart(target: pm2.Target | pm2.StartOptions, options?: pm2.ChangeOptions): Promise<pm2.Proc[]>
  reload(target: pm2.Target | pm2.StartOptions, callback: pm2.Callback<pm2.Proc[]>): void
  reload(target: pm2.Target | pm2.StartOptions, options: pm2.ChangeOptions, callback: pm2.Callback<pm2.Proc[]>): void
  reload(target: pm2.Target | pm2.StartOptions, options?: pm2.ChangeOptions): Promise<pm2.Proc[]>
  gracefulReload(target: pm2.Target | pm2.StartOptions, callback: pm2.Callback<pm2.Proc[]>): void
  gracefulReload(target: pm2.Target | pm2.StartOptions, options: pm2.ChangeOptions, callback: pm2.Callback<pm2.Proc[]>): void
  gracefulReload(target: pm2.Target | pm2.StartOptions, options?: pm2.ChangeOptions): Promise<pm2.Proc[]>
  delete(target: pm2.Target, callback: pm2.Callback<pm2.Proc[]>): void
  delete(target: pm2.Target): Promise<pm2.Proc[]>
  reset(target: pm2.Target, callback: pm2.Callback<pm2.Proc[]>): void
  reset(target: pm2.Target): Promise<pm2.Proc[]>
  scale(name: string, instances: number | string, callback: pm2.Callback<pm2.Proc[]>): void
  scale(name: string, instances: number | string): Promise<pm2.Proc[]>
  killDaemon(callback: pm2.Callback<{ success: boolean }>): void
  killDaemon(): Promise<{ success: boolean }>
  kill(callback: pm2.Callback<{ success: boolean }>): void
  kill(): Promise<{ success: boolean }>
  ping(callback: pm2.Callback<{ msg: 'pong' }>): void
  ping(): Promise<{ msg: 'pong' }>
  update(callback: pm2.Callback<{ success: boolean }>): void
  update(): Promise<{ success: boolean }>
  getVersion(callback: pm2.Callback<string>): void
  getVersion(): Promise<string>
  dump(callback: pm2.Callback<unknown>): void
  dump(force?: boolean): Promise<unknown>
  resurrect(callback: pm2.Callback<pm2.Proc[]>): void
  resurrect(): Promise<pm2.Proc[]>
  flush(target: pm2.Target, callback: pm2.Callback<unknown>): void
  flush(target?: pm2.Target): Promise<unknown>
  reloadLogs(callback: pm2.Callback<unknown>): void
  reloadLogs(): Promise<unknown>
  startup(platform: string, callback: pm2.Callback<unknown>): void
  startup(platform?: string): Promise<unknown>
  uninstallStartup(platform: string, callback: pm2.Callback<unknown>): void
  uninstallStartup(platform?: string): Promise<unknown>
  launchBus(callback: pm2.Callback<pm2.Bus>): void
  launchBus(): Promise<pm2.Bus>
  disconnectBus(): void
  sendSignalToProcessName(signal: string | number, name: string, callback: pm2.Callback<pm2.Proc[]>): void
  sendSignalToProcessName(signal: string | number, name: string): Promise<pm2.Proc[]>
  sendSignalToProcessId(signal: string | number, id: number, callback: pm2.Callback<pm2.Proc[]>): void
  sendSignalToProcessId(signal: string | number, id: number): Promise<pm2.Proc[]>
  sendDataToProcessId(id: number, packet: pm2.Packet, callback: pm2.Callback<unknown>): void
  sendDataToProcessId(packet: pm2.Packet & { id: number }, callback: pm2.Callback<unknown>): void
  sendDataToProcessId(id: number, packet: pm2.Packet): Promise<unknown>
  sendDataToProcessId(packet: pm2.Packet & { id: number }): Promise<unknown>
  sendLineToStdin(id: number, line: string, callback: pm2.Callback<unknown>): void
  sendLineToStdin(id: number, line: string, separator?: string): Promise<unknown>
  trigger(target: pm2.Target, action: string, params: unknown, callback: pm2.Callback<unknown[]>): void
  trigger(target: pm2.Target, action: string, callback: pm2.Callback<unknown[]>): void
  trigger(target: pm2.Target, action: string, params?: unknown): Promise<unknown[]>
  getProcessIdByName(name: string, callback: pm2.Callback<number[]>): void
  getProcessIdByName(name: string): Promise<number[]>
  getPID(name: string, callback: pm2.Callback<number[]>): void
  getPID(name?: string): Promise<number[]>
  env(id: number, callback: pm2.Callback<Record<string, unknown>>): void
  env(id: number): Promise<Record<string, unknown>>
  set(key: string, value: unknown, callback: pm2.Callback<unknown>): void
  set(key: string, value: unknown): Promise<unknown>
  unset(key: string, callback: pm2.Callback<unknown>): void
  unset(key: string): Promise<unknown>
  /** `KEY VALUE KEY VALUE` */
  multiset(serial: string, callback: pm2.Callback<unknown>): void
  multiset(serial: string): Promise<unknown>
  get(key: string, callback: pm2.Callback<unknown>): void
  get(key?: string): Promise<unknown>
}

declare const pm2: PM2 & { custom: typeof PM2 }
export = pm2
