/** Threads that tests start, each in one role. */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { parentPort, type Transferable, workerData } from 'node:worker_threads';
import { NetError } from '../../src/errors.ts';
import {
  Channel,
  ChannelPosix,
  pipedPair,
  tcpConnectBlocking,
  tcpListenBlocking,
  udpBind,
  udpBindBlocking,
} from '../../src/netstack/index.ts';
import { AF_INET, SHUT_WR, SOCK_STREAM } from '../../src/posix/index.ts';
import { bytesOf, text } from '../hosts.ts';
import { OTHER, OWN } from './suite.ts';

export interface RoleWork {
  readonly role: 'block' | 'stacks' | 'drop' | 'fill' | 'posix';
  readonly own?: unknown;
  readonly other?: unknown;
  readonly count?: number;
}

const work = workerData as RoleWork;
const say = (message: unknown): void => parentPort!.postMessage(message);
const codeOf = (error: unknown): string => (error instanceof NetError ? error.code : String(error));

/** Opens one of each, and blocks until something ends it. */
function block(own: Channel): void {
  tcpListenBlocking(own, { port: 90 });
  udpBindBlocking(own, { port: 90 });
  const stream = tcpConnectBlocking(own, { host: OTHER, port: 80 });
  stream.writeBlocking(bytesOf('hello'));
  say('blocked');
  const start = performance.now();
  try {
    stream.readBlocking();
    say('read');
  } catch (error) {
    say({ code: codeOf(error), ms: performance.now() - start });
  }
}

/** Two stacks that block; the parent gets their channels. */
async function stacks(): Promise<void> {
  const [own, other] = pipedPair({ addresses: [`${OWN}/24`] }, { addresses: [`${OTHER}/24`] });
  const listener = other.netstack.stack.tcpSocket();
  listener.listen({ port: 80 });
  const { channel, transferList } = own.commandChannel().share();
  parentPort!.postMessage(channel, transferList as unknown as Transferable[]);
  await own.runBlocking(other);
}

/** Opens UDP sockets and lets go of them without a word; the collector is all that closes them. */
async function drop(own: Channel, count: number): Promise<void> {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  for (let opened = 0; opened < count; ) {
    for (let i = 0; i < 200 && opened < count; i++, opened++) await udpBind(own);
    collect();
    await new Promise((resolve) => setImmediate(resolve));
  }
  for (let i = 0; i < 10; i++) {
    collect();
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  say('dropped');
  // It stays, so that only the collector can have closed them.
  parentPort!.once('message', () => own.close());
}

/** Posts more than the channel takes. */
function fill(own: Channel): void {
  let taken = 0;
  try {
    for (; taken < 1000; taken++) own.requestNonblocking({ kind: 'get-addresses' });
  } catch (error) {
    say({ taken, code: codeOf(error) });
  }
  try {
    own.requestBlocking({ kind: 'get-addresses' }, { timeoutMs: 20_000 });
    say('through');
  } catch (error) {
    say(codeOf(error));
  }
  own.close();
}

/** An exchange with descriptors, every call of which blocks. */
function posix(own: Channel, other: Channel): void {
  const [client, server] = [new ChannelPosix(own), new ChannelPosix(other)];
  const address = { family: AF_INET, address: OTHER, port: 7 };
  const listener = server.socket(AF_INET, SOCK_STREAM);
  server.bind(listener, address);
  server.listen(listener, 5);
  const fd = client.socket(AF_INET, SOCK_STREAM);
  client.connect(fd, address);
  const { fd: accepted } = server.accept(listener);
  client.write(fd, bytesOf('descriptors'));
  client.shutdown(fd, SHUT_WR);
  const buffer = new Uint8Array(64);
  const count = server.read(accepted, buffer);
  const end = server.read(accepted, buffer.subarray(32));
  const codes: string[] = [];
  for (const call of [
    () => client.read(99, buffer),
    () => client.connect(client.socket(AF_INET, SOCK_STREAM), { ...address, port: 8 }),
    () => client.write(client.socket(AF_INET, SOCK_STREAM), buffer),
    () => {
      const second = server.socket(AF_INET, SOCK_STREAM);
      server.bind(second, address);
    },
  ]) {
    try {
      call();
      codes.push('none');
    } catch (error) {
      codes.push(codeOf(error));
    }
  }
  const local = client.getsockname(fd) as { port: number };
  for (const [of, n] of [
    [client, fd],
    [server, accepted],
    [server, listener],
  ] as const) {
    of.close(n);
  }
  say({ text: text(buffer.subarray(0, count)), end, codes, port: local.port });
  own.close();
  other.close();
}

if (work.role === 'stacks') {
  void stacks();
} else {
  const own = Channel.from(work.own);
  if (work.role === 'block') block(own);
  else if (work.role === 'drop') void drop(own, work.count!);
  else if (work.role === 'fill') fill(own);
  else posix(own, Channel.from(work.other));
}
