'use strict'
// An access token that the upstream gives to one at a time: every fetch voids the token before. All workers share the
// one that was fetched last. UPSTREAM is the address to fetch from.

const http = require('node:http')
const { once } = require('skep')

async function fetchToken ({ signal }) {
  const response = await fetch(process.env.UPSTREAM, { signal, headers: { worker: process.env.SKEP_WORKER_ID ?? '' } })
  if (!response.ok) throw new Error(`the upstream says ${response.status}`)
  return response.json()
}

const options = {
  ttl: token => token.expires_in * 1000,
  refreshBefore: process.env.REFRESH_BEFORE ?? 0,
  staleIfError: process.env.STALE === '1',
  timeout: process.env.TIMEOUT ?? '10s'
}

const server = http.createServer(async (request, response) => {
  try {
    if (request.url === '/forget') await once.forget('wx-token')
    else response.write((await once('wx-token', fetchToken, options)).access_token)
  } catch (error) {
    response.statusCode = 502
    response.write(error.message)
  }
  response.end()
})
server.listen(process.env.PORT ?? 3000, () => process.send?.({ port: server.address().port }))
