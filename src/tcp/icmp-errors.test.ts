import assert from 'node:assert/strict';
import { test } from 'node:test';
import { errorV4, errorV6 } from '../../test/icmp-errors.ts';
import {
  closeWait,
  established,
  finWait1,
  lastAck,
  listening,
  PEER_PORT,
  synReceived,
  synSent,
  type TestPeer,
} from '../../test/peer.ts';
import { established6, lastSent, synSent6 } from '../../test/peer6.ts';
import type { ErrorCode } from '../errors.ts';
import * as v4 from '../wire/icmpv4.ts';
import * as v6 from '../wire/icmpv6.ts';
import { octetsOf } from '../wire/octets.ts';
import * as tcp from '../wire/tcp.ts';

/** Type, code, and what an attempt to connect fails with; null: it goes on. Whether it ends a half-open connection. */
type Row = readonly [type: number, code: number, error: ErrorCode | null, endsHalfOpen: boolean];

// RFC 792, RFC 1122 §3.2.2.1, RFC 1812 §5.2.7.1; the errors as Linux gives them.
const V4: readonly Row[] = [
  [v4.UNREACHABLE, 0, 'ENETUNREACH', true],
  [v4.UNREACHABLE, 1, 'EHOSTUNREACH', true],
  [v4.UNREACHABLE, 2, 'ENOPROTOOPT', false],
  [v4.UNREACHABLE, 3, 'ECONNREFUSED', false],
  [v4.UNREACHABLE, 5, 'EOPNOTSUPP', false],
  [v4.UNREACHABLE, 6, 'ENETUNREACH', false],
  [v4.UNREACHABLE, 7, 'EHOSTDOWN', false],
  [v4.UNREACHABLE, 8, 'ENONET', false],
  [v4.UNREACHABLE, 9, 'ENETUNREACH', false],
  [v4.UNREACHABLE, 10, 'EHOSTUNREACH', false],
  [v4.UNREACHABLE, 11, 'ENETUNREACH', false],
  [v4.UNREACHABLE, 12, 'EHOSTUNREACH', false],
  [v4.UNREACHABLE, 13, 'EHOSTUNREACH', false],
  [v4.UNREACHABLE, 14, 'EHOSTUNREACH', false],
  [v4.UNREACHABLE, 15, 'EHOSTUNREACH', false],
  [v4.UNREACHABLE, 16, null, false],
  [v4.SOURCE_QUENCH, 0, null, false],
  [v4.REDIRECT, 1, null, false],
  [v4.TIME_EXCEEDED, 0, 'EHOSTUNREACH', true],
  [v4.TIME_EXCEEDED, 1, 'EHOSTUNREACH', true],
  [v4.PARAMETER_PROBLEM, 0, 'EPROTO', true],
];

// RFC 4443 §3.
const V6: readonly Row[] = [
  [v6.UNREACHABLE, 0, 'ENETUNREACH', false],
  [v6.UNREACHABLE, 1, 'EACCES', true],
  [v6.UNREACHABLE, 2, 'EHOSTUNREACH', false],
  [v6.UNREACHABLE, 3, 'EHOSTUNREACH', false],
  [v6.UNREACHABLE, 4, 'ECONNREFUSED', true],
  [v6.UNREACHABLE, 5, 'EACCES', true],
  [v6.UNREACHABLE, 6, 'EACCES', true],
  [v6.UNREACHABLE, 7, 'EPROTO', true],
  [v6.TIME_EXCEEDED, 0, 'EHOSTUNREACH', false],
  [v6.PARAMETER_PROBLEM, 1, 'EPROTO', true],
  [100, 0, null, false],
];

/** What the stack would send for `c` at its oldest number not acknowledged: the head that a router would quote. */
function quoteOf(peer: TestPeer): Uint8Array {
  const bytes = peer.segment('.', {});
  const o = octetsOf(bytes);
  // The peer's own segment turned round: addresses and ports change places.
  const source = o.dv.getInt32(12);
  o.dv.setInt32(12, o.dv.getInt32(16));
  o.dv.setInt32(16, source);
  const ports = o.dv.getInt32(20);
  o.dv.setInt32(20, (ports << 16) | (ports >>> 16));
  o.dv.setInt32(24, peer.connection!.sndUna);
  return bytes;
}

const say = (peer: TestPeer, bytes: Uint8Array): void => {
  peer.device.deliver(bytes);
  peer.poll();
};

for (const [type, code, error, endsHalfOpen] of V4) {
  test(`icmp ${type}/${code}: SYN-SENT: ${error ?? 'ignored'}`, () => {
    const peer = synSent();
    say(peer, errorV4(quoteOf(peer), type, code));
    assert.equal(peer.socket.error, error);
    assert.equal(peer.state, error === null ? 'SYN-SENT' : 'CLOSED');
    peer.end();
  });

  test(`icmp ${type}/${code}: SYN-RECEIVED: a half-open connection ${endsHalfOpen ? 'ends without a word' : 'stays'}`, () => {
    const peer = synReceived();
    say(peer, errorV4(quoteOf(peer), type, code));
    assert.equal(peer.state, endsHalfOpen ? 'CLOSED' : 'SYN-RECEIVED');
    assert.equal(peer.socket.state(), 'LISTEN');
    peer.expect();
    peer.end();
  });

  // RFC 9293 §3.9.2.2 MUST-56, RFC 5461 §4.1, RFC 5927 §5.2: soft in every synchronized state.
  for (const build of [established, finWait1, closeWait, lastAck]) {
    test(`icmp ${type}/${code}: ${build.name}: soft: told when it times out`, () => {
      const peer = build({ tcp: { retriesMax: 2 } });
      const { state } = peer;
      if (state === 'ESTABLISHED' || state === 'CLOSE-WAIT') peer.write('hello');
      say(peer, errorV4(quoteOf(peer), type, code));
      assert.equal(peer.state, state);
      peer.pass(100_000);
      assert.equal(peer.state, 'CLOSED');
      assert.equal(peer.socket.error, error ?? 'ETIMEDOUT');
      peer.end();
    });
  }
}

test('icmp: progress makes what was reported a thing of the past', () => {
  const peer = established({ tcp: { retriesMax: 2 } });
  peer.write('hello');
  say(peer, errorV4(quoteOf(peer), v4.UNREACHABLE, 1));
  peer.send('.', { seq: 1, ack: 6 });
  peer.write('world');
  peer.pass(100_000);
  assert.equal(peer.socket.error, 'ETIMEDOUT');
  peer.end();
});

test('icmp: MUST-55: source quench is discarded silently and counted', () => {
  const peer = established();
  peer.write('hello');
  const { cwnd } = peer.connection!;
  say(peer, errorV4(quoteOf(peer), v4.SOURCE_QUENCH, 0));
  assert.equal(peer.connection!.cwnd, cwnd);
  assert.equal(peer.stack.stats.drops['icmp-source-quench'], 1);
  peer.end();
});

test('icmp: a report about a listener, or about nobody, does nothing', () => {
  const peer = listening();
  const other = synSent();
  const packet = quoteOf(other);
  octetsOf(packet).dv.setUint16(20, 80);
  octetsOf(packet).dv.setUint16(22, PEER_PORT);
  say(peer, errorV4(packet, v4.UNREACHABLE, 3));
  assert.equal(peer.socket.state(), 'LISTEN');
  peer.end();
  other.end();
});

test("icmp: RFC 5927 §4.1: a number that is not under way is nobody's, in any state", () => {
  for (const [build, offset] of [
    [synSent, -1],
    [synSent, 2],
    [synReceived, -1],
    [established, -1],
    [established, 6],
  ] as const) {
    const peer = build({ tcp: { retriesMax: 1 } });
    if (peer.state === 'ESTABLISHED') peer.write('hello');
    const { state } = peer;
    const packet = quoteOf(peer);
    octetsOf(packet).dv.setInt32(24, peer.connection!.sndUna + offset);
    say(peer, errorV4(packet, v4.UNREACHABLE, 1));
    assert.equal(peer.state, state);
    assert.equal(peer.connection!.softError, null);
    peer.end();
  }
});

for (const [type, code, error] of V6) {
  test(`icmp6 ${type}/${code}: SYN-SENT: ${error ?? 'ignored'}; ESTABLISHED: soft`, () => {
    const { peer, syn } = synSent6();
    say(peer, errorV6(syn, type, code));
    assert.equal(peer.socket.error, error);
    peer.end();
    const later = established6({ tcp: { retriesMax: 2 } });
    later.write('hello');
    say(later, errorV6(lastSent(later), type, code));
    assert.equal(later.state, 'ESTABLISHED');
    later.pass(100_000);
    assert.equal(later.socket.error, error ?? 'ETIMEDOUT');
    later.end();
  });
}

/** The SYN-ACK of a connection that the peer opened over IPv6. */
function synReceived6(): { peer: TestPeer; synAck: Uint8Array } {
  // The stack's own SYN, turned round, is the peer's.
  const { peer, syn } = synSent6();
  const listener = peer.stack.tcpSocket();
  listener.listen({ port: 81 });
  const swapped = syn.slice();
  swapped.set(syn.subarray(8, 24), 24);
  swapped.set(syn.subarray(24, 40), 8);
  const o = octetsOf(swapped);
  o.dv.setInt32(40, (6000 << 16) | 81);
  // Ports have changed and addresses only changed places: the checksum is mended by the difference.
  tcp.complete(o, 40, swapped.length, pseudoOf(swapped));
  peer.device.deliver(swapped);
  peer.poll();
  return { peer, synAck: lastSent(peer) };
}

/** Sum of the addresses and the protocol, as pseudoHeaderSum gives it. */
function pseudoOf(packet: Uint8Array): number {
  const { dv } = octetsOf(packet);
  let sum = 6;
  for (let p = 8; p < 40; p += 2) sum += dv.getUint16(p);
  return sum;
}

for (const [type, code, , endsHalfOpen] of V6) {
  test(`icmp6 ${type}/${code}: SYN-RECEIVED: a half-open connection ${endsHalfOpen ? 'ends without a word' : 'stays'}`, () => {
    const { peer, synAck } = synReceived6();
    const halfOpen = () => peer.stack.tcp.connections.values().filter((c) => c.localPort === 81).length;
    assert.equal(halfOpen(), 1);
    say(peer, errorV6(synAck, type, code));
    assert.equal(halfOpen(), endsHalfOpen ? 0 : 1);
    peer.end();
  });
}
