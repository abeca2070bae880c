/** What BBR remembers of a connection: draft-ietf-ccwg-bbr §2, under its names. Bytes, bytes a second, us and ms. @module */
import type { Connection } from '../connection.ts';
import type { Seq } from '../seq.ts';

// BBR.state.
export const STARTUP = 0;
export const DRAIN = 1;
export const DOWN = 2;
export const CRUISE = 3;
export const REFILL = 4;
export const UP = 5;
export const PROBE_RTT = 6;
/** BBR.undo_state: nothing to go back to. */
export const NO_STATE = -1;

// §2.7, §2.15.
/** BBR.LossThresh: so much of what is under way may be lost in a round, where there is a queue. */
export const LOSS_THRESH = 0.02;
/**
 * And so much where there is none, that is where the round-trip time is below QUEUE_RTT_RATIO times the least one: then
 * it is the link that loses. A deviation: the draft has 2 % for both, with which a link of 100 Mbit/s that loses 3 % by
 * chance carries 17 to 42 Mbit/s (round-trip times of 5 to 100 ms; so 88 to 93), for chance in one small window exceeds
 * 2 % soon, and each time the bounds shrink. Its price: beside a queue that never holds a quarter of the bandwidth-delay
 * product, a CUBIC flow gets less.
 */
export const LOSS_THRESH_NO_QUEUE = 0.07;
export const QUEUE_RTT_RATIO = 1.25;
export const BETA = 0.7;
export const HEADROOM = 0.15;
export const MIN_PIPE_SEGMENTS = 4;

/** §5.6.1: gains, by state. */
export const PACING_GAIN = [2.77, 0.5, 0.9, 1, 1, 1.25, 1] as const;
export const CWND_GAIN = [2, 2, 2, 2, 2, 2.25, 0.5] as const;

// BBR.ack_phase: what acknowledgements tell of the probe for bandwidth.
export const ACKS_INIT = 0;
export const ACKS_REFILLING = 1;
export const ACKS_PROBE_STARTING = 2;
export const ACKS_PROBE_FEEDBACK = 3;
export const ACKS_PROBE_STOPPING = 4;

/** A bound that is not set. */
export const UNBOUNDED = Number.POSITIVE_INFINITY;

export class BbrState {
  state = STARTUP;
  // The sample at hand: RS of §2.3, and its rate.
  rate = 0;
  isAppLimited = false;
  txInFlight = 0;
  priorInFlight = 0;
  lost = 0;
  /** The last round-trip time measured. */
  rttUs = 0;

  // Rounds: §5.5.1.
  roundCount = 0;
  isRoundStart = false;
  nextRoundDelivered = 0;
  drainStartRound = 0;

  // The model of the path. The filter of bandwidth has two slots: this cycle of probing, and the one before.
  bw = 0;
  maxBw = 0;
  bwThisCycle = 0;
  bwLastCycle = 0;
  bwShortterm = UNBOUNDED;
  inflightLongterm = UNBOUNDED;
  inflightShortterm = UNBOUNDED;
  minRttUs = UNBOUNDED;
  minRttAtMs: number;

  // Aggregation: §5.5.9.
  extraAckedSinceUs: number;
  extraAckedBytes = 0;
  extraAckedRounds = 0;
  extraAckedNow = 0;
  extraAckedBefore = 0;

  // Whether the pipe is full: §5.3.1.2.
  isFullBwReached = false;
  isFullBwNow = false;
  fullBw = 0;
  fullBwCount = 0;

  // What the last round delivered, and whether it lost: §5.5.10.3.
  bwLatest = 0;
  inflightLatest = 0;
  lossRoundDelivered = 0;
  isLossRoundStart = false;
  isLossInRound = false;
  lossEvents = 0;

  // Probing for bandwidth: §5.3.3.
  ackPhase = ACKS_INIT;
  isBwProbeSample = false;
  probeUpRounds = 0;
  probeUpAcked = 0;
  probeUpAckedPerInc = UNBOUNDED;
  roundsSinceProbeUp = 0;
  probeWaitMs = 0;
  cycleAtMs = 0;
  wasProbeTooHigh = false;
  wasProbePrecautionary = false;

  // Probing for the round-trip time: §5.3.4.
  probeRttMinUs = UNBOUNDED;
  probeRttMinAtMs: number;
  isProbeRttExpired = false;
  /** 0: not yet known. */
  probeRttDoneMs = 0;
  isProbeRttRoundDone = false;
  /** Samples of what was sent before so much was delivered say nothing of the path: ProbeRTT kept them low. */
  lowRateUntil = -1;
  isIdleRestart = false;

  // Recovery, and what an undo brings back: §5.5.11, §5.6.4.4.
  isInRecovery = false;
  recover: Seq;
  priorCwnd = 0;
  undoState = NO_STATE;
  undoBwShortterm = 0;
  undoInflightShortterm = 0;
  undoInflightLongterm = 0;

  constructor(c: Connection) {
    const { nowMs, nowUs } = c.context;
    if (c.srttUs > 0) this.minRttUs = c.srttUs;
    this.probeRttMinUs = this.minRttUs;
    this.minRttAtMs = nowMs;
    this.probeRttMinAtMs = nowMs;
    this.extraAckedSinceUs = nowUs;
    this.recover = c.sndUna;
  }
}
