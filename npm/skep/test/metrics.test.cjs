'use strict'
// What a worker tells of its requests, HTTP/1.1 and HTTP/2 alike. Run with any Node from 18: node --test
const assert = require('node:assert')
const http = require('node:http')
const http2 = require('node:http2')
const { once } = require('node:events')
const test = require('node:test')

const STATUS = { '/ok': 200, '/moved': 301, '/missing': 404, '/broken': 503 }
const PATHS = ['/ok', '/ok', '/moved', '/missing', '/broken']

/** What such a server counts of these requests: answers by class, and how many latencies. */
async function counted(server, ask) {
  server.listen(0)
  await once(server, 'listening')
  const { measure } = require('../metrics.cjs')({ liveServers: () => [server] })
  measure()
  await ask(server.address().port)
  const { codes, buckets, accepted } = measure()
  server.close()
  assert.ok(accepted > 0, 'connections are counted')
  return { codes: [...codes], latencies: buckets.reduce((sum, n) => sum + n, 0) }
}

const EXPECTED = { codes: [0, 2, 1, 1, 1], latencies: PATHS.length }

test('answers of HTTP/1.1 are counted by class', async () => {
  const server = http.createServer((req, res) => res.writeHead(STATUS[req.url]).end('body'))
  const found = await counted(server, async (port) => {
    for (const path of PATHS) {
      const [response] = await once(http.get({ port, path, agent: false }), 'response')
      response.resume()
      await once(response, 'end')
    }
  })
  assert.deepStrictEqual(found, EXPECTED)
})

/** Asks over one session, waits for each stream's end on both sides, then cuts one off. */
async function overOneSession(server, port) {
  const session = http2.connect(`http://127.0.0.1:${port}`)
  const closed = (path) => {
    const there = once(server, 'stream').then(([stream]) => once(stream, 'close'))
    const stream = session.request({ ':path': path })
    return [stream, there]
  }
  for (const path of PATHS) {
    const [stream, there] = closed(path)
    stream.resume()
    await Promise.all([once(stream, 'close'), there])
  }
  const [stream, there] = closed('/never')
  await once(stream, 'response')
  stream.close(http2.constants.NGHTTP2_CANCEL)
  await there
  session.close()
  await once(session, 'close')
}

test('answers of HTTP/2 are counted by class, and one that was cut off is none', async () => {
  const server = http2.createServer((req, res) => {
    if (req.url === '/never') res.writeHead(200), res.write('begun')
    else res.writeHead(STATUS[req.url]), res.end('body')
  })
  assert.deepStrictEqual(await counted(server, (port) => overOneSession(server, port)), EXPECTED)
})

test('so are those of an app that works with streams itself', async () => {
  const server = http2.createServer()
  server.on('stream', (stream, headers) => {
    const path = headers[':path']
    stream.on('error', () => {})
    stream.respond({ ':status': STATUS[path] ?? 200 }, { endStream: path === '/moved' })
    if (path === '/never') stream.write('begun')
    else if (path !== '/moved') stream.end('body')
  })
  assert.deepStrictEqual(await counted(server, (port) => overOneSession(server, port)), EXPECTED)
  assert.strictEqual(server.listenerCount('stream'), 2, 'the app has one listener, and we have one')
})

test('a server that listens after the first question is counted too', () => {
  const { measure, watch } = require('../metrics.cjs')({ liveServers: () => [] })
  const server = http2.createServer()
  watch(server)
  assert.strictEqual(server.listenerCount('stream'), 0, 'not before anybody asks')
  measure()
  watch(server)
  watch(server)
  assert.strictEqual(server.listenerCount('stream'), 1)
  watch(http.createServer())
})

test('an answer that takes longer than a window counts as long, and one that was cut off not at all', async () => {
  let answer
  const server = http.createServer((req, res) => {
    if (req.url === '/never') return req.destroy()
    if (req.url === '/ok') return res.end()
    answer = () => res.end()
  })
  server.listen(0)
  await once(server, 'listening')
  const { measure } = require('../metrics.cjs')({ liveServers: () => [server] })
  measure()
  const { port } = server.address()
  const slow = http.get({ port, path: '/slow', agent: false })
  await once(server, 'request')
  const cut = http.get({ port, path: '/never', agent: false })
  await once(cut, 'error')
  const began = performance.now()
  // Until windows have passed: each begins with the first request after a tenth of a second.
  while (performance.now() - began < 250) {
    const [response] = await once(http.get({ port, path: '/ok', agent: false }), 'response')
    await once(response.resume(), 'end')
  }
  answer()
  const [response] = await once(slow, 'response')
  await once(response.resume(), 'end')
  const { codes, bounds, buckets } = measure()
  server.close()
  const long = buckets.slice(bounds.indexOf(100) + 1).reduce((sum, n) => sum + n, 0)
  assert.ok(long >= 1, 'the slow one is among the slow ones')
  assert.strictEqual(
    buckets.reduce((sum, n) => sum + n, 0),
    codes.reduce((sum, n) => sum + n, 0),
  )
})
