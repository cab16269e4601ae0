'use strict'
// What `npm pack` makes installs into a fresh folder, without a network, and runs there on every runtime that is at hand.

const assert = require('node:assert/strict')
const { execFileSync } = require('node:child_process')
const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')
const { test } = require('node:test')

const { Supervisor } = require('../../supervisor.cjs')

const PACKAGE = path.join(__dirname, '..', '..')
const TOOLS = process.env.SKEP_TOOLS ?? path.join(PACKAGE, '..', '..', 'target', 'skep-tools')

const COMMONJS = `
const { counter, locks, map } = require('skep')
require('skep/express-session'); require('skep/rate-limit')
async function main () {
  await map('runs').update('all', (runs = 0) => runs + 1)
  await locks.request('one', lock => { if (!(lock.token > 0)) throw new Error('no token') })
  console.log(counter('runs').add(1))
}
main()`
const MODULE = `
import skep, { counter, map, once } from 'skep'
import { Supervisor } from 'skep/supervisor'
if (skep.counter !== counter || typeof Supervisor !== 'function') throw new Error('two packages')
if (await once('x', () => 5) !== 5) throw new Error('once')
await map('runs').update('all', (runs = 0) => runs + 1)
console.log(counter('runs').add(1))`

function runtimes () {
  const found = [[process.execPath]]
  for (const major of [18, 20, 22, 24, 26]) found.push([path.join(TOOLS, 'node', String(major), 'bin', 'node')])
  found.push([path.join(TOOLS, 'bin', 'bun')], [path.join(TOOLS, 'bin', 'deno'), 'run', '--allow-all'])
  return found.filter(([file]) => fs.existsSync(file))
}

// It starts every runtime by itself: once is enough.
const skip = process.version.startsWith('v18.') && 'Node 18 is among those that the other run starts'

test('the packed package installs and runs in a fresh folder', { timeout: 300_000, skip }, t => {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'skep-pack-'))
  t.after(() => fs.rmSync(dir, { recursive: true, force: true }))
  const npm = (...args) => execFileSync('npm', [...args, '--loglevel=error', '--no-audit', '--no-fund', '--offline'], {
    cwd: dir, encoding: 'utf8', env: { ...process.env, npm_config_cache: path.join(dir, 'cache'), NODE_PATH: '' }
  })
  const [{ filename, files }] = JSON.parse(npm('pack', PACKAGE, '--json', '--pack-destination', dir))
  const names = files.map(file => file.path)
  assert.ok(names.some(name => /^native\/skep\..*\.node$/.test(name)), 'the add-on is in it')
  assert.ok(!names.some(name => /test|node_modules/.test(name)), 'and nothing that only tests need')
  fs.writeFileSync(path.join(dir, 'package.json'), '{ "name": "fresh", "private": true }')
  npm('install', path.join(dir, filename))
  fs.writeFileSync(path.join(dir, 'app.cjs'), COMMONJS)
  fs.writeFileSync(path.join(dir, 'app.mjs'), MODULE)

  const supervisor = new Supervisor(path.join(dir, 'store'))
  t.after(() => supervisor.close())
  let runs = 0
  for (const [file, ...args] of runtimes()) {
    for (const app of ['app.cjs', 'app.mjs']) {
      runs++
      const env = { ...process.env, NODE_PATH: '', SKEP_ADDON: undefined, ...supervisor.env(runs) }
      delete env.SKEP_ADDON
      const said = execFileSync(file, [...args, app], { cwd: dir, encoding: 'utf8', env })
      assert.equal(said.trim(), String(runs), `${file} ${app}`)
      supervisor.workerEnded(runs)
      // And alone, without skep.
      const alone = { ...env }
      delete alone.SKEP_STATE
      assert.equal(execFileSync(file, [...args, app], { cwd: dir, encoding: 'utf8', env: alone }).trim(), '1', `${file} ${app}`)
    }
  }
  assert.ok(runs >= 2)
})
