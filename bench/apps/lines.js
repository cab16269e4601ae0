// Prints COUNT lines of LENGTH bytes as fast as it is read, and stays unless END is set.
'use strict';
const [count, length] = [Number(process.env.COUNT), Number(process.env.LENGTH)];
const BATCH = 100;
const line = 'x'.repeat(length - 1) + '\n';
let left = count;
function write() {
  while (left > 0) {
    const now = Math.min(left, BATCH);
    left -= now;
    if (!process.stdout.write(line.repeat(now))) return process.stdout.once('drain', write);
  }
}
write();
if (!process.env.END) setInterval(() => {}, 1 << 30);
