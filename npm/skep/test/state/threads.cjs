'use strict'
// The worker of threads.test.cjs: itself, and in threads.

const { Worker, isMainThread, parentPort, workerData } = require('node:worker_threads')

const { channel, counter, locks } = require('../../index.cjs')

async function count () {
  const [times, inside, most] = [counter('times'), counter('inside'), counter('most')]
  for (let i = 0; i < 1000; i++) times.add(1)
  for (let i = 0; i < 20; i++) {
    await locks.request('one', async () => {
      most.set(Math.max(most.value, inside.add(1)))
      await new Promise(resolve => setImmediate(resolve))
      inside.add(-1)
    })
  }
}

const thread = task => new Promise((resolve, reject) => {
  const worker = new Worker(__filename, { workerData: task })
  worker.on('message', resolve)
  worker.on('error', reject)
})

const tasks = {
  async run () {
    let heard = 0
    const room = channel('room')
    const all = new Promise(resolve => { room.onmessage = () => { if (++heard === 4) resolve() } })
    await Promise.all([1, 2, 3, 4].map(() => thread('count')))
    await all
    room.close()
    return { counted: counter('times').value, most: counter('most').value, heard }
  },
  async hold () {
    await new Promise(resolve => locks.request('main', () => { resolve(); return new Promise(() => {}) }))
    await thread('hold')
    return 'held'
  },
  async take () {
    await Promise.all([locks.request('main', () => {}), locks.request('thread', () => {})])
    return 'taken'
  }
}

if (isMainThread) {
  process.on('message', async task => process.send(await tasks[task]()))
  process.send('ready')
} else if (workerData === 'count') {
  count().then(() => {
    channel('room').postMessage('done')
    setImmediate(() => parentPort.postMessage('done'))
  })
} else {
  locks.request('thread', () => { parentPort.postMessage('held'); return new Promise(() => {}) })
}
