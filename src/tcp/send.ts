/**
 * The sending half: what may leave now. RFC 9293 §3.8.6.2.1 (SWS avoidance), §3.7.4 (Nagle), §3.8.6.1 (zero windows);
 * RFC 5681 §3.1. @module
 */
import * as wire from '../wire/tcp.ts';
import { sendBursts } from './burst.ts';
import { type Connection, CWR, RECOVERY, UNSET } from './connection.ts';
import { emitSegment, emitSyn } from './emit.ts';
import { isEarly } from './fast-open.ts';
import { CHRONO_BUFFER, CHRONO_BUSY, CHRONO_WINDOW, setChrono } from './info.ts';
import { lossesOf } from './losses.ts';
import { probePath } from './mtu-probe.ts';
import { isPaced, paceAfter } from './pacing.ts';
import { armProbe } from './rack.ts';
import { validateWindow } from './recovery.ts';
import { retransmitLost, sendProbe } from './retransmit.ts';
import { backedOffRto, startTiming } from './rtt.ts';
import {
  APP_LIMITED,
  DELIVERED,
  DELIVERED_US,
  END,
  FIRST_US,
  FLAGS,
  IN_FLIGHT,
  LOST_BEFORE,
  SENT_US,
} from './scoreboard.ts';
import { leavesAlone, sendAlone } from './send-alone.ts';
import { type Seq, seqAdd, seqDiff, seqGt } from './seq.ts';
import {
  CLOSED,
  CLOSING,
  FIN_WAIT_1,
  isSynchronized,
  LAST_ACK,
  maySendIn,
  SYN_RECEIVED,
  SYN_SENT,
  TIME_WAIT,
} from './state.ts';
import { isSendingUrgent, tellUrgent } from './urgent.ts';

/** Payload of a super-segment, with headers below the 64 KiB that an IP packet can be. */
const SUPER_BYTES = 65_535 - 120;
/** RFC 9293 §3.8.6.2.1 (4): how long a small window may hold data back, 0.1 to 1 s. */
const OVERRIDE_MS = 200;
/** What one connection sends before the next one has its turn. */
const TURN_BYTES = 64 * 1024;
const TURN_BYTES_OFFLOAD = 4 * 64 * 1024;
/** Payload that records of one turn may share. */
const RECORD_BYTES_MAX = 1 << 20;

/** Starts the retransmission timer unless it runs: RFC 6298 (5.1). */
export function startRetransmitTimer(c: Connection): void {
  if (c.retransmitAt !== UNSET) return;
  restartRetransmitTimer(c);
}

/**
 * What is under way always has a deadline. A timeout clears them all, counting on the retransmission to set the next; where an
 * acknowledgement in the same poll takes the timeout back, there is none.
 */
export function keepTimer(c: Connection): void {
  if (c.sent !== null && c.retransmitAt === UNSET && c.probeAt === UNSET) restartRetransmitTimer(c);
}

/** RFC 6298 (5.3). */
export function restartRetransmitTimer(c: Connection): void {
  c.retransmitAt = c.context.nowMs + backedOffRto(c);
  c.context.timers.atMost(c, c.retransmitAt);
}

/** What {@link output} stopped for: nothing more to send, its turn was over, or the device has no room. */
export const IDLE = 0;
export const MORE = 1;
export const BLOCKED = 2;
/** Within this module: everything queued has left, which says more than IDLE. */
const STARVED = 3;

/** Sends what may be sent: SYN, what was lost, data, FIN, an acknowledgement that is due. Says why it stopped. */
export function output(c: Connection): number {
  if (!c.tcp.ip.isCurrent(c.path) && !c.tcp.refreshPath(c)) {
    // No way there now. The timer tries again, and gives up as it would for a peer that does not answer.
    if (c.sndUna !== c.sndMax || c.sndNxt === c.iss || c.txEnd !== c.sndNxt) startRetransmitTimer(c);
    return IDLE;
  }
  if (c.path.iface.device.room() <= 0) return BLOCKED;
  if (!isSynchronized(c.state)) return outputHandshake(c);
  let stopped = IDLE;
  if (c.lostBytes > c.retransBytes && !c.losses.sendsNew) stopped = retransmitLost(c);
  if (stopped === IDLE && c.state !== TIME_WAIT && (c.tx !== null || c.finQueued)) stopped = sendData(c);
  if (c.probeDue) sendProbe(c);
  if (c.urgent !== null) tellUrgent(c);
  if (c.ackNow && c.path.iface.device.room() > 0) emitSegment(c, c.sndNxt, 0, wire.ACK);
  keepTimer(c);
  return stopped;
}

function outputHandshake(c: Connection): number {
  if (c.sndNxt !== c.iss) {
    const stopped = isEarly(c) ? outputEarly(c) : IDLE;
    if (c.ackNow) emitSegment(c, c.sndNxt, 0, wire.ACK);
    return stopped;
  }
  if (c.state !== SYN_SENT && c.state !== SYN_RECEIVED) return IDLE;
  if (!emitSyn(c, c.state === SYN_SENT ? wire.SYN : wire.SYN | wire.ACK)) {
    startRetransmitTimer(c);
    return IDLE;
  }
  const isFirst = c.sndMax === c.iss;
  // The text of a SYN goes once: what is sent again is the SYN alone (RFC 7413 §4.2.1).
  const text = isFirst && c.fastOpen !== null ? c.fastOpen.synBytes : 0;
  c.sndNxt = seqAdd(c.iss, 1 + text);
  if (isFirst) {
    startTiming(c);
    c.sndMax = c.sndNxt;
    if (isEarly(c)) c.sndUna = c.sndNxt; // the SYN-ACK has a timer, and no part in what is under way
  }
  startRetransmitTimer(c);
  return IDLE;
}

/** RFC 7413 §4.2.1: "the server MAY send data" before the handshake is done. */
function outputEarly(c: Connection): number {
  const stopped = c.lostBytes > c.retransBytes ? retransmitLost(c) : IDLE;
  return stopped === IDLE && (c.tx !== null || c.finQueued) ? sendData(c) : stopped;
}

/** Sends the SYN or SYN-ACK again. */
export function repeatSyn(c: Connection): void {
  // One that memory had no frame for was never sent.
  if (!isEarly(c) || c.sndMax === c.iss) {
    c.sndNxt = c.iss;
    c.tcp.ready(c);
    return;
  }
  emitSyn(c, wire.SYN | wire.ACK);
  startRetransmitTimer(c);
}

/**
 * The most payload of one segment on this path: the MSS, or that of a super-segment. In urgent mode each segment has a pointer
 * of its own, and no device counts those down.
 */
export const segmentBytes = (c: Connection): number =>
  c.path.iface.offload && (c.urgent === null || !isSendingUrgent(c))
    ? Math.max(1, Math.floor(SUPER_BYTES / c.mss)) * c.mss
    : c.mss;

/** Bytes of a turn. */
export const turnBytes = (c: Connection): number => (c.path.iface.offload ? TURN_BYTES_OFFLOAD : TURN_BYTES);

/** Sends data and the FIN as far as both windows, Nagle and the turn allow. */
function sendData(c: Connection): number {
  const begin = c.sndNxt;
  const queued = seqDiff(c.txEnd, begin);
  if (leavesAlone(c, queued) && isSynchronized(c.state)) {
    sendAlone(c, queued);
    return IDLE;
  }
  if (c.mtuProbe !== null && probePath(c, c.mtuProbe)) return IDLE;
  const before = c.sndNxt;
  const { linux } = c.settings;
  const stopped = linux ? sendBursts(c) : sendNew(c);
  if (c.sndNxt !== begin) {
    if (!linux && c.sndNxt !== before) noteSent(c, before);
    validateWindow(c);
    if (!isSynchronized(c.state) || !armProbe(c)) startRetransmitTimer(c);
  }
  return stopped === STARVED ? noteAppLimited(c) : stopped;
}

function sendNew(c: Connection): number {
  const { device } = c.path.iface;
  const fullLength = segmentBytes(c);
  const { mss, sndWnd } = c;
  let budget = turnBytes(c);
  let queued = seqDiff(c.txEnd, c.sndNxt); // negative once our FIN is out
  let flight = seqDiff(c.sndNxt, c.sndUna);
  let room = c.cwnd - c.inFlight();
  for (;;) {
    const wantsFin = finIsDue(c) && queued >= 0;
    if (queued <= 0 && !wantsFin) {
      setChrono(c, c.wantsRoom ? CHRONO_BUFFER : CHRONO_BUSY);
      return STARVED;
    }
    let length = Math.min(queued, sndWnd - flight, usableRoom(c, room), fullLength);
    if (length < 0) length = 0;
    // Only full segments in a super-segment, but for the last of what is queued.
    if (length > mss && length < queued) length -= length % mss;
    // The FIN occupies one number of the window, but is not held back by congestion.
    const fin = wantsFin && length === queued && flight + length < sndWnd;
    if (!fin && (length === 0 || (length < mss && !worthSending(c, length, queued, flight)))) {
      setChrono(c, sndWnd - flight < mss ? CHRONO_WINDOW : CHRONO_BUSY);
      if (flight === 0) startPersistTimer(c);
      return IDLE;
    }
    if (c.pacingRate > 0 && isPaced(c)) return IDLE;
    if (device.room() <= 0) return BLOCKED;
    if (budget <= 0) return MORE;
    if (flight === 0 && c.sent === null) {
      startFlight(c);
      room = c.cwnd - c.inFlight();
    }
    if (!emitNew(c, length, fin) || fin) return IDLE;
    budget -= length;
    queued -= length;
    flight += length;
    room -= length;
  }
}

/**
 * What the congestion window leaves. It grows by fractions of a segment, and whole ones leave: rounded down, half a segment
 * of it would lie idle on average, which a window of eight feels. So half of one counts as one, but not in a reduction.
 */
const usableRoom = (c: Connection, room: number): number =>
  room < c.mss && room >= c.mss >> 1 && c.recovery < CWR ? c.mss : room;

/**
 * Sends `length` new bytes, and the FIN behind them; {@link noteSent} must follow. False when memory has no frame: the
 * timer tries again.
 */
export function emitNew(c: Connection, length: number, fin: boolean, pushes = false): boolean {
  const push = pushes || (length > 0 && length === seqDiff(c.txEnd, c.sndNxt)) ? wire.PSH : 0;
  if (!emitSegment(c, c.sndNxt, length, wire.ACK | push | (fin ? wire.FIN : 0))) {
    startRetransmitTimer(c);
    return false;
  }
  c.sndNxt = c.sndMax = seqAdd(c.sndNxt, length + (fin ? 1 : 0));
  if (c.pacingRate > 0) paceAfter(c, length);
  return true;
}

/** There is nothing to send although the window would let it: samples of the rate say little until this is delivered. */
export function noteAppLimited(c: Connection): number {
  const room = c.cwnd - c.inFlight();
  if (room > 0 && c.lostBytes <= c.retransBytes) {
    c.isAppLimited = true;
    c.appLimitedEnd = (c.delivered + c.inFlight()) | 0;
  }
  return IDLE;
}

/** The first data after a lull. RFC 5681 §4.1: after an RTO of idleness the window is a guess again. */
export function startFlight(c: Connection): void {
  c.firstSentUs = c.deliveredUs = c.context.nowUs;
  const idleMs = c.context.nowMs - c.lastDataAt;
  if (c.lastDataAt === 0 || idleMs === 0) return;
  if (c.settings.slowStartAfterIdle || c.congestion.ownsWindow || c.settings.linux) c.congestion.restart?.(c, idleMs);
}

/** What lies between `from` and SND.NXT was just sent for the first time: once for all segments of a turn. */
export function noteSent(c: Connection, from: Seq): void {
  const { nowUs, nowMs } = c.context;
  const occupied = seqDiff(c.sndNxt, from);
  const length = c.finQueued && seqGt(c.sndNxt, c.txEnd) ? occupied - 1 : occupied;
  record(c, from, occupied, nowUs);
  c.bytesSent += length;
  c.lastDataAt = nowMs;
  c.persistAt = UNSET;
  c.overrideSws = false;
  if (c.recovery === CWR || c.recovery === RECOVERY) lossesOf(c).prrOut += length;
}

/** Writes down what was sent, in the last record where it is of one piece with it. */
function record(c: Connection, from: Seq, occupied: number, nowUs: number): void {
  const board = c.board();
  const { words } = board;
  if (board.count > 0 && !c.beginsBurst) {
    const last = board.at(board.count - 1);
    const length = seqDiff(from, board.start(board.count - 1));
    if (
      words[last + SENT_US] === nowUs &&
      words[last + FLAGS] === (c.isAppLimited ? APP_LIMITED : 0) &&
      length % c.mss === 0 &&
      length < RECORD_BYTES_MAX &&
      words[last + DELIVERED] === (c.delivered | 0)
    ) {
      words[last + END] = c.sndNxt;
      words[last + IN_FLIGHT] = words[last + IN_FLIGHT]! + occupied;
      return;
    }
  }
  c.beginsBurst = false;
  const at = board.push();
  fill(c, board.words, at, nowUs);
  board.words[at + END] = c.sndNxt;
  board.words[at + FLAGS] = c.isAppLimited ? APP_LIMITED : 0;
}

/** Fills in what every transmission, first or again, remembers of the connection at that moment. */
export function fill(c: Connection, words: Int32Array, at: number, nowUs: number): void {
  words[at + SENT_US] = nowUs;
  words[at + DELIVERED] = c.delivered | 0;
  words[at + DELIVERED_US] = c.deliveredUs;
  words[at + FIRST_US] = c.firstSentUs;
  words[at + LOST_BEFORE] = c.lostBytesTotal | 0;
  words[at + IN_FLIGHT] = c.inFlight();
}

/** RFC 9293 §3.8.6.2.1: the sender's SWS avoidance, with the Nagle algorithm in its clause (2); for less than a segment. */
function worthSending(c: Connection, length: number, queued: number, flight: number): boolean {
  if (c.overrideSws) return true;
  // TCP_CORK: what is not full waits, but for the end and for urgent data; and so it is with the Nagle algorithm.
  const goes = c.finQueued || (c.urgent !== null && isSendingUrgent(c));
  if (c.settings.cork && !goes) return false;
  if (length === queued) return flight === 0 || c.settings.noDelay || goes;
  // What the congestion window leaves of a segment waits for the rest: the next acknowledgement brings it.
  return length >= c.sndWndMax >> 1 && c.sndWnd - flight < c.mss;
}

/**
 * Nothing is under way and the window is too small: RFC 9293 §3.8.6.1: probes keep the connection from deadlock, in
 * intervals that grow as those of retransmissions do.
 */
export function startPersistTimer(c: Connection): void {
  if (c.persistAt !== UNSET) return;
  const isShort = c.sndWnd > 0 && !c.settings.linux;
  c.persistAt = c.context.nowMs + (isShort ? OVERRIDE_MS : backedOffRto(c));
  c.context.timers.atMost(c, c.persistAt);
}

/** The user queued bytes or a FIN. */
export const canQueue = (c: Connection): boolean =>
  !c.finQueued && (maySendIn(c.state) || c.state === SYN_SENT || c.state === SYN_RECEIVED);

/** Whether a FIN follows what is queued now. */
export const finIsDue = (c: Connection): boolean => c.finQueued && (c.fastOpen === null || !c.fastOpen.holdsFin);

/** Whether our FIN has been acknowledged: everything up to it and itself. */
export const finAcknowledged = (c: Connection): boolean =>
  c.finQueued && (c.state === FIN_WAIT_1 || c.state === CLOSING || c.state === LAST_ACK) && seqGt(c.sndUna, c.txEnd);

/** Bytes of the send buffer that are free. */
export function sendRoom(c: Connection): number {
  if (c.state === CLOSED || !canQueue(c)) return 0;
  return c.txBytes - (c.tx === null ? 0 : c.tx.length);
}
