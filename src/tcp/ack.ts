/**
 * An acknowledgement arrives: RFC 9293 §3.10.7.4 fifth. What it acknowledges is taken off the scoreboard and out of the
 * send buffer, measured, and handed to recovery and congestion control. @module
 */
import { REACHABLE } from '../iface/neighbours.ts';
import * as wire from '../wire/tcp.ts';
import { ackInOrder, growInOrder, releaseAcknowledged } from './ack-in-order.ts';
import type { Acked } from './acked.ts';
import { answerOld, challenge } from './answer.ts';
import { type Connection, CWR, OPEN, RECOVERY, UNSET } from './connection.ts';
import { arriveEcn } from './ecn.ts';
import { setChrono } from './info.ts';
import { probeArrived } from './mtu-probe.ts';
import { updatePacingRate } from './pacing.ts';
import { armProbe, rackAdvance } from './rack.ts';
import { acksUnsent } from './receive.ts';
import { growWindow, judge, probeAcked, reduceProportionally } from './recovery.ts';
import { backedOffRto, echoedRtt, sampleRtt, updateMinRtt } from './rtt.ts';
import { late, noteReordering, sackArrived } from './sack.ts';
import { END, EVER_RETRANS, FLAGS, LOST, RETRANS, SACKED, SENT_US, segmentsIn } from './scoreboard.ts';
import { keepTimer, restartRetransmitTimer } from './send.ts';
import { type Seq, seqAdd, seqDiff, seqLe, seqLt, seqMin } from './seq.ts';
import { traceWindow } from './trace.ts';

/**
 * Takes the acknowledgement of `segment` in. Returns whether the segment goes on: false where it was no acknowledgement
 * of anything of ours.
 */
export function arriveAck(c: Connection, segment: wire.Segment): boolean {
  const ack = segment.ack as Seq;
  if (acksUnsent(c, ack)) {
    c.context.stats.drop('tcp-bad-ack');
    answerOld(c, segment);
    return false;
  }
  const advance = seqDiff(ack, c.sndUna);
  // RFC 5961 §5.2: an acknowledgement older than any window ever offered is nobody's.
  if (advance < 0 && -advance > c.sndWndMax) {
    c.context.stats.drop('tcp-bad-ack');
    challenge(c);
    return false;
  }
  const wnd = segment.wnd << c.sndShift;
  const isOutstanding = c.sent !== null;
  if (advance > 0 && ackInOrder(c, segment, ack, advance)) {
    growInOrder(c, advance);
    afterAdvance(c);
  }
  // RFC 2883 §5: a D-SACK may come when nothing is under way any more.
  else if (advance > 0 || isOutstanding || (c.useSack && segment.sackCount > 0))
    judgeAck(c, segment, ack, advance, wnd);
  if (advance >= 0) updateSendWindow(c, segment, wnd, advance > 0);
  c.probes = 0;
  if (c.finQueued ? seqLe(c.sndNxt, c.txEnd) : seqLt(c.sndNxt, c.txEnd)) c.tcp.ready(c);
  return true;
}

/** Everything that depends on what was under way. */
function judgeAck(c: Connection, segment: wire.Segment, ack: Seq, advance: number, wnd: number): void {
  const { acked } = c.tcp;
  const { cwnd, ssthresh } = c;
  acked.begin(c);
  if (segment.sackCount > 0 && c.useSack) sackArrived(c, segment, ack, acked);
  const isDuplicate =
    advance === 0 &&
    segment.length === 0 &&
    (segment.flags & wire.FIN) === 0 &&
    wnd === c.sndWnd &&
    !isAckOfAck(c, segment);
  acked.isDuplicate = isDuplicate;
  if (isDuplicate) c.dupAcks++;
  if (advance > 0) acknowledge(c, ack, acked);
  measure(c, segment, acked, advance);
  if (acked.isLate && c.useSack) noteReordering(c, acked);
  if (c.ecn !== null) arriveEcn(c, c.ecn, segment, acked);
  if (c.isTlpPending) probeAcked(c, ack, acked);
  // In order on a quiet path there is nothing to judge.
  if (c.recovery !== OPEN || c.sackedBytes > 0 || acked.isSacking || acked.isDsack || isDuplicate) {
    judge(c, acked, segment.tsEcr, segment.hasTimestamps);
  }
  acked.finish(c);
  if (c.recovery === CWR || c.recovery === RECOVERY) reduceProportionally(c, acked);
  else growWindow(c, acked);
  c.congestion.sample?.(c, acked);
  updatePacingRate(c);
  if (acked.intervalUs > 0 && (!acked.isAppLimited || faster(c, acked))) {
    c.rateBytes = acked.delivered;
    c.rateIntervalUs = acked.intervalUs;
    c.isRateLimited = acked.isAppLimited;
  }
  if (c.trace !== null && (c.cwnd !== cwnd || c.ssthresh !== ssthresh)) traceWindow(c);
  if (advance > 0) afterAdvance(c);
  else if (c.settings.linux && acked.hasSacked) afterSack(c, acked);
  else keepTimer(c);
}

/** RFC 9768 §3.2.2.5.1: one that tells of marks on our ACKs is no duplicate, and has no SACK blocks. */
const isAckOfAck = (c: Connection, segment: wire.Segment): boolean =>
  c.ecn?.isAccurate === true && c.useSack && segment.sackCount === 0;

/** Whether the sample is above the last one: only then does it count although the application held the sender up. */
const faster = (c: Connection, acked: Acked): boolean =>
  acked.delivered * c.rateIntervalUs >= c.rateBytes * acked.intervalUs;

/** New data, up to `ack`, is acknowledged. */
function acknowledge(c: Connection, ack: Seq, acked: Acked): void {
  const advance = seqDiff(ack, c.sndUna);
  acked.advance = advance;
  c.dupAcks = 0;
  c.retransmits = 0;
  c.softError = null;
  c.keepAliveProbes = 0;
  takeOff(c, ack, acked);
  // The text of a SYN that crossed the peer's: it was about to be sent again.
  if (seqLt(c.sndNxt, ack)) c.sndNxt = ack;
  if (!c.useSack && c.sackedBytes > 0) forgetDuplicates(c, advance, acked);
  c.sndUna = ack;
  if (c.mtuProbe !== null && c.mtuProbe.mtu !== 0) probeArrived(c, c.mtuProbe);
  c.bytesAcked += advance;
  releaseAcknowledged(c, ack);
}

/** Without SACK, what duplicates spoke of was counted then: all of what is acknowledged now but the hole itself. */
function forgetDuplicates(c: Connection, advance: number, acked: Acked): void {
  const counted = Math.min(c.sackedBytes, Math.max(0, advance - c.mss));
  c.sackedBytes -= counted;
  c.delivered -= counted;
  acked.newlyDelivered -= counted;
}

/** Takes the records up to `ack` off the board. */
function takeOff(c: Connection, ack: Seq, acked: Acked): void {
  const board = c.sent;
  if (board === null) return;
  while (board.count > 0 && seqLt(board.first, ack)) {
    const { words } = board;
    const at = board.at(0);
    const end = words[at + END]! as Seq;
    const stop = seqMin(end, ack);
    delivered(c, words, at, stop, seqDiff(stop, board.first), acked);
    if (stop === end) board.shift();
    else board.first = stop;
  }
  if (board.count === 0) {
    c.sent = null;
    c.tcp.boards.give(board);
  }
}

/** `length` bytes of the first record, up to `stop`, are acknowledged in order. */
function delivered(c: Connection, words: Int32Array, at: number, stop: Seq, length: number, acked: Acked): void {
  const flags = words[at + FLAGS]!;
  const sentUs = words[at + SENT_US]!;
  if ((flags & RETRANS) !== 0) c.retransBytes -= length;
  if ((flags & LOST) !== 0) c.lostBytes -= length;
  if ((flags & EVER_RETRANS) !== 0) acked.isRetransmitted = true;
  else if ((flags & SACKED) === 0) {
    if (!acked.hasFirst) acked.firstUs = sentUs;
    acked.hasFirst = true;
    acked.lastUs = sentUs;
    if (seqLe(stop, c.recover)) acked.isOriginal = true;
    if (c.useSack && c.sackedBytes > 0 && seqLt(stop, c.sndFack)) late(seqAdd(stop, -length), acked);
  }
  if ((flags & SACKED) !== 0) {
    c.sackedBytes -= length;
    return;
  }
  if (c.useSack) rackAdvance(c, sentUs, stop, (flags & EVER_RETRANS) !== 0);
  acked.take(words, at);
  c.delivered += length;
  c.deliveredSegments += segmentsIn(c, length);
  acked.newlyDelivered += length;
}

/** The round-trip samples of this acknowledgement: RFC 6298 §3 and §4, RFC 7323 §4. */
function measure(c: Connection, segment: wire.Segment, acked: Acked, advance: number): void {
  const { nowUs } = c.context;
  let rttUs = -1;
  if (acked.hasFirst && !acked.isRetransmitted) {
    rttUs = (nowUs - acked.firstUs) | 0;
    acked.rttUs = (nowUs - acked.lastUs) | 0;
  }
  if (acked.hasSacked && rttUs < 0) rttUs = acked.rttUs = (nowUs - acked.sackedUs) | 0;
  if (rttUs < 0 && advance > 0 && segment.hasTimestamps) rttUs = acked.rttUs = echoedRtt(c, segment.tsEcr);
  if (rttUs < 0) return;
  updateMinRtt(c, Math.max(acked.rttUs, 1));
  sampleRtt(c, rttUs);
  c.backoff = 0; // Karn's algorithm, second half: RFC 6298 §5
}

/** SND.UNA moved: the timers begin anew. RFC 6298 (5.2), (5.3). */
function afterAdvance(c: Connection): void {
  if (c.sent === null) {
    c.retransmitAt = c.probeAt = c.reorderAt = UNSET;
    if (c.txEnd === c.sndNxt || c.finQueued) setChrono(c, 0);
  } else if (!armProbe(c, true)) {
    c.probeAt = UNSET;
    restartRetransmitTimer(c);
  }
  const { neighbour } = c.path;
  if (neighbour !== null && neighbour.state !== REACHABLE) neighbour.confirm();
}

/**
 * Linux begins the timeout anew also for what was SACKed, if it was sent before the head was last sent: the head may be as late
 * as that was.
 */
function afterSack(c: Connection, acked: Acked): void {
  const { sent } = c;
  if (sent === null || ((sent.words[sent.at(0) + SENT_US]! - acked.sackedUs) | 0) <= 0 || armProbe(c, true)) return;
  restartRetransmitTimer(c);
}

/**
 * RFC 9293 §3.10.7.4: SND.WL1 and SND.WL2 "prevent using old segments to update the window". A segment that acknowledges
 * new data is not old, even if one with a higher number came before it: its window counts from the new SND.UNA, and the
 * old one would reach too far. What Linux does.
 */
function updateSendWindow(c: Connection, segment: wire.Segment, wnd: number, isAdvance: boolean): void {
  const seq = segment.seq as Seq;
  const ack = segment.ack as Seq;
  if (!isAdvance && !(seqLt(c.sndWl1, seq) || (c.sndWl1 === seq && seqLe(c.sndWl2, ack)))) return;
  if (wnd > c.sndWnd && c.persistAt !== UNSET) {
    // Linux goes on as it was where no segment fits.
    const isLittle = c.settings.linux && wnd < Math.min(c.mss, seqDiff(c.txEnd, c.sndNxt));
    c.persistAt = isLittle ? c.context.nowMs + backedOffRto(c) : UNSET;
    if (!isLittle) c.backoff = 0;
  }
  c.sndWnd = wnd;
  if (wnd > c.sndWndMax) {
    c.sndWndMax = wnd;
    if (c.settings.linux) c.fitMss(); // half of it bounds the segments
  }
  c.sndWl1 = seq;
  c.sndWl2 = ack;
}
