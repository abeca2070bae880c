import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  allocFrame,
  CHECKSUM_FULL,
  CHECKSUM_PARTIAL,
  CHECKSUM_VALID,
  copyFrame,
  frameBytes,
  frameCapacity,
  frameChecksum,
  frameEnd,
  frameFrom,
  frameGsoSize,
  frameLength,
  frameStart,
  frameTransport,
  HEADROOM,
  setFrameBounds,
  setFrameOffload,
} from './frame.ts';
import { MEMORY_MIN, Memory } from './memory.ts';

const fresh = (): Memory => new Memory({ bytes: MEMORY_MIN });
const BYTES = Uint8Array.of(1, 2, 3, 4, 5, 6, 7);

describe('frame: allocation', () => {
  const rows = [
    { length: 0, capacity: 2048 - HEADROOM },
    { length: 1500, capacity: 2048 - HEADROOM },
    { length: 1920, capacity: 2048 - HEADROOM },
    { length: 1921, capacity: 4096 - HEADROOM },
    { length: 65535, capacity: 131072 - HEADROOM },
  ];
  for (const { length, capacity } of rows) {
    it(`${length} bytes have room for ${capacity}`, () => {
      const memory = fresh();
      const frame = allocFrame(memory, length);
      assert.equal(frameCapacity(memory, frame), capacity);
      assert.equal(frameStart(memory, frame), frame + HEADROOM);
      assert.equal(frameEnd(memory, frame), frame + HEADROOM);
      assert.equal(frameLength(memory, frame), 0);
      memory.free(frame);
      assert.equal(memory.usedBytes, 0);
    });
  }

  it('clears the offload words of a block used before', () => {
    const memory = fresh();
    const old = allocFrame(memory, 100);
    setFrameOffload(memory, old, CHECKSUM_PARTIAL, 1448, old + 150);
    memory.free(old);
    const frame = allocFrame(memory, 100);
    assert.equal(frame, old);
    assert.equal(frameChecksum(memory, frame), CHECKSUM_FULL);
    assert.equal(frameGsoSize(memory, frame), 0);
    assert.equal(frameTransport(memory, frame), 0);
  });

  it('is 0 when memory is exhausted', () => {
    const memory = fresh();
    while (memory.alloc(1) !== 0);
    assert.equal(allocFrame(memory, 100), 0);
    assert.equal(frameFrom(memory, BYTES), 0);
  });
});

describe('frame: descriptor', () => {
  it('holds bounds, and offload apart', () => {
    const memory = fresh();
    const frame = allocFrame(memory, 100);
    setFrameBounds(memory, frame, frame + 114, frame + 200);
    setFrameOffload(memory, frame, CHECKSUM_VALID, 1400, frame + 148);
    assert.deepEqual(
      [frameStart, frameEnd, frameLength, frameChecksum, frameGsoSize, frameTransport].map((read) =>
        read(memory, frame),
      ),
      [frame + 114, frame + 200, 86, CHECKSUM_VALID, 1400, frame + 148],
    );
  });
});

describe('frame: copies', () => {
  for (const before of [0, 14, 24]) {
    it(`frameFrom, ${before} bytes before the headroom's end`, () => {
      const memory = fresh();
      const frame = frameFrom(memory, BYTES, before);
      assert.equal(frameStart(memory, frame), frame + HEADROOM - before);
      assert.deepEqual(frameBytes(memory, frame), BYTES);
    });
  }

  it('frameBytes are the caller’s own', () => {
    const memory = fresh();
    const frame = frameFrom(memory, BYTES);
    const bytes = frameBytes(memory, frame);
    memory.u8[frameStart(memory, frame)] = 99;
    assert.equal(bytes[0], 1);
  });

  const memory = fresh();
  for (const { name, to } of [
    { name: 'within a memory', to: memory },
    { name: 'to another memory', to: fresh() },
  ]) {
    it(`copyFrame ${name}`, () => {
      const frame = frameFrom(memory, BYTES, 14);
      setFrameOffload(memory, frame, CHECKSUM_PARTIAL, 1448, frame + HEADROOM + 20);
      to.alloc(1); // so that the offsets differ
      const copied = copyFrame(memory, frame, to);
      assert.deepEqual(frameBytes(to, copied), BYTES);
      assert.equal(frameStart(to, copied), copied + HEADROOM - 14);
      assert.equal(frameChecksum(to, copied), CHECKSUM_PARTIAL);
      assert.equal(frameGsoSize(to, copied), 1448);
      assert.equal(frameTransport(to, copied), copied + HEADROOM + 20);
      assert.deepEqual(frameBytes(memory, frame), BYTES);
    });
  }

  it('copyFrame keeps "no transport header", and a full packet in its block', () => {
    const from = fresh();
    const bytes = new Uint8Array(1920).fill(7);
    const frame = frameFrom(from, bytes);
    const copied = copyFrame(from, frame, from);
    assert.equal(frameTransport(from, copied), 0);
    assert.deepEqual(frameBytes(from, copied), bytes);
    assert.equal(from.usedBytes, 4096);
  });

  it('copyFrame is 0 when memory is exhausted', () => {
    const full = fresh();
    while (full.alloc(1) !== 0);
    const frame = frameFrom(memory, BYTES);
    assert.equal(copyFrame(memory, frame, full), 0);
  });
});
