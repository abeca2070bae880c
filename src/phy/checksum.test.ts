import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checksumHolds, type PacketOptions, packet } from '../../test/phy-frames.ts';
import {
  allocFrame,
  CHECKSUM_FULL,
  CHECKSUM_PARTIAL,
  CHECKSUM_VALID,
  frameBytes,
  frameChecksum,
  frameEnd,
  frameFrom,
  frameGsoSize,
  frameStart,
  setFrameBounds,
  setFrameOffload,
} from '../memory/frame.ts';
import { Memory } from '../memory/memory.ts';
import { checksumField, completeChecksum, needsChecksum } from './checksum.ts';
import { Random } from './random.ts';

const CASES: ({ name: string } & PacketOptions)[] = [];
for (const family of [4, 6] as const) {
  for (const protocol of ['tcp', 'udp'] as const) {
    for (const medium of ['ip', 'ethernet'] as const) {
      for (const length of [0, 1, 1000, 60_001]) {
        CASES.push({
          name: `${protocol} of ${length} over IPv${family} on ${medium}`,
          family,
          protocol,
          medium,
          length,
        });
      }
    }
  }
}

for (const row of CASES) {
  test(`checksum: completes a partial one: ${row.name}`, () => {
    const memory = new Memory({ bytes: 1 << 20 });
    const frame = packet(memory, { ...row, partial: true });
    assert.equal(needsChecksum(memory, frame), true);
    completeChecksum(memory, frame, row.medium!);
    assert.equal(frameChecksum(memory, frame), CHECKSUM_FULL);
    assert.equal(checksumHolds(memory, frameStart(memory, frame), frameEnd(memory, frame), row), true);
  });
}

test('checksum: a super-segment without a partial sum is summed anew', () => {
  for (const family of [4, 6] as const) {
    const memory = new Memory({ bytes: 1 << 20 });
    const frame = packet(memory, { family, length: 10_000, gsoSize: 1448 });
    const end = frameEnd(memory, frame);
    memory.u8[end - 1]! ^= 0x55; // the field now is the sum of something else, as after merging segments
    assert.equal(checksumHolds(memory, frameStart(memory, frame), end, { family }), false);
    completeChecksum(memory, frame, 'ip');
    assert.equal(checksumHolds(memory, frameStart(memory, frame), end, { family }), true);
    assert.equal(frameGsoSize(memory, frame), 1448);
  }
});

test('checksum: bytes behind the IP packet do not count', () => {
  const memory = new Memory({ bytes: 1 << 20 });
  const frame = packet(memory, { medium: 'ethernet', partial: true, length: 1 });
  const end = frameEnd(memory, frame);
  memory.u8.fill(0xee, end, end + 9);
  setFrameBounds(memory, frame, frameStart(memory, frame), end + 9);
  completeChecksum(memory, frame, 'ethernet');
  assert.equal(checksumHolds(memory, frameStart(memory, frame), end, { medium: 'ethernet' }), true);
});

test('checksum: IPv6 extension headers are walked', () => {
  const memory = new Memory({ bytes: 1 << 20 });
  const plain = packet(memory, { family: 6, partial: true, length: 5 });
  const bytes = frameBytes(memory, plain);
  const options = [6, 0, 1, 4, 0, 0, 0, 0]; // hop-by-hop: next is TCP, PadN
  const text = Uint8Array.from([...bytes.subarray(0, 40), ...options, ...bytes.subarray(40)]);
  text[5]! += 8; // payload length
  text[6] = 0; // next header: hop-by-hop options
  const frame = frameFrom(memory, text);
  setFrameOffload(memory, frame, CHECKSUM_PARTIAL, 0, frameStart(memory, frame) + 48);
  assert.equal(checksumField(memory, frame, 'ip'), frameStart(memory, frame) + 48 + 16);
});

test('checksum: a verified checksum only loses its mark', () => {
  const memory = new Memory({ bytes: 1 << 20 });
  const frame = packet(memory);
  setFrameOffload(memory, frame, CHECKSUM_VALID, 0, 0);
  const before = frameBytes(memory, frame);
  completeChecksum(memory, frame, 'ip');
  assert.deepEqual(frameBytes(memory, frame), before);
  assert.equal(frameChecksum(memory, frame), CHECKSUM_FULL);
});

test('checksum: nonsense is left alone and never throws', () => {
  const memory = new Memory({ bytes: 1 << 18 });
  const random = new Random(3);
  for (let round = 0; round < 5000; round++) {
    const length = random.below(80);
    const frame = allocFrame(memory, length);
    const start = frameStart(memory, frame);
    random.bytes(memory.u8.subarray(start, start + length));
    if (length > 0 && random.chance(0.8)) memory.u8[start] = random.chance(0.5) ? 0x45 : 0x60;
    setFrameBounds(memory, frame, start, start + length);
    const transport = random.chance(0.9) ? start + random.below(100) : random.next() | 0;
    setFrameOffload(memory, frame, CHECKSUM_PARTIAL, 0, transport);
    completeChecksum(memory, frame, random.chance(0.5) ? 'ip' : 'ethernet');
    memory.free(frame);
  }
  assert.equal(memory.usedBytes, 0);
});
