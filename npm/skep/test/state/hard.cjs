'use strict'
// Fills the store of SKEP_STATE with 100 KB values until that is refused, empties it, and fills it again: in a process
// of its own, because what must not happen is a SIGBUS.

const { map } = require('../../index.cjs')

const values = map('values')
const value = Buffer.alloc(100_000, 7)

function fill () {
  for (let i = 0; ; i++) {
    try {
      values.setSync(`key${i}`, value)
    } catch (error) {
      return { count: i, code: error.code, message: error.message }
    }
  }
}

async function main () {
  const first = fill()
  const size = await values.size()
  for (let i = 0; i < first.count; i++) {
    if (!value.equals(values.getSync(`key${i}`))) throw new Error(`key${i} was torn`)
  }
  await values.clear()
  const again = fill()
  console.log(JSON.stringify({ ...first, size, again: again.count }))
}

main()
