/**
 * Sending again: what was taken for lost, as far as the congestion window lets it (RFC 6675 §5 (C), NextSeg rule 1), and
 * the tail loss probe (RFC 8985 §7.3). @module
 */
import * as wire from '../wire/tcp.ts';
import { burstSegments } from './burst.ts';
import { type Connection, CWR, RECOVERY } from './connection.ts';
import { emitSegment } from './emit.ts';
import { lossesOf } from './losses.ts';
import { isPaced, paceAfter } from './pacing.ts';
import { timestampNow } from './rtt.ts';
import { EVER_RETRANS, FLAGS, LOST, RETRANS, SACKED, type Scoreboard } from './scoreboard.ts';
import {
  BLOCKED,
  emitNew,
  fill,
  IDLE,
  MORE,
  noteSent,
  restartRetransmitTimer,
  segmentBytes,
  startRetransmitTimer,
  turnBytes,
} from './send.ts';
import { type Seq, seqAdd, seqDiff, seqGe, seqMin } from './seq.ts';

/** Sends again what is marked lost. Says why it stopped, as {@link output} does. */
export function retransmitLost(c: Connection): number {
  const board = c.sent;
  if (board === null) return IDLE;
  const fullLength = segmentBytes(c);
  let budget = turnBytes(c);
  for (let i = board.find(c.lostFrom); i < board.count; i++) {
    const flags = board.flags(i);
    if ((flags & LOST) === 0 || (flags & (RETRANS | SACKED)) !== 0) continue;
    const start = board.start(i);
    c.lostFrom = start;
    const room = c.cwnd - c.inFlight();
    const wanted = Math.min(seqDiff(board.end(i), start), c.mss);
    if (room < wanted) return IDLE;
    // RFC 9293 §3.8.6: a window that has shrunk holds back all but the first segment, which serves as a probe.
    const usable = seqDiff(seqAdd(c.sndUna, c.sndWnd), start);
    if (usable < wanted && start !== c.sndUna) return IDLE;
    if (isPaced(c)) return IDLE;
    if (c.path.iface.device.room() <= 0) return BLOCKED;
    if (budget <= 0) return MORE;
    const most = Math.max(wanted, Math.min(fullLength, room - (room % c.mss), Math.max(usable, wanted)));
    if (!retransmit(c, board, i, c.settings.linux ? burstAgain(c, board, i, most, room) : most)) return IDLE;
    budget -= most;
  }
  return IDLE;
}

/** Sends the first `most` bytes of record `i` again. False when memory has no frame. */
function retransmit(c: Connection, board: Scoreboard, i: number, most: number): boolean {
  const start = board.start(i);
  if (seqDiff(board.end(i), start) > most) board.split(i, seqAdd(start, most));
  const end = board.end(i);
  const isFirst = start === c.sndUna;
  if (!emitAgain(c, start, end)) {
    startRetransmitTimer(c);
    return false;
  }
  const at = board.at(i);
  const occupied = seqDiff(end, start);
  const { nowUs } = c.context;
  fill(c, board.words, at, nowUs);
  board.words[at + FLAGS] = board.words[at + FLAGS]! | RETRANS | EVER_RETRANS;
  c.retransBytes += occupied;
  countRetransmit(c, occupied);
  if (c.recovery === CWR || c.recovery === RECOVERY) lossesOf(c).prrOut += occupied;
  // RFC 6298 (5.1), and a hole at the front starts the clock anew: RFC 6675 §5 (C.1) note, RFC 8985 §6.3.
  if (isFirst) restartRetransmitTimer(c);
  else startRetransmitTimer(c);
  return true;
}

/** Counts a retransmission for TCP_INFO, the undoing of reductions, and the pacer. */
function countRetransmit(c: Connection, occupied: number): void {
  const segments = Math.ceil(occupied / c.mss);
  c.context.stats.tcpRetransmits += segments;
  const losses = lossesOf(c);
  losses.totalRetrans += segments;
  losses.bytesRetrans += occupied;
  c.bytesSent += occupied;
  if (!losses.hasRetransTs) {
    losses.hasRetransTs = true;
    losses.retransTs = timestampNow(c);
  }
  losses.undoRetrans = Math.max(losses.undoRetrans, 0) + segments;
  c.lastDataAt = c.context.nowMs;
  if (c.pacingRate > 0) paceAfter(c, occupied);
}

/**
 * How much of record `i` Linux sends again at once: as much of the burst as the windows take. A segment that is not full takes
 * those behind it along (tcp_retrans_try_collapse).
 */
function burstAgain(c: Connection, board: Scoreboard, i: number, most: number, room: number): number {
  const start = board.start(i);
  const { mss } = c;
  if (seqDiff(board.end(i), start) < mss) {
    while (i + 1 < board.count && seqDiff(seqMin(board.end(i + 1), c.txEnd), start) <= mss) {
      const flags = board.flags(i + 1);
      if ((flags & SACKED) !== 0) break;
      const length = seqDiff(board.end(i + 1), board.start(i + 1));
      if ((flags & LOST) === 0) c.lostBytes += length;
      if ((flags & RETRANS) !== 0) c.retransBytes -= length;
      board.join(i);
    }
    return mss + 1; // with the FIN
  }
  const usable = seqDiff(seqAdd(c.sndUna, c.sndWnd), start);
  const bytes = Math.min(room, usable, burstSegments(c) * mss);
  return Math.max(most, bytes - (bytes % mss));
}

/** Emits `[start, end)` of the stream again, the FIN included where it was; in segments, as Linux does with a burst. */
function emitAgain(c: Connection, start: Seq, end: Seq): boolean {
  if (c.settings.linux && !c.path.iface.offload) {
    const stop = seqMin(end, c.txEnd);
    let from = start;
    for (; seqDiff(stop, from) > c.mss; from = seqAdd(from, c.mss)) {
      if (!emitSegment(c, from, c.mss, wire.ACK)) return false;
    }
    return emitPart(c, from, end, from === start ? 0 : wire.PSH);
  }
  return emitPart(c, start, end, 0);
}

function emitPart(c: Connection, start: Seq, end: Seq, pushed: number): boolean {
  const stop = seqMin(end, c.txEnd);
  const length = Math.max(0, seqDiff(stop, start));
  const fin = c.finQueued && stop !== end;
  const push = length > 0 && seqGe(stop, c.txEnd) ? wire.PSH : 0;
  return emitSegment(c, start, length, wire.ACK | push | pushed | (fin ? wire.FIN : 0));
}

/**
 * RFC 8985 §7.3: the tail loss probe: a new segment where there is one and the peer's window has room, or the last one
 * again. Whatever the congestion window says: it is one segment.
 */
export function sendProbe(c: Connection): void {
  c.probeDue = false;
  const board = c.sent;
  // What the acknowledgements of this very moment have shown makes a probe needless.
  if (board === null || c.recovery >= RECOVERY || (board.flags(board.count - 1) & SACKED) !== 0) return;
  if (c.path.iface.device.room() <= 0) return;
  let isSent = sendProbeData(c);
  c.isTlpRetrans = !isSent;
  if (!isSent) {
    const i = board.count - 1;
    const start = board.start(i);
    const end = board.end(i);
    const length = seqDiff(end, start);
    // The last segment, not the whole of a record that several share.
    const tail = length % c.mss === 0 ? c.mss : length % c.mss;
    if (length > tail) board.split(i, seqAdd(end, -tail));
    isSent = retransmit(c, board, board.count - 1, tail);
  }
  if (!isSent) return;
  c.isTlpPending = true;
  c.tlpEnd = c.sndNxt;
  restartRetransmitTimer(c);
}

/** One segment of new data, as a probe. */
function sendProbeData(c: Connection): boolean {
  const length = Math.min(seqDiff(c.txEnd, c.sndNxt), c.mss);
  if (length <= 0 || seqDiff(c.sndNxt, c.sndUna) + length > c.sndWnd || !emitNew(c, length, false)) return false;
  noteSent(c, seqAdd(c.sndNxt, -length));
  if (length < c.mss) c.sndSml = c.sndNxt;
  return true;
}
