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
  const file = process.env.SKEP_ADDON || path.join(__dirname, '..', 'native', fileName())
  try {
    return require(file)
  } catch (cause) {
    const platform = `${process.platform}-${process.arch}`
    const remedy = libc() === 'musl'
      ? `there is none for musl (Alpine) on ${platform}: use an image with glibc, such as node:slim, or give the state to a ` +
        'Redis (SKEP_REDIS=redis://host:6379)'
      : `reinstall the package on this platform (${platform}), or set SKEP_ADDON to the file`
    const error = new Error(`skep: the native add-on cannot be loaded from ${file} (${cause.message}); ${remedy}`, { cause })
    error.code = 'ERR_SKEP_ADDON'
    throw error
  }
}

module.exports = { fileName, load }
