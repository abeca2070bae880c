/**
 * What has arrived out of order: RFC 9293 §3.10.7.4 (SHLD-31). The bytes wait in the receive ring, at the place where
 * they belong; here stand only the intervals of sequence numbers. @module
 */
import { type Seq, seqGe, seqGt, seqLe, seqLt, seqMax, seqMin } from './seq.ts';

/** Intervals remembered. A segment that would make one more is dropped, and comes again. */
export const INTERVALS_MAX = 256;

export class Reassembly {
  /** Interval i is [starts[i], ends[i]); sorted, disjoint, not touching. */
  readonly #starts: Seq[] = [];
  readonly #ends: Seq[] = [];
  /** Start of the interval that the latest segment fell into: RFC 2018 §4 reports it first. */
  #latest: Seq = 0 as Seq;

  get count(): number {
    return this.#starts.length;
  }

  /** Whether {@link add} would find room for [start, end). */
  accepts(start: Seq, end: Seq): boolean {
    if (this.count < INTERVALS_MAX) return true;
    return this.#starts.some((s, i) => seqLe(s, end) && seqGe(this.#ends[i]!, start));
  }

  /** Adds [start, end), merging what overlaps or touches. */
  add(start: Seq, end: Seq): void {
    const starts = this.#starts;
    const ends = this.#ends;
    let first = 0;
    while (first < starts.length && seqLt(ends[first]!, start)) first++;
    let last = first; // one past the intervals to merge
    while (last < starts.length && seqLe(starts[last]!, end)) {
      start = seqMin(start, starts[last]!);
      end = seqMax(end, ends[last]!);
      last++;
    }
    starts.splice(first, last - first, start);
    ends.splice(first, last - first, end);
    this.#latest = start;
  }

  /** All up to `rcvNxt` is in order now: drops it and returns the end of what follows without a gap. */
  advance(rcvNxt: Seq): Seq {
    const starts = this.#starts;
    const ends = this.#ends;
    let next = rcvNxt;
    let done = 0;
    while (done < starts.length && seqLe(starts[done]!, next)) {
      if (seqGt(ends[done]!, next)) next = ends[done]!;
      done++;
    }
    starts.splice(0, done);
    ends.splice(0, done);
    return next;
  }

  /** Start of block `i` for a SACK option: the latest first (RFC 2018 §4), the others in order. */
  sackStart(i: number): Seq {
    return this.#starts[this.#sackIndex(i)]!;
  }

  sackEnd(i: number): Seq {
    return this.#ends[this.#sackIndex(i)]!;
  }

  #sackIndex(i: number): number {
    const latest = Math.max(0, this.#starts.indexOf(this.#latest));
    if (i === 0) return latest;
    return i <= latest ? i - 1 : i;
  }
}
