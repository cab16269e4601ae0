'use strict'
// Leaderboards: members by score, the highest first; equal scores by name, backwards (as in Redis).

class Leaderboard {
  #hub
  #space

  constructor (hub, name) {
    this.name = name
    this.#hub = hub
    this.#space = hub.now(client => client.space('board', name))
  }

  /** Adds to a member's score (a new one has 0); the sum. */
  async add (member, by = 1) {
    return this.#hub.call(client => client.boardAdd(this.#space, member, by))
  }

  /** Sets a member's score; whether the member is new. */
  async set (member, score) {
    return this.#hub.call(client => client.boardSet(this.#space, member, score))
  }

  /** A member's score, or undefined. */
  async score (member) {
    return await this.#hub.call(client => client.boardScore(this.#space, member)) ?? undefined
  }

  /** A member's place, 1 for the first; undefined if it is not there. */
  async rank (member) {
    const rank = await this.#hub.call(client => client.boardRank(this.#space, member, true))
    return rank === null || rank === undefined ? undefined : rank + 1
  }

  /** The first `count`: `{ member, score, rank }`. */
  async top (count = 10) {
    return this.range(1, count)
  }

  /** `count` members from place `from` on. */
  async range (from, count) {
    const start = Math.max(from, 1) - 1
    const flat = await this.#hub.call(client => client.boardRange(this.#space, start, count, true))
    const members = []
    for (let i = 0; i < flat.length; i += 2) {
      members.push({ member: flat[i], score: flat[i + 1], rank: start + i / 2 + 1 })
    }
    return members
  }

  /** A member with `reach` neighbours on either side. */
  async around (member, reach = 2) {
    const rank = await this.rank(member)
    if (rank === undefined) return []
    const from = Math.max(rank - reach, 1)
    return this.range(from, rank + reach - from + 1)
  }

  async remove (member) {
    return this.#hub.call(client => client.boardRemove(this.#space, member))
  }

  async size () {
    return this.#hub.call(client => client.boardLen(this.#space))
  }
}

module.exports = { Leaderboard }
