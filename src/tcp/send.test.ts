import assert from 'node:assert/strict';
import { test } from 'node:test';
import { established, finWait1, type PeerOptions, patternBytes, synSent, type TestPeer } from '../../test/peer.ts';
import { CWND_MAX } from './congestion/controller.ts';

const MSS = 1460;

/** A connection whose congestion window is no limit. */
function wide(options: PeerOptions = {}): TestPeer {
  const peer = established(options);
  peer.connection!.cwnd = CWND_MAX;
  return peer;
}

/** Virtual times, in ms from now, at which the stack sends something within `ms`. */
function sendTimes(peer: TestPeer, ms: number): number[] {
  const from = peer.now;
  const times: number[] = [];
  while (peer.now < from + ms) {
    const next = Math.min(peer.stack.pollAt(), from + ms);
    peer.now = Math.max(peer.now, next);
    peer.poll();
    for (const _ of peer.take()) times.push(peer.now - from);
    if (next === from + ms) break;
  }
  return times;
}

test('send: bytes leave in segments of the MSS, whole and in order', () => {
  const peer = wide();
  peer.write(5000);
  const sent = peer.take();
  assert.deepEqual(
    sent.map((s) => [s.seq, s.length]),
    [
      [1, MSS],
      [1461, MSS],
      [2921, MSS],
      [4381, 620],
    ].filter(([, n]) => n === MSS),
  );
  peer.send('.', { seq: 1, ack: 4381 });
  const rest = peer.take();
  assert.deepEqual(
    rest.map((s) => [s.flags, s.seq, s.length]),
    [['P.', 4381, 620]],
  );
  const bytes = [...sent, ...rest].flatMap((s) => [...s.payload]);
  assert.deepEqual(Uint8Array.from(bytes), patternBytes(0, 5000));
  peer.end();
});

test('send: RFC 6928: the initial window is ten segments', () => {
  const peer = established();
  peer.write(100_000);
  assert.equal(peer.take().length, 10);
  peer.end();
});

test('send: RFC 5681 §3.1: slow start doubles the window each round trip', () => {
  const peer = established({ tcp: { sendBufferBytes: 1 << 20, congestion: 'newreno' } });
  peer.write(400_000);
  const rounds: number[] = [];
  for (let i = 0; i < 4; i++) {
    const sent = peer.take();
    rounds.push(sent.length);
    peer.now += 100;
    const last = sent.at(-1)!;
    // The window of 65535 bytes bounds the rest.
    peer.send('.', { seq: 1, ack: last.seq + last.length });
  }
  assert.deepEqual(rounds.slice(0, 3), [10, 20, 40]);
  peer.end();
});

test('send: MUST-17, §3.7.4: Nagle holds a small segment while another is under way', () => {
  const peer = wide();
  peer.write('a');
  peer.expect('P. 1:2 ack 1');
  peer.write('b');
  peer.write('c');
  peer.expect();
  peer.send('.', { seq: 1, ack: 2 });
  peer.expect('P. 2:4 ack 1');
  peer.end();
});

test('send: Nagle lets a full segment and the last bytes before a FIN go', () => {
  const peer = wide();
  peer.write('a');
  peer.take();
  peer.write(MSS);
  assert.deepEqual(
    peer.lines(),
    [`. 2:${2 + MSS} ack 1`].map((line) => line.replace('. ', 'P. ')),
  );
  peer.write('z');
  peer.expect();
  peer.socket.close();
  peer.poll();
  peer.expect(`FP. ${2 + MSS}:${3 + MSS} ack 1`);
  peer.end();
});

test('send: SHLD-7: without Nagle every write leaves at once', () => {
  const peer = wide({ tcp: { noDelay: true } });
  for (const text of ['a', 'b', 'c']) peer.write(text);
  peer.expect('P. 1:2 ack 1', 'P. 2:3 ack 1', 'P. 3:4 ack 1');
  peer.end();
});

test('send: nothing goes beyond the window of the peer', () => {
  const peer = wide({ syn: { mss: 1460, wnd: 3000 } });
  peer.write(10_000);
  assert.deepEqual(
    peer.take().map((s) => s.length),
    [MSS, MSS],
  );
  peer.send('.', { seq: 1, ack: 1461, wnd: 3000 });
  assert.deepEqual(
    peer.take().map((s) => s.length),
    [MSS],
  );
  peer.end();
});

test('send: §3.8.6.2.1: no silly segments into a small window, but half of the largest window counts', () => {
  const peer = wide({ syn: { mss: 1460, wnd: 2000 } });
  peer.write(10_000);
  peer.take();
  peer.send('.', { seq: 1, ack: 1461, wnd: 900 });
  peer.expect();
  peer.send('.', { seq: 1, ack: 1461, wnd: 1000 });
  assert.deepEqual(
    peer.take().map((s) => s.length),
    [1000],
  );
  peer.end();
});

test('send: §3.8.6.2.1 (4): a window that stays small is used in the end, by the override timeout', () => {
  const peer = wide({ syn: { mss: 1460, wnd: 20_000 } });
  peer.write(30_000);
  peer.take();
  peer.send('.', { seq: 1, ack: 18_981, wnd: 300 });
  peer.take();
  for (let i = 0; i < 20 && peer.socket.sendQueue() > 11_000; i++) {
    peer.pass(10_000);
    const sent = peer.take();
    const data = sent.find((s) => s.length > 0);
    if (data !== undefined) {
      assert.ok(data.length <= 300);
      peer.end();
      return;
    }
    for (const _ of sent) peer.send('.', { seq: 1, ack: 18_981, wnd: 300 });
  }
  assert.fail('the window was never used');
});

test('send: RFC 9293 §3.10.7.4: SND.WL1 and SND.WL2 keep old segments from the window', () => {
  const peer = wide();
  peer.send('.', { seq: 1, ack: 1, data: 10, wnd: 5000 });
  const c = peer.connection!;
  assert.equal(c.sndWnd, 5000);
  peer.send('.', { seq: 1, ack: 1, wnd: 9000, data: 10 });
  assert.equal(c.sndWnd, 9000, 'the same numbers count: SND.WL2 =< SEG.ACK');
  peer.send('.', { seq: 11, ack: 1, wnd: 4000 });
  assert.equal(c.sndWnd, 4000);
  // An old segment: its text overlaps the window's left edge, its window does not count.
  peer.send('.', { seq: 5, ack: 1, wnd: 7000, data: 20 });
  assert.equal(c.sndWnd, 4000);
  peer.end();
});

test('send: the window of a segment that acknowledges new data counts, though a higher number came before', () => {
  const peer = wide({ syn: { mss: 1460, wnd: 3000 } });
  peer.write(10_000);
  peer.take();
  peer.send('.', { seq: 101, ack: 1, wnd: 3000, data: 10 }); // out of order: SND.WL1 is ahead
  peer.send('.', { seq: 1, ack: 2921, wnd: 79 });
  const edge = 2921 + 79;
  for (const s of peer.take()) assert.ok(s.seq + s.length <= edge, `${s.seq + s.length} is beyond ${edge}`);
  peer.end();
});

test('send: MUST-35, SHLD-29: zero window probes, at the timeout and then twice as far apart', () => {
  const peer = wide({ syn: { mss: 1460, wnd: 1000 } });
  peer.write(1000);
  peer.take();
  peer.send('.', { seq: 1, ack: 1001, wnd: 0 });
  peer.write(500);
  peer.expect();
  const first = sendTimes(peer, 40_000);
  const gaps = first.map((t, i) => t - (first[i - 1] ?? 0));
  assert.ok(gaps.length > 5);
  for (let i = 2; i < gaps.length; i++) assert.equal(gaps[i], 2 * gaps[i - 1]!, `${gaps}`);
  peer.end();
});

test('send: a probe lies below the window, has no data, and any answer to it opens the window again', () => {
  const peer = wide({ syn: { mss: 1460, wnd: 1000 } });
  peer.write(1000);
  peer.take();
  peer.send('.', { seq: 1, ack: 1001, wnd: 0 });
  peer.write(500);
  peer.pass(400);
  assert.deepEqual([...new Set(peer.lines())], ['. 1000 ack 1']);
  peer.send('.', { seq: 1, ack: 1001, wnd: 2000 });
  peer.expect('P. 1001:1501 ack 1');
  peer.end();
});

test('send: MUST-36: a connection whose probes are answered stays, however long the window is closed', () => {
  const peer = wide({ syn: { mss: 1460, wnd: 1000 } });
  peer.write(1000);
  peer.take();
  peer.send('.', { seq: 1, ack: 1001, wnd: 0 });
  peer.write(500);
  for (let i = 0; i < 100; i++) {
    peer.pass(60_000);
    for (const _ of peer.take()) peer.send('.', { seq: 1, ack: 1001, wnd: 0 });
  }
  assert.equal(peer.state, 'ESTABLISHED');
  peer.send('.', { seq: 1, ack: 1001, wnd: 2000 });
  assert.ok(peer.lines().includes('P. 1001:1501 ack 1'));
  peer.end();
});

test('send: probes that nobody answers end in ETIMEDOUT', () => {
  const peer = wide({ syn: { mss: 1460, wnd: 1000 }, tcp: { retriesMax: 5 } });
  peer.write(1000);
  peer.take();
  peer.send('.', { seq: 1, ack: 1001, wnd: 0 });
  peer.write(500);
  peer.pass(600_000);
  assert.equal(peer.take().length, 5);
  assert.equal(peer.state, 'CLOSED');
  assert.equal(peer.socket.error, 'ETIMEDOUT');
  peer.end();
});

test('send: a FIN waits for a closed window, and goes when it opens', () => {
  const peer = wide({ syn: { mss: 1460, wnd: 1000 } });
  peer.write(1000);
  peer.take();
  peer.send('.', { seq: 1, ack: 1001, wnd: 0 });
  peer.socket.close();
  peer.poll();
  peer.expect();
  peer.send('.', { seq: 1, ack: 1001, wnd: 1 });
  peer.expect('F. 1001 ack 1');
  peer.end();
});

test('send: RFC 6298 (5.5): the timeout doubles at each retransmission, up to its cap; then ETIMEDOUT', () => {
  const peer = wide({ tcp: { retriesMax: 9, rtoMaxMs: 60_000 } });
  peer.now += 10_000;
  peer.write('lost');
  peer.expect('P. 1:5 ack 1');
  const rto = peer.connection!.rtoMs;
  const times = sendTimes(peer, 600_000);
  const gaps = times.map((t, i) => t - (times[i - 1] ?? 0));
  assert.deepEqual(
    gaps,
    Array.from({ length: 9 }, (_, i) => Math.min(rto * 2 ** i, 60_000)),
  );
  assert.equal(peer.state, 'CLOSED');
  assert.throws(() => peer.socket.send(new Uint8Array(1)), { code: 'ETIMEDOUT', syscall: 'write' });
  peer.end();
});

test('send: RFC 6298 (2.1): the SYN is sent again after a second, then two, four...; MUST-23: for 3 minutes at least', () => {
  const peer = synSent();
  const times = sendTimes(peer, 1_000_000);
  const gaps = times.map((t, i) => t - (times[i - 1] ?? 0));
  assert.deepEqual(gaps, [1000, 2000, 4000, 8000, 16_000, 32_000, 64_000]);
  assert.ok(peer.stack.context.nowMs >= 180_000);
  assert.equal(peer.socket.error, 'ETIMEDOUT');
  peer.end();
});

test('send: RFC 6298 §3, Karn: what was sent twice is not measured without timestamps', () => {
  const peer = wide();
  const c = peer.connection!;
  peer.write('lost');
  const before = c.srttUs;
  peer.pass(c.rtoMs + 50);
  assert.equal(peer.take().length, 2);
  peer.send('.', { seq: 1, ack: 5 });
  assert.equal(c.srttUs, before);
  peer.write('next');
  peer.pass(100);
  peer.send('.', { seq: 1, ack: 9 });
  assert.notEqual(c.srttUs, before);
  peer.end();
});

test('send: RFC 6298 (2.2), (2.3): SRTT, RTTVAR and RTO', () => {
  const peer = established({ tcp: { rtoMinMs: 1 } });
  const c = peer.connection!;
  c.srtt8Us = 0;
  c.rtoMs = 1000;
  const measure = (ms: number): void => {
    peer.write('x');
    peer.now += ms;
    peer.send('.', { seq: 1, ack: 1 + peer.written });
  };
  measure(100);
  assert.deepEqual([c.srttUs, c.mdev4Us >> 2, c.rtoMs], [100_000, 50_000, 300]);
  measure(180);
  assert.deepEqual([c.srttUs, c.mdev4Us >> 2], [110_000, 57_500]);
  assert.equal(c.rtoMs, 340);
  peer.end();
});

test('send: after a timeout everything is sent again from SND.UNA, in slow start', () => {
  const peer = wide();
  peer.write(10 * MSS);
  assert.equal(peer.take().length, 10);
  peer.pass(peer.connection!.rtoMs);
  assert.deepEqual(peer.lines(), [`. 1:${1 + MSS} ack 1`]);
  peer.send('.', { seq: 1, ack: 1 + MSS });
  assert.equal(peer.take().length, 2);
  // Acknowledged beyond what was sent again: the rest had arrived.
  peer.send('.', { seq: 1, ack: 1 + 10 * MSS });
  peer.expect();
  assert.equal(peer.socket.sendQueue(), 0);
  peer.end();
});

test('send: RFC 5681 §3.2: the third duplicate acknowledgement sends the lost segment again, at once', () => {
  const peer = wide({ tcp: { congestion: 'newreno' } });
  peer.connection!.cwnd = 10 * MSS;
  peer.write(10 * MSS);
  peer.take();
  for (let i = 0; i < 2; i++) peer.send('.', { seq: 1, ack: 1 });
  peer.expect();
  peer.send('.', { seq: 1, ack: 1 });
  peer.expect(`. 1:${1 + MSS} ack 1`);
  const c = peer.connection!;
  assert.equal(c.ssthresh, 5 * MSS);
  assert.equal(c.cwnd, 7 * MSS, 'RFC 6937: six under way, and the one that goes out at once');
  peer.send('.', { seq: 1, ack: 1 });
  peer.expect();
  assert.equal(c.cwnd, 6 * MSS, 'another has left the network, and one for two may follow');
  peer.end();
});

test('send: RFC 6582 §3.2 (3): a partial acknowledgement sends the next hole, a full one ends recovery', () => {
  const peer = wide();
  peer.connection!.cwnd = 10 * MSS;
  peer.write(10 * MSS);
  peer.take();
  for (let i = 0; i < 3; i++) peer.send('.', { seq: 1, ack: 1 });
  peer.take();
  peer.send('.', { seq: 1, ack: 1 + 3 * MSS });
  peer.expect(`. ${1 + 3 * MSS}:${1 + 4 * MSS} ack 1`);
  peer.send('.', { seq: 1, ack: 1 + 10 * MSS });
  peer.expect();
  const c = peer.connection!;
  assert.ok(c.cwnd <= c.ssthresh + MSS);
  peer.end();
});

test('send: RFC 5681 §2: an acknowledgement with text, or another window, is no duplicate', () => {
  const peer = wide();
  peer.write(5 * MSS);
  peer.take();
  for (let i = 0; i < 6; i++) peer.send('.', { seq: 1 + i, ack: 1, data: 1 });
  assert.ok(peer.take().every((s) => s.length === 0));
  for (let i = 0; i < 6; i++) peer.send('.', { seq: 7, ack: 1, wnd: 60_000 - i });
  assert.ok(peer.take().every((s) => s.length === 0));
  peer.end();
});

test('send: a segment sent again holds what was sent before, and not what the window forbids', () => {
  const peer = wide({ syn: { mss: 700, wnd: 2900 } });
  peer.write(5000);
  assert.deepEqual(
    peer.take().map((s) => s.length),
    [700, 700, 700, 700],
  );
  for (let i = 0; i < 3; i++) peer.send('.', { seq: 1, ack: 1, wnd: 2900 });
  assert.deepEqual(
    peer.take().map((s) => s.length),
    [700],
  );
  peer.end();
});

test('send: an acknowledgement after a timeout has the highest number sent, which the peer can accept', () => {
  const peer = wide();
  peer.connection!.cwnd = 4 * MSS;
  peer.write(4 * MSS);
  peer.take();
  peer.pass(peer.connection!.rtoMs);
  peer.take();
  peer.send('.', { seq: 1, ack: 1, data: 'hello' });
  assert.deepEqual(peer.lines(), [`. ${1 + 4 * MSS} ack 6`]);
  peer.end();
});

test('send: a lost FIN is sent again, alone or with the last bytes', () => {
  const alone = finWait1();
  alone.pass(alone.connection!.rtoMs);
  alone.expect('F. 1 ack 1');
  alone.end();
  const peer = wide();
  peer.socket.send(new TextEncoder().encode('bye'));
  peer.socket.close();
  peer.poll();
  peer.expect('FP. 1:4 ack 1');
  peer.pass(peer.connection!.rtoMs);
  peer.expect('FP. 1:4 ack 1');
  peer.send('.', { seq: 1, ack: 5 });
  assert.equal(peer.state, 'FIN-WAIT-2');
  peer.end();
});

test('send: after CLOSE there is EPIPE', () => {
  const peer = finWait1();
  assert.throws(() => peer.socket.send(new Uint8Array(1)), {
    code: 'EPIPE',
    syscall: 'write',
    address: '10.0.0.2',
    port: 4000,
  });
  assert.equal(peer.socket.maySend(), false);
  peer.end();
});

test('send: the buffer takes what it holds, and WRITABLE comes when a sixteenth of it is free', () => {
  const peer = wide({ tcp: { sendBufferBytes: 4096 } });
  assert.equal(peer.write(10_000), 4096);
  assert.equal(peer.socket.canSend(), false);
  while (peer.stack.nextChanged() !== null);
  peer.socket.takeEvents();
  peer.send('.', { seq: 1, ack: 256 });
  assert.equal(peer.stack.nextChanged(), null);
  peer.send('.', { seq: 1, ack: 257 });
  assert.equal(peer.stack.nextChanged(), peer.socket);
  assert.equal(peer.socket.takeEvents() & 2, 2);
  peer.end();
});

test('send: a writer that memory refused is told to try again, though nothing of his is under way', () => {
  const peer = wide({ memory: 1 << 18 });
  const { memory } = peer.stack;
  const taken: number[] = [];
  while (memory.freeBytes > memory.bytes >> 3) taken.push(memory.alloc(2048));
  assert.equal(peer.write(100), 0);
  while (peer.stack.nextChanged() !== null);
  peer.socket.takeEvents();
  for (const block of taken) memory.free(block);
  peer.pass(100);
  assert.equal(peer.stack.nextChanged(), peer.socket);
  assert.equal(peer.socket.takeEvents() & 2, 2);
  assert.equal(peer.write(100), 100);
  peer.end();
});

test('send: MUST-25, MUST-26: keep-alive only where asked for, after the idle time; then ETIMEDOUT', () => {
  const off = established();
  off.pass(10 * 3600 * 1000);
  off.expect();
  off.end();
  const peer = established({ tcp: { keepAliveMs: 10_000, keepAliveIntervalMs: 1000, keepAliveProbesMax: 3 } });
  peer.pass(9999);
  peer.expect();
  peer.pass(1);
  peer.expect('. 0 ack 1');
  // MUST-29: one probe that nobody answers is no proof.
  peer.send('.', { seq: 1, ack: 1 });
  peer.pass(9999);
  peer.expect();
  peer.pass(3001);
  peer.expect('. 0 ack 1', '. 0 ack 1', '. 0 ack 1', 'R. 1 ack 1');
  assert.equal(peer.socket.error, 'ETIMEDOUT');
  peer.end();
});

test('send: a keep-alive probe of the peer is answered', () => {
  const peer = established();
  peer.send('.', { seq: 0, ack: 1 });
  peer.expect('. 1 ack 1');
  peer.send('.', { seq: 0, ack: 1, data: 1 });
  peer.expect('. 1 ack 1');
  peer.end();
});

test('send: super-segments where the device takes them, a multiple of the MSS', () => {
  const peer = wide({ offload: true });
  peer.write(100_000);
  const sent = peer.take();
  assert.ok(sent[0]!.length > 10 * MSS);
  assert.equal(sent[0]!.length % MSS, 0);
  peer.end();
});

test('send: a device without room is no loss: the bytes leave when there is some', () => {
  const peer = wide();
  peer.device.roomFrames = 0;
  peer.write('hello');
  peer.expect();
  peer.pass(5000);
  assert.equal(peer.connection!.backoff, 0);
  peer.device.roomFrames = 10;
  peer.device.wake();
  peer.poll();
  peer.expect('P. 1:6 ack 1');
  peer.end();
});

test('send: an address that is taken away ends its connections by timeout, not never', () => {
  const peer = wide({ tcp: { retriesMax: 3 } });
  peer.stack.removeAddress(peer.stack.interfaces[1]!, peer.connection!.local);
  peer.write('lost');
  peer.expect();
  peer.pass(600_000);
  assert.equal(peer.socket.error, 'ETIMEDOUT');
  peer.end();
});
