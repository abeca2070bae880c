import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  closeWait,
  closing,
  established,
  finWait1,
  finWait2,
  lastAck,
  listening,
  PORT,
  REMOTE,
  synReceived,
  synSent,
  TestPeer,
  timeWait,
} from '../../test/peer.ts';

const HOUR = 3_600_000;
const DAY = 24 * HOUR;
const stamps = { mss: 1460, timestamps: { val: 1000, ecr: 0 } };

// ---- the user timeout: RFC 9293 §3.9.1, RFC 5482; TCP_USER_TIMEOUT of Linux ----

test('user timeout: from the first retransmission on, data not acknowledged for so long ends the connection', () => {
  const peer = established({ tcp: { userTimeoutMs: 10_000 } });
  peer.pass(HOUR);
  assert.equal(peer.state, 'ESTABLISHED', 'an idle connection is nobody’s concern');
  const since = peer.now;
  peer.write('hello');
  peer.take();
  const first = firstRetransmission(peer);
  peer.pass(first + 9_999 - (peer.now - since));
  assert.equal(peer.state, 'ESTABLISHED');
  peer.pass(1);
  assert.equal(peer.socket.error, 'ETIMEDOUT');
  peer.take();
  // "ACK after it => RST".
  peer.send('.', { seq: 1, ack: 6 });
  peer.expect('R 6');
  peer.end();
});

/** Lets time pass up to the first retransmission; ms it took. */
function firstRetransmission(peer: TestPeer): number {
  for (let ms = 1; ms < 5000; ms++) {
    peer.pass(1);
    if (peer.take().some((s) => s.seq === 1 && s.length > 0)) return ms;
  }
  assert.fail('nothing was sent again');
}

test('user timeout: it replaces the count of retransmissions', () => {
  const peer = established({ tcp: { userTimeoutMs: HOUR, retriesMax: 2 } });
  peer.write('hello');
  peer.pass(HOUR - 1000);
  assert.equal(peer.state, 'ESTABLISHED');
  peer.pass(10_000);
  assert.equal(peer.socket.error, 'ETIMEDOUT');
  peer.end();
});

test('user timeout: progress starts it anew', () => {
  const peer = established({ tcp: { userTimeoutMs: 10_000 } });
  peer.write(3000);
  for (let ack = 101; ack <= 1001; ack += 100) {
    peer.pass(8000);
    assert.equal(peer.state, 'ESTABLISHED');
    peer.send('.', { seq: 1, ack });
    peer.take();
  }
  peer.pass(60_000); // the timeout itself is backed off still
  assert.equal(peer.socket.error, 'ETIMEDOUT');
  peer.end();
});

test('user timeout: what is done with before it ends leaves nothing behind', () => {
  const peer = established({ tcp: { userTimeoutMs: 5000, keepAliveMs: 600_000 } });
  peer.write('hello');
  peer.pass(3000);
  peer.send('.', { seq: 1, ack: 6 });
  peer.pass(HOUR / 10);
  assert.equal(peer.state, 'ESTABLISHED');
  peer.end();
});

test('user timeout: a window that stays closed, though every probe is answered', () => {
  const peer = established({ tcp: { userTimeoutMs: 30_000 } });
  peer.send('.', { seq: 1, ack: 1, wnd: 0 });
  peer.write('hello');
  let probes = 0;
  for (let s = 0; s < 60 && peer.state === 'ESTABLISHED'; s++) {
    peer.pass(1000);
    for (const _ of peer.take()) {
      probes++;
      if (peer.state === 'ESTABLISHED') peer.send('.', { seq: 1, ack: 1, wnd: 0 });
    }
  }
  assert.ok(probes > 3);
  assert.equal(peer.socket.error, 'ETIMEDOUT');
  assert.ok(peer.now > 31_000 && peer.now < 34_000, `${peer.now}`);
  peer.end();
  const opens = established({ tcp: { userTimeoutMs: 30_000 } });
  opens.send('.', { seq: 1, ack: 1, wnd: 0 });
  opens.write('hello');
  opens.pass(20_000);
  opens.send('.', { seq: 1, ack: 1, wnd: 1000 });
  opens.take();
  opens.send('.', { seq: 1, ack: 6, wnd: 0 });
  opens.pass(HOUR);
  assert.equal(opens.state, 'ESTABLISHED');
  opens.end();
});

test('user timeout: MUST-36: without it a closed window is probed for ever', () => {
  const peer = established();
  peer.send('.', { seq: 1, ack: 1, wnd: 0 });
  peer.write('hello');
  for (let i = 0; i < 200; i++) {
    peer.pass(120_000);
    if (peer.take().length > 0) peer.send('.', { seq: 1, ack: 1, wnd: 0 });
  }
  assert.equal(peer.state, 'ESTABLISHED');
  peer.end();
});

test('user timeout: a SYN, and a FIN', () => {
  const open = synSent({ tcp: { userTimeoutMs: 5000 } });
  open.pass(5900);
  assert.equal(open.state, 'SYN-SENT');
  open.pass(200);
  assert.equal(open.socket.error, 'ETIMEDOUT');
  open.end();
  for (const build of [finWait1, lastAck, closing]) {
    const peer = build({ tcp: { userTimeoutMs: 5000 } });
    peer.pass(10_000);
    assert.equal(peer.state, 'CLOSED', build.name);
    peer.end();
  }
});

test('user timeout: it decides about keep-alive too, and not the count of probes', () => {
  const keepAlive = { keepAliveMs: 10_000, keepAliveIntervalMs: 1000, keepAliveProbesMax: 2 };
  const counted = established({ tcp: keepAlive });
  counted.pass(11_500);
  assert.equal(counted.state, 'ESTABLISHED');
  counted.pass(1000);
  assert.equal(counted.socket.error, 'ETIMEDOUT', 'after two probes');
  counted.end();
  const patient = established({ tcp: { ...keepAlive, userTimeoutMs: 30_000 } });
  patient.pass(29_000);
  assert.equal(patient.state, 'ESTABLISHED', 'nineteen probes were not answered');
  patient.pass(2000);
  assert.equal(patient.socket.error, 'ETIMEDOUT');
  assert.ok(patient.take().at(-1)!.flags.startsWith('R'));
  patient.end();
  const hasty = established({ tcp: { ...keepAlive, keepAliveProbesMax: 9, userTimeoutMs: 5000 } });
  hasty.pass(10_500);
  assert.equal(hasty.state, 'ESTABLISHED', 'MUST-29: not before one probe');
  hasty.pass(1000);
  assert.equal(hasty.socket.error, 'ETIMEDOUT');
  hasty.end();
});

test('connect timeout: an attempt ends after so long, whatever was sent; a connection does not', () => {
  const peer = synSent({ tcp: { connectTimeoutMs: 2500 } });
  peer.pass(2499);
  assert.equal(peer.state, 'SYN-SENT');
  peer.pass(1);
  assert.equal(peer.socket.error, 'ETIMEDOUT');
  peer.end();
  const half = synSent({ tcp: { connectTimeoutMs: 2500 } });
  half.send('S', { seq: 0 });
  half.pass(2500);
  assert.equal(half.socket.error, 'ETIMEDOUT', 'a simultaneous open that hangs');
  half.end();
  const done = synSent({ tcp: { connectTimeoutMs: 2500 } });
  done.send('S.', { seq: 0, ack: 1, mss: 1460 });
  done.pass(DAY);
  assert.equal(done.state, 'ESTABLISHED');
  done.end();
});

// ---- closing ----

test('close: RFC 9293 §3.6: half-closed for days, and data still comes and goes', () => {
  const ours = finWait2();
  ours.pass(7 * DAY);
  ours.send('P.', { seq: 1, ack: 2, data: 'late' });
  assert.equal(ours.read(), 'late');
  ours.end();
  const theirs = closeWait();
  theirs.pass(7 * DAY);
  assert.equal(theirs.write('late'), 4);
  theirs.expect('P. 1:5 ack 2');
  theirs.end();
});

test('linger: 0 resets; without it a FIN', () => {
  const reset = established();
  reset.write('hello');
  reset.take();
  reset.socket.release({ lingerMs: 0 });
  reset.poll();
  reset.expect('R. 6 ack 1');
  assert.equal(reset.state, 'CLOSED');
  assert.equal(reset.stack.memory.usedBytes, 0);
  reset.end();
  for (const options of [{}, { lingerMs: 1000 }]) {
    const peer = established();
    peer.socket.release(options);
    peer.poll();
    peer.expect('F. 1 ack 1');
    peer.end();
  }
});

test('isDrained: everything and the FIN is acknowledged', () => {
  const peer = established();
  assert.equal(peer.socket.isDrained(), true);
  peer.write('hello');
  assert.equal(peer.socket.isDrained(), false);
  peer.send('.', { seq: 1, ack: 6 });
  assert.equal(peer.socket.isDrained(), true);
  peer.socket.close();
  assert.equal(peer.socket.isDrained(), false, 'the FIN is not even sent');
  peer.poll();
  assert.equal(peer.socket.isDrained(), false);
  peer.send('.', { seq: 1, ack: 7 });
  assert.equal(peer.socket.isDrained(), true);
  peer.end();
});

test('close: RFC 2525 §2.17: unread data, and data that comes for an orphan, are answered with RST', () => {
  const unread = established();
  unread.send('P.', { seq: 1, ack: 1, data: 'unread' });
  unread.take();
  unread.socket.release();
  unread.poll();
  unread.expect('R. 1 ack 7');
  unread.end();
  for (const [build, acked] of [
    [finWait1, 1],
    [finWait2, 2],
  ] as const) {
    const peer = build();
    peer.socket.release();
    peer.send('P.', { seq: 1, ack: acked, data: 'x' });
    assert.deepEqual(
      peer.take().map((s) => s.flags),
      ['R.'],
      build.name,
    );
    assert.equal(peer.state, 'CLOSED');
    peer.end();
  }
});

test('orphans: over the limit the newest is reset; those that end make room', () => {
  const peer = listening({ tcp: { orphansMax: 2 } });
  const open = (peerPort: number) => {
    peer.send('S', { seq: 0, mss: 1460, peerPort });
    const iss = peer.take()[0]!.rawSeq | 0;
    peer.send('.', { seq: 1, ack: 1, peerPort });
    return { socket: peer.socket.accept()!, iss, peerPort };
  };
  const [first, ...rest] = [5001, 5002, 5003, 5004].map(open);
  for (const { socket } of [first!, rest[0]!]) socket.release();
  peer.poll();
  assert.deepEqual(
    peer.take().map((s) => [s.flags, s.remotePort]),
    [
      ['F.', 5001],
      ['F.', 5002],
    ],
  );
  assert.equal(peer.stack.tcp.orphans, 2);
  rest[1]!.socket.release();
  peer.poll();
  assert.deepEqual(
    peer.take().map((s) => [s.flags, s.remotePort]),
    [['R.', 5003]],
  );
  assert.equal(peer.stack.stats.tcpOrphansReset, 1);
  peer.stackIss = first!.iss;
  peer.send('F.', { seq: 1, ack: 2, peerPort: 5001 });
  assert.equal(peer.stack.tcp.orphans, 1, 'in TIME-WAIT it is none');
  peer.take();
  rest[2]!.socket.release();
  peer.poll();
  assert.deepEqual(
    peer.take().map((s) => [s.flags, s.remotePort]),
    [['F.', 5004]],
  );
  peer.pass(HOUR);
  assert.equal(peer.stack.tcp.orphans, 0, 'each ends by itself');
  peer.end();
  assert.equal(peer.stack.tcp.orphans, 0);
});

test('stack: closing it does not take from the peer what it has not read: no RST where all is acknowledged', () => {
  const peer = established();
  peer.write('all of it');
  peer.socket.release();
  peer.poll();
  peer.send('.', { seq: 1, ack: 11 });
  peer.take();
  peer.end();
  peer.expect();
});

// ---- TIME-WAIT ----

/** A connection of ours to port 80, from port 5000, that has been through to TIME-WAIT. */
function activeTimeWait(options: { timestamps: boolean }): TestPeer {
  const peer = new TestPeer();
  peer.peerPort = PORT;
  peer.port = 5000;
  peer.socket = peer.stack.tcpSocket();
  peer.socket.connect({ address: REMOTE, port: PORT }, { port: 5000 });
  peer.poll();
  const [syn] = peer.take();
  const echo = options.timestamps ? { timestamps: { val: 1000, ecr: syn!.timestamps!.val } } : {};
  peer.send('S.', { seq: 0, ack: 1, mss: 1460, ...echo });
  peer.socket.close();
  peer.poll();
  peer.send('F.', { seq: 1, ack: 2, ...echo });
  peer.take();
  assert.equal(peer.state, 'TIME-WAIT');
  return peer;
}

const reconnect = (peer: TestPeer, settings = {}): void => {
  peer.socket = peer.stack.tcpSocket(settings);
  peer.socket.connect({ address: REMOTE, port: PORT }, { port: 5000 });
  peer.poll();
};

test('time-wait: RFC 6191: a connect of ours may take the flow over, a second later, with higher numbers', () => {
  const peer = activeTimeWait({ timestamps: true });
  peer.pass(999);
  assert.throws(() => reconnect(peer), { code: 'EADDRINUSE' });
  peer.pass(1);
  const iss = peer.stackIss;
  reconnect(peer);
  const [syn] = peer.take();
  assert.equal(syn!.flags, 'S');
  assert.ok(((syn!.rawSeq - iss) | 0) > 2, 'above all that was sent');
  assert.equal(peer.stack.tcp.timeWait.count, 0);
  peer.end();
});

test('time-wait: without timestamps, or where it is switched off, the flow stays taken', () => {
  const bare = activeTimeWait({ timestamps: false });
  bare.pass(30_000);
  assert.throws(() => reconnect(bare), { code: 'EADDRINUSE' });
  bare.pass(31_000);
  reconnect(bare);
  bare.end();
  const stamped = activeTimeWait({ timestamps: true });
  stamped.pass(30_000);
  assert.throws(() => reconnect(stamped, { timeWaitReuse: false }), { code: 'EADDRINUSE' });
  assert.throws(() => reconnect(stamped, { timestamps: false }), { code: 'EADDRINUSE' });
  stamped.end();
});

test('time-wait: RFC 1337: a RST does not end it; where that is switched off, only one at RCV.NXT does', () => {
  const guarded = timeWait();
  guarded.send('R', { seq: 2 });
  assert.equal(guarded.state, 'TIME-WAIT');
  guarded.end();
  const linux = timeWait({ tcp: { rfc1337: false } });
  linux.send('R', { seq: 3 });
  assert.equal(linux.state, 'TIME-WAIT');
  linux.send('R', { seq: 2 });
  assert.equal(linux.state, 'CLOSED');
  linux.pass(HOUR);
  linux.end();
});

// ---- the backlog ----

test('backlog: a full accept queue: the final ACK is ignored, data with it too, and the SYN-ACK comes again', () => {
  const peer = listening({ backlog: 1 });
  peer.send('S', { seq: 0, mss: 1460 });
  const iss = peer.take()[0]!.rawSeq | 0;
  peer.send('S', { seq: 0, mss: 1460, peerPort: 5001 });
  peer.take();
  peer.send('.', { seq: 1, ack: 1, peerPort: 5001 });
  peer.stackIss = iss;
  for (let i = 0; i < 3; i++) peer.send('P.', { seq: 1, ack: 1, data: 'hello' });
  peer.expect();
  peer.pass(1000);
  peer.expect('S. 0 ack 1');
  assert.notEqual(peer.socket.accept(), null);
  peer.send('P.', { seq: 1, ack: 1, data: 'hello' });
  peer.expect('. 1 ack 6');
  assert.equal(peer.stack.stats.tcpResetsOut, 0, 'a slow application never resets a client');
  peer.end();
});

test('backlog: a half-open connection that never completes gives its place back', () => {
  const peer = synReceived();
  peer.pass(300_000);
  assert.equal(peer.stack.tcp.connections.count, 0);
  assert.equal(peer.stack.stats.tcpResetsOut, 0);
  peer.end();
});

// ---- settings of a live socket ----

test('configure: what is checked, and what a live connection makes of it', () => {
  const peer = established();
  assert.throws(() => peer.socket.configure({ nosuch: 1 } as never), { name: 'RangeError' });
  peer.write('a');
  peer.write('b');
  peer.expect('P. 1:2 ack 1');
  peer.socket.configure({ noDelay: true });
  peer.poll();
  peer.expect('P. 2:3 ack 1');
  peer.send('.', { seq: 1, ack: 3 });
  peer.socket.configure({ keepAliveMs: 5000 });
  peer.pass(5000);
  peer.expect('. 2 ack 1');
  peer.send('.', { seq: 1, ack: 3 });
  peer.socket.configure({ mssMax: 500 });
  peer.write(1000);
  assert.deepEqual(
    peer.take().map((s) => s.length),
    [500, 500],
  );
  peer.socket.configure({ userTimeoutMs: 2000 });
  peer.pass(4000);
  assert.equal(peer.socket.error, 'ETIMEDOUT');
  peer.end();
});

test('configure: a listener gives what is set to the connections that come; others keep theirs', () => {
  const peer = listening();
  const other = peer.stack.tcpSocket();
  other.connect({ address: REMOTE, port: 7 });
  peer.socket.configure({ noDelay: true });
  peer.send('S', stamps);
  const c = peer.stack.tcp.connections.values().find((one) => one.localPort === PORT)!;
  assert.equal(c.settings.noDelay, true);
  assert.equal(other.connection!.settings.noDelay, false);
  peer.take();
  peer.end();
});

test('open: MUST-23: the SYN is sent for more than three minutes', () => {
  const peer = synSent();
  peer.pass(180_000);
  assert.equal(peer.state, 'SYN-SENT');
  peer.pass(120_000);
  assert.equal(peer.socket.error, 'ETIMEDOUT');
  peer.end();
});
