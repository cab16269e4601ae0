'use strict'
// skep's drain preload: lets a worker go without its clients noticing. Node 18 to 26.
//
// Injected by NODE_OPTIONS=--require=…, from which it removes itself. Until the supervisor says `drain` it costs one
// remembered reference a server and nothing a request. It must stay invisible: no globals, no reference that keeps the
// event loop alive, no frame in anybody's stack trace, no exception, no `message` listener.
//
// The protocol is documented in crates/node-ipc/src/skep.rs ("NODE_SKEP"). Why the steps are as they are:
//  - net.Server's close and not http's: since Node 19 the latter cuts idle connections, and responses that were ended
//    but are not flushed yet.
//  - A connection migrates only at a message boundary: the parser has no partial message, no response is pending, all
//    was written. Reading is stopped first, so whatever the client sends next waits in the kernel for the successor.
//  - Our copy is closed when the supervisor has acknowledged the descriptor, not earlier; a close sends no FIN while
//    another process holds the connection.
//  - TLS and HTTP/2 have state that can not change the process: `Connection: close` and GOAWAY.
;(() => {
  // Captured early, so that fake timers and wrappers of the app do not reach us.
  const { setTimeout, setInterval, clearInterval, setImmediate } = globalThis
  const now = process.hrtime.bigint
  const { nextTick } = process
  const CMD = 'NODE_SKEP'
  const VERSION = 1

  /** Connections that are kept from reading while they wait for their turn: the queue is worked off within a few ms. */
  const BATCH = 64
  /** How often to look again while draining; every wanted step also has an event of its own. */
  const SWEEP_MS = 100
  /** Without an acknowledgement for so long the supervisor is away: serve what waits for its turn. */
  const PATIENCE_NS = 1_000_000_000n
  /** HTTP/2: how long to wait for the answer to the ping that follows the first GOAWAY. */
  const PING_MS = 1_000

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
  let draining = null

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
    // A cluster worker says `listening` in Node's own words.
    if (cluster === null) say({ act: 'listening', server: nameOf(server) })
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
      if (draining === null) drainOrDisconnect(message)
    } else if (message.cmd === CMD && message.act === 'newconn' && handle) {
      const accepted = take(message.server, handle)
      say({ act: 'accepted', ack: message.seq, accepted })
      if (!accepted) handle.close()
      else if (message.idle === true) endIfIdle(handle)
    }
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

  // === The drain

  function drainOrDisconnect(message) {
    try {
      drain(message)
    } catch {
      // A Node whose inside is other than we know: its own graceful stop is better than none.
      disconnect()
    }
  }

  /** Node's own handler closes what is left (datagram sockets) and then the channel. */
  function disconnect() {
    if (!process.connected) return
    if (cluster !== null) process.emit('internalMessage', { cmd: 'NODE_CLUSTER', act: 'disconnect' })
    else process.disconnect()
  }

  function drain({ mode: wanted, graceMs }) {
    const grace = BigInt(Number.isFinite(graceMs) ? Math.trunc(graceMs) : 2000) * 1_000_000n
    const open = liveServers().filter((server) => server._handle || server._connections > 0)
    const http = open.filter((server) => connectionsOf(server) !== null)
    const names = new Map(open.map((server) => [server, nameOf(server)]))
    const { channel } = require('diagnostics_channel')
    const onStart = channel('http.server.request.start')
    const onFinish = channel('http.server.response.finish')
    /** Becomes 'close' if the supervisor is gone for good. */
    let mode = wanted
    /** Not reading any more and waiting for their turn to leave. */
    let frozen = []
    /** The one connection that the supervisor has not acknowledged. */
    let leaving = null
    /** Had their last response just now and do not read; to be judged in `look`. */
    const held = new Set()
    /** Were asked more before they had their answer (pipelining). */
    const pipelined = new Set()
    /** HTTP/2 sessions that were told, and when a connection of mode "close" last moved. */
    const told = new WeakSet()
    const quiet = new WeakMap()
    let left = open.length
    let looking = false
    let sweeper = null

    draining = { acknowledged }
    say({ act: 'draining', servers: left, connections: open.reduce((sum, server) => sum + server._connections, 0) })
    if (cluster !== null) cluster.worker.exitedAfterDisconnect = true
    onStart.subscribe(starts)
    onFinish.subscribe(finishes)
    for (const server of http) for (const socket of socketsOf(server)) announceEnd(socket)
    for (const server of open) shut(server)
    if (left === 0) return finish()
    // Connections that do not read do not keep the event loop alive; this does.
    sweeper = setInterval(guarded(sweep), SWEEP_MS)
    look()

    function guarded(step) {
      return (...args) => {
        try {
          step(...args)
        } catch {}
      }
    }

    function shut(server) {
      server.once('close', () => {
        if (--left === 0) setImmediate(guarded(finish))
      })
      if (server._handle) net.Server.prototype.close.call(server)
      for (const session of sessionsOfServer(server)) goAway(session)
    }

    // --- Plain HTTP: idle connections leave one by one

    /** Not without a name (the app had closed the server itself): nobody could tell where the connection belongs. */
    function migrates(socket) {
      return mode === 'migrate' && isPlain(socket) && names.get(socket.server) != null
    }

    /** Published before Node has detached the response; judged right after, before anything more can be read. */
    function finishes({ socket, server }) {
      if (http.includes(server) && migrates(socket)) nextTick.call(process, guarded(afterResponse), socket)
    }

    function afterResponse(socket) {
      if (socket.destroyed || !migrates(socket)) return
      if (socket._httpMessage) pipelined.add(socket)
      else if (isAtRest(socket) && frozen.length + held.size < BATCH) {
        socket._handle.readStop()
        held.add(socket)
      }
      lookSoon()
    }

    function lookSoon() {
      if (looking) return
      looking = true
      setImmediate(guarded(look))
    }

    function look() {
      looking = false
      if (mode !== 'migrate') return
      if (held.size + pipelined.size > 0) judge()
      while (leaving === null && process.connected) {
        if (frozen.length === 0) freezeSome()
        const connection = frozen.shift()
        if (connection === undefined) return
        if (!connection.socket.destroyed) leave(connection)
      }
    }

    /** Only Node's list knows whether the parser has a part of a message. */
    function judge() {
      const idle = new Set(http.flatMap((server) => idleOf(server)))
      for (const socket of held) {
        if (socket.destroyed || !socket._handle) continue
        if (idle.has(socket) && isAtRest(socket)) freeze(socket)
        else socket._handle.readStart()
      }
      held.clear()
      // Every message was read whole, so no answer waits for more to be read: let no further request in, or a client
      // that always asks before it has its answer would never leave.
      for (const socket of pipelined) if (socket._httpMessage && idle.has(socket)) socket._handle.readStop()
      pipelined.clear()
    }

    function freezeSome() {
      for (const server of http) {
        const unused = socketsOf(server).filter((socket) => socket.bytesRead === 0)
        for (const socket of new Set([...idleOf(server), ...unused])) {
          if (frozen.length >= BATCH) return
          if (isAtRest(socket)) freeze(socket)
        }
      }
    }

    function freeze(socket) {
      socket._handle.readStop()
      frozen.push({ socket, handle: socket._handle, name: names.get(socket.server), since: 0n, timeout: 0 })
    }

    /** Nothing is asked and not answered, nothing is answered and not sent. */
    function isAtRest(socket) {
      return migrates(socket) && !socket.destroyed && !socket._httpMessage &&
        !(leaving !== null && leaving.socket === socket) &&
        socket.parser && socket.parser.socket === socket &&
        socket.readable && socket.writable && !socket.readableEnded && !socket.writableEnded &&
        socket.readableLength === 0 && socket.writableLength === 0 && !socket._handle.writeQueueSize
    }

    function leave(connection) {
      const { socket, handle, name } = connection
      leaving = connection
      connection.since = now()
      connection.timeout = socket.timeout
      // The server's keep-alive clock must not end what another worker already serves.
      socket.setTimeout(0)
      const sent = say({ act: 'conn', server: name }, handle, (error) => {
        if (error) guarded(failed)(connection)
      })
      if (!sent) failed(connection)
    }

    function acknowledged(received) {
      const connection = leaving
      if (connection === null) return
      if (received) {
        leaving = null
        connection.socket.destroy()
        lookSoon()
      } else {
        failed(connection)
      }
    }

    /** The connection stays with us; the next sweep tries again. */
    function failed(connection) {
      if (leaving === connection) leaving = null
      thaw(connection)
    }

    function thaw({ socket, handle, timeout }) {
      if (socket.destroyed || socket._handle !== handle) return
      if (timeout) socket.setTimeout(timeout)
      handle.readStart()
    }

    // --- TLS, and mode "close"

    function starts({ response, socket, server }) {
      if (http.includes(server) && !migrates(socket)) response.shouldKeepAlive = false
    }

    /** For a request that is already being answered. */
    function announceEnd(socket) {
      const response = socket._httpMessage
      if (response && !response.headersSent && !migrates(socket)) response.shouldKeepAlive = false
    }

    function sweep() {
      if (!process.connected && mode === 'migrate') stay()
      if (leaving !== null && now() - leaving.since > PATIENCE_NS) frozen.splice(0).forEach(thaw)
      for (const server of http) for (const socket of socketsOf(server)) if (!migrates(socket)) endIfQuiet(socket)
      for (const server of open) for (const session of sessionsOfServer(server)) goAway(session)
      look()
    }

    /** The channel is gone: nobody can take a connection, so end them politely. */
    function stay() {
      mode = 'close'
      if (leaving !== null) frozen.push(leaving)
      leaving = null
      frozen.splice(0).forEach(thaw)
      for (const server of http) {
        for (const socket of socketsOf(server)) {
          if (isPlain(socket)) socket._handle.readStart()
          announceEnd(socket)
        }
      }
    }

    /** No request under way and no byte for the grace: nothing more is to be expected here. */
    function endIfQuiet(socket) {
      const { incoming } = socket.parser
      const busy = socket._httpMessage || (incoming && !incoming.complete) || socket.writableLength > 0
      const known = quiet.get(socket)
      const bytes = socket.bytesRead
      if (busy || known === undefined || known.bytes !== bytes) quiet.set(socket, { bytes, since: now() })
      else if (now() - known.since >= grace) socket.destroySoon()
    }

    // --- HTTP/2

    /** A first GOAWAY that refuses nothing, and after one round trip the one that counts (RFC 9113, 6.8). */
    function goAway(session) {
      if (told.has(session) || session.closed || session.destroyed) return
      told.add(session)
      const close = guarded(() => {
        if (!session.closed && !session.destroyed) session.close()
      })
      guarded(() => {
        session.goaway(0, 2 ** 31 - 1)
        session.ping(close)
      })()
      setTimeout(close, PING_MS)
    }

    // --- The end

    function finish() {
      clearInterval(sweeper)
      onStart.unsubscribe(starts)
      onFinish.unsubscribe(finishes)
      disconnect()
    }
  }

  function idleOf(server) {
    return connectionsOf(server).idle().map((parser) => parser.socket).filter((socket) => socket && socket.parser)
  }

  function isPlain(socket) {
    const handle = socket._handle
    return handle != null && !socket.encrypted && (handle.constructor.name === 'TCP' || handle.constructor.name === 'Pipe')
  }

  /** Node's own list of an HTTP server's connections, or null for other servers. */
  function connectionsOf(server) {
    const symbol = symbolOf(server, 'http.server.connections')
    const list = symbol && server[symbol]
    return list && typeof list.idle === 'function' && typeof list.all === 'function' ? list : null
  }

  function socketsOf(server) {
    return connectionsOf(server).all().map((parser) => parser.socket).filter((socket) => socket && socket.parser)
  }

  function sessionsOfServer(server) {
    const symbol = symbolOf(server, 'sessions')
    const sessions = (symbol && server[symbol]) || sessionsOf.get(server)
    return sessions ? [...sessions] : []
  }
})()
