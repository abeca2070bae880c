/**
 * The seam for congestion control: what an algorithm is told, and which variables it sets. Algorithms are stateless
 * objects; what they must remember of a connection they keep in its `congestionState`. @module
 */
import type { Connection } from '../connection.ts';

/**
 * What one acknowledgement says of the path: draft-cheng-iccrg-delivery-rate-estimation. One record is reused for all
 * acknowledgements; it is valid during the call.
 */
export interface RateSample {
  /** Bytes newly delivered by this acknowledgement, in order or by SACK. */
  readonly newlyDelivered: number;
  /** Bytes newly marked lost by it. */
  readonly newlyLost: number;
  /** Bytes delivered between the sending of the sampled segment and now, and the time that took in us; 0: no sample. */
  readonly delivered: number;
  readonly intervalUs: number;
  /** Round-trip time of the newest segment acknowledged, us; -1: not measured. */
  readonly rttUs: number;
  /** `c.delivered` when the sampled segment was sent; a round ends when one sent after its start is acknowledged. */
  readonly priorDelivered: number;
  /** Bytes lost in all (`c.lostBytesTotal`) when it was sent: the difference is what was lost while it was under way. */
  readonly priorLost: number;
  /** Bytes under way when it was sent, itself included. */
  readonly inFlightAtSend: number;
  /** The sender had nothing to send at that time: the sample says nothing about the most the path can do. */
  readonly isAppLimited: boolean;
  /** Bytes under way before this acknowledgement was processed. */
  readonly priorInFlight: number;
  /** ECN: bytes newly delivered that were marked CE, as the peer counts (RFC 9768) or signals (RFC 3168). */
  readonly newlyMarked: number;
}

/** Why the window is reduced. */
export type Cause = 'loss' | 'ecn';

export interface CongestionControl {
  /** What `TCP_CONGESTION` shows. */
  readonly name: string;
  /** It sets `cwnd` itself at every sample, in recovery too: proportional rate reduction keeps out of its way. */
  readonly ownsWindow: boolean;
  /** The connection is established: set `cwnd` and `ssthresh`. */
  init(c: Connection): void;
  /** `ackedBytes` of new data were acknowledged outside recovery, while the window was in use. `rttUs`: -1 unknown. */
  acked(c: Connection, ackedBytes: number, rttUs: number): void;
  /**
   * Congestion was seen, for the first time in this window of data, with `flightBytes` outstanding: set `ssthresh`. After
   * `ecn`, `cwnd` may be set below it: the sender goes on with the lesser of the two.
   */
  reduce(c: Connection, flightBytes: number, cause: Cause): void;
  /** The retransmission timer fired: set `ssthresh` and `cwnd`. `isFirst`: not for the same data before. */
  timedOut(c: Connection, flightBytes: number, isFirst: boolean): void;
  /**
   * The last reduction was a mistake: nothing was lost (RFC 4015, RFC 5682, RFC 2883). `cwnd` and `ssthresh` are back at
   * what they were before; bring back what the algorithm itself remembers.
   */
  undo(c: Connection): void;
  /** At every acknowledgement, in recovery too; left out where the algorithm does not need it. */
  sample?(c: Connection, sample: RateSample): void;
  /**
   * `bytes` sent together are marked lost, `c.lostBytesTotal` counts them already; comes before the `sample` of the same
   * acknowledgement, and before `reduce`. The rest as in {@link RateSample}, of the lost segment.
   */
  lost?(c: Connection, bytes: number, inFlightAtSend: number, priorLost: number, isAppLimited: boolean): void;
  /** Nothing was under way for `idleMs` because there was nothing to send, and now something is about to be sent. */
  restart?(c: Connection, idleMs: number): void;
  /** Algorithm-specific numbers for tools that look inside. */
  info?(c: Connection): Readonly<Record<string, number>>;
}

/** RFC 6928 §2: the initial window, ten segments and no more than 14600 bytes (or two large segments). */
export const initialWindow = (mss: number): number => Math.min(10 * mss, Math.max(2 * mss, 14_600));

/** RFC 5681 §3.1: "arbitrarily high". */
export const SSTHRESH_MAX = 0x3fffffff;
/** Limit of cwnd: the largest window scaling can express (RFC 7323 §2.3). */
export const CWND_MAX = 0x3fffffff;

/** Slow start without more: RFC 5681 §3.1 (2), up to where congestion avoidance takes over. */
export function slowStart(c: Connection, bytes: number): void {
  c.cwnd = Math.min(c.cwnd + bytes, c.ssthresh);
}

/**
 * The window after an idle time: RFC 5681 §4.1 goes back to the initial one at once, and this way there halves it for
 * each timeout that passed, as RFC 2861 §3 and Linux do. What it once was stays in `ssthresh`, for the way back.
 */
export function restartWindow(c: Connection, idleMs: number): void {
  const floor = Math.min(initialWindow(c.mss), c.cwnd);
  const halvings = Math.min(Math.floor(idleMs / c.rtoMs), 30);
  if (halvings < 1) return;
  c.ssthresh = Math.max(c.ssthresh, (c.cwnd >> 1) + (c.cwnd >> 2));
  c.cwnd = Math.max(c.cwnd >> halvings, floor);
}

/**
 * What a paced sender may let go in one burst: draft-ietf-ccwg-bbr §5.6.3, what a millisecond carries, between two
 * segments and 64 KB.
 */
export const sendQuantum = (c: Connection): number => Math.max(Math.min(c.pacingRate / 1000, 0x10000), 2 * c.mss);
