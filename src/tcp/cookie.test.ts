import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  LOCAL,
  listening,
  type PeerOptions,
  REMOTE,
  type SegmentOptions,
  type Sent,
  type TestPeer,
} from '../../test/peer.ts';
import { IpAddress } from '../wire/address.ts';
import { pseudoHeaderSum } from '../wire/ip.ts';
import * as ipv4 from '../wire/ipv4.ts';
import { octetsOf } from '../wire/octets.ts';
import * as wire from '../wire/tcp.ts';

const ALL = { mss: 1460, windowScale: 7, sackPermitted: true, timestamps: { val: 5000, ecr: 0 } };

const cookies = (options: PeerOptions = {}): TestPeer =>
  listening({ ...options, tcp: { synCookies: 'always', ...options.tcp } });

/** Sends a SYN and takes the SYN-ACK, after which nothing is left in the stack. */
function challenged(peer: TestPeer, syn: SegmentOptions = ALL): Sent {
  peer.send('S', { seq: 0, ...syn });
  const [synAck] = peer.take();
  assert.equal(synAck!.flags, 'S.');
  assert.equal(peer.stack.tcp.connections.count, 0, 'no state');
  return synAck!;
}

/** The timestamps of an answer to `synAck`. */
const echoing = (synAck: Sent) =>
  synAck.timestamps === null ? {} : { timestamps: { val: 5001, ecr: synAck.timestamps.val } };

test('cookie: RFC 4987 §3.6: the ACK opens the connection, with window scale and SACK out of the timestamp', () => {
  const peer = cookies();
  const synAck = challenged(peer);
  assert.deepEqual(
    [synAck.mss, synAck.windowScale, synAck.sackPermitted, synAck.timestamps!.ecr],
    [1460, 8, true, 5000],
  );
  // Linux's layout: the scale in four bits, SACK permitted in the fifth.
  peer.send('.', { seq: 1, ack: 1, wnd: 500, ...echoing(synAck) });
  peer.expect();
  const c = peer.connection!;
  assert.deepEqual([c.sndShift, c.peerScales, c.useSack, c.useTimestamps], [7, true, true, true]);
  assert.equal(c.sndWnd, 500 << 7);
  assert.equal(c.mss, 1448);
  assert.equal(c.srttUs, 0, 'the timestamp of a cookie measures nothing');
  peer.socket = peer.socket.accept()!;
  peer.write('hello');
  peer.expect('P. 1:6 ack 1');
  const { stats } = peer.stack;
  assert.deepEqual([stats.tcpSynCookiesSent, stats.tcpSynCookiesReceived, stats.tcpSynCookiesFailed], [1, 1, 0]);
  peer.end();
});

test('cookie: each option alone, and none without timestamps', () => {
  for (const [syn, expected] of [
    [{ mss: 1460, windowScale: 0, timestamps: { val: 1, ecr: 0 } }, [0, true, false, true]],
    [{ mss: 1460, windowScale: 14, timestamps: { val: 1, ecr: 0 } }, [14, true, false, true]],
    [{ mss: 1460, sackPermitted: true, timestamps: { val: 1, ecr: 0 } }, [0, false, true, true]],
    [{ mss: 1460, windowScale: 7, sackPermitted: true }, [0, false, false, false]],
  ] as const) {
    const peer = cookies();
    const synAck = challenged(peer, syn);
    const offered = [synAck.windowScale >= 0, synAck.sackPermitted, synAck.timestamps !== null];
    assert.deepEqual(offered, expected.slice(1), 'the SYN-ACK offers what the cookie can carry');
    peer.send('.', { seq: 1, ack: 1, ...echoing(synAck) });
    const c = peer.connection!;
    assert.deepEqual([c.sndShift, c.peerScales, c.useSack, c.useTimestamps], expected);
    peer.end();
  }
});

test('cookie: ECN goes the same way: RFC 3168 §6.1.1', () => {
  for (const [flags, ecn, agreed] of [
    ['SEW', 'passive', true],
    ['SE', 'passive', false],
    ['SEW', 'off', false],
  ] as const) {
    const peer = cookies({ tcp: { ecn } });
    peer.send(flags, { seq: 0, ...ALL });
    const [synAck] = peer.take();
    assert.equal(synAck!.flags, agreed ? 'S.E' : 'S.');
    peer.send('.', { seq: 1, ack: 1, ...echoing(synAck!) });
    assert.equal(peer.connection!.ecn !== null, agreed);
    peer.end();
  }
});

test('cookie: the timestamp is never in the future, so the next one is not older', () => {
  const peer = cookies();
  for (let i = 0; i < 70; i++, peer.now++) {
    const synAck = challenged(peer, { ...ALL });
    peer.send('.', { seq: 1, ack: 1, ...echoing(synAck) });
    const socket = peer.socket.accept()!;
    socket.send(new Uint8Array(1));
    peer.poll();
    const [data] = peer.take();
    assert.ok(((data!.timestamps!.val - synAck.timestamps!.val) | 0) >= 0);
    socket.abort();
    socket.release();
    peer.take();
  }
  peer.end();
});

test('cookie: the MSS of the peer, rounded down to the table; 536 without the option', () => {
  for (const [mss, used] of [
    [0, 536],
    [1, 48],
    [300, 216],
    [535, 456],
    [536, 536],
    [1299, 1220],
    [1300, 1300],
    [1459, 1440],
    [1460, 1460],
    [8960, 1460],
  ] as const) {
    const peer = cookies();
    challenged(peer, mss === 0 ? {} : { mss });
    peer.send('.', { seq: 1, ack: 1 });
    assert.equal(peer.connection!.mss, used, `${mss}`);
    peer.end();
  }
});

test('cookie: data, or a FIN, may come with the ACK', () => {
  const peer = cookies();
  const synAck = challenged(peer);
  peer.send('P.', { seq: 1, ack: 1, data: 'GET /', ...echoing(synAck) });
  peer.expect('. 1 ack 6');
  peer.socket = peer.socket.accept()!;
  assert.equal(peer.read(), 'GET /');
  peer.end();
  const closing = cookies();
  challenged(closing, { mss: 1460 });
  closing.send('F.', { seq: 1, ack: 1 });
  closing.expect('. 1 ack 2');
  assert.equal(closing.state, 'CLOSE-WAIT');
  closing.end();
});

test('cookie: one that was never sent, or for another flow, is answered with RST and counted', () => {
  const peer = cookies();
  challenged(peer, { mss: 1460 });
  for (const wrong of [
    { ack: 2 },
    { ack: 0 },
    { seq: 2 },
    { seq: 1 << 24 },
    { ack: 1 + (1 << 24) },
    { peerPort: 4001 },
  ]) {
    peer.send('.', { seq: 1, ack: 1, ...wrong });
    assert.deepEqual(
      peer.take().map((s) => s.flags),
      ['R'],
    );
  }
  assert.equal(peer.stack.stats.tcpSynCookiesFailed, 6);
  assert.equal(peer.stack.tcp.connections.count, 0);
  peer.send('.', { seq: 1, ack: 1 });
  assert.equal(peer.state, 'ESTABLISHED', 'the right one still counts');
  peer.end();
});

test('cookie: the first segment is lost: those behind it do not end what it opens when it comes again', () => {
  const peer = cookies();
  challenged(peer, { mss: 1460 });
  peer.send('.', { seq: 1461, ack: 1, data: 1460 });
  peer.send('F.', { seq: 2921, ack: 1 });
  peer.expect();
  peer.send('.', { seq: 1, ack: 1, data: 1460 });
  peer.expect('. 1 ack 1461');
  peer.end();
});

test('cookie: without one outstanding an ACK is not even looked at: RST', () => {
  const peer = listening();
  peer.send('.', { seq: 1, ack: 1 });
  peer.expect('R 1');
  assert.equal(peer.stack.stats.tcpSynCookiesFailed, 0);
  peer.end();
});

test('cookie: it is good for at least a minute and at most two', () => {
  for (const [ms, state] of [
    [63_000, 'ESTABLISHED'],
    [129_000, 'CLOSED'],
  ] as const) {
    const peer = cookies();
    challenged(peer, { mss: 1460 });
    peer.pass(ms);
    // Another one keeps the listener looking.
    peer.send('S', { seq: 0, mss: 1460, peerPort: 5000 });
    const { stackIss } = peer;
    peer.device.sent.length = 0;
    assert.equal(peer.stackIss, stackIss);
    peer.send('.', { seq: 1, ack: 1 });
    assert.equal(peer.state, state, `${ms}`);
    peer.device.sent.length = 0;
    peer.end();
  }
});

test('cookie: its SYN-ACK is not sent again; the SYN that comes again gets another', () => {
  const peer = cookies();
  challenged(peer, { mss: 1460 });
  peer.pass(60_000);
  peer.expect();
  assert.equal(peer.stack.pollAt(), Number.POSITIVE_INFINITY);
  challenged(peer, { mss: 1460 });
  peer.end();
});

test('cookie: with the accept queue full the ACK is as if lost, and the next segment gets in', () => {
  const peer = cookies({ backlog: 1 });
  challenged(peer, { mss: 1460 });
  const first = peer.stackIss;
  peer.send('S', { seq: 0, mss: 1460, peerPort: 5001 });
  peer.take();
  peer.send('.', { seq: 1, ack: 1, peerPort: 5001 });
  peer.stackIss = first;
  peer.send('P.', { seq: 1, ack: 1, data: 'hello' });
  peer.expect();
  assert.equal(peer.stack.stats.drops['tcp-accept-queue-full'], 1);
  peer.socket.accept();
  peer.send('P.', { seq: 1, ack: 1, data: 'hello' });
  peer.expect('. 1 ack 6');
  peer.end();
});

test('cookie: auto: only when the SYN queue is full; never: dropped then', () => {
  const peer = listening();
  for (let i = 0; i < 511; i++) peer.send('S', { seq: 0, peerPort: 10_000 + i });
  assert.equal(peer.stack.tcp.connections.count, 511);
  assert.equal(peer.stack.stats.tcpSynCookiesSent, 0);
  peer.send('S', { seq: 0, peerPort: 9000 });
  assert.equal(peer.stack.stats.tcpSynCookiesSent, 1);
  peer.end();
  const never = listening({ tcp: { synCookies: 'never' } });
  for (let i = 0; i < 512; i++) never.send('S', { seq: 0, peerPort: 10_000 + i });
  assert.equal(never.stack.stats.tcpSynCookiesSent, 0);
  assert.equal(never.stack.stats.drops['tcp-syn-queue-full'], 1);
  never.end();
});

/** The packet of a SYN from another address. */
function spoofed(packet: Uint8Array, source: number, port: number): void {
  const o = octetsOf(packet);
  ipv4.emit(o.dv, 0, packet.length, 0, 1, ipv4.DONT_FRAGMENT, 64, 6, source, LOCAL.d);
  o.dv.setUint16(20, port);
  wire.complete(o, 20, packet.length, pseudoHeaderSum(IpAddress.v4(source), LOCAL, 6));
}

test('cookie: 100,000 SYNs from spoofed sources: an honest client connects at once, and the memory is where it was', () => {
  const peer = listening();
  const packet = peer.segment('S', { seq: 0, ...ALL });
  const used = peer.stack.memory.usedBytes;
  for (let i = 0; i < 100_000; i++) {
    spoofed(packet, (0x0a000000 + 256 * 256 + i) | 0, 1024 + (i % 60_000));
    peer.device.deliver(packet);
    if (i % 64 === 63) {
      peer.now += 1;
      peer.poll();
      peer.device.sent.length = 0;
    }
  }
  peer.poll();
  peer.device.sent.length = 0;
  assert.equal(peer.stack.memory.usedBytes, used);
  assert.ok(peer.stack.tcp.connections.count <= 511);
  assert.equal(peer.stack.memory.peakBytes - used <= 64 * 2 * 2048, true, 'frames under way, and nothing else');
  // In the middle of it: its SYN is answered at once, and its ACK gets in.
  peer.send('S', { seq: 0, ...ALL, peerPort: 4321 });
  const synAck = peer.take().find((s) => s.remotePort === 4321)!;
  peer.send('.', { seq: 1, ack: 1, peerPort: 4321, ...echoing(synAck) });
  assert.equal(peer.socket.accept()!.remote!.address.toString(), REMOTE.toString());
  peer.pass(600_000);
  peer.device.sent.length = 0;
  peer.end();
});
