/**
 * The one linear memory of a stack: every frame and every stream buffer lives in it and is named by its integer offset.
 *
 * A buddy allocator hands out power-of-two blocks of 2 KiB to 16 MiB; recently freed blocks wait in a small stack per
 * size, so that the usual alloc and free is a push or a pop (5 ns). The budget is fixed at creation and never grows.
 * Offset 0 is never handed out: it means "none". @module
 */
import { createKernel, type Kernel, type KernelChoice } from './kernel.ts';

/** Smallest block: 2 KiB holds a full Ethernet frame with headroom. */
export const ORDER_MIN = 11;
/** Largest block: 16 MiB, which bounds a stream buffer. */
export const ORDER_MAX = 24;
/** Freed blocks kept at hand per order; beyond it a block goes back to the buddies and merges. */
const CACHE_DEPTH = 512;
/** Bytes of freed blocks kept at hand per order, so that large blocks do not pile up. */
const CACHE_BYTES = 1 << 20;

/** Smallest budget that holds a few connections. */
export const MEMORY_MIN = 1 << 18;
/** Largest budget: offsets must stay positive int32. */
export const MEMORY_MAX = 0x7fff0000;
/** Default budget of a stack. */
export const MEMORY_DEFAULT = 64 << 20;

// What stands in `tags` for a block: its state and its order.
const FREE = 0x20;
const CACHED = 0x40;
const TAKEN = 0x80;
const ORDER_MASK = 0x1f;

export interface MemoryOptions {
  /** The budget in bytes, rounded up to 64 KiB pages; 256 KiB to 2 GiB. The memory never uses more. */
  readonly bytes?: number;
  /** Whether other threads may see the memory. */
  readonly shared?: boolean;
  readonly kernel?: KernelChoice;
}

/**
 * The linear memory, its allocator and its checksum kernel. Several stacks may share one; a frame then passes between
 * them as an offset.
 */
export class Memory {
  readonly bytes: number;
  readonly shared: boolean;
  readonly wasm: WebAssembly.Memory;
  readonly u8: Uint8Array;
  readonly i32: Int32Array;
  readonly dv: DataView;
  readonly sum: Kernel['sum'];
  readonly copySum: Kernel['copySum'];
  readonly copy: Kernel['copy'];
  /** Bytes in blocks that are handed out now. */
  usedBytes = 0;
  /** The most `usedBytes` ever was. */
  peakBytes = 0;
  /** Allocations refused, for want of memory or of a block that large. */
  refused = 0;

  readonly #tags: Uint8Array; // a tag a 2 KiB unit, at the first unit of each block
  readonly #next: Int32Array; // free list links, by unit
  readonly #prev: Int32Array;
  readonly #heads = new Int32Array(ORDER_MAX + 1).fill(-1);
  readonly #caches: Int32Array[] = [];
  readonly #cached = new Int32Array(ORDER_MAX + 1);

  /** @throws RangeError if `bytes` is not between {@link MEMORY_MIN} and {@link MEMORY_MAX}. */
  constructor(options: MemoryOptions = {}) {
    const bytes = options.bytes ?? MEMORY_DEFAULT;
    if (!(bytes >= MEMORY_MIN && bytes <= MEMORY_MAX)) {
      throw new RangeError(`memory: expected ${MEMORY_MIN} to ${MEMORY_MAX} bytes, got ${bytes}`);
    }
    const pages = Math.ceil(bytes / 65536);
    this.bytes = pages * 65536;
    this.shared = options.shared ?? false;
    this.wasm = new WebAssembly.Memory({ initial: pages, maximum: pages, shared: this.shared });
    this.u8 = new Uint8Array(this.wasm.buffer);
    this.i32 = new Int32Array(this.wasm.buffer);
    this.dv = new DataView(this.wasm.buffer);
    const kernel = createKernel(this.wasm, this.shared, options.kernel);
    this.sum = kernel.sum;
    this.copySum = kernel.copySum;
    this.copy = kernel.copy;
    const units = this.bytes >>> ORDER_MIN;
    this.#tags = new Uint8Array(units);
    this.#next = new Int32Array(units);
    this.#prev = new Int32Array(units);
    for (let order = 0; order <= ORDER_MAX; order++) {
      const depth = order < ORDER_MIN ? 0 : Math.min(CACHE_DEPTH, CACHE_BYTES >>> order);
      this.#caches.push(new Int32Array(depth));
    }
    this.#seed(1, units); // unit 0 is the null offset: neither free nor taken, so that giving it back throws
  }

  /** Bytes not handed out. A single block that large may not exist. */
  get freeBytes(): number {
    return this.bytes - (1 << ORDER_MIN) - this.usedBytes;
  }

  /** Takes a block of at least `bytes`; returns its offset, or 0 if there is none. */
  alloc(bytes: number): number {
    let order = bytes <= 1 << ORDER_MIN ? ORDER_MIN : 32 - Math.clz32(bytes - 1);
    if (!(bytes <= 1 << ORDER_MAX)) order = ORDER_MAX + 1; // no such block; also where clz32 wrapped
    const cached = this.#cached[order];
    if (cached !== undefined && cached > 0) {
      this.#cached[order] = cached - 1;
      const offset = this.#caches[order]![cached - 1]!;
      this.#tags[offset >>> ORDER_MIN] = TAKEN | order;
      this.#use(1 << order);
      return offset;
    }
    return this.#allocSlow(order);
  }

  /** Gives back the block at `offset`, which {@link alloc} returned. The caller must not touch it again. */
  free(offset: number): void {
    const unit = offset >>> ORDER_MIN;
    const tag = this.#tags[unit]!;
    if ((tag & TAKEN) === 0) throw new Error(`memory: block ${offset} given back twice`);
    const order = tag & ORDER_MASK;
    this.usedBytes -= 1 << order;
    const cache = this.#caches[order]!;
    const cached = this.#cached[order]!;
    if (cached < cache.length) {
      this.#tags[unit] = CACHED | order;
      cache[cached] = offset;
      this.#cached[order] = cached + 1;
    } else {
      this.#merge(unit, order);
    }
  }

  /** Size in bytes of the block at `offset`. */
  sizeOf(offset: number): number {
    return 1 << (this.#tags[offset >>> ORDER_MIN]! & ORDER_MASK);
  }

  #use(bytes: number): void {
    this.usedBytes += bytes;
    if (this.usedBytes > this.peakBytes) this.peakBytes = this.usedBytes;
  }

  #allocSlow(order: number): number {
    let unit = order > ORDER_MAX ? -1 : this.#split(order);
    if (unit < 0 && order <= ORDER_MAX && this.#flush()) unit = this.#split(order);
    if (unit < 0) {
      this.refused++;
      return 0;
    }
    this.#tags[unit] = TAKEN | order;
    this.#use(1 << order);
    return unit << ORDER_MIN;
  }

  /** Finds a free block of `order`, halving larger ones; returns its unit or -1. */
  #split(order: number): number {
    let from = order;
    while (from <= ORDER_MAX && this.#heads[from]! < 0) from++;
    if (from > ORDER_MAX) return -1;
    const unit = this.#heads[from]!;
    this.#unlink(unit, from);
    while (from > order) {
      from--;
      this.#link(unit + (1 << (from - ORDER_MIN)), from);
    }
    return unit;
  }

  /** Puts a freed block back, merged with its buddy as far as that one is free too. */
  #merge(unit: number, order: number): void {
    const units = this.#tags.length;
    while (order < ORDER_MAX) {
      const buddy = unit ^ (1 << (order - ORDER_MIN));
      if (buddy + (1 << (order - ORDER_MIN)) > units || this.#tags[buddy] !== (FREE | order)) break;
      this.#unlink(buddy, order);
      this.#tags[Math.max(unit, buddy)] = 0;
      unit = Math.min(unit, buddy);
      order++;
    }
    this.#link(unit, order);
  }

  /** Returns all cached blocks to the buddies; says whether there were any. */
  #flush(): boolean {
    let any = false;
    for (let order = ORDER_MIN; order <= ORDER_MAX; order++) {
      const cache = this.#caches[order]!;
      for (let i = this.#cached[order]! - 1; i >= 0; i--) {
        this.#merge(cache[i]! >>> ORDER_MIN, order);
        any = true;
      }
      this.#cached[order] = 0;
    }
    return any;
  }

  /** Lists the units from `first` to `end` as free blocks, each as large as its alignment allows. */
  #seed(first: number, end: number): void {
    while (first < end) {
      let order = ORDER_MIN + Math.min(ORDER_MAX - ORDER_MIN, 31 - Math.clz32(first & -first));
      while (first + (1 << (order - ORDER_MIN)) > end) order--;
      this.#link(first, order);
      first += 1 << (order - ORDER_MIN);
    }
  }

  #link(unit: number, order: number): void {
    const head = this.#heads[order]!;
    this.#tags[unit] = FREE | order;
    this.#next[unit] = head;
    this.#prev[unit] = -1;
    if (head >= 0) this.#prev[head] = unit;
    this.#heads[order] = unit;
  }

  #unlink(unit: number, order: number): void {
    const next = this.#next[unit]!;
    const prev = this.#prev[unit]!;
    if (next >= 0) this.#prev[next] = prev;
    if (prev >= 0) this.#next[prev] = next;
    else this.#heads[order] = next;
  }
}
