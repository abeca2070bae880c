/**
 * CUBIC: RFC 9438, with HyStart++ (RFC 9406) in the first slow start. Windows are bytes here and segments there, times
 * are seconds in both. Missing on purpose: fast convergence cannot be turned off (§4.7 would, were the flow known to be
 * alone). @module
 */
import type { Connection } from '../connection.ts';
import { seqAdd } from '../seq.ts';
import {
  type Cause,
  type CongestionControl,
  CWND_MAX,
  initialWindow,
  restartWindow,
  SSTHRESH_MAX,
  slowStart,
} from './controller.ts';
import { HyStart, hystartGrowth } from './hystart.ts';

/** RFC 9438 §5.1: segments a second cubed. */
const C = 0.4;
/** §4.6. */
const BETA = 0.7;
/** §4.3: the growth of AIMD(alpha, 0.7) that is as aggressive as Reno's AIMD(1, 0.5). */
const ALPHA = (3 * (1 - BETA)) / (1 + BETA);

/** The curve of one stage of congestion avoidance: the variables of RFC 9438 §4.1.2, bytes and seconds. */
class Stage {
  wMax = 0;
  k = 0;
  cwndPrior = 0;
  /** 0: the stage begins with the next acknowledgement. */
  wEst = 0;
  /** How long it lasts: t of §4.2. */
  elapsedMs = 0;
}

class CubicState {
  readonly stage = new Stage();
  /** The one before the last reduction, for `undo`; null: there was none. */
  before: Stage | null = null;
  /** Null before the first slow start. */
  hystart: HyStart | null = null;
  /** When `acked` was last called. */
  ackedMs = 0;
  /** `cwnd` with its fraction, as long as nobody else changes it. */
  window = 0;
}

/** Made when the first bytes are acknowledged or lost: connections that idle from the beginning have none. */
function stateOf(c: Connection): CubicState {
  c.congestionState ??= new CubicState();
  return c.congestionState as CubicState;
}

/** Remembers the stage as it is before a reduction. */
function keep(s: CubicState): void {
  s.before ??= new Stage();
  Object.assign(s.before, s.stage);
}

function beginStage(c: Connection, stage: Stage): void {
  stage.wEst = c.cwnd;
  stage.elapsedMs = 0;
  // §4.8, §4.10: after a timeout, and after a slow start that ended without a loss, there is no W_max: K = 0.
  if (stage.wMax < c.cwnd) stage.wMax = c.cwnd;
  stage.k = Math.cbrt((stage.wMax - c.cwnd) / (C * c.mss)); // figure 2
}

function avoid(c: Connection, s: CubicState, bytes: number): void {
  const { stage } = s;
  const { nowMs } = c.context;
  const { mss } = c;
  const cwnd = Math.floor(s.window) === c.cwnd ? s.window : c.cwnd;
  // §4.2, §5.8: t leaves out when the window did not move because it was not in use. While it is, no round trip passes
  // without an acknowledgement: what is between two of them beyond that was idle, or limited by the application.
  if (stage.wEst === 0) beginStage(c, stage);
  else stage.elapsedMs += Math.min(nowMs - s.ackedMs, Math.ceil(c.srttUs / 1000));
  s.ackedMs = nowMs;
  // §4.3, figure 4: as fast as Reno, once it is where the last reduction was.
  stage.wEst += ((stage.wEst < stage.cwndPrior ? ALPHA : 1) * mss * bytes) / cwnd;
  const t = stage.elapsedMs / 1000 - stage.k;
  let next = stage.wEst;
  if (C * mss * t * t * t + stage.wMax >= next) {
    const after = t + c.srttUs / 1e6;
    const target = Math.min(C * mss * after * after * after + stage.wMax, 1.5 * cwnd);
    next = cwnd + (Math.max(target - cwnd, 0) * bytes) / cwnd; // §4.4, §4.5
  }
  s.window = Math.min(Math.max(next, cwnd), CWND_MAX);
  c.cwnd = Math.floor(s.window);
}

/** §4.6: sets `ssthresh`; returns what it would be without its lower limit. */
function decrease(c: Connection, stage: Stage, flightBytes: number): number {
  const reduced = Math.floor(flightBytes * BETA);
  c.ssthresh = Math.max(reduced, 2 * c.mss);
  stage.cwndPrior = c.cwnd;
  stage.wEst = 0;
  return reduced;
}

export const cubic: CongestionControl = {
  name: 'cubic',
  ownsWindow: false,

  init(c: Connection): void {
    c.cwnd = initialWindow(c.mss);
    c.ssthresh = SSTHRESH_MAX;
  },

  acked(c: Connection, ackedBytes: number, rttUs: number): void {
    const s = stateOf(c);
    if (c.cwnd >= c.ssthresh) avoid(c, s, ackedBytes);
    else if (c.ssthresh < SSTHRESH_MAX) slowStart(c, ackedBytes);
    else {
      s.hystart ??= new HyStart(seqAdd(c.sndUna, -ackedBytes));
      slowStart(c, hystartGrowth(s.hystart, c, ackedBytes, rttUs));
    }
  },

  reduce(c: Connection, flightBytes: number, cause: Cause): void {
    const s = stateOf(c);
    const { stage } = s;
    keep(s);
    // §4.7, fast convergence. Less by a segment at least: the plateau alone ends a few bytes below W_max.
    stage.wMax = c.cwnd + c.mss <= stage.wMax ? (c.cwnd * (1 + BETA)) / 2 : c.cwnd;
    const reduced = decrease(c, stage, flightBytes);
    // §4.6: "MUST continue to reduce cwnd in response to congestion events due to ECN-Echo ACKs until it reaches 1 MSS".
    if (cause === 'ecn' && reduced < c.ssthresh) c.cwnd = Math.min(c.cwnd, Math.max(reduced, c.mss));
  },

  timedOut(c: Connection, flightBytes: number, isFirst: boolean): void {
    const s = stateOf(c);
    const { stage } = s;
    if (isFirst) {
      keep(s);
      decrease(c, stage, flightBytes);
    }
    stage.wMax = 0; // §4.8
    stage.wEst = 0;
    c.cwnd = c.mss; // the loss window
  },

  undo(c: Connection): void {
    const { stage, before } = stateOf(c);
    if (before !== null && c.cwnd <= stage.cwndPrior) Object.assign(stage, before); // §4.9.2; a larger window is newer, and stays
  },

  restart: restartWindow,
};
