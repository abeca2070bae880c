/**
 * A segment arrives: RFC 9293 §3.10.7, step by step in its order. The steps themselves are rules in receive.ts and
 * recovery.ts. @module
 */

import type { Packet } from '../iface/packet.ts';
import * as wire from '../wire/tcp.ts';
import { arriveAck } from './ack.ts';
import { releaseAcknowledged } from './ack-in-order.ts';
import { answerOld, challenge } from './answer.ts';
import { rcvRoundDone, startRightSizing } from './autotune.ts';
import { ANSWER_MS, type Connection, OPEN, UNSET } from './connection.ts';
import { agreeOnSyn, agreeOnSynAck, arriveCodepoint, synAckAcked, synAckAgain, synAgain } from './ecn.ts';
import { emitBare, emitReset, emitSegment, resetStray } from './emit.ts';
import { CLOSED_EVENT, CONNECTED, READABLE, SENT, WRITABLE } from './events.ts';
import { isEarly, leaveEarly } from './fast-open.ts';
import { lossesOf } from './losses.ts';
import { limitPacing } from './pacing.ts';
import { arrivePredicted, isPredicted } from './predicted.ts';
import { dataArrived, decideAck } from './quick-ack.ts';
import {
  acceptable,
  acceptedWindow,
  isOldTimestamp,
  receiveText,
  receiveWindow,
  reportDuplicate,
  scheduleAck,
  updateTsRecent,
} from './receive.ts';
import { retransmissionTimeout } from './recovery.ts';
import { rttOfHandshake } from './rtt.ts';
import { finAcknowledged, repeatSyn } from './send.ts';
import { type Seq, seqAdd, seqDiff, seqGe, seqGt, seqLe, seqLt } from './seq.ts';
import { CLOSING, FIN_WAIT_1, FIN_WAIT_2, LAST_ACK, mayReceiveIn, SYN_RECEIVED, SYN_SENT, TIME_WAIT } from './state.ts';
import { deferRetries, retrySoon, rtoAfterHandshake, startKeepAlive } from './timers.ts';
import { traceIn } from './trace.ts';
import { Urgent, urgentArrives } from './urgent.ts';

const { ACK, FIN, RST, SYN, URG } = wire;

/** RFC 7323 §5.5: after 24 days of silence a timestamp proves nothing. */
const PAWS_IDLE_MS = 24 * 24 * 3600 * 1000;

const PAWS_DISORDER_TICKS = 64;

/** Takes in a segment for connection `c`. */
export function segmentArrives(c: Connection, segment: wire.Segment, packet: Packet): void {
  const segments = segment.gsoSize > 0 ? Math.ceil(segment.length / segment.gsoSize) : 1;
  c.segsIn += segments;
  if (c.trace !== null) traceIn(c, segment);
  if (segment.length > 0) c.dataSegsIn += segments;
  if (isPredicted(c, segment) && arrivePredicted(c, segment)) return;
  if (c.state === SYN_SENT) {
    arriveInSynSent(c, segment, packet);
    return;
  }
  if (!isAcceptable(c, segment, packet)) return;
  const { flags } = segment;
  c.lastReceivedAt = c.context.nowMs;
  if ((flags & (RST | SYN)) !== 0) {
    if ((flags & RST) !== 0) arriveReset(c, segment);
    else if (c.state === SYN_RECEIVED && c.listener !== null && !isEarly(c))
      c.tcp.remove(c, null); // back to LISTEN: fourth
    else if (c.settings.insecureSyn) resetBySyn(c, packet);
    else challenge(c); // RFC 5961 §4.2: a SYN in the window is answered, never obeyed
    return;
  }
  if ((flags & (ACK | URG)) !== ACK) {
    // Fifth: "if the ACK bit is off, drop the segment".
    if ((flags & ACK) === 0) {
      c.context.stats.drop('tcp-bad-flags');
      return;
    }
    c.urgent ??= new Urgent();
  }
  if (c.state === SYN_RECEIVED && !completeHandshake(c, segment, packet)) return;
  if (c.useTimestamps && segment.hasTimestamps) updateTsRecent(c, segment);
  const isEcnNews = c.ecn !== null && arriveCodepoint(c, c.ecn, segment, packet);
  if (!arriveAck(c, segment) || (finAcknowledged(c) && !finIsAcknowledged(c))) return;
  if (c.urgent !== null) urgentArrives(c, segment, packet); // sixth
  if (segment.length > 0 || (flags & FIN) !== 0) arriveText(c, segment, packet);
  if (isEcnNews) c.ackNow = true;
  if (c.ackNow) c.tcp.ready(c);
}

/**
 * Where holes are being filled, a segment that was overtaken on its way may come behind a retransmission with a newer
 * timestamp. PAWS would drop it, and so make a loss of every reordering in a recovery. Within a few ticks nothing can have
 * wrapped: a tick is a ms or more (RFC 7323 §5.4), and 2^31 bytes in 64 ms are 268 Gbit/s. Linux allows one tick.
 */
const isDisordered = (c: Connection, segment: wire.Segment): boolean =>
  c.reassembly !== null && ((c.tsRecent - segment.tsVal) | 0) <= PAWS_DISORDER_TICKS;

/** First: the sequence number, with PAWS before it (RFC 7323 §5.3). Answers what is not acceptable. */
function isAcceptable(c: Connection, segment: wire.Segment, packet: Packet): boolean {
  const { flags } = segment;
  if (
    c.useTimestamps &&
    segment.hasTimestamps &&
    isOldTimestamp(c, segment.tsVal) &&
    (flags & RST) === 0 &&
    !isDisordered(c, segment)
  ) {
    if (c.context.nowMs - c.lastReceivedAt < PAWS_IDLE_MS) {
      c.context.stats.drop('tcp-paws');
      answerOld(c, segment);
      return false;
    }
    c.tsRecent = segment.tsVal;
  }
  if (c.state === SYN_RECEIVED && (flags & SYN) !== 0 && segment.seq === c.irs)
    return arriveSynAgain(c, segment, packet);
  // A SYN or FIN occupies a number of its own: RFC 9293 §3.4.
  const occupied = segment.length + (flags & FIN) + ((flags & SYN) >> 1);
  if (acceptable(segment.seq as Seq, occupied, c.rcvNxt, acceptedWindow(c))) return true;
  if ((flags & RST) !== 0) {
    c.context.stats.drop('tcp-reset-ignored');
    return false;
  }
  // The last segment once more: our acknowledgement of it was lost. It brings nothing new, but its own acknowledgement
  // and its timestamp count, or the echo of the first copy would pass the peer's whole timeout off as a round trip.
  // What Linux does.
  if (occupied > 0 && (flags & SYN) === 0 && seqAdd(segment.seq as Seq, occupied) === c.rcvNxt) return true;
  // "If the RCV.WND is zero, no segments will be acceptable, but special allowance should be made to accept valid ACKs".
  if (segment.seq === c.rcvNxt && receiveWindow(c) === 0 && (flags & SYN) === 0) {
    if (segment.length > 0) {
      c.context.stats.drop('tcp-not-acceptable');
      segment.length = 0;
      segment.flags = flags & ~FIN;
      c.ackNow = true;
    }
    return true;
  }
  c.context.stats.drop('tcp-not-acceptable');
  if (c.ecn !== null && (flags & (SYN | ACK)) === (SYN | ACK) && segment.seq === c.irs)
    synAckAgain(c.ecn, segment, packet);
  answerOld(c, segment);
  return false;
}

/**
 * In SYN-RECEIVED the peer's SYN comes again: alone, our SYN-ACK was lost; with an ACK, it is the other half of a
 * simultaneous open (RFC 9293 §3.5, figure 8), and goes on as an acknowledgement.
 */
function arriveSynAgain(c: Connection, segment: wire.Segment, packet: Packet): boolean {
  if ((segment.flags & ACK) === 0) {
    if (!synAgain(c, segment.flags, packet.ds)) {
      resetBySyn(c, packet);
      return false;
    }
    if (c.settings.linux && !mayAnswerSyn(c)) return false;
    c.isTiming = false; // Karn's algorithm
    repeatSyn(c);
    return false;
  }
  if (c.settings.linux) reportDuplicate(c, c.irs, c.rcvNxt);
  segment.seq = c.rcvNxt;
  segment.flags &= ~SYN;
  if (c.ecn !== null) c.ecn.isAceOfHandshake = true; // RFC 9768 §3.2.2: no counter stands in a SYN
  segment.wnd >>>= c.sndShift; // the window of a SYN is not scaled: RFC 7323 §2.2
  c.ackNow = true;
  return true;
}

/** Linux answers a SYN that comes again at most twice a second, and waits anew for the answer. */
function mayAnswerSyn(c: Connection): boolean {
  if (c.context.nowMs - c.answeredAt < ANSWER_MS) {
    c.context.stats.drop('tcp-not-acceptable');
    return false;
  }
  c.answeredAt = c.context.nowMs;
  if (!isEarly(c)) c.retransmitAt = UNSET;
  return true;
}

/** RFC 5961 §3.2, RFC 9293 §3.10.7.4 second: only a RST at exactly RCV.NXT resets; another in the window is challenged. */
function arriveReset(c: Connection, segment: wire.Segment): void {
  const offset = seqDiff(segment.seq as Seq, c.rcvNxt);
  // "If the RST bit is set and the sequence number is outside the current receive window, silently drop the segment."
  if (offset > 0 && offset >= acceptedWindow(c)) {
    c.context.stats.drop('tcp-reset-ignored');
    return;
  }
  if (offset !== 0 && !c.settings.insecureReset) {
    c.context.stats.drop('tcp-reset-challenged');
    challenge(c);
    return;
  }
  c.context.stats.tcpResetsIn++;
  if (c.state === SYN_RECEIVED) {
    if (isEarly(c)) c.fastOpen!.early!.resetEarly();
    // A passive open goes back to LISTEN without a word to the user; an active one was refused.
    c.tcp.remove(c, isEarly(c) ? 'ECONNRESET' : c.listener === null ? 'ECONNREFUSED' : null);
  } else {
    // RFC 9293 §3.9.2, MUST-12: the user can tell a reset from an end. After our own FIN nothing is lost by it.
    const isLate = c.state === CLOSING || c.state === LAST_ACK;
    c.tcp.remove(c, isLate && !c.settings.bsd ? null : 'ECONNRESET');
  }
}

/** RFC 793's rule, which RFC 5961 §4.2 replaced: "If the SYN is in the window it is an error, send a reset". */
function resetBySyn(c: Connection, packet: Packet): void {
  emitBare(c.tcp, packet, c.sndMax, c.rcvNxt, RST | ACK, 0);
  c.context.stats.tcpResetsOut++;
  c.tcp.remove(c, c.state === SYN_RECEIVED && c.listener !== null && !isEarly(c) ? null : 'ECONNRESET');
}

/** A RST with the marks of the socket; Linux's has none. */
function answerStray(c: Connection, packet: Packet, segment: wire.Segment): void {
  if (c.settings.linux) resetStray(c.tcp, packet, segment);
  else resetStray(c.tcp, packet, segment, c.settings);
}

/** RFC 9293 §3.10.7.3: the states before the peer's SYN is known. */
function arriveInSynSent(c: Connection, segment: wire.Segment, packet: Packet): void {
  const { flags } = segment;
  const ack = segment.ack as Seq;
  const hasAck = (flags & ACK) !== 0;
  if (hasAck && (seqLe(ack, c.iss) || seqGt(ack, c.sndMax))) {
    c.context.stats.drop('tcp-bad-ack');
    answerStray(c, packet, segment);
    if (c.settings.linux && c.retransmits === 0) retrySoon(c);
    return;
  }
  if ((flags & RST) !== 0) {
    // Without an acceptable ACK anybody may have sent it.
    if (!hasAck) return;
    c.context.stats.tcpResetsIn++;
    c.tcp.remove(c, 'ECONNREFUSED');
    return;
  }
  if ((flags & SYN) === 0) return;
  if ((flags & FIN) !== 0 && c.settings.bsd && c.settings.dropSynFin) return;
  learnSyn(c, segment);
  if (hasAck) agreeOnSynAck(c, segment, packet);
  else agreeOnSyn(c, flags, packet.ds);
  if (hasAck) {
    c.sndUna = ack;
    if (c.settings.linux) c.bytesAcked++; // it counts the SYN
    if (c.fastOpen !== null) synTextAnswered(c, segment, ack);
    rttOfHandshake(c, segment.hasTimestamps, segment.tsEcr);
    if (seqLt(c.sndNxt, ack)) c.sndNxt = ack; // the SYN was about to be sent again
    c.transition('receive-syn-ack');
    c.ackNow = true;
    established(c);
    // RFC 9768 §3.2.2.1: an ACK alone tells how the SYN-ACK arrived, in front of text that waits.
    if (c.ecn?.acksHandshake && c.txEnd !== c.sndNxt && c.path.iface.device.room() > 0)
      emitSegment(c, c.sndNxt, 0, ACK);
    if ((flags & URG) !== 0) {
      c.urgent ??= new Urgent();
      urgentArrives(c, segment, packet); // RFC 9293 §3.10.7.3: "continue processing at the sixth step"
    }
    // Without Fast Open Linux lets it come again.
    if (!c.settings.linux || hasSpokenOfFastOpen(c)) textOfSyn(c, segment, packet);
  } else {
    c.transition('receive-syn'); // simultaneous open: MUST-10
    c.sndNxt = c.iss;
    keepEarlyText(c, segment);
  }
  c.tcp.ready(c);
}

/** Our SYN had the option, or text. */
const hasSpokenOfFastOpen = ({ fastOpen }: Connection): boolean =>
  fastOpen !== null && (fastOpen.option !== null || fastOpen.synBytes > 0);

/** RFC 9293 §3.10.7.3: text and FIN that came with the SYN-ACK are "queued for processing after ESTABLISHED", which is now. */
function textOfSyn(c: Connection, segment: wire.Segment, packet: Packet): void {
  if (segment.length === 0 && (segment.flags & FIN) === 0) return;
  segment.seq = c.rcvNxt;
  segment.flags &= ~SYN;
  arriveText(c, segment, packet);
}

/**
 * RFC 9293 §3.10.7.3: text that came with a SYN that crossed ours is queued "for processing after the ESTABLISHED state has
 * been reached": it waits in the buffer without counting. A FIN comes again.
 */
function keepEarlyText(c: Connection, segment: wire.Segment): void {
  const length = Math.min(segment.length, c.rxBytes);
  if (length === 0 || c.settings.linux || !c.rxRing().reserve(length)) return;
  c.rx!.store(0, segment.payload, length);
  c.earlyBytes = length;
}

/** The handshake is done: what came before counts from now on. */
function takeEarlyText(c: Connection): void {
  c.rx!.length += c.earlyBytes;
  c.rcvNxt = seqAdd(c.rcvNxt, c.earlyBytes);
  c.bytesReceived += c.earlyBytes;
  c.earlyBytes = 0;
  c.ackNow = true;
  c.socket?.report(READABLE);
}

/** RFC 7413 §4.2.2: the SYN-ACK acknowledges the text of our SYN, or that was not taken, and is sent again as any. */
function synTextAnswered(c: Connection, segment: wire.Segment, ack: Seq): void {
  const textAcked = seqDiff(ack, c.iss) - 1;
  c.tcp.fastOpen.synAckArrived(c, segment, textAcked > 0);
  c.bytesAcked += textAcked;
  releaseAcknowledged(c, ack);
  c.delivered += textAcked;
  if (c.fastOpen!.synBytes > textAcked) lossesOf(c).totalRetrans++;
  c.sndNxt = c.sndMax = ack;
}

/**
 * RFC 7413 §4.2.1: the text of a SYN with a good cookie is taken, and may be answered before the handshake is done. False where
 * there is no room for it: it comes again then.
 */
export function takeSynText(c: Connection, segment: wire.Segment): boolean {
  const length = Math.min(segment.length, c.rxBytes);
  if (length > 0) {
    if (!c.rxRing().reserve(length)) return false;
    c.rx!.store(0, segment.payload, length);
    c.rx!.length += length;
    c.rcvNxt = seqAdd(c.rcvNxt, length);
    c.bytesReceived += length;
    c.lastDataInAt = c.context.nowMs;
    c.fastOpen!.isAccepted = true;
  }
  if (c.settings.linux) c.fitMss();
  beginSending(c);
  return true;
}

/** Takes what the peer's SYN says: its sequence number, window and options. */
export function learnSyn(c: Connection, segment: wire.Segment): void {
  const { settings } = c;
  c.irs = segment.seq as Seq;
  c.rcvNxt = seqAdd(c.irs, 1);
  c.rcvAdv = seqAdd(c.rcvNxt, Math.min(settings.receiveBufferBytes, 0xffff));
  c.lastAckSent = c.rcvNxt;
  c.useTimestamps = settings.timestamps && segment.hasTimestamps;
  if (c.useTimestamps) c.tsRecent = segment.tsVal;
  c.useSack = settings.sack && segment.sackPermitted;
  // RFC 7323 §2.2, §1.3: scaling is on only if both SYNs had the option.
  c.peerScales = settings.windowScaling && segment.windowScale >= 0;
  c.sndShift = c.peerScales ? segment.windowScale : 0;
  if (!c.peerScales) c.rcvShift = 0;
  c.setMss(segment.mss);
  c.sndWnd = segment.wnd; // the window of a SYN is not scaled
  c.sndWndMax = segment.wnd;
  c.sndWl1 = segment.seq as Seq;
  c.sndWl2 = segment.ack as Seq;
}

/** Text may be sent: the window begins. */
function beginSending(c: Connection): void {
  c.sndSml = c.tailStart = c.pushedEnd = seqAdd(c.iss, 1);
  c.congestion.init(c);
  limitPacing(c);
  c.recovery = OPEN;
  c.dupAcks = 0;
  c.recover = c.cwndUsageSeq = c.iss; // RFC 6582 §3.2 (1)
}

/** The handshake is done. */
function established(c: Connection): void {
  const synTimeouts = c.retransmits;
  rtoAfterHandshake(c);
  c.retransmitAt = UNSET;
  if (c.settings.linux) {
    c.fitMss(); // now that there is a window
    c.rcvAdv = seqAdd(c.rcvNxt, c.rxBytes);
  }
  if (isEarly(c)) {
    leaveEarly(c);
    // What was sent with a SYN-ACK that had to be sent again was lost as well, as Linux has it.
    if (synTimeouts > 0 && c.sent !== null) retransmissionTimeout(c);
  } else {
    beginSending(c);
  }
  // RFC 6928 §2: after more than one lost SYN the initial window is one segment.
  if (synTimeouts > 1) c.cwnd = c.mss;
  c.initialCwnd = c.cwnd;
  c.probes = 0;
  startKeepAlive(c);
  startRightSizing(c);
  c.socket?.report(CONNECTED | WRITABLE);
  // CLOSE was called before: RFC 9293 §3.10.4, "queue for processing after entering ESTABLISHED state".
  if (c.finQueued) c.transition('close');
}

/**
 * TCP_DEFER_ACCEPT: the third segment alone opens nothing; the SYN-ACK is not sent again until the time is nearly over.
 */
function defersAccept(c: Connection): boolean {
  if (c.settings.deferAcceptMs === 0 || c.retransmits >= deferRetries(c.settings)) return false;
  c.isDeferred = true;
  return true;
}

const isBare = (segment: wire.Segment): boolean => segment.length === 0 && (segment.flags & FIN) === 0;

/** RFC 9293 §3.10.7.4 fifth, SYN-RECEIVED: the acknowledgement of our SYN-ACK. */
function completeHandshake(c: Connection, segment: wire.Segment, packet: Packet): boolean {
  const ack = segment.ack as Seq;
  if (seqLe(ack, c.iss) || seqGt(ack, c.sndMax)) {
    c.context.stats.drop('tcp-bad-ack');
    answerStray(c, packet, segment);
    return false;
  }
  if (c.listener !== null && !isEarly(c) && ((isBare(segment) && defersAccept(c)) || !c.listener.admit(c)))
    return false;
  c.transition('receive-syn-ack');
  rttOfHandshake(c, segment.hasTimestamps, segment.tsEcr);
  c.sndUna = seqAdd(c.iss, 1);
  if (seqLt(c.sndNxt, c.sndUna)) c.sndNxt = c.sndUna;
  c.sndWnd = segment.wnd << c.sndShift;
  c.sndWndMax = c.settings.linux ? c.sndWnd : Math.max(c.sndWndMax, c.sndWnd);
  established(c);
  if (c.ecn !== null && !c.ecn.isAceOfHandshake) synAckAcked(c, c.ecn, segment);
  if (c.earlyBytes > 0) takeEarlyText(c);
  c.tcp.ready(c);
  return true;
}

/** Our FIN is acknowledged. Returns false where the connection is gone. */
function finIsAcknowledged(c: Connection): boolean {
  if (c.state === LAST_ACK) {
    c.tcp.remove(c, null);
    return false;
  }
  c.transition('receive-ack-of-fin');
  if (c.state === TIME_WAIT) {
    c.tcp.enterTimeWait(c);
    return false;
  }
  if (c.socket === null) c.tcp.startLinger(c);
  else c.socket.report(SENT);
  return true;
}

/** RFC 9293 §3.10.7.4 seventh and eighth: the text and the FIN. */
function arriveText(c: Connection, segment: wire.Segment, packet: Packet): void {
  if (!mayReceiveIn(c.state)) {
    // "This should not occur since a FIN has been received from the remote side. Ignore the segment text."
    c.ackNow = true;
    return;
  }
  if (c.rcvClosed && seqGt(seqAdd(segment.seq as Seq, segment.length), c.rcvNxt)) {
    // RFC 2525 §2.17, RFC 9293 §3.6.1: bytes that nobody will read are answered with a RST.
    if (c.settings.linux) answerStray(c, packet, segment);
    else emitReset(c);
    c.tcp.remove(c, 'ECONNABORTED');
    return;
  }
  const before = c.rcvNxt;
  const finInOrder = receiveText(c, segment);
  const arrived = seqDiff(c.rcvNxt, before);
  c.bytesReceived += arrived;
  const { nowMs } = c.context;
  const sinceMs = nowMs - c.lastDataInAt;
  c.lastDataInAt = nowMs;
  if (arrived > 0) {
    if (c.acks === null) scheduleAck(c, arrived, segment.gsoSize);
    else if (segment.length > 0) dataArrived(c, segment, sinceMs);
    if (seqGe(c.rcvNxt, c.rcvRoundEnd)) rcvRoundDone(c, segment.hasTimestamps, segment.tsEcr);
  }
  if (c.acks !== null) decideAck(c);
  if (finInOrder) arriveFin(c);
}

/** The peer's FIN is in order: everything before it has arrived. */
function arriveFin(c: Connection): void {
  const wasWaiting = c.state === FIN_WAIT_1 || c.state === FIN_WAIT_2;
  c.peerEnded = true;
  c.transition('receive-fin');
  c.socket?.report(READABLE | (wasWaiting ? CLOSED_EVENT : 0));
  // BSD sends its FIN again when the peer's has crossed it: SND.NXT is back at it.
  if (c.settings.bsd && c.state === CLOSING) emitSegment(c, seqAdd(c.sndNxt, -1), 0, ACK | FIN);
  if (c.state === TIME_WAIT) c.tcp.enterTimeWait(c);
}
