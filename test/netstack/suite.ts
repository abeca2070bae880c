/**
 * What must hold wherever the application is: on the host's thread, on the stack's thread behind a channel, on another one,
 * waiting or blocking; in Node and in a browser, so nothing of either is named here. Each test is a sequence, so that a
 * thread which blocks can run it as it is.
 */
import { NetError } from '../../src/errors.ts';
import type {
  Datagram,
  EchoDecision,
  EchoInterception,
  Host,
  PingManyOptions,
  PingReply,
  PingStatistics,
  RawPacket,
  RawSocket,
  TcpFlow,
  TcpInterception,
  TcpListener,
  TcpStream,
  TraceHop,
  UdpFlow,
  UdpInterception,
  UdpSocket,
} from '../../src/index.ts';
import {
  type Channel,
  type ChannelEchoRequest,
  type ChannelInterception,
  type ChannelPingManyOptions,
  type ChannelTcpFlow,
  type ChannelUdpFlow,
  configured,
  configuredBlocking,
  icmpIntercept,
  icmpInterceptBlocking,
  ping,
  pingBlocking,
  rawOpen,
  rawOpenBlocking,
  resolve,
  resolveBlocking,
  tcpConnect,
  tcpConnectBlocking,
  tcpIntercept,
  tcpInterceptBlocking,
  tcpListen,
  tcpListenBlocking,
  trace,
  traceBlocking,
  udpBind,
  udpBindBlocking,
  udpConnect,
  udpConnectBlocking,
  udpIntercept,
  udpInterceptBlocking,
} from '../../src/netstack/index.ts';
import type { MembershipChange } from '../../src/sockets/backend.ts';
import type { BindOptions, UdpConnectOptions } from '../../src/sockets/host-sockets.ts';
import type { SynHandler } from '../../src/sockets/incoming-syn.ts';
import type { RawOpenOptions } from '../../src/sockets/raw-socket.ts';
import type { TcpInfo } from '../../src/tcp/info.ts';
import type { Snapshot, TraceEvent } from '../../src/tcp/trace.ts';
import * as assert from '../expect.ts';

const bytesOf = (written: string): Uint8Array => new TextEncoder().encode(written);
const text = (bytes: Uint8Array | null): string | null => (bytes === null ? null : new TextDecoder().decode(bytes));

/** The application's own stack, and the one that it talks to. */
export const OWN = '10.0.0.1';
export const OTHER = '10.0.0.2';

/** What both stacks are made with. */
const HOSTS = { hosts: { 'own.lan': OWN, 'other.lan': ['fd00::99', OTHER] } };
/** It takes what is sent to anybody, so that flows can be intercepted; the other one sends it all there is. */
export const OWN_CONFIG = { addresses: [`${OWN}/24`], ...HOSTS, anyIp: true };
export const OTHER_CONFIG = { addresses: [`${OTHER}/24`], ...HOSTS, gateway: OWN };
/** An address that nobody has, beyond the network. */
export const FAR = '198.51.100.7';

type Connect = {
  host: string;
  port: number;
  localPort?: number;
  noDelay?: boolean;
  signal?: AbortSignal;
  timeout?: number;
};

/** Sockets of one stack, and the calls of one setting. */
export interface Side {
  listen(options: { port: number; backlog?: number; onSyn?: SynHandler }): Promise<TcpListener>;
  connect(options: Connect): Promise<TcpStream>;
  bind(options?: BindOptions): Promise<UdpSocket>;
  connectUdp(options: UdpConnectOptions): Promise<UdpSocket>;
  open(options: RawOpenOptions): Promise<RawSocket>;
  ping(host: string, options?: { size?: number; timeout?: number }): Promise<PingReply>;
  pings(host: string, options: PingManyOptions): Promise<PingStatistics>;
  trace(host: string): Promise<TraceHop[]>;
  resolve(name: string): Promise<readonly string[]>;
  configured(): Promise<readonly string[]>;
  interceptTcp(handler: (flow: AnyTcpFlow) => void): Promise<Intercepted>;
  interceptUdp(handler: (flow: AnyUdpFlow) => void): Promise<Intercepted>;
  interceptIcmp(handler: (request: AnyEcho) => EchoDecision): Promise<Intercepted>;
}

export type AnyTcpFlow = TcpFlow | ChannelTcpFlow;
export type AnyUdpFlow = UdpFlow | ChannelUdpFlow;
type AnyEcho = Pick<ChannelEchoRequest, 'sourceAddress' | 'destinationAddress' | 'data'>;

/** What has come of an interception. */
export interface Intercepted {
  status(): Promise<Readonly<Record<string, number>>>;
  close(): Promise<void>;
}

export interface Calls {
  accept(listener: TcpListener): Promise<TcpStream>;
  write(stream: TcpStream, data: Uint8Array): Promise<void>;
  read(stream: TcpStream): Promise<Uint8Array | null>;
  readInto(stream: TcpStream, buffer: Uint8Array): Promise<number>;
  end(stream: TcpStream): Promise<void>;
  close(stream: TcpStream): Promise<void>;
  send(socket: UdpSocket, data: Uint8Array, to?: { host: string; port: number }): Promise<void>;
  receive(socket: UdpSocket): Promise<Datagram>;
  sendRaw(socket: RawSocket, data: Uint8Array, to: string): Promise<void>;
  receiveRaw(socket: RawSocket): Promise<RawPacket>;
  member(socket: UdpSocket, change: MembershipChange): Promise<void>;
  info(stream: TcpStream): Promise<TcpInfo | null>;
  acceptTcp(flow: AnyTcpFlow): Promise<TcpStream>;
  acceptUdp(flow: AnyUdpFlow): Promise<UdpSocket>;
  /** The calls that wait, for so long. */
  acceptWithin(listener: TcpListener, ms: number): Promise<TcpStream>;
  readWithin(stream: TcpStream, ms: number): Promise<Uint8Array | null>;
  receiveWithin(socket: UdpSocket, ms: number): Promise<Datagram>;
}

export interface Setting {
  readonly own: Side;
  readonly other: Side;
  readonly calls: Calls;
}

const statsOf = (interception: TcpInterception | UdpInterception | EchoInterception): Intercepted => ({
  status: async () => ({ ...interception.stats }),
  close: () => interception.close(),
});

const askedOf = (interception: ChannelInterception<never>): Intercepted => ({
  status: async () => (await interception.status()).stats,
  close: () => interception.close(),
});

const askedBlocking = (interception: ChannelInterception<never>): Intercepted => ({
  status: async () => interception.statusBlocking(LIMIT).stats,
  close: async () => interception.closeBlocking(LIMIT),
});

async function hops(ways: AsyncIterable<TraceHop> | Iterable<TraceHop>): Promise<TraceHop[]> {
  const all: TraceHop[] = [];
  for await (const hop of ways) all.push(hop);
  return all;
}

export const hostSide = (host: Host): Side => ({
  listen: (options) => host.tcp.listen(options),
  connect: (options) => host.tcp.connect(options),
  bind: (options) => host.udp.bind(options),
  connectUdp: (options) => host.udp.connect(options),
  open: (options) => host.raw.open(options),
  ping: (to, options) => host.ping(to, options),
  pings: (to, options) => host.ping(to, options as PingManyOptions & { count: number }),
  trace: (to) => hops(host.trace(to)),
  interceptTcp: async (handler) => statsOf(host.tcp.intercept(handler)),
  interceptUdp: async (handler) => statsOf(host.udp.intercept(handler)),
  interceptIcmp: async (handler) => statsOf(host.icmp.intercept(handler)),
  resolve: (name) => host.resolve(name),
  configured: () => host.configured(),
});

export const channelSide = (channel: Channel): Side => ({
  listen: (options) => tcpListen(channel, options),
  connect: (options) => tcpConnect(channel, options),
  bind: (options) => udpBind(channel, options),
  connectUdp: (options) => udpConnect(channel, options),
  open: (options) => rawOpen(channel, options),
  ping: (to, options) => ping(channel, to, options),
  pings: (to, options) => ping(channel, to, options as ChannelPingManyOptions),
  trace: (to) => hops(trace(channel, to)),
  interceptTcp: async (handler) => askedOf((await tcpIntercept(channel, handler)) as never),
  interceptUdp: async (handler) => askedOf((await udpIntercept(channel, handler)) as never),
  interceptIcmp: async (handler) => askedOf((await icmpIntercept(channel, handler)) as never),
  resolve: (name) => resolve(channel, name),
  configured: () => configured(channel),
});

const LIMIT = { timeoutMs: 10_000 };

export const blockingSide = (channel: Channel): Side => ({
  listen: async (options) => tcpListenBlocking(channel, options, LIMIT),
  connect: async (options) => tcpConnectBlocking(channel, options, LIMIT),
  bind: async (options) => udpBindBlocking(channel, options, LIMIT),
  connectUdp: async (options) => udpConnectBlocking(channel, options, LIMIT),
  open: async (options) => rawOpenBlocking(channel, options, LIMIT),
  ping: async (to, options) => pingBlocking(channel, to, options, LIMIT),
  pings: async (to, options) => pingBlocking(channel, to, options as ChannelPingManyOptions, LIMIT),
  trace: async (to) => hops(traceBlocking(channel, to, {}, LIMIT)),
  interceptTcp: async (handler) => askedBlocking(tcpInterceptBlocking(channel, handler, {}, LIMIT) as never),
  interceptUdp: async (handler) => askedBlocking(udpInterceptBlocking(channel, handler, {}, LIMIT) as never),
  interceptIcmp: async (handler) => askedBlocking(icmpInterceptBlocking(channel, handler, {}, LIMIT) as never),
  resolve: async (name) => resolveBlocking(channel, name, {}, LIMIT),
  configured: async () => configuredBlocking(channel, LIMIT),
});

async function member(socket: UdpSocket, { change, group, source }: MembershipChange): Promise<void> {
  if (change === 'block') await socket.blockSource(source!, group);
  else if (change === 'unblock') await socket.unblockSource(source!, group);
  else if (change === 'join' && source !== undefined) await socket.addSourceSpecificMembership(source, group);
  else if (change === 'join') await socket.addMembership(group);
  else if (source !== undefined) await socket.dropSourceSpecificMembership(source, group);
  else await socket.dropMembership(group);
}

export const waitingCalls: Calls = {
  accept: (listener) => listener.accept(),
  write: (stream, data) => stream.write(data),
  read: (stream) => stream.read(),
  readInto: (stream, buffer) => stream.readInto(buffer),
  end: (stream) => stream.end(),
  close: (stream) => stream.close(),
  send: (socket, data, to) => socket.send(data, to),
  receive: (socket) => socket.receive(),
  sendRaw: (socket, data, to) => socket.send(data, to),
  receiveRaw: (socket) => socket.receive(),
  member,
  info: (stream) => stream.info(),
  acceptTcp: (flow) => flow.accept(),
  acceptUdp: async (flow) => flow.accept(),
  acceptWithin: (listener, ms) => listener.accept({ signal: AbortSignal.timeout(ms) }),
  readWithin: (stream, ms) => stream.read({ signal: AbortSignal.timeout(ms) }),
  receiveWithin: (socket, ms) => socket.receive({ signal: AbortSignal.timeout(ms) }),
};

export const blockingCalls: Calls = {
  accept: async (listener) => listener.acceptBlocking(LIMIT),
  write: async (stream, data) => stream.writeBlocking(data, LIMIT),
  read: async (stream) => stream.readBlocking(LIMIT),
  readInto: async (stream, buffer) => stream.readIntoBlocking(buffer, LIMIT),
  end: async (stream) => stream.endBlocking(LIMIT),
  close: async (stream) => stream.closeBlocking(LIMIT),
  send: async (socket, data, to) => socket.sendBlocking(data, to, LIMIT),
  receive: async (socket) => socket.receiveBlocking(LIMIT),
  sendRaw: async (socket, data, to) => socket.sendBlocking(data, to, LIMIT),
  receiveRaw: async (socket) => socket.receiveBlocking(LIMIT),
  member: async (socket, change) => socket.changeMembershipBlocking(change, LIMIT),
  info: async (stream) => stream.infoBlocking(LIMIT),
  acceptTcp: async (flow) => (flow as ChannelTcpFlow).acceptBlocking(LIMIT),
  acceptUdp: async (flow) => (flow as ChannelUdpFlow).acceptBlocking(LIMIT),
  acceptWithin: async (listener, timeoutMs) => listener.acceptBlocking({ timeoutMs }),
  readWithin: async (stream, timeoutMs) => stream.readBlocking({ timeoutMs }),
  receiveWithin: async (socket, timeoutMs) => socket.receiveBlocking({ timeoutMs }),
};

const fails =
  (...codes: string[]) =>
  (error: unknown) => {
    assert.ok(error instanceof NetError, `expected a NetError, got ${error}`);
    assert.ok(codes.includes(error.code), `expected ${codes.join(' or ')}, got ${error.code}`);
    return true;
  };

/** A connection from us to the other: our end, theirs, and the listener. */
async function connected({ own, other, calls }: Setting): Promise<[TcpStream, TcpStream, TcpListener]> {
  const listener = await other.listen({ port: 80 });
  const stream = await own.connect({ host: OTHER, port: 80 });
  return [stream, await calls.accept(listener), listener];
}

export const suite: Record<string, (setting: Setting) => Promise<void>> = {
  'a connection carries bytes both ways, and ends': async (setting) => {
    const { calls } = setting;
    const [stream, peer, listener] = await connected(setting);
    assert.deepEqual([stream.remoteAddress, stream.remotePort, stream.localAddress], [OTHER, 80, OWN]);
    assert.deepEqual([peer.remotePort, peer.localPort], [stream.localPort, 80]);
    await calls.write(stream, bytesOf('there'));
    assert.equal(text(await calls.read(peer)), 'there');
    await calls.write(peer, bytesOf('back'));
    const buffer = new Uint8Array(2);
    assert.equal(await calls.readInto(stream, buffer), 2);
    assert.equal(text(buffer), 'ba');
    assert.equal(text(await calls.read(stream)), 'ck');
    await calls.end(stream);
    assert.equal(await calls.read(peer), null);
    await calls.write(peer, bytesOf('half open'));
    assert.equal(text(await calls.read(stream)), 'half open');
    await calls.close(peer);
    assert.equal(await calls.readInto(stream, buffer), 0);
    await calls.close(stream);
    await listener.close();
  },

  'a megabyte goes through in pieces, every byte in its place': async (setting) => {
    const { calls } = setting;
    const [stream, peer, listener] = await connected(setting);
    const piece = new Uint8Array(40_000);
    const got = new Uint8Array(piece.length);
    for (let round = 0; round < 25; round++) {
      for (let i = 0; i < piece.length; i++) piece[i] = (i * 31 + round) & 255;
      await calls.write(stream, piece);
      for (let n = 0; n < got.length; ) n += await calls.readInto(peer, got.subarray(n));
      assert.deepEqual(got, piece);
    }
    await calls.close(stream);
    await calls.close(peer);
    await listener.close();
  },

  'what was written before close arrives': async (setting) => {
    const { calls } = setting;
    const [stream, peer, listener] = await connected(setting);
    await calls.write(stream, new Uint8Array(100_000).fill(3));
    await calls.close(stream);
    let total = 0;
    for (let chunk = await calls.read(peer); chunk !== null; chunk = await calls.read(peer)) total += chunk.length;
    assert.equal(total, 100_000);
    await calls.close(peer);
    await listener.close();
  },

  'nobody listens: ECONNREFUSED': async ({ own }) => {
    await assert.rejects(own.connect({ host: OTHER, port: 81 }), fails('ECONNREFUSED'));
  },

  'a reset is an error to reader and writer': async (setting) => {
    const { calls } = setting;
    const [stream, peer, listener] = await connected(setting);
    peer.abort();
    await assert.rejects(calls.read(stream), fails('ECONNRESET'));
    await assert.rejects(calls.write(stream, bytesOf('x')), fails('ECONNRESET', 'EPIPE'));
    await calls.close(stream);
    await listener.close();
  },

  'writing after end is EPIPE, reading after close is ECANCELED': async (setting) => {
    const { calls } = setting;
    const [stream, peer, listener] = await connected(setting);
    await calls.end(stream);
    await assert.rejects(calls.write(stream, bytesOf('x')), fails('EPIPE'));
    await calls.close(stream);
    await assert.rejects(calls.read(stream), fails('ECANCELED'));
    await calls.close(peer);
    await listener.close();
  },

  'a hundred connections one after the other, each accepted': async ({ own, other, calls }) => {
    const listener = await other.listen({ port: 80 });
    for (let i = 0; i < 100; i++) {
      const stream = await own.connect({ host: OTHER, port: 80 });
      const peer = await calls.accept(listener);
      await calls.write(stream, Uint8Array.of(i));
      assert.deepEqual(await calls.read(peer), Uint8Array.of(i));
      await calls.close(peer);
      assert.equal(await calls.read(stream), null);
      await calls.close(stream);
    }
    await listener.close();
  },

  'a port is taken once': async ({ own }) => {
    const listener = await own.listen({ port: 80 });
    await assert.rejects(own.listen({ port: 80 }), fails('EADDRINUSE'));
    const socket = await own.bind({ port: 53 });
    await assert.rejects(own.bind({ port: 53 }), fails('EADDRINUSE'));
    await Promise.all([listener.close(), socket.close()]);
    await (await own.bind({ port: 53 })).close();
  },

  'datagrams, whole and in order, with their senders': async ({ own, other, calls }) => {
    const socket = await other.bind({ port: 53 });
    const sender = await own.bind({ port: 1000 });
    for (const length of [0, 1, 1472, 1473, 9000]) {
      await calls.send(sender, new Uint8Array(length).fill(9), { host: OTHER, port: 53 });
      const { data, address, port } = await calls.receive(socket);
      assert.deepEqual([data.length, address, port], [length, OWN, 1000]);
      assert.ok(data.every((byte) => byte === 9));
    }
    await assert.rejects(calls.send(sender, new Uint8Array(65_508), { host: OTHER, port: 53 }), fails('EMSGSIZE'));
    await Promise.all([socket.close(), sender.close()]);
    await assert.rejects(calls.receive(socket), fails('ECANCELED'));
  },

  'a connected UDP socket hears that nobody is there': async ({ own, calls }) => {
    const socket = await own.connectUdp({ host: OTHER, port: 54 });
    await calls.send(socket, bytesOf('?'));
    await assert.rejects(calls.receive(socket), fails('ECONNREFUSED'));
    await socket.close();
  },

  'packets of a protocol of one’s own': async ({ own, other, calls }) => {
    const from = await own.open({ family: 4, protocol: 200 });
    const to = await other.open({ family: 4, protocol: 200 });
    await calls.sendRaw(from, bytesOf('raw'), OTHER);
    const { data, address } = await calls.receiveRaw(to);
    assert.equal(address, OWN);
    assert.equal(text(data.subarray(20)), 'raw');
    await Promise.all([from.close(), to.close()]);
  },

  'calls that are too late lose no bytes, no datagram and no connection': async (setting) => {
    const { own, other, calls } = setting;
    const [stream, peer, listener] = await connected(setting);
    const socket = await own.bind({ port: 53 });
    const sender = await other.bind();
    const late = (error: unknown): boolean =>
      error instanceof NetError ? error.code === 'ETIMEDOUT' : (error as Error).name === 'TimeoutError';
    for (let round = 0; round < 5; round++) {
      await assert.rejects(calls.readWithin(stream, round), late);
      await assert.rejects(calls.receiveWithin(socket, round), late);
      await assert.rejects(calls.acceptWithin(listener, round), late);
      await calls.write(peer, Uint8Array.of(round));
      await calls.send(sender, Uint8Array.of(round), { host: OWN, port: 53 });
      const made = await own.connect({ host: OTHER, port: 80 });
      assert.deepEqual(await calls.readWithin(stream, 10_000), Uint8Array.of(round));
      assert.deepEqual((await calls.receiveWithin(socket, 10_000)).data, Uint8Array.of(round));
      const accepted = await calls.acceptWithin(listener, 10_000);
      assert.equal(accepted.remotePort, made.localPort);
      await calls.close(made);
      await calls.close(accepted);
    }
    await Promise.all([calls.close(stream), calls.close(peer), listener.close(), socket.close(), sender.close()]);
  },

  'an echo request is answered, by address and by name; nobody there is ETIMEDOUT': async ({ own }) => {
    const { address, size } = await own.ping(OTHER, { size: 100 });
    assert.deepEqual([address, size], [OTHER, 100]);
    assert.equal((await own.ping('own.lan')).address, OWN);
    await assert.rejects(own.ping('10.0.0.77', { timeout: 50 }), fails('ETIMEDOUT'));
    await assert.rejects(own.ping(OTHER, { size: 70_000 }), RangeError);
  },

  'the addresses of a stack, and of names': async ({ own }) => {
    assert.ok((await own.configured()).includes(`${OWN}/24`));
    assert.deepEqual([...(await own.resolve('other.lan'))].sort(), [OTHER, 'fd00::99']);
    await assert.rejects(own.resolve('no.such.name'), fails('ENOTFOUND', 'EAI_AGAIN', 'ETIMEDOUT'));
  },

  'names in connect and send': async ({ own, other, calls }) => {
    const listener = await other.listen({ port: 80 });
    // The first of its addresses leads nowhere.
    const stream = await own.connect({ host: 'other.lan', port: 80 });
    const peer = await calls.accept(listener);
    assert.equal(stream.remoteAddress, OTHER);
    await calls.write(stream, bytesOf('by name'));
    assert.equal(text(await calls.read(peer)), 'by name');
    await calls.close(stream);
    await calls.close(peer);
    await listener.close();
    await assert.rejects(own.connect({ host: 'own.lan', port: 81 }), fails('ECONNREFUSED'));
    const socket = await own.bind({ port: 53 });
    const sender = await other.bind();
    await calls.send(sender, bytesOf('named'), { host: 'own.lan', port: 53 });
    assert.equal(text((await calls.receive(socket)).data), 'named');
    const one = await other.connectUdp({ host: 'own.lan', port: 53 });
    await calls.send(one, bytesOf('connected'));
    assert.equal(text((await calls.receive(socket)).data), 'connected');
    await Promise.all([socket.close(), sender.close(), one.close()]);
  },

  'groups: joined, left, sources let in and kept out': async ({ own, other, calls }) => {
    const [group, chosen] = ['239.1.2.3', '239.1.2.4'];
    const socket = await own.bind({ port: 5000 });
    const sender = await other.bind({ port: 5001 });
    const send = (to: string, what: string): Promise<void> =>
      calls.send(sender, bytesOf(what), { host: to, port: 5000 });
    /** What was sent before it and is not here by now does not come: the wire keeps its order. */
    const isNext = async (expected: string): Promise<void> =>
      assert.equal(text((await calls.receive(socket)).data), expected);
    await send(group, 'before');
    await send(OWN, 'first');
    await isNext('first');
    await calls.member(socket, { change: 'join', group });
    await send(group, 'joined');
    await isNext('joined');
    await calls.member(socket, { change: 'block', group, source: OTHER });
    await send(group, 'kept out');
    await send(OWN, 'second');
    await isNext('second');
    await calls.member(socket, { change: 'unblock', group, source: OTHER });
    await calls.member(socket, { change: 'join', group: chosen, source: '10.0.0.50' });
    await send(chosen, 'of another source');
    await send(OWN, 'third');
    await isNext('third');
    await calls.member(socket, { change: 'join', group: chosen, source: OTHER });
    await send(chosen, 'of this source');
    await isNext('of this source');
    await assert.rejects(calls.member(socket, { change: 'join', group }), fails('EADDRINUSE'));
    await assert.rejects((async () => calls.member(socket, { change: 'join', group: OTHER }))(), TypeError);
    await calls.member(socket, { change: 'leave', group });
    await assert.rejects(calls.member(socket, { change: 'leave', group }), fails('EADDRNOTAVAIL'));
    await send(group, 'after');
    await send(OWN, 'fourth');
    await isNext('fourth');
    await Promise.all([socket.close(), sender.close()]);
  },

  'connections to any address: held until decided, accepted as that address, refused, given back': async (setting) => {
    const { own, other, calls } = setting;
    const asked: string[] = [];
    const accepted: Promise<TcpStream>[] = [];
    const interception = await own.interceptTcp((flow) => {
      asked.push(`${flow.sourceAddress} > ${flow.destinationAddress} ${flow.destinationPort}`);
      assert.deepEqual([flow.isPending, flow.isGone, flow.options.sackPermitted], [true, false, true]);
      if (flow.destinationPort === 1) assert.deepEqual([flow.reject(), flow.reject()], [true, false]);
      else if (flow.destinationPort === 2) flow.reject('unreachable');
      else if (flow.destinationPort === 3) throw new Error('what a handler throws refuses');
      else accepted.push(calls.acceptTcp(flow));
    });
    await assert.rejects(
      own.interceptTcp(() => {}),
      fails('EADDRINUSE'),
    );
    const stream = await other.connect({ host: FAR, port: 443 });
    const peer = await accepted[0]!;
    assert.deepEqual([peer.localAddress, peer.localPort, peer.remoteAddress], [FAR, 443, OTHER]);
    await calls.write(stream, bytesOf('to anybody'));
    assert.equal(text(await calls.read(peer)), 'to anybody');
    await calls.write(peer, bytesOf('from nobody'));
    assert.equal(text(await calls.read(stream)), 'from nobody');
    await calls.close(peer);
    assert.equal(await calls.read(stream), null);
    await calls.close(stream);
    for (const [port, code] of [
      [1, 'ECONNREFUSED'],
      [2, 'EHOSTUNREACH'],
      [3, 'ECONNREFUSED'],
    ] as const) {
      await assert.rejects(other.connect({ host: FAR, port }), fails(code));
    }
    assert.deepEqual(
      asked,
      [443, 1, 2, 3].map((port) => `${OTHER} > ${FAR} ${port}`),
    );
    const { opened, accepted: taken, rejected, handlerErrors } = await interception.status();
    assert.deepEqual([opened, taken, rejected, handlerErrors], [4, 1, 2, 1]);
    await interception.close();
    await assert.rejects(other.connect({ host: FAR, port: 443 }), fails('ECONNREFUSED'));
    assert.equal(asked.length, 4);
  },

  'datagrams to any address: a flow is a socket, or nobody': async (setting) => {
    const { own, other, calls } = setting;
    const flows: AnyUdpFlow[] = [];
    const interception = await own.interceptUdp((flow) => void flows.push(flow));
    /** The flow that a datagram has opened: the handler is asked while the thread waits for something. */
    const next = async (count: number): Promise<AnyUdpFlow> => {
      for (let i = 0; i < 500 && flows.length < count; i++) await own.ping(OTHER);
      return flows[count - 1]!;
    };
    const sender = await other.bind({ port: 5000 });
    await calls.send(sender, bytesOf('first'), { host: FAR, port: 53 });
    const flow = await next(1);
    assert.deepEqual([flow.sourceAddress, flow.sourcePort], [OTHER, 5000]);
    assert.deepEqual([flow.destinationAddress, flow.destinationPort, flow.isPending], [FAR, 53, true]);
    const socket = await calls.acceptUdp(flow);
    assert.equal(text((await calls.receive(socket)).data), 'first');
    await calls.send(sender, bytesOf('second'), { host: FAR, port: 53 });
    assert.equal(text((await calls.receive(socket)).data), 'second');
    await calls.send(socket, bytesOf('answer'));
    const { data, address, port } = await calls.receive(sender);
    assert.deepEqual([text(data), address, port], ['answer', FAR, 53]);
    flow.close();
    await assert.rejects(calls.receive(socket), fails('ECANCELED'));
    await socket.close();
    const one = await other.connectUdp({ host: FAR, port: 54 });
    await calls.send(one, bytesOf('anybody?'));
    assert.ok((await next(2)).reject());
    await assert.rejects(calls.receive(one), fails('ECONNREFUSED'));
    const { opened, accepted, rejected } = await interception.status();
    assert.deepEqual([opened, accepted, rejected], [2, 1, 1]);
    await interception.close();
    await Promise.all([sender.close(), one.close()]);
  },

  'echo requests to any address: answered, refused, not at all': async ({ own, other }) => {
    const seen: string[] = [];
    const interception = await own.interceptIcmp(({ sourceAddress, destinationAddress, data }) => {
      seen.push(`${sourceAddress} ${destinationAddress} ${data.length}`);
      if (destinationAddress.endsWith('.9')) throw new Error('what a handler throws drops');
      return destinationAddress.endsWith('.7') ? 'reply' : destinationAddress.endsWith('.8') ? 'unreachable' : 'drop';
    });
    assert.equal((await other.ping(FAR, { size: 33 })).address, FAR);
    await assert.rejects(other.ping('198.51.100.8'), fails('EHOSTUNREACH'));
    await assert.rejects(other.ping('198.51.100.9', { timeout: 100 }), fails('ETIMEDOUT'));
    await assert.rejects(other.ping('198.51.100.10', { timeout: 100 }), fails('ETIMEDOUT'));
    assert.deepEqual([seen[0], seen.length], [`${OTHER} ${FAR} 33`, 4]);
    const { asked, replied, unreachable, handlerErrors, dropped } = await interception.status();
    assert.deepEqual([asked, replied, unreachable, handlerErrors, dropped], [4, 1, 1, 1, 2]);
    await interception.close();
    assert.equal((await other.ping('198.51.100.9')).address, '198.51.100.9');
  },

  'a connection tells of itself: what is known of it, and every segment while somebody looks': async (setting) => {
    const { own, calls } = setting;
    const [stream, peer, listener] = await connected(setting);
    const records: (TraceEvent & Snapshot)[] = [];
    /** What is recorded comes while the thread waits for something. */
    const until = async (holds: () => boolean): Promise<void> => {
      for (let i = 0; i < 500 && !holds(); i++) await own.ping(OTHER);
      assert.ok(holds(), `${records.length} records, ${sent()} bytes sent`);
    };
    assert.throws(() => stream.trace(7 as never), TypeError);
    stream.trace((record) => records.push(record));
    const data = new Uint8Array(5000).fill(5);
    await calls.write(stream, data);
    for (let n = 0; n < data.length; ) n += (await calls.read(peer))!.length;
    const sent = (): number => records.reduce((n, r) => n + (r.kind === 'out' ? r.length : 0), 0);
    await until(() => sent() >= data.length && records.some((r) => r.kind === 'in' && r.ack > data.length));
    const first = records.find((r) => r.kind === 'out' && r.length > 0)!;
    assert.ok(first.kind === 'out' && first.seq === 1 && first.state === 'ESTABLISHED' && first.cwnd > 1000);
    const info = (await calls.info(stream))!;
    assert.deepEqual([info.state, info.bytesAcked >= data.length, info.sndMss > 500], [1, true, true]);
    assert.equal((await calls.info(peer))!.bytesReceived, data.length);
    stream.trace(null);
    await own.ping(OTHER);
    const count = records.length;
    await calls.write(stream, data);
    for (let n = 0; n < data.length; ) n += (await calls.read(peer))!.length;
    await own.ping(OTHER);
    assert.equal(records.length, count, 'nobody looks any more');
    stream.trace((record) => records.push(record));
    await calls.write(stream, data);
    await until(() => records.length > count);
    assert.equal(stream.tracesLost, 0);
    await calls.close(stream);
    await calls.close(peer);
    await listener.close();
  },

  'each reply to many echo requests is told of, and each hop of a way': async ({ own }) => {
    const replies: PingReply[] = [];
    const onReply = (reply: PingReply): void => void replies.push(reply);
    const statistics = await own.pings(OTHER, { count: 5, interval: 2, size: 20, sequence: 7, onReply });
    assert.deepEqual(
      replies.map(({ address, sequence, size }) => [address, sequence, size]),
      [7, 8, 9, 10, 11].map((sequence) => [OTHER, sequence, 20]),
    );
    assert.deepEqual([statistics.sent, statistics.received, statistics.failures], [5, 5, 0]);
    assert.ok(statistics.minMs <= statistics.maxMs && replies.every(({ timeMs }) => timeMs >= 0));
    const codes: string[] = [];
    const none = await own.pings('10.0.0.77', {
      count: 2,
      interval: 1,
      timeout: 20,
      onFailure: ({ error }) => codes.push(error.code),
    });
    assert.deepEqual([none.received, Number.isNaN(none.avgMs), codes.length], [0, true, none.failures]);
    await assert.rejects(own.pings(OTHER, { count: 0 }), RangeError);
    await assert.rejects(own.pings('no.such.name', { count: 1 }), fails('ENOTFOUND', 'EAI_AGAIN', 'ETIMEDOUT'));
    const way = await own.trace(OTHER);
    assert.deepEqual(
      way.map(({ ttl, isLast, probes }) => [ttl, isLast, probes.map(({ address }) => address)]),
      [[1, true, [OTHER, OTHER, OTHER]]],
    );
    await assert.rejects(own.trace('no.such.name'), fails('ENOTFOUND', 'EAI_AGAIN', 'ETIMEDOUT'));
  },

  'an argument that is none': async ({ own }) => {
    await assert.rejects(own.connect({ host: OTHER, port: 0 }), RangeError);
    await assert.rejects(own.connect({ host: 'no.such.name', port: 80 }), (error) => {
      assert.match((error as NetError).code, /^(ENOTFOUND|EAI_AGAIN|EAI_FAIL|ESERVFAIL|EHOSTUNREACH)$/);
      return true;
    });
    await assert.rejects(own.bind({ port: 70_000 }), RangeError);
  },
};

/** What needs a thread that goes on while it waits: there both ends are asked. */
export const waitingSuite: Record<string, (setting: Setting) => Promise<void>> = {
  'a held SYN is accepted, refused, decided later': async ({ own, other, calls }) => {
    const asked: [string, number, string][] = [];
    const later: (() => void)[] = [];
    const onSyn: SynHandler = (syn) => {
      asked.push([syn.localAddress, syn.localPort, syn.remoteAddress]);
      if (asked.length === 1) return 'accept';
      if (asked.length === 2) return Promise.resolve('reject' as const);
      if (asked.length === 3) return 'unreachable';
      if (asked.length === 4) throw new Error('what a handler throws rejects');
      assert.ok(syn.isPending && syn.mss > 500);
      later.push(() => assert.ok(syn.accept() && !syn.isPending && !syn.accept()));
      return undefined;
    };
    const listener = await other.listen({ port: 80, onSyn });
    const to = { host: OTHER, port: 80 };
    const first = await own.connect(to);
    await calls.close(await calls.accept(listener));
    await calls.close(first);
    await assert.rejects(own.connect(to), fails('ECONNREFUSED'));
    await assert.rejects(own.connect(to), fails('EHOSTUNREACH'));
    await assert.rejects(own.connect(to), fails('ECONNREFUSED'));
    const connecting = own.connect(to);
    while (later.length === 0) await new Promise((resolve) => setTimeout(resolve, 1));
    later[0]!();
    const [stream, peer] = await Promise.all([connecting, calls.accept(listener)]);
    assert.equal(peer.remotePort, stream.localPort);
    assert.deepEqual(asked, Array(5).fill([OTHER, 80, OWN]));
    await calls.close(stream);
    await calls.close(peer);
    await listener.close();
  },

  'cancelled calls lose no bytes, no datagram and no connection': async (setting) => {
    const { own, other, calls } = setting;
    const [stream, peer, listener] = await connected(setting);
    const socket = await own.bind({ port: 53 });
    const sender = await other.bind();
    // However far a call has come when it is cancelled: what arrives is the next call's.
    for (let round = 0; round < 20; round++) {
      const abort = new AbortController();
      const { signal } = abort;
      const reading = stream.read({ signal });
      const receiving = socket.receive({ signal });
      const accepting = listener.accept({ signal });
      for (const call of [reading, receiving, accepting]) call.catch(() => {});
      const writing = calls.write(peer, Uint8Array.of(round));
      const sending = calls.send(sender, Uint8Array.of(round), { host: OWN, port: 53 });
      const connecting = own.connect({ host: OTHER, port: 80 });
      for (let i = 0; i < round; i++) await Promise.resolve();
      if (round % 3 === 0) await new Promise((resolve) => setTimeout(resolve, round % 2));
      abort.abort();
      const or = <T>(done: Promise<T>, again: () => Promise<T>): Promise<T> =>
        done.catch((error: Error) => {
          assert.equal(error.name, 'AbortError');
          return again();
        });
      assert.deepEqual(await or(reading, () => stream.read()), Uint8Array.of(round));
      assert.deepEqual((await or(receiving, () => socket.receive())).data, Uint8Array.of(round));
      const accepted = await or(accepting, () => listener.accept());
      const [made] = await Promise.all([connecting, writing, sending]);
      assert.equal(accepted.remotePort, made.localPort);
      await calls.close(made);
      await calls.close(accepted);
    }
    await Promise.all([calls.close(stream), calls.close(peer), listener.close(), socket.close(), sender.close()]);
  },

  'a connect that is cancelled or too late leaves nothing': async ({ own, other, calls }) => {
    const listener = await other.listen({ port: 80 });
    const abort = new AbortController();
    const connecting = own.connect({ host: '10.0.0.77', port: 80, signal: abort.signal });
    connecting.catch(() => {});
    await Promise.resolve();
    abort.abort();
    await assert.rejects(connecting, { name: 'AbortError' });
    await assert.rejects(own.connect({ host: '10.0.0.77', port: 80, timeout: 20 }), fails('ETIMEDOUT'));
    await assert.rejects(own.connect({ host: OTHER, port: 80, signal: AbortSignal.abort() }), { name: 'AbortError' });
    const stream = await own.connect({ host: OTHER, port: 80 });
    const peer = await calls.accept(listener);
    assert.equal(peer.remotePort, stream.localPort);
    await calls.close(stream);
    await calls.close(peer);
    await listener.close();
  },
};
