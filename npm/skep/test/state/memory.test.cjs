'use strict'
// One process alone, without skep.

delete process.env.SKEP_STATE
require('./conformance.cjs')(require('../../index.cjs'))
