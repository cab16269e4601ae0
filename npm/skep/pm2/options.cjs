'use strict'
// An app's description, as pm2.start() takes it, in the words of `skep start`.

const path = require('node:path')

/** PM2's attributes and their other names → the flag; lists are joined or repeated as the flag wants it. */
const FLAGS = {
  name: 'name',
  namespace: 'namespace',
  interpreter: 'interpreter',
  exec_interpreter: 'interpreter',
  instances: 'instances',
  exec_mode: 'exec-mode',
  output: 'output',
  out_file: 'output',
  out: 'output',
  out_log: 'output',
  error: 'error',
  error_file: 'error',
  err: 'error',
  err_file: 'error',
  err_log: 'error',
  log: 'log',
  log_file: 'log',
  log_type: 'log-type',
  log_date_format: 'log-date-format',
  max_memory_restart: 'max-memory-restart',
  restart_delay: 'restart-delay',
  exp_backoff_restart_delay: 'exp-backoff-restart-delay',
  max_restarts: 'max-restarts',
  min_uptime: 'min-uptime',
  kill_timeout: 'kill-timeout',
  listen_timeout: 'listen-timeout',
  cron: 'cron-restart',
  cron_restart: 'cron-restart',
  increment_var: 'increment-var',
  instance_var: 'instance-var',
  port: 'port',
  uid: 'uid',
  user: 'uid',
  gid: 'gid',
  kill_signal: 'kill-signal',
  balance: 'balance',
  runtime: 'runtime',
  max_surge: 'max-surge'
}
/** Attributes that switch something on. */
const ON = {
  merge_logs: 'merge-logs',
  combine_logs: 'merge-logs',
  disable_logs: 'disable-logs',
  time: 'time',
  wait_ready: 'wait-ready',
  shutdown_with_message: 'shutdown-with-message',
  force: 'force'
}
/** Attributes that switch something off when they are false. */
const OFF = { autorestart: 'no-autorestart', autostart: 'no-autostart', treekill: 'no-treekill' }
/** Attributes that have no meaning here, or are handled below. */
const PASSED_OVER = new Set([
  'script', 'exec', 'cwd', 'args', 'env', 'node_args', 'interpreter_args', 'stop_exit_codes', 'watch', 'ignore_watch',
  'watch_delay', 'watch_options', 'vizion', 'pmx', 'automation', 'source_map_support', 'disable_source_map_support',
  'windowsHide', 'username', 'post_update', 'trace', 'v8', 'io', 'instance_id', 'filter_env', 'kill_retry_time',
  'pid', 'pid_file', 'execute_command'
])

function snake (name) {
  return name.replace(/[A-Z]/g, letter => `_${letter.toLowerCase()}`)
}

function words (value) {
  if (Array.isArray(value)) return value.map(String)
  return typeof value === 'string' ? value.match(/"[^"]*"|'[^']*'|\S+/g)?.map(unquoted) ?? [] : []
}

function unquoted (word) {
  return /^(".*"|'.*')$/.test(word) ? word.slice(1, -1) : word
}

/** The command line that starts the app, and with which environment. Throws for what nobody would understand. */
function describeApp (app, from) {
  const script = app.script ?? app.exec
  if (typeof script !== 'string' || script === '') throw new Error('script: an app needs one')
  const cwd = path.resolve(from, app.cwd ?? '.')
  const isNode = /\.(c|m)?js$/.test(script)
  const out = ['start', script, '--cwd', cwd]
  const has = name => app[name] !== undefined && app[name] !== null
  // PM2 does not share a port unless it is told a number of instances.
  if (isNode && !has('instances') && !has('exec_mode') && !has('execMode')) out.push('--exec-mode', 'fork')
  for (const [key, value] of Object.entries(app)) {
    const name = snake(key)
    if (value === undefined || value === null || PASSED_OVER.has(name) || name.startsWith('env_')) continue
    if (name in FLAGS) out.push(`--${FLAGS[name]}=${name === 'exec_mode' ? String(value).replace(/_mode$/, '') : value}`)
    else if (name in ON) value && out.push(`--${ON[name]}`)
    else if (name in OFF) value === false && out.push(`--${OFF[name]}`)
    else throw new Error(`${key}: is no attribute of an app; see docs/from-pm2.md`)
  }
  for (const word of words(app.node_args ?? app.interpreter_args ?? app.nodeArgs)) out.push(`--interpreter-args=${word}`)
  if (has('stop_exit_codes')) out.push(`--stop-exit-codes=${[app.stop_exit_codes].flat().join(',')}`)
  for (const part of app.filter_env ? [app.filter_env].flat() : []) out.push(`--filter-env=${part === true ? '' : part}`)
  if (app.watch) {
    out.push(app.watch === true ? '--watch' : `--watch=${[app.watch].flat().join(',')}`)
    if (app.ignore_watch) out.push(`--ignore-watch=${[app.ignore_watch].flat().join(',')}`)
  }
  const env = {}
  for (const [name, value] of Object.entries(app.env ?? {})) {
    env[name] = typeof value === 'object' ? JSON.stringify(value) : String(value)
    out.push(`--env=${name}=${env[name]}`)
  }
  const args = words(app.args)
  if (args.length > 0) out.push('--', ...args)
  return { words: out, env, cwd: from, name: app.name ?? path.parse(script).name }
}

module.exports = { describeApp }
