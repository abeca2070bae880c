/**
 * Loss recovery: when it begins, how fast it sends, when it ends, and when it turns out to have been a mistake. RFC 5681,
 * RFC 6582 (NewReno, where there is no SACK), RFC 6675, RFC 8985 (RACK-TLP), RFC 6937 (PRR), RFC 5682 (F-RTO), RFC 3522 and
 * RFC 4015 (Eifel), RFC 2883 and RFC 3708 (undo by D-SACK), RFC 3042 (limited transmit). @module
 */
import { Acked } from './acked.ts';
import type { Cause } from './congestion/controller.ts';
import { CWND_MAX, initialWindow } from './congestion/controller.ts';
import { type Connection, CWR, DISORDER, LOSS, OPEN, RECOVERY, UNSET } from './connection.ts';
import { lossesOf } from './losses.ts';
import { isProbing, probeLost } from './mtu-probe.ts';
import { detectLoss, isRecent, markLost, updateReorderingWindow } from './rack.ts';
import { FLAGS, LOST, SACKED } from './scoreboard.ts';
import { restartRetransmitTimer, startRetransmitTimer } from './send.ts';
import { type Seq, seqAdd, seqDiff, seqGe, seqGt } from './seq.ts';
import { traceWindow } from './trace.ts';

/** TCP_THIN_LINEAR_RETRIES. */
const THIN_RETRIES = 6;

/** What the acknowledgement in hand brought has been written down; now it is judged. Linux's tcp_fastretrans_alert. */
export function judge(c: Connection, acked: Acked, tsEcr: number, hasTimestamps: boolean): void {
  const isDelayed = hasTimestamps && isEchoOfOriginal(c, tsEcr);
  if (c.recovery !== OPEN && seqGe(c.sndUna, c.recover) && leave(c, acked, isDelayed)) return;
  switch (c.recovery) {
    case RECOVERY:
      if (!inRecovery(c, acked, isDelayed)) return;
      break;
    case LOSS:
      if (!inLoss(c, acked, isDelayed)) return;
      break;
    default:
      beforeRecovery(c, acked);
      return;
  }
  if (c.lostBytes > c.retransBytes) c.tcp.ready(c);
}

/** OPEN, DISORDER, CWR: is something lost? */
function beforeRecovery(c: Connection, acked: Acked): void {
  if (!c.useSack) {
    if (acked.advance > 0) c.sackedBytes = 0;
    else if (acked.isDuplicate) addDuplicate(c, acked);
  }
  if (c.recovery <= DISORDER) undoByDsack(c);
  identifyLoss(c, acked);
  if (c.lostBytes > 0) {
    if (isProbing(c) && probeLost(c)) return;
    enterRecovery(c);
    c.tcp.ready(c);
  } else if (c.recovery !== CWR) {
    c.recovery = c.sackedBytes > 0 ? DISORDER : OPEN;
  }
  // RFC 3042: what a duplicate says has left the network makes room for new data: the pipe counts it off.
  if (acked.isSacking || acked.isDuplicate) c.tcp.ready(c);
}

function inRecovery(c: Connection, acked: Acked, isDelayed: boolean): boolean {
  if (acked.advance === 0) {
    if (!c.useSack && acked.isDuplicate) addDuplicate(c, acked);
  } else if (isDelayed && mayUndo(c, isDelayed)) {
    // A partial acknowledgement of an original: nothing was lost, or not that. Linux's tcp_try_undo_partial.
    for (let i = 0; i < c.sent!.count; i++) unmarkLost(c, i);
    undoReduction(c);
    c.recovery = OPEN;
    c.context.stats.tcpUndone++;
    return true;
  }
  if (undoByDsack(c)) {
    c.recovery = c.sackedBytes > 0 ? DISORDER : OPEN;
    return false;
  }
  identifyLoss(c, acked);
  c.tcp.ready(c);
  return true;
}

/** After a timeout: RFC 5682 §3.1 while it is being tested, slow start afterwards. */
function inLoss(c: Connection, acked: Acked, isDelayed: boolean): boolean {
  const losses = lossesOf(c);
  losses.sendsNew = false;
  if (acked.advance > 0 && undoLoss(c, mayUndo(c, isDelayed))) return false;
  if (losses.isFrto) {
    // (3.b): something was acknowledged that was sent but once, so the timeout was for nothing.
    if (acked.isOriginal && undoLoss(c, true)) return false;
    if (seqGt(c.sndNxt, c.recover)) {
      if (acked.isSacking || acked.isDuplicate) losses.isFrto = false; // (3.a): a loss after all
    } else if (acked.advance > 0) {
      c.recover = c.sndNxt;
      losses.isFrto = seqDiff(c.txEnd, c.sndNxt) > 0 && seqDiff(c.sndNxt, c.sndUna) < c.sndWnd;
      // (2.b): two new segments instead of old ones, to see what comes back.
      losses.sendsNew = losses.isFrto;
      if (losses.sendsNew) {
        c.tcp.ready(c);
        return false;
      }
    }
  }
  if (!c.useSack && acked.isDuplicate && seqGt(c.sndNxt, c.recover)) addDuplicate(c, acked);
  if (!c.useSack && acked.advance > 0) c.sackedBytes = 0;
  identifyLoss(c, acked);
  c.tcp.ready(c);
  return true;
}

/** Exactly at it: what came before may still speak. Linux waits for more even where nothing more was sent. */
const isAtRecover = (c: Connection): boolean =>
  c.sndUna === c.recover && (c.settings.linux || seqGt(c.sndNxt, c.sndUna));

/** SND.UNA has reached the recovery point. Returns whether nothing is left to judge. */
function leave(c: Connection, acked: Acked, isDelayed: boolean): boolean {
  switch (c.recovery) {
    case CWR:
      if (isAtRecover(c)) return false;
      endReduction(c);
      c.recovery = OPEN;
      return false;
    case RECOVERY:
      if (!c.useSack) c.sackedBytes = 0;
      countRecovery(c);
      if (mayUndo(c, isDelayed)) {
        undoReduction(c);
        c.context.stats.tcpUndone++;
      } else {
        endReduction(c);
      }
      // RFC 6582 §4: without SACK a duplicate of old data may still come: not before more is acknowledged.
      if (!c.useSack && isAtRecover(c)) return true;
      c.recovery = OPEN; // a D-SACK that comes later may undo it still
      return false;
    case LOSS:
      if (undoLoss(c, mayUndo(c, isDelayed) || (c.losses.isFrto && acked.isOriginal))) return true;
      if (!c.useSack && isAtRecover(c)) return true;
      finishLoss(c);
      return false;
    default:
      return false;
  }
}

/** RFC 8985 §6.2 step 4: a window that a D-SACK has widened stays for 16 recoveries. */
function countRecovery(c: Connection): void {
  if (c.losses.reorderingPersist > 0) lossesOf(c).reorderingPersist--;
}

/** A timeout: for TCP_INFO, the first of some in a row begins a recovery. */
export function countTimeout(c: Connection): void {
  const losses = lossesOf(c);
  if (c.retransmits === 0) {
    losses.totalRtoRecoveries++;
    losses.rtoAtMs = c.context.nowMs;
  }
  losses.totalRto++;
}

/** The peer has answered: they are over. */
export function endTimeouts(c: Connection): void {
  if (c.losses.rtoAtMs === 0) return;
  const losses = lossesOf(c);
  losses.totalRtoMs += c.context.nowMs - losses.rtoAtMs;
  losses.rtoAtMs = 0;
}

/** Of RFC 5682. */
function endTest(c: Connection): void {
  const losses = lossesOf(c);
  losses.isFrto = losses.sendsNew = false;
}

function finishLoss(c: Connection): void {
  countRecovery(c);
  endTimeouts(c);
  endTest(c);
  c.retransmits = 0;
  c.recovery = OPEN;
  if (!c.useSack) c.sackedBytes = 0;
}

/** RFC 6582, RFC 3042: a duplicate acknowledgement says that one more segment has arrived out of order. */
function addDuplicate(c: Connection, acked: Acked): void {
  const most = seqDiff(c.sndNxt, c.sndUna) - c.lostBytes - c.mss;
  const more = Math.min(c.mss, most - c.sackedBytes);
  if (more <= 0) return;
  c.sackedBytes += more;
  c.delivered += more;
  acked.newlyDelivered += more;
}

function identifyLoss(c: Connection, acked: Acked): void {
  const before = c.lostBytesTotal;
  if (c.useSack) {
    updateReorderingWindow(c, acked);
    if (c.sackedBytes > 0 || c.retransBytes > 0 || c.recovery !== OPEN) detectLoss(c, acked);
  } else {
    markFirstLost(c, acked);
    c.sackedBytes = Math.max(0, Math.min(c.sackedBytes, seqDiff(c.sndNxt, c.sndUna) - c.lostBytes));
  }
  acked.newlyLost += c.lostBytesTotal - before;
}

/** Without SACK: the third duplicate, and in recovery each partial acknowledgement, point at the first segment. */
function markFirstLost(c: Connection, acked: Acked): void {
  const board = c.sent;
  if (board === null || board.count === 0) return;
  const isThird = c.recovery < RECOVERY && c.sackedBytes >= c.reordering * c.mss;
  // Few segments may be under way: the last of three cannot be answered by three duplicates (RFC 5827 would say two).
  const isPartial = c.recovery >= RECOVERY && acked.advance > 0;
  if (!isThird && !isPartial) return;
  // RFC 6582 §3.2 (1): not again for the losses of a window that recovery or a timeout has dealt with.
  if (isThird && !seqGt(c.sndUna, c.recover)) return;
  if ((board.flags(0) & LOST) !== 0) return;
  if (seqDiff(board.end(0), c.sndUna) > c.mss) board.split(0, seqAdd(c.sndUna, c.mss));
  markLost(c, board, 0);
}

function enterRecovery(c: Connection): void {
  c.context.stats.tcpFastRetransmits++;
  beginUndo(c);
  if (c.recovery < CWR) beginReduction(c, 'loss');
  c.recovery = RECOVERY;
  c.recover = c.sndNxt;
  c.probeAt = UNSET;
  startRetransmitTimer(c);
}

/** What an undo brings back. */
function rememberWindow(c: Connection): void {
  const losses = lossesOf(c);
  losses.priorCwnd = c.cwnd;
  losses.priorSsthresh = c.ssthresh;
}

/** RFC 6937: the window is brought down to ssthresh in step with what is delivered. */
export function beginReduction(c: Connection, cause: Cause): void {
  rememberWindow(c);
  const losses = lossesOf(c);
  losses.prrDelivered = 0;
  losses.prrOut = 0;
  c.isTlpPending = false;
  c.recover = c.sndNxt;
  c.congestion.reduce(c, c.cwnd, cause);
  if (c.settings.linux) c.ssthresh -= c.ssthresh % c.mss; // its windows are whole segments
}

/** ECN, or a probe that repaired a loss: less is sent, nothing is sent again. */
export function enterCwr(c: Connection, cause: Cause): void {
  lossesOf(c).mayUndo = false;
  if (c.recovery >= CWR) return;
  beginReduction(c, cause);
  c.recovery = CWR;
}

function endReduction(c: Connection): void {
  if (c.congestion.ownsWindow || (c.recovery !== CWR && !c.losses.mayUndo)) return;
  // RFC 6582 §3.2 (3), first option: where the peer's window ended what could be sent, nearly nothing is under way now, and
  // all of ssthresh at once would be a burst that the path has never carried. Slow start brings it back.
  const most = c.settings.linux ? c.ssthresh : c.inFlight() + initialWindow(c.mss);
  c.cwnd = Math.max(Math.min(c.ssthresh, most), c.mss);
}

/**
 * The window during a reduction. RFC 6937 §3.1 with the safe bound of RFC 9937: in proportion while more is under way than
 * ssthresh, then slow start back up to it as long as nothing new is lost.
 */
export function reduceProportionally(c: Connection, acked: Acked): void {
  const losses = lossesOf(c);
  if (c.congestion.ownsWindow || losses.priorCwnd === 0 || acked.newlyDelivered <= 0) return;
  losses.prrDelivered += acked.newlyDelivered;
  const { mss, ssthresh } = c;
  const inFlight = c.inFlight();
  const below = ssthresh - inFlight;
  let more: number;
  if (below < 0) {
    const share = (ssthresh * losses.prrDelivered) / losses.priorCwnd;
    more = Math.ceil((share - losses.prrOut) / mss - 1e-9) * mss;
  } else {
    more = Math.max(losses.prrDelivered - losses.prrOut, acked.newlyDelivered);
    if (acked.advance > 0 && acked.newlyLost === 0) more += mss;
    more = Math.min(more, below);
  }
  // The first retransmission goes out whatever the arithmetic says, and without SACK what a partial acknowledgement
  // points at: RFC 6582 §3.2 (3).
  const isForced = losses.prrOut === 0 || (!c.useSack && acked.advance > 0 && c.lostBytes > c.retransBytes);
  c.cwnd = inFlight + Math.max(more, isForced ? mss : 0);
}

/** Where a window may grow, it grows. */
export function growWindow(c: Connection, acked: Acked): void {
  if (acked.newlyDelivered === 0 || !isWindowUsed(c)) return;
  const progress = c.reordering > c.settings.reordering ? acked.newlyDelivered > 0 : acked.advance > 0;
  if (progress) c.congestion.acked(c, acked.newlyDelivered, acked.rttUs);
}

/** RFC 7661 as Linux has it: a window that was not in use is no evidence for a larger one. */
export const isWindowUsed = (c: Connection): boolean =>
  c.isCwndLimited || (c.cwnd < c.ssthresh && c.cwnd < 2 * c.maxFlight);

/** After a burst was sent: was it the congestion window that ended it? */
export function validateWindow(c: Connection): void {
  const flight = seqDiff(c.sndNxt, c.sndUna);
  const isLimited = c.cwnd - c.inFlight() < c.mss;
  if (seqGe(c.sndUna, c.cwndUsageSeq) || isLimited || (!c.isCwndLimited && flight > c.maxFlight)) {
    c.isCwndLimited = isLimited;
    c.maxFlight = flight;
    c.cwndUsageSeq = c.sndNxt;
  }
}

// Undoing.

function beginUndo(c: Connection): void {
  const losses = lossesOf(c);
  losses.undoMarker = c.sndUna;
  losses.mayUndo = true;
  // What a probe sent before may be what caused the D-SACK to come.
  losses.undoRetrans = c.retransBytes > 0 ? Math.ceil(c.retransBytes / c.mss) : -1;
  if (c.retransBytes === 0) losses.hasRetransTs = false;
}

/** RFC 3522 §3.2 (4): the acknowledgement echoes a timestamp from before the first retransmission. */
const isEchoOfOriginal = (c: Connection, tsEcr: number): boolean =>
  c.useTimestamps && c.losses.hasRetransTs && ((tsEcr - c.losses.retransTs) | 0) < 0;

function mayUndo(c: Connection, isDelayed: boolean): boolean {
  const { losses } = c;
  return losses.mayUndo && c.settings.undo && (losses.undoRetrans === 0 || (isDelayed && losses.undoRetrans > 0));
}

/** RFC 4015 §3.2: back to the window there was. */
function undoReduction(c: Connection): void {
  const losses = lossesOf(c);
  c.cwnd = Math.min(Math.max(c.cwnd, losses.priorCwnd), CWND_MAX);
  c.ssthresh = Math.max(c.ssthresh, losses.priorSsthresh);
  c.congestion.undo(c);
  losses.mayUndo = false;
}

/** RFC 2883 §5, RFC 3708: every segment that was sent again has come back as a duplicate. */
function undoByDsack(c: Connection): boolean {
  if (!c.losses.mayUndo || c.losses.undoRetrans !== 0 || !c.settings.undo) return false;
  undoReduction(c);
  if (c.sent !== null) for (let i = 0; i < c.sent.count; i++) unmarkLost(c, i);
  c.context.stats.tcpUndone++;
  return true;
}

function unmarkLost(c: Connection, i: number): void {
  const board = c.sent!;
  const at = board.at(i);
  if ((board.words[at + FLAGS]! & LOST) === 0) return;
  board.words[at + FLAGS]! &= ~LOST;
  c.lostBytes -= seqDiff(board.end(i), board.start(i));
}

/** The timeout was for nothing: RFC 5682 §3.1 (3.b), RFC 4015. */
function undoLoss(c: Connection, isSpurious: boolean): boolean {
  if (!isSpurious || !c.settings.undo) return false;
  if (c.sent !== null) for (let i = 0; i < c.sent.count; i++) unmarkLost(c, i);
  undoReduction(c);
  c.context.stats.tcpSpuriousTimeouts++;
  endTimeouts(c);
  c.context.stats.tcpUndone++;
  c.retransmits = 0;
  endTest(c);
  c.recovery = OPEN;
  if (!c.useSack) c.sackedBytes = 0;
  c.tcp.ready(c);
  return true;
}

/**
 * The retransmission timer fired: RFC 6298 (5.4)-(5.6). All that is under way and was not SACKed is taken for lost, and
 * sent again in slow start.
 */
export function retransmissionTimeout(c: Connection): void {
  c.context.stats.tcpTimeouts++;
  countTimeout(c);
  c.retransmitAt = c.probeAt = c.reorderAt = UNSET;
  enterLoss(c);
  if (c.trace !== null) traceWindow(c);
  c.retransmits++;
  if (isThin(c)) c.backoff = 0;
  else c.backoff++;
  c.tcp.ready(c);
}

/** A flow with less than four segments under way cannot repair a loss but by timeouts. */
const isThin = (c: Connection): boolean =>
  c.settings.thinLinearTimeouts && c.retransmits <= THIN_RETRIES && seqDiff(c.sndNxt, c.sndUna) < 4 * c.mss;

function enterLoss(c: Connection): void {
  const isNew = c.recovery < RECOVERY;
  markAllLost(c);
  const isFirst = c.recovery <= DISORDER || seqGe(c.sndUna, c.recover) || (c.recovery === LOSS && c.retransmits === 0);
  if (isFirst) {
    rememberWindow(c);
    beginUndo(c);
  }
  c.congestion.timedOut(c, c.cwnd, isFirst);
  if (c.settings.linux) c.ssthresh -= c.ssthresh % c.mss;
  c.cwnd = c.inFlight() + c.mss; // RFC 5681 §3.1: the loss window is one segment
  // Reordering that made recovery wait so long is not to be relied on.
  if (c.recovery <= DISORDER && c.sackedBytes >= c.settings.reordering * c.mss) {
    c.reordering = Math.min(c.reordering, c.settings.reordering);
  }
  c.recovery = LOSS;
  c.recover = c.sndNxt;
  c.isTlpPending = false;
  const losses = lossesOf(c);
  losses.sendsNew = false;
  // RFC 5682 §3.1 (1): not for a timeout of what recovery has sent again already.
  losses.isFrto = c.settings.frto && (isNew || c.retransmits > 0);
}

function markAllLost(c: Connection): void {
  const board = c.sent;
  if (board === null) return;
  // RFC 2018 §8: the peer may have thrown away what it SACKed; if the first was, it would have been acknowledged.
  const isReneging = board.count > 0 && (board.flags(0) & SACKED) !== 0;
  if (isReneging || !c.useSack) {
    c.sackedBytes = 0;
    if (isReneging) c.context.stats.tcpRenegings++;
  }
  for (let i = 0; i < board.count; i++) {
    const at = board.at(i);
    if (isReneging) board.words[at + FLAGS]! &= ~SACKED;
    if ((board.words[at + FLAGS]! & SACKED) !== 0) continue;
    if (i > 0 && !isReneging && c.useSack && isRecent(c, board.words, at)) continue;
    markLost(c, board, i);
  }
}

/** What was sent was too large for the path: it is sent again in smaller pieces. Not congestion. */
export function resendAll(c: Connection): void {
  const board = c.sent;
  if (board === null) return;
  for (let i = 0; i < board.count; i++) if ((board.flags(i) & SACKED) === 0) markLost(c, board, i);
  c.tcp.ready(c);
}

const timedOut = new Acked();

/** The reordering timer fired: RFC 8985 §6.3. */
export function onReorderingTimer(c: Connection): void {
  c.reorderAt = UNSET;
  if (detectLoss(c, null)) {
    if (isProbing(c) && probeLost(c)) return;
    if (c.recovery < RECOVERY) enterRecovery(c);
    timedOut.begin(c);
    timedOut.newlyDelivered = c.mss;
    timedOut.newlyLost = c.mss;
    if (c.recovery === RECOVERY) reduceProportionally(c, timedOut);
    c.tcp.ready(c);
  }
  if (c.retransmitAt === UNSET && c.sent !== null) restartRetransmitTimer(c);
}

/** An acknowledgement of what was sent as a probe: RFC 8985 §7.4.2. */
export function probeAcked(c: Connection, ack: Seq, acked: Acked): void {
  if (!seqGe(ack, c.tlpEnd)) return;
  if (!c.isTlpRetrans || acked.isDsack) {
    c.isTlpPending = false; // new data was acknowledged, or both copies arrived
  } else if (seqGt(ack, c.tlpEnd)) {
    // The probe repaired a loss that nobody else saw.
    c.isTlpPending = false;
    c.context.stats.tcpProbesRecovered++;
    enterCwr(c, 'loss');
    endReduction(c);
    c.recovery = c.sackedBytes > 0 || c.lostBytes > 0 ? DISORDER : OPEN;
  } else if (acked.advance === 0 && !acked.isSacking) {
    c.isTlpPending = false; // a duplicate: the original had arrived
  }
}
