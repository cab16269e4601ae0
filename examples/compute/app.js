'use strict'
// The classic: `/compute` takes seconds, and `/` must keep answering. Try: skep start app.js -i 2

const http = require('node:http')
const path = require('node:path')
const { pool } = require('skep')

const heavy = pool(path.join(__dirname, 'heavy.js'))

http.createServer(async (request, response) => {
  const url = new URL(request.url, 'http://localhost')
  if (url.pathname !== '/compute') return response.end('hello\n')
  const n = Number(url.searchParams.get('n') ?? 40)
  if (!Number.isInteger(n) || n < 0 || n > 50) return response.writeHead(400).end('n is a whole number from 0 to 50\n')
  // Whoever hangs up ends the computation.
  const gone = new AbortController()
  response.once('close', () => gone.abort())
  try {
    response.end(`${await heavy.run(n, { signal: gone.signal })}\n`)
  } catch (error) {
    if (!gone.signal.aborted) response.writeHead(500).end(`${error.message}\n`)
  }
}).listen(process.env.PORT ?? 3000)
