'use strict'
// A chat whose clients are spread over all workers: what one says, everybody hears.

const http = require('node:http')
const { channel } = require('skep')
const { WebSocketServer } = require('ws')

const room = channel('chat')
const server = http.createServer()
const sockets = new WebSocketServer({ server })

function tell (text) {
  for (const socket of sockets.clients) socket.send(text)
}

room.onmessage = event => tell(event.data)
sockets.on('connection', socket => socket.on('message', data => {
  tell(String(data))
  room.postMessage(String(data))
}))
server.listen(process.env.PORT ?? 3000, () => process.send?.({ port: server.address().port }))
