/**
 * Path MTU discovery without ICMP: RFC 4821, which RFC 8899 §1 has for TCP. Where full-sized segments are lost again and
 * again and no router says why, the segments become small (RFC 4821 §7.7, a black hole), and then one of each few
 * round trips is sent larger, to see whether it arrives: a search by halves. With `mtuProbing` 2 connections begin like
 * that. The numbers are Linux's. @module
 */
import { FLOOR_V4 } from '../iface/path-mtu.ts';
import * as ipv6 from '../wire/ipv6.ts';
import * as wire from '../wire/tcp.ts';
import { type Connection, LOSS, mssOf, OPEN } from './connection.ts';
import { lossesOf } from './losses.ts';
import { isPaced } from './pacing.ts';
import { markLost } from './rack.ts';
import { LOST, SACKED } from './scoreboard.ts';
import { emitNew, noteSent } from './send.ts';
import { type Seq, seqDiff, seqGe, seqLt } from './seq.ts';

/** RFC 9293 §3.8.3 (a), R1: so many retransmissions without an answer are a reason to doubt the path. */
const RETRANSMISSIONS = 3;
/** RFC 4821 §7.6.2: the search ends where what is open is less than this. */
const CLOSE_ENOUGH = 8;
/** RFC 4821 §7.3: after so long the path is searched again. */
const AGAIN_MS = 600_000;
/** Segments that the window must hold for a probe: losing one is then seen by those behind it. */
const WINDOW_SEGMENTS = 11;

/** What is known of a path whose MTU is in doubt. */
export class MtuProbe {
  /** What is known to arrive, and what may: bytes of a packet. */
  low: number;
  high: number;
  /** The probe that is under way, 0: none, and where it stands. */
  mtu = 0;
  start = 0 as Seq;
  end = 0 as Seq;
  /** When the search last began. */
  searchedAtMs: number;

  constructor(low: number, high: number, nowMs: number) {
    this.low = low;
    this.high = high;
    this.searchedAtMs = nowMs;
  }
}

/** Whether a probe is under way. */
export const isProbing = (c: Connection): boolean => c.mtuProbe !== null && c.mtuProbe.mtu !== 0;

/** Headers with the options that every segment has. */
const headersOf = (c: Connection): number => c.ipHeaderLength + wire.HEADER_LENGTH + c.optionBytes;

/** The largest packet that peer, path and user allow. */
function mostOf(c: Connection): number {
  const mss = Math.min(c.peerMss, mssOf(c.path.mtu, c.local.isV4, c.settings.mssMax));
  return mss + c.ipHeaderLength + wire.HEADER_LENGTH;
}

/** The connection is being established: with `mtuProbing` 2 it begins with small segments. */
export function beginProbing(c: Connection): void {
  c.mtuProbe = null;
  if (c.settings.mtuProbing < 2) return;
  open(c, c.settings.mtuProbeBaseMss + headersOf(c));
}

/** From now on segments have what `mtu` leaves, and probes look for more. */
function open(c: Connection, mtu: number): void {
  const low = Math.max(mtu, c.local.isV4 ? 0 : ipv6.MTU_MIN); // RFC 8200 §5: less no link takes
  c.mtuProbe = new MtuProbe(low, mostOf(c), c.context.nowMs);
}

/** The retransmission timer fired, again: is it because the segments are too large? RFC 4821 §7.7. */
export function suspectBlackHole(c: Connection): void {
  const probe = c.mtuProbe;
  if (probe !== null) probe.mtu = 0; // inconclusive
  if (c.retransmits < RETRANSMISSIONS || c.settings.mtuProbing === 0) return;
  const headers = headersOf(c);
  const base = c.settings.mtuProbeBaseMss;
  const payload = probe === null ? base : Math.min(base, (probe.low - headers) >> 1);
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
export function probePath(c: Connection, probe: MtuProbe): boolean {
  if (probe.mtu !== 0 || c.recovery !== OPEN || c.cwnd < WINDOW_SEGMENTS * c.mss) return false;
  if (c.reassembly !== null || c.dsackStart !== c.dsackEnd || isPaced(c)) return false; // options take from its room
  probe.high = Math.min(probe.high, mostOf(c));
  if (probe.high - probe.low < CLOSE_ENOUGH) {
    searchAgain(c, probe);
    return false;
  }
  const mtu = (probe.high + probe.low) >> 1;
  const length = mtu - headersOf(c);
  const needed = length + (c.reordering + 1) * c.mss;
  if (length <= c.mss || seqDiff(c.txEnd, c.sndNxt) < needed || c.sndWnd < needed) return false;
  if (seqDiff(c.sndNxt, c.sndUna) + needed > c.sndWnd) return true;
  if (c.inFlight() + 2 * c.mss > c.cwnd) return c.inFlight() > 0;
  if (c.path.iface.device.room() <= 0) return false;
  emitProbe(c, probe, mtu, length);
  return false;
}

function emitProbe(c: Connection, probe: MtuProbe, mtu: number, length: number): void {
  const { mss, sndNxt } = c;
  c.mss = length; // one segment, which no device cuts
  const isSent = emitNew(c, length, false);
  if (isSent) noteSent(c, sndNxt);
  c.mss = mss;
  if (!isSent) return;
  c.context.stats.tcpMtuProbes++;
  probe.mtu = mtu;
  probe.start = sndNxt;
  probe.end = c.sndNxt;
  // It fills the place of two segments.
  c.cwnd = Math.max(c.cwnd - mss, mss);
}

function searchAgain(c: Connection, probe: MtuProbe): void {
  const { nowMs } = c.context;
  if (nowMs - probe.searchedAtMs < AGAIN_MS) return;
  probe.searchedAtMs = nowMs;
  probe.high = mostOf(c);
}

/** SND.UNA moved while a probe was under way. RFC 4821 §7.6.1: it has arrived, so the path takes as much. */
export function probeArrived(c: Connection, probe: MtuProbe): void {
  if (!seqGe(c.sndUna, probe.end)) return;
  c.context.stats.tcpMtuProbesPassed++;
  probe.low = probe.mtu;
  probe.mtu = 0;
  c.fitMss();
}

/**
 * Something was taken for lost while a probe was under way. RFC 4821 §7.6.2: where it is the probe, the path takes less,
 * and the window stays; it is sent again in smaller segments.
 * @returns whether that is all there is to it
 */
export function probeLost(c: Connection): boolean {
  const probe = c.mtuProbe!;
  const { mtu, start, end } = probe;
  probe.mtu = 0;
  // RFC 4821 §7.6.4: with other losses around it nothing can be said.
  if (c.sndUna !== start || c.lostBytes > seqDiff(end, start)) return false;
  // Without SACK only its first piece is marked.
  const board = c.sent!;
  for (let i = 0; i < board.count && seqLt(board.start(i), end); i++) {
    if ((board.flags(i) & (LOST | SACKED)) === 0) markLost(c, board, i);
  }
  probe.high = mtu - 1;
  c.cwnd += c.mss;
  c.recovery = LOSS;
  c.recover = c.sndNxt;
  const losses = lossesOf(c);
  losses.isFrto = losses.sendsNew = losses.mayUndo = c.isTlpPending = false;
  c.tcp.ready(c);
  return true;
}
