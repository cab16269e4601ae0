// Says which process answers; /block?300 keeps its event loop busy for so many milliseconds.
'use strict';
require('node:http').createServer((request, response) => {
  const [path, ms] = request.url.split('?');
  if (path === '/block') {
    const end = Date.now() + Number(ms);
    while (Date.now() < end);
  }
  response.end(String(process.pid));
}).listen(Number(process.env.PORT));
