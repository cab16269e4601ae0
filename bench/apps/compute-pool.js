'use strict'
// `/compute?<n>` computes in a child process of the pool.
const http = require('node:http')
const path = require('node:path')
const { pool } = require('../../npm/skep')
const heavy = pool(path.join(__dirname, '../../examples/compute/heavy.js'))

http.createServer(async (request, response) => {
  const url = new URL(request.url, 'http://localhost')
  if (url.pathname !== '/compute') return response.end('hello')
  response.end(String(await heavy.run(Number(url.search.slice(1)))))
}).listen(process.env.PORT)
