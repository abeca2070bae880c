/**
 * Sockets opened on another thread and dropped without a word, as many as the command line says (100,000 by default); the
 * memory must balance. No part of `npm test`: `node dist/test/netstack/many.js [COUNT]`.
 */
import { once } from 'node:events';
import { type Transferable, Worker } from 'node:worker_threads';
import { pipedPair } from '../../src/netstack/index.ts';
import type { RoleWork } from './role-worker.ts';
import { OTHER, OWN } from './suite.ts';

const count = Number(process.argv[2] ?? 100_000);
const [own, other] = pipedPair({ addresses: [`${OWN}/24`] }, { addresses: [`${OTHER}/24`] });
own.run();
other.run();
const { channel, transferList } = own.commandChannel().share();
const worker = new Worker(new URL('./role-worker.js', import.meta.url), {
  workerData: { role: 'drop', own: channel, count } satisfies RoleWork,
  transferList: transferList as unknown as Transferable[],
});
const start = performance.now();
await once(worker, 'message');
const left = own.netstack.socketCount;
worker.postMessage('end');
await once(worker, 'exit');
await new Promise((resolve) => setTimeout(resolve, 300));
const open = own.netstack.socketCount;
own.close();
other.close();
const held = own.netstack.memory.usedBytes;
const seconds = ((performance.now() - start) / 1000).toFixed(1);
console.log(
  `${count} sockets in ${seconds} s: ${left} were left to the end of the thread, ${open} after it, ${held} bytes held`,
);
process.exit(open === 0 && held === 0 ? 0 : 1);
