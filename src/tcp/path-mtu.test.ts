import assert from 'node:assert/strict';
import { test } from 'node:test';
import { errorV6, fragmentationNeeded } from '../../test/icmp-errors.ts';
import { established, PORT, patternBytes, REMOTE, synSent, type TestPeer } from '../../test/peer.ts';
import { established6, lengths6 } from '../../test/peer6.ts';
import { believedMtu } from '../iface/path-mtu.ts';
import { IpAddress } from '../wire/address.ts';
import { PACKET_TOO_BIG } from '../wire/icmpv6.ts';
import { octetsOf } from '../wire/octets.ts';

const TEN_MINUTES = 600_000;
/** Without Nagle's rule, which would hold small tails back. */
const tcp = { noDelay: true };

const say = (peer: TestPeer, bytes: Uint8Array): void => {
  peer.device.deliver(bytes);
  peer.poll();
};
const lengths = (peer: TestPeer): number[] => peer.take().map((s) => s.length);
/** The first packet that the stack sent since the last look; the rest is forgotten. */
const firstSent = (peer: TestPeer): Uint8Array => peer.device.sent.splice(0)[0]!;

/** Writes `bytes` and gives the packet of the first segment. */
function writing(peer: TestPeer, bytes: number): Uint8Array {
  peer.write(bytes);
  return firstSent(peer);
}

test('path MTU: what is believed of a report, by rule', () => {
  const rows: [string, boolean, number, number, number, number][] = [
    ['a lower MTU', true, 1500, 1400, 1500, 1400],
    ['RFC 1191 §6.3: never a higher one', true, 1400, 1450, 1500, 0],
    ['the same tells nothing', true, 1400, 1400, 1500, 0],
    ['RFC 5927 §7.2: not above what was sent', true, 1500, 1400, 1400, 0],
    ['not below the floor', true, 1500, 300, 1500, 552],
    ['already at the floor', true, 552, 300, 552, 0],
    ['RFC 791: no network takes less than 68', true, 1500, 67, 1500, 0],
    ['RFC 1191 §7: an old router: the plateau below 1500', true, 1500, 0, 1500, 1492],
    ['the plateau below 1492', true, 1492, 0, 1492, 1006],
    ['the plateau below 1006, and the floor', true, 1006, 0, 1006, 552],
    ['the plateau below 9000', true, 9000, 0, 9000, 8166],
    ['RFC 8201 §4: IPv6: lower', false, 1500, 1400, 1500, 1400],
    ['the minimum of IPv6', false, 1500, 1280, 1500, 1280],
    ['RFC 8201 §4: below the minimum it is discarded', false, 1500, 1279, 1500, 0],
    ['no plateaus in IPv6', false, 1500, 0, 1500, 0],
    ['nor what was not too big', false, 1500, 1400, 1300, 0],
  ];
  for (const [name, isV4, current, reported, length, mtu] of rows) {
    assert.equal(believedMtu(isV4, current, reported, length), mtu, name);
  }
});

test('path MTU: RFC 1191 §6.5: the segments shrink at once, and what is under way is sent again; cwnd stays', () => {
  const peer = established({ tcp });
  const packet = writing(peer, 4000);
  const { cwnd } = peer.connection!;
  say(peer, fragmentationNeeded(packet, 1000));
  const again = peer.take();
  let next = 1;
  for (const { seq, length, payload } of again) {
    assert.equal(seq, next);
    assert.ok(length <= 960);
    assert.deepEqual(payload, patternBytes(seq - 1, length));
    next += length;
  }
  assert.equal(next, 4001);
  assert.equal(peer.connection!.cwnd, cwnd, 'not congestion');
  assert.equal(peer.stack.stats.tcpPathMtuChanges, 1);
  peer.send('.', { seq: 1, ack: 4001 });
  peer.write(2000);
  assert.deepEqual(lengths(peer), [960, 960, 80]);
  assert.equal(peer.stack.stats.tcpTimeouts, 0);
  peer.end();
});

test('path MTU: options of every segment count: RFC 9293 §3.7.1', () => {
  const timestamps = { val: 1, ecr: 0 };
  const peer = established({ tcp, syn: { mss: 1460, timestamps } });
  say(peer, fragmentationNeeded(writing(peer, 2000), 1000));
  assert.deepEqual(lengths(peer), [948, 948, 104]);
  peer.end();
});

test('path MTU: super-segments are cut by the new size', () => {
  const peer = established({ tcp, offload: true });
  const packet = writing(peer, 6000);
  // What a router quotes is one of the segments the device made.
  octetsOf(packet).dv.setUint16(2, 1500);
  say(peer, fragmentationNeeded(packet, 1000));
  assert.equal(peer.connection!.mss, 960);
  assert.equal(
    lengths(peer).reduce((sum, length) => sum + length, 0),
    6000,
  );
  peer.end();
});

test('path MTU: RFC 5927 §4.1: only a segment under way can have been too big', () => {
  for (const offset of [-1, 2000]) {
    const peer = established({ tcp });
    const packet = writing(peer, 2000);
    const { dv } = octetsOf(packet);
    dv.setInt32(24, dv.getInt32(24) + offset);
    say(peer, fragmentationNeeded(packet, 1000));
    assert.equal(peer.connection!.mss, 1460);
    assert.equal(peer.stack.ip.pathMtus.count, 0);
    assert.equal(peer.stack.stats.drops['icmp-bad-mtu'], 1);
    peer.expect();
    peer.end();
  }
});

test('path MTU: a report for another flow is nobody’s', () => {
  const peer = established({ tcp });
  const packet = writing(peer, 2000);
  octetsOf(packet).dv.setUint16(22, 4001);
  say(peer, fragmentationNeeded(packet, 1000));
  assert.equal(peer.stack.ip.pathMtus.count, 0);
  assert.equal(peer.stack.stats.drops['icmp-no-socket'], 1);
  peer.end();
});

test('path MTU: it shrinks step by step, to the floor', () => {
  const peer = established({ tcp, syn: { mss: 1460, wnd: 65_535 } });
  let packet = writing(peer, 3000);
  for (const [mtu, mss] of [
    [1400, 1360],
    [1000, 960],
    [100, 512],
  ] as const) {
    say(peer, fragmentationNeeded(packet, mtu));
    packet = firstSent(peer);
    assert.equal(packet.length, mss + 40);
  }
  say(peer, fragmentationNeeded(packet, 100));
  assert.equal(peer.connection!.mss, 512);
  peer.expect();
  peer.end();
});

test('path MTU: RFC 1191 §6.3: after ten minutes larger segments are tried again', () => {
  const peer = established({ tcp });
  say(peer, fragmentationNeeded(writing(peer, 2000), 1000));
  peer.take();
  peer.send('.', { seq: 1, ack: 2001 });
  peer.pass(TEN_MINUTES - 1);
  peer.write(2000);
  assert.deepEqual(lengths(peer), [960, 960, 80]);
  peer.send('.', { seq: 1, ack: 4001 });
  peer.pass(1);
  assert.equal(peer.stack.ip.pathMtus.count, 0);
  peer.write(2000);
  assert.deepEqual(lengths(peer), [1460, 540]);
  peer.end();
});

test('path MTU: RFC 1191 §5.2: it is of the destination: connections that begin later, and others, have it', () => {
  const peer = established({ tcp });
  const other = peer.socket;
  // A second connection to the same peer, which sends nothing yet.
  const listener = peer.stack.tcpSocket();
  listener.listen({ port: 81 });
  const connect = (port: number, peerPort: number) => {
    const { peerIss, stackIss } = peer;
    peer.send('S', { seq: 0, mss: 1460, port, peerPort });
    const [synAck] = peer.take();
    peer.send('.', { seq: 1, ack: 1, port, peerPort });
    const socket = listener.accept()!;
    return { socket, synAck: synAck!, back: () => Object.assign(peer, { peerIss, stackIss }) };
  };
  const before = connect(81, 4001);
  before.back();
  say(peer, fragmentationNeeded(writing(peer, 2000), 1000));
  peer.take();
  before.socket.send(new Uint8Array(2000));
  peer.poll();
  assert.deepEqual(lengths(peer), [960, 960, 80]);
  const after = connect(81, 4002);
  assert.equal(after.synAck.mss, 1460, 'what is announced is of the interface');
  after.socket.send(new Uint8Array(2000));
  peer.poll();
  assert.deepEqual(lengths(peer), [960, 960, 80]);
  assert.equal(other.connection!.mss, 960);
  peer.end();
});

test('path MTU: a SYN in flight keeps what the SYN-ACK says', () => {
  const peer = synSent({ tcp });
  peer.stack.ip.pathMtus.set(REMOTE, 1000);
  peer.send('S.', { seq: 0, ack: 1, mss: 1460 });
  peer.take();
  peer.write(2000);
  assert.deepEqual(lengths(peer), [960, 960, 80]);
  peer.end();
});

test('path MTU: RFC 8201: packet too big', () => {
  const peer = established6({ tcp });
  peer.write(4000);
  const packet = firstSent(peer);
  const tooBig = (mtu: number): void => say(peer, errorV6(packet, PACKET_TOO_BIG, 0, mtu));
  tooBig(1279);
  assert.deepEqual(lengths6(peer), [], 'below the minimum of IPv6');
  tooBig(1300);
  assert.deepEqual(lengths6(peer), [1240, 1240, 1240, 280]);
  tooBig(1400);
  assert.equal(peer.connection!.mss, 1240, 'never higher');
  assert.deepEqual(lengths6(peer), []);
  peer.end();
});

test('path MTU: the cache is bounded, and forgets the oldest first', () => {
  const peer = synSent({ tcp });
  const { pathMtus } = peer.stack.ip;
  const address = (i: number): IpAddress => IpAddress.v4((0x0b000000 + i) | 0);
  for (let i = 0; i < 2000; i++) pathMtus.set(address(i), 1000);
  assert.equal(pathMtus.count, 1024);
  assert.equal(pathMtus.get(address(0), 1500), 1500);
  assert.equal(pathMtus.get(address(1999), 1500), 1000);
  assert.equal(pathMtus.get(address(1999), 900), 900, 'not above the interface');
  peer.socket.abort();
  peer.pass(TEN_MINUTES);
  assert.equal(pathMtus.count, 0);
  assert.equal(peer.stack.pollAt(), Number.POSITIVE_INFINITY);
  peer.end();
});

test('mssMax: bounds the MSS that is announced and the one that is used', () => {
  const peer = established({ tcp: { mssMax: 1000 } });
  peer.write(2000);
  assert.deepEqual(lengths(peer), [1000, 1000]);
  peer.end();
  const open = synSent({ tcp: { mssMax: 1000 } });
  open.socket.abort();
  open.take();
  const socket = open.stack.tcpSocket();
  socket.connect({ address: REMOTE, port: PORT });
  open.poll();
  assert.equal(open.take()[0]!.mss, 1000);
  open.end();
  const small = established({ tcp: { ...tcp, mssMax: 1000 }, syn: { mss: 500 } });
  small.write(1000);
  assert.deepEqual(lengths(small), [500, 500], 'the peer’s, where it is lower');
  small.end();
});
