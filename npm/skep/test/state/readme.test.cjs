'use strict'
// Every code block of the README and of docs/state runs, in one process alone.

delete process.env.SKEP_STATE
const assert = require('node:assert/strict')
const fs = require('node:fs')
const path = require('node:path')
const { after, test } = require('node:test')

process.env.SKEP_QUEUES = fs.mkdtempSync('/tmp/skep-queues-')
after(() => fs.rmSync(process.env.SKEP_QUEUES, { recursive: true }))

const ROOT = path.join(__dirname, '..', '..', '..', '..')
const PAGES = path.join(ROOT, 'docs', 'state')
const AsyncFunction = (async () => {}).constructor
const skep = name => {
  assert.equal(name, 'skep')
  return require('../../index.cjs')
}

const files = [path.join(ROOT, 'npm', 'skep', 'README.md'), ...fs.readdirSync(PAGES).map(name => path.join(PAGES, name))]
for (const file of files) {
  const name = path.relative(ROOT, file)
  const blocks = [...fs.readFileSync(file, 'utf8').matchAll(/^```js\n(.*?)^```/gms)]
  test(`${name} has examples`, () => assert.ok(blocks.length > 0 || name.endsWith('state/README.md')))
  blocks.forEach(([, code], i) => {
    // Names are shared: a page must not see what another has left.
    const own = code.replaceAll(/\b((?:counter|map|once|once\.forget|locks\.request|channel|queue|leaderboard|limiter)\(')/g, `$1${name}:`)
    test(`${name}, block ${i + 1}`, () => new AsyncFunction('require', 'assert', own)(skep, assert))
  })
}
