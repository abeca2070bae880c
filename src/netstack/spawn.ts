/** A stack on a thread of its own, made and ended from here. @module */
import { NetError } from '../errors.ts';
import { asyncDispose } from '../sockets/dispose.ts';
import { Channel, type ChannelData, type HasChannel } from './channel.ts';
import { type ErrorResponse, errorOf } from './commands.ts';
import type { NetstackConfig } from './netstack-config.ts';
import { isNode, nodeThreads } from './node-threads.ts';
import { PacketQueue, Pipe } from './pipe.ts';
import type { SpawnMessage } from './spawn-worker.ts';

/** Packets that may wait in each direction on this side; beyond, those of the stack are lost. */
const PACKETS_MAX = 4096;

/** A configuration that can be posted: no functions, no memory of one's own. */
export type SpawnConfig = Omit<NetstackConfig, 'random' | 'beside' | 'memory' | 'tcp'> & { readonly memory?: number };

interface Thread {
  post(message: SpawnMessage, transfer: MessagePort[]): void;
  terminate(): Promise<void>;
  /** Rejects when the thread fails or ends. */
  readonly failed: Promise<never>;
}

/** A stack on its own thread: a channel for here, others for other workers, and its packets. */
export class SpawnedNetstack implements HasChannel {
  /** The far end of its wire: what the stack sends comes out of `rx`. */
  readonly pipe: Pipe;
  readonly #thread: Thread;
  readonly #control: MessagePort;
  readonly #channel: Channel;
  /** Questions go one after the other: answers do not say what they are for. */
  #asked: Promise<unknown> = Promise.resolve();

  /** Made by {@link spawn}. */
  constructor(thread: Thread, control: MessagePort, packets: MessagePort, channel: Channel) {
    this.#thread = thread;
    this.#control = control;
    this.#channel = channel;
    const [tx, rx] = [new PacketQueue(PACKETS_MAX), new PacketQueue(PACKETS_MAX)];
    this.pipe = new Pipe(tx, rx);
    packets.onmessage = ({ data }) => void rx.trySend(data);
    tx.onPacket = () => {
      for (let packet = tx.tryReceive(); packet !== null; packet = tx.tryReceive()) packets.postMessage(packet);
    };
  }

  commandChannel(): Channel {
    return this.#channel;
  }

  /**
   * A channel for a worker, with a port on which each side learns of the other's end: see {@link Channel.share}.
   * @throws NetError EMFILE, ENETDOWN
   */
  async share(): Promise<{ readonly channel: ChannelData; readonly transferList: MessagePort[] }> {
    const ask = (): Promise<ChannelData> => askFor(this.#control, this.#thread);
    const answer = this.#asked.then(ask, ask);
    this.#asked = answer;
    const channel = await answer;
    return { channel, transferList: channel.port === null ? [] : [channel.port] };
  }

  /** Ends the stack and its thread. */
  async close(): Promise<void> {
    this.#channel.close();
    this.#control.postMessage('close');
    this.pipe.close();
    await this.#thread.terminate();
  }

  [asyncDispose](): Promise<void> {
    return this.close();
  }
}

const nextMessage = (port: MessagePort): Promise<unknown> =>
  new Promise((resolve) => {
    port.onmessage = ({ data }) => resolve(data);
  });

async function askFor(control: MessagePort, { failed }: Thread): Promise<ChannelData> {
  const answer = nextMessage(control);
  control.postMessage('share');
  const data = (await Promise.race([answer, failed])) as ChannelData | { readonly error: ErrorResponse };
  if ('error' in data) throw errorOf(data.error);
  return data;
}

/**
 * Starts a stack on a thread of its own.
 * @throws NetError EINVAL for a configuration that is none; ENETDOWN when the thread cannot be started
 * @example
 * await using stack = await spawn({ addresses: ['10.0.0.1/24'] })
 * const socket = await udpBind(stack, { port: 53 })
 */
export async function spawn(config: SpawnConfig = {}): Promise<SpawnedNetstack> {
  const thread = await startThread();
  const [control, packets] = [new MessageChannel(), new MessageChannel()];
  const ready = nextMessage(control.port1);
  thread.post({ config, packets: packets.port2, control: control.port2 }, [packets.port2, control.port2]);
  const answer = (await Promise.race([ready, thread.failed])) as 'ready' | { readonly error: string };
  if (answer !== 'ready') {
    await thread.terminate();
    throw new NetError('EINVAL', 'spawn', { detail: answer.error });
  }
  const channel = Channel.from(await askFor(control.port1, thread));
  const stack = new SpawnedNetstack(thread, control.port1, packets.port1, channel);
  for (const port of [control.port1, packets.port1]) (port as { unref?: () => void }).unref?.();
  return stack;
}

const threadGone = (detail: string): NetError => new NetError('ENETDOWN', 'spawn', { detail });

/** Bundlers look for a worker written just like this, and take its file along. */
async function startThread(): Promise<Thread> {
  const { promise, reject } = failure();
  if (!isNode) {
    const worker = new Worker(new URL('./spawn-worker.js', import.meta.url), { type: 'module' });
    worker.onerror = ({ message }) => reject(threadGone(message ?? 'the worker did not load'));
    return {
      post: (message, transfer) => worker.postMessage(message, transfer),
      terminate: async () => {
        worker.terminate();
        reject(threadGone('the thread was ended'));
      },
      failed: promise,
    };
  }
  const { Worker: NodeWorker } = await nodeThreads();
  const worker = new NodeWorker(new URL('./spawn-worker.js', import.meta.url));
  worker.on('error', (error) => reject(threadGone((error as Error).message)));
  worker.on('exit', () => reject(threadGone('the thread has ended')));
  worker.unref();
  return {
    post: (message, transfer) => worker.postMessage(message, transfer as never),
    terminate: async () => void (await worker.terminate()),
    failed: promise,
  };
}

/** A promise that is only ever rejected, perhaps with nobody looking. */
function failure(): { promise: Promise<never>; reject: (error: Error) => void } {
  let reject = (_: Error): void => {};
  const promise = new Promise<never>((_, no) => {
    reject = no;
  });
  promise.catch(() => {});
  return { promise, reject };
}
