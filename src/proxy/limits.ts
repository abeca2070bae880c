/**
 * How much may go through: bytes a second and bytes at most, of one flow and of all. What a rate holds up waits where the
 * protocol can wait (TCP: it is not read, so the sender's window closes); datagrams wait in a short queue (`shaper`), and what
 * has no room there is dropped, as echo requests are. A flow that reaches its bytes is over; once all have been used, so is every flow, and none begins. @module
 */

/** Each left out: none. */
export interface Limits {
  /** Bytes a second, each way for itself. */
  readonly bytesPerSecond?: number | undefined;
  /** Bytes at most, both ways together. */
  readonly bytes?: number | undefined;
}

/** As it stands in a policy's file. */
export interface LimitSet {
  /** Of each flow. */
  readonly flow?: Limits | undefined;
  /** Of all flows together, since the beginning. */
  readonly all?: Limits | undefined;
}

export type Way = 'out' | 'in';

/** What a flow over its bytes ends with; Linux's name for a quota that is used up. */
export const OVER_LIMIT = 'EDQUOT';

/** A bucket holds what its rate gives in so long, but a datagram of the largest size at least. */
const BURST_MS = 100;
const BURST_BYTES_MIN = 65_536;
/** A wait is worth a segment, or what the rate gives in so long; a timer has no finer step than the least. */
const QUANTUM_BYTES = 1460;
const QUANTUM_MS = 10;
const WAIT_MS_MIN = 1;

/** @throws RangeError, TypeError for limits that are none */
export function checkLimits(what: string, limits: unknown): asserts limits is Limits | undefined {
  if (limits === undefined) return;
  if (typeof limits !== 'object' || limits === null) {
    throw new TypeError(`${what}: expected {"bytesPerSecond": N, "bytes": N}, got ${JSON.stringify(limits)}`);
  }
  for (const [key, value] of Object.entries(limits)) {
    if (key !== 'bytesPerSecond' && key !== 'bytes') {
      throw new TypeError(`${what}: expected bytesPerSecond, bytes, got ${JSON.stringify(key)}`);
    }
    if (value !== undefined && !(typeof value === 'number' && value > 0)) {
      throw new RangeError(`${what}: ${key}: expected a number above 0, got ${JSON.stringify(value)}`);
    }
  }
}

/** @throws RangeError, TypeError for a set that is none */
export function checkLimitSet(what: string, set: unknown): asserts set is LimitSet | undefined {
  if (set === undefined) return;
  if (typeof set !== 'object' || set === null) {
    throw new TypeError(`${what}: expected {"flow": LIMITS, "all": LIMITS}, got ${JSON.stringify(set)}`);
  }
  for (const [key, value] of Object.entries(set)) {
    if (key !== 'flow' && key !== 'all') {
      throw new TypeError(`${what}: expected flow, all, got ${JSON.stringify(key)}`);
    }
    checkLimits(`${what}.${key}`, value);
  }
}

/** Tokens of one way. A piece goes through while there are any; what it is longer than they are is owed. */
class Bucket {
  readonly #perMs: number;
  readonly #burst: number;
  readonly #quantum: number;
  /** Who waits, first come first served: else the one whose timer comes first would take it all. */
  readonly waiting = new Set<FlowGate>();
  #tokens: number;
  #at: number;

  get perMs(): number {
    return this.#perMs;
  }

  constructor(bytesPerSecond: number, nowMs: number) {
    this.#perMs = bytesPerSecond / 1000;
    // A rate so small that its burst were hours of it has a burst of a second.
    this.#burst = Math.max(this.#perMs * BURST_MS, Math.min(BURST_BYTES_MIN, bytesPerSecond));
    this.#quantum = Math.min(this.#burst, Math.max(QUANTUM_BYTES, this.#perMs * QUANTUM_MS));
    this.#tokens = this.#burst;
    this.#at = nowMs;
  }

  /** Bytes that may go now; 0 or less: those of so many are owed. */
  room(nowMs: number): number {
    this.#tokens = Math.min(this.#burst, this.#tokens + (nowMs - this.#at) * this.#perMs);
    this.#at = nowMs;
    return this.#tokens;
  }

  take(bytes: number): void {
    this.#tokens -= bytes;
  }

  /** Milliseconds until a piece worth a timer may go. */
  waitMs(nowMs: number): number {
    return Math.max(WAIT_MS_MIN, (this.#quantum - this.room(nowMs)) / this.#perMs);
  }

  /** Whether it is the gate's turn. */
  isNext(gate: FlowGate): boolean {
    for (const first of this.waiting) return first === gate;
    return true;
  }
}

/** A limit in force: of one flow, or of all. */
class Meter {
  readonly bytesMax: number;
  readonly #out: Bucket | null;
  readonly #in: Bucket | null;
  used = 0;

  constructor({ bytesPerSecond, bytes = Number.POSITIVE_INFINITY }: Limits, nowMs: number) {
    this.bytesMax = bytes;
    this.#out = bytesPerSecond === undefined ? null : new Bucket(bytesPerSecond, nowMs);
    this.#in = bytesPerSecond === undefined ? null : new Bucket(bytesPerSecond, nowMs);
  }

  bucket(way: Way): Bucket | null {
    return way === 'out' ? this.#out : this.#in;
  }
}

/** What all flows have used; makes the gate of each. */
export class Limiter {
  readonly #now: () => number;
  readonly #flow: Limits;
  readonly #all: Meter | null;
  /** Datagrams and echo requests dropped because of a rate; flows ended, or not begun, because of bytes. */
  readonly stats = { dropped: 0, ended: 0 };
  /** Bytes of datagrams that wait for a rate, of all flows: {@link Shaper}. */
  queuedBytes = 0;

  /** @param now - milliseconds, never going back   @throws RangeError, TypeError for limits that are none */
  constructor(now: () => number, set: LimitSet = {}) {
    checkLimitSet('limits', set);
    this.#now = now;
    this.#flow = set.flow ?? {};
    this.#all = set.all === undefined ? null : new Meter(set.all, now());
  }

  /** Why no flow may begin any more, or null. */
  get exhausted(): string | null {
    const all = this.#all;
    return all !== null && all.used >= all.bytesMax ? describe(all.bytesMax, 'of all flows') : null;
  }

  /** The gate of a new flow; null: nothing limits it. @param own - instead of what holds for each flow */
  open(own?: Limits): FlowGate | null {
    const { bytesPerSecond, bytes } = own ?? this.#flow;
    const isFree = bytesPerSecond === undefined && bytes === undefined;
    if (isFree && this.#all === null) return null;
    return new FlowGate(this.#now, isFree ? null : new Meter({ bytesPerSecond, bytes }, this.#now()), this.#all);
  }
}

const describe = (bytes: number, of: string): string => `the limit of ${bytes} bytes ${of} is reached`;

/** What one flow goes through. */
export class FlowGate {
  readonly #now: () => number;
  readonly #own: Meter | null;
  readonly #all: Meter | null;

  /** Made by {@link Limiter.open}. */
  constructor(now: () => number, own: Meter | null, all: Meter | null) {
    this.#now = now;
    this.#own = own;
    this.#all = all;
  }

  /**
   * As {@link room}, for who can wait, but only when it is the flow's turn; then it is the others'. 0: it stands in line,
   * and is to come again after {@link waitMs}.
   */
  claim(way: Way): number {
    const all = this.#all?.bucket(way) ?? null;
    const room = this.room(way);
    if (all === null) return room;
    // Who is held up by its own rate stands in nobody's way.
    const isHeldByAll = all.room(this.#now()) < 1 || !all.isNext(this);
    const own = this.#own?.bucket(way)?.room(this.#now()) ?? 1;
    if (own >= 1 && isHeldByAll) {
      all.waiting.add(this);
      return 0;
    }
    all.waiting.delete(this);
    return room;
  }

  /** The flow is over: it waits for nothing any more. */
  close(): void {
    for (const way of ['out', 'in'] as const) this.leave(way);
  }

  /** It waits for nothing any more, one way, until it claims again. */
  leave(way: Way): void {
    this.#all?.bucket(way)?.waiting.delete(this);
  }

  /** Bytes that the rates let through in so long. */
  bytesIn(way: Way, ms: number): number {
    const own = this.#own?.bucket(way)?.perMs ?? Number.POSITIVE_INFINITY;
    const all = this.#all?.bucket(way)?.perMs ?? Number.POSITIVE_INFINITY;
    return Math.min(own, all) * ms;
  }

  /** Bytes that may go through now. */
  room(way: Way): number {
    const now = this.#now();
    const own = this.#own?.bucket(way)?.room(now) ?? Number.POSITIVE_INFINITY;
    const all = this.#all?.bucket(way)?.room(now) ?? Number.POSITIVE_INFINITY;
    return Math.max(0, Math.floor(Math.min(own, all)));
  }

  /** Milliseconds until something may go through again. */
  waitMs(way: Way): number {
    const now = this.#now();
    return Math.max(this.#own?.bucket(way)?.waitMs(now) ?? 0, this.#all?.bucket(way)?.waitMs(now) ?? 0);
  }

  /**
   * Counts bytes that go through, which may be more than there was room for: the next ones wait the longer.
   * @returns why the flow is over now, and these bytes are not to go; or null
   */
  pass(way: Way, bytes: number): string | null {
    const own = this.#own;
    const all = this.#all;
    if (own !== null && own.used + bytes > own.bytesMax) return describe(own.bytesMax, 'a flow');
    if (all !== null && all.used + bytes > all.bytesMax) {
      all.used = all.bytesMax; // nobody gets what is left
      return describe(all.bytesMax, 'of all flows');
    }
    for (const meter of [own, all]) {
      if (meter === null) continue;
      meter.used += bytes;
      meter.bucket(way)?.take(bytes);
    }
    return null;
  }
}
