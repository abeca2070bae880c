/** Round-trip time and the retransmission timeout: RFC 6298 §2-3, RFC 7323 §4. @module */
import type { Connection } from './connection.ts';
import { type Seq, seqGe } from './seq.ts';

/** RFC 6298 §2: K, and the clock granularity G. */
const K = 4;
const GRANULARITY_US = 1000;
/** An echoed timestamp older than this measures nothing. */
const ECHO_AGE_MAX_MS = 600_000;

/** Takes the measurement `sampleUs` (R') in: RFC 6298 (2.2) and (2.3). */
export function sampleRtt(c: Connection, sampleUs: number): void {
  if (sampleUs < 0) return;
  const r = Math.max(sampleUs, 1);
  if (c.srttUs === 0) {
    c.srttUs = r;
    c.rttvarUs = r >> 1;
  } else {
    const error = Math.abs(c.srttUs - r);
    c.rttvarUs += (error - c.rttvarUs) >> 2; // beta = 1/4
    c.srttUs += (r - c.srttUs) >> 3; // alpha = 1/8
    if (c.srttUs < 1) c.srttUs = 1;
  }
  c.rtoMs = boundedRto(c);
}

function boundedRto(c: Connection): number {
  const { rtoMinMs, rtoMaxMs } = c.settings;
  const us = c.srttUs + Math.max(GRANULARITY_US, K * c.rttvarUs);
  return Math.min(Math.max(Math.ceil(us / 1000), rtoMinMs), rtoMaxMs);
}

/** The timeout with its backoff: RFC 6298 (5.5). */
export const backedOffRto = (c: Connection): number =>
  Math.min(c.rtoMs * 2 ** Math.min(c.backoff, 16), c.settings.rtoMaxMs);

/** Begins to time the segment that ends at `end`, unless one is being timed. */
export function startTiming(c: Connection, end: Seq): void {
  if (c.isTiming) return;
  c.isTiming = true;
  c.timedSeq = end;
  c.timedAtUs = c.context.nowUs;
}

/**
 * New data up to `ack` was acknowledged: takes the measurement there is. A segment sent twice is not timed (Karn's
 * algorithm, RFC 6298 §3), but its echoed timestamp tells which copy was answered (RFC 7323 §4.1).
 * @returns false where a timeout had struck and nothing could be measured since
 */
export function rttOnAck(c: Connection, ack: Seq, hasTimestamps: boolean, tsEcr: number): boolean {
  if (c.isTiming) {
    if (!seqGe(ack, c.timedSeq)) return c.backoff === 0;
    c.isTiming = false;
    sampleRtt(c, (c.context.nowUs - c.timedAtUs) | 0);
    return true;
  }
  if (!hasTimestamps || !c.useTimestamps) return c.backoff === 0;
  const elapsedMs = (timestampNow(c) - tsEcr) | 0;
  if (elapsedMs < 0 || elapsedMs > ECHO_AGE_MAX_MS) return c.backoff === 0;
  sampleRtt(c, elapsedMs * 1000);
  return true;
}

/** TSval now: a millisecond clock with the connection's offset. RFC 7323 §5.4: between 1 ms and 1 s a tick. */
export const timestampNow = (c: Connection): number => (c.context.nowMs + c.tsOffset) | 0;
