/**
 * Virtual time: a clock that moves only when it is told to, so that ten minutes of retransmission take a millisecond
 * and every run is the same. Hosts driven by it set timers as they would on a real one. @module
 */

/** What drives a host: a time, and timers. A real one is made of performance.now and setTimeout, outside the core. */
export interface Clock {
  /** Milliseconds since some fixed moment, never going back; fractions allowed. */
  now(): number;
  /** Calls `fn` once, when the clock reaches `atMs`, or soon if that is past; never inside this call. */
  setTimer(atMs: number, fn: () => void): number;
  /** Forgets a timer; one that has fired or is unknown is ignored. */
  clearTimer(handle: number): void;
}

/** Timers fired in a row with time standing still before {@link VirtualClock.step} throws: something sets itself anew. */
export const STALLED_TIMERS_MAX = 1_000_000;

export interface RunOptions {
  /**
   * Resolves when every promise that can go on has gone on. The core has no macrotasks, so it comes from outside: in
   * Node `() => new Promise((resolve) => setImmediate(resolve))`.
   */
  readonly settle: () => Promise<void>;
  /** Asked after every settling; true ends the run. Default: never. */
  readonly until?: () => boolean;
  /** Virtual milliseconds the run may take from now; default Infinity. */
  readonly maxMs?: number;
}

interface Timer {
  readonly at: number;
  readonly handle: number;
  readonly fn: () => void;
  /** Where it stands in the heap. */
  place: number;
}

/** A {@link Clock} in virtual time: a binary heap of timers, ordered by time and among equals by when they were set. */
export class VirtualClock implements Clock {
  #now: number;
  #nextHandle = 1; // counts up, so that it orders equals
  #stalled = 0; // timers fired since time last moved
  readonly #heap: Timer[] = [];
  readonly #byHandle = new Map<number, Timer>();

  /** @param startMs - what {@link now} says first; default 0 */
  constructor(startMs = 0) {
    this.#now = startMs;
  }

  now(): number {
    return this.#now;
  }

  /** Timers set and not yet fired. */
  get pending(): number {
    return this.#heap.length;
  }

  /** Time of the next timer, which may be past; Infinity: there is none. */
  get nextAt(): number {
    return this.#heap.length === 0 ? Number.POSITIVE_INFINITY : this.#heap[0]!.at;
  }

  /** @throws RangeError if `atMs` is NaN. A timer at Infinity never fires. */
  setTimer(atMs: number, fn: () => void): number {
    if (Number.isNaN(atMs)) throw new RangeError('clock: expected a time in ms, got NaN');
    const timer: Timer = { at: atMs, handle: this.#nextHandle++, fn, place: this.#heap.length };
    this.#byHandle.set(timer.handle, timer);
    this.#heap.push(timer);
    this.#up(timer);
    return timer.handle;
  }

  clearTimer(handle: number): void {
    const timer = this.#byHandle.get(handle);
    if (timer !== undefined) this.#remove(timer);
  }

  /**
   * Fires every timer due up to `t`, in order of time, each with `now()` at its time; those set meanwhile too, if they
   * are due. Then `now()` is `t`. A `t` in the past fires what is due and moves nothing.
   * @throws RangeError if `t` is not finite.
   */
  advanceTo(t: number): void {
    if (!Number.isFinite(t)) throw new RangeError(`clock: expected a finite time in ms, got ${t}`);
    while (this.nextAt <= t) this.step();
    this.#moveTo(t);
  }

  /**
   * Goes to the next timer's time and fires that one timer; false where there is none.
   * @throws Error if time stands still: {@link STALLED_TIMERS_MAX} timers in a row at one moment.
   */
  step(): boolean {
    const at = this.nextAt;
    if (at === Number.POSITIVE_INFINITY) return false;
    const timer = this.#heap[0]!;
    this.#remove(timer);
    this.#moveTo(at);
    if (++this.#stalled > STALLED_TIMERS_MAX) {
      throw new Error(`clock: ${STALLED_TIMERS_MAX} timers fired at ${this.#now} ms and time does not move`);
    }
    timer.fn();
    return true;
  }

  /**
   * Runs what hangs on this clock: lets promises settle, then steps, over and over, until `until` says so, until no
   * timer is left, or until `maxMs` have passed (then `now()` is exactly that much later).
   * @returns whether `until` said so
   */
  async run(options: RunOptions): Promise<boolean> {
    const { settle, until, maxMs = Number.POSITIVE_INFINITY } = options;
    const end = this.#now + maxMs;
    for (;;) {
      await settle();
      if (until?.()) return true;
      const at = this.nextAt;
      if (at <= end && this.step()) continue;
      // Nothing happens any more before the end.
      if (end === Number.POSITIVE_INFINITY || this.#now >= end) return false;
      this.#moveTo(end);
    }
  }

  #moveTo(t: number): void {
    if (t <= this.#now) return;
    this.#now = t;
    this.#stalled = 0;
  }

  #remove(timer: Timer): void {
    this.#byHandle.delete(timer.handle);
    const last = this.#heap.pop()!;
    if (last === timer) return;
    last.place = timer.place;
    this.#heap[last.place] = last;
    this.#up(last);
    this.#down(last);
  }

  #up(timer: Timer): void {
    let place = timer.place;
    while (place > 0) {
      const parent = this.#heap[(place - 1) >> 1]!;
      if (before(parent, timer)) break;
      this.#put(parent, place);
      place = (place - 1) >> 1;
    }
    this.#put(timer, place);
  }

  #down(timer: Timer): void {
    let place = timer.place;
    for (;;) {
      let child = 2 * place + 1;
      if (child >= this.#heap.length) break;
      if (child + 1 < this.#heap.length && before(this.#heap[child + 1]!, this.#heap[child]!)) child++;
      const next = this.#heap[child]!;
      if (before(timer, next)) break;
      this.#put(next, place);
      place = child;
    }
    this.#put(timer, place);
  }

  #put(timer: Timer, place: number): void {
    this.#heap[place] = timer;
    timer.place = place;
  }
}

const before = (a: Timer, b: Timer): boolean => a.at < b.at || (a.at === b.at && a.handle < b.handle);
