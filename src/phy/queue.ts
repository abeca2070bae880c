/**
 * A bounded first-in first-out queue of frames: a ring of offsets, made once, so that queueing allocates nothing.
 * It holds frames and so owns them; who drops the queue calls {@link FrameQueue.clear}. @module
 */
import type { Memory } from '../memory/memory.ts';

/** Largest capacity a queue may be given: 4 MiB of offsets. */
export const QUEUE_FRAMES_MAX = 1 << 20;

export class FrameQueue {
  /** Frames the queue holds at most; a push beyond it is refused. */
  readonly capacity: number;
  readonly #ring: Int32Array;
  readonly #mask: number;
  #head = 0; // counts frames taken, as int32: wraps
  #tail = 0; // counts frames put

  /** @throws RangeError if `capacity` is not a power of two up to {@link QUEUE_FRAMES_MAX}. */
  constructor(capacity: number) {
    const inRange = Number.isInteger(capacity) && capacity >= 1 && capacity <= QUEUE_FRAMES_MAX;
    if (!inRange || (capacity & (capacity - 1)) !== 0) {
      throw new RangeError(`queue: expected a power of two up to ${QUEUE_FRAMES_MAX}, got ${capacity}`);
    }
    this.capacity = capacity;
    this.#mask = capacity - 1;
    this.#ring = new Int32Array(capacity);
  }

  get length(): number {
    return (this.#tail - this.#head) | 0;
  }

  /** Appends `frame`, which the queue owns from now on; false when full: the caller keeps it. */
  push(frame: number): boolean {
    const tail = this.#tail;
    if (((tail - this.#head) | 0) === this.capacity) return false;
    this.#ring[tail & this.#mask] = frame;
    this.#tail = (tail + 1) | 0;
    return true;
  }

  /** Takes the oldest frame, which the caller now owns; 0 when empty. */
  shift(): number {
    const head = this.#head;
    if (head === this.#tail) return 0;
    this.#head = (head + 1) | 0;
    return this.#ring[head & this.#mask]!;
  }

  /** The oldest frame, which the queue keeps; 0 when empty. */
  peek(): number {
    return this.#head === this.#tail ? 0 : this.#ring[this.#head & this.#mask]!;
  }

  /** Gives every frame back to `memory`, where they live. */
  clear(memory: Memory): void {
    for (let frame = this.shift(); frame !== 0; frame = this.shift()) memory.free(frame);
  }
}
