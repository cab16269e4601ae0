'use strict'
// Counters, maps, leaderboards and limiters of one process alone; see memory.cjs.

const COUNTERS = 16_384

/** Texts and bytes as keys of a Map. */
const keyOf = key => typeof key === 'string' ? key : Buffer.from(key).toString('latin1') + '\0bytes'

class MemoryKeys {
  #version = 0
  #spaces = new Map()
  #data = []
  #places = new Map()
  #counters = new ArrayBuffer(COUNTERS * 8)

  // --- counters

  counterPlace (name) {
    let place = this.#places.get(name)
    if (place === undefined) {
      place = this.#places.size
      if (place === COUNTERS) {
        throw Object.assign(new Error(`all ${COUNTERS} counters are in use: use a map for per-user counts`),
          { code: 'ERR_SKEP_TOO_MANY_COUNTERS' })
      }
      this.#places.set(name, place)
    }
    return place
  }

  counterPage () { return this.#counters }

  // --- keys

  space (kind, name) {
    const id = `${kind}:${name}`
    let space = this.#spaces.get(id)
    if (space === undefined) {
      space = this.#data.length
      this.#data.push(kind === 'board' ? new Board() : new Map())
      this.#spaces.set(id, space)
    }
    return space
  }

  #entry (space, key) {
    const entry = this.#data[space].get(keyOf(key))
    if (entry && entry.expires !== 0 && entry.expires <= Date.now()) {
      this.#data[space].delete(keyOf(key))
      return undefined
    }
    return entry
  }

  #put (space, key, value, expires) {
    const before = this.#entry(space, key)
    if (expires < 0) expires = before?.expires ?? 0
    if (expires !== 0 && expires <= Date.now()) {
      this.#data[space].delete(keyOf(key))
      return
    }
    // Bytes are the caller's to change afterwards; the store's are not.
    const kept = typeof value === 'string' ? value : Buffer.from(value)
    this.#data[space].set(keyOf(key), { key, value: kept, expires, version: ++this.#version })
  }

  get (space, key) { return this.#entry(space, key)?.value ?? null }

  getVersioned (space, key) {
    const entry = this.#entry(space, key)
    return entry ? [entry.value, entry.version] : null
  }

  set (space, key, value, expires = 0, when = 0) {
    const there = this.#entry(space, key) !== undefined
    if ((when === 1 && there) || (when === 2 && !there)) return false
    this.#put(space, key, value, expires)
    return true
  }

  setIfVersion (space, key, value, expires, version) {
    if ((this.#entry(space, key)?.version ?? 0) !== version) return false
    if (value === undefined) this.delete(space, key)
    else this.#put(space, key, value, expires)
    return true
  }

  delete (space, key) {
    const there = this.#entry(space, key) !== undefined
    this.#data[space].delete(keyOf(key))
    return there
  }

  expire (space, key, at) {
    const entry = this.#entry(space, key)
    if (!entry) return false
    entry.expires = at > 0 ? at : 0
    entry.version = ++this.#version
    return true
  }

  expires (space, key) { return this.#entry(space, key)?.expires ?? -1 }

  scan (space, from, most) {
    const keys = [...this.#data[space].values()].map(entry => entry.key)
      .filter(key => from === null || Buffer.compare(Buffer.from(key), Buffer.from(from)) >= 0)
      .sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)))
    const out = [keys.length > most ? Buffer.from(keys[most]) : null]
    for (const key of keys.slice(0, most)) {
      const entry = this.#entry(space, key)
      if (entry) out.push(key, entry.value)
    }
    return out
  }

  clear (space) {
    const count = this.#data[space].size
    this.#data[space].clear()
    // Everything is gone at once: a caller that goes on while it gets full pages must stop.
    return count > 0 ? 1 : 0
  }

  atomic (checks, changes) {
    for (let i = 0; i < checks.length; i += 3) {
      if ((this.#entry(checks[i], checks[i + 1])?.version ?? 0) !== checks[i + 2]) return false
    }
    for (let i = 0; i < changes.length;) {
      const kind = changes[i++]
      if (kind === 0) this.#put(changes[i++], changes[i++], changes[i++], changes[i++])
      else if (kind === 1) this.delete(changes[i++], changes[i++])
      else this.push(changes[i++], changes[i++], 0, 0, 0, 0, false)
    }
    return true
  }

  // --- leaderboards

  boardSet (space, member, score) { return this.#data[space].set(keyOf(member), member, score) }

  boardAdd (space, member, by) {
    const sum = (this.boardScore(space, member) ?? 0) + by
    this.boardSet(space, member, sum)
    return sum
  }

  boardRemove (space, member) { return this.#data[space].delete(keyOf(member)) }
  boardScore (space, member) { return this.#data[space].scores.get(keyOf(member))?.score ?? null }
  boardLen (space) { return this.#data[space].scores.size }

  boardRank (space, member) {
    const rank = this.#data[space].sorted().findIndex(entry => entry.id === keyOf(member))
    return rank < 0 ? null : rank
  }

  boardRange (space, start, most) {
    const page = this.#data[space].sorted().slice(start, start + most)
    return page.flatMap(({ member, score }) => [member, score])
  }

  // --- limiters

  consume (space, key, points, limit, windowMs, blockMs) {
    const now = Date.now()
    const entry = this.#entry(space, key)
    let [used, until] = entry ? entry.value.split(' ').map(Number) : [0, points === 0 ? now : now + windowMs]
    if (points !== 0) {
      if (points > 0 && used + points > limit && used <= limit && blockMs > 0) until = now + blockMs
      used = Math.max(used + points, 0)
      this.#put(space, key, `${used} ${until}`, until)
    }
    return [used <= limit ? 1 : 0, used, Math.max(limit - used, 0), Math.max(until - now, 0)]
  }
}

/** Members by score, the highest first; sorted when it is looked at. */
class Board {
  scores = new Map()
  #sorted

  set (id, member, score) {
    if (Number.isNaN(score)) {
      throw Object.assign(new Error('the value is not a valid float'), { code: 'ERR_SKEP_NOT_A_NUMBER' })
    }
    const isNew = !this.scores.has(id)
    this.scores.set(id, { id, member, score })
    this.#sorted = undefined
    return isNew
  }

  delete (id) {
    this.#sorted = undefined
    return this.scores.delete(id)
  }

  sorted () {
    this.#sorted ??= [...this.scores.values()].sort((a, b) =>
      b.score - a.score || Buffer.compare(Buffer.from(b.member), Buffer.from(a.member)))
    return this.#sorted
  }
}

module.exports = { MemoryKeys }
