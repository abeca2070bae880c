import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { randomOf } from '../../test/random.ts';
import { MEMORY_MAX, MEMORY_MIN, Memory, ORDER_MAX, ORDER_MIN } from './memory.ts';

const UNIT = 1 << ORDER_MIN;
const KIB = 1024;
const MIB = 1024 * KIB;

/** The obviously correct twin: one boolean a unit, searched from the start. */
class Twin {
  readonly taken: boolean[];
  used = 0;
  peak = 0;

  constructor(bytes: number) {
    this.taken = new Array<boolean>(bytes / UNIT).fill(false);
    this.taken[0] = true;
  }

  sizeFor(bytes: number): number {
    let size = UNIT;
    while (size < bytes) size *= 2;
    return size;
  }

  /** Whether an aligned block of `size` bytes is free anywhere. */
  hasRoom(size: number): boolean {
    const count = size / UNIT;
    for (let unit = 0; unit + count <= this.taken.length; unit += count) {
      if (this.taken.slice(unit, unit + count).every((t) => !t)) return true;
    }
    return false;
  }

  take(offset: number, size: number): void {
    assert.equal(offset % size, 0, `block ${offset} of ${size} bytes is not aligned`);
    for (let unit = offset / UNIT; unit < (offset + size) / UNIT; unit++) {
      assert.equal(this.taken[unit], false, `unit ${unit} handed out twice, or beyond the budget`);
      this.taken[unit] = true;
    }
    this.used += size;
    this.peak = Math.max(this.peak, this.used);
  }

  give(offset: number, size: number): void {
    this.taken.fill(false, offset / UNIT, (offset + size) / UNIT);
    this.used -= size;
  }
}

describe('memory: against the twin', () => {
  const rows = [
    { name: 'smallest budget', bytes: MEMORY_MIN, largest: 64 * KIB, fill: 0.5 },
    { name: 'power of two', bytes: MIB, largest: 64 * KIB, fill: 0.5 },
    { name: 'not a power of two', bytes: 1_700_000, largest: 300_000, fill: 0.5 },
    { name: 'always nearly full', bytes: 3 * MIB, largest: 20_000, fill: 0.8 },
    { name: 'frames only', bytes: 2 * MIB, largest: 1700, fill: 0.6 },
    { name: 'large blocks', bytes: 5 * MIB, largest: 3 * MIB, fill: 0.6 },
  ];
  for (const { name, bytes, largest, fill } of rows) {
    for (const seed of [1, 2, 3]) {
      it(`${name}, seed ${seed}`, () => {
        const random = randomOf(seed);
        const memory = new Memory({ bytes });
        const twin = new Twin(memory.bytes);
        const held: { offset: number; size: number }[] = [];
        let refused = 0;
        for (let round = 0; round < 4000; round++) {
          if (held.length === 0 || random.next() < fill) {
            // Sizes spread over the orders, not over the bytes.
            const wanted = 1 + random.below(Math.max(1, largest >> random.below(10)));
            const size = twin.sizeFor(wanted);
            const offset = memory.alloc(wanted);
            if (offset === 0) {
              refused++;
              assert.equal(twin.hasRoom(size), false, `${wanted} bytes refused with room for them`);
            } else {
              assert.equal(memory.sizeOf(offset), size);
              twin.take(offset, size);
              held.push({ offset, size });
            }
          } else {
            const [block] = held.splice(random.below(held.length), 1);
            memory.free(block!.offset);
            twin.give(block!.offset, block!.size);
          }
          assert.equal(memory.usedBytes, twin.used);
          assert.equal(memory.peakBytes, twin.peak);
          assert.equal(memory.refused, refused);
          assert.equal(memory.freeBytes, memory.bytes - UNIT - twin.used);
        }
        for (const { offset } of held) memory.free(offset);
        assert.equal(memory.usedBytes, 0);
        assert.equal(memory.u8.length, memory.bytes);
      });
    }
  }
});

describe('memory: budget', () => {
  const rows = [
    { bytes: MEMORY_MIN, want: MEMORY_MIN },
    { bytes: MEMORY_MIN + 1, want: MEMORY_MIN + 64 * KIB },
    { bytes: 1_000_000, want: 16 * 64 * KIB },
    { bytes: 1_700_000, want: 26 * 64 * KIB },
  ];
  for (const { bytes, want } of rows) {
    it(`${bytes} bytes are ${want} in pages`, () => {
      const memory = new Memory({ bytes });
      assert.equal(memory.bytes, want);
      assert.equal(memory.wasm.buffer.byteLength, want);
    });
  }

  for (const bytes of [0, -1, MEMORY_MIN - 1, MEMORY_MAX + 1, Number.NaN, Number.POSITIVE_INFINITY]) {
    it(`refuses ${bytes} bytes`, () => assert.throws(() => new Memory({ bytes }), RangeError));
  }

  it('hands out all of it but the first unit, then refuses and counts', () => {
    const memory = new Memory({ bytes: MIB });
    const seen = new Set<number>();
    for (;;) {
      const offset = memory.alloc(1);
      if (offset === 0) break;
      assert.ok(offset >= UNIT && offset < MIB);
      seen.add(offset);
    }
    assert.equal(seen.size, MIB / UNIT - 1);
    assert.equal(memory.freeBytes, 0);
    assert.equal(memory.refused, 1);
    assert.equal(memory.wasm.buffer.byteLength, MIB);
  });

  it('refuses more than the largest block', () => {
    const memory = new Memory({ bytes: 64 * MIB });
    assert.notEqual(memory.alloc(1 << ORDER_MAX), 0);
    assert.equal(memory.alloc((1 << ORDER_MAX) + 1), 0);
    assert.equal(memory.alloc(48 * MIB), 0);
    assert.equal(memory.alloc(2 ** 32 + 1), 0);
    assert.equal(memory.alloc(Number.NaN), 0);
    assert.equal(memory.refused, 4);
  });

  it('may be shared', () => {
    const memory = new Memory({ bytes: MEMORY_MIN, shared: true });
    assert.ok(memory.wasm.buffer instanceof SharedArrayBuffer);
    assert.notEqual(memory.alloc(100), 0);
  });
});

describe('memory: giving back', () => {
  it('merges fragments into the largest block again', () => {
    const memory = new Memory({ bytes: 64 * MIB });
    const small: number[] = [];
    for (let offset = memory.alloc(1); offset !== 0; offset = memory.alloc(1)) small.push(offset);
    // Every second one first, so that no two neighbours merge at once.
    for (let i = 0; i < small.length; i += 2) memory.free(small[i]!);
    assert.equal(memory.alloc(2 * UNIT), 0, 'only single units are free');
    for (let i = 1; i < small.length; i += 2) memory.free(small[i]!);
    const large: number[] = [];
    for (let offset = memory.alloc(16 * MIB); offset !== 0; offset = memory.alloc(16 * MIB)) large.push(offset);
    assert.deepEqual(
      large.sort((x, y) => x - y),
      [16 * MIB, 32 * MIB, 48 * MIB],
      'all but the block of the null offset',
    );
  });

  const twice = [
    { name: 'from the cache', size: 1, others: 0 },
    { name: 'merged with its buddy', size: 8 * MIB, others: 0 },
    { name: 'beyond the depth of the cache', size: 1, others: 600 },
  ];
  for (const { name, size, others } of twice) {
    it(`throws on a block given back twice, ${name}`, () => {
      const memory = new Memory({ bytes: 64 * MIB });
      const blocks = Array.from({ length: others }, () => memory.alloc(size));
      const offset = memory.alloc(size);
      for (const block of blocks) memory.free(block);
      memory.free(offset);
      assert.throws(() => memory.free(offset), /given back twice/);
      assert.equal(memory.usedBytes, 0);
    });
  }

  it('throws on the null offset', () => {
    const memory = new Memory({ bytes: MEMORY_MIN });
    assert.throws(() => memory.free(0), /given back twice/);
    assert.equal(memory.usedBytes, 0);
  });

  it('hands a recent block out again first', () => {
    const memory = new Memory({ bytes: MIB });
    const offset = memory.alloc(2000);
    memory.free(offset);
    assert.equal(memory.alloc(1000), offset);
  });
});
