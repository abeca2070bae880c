/** SACK blocks that come in: RFC 2018 §5, RFC 2883 §4 (D-SACK), RFC 6675 §4 (Update). @module */
import type * as wire from '../wire/tcp.ts';
import type { Acked } from './acked.ts';
import type { Connection } from './connection.ts';
import { lossesOf } from './losses.ts';
import { rackAdvance } from './rack.ts';
import { EVER_RETRANS, FLAGS, LOST, RETRANS, SACKED, type Scoreboard, SENT_US, segmentsIn } from './scoreboard.ts';
import { type Seq, seqAdd, seqDiff, seqGe, seqGt, seqLe, seqLt, seqMin } from './seq.ts';

/** Takes the SACK option of `segment` in, whose acknowledgement number is `ack`. */
export function sackArrived(c: Connection, segment: wire.Segment, ack: Seq, acked: Acked): void {
  const { dv } = c.context.memory;
  const { sackBlocks, sackCount } = segment;
  const una = c.sndUna;
  for (let i = 0; i < sackCount; i++) {
    const start = dv.getInt32(sackBlocks + 8 * i) as Seq;
    const end = dv.getInt32(sackBlocks + 8 * i + 4) as Seq;
    if (i === 0 && isDsack(dv, sackBlocks, sackCount, start, end, ack)) {
      dsackArrived(c, start, end, acked);
      continue;
    }
    // RFC 2018 §5, and what Linux refuses: blocks outside of what is under way say nothing.
    if (c.sent === null || !seqLt(start, end) || seqGt(end, c.sndNxt) || seqLt(start, una)) continue;
    mark(c, c.sent, start, end, acked);
  }
}

/** RFC 2883 §4: the first block is a duplicate if it is below the acknowledgement, or inside the second. */
function isDsack(dv: DataView, p: number, count: number, start: Seq, end: Seq, ack: Seq): boolean {
  if (seqLt(start, ack)) return true;
  return count > 1 && seqGe(start, dv.getInt32(p + 8) as Seq) && seqLe(end, dv.getInt32(p + 12) as Seq);
}

/** The peer has received `[start, end)` twice. */
function dsackArrived(c: Connection, start: Seq, end: Seq, acked: Acked): void {
  const length = seqDiff(end, start);
  // Of data this connection never sent, or far too much: a forgery or a mistake.
  if (length <= 0 || seqGt(end, c.sndNxt) || length > c.sndWndMax) return;
  const segments = Math.ceil(length / c.mss);
  const losses = lossesOf(c);
  losses.dsackDups += segments;
  if (c.settings.linux) {
    // What was sent again for nothing has been delivered too; what was never sent again, a middlebox has doubled.
    if (losses.dsackDups > losses.totalRetrans) return;
    c.deliveredSegments += segments;
    c.delivered += segments * c.mss;
    acked.newlyDelivered += segments * c.mss;
  }
  acked.isDsack = true;
  c.context.stats.tcpDsacksIn++;
  if (losses.mayUndo && losses.undoRetrans > 0 && seqGt(end, losses.undoMarker)) {
    losses.undoRetrans = Math.max(0, losses.undoRetrans - segments);
  }
}

/** Marks what of `[start, end)` is not SACKed yet. */
function mark(c: Connection, board: Scoreboard, start: Seq, end: Seq, acked: Acked): void {
  let i = cutAtSegment(c, board, start);
  for (; i < board.count && seqLt(board.start(i), end); i++) {
    if ((board.flags(i) & SACKED) !== 0) continue;
    if (seqGt(board.end(i), end)) {
      // RFC 6675 speaks of octets; but a segment that a middlebox has cut is not delivered until all of it is.
      const whole = seqDiff(end, board.start(i));
      if (whole < c.mss) return;
      board.split(i, seqAdd(end, -(whole % c.mss)));
    }
    sacked(c, board, i, acked);
  }
}

/** The first record that begins at `start` or behind it; one of several segments is cut between two of them. */
function cutAtSegment(c: Connection, board: Scoreboard, start: Seq): number {
  const i = board.find(start);
  const offset = i === board.count ? 0 : seqDiff(start, board.start(i));
  return offset <= 0 ? i : board.cut(seqMin(seqAdd(start, (c.mss - (offset % c.mss)) % c.mss), board.end(i)));
}

function sacked(c: Connection, board: Scoreboard, i: number, acked: Acked): void {
  const { words } = board;
  const at = board.at(i);
  const flags = words[at + FLAGS]!;
  const start = board.start(i);
  const end = board.end(i);
  const length = seqDiff(end, start);
  if ((flags & EVER_RETRANS) === 0) {
    if (c.sackedBytes > 0 && seqLt(start, c.sndFack)) late(start, acked);
    if (seqLe(end, c.recover)) acked.isOriginal = true;
    acked.sackedUs = words[at + SENT_US]!;
    acked.hasSacked = true;
  }
  rackAdvance(c, words[at + SENT_US]!, end, (flags & EVER_RETRANS) !== 0);
  acked.take(words, at);
  if ((flags & LOST) !== 0) c.lostBytes -= length;
  if ((flags & RETRANS) !== 0) c.retransBytes -= length;
  words[at + FLAGS] = (flags & ~(LOST | RETRANS)) | SACKED;
  c.sackedBytes += length;
  c.delivered += length;
  c.deliveredSegments += segmentsIn(c, length);
  acked.newlyDelivered += length;
  acked.isSacking = true;
  if (c.sackedBytes === length || seqGt(end, c.sndFack)) c.sndFack = end;
}

/** A segment sent once has arrived after later ones: RFC 8985 §6.2 step 3. */
export function late(start: Seq, acked: Acked): void {
  if (acked.isLate && !seqLt(start, acked.lateSeq)) return;
  acked.isLate = true;
  acked.lateSeq = start;
}

/** Reordering was seen: how far segments may overtake each other from now on. Linux's tcp_check_sack_reordering. */
export function noteReordering(c: Connection, acked: Acked): void {
  if (!acked.isLate) return;
  const distance = seqDiff(c.sndFack, acked.lateSeq);
  if (distance <= 0) return;
  const segments = Math.ceil(distance / c.mss);
  if (segments > c.reordering) c.reordering = Math.min(segments, c.settings.reorderingMax);
  lossesOf(c).reorderSeen++;
  c.context.stats.tcpReorderings++;
}
