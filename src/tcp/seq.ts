/**
 * Sequence number arithmetic: RFC 9293 §3.4. A sequence number is held as int32 (`x | 0`), compared by difference, and
 * printed with `>>> 0`. No other file compares two of them. @module
 */

declare const brand: unique symbol;
/** A TCP sequence number. */
export type Seq = number & { readonly [brand]: true };

/** The sequence number of an int32 read from a wire. */
export const seq = (x: number): Seq => (x | 0) as Seq;
export const seqAdd = (a: Seq, n: number): Seq => ((a + n) | 0) as Seq;
/** Bytes from `b` up to `a`; negative where `a` is before `b`. */
export const seqDiff = (a: Seq, b: Seq): number => (a - b) | 0;
export const seqLt = (a: Seq, b: Seq): boolean => ((a - b) | 0) < 0;
export const seqLe = (a: Seq, b: Seq): boolean => ((a - b) | 0) <= 0;
export const seqGt = (a: Seq, b: Seq): boolean => ((a - b) | 0) > 0;
export const seqGe = (a: Seq, b: Seq): boolean => ((a - b) | 0) >= 0;
export const seqMax = (a: Seq, b: Seq): Seq => (((a - b) | 0) >= 0 ? a : b);
export const seqMin = (a: Seq, b: Seq): Seq => (((a - b) | 0) <= 0 ? a : b);
