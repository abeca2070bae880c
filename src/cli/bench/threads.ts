/** Stacks on one thread, applications on others: bulk, blocking round trips, many blocked receivers. @module */
import { once } from 'node:events';
import { type Transferable, Worker } from 'node:worker_threads';
import type { ChannelData } from '../../netstack/index.ts';
import type { Work } from './threads-worker.ts';

const WORKER = new URL('./threads-worker.js', import.meta.url);

/** Two stacks on a wire, on a thread of their own. */
export class StackThread {
  readonly #worker = new Worker(WORKER, { workerData: { role: 'stacks', ms: 0 } satisfies Work });

  async #channel(of: 'client' | 'server'): Promise<ChannelData> {
    this.#worker.postMessage(of);
    const [channel] = (await once(this.#worker, 'message')) as [ChannelData];
    return channel;
  }

  /** Starts an application on a thread of its own, and gives it and its result. */
  async #start(role: Work['role'], of: 'client' | 'server', ms: number): Promise<[Worker, Promise<unknown>]> {
    const channel = await this.#channel(of);
    const worker = new Worker(WORKER, {
      workerData: { role, ms, channel } satisfies Work,
      transferList: [channel.port as unknown as Transferable],
    });
    return [worker, resultOf(worker)];
  }

  /** One connection, one way, for `ms`: Gbit/s. */
  async bulk(direction: 'send' | 'receive', ms: number): Promise<number> {
    return (await (
      await this.#start(direction, 'client', ms)
    )[1]) as number;
  }

  /** 64-byte echoes between two threads that block: how many a second. */
  async roundTrips(ms: number): Promise<number> {
    const [server, served] = await this.#start('echo', 'server', ms);
    await once(server, 'message'); // it listens
    const [, asked] = await this.#start('ask', 'client', ms);
    const rate = (await asked) as number;
    await served;
    return rate;
  }

  /** us of a datagram, alone and with a thousand blocked receivers. */
  async blockedReceivers(ms: number): Promise<readonly [number, number]> {
    return (await (
      await this.#start('blocked', 'server', ms)
    )[1]) as [number, number];
  }

  async close(): Promise<void> {
    this.#worker.postMessage('end');
    await once(this.#worker, 'exit');
  }
}

function resultOf(worker: Worker): Promise<unknown> {
  return new Promise((resolve, reject) => {
    worker.on('error', reject);
    worker.on('message', (message: { result?: unknown }) => {
      if (typeof message === 'object' && 'result' in message) resolve(message.result);
    });
  });
}

/** Two threads that wake each other, and nothing else: how many times a second. */
export async function pingPong(ms: number): Promise<number> {
  const words = new SharedArrayBuffer(8);
  const pong = new Worker(WORKER, { workerData: { role: 'pong', ms, words } satisfies Work });
  const ping = new Worker(WORKER, { workerData: { role: 'ping', ms, words } satisfies Work });
  const ended = once(pong, 'exit');
  const rate = (await resultOf(ping)) as number;
  await ended;
  return rate;
}
