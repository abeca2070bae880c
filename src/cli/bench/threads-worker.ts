/** The threads of `threads.ts`: stacks that block on their doorbell, applications that block on their sockets. @module */
import { parentPort, type Transferable, workerData } from 'node:worker_threads';
import type { Memory, TcpSocket } from '../../core.ts';
import {
  Channel,
  pipedPair,
  tcpConnectBlocking,
  tcpListenBlocking,
  udpBindBlocking,
  udpConnectBlocking,
} from '../../netstack/index.ts';

const CHUNK_BYTES = 1 << 16;
const MESSAGE_BYTES = 64;
const WARM_MS = 200;
const SERVER = '10.0.0.2';
const SINK_PORT = 9;
const SOURCE_PORT = 19;
const ECHO_PORT = 7;
const BLOCKED_PORTS = 1000;

export interface Work {
  readonly role: 'stacks' | 'send' | 'receive' | 'ask' | 'echo' | 'blocked' | 'ping' | 'pong';
  readonly ms: number;
  readonly channel?: unknown;
  readonly words?: SharedArrayBuffer;
}

/**
 * Takes everything, or gives without end: what stands on the other side of one application. It copies within the stack's
 * memory, by the kernel: arrays of its own would be copied at a third of the speed, for V8 moves shared memory in words.
 */
class Peer {
  readonly #socket: TcpSocket;
  readonly #block: number;
  readonly #memory: Memory;
  readonly #isSource: boolean;

  constructor(socket: TcpSocket, memory: Memory, isSource: boolean) {
    this.#socket = socket;
    this.#memory = memory;
    this.#block = memory.alloc(CHUNK_BYTES);
    this.#isSource = isSource;
    socket.owner = this;
    this.notify();
  }

  notify(): void {
    const socket = this.#socket;
    while (socket.canRecv()) socket.recvAt(this.#block, CHUNK_BYTES);
    if (socket.isClosed() || !socket.mayRecv()) this.#end();
    else if (this.#isSource) while (socket.maySend() && socket.sendAt(this.#block, CHUNK_BYTES) > 0);
  }

  #end(): void {
    this.#socket.owner = null;
    this.#socket.release();
    this.#memory.free(this.#block);
  }
}

async function stacks(): Promise<void> {
  const [client, server] = pipedPair({ addresses: ['10.0.0.1/24'] }, { addresses: [`${SERVER}/24`] });
  for (const port of [SINK_PORT, SOURCE_PORT]) {
    const listener = server.netstack.stack.tcpSocket();
    listener.listen({ port });
    const notify = (): void => {
      for (let socket = listener.accept(); socket !== null; socket = listener.accept()) {
        new Peer(socket, server.netstack.memory, port === SOURCE_PORT);
      }
    };
    listener.owner = { notify };
  }
  parentPort!.on('message', (message) => {
    if (message === 'end') {
      client.stop();
      server.stop();
      client.close();
      server.close();
      parentPort!.close();
      return;
    }
    const of = message === 'client' ? client : server;
    const { channel, transferList } = of.commandChannel().share();
    parentPort!.postMessage(channel, transferList as unknown as Transferable[]);
  });
  await client.runBlocking(server);
}

/** Gbit/s of `move`, which gives bytes; the thread is new, so its code is given a moment to be compiled. */
function rateOf(ms: number, move: () => number): number {
  for (const until = performance.now() + WARM_MS; performance.now() < until; ) move();
  const start = performance.now();
  let total = 0;
  while (performance.now() - start < ms) total += move();
  return (total * 8) / ((performance.now() - start) * 1e6);
}

/** Gbit/s of bytes sent. */
function send(channel: Channel, ms: number): number {
  const stream = tcpConnectBlocking(channel, { host: SERVER, port: SINK_PORT });
  const chunk = new Uint8Array(CHUNK_BYTES);
  const gbit = rateOf(ms, () => {
    stream.writeBlocking(chunk);
    return chunk.length;
  });
  stream.closeBlocking();
  return gbit;
}

/** Gbit/s of bytes received. */
function receive(channel: Channel, ms: number): number {
  const stream = tcpConnectBlocking(channel, { host: SERVER, port: SOURCE_PORT });
  const buffer = new Uint8Array(CHUNK_BYTES);
  const gbit = rateOf(ms, () => stream.readIntoBlocking(buffer));
  stream.abort();
  return gbit;
}

function echo(channel: Channel): number {
  const listener = tcpListenBlocking(channel, { port: ECHO_PORT });
  parentPort!.postMessage('listens');
  const stream = listener.acceptBlocking();
  const buffer = new Uint8Array(MESSAGE_BYTES);
  let count = 0;
  for (let n = stream.readIntoBlocking(buffer); n > 0; n = stream.readIntoBlocking(buffer), count++) {
    stream.writeBlocking(buffer.subarray(0, n));
  }
  stream.closeBlocking();
  void listener.close();
  return count;
}

/** Echoes a second. */
function ask(channel: Channel, ms: number): number {
  const stream = tcpConnectBlocking(channel, { host: SERVER, port: ECHO_PORT, noDelay: true });
  const message = new Uint8Array(MESSAGE_BYTES);
  const measure = (length: number): number => {
    const start = performance.now();
    let count = 0;
    for (; (count & 63) !== 0 || performance.now() - start < length; count++) {
      stream.writeBlocking(message);
      stream.readIntoBlocking(message);
    }
    return (count * 1000) / (performance.now() - start);
  };
  measure(WARM_MS);
  const rate = measure(ms);
  stream.closeBlocking();
  return rate;
}

/** us of a datagram to oneself, without and with a thousand sockets on which somebody waits. */
function blocked(channel: Channel, ms: number): [number, number] {
  const socket = udpBindBlocking(channel, { port: 5000 });
  const to = udpConnectBlocking(channel, { host: SERVER, port: 5000 });
  const message = new Uint8Array(MESSAGE_BYTES);
  const measure = (): number => {
    const start = performance.now();
    let count = 0;
    for (; (count & 15) !== 0 || performance.now() - start < ms; count++) {
      to.sendBlocking(message);
      socket.receiveBlocking();
    }
    return ((performance.now() - start) * 1000) / count;
  };
  measure();
  const alone = measure();
  const waiting = Array.from({ length: BLOCKED_PORTS }, (_, i) => {
    const idle = udpBindBlocking(channel, { port: 10_000 + i });
    idle.receive().catch(() => {});
    return idle;
  });
  const beside = measure();
  for (const idle of waiting) void idle.close();
  return [alone, beside];
}

/** A bare ping-pong on two words, for scale. */
function ping(words: Int32Array, ms: number): number {
  const start = performance.now();
  let count = 0;
  for (; (count & 63) !== 0 || performance.now() - start < ms; count++) {
    Atomics.store(words, 0, count + 1);
    Atomics.notify(words, 0);
    Atomics.wait(words, 1, count);
  }
  Atomics.store(words, 0, -1);
  Atomics.notify(words, 0);
  return (count * 1000) / (performance.now() - start);
}

function pong(words: Int32Array): void {
  for (let seen = 0; ; ) {
    Atomics.wait(words, 0, seen);
    seen = Atomics.load(words, 0);
    if (seen === -1) return;
    Atomics.store(words, 1, seen);
    Atomics.notify(words, 1);
  }
}

function run({ role, ms, words, channel: posted }: Work): unknown {
  if (role === 'ping') return ping(new Int32Array(words!), ms);
  if (role === 'pong') return pong(new Int32Array(words!));
  const channel = Channel.from(posted);
  const result =
    role === 'send' ? send(channel, ms) : role === 'receive' ? receive(channel, ms) : other(role, channel, ms);
  channel.close();
  return result;
}

const other = (role: string, channel: Channel, ms: number): unknown =>
  role === 'ask' ? ask(channel, ms) : role === 'echo' ? echo(channel) : blocked(channel, ms);

const work = workerData as Work;
if (work.role === 'stacks') void stacks();
else parentPort!.postMessage({ result: run(work) });
