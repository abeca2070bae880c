import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { randomOf } from '../../test/random.ts';
import { Memory, ORDER_MIN } from './memory.ts';
import { Ring } from './ring.ts';

const KIB = 1024;
const MIB = 1024 * KIB;
const BLOCK_MIN = 1 << ORDER_MIN;

/** The twin: byte by position from the head, undefined where none was stored. */
interface Twin {
  bytes: (number | undefined)[];
  length: number;
}

function bytesOut(memory: Memory, ring: Ring, at: number, length: number, scratch: number): number[] {
  ring.copyOut(at, scratch, length);
  return [...memory.u8.subarray(scratch, scratch + length)];
}

describe('ring: against the twin', () => {
  const rows = [
    { name: 'small', capacity: 2 * KIB, most: 700 },
    { name: 'growing', capacity: 64 * KIB, most: 9000 },
    { name: 'single bytes', capacity: 4 * KIB, most: 3 },
  ];
  for (const { name, capacity, most } of rows) {
    for (const seed of [1, 2, 3]) {
      it(`${name}, seed ${seed}`, () => {
        const random = randomOf(seed);
        const memory = new Memory({ bytes: 2 * MIB });
        const scratch = memory.alloc(capacity);
        const idle = memory.usedBytes;
        const ring = new Ring(memory, capacity);
        const twin: Twin = { bytes: [], length: 0 };
        for (let round = 0; round < 1500; round++)
          step(memory, ring, twin, scratch, random.below(most + 1), random.next);
        ring.release();
        assert.equal(memory.usedBytes, idle);
      });
    }
  }

  function step(memory: Memory, ring: Ring, twin: Twin, scratch: number, n: number, next: () => number): void {
    const what = Math.floor(next() * 6);
    if (what === 0) append(ring, twin, n, next);
    else if (what === 1) store(memory, ring, twin, scratch, n, next);
    else if (what === 2) extend(ring, twin);
    else if (what === 3) take(ring, twin, n);
    else read(memory, ring, twin, scratch, n, next);
    assert.equal(ring.length, twin.length);
  }

  /** As a sender does. Only with nothing stored ahead, for it would be overwritten. */
  function append(ring: Ring, twin: Twin, n: number, next: () => number): void {
    if (twin.bytes.length > twin.length) return;
    const source = Uint8Array.from({ length: n + 4 }, () => next() * 256);
    const room = ring.capacity - twin.length;
    const from = n & 3;
    assert.equal(ring.append(source, from, n), Math.min(n, room));
    twin.bytes.push(...source.subarray(from, from + Math.min(n, room)));
    twin.length = twin.bytes.length;
  }

  /** As a receiver does with a segment that is out of order, or in it. */
  function store(memory: Memory, ring: Ring, twin: Twin, scratch: number, n: number, next: () => number): void {
    const at = twin.length + Math.floor(next() * n);
    const ok = ring.reserve(at + n);
    assert.equal(ok, at + n <= ring.capacity || at + n <= ring.heldBytes);
    if (!ok) return;
    for (let i = 0; i < n; i++) memory.u8[scratch + i] = next() * 256;
    ring.store(at, scratch, n);
    for (let i = 0; i < n; i++) twin.bytes[at + i] = memory.u8[scratch + i];
  }

  /** What was stored ahead, and has no gap before it any more, comes into order. */
  function extend(ring: Ring, twin: Twin): void {
    while (twin.length < twin.bytes.length && twin.bytes[twin.length] !== undefined) twin.length++;
    ring.length = twin.length;
  }

  function take(ring: Ring, twin: Twin, n: number): void {
    const count = Math.min(n, twin.length);
    const target = new Uint8Array(n + 2);
    assert.equal(ring.peek(target, 2, n), count);
    assert.deepEqual([...target.subarray(2, 2 + count)], twin.bytes.slice(0, count));
    ring.advance(count);
    twin.bytes.splice(0, count);
    twin.length -= count;
    if (twin.bytes.length === 0) ring.release();
  }

  function read(memory: Memory, ring: Ring, twin: Twin, scratch: number, n: number, next: () => number): void {
    const at = Math.floor(next() * (twin.length + 1));
    const length = Math.min(n, twin.length - at);
    const want = twin.bytes.slice(at, at + length);
    assert.deepEqual(bytesOut(memory, ring, at, length, scratch), want);
    const sum = ring.copySumOut(at, scratch, length);
    assert.deepEqual([...memory.u8.subarray(scratch, scratch + length)], want);
    assert.equal(sum, memory.sum(scratch, length, 0), `sum of ${length} at ${at}`);
  }
});

/** A ring of one block of 2 KiB whose head stands at `head`, filled with `count` known bytes. */
function ringAt(memory: Memory, head: number, count: number): { ring: Ring; bytes: Uint8Array } {
  const ring = new Ring(memory, BLOCK_MIN);
  ring.append(new Uint8Array(head), 0, head);
  ring.advance(head);
  const bytes = randomOf(head * 4096 + count).bytes(count);
  assert.equal(ring.append(bytes, 0, count), count);
  return { ring, bytes };
}

describe('ring: wrap', () => {
  const memory = new Memory({ bytes: MIB });
  const scratch = memory.alloc(2 * BLOCK_MIN);
  for (const first of [0, 1, 2, 3, 7, 8, 31, 32, 33, 63]) {
    it(`copySumOut, ${first} bytes before the end of the block`, () => {
      for (const length of [0, 1, 2, 3, 31, 32, 33, 64, 65, 200, 201]) {
        const { ring, bytes } = ringAt(memory, BLOCK_MIN - first, 300);
        const d = scratch + (first & 3);
        assert.equal(ring.copySumOut(0, d, length), sumOf(bytes, length), `length ${length}`);
        assert.deepEqual(memory.u8.slice(d, d + length), bytes.slice(0, length));
        ring.release();
      }
    });
  }

  function sumOf(bytes: Uint8Array, length: number): number {
    let s = 0;
    for (let i = 0; i < length; i++) s += bytes[i]! << (8 * (i & 1));
    while (s > 0xffff) s = (s & 0xffff) + (s >>> 16);
    return s;
  }

  it('store and peek over the end of the block', () => {
    const { ring, bytes } = ringAt(memory, BLOCK_MIN - 5, 3);
    memory.u8.set([1, 2, 3, 4, 5], scratch);
    assert.ok(ring.reserve(8));
    ring.store(3, scratch, 5);
    ring.length = 8;
    const target = new Uint8Array(8);
    assert.equal(ring.peek(target, 0, 100), 8);
    assert.deepEqual(target, Uint8Array.of(...bytes, 1, 2, 3, 4, 5));
    ring.release();
  });
});

describe('ring: blocks', () => {
  it('holds none before the first byte and after release', () => {
    const memory = new Memory({ bytes: MIB });
    const ring = new Ring(memory, 64 * KIB);
    assert.equal(memory.usedBytes, 0);
    assert.equal(ring.peek(new Uint8Array(4), 0, 4), 0);
    ring.append(Uint8Array.of(1), 0, 1);
    assert.equal(ring.heldBytes, BLOCK_MIN);
    ring.advance(1);
    ring.release();
    assert.equal(ring.heldBytes, 0);
    assert.equal(memory.usedBytes, 0);
    ring.release();
    assert.equal(memory.usedBytes, 0);
  });

  it('release gives back what is still held', () => {
    const memory = new Memory({ bytes: MIB });
    const ring = new Ring(memory, 64 * KIB);
    ring.append(new Uint8Array(5000), 0, 5000);
    ring.release();
    assert.equal(ring.length, 0);
    assert.equal(memory.usedBytes, 0);
  });

  const growths = [
    { bytes: 1, want: 2 * KIB },
    { bytes: 2048, want: 2 * KIB },
    { bytes: 2049, want: 4 * KIB },
    { bytes: 40_000, want: 64 * KIB },
    { bytes: 65_536, want: 64 * KIB },
  ];
  for (const { bytes, want } of growths) {
    it(`${bytes} bytes take a block of ${want}`, () => {
      const ring = new Ring(new Memory({ bytes: MIB }), 64 * KIB);
      assert.equal(ring.append(new Uint8Array(bytes), 0, bytes), bytes);
      assert.equal(ring.heldBytes, want);
    });
  }

  it('growth keeps what is stored beyond length, over the wrap', () => {
    const memory = new Memory({ bytes: MIB });
    const scratch = memory.alloc(BLOCK_MIN);
    const ring = new Ring(memory, 64 * KIB);
    ring.append(new Uint8Array(2000), 0, 2000);
    ring.advance(1990);
    memory.u8.set([9, 8, 7], scratch);
    assert.ok(ring.reserve(103));
    ring.store(100, scratch, 3);
    assert.ok(ring.reserve(3000));
    assert.equal(ring.heldBytes, 4 * KIB);
    assert.deepEqual(bytesOut(memory, ring, 100, 3, scratch), [9, 8, 7]);
    assert.equal(ring.length, 10);
  });

  it('takes no more than its capacity', () => {
    const ring = new Ring(new Memory({ bytes: MIB }), 4 * KIB);
    assert.equal(ring.append(new Uint8Array(5000), 0, 5000), 4096);
    assert.equal(ring.append(new Uint8Array(1), 0, 1), 0);
    assert.equal(ring.reserve(4096), true);
    assert.equal(ring.reserve(4097), false);
  });
});

describe('ring: at the limit of memory', () => {
  it('leaves one eighth to frames', () => {
    const memory = new Memory({ bytes: MIB });
    const rings: Ring[] = [];
    for (;;) {
      const ring = new Ring(memory, 64 * KIB);
      if (!ring.reserve(1)) break;
      rings.push(ring);
    }
    assert.ok(memory.freeBytes >= MIB / 8, `${memory.freeBytes} free`);
    assert.ok(memory.freeBytes < MIB / 8 + BLOCK_MIN, `${memory.freeBytes} free`);
    assert.notEqual(memory.alloc(2000), 0, 'a frame still fits');
    for (const ring of rings) ring.release();
    assert.equal(memory.usedBytes, BLOCK_MIN);
  });

  it('append fills the block it has when it may not grow', () => {
    const memory = new Memory({ bytes: MIB });
    const ring = new Ring(memory, 64 * KIB);
    assert.equal(ring.append(new Uint8Array(100), 0, 100), 100);
    while (memory.freeBytes > MIB / 8) memory.alloc(1);
    assert.equal(ring.append(new Uint8Array(5000).fill(3), 0, 5000), BLOCK_MIN - 100);
    assert.equal(ring.append(new Uint8Array(1), 0, 1), 0);
    assert.equal(ring.length, BLOCK_MIN);
    assert.equal(ring.reserve(BLOCK_MIN + 1), false);
  });
});
