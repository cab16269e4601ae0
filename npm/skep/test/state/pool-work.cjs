'use strict'
// What the tests of `pool` run in child processes.

const fs = require('node:fs')
const path = require('node:path')

const fibonacci = n => n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2)

module.exports = Object.assign(n => fibonacci(n), {
  pid: () => process.pid,
  reversed: bytes => Buffer.from(bytes).reverse(),
  fails: () => { throw Object.assign(new RangeError('no'), { code: 'E_NO' }) },
  crashes: () => process.kill(process.pid, 'SIGKILL'),
  forever: () => { for (;;); },
  marks: () => ['NODE_UNIQUE_ID', 'SKEP_WORKER_ID', 'SKEP_WORKER_GEN'].filter(name => process.env[name] !== undefined),
  /** How many calls are in the folder at once, ourselves included. */
  crowd: folder => {
    const mine = path.join(folder, `${process.pid}-${process.hrtime.bigint()}`)
    fs.writeFileSync(mine, '')
    let most = 0
    for (let i = 0; i < 20; i++) {
      most = Math.max(most, fs.readdirSync(folder).length)
      fibonacci(18)
    }
    fs.unlinkSync(mine)
    return most
  }
})
