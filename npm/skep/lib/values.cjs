'use strict'
// Values on their way into and out of the store. JSON text travels as a string; everything else as a Buffer whose first
// byte says how to read it. Tags 1 (JSON) and 4 (text) are known to the add-on too, which gives text as a string that
// begins with its tag: no JSON does.

const v8 = require('node:v8')

const V8 = 2
const BINARY = 3
const TEXT = 4
// Bun's v8.serialize writes JavaScriptCore's format, which Node cannot read, and the other way round.
const ENGINE = process.versions.bun ? 5 : V8

const DEPTH_MAX = 64
/** Longer texts go as they are: quoting and parsing them costs more than all the rest. */
const JSON_TEXT_MAX = 256

/** Whether JSON says all there is to say of a value. */
function isJson (value, depth) {
  switch (typeof value) {
    case 'string':
    case 'boolean':
      return true
    case 'number':
      return Number.isFinite(value) && !Object.is(value, -0)
    case 'object':
      break
    default:
      return false
  }
  if (value === null) return true
  if (depth === DEPTH_MAX) return false
  if (Array.isArray(value)) {
    for (let i = 0; i < value.length; i++) if (!isJson(value[i], depth + 1)) return false
    return true
  }
  const prototype = Object.getPrototypeOf(value)
  if (prototype !== Object.prototype && prototype !== null) {
    // Objects that say how they want to be written: as JSON.stringify does, except for dates, which come back whole.
    return typeof value.toJSON === 'function' && !(value instanceof Date) && !Buffer.isBuffer(value)
  }
  for (const key in value) {
    const item = value[key]
    // An undefined property is a missing one, as in JSON.
    if (item !== undefined && !isJson(item, depth + 1)) return false
  }
  return true
}

function tagged (tag, bytes) {
  const out = Buffer.allocUnsafe(bytes.length + 1)
  out[0] = tag
  out.set(bytes, 1)
  return out
}

/** `String.prototype.isWellFormed` came with Node 20. */
const wellFormed = String.prototype.isWellFormed
  ? value => value.isWellFormed()
  : value => !/\p{Surrogate}/u.test(value)

function text (value) {
  // UTF-8 would change lone surrogates; JSON keeps them.
  if (!wellFormed(value)) return JSON.stringify(value)
  const out = Buffer.allocUnsafe(Buffer.byteLength(value) + 1)
  out[0] = TEXT
  out.utf8Write(value, 1)
  return out
}

/** What the store is given for a value. Throws for what cannot be stored (functions, symbols). */
function encode (value) {
  if (typeof value === 'string' && value.length > JSON_TEXT_MAX) return text(value)
  if (value instanceof Uint8Array) return tagged(BINARY, value)
  if (isJson(value, 0)) return JSON.stringify(value)
  return tagged(ENGINE, v8.serialize(value))
}

/** The value of what the store gives; `undefined` for nothing. */
function decode (stored) {
  if (typeof stored === 'string') return stored.charCodeAt(0) === TEXT ? stored.slice(1) : JSON.parse(stored)
  if (stored === null || stored === undefined) return undefined
  switch (stored[0]) {
    case ENGINE:
      return v8.deserialize(stored.subarray(1))
    case BINARY:
      return stored.subarray(1)
    case TEXT:
      return stored.utf8Slice(1)
    default:
      throw Object.assign(new Error(
        `skep: a value with tag ${stored[0]} was written by another runtime or version; store JSON or bytes to share it`
      ), { code: 'ERR_SKEP_VALUE' })
  }
}

/** Whether a value can be handed to the add-on's `setText` as it is: quoting and parsing it costs as much as storing it. */
function isText (value) {
  return typeof value === 'string' && wellFormed(value)
}

module.exports = { decode, encode, isText }
