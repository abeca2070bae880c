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

/** The same over IPv6. */
const FRAME_V6 = Uint8Array.of(
  ...[2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x86, 0xdd],
  ...[0x60, 0, 0, 0, 0, 12, 58, 64, 0xfd, ...new Uint8Array(14), 1, 0xfd, ...new Uint8Array(14), 2],
  ...[128, 0, 0, 0, 0, 7, 0, 1, 1, 2, 3, 4],
);
const PSEUDO_V6 = [0, 12, 0, 58];

/** Whether the ones' complement sum of some bytes is all ones. */
function isSound(bytes: readonly number[]): boolean {
  const sum = bytes.reduce((total, byte, i) => total + (i % 2 === 0 ? byte << 8 : byte), 0);
  return sum > 0 && sum % 0xffff === 0;
}

const FAMILIES: {
  name: string;
  frame: Uint8Array;
  isPacket(b: Uint8Array): boolean;
  isRight(b: Uint8Array): boolean;
}[] = [
  {
    name: 'IPv4',
    frame: FRAME,
    isPacket: (b) => b[12] === 8 && b[13] === 0 && b[14] === 0x45 && b[17] === 32 && b[16] === 0 && b[23] === 1,
    isRight: (b) => isSound([...b.subarray(14, 34)]) && isSound([...b.subarray(34, 46)]),
  },
  {
    name: 'IPv6',
    frame: FRAME_V6,
    isPacket: (b) => b[12] === 0x86 && b[13] === 0xdd && b[18] === 0 && b[19] === 12 && b[20] === 58,
    isRight: (b) => isSound([...b.subarray(22, 54), ...PSEUDO_V6, ...b.subarray(54, 66)]),
  },
];

for (const { name, frame, isPacket, isRight } of FAMILIES) {
  test(`lab/mutants: about half have right checksums, where there is still a packet of ${name}`, () => {
    const random = new Random(5);
    const whole = Array.from({ length: 2000 }, () => mutant(frame, random)).filter(
      (bytes) => bytes.length >= frame.length && isPacket(bytes),
    );
    const right = whole.filter(isRight).length;
    assert.ok(whole.length > 500, `${whole.length} packets`);
    assert.ok(right > 0.35 * whole.length && right < 0.65 * whole.length, `${right} of ${whole.length}`);
  });
}
