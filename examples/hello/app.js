// A plain Node HTTP server. It knows nothing of skep: `node app.js` runs it, `skep start app.js -i max` runs it on
// every core.
'use strict';

const http = require('node:http');

const port = Number(process.env.PORT ?? 3000);

const server = http.createServer((request, response) => {
  const answer = { hello: 'world', pid: process.pid, instance: process.env.NODE_APP_INSTANCE ?? null };
  response.writeHead(200, { 'content-type': 'application/json' });
  response.end(`${JSON.stringify(answer)}\n`);
});

server.listen(port, () => {
  console.log(`listening on port ${server.address().port}`);
});
