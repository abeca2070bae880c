import assert from 'node:assert/strict';
import { test } from 'node:test';
import { randomOf } from '../../test/random.ts';
import { INTERVALS_MAX, Reassembly } from './reassembly.ts';
import { type Seq, seqAdd } from './seq.ts';

const BASE = 0x7fff_ff00 as Seq; // the numbers cross the sign
const at = (offset: number): Seq => seqAdd(BASE, offset);

/** The blocks in order of place, as offsets. */
const blocks = (r: Reassembly): [number, number][] =>
  Array.from({ length: r.count }, (_, i): [number, number] => [
    (r.sackStart(i) - BASE) | 0,
    (r.sackEnd(i) - BASE) | 0,
  ]).sort(([a], [b]) => a - b);

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
