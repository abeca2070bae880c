/**
 * Loss by time: RFC 8985. A segment is lost when one sent sufficiently later was delivered; and the tail of a flight,
 * which nothing follows, is probed before the timeout. @module
 */
import type { Acked } from './acked.ts';
import { type Connection, CWR, OPEN, RECOVERY, UNSET } from './connection.ts';
import { lossesOf } from './losses.ts';
import { backedOffRto, sentAfter } from './rtt.ts';
import {
  APP_LIMITED,
  END,
  EVER_RETRANS,
  FLAGS,
  IN_FLIGHT,
  LOST,
  LOST_BEFORE,
  RETRANS,
  SACKED,
  type Scoreboard,
  SENT_US,
} from './scoreboard.ts';
import { type Seq, seqDiff, seqGe, seqLt } from './seq.ts';

/** §6.2 step 4: the window of reordering in quarters of min_RTT, at most; and rounds that a D-SACK widens it for. */
const REO_STEPS_MAX = 255;
const REO_PERSIST = 16;
/** §7.2: what the peer may delay an acknowledgement, added where only one segment is under way. */
const DELAYED_ACK_MAX_MS = 200;
/** Linux adds it to every other probe timeout, for the granularity of clocks. */
const PROBE_MARGIN_MS = 2;

/** A record sent at `sentUs` up to `end` was delivered: §6.2 steps 1 and 2. */
export function rackAdvance(c: Connection, sentUs: number, end: Seq, isRetransmitted: boolean): void {
  const rttUs = (c.context.nowUs - sentUs) | 0;
  // A retransmission answered faster than any segment ever was: it was the first copy that was answered.
  if (isRetransmitted && c.minRttUs >= 0 && rttUs < c.minRttUs) return;
  c.rackRttUs = rttUs;
  if (c.hasRackSample && !sentAfter(sentUs, end, c.rackUs, c.rackEnd)) return;
  c.hasRackSample = true;
  c.rackUs = sentUs;
  c.rackEnd = end;
}

/** §6.2 step 4: RACK_update_reo_wnd. */
export function updateReorderingWindow(c: Connection, acked: Acked): void {
  // No more than once a round trip, for one D-SACK may tell of many duplicates.
  const losses = lossesOf(c);
  if (acked.isDsack && seqGe(c.sndUna, losses.dsackRound)) {
    losses.dsackRound = c.sndNxt;
    losses.reorderingSteps = Math.min(losses.reorderingSteps + 1, REO_STEPS_MAX);
    losses.reorderingPersist = REO_PERSIST;
  } else if (losses.reorderingPersist === 0) {
    losses.reorderingSteps = 1;
  }
}

function reorderingWindowUs(c: Connection): number {
  if (c.losses.reorderSeen === 0) {
    // "If reordering has not been observed": in recovery, or with enough SACKed, no time is given.
    if (c.recovery >= RECOVERY || c.sackedBytes >= c.reordering * c.mss) return 0;
  }
  return Math.min((Math.max(c.minRttUs, 0) >> 2) * c.losses.reorderingSteps, c.srttUs);
}

/**
 * §6.2 step 5: marks what is lost, and sets the timer for what may be soon. Returns whether anything was marked.
 */
export function detectLoss(c: Connection, acked: Acked | null): boolean {
  c.reorderAt = UNSET;
  const board = c.sent;
  if (board === null || !c.hasRackSample) return false;
  const windowUs = c.rackRttUs + reorderingWindowUs(c);
  const { words } = board;
  const { nowUs } = c.context;
  let waitUs = 0;
  let found = false;
  for (let i = 0; i < board.count; i++) {
    const at = board.at(i);
    const flags = words[at + FLAGS]!;
    if ((flags & SACKED) !== 0 || (flags & (LOST | RETRANS)) === LOST) continue;
    const sentUs = words[at + SENT_US]!;
    if (!sentAfter(c.rackUs, c.rackEnd, sentUs, words[at + END]! as Seq)) {
      if ((flags & EVER_RETRANS) === 0) break; // and all behind it were sent later still
      continue;
    }
    const remainingUs = (sentUs + windowUs - nowUs) | 0;
    if (remainingUs <= 0) {
      if (acked !== null && (flags & RETRANS) !== 0) acked.lostAgain = true;
      markLost(c, board, i);
      found = true;
    } else if (remainingUs > waitUs) {
      waitUs = remainingUs;
    }
  }
  if (waitUs > 0) {
    c.reorderAt = c.context.now + (waitUs + 1) / 1000;
    c.context.timers.atMost(c, c.reorderAt);
  }
  return found;
}

/** Whether the record at `at` was sent so lately that a timeout says nothing of it: Linux's tcp_timeout_mark_lost. */
export const isRecent = (c: Connection, words: Int32Array, at: number): boolean =>
  c.hasRackSample && ((words[at + SENT_US]! + c.rackRttUs + reorderingWindowUs(c) - c.context.nowUs) | 0) > 0;

const isLimited = (flags: number): boolean => (flags & APP_LIMITED) !== 0;
/** `c.lostBytesTotal` as it was when its low bits were `low`. */
export const priorLost = (c: Connection, low: number): number =>
  c.lostBytesTotal - (((c.lostBytesTotal | 0) - low) | 0);

/** Takes record `i` for lost: what of it was sent again is lost too. */
export function markLost(c: Connection, board: Scoreboard, i: number): void {
  const at = board.at(i);
  const { words } = board;
  const flags = words[at + FLAGS]!;
  const start = board.start(i);
  const length = seqDiff(board.end(i), start);
  if ((flags & RETRANS) !== 0) c.retransBytes -= length;
  if ((flags & LOST) === 0) c.lostBytes += length;
  if ((flags & LOST) === 0 || (flags & RETRANS) !== 0) {
    c.lostBytesTotal += length;
    c.congestion.lost?.(c, length, words[at + IN_FLIGHT]!, priorLost(c, words[at + LOST_BEFORE]!), isLimited(flags));
  }
  words[at + FLAGS] = (flags & ~RETRANS) | LOST;
  if (c.lostBytes === length || seqLt(start, c.lostFrom)) c.lostFrom = start;
}

/**
 * §7.2: sets the probe timeout in place of the retransmission timeout, where a probe is of use; says whether it did.
 * `isAdvance`: SND.UNA has just moved, so that the retransmission timeout begins anew.
 */
export function armProbe(c: Connection, isAdvance = false): boolean {
  if (!c.settings.tailLossProbe || !c.useSack || c.sent === null) return false;
  if (c.recovery !== OPEN && c.recovery !== CWR) return false;
  if (c.isTlpPending) return false;
  const isSingle = c.sent.count === 1 && seqDiff(c.sndNxt, c.sndUna) <= c.mss;
  const pto =
    c.srttUs === 0
      ? c.settings.rtoInitialMs
      : (((c.srttUs + 499) / 500) | 0) +
        (isSingle ? Math.max(c.settings.rtoMinMs, DELAYED_ACK_MAX_MS) : PROBE_MARGIN_MS);
  const { nowMs } = c.context;
  let at = nowMs + pto;
  // §7.2: "If the PTO would be later than the RTO": the oldest segment counts from when it was sent.
  const rto = isAdvance ? backedOffRto(c) : remainingRto(c);
  if (rto > 0) at = Math.min(at, nowMs + rto);
  c.probeAt = at;
  c.retransmitAt = UNSET;
  c.context.timers.atMost(c, at);
  return true;
}

/** ms until the retransmission timeout of the oldest segment, by when it was sent. */
export function remainingRto(c: Connection): number {
  const { sent } = c;
  if (sent === null || sent.count === 0) return backedOffRto(c);
  const elapsedUs = (c.context.nowUs - sent.words[sent.at(0) + SENT_US]!) | 0;
  return backedOffRto(c) - Math.floor(elapsedUs / 1000);
}
