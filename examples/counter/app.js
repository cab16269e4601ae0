'use strict'
// A counter that all workers share: /inc adds one, / tells. Start it with `skep start app.js -i 4`.

const http = require('node:http')
const { counter, worker } = require('skep')

const times = counter('times')

const server = http.createServer((request, response) => {
  response.setHeader('worker', worker.id)
  response.end(String(request.url === '/inc' ? times.add(1) : times.value))
})
server.listen(process.env.PORT ?? 3000, () => process.send?.({ port: server.address().port }))
