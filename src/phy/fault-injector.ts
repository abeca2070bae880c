/**
 * A device that spoils traffic: it drops, corrupts, duplicates, reorders, delays and slows the frames of the device
 * inside, each direction with its own settings and its own random numbers, repeatable from a seed.
 *
 * The faults are those of faults.ts. Frames that wait are held here until their time. Time passes only in calls: a stack
 * calls `receive(now)` on every poll, and there also the transmitted frames that are due go on to the device inside;
 * `pollAt()` says when the next one is due.
 *
 * The wrapper takes no super-segments (`offload` is false), so that on the way out every fault acts on one wire-sized
 * frame. A super-segment received from a device that makes them passes as one frame. @module
 */
import { frameLength } from '../memory/frame.ts';
import type { Memory } from '../memory/memory.ts';
import type { Device, DeviceWatch, FrameNotes, Medium } from './device.ts';
import {
  type FaultSettings,
  type FaultStats,
  Faults,
  HELD_FRAMES_DEFAULT,
  HeldFrames,
  type LossHook,
  NO_FAULTS,
  noFaultStats,
  resolveFaults,
} from './faults.ts';
import { Random } from './random.ts';

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

/**
 * Wraps `inner` and spoils its traffic.
 * @example new FaultInjector(device, { seed: 7, drop: 0.01, delayMs: 20, tx: { rateBitsPerSecond: 10e6 } })
 */
export class FaultInjector implements Device {
  readonly medium: Medium;
  readonly mtu: number;
  readonly offload = false;
  readonly memory: Memory | null;
  readonly notes: FrameNotes | null;
  watch: DeviceWatch | null = null;
  /** What was done to frames of both directions. */
  readonly stats: FaultStats = noFaultStats();
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
    this.notes = inner.notes ?? null;
    this.#inner = inner;
    const random = new Random(options.seed ?? 1);
    const held = options.heldFramesMax ?? HELD_FRAMES_DEFAULT;
    // Each direction has numbers of its own, so that more traffic in one does not change what happens in the other.
    const { medium, stats, notes } = this;
    this.#rx = new Line(medium, stats, random.fork(), held, (_, frame, why, now) => {
      notes?.lost(frame, why);
      this.watch?.lost(frame, why, now);
    });
    this.#tx = new Line(medium, stats, random.fork(), held, (memory, frame, why, now) => {
      notes?.refused(frame, frameLength(memory, frame), why, now);
      this.watch?.done(frame, why);
    });
    this.configure(options);
  }

  /**
   * Changes the faults from now on; what is left out is off. Frames held already keep their times.
   * @throws RangeError if a setting is out of its range.
   */
  configure(options: FaultOptions): void {
    const rx = resolveFaults(NO_FAULTS, options, options.rx);
    const tx = resolveFaults(NO_FAULTS, options, options.tx);
    this.#rx.faults.settings = rx;
    this.#tx.faults.settings = tx;
  }

  /** Frames held now, in both directions. */
  get held(): number {
    return this.#rx.held.length + this.#tx.held.length;
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
    this.notes?.handed(0);
    // Only as far as needed: with no delay a frame is due at once, and the rest stays with the device inside.
    for (;;) {
      const due = this.#rx.held.take(now);
      if (due !== 0) {
        this.notes?.handed(due);
        return due;
      }
      const frame = this.#inner.receive(now);
      if (frame === 0) return 0;
      this.#rx.faults.put(memory, frame, now);
    }
  }

  /** The room inside less the frames that are due; while frames take time, the room to hold them. */
  room(): number {
    if (this.#closed) return 0;
    this.#flush(this.#now);
    const free = this.#tx.held.free;
    if (this.#tx.faults.takesTime) return free;
    const inside = this.#inner.room() - this.#tx.held.length;
    return inside < 0 ? 0 : Math.min(inside, free);
  }

  transmit(frame: number, now: number): void {
    const memory = this.#memory;
    if (memory === null) return;
    if (this.#closed) {
      this.watch?.done(frame, 'device-closed');
      memory.free(frame);
      return;
    }
    this.#now = now;
    this.#tx.faults.put(memory, frame, now);
    this.watch?.done(frame, null); // unless it was told that the frame is lost
    this.#flush(now);
  }

  pollAt(): number {
    if (this.#closed) return Number.POSITIVE_INFINITY;
    let at = this.#inner.pollAt();
    const rx = this.#rx.held.nextAt;
    if (rx < at) at = rx;
    const tx = this.#tx.held.nextAt;
    // A frame that is due and finds no room inside waits for the device's wake and not for a time.
    if (tx < at && (tx > this.#now || this.#inner.room() > 0)) at = tx;
    return at;
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    if (this.#memory !== null) {
      this.#rx.held.clear(this.#memory);
      this.#tx.held.clear(this.#memory);
    }
    this.#inner.close();
  }

  /** Passes on the transmitted frames that are due, as far as the device inside has room. */
  #flush(now: number): void {
    while (this.#tx.held.nextAt <= now && this.#inner.room() > 0) this.#inner.transmit(this.#tx.held.take(now), now);
  }
}

/** One direction: its faults, and the frames it holds until their time. */
class Line {
  readonly held: HeldFrames;
  readonly faults: Faults;

  constructor(medium: Medium, stats: FaultStats, random: Random, framesMax: number, onLoss: LossHook) {
    this.held = new HeldFrames(framesMax);
    this.faults = new Faults({ medium, stats, random, sink: this.held, onLoss });
  }
}
