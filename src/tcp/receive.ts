/**
 * The receiving half: which segments are acceptable, where their bytes go, what window is offered, when an
 * acknowledgement is due. RFC 9293 §3.4, §3.8.6, §3.10.7.4; RFC 5681 §4.2. @module
 */
import * as wire from '../wire/tcp.ts';
import { rightSize } from './autotune.ts';
import { type Connection, UNSET } from './connection.ts';
import { emitSegment } from './emit.ts';
import { READABLE } from './events.ts';
import { enterQuickAck, finArrived } from './quick-ack.ts';
import { Reassembly } from './reassembly.ts';
import { type Seq, seqAdd, seqDiff, seqGe, seqLe, seqLt, seqMax } from './seq.ts';
import { mayReceiveIn } from './state.ts';

/** Under pressure (less than a quarter of the memory free), a new window offers at most this part of what is free. */
const PRESSURE_SHIFT = 2;
const PRESSURE_PART_SHIFT = 6;
/** What the field holds, in units of the scale. */
const WINDOW_MAX = 0xffff;

/**
 * RFC 9293 §3.10.7.4, the four cases of the acceptability test: whether any part of the segment lies in the window.
 * `segLen` counts SYN and FIN. An empty segment may also stand at the right edge itself: that is where a peer stands
 * that has used up the window, and if a segment of it was lost, its acknowledgements must count nevertheless, or two
 * such peers wait for each other for ever. What Linux does.
 */
export function acceptable(segSeq: Seq, segLen: number, rcvNxt: Seq, rcvWnd: number): boolean {
  const offset = seqDiff(segSeq, rcvNxt);
  if (segLen === 0) return offset >= 0 && offset <= rcvWnd;
  if (rcvWnd === 0) return false;
  const last = offset + segLen - 1;
  return (offset >= 0 && offset < rcvWnd) || (last >= 0 && last < rcvWnd);
}

/** RCV.WND: what the peer may still send, by what we last offered. */
export const receiveWindow = (c: Connection): number => Math.max(0, seqDiff(c.rcvAdv, c.rcvNxt));

/** What {@link acceptable} goes by. */
export const acceptedWindow = (c: Connection): number =>
  c.settings.bsd && c.listener === null ? Math.max(receiveWindow(c), c.rxBytes - c.readable) : receiveWindow(c);

/** Bytes we could take now: room in the buffer, less when memory is short. */
function roomBytes(c: Connection): number {
  if (c.rcvClosed) return c.rxBytes; // bytes are answered with RST, not stored
  // The window is rounded up to what its scale can say; the buffer keeps as much back.
  const room = c.rxBytes - c.readable - ((1 << c.rcvShift) - 1);
  if (!isUnderPressure(c)) return room;
  const held = c.rx === null ? 0 : c.rx.heldBytes - c.rx.length;
  return Math.min(room, Math.max(held, c.context.memory.freeBytes >>> PRESSURE_PART_SHIFT));
}

const isUnderPressure = (c: Connection): boolean =>
  c.context.memory.freeBytes <= c.context.memory.bytes >>> PRESSURE_SHIFT;

/**
 * The right edge to offer: RFC 9293 §3.8.6.2.2 (SWS avoidance): it stays until it can move by a full segment or half
 * the buffer, and it never moves left (§3.8.6, SHLD-14).
 */
function newEdge(c: Connection): Seq {
  // RFC 7323 §2.2: RCV.WND is what was offered, and 16 bits with a scale offer no more.
  // Linux goes by what it would offer: segments beyond what the field can say are taken.
  const room = Math.min(roomBytes(c), c.settings.linux ? c.rxBytes : WINDOW_MAX << c.rcvShift);
  const edge = seqAdd(c.rcvNxt, room);
  // A window that is wide open anyway cannot become silly: there it follows the buffer. What Linux does; BSD goes by what
  // room is left alone.
  const isOpen =
    receiveWindow(c) >= Math.max(c.rxBytes >> 2, 2 * c.rcvMss) ||
    (c.settings.bsd && room >= Math.min(c.rxBytes >> 2, c.rcvMss));
  const step = isOpen ? 0 : Math.min(c.rxBytes >> 1, c.rcvMss);
  return seqDiff(edge, c.rcvAdv) >= step ? edge : c.rcvAdv;
}

/** What would be offered now. */
export const newWindow = (c: Connection): number => seqDiff(newEdge(c), c.rcvNxt);

/** Moves the right edge as far as it may and returns the window field of the segment about to be sent. */
export function offeredWindow(c: Connection): number {
  c.rcvAdv = newEdge(c);
  const { rcvShift } = c;
  // Rounded up, so that the edge never moves left: RFC 7323 §2.4. But each rounding moves it right, and while nobody reads
  // that is past the end of the buffer before long. There it is rounded down, and RCV.ADV stays the largest edge that was
  // offered: such segments are taken, as §2.4 (1) and (2) want.
  let scaled = Math.min((receiveWindow(c) + (1 << rcvShift) - 1) >>> rcvShift, WINDOW_MAX);
  if (scaled << rcvShift > c.rxBytes - c.readable && !c.settings.linux) scaled = receiveWindow(c) >>> rcvShift;
  c.rcvAdv = seqMax(c.rcvAdv, seqAdd(c.rcvNxt, scaled << c.rcvShift));
  return scaled;
}

/** After the user has read: whether the window opened far enough to be worth a segment of its own. */
export function windowUpdateDue(c: Connection): boolean {
  // The edge cannot lie beyond the buffer: most readers have moved it by too little, whatever the rest says.
  const most = c.rxBytes - receiveWindow(c);
  if (most < 2 * c.rcvMss && most < c.rxBytes >> 1) return false;
  const gain = seqDiff(newEdge(c), c.rcvAdv);
  if (gain < 2 * c.rcvMss) return gain >= c.rxBytes >> 1;
  // Two segments of gain are enough when the peer may be waiting; otherwise a quarter of the buffer.
  const capacity = c.rxBytes;
  return gain >= capacity >> 2 || receiveWindow(c) <= capacity >> 3;
}

/**
 * Takes the payload of an acceptable segment, and its FIN. RFC 9293 §3.10.7.4, seventh and eighth.
 * @returns whether the peer's FIN is now in order, and so all its bytes are
 */
export function receiveText(c: Connection, segment: wire.Segment): boolean {
  let start = segment.seq as Seq;
  let p = segment.payload;
  let length = segment.length;
  const duplicate = seqDiff(c.rcvNxt, start);
  const hasFin = (segment.flags & wire.FIN) !== 0;
  const end = seqAdd(start, length);
  if (duplicate > 0) {
    // RFC 9293 §3.10.7.4: trimmed so that it begins at RCV.NXT.
    const cut = Math.min(duplicate, length);
    if (cut > 0) reportDuplicate(c, start, seqAdd(start, cut));
    start = seqAdd(start, cut);
    p += cut;
    length -= cut;
    c.ackNow = true;
    if (c.acks !== null && length === 0) enterQuickAck(c);
  }
  const beyond = seqDiff(end, c.rcvAdv);
  const isLinux = c.settings.linux;
  if (beyond > 0 && !isLinux) length = Math.max(0, length - beyond);
  if (hasFin && (beyond <= 0 || isLinux)) {
    // A FIN behind a hole is remembered, so that it need not come twice.
    c.finSeen = true;
    c.finSeq = end;
  }
  if (length > 0) store(c, start, p, length);
  if (!c.finSeen || c.rcvNxt !== c.finSeq) {
    if (hasFin) c.ackNow = true;
    return false;
  }
  c.finSeen = false;
  c.rcvNxt = seqAdd(c.rcvNxt, 1);
  c.rcvAdv = seqGe(c.rcvAdv, c.rcvNxt) ? c.rcvAdv : c.rcvNxt;
  if (c.acks === null || !hasFin)
    c.ackNow = true; // it had come before what was missing
  else finArrived(c);
  return true;
}

/** RFC 2883 §4: the next acknowledgement says that `[start, end)` came twice. */
export function reportDuplicate(c: Connection, start: Seq, end: Seq): void {
  if (!c.settings.dsack || start === end) return;
  c.dsackStart = start;
  c.dsackEnd = end;
}

/** Whether bytes out of order may be stored: few gaps, and no buffer made for them while memory is short. */
function acceptsEarly(c: Connection, start: Seq, length: number, end: number): boolean {
  if (c.reassembly !== null && !c.reassembly.accepts(start, seqAdd(start, length))) return false;
  return end <= c.rx!.heldBytes || !isUnderPressure(c);
}

/** Stores payload that begins at `start`, at or after RCV.NXT, and inside the window. */
function store(c: Connection, start: Seq, p: number, length: number): void {
  const offset = seqDiff(start, c.rcvNxt);
  const rx = c.rx ?? c.rxRing();
  const end = rx.length + offset + length;
  const { reassembly } = c;
  if ((offset > 0 && !acceptsEarly(c, start, length, end)) || !rx.reserve(end)) {
    c.context.stats.drop('tcp-no-buffer');
    c.ackNow = true;
    return;
  }
  rx.store(rx.length + offset, p, length);
  if (offset > 0) {
    // RFC 5681 §4.2: out-of-order data is acknowledged at once, and so is what fills a gap.
    // One acknowledgement each: the peer counts them, and three make it send again.
    if (c.ackNow && c.path.iface.device.room() > 0) emitSegment(c, c.sndMax, 0, wire.ACK);
    c.reassembly ??= new Reassembly();
    c.reassembly.add(start, seqAdd(start, length));
    reportDuplicate(c, c.reassembly.duplicateStart, c.reassembly.duplicateEnd);
    c.rcvOutOfOrder++;
    if (c.acks === null) c.ackNow = true;
    else c.acks.isScheduled = true;
    return;
  }
  let next = seqAdd(start, length);
  if (reassembly !== null) {
    next = reassembly.advance(next);
    // RFC 2883 §4: of two, the one that comes first: what lies below the window.
    if (c.dsackStart === c.dsackEnd) reportDuplicate(c, reassembly.duplicateStart, reassembly.duplicateEnd);
    if (reassembly.count === 0) c.reassembly = null;
    c.ackNow = true;
  }
  rx.length += seqDiff(next, c.rcvNxt);
  c.rcvNxt = next;
  if (seqLt(c.rcvAdv, next)) c.rcvAdv = next;
  c.socket?.report(READABLE);
}

/**
 * In-order data has arrived: RFC 5681 §4.2, RFC 9293 §3.8.6.3 (MUST-40, SHLD-18): an acknowledgement for at least
 * every second full-sized segment, and within the delay for less.
 */
export function scheduleAck(c: Connection, length: number, gsoSize: number): void {
  const size = gsoSize > 0 ? gsoSize : length;
  if (size > c.rcvMss) c.rcvMss = Math.min(size, c.advertisedMss);
  c.unackedBytes += length;
  if (c.ackNow) return;
  if (c.quickAcks > 0) {
    // The peer is in slow start: each acknowledgement opens its window. What Linux does.
    c.quickAcks--;
    c.ackNow = true;
  } else if (c.unackedBytes >= 2 * c.rcvMss || c.settings.delayedAckMs === 0 || (c.settings.bsd && c.ackAt !== UNSET)) {
    c.ackNow = true;
  } else if (c.ackAt === UNSET) {
    c.ackAt = c.context.nowMs + c.settings.delayedAckMs;
    c.context.timers.atMost(c, c.ackAt);
  }
}

/** RFC 7323 §5.3 R1: whether the timestamp is older than the last one in order. */
export const isOldTimestamp = (c: Connection, tsVal: number): boolean => ((tsVal - c.tsRecent) | 0) < 0;

/** RFC 7323 §4.3 (2): TS.Recent is taken from segments that cover the last acknowledgement sent. */
export function updateTsRecent(c: Connection, segment: wire.Segment): void {
  if (seqLe(segment.seq as Seq, c.lastAckSent) && !isOldTimestamp(c, segment.tsVal)) c.tsRecent = segment.tsVal;
}

/** The reader took bytes: gives the buffer back when it is empty, and says if the window should be told. */
export function consumed(c: Connection): boolean {
  const { rx } = c;
  if (c.rxBytes < c.settings.receiveBufferMaxBytes) rightSize(c);
  if (rx !== null && rx.length === 0 && c.reassembly === null) {
    rx.release();
    if (c.tcp.unread.size > 0) c.tcp.unread.delete(c);
  }
  return mayReceiveIn(c.state) && windowUpdateDue(c);
}

/** Whether `ack` is above everything sent: RFC 9293 §3.10.7.4, fifth. */
export const acksUnsent = (c: Connection, ack: Seq): boolean => seqLt(c.sndMax, ack);
