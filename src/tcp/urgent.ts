/**
 * Urgent data: RFC 9293 §3.8.5, RFC 6093. SND.UP and RCV.UP point behind the last urgent byte (MUST-62), and the byte before
 * them is the urgent one, as all systems have it; a pointer of 0 means the byte at SEG.SEQ, as on Linux. A connection has this
 * state from the first urgent byte, either way, until that is acknowledged or read. @module
 */
import type { Packet } from '../iface/packet.ts';
import * as wire from '../wire/tcp.ts';
import type { Connection } from './connection.ts';
import { emitSegment } from './emit.ts';
import { URGENT } from './events.ts';
import { consumed } from './receive.ts';
import { type Seq, seqAdd, seqDiff, seqGt, seqLe, seqLt } from './seq.ts';
import { mayReceiveIn } from './state.ts';

/** What has become of the urgent byte of the peer: there is none; it has not come; it may be taken; it was. */
export type UrgentByte = 'none' | 'awaited' | 'here' | 'taken';

/** What the field holds. */
const POINTER_MAX = 0xffff;

export class Urgent {
  /** SND.UP, while it is above SND.UNA: urgent mode. */
  sndUp = 0 as Seq;
  isSending = false;
  /** No segment has told of SND.UP yet. */
  isUntold = false;
  /** RCV.UP - 1: where the urgent byte stands, which is the mark of a reader. */
  mark = 0 as Seq;
  what: UrgentByte = 'none';
  byte = 0;
}

// Sending.

/** Everything queued is urgent: RFC 9293 §3.10.2, SEND. */
export function markUrgent(c: Connection): void {
  c.urgent ??= new Urgent();
  c.urgent.sndUp = c.txEnd;
  c.urgent.isSending = c.urgent.isUntold = true;
}

/** Whether urgent data is not acknowledged yet. */
export function isSendingUrgent(c: Connection): boolean {
  const { urgent } = c;
  if (urgent === null || !urgent.isSending) return false;
  forgetIfOver(c, urgent);
  return urgent.isSending;
}

/** Whether a segment at SND.UNA could point to the last urgent byte. */
export const urgentFits = (c: Connection): boolean =>
  isSendingUrgent(c) && seqDiff(c.urgent!.sndUp, c.sndUna) <= POINTER_MAX;

/** The urgent pointer of a segment that begins at `seq`; 0: it has none. What does not fit is told as far as it goes. */
export function urgentPointer(c: Connection, seq: Seq): number {
  if (!isSendingUrgent(c)) return 0;
  const urgent = c.urgent!;
  const pointer = seqDiff(urgent.sndUp, seq);
  if (pointer <= 0) return 0;
  // What is sent again from far below tells nothing.
  if (pointer > POINTER_MAX && !seqGt(seqAdd(seq, POINTER_MAX), c.sndNxt)) return 0;
  urgent.isUntold = false;
  return Math.min(pointer, POINTER_MAX);
}

/**
 * The peer's window holds the urgent data back: a segment without text tells of it, for URG is read even where the window is
 * zero (RFC 9293 §3.8.6, MUST-66). Linux waits for the next probe.
 */
export function tellUrgent(c: Connection): void {
  const urgent = c.urgent!;
  if (!urgent.isUntold || c.settings.linux || !isSendingUrgent(c)) return;
  const edge = seqAdd(c.sndUna, c.sndWnd);
  if (seqLe(urgent.sndUp, edge) || c.path.iface.device.room() <= 0) return;
  emitSegment(c, c.sndNxt, 0, wire.ACK);
}

// Receiving.

/** Where the reader stands: the next byte he reads, or the end. */
const readerAt = (c: Connection): Seq => seqAdd(c.rcvNxt, -c.readable - (c.peerEnded ? 1 : 0));

/** Whether the reader wants the urgent byte left in the stream; before there is one, whether his listener does. */
const isInline = (c: Connection): boolean => (c.socket ?? c.listener?.socket)?.urgentInline ?? true;

/** RFC 9293 §3.10.7.4 sixth: the URG bit of a segment, and the urgent byte itself. `c.urgent` must be there. */
export function urgentArrives(c: Connection, segment: wire.Segment, packet: Packet): void {
  const urgent = c.urgent!;
  const { dv, u8 } = c.context.memory;
  leaveMark(c, urgent);
  // "This should not occur since a FIN has been received from the remote side. Ignore the URG."
  if ((segment.flags & wire.URG) !== 0 && mayReceiveIn(c.state)) {
    // MUST-66: of any acceptable segment, whatever the window.
    pointerArrives(c, urgent, segment.seq as Seq, wire.urgent(dv, packet.payload));
  }
  if (urgent.what === 'awaited') {
    const first = seqAdd(segment.seq as Seq, (segment.flags & wire.SYN) >> 1);
    const at = segment.payload + seqDiff(urgent.mark, first);
    // The text is there even where the window has no room for it.
    if (at >= segment.payload && at < packet.end) {
      urgent.byte = u8[at]!;
      urgent.what = 'here';
      c.socket?.report(URGENT);
    }
  }
  forgetIfOver(c, urgent);
}

/** RCV.UP <- max(RCV.UP, SEG.UP). */
function pointerArrives(c: Connection, urgent: Urgent, seq: Seq, pointer: number): void {
  const mark = seqAdd(seq, Math.max(pointer - 1, 0));
  // "A TCP receiver should be robust to invalid urgent pointer values": what has come in order is urgent no more.
  if (seqLt(mark, c.rcvNxt)) return;
  if (urgent.what !== 'none') {
    if (!seqGt(mark, urgent.mark)) return; // it cannot recede
    passOver(c, urgent);
  }
  urgent.mark = mark;
  urgent.what = 'awaited';
  c.socket?.report(URGENT); // MUST-32
}

/**
 * The mark moves on from where the reader stands. Where the urgent byte is no part of his stream, it must not become one by
 * this; unless it has not come, and is then text as any, as on Linux.
 */
function passOver(c: Connection, urgent: Urgent): void {
  if (urgent.mark !== readerAt(c) || isInline(c) || c.readable === 0) return;
  dropUrgentByte(c);
}

/** Takes the urgent byte, at which the reader stands, out of the stream. */
function dropUrgentByte(c: Connection): void {
  c.rx!.advance(1);
  if (!consumed(c)) return;
  c.ackNow = true;
  c.tcp.ready(c);
}

/** The reader has gone past the mark: there is none any more. */
function leaveMark(c: Connection, urgent: Urgent): void {
  if (urgent.what !== 'none' && seqGt(readerAt(c), urgent.mark)) urgent.what = 'none';
}

/** In the order of sequence numbers nothing stays above or below for ever: what is over is forgotten at the next segment. */
function forgetIfOver(c: Connection, urgent: Urgent): void {
  urgent.isSending &&= seqGt(urgent.sndUp, c.sndUna);
  if (urgent.what === 'none' && !urgent.isSending) c.urgent = null;
}

/** What the reader may know of the urgent byte. */
export function urgentByte(c: Connection): UrgentByte {
  const { urgent } = c;
  if (urgent === null) return 'none';
  leaveMark(c, urgent);
  return urgent.what;
}

/** MUST-33: how much urgent data remains to be read, the urgent byte with it, whether it has come or not; 0: none. */
export const urgentQueue = (c: Connection): number =>
  urgentByte(c) === 'none' ? 0 : seqDiff(c.urgent!.mark, readerAt(c)) + 1;

/**
 * How many bytes one read may take of a stream without its urgent bytes: it stops in front of the mark. A reader who stands
 * there goes on behind: the byte is thrown away, taken or not.
 */
export function readableApart(c: Connection): number {
  const queue = urgentQueue(c);
  if (queue === 0) return c.readable;
  if (queue > 1) return Math.min(queue - 1, c.readable);
  if (c.readable > 0) dropUrgentByte(c);
  return c.readable;
}
