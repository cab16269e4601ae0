'use strict'
// Every example of the README runs, in one process alone.

delete process.env.SKEP_STATE
const assert = require('node:assert/strict')
const fs = require('node:fs')
const path = require('node:path')
const { test } = require('node:test')

const text = fs.readFileSync(path.join(__dirname, '..', '..', 'README.md'), 'utf8')
const AsyncFunction = (async () => {}).constructor
const skep = name => {
  assert.equal(name, 'skep')
  return require('../../index.cjs')
}

for (const [, title, code] of text.matchAll(/^## (.+?)\n[^#]*?```js\n(.*?)```/gms)) {
  test(`README: ${title}`, () => new AsyncFunction('require', 'assert', code)(skep, assert))
}
