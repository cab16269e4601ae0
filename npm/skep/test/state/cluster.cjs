'use strict'
// Workers as plain child processes over one store, with a supervisor that is told when one ends.

const { fork } = require('node:child_process')
const { once } = require('node:events')
const fs = require('node:fs')
const path = require('node:path')

const { Supervisor } = require('../../supervisor.cjs')

// Examples say require('skep'): a folder in which that is this package.
const MODULES = path.join(__dirname, '..', '..', 'node_modules')

function link () {
  try {
    fs.symlinkSync('..', path.join(MODULES, 'skep'))
  } catch (error) {
    if (error.code !== 'EEXIST') throw error
  }
}

class Cluster {
  #next = 0

  constructor (options) {
    link()
    this.dir = fs.mkdtempSync('/dev/shm/skep-test-')
    this.supervisor = new Supervisor(path.join(this.dir, 'store'), options)
    this.workers = []
  }

  /** Starts a worker; resolves when it says what it has to say first. */
  async start (file, { env = {}, args = [] } = {}) {
    const id = ++this.#next
    const child = fork(file, args, {
      env: { ...process.env, NODE_PATH: MODULES, PORT: '0', ...this.supervisor.env(id, 1), ...env },
      serialization: 'advanced'
    })
    child.workerId = id
    child.gone = once(child, 'exit').then(() => { child.releasedItems = this.supervisor.workerEnded(id, 1) })
    this.workers.push(child)
    const first = await Promise.race([once(child, 'message'), child.gone.then(() => {
      throw new Error(`worker ${id} of ${file} ended before it was ready`)
    })])
    child.port = first[0]?.port
    child.said = first[0]
    return child
  }

  example (name, count, env) {
    const file = path.join(__dirname, '..', '..', '..', '..', 'examples', name)
    return Promise.all(Array.from({ length: count }, () => this.start(file, { env })))
  }

  async close () {
    for (const child of this.workers) child.kill('SIGKILL')
    await Promise.all(this.workers.map(child => child.gone))
    this.supervisor.close()
    fs.rmSync(this.dir, { recursive: true, force: true })
  }
}

/** A question to a child, and its answer. */
async function ask (child, question) {
  child.send(question)
  const [answer] = await Promise.race([once(child, 'message'), child.gone.then(() => {
    throw new Error(`worker ${child.workerId} has ended`)
  })])
  if (answer?.error) throw new Error(answer.error)
  return answer
}

module.exports = { Cluster, ask }
