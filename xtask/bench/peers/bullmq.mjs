// BullMQ: a worker that does nothing, on jobs with priorities, while many more wait.
//
// node bullmq.mjs REDIS_URL CONCURRENCY WAITING
// Says `ready` when so many jobs wait; then for each line of stdin, a number of jobs, how many of them it did a second.

import { createInterface } from 'node:readline';
import { Queue, Worker } from 'bullmq';

const [url, concurrency, waiting] = process.argv.slice(2);
const { hostname, port } = new URL(url);
const connection = { host: hostname, port: Number(port), maxRetriesPerRequest: null };
const PRIORITIES = 5;
const CHUNK = 1000;

const queue = new Queue('bench', { connection });

async function add(number) {
  for (let from = 0; from < number; from += CHUNK) {
    const jobs = Array.from({ length: Math.min(CHUNK, number - from) }, (_, at) => ({
      name: 'task',
      data: { title: `Add endpoint ${from + at}` },
      opts: { priority: 1 + (at % PRIORITIES) },
    }));
    await queue.addBulk(jobs);
  }
}

let left = 0;
let ended = () => {};
const worker = new Worker('bench', async () => {}, { connection, concurrency: Number(concurrency), autorun: false });
worker.on('completed', () => {
  left -= 1;
  if (left === 0) {
    ended(process.hrtime.bigint());
  }
});
worker.on('error', (error) => {
  console.error(error);
  process.exit(1);
});

await add(Number(waiting));
await worker.waitUntilReady();
await worker.pause();
console.log('ready');

for await (const line of createInterface({ input: process.stdin })) {
  const number = Number(line);
  await add(number);
  left = number;
  const end = new Promise((resolve) => {
    ended = resolve;
  });
  const begun = process.hrtime.bigint();
  worker.resume();
  const taken = Number((await end) - begun) / 1e9;
  // What runs beyond the number is not counted; it ends before the next round begins.
  await worker.pause();
  console.log(number / taken);
}
process.exit(0);
