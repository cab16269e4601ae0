'use strict'
// Finds the native add-on of this platform.

const path = require('node:path')

function libc () {
  if (process.platform !== 'linux') return 'none'
  // musl's programs say so by having no glibc version.
  const report = process.report
  if (!report) return 'gnu'
  report.excludeNetwork = true
  return report.getReport().header.glibcVersionRuntime ? 'gnu' : 'musl'
}

let name
function fileName () {
  name ??= `skep.${process.platform}-${process.arch}-${libc()}.node`
  return name
}

/** The add-on; throws an error that says what to do when there is none for this platform. */
function load () {
  const file = process.env.SKEP_ADDON ?? path.join(__dirname, '..', 'native', fileName())
  try {
    return require(file)
  } catch (cause) {
    const error = new Error(
      `skep: the native add-on cannot be loaded from ${file} (${cause.message}); ` +
      'reinstall the package on this platform, or set SKEP_ADDON to the file', { cause })
    error.code = 'ERR_SKEP_ADDON'
    throw error
  }
}

module.exports = { fileName, load }
