/**
 * HyStart++: RFC 9406. Slow start that watches the round-trip time, grows four times slower once it rises (CSS,
 * conservative slow start), and goes back if it was a false alarm. Only for the first slow start of a connection: the
 * later ones know their `ssthresh` (§4.3). @module
 */
import type { Connection } from '../connection.ts';
import { type Seq, seqGt } from '../seq.ts';

// RFC 9406 §4.3.
const RTT_THRESH_MIN_US = 4000;
const RTT_THRESH_MAX_US = 16_000;
const RTT_DIVISOR_SHIFT = 3; // MIN_RTT_DIVISOR 8
const RTT_SAMPLES = 8; // N_RTT_SAMPLE
const CSS_GROWTH_SHIFT = 2; // CSS_GROWTH_DIVISOR 4
const CSS_ROUNDS = 5;
/** L where the sender is not paced; it is infinite where it is. */
const SEGMENTS_MAX = 8;

/** No measurement: more than any. */
const NONE = 0x3fffffff;

export class HyStart {
  windowEnd: Seq;
  lastRoundMinUs = NONE;
  roundMinUs = NONE;
  samples = 0;
  /** The round-trip time that CSS began with; NONE outside of it. */
  cssBaselineUs = NONE;
  cssRounds = 0;

  constructor(sndNxt: Seq) {
    this.windowEnd = sndNxt;
  }
}

/**
 * `bytes` were acknowledged in slow start, with a round-trip time of `rttUs` (-1: unknown).
 * @returns by how much `cwnd` grows; sets `ssthresh` where slow start is over
 */
export function hystartGrowth(h: HyStart, c: Connection, bytes: number, rttUs: number): number {
  // §4.2: a round ends when the first byte sent after its start is acknowledged.
  if (seqGt(c.sndUna, h.windowEnd)) startRound(h, c);
  if (rttUs > 0) {
    if (rttUs < h.roundMinUs) h.roundMinUs = rttUs;
    h.samples++;
  }
  if (h.samples >= RTT_SAMPLES) judge(h);
  const growth = c.pacingRate > 0 ? bytes : Math.min(bytes, SEGMENTS_MAX * c.mss);
  return h.cssBaselineUs === NONE ? growth : growth >> CSS_GROWTH_SHIFT;
}

function startRound(h: HyStart, c: Connection): void {
  h.windowEnd = c.sndNxt;
  h.lastRoundMinUs = h.roundMinUs;
  h.roundMinUs = NONE;
  h.samples = 0;
  // The round in which CSS began counts as one.
  if (h.cssBaselineUs !== NONE && ++h.cssRounds >= CSS_ROUNDS) c.ssthresh = c.cwnd;
}

/** Enters CSS where the round-trip time rose since the last round, and leaves it where it fell below that again. */
function judge(h: HyStart): void {
  const { roundMinUs, lastRoundMinUs } = h;
  if (h.cssBaselineUs !== NONE) {
    if (roundMinUs < h.cssBaselineUs) h.cssBaselineUs = NONE;
    return;
  }
  if (lastRoundMinUs === NONE) return;
  const thresh = Math.max(RTT_THRESH_MIN_US, Math.min(lastRoundMinUs >> RTT_DIVISOR_SHIFT, RTT_THRESH_MAX_US));
  if (roundMinUs < lastRoundMinUs + thresh) return;
  h.cssBaselineUs = roundMinUs;
  h.cssRounds = 0;
}
