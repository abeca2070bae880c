/**
 * One TCP connection as its two hosts see it on their wires: what each sent, what came of it. What only a stack knows, the
 * congestion window, comes from the trace of its socket. @module
 */
import type { Snapshot, TraceEvent } from '../../core.ts';
import { SSTHRESH_MAX } from '../../tcp/congestion/controller.ts';
import { tcp } from '../../wire/index.ts';
import { Series } from './series.ts';

/** Messages kept of a connection, for its sequence diagram: so many first ones and so many last ones. */
export const FIRST_MESSAGES_MAX = 1800;
export const LAST_MESSAGES_MAX = 200;
/** Segments that wait for the acknowledgement that tells their round trip. */
const TIMED_MAX = 1024;

export interface End {
  /** The name of the host. */
  readonly host: string;
  readonly address: string;
  readonly port: number;
}

/** A segment on its way. */
export interface Message {
  readonly atMs: number;
  /** Whether the client sent it. */
  readonly isForward: boolean;
  readonly seq: number;
  readonly ack: number;
  readonly length: number;
  readonly flags: number;
  readonly isResent: boolean;
  /** When it came to the other side; null: it did not. */
  arrivedMs: number | null;
  /** What it is found by; empty: it is kept for ever. */
  key: string;
}

/** One direction: what one end sends. Sequence numbers count from its SYN, which is 0. */
export class Half {
  segments = 0;
  /** Payload, and payload that had been sent before. */
  sentBytes = 0;
  resent = 0;
  firstDataMs = -1;
  lastAckMs = -1;
  /** Time, first and last byte of each segment that is new; of each that is not. */
  readonly data = new Series(3);
  readonly again = new Series(3);
  /** Of those that came to nobody, what {@link Flow.messages} does not keep. */
  readonly lost = new Series(3);
  readonly acked = new Series();
  /** The end of the window that the other side grants. */
  readonly edge = new Series();
  /** ms. */
  readonly rtt = new Series();
  readonly srtt = new Series();
  readonly cwnd = new Series();
  readonly ssthresh = new Series();
  readonly inFlight = new Series();
  #isn: number | null = null;
  #next = 0;
  #acked = 0;
  /** Behind the FIN; 0: there was none. */
  #finEnd = 0;
  /** Scale of the windows that the other side grants. */
  #shift = 0;
  readonly #timed: { end: number; atMs: number }[] = [];

  /** The end sends a segment. @returns whether all of it had been sent before */
  sent(segment: tcp.Segment, atMs: number): boolean {
    this.#isn ??= segment.seq;
    const seq = (segment.seq - this.#isn) >>> 0;
    const isControl = (segment.flags & (tcp.SYN | tcp.FIN)) !== 0;
    const end = seq + segment.length + (isControl ? 1 : 0);
    this.segments++;
    this.sentBytes += segment.length;
    if ((segment.flags & tcp.FIN) !== 0) this.#finEnd = end;
    const isNew = end > this.#next;
    if (end === seq) return false;
    if (segment.length > 0 && this.firstDataMs < 0) this.firstDataMs = atMs;
    if (isNew) {
      this.#next = end;
      if (segment.length > 0) this.data.push(atMs, seq, end);
      if (this.#timed.length < TIMED_MAX) this.#timed.push({ end, atMs });
      return false;
    }
    this.resent++;
    this.again.push(atMs, seq, end);
    // Karn's rule: an acknowledgement of what was sent twice tells nothing.
    while (this.#timed.length > 0 && this.#timed.at(-1)!.end > seq) this.#timed.pop();
    return true;
  }

  /** The end gets a segment of the other side. */
  received(segment: tcp.Segment, atMs: number): void {
    if (segment.windowScale >= 0 && (segment.flags & tcp.SYN) !== 0) this.#shift = segment.windowScale;
    if (this.#isn === null || (segment.flags & tcp.ACK) === 0) return;
    const ack = (segment.ack - this.#isn) >>> 0;
    if (ack > this.#next) return;
    const wnd = (segment.flags & tcp.SYN) === 0 ? segment.wnd * 2 ** this.#shift : segment.wnd;
    this.edge.push(atMs, ack + wnd);
    if (ack <= this.#acked) return;
    this.#acked = ack;
    this.lastAckMs = atMs;
    this.acked.push(atMs, ack);
    let sentMs = -1;
    while (this.#timed.length > 0 && this.#timed[0]!.end <= ack) sentMs = this.#timed.shift()!.atMs;
    if (sentMs >= 0) this.rtt.push(atMs, atMs - sentMs);
  }

  /** The stack of this end tells. */
  traced(event: TraceEvent & Snapshot, atMs: number): void {
    this.cwnd.push(atMs, event.cwnd);
    this.inFlight.push(atMs, event.inFlight);
    if (event.srttUs > 0) this.srtt.push(atMs, event.srttUs / 1000);
    if (event.kind === 'window' && event.ssthresh < SSTHRESH_MAX) this.ssthresh.push(atMs, event.ssthresh);
  }

  /** Bits a second from the first byte to the last acknowledgement. */
  get goodput(): number {
    const ms = this.lastAckMs - this.firstDataMs;
    return this.firstDataMs < 0 || ms <= 0 ? 0 : (this.payloadBytes * 8000) / ms;
  }

  /** What was acknowledged, without SYN and FIN. */
  get payloadBytes(): number {
    const fin = this.#finEnd > 0 && this.#acked >= this.#finEnd ? 1 : 0;
    return Math.max(0, this.#acked - 1 - fin);
  }

  /** Least, median and most of the round trips, in ms; null: there are none. */
  get roundTrips(): readonly [number, number, number] | null {
    const times = this.rtt.values.filter((_, i) => i % 2 === 1).sort((a, b) => a - b);
    if (times.length === 0) return null;
    return [times[0]!, times[times.length >> 1]!, times.at(-1)!];
  }
}

export class Flow {
  readonly number: number;
  readonly family: 4 | 6;
  readonly client: End;
  /** Its host is empty until it is heard. */
  server: End;
  readonly startMs: number;
  endMs: number;
  readonly forward = new Half();
  readonly backward = new Half();
  /** Messages in the middle that were not kept. */
  messagesLeftOut = 0;
  /** Segments of either side that came to the other. */
  #arrived = 0;
  readonly #first: Message[] = [];
  /** A ring: the next place is that of the oldest. */
  readonly #last: Message[] = [];
  #lastAt = 0;
  /** Whether both sides have ended it, or one has reset it. */
  isOver = false;
  #ends = 0; // bit 0: the client's FIN was seen, bit 1: the server's
  #clientIsn = 0;
  #serverIsn = 0;
  /** Kept messages under way, or lost, by what they are. */
  readonly #underWay = new Map<string, Message[]>();

  constructor(number: number, family: 4 | 6, client: End, server: End, atMs: number) {
    this.number = number;
    this.family = family;
    this.client = client;
    this.server = server;
    this.startMs = atMs;
    this.endMs = atMs;
  }

  /** The half that carries more: what the flow is about. */
  get main(): Half {
    return this.backward.payloadBytes > this.forward.payloadBytes ? this.backward : this.forward;
  }

  get resent(): number {
    return this.forward.resent + this.backward.resent;
  }

  /** Segments of either side that did not come to the other; what comes twice makes up for one. */
  get lost(): number {
    return Math.max(0, this.forward.segments + this.backward.segments - this.#arrived);
  }

  /** The first and the last messages; between them {@link messagesLeftOut} are not kept. */
  get messages(): readonly Message[] {
    return [...this.#first, ...this.#last.slice(this.#lastAt), ...this.#last.slice(0, this.#lastAt)];
  }

  /**
   * A segment at one of the two hosts.
   * @param isForward - whether the client sent it   @param isOut - at the sender, or at the receiver
   * @param mark - what tells segments apart whose numbers are alike
   */
  see(segment: tcp.Segment, isForward: boolean, isOut: boolean, mark: number, atMs: number): void {
    this.endMs = atMs;
    const [own, other] = isForward ? [this.forward, this.backward] : [this.backward, this.forward];
    const key = `${isForward} ${segment.seq} ${segment.ack} ${segment.length} ${segment.flags} ${mark}`;
    if (!isOut) {
      other.received(segment, atMs);
      this.#arrive(key, atMs);
      return;
    }
    if ((segment.flags & tcp.SYN) !== 0) {
      if (isForward) this.#clientIsn = segment.seq;
      else this.#serverIsn = segment.seq;
    }
    if ((segment.flags & tcp.FIN) !== 0) this.#ends |= isForward ? 1 : 2;
    this.isOver = this.#ends === 3 || (segment.flags & tcp.RST) !== 0;
    const isResent = own.sent(segment, atMs);
    this.#leave(key, segment, isForward, isResent, atMs);
  }

  #leave(key: string, segment: tcp.Segment, isForward: boolean, isResent: boolean, atMs: number): void {
    const [own, other] = isForward ? [this.#clientIsn, this.#serverIsn] : [this.#serverIsn, this.#clientIsn];
    const message: Message = {
      atMs,
      isForward,
      seq: (segment.seq - own) >>> 0,
      ack: (segment.flags & tcp.ACK) === 0 ? 0 : (segment.ack - other) >>> 0,
      length: segment.length,
      flags: segment.flags,
      isResent,
      arrivedMs: null,
      key: '',
    };
    this.#keep(message, key);
    const alike = this.#underWay.get(key);
    if (alike === undefined) this.#underWay.set(key, [message]);
    else alike.push(message);
  }

  #keep(message: Message, key: string): void {
    if (this.#first.length < FIRST_MESSAGES_MAX) {
      this.#first.push(message);
      return;
    }
    const old = this.#last[this.#lastAt];
    if (old !== undefined) {
      this.messagesLeftOut++;
      const { atMs, seq, length, isForward, arrivedMs } = old;
      if (arrivedMs === null && length > 0)
        (isForward ? this.forward : this.backward).lost.push(atMs, seq, seq + length);
      this.#forget(old);
    }
    message.key = key;
    this.#last[this.#lastAt] = message;
    this.#lastAt = (this.#lastAt + 1) % LAST_MESSAGES_MAX;
  }

  /** A message that is not kept any more need not be found. */
  #forget(message: Message): void {
    const alike = this.#underWay.get(message.key);
    if (alike === undefined) return;
    const rest = alike.filter((one) => one !== message);
    if (rest.length === 0) this.#underWay.delete(message.key);
    else this.#underWay.set(message.key, rest);
  }

  #arrive(key: string, atMs: number): void {
    this.#arrived++;
    const alike = this.#underWay.get(key);
    const message = alike?.shift();
    if (message !== undefined) message.arrivedMs = atMs;
    if (alike?.length === 0) this.#underWay.delete(key);
  }
}
