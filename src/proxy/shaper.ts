/**
 * Datagrams of one flow, one way, at the rate that its gate has: those that come too soon wait for a moment, in their order.
 * So a burst is smoothed, and a program that sends at its rate loses nothing for being uneven. @module
 */
import type { Host } from '../sockets/host.ts';
import type { FlowGate, Limiter, Way } from './limits.ts';

/** What keeps the time of a host. */
export type Clock = Host['clock'];

/** A datagram waits so long at most, then it is dropped: later it would be of no use to who plays or talks. */
const WAIT_MS = 50;
/** What may wait: as much as the rate lets through in that time, and not more than this; one datagram may always. */
const QUEUE_BYTES_MAX = 65_536;
/** The same of all flows together. */
const ALL_BYTES_MAX = 4 << 20;
/** What a waiting datagram costs beside its bytes. */
const OVERHEAD_BYTES = 128;

interface Waiting {
  readonly data: Uint8Array;
  readonly until: number;
}

export class Shaper {
  readonly #gate: FlowGate | null;
  readonly #way: Way;
  readonly #clock: Clock;
  readonly #limiter: Limiter;
  readonly #pass: (data: Uint8Array) => void;
  readonly #waiting: Waiting[] = [];
  readonly #bytesMax: number;
  #bytes = 0;
  #timer = 0;

  /** @param gate - null: nothing limits it   @param pass - sends one, and counts it with the gate */
  constructor(gate: FlowGate | null, way: Way, clock: Clock, limiter: Limiter, pass: (data: Uint8Array) => void) {
    this.#gate = gate;
    this.#way = way;
    this.#clock = clock;
    this.#limiter = limiter;
    this.#pass = pass;
    this.#bytesMax = gate === null ? 0 : Math.min(QUEUE_BYTES_MAX, gate.bytesIn(way, WAIT_MS));
  }

  /** Sends a datagram, now, soon or never. It must stay as it is: it may wait. */
  push(data: Uint8Array): void {
    const gate = this.#gate;
    if (gate === null || (this.#waiting.length === 0 && gate.claim(this.#way) > 0)) {
      this.#pass(data);
      return;
    }
    const cost = data.length + OVERHEAD_BYTES;
    const isFull = this.#waiting.length > 0 && this.#bytes + cost > this.#bytesMax;
    if (isFull || this.#limiter.queuedBytes + cost > ALL_BYTES_MAX) {
      this.#limiter.stats.dropped++;
      if (this.#waiting.length === 0) gate.leave(this.#way);
      return;
    }
    this.#waiting.push({ data, until: this.#clock.now() + WAIT_MS });
    this.#count(cost);
    this.#arm(gate);
  }

  #count(bytes: number): void {
    this.#bytes += bytes;
    this.#limiter.queuedBytes += bytes;
  }

  #shift(): Uint8Array {
    const { data } = this.#waiting.shift()!;
    this.#count(-data.length - OVERHEAD_BYTES);
    return data;
  }

  #arm(gate: FlowGate): void {
    const first = this.#waiting[0];
    if (first === undefined || this.#timer !== 0) return;
    const now = this.#clock.now();
    const at = Math.min(now + gate.waitMs(this.#way), first.until);
    this.#timer = this.#clock.setTimer(Math.max(at, now + 1), () => {
      this.#timer = 0;
      this.#turn(gate);
    });
  }

  /** Some time has passed: what may go goes, and what has waited for too long does not. */
  #turn(gate: FlowGate): void {
    // What goes may end the flow, and with it the queue.
    while (this.#waiting.length > 0 && gate.claim(this.#way) > 0) this.#pass(this.#shift());
    const now = this.#clock.now();
    while (this.#waiting.length > 0 && this.#waiting[0]!.until <= now) {
      this.#shift();
      this.#limiter.stats.dropped++;
    }
    if (this.#waiting.length === 0) gate.leave(this.#way);
    this.#arm(gate);
  }

  /** The flow is over; what waits is forgotten. */
  close(): void {
    while (this.#waiting.length > 0) this.#shift();
    if (this.#timer !== 0) this.#clock.clearTimer(this.#timer);
    this.#timer = 0;
  }
}
