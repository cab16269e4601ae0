// Node's own cluster: WORKERS workers of APP, scheduled as NODE_CLUSTER_SCHED_POLICY says.
'use strict';
const cluster = require('node:cluster');
cluster.setupPrimary({ exec: process.env.APP });
for (let n = 0; n < Number(process.env.WORKERS); n++) cluster.fork();
