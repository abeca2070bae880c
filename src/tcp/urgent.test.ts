import assert from 'node:assert/strict';
import { test } from 'node:test';
import { established, type PeerOptions, type TestPeer } from '../../test/peer.ts';
import { URGENT } from './events.ts';

const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text);

function sendUrgent(peer: TestPeer, text: string): void {
  assert.equal(peer.socket.sendUrgent(bytesOf(text)), text.length);
  peer.poll();
}

/** Whether the socket was told of urgent data since the last look. */
const isTold = (peer: TestPeer): boolean => (peer.socket.takeEvents() & URGENT) !== 0;

/** A reader who wants urgent bytes beside the stream. */
function apart(options: PeerOptions = {}): TestPeer {
  const peer = established(options);
  peer.socket.urgentInline = false;
  return peer;
}

test('urgent: MUST-62: the pointer is to the byte behind the urgent data, in all segments up to it', () => {
  const peer = established();
  sendUrgent(peer, 'hello');
  peer.expect('P.U 1:6 ack 1 urg 5');
  // The Nagle algorithm does not hold urgent data back.
  sendUrgent(peer, '!');
  peer.expect('P.U 6:7 ack 1 urg 1');
  peer.write('x');
  peer.send('.', { seq: 1, ack: 7 });
  peer.expect('P. 7:8 ack 1');
  assert.equal(peer.connection?.urgent, null, 'nothing of it is kept');
  peer.end();
});

test('urgent: MUST-31: of any length; what is sent again tells again', () => {
  const peer = established({ tcp: { rtoMinMs: 200 } });
  assert.equal(peer.socket.sendUrgent(new Uint8Array(4000)), 4000);
  peer.poll();
  peer.expect('.U 1:1461 ack 1 urg 4000', '.U 1461:2921 ack 1 urg 2540', 'P.U 2921:4001 ack 1 urg 1080');
  peer.pass(250);
  peer.expect('.U 1:1461 ack 1 urg 4000');
  peer.send('.', { seq: 1, ack: 4001 });
  peer.end();
});

test('urgent: a device that segments gets one segment after the other, each with its pointer', () => {
  const peer = established({ offload: true });
  assert.equal(peer.socket.sendUrgent(new Uint8Array(4000)), 4000);
  peer.poll();
  peer.expect('.U 1:1461 ack 1 urg 4000', '.U 1461:2921 ack 1 urg 2540', 'P.U 2921:4001 ack 1 urg 1080');
  peer.send('.', { seq: 1, ack: 4001 });
  peer.end();
});

test('urgent: a pointer that does not fit is told as far as it goes', () => {
  const peer = established({
    tcp: { sendBufferBytes: 1 << 18 },
    syn: { mss: 1000, windowScale: 7 },
  });
  assert.equal(peer.socket.sendUrgent(new Uint8Array(70_000)), 70_000);
  peer.poll();
  const sent = peer.take();
  assert.ok(sent.length > 5);
  for (const { seq, urgent } of sent) assert.equal(urgent, Math.min(0xffff, 70_001 - seq));
  peer.socket.abort();
  peer.poll();
  peer.end();
});

test('urgent: MUST-66: a window of zero holds the data back, not the news; probes bring it again', () => {
  const peer = established();
  peer.send('.', { seq: 1, ack: 1, wnd: 0 });
  peer.take();
  sendUrgent(peer, 'stop');
  peer.expect('.U 1 ack 1 urg 4');
  peer.poll();
  peer.expect();
  peer.pass(250);
  peer.expect('.U 1 ack 1 urg 4', '.U 0 ack 1 urg 5');
  peer.send('.', { seq: 1, ack: 1, wnd: 1000 });
  peer.expect('P.U 1:5 ack 1 urg 4');
  peer.send('.', { seq: 1, ack: 5 });
  peer.end();
});

test('urgent: markUrgent is for all that is queued, and for nothing where nothing is', () => {
  const peer = established();
  peer.socket.markUrgent();
  peer.poll();
  peer.expect();
  assert.equal(peer.connection?.urgent, null);
  peer.socket.send(bytesOf('ab'));
  peer.socket.send(bytesOf('cd'));
  peer.socket.markUrgent();
  peer.socket.send(bytesOf('ef'));
  peer.poll();
  peer.expect('P.U 1:7 ack 1 urg 4');
  peer.send('.', { seq: 1, ack: 7 });
  peer.end();
});

test('urgent: MUST-30, MUST-32, MUST-33: in line, the reader is told, and learns where the mark is', () => {
  const peer = established();
  isTold(peer);
  peer.send('PU.', { seq: 1, ack: 1, data: 'abcdef', urgent: 4 });
  assert.ok(isTold(peer));
  assert.equal(peer.socket.urgentQueue(), 4);
  assert.equal(peer.socket.urgentByte, 'here');
  assert.equal(peer.socket.takeUrgent(true), 'd'.charCodeAt(0));
  assert.equal(peer.socket.takeUrgent(), 'd'.charCodeAt(0));
  assert.equal(peer.socket.takeUrgent(), -1);
  const target = new Uint8Array(3);
  peer.socket.recv(target);
  assert.ok(peer.socket.isAtMark());
  assert.equal(peer.read(), 'def');
  assert.equal(peer.socket.urgentQueue(), 0);
  assert.equal(peer.socket.urgentByte, 'none');
  peer.end();
});

test('urgent: MUST-32: each advance of the pointer is told, and it never recedes', () => {
  const peer = established();
  isTold(peer);
  const rows: [urgent: number, isNew: boolean, name: string][] = [
    [10, true, 'the first'],
    [10, false, 'the same'],
    [5, false, 'one before it'],
    [11, true, 'one behind it'],
    [0, false, 'none at all'],
    [65_535, true, 'as far as the field goes'],
  ];
  for (const [urgent, isNew, name] of rows) {
    peer.send('U.', { seq: 1, ack: 1, urgent });
    assert.equal(isTold(peer), isNew, name);
  }
  assert.equal(peer.socket.urgentQueue(), 65_535);
  assert.equal(peer.socket.urgentByte, 'awaited');
  peer.end();
});

test('urgent: a pointer to what has come in order says nothing', () => {
  const peer = established();
  peer.send('P.', { seq: 1, ack: 1, data: 'abc' });
  isTold(peer);
  peer.send('U.', { seq: 1, ack: 1, urgent: 2 });
  peer.send('PU.', { seq: 4, ack: 1, data: 'de', urgent: 0 });
  assert.ok(isTold(peer), '0 is to the byte at SEG.SEQ');
  assert.equal(peer.socket.urgentQueue(), 4);
  assert.equal(peer.read(), 'abcde');
  assert.equal(peer.connection?.urgent === null || peer.socket.urgentByte === 'none', true);
  peer.end();
});

test('urgent: apart, a read stops in front of the byte, and goes on behind it', () => {
  const peer = apart();
  peer.send('PU.', { seq: 1, ack: 1, data: 'abXcd', urgent: 3 });
  const target = new Uint8Array(10);
  assert.equal(peer.socket.peek(target), 2);
  assert.equal(peer.socket.recv(target), 2);
  assert.equal(peer.socket.takeUrgent(), 'X'.charCodeAt(0));
  assert.equal(peer.socket.peek(target), 2);
  assert.equal(String.fromCharCode(...target.subarray(0, 2)), 'cd');
  assert.equal(peer.read(), 'cd');
  peer.end();
});

test('urgent: apart, the byte alone is nothing to read, and gives its memory back', () => {
  const peer = apart();
  const before = peer.stack.memory.usedBytes;
  peer.send('PU.', { seq: 1, ack: 1, data: 'X', urgent: 1 });
  assert.equal(peer.socket.urgentByte, 'here');
  assert.equal(peer.read(), '');
  assert.equal(peer.socket.urgentByte, 'none');
  assert.equal(peer.stack.memory.usedBytes, before);
  peer.end();
});

test('urgent: apart, the next pointer takes the byte away at which the reader stands, and no other', () => {
  const peer = apart();
  peer.send('PU.', { seq: 1, ack: 1, data: 'X', urgent: 1 });
  peer.send('PU.', { seq: 2, ack: 1, data: 'aY', urgent: 2 });
  peer.send('PU.', { seq: 4, ack: 1, data: 'bZ', urgent: 2 });
  assert.equal(peer.read(), 'aYb');
  assert.equal(peer.socket.takeUrgent(), -1, 'the reader has gone on behind it');
  peer.end();
});

test('urgent: a byte of another segment than its pointer, out of order too', () => {
  const peer = apart();
  peer.send('U.', { seq: 1, ack: 1, urgent: 4 });
  assert.equal(peer.socket.urgentByte, 'awaited');
  peer.send('P.', { seq: 3, ack: 1, data: 'cXd' });
  assert.equal(peer.socket.urgentByte, 'here');
  assert.equal(peer.socket.takeUrgent(), 'X'.charCodeAt(0));
  assert.equal(peer.socket.urgentQueue(), 4);
  peer.send('P.', { seq: 1, ack: 1, data: 'ab' });
  assert.equal(peer.read(), 'abcd');
  peer.end();
});

test('urgent: MUST-66: URG is read where our window is zero, and so is the byte', () => {
  const peer = apart({ tcp: { receiveBufferBytes: 2048 } });
  peer.send('P.', { seq: 1, ack: 1, data: 2048 });
  isTold(peer);
  peer.send('PU.', { seq: 2049, ack: 1, data: 'X', urgent: 1 });
  assert.ok(isTold(peer));
  assert.equal(peer.socket.urgentQueue(), 2049);
  assert.equal(peer.socket.takeUrgent(), 'X'.charCodeAt(0));
  assert.equal(peer.socket.recvQueue(), 2048);
  peer.end();
});

test('urgent: §3.10.7.4 sixth: behind the end of the peer URG is ignored', () => {
  const peer = established();
  peer.send('F.', { seq: 1, ack: 1 });
  isTold(peer);
  peer.send('U.', { seq: 2, ack: 1, urgent: 9 });
  assert.equal(isTold(peer), false);
  assert.equal(peer.socket.urgentQueue(), 0);
  assert.equal(peer.connection?.urgent, null);
  peer.end();
});

test('urgent: with a FIN, up to the end', () => {
  const peer = apart();
  peer.send('FPU.', { seq: 1, ack: 1, data: 'abX', urgent: 3 });
  assert.equal(peer.socket.urgentQueue(), 3);
  assert.equal(peer.read(), 'ab');
  assert.equal(peer.socket.urgentByte, 'none', 'the second read went on behind it');
  assert.equal(peer.socket.mayRecv(), false);
  peer.end();
});

test('urgent: what is sent again from far below the urgent byte does not count as the news of it', () => {
  const peer = established({
    tcp: { sendBufferBytes: 1 << 18, rtoMinMs: 200 },
    syn: { mss: 1460, windowScale: 7 },
  });
  const flight = 49 * 1460;
  peer.connection!.cwnd = 1 << 20;
  peer.write(flight);
  assert.ok(peer.take().length > 45, 'all of it is under way');
  peer.send('.', { seq: 1, ack: 1, wnd: 559 });
  peer.take();
  // The device is busy until the timeout: what is lost leaves first.
  peer.device.roomFrames = 0;
  assert.equal(peer.socket.sendUrgent(new Uint8Array(1000)), 1000);
  peer.pass(400);
  peer.device.roomFrames = 1000;
  peer.poll();
  const sent = peer.take().map(({ seq, urgent }) => ({ seq, urgent }));
  assert.deepEqual(sent, [
    { seq: 1, urgent: 0 },
    { seq: 1 + flight, urgent: 1000 },
  ]);
  peer.socket.abort();
  peer.poll();
  peer.end();
});
