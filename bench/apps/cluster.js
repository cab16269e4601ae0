// Node's own cluster: WORKERS workers of APP, scheduled as NODE_CLUSTER_SCHED_POLICY says. A worker that dies is
// replaced; at SIGUSR2 all are, one after the other, by `disconnect`.
'use strict';
const cluster = require('node:cluster');
const wanted = Number(process.env.WORKERS);
cluster.setupPrimary({ exec: process.env.APP });
for (let n = 0; n < wanted; n++) cluster.fork();
cluster.on('exit', (worker) => worker.exitedAfterDisconnect || cluster.fork());
process.on('SIGUSR2', async () => {
  for (const old of Object.values(cluster.workers)) {
    await new Promise((resolve) => cluster.fork().once('listening', resolve));
    old.disconnect();
    await new Promise((resolve) => old.once('exit', resolve));
  }
});
