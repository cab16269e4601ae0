'use strict'
// require('skep/pm2'): the programmatic API that users of npm's pm2 know, in front of skep's control socket.
//
// Every call takes a callback or returns a promise. Without `connect()` it connects by itself. Nothing here keeps the
// event loop alive but an open bus and a call under way.

const { EventEmitter } = require('node:events')
const fs = require('node:fs')
const path = require('node:path')

const { Control } = require('./control.cjs')
const { Bus } = require('./bus.cjs')

/** PM2's own rule for what is a file of apps. */
const APP_FILE = /\.(json|ya?ml|config\.[cm]?[jt]s)\b/

/** What `start`, `restart` and `reload` are told beside their target. */
function flags (options) {
  const words = []
  if (typeof options.env === 'string') words.push('--env', options.env)
  if (options.only) words.push('--only', [options.only].flat().join(','))
  if (options.updateEnv || options.update_env) words.push('--update-env')
  if (options.force) words.push('--force')
  if (options.parallel) words.push('--parallel', String(options.parallel))
  return words
}

/** The same with what is to change of an app that is there: its name, and any attribute of a file of apps. */
function changes (verb, options) {
  const { env, only, updateEnv, update_env, force, parallel, name, ...rest } = options
  if (env !== undefined && verb !== 'start') {
    throw new Error('Using --env [env] without passing the ecosystem.config.js does not work')
  }
  if (typeof env === 'object') rest.env = env
  const words = flags({ ...options, env: undefined })
  if (name !== undefined) words.push(`--name=${name}`)
  const attributes = JSON.stringify(rest, plain)
  if (attributes !== '{}') words.push(`--attributes=${attributes}`)
  return words
}

/** A process in the short form that commands answer with. */
function brief (process) {
  const { name, namespace, pm_id: id, status, restart_time: restarts } = process.pm2_env
  return { name, namespace, pm_id: id, status, restart_time: restarts, pid: process.pid, pm2_env: process.pm2_env }
}

/** What a file of apps is read as, too: a regular expression as the text that skep takes for one. */
function plain (key, value) {
  if (!(value instanceof RegExp)) return value
  const flags = value.flags.replace(/[^ims]/g, '')
  return 'regex:' + (flags && `(?${flags})`) + value.source
}

/** Runs `work`, and gives what comes of it to the callback if there is one. */
function answer (callback, work) {
  const promise = Promise.resolve().then(work)
  if (typeof callback !== 'function') return promise
  // Out of the promise, so that what the callback throws is the app's own uncaught exception.
  promise.then(
    value => setImmediate(callback, null, value),
    error => setImmediate(callback, error)
  )
}

class PM2 extends EventEmitter {
  #control
  #cwd
  #buses = new Set()

  constructor (options = {}) {
    super()
    this.#cwd = options.cwd || process.cwd()
    this.#control = new Control({ home: options.pm2_home || options.home })
  }

  /** Where skep lives. */
  get pm2_home () {
    return this.#control.home
  }

  /** Starts skep if it does not run; with `noDaemon`, a skep that was started by this ends with this process. */
  connect (noDaemon, callback) {
    if (typeof noDaemon === 'function') [noDaemon, callback] = [false, noDaemon]
    return answer(callback, async () => {
      const isNew = await this.#control.ensure()
      if (noDaemon && isNew) process.once('exit', () => this.#control.stopAtExit())
      return { new_pm2_instance: isNew, daemon_mode: !noDaemon, pm2_home: this.pm2_home }
    })
  }

  /** Lets go of everything: buses end, the program may end. */
  disconnect (callback) {
    for (const bus of this.#buses) bus.close()
    this.#buses.clear()
    this.#control.close()
    if (typeof callback === 'function') setImmediate(callback, null, { success: true })
    else return Promise.resolve({ success: true })
  }

  close (callback) {
    return this.disconnect(callback)
  }

  /** All processes, as `jlist` shows them. */
  list (callback) {
    return answer(callback, () => this.#list())
  }

  /** The processes of a name, a namespace or an id. */
  describe (target, callback) {
    return answer(callback, () => this.#select(target, false))
  }

  /**
   * Starts a script (with the attributes in `options`), a known app again, an app's description (`{ script, name, … }`),
   * several of them (`{ apps: […] }`), or a file of them (`options`: `env` chooses its `env_NAME`, `only`, `updateEnv`).
   */
  start (what, options, callback) {
    if (typeof options === 'function') [options, callback] = [{}, options]
    options ??= {}
    return answer(callback, async () => {
      await this.#control.ensure()
      if (typeof what === 'object' && what !== null) return this.#describe('start', what, options)
      if (APP_FILE.test(String(what))) return this.#command(['start', String(what), ...flags(options)])
      const script = path.resolve(this.#cwd, options.cwd ?? '.', String(what))
      const isName = process => process.name === String(what) || process.pm2_env.namespace === String(what)
      const known = await this.#select(what, false)
      // A script's path means a new app; whether it is one, its name decides.
      if (known.some(isName) || /^\d+$/.test(String(what)) && known.length > 0) return this.#change('start', what, options)
      return this.#script(String(what), script, options)
    })
  }

  stop (target, callback) {
    return answer(callback, () => this.#end('stop', target))
  }

  /** `target` may be a file of apps or an app's description too: what is not there is started. */
  restart (target, options, callback) {
    if (typeof options === 'function') [options, callback] = [{}, options]
    return answer(callback, () => this.#again('restart', target, options ?? {}))
  }

  reload (target, options, callback) {
    if (typeof options === 'function') [options, callback] = [{}, options]
    return answer(callback, () => this.#again('reload', target, options ?? {}))
  }

  gracefulReload (target, options, callback) {
    return this.reload(target, options, callback)
  }

  delete (target, callback) {
    return answer(callback, () => this.#end('delete', target))
  }

  reset (target, callback) {
    return answer(callback, () => this.#act('reset', target))
  }

  /** More or fewer workers: `scale('web', 4)`, `scale('web', '+1')`. */
  scale (name, instances, callback) {
    return answer(callback, async () => {
      const wanted = /^\d+$/.test(String(instances)) ? Number(instances) : instances
      await this.#control.command(`/v1/apps/${encodeURIComponent(name)}/scale`, { instances: wanted })
      return (await this.#select(name)).map(brief)
    })
  }

  /** Stops everything, and skep itself. Apps are deleted, as PM2 has it: `resurrect` brings back what was dumped. */
  killDaemon (callback) {
    return answer(callback, async () => {
      if (!await this.#control.isRunning()) return { success: true }
      const all = await this.#list()
      if (all.length > 0) await this.#act('delete', 'all')
      await this.#control.stop()
      return { success: true }
    })
  }

  kill (callback) {
    return this.killDaemon(callback)
  }

  ping (callback) {
    return answer(callback, async () => {
      await this.#control.ensure()
      return { msg: 'pong' }
    })
  }

  /** The release of PM2 whose interface this is; skep's own is `version` of `/v1/daemon`. */
  getVersion (callback) {
    return answer(callback, async () => (await this.#control.pm2(['--version'])).trim())
  }

  /** A new skep takes over; no process is restarted. */
  update (callback) {
    return answer(callback, async () => {
      await this.#control.pm2(['update'])
      return { success: true }
    })
  }

  /** Writes what runs to `dump.pm2`. */
  dump (force, callback) {
    return answer(typeof force === 'function' ? force : callback, () => this.#done(['dump']))
  }

  resurrect (callback) {
    return answer(callback, async () => {
      await this.#control.pm2(['resurrect'])
      return (await this.#list()).map(brief)
    })
  }

  flush (target, callback) {
    if (typeof target === 'function') [target, callback] = ['all', target]
    return answer(callback, () => this.#control.post(`/v1/logs/${targets(target ?? 'all')}/flush`, {}))
  }

  reloadLogs (callback) {
    return answer(callback, () => this.#control.post('/v1/daemon/reopen-logs', {}))
  }

  /** Has skep started at boot. */
  startup (platform, callback) {
    return answer(callback, () => this.#run(platform ? ['startup', String(platform)] : ['startup']))
  }

  uninstallStartup (platform, callback) {
    return answer(callback, () => this.#run(platform ? ['unstartup', String(platform)] : ['unstartup']))
  }

  /** What happens, as it happens: see bus.cjs for the events. */
  launchBus (callback) {
    return answer(callback, async () => {
      await this.#control.ensure()
      const bus = new Bus(this.#control)
      this.#buses.add(bus)
      bus.once('close', () => this.#buses.delete(bus))
      await bus.open()
      return bus
    })
  }

  disconnectBus () {
    for (const bus of this.#buses) bus.close()
  }

  sendSignalToProcessName (signal, name, callback) {
    return answer(callback, () => this.#signal(signal, name))
  }

  sendSignalToProcessId (signal, id, callback) {
    return answer(callback, () => this.#signal(signal, id))
  }

  /** `process.on('message')` of the process gets the packet: `{ type, data, topic, id }`. */
  sendDataToProcessId (id, packet, callback) {
    if (typeof id === 'object') [packet, callback, id] = [id, packet, id.id]
    return answer(callback, async () => {
      if (packet === null || typeof packet !== 'object' || packet.topic === undefined || packet.data === undefined) {
        throw new Error('ID, DATA or TOPIC field is missing')
      }
      const worker = await this.#worker(id)
      await this.#control.post(`/v1/workers/${worker}/message`, { type: 'process:msg', ...packet, id: Number(id) })
      return { success: true, process: { id: Number(id) } }
    })
  }

  sendLineToStdin (id, line, separator, callback) {
    if (typeof separator === 'function') [separator, callback] = ['\n', separator]
    return answer(callback, async () => {
      await this.#control.post(`/v1/apps/${targets(id)}/stdin`, { text: String(line) + (separator ?? '\n') })
      return { pm_id: Number(id), line }
    })
  }

  /** Calls an action of `@pm2/io`; answers with each process's reply. */
  trigger (target, action, params, callback) {
    if (typeof params === 'function') [params, callback] = [undefined, params]
    return answer(callback, async () => {
      const asked = params === undefined || params === null ? { action } : { action, params }
      const replies = []
      for await (const reply of this.#control.lines('POST', `/v1/apps/${targets(target)}/trigger`, asked)) {
        replies.push({
          process: { name: reply.app, namespace: reply.namespace, pm_id: reply.slot },
          data: { action_name: reply.action, return: reply.result, error: reply.error }
        })
      }
      return replies
    })
  }

  getProcessIdByName (name, callback) {
    return answer(callback, async () => (await this.#select(name, false)).map(process => process.pm_id))
  }

  getPID (name, callback) {
    if (typeof name === 'function') [name, callback] = [undefined, name]
    return answer(callback, async () => {
      const found = name === undefined ? await this.#list() : await this.#select(name, false)
      return found.map(process => process.pid)
    })
  }

  env (id, callback) {
    return answer(callback, async () => {
      const [process] = await this.#select(id)
      return process.pm2_env.env
    })
  }

  /** Of an app (`app:key`): it is restarted, and has it as a variable from then on. */
  set (key, value, callback) {
    return answer(callback, () => this.#said(['set', String(key), String(value)]))
  }

  unset (key, callback) {
    return answer(callback, () => this.#said(['unset', String(key)]))
  }

  /** `KEY VALUE KEY VALUE`. */
  multiset (serial, callback) {
    return answer(callback, () => this.#said(['multiset', String(serial)]))
  }

  get (key, callback) {
    if (typeof key === 'function') [key, callback] = [undefined, key]
    return answer(callback, async () => {
      const text = await this.#run(key === undefined ? ['get', '--json'] : ['get', String(key), '--json'])
      return JSON.parse(text)
    })
  }

  // === Inside

  async #list () {
    await this.#control.ensure()
    return this.#control.get('/v1/pm2/processes')
  }

  async #select (target, needed = true) {
    const all = await this.#list()
    const word = String(target)
    const found = [
      process => process.name === word,
      process => process.pm2_env.namespace === word,
      process => String(process.pm_id) === word,
      process => process.pm2_env.pm_exec_path === path.resolve(this.#cwd, word)
    ].map(is => all.filter(is)).find(some => some.length > 0)
    if (found) return found
    if (word === 'all' && all.length > 0) return all
    if (/^\/.+\/$/.test(word)) {
      const pattern = new RegExp(word.slice(1, -1))
      const matching = all.filter(process => pattern.test(process.name))
      if (matching.length > 0) return matching
    }
    if (!needed) return []
    if (/^\d+$/.test(word)) throw new Error(`${word} : id unknown`)
    throw new Error(word === 'all' ? 'No process found' : 'process or namespace not found')
  }

  /** One command on what is known; answers with the processes as they are then (as they were, if they are gone). */
  async #act (verb, target) {
    const before = await this.#select(target)
    const all = await this.#list()
    // An app of which every process is meant is meant as a whole.
    const names = [...new Set(before.map(process => process.name))]
    const whole = name => all.filter(process => process.name === name).length ===
      before.filter(process => process.name === name).length
    const words = names.flatMap(name => whole(name)
      ? [name]
      : before.filter(process => process.name === name).map(process => String(process.pm_id)))
    await this.#control.command(`/v1/apps/${words.map(encodeURIComponent).join(',')}/${verb}`, {})
    if (verb === 'delete') return before.map(brief)
    const ids = new Set(before.map(process => process.pm_id))
    return (await this.#list()).filter(process => ids.has(process.pm_id)).map(brief)
  }

  async #again (verb, target, options) {
    if (typeof target === 'object' && target !== null) {
      return this.#describe(verb === 'reload' ? 'startOrReload' : 'startOrRestart', target, options)
    }
    if (APP_FILE.test(String(target))) return this.#command([verb, String(target), ...flags(options)])
    return this.#change(verb, target, options)
  }

  /** `start`, `restart` and `reload` of what is known, with what is to change of it. */
  async #change (verb, target, options) {
    const words = changes(verb, options)
    if (words.length === 0 && !this.#hasSettings(target)) return this.#act(verb === 'start' ? 'restart' : verb, target)
    await this.#select(target)
    return this.#command([verb, String(target), ...words])
  }

  /** Whether there is something in `set` for the apps that are meant: the program hands it on. */
  #hasSettings (target) {
    try {
      const all = JSON.parse(fs.readFileSync(path.join(this.pm2_home, 'module_conf.json'), 'utf8'))
      return typeof all[target] === 'object'
    } catch {
      return false
    }
  }

  /** Apps that are described here go through the program, which reads and checks them as it does a file's. */
  #describe (verb, what, options) {
    const apps = Array.isArray(what) ? what : Array.isArray(what.apps) ? what.apps : [what]
    return this.#command([verb, '-', ...flags(options)], JSON.stringify({ apps }, plain))
  }

  /** A command in PM2's words; answers with the processes that it has started anew. */
  async #command (words, input) {
    const before = new Map((await this.#list()).map(process => [process.pm_id, process]))
    await this.#control.pm2(words, { input, cwd: this.#cwd })
    return (await this.#list()).filter(({ pm_id: id, pid, pm2_env: env }) => {
      const was = before.get(id)
      return was === undefined || was.pid !== pid || was.pm2_env.restart_time !== env.restart_time
    }).map(brief)
  }

  /** A script that is not known by name. */
  async #script (what, script, options) {
    const all = await this.#list()
    const name = options.name ?? path.parse(what).name
    const same = all.filter(process => process.name === name)
    if (same.some(process => process.pm2_env.pm_exec_path === script) && !options.force) {
      if (same.some(process => process.pm2_env.status === 'online')) throw new Error('Script already launched')
      return this.#act('restart', name)
    }
    // Names are unique here: a second app of the same name has a number behind it.
    const taken = new Set(all.map(process => process.name))
    let free = name
    for (let number = 2; taken.has(free); number += 1) free = `${name}-${number}`
    const { force, ...attributes } = options
    return this.#describe('start', { ...attributes, name: free, script: what }, {}).catch(error => {
      const [, missing] = /script not found: (\S+)/.exec(error.message) ?? []
      throw missing ? Object.assign(new Error(`Script not found: ${missing}`), { cause: error }) : error
    })
  }

  /** Stops or deletes; of a file, those of its apps that are there. */
  async #end (verb, target) {
    if (!APP_FILE.test(String(target))) return this.#act(verb, target)
    const file = JSON.parse(await this.#run(['convert', '--to', 'json', String(target)], { cwd: this.#cwd }))
    const known = new Set((await this.#list()).map(process => process.name))
    const ended = []
    for (const app of file.apps) {
      const name = app.name ?? path.parse(String(app.script)).name
      if (known.has(name)) ended.push(...await this.#act(verb, name))
    }
    return ended
  }

  #signal (signal, target) {
    return this.#select(target).then(async found => {
      const ids = found.map(process => process.pm_id).join(',')
      await this.#control.post(`/v1/apps/${ids}/signal`, { signal: String(signal) })
      return found.map(brief)
    })
  }

  async #worker (id) {
    const apps = await this.#control.get('/v1/apps')
    const slot = apps.flatMap(app => app.slots).find(slot => slot.id === Number(id))
    if (slot === undefined) throw new Error(`Process with ID <${id}> unknown.`)
    if (slot.worker === undefined) throw new Error(`Process with ID <${id}> offline.`)
    return slot.worker
  }

  /** A command of which only its success matters. */
  async #done (words) {
    await this.#run(words)
    return { success: true }
  }

  /** The same in PM2's words. */
  async #said (words) {
    await this.#control.pm2(words)
    return { success: true }
  }

  #run (words, options) {
    return this.#control.run(words, options)
  }
}

function targets (target) {
  return encodeURIComponent(String(target))
}

const pm2 = new PM2()
module.exports = pm2
module.exports.custom = PM2
