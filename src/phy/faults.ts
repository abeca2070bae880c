/**
 * What a bad path does to frames: the one fault model, shared by the {@link FaultInjector} around a device and by the
 * links of `ethertype/sim`. One {@link Faults} is one direction, with settings and random numbers of its own.
 *
 * A frame meets the faults in this order: size, loss, corruption, duplication, rate (with its queue and ECN marks),
 * delay, reordering. What passes goes to a {@link FaultSink} with the time at which it is due; {@link HeldFrames} is the
 * sink that keeps frames until then. Time passes only in calls, so a frame costs no timer. @module
 */
import { copyFrame, frameEnd, frameLength, frameStart } from '../memory/frame.ts';
import type { Memory } from '../memory/memory.ts';
import * as ethernet from '../wire/ethernet.ts';
import * as ipv4 from '../wire/ipv4.ts';
import * as ipv6 from '../wire/ipv6.ts';
import { completeChecksum } from './checksum.ts';
import type { Medium } from './device.ts';
import { FrameQueue } from './queue.ts';
import type { Random } from './random.ts';

/** Frames held in each direction unless told otherwise: 6 MB in flight. Beyond it a frame is dropped (`overflowed`). */
export const HELD_FRAMES_DEFAULT = 4096;
/** Bytes that wait for a limited rate unless told otherwise. Beyond it a frame is dropped (`overflowed`). */
export const QUEUE_BYTES_DEFAULT = 1 << 17;
/** How long a reordered frame is held back unless told otherwise. */
const REORDER_MS_DEFAULT = 5;
/** The least uniform number a heavy tail is made of: no delay is more than 31 times the jitter above its least. */
const TAIL_MIN = 1 / 1024;

/** How jitter is spread: see {@link FaultSettings.jitterShape}. */
export type JitterShape = 'uniform' | 'normal' | 'pareto';
const SHAPES: readonly JitterShape[] = ['uniform', 'normal', 'pareto'];

/** The faults of one direction; what is left out is off. Probabilities are a frame's, 0 to 1. */
export interface FaultSettings {
  /** Probability that a frame is lost. */
  readonly drop?: number;
  /**
   * Probability that a bad spell begins: bursts of loss after Gilbert and Elliott. Default 0: never. A spell lasts
   * `1 / badLeave` frames on average; outside of it `drop` applies.
   */
  readonly badEnter?: number;
  /** Probability, at each frame, that the bad spell ends. Default 0.25. */
  readonly badLeave?: number;
  /** Probability that a frame is lost in a bad spell. Default 1. */
  readonly badDrop?: number;
  /** Every frame is lost: a cut wire, or in one direction a black hole. */
  readonly down?: boolean;
  /** Probability that one bit of a frame, at random among all its bytes, is turned over. */
  readonly corrupt?: number;
  /** Probability that a frame comes twice. */
  readonly duplicate?: number;
  /** Probability that a frame is held back by `reorderMs` more, so that later ones pass it. */
  readonly reorder?: number;
  /** Default 5. */
  readonly reorderMs?: number;
  /** Time every frame takes. Order is kept, whatever the jitter. */
  readonly delayMs?: number;
  /** How far the delay strays from `delayMs`, as `jitterShape` says. */
  readonly jitterMs?: number;
  /**
   * `uniform` (default): even between `delayMs` less `jitterMs` and `delayMs` and that. `normal`: around `delayMs`,
   * `jitterMs` is the standard deviation. `pareto`: never below `delayMs`, on average `jitterMs` above, now and then
   * far above. No delay is negative.
   */
  readonly jitterShape?: JitterShape;
  /** Bits a second; each frame takes its time at that rate. Default Infinity. */
  readonly rateBitsPerSecond?: number;
  /** Bytes that pass at once after a pause: the depth of the token bucket. Default 0: a plain wire of that rate. */
  readonly burstBytes?: number;
  /** Bytes that may wait for the rate; default {@link QUEUE_BYTES_DEFAULT}. With none waiting, a frame of any size. */
  readonly queueBytesMax?: number;
  /** Frames that may wait for the rate. Default Infinity: only bytes count. */
  readonly queueFramesMax?: number;
  /** With more bytes than this waiting for the rate, an ECN-capable packet is marked CE: RFC 3168 §5. Default Infinity. */
  readonly markBytes?: number;
  /** Larger frames, Ethernet header included, are lost. Default Infinity. */
  readonly sizeBytesMax?: number;
}

/** What was done to frames. */
export interface FaultStats {
  /** Lost by chance, in a bad spell, or because the direction is down. */
  dropped: number;
  corrupted: number;
  duplicated: number;
  reordered: number;
  /** Held until a later time, whether by delay, jitter, rate or reordering. */
  delayed: number;
  /** Marked "congestion experienced". */
  marked: number;
  oversized: number;
  /** Dropped because the rate's queue or the frames held were at their limit, or no memory was left for a duplicate. */
  overflowed: number;
}

/** All settings of one direction, with nothing left out. */
export type ResolvedFaults = Required<FaultSettings>;

export const NO_FAULTS: ResolvedFaults = {
  drop: 0,
  badEnter: 0,
  badLeave: 0.25,
  badDrop: 1,
  down: false,
  corrupt: 0,
  duplicate: 0,
  reorder: 0,
  reorderMs: REORDER_MS_DEFAULT,
  delayMs: 0,
  jitterMs: 0,
  jitterShape: 'uniform',
  rateBitsPerSecond: Number.POSITIVE_INFINITY,
  burstBytes: 0,
  queueBytesMax: QUEUE_BYTES_DEFAULT,
  queueFramesMax: Number.POSITIVE_INFINITY,
  markBytes: Number.POSITIVE_INFINITY,
  sizeBytesMax: Number.POSITIVE_INFINITY,
};

/** Settings that may be Infinity: "no limit". The others are finite, and those not named here either are at most 1. */
const UNLIMITED: readonly string[] = [
  'rateBitsPerSecond',
  'burstBytes',
  'queueBytesMax',
  'queueFramesMax',
  'markBytes',
  'sizeBytesMax',
];
const TIMES: readonly string[] = ['reorderMs', 'delayMs', 'jitterMs'];

export const noFaultStats = (): FaultStats => ({
  dropped: 0,
  corrupted: 0,
  duplicated: 0,
  reordered: 0,
  delayed: 0,
  marked: 0,
  oversized: 0,
  overflowed: 0,
});

/**
 * `base` changed by `both`, and by what `own` says of one direction; other names, such as those of directions, are passed
 * over.
 * @throws RangeError if a setting is out of its range.
 */
export function resolveFaults(base: ResolvedFaults, both: FaultSettings, own: FaultSettings = {}): ResolvedFaults {
  const settings: Record<string, number | boolean | string> = { ...base };
  for (const name of Object.keys(NO_FAULTS) as (keyof FaultSettings)[]) {
    const value = own[name] ?? both[name];
    if (value === undefined) continue;
    checkFault(name, value);
    settings[name] = value;
  }
  return settings as unknown as ResolvedFaults;
}

function checkFault(name: keyof FaultSettings, value: unknown): void {
  const complain = (expected: string): never => {
    throw new RangeError(`fault: expected ${name} ${expected}, got ${value}`);
  };
  if (name === 'down') {
    if (typeof value !== 'boolean') complain('true or false');
    return;
  }
  if (name === 'jitterShape') {
    if (!SHAPES.includes(value as JitterShape)) complain(SHAPES.join(', '));
    return;
  }
  const most = UNLIMITED.includes(name) ? Number.POSITIVE_INFINITY : TIMES.includes(name) ? Number.MAX_VALUE : 1;
  const least = name === 'rateBitsPerSecond' ? Number.MIN_VALUE : 0;
  const inRange = typeof value === 'number' && value >= least && value <= most;
  if (!inRange) complain(`from ${least} to ${most}`);
}

/** Where frames go that the faults let pass. */
export interface FaultSink {
  /** How many frames it would take now; at 0 a frame is dropped (`overflowed`). */
  readonly free: number;
  /** Takes `frame`, due at `at`. @param isLate - held back by reordering: what comes later may be due before it */
  pass(frame: number, at: number, isLate: boolean): void;
}

/** Told of a frame over `sizeBytesMax`, which is given back after the call: where a router would send an ICMP error. */
export type OversizedHook = (memory: Memory, frame: number, now: number) => void;

/** Why a frame was lost: by chance or a cut wire, for its size, or for want of room. */
export type FaultLoss = 'fault-lost' | 'fault-too-large' | 'fault-queue-full';

/** Told of each frame that is lost, which is given back after the call. */
export type LossHook = (memory: Memory, frame: number, why: FaultLoss, now: number) => void;

export interface FaultsOptions {
  readonly medium: Medium;
  readonly stats: FaultStats;
  readonly random: Random;
  readonly sink: FaultSink;
  readonly onOversized?: OversizedHook | undefined;
  readonly onLoss?: LossHook | undefined;
}

/** The faults of one direction, and what they remember. */
export class Faults {
  settings: ResolvedFaults = NO_FAULTS;
  readonly #medium: Medium;
  readonly #stats: FaultStats;
  readonly #random: Random;
  readonly #sink: FaultSink;
  readonly #onOversized: OversizedHook | null;
  readonly #onLoss: LossHook | null;
  readonly #waiting = new Departures();
  #lastAt = Number.NEGATIVE_INFINITY; // release of the last frame that was not held back: none is released before it
  #rateFreeAt = Number.NEGATIVE_INFINITY; // when all bytes admitted so far have passed at the rate
  #isBad = false; // in a bad spell

  constructor(options: FaultsOptions) {
    this.#medium = options.medium;
    this.#stats = options.stats;
    this.#random = options.random;
    this.#sink = options.sink;
    this.#onOversized = options.onOversized ?? null;
    this.#onLoss = options.onLoss ?? null;
  }

  /** Whether frames may have to wait. */
  get takesTime(): boolean {
    const { delayMs, jitterMs, rateBitsPerSecond } = this.settings;
    return delayMs > 0 || jitterMs > 0 || rateBitsPerSecond !== Number.POSITIVE_INFINITY;
  }

  /**
   * Takes `frame` and its ownership, and does to it what chance says.
   * @param isLate - it was held back already: frames after it need not wait for it
   */
  put(memory: Memory, frame: number, now: number, isLate = false): void {
    const { settings } = this;
    if (frameLength(memory, frame) > settings.sizeBytesMax) {
      this.#stats.oversized++;
      this.#onOversized?.(memory, frame, now);
      this.#lose(memory, frame, 'fault-too-large', now);
      return;
    }
    if (settings.down || this.#isLost(settings)) {
      this.#stats.dropped++;
      this.#lose(memory, frame, 'fault-lost', now);
      return;
    }
    if (this.#random.chance(settings.corrupt)) this.#corrupt(memory, frame);
    if (!this.#random.chance(settings.duplicate)) {
      this.#release(memory, frame, now, isLate);
      return;
    }
    const copy = copyFrame(memory, frame, memory);
    this.#release(memory, frame, now, isLate);
    if (copy === 0) {
      this.#stats.overflowed++;
      return;
    }
    this.#stats.duplicated++;
    this.#release(memory, copy, now, isLate);
  }

  #lose(memory: Memory, frame: number, why: FaultLoss, now: number): void {
    this.#onLoss?.(memory, frame, why, now);
    memory.free(frame);
  }

  /** Gilbert's two states: chance moves between them at each frame, and each has a probability of loss. */
  #isLost(settings: ResolvedFaults): boolean {
    if (this.#isBad) this.#isBad = !this.#random.chance(settings.badLeave);
    else this.#isBad = this.#random.chance(settings.badEnter);
    return this.#random.chance(this.#isBad ? settings.badDrop : settings.drop);
  }

  /** Turns over one bit. The checksum is made complete first and unverified, or the receiver would not look at it. */
  #corrupt(memory: Memory, frame: number): void {
    const start = frameStart(memory, frame);
    const length = frameEnd(memory, frame) - start;
    if (length === 0) return;
    completeChecksum(memory, frame, this.#medium);
    const bit = this.#random.below(length << 3);
    const p = start + (bit >>> 3);
    memory.u8[p] = memory.u8[p]! ^ (1 << (bit & 7));
    this.#stats.corrupted++;
  }

  /** Finds out when `frame` is due and gives it to the sink. */
  #release(memory: Memory, frame: number, now: number, isLate: boolean): void {
    const passed = this.#sink.free > 0 ? this.#passRate(memory, frame, now) : -1;
    if (passed < 0) {
      this.#stats.overflowed++;
      this.#lose(memory, frame, 'fault-queue-full', now);
      return;
    }
    const { reorder, reorderMs } = this.settings;
    let at = now + passed + this.#delay();
    if (at < this.#lastAt && !isLate) at = this.#lastAt;
    if (this.#random.chance(reorder)) {
      this.#stats.reordered++;
      this.#stats.delayed++;
      this.#sink.pass(frame, at + reorderMs, true);
      return;
    }
    if (at > now) this.#stats.delayed++;
    if (!isLate) this.#lastAt = at;
    this.#sink.pass(frame, at, isLate);
  }

  #delay(): number {
    const { delayMs, jitterMs, jitterShape } = this.settings;
    if (jitterMs === 0) return delayMs;
    const random = this.#random;
    switch (jitterShape) {
      case 'uniform':
        return Math.max(delayMs + (random.float() * 2 - 1) * jitterMs, 0);
      case 'normal':
        return Math.max(delayMs + normal(random) * jitterMs, 0);
      case 'pareto':
        // The Lomax distribution of shape 2, whose mean is its scale. A square root is exact on every machine.
        return delayMs + (1 / Math.sqrt(Math.max(random.float(), TAIL_MIN)) - 1) * jitterMs;
    }
  }

  /**
   * The token bucket, kept as the time at which its debt is paid: milliseconds until `frame` has passed, or -1 where
   * what waits is too much. With nothing waiting a frame passes, however large.
   */
  #passRate(memory: Memory, frame: number, now: number): number {
    const { rateBitsPerSecond, burstBytes, queueBytesMax, queueFramesMax, markBytes } = this.settings;
    if (rateBitsPerSecond === Number.POSITIVE_INFINITY) return 0;
    const length = frameLength(memory, frame);
    const msPerByte = 8000 / rateBitsPerSecond;
    const busyMs = this.#rateFreeAt > now ? this.#rateFreeAt - now : 0;
    const waitingBytes = busyMs / msPerByte - burstBytes;
    if (waitingBytes > 0 && waitingBytes + length > queueBytesMax) return -1;
    const countsFrames = queueFramesMax !== Number.POSITIVE_INFINITY;
    if (countsFrames && waitingBytes > 0 && this.#waiting.count(now) >= queueFramesMax) return -1;
    if (waitingBytes > markBytes && markCe(memory, frame, this.#medium)) this.#stats.marked++;
    this.#rateFreeAt = now + busyMs + length * msPerByte;
    const waitMs = Math.max(busyMs + (length - burstBytes) * msPerByte, 0);
    if (countsFrames) this.#waiting.push(now + waitMs);
    return waitMs;
  }
}

/** The sum of twelve even numbers: mean 0, deviation 1, within 6, and the same on every machine, unlike a logarithm. */
function normal(random: Random): number {
  let sum = -6;
  for (let i = 0; i < 6; i++) {
    const word = random.next();
    sum += ((word >>> 16) + (word & 0xffff)) / 65_535;
  }
  return sum;
}

/** Marks the IP packet in `frame`, if it is one that may be: RFC 3168 §5. */
function markCe(memory: Memory, frame: number, medium: Medium): boolean {
  const { dv } = memory;
  let p = frameStart(memory, frame);
  const end = frameEnd(memory, frame);
  if (medium === 'ethernet') {
    if (ethernet.check(dv, p, end) !== null) return false;
    const type = ethernet.etherType(dv, p);
    if (type !== ethernet.ETHERTYPE_IPV4 && type !== ethernet.ETHERTYPE_IPV6) return false;
    p += ethernet.HEADER_LENGTH;
  }
  if (ipv4.check(memory, p, end) === null) return ipv4.markCe(dv, p);
  return ipv6.check(dv, p, end) === null && ipv6.markCe(dv, p);
}

/** When the frames admitted to a rate will have passed it, in order: how many wait is how many times are to come. */
class Departures {
  #times = new Float64Array(64);
  #head = 0; // counts frames passed, and #tail those admitted
  #tail = 0;

  count(now: number): number {
    const mask = this.#times.length - 1;
    while (this.#head < this.#tail && this.#times[this.#head & mask]! <= now) this.#head++;
    return this.#tail - this.#head;
  }

  /** Appends a time. The ring grows to the most frames that ever wait, which their limit bounds. */
  push(at: number): void {
    if (this.#tail - this.#head === this.#times.length) this.#grow();
    this.#times[this.#tail & (this.#times.length - 1)] = at;
    this.#tail++;
  }

  #grow(): void {
    const old = this.#times;
    this.#times = new Float64Array(old.length * 2);
    for (let i = this.#head; i < this.#tail; i++) {
      this.#times[i & (this.#times.length - 1)] = old[i & (old.length - 1)]!;
    }
  }
}

/** Frames of one direction that wait for their time: those in order, and those held back by reordering. */
export class HeldFrames implements FaultSink {
  readonly #inOrder: TimedQueue;
  readonly #heldBack: TimedQueue;

  /** @param framesMax - how many, a power of two   @throws RangeError if it is none */
  constructor(framesMax: number) {
    this.#inOrder = new TimedQueue(framesMax);
    this.#heldBack = new TimedQueue(framesMax);
  }

  get length(): number {
    return this.#inOrder.length + this.#heldBack.length;
  }

  get free(): number {
    return this.#inOrder.capacity - this.length;
  }

  /** When the next frame is due; Infinity: none is held. */
  get nextAt(): number {
    return Math.min(this.#inOrder.nextAt, this.#heldBack.nextAt);
  }

  pass(frame: number, at: number, isLate: boolean): void {
    (isLate ? this.#heldBack : this.#inOrder).push(frame, at);
  }

  /** The frame that is due first, or 0. */
  take(now: number): number {
    const a = this.#inOrder.nextAt;
    const b = this.#heldBack.nextAt;
    if (a <= b) return a <= now ? this.#inOrder.shift() : 0;
    return b <= now ? this.#heldBack.shift() : 0;
  }

  clear(memory: Memory): void {
    this.#inOrder.clear(memory);
    this.#heldBack.clear(memory);
  }
}

/** Frames with a time each, in order of both: who pushes sees to it that no time is before the last. */
class TimedQueue {
  readonly #frames: FrameQueue;
  readonly #times: Float64Array;
  readonly #mask: number;
  #head = 0; // counts frames taken, as int32: wraps; the frame at the head has its time at the same place
  #lastAt = Number.NEGATIVE_INFINITY;

  constructor(capacity: number) {
    this.#frames = new FrameQueue(capacity);
    this.#times = new Float64Array(capacity);
    this.#mask = capacity - 1;
  }

  get length(): number {
    return this.#frames.length;
  }

  get capacity(): number {
    return this.#frames.capacity;
  }

  get nextAt(): number {
    return this.#frames.length === 0 ? Number.POSITIVE_INFINITY : this.#times[this.#head & this.#mask]!;
  }

  /** Appends `frame`; there must be room. A time before the last one's, as settings change, becomes that. */
  push(frame: number, at: number): void {
    if (this.#frames.length > 0 && at < this.#lastAt) at = this.#lastAt;
    this.#lastAt = at;
    this.#times[(this.#head + this.#frames.length) & this.#mask] = at;
    this.#frames.push(frame);
  }

  shift(): number {
    if (this.#frames.length > 0) this.#head = (this.#head + 1) | 0;
    return this.#frames.shift();
  }

  clear(memory: Memory): void {
    this.#frames.clear(memory);
  }
}
