/**
 * New data in bursts, as Linux hands them to a device that segments (tcp_write_xmit): a burst is several segments, the last
 * with PSH; what may be in one, and when one waits for more, are rules of its own. The setting `linux` asks for it. @module
 */
import { type Connection, RECOVERY, withinHalfWindow } from './connection.ts';
import { WRITABLE } from './events.ts';
import { CHRONO_BUFFER, CHRONO_BUSY, CHRONO_WINDOW, setChrono } from './info.ts';
import { isPaced, usualPacingRate } from './pacing.ts';
import { dataSent } from './quick-ack.ts';
import { armProbe } from './rack.ts';
import { validateWindow } from './recovery.ts';
import { SENT_US } from './scoreboard.ts';
import {
  BLOCKED,
  emitNew,
  finIsDue,
  IDLE,
  MORE,
  noteSent,
  startFlight,
  startPersistTimer,
  startRetransmitTimer,
  turnBytes,
} from './send.ts';
import { seqDiff, seqGt, seqLe, seqLt } from './seq.ts';
import { maySendIn } from './state.ts';
import { isSendingUrgent } from './urgent.ts';

/** What 64 KiB leave when all headers there may be are taken off: sk_gso_max_size. */
const BURST_BYTES_MAX = 65_215;
/** Pacing rate to bytes of a burst: what about a millisecond carries. */
const PACING_SHIFT = 10;
/** Least segments of a burst: tcp_min_tso_segs. */
const SEGMENTS_MIN = 2;
/** tcp_tso_rtt_log: the burst is larger where the round trip is short, by half for each so many us. */
const RTT_SHIFT = 9;
/** tcp_tso_win_divisor: a burst does not wait where this part of the window is open. */
const WINDOW_DIVISOR = 3;
const DEFER_US = 1000;

/** Segments of one burst at most: what a millisecond at the pacing rate carries, more where the round trip is short. */
export function burstSegments(c: Connection): number {
  let bytes = usualPacingRate(c) / 2 ** PACING_SHIFT;
  const halvings = c.minRttUs < 0 ? 32 : c.minRttUs >> RTT_SHIFT;
  if (halvings < 32) bytes += Math.floor(BURST_BYTES_MAX / 2 ** halvings);
  return Math.max(Math.floor(Math.min(bytes, BURST_BYTES_MAX) / c.mss), SEGMENTS_MIN);
}

/** Bytes that wait together as one packet buffer of Linux: whole segments, no more than half of the peer's window. */
const goalBytes = (c: Connection): number =>
  Math.max(Math.floor(Math.min(BURST_BYTES_MAX, withinHalfWindow(BURST_BYTES_MAX, c.sndWndMax)) / c.mss), 1) * c.mss;

/** TCP_NOTSENT_LOWAT: as much as the limit waits; to wake a writer, half of it (`shift` 1). */
export function hasMuchUnsent(c: Connection, shift: number): boolean {
  const { notSentLowBytes } = c.settings;
  return notSentLowBytes > 0 && seqDiff(c.txEnd, c.sndNxt) * 2 ** shift >= notSentLowBytes;
}

/**
 * Queues `data`, as tcp_sendmsg does: each time a packet buffer is full, some of it leaves before the rest is copied, so that
 * bursts end where buffers do. Returns bytes taken.
 */
export function queueAsLinux(c: Connection, data: Uint8Array, from: number, to: number): number {
  const ring = c.txRing();
  const isOpen = maySendIn(c.state);
  let taken = 0;
  while (from + taken < to) {
    const goal = goalBytes(c);
    if (seqLt(c.tailStart, c.sndNxt) || seqGt(c.tailStart, c.txEnd)) c.tailStart = c.sndNxt;
    let room = goal - seqDiff(c.txEnd, c.tailStart);
    if (room <= 0 || room === goal) {
      if (hasMuchUnsent(c, 0)) break; // a new packet buffer would begin
      c.tailStart = c.txEnd;
      room = goal;
    }
    const count = ring.append(data, from + taken, Math.min(room, to - from - taken));
    taken += count;
    if (count < room || from + taken === to) break;
    if (!isOpen) continue;
    if (seqDiff(c.txEnd, c.pushedEnd) > c.sndWndMax >> 1) {
      c.pushedEnd = c.txEnd;
      push(c, Number.POSITIVE_INFINITY);
    } else if (seqLe(c.tailStart, c.sndNxt)) {
      push(c, 1);
    }
  }
  c.pushedEnd = c.txEnd;
  return taken;
}

/** Sends `bursts` at once, in the middle of a write. */
function push(c: Connection, bursts: number): void {
  const before = c.sndNxt;
  sendBursts(c, bursts);
  if (c.sndNxt === before) return;
  validateWindow(c);
  if (!armProbe(c)) startRetransmitTimer(c);
}

/** Sends new data and the FIN, burst by burst, `bursts` at most. Says why it stopped, as `output` does. */
export function sendBursts(c: Connection, bursts = Number.POSITIVE_INFINITY): number {
  let budget = turnBytes(c);
  let most = 0;
  for (;;) {
    const queued = seqDiff(c.txEnd, c.sndNxt);
    if (queued < 0 || (queued === 0 && !finIsDue(c))) {
      setChrono(c, c.wantsRoom ? CHRONO_BUFFER : CHRONO_BUSY);
      return IDLE; // the write noted that there was less than a segment
    }
    if (most === 0) most = burstSegments(c);
    const window = c.sndWnd - seqDiff(c.sndNxt, c.sndUna);
    const length = burstBytes(c, queued, window, most);
    if (length < 0) {
      setChrono(c, window < c.mss ? CHRONO_WINDOW : CHRONO_BUSY);
      if (c.sndNxt === c.sndUna) startPersistTimer(c);
      return IDLE;
    }
    if (isPaced(c)) return IDLE;
    if (budget <= 0) return MORE;
    const fin = finIsDue(c) && length === queued && length < window;
    if (!fin && length === 0) return IDLE;
    if (c.sndNxt === c.sndUna && c.sent === null) startFlight(c);
    const stopped = sendBurst(c, length, fin);
    if (stopped !== IDLE || fin) return stopped === NO_FRAME ? IDLE : stopped;
    budget -= length;
    if (--bursts <= 0) return MORE;
  }
}

const NO_FRAME = -1;

/** @returns bytes of the next burst, 0 for a FIN alone, -1 where nothing may leave */
function burstBytes(c: Connection, queued: number, window: number, most: number): number {
  const { mss } = c;
  if (c.overrideSws) return Math.min(queued, window, mss);
  // At least two bursts are to be under way: no more than half of the congestion window in one.
  const half = Math.max(Math.floor(c.cwnd / mss) >> 1, 1);
  const quota = Math.min(Math.floor((c.cwnd - c.inFlight()) / mss), half, most);
  if (quota <= 0 || Math.min(queued, mss) > window || window <= 0) return -1;
  if (queued <= mss) return queued < mss && !c.finQueued && holds(c) ? -1 : queued;
  if (defers(c, queued, window, most)) return -1;
  if (isSendingUrgent(c)) return mss; // one by one, each with a pointer of its own
  const needed = Math.min(queued, window);
  if (quota * mss <= needed) return quota * mss;
  const partial = needed % mss;
  return partial > 0 && holds(c) ? needed - partial : needed;
}

/** Nagle in Minshall's variant: what is small waits for what is small, not for full segments. */
const holds = (c: Connection): boolean =>
  !isSendingUrgent(c) &&
  (c.settings.cork ||
    (!c.settings.noDelay && c.sndNxt !== c.sndUna && seqGt(c.sndSml, c.sndUna) && seqLe(c.sndSml, c.sndNxt)));

/** tcp_tso_should_defer: a burst that could be larger waits for an acknowledgement that is about to come. */
function defers(c: Connection, queued: number, window: number, most: number): boolean {
  if (c.recovery >= RECOVERY || c.finQueued || c.sent === null) return false;
  if (c.context.nowMs - c.lastDataAt > DEFER_US / 1000) return false;
  const room = Math.floor((c.cwnd - c.inFlight()) / c.mss) * c.mss;
  const limit = Math.min(window, room);
  if (limit >= most * c.mss) return false;
  if (limit >= Math.min(c.sndWnd, c.cwnd) / WINDOW_DIVISOR) return false;
  const { sent } = c;
  const sinceUs = (c.context.nowUs - sent.words[sent.at(0) + SENT_US]!) | 0;
  if (c.srttUs - sinceUs > Math.min(c.srttUs >> 1, DEFER_US)) return false;
  if (limit <= queued && room < window) c.isCwndLimited = true;
  return true;
}

/** Sends the burst, on a device that segments as one. */
function sendBurst(c: Connection, length: number, fin: boolean): number {
  const from = c.sndNxt;
  const stopped = emitBurst(c, length, fin);
  if (c.sndNxt !== from) noteSent(c, from);
  return stopped;
}

function emitBurst(c: Connection, length: number, fin: boolean): number {
  const { device, offload } = c.path.iface;
  const isPushed = length > c.mss || c.overrideSws;
  let left = length;
  c.beginsBurst = true;
  do {
    if (device.room() <= 0) return BLOCKED;
    const part = offload ? left : Math.min(left, c.mss);
    const isLast = part === left;
    if (!emitNew(c, part, fin && isLast, isLast && isPushed)) return NO_FRAME;
    left -= part;
  } while (left > 0);
  if (length > 0) dataSent(c);
  if (length % c.mss !== 0) c.sndSml = c.sndNxt;
  if (c.wantsRoom && c.settings.notSentLowBytes > 0 && !hasMuchUnsent(c, 1)) {
    c.wantsRoom = false;
    c.socket?.report(WRITABLE);
  }
  return IDLE;
}
