// The app of the throughput runs: as little as an HTTP server can do.
'use strict';
require('node:http').createServer((request, response) => response.end('hello world\n')).listen(Number(process.env.PORT));
