'use strict'
// skep's drain preload: lets a worker go without its clients noticing. Node 18 to 26.
//
// Injected by NODE_OPTIONS=--require=…, from which it removes itself. Until the supervisor says `drain` it costs one
// remembered reference a server and nothing a request. It must stay invisible: no globals, no reference that keeps the
// event loop alive, no frame in anybody's stack trace, no exception, no `message` listener.
//
// The protocol is documented in crates/node-ipc/src/skep.rs ("NODE_SKEP"). The drain itself is beside it, in drain.cjs.
;(() => {
  // Captured early, so that fake timers and wrappers of the app do not reach us.
  const { setTimeout, setImmediate } = globalThis
  const CMD = 'NODE_SKEP'
  const VERSION = 1

  try {
    leaveNodeOptions()
    delete require.cache[__filename]
  } catch {}
  // No channel (a worker thread, or a program started by hand), or a runtime that only resembles Node.
  if (typeof process.send !== 'function' || process.versions.bun || process.versions.deno) return

  const send = process.send
  const net = require('net')
  const cluster = process.channel && isClusterWorker() ? require('cluster') : null
  /** Every server that ever listened, weakly. */
  let servers = []
  /** Sessions of HTTP/2 servers, for the Nodes that do not keep them themselves. */
  const sessionsOf = new WeakMap()
  /** TLS sockets that no list of Node's has: those that may be upgraded, and HTTP/1.1 on Node 18's HTTP/2 servers. Weakly. */
  let secure = []
  let secureRoom = 64
  const secureServers = new WeakSet()
  /** The drain under way. */
  let draining = null
  const beginDrain = loadDrain()
  /** Answers how this worker is; made with the first question. */
  let metrics = null
  const beginMetrics = loadMetrics()

  watchServers()
  process.prependListener('internalMessage', (message, handle) => {
    try {
      onInternalMessage(message, handle)
    } catch {}
  })
  say({ act: 'hello', v: VERSION, pid: process.pid, node: process.versions.node, cluster: cluster !== null })

  // === Before a drain

  /** Takes our --require out of NODE_OPTIONS and leaves every other byte of it. */
  function leaveNodeOptions() {
    const options = process.env.NODE_OPTIONS
    if (options === undefined) return
    // Node's own grammar (ParseNodeOptionsEnvVar): spaces separate, double quotes group, \ escapes inside quotes.
    let start = -1
    let quoted = false
    let text = ''
    for (let at = 0; at <= options.length; at++) {
      const char = options[at]
      if (char === undefined || (char === ' ' && !quoted)) {
        if (start >= 0 && text.startsWith('--require=') && isOurs(text.slice(10))) {
          if (start === 0 && at === options.length) delete process.env.NODE_OPTIONS
          else process.env.NODE_OPTIONS = options.slice(0, start) + options.slice(at + 1)
          return
        }
        start = -1
        text = ''
        continue
      }
      if (start < 0) start = at
      if (char === '"') quoted = !quoted
      else if (char === '\\' && quoted) text += options[++at] ?? ''
      else text += char
    }
  }

  /** Now, and not when it is needed: by then another version of skep may have put its own there. */
  function loadDrain() {
    try {
      const begin = require('./drain.cjs')
      delete require.cache[require.resolve('./drain.cjs')]
      return begin({ cluster, disconnect, liveServers, nameOf, say, secureSockets, sessionsOf, symbolOf })
    } catch {
      return null
    }
  }

  function loadMetrics() {
    try {
      const begin = require('./metrics.cjs')
      delete require.cache[require.resolve('./metrics.cjs')]
      return begin
    } catch {
      return null
    }
  }

  function isOurs(path) {
    return path === __filename || require('fs').realpathSync(path) === __filename
  }

  function isClusterWorker() {
    const cluster = require('cluster')
    return cluster.isWorker === true && cluster.worker != null
  }

  /**
   * Node assigns `_connectionKey` once a server listens, in every version and for every kind of address. A setter on the
   * prototype sees that without wrapping `listen`, whose frame would show in the app's stack traces.
   */
  function watchServers() {
    Object.defineProperty(net.Server.prototype, '_connectionKey', {
      configurable: true,
      enumerable: false,
      get: () => undefined,
      set(value) {
        Object.defineProperty(this, '_connectionKey', { value, writable: true, enumerable: true, configurable: true })
        try {
          onListening(this)
        } catch {}
      },
    })
  }

  function onListening(server) {
    servers = servers.filter((ref) => ref.deref() !== undefined && ref.deref() !== server)
    servers.push(new WeakRef(server))
    if (typeof server.updateSettings === 'function' && !symbolOf(server, 'sessions') && !sessionsOf.has(server)) {
      const sessions = new Set()
      sessionsOf.set(server, sessions)
      server.on('session', (session) => {
        sessions.add(session)
        session.once('close', () => sessions.delete(session))
      })
    }
    if (typeof server.setSecureContext === 'function' && !secureServers.has(server)) {
      secureServers.add(server)
      server.on('secureConnection', (socket) => {
        if (server.listenerCount('upgrade') > 0 || !symbolOf(server, 'http.server.connections')) remember(socket)
      })
    }
    if (metrics !== null) metrics.watch(server)
    // A cluster worker says `listening` in Node's own words.
    if (cluster === null) say({ act: 'listening', server: nameOf(server) })
  }

  /** Nothing in Node leads from a connection to the TLS socket that wraps it. Beside a handshake this costs nothing. */
  function remember(socket) {
    if (secure.length >= secureRoom) {
      secure = secure.filter((ref) => ref.deref() !== undefined && !ref.deref().destroyed)
      secureRoom = Math.max(64, 2 * secure.length)
    }
    secure.push(new WeakRef(socket))
  }

  function secureSockets() {
    return secure.map((ref) => ref.deref()).filter((socket) => socket !== undefined)
  }

  // === Messages

  function onInternalMessage(message, handle) {
    if (message.cmd === 'NODE_HANDLE_ACK' || message.cmd === 'NODE_HANDLE_NACK') {
      // A supervisor that was killed between acknowledging and reading on acknowledges twice; Node would assert.
      if (!Array.isArray(process._handleQueue)) process._handleQueue = []
      if (draining !== null) draining.acknowledged(message.cmd === 'NODE_HANDLE_ACK')
    } else if (message.cmd === 'NODE_CLUSTER' && message.act === 'newconn') {
      if (message.idle === true && handle) endIfIdle(handle)
    } else if (message.cmd === CMD && message.act === 'drain') {
      if (message.stop !== undefined && stopsItself(message.stop)) say({ act: 'stops_itself' })
      else if (draining === null) drainOrDisconnect(message)
      else if (message.keep === true) draining.stop(message)
    } else if (message.cmd === CMD && message.act === 'measure') {
      if (metrics === null && beginMetrics !== null) metrics = beginMetrics({ liveServers })
      if (metrics !== null) say({ act: 'measured', figures: metrics.measure() })
    } else if (message.cmd === CMD && message.act === 'newconn' && handle) {
      const accepted = take(message.server, handle)
      say({ act: 'accepted', ack: message.seq, accepted })
      if (!accepted) handle.close()
      else if (message.idle === true) endIfIdle(handle)
    }
  }

  /** The app listens to the signal. signal-exit does so only to see the process die of it: that does not count. */
  function stopsItself(signal) {
    const watching = (emitter) => (emitter && emitter.count) || 0
    const [before, since] = [process.__signal_exit_emitter__, globalThis[Symbol.for('signal-exit emitter')]]
    return process.listenerCount(signal) > watching(before) + watching(since)
  }

  /** Gives a connection to one of our servers, as cluster's `newconn` does; for plain fork mode. */
  function take(name, handle) {
    const server = liveServers().find((server) => sameName(nameOf(server), name))
    if (server === undefined) return false
    if (server.maxConnections && server._connections >= server.maxConnections) return false
    server._handle.onconnection(0, handle)
    return true
  }

  /** A connection that came idle gets what its former worker would have given it: keepAliveTimeout, then an end. */
  function endIfIdle(handle) {
    setImmediate(() => {
      for (const symbol of Object.getOwnPropertySymbols(handle)) {
        const socket = handle[symbol]
        if (!(socket instanceof net.Socket)) continue
        const patience = socket.server && socket.server.keepAliveTimeout
        if (!patience) return
        const end = () => {
          if (!socket.destroyed && socket.bytesRead === 0) socket.destroy()
        }
        setTimeout(end, patience).unref()
        return
      }
    })
  }

  function say(body, handle, done) {
    if (!process.connected) return false
    try {
      send.call(process, { cmd: CMD, ...body }, handle, undefined, done || (() => {}))
      return true
    } catch {
      return false
    }
  }

  function liveServers() {
    return servers.map((ref) => ref.deref()).filter((server) => server !== undefined)
  }

  /** How the supervisor knows a server, or null if Node itself does not know where it listens. */
  function nameOf(server) {
    const address = server._handle ? server.address() : null
    if (address === null) return null
    if (typeof address === 'string') return { path: require('path').resolve(address) }
    return { address: address.address, port: address.port }
  }

  function sameName(one, other) {
    return one !== null && one.path === other.path && one.address === other.address && one.port === other.port
  }

  function symbolOf(object, description) {
    return Object.getOwnPropertySymbols(object).find((symbol) => symbol.description === description)
  }

  // === The end

  function drainOrDisconnect(message) {
    try {
      draining = beginDrain(message)
    } catch {
      // A Node whose inside is other than we know: its own graceful stop is better than none.
      if (message.keep === true) say({ act: 'drained' })
      else disconnect()
    }
  }

  /** Node's own handler closes what is left (datagram sockets) and then the channel. */
  function disconnect() {
    if (!process.connected) return
    if (cluster !== null) process.emit('internalMessage', { cmd: 'NODE_CLUSTER', act: 'disconnect' })
    else process.disconnect()
  }
})()
