'use strict'
// One process alone, without skep.

const fs = require('node:fs')
const { after } = require('node:test')

delete process.env.SKEP_STATE
process.env.SKEP_QUEUES = fs.mkdtempSync('/tmp/skep-queues-')
after(() => fs.rmSync(process.env.SKEP_QUEUES, { recursive: true }))
require('./conformance.cjs')(require('../../index.cjs'))
