'use strict'
// The store in shared memory, by the native add-on.

const fs = require('node:fs')
const { after } = require('node:test')

const { Supervisor } = require('../../supervisor.cjs')

const dir = fs.mkdtempSync('/dev/shm/skep-test-')
const supervisor = new Supervisor(`${dir}/store`)
Object.assign(process.env, supervisor.env(1))
after(() => fs.rmSync(dir, { recursive: true }))

require('./conformance.cjs')(require('../../index.cjs'))
