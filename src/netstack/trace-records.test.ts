import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Snapshot, TraceEvent } from '../tcp/trace.ts';
import { readRecord, WORDS, writeRecord } from './trace-records.ts';

const snapshot: Snapshot = {
  nowUs: 0xfffffff0,
  state: 'FIN-WAIT-2',
  cwnd: 1 << 30,
  inFlight: 7,
  srttUs: 123_456,
  recovery: 4,
};

const ROWS: (TraceEvent & Snapshot)[] = [
  { kind: 'in', seq: 0xffffffff, ack: 1, flags: 0x1ff, length: 65_535, wnd: 65_535, ...snapshot },
  { kind: 'out', seq: 0, ack: 0, flags: 0, length: 1 << 18, wnd: 0, ...snapshot, state: 'CLOSED', recovery: 0 },
  { kind: 'timer', timer: 'fin-wait-2', ...snapshot },
  { kind: 'timer', timer: 'retransmission', ...snapshot },
  { kind: 'window', ssthresh: 0x3fffffff, ...snapshot },
];

test('records of a trace are as words what they were', () => {
  const words = new Uint32Array(ROWS.length * WORDS);
  for (const [i, row] of ROWS.entries()) writeRecord(words, i * WORDS, row);
  for (const [i, row] of ROWS.entries()) assert.deepEqual(readRecord(words, i * WORDS), row);
});
