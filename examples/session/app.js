'use strict'
// Sessions that whichever worker gets the next request finds.

const express = require('express')
const { rateLimit } = require('express-rate-limit')
const session = require('express-session')
const SkepStore = require('skep/express-session')(session)
const { worker } = require('skep')
const { SkepRateLimitStore } = require('skep/rate-limit')

const app = express()
app.use((request, response, next) => {
  response.set('worker', String(worker.id))
  next()
})
app.use(session({
  store: new SkepStore({ ttl: '30m' }), secret: process.env.SECRET ?? 'an example', resave: false, saveUninitialized: false
}))
app.get('/login', rateLimit({ windowMs: 60_000, limit: 20, store: new SkepRateLimitStore() }), (request, response) => {
  request.session.user = request.query.user
  response.json({ user: request.query.user })
})
app.get('/me', (request, response) => {
  if (!request.session.user) return response.status(401).end()
  request.session.visits = (request.session.visits ?? 0) + 1
  response.json({ user: request.session.user, visits: request.session.visits })
})
app.get('/logout', (request, response) => request.session.destroy(() => response.end()))
const server = app.listen(process.env.PORT ?? 3000, () => process.send?.({ port: server.address().port }))
