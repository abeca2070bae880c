/** Threads in one role each, and waiting for what they do. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type Transferable, Worker } from 'node:worker_threads';
import type { SharedChannel } from '../../src/netstack/index.ts';
import type { RoleWork } from './role-worker.ts';

const WORKER = new URL('./role-worker.js', import.meta.url);

export function start(role: RoleWork['role'], channels: readonly SharedChannel[], count = 0): Worker {
  const [own, other] = channels;
  const workerData: RoleWork = { role, count, own: own?.channel, other: other?.channel };
  const transferList = channels.flatMap((shared) => shared.transferList) as unknown as Transferable[];
  const worker = new Worker(WORKER, { workerData, transferList });
  ends.set(worker, once(worker, 'exit'));
  return worker;
}

/** The end of each worker: a last message and the end may come in one turn, too soon for who listens one by one. */
const ends = new WeakMap<Worker, Promise<unknown>>();
export const ended = (worker: Worker): Promise<unknown> => ends.get(worker)!;

export const nextMessage = async (worker: Worker): Promise<unknown> => (await once(worker, 'message'))[0];

/** Asks until it is so; fails after five seconds. */
export async function until(holds: () => boolean, what: string): Promise<void> {
  const end = performance.now() + 5000;
  while (!holds()) {
    if (performance.now() > end) assert.fail(`still not so: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
