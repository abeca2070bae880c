import assert from 'node:assert/strict';
import { test } from 'node:test';
import { established } from '../../test/peer.ts';
import type { Snapshot, TraceEvent } from './trace.ts';

const line = (event: TraceEvent): string => {
  if (event.kind === 'timer') return `timer ${event.timer}`;
  if (event.kind === 'window') return 'window';
  return `${event.kind} ${event.seq}+${event.length} ack ${event.ack}`;
};

test('trace: every segment both ways, every timer and every change of the window, in order; none once it is off', () => {
  const peer = established();
  const seen: (TraceEvent & Snapshot)[] = [];
  peer.socket.trace((event) => seen.push(event));
  peer.write(100);
  peer.send('.', { seq: 1, ack: 101 });
  peer.write(100);
  peer.pass(peer.connection!.rtoMs);
  assert.deepEqual(seen.map(line), [
    'out 1+100 ack 1',
    'in 1+0 ack 101',
    'out 101+100 ack 1',
    'timer retransmission',
    'window',
    'out 101+100 ack 1',
  ]);
  const last = seen.at(-1)!;
  assert.deepEqual([last.state, last.recovery, last.cwnd], ['ESTABLISHED', 4, peer.connection!.mss]);
  seen.length = 0;
  peer.socket.trace(null);
  peer.send('.', { seq: 1, ack: 201 });
  assert.deepEqual(seen, []);
  peer.end();
});
