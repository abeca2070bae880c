/**
 * What has arrived out of order: RFC 9293 §3.10.7.4 (SHLD-31). The bytes wait in the receive ring, at the place where
 * they belong; here stand only the intervals of sequence numbers. @module
 */
import { type Seq, seqGt, seqLe, seqLt, seqMax, seqMin } from './seq.ts';

/**
 * Intervals remembered: what a window of 12 MB with every second segment lost needs. A segment that would make one more
 * is dropped, and comes again.
 */
export const INTERVALS_MAX = 4096;
/** Intervals whose order is remembered: as many as an option can name. */
const RECENT_MAX = 4;

export class Reassembly {
  /** Interval i is [starts[i], ends[i]); sorted, disjoint, not touching. */
  readonly #starts: Seq[] = [];
  readonly #ends: Seq[] = [];
  /** Starts of the intervals that changed last, the latest first: RFC 2018 §4 reports them in this order. */
  readonly #recent: Seq[] = [];
  /** Bytes that arrived out of order and had been there before: RFC 2883 §4.1. Empty when equal. */
  duplicateStart = 0 as Seq;
  duplicateEnd = 0 as Seq;

  get count(): number {
    return this.#starts.length;
  }

  /** Whether {@link add} would find room for [start, end). */
  accepts(start: Seq, end: Seq): boolean {
    if (this.count < INTERVALS_MAX) return true;
    const i = this.#from(start);
    return i < this.count && seqLe(this.#starts[i]!, end);
  }

  /** Adds [start, end), merging what overlaps or touches. What of it was there already is the duplicate. */
  add(start: Seq, end: Seq): void {
    const starts = this.#starts;
    const ends = this.#ends;
    this.duplicateStart = this.duplicateEnd = start;
    const first = this.#from(start);
    let last = first; // one past the intervals to merge
    const from = start;
    const to = end;
    while (last < starts.length && seqLe(starts[last]!, to)) {
      this.#noteDuplicate(seqMax(from, starts[last]!), seqMin(to, ends[last]!));
      this.#forget(starts[last]!);
      start = seqMin(start, starts[last]!);
      end = seqMax(end, ends[last]!);
      last++;
    }
    starts.splice(first, last - first, start);
    ends.splice(first, last - first, end);
    this.#recent.unshift(start);
    if (this.#recent.length > RECENT_MAX) this.#recent.pop();
  }

  /** The first interval that ends at or behind `seq`. */
  #from(seq: Seq): number {
    const ends = this.#ends;
    let low = 0;
    let high = ends.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (seqLt(ends[middle]!, seq)) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** RFC 2883 §4: one contiguous range is reported, the first of several. */
  #noteDuplicate(start: Seq, end: Seq): void {
    if (this.duplicateStart !== this.duplicateEnd || !seqLt(start, end)) return;
    this.duplicateStart = start;
    this.duplicateEnd = end;
  }

  #forget(start: Seq): void {
    const index = this.#recent.indexOf(start);
    if (index >= 0) this.#recent.splice(index, 1);
  }

  /** All up to `rcvNxt` is in order now: drops it and returns the end of what follows without a gap. */
  advance(rcvNxt: Seq): Seq {
    const starts = this.#starts;
    const ends = this.#ends;
    let next = rcvNxt;
    let done = 0;
    this.duplicateStart = this.duplicateEnd = next;
    // RFC 2883 §4.2: what the segment that fills the gap repeats of the bytes behind it.
    if (starts.length > 0) this.#noteDuplicate(starts[0]!, seqMin(next, ends[0]!));
    while (done < starts.length && seqLe(starts[done]!, next)) {
      if (seqGt(ends[done]!, next)) next = ends[done]!;
      this.#forget(starts[done]!);
      done++;
    }
    starts.splice(0, done);
    ends.splice(0, done);
    return next;
  }

  /** How many blocks {@link sackIndex} can name. */
  get sackCount(): number {
    return Math.min(this.count, RECENT_MAX);
  }

  /** The interval for block `i` of a SACK option: the latest first, then those that were reported before (RFC 2018 §4). */
  sackIndex(i: number): number {
    const recent = this.#recent[i];
    if (recent !== undefined) return this.#starts.indexOf(recent);
    // Older than those remembered: any that are not among them.
    let left = i - this.#recent.length;
    return this.#starts.findIndex((start) => !this.#recent.includes(start) && left-- === 0);
  }

  start(index: number): Seq {
    return this.#starts[index]!;
  }

  end(index: number): Seq {
    return this.#ends[index]!;
  }
}
