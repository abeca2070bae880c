/**
 * The scenarios that a command-channel stack on smoltcp was probed with, by their names: P1 to P31 and Q1 to Q5, each with the
 * outcome of the RFC, of Linux, or the obvious one; for a host and for a channel alike.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { NetError } from '../../src/errors.ts';
import type { TcpStream } from '../../src/index.ts';
import * as tcp from '../../src/wire/tcp.ts';
import { bytesOf, isSettled, text } from '../hosts.ts';
import { readSegment, segment } from './segment.ts';
import { makeWorld, PEER, SUBJECT, type World, type WorldOptions } from './world.ts';

type Scenario = (world: World) => Promise<void>;

const GHOST = '10.0.0.9'; // an address that nobody has: its segments are written by hand
const HOUR = 3_600_000;

const fails = (code: string) => (error: unknown) => error instanceof NetError && error.code === code;

/** A connection from the peer to port 80 of the subject: both ends. */
async function connected(world: World): Promise<{ stream: TcpStream; peer: TcpStream }> {
  const { subject, run } = world;
  const listener = await run(subject.listen({ port: 80 }));
  const [stream, peer] = await run(
    Promise.all([listener.accept(), world.peer.tcp.connect({ host: SUBJECT, port: 80 })]),
  );
  await run(listener.close());
  return { stream, peer };
}

const ghost = (port: number, seq: number, flags: number, ack = 0, data?: Uint8Array): Uint8Array =>
  segment({
    from: GHOST,
    to: SUBJECT,
    fromPort: port,
    toPort: 80,
    seq,
    ack,
    flags,
    ...(data === undefined ? {} : { data }),
  });

/** What the subject sent to the ghost, the last of it. */
const lastToGhost = ({ sent }: World, port: number): NonNullable<ReturnType<typeof readSegment>> => {
  const found = sent.map(readSegment).filter((s) => s !== null && s.to === port);
  assert.notEqual(found.length, 0, 'nothing was sent to the ghost');
  return found.at(-1)!;
};

const scenarios: Record<string, Scenario | [WorldOptions, Scenario]> = {
  'P1 listen on 0.0.0.0: a client of any address of ours is accepted': async ({ subject, peer, run }) => {
    const listener = await run(subject.listen({ host: '0.0.0.0', port: 80 }));
    const stream = await run(peer.tcp.connect({ host: SUBJECT, port: 80 }));
    const accepted = await run(listener.accept());
    assert.equal(accepted.localAddress, SUBJECT);
    await run(Promise.all([stream.close(), accepted.close()]));
  },

  'P2 UDP bound to 0.0.0.0 receives, and sends': async ({ subject, peer, run }) => {
    const socket = await run(subject.bind({ host: '0.0.0.0', port: 53 }));
    const other = await run(peer.udp.bind({ port: 1000 }));
    await run(other.send(bytesOf('query'), { host: SUBJECT, port: 53 }));
    const { data, address, port } = await run(socket.receive());
    assert.deepEqual([text(data), address, port], ['query', PEER, 1000]);
    await run(socket.send(bytesOf('answer'), { host: PEER, port: 1000 }));
    assert.equal(text((await run(other.receive())).data), 'answer');
  },

  'P3 a read without room is an error, an empty send is done at once': async (world) => {
    const { stream, peer } = await connected(world);
    await world.run(peer.write(Uint8Array.of(7)));
    await assert.rejects(world.run(stream.readInto(new Uint8Array(0))), RangeError);
    await world.run(stream.write(new Uint8Array(0)));
    assert.deepEqual(await world.run(stream.read()), Uint8Array.of(7));
  },

  'P4 closing a UDP socket ends its receive, and the stack goes on': async ({ subject, run }) => {
    const socket = await run(subject.bind({ port: 53 }));
    const receive = socket.receive();
    receive.catch(() => {});
    await run(socket.close());
    await assert.rejects(run(receive), fails('ECANCELED'));
    await run((await run(subject.bind({ port: 53 }))).close());
  },

  'P5 a receive on a closed socket never gets what is for the next one': async ({ subject, peer, run }) => {
    const old = await run(subject.bind({ port: 53 }));
    const stale = old.receive();
    stale.catch(() => {});
    await run(old.close());
    const next = await run(subject.bind({ port: 54 }));
    const sender = await run(peer.udp.bind());
    await run(sender.send(bytesOf('secret'), { host: SUBJECT, port: 54 }));
    assert.equal(text((await run(next.receive())).data), 'secret');
    await assert.rejects(run(stale), fails('ECANCELED'));
    const { channel } = subject;
    if (channel === null) return;
    const first = await run(channel.request({ kind: 'udp-bind', port: 60 }));
    await run(channel.request({ kind: 'udp-close', handle: first.handle }));
    const second = await run(channel.request({ kind: 'udp-bind', port: 61 }));
    assert.notEqual(second.handle, first.handle);
    await run(sender.send(bytesOf('secret'), { host: SUBJECT, port: 61 }));
    const receive = channel.request({ kind: 'udp-receive', handle: first.handle });
    await assert.rejects(run(receive), fails('EBADF'));
    await run(channel.request({ kind: 'udp-close', handle: second.handle }));
  },

  'P6 a client that sends and closes before accept loses nothing': async ({ subject, peer, run, pass }) => {
    const listener = await run(subject.listen({ port: 80 }));
    const stream = await run(peer.tcp.connect({ host: SUBJECT, port: 80 }));
    await run(stream.write(bytesOf('early')));
    await run(stream.end());
    await pass(1000);
    const accepted = await run(listener.accept());
    assert.equal(text(await run(accepted.read())), 'early');
    assert.equal(await run(accepted.read()), null);
    await run(Promise.all([accepted.close(), stream.close()]));
  },

  'P7 a hundred clients that reset before accept leave nothing': async ({ subject, peer, run, pass }) => {
    const listener = await run(subject.listen({ port: 80 }));
    const streams = await run(
      Promise.all(Array.from({ length: 100 }, () => peer.tcp.connect({ host: SUBJECT, port: 80 }))),
    );
    for (const stream of streams) stream.abort();
    await pass(1000);
    const accept = listener.accept();
    accept.catch(() => {});
    await pass(600_000);
    assert.equal(await isSettled(accept), false);
    assert.equal(subject.stack.tcp.connections.count, 0);
    await run(listener.close());
  },

  'P8 a thousand SYNs without an ACK: bounded, and gone within the hour': async (world) => {
    const { subject, run, pass, inject, sent } = world;
    const listener = await run(subject.listen({ port: 80, backlog: 128 }));
    for (let i = 0; i < 1000; i++) inject(ghost(1000 + i, i, tcp.SYN));
    await pass(1);
    assert.ok(subject.stack.tcp.connections.count <= 256, `${subject.stack.tcp.connections.count} connections`);
    await pass(HOUR);
    assert.equal(subject.stack.tcp.connections.count, 0);
    assert.ok(sent.length < 3000, `${sent.length} packets were sent`);
    await run(listener.close());
  },

  'P9 connecting to a black hole ends with ETIMEDOUT': async ({ subject, clock, wire, run }) => {
    wire.isCut = true;
    await assert.rejects(run(subject.connect({ host: PEER, port: 80 })), fails('ETIMEDOUT'));
    assert.ok(clock.now() > 60_000 && clock.now() < 300_000, `after ${clock.now()} ms`);
    assert.equal(subject.stack.tcp.connections.count, 0);
  },

  'P10 a socket dropped while the channel is full is closed all the same': [
    { config: { channelCapacity: 1 } },
    async ({ subject, run, pass }) => {
      const sockets = await run(Promise.all(Array.from({ length: 20 }, (_, i) => subject.bind({ port: 100 + i }))));
      await Promise.all(sockets.map((socket) => socket.close()));
      await pass(1);
      for (let i = 0; i < 20; i++) await run((await run(subject.bind({ port: 100 + i }))).close());
    },
  ],

  'P11 three addresses are three addresses, and a wrong one changes nothing': async ({ subject, run }) => {
    await run(subject.setAddresses(['10.0.0.2/24', '10.0.0.3/24', 'fd00::2/64']));
    const addresses = (): string[] =>
      subject.stack.interfaces[1]!.addresses.map(String).filter((a) => !a.startsWith('fe80'));
    assert.deepEqual(addresses(), ['10.0.0.2/24', '10.0.0.3/24', 'fd00::2/64']);
    await assert.rejects(run(subject.setAddresses(['10.0.0.4/24', 'nonsense'])));
    assert.deepEqual(addresses(), ['10.0.0.2/24', '10.0.0.3/24', 'fd00::2/64']);
  },

  'P12 two stacks do not begin with one sequence number': async ({ subject, wire, sent, pass }) => {
    const other = makeWorld(subject.kind, { seed: 2 });
    for (const world of [{ subject, wire, sent, pass }, other]) {
      const connecting = world.subject.connect({ host: PEER, port: 80, localPort: 5000 });
      connecting.catch(() => {});
      await world.pass(1);
    }
    const first = (packets: readonly Uint8Array[]): number => packets.map(readSegment).find((s) => s !== null)!.seq;
    assert.notEqual(first(sent), first(other.sent));
    await other.close();
  },

  'P13 a cancelled read loses no bytes': async (world) => {
    const { stream, peer } = await connected(world);
    const abort = new AbortController();
    const read = stream.read({ signal: abort.signal });
    read.catch(() => {});
    await world.pass(1);
    abort.abort();
    await assert.rejects(world.run(read), { name: 'AbortError' });
    await world.run(peer.write(bytesOf('kept')));
    await world.pass(1);
    assert.equal(text(await world.run(stream.read())), 'kept');
  },

  'P14 a cancelled accept loses no connection': async ({ subject, peer, run, pass }) => {
    const listener = await run(subject.listen({ port: 80 }));
    const abort = new AbortController();
    const accept = listener.accept({ signal: abort.signal });
    accept.catch(() => {});
    await pass(1);
    abort.abort();
    await assert.rejects(run(accept), { name: 'AbortError' });
    const stream = await run(peer.tcp.connect({ host: SUBJECT, port: 80 }));
    await pass(1);
    const accepted = await run(listener.accept());
    assert.equal(accepted.remotePort, stream.localPort);
    await run(Promise.all([accepted.close(), stream.close(), listener.close()]));
    await pass(1);
    assert.ok(subject.stack.tcp.connections.count <= 1);
  },

  'P15 a reset is ECONNRESET to readers and writers': async (world) => {
    const { stream, peer } = await connected(world);
    const read = stream.read();
    read.catch(() => {});
    peer.abort();
    await assert.rejects(world.run(read), fails('ECONNRESET'));
    await world.pass(1);
    await assert.rejects(world.run(stream.write(bytesOf('x'))), (error) => {
      assert.match((error as NetError).code, /^(ECONNRESET|EPIPE)$/);
      return true;
    });
  },

  'P16 one port is one socket: EADDRINUSE': async ({ subject, run }) => {
    await run(subject.bind({ port: 53 }));
    await assert.rejects(run(subject.bind({ port: 53 })), fails('EADDRINUSE'));
    await run(subject.listen({ port: 80 }));
    await assert.rejects(run(subject.listen({ port: 80 })), fails('EADDRINUSE'));
  },

  'P17 the address of a live connection goes: the connection ends, the stack goes on': async (world) => {
    const { stream } = await connected(world);
    await world.run(world.subject.setAddresses(['10.0.0.77/24']));
    // As on Linux what is not sent cannot fail; what is sent finds no way, and ends when that has lasted too long.
    await world.run(stream.write(bytesOf('lost')));
    await assert.rejects(world.run(stream.read(), 2 * HOUR), (error) => error instanceof NetError);
    assert.equal(world.subject.stack.tcp.connections.count, 0);
    await world.run((await world.run(world.subject.bind({ port: 53 }))).close());
  },

  'P18 an echo request is answered': async ({ peer, run }) => {
    assert.equal((await run(peer.ping(SUBJECT))).size, 56);
  },

  'P19 127.0.0.1 is inside of the stack, whatever the device': async ({ subject, sent, run }) => {
    const listener = await run(subject.listen({ port: 80 }));
    const stream = await run(subject.connect({ host: '127.0.0.1', port: 80 }));
    const accepted = await run(listener.accept());
    await run(stream.write(bytesOf('self')));
    assert.equal(text(await run(accepted.read())), 'self');
    assert.equal(sent.length, 0);
  },

  'P20 datagrams above the MTU leave in fragments, above 65507 bytes not at all': [
    { mtu: 1280 },
    async ({ subject, peer, sent, run }) => {
      const socket = await run(subject.bind());
      const to = await run(peer.udp.bind({ port: 9 }));
      const rows: [number, number][] = [
        [1252, 1],
        [1253, 2],
        [1400, 2],
        [1472, 2],
        [1473, 2],
        [2000, 2],
        [4096, 4],
        [4097, 4],
        [65507, 53],
      ];
      for (const [length, packets] of rows) {
        sent.length = 0;
        await run(socket.send(new Uint8Array(length), { host: PEER, port: 9 }));
        assert.equal((await run(to.receive())).data.length, length);
        assert.equal(sent.length, packets, `${length} bytes`);
      }
      await assert.rejects(run(socket.send(new Uint8Array(65508), { host: PEER, port: 9 })), fails('EMSGSIZE'));
    },
  ],

  'P21 datagrams wait for a slow reader, and what is lost is counted': async ({ subject, peer, run, pass }) => {
    const socket = await run(subject.bind({ port: 53 }));
    const sender = await run(peer.udp.bind());
    for (const [count, length] of [
      [40, 10],
      [5, 1000],
    ] as const) {
      for (let i = 0; i < count; i++) await run(sender.send(new Uint8Array(length), { host: SUBJECT, port: 53 }));
      await pass(1);
      for (let i = 0; i < count; i++) assert.equal((await run(socket.receive())).data.length, length);
    }
    for (let i = 0; i < 300; i++) await run(sender.send(new Uint8Array(1000), { host: SUBJECT, port: 53 }));
    await pass(1);
    assert.ok((subject.stack.stats.drops['udp-queue-full'] ?? 0) > 0);
  },

  'P22 a SYN with a bad checksum is not answered, and counted': async (world) => {
    const { subject, run, inject, pass, sent } = world;
    await run(subject.listen({ port: 80 }));
    const packet = ghost(1000, 1, tcp.SYN);
    packet[36]! ^= 1;
    inject(packet);
    await pass(10);
    assert.equal(sent.length, 0);
    assert.equal(subject.stack.stats.drops['tcp-bad-checksum'], 1);
  },

  'P23 a raw TCP socket only listens in': async (world) => {
    const { subject, peer, run, pass, inject } = world;
    const raw = await run(subject.open({ family: 4, protocol: 6 }));
    const listener = await run(subject.listen({ port: 80 }));
    const stream = await run(peer.tcp.connect({ host: SUBJECT, port: 80 }));
    await run((await run(listener.accept())).close());
    await run(stream.close());
    await assert.rejects(run(peer.tcp.connect({ host: SUBJECT, port: 81 })), fails('ECONNREFUSED'));
    inject(segment({ from: GHOST, to: '10.0.0.200', fromPort: 1, toPort: 80, seq: 1, flags: tcp.SYN }));
    await pass(1);
    const first = await run(raw.receive());
    assert.equal(readSegment(first.data)!.flags & tcp.SYN, tcp.SYN);
    for (;;) {
      const next = raw.receive();
      next.catch(() => {});
      if (!(await isSettled(next))) break;
      assert.notEqual((await next).address, GHOST, 'a packet for another host');
    }
    await run(raw.close());
  },

  'P24 TIME-WAIT ends after a minute': async (world) => {
    const { stream, peer } = await connected(world);
    await world.run(stream.end());
    assert.equal(await world.run(peer.read()), null);
    await world.run(peer.close());
    assert.equal(await world.run(stream.read()), null);
    await world.run(stream.close());
    await world.pass(1000);
    assert.equal(world.subject.stack.tcp.timeWait.count, 1);
    await world.pass(61_000);
    assert.equal(world.subject.stack.tcp.timeWait.count, 0);
  },

  'P25 closed towards a dead peer: given up in the end': async (world) => {
    const { stream } = await connected(world);
    world.wire.isCut = true;
    await world.run(stream.close());
    await world.pass(HOUR);
    assert.equal(world.subject.stack.tcp.connections.count, 0);
  },

  'P26 segments with gaps between them, then the gaps: every byte is read': async (world) => {
    const { subject, run, pass, inject } = world;
    const listener = await run(subject.listen({ port: 80 }));
    inject(ghost(1000, 99, tcp.SYN));
    await pass(1);
    const { seq } = lastToGhost(world, 1000);
    const send = (offset: number): void =>
      inject(ghost(1000, 100 + offset, tcp.ACK, (seq + 1) | 0, Uint8Array.of(offset)));
    inject(ghost(1000, 100, tcp.ACK, (seq + 1) | 0));
    for (let i = 1; i < 12; i += 2) send(i);
    await pass(1);
    for (let i = 0; i < 12; i += 2) send(i);
    await pass(1);
    const accepted = await run(listener.accept());
    const bytes: number[] = [];
    while (bytes.length < 12) bytes.push(...(await run(accepted.read()))!);
    assert.deepEqual(bytes, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
    accepted.abort();
  },

  'P27 a second connection with the same addresses and ports is refused': async ({ subject, peer, run }) => {
    await run(peer.tcp.listen({ port: 80 }));
    const options = { host: PEER, port: 80, localPort: 5000 };
    await run(subject.connect(options));
    await assert.rejects(run(subject.connect(options)), (error) => {
      assert.match((error as NetError).code, /^EADDR(INUSE|NOTAVAIL)$/);
      return true;
    });
  },

  'P28 port 0, and an address that is not ours': async ({ subject, run }) => {
    await assert.rejects(run(subject.connect({ host: PEER, port: 0 })), RangeError);
    await assert.rejects(
      run(subject.connect({ host: PEER, port: 80, localAddress: '10.9.9.9' })),
      fails('EADDRNOTAVAIL'),
    );
  },

  'P29 what a socket bound to 0.0.0.0 sends has an address of ours': async ({ subject, peer, run }) => {
    const to = await run(peer.udp.bind({ port: 53 }));
    const socket = await run(subject.bind({ host: '0.0.0.0' }));
    await run(socket.send(Uint8Array.of(1), { host: PEER, port: 53 }));
    assert.equal((await run(to.receive())).address, SUBJECT);
  },

  'P30 TIME-WAIT ends by itself, with nothing else going on': async (world) => {
    const { stream, peer } = await connected(world);
    await world.run(stream.end());
    await world.run(peer.close());
    await world.run(stream.read());
    await world.run(stream.close());
    await world.pass(14_000);
    assert.equal(world.subject.stack.tcp.timeWait.count, 1);
    await world.pass(50_000);
    assert.equal(world.subject.stack.tcp.timeWait.count, 0);
    assert.equal(world.subject.stack.memory.usedBytes, 0);
  },

  'P31 a reset in SYN-RECEIVED leaves nothing in the way of the next client': async (world) => {
    const { subject, run, pass, inject, peer } = world;
    const listener = await run(subject.listen({ port: 80 }));
    inject(ghost(1000, 99, tcp.SYN));
    await pass(1);
    inject(ghost(1000, 100, tcp.RST));
    await pass(1);
    assert.equal(subject.stack.tcp.connections.count, 0);
    const stream = await run(peer.tcp.connect({ host: SUBJECT, port: 80 }));
    const accepted = await run(listener.accept());
    assert.equal(accepted.remotePort, stream.localPort);
    assert.equal(subject.stack.tcp.connections.count, 1);
    await run(Promise.all([accepted.close(), stream.close()]));
  },

  'Q1 a smaller buffer than before takes what it holds, the rest stays': async (world) => {
    const { stream, peer } = await connected(world);
    const abort = new AbortController();
    const read = stream.readInto(new Uint8Array(64), { signal: abort.signal });
    read.catch(() => {});
    await world.pass(1);
    abort.abort();
    await assert.rejects(world.run(read), { name: 'AbortError' });
    await world.run(peer.write(bytesOf('0123456789')));
    await world.pass(1);
    const small = new Uint8Array(4);
    assert.equal(await world.run(stream.readInto(small)), 4);
    assert.equal(text(small), '0123');
    assert.equal(text(await world.run(stream.read())), '456789');
  },

  'Q2 reading after the end of the connection is the same error twice': async (world) => {
    const { stream, peer } = await connected(world);
    peer.abort();
    await world.pass(1);
    for (let i = 0; i < 2; i++) await assert.rejects(world.run(stream.read()), fails('ECONNRESET'));
  },

  'Q3 write all, end: the peer reads to the end': async (world) => {
    const { stream, peer } = await connected(world);
    const data = new Uint8Array(300_000).map((_, i) => i * 7);
    const write = stream.write(data).then(() => stream.end());
    const chunks: Uint8Array[] = [];
    for (let chunk = await world.run(peer.read()); chunk !== null; chunk = await world.run(peer.read())) {
      chunks.push(chunk);
    }
    await world.run(write);
    assert.deepEqual(new Uint8Array(Buffer.concat(chunks)), data);
  },

  'Q4 a receive that timed out, its socket dropped: the stack goes on': async ({ subject, peer, run, pass }) => {
    const socket = await run(subject.bind({ port: 53 }));
    const abort = new AbortController();
    const receive = socket.receive({ signal: abort.signal });
    receive.catch(() => {});
    await pass(10);
    abort.abort(new NetError('ETIMEDOUT', 'receive'));
    await assert.rejects(run(receive), fails('ETIMEDOUT'));
    await run(socket.close());
    const next = await run(subject.bind({ port: 53 }));
    const sender = await run(peer.udp.bind());
    await run(sender.send(bytesOf('on'), { host: SUBJECT, port: 53 }));
    assert.equal(text((await run(next.receive())).data), 'on');
  },

  'closing with lingering waits for the acknowledgement, or for its time': async (world) => {
    const { clock, wire, run } = world;
    const first = await connected(world);
    await run(first.stream.write(new Uint8Array(50_000)));
    await run(first.stream.close({ lingerMs: 60_000 }));
    assert.ok(clock.now() < 5000, `after ${clock.now()} ms`);
    assert.equal((await run(first.peer.read()))!.length > 0, true);
    const second = await connected(world);
    wire.isCut = true;
    await run(second.stream.write(new Uint8Array(50_000)));
    const since = clock.now();
    await run(second.stream.close({ lingerMs: 3000 }));
    assert.ok(clock.now() - since >= 3000 && clock.now() - since < 3100, `it took ${clock.now() - since} ms`);
    second.peer.abort();
    first.peer.abort();
  },

  'Q5 megabytes over a wire of one packet arrive': [
    { packets: 1 },
    async (world) => {
      const { stream, peer } = await connected(world);
      const chunk = new Uint8Array(1 << 16).fill(5);
      const total = 4 << 20;
      const writing = (async () => {
        for (let n = 0; n < total; n += chunk.length) await stream.write(chunk);
        await stream.end();
      })();
      let read = 0;
      const buffer = new Uint8Array(1 << 16);
      const reading = (async () => {
        for (let n = await peer.readInto(buffer); n > 0; n = await peer.readInto(buffer)) read += n;
      })();
      await world.run(Promise.all([writing, reading]));
      assert.equal(read, total);
    },
  ],
};

for (const kind of ['host', 'channel'] as const) {
  for (const [name, entry] of Object.entries(scenarios)) {
    test(`${kind}: ${name}`, { timeout: 60_000 }, async () => {
      const [options, scenario] = typeof entry === 'function' ? [{}, entry] : entry;
      const world = makeWorld(kind, options);
      await scenario(world);
      await world.close();
      assert.equal(world.subject.stack.memory.usedBytes, 0, 'memory is still held');
    });
  }
}
