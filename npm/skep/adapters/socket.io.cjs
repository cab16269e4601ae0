'use strict'
// An adapter for socket.io: `new Server({ adapter: createAdapter() })` and rooms reach the sockets of all workers.

const { ClusterAdapterWithHeartbeat } = require('socket.io-adapter')

const { channel } = require('../index.cjs')

/** See https://socket.io/docs/v4/adapter/: the base class speaks the protocol between servers, this carries it. */
class SkepAdapter extends ClusterAdapterWithHeartbeat {
  #channel

  constructor (nsp, options) {
    super(nsp, options)
    this.#channel = channel(`${options.key ?? 'socket.io'}#${nsp.name}`).unref()
    this.#channel.onmessage = ({ data: [to, message] }) => {
      if (to === undefined || to === null) this.onMessage(message)
      else if (to === this.uid) this.onResponse(message)
    }
    // Tells the other servers that this one is here.
    this.init()
  }

  doPublish (message) {
    this.#channel.postMessage([null, message])
    return Promise.resolve('')
  }

  doPublishResponse (requester, response) {
    this.#channel.postMessage([requester, response])
    return Promise.resolve()
  }

  close () {
    super.close()
    this.#channel.close()
  }
}

/** Options: `key` (names the channel), `heartbeatInterval`, `heartbeatTimeout` (ms). */
function createAdapter (options = {}) {
  return class extends SkepAdapter {
    constructor (nsp) {
      super(nsp, options)
    }
  }
}

module.exports = { createAdapter }
