import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  closing,
  established,
  finWait1,
  finWait2,
  LOCAL,
  lastAck,
  listening,
  PORT,
  REMOTE,
  synReceived,
  synSent,
  TestPeer,
  timeWait,
} from '../../test/peer.ts';
import { IpAddress } from '../wire/address.ts';
import * as icmpv4 from '../wire/icmpv4.ts';
import { PROTOCOL_ICMP } from '../wire/ip.ts';
import * as ipv4 from '../wire/ipv4.ts';
import { octetsOf } from '../wire/octets.ts';

/** An ICMP error from the peer that quotes `packet`. */
function icmpError(packet: Uint8Array, code: number, type: number = icmpv4.UNREACHABLE): Uint8Array {
  const quoted = packet.subarray(0, 28);
  const bytes = new Uint8Array(28 + quoted.length);
  bytes.set(quoted, 28);
  const o = octetsOf(bytes);
  icmpv4.emit(o, 20, type, code, 0, bytes.length - 20);
  ipv4.emit(o.dv, 0, bytes.length, 0, 1, 0, 64, PROTOCOL_ICMP, REMOTE.d, LOCAL.d);
  return bytes;
}

test('open: the options of the SYN, and each of them off', () => {
  const synOf = (tcp: object) => {
    const peer = new TestPeer({ tcp: { receiveBufferMaxBytes: 1 << 19, ...tcp } });
    peer.socket = peer.stack.tcpSocket();
    peer.socket.connect({ address: REMOTE, port: PORT });
    peer.poll();
    const [syn] = peer.take();
    peer.end();
    return syn!;
  };
  const all = synOf({});
  assert.equal(all.mss, 1460);
  assert.equal(all.windowScale, 4, 'the least shift for half a megabyte');
  assert.equal(all.sackPermitted, true);
  assert.notEqual(all.timestamps, null);
  assert.equal(all.wnd, 65_535, 'never scaled');
  assert.equal(synOf({ timestamps: false }).timestamps, null);
  assert.equal(synOf({ sack: false }).sackPermitted, false);
  assert.equal(synOf({ windowScaling: false }).windowScale, -1);
  const none = synOf({ timestamps: false, sack: false, windowScaling: false });
  assert.deepEqual([none.mss, none.windowScale, none.sackPermitted, none.timestamps], [1460, -1, false, null]);
  assert.equal(synOf({ receiveBufferBytes: 1 << 12 }).wnd, 4096);
});

test('open: a SYN-ACK has an option only if the SYN had it', () => {
  const answerTo = (syn: object) => {
    const peer = listening({ tcp: { receiveBufferMaxBytes: 1 << 19 } });
    peer.send('S', { seq: 0, ...syn });
    const [answer] = peer.take();
    peer.end();
    return answer!;
  };
  const bare = answerTo({});
  assert.deepEqual([bare.mss, bare.windowScale, bare.sackPermitted, bare.timestamps], [1460, -1, false, null]);
  const full = answerTo({ mss: 1460, windowScale: 7, sackPermitted: true, timestamps: { val: 77, ecr: 0 } });
  assert.deepEqual([full.windowScale, full.sackPermitted, full.timestamps?.ecr], [4, true, 77]);
});

test('open: MUST-15: without an MSS option segments have 536 bytes', () => {
  const peer = established({ syn: {} });
  peer.write(2000);
  assert.deepEqual(
    peer.take().map((s) => s.length),
    [536, 536, 536],
  );
  peer.end();
});

test('open: MUST-16: the MSS of the peer, less the options of every segment', () => {
  const peer = established({ syn: { mss: 1000, timestamps: { val: 5, ecr: 0 } } });
  peer.write(2000);
  assert.deepEqual(
    peer.take().map((s) => s.length),
    [988, 988],
  );
  peer.end();
  const tiny = established({ syn: { mss: 1 } });
  tiny.write(200);
  assert.ok(
    tiny.take().every((s) => s.length >= 40),
    'a peer cannot ask for a flood of tiny segments',
  );
  tiny.end();
});

test('open: RFC 7323 §2: windows are scaled both ways, but not in a SYN', () => {
  const peer = established({ syn: { mss: 1460, windowScale: 3, wnd: 1000 }, tcp: { receiveBufferBytes: 1 << 20 } });
  const c = peer.connection!;
  assert.equal(c.sndWnd, 8000, 'the ACK of the handshake counts in eights');
  peer.send('.', { seq: 1, ack: 1, data: 10 });
  const [ack] = peer.take();
  assert.equal(c.rcvShift, 5);
  assert.ok(Math.abs((ack!.wnd << 5) - (1 << 20)) < 1 << 6);
  peer.end();
});

test('open: RFC 7323 §2.3: a shift above 14 counts as 14', () => {
  const peer = established({ syn: { mss: 1460, windowScale: 200, wnd: 10 } });
  assert.equal(peer.connection!.sndShift, 14);
  peer.end();
});

test('open: timestamps are echoed, and grow with time', () => {
  const peer = established({ syn: { mss: 1460, timestamps: { val: 1000, ecr: 0 } } });
  peer.send('.', { seq: 1, ack: 1, data: 1, timestamps: { val: 1010, ecr: 0 } });
  const [first] = peer.take();
  assert.equal(first!.timestamps!.ecr, 1010);
  peer.now += 500;
  // Out of order: RFC 7323 §4.3, the echo is of the segment that filled the left edge.
  peer.send('.', { seq: 10, ack: 1, data: 1, timestamps: { val: 1500, ecr: 0 } });
  const [second] = peer.take();
  assert.equal(second!.timestamps!.ecr, 1010);
  assert.equal(second!.timestamps!.val - first!.timestamps!.val, 500);
  peer.end();
});

test('open: RFC 7323 §5: PAWS drops what is older, and answers', () => {
  const peer = established({ syn: { mss: 1460, timestamps: { val: 1000, ecr: 0 } } });
  peer.send('.', { seq: 1, ack: 1, data: 'old', timestamps: { val: 999, ecr: 0 } });
  peer.expect('. 1 ack 1');
  assert.equal(peer.stack.stats.drops['tcp-paws'], 1);
  peer.send('.', { seq: 1, ack: 1, data: 'new', timestamps: { val: 1000, ecr: 0 } });
  peer.expect('. 1 ack 4');
  // §5.3: a RST is not subject to it.
  peer.send('R', { seq: 4, timestamps: { val: 1, ecr: 0 } });
  assert.equal(peer.state, 'CLOSED');
  peer.socket.release();
  peer.end();
});

test('open: RFC 6528: initial numbers differ between connections and grow with time, 250 a millisecond', () => {
  const peer = new TestPeer();
  const issOf = (port: number): number => {
    const socket = peer.stack.tcpSocket();
    socket.connect({ address: REMOTE, port }, { port: 5000 });
    peer.poll();
    const { rawSeq } = peer.take()[0]!;
    socket.abort();
    socket.release();
    return rawSeq;
  };
  const first = issOf(80);
  const other = issOf(81);
  assert.ok(Math.abs(first - other) > 1000);
  peer.now += 1000;
  peer.poll();
  assert.equal((issOf(80) - first) | 0, 250_000);
  const elsewhere = new TestPeer({ seed: 2 });
  const socket = elsewhere.stack.tcpSocket();
  socket.connect({ address: REMOTE, port: 80 }, { port: 5000 });
  elsewhere.poll();
  assert.notEqual(elsewhere.take()[0]!.rawSeq, first, 'another secret');
  peer.end();
  elsewhere.end();
});

test('open: RFC 6056: ports are drawn at random, unique, and found when most are taken', () => {
  const peer = new TestPeer();
  const ports = new Set<number>();
  const sockets = Array.from({ length: 300 }, () => {
    const socket = peer.stack.tcpSocket();
    socket.connect({ address: REMOTE, port: 80 });
    ports.add(socket.local!.port);
    return socket;
  });
  assert.equal(ports.size, 300);
  const sorted = [...ports].sort((a, b) => a - b);
  assert.ok(sorted[0]! >= 32_768 && sorted.at(-1)! - sorted[0]! > 20_000, 'spread over the range');
  for (const socket of sockets) socket.release();
  peer.end();
});

test('open: EADDRINUSE for a port that is taken, listening or connected', () => {
  const peer = listening();
  const again = peer.stack.tcpSocket();
  const inUse = { code: 'EADDRINUSE', syscall: 'listen', port: 80 };
  assert.throws(() => again.listen({ port: PORT }), inUse);
  assert.throws(() => again.listen({ port: PORT, address: LOCAL }), inUse, 'all addresses are taken');
  peer.socket.close();
  again.listen({ port: PORT, address: LOCAL });
  assert.throws(() => peer.stack.tcpSocket().listen({ port: PORT }), inUse, 'one address is taken');
  const first = peer.stack.tcpSocket();
  first.connect({ address: REMOTE, port: 7 }, { port: 5000 });
  const second = peer.stack.tcpSocket();
  assert.throws(() => second.connect({ address: REMOTE, port: 7 }, { port: 5000 }), {
    code: 'EADDRINUSE',
    syscall: 'connect',
  });
  second.connect({ address: REMOTE, port: 8 }, { port: 5000 });
  peer.end();
});

test('open: EADDRNOTAVAIL, EISCONN, EINVAL, ENETUNREACH, ENOTCONN', () => {
  const peer = listening();
  const { stack } = peer;
  const strange = IpAddress.parse('10.9.9.9');
  assert.throws(() => stack.tcpSocket().listen({ port: 1, address: strange }), { code: 'EADDRNOTAVAIL' });
  assert.throws(() => stack.tcpSocket().connect({ address: REMOTE, port: 1 }, { address: strange }), {
    code: 'EADDRNOTAVAIL',
  });
  assert.throws(() => peer.socket.connect({ address: REMOTE, port: 1 }), { code: 'EISCONN' });
  assert.throws(() => peer.socket.listen({ port: 1 }), { code: 'EISCONN' });
  assert.throws(
    () => stack.tcpSocket().connect({ address: IpAddress.parse('224.0.0.1'), port: 1 }),
    { code: 'EINVAL' },
    'MUST-46',
  );
  assert.throws(() => stack.tcpSocket().connect({ address: IpAddress.parse('255.255.255.255'), port: 1 }), {
    code: 'EINVAL',
  });
  assert.throws(() => stack.tcpSocket().connect({ address: strange, port: 1 }), {
    code: 'ENETUNREACH',
    message: 'connect ENETUNREACH 10.9.9.9:1',
  });
  assert.throws(() => stack.tcpSocket().send(new Uint8Array(1)), { code: 'ENOTCONN' });
  assert.throws(() => stack.tcpSocket().recv(new Uint8Array(1)), { code: 'ENOTCONN' });
  peer.end();
});

test('open: the listener with the most specific address takes the connection', () => {
  const peer = new TestPeer();
  const specific = peer.stack.tcpSocket();
  specific.listen({ port: PORT, address: LOCAL });
  peer.send('S', { seq: 0 });
  peer.expect('S. 0 ack 1');
  peer.send('.', { seq: 1, ack: 1 });
  assert.notEqual(specific.accept(), null);
  peer.end();
});

test('open: CLOSE in SYN-SENT deletes the connection; bytes queued before the handshake are sent after it', () => {
  const silent = synSent();
  silent.socket.close();
  assert.equal(silent.state, 'CLOSED');
  silent.poll();
  silent.expect();
  silent.end();
  const peer = synSent();
  peer.socket.send(new TextEncoder().encode('early'));
  peer.socket.close();
  peer.poll();
  peer.expect();
  peer.send('S.', { seq: 0, ack: 1, mss: 1460 });
  peer.expect('FP. 1:6 ack 1');
  assert.equal(peer.state, 'FIN-WAIT-1');
  peer.end();
});

test('open: MUST-10: simultaneous open, figure 8', () => {
  const peer = synSent();
  peer.send('S', { seq: 0, mss: 1460 });
  peer.expect('S. 0 ack 1');
  assert.equal(peer.state, 'SYN-RECEIVED');
  peer.send('S.', { seq: 0, ack: 1, mss: 1460 });
  assert.equal(peer.state, 'ESTABLISHED');
  assert.equal(peer.socket.takeEvents() & 4, 4, 'CONNECTED');
  peer.write('hi');
  assert.ok(peer.lines().includes('P. 1:3 ack 1'));
  peer.end();
});

test('open: a RST in SYN-RECEIVED of an active open refuses it', () => {
  const peer = synSent();
  peer.send('S', { seq: 0 });
  peer.send('R', { seq: 1 });
  assert.equal(peer.socket.error, 'ECONNREFUSED');
  peer.end();
});

test('open: the SYN-ACK that comes with the timeout of the SYN starts the data at the right number', () => {
  const peer = synSent();
  peer.now = peer.stack.pollAt();
  peer.send('S.', { seq: 0, ack: 1, mss: 1460 });
  peer.take();
  peer.write('hello');
  peer.expect('P. 1:6 ack 1');
  peer.end();
});

test('listener: the SYN-ACK is sent again, then the half-open connection is forgotten without a word', () => {
  const peer = synReceived({ tcp: { synAckRetriesMax: 3 } });
  peer.pass(100_000);
  peer.expect('S. 0 ack 1', 'S. 0 ack 1', 'S. 0 ack 1');
  assert.equal(peer.state, 'CLOSED');
  assert.equal(peer.socket.state(), 'LISTEN');
  peer.end();
});

test('listener: with a full backlog SYNs are dropped, never reset, and clients get in later', () => {
  const peer = listening({ backlog: 2 });
  const client = (peerPort: number) => {
    peer.send('S', { seq: 0, peerPort });
    const answer = peer.lines();
    if (answer.length > 0) peer.send('.', { seq: 1, ack: 1, peerPort });
    return answer;
  };
  assert.deepEqual(client(5001), ['S. 0 ack 1']);
  assert.deepEqual(client(5002), ['S. 0 ack 1']);
  assert.deepEqual(client(5003), [], 'dropped');
  assert.equal(peer.stack.stats.drops['tcp-accept-queue-full'], 1);
  const accepted = peer.socket.accept()!;
  assert.equal(accepted.remote!.port, 5001, 'the oldest first');
  assert.deepEqual(client(5003), ['S. 0 ack 1']);
  assert.equal(peer.socket.accept()!.remote!.port, 5002);
  assert.equal(peer.socket.accept()!.remote!.port, 5003);
  assert.equal(peer.socket.accept(), null);
  peer.end();
});

test('listener: an ACK that finds the backlog full is as if lost: the SYN-ACK comes again', () => {
  const peer = listening({ backlog: 1 });
  peer.send('S', { seq: 0, peerPort: 5001 });
  peer.take();
  peer.send('S', { seq: 0, peerPort: 5002 });
  const iss = peer.take()[0]!.rawSeq | 0;
  peer.send('.', { seq: 1, ack: 1, peerPort: 5002 });
  assert.notEqual(peer.socket.accept, null);
  // 5001 completes while 5002 waits: there is no room.
  const first = peer.stack.tcp.connections.values().find((c) => c.remotePort === 5001)!;
  peer.stackIss = first.iss;
  peer.send('.', { seq: 1, ack: 1, peerPort: 5001 });
  assert.deepEqual(peer.take(), []);
  assert.equal(peer.socket.accept()!.remote!.port, 5002);
  peer.pass(1000);
  const again = peer.take();
  assert.deepEqual(
    again.map((s) => [s.flags, s.remotePort]),
    [['S.', 5001]],
  );
  peer.send('.', { seq: 1, ack: 1, peerPort: 5001 });
  assert.equal(peer.socket.accept()!.remote!.port, 5001);
  assert.notEqual(iss, first.iss);
  peer.end();
});

test('listener: a flood of SYNs is bounded, and what is half-open is given back', () => {
  const peer = listening({ backlog: 4, tcp: { synCookies: 'never' } });
  for (let i = 0; i < 2000; i++) peer.send('S', { seq: 0, peerPort: 1024 + i });
  assert.ok(peer.stack.tcp.connections.count <= 256);
  assert.ok(peer.stack.stats.drops['tcp-syn-queue-full']! > 1700);
  peer.take();
  peer.pass(600_000);
  assert.equal(peer.stack.tcp.connections.count, 0);
  assert.equal(peer.stack.memory.usedBytes, 0);
  peer.end();
});

test('listener: closing it resets what was not accepted, and leaves what was', () => {
  const peer = established();
  const listener = peer.stack.tcpSocket();
  peer.send('S', { seq: 0, peerPort: 5001 });
  peer.lines();
  peer.send('.', { seq: 1, ack: 1, peerPort: 5001 });
  assert.equal(peer.stack.tcp.connections.count, 2);
  // The listener of the builder: found through what it listens on.
  assert.throws(() => listener.listen({ port: PORT }), { code: 'EADDRINUSE' });
  const other = listening();
  other.send('S', { seq: 0 });
  other.lines();
  other.send('.', { seq: 1, ack: 1 });
  other.socket.close();
  other.poll();
  other.expect('R. 1 ack 1');
  other.send('S', { seq: 500, peerPort: 5005 });
  assert.deepEqual(other.lines(), [`R. ${(0 - other.stackIss) | 0} ack 501`]);
  other.end();
  peer.end();
});

test('close: half-close both ways, active first: FIN-WAIT-1, FIN-WAIT-2, TIME-WAIT', () => {
  const peer = finWait2();
  peer.send('P.', { seq: 1, ack: 2, data: 'still' });
  assert.equal(peer.read(), 'still');
  peer.take();
  peer.send('F.', { seq: 6, ack: 2 });
  peer.expect('. 2 ack 7');
  assert.equal(peer.state, 'TIME-WAIT');
  assert.equal(peer.socket.isClosed(), true);
  peer.end();
});

test('close: passive: CLOSE-WAIT still sends, LAST-ACK, CLOSED', () => {
  const peer = established();
  peer.send('F.', { seq: 1, ack: 1 });
  peer.expect('. 1 ack 2');
  assert.equal(peer.socket.mayRecv(), false);
  peer.write('still');
  peer.expect('P. 1:6 ack 2');
  peer.send('.', { seq: 2, ack: 6 });
  peer.socket.close();
  peer.poll();
  peer.expect('F. 6 ack 2');
  peer.send('.', { seq: 2, ack: 7 });
  assert.equal(peer.state, 'CLOSED');
  assert.equal(peer.socket.error, null);
  peer.end();
});

test('close: simultaneously: CLOSING, TIME-WAIT', () => {
  const peer = closing();
  peer.send('.', { seq: 2, ack: 2 });
  assert.equal(peer.state, 'TIME-WAIT');
  peer.end();
});

test('close: the bytes that were queued are sent before the FIN, however long it takes', () => {
  const peer = established({ syn: { mss: 1000, wnd: 1000 } });
  peer.socket.send(new Uint8Array(2500));
  peer.socket.close();
  peer.poll();
  peer.expect('. 1:1001 ack 1');
  assert.equal(peer.state, 'FIN-WAIT-1');
  peer.send('.', { seq: 1, ack: 1001, wnd: 1000 });
  peer.expect('. 1001:2001 ack 1');
  peer.send('.', { seq: 1, ack: 2001, wnd: 1000 });
  peer.expect('FP. 2001:2501 ack 1');
  peer.send('.', { seq: 1, ack: 2502 });
  assert.equal(peer.state, 'FIN-WAIT-2');
  peer.end();
});

test('close: MUST-12: the user can tell a reset from an end', () => {
  const reset = established();
  reset.send('R', { seq: 1 });
  assert.equal(reset.socket.error, 'ECONNRESET');
  assert.throws(() => reset.socket.send(new Uint8Array(1)), { code: 'ECONNRESET' });
  reset.end();
  const ended = established();
  ended.send('F.', { seq: 1, ack: 1 });
  assert.equal(ended.socket.error, null);
  assert.equal(ended.socket.recv(new Uint8Array(1)), 0);
  ended.end();
});

test('close: a RST after our FIN was answered is no error; before that it is', () => {
  const late = lastAck();
  late.send('R', { seq: 2 });
  assert.equal(late.socket.error, null);
  late.end();
  const early = finWait1();
  early.send('R', { seq: 1 });
  assert.equal(early.socket.error, 'ECONNRESET');
  early.end();
});

test('close: ABORT sends a RST and forgets everything', () => {
  const peer = established();
  peer.write('hello');
  peer.take();
  peer.socket.abort();
  peer.poll();
  peer.expect('R. 6 ack 1');
  assert.equal(peer.state, 'CLOSED');
  assert.equal(peer.stack.memory.usedBytes, 0);
  peer.end();
});

test('close: FIN-WAIT-2 with nobody there ends after a minute; with a user it stays', () => {
  const stays = finWait2();
  stays.pass(3_600_000);
  assert.equal(stays.state, 'FIN-WAIT-2');
  stays.end();
  const peer = finWait2();
  peer.socket.release();
  peer.pass(59_000);
  assert.equal(peer.state, 'FIN-WAIT-2');
  peer.pass(1001);
  assert.equal(peer.state, 'CLOSED');
  peer.end();
});

test('time-wait: lasts 2 MSL, from the last FIN on', () => {
  const peer = timeWait();
  peer.pass(50_000);
  peer.send('F.', { seq: 1, ack: 2 });
  peer.expect('. 2 ack 2');
  peer.pass(59_999);
  assert.equal(peer.state, 'TIME-WAIT');
  peer.pass(2);
  assert.equal(peer.state, 'CLOSED');
  assert.equal(peer.stack.pollAt(), Number.POSITIVE_INFINITY);
  peer.end();
});

test('time-wait: bytes that came before can still be read, and hold no memory afterwards', () => {
  const peer = finWait2();
  peer.send('F.', { seq: 1, ack: 2, data: 'last words' });
  assert.equal(peer.state, 'TIME-WAIT');
  assert.equal(peer.read(), 'last words');
  assert.equal(peer.stack.memory.usedBytes, 0);
  peer.end();
});

test('time-wait: RFC 6191: a SYN with a newer timestamp opens anew, with an older one it is answered', () => {
  const syn = { mss: 1460, timestamps: { val: 1000, ecr: 0 } };
  const peer = established({ syn });
  const timestamps = { val: 1001, ecr: 0 };
  peer.socket.close();
  peer.poll();
  peer.send('F.', { seq: 1, ack: 2, timestamps });
  peer.take();
  assert.equal(peer.state, 'TIME-WAIT');
  peer.send('S', { seq: 0, mss: 1460, timestamps: { val: 900, ecr: 0 } });
  peer.expect('. 2 ack 2');
  // The number is lower, but the time is later.
  const iss = peer.stackIss;
  peer.send('S', { seq: -5000, mss: 1460, timestamps: { val: 1100, ecr: 0 } });
  const [answer] = peer.take();
  assert.equal(answer!.flags, 'S.');
  assert.ok(((answer!.rawSeq - iss) | 0) > 2, 'MAY-2: our own number is above the last one');
  peer.end();
});

test('time-wait: the port is taken while it lasts, and without a listener no SYN ends it', () => {
  const peer = timeWait();
  const socket = peer.stack.tcpSocket();
  assert.throws(() => socket.connect({ address: REMOTE, port: 4000 }, { port: PORT }), { code: 'EADDRINUSE' });
  peer.pass(61_000);
  socket.connect({ address: REMOTE, port: 4000 }, { port: PORT });
  peer.end();
});

test('time-wait: two ends in it do not answer each other for ever', () => {
  const peer = closing();
  peer.send('.', { seq: 2, ack: 2 });
  assert.equal(peer.state, 'TIME-WAIT');
  for (let i = 0; i < 5; i++) peer.send('.', { seq: 2, ack: 2 });
  peer.expect();
  peer.end();
});

test('errors: ICMP ends an attempt to connect: RFC 5461', () => {
  for (const [code, error] of [
    [icmpv4.CODE_PORT, 'ECONNREFUSED'],
    [icmpv4.CODE_HOST, 'EHOSTUNREACH'],
    [icmpv4.CODE_NET, 'ENETUNREACH'],
  ] as const) {
    const peer = new TestPeer();
    peer.socket = peer.stack.tcpSocket();
    peer.socket.connect({ address: REMOTE, port: PORT });
    peer.poll();
    const [syn] = peer.device.sent;
    peer.device.deliver(icmpError(syn!, code));
    peer.poll();
    assert.equal(peer.socket.error, error);
    assert.equal(peer.socket.state(), 'CLOSED');
    peer.take();
    peer.end();
  }
});

test('errors: MUST-56: ICMP does not end a connection, but is the reason told when it times out', () => {
  const peer = established({ tcp: { retriesMax: 2 } });
  peer.write('hello');
  const [data] = peer.device.sent;
  peer.device.deliver(icmpError(data!, icmpv4.CODE_HOST));
  peer.poll();
  assert.equal(peer.state, 'ESTABLISHED');
  peer.take();
  peer.pass(60_000);
  assert.equal(peer.socket.error, 'EHOSTUNREACH');
  peer.end();
});

test("errors: RFC 5927 §4.1: an ICMP error about a number that is not under way is nobody's", () => {
  const peer = synSent();
  const forged = peer.segment('S', {});
  const o = octetsOf(forged);
  ipv4.emit(o.dv, 0, forged.length, 0, 1, 0, 64, 6, LOCAL.d, REMOTE.d);
  o.dv.setUint16(20, peer.port);
  o.dv.setUint16(22, PORT);
  o.dv.setInt32(24, peer.stackIss - 12_345);
  peer.device.deliver(icmpError(forged, icmpv4.CODE_PORT));
  peer.poll();
  assert.equal(peer.state, 'SYN-SENT');
  o.dv.setInt32(24, peer.stackIss);
  peer.device.deliver(icmpError(forged, icmpv4.CODE_PORT));
  peer.poll();
  assert.equal(peer.state, 'CLOSED');
  peer.end();
});

test('errors: MUST-57: a segment to a broadcast address is dropped without a word', () => {
  const peer = listening();
  const packet = peer.segment('S', { seq: 0 });
  const o = octetsOf(packet);
  ipv4.emit(o.dv, 0, packet.length, 0, 1, 0, 64, 6, REMOTE.d, IpAddress.parse('10.0.0.255').d);
  peer.device.deliver(packet);
  peer.poll();
  peer.expect();
  assert.equal(peer.stack.stats.drops['tcp-group-address'], 1);
  peer.end();
});

test('memory: with little of it and many connections the budget holds, and everything recovers', () => {
  const peer = listening({ memory: 1 << 18, backlog: 300 });
  const { memory } = peer.stack;
  const buffer = new Uint8Array(8192);
  const sockets = [];
  for (let i = 0; i < 60; i++) {
    const peerPort = 5000 + i;
    peer.send('S', { seq: 0, mss: 1460, peerPort });
    if (peer.lines().length === 0) continue;
    peer.send('.', { seq: 1, ack: 1, peerPort });
    const socket = peer.socket.accept()!;
    // Each holds what it can, unread and unacknowledged.
    socket.send(buffer);
    peer.send('.', { seq: 1, ack: 1, data: 1000, peerPort });
    assert.ok(memory.usedBytes <= memory.bytes);
    sockets.push(socket);
    peer.take();
  }
  assert.ok(sockets.length > 5);
  assert.ok(memory.freeBytes > 0, 'frames keep their share');
  for (const socket of sockets) {
    socket.abort();
    socket.release();
  }
  peer.poll();
  assert.equal(memory.usedBytes, 0);
  peer.take();
  peer.send('S', { seq: 0, peerPort: 6000 });
  assert.deepEqual(peer.lines(), ['S. 0 ack 1']);
  peer.end();
});

test('loopback: a stack talks to itself, and nothing leaves by a device', () => {
  const peer = listening();
  for (const address of ['127.0.0.1', '10.0.0.1', '127.9.9.9']) {
    const client = peer.stack.tcpSocket();
    client.connect({ address: IpAddress.parse(address), port: PORT });
    for (let i = 0; i < 5; i++) peer.poll();
    assert.equal(client.state(), 'ESTABLISHED', address);
    const server = peer.socket.accept()!;
    client.send(new TextEncoder().encode('self'));
    for (let i = 0; i < 5; i++) peer.poll();
    const target = new Uint8Array(10);
    assert.equal(server.recv(target), 4);
    client.abort();
    server.release();
    client.release();
  }
  peer.expect();
  peer.end();
});
