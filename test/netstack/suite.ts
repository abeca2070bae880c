/**
 * What must hold wherever the application is: on the host's thread, on the stack's thread behind a channel, on another one,
 * waiting or blocking; in Node and in a browser, so nothing of either is named here. Each test is a sequence, so that a
 * thread which blocks can run it as it is.
 */
import { NetError } from '../../src/errors.ts';
import type { Datagram, Host, RawPacket, RawSocket, TcpListener, TcpStream, UdpSocket } from '../../src/index.ts';
import {
  type Channel,
  rawOpen,
  rawOpenBlocking,
  tcpConnect,
  tcpConnectBlocking,
  tcpListen,
  tcpListenBlocking,
  udpBind,
  udpBindBlocking,
  udpConnect,
  udpConnectBlocking,
} from '../../src/netstack/index.ts';
import type { BindOptions, UdpConnectOptions } from '../../src/sockets/host.ts';
import type { RawOpenOptions } from '../../src/sockets/raw-socket.ts';
import * as assert from '../expect.ts';

const bytesOf = (written: string): Uint8Array => new TextEncoder().encode(written);
const text = (bytes: Uint8Array | null): string | null => (bytes === null ? null : new TextDecoder().decode(bytes));

/** The application's own stack, and the one that it talks to. */
export const OWN = '10.0.0.1';
export const OTHER = '10.0.0.2';

type Connect = { host: string; port: number; localPort?: number; noDelay?: boolean };

/** Sockets of one stack, and the calls of one setting. */
export interface Side {
  listen(options: { port: number; backlog?: number }): Promise<TcpListener>;
  connect(options: Connect): Promise<TcpStream>;
  bind(options?: BindOptions): Promise<UdpSocket>;
  connectUdp(options: UdpConnectOptions): Promise<UdpSocket>;
  open(options: RawOpenOptions): Promise<RawSocket>;
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
});

export const channelSide = (channel: Channel): Side => ({
  listen: (options) => tcpListen(channel, options),
  connect: (options) => tcpConnect(channel, options),
  bind: (options) => udpBind(channel, options),
  connectUdp: (options) => udpConnect(channel, options),
  open: (options) => rawOpen(channel, options),
});

const LIMIT = { timeoutMs: 10_000 };

export const blockingSide = (channel: Channel): Side => ({
  listen: async (options) => tcpListenBlocking(channel, options, LIMIT),
  connect: async (options) => tcpConnectBlocking(channel, options, LIMIT),
  bind: async (options) => udpBindBlocking(channel, options, LIMIT),
  connectUdp: async (options) => udpConnectBlocking(channel, options, LIMIT),
  open: async (options) => rawOpenBlocking(channel, options, LIMIT),
});

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

  'an argument that is none': async ({ own }) => {
    await assert.rejects(own.connect({ host: OTHER, port: 0 }), RangeError);
    await assert.rejects(own.connect({ host: 'no.such.name', port: 80 }), (error) => {
      assert.match((error as NetError).code, /^(ENOTFOUND|EAI_AGAIN|EAI_FAIL|ESERVFAIL|EHOSTUNREACH)$/);
      return true;
    });
    await assert.rejects(own.bind({ port: 70_000 }), RangeError);
  },
};
