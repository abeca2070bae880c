/**
 * What must hold wherever the application is: on the host's thread, on the stack's thread behind a channel, on another one,
 * waiting or blocking; in Node and in a browser, so nothing of either is named here. Each test is a sequence, so that a
 * thread which blocks can run it as it is.
 */
import { NetError } from '../../src/errors.ts';
import type {
  Datagram,
  Host,
  PingReply,
  RawPacket,
  RawSocket,
  TcpListener,
  TcpStream,
  UdpSocket,
} from '../../src/index.ts';
import {
  type Channel,
  configured,
  configuredBlocking,
  ping,
  pingBlocking,
  rawOpen,
  rawOpenBlocking,
  resolve,
  resolveBlocking,
  tcpConnect,
  tcpConnectBlocking,
  tcpListen,
  tcpListenBlocking,
  udpBind,
  udpBindBlocking,
  udpConnect,
  udpConnectBlocking,
} from '../../src/netstack/index.ts';
import type { MembershipChange } from '../../src/sockets/backend.ts';
import type { BindOptions, UdpConnectOptions } from '../../src/sockets/host-sockets.ts';
import type { SynHandler } from '../../src/sockets/incoming-syn.ts';
import type { RawOpenOptions } from '../../src/sockets/raw-socket.ts';
import * as assert from '../expect.ts';

const bytesOf = (written: string): Uint8Array => new TextEncoder().encode(written);
const text = (bytes: Uint8Array | null): string | null => (bytes === null ? null : new TextDecoder().decode(bytes));

/** The application's own stack, and the one that it talks to. */
export const OWN = '10.0.0.1';
export const OTHER = '10.0.0.2';

/** What both stacks are made with. */
const HOSTS = { hosts: { 'own.lan': OWN, 'other.lan': ['fd00::99', OTHER] } };
export const OWN_CONFIG = { addresses: [`${OWN}/24`], ...HOSTS };
export const OTHER_CONFIG = { addresses: [`${OTHER}/24`], ...HOSTS };

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
  resolve(name: string): Promise<readonly string[]>;
  configured(): Promise<readonly string[]>;
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

export const hostSide = (host: Host): Side => ({
  listen: (options) => host.tcp.listen(options),
  connect: (options) => host.tcp.connect(options),
  bind: (options) => host.udp.bind(options),
  connectUdp: (options) => host.udp.connect(options),
  open: (options) => host.raw.open(options),
  ping: (to, options) => host.ping(to, options),
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
