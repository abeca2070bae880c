/**
 * The acknowledgement that nearly all are: of data sent once, in order, on a quiet path. It does what ack.ts does for any,
 * in one go, with the steps left out that could find nothing. @module
 */
import type * as wire from '../wire/tcp.ts';
import { sendCapacity } from './autotune.ts';
import { type Connection, OPEN } from './connection.ts';
import { WRITABLE } from './events.ts';
import { isProbing } from './mtu-probe.ts';
import { updatePacingRate } from './pacing.ts';
import { isWindowUsed } from './recovery.ts';
import { sampleRtt, updateMinRtt } from './rtt.ts';
import {
  APP_LIMITED,
  DELIVERED,
  DELIVERED_US,
  END,
  FIRST_US,
  FLAGS,
  type Scoreboard,
  SENT_US,
  segmentsIn,
} from './scoreboard.ts';
import { type Seq, seqAdd, seqDiff, seqLt, seqMin } from './seq.ts';

/**
 * A writer that waits is told at this part of the send buffer, as a shift: a sixteenth. At a half, a rate that spreads the
 * acknowledgements left just over half a buffer waiting for a whole round trip: half the throughput (test/sim/golden.ts).
 */
const ROOM_SHIFT = 4;

/** Whether nothing is going on that an acknowledgement has to be judged for. */
const isQuiet = (c: Connection, segment: wire.Segment): boolean =>
  c.recovery === OPEN &&
  c.sackedBytes === 0 &&
  segment.sackCount === 0 &&
  c.ecn === null &&
  !c.isTlpPending &&
  !isProbing(c) &&
  c.trace === null &&
  c.congestion.sample === undefined;

/**
 * Takes in that `advance` more bytes, up to `ack`, arrived there. False, and nothing is changed, where this is no such
 * acknowledgement; the timers are the caller's.
 */
export function ackInOrder(c: Connection, segment: wire.Segment, ack: Seq, advance: number): boolean {
  const board = c.sent;
  if (board === null || !isQuiet(c, segment)) return false;
  const { words } = board;
  const firstUs = words[board.at(0) + SENT_US]!;
  let count = 0; // whole records
  let at = 0;
  let segments = 0;
  for (let start = board.first; start !== ack && count < board.count; ) {
    at = board.at(count);
    if ((words[at + FLAGS]! & ~APP_LIMITED) !== 0) return false;
    const end = words[at + END]! as Seq;
    if (seqLt(ack, end)) {
      segments += segmentsIn(c, seqDiff(ack, start));
      break;
    }
    segments += segmentsIn(c, seqDiff(end, start));
    start = end;
    count++;
  }
  c.delivered += advance;
  c.deliveredSegments += segments;
  takeOff(c, board, count, ack);
  c.dupAcks = c.retransmits = c.backoff = c.keepAliveProbes = 0;
  c.softError = null;
  c.sndUna = ack;
  c.bytesAcked += advance;
  releaseAcknowledged(c, ack);
  sample(c, words, at, ack, firstUs);
  return true;
}

/** The samples of round trip, of RACK and of the rate, from the record at `at`, the last one delivered. */
function sample(c: Connection, words: Int32Array, at: number, ack: Seq, firstUs: number): void {
  const { nowUs } = c.context;
  const sentUs = words[at + SENT_US]!;
  const rttUs = (nowUs - sentUs) | 0;
  c.rackRttUs = rttUs;
  if (c.useSack) {
    c.hasRackSample = true;
    c.rackUs = sentUs;
    c.rackEnd = ack;
  }
  updateMinRtt(c, Math.max(rttUs, 1));
  sampleRtt(c, (nowUs - firstUs) | 0);
  const delivered = c.delivered | 0;
  if (c.isAppLimited && ((delivered - c.appLimitedEnd) | 0) > 0) c.isAppLimited = false;
  const intervalUs = Math.max((sentUs - words[at + FIRST_US]!) | 0, (nowUs - words[at + DELIVERED_US]!) | 0);
  const bytes = (delivered - words[at + DELIVERED]!) | 0;
  c.deliveredUs = nowUs;
  c.firstSentUs = sentUs;
  if (intervalUs === 0 || intervalUs < c.minRttUs) return;
  if (words[at + FLAGS] !== 0 && bytes * c.rateIntervalUs < c.rateBytes * intervalUs) return;
  c.rateBytes = bytes;
  c.rateIntervalUs = intervalUs;
  c.isRateLimited = words[at + FLAGS] !== 0;
}

function takeOff(c: Connection, board: Scoreboard, count: number, ack: Seq): void {
  board.drop(count, ack);
  if (board.count > 0) return;
  c.sent = null;
  c.tcp.boards.give(board);
}

/** The window may grow by it: RFC 5681 §3.1, RFC 7661. */
export function growInOrder(c: Connection, advance: number): void {
  if (isWindowUsed(c)) c.congestion.acked(c, advance, c.rackRttUs);
  if (c.settings.pacing || c.settings.maxPacingRate > 0) updatePacingRate(c);
}

/** Gives back the bytes of the send buffer below `ack`. */
export function releaseAcknowledged(c: Connection, ack: Seq): void {
  const { tx } = c;
  if (tx === null) return;
  const bytes = seqDiff(seqMin(ack, c.txEnd), c.txSeq);
  if (bytes <= 0) return;
  tx.advance(bytes);
  c.txSeq = seqAdd(c.txSeq, bytes);
  if (tx.length === 0) tx.release();
  const capacity = sendCapacity(c);
  if (c.wantsRoom && capacity - tx.length >= capacity >> ROOM_SHIFT) {
    c.wantsRoom = false;
    c.socket?.report(WRITABLE);
  }
}
