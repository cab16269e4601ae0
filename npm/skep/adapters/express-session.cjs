'use strict'
// A session store for express-session: `new SkepStore({ name, ttl })`.
//
//   const session = require('express-session')
//   const SkepStore = require('skep/express-session')(session)
//   app.use(session({ store: new SkepStore(), secret, resave: false, saveUninitialized: false }))

const { map } = require('../index.cjs')

/** Sessions without an expiry of their own end after this. */
const TTL = '1d'

module.exports = session => class SkepStore extends session.Store {
  #map

  constructor ({ name = 'sessions', ttl = TTL } = {}) {
    super()
    this.#map = map(name, { ttl })
  }

  get (id, callback) {
    answer(this.#map.get(id).then(value => value ?? null), callback)
  }

  set (id, value, callback) {
    // What express-session keeps in a cookie is a class; its JSON form is what it wants back.
    answer(this.#map.set(id, JSON.parse(JSON.stringify(value)), ends(value)), callback)
  }

  /** A request without changes moves the end alone. */
  touch (id, value, callback) {
    answer(this.#map.touch(id, ends(value)), callback)
  }

  destroy (id, callback) {
    answer(this.#map.delete(id), callback)
  }

  all (callback) {
    answer((async () => {
      const sessions = []
      for await (const [id, value] of this.#map) sessions.push({ ...value, id })
      return sessions
    })(), callback)
  }

  length (callback) {
    answer(this.#map.size(), callback)
  }

  clear (callback) {
    answer(this.#map.clear(), callback)
  }
}

function ends (value) {
  const expires = value?.cookie?.expires
  return expires ? { ttl: Math.max(new Date(expires) - Date.now(), 1) } : undefined
}

function answer (promise, callback = () => {}) {
  promise.then(value => callback(null, value), callback)
}
