'use strict'
// What the preload does when its worker is to leave: lets go of every connection without its client noticing.
//
//  - net.Server's close and not http's: since Node 19 the latter cuts idle connections, and responses that were ended
//    but are not flushed yet.
//  - A connection migrates only at a message boundary: the parser has no partial message, no response is pending, all
//    was written. Reading is stopped first, so whatever the client sends next waits in the kernel for the successor.
//  - Our copy is closed when the supervisor has acknowledged the descriptor, not earlier; a close sends no FIN while
//    another process holds the connection.
//  - TLS and HTTP/2 have state that can not change the process: `Connection: close` and GOAWAY.

// Captured early, so that fake timers and wrappers of the app do not reach us.
const { setTimeout, setInterval, clearInterval, setImmediate } = globalThis
const now = process.hrtime.bigint
const { nextTick } = process
const net = require('net')

/** Connections that are kept from reading while they wait for their turn: the queue is worked off within a few ms. */
const BATCH = 64
/** How often to look again while draining; every wanted step also has an event of its own. */
const SWEEP_MS = 100
/** Without an acknowledgement for so long the supervisor is away: serve what waits for its turn. */
const PATIENCE_NS = 1_000_000_000n
/** HTTP/2: how soon to look again whether frames have left. */
const SENT_MS = 10
/** `WebSocket.OPEN`. */
const OPEN = 1

/** Gives the function that begins the drain and answers what can still be said to it. */
module.exports = ({ cluster, disconnect, liveServers, nameOf, say, secureSockets, sessionsOf, symbolOf }) => {
  return drain

  function drain({ mode: wanted, graceMs, keep, closeCode }) {
    let grace = nanoseconds(graceMs)
    /** For WebSockets; none: they stay. */
    let farewell = closeCode
    /** A stop follows: only requests are waited for, and the end is said while the channel stays. */
    let stopping = keep === true
    let finished = false
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
    /** HTTP/2 sessions that were told, and those that have nothing more under way. */
    const told = new WeakSet()
    const ending = new WeakSet()
    /** When a connection of mode "close" last moved. */
    const quiet = new WeakMap()
    let left = open.length
    let looking = false
    let sweeper = null

    say({ act: 'draining', servers: left, connections: open.reduce((sum, server) => sum + server._connections, 0) })
    if (cluster !== null) cluster.worker.exitedAfterDisconnect = true
    onStart.subscribe(starts)
    onFinish.subscribe(finishes)
    for (const server of http) for (const socket of socketsOf(server)) announceEnd(socket)
    for (const server of open) shut(server)
    guarded(closeWebSockets)()
    const control = { acknowledged, stop }
    if (left === 0) {
      finish()
      return control
    }
    // Connections that do not read do not keep the event loop alive; this does.
    sweeper = setInterval(guarded(sweep), Math.max(10, Math.min(SWEEP_MS, graceMs / 4)))
    look()
    return control

    function guarded(step) {
      return (...args) => {
        try {
          step(...args)
        } catch {}
      }
    }

    /** A worker that was replaced, and still has something, is to stop now. */
    function stop(message) {
      stopping = true
      grace = nanoseconds(message.graceMs)
      farewell = message.closeCode
      if (finished) say({ act: 'drained' })
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
      if (open.includes(server) && !migrates(socket)) response.shouldKeepAlive = false
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
      for (const socket of secureSockets()) if (socket.parser && !http.includes(socket.server)) endIfQuiet(socket)
      for (const server of open) for (const session of sessionsOfServer(server)) goAway(session)
      guarded(closeWebSockets)()
      look()
      if (stopping && !isServing()) finish()
    }

    /** Before a stop: a request is under way. Nothing is known of upgraded and raw connections: once quiet, they do not count. */
    function isServing() {
      if (http.some((server) => socketsOf(server).length > 0)) return true
      if (open.some((server) => sessionsOfServer(server).length > 0)) return true
      const others = process._getActiveHandles().filter((socket) => socket instanceof net.Socket && open.includes(socket.server))
      return others.map((socket) => isQuiet(socket, false)).includes(false)
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
      if (isQuiet(socket, busy)) socket.destroySoon()
    }

    /** Not a byte came or went for the grace. */
    function isQuiet(socket, busy) {
      const known = quiet.get(socket)
      const bytes = socket.bytesRead + socket.bytesWritten
      if (!busy && known !== undefined && known.bytes === bytes) return now() - known.since >= grace
      quiet.set(socket, { bytes, since: now() })
      return false
    }

    // --- HTTP/2

    /**
     * A first GOAWAY that asks for no more, then the one that says which streams are answered (RFC 9113, 6.8); the end when all
     * of them are. Node's HTTP/2 ignores streams that come after the first has left; only then their number is known.
     */
    function goAway(session) {
      if (session.closed || session.destroyed) return
      if (told.has(session)) return endSession(session)
      told.add(session)
      guarded(() => session.goaway(0, 2 ** 31 - 1))()
      afterSent(session, () => {
        session.goaway()
        for (const stream of streamsOf(session)) stream.once('close', guarded(() => endSession(session)))
        endSession(session)
      })
    }

    /**
     * Not `close()` as long as a stream is open: Node 18 would end the connection when its last stream is over for us, even if
     * the frame that ends it for the client has not left. It is in no queue that can be seen, but leaves with a ping that
     * is. (Nobody would read the answer: a session that has sent GOAWAY and has no stream does not read.)
     */
    function endSession(session) {
      if (ending.has(session) || streamsOf(session).length > 0) return
      ending.add(session)
      guarded(() => session.ping(() => {}))()
      afterSent(session, () => {
        ending.delete(session)
        if (streamsOf(session).length === 0) session.close()
      })
    }

    /** When every frame that was ordered until now is the socket's; it may be busy with what the client does not read yet. */
    function afterSent(session, step) {
      const look = guarded(() => {
        if (session.closed || session.destroyed) return
        if (session.state.outboundQueueSize > 0) setTimeout(look, SENT_MS)
        else step()
      })
      setImmediate(look)
    }

    // --- WebSockets

    /** If the app wants it: the client comes back, to a successor. A socket of the package `ws` knows its WebSocket. */
    function closeWebSockets() {
      if (!farewell) return
      for (const socket of [...process._getActiveHandles(), ...secureSockets()]) {
        const symbol = socket instanceof net.Socket && symbolOf(socket, 'websocket')
        const peer = symbol && socket[symbol]
        // Not where this worker is a client itself.
        if (peer && peer._isServer === true && peer.readyState === OPEN) peer.close(farewell)
      }
    }

    // --- The end

    /** Functions that the package's `schedule` runs just now: their end is told over the channel. */
    function jobsUnderWay() {
      const jobs = process[Symbol.for('skep.jobs')]
      if (!jobs || jobs.count === 0) return false
      jobs.idle = guarded(finish)
      return true
    }

    function finish() {
      if (jobsUnderWay()) return
      if (finished) return
      finished = true
      clearInterval(sweeper)
      onStart.unsubscribe(starts)
      onFinish.unsubscribe(finishes)
      if (stopping) say({ act: 'drained' })
      else disconnect()
    }
  }

  function nanoseconds(ms) {
    return BigInt(Number.isFinite(ms) ? Math.trunc(ms) : 2000) * 1_000_000n
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

  /** Those of Node's own list; none where it has no such list, and `close()` is left to wait for them. */
  function streamsOf(session) {
    const symbol = symbolOf(session, 'state')
    const streams = symbol && session[symbol] && session[symbol].streams
    return streams instanceof Map ? [...streams.values()] : []
  }
}
