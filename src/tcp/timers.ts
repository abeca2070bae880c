/** The timers of a connection: each a deadline, all served by one place in the heap. @module */
import * as wire from '../wire/tcp.ts';
import { type Connection, UNSET } from './connection.ts';
import { emitReset, emitSegment } from './emit.ts';
import { WRITABLE } from './events.ts';
import { isEarly } from './fast-open.ts';
import { suspectBlackHole } from './mtu-probe.ts';
import { onPace } from './pacing.ts';
import { delayMissed } from './quick-ack.ts';
import { countTimeout, endTimeouts, onReorderingTimer, retransmissionTimeout } from './recovery.ts';
import { backedOffRto } from './rtt.ts';
import { repeatSyn, restartRetransmitTimer, startRetransmitTimer } from './send.ts';
import { seqAdd, seqDiff } from './seq.ts';
import type { TcpSettings } from './settings.ts';
import { CLOSED, isSynchronized, SYN_RECEIVED, SYN_SENT, TIME_WAIT } from './state.ts';
import { traceTimer } from './trace.ts';
import { urgentFits } from './urgent.ts';
import { onHandshakeLimit, watchUser } from './user-timeout.ts';

/** RFC 6298 (5.7): when the SYN had to be sent again, data starts with this timeout. */
const RTO_AFTER_SYN_LOSS_MS = 3000;

/** After so long a user for whom memory had no send buffer tries again. */
const ROOM_RETRY_MS = 20;

/** Two ticks of Linux's clock, of 250 a second, and what it rounds up: as measured. */
const RETRY_MS = 16;

const isDue = (at: number, nowMs: number): boolean => at !== UNSET && at <= nowMs;

/** Fires the deadlines that have passed and puts the connection back for the next one. */
export function expireConnection(c: Connection, now: number): void {
  const { nowMs } = c.context;
  if (c.trace !== null) traceDue(c, now);
  if (isDue(c.ackAt, nowMs)) {
    c.ackAt = UNSET;
    if (c.acks !== null) delayMissed(c);
    c.ackNow = true;
    c.tcp.ready(c);
  }
  if (isDue(c.paceAt, now)) onPace(c);
  if (isDue(c.reorderAt, now)) onReorderingTimer(c);
  if (isDue(c.probeAt, now)) onProbe(c);
  if (isDue(c.retransmitAt, nowMs)) onRetransmit(c);
  if (isDue(c.persistAt, nowMs)) onPersist(c);
  if (isDue(c.keepAliveAt, nowMs)) onKeepAlive(c, nowMs);
  if (isDue(c.lingerAt, nowMs)) c.tcp.remove(c, null); // FIN-WAIT-2, and nobody there: without a word
  if (isDue(c.roomAt, nowMs)) onRoom(c);
  if (isDue(c.handshakeAt, nowMs)) onHandshakeLimit(c);
  if (c.settings.userTimeoutMs > 0) watchUser(c, nowMs);
  arm(c);
}

/** Tells who looks on which deadlines have passed. */
function traceDue(c: Connection, now: number): void {
  if (isDue(c.ackAt, now)) traceTimer(c, 'delayed-ack');
  if (isDue(c.paceAt, now)) traceTimer(c, 'pace');
  if (isDue(c.reorderAt, now)) traceTimer(c, 'reordering');
  if (isDue(c.probeAt, now)) traceTimer(c, 'probe');
  if (isDue(c.retransmitAt, now)) traceTimer(c, 'retransmission');
  if (isDue(c.persistAt, now)) traceTimer(c, 'persist');
  if (isDue(c.keepAliveAt, now)) traceTimer(c, 'keep-alive');
  if (isDue(c.lingerAt, now)) traceTimer(c, 'fin-wait-2');
}

function arm(c: Connection): void {
  if (c.state === CLOSED) return;
  let next = c.ackAt;
  next = sooner(next, c.retransmitAt);
  next = sooner(next, c.probeAt);
  next = sooner(next, c.reorderAt);
  next = sooner(next, c.paceAt);
  next = sooner(next, c.persistAt);
  next = sooner(next, c.keepAliveAt);
  next = sooner(next, c.lingerAt);
  next = sooner(next, c.roomAt);
  next = sooner(next, c.handshakeAt);
  next = sooner(next, c.userAt);
  if (next !== UNSET) c.context.timers.atMost(c, next);
}

const sooner = (a: number, b: number): number => (a === UNSET || (b !== UNSET && b < a) ? b : a);

/** RFC 8985 §7.3: the probe leaves at the connection's turn; the retransmission timer watches from now on. */
function onProbe(c: Connection): void {
  c.probeAt = UNSET;
  if (c.sent === null) return;
  c.probeDue = !c.isTlpPending;
  restartRetransmitTimer(c);
  c.tcp.ready(c);
}

function onRetransmit(c: Connection): void {
  c.retransmitAt = UNSET;
  const { settings } = c;
  const limit =
    c.state === SYN_SENT
      ? settings.synRetriesMax + settings.synLinearTimeouts // as Linux counts them
      : c.state === SYN_RECEIVED
        ? settings.synAckRetriesMax + (settings.linux && isEarly(c) ? 1 : 0) // as Linux counts them
        : retriesMax(settings);
  // RFC 9293 §3.8.3 (c): R2 is reached.
  if (c.retransmits >= limit && !probesShrunkWindow(c)) {
    giveUp(c);
    return;
  }
  if (isSynchronized(c.state)) {
    suspectBlackHole(c);
    retransmissionTimeout(c);
    return;
  }
  c.rtoMs = Math.max(c.rtoMs, settings.rtoInitialMs);
  c.context.stats.tcpTimeouts++;
  countTimeout(c);
  c.retransmits++;
  if (c.state !== SYN_SENT || c.retransmits > settings.synLinearTimeouts) c.backoff++;
  c.isTiming = false; // Karn's algorithm
  if (c.isDeferred && c.retransmits < deferRetries(settings)) {
    startRetransmitTimer(c); // the peer has our SYN-ACK
    return;
  }
  repeatSyn(c);
}

/** Timeouts of the SYN-ACK that fit into the time a listener waits for text. */
export function deferRetries({ deferAcceptMs, rtoInitialMs, rtoMaxMs }: TcpSettings): number {
  let retries = 0;
  let timeoutMs = rtoInitialMs;
  for (let sumMs = 0; sumMs < deferAcceptMs; sumMs += timeoutMs, timeoutMs = Math.min(2 * timeoutMs, rtoMaxMs))
    retries++;
  return retries;
}

/** The peer has a connection of old, which our RST ends: Linux sends its SYN again after two ticks of its clock. */
export function retrySoon(c: Connection): void {
  c.retransmitAt = c.context.nowMs + RETRY_MS;
  c.context.timers.atMost(c, c.retransmitAt);
}

/**
 * RFC 9293 §3.8.6 SHLD-17, MUST-37: the window shrank to nothing below what was sent. What is sent again only probes it,
 * and the connection stays for as long as the peer answers. What Linux does.
 */
const probesShrunkWindow = (c: Connection): boolean =>
  c.sndWnd === 0 && isSynchronized(c.state) && c.context.nowMs - c.lastReceivedAt <= c.settings.rtoMaxMs;

/** RFC 9293 §3.8.3: R2; the user timeout takes its place where there is one. */
const retriesMax = ({ userTimeoutMs, retriesMax }: TcpSettings): number =>
  userTimeoutMs > 0 ? Number.POSITIVE_INFINITY : retriesMax;

/** RFC 9293 §3.8.3: the connection is closed; what was learned on the way, if anything, is the reason. */
export function giveUp(c: Connection): void {
  c.tcp.remove(c, c.softError ?? 'ETIMEDOUT');
}

/** RFC 6298 (5.7): called when the handshake completes. */
export function rtoAfterHandshake(c: Connection): void {
  if (c.retransmits > 0 && c.srttUs === 0) c.rtoMs = Math.max(c.rtoMs, RTO_AFTER_SYN_LOSS_MS);
  c.backoff = 0;
  c.retransmits = 0;
  endTimeouts(c);
}

/**
 * RFC 9293 §3.8.6.1: a window probe, one below SND.UNA and without data: any peer answers it with its window. That is
 * what Linux does; no byte is sent that the peer has no room for.
 */
function onPersist(c: Connection): void {
  c.persistAt = UNSET;
  const waiting = seqDiff(c.txEnd, c.sndNxt) > 0 || c.finQueued;
  if (!waiting || seqDiff(c.sndNxt, c.sndUna) > 0) return;
  if (c.sndWnd > 0) {
    c.overrideSws = true;
    c.tcp.ready(c);
    return;
  }
  // MUST-36: the connection stays for as long as the probes are answered: each answer clears `probes`.
  if (c.probes >= retriesMax(c.settings)) {
    giveUp(c);
    return;
  }
  c.probes++;
  if (c.backoff < c.settings.retriesMax) c.backoff++;
  // What stands below the window is answered, but its URG is not read; as Linux, one segment for each.
  if (urgentFits(c)) emitSegment(c, c.sndUna, 0, wire.ACK);
  emitSegment(c, seqAdd(c.sndUna, -1), 0, wire.ACK);
  c.persistAt = c.context.nowMs + backedOffRto(c);
}

/** RFC 9293 §3.8.4: sent only when no data was received for the interval (MUST-26); SEG.SEQ = SND.NXT-1. */
function onKeepAlive(c: Connection, nowMs: number): void {
  const { keepAliveMs, keepAliveIntervalMs, keepAliveProbesMax, userTimeoutMs } = c.settings;
  c.keepAliveAt = UNSET;
  if (keepAliveMs === 0) return;
  const idleUntil = c.lastReceivedAt + keepAliveMs;
  const busy = seqDiff(c.sndMax, c.sndUna) > 0; // then the retransmission timer watches
  if (idleUntil > nowMs || busy) {
    c.keepAliveProbes = 0;
    c.keepAliveAt = Math.max(idleUntil, nowMs + (busy ? keepAliveMs : 1));
    return;
  }
  // MUST-29: one unanswered probe is no proof of death. With a user timeout it decides, not the count: as on Linux.
  const isDead =
    userTimeoutMs > 0
      ? c.keepAliveProbes > 0 && nowMs - c.lastReceivedAt >= userTimeoutMs
      : c.keepAliveProbes >= keepAliveProbesMax;
  if (isDead) {
    emitReset(c);
    giveUp(c);
    return;
  }
  c.keepAliveProbes++;
  emitSegment(c, seqAdd(c.sndNxt, -1), 0, wire.ACK);
  c.keepAliveAt = nowMs + keepAliveIntervalMs;
}

/** The memory gave no send buffer: the user is told later, for no acknowledgement will free any of it. */
export function startRoomTimer(c: Connection): void {
  c.roomAt = c.context.nowMs + ROOM_RETRY_MS;
  c.context.timers.atMost(c, c.roomAt);
}

function onRoom(c: Connection): void {
  c.roomAt = UNSET;
  c.wantsRoom = false;
  c.socket?.report(WRITABLE);
}

/** The user turned keep-alive on or off, or changed its times, on a live connection. */
export function restartKeepAlive(c: Connection): void {
  const { keepAliveMs } = c.settings;
  c.keepAliveAt = UNSET;
  if (keepAliveMs === 0 || !isSynchronized(c.state) || c.state === TIME_WAIT) return;
  c.keepAliveAt = Math.max(c.lastReceivedAt + keepAliveMs, c.context.nowMs + 1);
  c.context.timers.atMost(c, c.keepAliveAt);
}

/** Starts the keep-alive timer where the user asked for one. */
export function startKeepAlive(c: Connection): void {
  c.lastReceivedAt = c.context.nowMs;
  if (c.settings.keepAliveMs === 0) return;
  c.keepAliveAt = c.context.nowMs + c.settings.keepAliveMs;
  c.context.timers.atMost(c, c.keepAliveAt);
}
