'use strict'
// The store in shared memory, by the native add-on.

const fs = require('node:fs')
const { after } = require('node:test')

const { Supervisor } = require('../../supervisor.cjs')

const dir = fs.mkdtempSync('/dev/shm/skep-test-')
const supervisor = new Supervisor(`${dir}/store`)
const queues = fs.mkdtempSync('/tmp/skep-queues-')
Object.assign(process.env, supervisor.env(1), { SKEP_QUEUES: queues })
after(() => [dir, queues].forEach(folder => fs.rmSync(folder, { recursive: true })))

require('./conformance.cjs')(require('../../index.cjs'))
