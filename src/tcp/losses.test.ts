import assert from 'node:assert/strict';
import { test } from 'node:test';
import { established } from '../../test/peer.ts';
import { lossesOf, NO_LOSSES } from './losses.ts';

test('losses: whoever never lost anything shares a record that nobody can write to', () => {
  const peer = established();
  const c = peer.connection!;
  assert.equal(c.losses, NO_LOSSES);
  assert.throws(() => Object.assign(c.losses, { prrOut: 1 }), TypeError);
  lossesOf(c).prrOut = 1;
  assert.equal(lossesOf(c), c.losses);
  assert.equal(NO_LOSSES.prrOut, 0);
  peer.end();
});

test('losses: rounds of D-SACKs begin where the record does, not 2 GiB behind', () => {
  const peer = established();
  peer.write('x');
  peer.take();
  peer.send('.', { seq: 1, ack: 2 });
  const c = peer.connection!;
  assert.equal(lossesOf(c).dsackRound, c.sndUna);
  peer.end();
});
