/**
 * The seam for congestion control: what an algorithm is told, and which variables it sets. Algorithms are stateless
 * objects; what they must remember of a connection they keep in its `congestionState`. @module
 */
import type { Connection } from '../connection.ts';

export interface CongestionControl {
  readonly name: string;
  /** The connection is established: set `cwnd` and `ssthresh`. */
  init(c: Connection): void;
  /** `ackedBytes` of new data were acknowledged outside recovery, while the window was in use. */
  acked(c: Connection, ackedBytes: number): void;
  /** Loss was seen by duplicate acknowledgements with `flightBytes` outstanding: set `ssthresh`. */
  lost(c: Connection, flightBytes: number): void;
  /** The retransmission timer fired: set `ssthresh` and `cwnd`. `isFirst`: not for the same data before. */
  timedOut(c: Connection, flightBytes: number, isFirst: boolean): void;
}

/** RFC 6928 §2: the initial window, ten segments and no more than 14600 bytes (or two large segments). */
export const initialWindow = (mss: number): number => Math.min(10 * mss, Math.max(2 * mss, 14_600));

/** RFC 5681 §3.1: "arbitrarily high". */
export const SSTHRESH_MAX = 0x3fffffff;
/** Limit of cwnd: the largest window scaling can express (RFC 7323 §2.3). */
export const CWND_MAX = 0x3fffffff;
