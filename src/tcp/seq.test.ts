import assert from 'node:assert/strict';
import { test } from 'node:test';
import { randomOf } from '../../test/random.ts';
import { seq, seqAdd, seqDiff, seqGe, seqGt, seqLe, seqLt, seqMax, seqMin } from './seq.ts';

test('seq: RFC 9293 §3.4: comparison modulo 2^32, as a twin in bigint has it', () => {
  const random = randomOf(1);
  const edges = [0, 1, 0x7fff_ffff, 0x8000_0000, 0x8000_0001, 0xffff_ffff];
  const distances = [0, 1, 2, 1000, 0x7fff_fffe, 0x7fff_ffff];
  for (let i = 0; i < 5000; i++) {
    const a = i < 36 ? edges[i % 6]! : Math.floor(random.next() * 2 ** 32);
    const distance = i < 36 ? distances[Math.floor(i / 6)]! : random.below(0x8000_0000);
    const b = Number(BigInt.asUintN(32, BigInt(a) + BigInt(distance)));
    const [low, high] = [seq(a), seq(b)];
    assert.equal(seqDiff(high, low), distance);
    assert.equal(seqAdd(low, distance), high);
    assert.deepEqual([seqLe(low, high), seqGe(high, low)], [true, true]);
    assert.deepEqual([seqLt(low, high), seqGt(high, low)], [distance > 0, distance > 0]);
    assert.deepEqual([seqMax(low, high), seqMin(low, high)], [high, low]);
    assert.equal(low >>> 0, a);
  }
});
