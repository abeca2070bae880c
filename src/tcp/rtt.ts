/** Round-trip time and the retransmission timeout: RFC 6298 §2-3, RFC 7323 §4. @module */
import type { Connection } from './connection.ts';
import { type Seq, seqGt } from './seq.ts';

/** An echoed timestamp older than this measures nothing. */
const ECHO_AGE_MAX_MS = 600_000;
/** RFC 8985 §6.2 step 1: the minimum counts for so long. */
const MIN_RTT_WINDOW_MS = 300_000;

/**
 * Takes the measurement `sampleUs` (R') in: RFC 6298 (2.2), (2.3). As Linux does, two things differ from its letter. Every
 * acknowledgement is a sample, and RTTVAR decays once a round, from the largest deviation seen in it; otherwise a window of
 * hundreds of samples would forget a spike within one round trip (RFC 7323 Appendix G). And the minimum of the timeout
 * bounds its margin above SRTT, not its sum: a round trip of 200 ms with little variance would else time out for nothing.
 */
export function sampleRtt(c: Connection, sampleUs: number): void {
  const r = Math.max(sampleUs, 1);
  const floorUs = c.settings.rtoMinMs * 1000;
  if (c.srtt8Us === 0) {
    c.srtt8Us = r << 3;
    c.mdev4Us = r << 1; // four deviations of r/2
    c.mdevMaxUs = c.rttvarUs = Math.max(c.mdev4Us, floorUs);
    c.rttSeq = c.sndNxt;
  } else {
    const error = r - (c.srtt8Us >> 3);
    c.srtt8Us = Math.max(1, c.srtt8Us + error); // alpha = 1/8
    // beta = 1/4; when the round trip falls, that is no reason to wait longer: a deviation downwards counts an eighth.
    const excess = Math.abs(error) - (c.mdev4Us >> 2);
    c.mdev4Us += error < 0 && excess > 0 ? excess >> 3 : excess;
    if (c.mdev4Us > c.mdevMaxUs) {
      c.mdevMaxUs = c.mdev4Us;
      if (c.mdevMaxUs > c.rttvarUs) c.rttvarUs = c.mdevMaxUs;
    }
    if (seqGt(c.sndUna, c.rttSeq)) {
      if (c.mdevMaxUs < c.rttvarUs) c.rttvarUs -= (c.rttvarUs - c.mdevMaxUs) >> 2;
      c.rttSeq = c.sndNxt;
      c.mdevMaxUs = floorUs;
    }
  }
  c.srttUs = Math.max(1, c.srtt8Us >> 3);
  const { rtoMaxMs } = c.settings;
  c.rtoMs = Math.min(((c.srttUs + c.rttvarUs + 999) / 1000) | 0, rtoMaxMs);
}

/** The least round trip of the last five minutes. */
export function updateMinRtt(c: Connection, sampleUs: number): void {
  const { nowMs } = c.context;
  if (c.minRttUs >= 0 && sampleUs > c.minRttUs && nowMs - c.minRttAtMs < MIN_RTT_WINDOW_MS) return;
  c.minRttUs = sampleUs;
  c.minRttAtMs = nowMs;
}

/** The timeout with its backoff: RFC 6298 (5.5). */
export const backedOffRto = (c: Connection): number =>
  Math.min(c.rtoMs * (1 << Math.min(c.backoff, 16)), c.settings.rtoMaxMs);

/** Begins to time our SYN, or SYN-ACK. */
export function startTiming(c: Connection): void {
  c.isTiming = true;
  c.timedAtUs = c.context.nowUs;
}

/** Our SYN is acknowledged: takes the measurement, unless it was sent twice (RFC 6298 §3) and no timestamp tells. */
export function rttOfHandshake(c: Connection, hasTimestamps: boolean, tsEcr: number): void {
  const sample = c.isTiming ? (c.context.nowUs - c.timedAtUs) | 0 : hasTimestamps ? echoedRtt(c, tsEcr) : -1;
  c.isTiming = false;
  if (sample < 0) return;
  updateMinRtt(c, sample);
  sampleRtt(c, sample);
}

/** Round trip by the timestamp that came back, us; -1: it measures nothing. RFC 7323 §4.1. */
export function echoedRtt(c: Connection, tsEcr: number): number {
  if (!c.useTimestamps) return -1;
  const elapsedMs = (timestampNow(c) - tsEcr) | 0;
  return elapsedMs < 0 || elapsedMs > ECHO_AGE_MAX_MS ? -1 : elapsedMs * 1000;
}

/** TSval now: a millisecond clock with the connection's offset. RFC 7323 §5.4: between 1 ms and 1 s a tick. */
export const timestampNow = (c: Connection): number => (c.context.nowMs + c.tsOffset) | 0;

/** Whether transmission (`aUs`, `aEnd`) came after (`bUs`, `bEnd`): RFC 8985 §6.2 step 2, RACK_sent_after. */
export const sentAfter = (aUs: number, aEnd: Seq, bUs: number, bEnd: Seq): boolean => {
  const difference = (aUs - bUs) | 0;
  return difference > 0 || (difference === 0 && seqGt(aEnd, bEnd));
};
