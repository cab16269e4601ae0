'use strict'
// A child of a pool: imports the file, answers one call after the other, and ends with its parent.

const file = process.argv[2]
const guard = process.env.SKEP_POOL_GUARD
delete process.env.SKEP_POOL_GUARD

process.on('disconnect', () => process.exit())
if (guard !== undefined) {
  // While a computation runs no event is heard: another thread looks whether the parent is still there.
  const { Worker } = require('node:worker_threads')
  const look = `setInterval(() => { if (process.ppid !== ${Number(guard)}) process.kill(process.pid, 'SIGKILL') }, 500)`
  new Worker(look, { eval: true }).unref()
}

const loaded = import(file)
loaded.catch(() => {})

async function call ({ name, data }) {
  const exported = await loaded
  const fn = exported[name] ?? exported.default?.[name]
  if (typeof fn !== 'function') throw new TypeError(`skep: ${file} exports no function ${name}`)
  return fn(data)
}

const described = error => error instanceof Error
  ? { name: error.name, message: error.message, stack: error.stack, code: error.code }
  : { name: 'Error', message: String(error) }

process.on('message', message => {
  call(message).then(result => {
    try {
      process.send({ result })
    } catch (error) {
      process.send({ error: described(error) })
    }
  }, error => process.send({ error: described(error) }))
})
