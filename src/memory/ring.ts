/**
 * Stream buffers: byte rings in the linear memory. A ring takes a block at its first byte, grows by doubling up to its
 * capacity, and gives the block back when it is empty, so that an idle connection holds none.
 *
 * Bytes are named by their distance from the ring's head (the oldest byte). Bytes may be stored beyond `length`, which
 * is how out-of-order segments wait in place. @module
 */
import { type Memory, ORDER_MIN } from './memory.ts';

/** Part of a memory that rings leave to frames, as a shift: one eighth. */
const RESERVE_SHIFT = 3;
/** Up to here a loop copies faster than a view of the bytes is made for `set`. */
const LOOP_BYTES_MAX = 16;

export class Ring {
  readonly memory: Memory;
  /** The most bytes the ring will hold; a power of two. It may change while the ring holds any: what is beyond stays. */
  capacity: number;
  /** In-order bytes held. */
  length = 0;
  #base = 0; // offset of the block, 0: none
  #size = 0; // of the block
  #head = 0; // index of the oldest byte in the block
  #peak = 0; // the furthest position reserved in this block
  #startSize = 1 << ORDER_MIN; // size of the next block taken

  constructor(memory: Memory, capacity: number) {
    this.memory = memory;
    this.capacity = capacity;
  }

  /** Bytes of the block held now. */
  get heldBytes(): number {
    return this.#size;
  }

  /** Makes room for byte positions up to `end` (from the head); false when capacity or memory refuse. */
  reserve(end: number): boolean {
    if (end > this.#size && !this.#grow(end)) return false;
    if (end > this.#peak) this.#peak = end;
    return true;
  }

  #grow(end: number): boolean {
    if (end > this.capacity) return false;
    let size = this.#size === 0 ? this.#startSize : this.#size;
    while (size < end) size <<= 1;
    return this.#take(size) || this.#take(Math.max(1 << ORDER_MIN, 1 << (32 - Math.clz32(end - 1))));
  }

  /** Takes a block of `size`, which holds all that is held, and moves the bytes there; false when memory refuses. */
  #take(size: number): boolean {
    const { memory } = this;
    // Frames keep their share: without them no acknowledgement could leave, and nothing would ever drain.
    if (memory.freeBytes - size < memory.bytes >>> RESERVE_SHIFT) return false;
    const base = memory.alloc(size);
    if (base === 0) return false;
    if (this.#base !== 0) {
      const first = this.#size - this.#head;
      memory.copy(base, this.#base + this.#head, first);
      memory.copy(base + first, this.#base, this.#head);
      memory.free(this.#base);
    }
    this.#base = base;
    this.#size = size;
    this.#head = 0;
    return true;
  }

  /** Copies `length` bytes at offset `p` of the memory to position `at`; {@link reserve} must have made the room. */
  store(at: number, p: number, length: number): void {
    const o = (this.#head + at) & (this.#size - 1);
    const first = this.#size - o;
    if (length <= first) {
      this.memory.copy(this.#base + o, p, length);
    } else {
      this.memory.copy(this.#base + o, p, first);
      this.memory.copy(this.#base, p + first, length - first);
    }
  }

  /**
   * Appends from `source` as much as fits; returns the count.
   */
  append(source: Uint8Array, from: number, count: number): number {
    const n = Math.min(count, this.capacity - this.length);
    if (n <= 0 || !this.reserve(this.length + n)) return this.#appendHeld(source, from, n);
    return this.#write(source, from, n);
  }

  /** Memory refused to grow the ring: what fits in the block it has is still taken. */
  #appendHeld(source: Uint8Array, from: number, count: number): number {
    const n = Math.min(count, this.#size - this.length);
    return n <= 0 ? 0 : this.#write(source, from, n);
  }

  #write(source: Uint8Array, from: number, n: number): number {
    const o = (this.#head + this.length) & (this.#size - 1);
    const first = Math.min(n, this.#size - o);
    const { u8 } = this.memory;
    u8.set(from === 0 && first === source.length ? source : source.subarray(from, from + first), this.#base + o);
    if (first < n) u8.set(source.subarray(from + first, from + n), this.#base);
    this.length += n;
    return n;
  }

  /** As {@link append}, from offset `p` of the memory. */
  appendAt(p: number, count: number): number {
    let n = Math.min(count, this.capacity - this.length);
    if (n <= 0 || !this.reserve(this.length + n)) n = Math.min(n, this.#size - this.length);
    if (n <= 0) return 0;
    this.store(this.length, p, n);
    this.length += n;
    return n;
  }

  /** Copies `length` bytes from position `at` to offset `d` of the memory and returns their sum (see Kernel.copySum). */
  copySumOut(at: number, d: number, length: number): number {
    const { memory } = this;
    const o = (this.#head + at) & (this.#size - 1);
    const first = this.#size - o;
    if (length <= first) return memory.copySum(d, this.#base + o, length, 0);
    const s = memory.copySum(d, this.#base + o, first, 0);
    const t = memory.copySum(d + first, this.#base, length - first, 0);
    // A word split at an odd place has its bytes in the other order: RFC 1071 §2(B).
    const rest = (first & 1) === 0 ? t : ((t & 0xff) << 8) | (t >>> 8);
    const u = s + rest;
    return (u & 0xffff) + (u >>> 16);
  }

  /** Copies `length` bytes from position `at` to offset `d` of the memory. */
  copyOut(at: number, d: number, length: number): void {
    const o = (this.#head + at) & (this.#size - 1);
    const first = Math.min(length, this.#size - o);
    this.memory.copy(d, this.#base + o, first);
    if (first < length) this.memory.copy(d + first, this.#base, length - first);
  }

  /** Copies up to `count` of the oldest bytes into `target` at `to`, without taking them; returns how many. */
  peek(target: Uint8Array, to: number, count: number): number {
    return this.peekAt(0, target, to, count);
  }

  /** Like {@link peek}, from position `at` on. */
  peekAt(at: number, target: Uint8Array, to: number, count: number): number {
    const n = Math.min(count, this.length - at);
    if (n <= 0) return 0;
    const o = (this.#head + at) & (this.#size - 1);
    const first = Math.min(n, this.#size - o);
    this.#copyTo(target, to, this.#base + o, first);
    if (first < n) this.#copyTo(target, to + first, this.#base, n - first);
    return n;
  }

  #copyTo(target: Uint8Array, to: number, p: number, count: number): void {
    const { u8 } = this.memory;
    if (count > LOOP_BYTES_MAX) target.set(u8.subarray(p, p + count), to);
    else for (let i = 0; i < count; i++) target[to + i] = u8[p + i]!;
  }

  /** Drops the `count` oldest bytes. Call {@link release} when nothing is stored beyond `length` either. */
  advance(count: number): void {
    this.#head = (this.#head + count) & (this.#size - 1);
    this.length -= count;
  }

  /** Gives the block back, whatever it holds. */
  release(): void {
    if (this.#base === 0) return;
    this.memory.free(this.#base);
    // The next block starts as large as this one was used, so that a bulk flow does not double its way up every time its
    // reader has caught up; what was not needed shrinks by halves.
    if (this.#peak > this.#size >> 1) this.#startSize = this.#size;
    else if (this.#startSize > 1 << ORDER_MIN) this.#startSize >>= 1;
    this.#peak = 0;
    this.#base = 0;
    this.#size = 0;
    this.#head = 0;
    this.length = 0;
  }
}
