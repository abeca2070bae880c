import assert from 'node:assert/strict';
import { test } from 'node:test';
import { randomOf } from '../../test/random.ts';
import { INTERVALS_MAX, Reassembly } from './reassembly.ts';
import { type Seq, seqAdd } from './seq.ts';

const BASE = 0x7fff_ff00 as Seq; // the numbers cross the sign
const at = (offset: number): Seq => seqAdd(BASE, offset);

/** The intervals in order of place, as offsets. */
const blocks = (r: Reassembly): [number, number][] =>
  Array.from({ length: r.count }, (_, i): [number, number] => [(r.start(i) - BASE) | 0, (r.end(i) - BASE) | 0]);

/** Starts of the blocks of a SACK option, in its order. */
const reported = (r: Reassembly): number[] =>
  Array.from({ length: r.sackCount }, (_, i) => (r.start(r.sackIndex(i)) - BASE) | 0);

test('reassembly: intervals added and taken at random, as a slow twin of single bytes has it', () => {
  const random = randomOf(7);
  for (let round = 0; round < 200; round++) {
    const r = new Reassembly();
    const bytes = new Uint8Array(1000);
    let next = 0;
    for (let step = 0; step < 60; step++) {
      if (random.next() < 0.8) {
        const from = next + 1 + random.below(Math.max(900 - next, 1));
        const to = Math.min(1000, from + 1 + random.below(60));
        if (from >= to) continue;
        r.add(at(from), at(to));
        bytes.fill(1, from, to);
      } else {
        const to = Math.min(1000, next + random.below(80));
        bytes.fill(1, next, to);
        const result = (r.advance(at(to)) - BASE) | 0;
        let expected = to;
        while (expected < 1000 && bytes[expected] === 1) expected++;
        assert.equal(result, expected);
        next = result;
      }
      const twin: [number, number][] = [];
      for (let i = next; i < 1000; i++) {
        if (bytes[i] === 0) continue;
        const last = twin.at(-1);
        if (last !== undefined && last[1] === i) last[1]++;
        else twin.push([i, i + 1]);
      }
      assert.deepEqual(blocks(r), twin);
    }
  }
});

test('reassembly: the limit of intervals: one more is refused, one that merges is taken', () => {
  const r = new Reassembly();
  for (let i = 0; i < INTERVALS_MAX; i++) {
    assert.ok(r.accepts(at(10 * i), at(10 * i + 5)));
    r.add(at(10 * i), at(10 * i + 5));
  }
  assert.equal(r.accepts(at(100_000), at(100_005)), false);
  assert.equal(r.accepts(at(7), at(8)), false);
  assert.equal(r.accepts(at(5), at(8)), true, 'touches one');
  assert.equal(r.accepts(at(3), at(12)), true);
  r.add(at(3), at(12));
  assert.equal(r.count, INTERVALS_MAX - 1);
});

test('reassembly: RFC 2018 §4: the block that changed last is reported first, then those reported before', () => {
  const r = new Reassembly();
  for (const from of [10, 30, 50, 70]) r.add(at(from), at(from + 5));
  assert.deepEqual(reported(r), [70, 50, 30, 10]);
  r.add(at(35), at(40));
  assert.deepEqual(reported(r), [30, 70, 50, 10], 'one that grew comes first');
  r.add(at(90), at(95));
  assert.deepEqual(reported(r), [90, 30, 70, 50]);
  r.add(at(55), at(70));
  assert.deepEqual(reported(r), [50, 90, 30, 10], 'two that merged are one, and the oldest has a place again');
  r.advance(at(40));
  assert.deepEqual(reported(r), [50, 90]);
});

test('reassembly: RFC 2883 §4: what was there already is the duplicate, the first part of it', () => {
  const rows: [name: string, add: [number, number], duplicate: [number, number] | null][] = [
    ['nothing of it', [40, 50], null],
    ['touching', [20, 25], null],
    ['all of it', [12, 18], [12, 18]],
    ['its front', [15, 25], [15, 20]],
    ['its end', [25, 35], [30, 35]],
    ['parts of two: the first', [15, 35], [15, 20]],
  ];
  for (const [name, [from, to], expected] of rows) {
    const r = new Reassembly();
    r.add(at(10), at(20));
    r.add(at(30), at(40));
    r.add(at(from), at(to));
    const got = [(r.duplicateStart - BASE) | 0, (r.duplicateEnd - BASE) | 0];
    assert.deepEqual(got[0] === got[1] ? null : got, expected, name);
  }
});
