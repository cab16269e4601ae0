'use strict'
// A process with a child that computes for ever; it is killed by the test.

const path = require('node:path')
const { pool } = require('../../index.cjs')

const work = pool(path.join(__dirname, 'pool-work.cjs'), { workers: 1 })
async function main () {
  const pid = await work.run(undefined, { name: 'pid' })
  const env = await work.run(undefined, { name: 'marks' })
  work.run(undefined, { name: 'forever' }).catch(() => {})
  process.send({ pid, env })
}
main()
