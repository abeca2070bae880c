/**
 * BBR, version 3: draft-ietf-ccwg-bbr, its algorithms under its names; `§` is a section of it. A model of the path, its
 * bandwidth, its round-trip time, and how much may be under way without loss, sets the pace and the window. In this file
 * the states and what each of them sends; the model is in bbr-model.ts. ECN, which the draft leaves open, counts as loss
 * (§3.6: it "MUST treat any CE marks as congestion"). @module
 */
import type { Connection } from '../connection.ts';
import { seqGe } from '../seq.ts';
import {
  advanceLatestDeliverySignals,
  advanceMaxBwFilter,
  bdp,
  checkFullBwReached,
  inflight,
  inflightWithHeadroom,
  isInflightTooHigh,
  lossThresh,
  quantizationBudget,
  resetCongestionSignals,
  resetFullBw,
  resetShortTermModel,
  startRound,
  takeSample,
  targetInflight,
  updateAckAggregation,
  updateCongestionSignals,
  updateMinRtt,
} from './bbr-model.ts';
import {
  ACKS_INIT,
  ACKS_PROBE_FEEDBACK,
  ACKS_PROBE_STARTING,
  ACKS_PROBE_STOPPING,
  ACKS_REFILLING,
  BbrState,
  BETA,
  CRUISE,
  CWND_GAIN,
  DOWN,
  DRAIN,
  MIN_PIPE_SEGMENTS,
  NO_STATE,
  PACING_GAIN,
  PROBE_RTT,
  REFILL,
  STARTUP,
  UNBOUNDED,
  UP,
} from './bbr-state.ts';
import {
  type Cause,
  type CongestionControl,
  CWND_MAX,
  initialWindow,
  type RateSample,
  SSTHRESH_MAX,
} from './controller.ts';

/** BBRStartupFullLossCnt, counted in acknowledgements that brought losses to light. */
const STARTUP_LOSS_EVENTS = 6;
const DRAIN_ROUNDS = 3;
const PROBE_RTT_MS = 200;
/** How long between two probes for bandwidth at most: 2 to 3 s, and no more rounds than Reno would take, up to 63. */
const PROBE_WAIT_MS = 2000;
const PROBE_WAIT_RANDOM_MS = 1000;
const PROBE_WAIT_ROUNDS_MAX = 63;
const PACING_MARGIN = 0.99;

const isInProbeBw = (s: BbrState): boolean => s.state >= DOWN && s.state <= UP;

// §5.3.1: Startup; §5.3.2: Drain.

function checkStartupDone(c: Connection, s: BbrState, newlyLost: number): void {
  // §5.3.1.3: a full round in recovery that lost more than the threshold, in several places.
  if (newlyLost > 0) s.lossEvents++;
  if (s.isLossRoundStart) {
    const isLossy = s.isInRecovery && (s.lossEvents >= STARTUP_LOSS_EVENTS || !c.useSack) && isInflightTooHigh(c, s);
    if (isLossy && s.state === STARTUP) leaveStartupOnLoss(s);
    s.lossEvents = 0;
  }
  if (s.state !== STARTUP || !s.isFullBwReached) return;
  s.state = DRAIN;
  s.drainStartRound = s.roundCount;
}

function leaveStartupOnLoss(s: BbrState): void {
  s.undoState = STARTUP;
  s.isFullBwReached = true;
  s.isFullBwNow = true;
  s.inflightLongterm = Math.floor(Math.max(bdp(s), s.inflightLatest));
}

function checkDrainDone(c: Connection, s: BbrState): void {
  if (s.state !== DRAIN) return;
  if (c.inFlight() <= inflight(c, s) || s.roundCount > s.drainStartRound + DRAIN_ROUNDS) startDown(c, s);
}

// §5.3.3: ProbeBW.

function startDown(c: Connection, s: BbrState): void {
  resetCongestionSignals(s);
  s.probeUpAckedPerInc = UNBOUNDED;
  // PickProbeWait: chance keeps flows from probing in step.
  const { random, nowMs } = c.context;
  s.roundsSinceProbeUp = random() & 1;
  s.probeWaitMs = PROBE_WAIT_MS + ((random() >>> 0) / 0x100000000) * PROBE_WAIT_RANDOM_MS;
  s.cycleAtMs = nowMs;
  s.ackPhase = ACKS_PROBE_STOPPING;
  startRound(c, s);
  s.state = DOWN;
}

function startRefill(c: Connection, s: BbrState): void {
  resetShortTermModel(s);
  s.probeUpRounds = 0;
  s.probeUpAcked = 0;
  s.wasProbePrecautionary = false;
  s.ackPhase = ACKS_REFILLING;
  startRound(c, s);
  s.state = REFILL;
}

function startUp(c: Connection, s: BbrState): void {
  s.isBwProbeSample = true;
  s.ackPhase = ACKS_PROBE_STARTING;
  startRound(c, s);
  resetFullBw(s);
  s.fullBw = s.rate;
  s.state = UP;
  raiseSlope(c, s);
}

function updateProbeBwCyclePhase(c: Connection, s: BbrState, newlyDelivered: number): void {
  if (!s.isFullBwReached) return;
  if (adaptLongTermModel(c, s, newlyDelivered)) return;
  switch (s.state) {
    case DOWN:
      if (!probeIfTime(c, s) && isTimeToCruise(c, s)) s.state = CRUISE;
      break;
    case CRUISE:
      probeIfTime(c, s);
      break;
    case REFILL:
      if (s.isRoundStart) startUp(c, s);
      break;
    case UP:
      if (!isTimeToGoDown(c, s)) break;
      s.wasProbeTooHigh = false;
      startDown(c, s);
      break;
  }
}

function probeIfTime(c: Connection, s: BbrState): boolean {
  const rounds = Math.min(targetInflight(c, s) / c.mss, PROBE_WAIT_ROUNDS_MAX);
  const isTime = c.context.nowMs > s.cycleAtMs + s.probeWaitMs || s.roundsSinceProbeUp >= rounds;
  if (isTime) startRefill(c, s);
  return isTime;
}

function isTimeToCruise(c: Connection, s: BbrState): boolean {
  const flight = c.inFlight();
  return flight <= inflightWithHeadroom(c, s) && flight <= inflight(c, s, s.maxBw);
}

function isTimeToGoDown(c: Connection, s: BbrState): boolean {
  // Precaution: the last probe went too high, so this one ends where that one failed. The volume is that before the
  // acknowledgement: after it there is always room for a segment below a bound that holds the window.
  if (s.wasProbeTooHigh && s.priorInFlight + c.mss > s.inflightLongterm) {
    s.wasProbePrecautionary = true;
    return true;
  }
  if (c.isCwndLimited && c.cwnd >= s.inflightLongterm) {
    resetFullBw(s); // it is the bound that limits the bandwidth
    s.fullBw = s.rate;
    return false;
  }
  return s.isFullBwNow;
}

/** Each round the bound grows twice as fast as in the one before. */
function raiseSlope(c: Connection, s: BbrState): void {
  s.probeUpAckedPerInc = Math.max(c.cwnd / 2 ** s.probeUpRounds, c.mss);
  s.probeUpRounds = Math.min(s.probeUpRounds + 1, 30);
}

function probeInflightLongtermUpward(c: Connection, s: BbrState, newlyDelivered: number): void {
  if (!c.isCwndLimited || c.cwnd < s.inflightLongterm) return; // the bound is not in use
  s.probeUpAcked += newlyDelivered;
  if (s.probeUpAcked >= s.probeUpAckedPerInc) {
    const steps = Math.floor(s.probeUpAcked / s.probeUpAckedPerInc);
    s.probeUpAcked -= steps * s.probeUpAckedPerInc;
    s.inflightLongterm += steps * c.mss;
  }
  if (s.isRoundStart) raiseSlope(c, s);
}

/** Returns true where it changed the state. */
function adaptLongTermModel(c: Connection, s: BbrState, newlyDelivered: number): boolean {
  if (s.isRoundStart && s.ackPhase === ACKS_PROBE_STARTING) s.ackPhase = ACKS_PROBE_FEEDBACK;
  if (s.isRoundStart && s.ackPhase === ACKS_PROBE_STOPPING) {
    s.isBwProbeSample = false;
    s.ackPhase = ACKS_INIT;
    if (isInProbeBw(s) && !s.isAppLimited) advanceMaxBwFilter(s);
    // A careful probe that did no harm: the next may stay.
    if (isInProbeBw(s) && s.wasProbePrecautionary && !s.wasProbeTooHigh) {
      startRefill(c, s);
      return true;
    }
  }
  if (isInflightTooHigh(c, s)) {
    // Where losses are told one by one, `lost` has been here before; without it this is the place.
    if (!s.isBwProbeSample) return false;
    handleInflightTooHigh(c, s);
    return true;
  }
  if (s.inflightLongterm === UNBOUNDED) return false;
  if (s.txInFlight > s.inflightLongterm) s.inflightLongterm = s.txInFlight;
  if (s.state === UP) probeInflightLongtermUpward(c, s, newlyDelivered);
  return false;
}

function handleInflightTooHigh(c: Connection, s: BbrState): void {
  s.wasProbeTooHigh = true;
  s.isBwProbeSample = false; // once a probe
  if (!s.isAppLimited) s.inflightLongterm = Math.floor(Math.max(s.txInFlight, targetInflight(c, s) * BETA));
  if (s.state !== UP) return;
  s.undoState = UP;
  startDown(c, s);
}

// §5.3.4: ProbeRTT.

function checkProbeRtt(c: Connection, s: BbrState, delivered: number): void {
  if (s.state !== PROBE_RTT && s.isProbeRttExpired && !s.isIdleRestart) {
    saveCwnd(c, s);
    s.state = PROBE_RTT;
    s.probeRttDoneMs = 0;
    s.ackPhase = ACKS_PROBE_STOPPING;
    startRound(c, s);
  }
  if (s.state === PROBE_RTT) handleProbeRtt(c, s);
  if (delivered > 0) s.isIdleRestart = false;
}

function handleProbeRtt(c: Connection, s: BbrState): void {
  s.lowRateUntil = c.delivered + c.inFlight();
  if (s.probeRttDoneMs === 0) {
    if (c.inFlight() > probeRttCwnd(c, s)) return;
    s.probeRttDoneMs = c.context.nowMs + PROBE_RTT_MS;
    s.isProbeRttRoundDone = false;
    startRound(c, s);
    return;
  }
  if (s.isRoundStart) s.isProbeRttRoundDone = true;
  if (s.isProbeRttRoundDone) checkProbeRttDone(c, s);
}

function checkProbeRttDone(c: Connection, s: BbrState): void {
  const { nowMs } = c.context;
  if (s.probeRttDoneMs === 0 || nowMs <= s.probeRttDoneMs) return;
  s.probeRttMinAtMs = nowMs; // the next one is due in five seconds
  restoreCwnd(c, s);
  resetShortTermModel(s);
  if (!s.isFullBwReached) {
    s.state = STARTUP;
    return;
  }
  startDown(c, s);
  s.state = CRUISE; // little is under way already
}

const minPipeCwnd = (c: Connection): number => MIN_PIPE_SEGMENTS * c.mss;
const probeRttCwnd = (c: Connection, s: BbrState): number =>
  Math.max(CWND_GAIN[PROBE_RTT] * bdp(s, initialWindow(c.mss)), minPipeCwnd(c));

// §5.6.4.4, §5.5.11: loss recovery, and its undo.

function saveCwnd(c: Connection, s: BbrState): void {
  const isModulated = s.isInRecovery || s.state === PROBE_RTT;
  s.priorCwnd = isModulated ? Math.max(s.priorCwnd, c.cwnd) : c.cwnd;
}

function restoreCwnd(c: Connection, s: BbrState): void {
  c.cwnd = Math.max(c.cwnd, s.priorCwnd);
}

/** SaveStateUponLoss, once an episode: at its second loss the state is no longer the one to go back to. */
function enterRecovery(c: Connection, s: BbrState): void {
  saveCwnd(c, s);
  s.recover = c.sndMax;
  if (s.isInRecovery) return;
  s.isInRecovery = true;
  s.undoState = NO_STATE;
  s.undoBwShortterm = s.bwShortterm;
  s.undoInflightShortterm = s.inflightShortterm;
  s.undoInflightLongterm = s.inflightLongterm;
}

function noteLoss(c: Connection, s: BbrState): void {
  if (s.isLossInRound) return;
  s.lossRoundDelivered = c.delivered;
  s.isLossInRound = true;
  if (!s.isInRecovery) enterRecovery(c, s);
}

// §5.6: what is sent.

function setPacingRate(c: Connection, s: BbrState, gain: number): void {
  const rate = Math.floor(gain * s.bw * PACING_MARGIN);
  if (rate > 0 && (s.isFullBwReached || rate > c.pacingRate)) c.pacingRate = rate;
}

function setCwnd(c: Connection, s: BbrState, newlyDelivered: number): void {
  const extra = Math.max(s.extraAckedNow, s.extraAckedBefore);
  const maxInflight = quantizationBudget(c, s, CWND_GAIN[s.state]! * bdp(s, initialWindow(c.mss)) + extra);
  let cwnd = c.cwnd;
  if (s.isFullBwReached) cwnd = Math.min(cwnd + newlyDelivered, maxInflight);
  else if (cwnd < maxInflight || c.delivered < initialWindow(c.mss)) cwnd += newlyDelivered;
  cwnd = Math.max(cwnd, minPipeCwnd(c));
  if (s.state === PROBE_RTT) cwnd = Math.min(cwnd, probeRttCwnd(c, s));
  c.cwnd = Math.floor(Math.min(cwnd, boundForModel(c, s), CWND_MAX));
}

/** BoundCwndForModel: §5.6.4.7. */
function boundForModel(c: Connection, s: BbrState): number {
  let cap = UNBOUNDED;
  if (s.state === CRUISE || s.state === PROBE_RTT) cap = inflightWithHeadroom(c, s);
  else if (isInProbeBw(s)) cap = s.inflightLongterm;
  return Math.max(Math.min(cap, s.inflightShortterm), minPipeCwnd(c));
}

export const bbr: CongestionControl = {
  name: 'bbr',
  ownsWindow: true,

  init(c: Connection): void {
    c.congestionState = new BbrState(c);
    c.cwnd = initialWindow(c.mss);
    c.ssthresh = SSTHRESH_MAX;
    c.pacingRate = Math.floor((PACING_GAIN[STARTUP] * c.cwnd * 1e6) / (c.srttUs || 1000)); // §5.6.2
  },

  /** All of it happens in `sample`. */
  acked(): void {},

  sample(c: Connection, rs: RateSample): void {
    const s = c.congestionState as BbrState;
    takeSample(c, s, rs);
    if (s.isInRecovery && seqGe(c.sndUna, s.recover)) {
      s.isInRecovery = false;
      restoreCwnd(c, s); // what it may be now is decided below
    }
    updateCongestionSignals(c, s, rs);
    updateAckAggregation(c, s, rs.newlyDelivered);
    checkFullBwReached(s);
    checkStartupDone(c, s, rs.newlyLost);
    checkDrainDone(c, s);
    updateProbeBwCyclePhase(c, s, rs.newlyDelivered);
    updateMinRtt(c, s, rs.rttUs);
    checkProbeRtt(c, s, rs.delivered);
    advanceLatestDeliverySignals(s, rs.delivered);
    s.bw = Math.min(s.maxBw, s.bwShortterm);
    setPacingRate(c, s, PACING_GAIN[s.state]!);
    setCwnd(c, s, rs.newlyDelivered);
  },

  lost(c: Connection, bytes: number, inFlightAtSend: number, priorLost: number, isAppLimited: boolean): void {
    const s = c.congestionState as BbrState;
    noteLoss(c, s);
    if (!s.isBwProbeSample) return;
    s.txInFlight = inFlightAtSend;
    s.lost = c.lostBytesTotal - priorLost;
    s.isAppLimited = isAppLimited;
    if (!isInflightTooHigh(c, s)) return;
    // §5.5.10.2, InflightAtLoss: at which byte of this burst did the losses pass the threshold?
    const before = inFlightAtSend - bytes;
    const thresh = lossThresh(s);
    s.txInFlight = before + Math.max(0, (thresh * before - (s.lost - bytes)) / (1 - thresh));
    handleInflightTooHigh(c, s);
  },

  reduce(c: Connection, flightBytes: number, cause: Cause): void {
    const s = c.congestionState as BbrState;
    noteLoss(c, s);
    enterRecovery(c, s);
    if (cause !== 'ecn') return;
    if (s.state === STARTUP) leaveStartupOnLoss(s);
    if (!s.isBwProbeSample) return;
    s.txInFlight = flightBytes;
    handleInflightTooHigh(c, s);
  },

  timedOut(c: Connection): void {
    const s = c.congestionState as BbrState;
    noteLoss(c, s);
    enterRecovery(c, s);
    c.cwnd = c.mss; // §5.6.4.4: "a value that will allow 1 C.SMSS to be transmitted"
  },

  /** HandleSpuriousLossDetection. */
  undo(c: Connection): void {
    const s = c.congestionState as BbrState;
    restoreCwnd(c, s);
    s.isLossInRound = false;
    s.isInRecovery = false;
    resetFullBw(s);
    s.bwShortterm = Math.max(s.bwShortterm, s.undoBwShortterm);
    s.inflightShortterm = Math.max(s.inflightShortterm, s.undoInflightShortterm);
    s.inflightLongterm = Math.max(s.inflightLongterm, s.undoInflightLongterm);
    const { undoState } = s;
    s.undoState = NO_STATE;
    if (undoState === STARTUP) s.isFullBwReached = false;
    if (s.state === PROBE_RTT || s.state === undoState) return;
    if (undoState === STARTUP) s.state = STARTUP;
    else if (undoState === UP) startRefill(c, s);
  },

  /** HandleRestartFromIdle: §5.4.1. */
  restart(c: Connection): void {
    const s = c.congestionState as BbrState;
    s.isIdleRestart = true;
    s.extraAckedSinceUs = c.context.nowUs;
    if (isInProbeBw(s)) setPacingRate(c, s, 1);
    else if (s.state === PROBE_RTT) checkProbeRttDone(c, s);
  },

  info(c: Connection): Readonly<Record<string, number>> {
    const s = c.congestionState as BbrState;
    const { state, bw, maxBw, minRttUs, inflightLongterm, inflightShortterm, bwShortterm, roundCount } = s;
    const gains = { pacingGain: PACING_GAIN[state]!, cwndGain: CWND_GAIN[state]! };
    return { state, bw, maxBw, minRttUs, ...gains, inflightLongterm, inflightShortterm, bwShortterm, roundCount };
  },
};
