/**
 * CUBIC as Linux has it (tcp_cubic), for scripts that count its segments: windows are whole segments, the growth is counted
 * in acknowledged segments for each more one, times are whole ms, and slow start ends by the older HyStart (delay, and trains
 * of acknowledgements). RFC 9438 leaves less to rounding: what everybody else gets is cubic.ts. @module
 */
import type { Connection } from '../connection.ts';
import { usualPacingRate } from '../pacing.ts';
import { type Seq, seqGt } from '../seq.ts';
import { bbr } from './bbr.ts';
import { type CongestionControl, CWND_MAX, restartWindow, SSTHRESH_MAX } from './controller.ts';
import { newreno } from './newreno.ts';

const FIRST_SEGMENTS = 10;
/** RFC 9438 §4.6 in 1024ths. */
const BETA = 717;
const ONE = 1024;
/** Segments that Reno's window of one is worth with this beta, in eighths: 3 (1 - beta) / (1 + beta) upside down. */
const RENO_EIGHTHS = Math.floor((8 * (ONE + BETA)) / 3 / (ONE - BETA));
/** RFC 9438 §5.1: C, segments a second cubed, in 1024ths of ten. */
const C_SCALED = 410;
/** A window that does not change is computed anew after so many ms. */
const RECOMPUTE_MS = 31;
/** No faster than one segment for two. */
const COUNT_MIN = 2;
/** Before the first loss: a twentieth a round trip at least. */
const COUNT_FIRST_MAX = 20;
/** A window on the plateau: a hundred round trips a segment. */
const PLATEAU = 100;

// HyStart.
const LOW_WINDOW = 16;
const SAMPLES_MIN = 8;
const DELAY_MIN_US = 4000;
const DELAY_MAX_US = 16_000;
/** Acknowledgements closer than this are of one train. */
const TRAIN_US = 2000;
const TRAIN_MARGIN_US = 1000;
const BURST_BYTES_MAX = 65_215;
const UNKNOWN_US = 0x7fffffff;

class State {
  /** W_max in segments; 0: none. */
  wMax = 0;
  /** When the stage began, ms; 0: it has not. */
  epochMs = 0;
  origin = 0;
  /** RFC 9438 §4.2, in 1024ths of a second, as `t` below. */
  k = 0;
  renoWindow = 0;
  renoAcked = 0;
  count = 0;
  lastWindow = 0;
  lastMs = 0;
  /** Segments acknowledged on the way to the next one of the window. */
  credit = 0;
  delayMinUs = 0;
  isFound = false;
  roundEnd: Seq;
  roundUs = 0;
  trainUs = 0;
  roundMinUs = UNKNOWN_US;
  samples = 0;
  /** `c.deliveredSegments` after the last acknowledgement. */
  delivered: number;

  constructor(c: Connection) {
    this.roundEnd = c.sndNxt;
    this.roundUs = this.trainUs = c.context.nowUs;
    this.delivered = c.deliveredSegments;
  }
}

const stateOf = (c: Connection): State => c.congestionState as State;
const segmentsOf = (c: Connection): number => Math.floor(c.cwnd / c.mss);

/** Forgets all but the window: a timeout. */
function forget(c: Connection): void {
  const { delivered } = stateOf(c);
  const s = new State(c);
  s.delivered = delivered;
  c.congestionState = s;
}

function beginStage(s: State, cwnd: number, acked: number, nowMs: number): void {
  s.epochMs = nowMs;
  s.renoAcked = acked;
  s.renoWindow = cwnd;
  const below = Math.max(s.wMax - cwnd, 0);
  s.origin = Math.max(s.wMax, cwnd);
  // Figure 2: K = cbrt((W_max - cwnd) / C), here with C = 410 / 1024 segments a second cubed.
  s.k = Math.floor(Math.cbrt((below * ONE ** 4) / C_SCALED));
}

/** Sets `count`: segments to be acknowledged for one more in the window. */
function update(c: Connection, s: State, acked: number): void {
  const cwnd = segmentsOf(c);
  const { nowMs } = c.context;
  s.renoAcked += acked;
  if (s.lastWindow === cwnd && nowMs - s.lastMs <= RECOMPUTE_MS) return;
  if (s.epochMs === 0 || nowMs !== s.lastMs) {
    s.lastWindow = cwnd;
    s.lastMs = nowMs;
    if (s.epochMs === 0) beginStage(s, cwnd, acked, nowMs);
    const t = Math.floor(((nowMs - s.epochMs + Math.floor(s.delayMinUs / 1000)) * ONE) / 1000);
    const offset = Math.abs(t - s.k) / ONE;
    const delta = Math.floor((C_SCALED / ONE) * offset * offset * offset);
    const target = t < s.k ? s.origin - delta : s.origin + delta;
    s.count = target > cwnd ? Math.floor(cwnd / (target - cwnd)) : PLATEAU * cwnd;
    if (s.wMax === 0 && s.count > COUNT_FIRST_MAX) s.count = COUNT_FIRST_MAX;
  }
  beFriendly(s, cwnd);
  s.count = Math.max(s.count, COUNT_MIN);
}

/** RFC 9438 §4.3: never slower than Reno would be. */
function beFriendly(s: State, cwnd: number): void {
  const each = Math.floor((cwnd * RENO_EIGHTHS) / 8);
  if (each > 0 && s.renoAcked > each) {
    const more = Math.ceil(s.renoAcked / each) - 1;
    s.renoAcked -= more * each;
    s.renoWindow += more;
  }
  if (s.renoWindow > cwnd) s.count = Math.min(s.count, Math.floor(cwnd / (s.renoWindow - cwnd)));
}

/** One more segment for each `count` that were acknowledged. */
function avoid(c: Connection, s: State, acked: number): void {
  update(c, s, acked);
  let more = 0;
  if (s.credit >= s.count) {
    s.credit = 0;
    more = 1;
  }
  s.credit += acked;
  if (s.credit >= s.count) {
    const whole = Math.floor(s.credit / s.count);
    s.credit -= whole * s.count;
    more += whole;
  }
  c.cwnd = Math.min((segmentsOf(c) + more) * c.mss, CWND_MAX);
}

/** A round trip of slow start was measured: whether queues have begun to fill. */
function hystart(c: Connection, s: State, rttUs: number): void {
  const { nowUs } = c.context;
  if (seqGt(c.sndUna, s.roundEnd)) {
    s.roundUs = s.trainUs = nowUs;
    s.roundEnd = c.sndNxt;
    s.roundMinUs = UNKNOWN_US;
    s.samples = 0;
  }
  if (segmentsOf(c) < LOW_WINDOW) return;
  if (((nowUs - s.trainUs) | 0) <= TRAIN_US) {
    s.trainUs = nowUs;
    const margin = Math.min(TRAIN_MARGIN_US, (BURST_BYTES_MAX * 4 * 1e6) / usualPacingRate(c));
    const threshold = s.delayMinUs + margin;
    if (((nowUs - s.roundUs) | 0) > (c.pacingRate > 0 ? threshold : Math.floor(threshold / 2))) s.isFound = true;
  }
  s.roundMinUs = Math.min(s.roundMinUs, rttUs);
  const rise = Math.min(Math.max(s.delayMinUs >> 3, DELAY_MIN_US), DELAY_MAX_US);
  if (s.samples < SAMPLES_MIN) s.samples++;
  else if (s.roundMinUs > s.delayMinUs + rise) s.isFound = true;
  if (s.isFound) c.ssthresh = c.cwnd;
}

function measured(c: Connection, s: State, rttUs: number): void {
  // Right after a reduction the path is still full.
  if (rttUs < 0 || (s.epochMs !== 0 && c.context.nowMs - s.epochMs < 1000)) return;
  const delay = Math.max(rttUs, 1);
  if (s.delayMinUs === 0 || delay < s.delayMinUs) s.delayMinUs = delay;
  if (!s.isFound && c.cwnd < c.ssthresh) hystart(c, s, delay);
}

/** RFC 9438 §4.6, §4.7. */
function reduce(c: Connection): void {
  const s = stateOf(c);
  const cwnd = segmentsOf(c);
  s.epochMs = s.credit = 0;
  s.wMax = cwnd < s.wMax ? Math.floor((cwnd * (ONE + BETA)) / (2 * ONE)) : cwnd;
  c.ssthresh = Math.max(Math.floor((cwnd * BETA) / ONE), 2) * c.mss;
}

const linuxCubic: CongestionControl = {
  name: 'cubic',
  ownsWindow: false,

  init(c: Connection): void {
    c.congestionState = new State(c);
    c.cwnd = FIRST_SEGMENTS * c.mss; // RFC 6928 without its limit in bytes
    c.ssthresh = SSTHRESH_MAX;
  },

  acked(c: Connection, _ackedBytes: number, rttUs: number): void {
    const s = stateOf(c);
    let acked = c.deliveredSegments - s.delivered;
    measured(c, s, rttUs);
    if (c.cwnd < c.ssthresh) {
      const cwnd = segmentsOf(c);
      const next = Math.min(cwnd + acked, Math.floor(c.ssthresh / c.mss));
      acked -= next - cwnd;
      c.cwnd = Math.min(next * c.mss, CWND_MAX);
    }
    if (acked > 0) avoid(c, s, acked);
  },

  sample(c: Connection): void {
    stateOf(c).delivered = c.deliveredSegments;
  },

  reduce,

  timedOut(c: Connection, _flightBytes: number, isFirst: boolean): void {
    if (isFirst) reduce(c);
    forget(c);
    c.cwnd = c.mss;
  },

  undo(): void {}, // Linux brings nothing of it back

  restart(c: Connection, idleMs: number): void {
    const s = stateOf(c);
    // §5.8: the curve waits while nothing is sent.
    if (s.epochMs !== 0) s.epochMs = Math.min(s.epochMs + idleMs, c.context.nowMs);
    if (c.settings.slowStartAfterIdle) restartWindow(c, idleMs);
  },
};

const linuxReno: CongestionControl = {
  ...newreno,
  init(c: Connection): void {
    newreno.init(c);
    c.cwnd = FIRST_SEGMENTS * c.mss;
  },
  restart(c: Connection, idleMs: number): void {
    if (c.settings.slowStartAfterIdle) restartWindow(c, idleMs);
  },
};

/** What a stack under the profile of Linux knows by the usual names. */
export const LINUX_ALGORITHMS: readonly CongestionControl[] = [linuxReno, linuxCubic, bbr];
