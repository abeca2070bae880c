/**
 * BBR's model of the path: draft-ietf-ccwg-bbr §5.5, and the volumes that follow from it (§5.6.4.2). Each function is one
 * of the draft's, under its name. @module
 */
import type { Connection } from '../connection.ts';
import {
  type BbrState,
  BETA,
  HEADROOM,
  LOSS_THRESH,
  LOSS_THRESH_NO_QUEUE,
  MIN_PIPE_SEGMENTS,
  QUEUE_RTT_RATIO,
  REFILL,
  STARTUP,
  UNBOUNDED,
  UP,
} from './bbr-state.ts';
import { type RateSample, sendQuantum } from './controller.ts';

/** The pipe is full after so many rounds whose rate grew less than this. */
const FULL_BW_ROUNDS = 3;
const FULL_BW_GROWTH = 1.25;
const MIN_RTT_FILTER_MS = 10_000;
const PROBE_RTT_INTERVAL_MS = 5000;
/** Half of BBR.ExtraAckedFilterLen: the filter has two slots, and covers five to ten rounds. */
const EXTRA_ACKED_ROUNDS = 5;
/** §5.5.8.1: TCP's offload budget in quanta. */
const OFFLOAD_QUANTA = 3;

// Volumes.

/** BBR.bdp, or `unknown` while there is no round-trip time; at bandwidth `bw`. */
export const bdp = (s: BbrState, unknown = 0, bw = s.bw): number =>
  s.minRttUs === UNBOUNDED ? unknown : (bw * s.minRttUs) / 1e6;

export function quantizationBudget(c: Connection, s: BbrState, volume: number): number {
  const budget = Math.max(volume, OFFLOAD_QUANTA * sendQuantum(c), MIN_PIPE_SEGMENTS * c.mss);
  return s.state === UP ? budget + 2 * c.mss : budget;
}

/** What fills the pipe and no more: Inflight(1.0). */
export const inflight = (c: Connection, s: BbrState, bw = s.bw): number => quantizationBudget(c, s, bdp(s, c.cwnd, bw));

/** The long-term bound with room left for others. */
export function inflightWithHeadroom(c: Connection, s: BbrState): number {
  const headroom = Math.max(c.mss, HEADROOM * s.inflightLongterm);
  return s.inflightLongterm === UNBOUNDED
    ? UNBOUNDED
    : Math.max(s.inflightLongterm - headroom, MIN_PIPE_SEGMENTS * c.mss);
}

export const targetInflight = (c: Connection, s: BbrState): number => Math.min(bdp(s), c.cwnd);

/** The part of what is under way that may be lost. */
export const lossThresh = (s: BbrState): number =>
  s.rttUs > QUEUE_RTT_RATIO * s.minRttUs ? LOSS_THRESH : LOSS_THRESH_NO_QUEUE;

/** Do losses say that too much was under way? */
export const isInflightTooHigh = (c: Connection, s: BbrState): boolean =>
  s.lost > s.txInFlight * lossThresh(s) || (s.lost > 0 && !c.useSack);

// Resets.

export function startRound(c: Connection, s: BbrState): void {
  s.nextRoundDelivered = c.delivered;
}

export function resetFullBw(s: BbrState): void {
  s.fullBw = 0;
  s.fullBwCount = 0;
  s.isFullBwNow = false;
}

export function resetCongestionSignals(s: BbrState): void {
  s.isLossInRound = false;
  s.bwLatest = 0;
  s.inflightLatest = 0;
}

export function resetShortTermModel(s: BbrState): void {
  s.bwShortterm = UNBOUNDED;
  s.inflightShortterm = UNBOUNDED;
}

// At each acknowledgement, in this order.

/** RS of §4.1.2.3; then UpdateLatestDeliverySignals: §5.5.10.3. */
export function takeSample(c: Connection, s: BbrState, rs: RateSample): void {
  s.rate = rs.intervalUs > 0 ? (rs.delivered * 1e6) / rs.intervalUs : 0;
  if (rs.rttUs >= 0) s.rttUs = rs.rttUs;
  s.isAppLimited = rs.isAppLimited || rs.priorDelivered <= s.lowRateUntil;
  s.txInFlight = rs.inFlightAtSend;
  s.priorInFlight = rs.priorInFlight;
  s.lost = c.lostBytesTotal - rs.priorLost;
  s.bwLatest = Math.max(s.bwLatest, s.rate);
  s.inflightLatest = Math.max(s.inflightLatest, rs.delivered);
  s.isLossRoundStart = rs.newlyDelivered > 0 && rs.priorDelivered >= s.lossRoundDelivered;
  if (s.isLossRoundStart) s.lossRoundDelivered = c.delivered;
}

export function updateCongestionSignals(c: Connection, s: BbrState, rs: RateSample): void {
  updateMaxBw(c, s, rs);
  if (!s.isLossRoundStart) return;
  // AdaptLowerBoundsFromCongestion: once a round, towards what the last one delivered, and not while probing.
  const isProbing = s.state === STARTUP || s.state === REFILL || s.state === UP;
  if (s.isLossInRound && !isProbing && (lossThresh(s) === LOSS_THRESH || isInflightTooHigh(c, s))) {
    const bw = s.bwShortterm === UNBOUNDED ? s.maxBw : s.bwShortterm;
    const volume = s.inflightShortterm === UNBOUNDED ? c.cwnd : s.inflightShortterm;
    s.bwShortterm = Math.max(s.bwLatest, BETA * bw);
    s.inflightShortterm = Math.max(s.inflightLatest, BETA * volume);
  }
  s.isLossInRound = false;
}

/** §5.5.5, with UpdateRound of §5.5.1. */
function updateMaxBw(c: Connection, s: BbrState, rs: RateSample): void {
  s.isRoundStart = rs.newlyDelivered > 0 && rs.priorDelivered >= s.nextRoundDelivered;
  if (s.isRoundStart) {
    startRound(c, s);
    s.roundCount++;
    s.roundsSinceProbeUp++;
  }
  if (s.rate < s.maxBw && s.isAppLimited) return;
  s.bwThisCycle = Math.max(s.bwThisCycle, s.rate);
  s.maxBw = Math.max(s.bwThisCycle, s.bwLastCycle);
}

/** §5.5.6: one cycle of probing is over, and what was measured two cycles ago is forgotten. */
export function advanceMaxBwFilter(s: BbrState): void {
  if (s.bwThisCycle === 0) return; // nothing was measured: the old is better than nothing
  s.bwLastCycle = s.bwThisCycle;
  s.bwThisCycle = 0;
  s.maxBw = s.bwLastCycle;
}

/** §5.5.9. */
export function updateAckAggregation(c: Connection, s: BbrState, newlyDelivered: number): void {
  const { nowUs } = c.context;
  let expected = (s.bw * ((nowUs - s.extraAckedSinceUs) | 0)) / 1e6;
  if (s.extraAckedBytes <= expected) {
    s.extraAckedBytes = 0;
    s.extraAckedSinceUs = nowUs;
    expected = 0;
  }
  s.extraAckedBytes += newlyDelivered;
  if (s.isRoundStart && ++s.extraAckedRounds >= (s.isFullBwReached ? EXTRA_ACKED_ROUNDS : 1)) {
    s.extraAckedRounds = 0;
    s.extraAckedBefore = s.extraAckedNow;
    s.extraAckedNow = 0;
  }
  s.extraAckedNow = Math.max(s.extraAckedNow, Math.min(s.extraAckedBytes - expected, c.cwnd));
}

/** §5.3.1.2. */
export function checkFullBwReached(s: BbrState): void {
  if (s.isFullBwNow || !s.isRoundStart || s.isAppLimited || s.rate === 0) return;
  if (s.rate >= s.fullBw * FULL_BW_GROWTH) {
    resetFullBw(s);
    s.fullBw = s.rate;
    return;
  }
  if (++s.fullBwCount < FULL_BW_ROUNDS) return;
  s.isFullBwNow = true;
  s.isFullBwReached = true;
}

/** §5.3.4.3. */
export function updateMinRtt(c: Connection, s: BbrState, rttUs: number): void {
  const { nowMs } = c.context;
  s.isProbeRttExpired = nowMs > s.probeRttMinAtMs + PROBE_RTT_INTERVAL_MS;
  if (rttUs >= 0 && (rttUs < s.probeRttMinUs || s.isProbeRttExpired)) {
    s.probeRttMinUs = rttUs;
    s.probeRttMinAtMs = nowMs;
  }
  if (s.probeRttMinUs >= s.minRttUs && nowMs <= s.minRttAtMs + MIN_RTT_FILTER_MS) return;
  s.minRttUs = s.probeRttMinUs;
  s.minRttAtMs = s.probeRttMinAtMs;
}

export function advanceLatestDeliverySignals(s: BbrState, delivered: number): void {
  if (!s.isLossRoundStart) return;
  s.bwLatest = s.rate;
  s.inflightLatest = delivered;
}
