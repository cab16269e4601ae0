'use strict'
// The types compile in the strictest mode, and the samples in types/ use every name that they export.
const assert = require('node:assert')
const fs = require('node:fs')
const path = require('node:path')
const test = require('node:test')
const ts = require('typescript')

const FOLDER = path.join(__dirname, 'types')
/** Type declarations, and the sample that uses them. */
const ENTRIES = {
  '../../index.d.ts': 'state.ts',
  '../../pm2/index.d.ts': 'pm2.ts',
  '../../supervisor.d.ts': 'others.ts',
  '../../adapters/express-session.d.ts': 'others.ts',
  '../../adapters/rate-limit.d.ts': 'others.ts',
  '../../adapters/socket.io.d.ts': 'others.ts',
}

const CONFIG = path.join(FOLDER, 'tsconfig.json')
const { config } = ts.readConfigFile(CONFIG, ts.sys.readFile)
// With its path, from where @types are looked for: the tests may be started anywhere.
const { fileNames, options } = ts.parseJsonConfigFileContent(config, ts.sys, FOLDER, undefined, CONFIG)
const program = ts.createProgram(fileNames, options)

test('the types compile strictly', () => {
  const host = { getCanonicalFileName: (name) => name, getCurrentDirectory: () => FOLDER, getNewLine: () => '\n' }
  const found = ts.getPreEmitDiagnostics(program)
  // What other packages' own declarations get wrong is theirs.
  const ours = found.filter(({ file }) => !file || !file.fileName.includes('/node_modules/'))
  assert.strictEqual(ts.formatDiagnostics(ours, host), '')
})

for (const [declarations, sample] of Object.entries(ENTRIES)) {
  test(`${sample} uses every export of ${path.basename(declarations)}`, () => {
    const checker = program.getTypeChecker()
    const source = program.getSourceFile(path.join(FOLDER, declarations))
    assert.ok(source, 'the sample imports it')
    const module = checker.getSymbolAtLocation(source)
    const used = new Set(fs.readFileSync(path.join(FOLDER, sample), 'utf8').match(/\w+/g))
    const names = checker.getExportsOfModule(module).map((symbol) => symbol.name)
    assert.deepStrictEqual(names.filter((name) => !used.has(name) && name !== 'prototype' && name !== 'export='), [])
  })
}

test('every declaration of the package has a sample', () => {
  const { exports } = require('../package.json')
  const declared = Object.values(exports).flatMap((entry) => {
    const text = JSON.stringify(entry)
    return [...text.matchAll(/"types":"([^"]+\.d\.ts)"/g)].map((found) => path.join('../..', found[1]))
  })
  assert.deepStrictEqual(declared.filter((file) => !(file in ENTRIES)), [])
})
