'use strict'
// Where the native add-on cannot be loaded, the error says what to do.

const assert = require('node:assert')
const { execFileSync } = require('node:child_process')
const path = require('node:path')
const test = require('node:test')

const NATIVE = path.join(__dirname, '..', '..', 'lib', 'native.cjs')

/** What loading says in a process that `before` has changed. */
function told (before, env) {
  const script = `${before}
    try { require(process.argv[1]).load() } catch (error) { console.log(error.code + ' ' + error.message) }`
  return execFileSync(process.execPath, ['-e', script, NATIVE], { env: { ...process.env, ...env }, encoding: 'utf8' })
}

test('a missing add-on is named with its remedy', () => {
  const text = told('', { SKEP_ADDON: '/nowhere/skep.node' })
  assert.match(text, /^ERR_SKEP_ADDON .*\/nowhere\/skep\.node.*reinstall the package on this platform \(linux-/s)
})

test('on musl the error names images with glibc, and Redis', () => {
  // As musl's Node reports: a header without glibc's version.
  const text = told('process.report.getReport = () => ({ header: {} })', { SKEP_ADDON: '' })
  assert.match(text, /^ERR_SKEP_ADDON .*skep\.linux-[a-z0-9]+-musl\.node.*SKEP_REDIS/s)
})
