/** Threads that tests start, each in one role. */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { parentPort, type Transferable, workerData } from 'node:worker_threads';
import { NetError } from '../../src/errors.ts';
import {
  Channel,
  ChannelPosix,
  icmpIntercept,
  pipedPair,
  tcpConnect,
  tcpConnectBlocking,
  tcpIntercept,
  tcpInterceptBlocking,
  tcpListen,
  tcpListenBlocking,
  udpBind,
  udpBindBlocking,
  udpIntercept,
} from '../../src/netstack/index.ts';
import {
  AF_INET,
  POLLIN,
  SHUT_WR,
  SO_KEEPALIVE,
  SO_LINGER,
  SOCK_DGRAM,
  SOCK_STREAM,
  SOL_SOCKET,
} from '../../src/posix/index.ts';
import type { SynDecision } from '../../src/sockets/incoming-syn.ts';
import { bytesOf, text } from '../hosts.ts';
import { OTHER, OWN } from './suite.ts';

export interface RoleWork {
  readonly role:
    | 'block'
    | 'stacks'
    | 'drop'
    | 'drop-listeners'
    | 'fill'
    | 'posix'
    | 'hold'
    | 'port-stack'
    | 'ask-syn'
    | 'late'
    | 'elsewhere'
    | 'asleep'
    | 'handler-blocks'
    | 'take-flows'
    | 'hold-flows'
    | 'busy';
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

/** Opens one of each over whatever it has, and waits for its end without blocking. */
async function hold(own: Channel): Promise<void> {
  const socket = await udpBind(own, { port: 90 });
  const listener = await tcpListen(own, { port: 90 });
  const stream = await tcpConnect(own, { host: OTHER, port: 80 });
  await stream.write(bytesOf('hello'));
  say('holding');
  await Promise.all([socket.receive(), listener.accept(), stream.read()]);
}

/** A stack without shared memory, which the parent gets a channel of. */
function portStack(): void {
  const [own] = pipedPair({ addresses: [`${OWN}/24`], shared: false }, { addresses: [`${OTHER}/24`] });
  own.run();
  const { channel, transferList } = own.commandChannel().share();
  parentPort!.postMessage(channel, transferList as unknown as Transferable[]);
  setInterval(() => {}, 1000); // nothing else keeps the thread
}

/** Blocks in accept, and decides about SYNs meanwhile: the first is refused. */
function askSyn(own: Channel): void {
  const asked: string[] = [];
  const onSyn = ({ remoteAddress }: { readonly remoteAddress: string }): SynDecision => {
    asked.push(remoteAddress);
    return asked.length === 1 ? 'reject' : 'accept';
  };
  const listener = tcpListenBlocking(own, { port: 80, onSyn });
  say('listening');
  const stream = listener.acceptBlocking({ timeoutMs: 10_000 });
  stream.writeBlocking(bytesOf('accepted'));
  stream.closeBlocking();
  say(asked);
  own.close();
}

/** Has a socket opened, and gives up before it is; then goes on. */
function late(own: Channel): void {
  try {
    udpBindBlocking(own, { port: 53 }, { timeoutMs: 20 });
    say('bound');
  } catch (error) {
    say(codeOf(error));
  }
  own.request({ kind: 'get-stats' }).then(() => say('went on'));
  parentPort!.once('message', () => own.close());
}

/** Opens listeners and streams and lets go of them without a word. */
async function dropListeners(own: Channel): Promise<void> {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  await (async () => {
    for (let i = 0; i < 50; i++)
      await tcpListen(own, { port: 2000 + i, ...(i % 2 === 0 ? { onSyn: () => 'accept' as const } : {}) });
    for (let i = 0; i < 50; i++) await tcpConnect(own, { host: OTHER, port: 80 });
  })();
  for (let i = 0; i < 20; i++) {
    collect();
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  say('dropped');
  parentPort!.once('message', () => own.close());
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
    () => client.read(client.socket(AF_INET, SOCK_STREAM), buffer),
    () => client.listen(client.socket(AF_INET, SOCK_DGRAM), 5),
    () => client.accept(client.socket(AF_INET, SOCK_DGRAM)),
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
  // An option as a C program gives it, and one as a record.
  client.setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, Uint8Array.of(1, 0, 0, 0));
  client.setsockopt(fd, SOL_SOCKET, SO_LINGER, { onoff: 1, linger: 3 });
  const options = [SO_KEEPALIVE, SO_LINGER].map((name) => client.getsockopt(fd, SOL_SOCKET, name));
  const polled = [{ fd: listener, events: POLLIN, revents: 0 }];
  client.connect(client.socket(AF_INET, SOCK_STREAM), address);
  const ready = server.poll(polled, Number.POSITIVE_INFINITY);
  const local = client.getsockname(fd) as { port: number };
  for (const [of, n] of [
    [client, fd],
    [server, accepted],
    [server, listener],
  ] as const) {
    of.close(n);
  }
  say({
    text: text(buffer.subarray(0, count)),
    end,
    codes,
    port: local.port,
    options,
    ready,
    revents: polled[0]!.revents,
  });
  own.close();
  other.close();
}

/** Decides about SYNs of one channel while it blocks on another one. */
function elsewhere(own: Channel, other: Channel): void {
  let asked = 0;
  const listener = tcpListenBlocking(other, { port: 80, onSyn: () => (++asked === 1 ? 'reject' : 'accept') });
  const socket = udpBindBlocking(own, { port: 53 });
  say('listening');
  const { data } = socket.receiveBlocking({ timeoutMs: 10_000 });
  const stream = listener.acceptBlocking({ timeoutMs: 10_000 });
  stream.writeBlocking(data);
  stream.closeBlocking();
  say(asked);
}

/** Has a handler, and stops for something that is no channel: nothing is decided in time. */
async function asleep(own: Channel): Promise<void> {
  const decided: boolean[] = [];
  const onSyn = (syn: { accept(): boolean }): undefined => void decided.push(syn.accept());
  await tcpListen(own, { port: 80, onSyn, tcp: { synDeadlineMs: 200 } });
  await tcpIntercept(own, (flow) => void flow.accept().catch((error) => decided.push(codeOf(error) === 'x')), {
    deadlineMs: 200,
  });
  say('asleep');
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1500);
  await own.request({ kind: 'get-stats' });
  say('awake');
}

/** A handler that blocks itself: it opens a connection for each that is asked for. */
function handlerBlocks(own: Channel): void {
  const dialled: number[] = [];
  const onSyn = (): SynDecision => {
    const stream = tcpConnectBlocking(own, { host: OTHER, port: 90 }, { timeoutMs: 5000 });
    dialled.push(stream.remotePort);
    stream.closeBlocking();
    return 'accept';
  };
  const listener = tcpListenBlocking(own, { port: 80, onSyn });
  say('listening');
  for (let i = 0; i < 3; i++) listener.acceptBlocking({ timeoutMs: 10_000 }).closeBlocking();
  say(dialled);
}

/** Takes flow after flow by calls that block. */
function takeFlows(own: Channel): void {
  const interception = tcpInterceptBlocking(own, null, { idleMs: Number.POSITIVE_INFINITY });
  say('intercepting');
  try {
    interception.nextBlocking({ timeoutMs: 20 });
  } catch (error) {
    say(codeOf(error));
  }
  interception.nextBlocking({ timeoutMs: 10_000 }).reject();
  const flow = interception.nextBlocking({ timeoutMs: 10_000 });
  const stream = flow.acceptBlocking({ timeoutMs: 10_000 });
  stream.writeBlocking(bytesOf(`${flow.destinationAddress} ${flow.destinationPort}`));
  stream.closeBlocking();
  say(interception.statusBlocking().stats);
  interception.closeBlocking();
  try {
    interception.nextBlocking();
  } catch (error) {
    say(codeOf(error));
  }
  own.close();
}

/** Holds flows of every kind: one of each is accepted, those that come later are not decided about. */
async function holdFlows(own: Channel): Promise<void> {
  let count = 0;
  const told = (): void => {
    if (++count === 5) say('holding');
  };
  let isFirst = true;
  await tcpIntercept(own, async (flow) => {
    if (isFirst) {
      isFirst = false;
      await flow.accept();
    }
    told();
  });
  let isFirstDatagram = true;
  await udpIntercept(own, async (flow) => {
    if (isFirstDatagram) {
      isFirstDatagram = false;
      await flow.accept();
    }
    told();
  });
  await icmpIntercept(own, () => void told());
  say('intercepting');
  parentPort!.on('message', () => {}); // it stays
}

/** Calls of every kind, without an end: wherever it is terminated, it is in the middle of something. */
function busy(own: Channel): void {
  const listener = tcpListenBlocking(own, { port: 90 });
  const socket = udpBindBlocking(own, { port: 90 });
  say('busy');
  for (let i = 0; ; i++) {
    const stream = tcpConnectBlocking(own, { host: OTHER, port: 80 });
    stream.trace(() => {});
    stream.writeBlocking(new Uint8Array(1 + ((i * 7919) % 100_000)));
    socket.sendBlocking(new Uint8Array(i % 1000), { host: OTHER, port: 9 });
    stream.infoBlocking();
    if (i % 3 === 0) stream.closeBlocking();
    if (i % 3 === 1) stream.abort();
    try {
      listener.acceptBlocking({ timeoutMs: 0 });
    } catch {
      // nobody came
    }
  }
}

if (work.role === 'stacks') {
  void stacks();
} else if (work.role === 'port-stack') {
  portStack();
} else {
  const own = Channel.from(work.own);
  if (work.role === 'block') block(own);
  else if (work.role === 'drop') void drop(own, work.count!);
  else if (work.role === 'drop-listeners') void dropListeners(own);
  else if (work.role === 'hold') void hold(own);
  else if (work.role === 'ask-syn') askSyn(own);
  else if (work.role === 'late') late(own);
  else if (work.role === 'elsewhere') elsewhere(own, Channel.from(work.other));
  else if (work.role === 'asleep') void asleep(own);
  else if (work.role === 'handler-blocks') handlerBlocks(own);
  else if (work.role === 'take-flows') takeFlows(own);
  else if (work.role === 'hold-flows') void holdFlows(own);
  else if (work.role === 'busy') busy(own);
  else if (work.role === 'fill') fill(own);
  else posix(own, Channel.from(work.other));
}
