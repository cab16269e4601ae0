'use strict'
// One leaderboard for all workers: /score?member=ann&by=5, /top, /rank?member=ann.

const http = require('node:http')
const { leaderboard } = require('skep')

const board = leaderboard('score')

const server = http.createServer(async (request, response) => {
  const { pathname, searchParams } = new URL(request.url, 'http://localhost')
  const member = searchParams.get('member')
  const answers = {
    '/score': () => board.add(member, Number(searchParams.get('by') ?? 1)),
    '/top': () => board.top(10),
    '/rank': () => board.rank(member),
    '/size': () => board.size()
  }
  const answer = answers[pathname]
  if (!answer) response.statusCode = 404
  response.end(answer ? JSON.stringify(await answer() ?? null) : '')
})
server.listen(process.env.PORT ?? 3000, () => process.send?.({ port: server.address().port }))
