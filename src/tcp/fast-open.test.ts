import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { bytesOf, hostPair, inTime, readAll, SERVER, text } from '../../test/hosts.ts';
import { listening, PORT, REMOTE, TestPeer } from '../../test/peer.ts';
import { createHost, type Host } from '../index.ts';
import { pipePair } from '../phy/index.ts';
import { Random } from '../phy/random.ts';
import { VirtualClock } from '../sim/clock.ts';
import { SipHash, swapBytes } from './isn.ts';
import { packetTooBig } from './path-mtu.ts';
import { seqAdd } from './seq.ts';
import { mergeSettings, TCP_DEFAULTS } from './settings.ts';
import type { TcpSocket } from './socket.ts';
import { isSynchronized } from './state.ts';

const KEY = 'a1a1a1a1b2b2b2b2c3c3c3c3d4d4d4d4';
const SERVES = { fastOpenBacklog: 8, fastOpenKey: KEY };
const ASKS = { fastOpen: true };

/** One exchange: the client's first bytes are `data`; gives how many packets the client had sent when they were there. */
async function exchange(client: Host, server: Host, data: string, tcp: object = ASKS): Promise<boolean> {
  const listener = await server.tcp.listen({ port: 80, tcp: SERVES });
  const before = server.stack.stats.tcpFastOpenPassive;
  const connecting = client.tcp.connect({ host: SERVER, port: 80, tcp, data: bytesOf(data) });
  const peer = await listener.accept();
  const isEarly = server.stack.stats.tcpFastOpenPassive > before;
  const stream = await connecting;
  await stream.end();
  assert.equal(text(await readAll(peer)), data);
  await peer.close();
  await stream.close();
  await listener.close();
  return isEarly;
}

describe('Fast Open', () => {
  test('RFC 7413 §3: a cookie with the first connection, text on the SYN of the next one', async () => {
    const { client, server, close } = hostPair();
    assert.equal(await exchange(client, server, 'first'), false);
    assert.equal(await exchange(client, server, 'second'), true);
    assert.equal(await exchange(client, server, 'x'.repeat(20_000)), true);
    const { stats } = client.stack;
    assert.deepEqual([stats.tcpFastOpenActive, stats.tcpFastOpenActiveFailed], [2, 0]);
    assert.deepEqual([server.stack.stats.tcpFastOpenCookiesAsked, server.stack.stats.tcpFastOpenPassive], [1, 2]);
    await close();
  });

  test('data without the setting follows the handshake', async () => {
    const { client, server, close } = hostPair();
    assert.equal(await exchange(client, server, 'plain', {}), false);
    assert.equal(await exchange(client, server, 'plain', {}), false);
    assert.equal(server.stack.stats.tcpFastOpenCookiesAsked, 0);
    await close();
  });

  test('another key: the cookie is refused, the text comes again, and the new cookie is good', async () => {
    const { client, server, close } = hostPair();
    await exchange(client, server, 'first');
    Object.assign(SERVES, { fastOpenKey: KEY.replace('a', 'b') });
    assert.equal(await exchange(client, server, 'second'), false);
    assert.equal(server.stack.stats.tcpFastOpenPassiveFailed, 1);
    assert.equal(client.stack.stats.tcpFastOpenActiveFailed, 1);
    assert.equal(await exchange(client, server, 'third'), true);
    // A former key is still known, and its clients are given a cookie of the new one.
    Object.assign(SERVES, { fastOpenKey: `${KEY},${KEY.replace('a', 'b')}` });
    assert.equal(await exchange(client, server, 'fourth'), true);
    Object.assign(SERVES, { fastOpenKey: KEY });
    assert.equal(await exchange(client, server, 'fifth'), true);
    await close();
  });

  test('over IPv6', async () => {
    const [left, right] = pipePair({ medium: 'ip', mtu: 1500 });
    const client = createHost({ device: left, addresses: ['fd00::1/64'] });
    const server = createHost({ device: right, addresses: ['fd00::2/64'] });
    for (const isEarly of [false, true]) {
      const listener = await server.tcp.listen({ port: 80, tcp: SERVES });
      const connecting = client.tcp.connect({ host: 'fd00::2', port: 80, tcp: ASKS, data: bytesOf('six') });
      const peer = await listener.accept();
      assert.equal(server.stack.stats.tcpFastOpenPassive === 1, isEarly);
      const stream = await connecting;
      await stream.end();
      assert.equal(text(await readAll(peer)), 'six');
      await Promise.all([peer.close(), stream.close(), listener.close()]);
    }
    await Promise.all([client.close(), server.close()]);
    assert.deepEqual([client.memory.usedBytes, server.memory.usedBytes], [0, 0]);
  });

  test('loss, duplicates and disorder: every byte arrives, from whichever SYN', async () => {
    for (let seed = 1; seed <= 60; seed++) {
      const clock = new VirtualClock();
      const faults = { loss: 0.15, duplicate: 0.1, reorder: 0.2, delay: 20, seed };
      const { client, server, close } = hostPair({ clock, faults });
      const listener = await server.tcp.listen({ port: 80, tcp: SERVES });
      for (const data of ['cookie', 'text of a SYN', 'y'.repeat(5000)]) {
        const connecting = client.tcp.connect({ host: SERVER, port: 80, tcp: ASKS, data: bytesOf(data) });
        const peer = await inTime(clock, listener.accept());
        const reading = readAll(peer);
        const stream = await inTime(clock, connecting);
        await inTime(clock, stream.end());
        assert.equal(text(await inTime(clock, reading)), data, `seed ${seed}`);
        await inTime(clock, Promise.all([peer.close(), stream.close()]));
      }
      await listener.close();
      await inTime(clock, close());
    }
  });

  test('no more are handed out early than the listener allows; the others are served as any', async () => {
    const { client, server, close } = hostPair();
    await exchange(client, server, 'cookie');
    const listener = await server.tcp.listen({ port: 80, tcp: { ...SERVES, fastOpenBacklog: 2 } });
    const streams = Array.from({ length: 5 }, (_, i) =>
      client.tcp.connect({ host: SERVER, port: 80, tcp: ASKS, data: bytesOf(`${i}`) }),
    );
    const got: string[] = [];
    for (let i = 0; i < 5; i++) {
      const peer = await listener.accept();
      got.push(text(await peer.read())!);
      await peer.close();
    }
    assert.deepEqual(got.sort(), ['0', '1', '2', '3', '4']);
    assert.ok(server.stack.stats.tcpFastOpenOverflows >= 1);
    for (const stream of await Promise.all(streams)) await stream.close();
    await listener.close();
    await close();
  });

  test('more data than the send buffer takes is refused, and nothing is left', async () => {
    const { client, close } = hostPair();
    const data = new Uint8Array(300_000);
    await assert.rejects(client.tcp.connect({ host: SERVER, port: 80, data }), /expected data of at most \d+ bytes/);
    assert.equal(client.stack.tcp.connections.count, 0);
    await close();
  });
});

/** No cookies: whoever sends text with a SYN is served at once. */
const NO_COOKIES = { fastOpenBacklog: 2, fastOpenCookie: false, noDelay: true };

/** The peer's SYN has come with `hello`, was answered, and what it opened was accepted. */
function handedOut(options: Parameters<typeof listening>[0] = {}): TestPeer {
  const peer = listening({ ...options, tcp: { ...NO_COOKIES, ...options.tcp } });
  peer.send('S', { seq: 0, mss: 1460, data: 'hello' });
  peer.expect('S. 0 ack 6');
  peer.socket = peer.socket.accept()!;
  return peer;
}

/** The stack has a SYN with `data` to send. */
function opening(data: string | number, tcp: object = {}): TestPeer {
  const peer = new TestPeer({ tcp: { fastOpen: true, fastOpenCookie: false, noDelay: true, ...tcp } });
  peer.peerPort = PORT;
  peer.socket = peer.stack.tcpSocket();
  peer.socket.connect({ address: REMOTE, port: PORT });
  peer.port = peer.socket.local!.port;
  peer.socket.send(typeof data === 'string' ? bytesOf(data) : new Uint8Array(data));
  return peer;
}

describe('Fast Open, by hand', () => {
  for (const linux of [false, true]) {
    for (const acked of [1, 3, 6]) {
      test(`SYNs cross, and ${acked - 1} bytes are acknowledged (linux: ${linux}): the rest goes, and what follows`, () => {
        const peer = opening('hello', { linux });
        peer.poll();
        peer.expect('S 0:5');
        peer.send('S', { seq: 0, mss: 1460 });
        peer.expect('S. 0 ack 1');
        peer.send('.', { seq: 1, ack: acked });
        assert.equal(peer.state, 'ESTABLISHED');
        peer.write(' world');
        const sent = peer.take();
        assert.equal(sent.map(({ payload }) => text(payload)).join(''), 'hello world'.slice(acked - 1));
        assert.equal(sent.filter(({ length }) => length > 0)[0]!.seq, acked);
        peer.send('.', { seq: 1, ack: 12 });
        assert.equal(peer.socket.sendQueue(), 0);
        peer.end();
      });
    }
  }

  test('memory has no frame for the SYN-ACK: it leaves later, and its acknowledgement is good', () => {
    const peer = listening({ tcp: NO_COOKIES, memory: 1 << 20 });
    const { memory, tcp } = peer.stack;
    const { flush } = tcp;
    const held: number[] = [];
    tcp.flush = () => {
      for (let size = memory.freeBytes; size >= 64; size >>= 1) {
        for (let block = memory.alloc(size); block !== 0; block = memory.alloc(size)) held.push(block);
      }
      const more = flush.call(tcp);
      for (const block of held.splice(0)) memory.free(block);
      return more;
    };
    peer.send('S', { seq: 0, mss: 1460, data: 'hello' });
    tcp.flush = flush;
    peer.expect();
    peer.pass(1500);
    peer.expect('S. 0 ack 6');
    peer.send('.', { seq: 6, ack: 1 });
    peer.expect();
    assert.equal(peer.state, 'ESTABLISHED');
    peer.end();
  });

  test('the SYN-ACK offers what room the text leaves, and no later one takes back what was offered', () => {
    const small = listening({ tcp: { ...NO_COOKIES, receiveBufferBytes: 4096, receiveBufferMaxBytes: 4096 } });
    small.send('S', { seq: 0, mss: 1460, data: 1400 });
    assert.deepEqual(
      small.take().map(({ ack, wnd }) => [ack, wnd]),
      [[1401, 2696]],
    );
    small.end();
    const rounded = listening({
      tcp: { ...NO_COOKIES, bsd: true, receiveBufferBytes: 1000, receiveBufferMaxBytes: 1000 },
    });
    rounded.send('S', { seq: 0, mss: 1460, data: 1400 }); // a buffer of whole segments: more than was asked for
    assert.deepEqual(
      rounded.take().map(({ flags, ack, wnd }) => [flags, ack, wnd]),
      [['S.', 1401, 0]],
    );
    rounded.end();
    const large = listening({ tcp: { ...NO_COOKIES, receiveBufferBytes: 1 << 20, receiveBufferMaxBytes: 1 << 20 } });
    large.send('S', { seq: 0, mss: 1460, windowScale: 7, data: 'hello' });
    large.socket = large.socket.accept()!;
    large.write('answer');
    const c = large.connection!;
    const edge = c.rcvAdv;
    large.pass(1100);
    assert.deepEqual(
      large.take().map(({ flags }) => flags),
      ['S.', 'P.', 'S.'],
    );
    assert.equal(c.rcvAdv, edge);
    large.end();
  });

  test('RFC 7413 §5.1: what a reset ended counts to the limit for a minute', () => {
    const peer = listening({ tcp: NO_COOKIES });
    const acked: number[] = [];
    const ask = (peerPort: number): void => {
      peer.send('S', { seq: 0, mss: 1460, data: 'hello', peerPort });
      acked.push(peer.take()[0]!.ack);
    };
    for (let i = 0; i < 4; i++) {
      ask(5000 + i);
      peer.send('R', { seq: acked[i]!, peerPort: 5000 + i });
    }
    assert.deepEqual(acked, [6, 6, 1, 1]);
    assert.equal(peer.stack.stats.tcpFastOpenOverflows, 2);
    peer.pass(60_000);
    ask(5004);
    assert.equal(acked[4], 6);
    peer.end();
  });

  test('a SYN has no more text than the path takes', () => {
    const peer = opening(3000);
    peer.stack.ip.pathMtus.set(REMOTE, 600);
    peer.poll();
    assert.deepEqual(
      peer.device.sent.map(({ length }) => length),
      [580],
    );
    peer.end();
  });

  test('a SYN that was too big for the path goes again at once, alone', () => {
    const peer = opening(1400);
    peer.poll();
    peer.expect('S 0:1400');
    const c = peer.connection!;
    packetTooBig(c, REMOTE, c.iss, 1000, 1500);
    peer.poll();
    peer.expect('S 0');
    peer.send('S.', { seq: 0, ack: 1, mss: 1460 });
    assert.deepEqual(
      peer.take().map(({ seq, length }) => [seq, length]),
      [
        [1, 960],
        [961, 440],
      ],
    );
    peer.end();
  });

  test('what was sent before the handshake is done was too big for the path: it goes again, in smaller segments', () => {
    const peer = handedOut();
    peer.write(1460);
    peer.expect('P. 1:1461 ack 6');
    const c = peer.connection!;
    packetTooBig(c, REMOTE, seqAdd(c.iss, 1), 1000, 1500);
    peer.poll();
    peer.expect('. 1:961 ack 6', 'P. 961:1461 ack 6');
    peer.send('.', { seq: 6, ack: 1461 });
    assert.equal(peer.socket.isDrained(), true);
    peer.end();
  });

  test('a device that was full has the rest before the handshake is done', () => {
    const peer = handedOut();
    const { device } = peer;
    const transmit = device.transmit.bind(device);
    device.transmit = (frame) => {
      device.roomFrames--;
      transmit(frame);
    };
    device.roomFrames = 1;
    peer.write(4000);
    peer.expect('. 1:1461 ack 6');
    device.roomFrames = 1000;
    peer.poll();
    peer.expect('. 1461:2921 ack 6', 'P. 2921:4001 ack 6');
    peer.end();
  });
});

/** What holds of every connection between two packets. */
function assertSound(peer: TestPeer, at: string): void {
  for (const c of peer.stack.tcp.connections.values()) {
    const of = (seq: number): number => (seq - c.iss) | 0;
    const where = `${at}, state ${c.state}, SND.UNA ${of(c.sndUna)}, SND.NXT ${of(c.sndNxt)}, SND.MAX ${of(c.sndMax)}`;
    assert.ok(c.sndNxt === c.iss || of(c.sndNxt) >= of(c.sndUna), where);
    assert.ok(of(c.sndMax) >= of(c.sndNxt), where);
    assert.ok(c.isReady || c.retransmitAt > 0 || c.probeAt > 0 || (c.sent === null && isSynchronized(c.state)), where);
    if (c.tx !== null && c.tx.length > 0 && isSynchronized(c.state)) assert.equal(c.txSeq, c.sndUna, where);
  }
}

/** One thing that may happen to a connection, or begin one. */
function happen(peer: TestPeer, sockets: TcpSocket[], chance: (n: number) => number): void {
  const all = peer.stack.tcp.connections.values();
  const c = all[chance(Math.max(1, all.length))];
  const socket = sockets[chance(Math.max(1, sockets.length))];
  const flow = {
    port: c?.localPort ?? PORT,
    peerPort: c?.remotePort ?? PORT,
    wnd: chance(4) === 0 ? chance(50) : 65_535,
  };
  const seq = c === undefined ? 0 : (c.rcvNxt - peer.peerIss) | 0;
  const acked = c === undefined ? 0 : c.sndUna + chance(3) * ((c.sndMax - c.sndUna) >> 1);
  peer.stackIss = 0;
  switch (chance(10)) {
    case 0:
      peer.send('S', { mss: 1460, data: chance(3) * 700, peerPort: 5000 + chance(5), port: PORT });
      break;
    case 1:
      if (sockets.length === 6) break;
      sockets.push(peer.stack.tcpSocket());
      sockets.at(-1)!.connect({ address: REMOTE, port: 90 + chance(3) });
      sockets.at(-1)!.send(new Uint8Array(chance(2) * chance(2000))); // with the SYN
      break;
    case 2:
      if (socket?.maySend()) socket.send(new Uint8Array(chance(5000)));
      break;
    case 3:
      if (c !== undefined) peer.send('S', { ...flow, mss: 1460, data: chance(2) * 100 });
      break;
    case 4:
      if (c !== undefined) peer.send('S.', { ...flow, mss: 1460, ack: chance(2) === 0 ? c.iss + 1 : c.sndMax });
      break;
    case 5:
    case 6:
      if (c !== undefined) peer.send(chance(9) === 0 ? 'F.' : '.', { ...flow, seq, ack: acked, data: chance(2) * 500 });
      break;
    case 7:
      if (c !== undefined && chance(3) === 0) peer.send('R.', { ...flow, seq, ack: c.sndMax });
      else if (c !== undefined) packetTooBig(c, REMOTE, c.sndUna, 600 + chance(800), 1500);
      break;
    case 8:
      for (let made = peer.socket.accept(); made !== null; made = peer.socket.accept()) sockets.push(made);
      if (chance(3) === 0 && socket !== undefined) sockets.splice(sockets.indexOf(socket), 1)[0]!.release();
      break;
    default:
      peer.device.roomFrames = chance(4) === 0 ? chance(3) : 1000;
      peer.pass(chance(3) === 0 ? chance(5000) : chance(50));
  }
  peer.poll();
}

test('whatever comes in whatever order, to both sides: no exception, no state left, and every connection stays sound', () => {
  for (let seed = 1; seed <= 150; seed++) {
    const random = new Random(seed);
    const chance = (n: number): number => random.next() % n;
    const peer = listening({
      tcp: { ...NO_COOKIES, fastOpen: true, linux: seed % 3 === 1, bsd: seed % 3 === 2 },
    });
    const sockets: TcpSocket[] = [];
    for (let step = 0; step < 80; step++) {
      happen(peer, sockets, chance);
      assertSound(peer, `seed ${seed}, step ${step}`);
    }
    peer.device.sent.length = 0;
    for (const socket of sockets) socket.release({ lingerMs: 0 });
    peer.end();
  }
});

test("SipHash-2-4: the first of its authors' vectors, and Linux's cookie for two addresses", () => {
  const hash = SipHash.withKey('000102030405060708090a0b0c0d0e0f');
  const vector = hash.hash(new Int32Array(0));
  assert.deepEqual([vector >>> 0, hash.high >>> 0], [0xdd0e0e31, 0x726fdb47]);
  const cookie = SipHash.withKey('a1a1a1a1b2b2b2b2c3c3c3c3d4d4d4d4');
  const low = cookie.hash(Int32Array.of(swapBytes(0xc0000201), swapBytes(0xc0a80001)));
  assert.deepEqual([swapBytes(low) >>> 0, swapBytes(cookie.high) >>> 0], [0x3021b9d8, 0x89017eeb]);
});

test('settings: a key is 32 hexadecimal digits, or two of them', () => {
  for (const fastOpenKey of ['', KEY, `${KEY},${KEY}`]) mergeSettings(TCP_DEFAULTS, { fastOpenKey });
  for (const fastOpenKey of ['x', KEY.slice(1), `${KEY},`, `${KEY},${KEY},${KEY}`]) {
    assert.throws(
      () => mergeSettings(TCP_DEFAULTS, { fastOpenKey }),
      /^RangeError: fastOpenKey: expected 32 hexadecimal/,
    );
  }
});
