/**
 * Path MTU discovery without ICMP: RFC 4821, which RFC 8899 §1 has for TCP. Where full-sized segments are lost again and
 * again and no router says why, the segments become small (RFC 4821 §7.7, a black hole), and then one of each few
 * round trips is sent larger, to see whether it arrives: a search by halves. With `mtuProbing` 2 connections begin like
 * that. The numbers are Linux's. None of this is touched while `mtuLow` is 0. @module
 */
import { FLOOR_V4 } from '../iface/path-mtu.ts';
import * as ipv6 from '../wire/ipv6.ts';
import * as wire from '../wire/tcp.ts';
import { type Connection, LOSS, mssOf, OPEN } from './connection.ts';
import { isPaced } from './pacing.ts';
import { markLost } from './rack.ts';
import { LOST, SACKED } from './scoreboard.ts';
import { emitNew, noteSent } from './send.ts';
import { seqDiff, seqGe, seqLt } from './seq.ts';

/** RFC 9293 §3.8.3 (a), R1: so many retransmissions without an answer are a reason to doubt the path. */
const RETRANSMISSIONS = 3;
/** RFC 4821 §7.6.2: the search ends where what is open is less than this. */
const CLOSE_ENOUGH = 8;
/** RFC 4821 §7.3: after so long the path is searched again. */
const AGAIN_MS = 600_000;
/** Segments that the window must hold for a probe: losing one is then seen by those behind it. */
const WINDOW_SEGMENTS = 11;

/** Headers with the options that every segment has. */
const headersOf = (c: Connection): number => c.ipHeaderLength + wire.HEADER_LENGTH + c.optionBytes;

/** The largest packet that peer, path and user allow. */
function mostOf(c: Connection): number {
  const mss = Math.min(c.peerMss, mssOf(c.path.mtu, c.local.isV4, c.settings.mssMax));
  return mss + c.ipHeaderLength + wire.HEADER_LENGTH;
}

/** The connection is being established: with `mtuProbing` 2 it begins with small segments. */
export function beginProbing(c: Connection): void {
  c.mtuLow = 0;
  if (c.settings.mtuProbing < 2) return;
  open(c, c.settings.mtuProbeBaseMss + headersOf(c));
}

/** From now on segments have what `mtu` leaves, and probes look for more. */
function open(c: Connection, mtu: number): void {
  c.mtuHigh = mostOf(c);
  c.mtuLow = Math.max(mtu, c.local.isV4 ? 0 : ipv6.MTU_MIN); // RFC 8200 §5: less no link takes
  c.mtuProbedAt = c.context.nowMs;
  c.probedMtu = 0;
}

/** The retransmission timer fired, again: is it because the segments are too large? RFC 4821 §7.7. */
export function suspectBlackHole(c: Connection): void {
  c.probedMtu = 0; // inconclusive
  if (c.retransmits < RETRANSMISSIONS || c.settings.mtuProbing === 0) return;
  const headers = headersOf(c);
  const base = c.settings.mtuProbeBaseMss;
  const payload = c.mtuLow === 0 ? base : Math.min(base, (c.mtuLow - headers) >> 1);
  const mtu = Math.max(payload + headers, c.local.isV4 ? FLOOR_V4 : ipv6.MTU_MIN);
  // What is no larger than that is not lost for its size.
  if (Math.min(c.mss, seqDiff(c.sndMax, c.sndUna)) <= mtu - headers) return;
  c.context.stats.tcpBlackHoles++;
  open(c, mtu);
  c.fitMss();
}

/**
 * Sends a probe if it is time for one: new data, so that nothing is sent in vain.
 * @returns whether nothing else may be sent now, because the windows must first have room for it
 */
export function probePath(c: Connection): boolean {
  if (c.probedMtu !== 0 || c.recovery !== OPEN || c.cwnd < WINDOW_SEGMENTS * c.mss) return false;
  if (c.reassembly !== null || c.dsackStart !== c.dsackEnd || isPaced(c)) return false; // options take from its room
  c.mtuHigh = Math.min(c.mtuHigh, mostOf(c));
  if (c.mtuHigh - c.mtuLow < CLOSE_ENOUGH) {
    searchAgain(c);
    return false;
  }
  const mtu = (c.mtuHigh + c.mtuLow) >> 1;
  const length = mtu - headersOf(c);
  const needed = length + (c.reordering + 1) * c.mss;
  if (length <= c.mss || seqDiff(c.txEnd, c.sndNxt) < needed || c.sndWnd < needed) return false;
  if (seqDiff(c.sndNxt, c.sndUna) + needed > c.sndWnd) return true;
  if (c.inFlight() + 2 * c.mss > c.cwnd) return c.inFlight() > 0;
  if (c.path.iface.device.room() <= 0) return false;
  emitProbe(c, mtu, length);
  return false;
}

function emitProbe(c: Connection, mtu: number, length: number): void {
  const { mss, sndNxt } = c;
  c.mss = length; // one segment, which no device cuts
  const isSent = emitNew(c, length, false);
  if (isSent) noteSent(c, sndNxt);
  c.mss = mss;
  if (!isSent) return;
  c.context.stats.tcpMtuProbes++;
  c.probedMtu = mtu;
  c.probedStart = sndNxt;
  c.probedEnd = c.sndNxt;
  // It fills the place of two segments.
  c.cwnd = Math.max(c.cwnd - mss, mss);
}

function searchAgain(c: Connection): void {
  const { nowMs } = c.context;
  if (nowMs - c.mtuProbedAt < AGAIN_MS) return;
  c.mtuProbedAt = nowMs;
  c.mtuHigh = mostOf(c);
}

/** SND.UNA moved while a probe was under way. RFC 4821 §7.6.1: it has arrived, so the path takes as much. */
export function probeArrived(c: Connection): void {
  if (!seqGe(c.sndUna, c.probedEnd)) return;
  c.context.stats.tcpMtuProbesPassed++;
  c.mtuLow = c.probedMtu;
  c.probedMtu = 0;
  c.fitMss();
}

/**
 * Something was taken for lost while a probe was under way. RFC 4821 §7.6.2: where it is the probe, the path takes less,
 * and the window stays; it is sent again in smaller segments.
 * @returns whether that is all there is to it
 */
export function probeLost(c: Connection): boolean {
  const { probedMtu } = c;
  c.probedMtu = 0;
  // RFC 4821 §7.6.4: with other losses around it nothing can be said.
  if (c.sndUna !== c.probedStart || c.lostBytes > seqDiff(c.probedEnd, c.probedStart)) return false;
  // Without SACK only its first piece is marked.
  const board = c.sent!;
  for (let i = 0; i < board.count && seqLt(board.start(i), c.probedEnd); i++) {
    if ((board.flags(i) & (LOST | SACKED)) === 0) markLost(c, board, i);
  }
  c.mtuHigh = probedMtu - 1;
  c.cwnd += c.mss;
  c.recovery = LOSS;
  c.recover = c.sndNxt;
  c.isFrto = c.sendsNew = c.mayUndo = c.isTlpPending = false;
  c.tcp.ready(c);
  return true;
}
