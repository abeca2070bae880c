/**
 * When an acknowledgement is due, as Linux decides it (inet_connection_sock's icsk_ack): quick ones while the peer is in slow
 * start, a delay that follows the pace of the segments, none at once where both sides talk in turn. The setting `linux` asks
 * for it; receive.ts has the plain rule of RFC 9293 §3.8.6.3. @module
 */
import * as wire from '../wire/tcp.ts';
import { type Connection, UNSET } from './connection.ts';
import { newWindow } from './receive.ts';
import { seqDiff } from './seq.ts';
import { CLOSE_WAIT, ESTABLISHED, SYN_RECEIVED } from './state.ts';

/** TCP_MAX_QUICKACKS. */
const QUICK_MAX = 16;
/** TCP_ATO_MIN, TCP_DELACK_MIN: the delay to begin with. */
const ATO_MIN_MS = 40;
/** TCP_DELACK_MAX. */
const DELAY_MAX_MS = 200;
/** Of a peer that sends now and then, and does not push. */
const DELAY_UNPUSHED_MAX_MS = 500;
/** TCP_MSS_DEFAULT, TCP_MIN_MSS: what a segment has at least that is a full one of a small path. */
const MSS_USUAL = 536;
const MSS_LEAST = 88;
/** SACKs sent at once for one hole; what comes then is told together: tcp_comp_sack_delay_ns, a twentieth of the round trip. */
const DUPLICATES_AT_ONCE = 3;
const COMPRESS_PART = 20;

/** How quickly segments are acknowledged, and how late at most. */
export class AckState {
  /** The delay, ms; 0: no data yet. */
  atoMs = 0;
  /** Both sides talk: an acknowledgement will ride on the answer. */
  isPingPong = false;
  /** Small or pushed segments since the last acknowledgement: 2 at most. */
  pushes = 0;
  /** Something has arrived that is not acknowledged. */
  isScheduled = false;
  lastSize = 0;
  /** SACKs sent at once since RCV.NXT last moved. */
  duplicates = 0;
  duplicatesNxt = 0;
  /** The timer that runs is that of SACKs told together. */
  isCompressing = false;
}

const stateOf = (c: Connection): AckState => c.acks!;

/** Sixteen quick acknowledgements, or what half of the window takes. */
function addQuick(c: Connection): void {
  const window = Math.max(0, seqDiff(c.rcvAdv, c.lastAckSent));
  const most = Math.min(Math.floor(window / (2 * c.rcvMss)) || 2, QUICK_MAX);
  c.quickAcks = Math.max(c.quickAcks, most);
}

/** Something came twice, or out of the window: the peer is to hear of it soon. */
export function enterQuickAck(c: Connection): void {
  const s = stateOf(c);
  addQuick(c);
  s.isPingPong = false;
  s.atoMs = ATO_MIN_MS;
  s.isScheduled = true;
}

/** TCP_QUICKACK: 0 has acknowledgements wait for data of ours; else they do not, for a while, and what waits leaves if `value` is odd. */
export function setQuickAck(c: Connection, value: number): void {
  const s = stateOf(c);
  s.isPingPong = value === 0;
  if (value === 0 || !s.isScheduled || (c.state !== ESTABLISHED && c.state !== CLOSE_WAIT)) return;
  s.pushes = Math.max(s.pushes, 1);
  if (readAcks(c)) {
    c.ackNow = true;
    c.tcp.ready(c);
  }
  if ((value & 1) === 0) s.isPingPong = true;
}

const isQuick = (c: Connection, s: AckState): boolean => c.quickAcks > 0 && !s.isPingPong;

/** What a packet of so much payload costs Linux: its headroom, headers and bookkeeping, in a power of two, and its descriptor. */
const costOf = (size: number): number => 2 ** Math.ceil(Math.log2(size + 104 + 320)) + 256;

/**
 * Linux offers as much of its buffer as payload is of the cost of packets (tcp_measure_rcv_mss, scaling_ratio): half until it
 * knows. What is more than was offered at first is offered later, as the window grows.
 */
function fitBuffer(c: Connection, size: number): void {
  const share = Math.floor((size * 256) / costOf(size)) / 256;
  c.rxBytes = Math.min(c.rxBytes, Math.floor(2 * c.settings.receiveBufferBytes * share));
}

/** What the segments' sizes say: rcv_mss, and whether the peer waits for an answer. */
function measureMss(c: Connection, s: AckState, segment: wire.Segment, size: number): void {
  const isPushed = (segment.flags & wire.PSH) !== 0;
  if (size >= c.rcvMss) {
    c.rcvMss = Math.min(size, c.advertisedMss - (c.useTimestamps ? wire.TIMESTAMPS_LENGTH : 0));
    fitBuffer(c, size);
    if (isPushed) s.pushes = Math.max(s.pushes, 1);
    return;
  }
  const options = segment.hasTimestamps ? wire.TIMESTAMPS_LENGTH : 0;
  const isFull =
    size + options >= MSS_USUAL || (size + options >= MSS_LEAST && !isPushed && (segment.flags & wire.FIN) === 0);
  if (isFull) {
    const last = s.lastSize;
    s.lastSize = size;
    if (size === last) {
      c.rcvMss = size;
      return;
    }
  }
  s.pushes = Math.min(s.pushes + 1, 2);
}

/** Text has arrived in order. `sinceMs`: since text last came. */
export function dataArrived(c: Connection, segment: wire.Segment, sinceMs: number): void {
  const s = stateOf(c);
  s.isScheduled = true;
  measureMss(c, s, segment, segment.gsoSize > 0 ? segment.gsoSize : segment.length);
  if (s.atoMs === 0) {
    addQuick(c);
    s.atoMs = ATO_MIN_MS;
  } else if (sinceMs <= ATO_MIN_MS / 2) {
    s.atoMs = s.atoMs / 2 + ATO_MIN_MS / 2;
  } else if (sinceMs < s.atoMs) {
    s.atoMs = Math.min(s.atoMs / 2 + sinceMs, c.rtoMs);
  } else if (sinceMs > c.rtoMs) {
    addQuick(c); // the peer has probably begun anew
  }
}

/** The peer's FIN came in order, before the state moves: where nothing of ours is closed, its acknowledgement may wait. */
export function finArrived(c: Connection): void {
  const s = stateOf(c);
  s.isScheduled = true;
  if (c.state === ESTABLISHED || c.state === SYN_RECEIVED) s.isPingPong = true;
  else c.ackNow = true;
}

/** The segment is taken in: an acknowledgement now, or when. */
export function decideAck(c: Connection): void {
  const s = stateOf(c);
  if (c.ackNow || !s.isScheduled) return;
  const unit = 1 << c.rcvShift;
  const isMuch = seqDiff(c.rcvNxt, c.lastAckSent) > c.rcvMss && newWindow(c) + unit > seqDiff(c.rcvAdv, c.lastAckSent);
  if (isMuch || isQuick(c, s)) c.ackNow = true;
  else if (c.reassembly === null) delayAck(c, s);
  else c.ackNow = !compressesSack(c, s);
}

function delayAck(c: Connection, s: AckState): void {
  let ms = s.atoMs;
  if (ms > ATO_MIN_MS) {
    let most = s.isPingPong || s.pushes > 0 ? DELAY_MAX_MS : DELAY_UNPUSHED_MAX_MS;
    if (c.srttUs > 0) most = Math.min(most, Math.max(Math.floor(c.srttUs / 1000), ATO_MIN_MS));
    ms = Math.min(ms, most);
  }
  ms = Math.min(ms, DELAY_MAX_MS, Math.max(c.settings.rtoMinMs, 2) - 1);
  const { nowMs } = c.context;
  if (ms === 0 || (c.ackAt !== UNSET && c.ackAt <= nowMs + ms / 4)) {
    c.ackNow = true;
    return;
  }
  if (c.ackAt !== UNSET && c.ackAt <= nowMs + ms) return;
  c.ackAt = nowMs + ms;
  c.context.timers.atMost(c, c.ackAt);
}

/** The delay is over: it was too short, or the answer did not come. */
export function delayMissed(c: Connection): void {
  const s = stateOf(c);
  if (!s.isScheduled || s.isCompressing) return;
  if (s.isPingPong) {
    s.isPingPong = false;
    s.atoMs = ATO_MIN_MS;
  } else {
    s.atoMs = Math.min(s.atoMs * 2, c.rtoMs);
  }
}

/** A segment of ours acknowledges everything. */
export function ackSent(c: Connection): void {
  const s = stateOf(c);
  if (c.quickAcks > 0 && s.isScheduled && --c.quickAcks === 0) s.atoMs = ATO_MIN_MS;
  s.isScheduled = s.isCompressing = false;
  s.pushes = 0;
}

/** Data of ours leaves: a reply, if it is within the delay of what came last. */
export function dataSent(c: Connection): void {
  const s = stateOf(c);
  if (c.lastDataInAt > 0 && c.context.nowMs - c.lastDataInAt < s.atoMs) s.isPingPong = true;
}

/** The reader took bytes: whether that calls for the acknowledgement that waits. */
export function readAcks(c: Connection): boolean {
  const s = stateOf(c);
  if (!s.isScheduled) return false;
  if (seqDiff(c.rcvNxt, c.lastAckSent) > c.rcvMss) return true;
  return c.readable === 0 && (s.pushes === 2 || (s.pushes === 1 && !s.isPingPong));
}

/** There are holes: whether the SACK leaves at once, or is told with others within a ms (tcp_comp_sack). */
function compressesSack(c: Connection, s: AckState): boolean {
  if (!c.useSack) return false;
  if (s.duplicatesNxt !== c.rcvNxt) {
    s.duplicatesNxt = c.rcvNxt;
    s.duplicates = 0;
  }
  if (s.duplicates < DUPLICATES_AT_ONCE) {
    s.duplicates++;
    return false;
  }
  const rttUs = c.rcvRttUs > 0 && c.srttUs > c.rcvRttUs ? c.rcvRttUs : c.srttUs;
  const ms = Math.min(rttUs / COMPRESS_PART / 1000, c.settings.sackDelayMs);
  if (ms <= 0) return false;
  if (c.ackAt === UNSET || c.ackAt > c.context.nowMs + ms) {
    s.isCompressing = true;
    c.ackAt = c.context.nowMs + ms;
    c.context.timers.atMost(c, c.ackAt);
  }
  return true;
}
