'use strict'
// What a worker tells of itself when the supervisor asks: event loop, heap, garbage collection, HTTP. Node 18 to 26.
//
// Loaded by preload.cjs. Until the first question it costs nothing at all. From then on requests are counted
// (diagnostics_channel for HTTP/1.1, a listener a server for HTTP/2, of whose streams not every Node tells on channels; no
// wrapping); a latency is taken of each request, of fewer when there are many. The histogram of the event loop's delay
// needs a timer, so it ends half a minute after the last question; the counters, whose gaps would show in a scraper's
// rates, end ten minutes after it. Nothing here keeps the event loop alive.
module.exports = ({ liveServers }) => {
  const { setTimeout, clearTimeout } = globalThis
  const { performance, PerformanceObserver, monitorEventLoopDelay, constants } = require('perf_hooks')
  const { channel } = require('diagnostics_channel')
  const now = performance.now.bind(performance)

  /** Upper bounds of the latency histogram in milliseconds: Prometheus's own, and two below for fast answers. */
  const BOUNDS_MS = [1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000]
  /** How often the event loop's delay is sampled: ten wake-ups a second, and only while somebody looks. */
  const DELAY_RESOLUTION_MS = 100
  const DELAY_KEPT_MS = 30_000
  const COUNTED_MS = 600_000
  /** Beyond so many requests a second one latency in four is taken, beyond ten times as many one in sixteen. */
  const MANY_A_SECOND = 100
  const KINDS = [
    constants.NODE_PERFORMANCE_GC_MINOR,
    constants.NODE_PERFORMANCE_GC_MAJOR,
    constants.NODE_PERFORMANCE_GC_INCREMENTAL,
    constants.NODE_PERFORMANCE_GC_WEAKCB,
  ]

  let delay = null
  let delayEnd = null
  let counting = false
  let countingEnd = null
  let observer = null
  let begun = new WeakMap()
  let stride = 1
  let skip = 0
  let requestsBefore = 0
  let askedBefore = 0
  let accepted = 0
  let latencySumMs = 0
  /** By class: 1xx to 5xx. */
  const codes = [0, 0, 0, 0, 0]
  const buckets = new Array(BOUNDS_MS.length + 1).fill(0)
  const gc = KINDS.map(() => [0, 0])

  function starts({ response }) {
    if (--skip > 0) return
    skip = stride
    begun.set(response, now())
  }

  function finishes({ response }) {
    answered(response, response.statusCode)
  }

  /** A stream of HTTP/2: a request, and its answer. */
  function opens(stream) {
    starts({ response: stream })
    stream.once('close', closes)
  }

  /** One that was cut off has no answer, as in HTTP/1.1. */
  function closes() {
    const headers = this.sentHeaders
    if (this.rstCode === 0 && headers) answered(this, headers[':status'])
  }

  function answered(exchange, status) {
    const kind = Math.trunc(status / 100) - 1
    if (kind >= 0 && kind < 5) codes[kind]++
    const began = begun.get(exchange)
    if (began === undefined) return
    const took = now() - began
    let at = 0
    while (at < BOUNDS_MS.length && took > BOUNDS_MS[at]) at++
    buckets[at] += stride
    latencySumMs += took * stride
  }

  function accepts() {
    accepted++
  }

  function collected(list) {
    for (const entry of list.getEntries()) {
      const kind = KINDS.indexOf(entry.detail ? entry.detail.kind : entry.kind)
      if (kind < 0) continue
      gc[kind][0]++
      gc[kind][1] += entry.duration
    }
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
    observer = new PerformanceObserver(collected)
    observer.observe({ entryTypes: ['gc'] })
  }

  function stopCounting() {
    counting = false
    channel('http.server.request.start').unsubscribe(starts)
    channel('http.server.response.finish').unsubscribe(finishes)
    channel('net.server.socket').unsubscribe(accepts)
    for (const server of liveServers()) server.removeListener('stream', opens)
    observer.disconnect()
    begun = new WeakMap()
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

  function adapt(at) {
    const requests = codes.reduce((sum, n) => sum + n, 0)
    const rate = ((requests - requestsBefore) * 1000) / Math.max(1, at - askedBefore)
    requestsBefore = requests
    askedBefore = at
    stride = rate > MANY_A_SECOND * 10 ? 16 : rate > MANY_A_SECOND ? 4 : 1
  }

  /** The answer to one question. */
  function measure() {
    count()
    const { idle, active } = performance.eventLoopUtilization()
    const memory = process.memoryUsage()
    adapt(now())
    return {
      loop: [idle, active],
      delay: lateness(),
      heap: [memory.heapUsed, memory.heapTotal, memory.external, memory.arrayBuffers],
      gc,
      codes,
      bounds: BOUNDS_MS,
      buckets,
      latency: latencySumMs,
      accepted,
    }
  }

  return { measure, watch }
}
