/** RFC 5082 (GTSM). The segments of the test's peer come with a TTL of 64. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { established, listening, type TestPeer } from '../../test/peer.ts';
import { mergeSettings, TCP_DEFAULTS } from './settings.ts';

const dropped = (peer: TestPeer): number => peer.stack.stats.drops['tcp-min-ttl'] ?? 0;

test('min ttl: RFC 5082 §3: a listener takes a SYN of the least TTL, and drops one below it without an answer', () => {
  const near = established({ tcp: { minTtl: 64 } });
  assert.equal(dropped(near), 0);
  near.end();
  const far = listening({ tcp: { minTtl: 65 } });
  far.send('S', { seq: 0, mss: 1460 });
  far.expect();
  assert.equal(dropped(far), 1);
  far.end();
});

test('min ttl: a connection drops text and resets of those who are too far away', () => {
  const peer = established();
  peer.socket.configure({ minTtl: 255 });
  peer.send('P.', { seq: 1, ack: 1, data: 'abc' });
  peer.send('R', { seq: 1 });
  peer.expect();
  assert.equal(dropped(peer), 2);
  assert.equal(peer.state, 'ESTABLISHED');
  peer.socket.configure({ minTtl: 0 });
  peer.send('P.', { seq: 1, ack: 1, data: 'abc' });
  peer.expect('. 1 ack 4');
  assert.equal(peer.read(), 'abc');
  peer.end();
});

test('min ttl: the limit of one family is none of the other', () => {
  const peer = established({ tcp: { minHopLimit: 255 } });
  peer.send('P.', { seq: 1, ack: 1, data: 'abc' });
  assert.equal(peer.read(), 'abc');
  peer.end();
});

test('min ttl: 0 to 255', () => {
  for (const value of [0, 1, 255]) mergeSettings(TCP_DEFAULTS, { minTtl: value, minHopLimit: value });
  for (const name of ['minTtl', 'minHopLimit']) {
    for (const value of [-1, 256, Number.NaN]) {
      assert.throws(() => mergeSettings(TCP_DEFAULTS, { [name]: value }), {
        name: 'RangeError',
        message: RegExp(name),
      });
    }
  }
});
