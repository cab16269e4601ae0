'use strict'
// A worker that answers each number with the next one, and begins a conversation of so many numbers when it is told.

const { channel } = require('../../index.cjs')

const talk = channel('talk')
let most = 0
talk.onmessage = ({ data }) => {
  if (most > 0 && data >= most) {
    process.send(most)
    most = 0
  } else {
    talk.postMessage(data + (most > 0 ? 0 : 1))
  }
}
process.on('message', messages => {
  most = messages
  talk.postMessage(0)
})
process.send('ready')
