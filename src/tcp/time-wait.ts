/**
 * TIME-WAIT in a few words: once both FINs are acknowledged, a connection is a record of what an answer needs.
 * RFC 9293 §3.10.7.4, RFC 1337, RFC 6191. @module
 */
import { type Flow, FlowTable } from '../iface/flow-table.ts';
import type { Packet } from '../iface/packet.ts';
import type { Timed } from '../iface/timers.ts';
import type { IpAddress } from '../wire/address.ts';
import * as wire from '../wire/tcp.ts';
import { ANSWER_MS, type Connection } from './connection.ts';
import { emitBare } from './emit.ts';
import { type Seq, seqAdd, seqDiff, seqGt } from './seq.ts';
import type { Tcp } from './tcp.ts';

/** What the field of the window holds. */
const WINDOW_MAX = 0xffff;
/** Records kept; beyond, the oldest is given up and counted. */
const TIME_WAIT_MAX = 1 << 14;
const REUSE_MS = 1000;
/** How far above those of a connection in TIME-WAIT the next one's numbers begin: a window without scaling. */
export const ISS_STEP = 1 << 16;

class TimeWait implements Flow {
  readonly local: IpAddress;
  readonly remote: IpAddress;
  readonly portsIn: number;
  readonly hash: number;
  readonly sndNxt: Seq;
  readonly rcvNxt: Seq;
  readonly tsOffset: number;
  readonly tsRecent: number;
  readonly useTimestamps: boolean;
  /** What a segment of ours says of the window: scaled as the connection's were. */
  readonly wnd: number;
  /** When its last segment came. */
  lastAt: number;
  /** ms of the stack's clock; moved on by a FIN that comes again. */
  expiresAt: number;
  answeredAt: number;
  isGone = false;
  /** `expiresAt` was moved on since it was last queued. */
  isProlonged = false;

  constructor(c: Connection, hash: number, nowMs: number) {
    this.local = c.local;
    this.remote = c.remote;
    this.portsIn = c.portsIn;
    this.hash = hash;
    this.sndNxt = c.sndNxt;
    this.rcvNxt = c.rcvNxt;
    this.tsOffset = c.tsOffset;
    this.tsRecent = c.tsRecent;
    this.useTimestamps = c.useTimestamps;
    this.wnd = Math.min(Math.max(0, seqDiff(c.rcvAdv, c.rcvNxt)) >>> c.rcvShift, WINDOW_MAX);
    this.lastAt = nowMs;
    this.expiresAt = nowMs + c.settings.timeWaitMs;
    this.answeredAt = nowMs - ANSWER_MS;
  }
}

export class TimeWaitTable implements Timed {
  timerAt = 0;
  timerIndex = -1;
  readonly #tcp: Tcp;
  readonly #table: FlowTable<TimeWait>;
  /** In the order of their ends, but for those that a FIN has prolonged; these go to the back when their turn comes. */
  #queue: TimeWait[] = [];
  #head = 0;

  constructor(tcp: Tcp) {
    this.#tcp = tcp;
    this.#table = new FlowTable(tcp.context.random);
  }

  get count(): number {
    return this.#table.count;
  }

  has(local: IpAddress, remote: IpAddress, ports: number): boolean {
    return this.#table.count > 0 && this.#table.get(local, remote, ports) !== null;
  }

  /**
   * RFC 6191 §2, for our own side: whether a connect of ours may take the flow over: with timestamps, and after one tick
   * of the slowest clock of any peer (RFC 7323 §5.4: a second), PAWS keeps old segments out. What Linux's tcp_tw_reuse does.
   */
  mayReuse(local: IpAddress, remote: IpAddress, ports: number): boolean {
    const record = this.#table.get(local, remote, ports);
    if (record === null || !record.useTimestamps) return false;
    return this.#tcp.context.nowMs - record.lastAt >= REUSE_MS;
  }

  /** A new connection of ours takes the place of the record of its flow, if there is one, with numbers above its own. */
  takeOver(c: Connection): void {
    const record = this.#table.count === 0 ? null : this.#table.get(c.local, c.remote, c.portsIn);
    if (record === null) return;
    if (!seqGt(c.iss, record.sndNxt)) this.#tcp.setIss(c, seqAdd(record.sndNxt, ISS_STEP));
    this.#remove(record);
  }

  add(c: Connection): void {
    const { nowMs, stats, timers } = this.#tcp.context;
    if (this.#table.count >= TIME_WAIT_MAX) {
      stats.tcpTimeWaitOverflows++;
      this.#dropFirst();
    }
    const record = new TimeWait(c, this.#table.hash(c.local, c.remote, c.portsIn), nowMs);
    this.#table.add(record);
    this.#queue.push(record);
    timers.atMost(this, record.expiresAt);
  }

  expire(nowMs: number): void {
    for (;;) {
      const first = this.#first();
      if (first === null) return;
      if (first.expiresAt <= nowMs) {
        this.#remove(first);
      } else if (first.isProlonged) {
        // All behind it that is due must not wait for it.
        first.isProlonged = false;
        this.#head++;
        this.#queue.push(first);
      } else {
        this.#tcp.context.timers.atMost(this, first.expiresAt);
        return;
      }
    }
  }

  /**
   * A segment for which no connection was found: answers it if it belongs here. RFC 9293 §3.10.7.4, TIME-WAIT.
   * @returns 'none' if it does not, 'done' if it does; else a listener may open the connection anew, and this is the
   *   sequence number that it must begin above. The record stays until {@link forget}.
   */
  input(packet: Packet, segment: wire.Segment, ports: number): 'none' | 'done' | Seq {
    if (this.#table.count === 0) return 'none';
    const record = this.#table.find(packet, ports);
    if (record === null) return 'none';
    const { flags } = segment;
    if ((flags & wire.RST) !== 0) {
      // RFC 1337 §3 (F1): a RST is ignored, or an old duplicate would end the wait too early.
      if (!this.#tcp.settings.rfc1337 && segment.seq === record.rcvNxt) this.#remove(record);
      return 'done';
    }
    const isOpening =
      (flags & (wire.SYN | wire.ACK)) === wire.SYN && ((flags & wire.FIN) === 0 || !this.#tcp.settings.dropSynFin);
    if (isOpening && mayReopen(record, segment)) return record.sndNxt;
    if (this.#isSilent(record, segment)) {
      this.#tcp.context.stats.drop('tcp-bad-flags');
      return 'done';
    }
    const occupied = segment.length + (flags & wire.FIN) + ((flags & wire.SYN) >> 1);
    const isFinAgain = (flags & wire.FIN) !== 0 && seqAdd(segment.seq as Seq, occupied) === record.rcvNxt;
    const { nowMs, stats } = this.#tcp.context;
    // "The only thing that can arrive in this state is a retransmission of the remote FIN. Acknowledge it, and restart".
    if (isFinAgain) {
      record.lastAt = nowMs;
      record.expiresAt = nowMs + this.#tcp.settings.timeWaitMs;
      record.isProlonged = true;
    } else {
      stats.drop('tcp-time-wait');
    }
    this.#answer(record, packet, occupied === 0, segment.seq === record.rcvNxt);
    return 'done';
  }

  /** RFC 9293 §3.10.7.4 fifth: "if the ACK bit is off, drop the segment", if it is acceptable; BSD drops it in any case. */
  #isSilent(record: TimeWait, { seq, flags }: wire.Segment): boolean {
    if ((flags & wire.ACK) !== 0) return false;
    if (this.#tcp.settings.bsd) return true;
    const offset = seqDiff(seq as Seq, record.rcvNxt);
    return (flags & wire.SYN) === 0 && offset >= 0 && offset <= WINDOW_MAX;
  }

  /** Ends the wait of the flow that `packet` belongs to: a new connection has taken its place. */
  forget(packet: Packet, ports: number): void {
    const record = this.#table.find(packet, ports);
    if (record !== null) this.#remove(record);
  }

  /** An empty segment in its place needs no answer, or two records would answer each other for ever. */
  #answer(record: TimeWait, packet: Packet, isEmpty: boolean, isInPlace: boolean): void {
    const { nowMs } = this.#tcp.context;
    if (isEmpty && (isInPlace || nowMs - record.answeredAt < ANSWER_MS)) return;
    record.answeredAt = nowMs;
    const timestamps = record.useTimestamps ? { tsVal: (nowMs + record.tsOffset) | 0, tsEcr: record.tsRecent } : null;
    emitBare(this.#tcp, packet, record.sndNxt, record.rcvNxt, wire.ACK, record.wnd, timestamps);
  }

  #first(): TimeWait | null {
    while (this.#head < this.#queue.length && this.#queue[this.#head]!.isGone) this.#head++;
    if (this.#head > 1024 && this.#head * 2 > this.#queue.length) {
      this.#queue = this.#queue.slice(this.#head);
      this.#head = 0;
    }
    return this.#queue[this.#head] ?? null;
  }

  #dropFirst(): void {
    const first = this.#first();
    if (first !== null) this.#remove(first);
  }

  #remove(record: TimeWait): void {
    record.isGone = true;
    this.#table.remove(record);
  }
}

/**
 * RFC 9293 §3.6.1 MAY-2, RFC 6191 §2: a SYN may open the connection anew if its timestamp, or without timestamps its
 * sequence number, is above the last one.
 */
function mayReopen(record: TimeWait, segment: wire.Segment): boolean {
  if (record.useTimestamps && segment.hasTimestamps && segment.tsVal !== record.tsRecent) {
    return ((segment.tsVal - record.tsRecent) | 0) > 0;
  }
  return seqGt(segment.seq as Seq, record.rcvNxt);
}
