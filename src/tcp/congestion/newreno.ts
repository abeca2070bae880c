/**
 * Slow start and congestion avoidance as RFC 5681 §3.1 has them; recovery.ts holds the NewReno recovery itself. A mark of
 * ECN halves the window as a loss does: RFC 3168 §6.1.2; the milder factor of RFC 8511 is an experiment. @module
 */
import type { Connection } from '../connection.ts';
import {
  type CongestionControl,
  CWND_MAX,
  initialWindow,
  restartWindow,
  SSTHRESH_MAX,
  slowStart,
} from './controller.ts';

export const newreno: CongestionControl = {
  name: 'newreno',
  ownsWindow: false,

  init(c: Connection): void {
    c.cwnd = initialWindow(c.mss);
    c.ssthresh = SSTHRESH_MAX;
    c.avoidanceBytes = 0;
  },

  acked(c: Connection, ackedBytes: number): void {
    if (c.cwnd < c.ssthresh) {
      // Slow start counts bytes, not acknowledgements (RFC 3465 §2.2), and all of them: a receiver that merges segments
      // sends one acknowledgement for dozens, and with L = 2 segments the window would hardly open. Linux does so too.
      slowStart(c, ackedBytes);
      return;
    }
    // RFC 5681 §3.1, RFC 3465 §2.1: one segment more for each window acknowledged.
    c.avoidanceBytes += ackedBytes;
    if (c.avoidanceBytes < c.cwnd) return;
    c.avoidanceBytes -= c.cwnd;
    c.cwnd = Math.min(c.cwnd + c.mss, CWND_MAX);
  },

  reduce(c: Connection, flightBytes: number): void {
    c.ssthresh = Math.max(flightBytes >> 1, 2 * c.mss); // RFC 5681 §3.1 (4)
    c.avoidanceBytes = 0;
  },

  timedOut(c: Connection, flightBytes: number, isFirst: boolean): void {
    // RFC 5681 §3.1: ssthresh is held when the same data times out again.
    if (isFirst) c.ssthresh = Math.max(flightBytes >> 1, 2 * c.mss);
    c.cwnd = c.mss; // the loss window
    c.avoidanceBytes = 0;
  },

  undo(): void {},

  restart: restartWindow,
};
