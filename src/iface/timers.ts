/**
 * Timers as data: one binary heap of deadlines for the whole stack; its minimum is `pollAt()`. @module
 *
 * A deadline that moves later is not moved in the heap: its owner finds out when it fires early, and sets the next. So
 * restarting the retransmission timer at each acknowledgement costs a store.
 */

/** Something with one place in the heap. Owners with several deadlines set the earliest. */
export interface Timed {
  /** Deadline in the heap, ms of the stack's clock. Written by {@link Timers} only. */
  timerAt: number;
  /** Position in the heap, -1: not in it. Written by {@link Timers} only. */
  timerIndex: number;
  /** Called when the deadline has passed, with the time in ms and fractions; the object is out of the heap then. May be early: see above. */
  expire(nowMs: number): void;
}

export class Timers {
  readonly #heap: Timed[] = [];

  /** The earliest deadline, Infinity when there is none. */
  get nextAt(): number {
    return this.#heap.length === 0 ? Number.POSITIVE_INFINITY : this.#heap[0]!.timerAt;
  }

  get count(): number {
    return this.#heap.length;
  }

  /** Makes sure that `timed` fires at `at` or before. */
  atMost(timed: Timed, at: number): void {
    if (timed.timerIndex >= 0) {
      if (timed.timerAt <= at) return;
      timed.timerAt = at;
      this.#up(timed.timerIndex, timed);
      return;
    }
    timed.timerAt = at;
    this.#heap.push(timed);
    this.#up(this.#heap.length - 1, timed);
  }

  /** Takes `timed` out; nothing happens if it is not in. */
  cancel(timed: Timed): void {
    const index = timed.timerIndex;
    if (index < 0) return;
    timed.timerIndex = -1;
    const last = this.#heap.pop()!;
    if (last === timed) return;
    this.#up(index, last);
    this.#down(last.timerIndex, last);
  }

  /** Fires everything due at `nowMs`, in the order of deadlines. */
  expire(nowMs: number): void {
    // What fires may set new deadlines, but never one at or before now: each owner adds at least a millisecond.
    while (this.#heap.length > 0 && this.#heap[0]!.timerAt <= nowMs) {
      const due = this.#heap[0]!;
      this.cancel(due);
      due.expire(nowMs);
    }
  }

  #up(index: number, timed: Timed): void {
    const heap = this.#heap;
    while (index > 0) {
      const parent = (index - 1) >> 1;
      const above = heap[parent]!;
      if (above.timerAt <= timed.timerAt) break;
      heap[index] = above;
      above.timerIndex = index;
      index = parent;
    }
    heap[index] = timed;
    timed.timerIndex = index;
  }

  #down(index: number, timed: Timed): void {
    const heap = this.#heap;
    for (;;) {
      let child = 2 * index + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && heap[child + 1]!.timerAt < heap[child]!.timerAt) child++;
      const below = heap[child]!;
      if (below.timerAt >= timed.timerAt) break;
      heap[index] = below;
      below.timerIndex = index;
      index = child;
    }
    heap[index] = timed;
    timed.timerIndex = index;
  }
}
