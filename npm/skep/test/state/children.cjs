'use strict'
// A worker that starts programs, which inherit its environment and use the state too.

const { fork } = require('node:child_process')

const { locks } = require('../../index.cjs')
const { theHub } = require('../../lib/hub.cjs')

let child
const commands = {
  owner: () => theHub().client.owner(),
  hold: () => new Promise(resolve => { locks.request('held', () => new Promise(() => resolve('held'))) }),
  take: () => locks.request('held', () => 'taken'),
  child: () => new Promise(resolve => {
    child = fork(__filename, { env: { ...process.env, FIRST: '' } })
    child.once('message', resolve)
    child.send('owner')
  }),
  childHolds: () => new Promise(resolve => {
    child.once('message', resolve)
    child.send('hold')
  }),
  killChild: () => new Promise(resolve => {
    child.once('exit', () => resolve('killed'))
    child.kill('SIGKILL')
  })
}
process.on('disconnect', () => process.exit())
process.on('message', async command => process.send(await commands[command]()))
if (process.env.FIRST) process.send('ready')
