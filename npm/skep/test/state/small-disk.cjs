'use strict'
// Runs a script in a mount namespace in which /mnt is a file system of 8 MB.

const { spawnSync } = require('node:child_process')

const MOUNT = 'mount -t tmpfs -o size=8m,mode=700 tmpfs /mnt && exec "$@"'

function inside (...command) {
  const args = ['--user', '--map-root-user', '--mount', 'sh', '-c', MOUNT, 'sh', ...command]
  return spawnSync('unshare', args, { encoding: 'utf8' })
}

/** What `node -e script` said and how it ended. */
function onSmallDisk (script) {
  const { status, stderr, error } = inside('true')
  if (status !== 0) throw new Error(`the test needs user namespaces (kernel.unprivileged_userns_clone): ${error ?? stderr}`)
  return inside(process.execPath, '-e', script)
}

module.exports = { onSmallDisk }
