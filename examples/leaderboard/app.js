'use strict'
// One leaderboard for all workers: /score?member=ann&by=5, /top, /rank?member=ann, /fill?from=0&to=25000.

const http = require('node:http')
const { leaderboard, worker } = require('skep')

const board = leaderboard('score')

/** Members m0, m1, …, each with its number as its score. */
async function fill (from, to) {
  for (let i = from; i < to; i++) await board.add(`m${i}`, i)
  return to - from
}

const server = http.createServer(async (request, response) => {
  const { pathname, searchParams } = new URL(request.url, 'http://localhost')
  const member = searchParams.get('member')
  const answers = {
    '/score': () => board.add(member, Number(searchParams.get('by') ?? 1)),
    '/top': () => board.top(10),
    '/rank': () => board.rank(member),
    '/fill': () => fill(Number(searchParams.get('from')), Number(searchParams.get('to'))),
    '/size': () => board.size()
  }
  response.setHeader('worker', worker.id)
  const answer = answers[pathname]
  if (!answer) response.statusCode = 404
  response.end(answer ? JSON.stringify(await answer() ?? null) : '')
})
server.listen(process.env.PORT ?? 3000, () => process.send?.({ port: server.address().port }))
