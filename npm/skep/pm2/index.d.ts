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
    log?: string
    log_type?: 'json' | 'raw'
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
    ignore_watch?: string | string[]
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

  class PM2 extends EventEmitter {
    constructor(options?: { pm2_home?: string, home?: string, cwd?: string })
    readonly pm2_home: string
    connect(callback: Callback<unknown>): void
    connect(noDaemon: boolean, callback: Callback<unknown>): void
    connect(noDaemon?: boolean): Promise<unknown>
    disconnect(callback: Callback<unknown>): void
    disconnect(): Promise<unknown>
    close(callback: Callback<unknown>): void
    close(): Promise<unknown>
    list(callback: Callback<ProcessDescription[]>): void
    list(): Promise<ProcessDescription[]>
    describe(target: Target, callback: Callback<ProcessDescription[]>): void
    describe(target: Target): Promise<ProcessDescription[]>
    start(what: Target | StartOptions | StartOptions[] | { apps: StartOptions[] }, callback: Callback<(Proc | ProcessDescription)[]>): void
    start(what: Target, options: StartOptions | CommandOptions, callback: Callback<(Proc | ProcessDescription)[]>): void
    start(what: Target | StartOptions | StartOptions[] | { apps: StartOptions[] }, options?: StartOptions | CommandOptions): Promise<(Proc | ProcessDescription)[]>
    stop(target: Target, callback: Callback<Proc[]>): void
    stop(target: Target): Promise<Proc[]>
    restart(target: Target | StartOptions, callback: Callback<Proc[]>): void
    restart(target: Target | StartOptions, options: CommandOptions, callback: Callback<Proc[]>): void
    restart(target: Target | StartOptions, options?: CommandOptions): Promise<Proc[]>
    reload(target: Target | StartOptions, callback: Callback<Proc[]>): void
    reload(target: Target | StartOptions, options: CommandOptions, callback: Callback<Proc[]>): void
    reload(target: Target | StartOptions, options?: CommandOptions): Promise<Proc[]>
    gracefulReload(target: Target | StartOptions, callback: Callback<Proc[]>): void
    gracefulReload(target: Target | StartOptions, options: CommandOptions, callback: Callback<Proc[]>): void
    gracefulReload(target: Target | StartOptions, options?: CommandOptions): Promise<Proc[]>
    delete(target: Target, callback: Callback<Proc[]>): void
    delete(target: Target): Promise<Proc[]>
    reset(target: Target, callback: Callback<Proc[]>): void
    reset(target: Target): Promise<Proc[]>
    scale(name: string, instances: number | string, callback: Callback<Proc[]>): void
    scale(name: string, instances: number | string): Promise<Proc[]>
    killDaemon(callback: Callback<{ success: boolean }>): void
    killDaemon(): Promise<{ success: boolean }>
    kill(callback: Callback<{ success: boolean }>): void
    kill(): Promise<{ success: boolean }>
    ping(callback: Callback<{ msg: 'pong' }>): void
    ping(): Promise<{ msg: 'pong' }>
    update(callback: Callback<{ success: boolean }>): void
    update(): Promise<{ success: boolean }>
    getVersion(callback: Callback<string>): void
    getVersion(): Promise<string>
    dump(callback: Callback<unknown>): void
    dump(force?: boolean): Promise<unknown>
    resurrect(callback: Callback<Proc[]>): void
    resurrect(): Promise<Proc[]>
    flush(target: Target, callback: Callback<unknown>): void
    flush(target?: Target): Promise<unknown>
    reloadLogs(callback: Callback<unknown>): void
    reloadLogs(): Promise<unknown>
    startup(platform: string, callback: Callback<unknown>): void
    startup(platform?: string): Promise<unknown>
    uninstallStartup(platform: string, callback: Callback<unknown>): void
    uninstallStartup(platform?: string): Promise<unknown>
    launchBus(callback: Callback<Bus>): void
    launchBus(): Promise<Bus>
    disconnectBus(): void
    sendSignalToProcessName(signal: string | number, name: string, callback: Callback<Proc[]>): void
    sendSignalToProcessName(signal: string | number, name: string): Promise<Proc[]>
    sendSignalToProcessId(signal: string | number, id: number, callback: Callback<Proc[]>): void
    sendSignalToProcessId(signal: string | number, id: number): Promise<Proc[]>
    sendDataToProcessId(id: number, packet: Packet, callback: Callback<unknown>): void
    sendDataToProcessId(packet: Packet & { id: number }, callback: Callback<unknown>): void
    sendDataToProcessId(id: number, packet: Packet): Promise<unknown>
    sendDataToProcessId(packet: Packet & { id: number }): Promise<unknown>
    sendLineToStdin(id: number, line: string, callback: Callback<unknown>): void
    sendLineToStdin(id: number, line: string, separator?: string): Promise<unknown>
    trigger(target: Target, action: string, params: unknown, callback: Callback<unknown[]>): void
    trigger(target: Target, action: string, callback: Callback<unknown[]>): void
    trigger(target: Target, action: string, params?: unknown): Promise<unknown[]>
    getProcessIdByName(name: string, callback: Callback<number[]>): void
    getProcessIdByName(name: string): Promise<number[]>
    getPID(name: string, callback: Callback<number[]>): void
    getPID(name?: string): Promise<number[]>
    env(id: number, callback: Callback<Record<string, unknown>>): void
    env(id: number): Promise<Record<string, unknown>>
    set(key: string, value: unknown, callback: Callback<unknown>): void
    set(key: string, value: unknown): Promise<unknown>
    unset(key: string, callback: Callback<unknown>): void
    unset(key: string): Promise<unknown>
    get(key: string, callback: Callback<unknown>): void
    get(key?: string): Promise<unknown>
  }
}

declare const pm2: pm2.PM2 & { custom: typeof pm2.PM2 }
export = pm2
