'use strict'
// What a worker tells of itself when the supervisor asks: event loop, heap, HTTP. Node 18 to 26.
//
// Loaded by preload.cjs. Until the first question it costs nothing at all. From then on requests are counted
// (diagnostics_channel for HTTP/1.1, a listener a server for HTTP/2, of whose streams not every Node tells on channels; no
// wrapping). Latencies are taken of the first requests in each tenth of a second and stand for all that ended in it: who is
// not looked at costs two calls that do next to nothing. Garbage collections are not among it: once V8 is asked to tell of
// them, by a PerformanceObserver or a GCProfiler, a busy worker has five percent more to do. The histogram of the event
// loop's delay needs a timer, so it ends half a minute after the last question; the counters, whose gaps would show in a
// scraper's rates, end ten minutes after it.
// Nothing here keeps the event loop alive.
module.exports = ({ liveServers }) => {
  const { setTimeout, clearTimeout } = globalThis
  const { performance, monitorEventLoopDelay } = require('perf_hooks')
  const { channel } = require('diagnostics_channel')
  const now = performance.now.bind(performance)

  /** Upper bounds of the latency histogram in milliseconds: Prometheus's own, and two below for fast answers. */
  const BOUNDS_MS = [1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000]
  /** How often the event loop's delay is sampled: ten wake-ups a second, and only while somebody looks. */
  const DELAY_RESOLUTION_MS = 100
  const DELAY_KEPT_MS = 30_000
  const COUNTED_MS = 600_000
  /** Latencies are taken of so many requests in each window; then nothing is looked at as it begins until the next. */
  const SAMPLES = 16
  const WINDOW_MS = 100
  /** Those that take longer than a window are looked at to their end, but not more than so many. */
  const WATCHED_MAX = 256

  let delay = null
  let delayEnd = null
  let counting = false
  let countingEnd = null
  let windowBegan = 0
  let begun = 0
  let looking = true
  /** Answers that are waited for, and when their requests began. */
  const watched = new Map()
  /** Latencies of the window, and how many requests have ended since others were told. */
  let taken = []
  let ended = 0
  let accepted = 0
  let latencySumMs = 0
  /** By class: 1xx to 5xx. */
  const codes = [0, 0, 0, 0, 0]
  const buckets = new Array(BOUNDS_MS.length + 1).fill(0)

  /** The time, if the latency of what begins now is taken. */
  function began() {
    if (!looking) return undefined
    const at = now()
    if (at - windowBegan >= WINDOW_MS) {
      tell()
      windowBegan = at
      begun = 0
      forget()
    }
    if (++begun === SAMPLES) pause()
    return at
  }

  // Subscribed all the time: a channel that loses its last subscriber changes its prototype, and optimised code is undone.
  function starts({ response }) {
    const at = began()
    // Without a listener, which the app would see among its own.
    if (at !== undefined && watched.size < WATCHED_MAX) watched.set(response, at)
  }

  /** Answers that were cut off never end. */
  function forget() {
    for (const response of watched.keys()) if (response.destroyed) watched.delete(response)
  }

  function pause() {
    looking = false
    setTimeout(resume, WINDOW_MS).unref()
  }

  function resume() {
    looking = true
  }

  function finishes({ response }) {
    answered(response.statusCode)
    if (watched.size === 0) return
    const at = watched.get(response)
    if (at === undefined) return
    watched.delete(response)
    taken.push(now() - at)
  }

  /** A stream of HTTP/2: a request, and its answer. */
  function opens(stream) {
    const at = began()
    stream.once('close', () => {
      const headers = stream.sentHeaders
      // One that was cut off has no answer, as in HTTP/1.1.
      if (stream.rstCode !== 0 || !headers) return
      answered(headers[':status'])
      if (at !== undefined) taken.push(now() - at)
    })
  }

  function answered(status) {
    const kind = Math.trunc(status / 100) - 1
    if (kind >= 0 && kind < 5) codes[kind]++
    ended++
  }

  /** The latencies that were taken stand for all requests that have ended meanwhile, each for as many as the others. */
  function tell() {
    // Where none was taken, those of the next window stand for these too.
    if (taken.length === 0) return
    const each = Math.floor(ended / taken.length)
    const rest = ended % taken.length
    for (const [index, took] of taken.entries()) {
      const weight = index < rest ? each + 1 : each
      let at = 0
      while (at < BOUNDS_MS.length && took > BOUNDS_MS[at]) at++
      buckets[at] += weight
      latencySumMs += took * weight
    }
    taken = []
    ended = 0
  }

  function accepts() {
    accepted++
  }

  /** A server that listens: of interest if it is one of HTTP/2. */
  function watch(server) {
    if (!counting || typeof server.updateSettings !== 'function') return
    // First, before the app's own listener has answered.
    if (!server.listeners('stream').includes(opens)) server.prependListener('stream', opens)
  }

  function count() {
    clearTimeout(countingEnd)
    countingEnd = setTimeout(stopCounting, COUNTED_MS)
    countingEnd.unref()
    if (counting) return
    counting = true
    channel('http.server.request.start').subscribe(starts)
    channel('http.server.response.finish').subscribe(finishes)
    channel('net.server.socket').subscribe(accepts)
    liveServers().forEach(watch)
  }

  function stopCounting() {
    counting = false
    channel('http.server.request.start').unsubscribe(starts)
    channel('http.server.response.finish').unsubscribe(finishes)
    channel('net.server.socket').unsubscribe(accepts)
    for (const server of liveServers()) server.removeListener('stream', opens)
    watched.clear()
  }

  /** What the loop was late, since the last question; null until it has been looked at. */
  function lateness() {
    clearTimeout(delayEnd)
    delayEnd = setTimeout(() => {
      delay.disable()
      delay = null
    }, DELAY_KEPT_MS)
    delayEnd.unref()
    if (delay === null) {
      delay = monitorEventLoopDelay({ resolution: DELAY_RESOLUTION_MS })
      delay.enable()
      return null
    }
    const late = (ns) => (Number.isFinite(ns) ? Math.max(0, ns / 1e6 - DELAY_RESOLUTION_MS) : 0)
    const seen = delay.count === undefined || delay.count > 0
    const result = seen ? [late(delay.mean), late(delay.percentile(50)), late(delay.percentile(99)), late(delay.max)] : null
    delay.reset()
    return result
  }

  /** The answer to one question. */
  function measure() {
    count()
    const { idle, active } = performance.eventLoopUtilization()
    const memory = process.memoryUsage()
    tell()
    return {
      loop: [idle, active],
      delay: lateness(),
      heap: [memory.heapUsed, memory.heapTotal, memory.external, memory.arrayBuffers],
      codes,
      bounds: BOUNDS_MS,
      buckets,
      latency: latencySumMs,
      accepted,
    }
  }

  return { measure, watch }
}
