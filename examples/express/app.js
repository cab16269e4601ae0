// An Express shop window with a slow page and a download: try `skep reload shop` while somebody downloads.
//
//   npm install
//   skep start app.js -i max --name shop
'use strict';

const express = require('express');

const app = express();
const port = Number(process.env.PORT ?? 3000);

app.get('/', (request, response) => {
  response.json({ shop: 'open', pid: process.pid, instance: process.env.NODE_APP_INSTANCE ?? null });
});

app.get('/slow', (request, response) => {
  setTimeout(() => response.json({ slow: true, pid: process.pid }), 1000);
});

app.get('/download', (request, response) => {
  response.attachment('catalogue.bin').send(Buffer.alloc(20 * 1000 * 1000, 'skep '));
});

app.listen(port, () => console.log(`the shop is open on port ${port}`));
