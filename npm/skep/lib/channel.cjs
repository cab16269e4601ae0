'use strict'
// Channels in the shape of BroadcastChannel: a message goes to every other object of the same name in all processes.

const { decode, encode } = require('./values.cjs')

/** The open channels of this process, by name. */
class Channels {
  #open = new Map()
  #ports = 0

  constructor (hub) {
    this.hub = hub
    hub.onmessage = (name, port, stored, own) => {
      const here = this.#open.get(String(name))
      if (!here) return
      const value = decode(stored)
      for (const channel of [...here]) if (!(own && channel.port === port)) channel.deliver('message', value)
    }
    hub.ongap = () => {
      for (const here of this.#open.values()) for (const channel of [...here]) channel.deliver('messageerror')
    }
  }

  join (channel) {
    let here = this.#open.get(channel.name)
    if (!here) {
      this.hub.now(client => client.subscribe(channel.name))
      this.#open.set(channel.name, here = new Set())
    }
    here.add(channel)
    return ++this.#ports
  }

  leave (channel) {
    const here = this.#open.get(channel.name)
    here?.delete(channel)
    if (here?.size === 0) {
      this.#open.delete(channel.name)
      this.hub.client.unsubscribe(channel.name)
    }
  }
}

class Channel extends EventTarget {
  #channels
  #handler = null
  #errorHandler = null
  #closed = false
  #held = true
  /** Whether anybody has asked for events other than by `onmessage`: giving them out costs more than the message. */
  #listened = false

  constructor (channels, name) {
    super()
    this.name = name
    this.#channels = channels
    this.port = channels.join(this)
    channels.hub.hold()
  }

  /** Sends a value to all other channel objects of this name, in this process and in others. */
  postMessage (value) {
    if (this.#closed) throw new DOMException(`the channel '${this.name}' is closed`, 'InvalidStateError')
    const bytes = encode(value)
    const { hub } = this.#channels
    // As a broken pipe would: nobody awaits a post.
    const failed = error => queueMicrotask(() => { throw error })
    let told
    try {
      told = hub.call(client => client.publish(this.name, this.port, bytes))
    } catch (error) {
      return failed(error)
    }
    if (typeof told?.then === 'function') told.then(() => hub.kick(), failed)
    else hub.kick()
  }

  addEventListener (...listener) {
    this.#listened = true
    super.addEventListener(...listener)
  }

  get onmessage () {
    return this.#handler
  }

  set onmessage (handler) {
    this.#handler = typeof handler === 'function' ? handler : null
  }

  get onmessageerror () {
    return this.#errorHandler
  }

  set onmessageerror (handler) {
    this.#errorHandler = typeof handler === 'function' ? handler : null
  }

  deliver (type, data) {
    const event = new MessageEvent(type, { data })
    const handler = type === 'message' ? this.#handler : this.#errorHandler
    handler?.call(this, event)
    if (this.#listened) this.dispatchEvent(event)
  }

  /** Listens no longer. */
  close () {
    if (this.#closed) return
    this.#closed = true
    this.#channels.leave(this)
    this.unref()
  }

  /** An open channel keeps the process alive; `unref` has it not do so. */
  unref () {
    if (this.#held) this.#channels.hub.release()
    this.#held = false
    return this
  }

  ref () {
    if (!this.#held && !this.#closed) {
      this.#channels.hub.hold()
      this.#held = true
    }
    return this
  }
}

module.exports = { Channel, Channels }
