import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Random } from '../../sim/index.ts';
import { mutant } from './mutants.ts';

/** An ICMP echo request over Ethernet; the checksums are left for the mutants to make right. */
const FRAME = Uint8Array.of(
  ...[2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x08, 0x00],
  ...[0x45, 0, 0, 32, 0, 1, 0x40, 0, 64, 1, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2],
  ...[8, 0, 0, 0, 0, 7, 0, 1, 1, 2, 3, 4],
);

test('lab/mutants: the same seed gives the same mutants, and the frame stays as it is', () => {
  const before = FRAME.slice();
  const some = (seed: number): Uint8Array[] => {
    const random = new Random(seed);
    return Array.from({ length: 200 }, () => mutant(FRAME, random));
  };
  assert.deepEqual(some(1), some(1));
  assert.notDeepEqual(some(1), some(2));
  assert.deepEqual(FRAME, before);
});

test('lab/mutants: about half have right checksums, where there is still a packet', () => {
  const random = new Random(5);
  const sound = (bytes: Uint8Array, from: number, end: number): boolean => {
    let sum = 0;
    for (let p = from; p < end; p++) sum += p % 2 === from % 2 ? bytes[p]! << 8 : bytes[p]!;
    return sum > 0 && sum % 0xffff === 0;
  };
  let right = 0;
  let whole = 0;
  for (let i = 0; i < 2000; i++) {
    const bytes = mutant(FRAME, random);
    const isPacket = bytes.length >= FRAME.length && bytes[12] === 8 && bytes[13] === 0 && bytes[14] === 0x45;
    if (!isPacket || bytes[17] !== 32 || bytes[16] !== 0 || bytes[23] !== 1) continue;
    whole++;
    if (sound(bytes, 14, 34) && sound(bytes, 34, 46)) right++;
  }
  assert.ok(whole > 500, `${whole} packets`);
  assert.ok(right > 0.35 * whole && right < 0.65 * whole, `${right} of ${whole}`);
});
