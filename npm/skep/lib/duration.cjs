'use strict'

const UNITS = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000, w: 604_800_000 }

/** Milliseconds of a duration: a number of them, or text like '30m', '1.5h', '250ms'. */
function duration (value, field) {
  if (typeof value === 'number' && value >= 0 && Number.isFinite(value)) return value
  const match = typeof value === 'string' ? /^(\d+(?:\.\d+)?) ?(ms|s|m|h|d|w)$/.exec(value.trim()) : null
  if (match) return Number(match[1]) * UNITS[match[2]]
  throw new TypeError(
    `skep: ${field} is ${JSON.stringify(value)}; give milliseconds as a number, or text like '30m', '1.5h', '250ms'`)
}

/** The same, with a value for what was left out. */
function durationOr (value, otherwise, field) {
  return value === undefined || value === null ? otherwise : duration(value, field)
}

module.exports = { duration, durationOr }
