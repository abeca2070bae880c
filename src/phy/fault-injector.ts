/**
 * A device that spoils traffic: it drops, corrupts, duplicates, reorders, delays and slows the frames of the device
 * inside, each direction with its own settings and its own random numbers, repeatable from a seed.
 *
 * A frame meets the faults in this order: size, drop, corrupt, duplicate, rate, delay, reorder. Frames that wait are
 * held here until their time. Time passes only in calls: a stack calls `receive(now)` on every poll, and there also the
 * transmitted frames that are due go on to the device inside; `pollAt()` says when the next one is due.
 *
 * The wrapper takes no super-segments (`offload` is false), so that on the way out every fault acts on one wire-sized
 * frame. A super-segment received from a device that makes them passes as one frame. @module
 */
import { copyFrame, frameEnd, frameLength, frameStart } from '../memory/frame.ts';
import type { Memory } from '../memory/memory.ts';
import { completeChecksum } from './checksum.ts';
import type { Device, Medium } from './device.ts';
import { FrameQueue } from './queue.ts';
import { Random } from './random.ts';

/** Frames held in each direction unless told otherwise: 6 MB in flight. Beyond it a frame is dropped (`overflowed`). */
export const HELD_FRAMES_DEFAULT = 4096;
/** Bytes that wait for a limited rate unless told otherwise. Beyond it a frame is dropped (`overflowed`). */
export const QUEUE_BYTES_DEFAULT = 1 << 17;
/** How long a reordered frame is held back unless told otherwise. */
const REORDER_MS_DEFAULT = 5;

/** The faults of one direction; what is left out is off. Probabilities are a frame's, 0 to 1. */
export interface FaultSettings {
  /** Probability that a frame is lost. */
  readonly drop?: number;
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
  /** The delay is even between `delayMs` less this and `delayMs` and this. */
  readonly jitterMs?: number;
  /** Bits a second; each frame takes its time at that rate. Default Infinity. */
  readonly rateBitsPerSecond?: number;
  /** Bytes that pass at once after a pause: the depth of the token bucket. Default 0: a plain wire of that rate. */
  readonly burstBytes?: number;
  /** Bytes that may wait for the rate; default {@link QUEUE_BYTES_DEFAULT}. */
  readonly queueBytesMax?: number;
  /** Larger frames, Ethernet header included, are lost. Default Infinity. */
  readonly sizeBytesMax?: number;
}

/** Settings for both directions, and what differs in one: `rx` is from the device inside, `tx` is to it. */
export interface FaultOptions extends FaultSettings {
  readonly rx?: FaultSettings;
  readonly tx?: FaultSettings;
}

export interface FaultInjectorOptions extends FaultOptions {
  /** Default 1. */
  readonly seed?: number;
  /** Frames held in each direction, a power of two; default {@link HELD_FRAMES_DEFAULT}. */
  readonly heldFramesMax?: number;
}

/** What was done to frames of both directions. */
export interface FaultStats {
  dropped: number;
  corrupted: number;
  duplicated: number;
  reordered: number;
  /** Held until a later time, whether by delay, jitter, rate or reordering. */
  delayed: number;
  oversized: number;
  /** Dropped because the rate's queue or the frames held were at their limit, or no memory was left for a duplicate. */
  overflowed: number;
}

type Settings = Required<FaultSettings>;

const OFF: Settings = {
  drop: 0,
  corrupt: 0,
  duplicate: 0,
  reorder: 0,
  reorderMs: REORDER_MS_DEFAULT,
  delayMs: 0,
  jitterMs: 0,
  rateBitsPerSecond: Number.POSITIVE_INFINITY,
  burstBytes: 0,
  queueBytesMax: QUEUE_BYTES_DEFAULT,
  sizeBytesMax: Number.POSITIVE_INFINITY,
};
/** Settings that may be Infinity: "no limit". The others are finite, and those not named here either are at most 1. */
const UNLIMITED: readonly string[] = ['rateBitsPerSecond', 'burstBytes', 'queueBytesMax', 'sizeBytesMax'];
const TIMES: readonly string[] = ['reorderMs', 'delayMs', 'jitterMs'];

/**
 * Wraps `inner` and spoils its traffic.
 * @example new FaultInjector(device, { seed: 7, drop: 0.01, delayMs: 20, tx: { rateBitsPerSecond: 10e6 } })
 */
export class FaultInjector implements Device {
  readonly medium: Medium;
  readonly mtu: number;
  readonly offload = false;
  readonly memory: Memory | null;
  readonly stats: FaultStats = {
    dropped: 0,
    corrupted: 0,
    duplicated: 0,
    reordered: 0,
    delayed: 0,
    oversized: 0,
    overflowed: 0,
  };
  readonly #inner: Device;
  readonly #rx: Line;
  readonly #tx: Line;
  #memory: Memory | null = null;
  #now = Number.NEGATIVE_INFINITY; // of the last call that brought one: room() has none of its own
  #closed = false;

  /** @throws RangeError if a setting is out of its range. */
  constructor(inner: Device, options: FaultInjectorOptions = {}) {
    this.medium = inner.medium;
    this.mtu = inner.mtu;
    this.memory = inner.memory;
    this.#inner = inner;
    const random = new Random(options.seed ?? 1);
    const held = options.heldFramesMax ?? HELD_FRAMES_DEFAULT;
    // Each direction has numbers of its own, so that more traffic in one does not change what happens in the other.
    this.#rx = new Line(this.medium, this.stats, random.fork(), held);
    this.#tx = new Line(this.medium, this.stats, random.fork(), held);
    this.configure(options);
  }

  /**
   * Changes the faults from now on; what is left out is off. Frames held already keep their times.
   * @throws RangeError if a setting is out of its range.
   */
  configure(options: FaultOptions): void {
    const rx = resolve(options, options.rx);
    const tx = resolve(options, options.tx);
    this.#rx.settings = rx;
    this.#tx.settings = tx;
  }

  /** Frames held now, in both directions. */
  get held(): number {
    return this.#rx.length + this.#tx.length;
  }

  attach(memory: Memory, wake: () => void): void {
    this.#memory = memory;
    this.#inner.attach(memory, wake);
  }

  receive(now: number): number {
    const memory = this.#memory;
    if (memory === null || this.#closed) return 0;
    this.#now = now;
    this.#flush(now);
    // Only as far as needed: with no delay a frame is due at once, and the rest stays with the device inside.
    for (;;) {
      const due = this.#rx.take(now);
      if (due !== 0) return due;
      const frame = this.#inner.receive(now);
      if (frame === 0) return 0;
      this.#rx.put(memory, frame, now);
    }
  }

  /** The room inside less the frames that are due; while frames take time, the room to hold them. */
  room(): number {
    if (this.#closed) return 0;
    this.#flush(this.#now);
    const free = this.#tx.free;
    if (this.#tx.takesTime) return free;
    const inside = this.#inner.room() - this.#tx.length;
    return inside < 0 ? 0 : Math.min(inside, free);
  }

  transmit(frame: number, now: number): void {
    const memory = this.#memory;
    if (memory === null) return;
    if (this.#closed) {
      memory.free(frame);
      return;
    }
    this.#now = now;
    this.#tx.put(memory, frame, now);
    this.#flush(now);
  }

  pollAt(): number {
    if (this.#closed) return Number.POSITIVE_INFINITY;
    let at = this.#inner.pollAt();
    const rx = this.#rx.nextAt;
    if (rx < at) at = rx;
    const tx = this.#tx.nextAt;
    // A frame that is due and finds no room inside waits for the device's wake and not for a time.
    if (tx < at && (tx > this.#now || this.#inner.room() > 0)) at = tx;
    return at;
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    if (this.#memory !== null) {
      this.#rx.clear(this.#memory);
      this.#tx.clear(this.#memory);
    }
    this.#inner.close();
  }

  /** Passes on the transmitted frames that are due, as far as the device inside has room. */
  #flush(now: number): void {
    while (this.#tx.nextAt <= now && this.#inner.room() > 0) this.#inner.transmit(this.#tx.take(now), now);
  }
}

/** One direction: its faults, and the frames it holds until their time. */
class Line {
  settings: Settings = OFF;
  readonly #medium: Medium;
  readonly #stats: FaultStats;
  readonly #random: Random;
  readonly #inOrder: TimedQueue;
  readonly #heldBack: TimedQueue;
  #lastAt = Number.NEGATIVE_INFINITY; // release of the last frame that was not held back: none is released before it
  #rateFreeAt = Number.NEGATIVE_INFINITY; // when all bytes admitted so far have passed at the rate

  constructor(medium: Medium, stats: FaultStats, random: Random, held: number) {
    this.#medium = medium;
    this.#stats = stats;
    this.#random = random;
    this.#inOrder = new TimedQueue(held);
    this.#heldBack = new TimedQueue(held);
  }

  get length(): number {
    return this.#inOrder.length + this.#heldBack.length;
  }

  /** Frames {@link put} would hold now. */
  get free(): number {
    return this.#inOrder.capacity - this.length;
  }

  /** Whether frames may have to wait here. */
  get takesTime(): boolean {
    const { delayMs, jitterMs, rateBitsPerSecond } = this.settings;
    return delayMs > 0 || jitterMs > 0 || rateBitsPerSecond !== Number.POSITIVE_INFINITY;
  }

  /** When the next frame is due; Infinity: none is held. */
  get nextAt(): number {
    const a = this.#inOrder.nextAt;
    const b = this.#heldBack.nextAt;
    return Math.min(a, b);
  }

  /** The frame that is due first, or 0. */
  take(now: number): number {
    const a = this.#inOrder.nextAt;
    const b = this.#heldBack.nextAt;
    if (a <= b) return a <= now ? this.#inOrder.shift() : 0;
    return b <= now ? this.#heldBack.shift() : 0;
  }

  /** Takes `frame` and its ownership, and does to it what chance says. */
  put(memory: Memory, frame: number, now: number): void {
    const { settings } = this;
    if (frameLength(memory, frame) > settings.sizeBytesMax) {
      this.#stats.oversized++;
      memory.free(frame);
      return;
    }
    if (this.#random.chance(settings.drop)) {
      this.#stats.dropped++;
      memory.free(frame);
      return;
    }
    if (this.#random.chance(settings.corrupt)) this.#corrupt(memory, frame);
    if (!this.#random.chance(settings.duplicate)) {
      this.#hold(memory, frame, now);
      return;
    }
    const copy = copyFrame(memory, frame, memory);
    this.#hold(memory, frame, now);
    if (copy === 0) {
      this.#stats.overflowed++;
      return;
    }
    this.#stats.duplicated++;
    this.#hold(memory, copy, now);
  }

  clear(memory: Memory): void {
    this.#inOrder.clear(memory);
    this.#heldBack.clear(memory);
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

  /** Queues `frame` until its time. */
  #hold(memory: Memory, frame: number, now: number): void {
    const passed = this.free > 0 ? this.#passRate(frameLength(memory, frame), now) : -1;
    if (passed < 0) {
      this.#stats.overflowed++;
      memory.free(frame);
      return;
    }
    const { delayMs, jitterMs, reorder, reorderMs } = this.settings;
    const delay = jitterMs > 0 ? delayMs + (this.#random.float() * 2 - 1) * jitterMs : delayMs;
    let at = now + passed + Math.max(delay, 0);
    if (at < this.#lastAt) at = this.#lastAt;
    if (this.#random.chance(reorder)) {
      this.#stats.reordered++;
      this.#stats.delayed++;
      this.#heldBack.push(frame, at + reorderMs);
      return;
    }
    if (at > now) this.#stats.delayed++;
    this.#lastAt = at;
    this.#inOrder.push(frame, at);
  }

  /**
   * The token bucket, kept as the time at which its debt is paid: milliseconds until `length` bytes have passed, or -1
   * where the bytes that wait are too many. With nothing waiting a frame passes, however large.
   */
  #passRate(length: number, now: number): number {
    const { rateBitsPerSecond, burstBytes, queueBytesMax } = this.settings;
    if (rateBitsPerSecond === Number.POSITIVE_INFINITY) return 0;
    const msPerByte = 8000 / rateBitsPerSecond;
    const busyMs = this.#rateFreeAt > now ? this.#rateFreeAt - now : 0;
    const waitingBytes = busyMs / msPerByte - burstBytes;
    if (waitingBytes > 0 && waitingBytes + length > queueBytesMax) return -1;
    this.#rateFreeAt = now + busyMs + length * msPerByte;
    const waitMs = busyMs + (length - burstBytes) * msPerByte;
    return Math.max(waitMs, 0);
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

/** Fills in what is left out, and checks the ranges. */
function resolve(both: FaultSettings, own: FaultSettings = {}): Settings {
  const settings: Record<keyof Settings, number> = { ...OFF };
  for (const name of Object.keys(OFF) as (keyof Settings)[]) {
    const value = own[name] ?? both[name];
    if (value === undefined) continue;
    const most = UNLIMITED.includes(name) ? Number.POSITIVE_INFINITY : TIMES.includes(name) ? Number.MAX_VALUE : 1;
    const least = name === 'rateBitsPerSecond' ? Number.MIN_VALUE : 0;
    if (!(value >= least && value <= most)) {
      throw new RangeError(`fault: expected ${name} from ${least} to ${most}, got ${value}`);
    }
    settings[name] = value;
  }
  return settings;
}
