'use strict'
// A program alone that pushes to a durable queue, or works on it, and tells its parent what it did.

const { queue } = require('../../index.cjs')

const mail = queue('mail', { durable: true, retries: 5 })
const [what, count] = process.argv.slice(2)

async function push () {
  const ids = await Promise.all(Array.from({ length: Number(count) }, (_, i) => mail.push(i)))
  process.send({ ids, data: ids.map((_, i) => i) })
}

/** Takes all ten at once, settles those below `count`, and tells when that is on the disk. */
async function work () {
  mail.process(job => job.data < Number(count) ? undefined : new Promise(() => {}), { concurrency: 10, visibility: '1h' })
  for (let settled = false; !settled;) {
    const { ready, active } = await mail.counts()
    settled = ready === 0 && active === 10 - Number(count)
  }
  process.send({})
}

/** Takes what there is until there is no more. */
async function drain () {
  const seen = []
  const consumer = mail.process(async job => { seen.push([job.data, job.attempt]) }, { concurrency: 4 })
  for (let left = 1; left > 0;) {
    const { ready, delayed, active } = await mail.counts()
    left = ready + delayed + active
  }
  await consumer.stop()
  process.send({ seen })
}

({ push, work, drain })[what]()
