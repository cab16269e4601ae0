'use strict'
// require('skep/pm2'): the programmatic API that users of npm's pm2 know, in front of skep's control socket.
//
// Every call takes a callback or returns a promise. Without `connect()` it connects by itself. Nothing here keeps the
// event loop alive but an open bus and a call under way.

const { EventEmitter } = require('node:events')
const path = require('node:path')

const { Control } = require('./control.cjs')
const { Bus } = require('./bus.cjs')
const { describeApp } = require('./options.cjs')

/** A process in the short form that commands answer with. */
function brief (process) {
  const { name, namespace, pm_id: id, status, restart_time: restarts } = process.pm2_env
  return { name, namespace, pm_id: id, status, restart_time: restarts, pid: process.pid, pm2_env: process.pm2_env }
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

  /** Starts skep if it does not run. `noDaemon` has no meaning: skep always outlives its callers. */
  connect (noDaemon, callback) {
    return answer(typeof noDaemon === 'function' ? noDaemon : callback, async () => {
      await this.#control.ensure()
      return { new_pm2_instance: false, pm2_home: this.pm2_home }
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
   * Starts a script, an app's description (`{ script, name, … }`), several of them (`{ apps: […] }`), or a known app
   * again.
   */
  start (what, options, callback) {
    if (typeof options === 'function') [options, callback] = [{}, options]
    return answer(callback, async () => {
      await this.#control.ensure()
      const given = typeof what === 'object' && what !== null ? what : { ...options, script: String(what) }
      const apps = Array.isArray(given) ? given : Array.isArray(given.apps) ? given.apps : [given]
      if (apps.length === 1 && typeof what !== 'object') {
        const known = await this.#select(what, false)
        if (known.length > 0) return this.#act('restart', what)
      }
      const started = []
      for (const app of apps) started.push(...await this.#startOne({ ...app }))
      return started
    })
  }

  stop (target, callback) {
    return answer(callback, () => this.#act('stop', target))
  }

  /** `target` may be an app's description: then the one of its name is restarted, or started. */
  restart (target, options, callback) {
    if (typeof options === 'function') [options, callback] = [{}, options]
    return answer(callback, () => this.#again('restart', target))
  }

  reload (target, options, callback) {
    if (typeof options === 'function') [options, callback] = [{}, options]
    return answer(callback, () => this.#again('reload', target))
  }

  gracefulReload (target, options, callback) {
    return this.reload(target, options, callback)
  }

  delete (target, callback) {
    return answer(callback, () => this.#act('delete', target))
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

  getVersion (callback) {
    return answer(callback, async () => (await this.#control.get('/v1/daemon')).version)
  }

  /** Writes what runs to `dump.pm2`. */
  dump (force, callback) {
    return answer(typeof force === 'function' ? force : callback, () => this.#run(['dump']))
  }

  resurrect (callback) {
    return answer(callback, async () => {
      await this.#run(['resurrectDump'])
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

  set (key, value, callback) {
    return answer(callback, () => this.#run(['set', String(key), String(value)]))
  }

  unset (key, callback) {
    return answer(callback, () => this.#run(['unset', String(key)]))
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

  async #again (verb, target) {
    if (typeof target !== 'object' || target === null) return this.#act(verb, target)
    const apps = Array.isArray(target) ? target : Array.isArray(target.apps) ? target.apps : [target]
    const done = []
    for (const app of apps) {
      const name = app.name ?? path.parse(String(app.script)).name
      const known = await this.#select(name, false)
      done.push(...known.length > 0 ? await this.#act(verb, name) : await this.#startOne({ ...app }))
    }
    return done
  }

  async #startOne (app) {
    const { words, env, cwd, name } = describeApp(app, this.#cwd)
    const script = path.resolve(cwd, String(app.script ?? ''))
    const known = (await this.#list()).filter(process => process.name === name)
    if (known.length > 0 && known[0].pm2_env.pm_exec_path === script && !app.force) {
      if (known.some(process => process.pm2_env.status === 'online')) throw new Error('Script already launched')
      return this.#act('restart', name)
    }
    // What existed before does not belong to the answer.
    const before = new Set((await this.#list()).map(process => process.pm_id))
    await this.#run(words, { env, cwd })
    return (await this.#list()).filter(process => !before.has(process.pm_id))
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
