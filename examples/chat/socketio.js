'use strict'
// The same with socket.io and its rooms.

const http = require('node:http')
const { createAdapter } = require('skep/socket.io')
const { Server } = require('socket.io')

const server = http.createServer()
const io = new Server(server, { adapter: createAdapter(), transports: ['websocket'] })

io.on('connection', socket => {
  socket.on('join', (room, done) => { socket.join(room); done() })
  socket.on('say', (room, text) => io.to(room).emit('said', text))
  socket.on('count', async done => done((await io.fetchSockets()).length))
})
server.listen(process.env.PORT ?? 3000, () => process.send?.({ port: server.address().port }))
