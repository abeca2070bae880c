/**
 * The sending half: what may leave now. RFC 9293 §3.8.6.2.1 (SWS avoidance), §3.7.4 (Nagle), §3.8.6.1 (zero windows);
 * RFC 5681 §3.1. @module
 */
import * as wire from '../wire/tcp.ts';
import { type Connection, LOSS, UNSET } from './connection.ts';
import { emitSegment, emitSyn } from './emit.ts';
import { backedOffRto, startTiming } from './rtt.ts';
import { seqAdd, seqDiff, seqGt, seqLt } from './seq.ts';
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

/** Payload of a super-segment, with headers below the 64 KiB that an IP packet can be. */
const SUPER_BYTES = 65_535 - 120;
/** RFC 9293 §3.8.6.2.1 (4): how long a small window may hold data back, 0.1 to 1 s. */
const OVERRIDE_MS = 200;
/** What one connection sends before the next one has its turn. */
const TURN_BYTES = 64 * 1024;
const TURN_BYTES_OFFLOAD = 4 * 64 * 1024;

/** Starts the retransmission timer unless it runs: RFC 6298 (5.1). */
export function startRetransmitTimer(c: Connection): void {
  if (c.retransmitAt !== UNSET) return;
  restartRetransmitTimer(c);
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

/** Sends what may be sent: SYN, data, FIN, an acknowledgement that is due. Says why it stopped. */
export function output(c: Connection): number {
  if (!c.tcp.ip.isCurrent(c.path) && !c.tcp.refreshPath(c)) {
    // No way there now. The timer tries again, and gives up as it would for a peer that does not answer.
    if (c.sndUna !== c.sndMax || c.sndNxt === c.iss || c.txEnd !== c.sndNxt) startRetransmitTimer(c);
    return IDLE;
  }
  if (c.path.iface.device.room() <= 0) return BLOCKED;
  if (!isSynchronized(c.state)) return outputHandshake(c);
  if (c.retransmitDue && !retransmitFirst(c)) return BLOCKED;
  const more = c.state !== TIME_WAIT && (c.tx !== null || c.finQueued) ? sendData(c) : IDLE;
  // At the highest number sent, not at SND.NXT, which a timeout takes back: an old one is not acceptable to the peer.
  if (c.ackNow && c.path.iface.device.room() > 0) emitSegment(c, c.sndMax, 0, wire.ACK);
  return more;
}

function outputHandshake(c: Connection): number {
  if (c.sndNxt !== c.iss) {
    if (c.ackNow) emitSegment(c, c.sndNxt, 0, wire.ACK);
    return IDLE;
  }
  if (c.state !== SYN_SENT && c.state !== SYN_RECEIVED) return IDLE;
  if (!emitSyn(c, c.state === SYN_SENT ? wire.SYN : wire.SYN | wire.ACK)) {
    startRetransmitTimer(c);
    return IDLE;
  }
  c.sndNxt = seqAdd(c.iss, 1);
  if (c.sndMax === c.iss) startTiming(c, c.sndNxt);
  c.sndMax = c.sndNxt;
  startRetransmitTimer(c);
  return IDLE;
}

/** Sends data and the FIN as far as both windows, Nagle and the turn allow. */
function sendData(c: Connection): number {
  const { device } = c.path.iface;
  const offload = c.path.iface.offload;
  let budget = offload ? TURN_BYTES_OFFLOAD : TURN_BYTES;
  const fullLength = offload ? Math.max(1, Math.floor(SUPER_BYTES / c.mss)) * c.mss : c.mss;
  for (;;) {
    const queued = seqDiff(c.txEnd, c.sndNxt); // negative once our FIN is out
    const flight = seqDiff(c.sndNxt, c.sndUna);
    const usable = Math.min(c.sndWnd, c.cwnd) - flight;
    const wantsFin = c.finQueued && queued >= 0;
    if (queued <= 0 && !wantsFin) return IDLE;
    let length = Math.min(queued, usable, fullLength);
    if (length < 0) length = 0;
    // Only full segments in a super-segment, but for the last of what is queued.
    if (length > c.mss && length < queued) length -= length % c.mss;
    // The FIN occupies one number of the window, but is not held back by congestion.
    const fin = wantsFin && length === queued && flight + length < c.sndWnd;
    if (!fin && (length === 0 || !worthSending(c, length, queued, flight))) {
      if (flight === 0) startPersistTimer(c);
      return IDLE;
    }
    if (device.room() <= 0) return BLOCKED;
    if (budget <= 0) return MORE;
    const flags = wire.ACK | (length === queued ? wire.PSH : 0) | (fin ? wire.FIN : 0);
    if (!emitSegment(c, c.sndNxt, length, length > 0 ? flags : flags & ~wire.PSH)) {
      startRetransmitTimer(c);
      return IDLE;
    }
    budget -= length;
    sent(c, length + (fin ? 1 : 0));
    if (fin) return IDLE;
  }
}

/** Sequence space `occupied` was just sent at SND.NXT. */
function sent(c: Connection, occupied: number): void {
  const end = seqAdd(c.sndNxt, occupied);
  if (seqLt(c.sndNxt, c.sndMax)) c.context.stats.tcpRetransmits++;
  else startTiming(c, end);
  c.sndNxt = end;
  if (seqGt(end, c.sndMax)) c.sndMax = end;
  c.persistAt = UNSET;
  c.overrideSws = false;
  startRetransmitTimer(c);
}

/** RFC 9293 §3.8.6.2.1: the sender's SWS avoidance, with the Nagle algorithm in its clause (2). */
function worthSending(c: Connection, length: number, queued: number, flight: number): boolean {
  if (length >= c.mss || c.overrideSws) return true;
  // What was sent before and lost is sent again as it comes.
  if (c.recovery === LOSS && seqLt(c.sndNxt, c.sndMax)) return true;
  if (length === queued) return flight === 0 || c.settings.noDelay || c.finQueued;
  return length >= c.sndWndMax >> 1;
}

/**
 * Nothing is under way and the window is too small: RFC 9293 §3.8.6.1: probes keep the connection from deadlock, in
 * intervals that grow as those of retransmissions do.
 */
function startPersistTimer(c: Connection): void {
  if (c.persistAt !== UNSET) return;
  c.persistAt = c.context.nowMs + (c.sndWnd > 0 ? OVERRIDE_MS : backedOffRto(c));
  c.context.timers.atMost(c, c.persistAt);
}

/** Has the oldest unacknowledged segment sent again, at the connection's turn. */
export function retransmitSoon(c: Connection): void {
  c.retransmitDue = true;
  c.tcp.ready(c);
}

/** Sends the oldest unacknowledged segment again, without moving SND.NXT. False when memory has no frame for it. */
function retransmitFirst(c: Connection): boolean {
  const queued = seqDiff(c.txEnd, c.sndUna);
  // Only what was sent before: the rest may be beyond the window.
  const length = Math.max(0, Math.min(queued, c.mss, seqDiff(c.sndMax, c.sndUna)));
  // The FIN goes with it if it was sent before.
  const fin = c.finQueued && length === queued && seqGt(c.sndMax, c.txEnd);
  c.retransmitDue = false;
  if (length === 0 && !fin) return true;
  c.isTiming = false; // Karn's algorithm: RFC 6298 §3
  c.context.stats.tcpRetransmits++;
  const isSent = emitSegment(c, c.sndUna, length, wire.ACK | (length > 0 ? wire.PSH : 0) | (fin ? wire.FIN : 0));
  c.retransmitDue = !isSent;
  return isSent;
}

/** The user queued bytes or a FIN. */
export const canQueue = (c: Connection): boolean =>
  !c.finQueued && (maySendIn(c.state) || c.state === SYN_SENT || c.state === SYN_RECEIVED);

/** Whether our FIN has been acknowledged: everything up to it and itself. */
export const finAcknowledged = (c: Connection): boolean =>
  c.finQueued && (c.state === FIN_WAIT_1 || c.state === CLOSING || c.state === LAST_ACK) && seqGt(c.sndUna, c.txEnd);

/** Bytes of the send buffer that are free. */
export function sendRoom(c: Connection): number {
  if (c.state === CLOSED || !canQueue(c)) return 0;
  return c.txBytes - (c.tx === null ? 0 : c.tx.length);
}
