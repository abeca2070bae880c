import assert from 'node:assert/strict';
import { test } from 'node:test';
import { established, listening, type TestPeer } from '../../test/peer.ts';
import { ANSWER_MS } from './connection.ts';

/** Connections of one stack, from as many ports of the peer. */
function many(count: number, tcp = {}): { peer: TestPeer; select: (i: number) => { peerPort: number } } {
  const peer = listening({ tcp, backlog: count, memory: 64 << 20 });
  const isses: number[] = [];
  for (let i = 0; i < count; i++) {
    peer.send('S', { seq: 0, mss: 1460, peerPort: 2000 + i });
    isses.push(peer.take()[0]!.rawSeq | 0);
    peer.send('.', { seq: 1, ack: 1, peerPort: 2000 + i });
  }
  peer.take();
  const select = (i: number): { peerPort: number } => {
    peer.stackIss = isses[i]!;
    return { peerPort: 2000 + i };
  };
  return { peer, select };
}

// §3.2, §4.2 and §5.2 stand as rows for every state in states.test.ts: here are their edges and their limits.

test('RFC 5961 §3.2: a RST resets at RCV.NXT alone; in the window it is challenged, outside it is dropped', () => {
  const window = 1 << 17;
  for (const [seq, answer, state] of [
    [0, [], 'ESTABLISHED'],
    [1, [], 'CLOSED'],
    [2, ['. 1 ack 1'], 'ESTABLISHED'],
    [65_535, ['. 1 ack 1'], 'ESTABLISHED'],
    [window + 2, [], 'ESTABLISHED'],
  ] as const) {
    const peer = established();
    peer.send('R', { seq });
    peer.expect(...answer);
    assert.equal(peer.state, state, `${seq}`);
    peer.end();
  }
});

test('RFC 5961 §3.2: the genuine peer answers the challenge with a RST that counts', () => {
  const peer = established();
  peer.send('R', { seq: 100 });
  peer.expect('. 1 ack 1');
  peer.send('R', { seq: 1 });
  assert.equal(peer.state, 'CLOSED');
  peer.end();
});

test('RFC 5961 §4.2: a SYN is challenged whatever its number, and changes nothing', () => {
  for (const seq of [-1000, 0, 1, 1000, 1 << 30]) {
    const peer = established();
    peer.send('S', { seq, mss: 600 });
    peer.expect('. 1 ack 1');
    assert.equal(peer.state, 'ESTABLISHED');
    assert.equal(peer.connection!.mss, 1460);
    peer.end();
  }
});

test('RFC 5961 §5.2: data whose acknowledgement is out of SND.UNA - MAX.SND.WND to SND.NXT is dropped and answered', () => {
  for (const [ack, isTaken] of [
    [1, true],
    [6, true],
    [7, false],
    [1 - 65_535, true],
    [0 - 65_535, false],
    [1 << 30, false],
  ] as const) {
    const peer = established();
    peer.write('hello');
    peer.take();
    peer.send('P.', { seq: 1, ack, data: 'x' });
    assert.equal(peer.read(), isTaken ? 'x' : '', `${ack}`);
    assert.deepEqual(peer.lines(), [`. 6 ack ${isTaken ? 2 : 1}`]);
    peer.end();
  }
});

test('RFC 5961 §7: a connection sends one challenge in half a second', () => {
  const peer = established();
  for (let i = 0; i < 10; i++) peer.send(i % 2 === 0 ? 'R' : 'S', { seq: 100 + i });
  peer.expect('. 1 ack 1');
  assert.equal(peer.stack.stats.tcpChallengeAcksLimited, 9);
  peer.pass(ANSWER_MS);
  peer.send('R', { seq: 100 });
  peer.expect('. 1 ack 1');
  peer.end();
});

test('RFC 5961 §7: SYNs out of the window are answered once in half a second, data always', () => {
  const peer = established();
  for (let i = 0; i < 5; i++) peer.send('S', { seq: -1000 });
  peer.expect('. 1 ack 1');
  for (let i = 0; i < 5; i++) peer.send('.', { seq: -1000, ack: 1, data: 'x' });
  assert.equal(peer.take().length, 5);
  peer.end();
});

test('RFC 5961 §7: the whole stack sends so many a second, and nobody can count how many', () => {
  const limits = new Set<number>();
  const { peer, select } = many(200, { challengeAcksMax: 100 });
  for (let second = 0; second < 8; second++) {
    peer.now = Math.ceil(peer.now / 1000) * 1000;
    for (let i = 0; i < 200; i++) peer.send('R', { seq: 100, ...select(i) });
    limits.add(peer.take().length);
    peer.pass(1000);
  }
  for (const limit of limits) assert.ok(limit >= 50 && limit < 150, `${limit}`);
  assert.ok(limits.size > 4, 'another limit each second');
  peer.end();
});
