'use strict'
// `/compute?<n>` computes in the worker itself.
const http = require('node:http')
const heavy = require('../../examples/compute/heavy.js')

http.createServer((request, response) => {
  const url = new URL(request.url, 'http://localhost')
  response.end(url.pathname === '/compute' ? String(heavy(Number(url.search.slice(1)))) : 'hello')
}).listen(process.env.PORT)
