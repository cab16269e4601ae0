'use strict'
// Builds the native add-on with cargo and puts it where the package looks for it: native/skep.<platform>-<arch>-<libc>.node.
// `--check` only makes sure that one is there (before `npm pack`).

const { execFileSync } = require('node:child_process')
const fs = require('node:fs')
const path = require('node:path')

const { fileName } = require('./lib/native.cjs')

const target = path.join(__dirname, 'native', fileName())
if (process.argv.includes('--check')) {
  if (!fs.existsSync(target)) {
    console.error(`${target} is missing: run "npm run build" first`)
    process.exit(1)
  }
} else {
  const root = path.join(__dirname, '..', '..')
  const out = process.env.CARGO_TARGET_DIR ?? path.join(root, 'target')
  const profile = process.env.SKEP_ADDON_PROFILE ?? 'addon'
  execFileSync('cargo', ['build', '-p', 'skep-addon', '--profile', profile], { cwd: root, stdio: 'inherit' })
  const built = path.join(out, profile === 'dev' ? 'debug' : profile, 'libskep_addon.so')
  fs.mkdirSync(path.dirname(target), { recursive: true })
  // Under a temporary name first: a running program may have the old one mapped.
  fs.copyFileSync(built, `${target}.new`)
  fs.renameSync(`${target}.new`, target)
}
