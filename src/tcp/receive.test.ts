import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  established,
  finWait1,
  finWait2,
  type PeerOptions,
  patternBytes,
  synReceived,
  type TestPeer,
} from '../../test/peer.ts';
import { randomOf } from '../../test/random.ts';
import { acceptable } from './receive.ts';
import type { Seq } from './seq.ts';

/** Past the acknowledgements that are sent at once while the peer is in slow start. */
function settled(options: PeerOptions = {}): { peer: TestPeer; next: number } {
  const peer = established(options);
  for (let seq = 1; seq <= 16; seq++) peer.send('.', { seq, ack: 1, data: 1 });
  peer.take();
  peer.read();
  return { peer, next: 17 };
}

test('receive: RFC 9293 §3.10.7.4: the four cases of acceptability', () => {
  const rcvNxt = 0x7fff_fffe as Seq; // the window crosses the sign
  const rows: [offset: number, segLen: number, wnd: number, isAcceptable: boolean, name: string][] = [
    [0, 0, 0, true, 'no length, no window: SEG.SEQ = RCV.NXT'],
    [1, 0, 0, false, 'no length, no window: anything else'],
    [-1, 0, 0, false, 'no length, no window: one before'],
    [0, 0, 10, true, 'no length: the left edge'],
    [9, 0, 10, true, 'no length: the last number'],
    [10, 0, 10, true, 'no length: the right edge itself (a peer that used up the window)'],
    [11, 0, 10, false, 'no length: beyond'],
    [-1, 0, 10, false, 'no length: before'],
    [0, 1, 0, false, 'length, no window'],
    [0, 10, 10, true, 'length: the whole window'],
    [-5, 6, 10, true, 'length: ends at the first number'],
    [-5, 5, 10, false, 'length: ends before it'],
    [9, 5, 10, true, 'length: begins at the last number'],
    [10, 5, 10, false, 'length: begins behind it'],
    [-3, 20, 10, false, 'length: covers more than the window, neither end in it'],
  ];
  for (const [offset, segLen, wnd, isAcceptable, name] of rows) {
    assert.equal(acceptable(((rcvNxt + offset) | 0) as Seq, segLen, rcvNxt, wnd), isAcceptable, name);
  }
});

test('receive: text in order is delivered and acknowledged', () => {
  const peer = established();
  peer.send('P.', { seq: 1, ack: 1, data: 'hello' });
  peer.expect('. 1 ack 6');
  assert.equal(peer.read(), 'hello');
  peer.end();
});

test('receive: what was received before is cut off, and the rest delivered', () => {
  const peer = established();
  peer.send('.', { seq: 1, ack: 1, data: 'hello' });
  peer.send('.', { seq: 3, ack: 1, data: 'llo, world' });
  peer.expect('. 1 ack 6', '. 1 ack 13');
  assert.equal(peer.read(), 'hello, world');
  peer.send('.', { seq: 1, ack: 1, data: 'hello' });
  peer.expect('. 1 ack 13');
  assert.equal(peer.read(), '');
  peer.end();
});

test('receive: what lies beyond the window is cut off', () => {
  const peer = established({ tcp: { receiveBufferBytes: 4096 } });
  for (let seq = 1; seq < 4001; seq += 1000) peer.send('.', { seq, ack: 1, data: 1000 });
  peer.take();
  peer.send('F.', { seq: 4001, ack: 1, data: 200 });
  const [ack] = peer.take();
  assert.deepEqual([ack?.ack, ack?.wnd], [4097, 0]);
  assert.equal(peer.state, 'ESTABLISHED', 'the FIN was beyond the window');
  assert.equal(peer.read().length, 4096);
  peer.end();
});

test('receive: RFC 7323 §2.4: a peer that uses up a scaled window, in pieces of odd lengths, finds room for all of it', () => {
  const tcp = { receiveBufferBytes: 1 << 20, receiveBufferMaxBytes: 1 << 20 };
  const peer = established({ tcp, syn: { mss: 1460, windowScale: 8 }, memory: 16 << 20 });
  const shift = peer.connection!.rcvShift;
  assert.ok(shift >= 4, `${shift}`);
  let seq = 1;
  let edge = 65_535;
  for (let round = 0; round < 4000 && edge > seq; round++) {
    const length = Math.min(1 + ((round * 331) % 1460), edge - seq);
    peer.send('.', { seq, ack: 1, data: length });
    seq += length;
    peer.pass(50); // a delayed acknowledgement
    for (const { ack, wnd } of peer.take()) {
      assert.equal(ack, seq, 'all of it was taken');
      edge = Math.max(edge, ack + (wnd << shift));
    }
  }
  const sent = seq - 1;
  assert.equal(peer.stack.context.stats.drops['tcp-no-buffer'], undefined);
  assert.ok(sent > (1 << 20) - 4096 && sent <= 1 << 20, `${sent} bytes`);
  peer.end();
});

test('receive: SHLD-31: out of order, every permutation of five segments, with and without FIN', () => {
  const pieces = [0, 1, 2, 3, 4];
  const permutations = (rest: number[]): number[][] =>
    rest.length === 0
      ? [[]]
      : rest.flatMap((x) => permutations(rest.filter((y) => y !== x)).map((tail) => [x, ...tail]));
  for (const order of permutations(pieces)) {
    for (const fin of [false, true]) {
      const peer = established();
      const seen = new Set<number>();
      for (const i of order) {
        peer.send(fin && i === 4 ? 'F.' : '.', { seq: 1 + 10 * i, ack: 1, data: 10 });
        seen.add(i);
        let inOrder = 0;
        while (seen.has(inOrder)) inOrder++;
        const expected = 1 + 10 * inOrder + (fin && inOrder === 5 ? 1 : 0);
        peer.expect(`. 1 ack ${expected}`);
      }
      assert.equal(peer.read(), String.fromCharCode(...patternBytes(0, 50)), `order ${order}`);
      assert.equal(peer.state, fin ? 'CLOSE-WAIT' : 'ESTABLISHED');
      peer.end();
    }
  }
});

test('receive: reassembly of overlapping segments in any order, as a slow twin has it', () => {
  const random = randomOf(5);
  for (let round = 0; round < 60; round++) {
    const peer = established({ tcp: { receiveBufferBytes: 8192 } });
    const total = 1 + random.below(6000);
    const have = new Uint8Array(total); // the slow twin: which bytes have come
    let delivered = '';
    for (let step = 0; step < 400 && delivered.length < total; step++) {
      const hole = have.indexOf(0);
      const from = random.next() < 0.3 ? Math.max(0, hole) : random.below(total);
      const length = Math.min(1 + random.below(900), total - from);
      peer.send('.', { seq: 1 + from, ack: 1, data: length });
      have.fill(1, from, from + length);
      const next = have.indexOf(0) < 0 ? total : have.indexOf(0);
      assert.equal(peer.connection!.rcvNxt, (peer.peerIss + 1 + next) | 0);
      if (random.next() < 0.3) delivered += peer.read();
    }
    delivered += peer.read();
    assert.equal(delivered, String.fromCharCode(...patternBytes(0, delivered.length)));
    peer.end();
  }
});

test('receive: RFC 2018 §4: SACK blocks, the latest first, no more than fit', () => {
  const peer = established({ syn: { mss: 1460, sackPermitted: true } });
  const sacksAfter = (seq: number): readonly (readonly [number, number])[] => {
    peer.send('.', { seq, ack: 1, data: 10 });
    return peer.take()[0]!.sacks;
  };
  assert.deepEqual(sacksAfter(21), [[21, 31]]);
  assert.deepEqual(sacksAfter(61), [
    [61, 71],
    [21, 31],
  ]);
  assert.deepEqual(sacksAfter(41), [
    [41, 51],
    [61, 71],
    [21, 31],
  ]);
  assert.deepEqual(sacksAfter(101), [
    [101, 111],
    [41, 51],
    [61, 71],
    [21, 31],
  ]);
  assert.deepEqual(
    sacksAfter(31),
    [
      [21, 41 + 10],
      [101, 111],
      [61, 71],
    ],
    'what closes a gap merges its neighbours',
  );
  assert.deepEqual(sacksAfter(1), [
    [21, 51],
    [101, 111],
    [61, 71],
  ]);
  assert.deepEqual(sacksAfter(11), [
    [101, 111],
    [61, 71],
  ]);
  peer.end();
});

test('receive: SACK blocks never make a segment larger than the path takes', () => {
  const peer = established({ mtu: 576, syn: { mss: 536, sackPermitted: true } });
  peer.send('.', { seq: 21, ack: 1, data: 10 });
  peer.take();
  peer.socket.send(new Uint8Array(5000));
  // One hole stays open: what leaves now could carry blocks.
  peer.send('.', { seq: 41, ack: 1, data: 10 });
  for (const bytes of peer.device.sent) assert.ok(bytes.length <= 576, `${bytes.length} bytes`);
  assert.ok(peer.take().some((s) => s.length === 536));
  peer.end();
});

test('receive: a FIN behind a hole is remembered, and need not come again', () => {
  const peer = established();
  peer.send('F.', { seq: 6, ack: 1, data: 'world' });
  peer.expect('. 1 ack 1');
  assert.equal(peer.state, 'ESTABLISHED');
  peer.send('.', { seq: 1, ack: 1, data: 'hello' });
  peer.expect('. 1 ack 12');
  assert.equal(peer.read(), 'helloworld');
  assert.equal(peer.socket.mayRecv(), false);
  peer.end();
});

test('receive: RFC 9293 §3.10.7.4: an old ACK with new text still delivers the text', () => {
  const peer = established();
  peer.write(100);
  peer.write(100);
  peer.send('.', { seq: 1, ack: 201 });
  peer.take();
  peer.send('.', { seq: 1, ack: 101, data: 'late' });
  assert.equal(peer.read(), 'late');
  peer.end();
});

test('receive: MUST-40: an acknowledgement waits 40 ms for company', () => {
  const { peer, next } = settled();
  peer.send('.', { seq: next, ack: 1, data: 10 });
  peer.expect();
  peer.pass(39);
  peer.expect();
  peer.pass(1);
  peer.expect(`. 1 ack ${next + 10}`);
  peer.pass(1000);
  peer.expect();
  peer.end();
});

test('receive: SHLD-19: every second full segment is acknowledged at once', () => {
  const { peer, next } = settled();
  peer.send('.', { seq: next, ack: 1, data: 1460 });
  peer.expect();
  peer.send('.', { seq: next + 1460, ack: 1, data: 1460 });
  peer.expect(`. 1 ack ${next + 2920}`);
  peer.end();
});

test('receive: an acknowledgement that waits rides on the answer', () => {
  const { peer, next } = settled();
  peer.send('.', { seq: next, ack: 1, data: 10 });
  peer.write('yes');
  peer.expect(`P. 1:4 ack ${next + 10}`);
  peer.send('.', { seq: next + 10, ack: 4 });
  peer.pass(100);
  peer.expect();
  peer.end();
});

test('receive: RFC 5681 §4.2: out of order, and what fills a gap, is acknowledged at once', () => {
  const { peer, next } = settled();
  peer.send('.', { seq: next + 10, ack: 1, data: 10 });
  peer.expect(`. 1 ack ${next}`);
  peer.send('.', { seq: next, ack: 1, data: 10 });
  peer.expect(`. 1 ack ${next + 20}`);
  peer.end();
});

test('receive: the window closes as the buffer fills, and SWS avoidance opens it in one step', () => {
  const peer = established({ tcp: { receiveBufferBytes: 8192 } });
  for (let seq = 1; seq < 8192; seq += 1024) peer.send('.', { seq, ack: 1, data: 1024 });
  const windows = peer.take().map((s) => s.wnd);
  assert.equal(windows.at(-1), 0);
  const target = new Uint8Array(512);
  // §3.8.6.2.2: small steps are not told.
  peer.socket.recv(target);
  peer.poll();
  peer.expect();
  peer.socket.recv(target);
  peer.poll();
  peer.expect();
  for (let i = 0; i < 6; i++) peer.socket.recv(target);
  peer.poll();
  const [update] = peer.take();
  assert.deepEqual([update?.ack, update?.wnd], [8193, 4096]);
  peer.end();
});

test('receive: SHLD-14: the right edge of the window never moves left', () => {
  const peer = established({ tcp: { receiveBufferBytes: 8192 } });
  const random = randomOf(3);
  const target = new Uint8Array(4096);
  let edge = 0;
  let next = 1;
  for (let i = 0; i < 500; i++) {
    const room = edge === 0 ? 1000 : edge - next;
    const length = Math.min(room, 1 + random.below(1400));
    if (length > 0) peer.send('.', { seq: next, ack: 1, data: length });
    next += Math.max(0, length);
    peer.socket.recv(target, 0, random.below(2000));
    peer.pass(50);
    for (const s of peer.take()) {
      assert.ok(s.ack + s.wnd >= edge, 'the window shrank');
      edge = s.ack + s.wnd;
    }
  }
  peer.end();
});

test('receive: RFC 9293 §3.10.7.4: with a window of zero a valid ACK and a RST still count', () => {
  const peer = established({ tcp: { receiveBufferBytes: 4096 } });
  peer.write('hello');
  peer.take();
  for (let seq = 1; seq < 4096; seq += 1024) peer.send('.', { seq, ack: 1, data: 1024 });
  peer.take();
  peer.send('.', { seq: 4097, ack: 6, data: 10 });
  assert.equal(peer.socket.sendQueue(), 0, 'the acknowledgement counts');
  peer.expect('. 6 ack 4097');
  peer.send('R', { seq: 4097 });
  assert.equal(peer.state, 'CLOSED');
  assert.equal(peer.socket.recv(new Uint8Array(5000)), 4096, 'what came before the reset can be read');
  assert.throws(() => peer.read(), { code: 'ECONNRESET', syscall: 'read', address: '10.0.0.2', port: 4000 });
  peer.socket.release();
  peer.end();
});

test('receive: a window probe is answered with the window', () => {
  const peer = established({ tcp: { receiveBufferBytes: 4096 } });
  for (let seq = 1; seq < 4096; seq += 1024) peer.send('.', { seq, ack: 1, data: 1024 });
  peer.take();
  peer.send('.', { seq: 4096, ack: 1 });
  assert.deepEqual(
    peer.take().map((s) => [s.ack, s.wnd]),
    [[4097, 0]],
  );
  peer.send('.', { seq: 4097, ack: 1, data: 1 });
  assert.deepEqual(
    peer.take().map((s) => [s.ack, s.wnd]),
    [[4097, 0]],
  );
  peer.end();
});

test('receive: after CLOSE bytes still come; after the user let go they are reset', () => {
  const half = finWait2();
  half.send('.', { seq: 1, ack: 2, data: 'more' });
  half.expect('. 2 ack 5');
  assert.equal(half.read(), 'more');
  half.end();
  // RFC 2525 §2.17.
  const gone = finWait1();
  gone.socket.release();
  gone.send('.', { seq: 1, ack: 2, data: 'more' });
  gone.expect('R. 2 ack 1');
  assert.equal(gone.state, 'CLOSED');
  gone.end();
});

test('receive: RFC 2525 §2.17: to let go with bytes unread resets', () => {
  const peer = established();
  peer.send('.', { seq: 1, ack: 1, data: 'unread' });
  peer.take();
  peer.socket.release();
  peer.poll();
  peer.expect('R. 1 ack 7');
  assert.equal(peer.state, 'CLOSED');
  peer.end();
});

test('receive: text that came with the last ACK of the handshake waits for accept', () => {
  const peer = synReceived();
  peer.send('P.', { seq: 1, ack: 1, data: 'early' });
  const socket = peer.socket.accept()!;
  peer.socket = socket;
  assert.equal(peer.read(), 'early');
  peer.end();
});

test('receive: memory that is full drops text in the window, and takes it when it comes again', () => {
  const peer = established({ memory: 1 << 18, tcp: { receiveBufferBytes: 1 << 17 } });
  const { memory } = peer.stack;
  const taken: number[] = [];
  while (memory.freeBytes > memory.bytes >> 3) taken.push(memory.alloc(2048));
  peer.send('.', { seq: 1, ack: 1, data: 1000 });
  assert.equal(peer.stack.context.stats.drops['tcp-no-buffer'], 1);
  peer.expect('. 1 ack 1');
  for (const block of taken) memory.free(block);
  peer.send('.', { seq: 1, ack: 1, data: 1000 });
  peer.expect('. 1 ack 1001');
  peer.read();
  peer.end();
});

test("receive: text whose acknowledgement is nobody's leaves no buffer behind", () => {
  for (const ack of [5000, -200_000]) {
    const peer = established();
    const { usedBytes } = peer.stack.memory;
    peer.send('.', { seq: 1, ack, data: 'text' });
    assert.equal(peer.socket.recvQueue(), 0);
    assert.equal(peer.stack.memory.usedBytes, usedBytes, `ack ${ack}`);
    peer.take();
    peer.end();
  }
});
