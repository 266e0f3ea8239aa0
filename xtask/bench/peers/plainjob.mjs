// plainjob: jobs taken and done one after the other, which is all that its synchronous driver can do, without the worker's
// own bookkeeping around them.
//
// node plainjob.mjs DATABASE
// Says `ready`; then for each line of stdin, a number of jobs, how many of them it did a second.

import { createInterface } from 'node:readline';
import Database from 'better-sqlite3';
import { better, defineQueue } from 'plainjob';

const quiet = { error() {}, warn() {}, info() {}, debug() {} };
const queue = defineQueue({ connection: better(new Database(process.argv[2])), logger: quiet });
console.log('ready');

for await (const line of createInterface({ input: process.stdin })) {
  const number = Number(line);
  queue.addMany('task', Array.from({ length: number }, (_, at) => ({ title: `Add endpoint ${at}` })));
  const begun = process.hrtime.bigint();
  for (let done = 0; done < number; done += 1) {
    const { id } = queue.getAndMarkJobAsProcessing('task');
    queue.getJobById(id);
    queue.markJobAsDone(id);
  }
  console.log(number / (Number(process.hrtime.bigint() - begun) / 1e9));
}
queue.close();
