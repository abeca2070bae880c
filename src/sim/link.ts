/**
 * A link between two stacks in virtual time: delay, loss, rate and all else that faults.ts has, in each direction with
 * settings and random numbers of its own, changing over time if asked. Both ends are devices. What happens to a frame
 * is decided when it is sent; it is given out when it is due, which `pollAt()` of the far end tells. So a frame costs no
 * timer, and frames due at one moment come in one poll. Frames under way when a link goes down still arrive. @module
 */
import { copyFrame, frameFrom } from '../memory/frame.ts';
import { Memory } from '../memory/memory.ts';
import type { Device, DeviceWatch, Medium } from '../phy/device.ts';
import { type FaultStats, Faults, HELD_FRAMES_DEFAULT, HeldFrames, noFaultStats } from '../phy/faults.ts';
import { checkMtu } from '../phy/pipe.ts';
import { Random } from '../phy/random.ts';
import { changeFaults, type LinkChange, type LinkFaults, Schedule } from './schedule.ts';

/** What `room` says: a link takes all it is given, and drops where its queue is full. */
export const LINK_ROOM = 1 << 16;

export interface LinkOptions extends LinkFaults {
  /** Whether frames have an Ethernet header. Default `ip`. */
  readonly medium?: Medium;
  /** The largest IP packet the ends offer, 68 to 65535. Default 1500. What the path carries is `sizeBytesMax`. */
  readonly mtu?: number;
  /** Default 1. */
  readonly seed?: number;
  /** Changes over time, in order. */
  readonly schedule?: readonly LinkChange[];
  /** Where frames live that are under way; by default one is made. A stack that adopts it passes frames as offsets. */
  readonly memory?: Memory;
  /** Frames under way in each direction, a power of two; default 4096. Beyond it a frame is dropped (`overflowed`). */
  readonly heldFramesMax?: number;
  /**
   * Called with each frame over `sizeBytesMax`, which is gone afterwards: what a router would answer with an ICMP error
   * may be sent by `from.inject`. Default: such frames are lost in silence, as in a path MTU black hole.
   */
  readonly onOversized?: (from: LinkEnd, memory: Memory, frame: number, now: number) => void;
}

/** One direction of a link: what it is like, and what it did. */
class Direction {
  readonly stats: FaultStats = noFaultStats();
  readonly held: HeldFrames;
  readonly faults: Faults;

  constructor(
    medium: Medium,
    random: Random,
    framesMax: number,
    onOversized: (m: Memory, f: number, t: number) => void,
    onLoss: (m: Memory, f: number, why: string) => void,
  ) {
    this.held = new HeldFrames(framesMax);
    this.faults = new Faults({ medium, stats: this.stats, random, sink: this.held, onOversized, onLoss });
  }
}

/**
 * The link.
 * @example
 * const link = new Link({ seed: 7, delayMs: 20, rateBitsPerSecond: 10e6, backward: { drop: 0.01 },
 *   schedule: [{ atMs: 1000, down: true }, { atMs: 3000, down: false }] })
 * client.addInterface(link.left, { addresses: [Cidr.parse('10.0.0.1/24')] })
 * server.addInterface(link.right, { addresses: [Cidr.parse('10.0.0.2/24')] })
 */
export class Link {
  readonly left: LinkEnd;
  readonly right: LinkEnd;
  readonly #forward: Direction;
  readonly #backward: Direction;
  readonly #target: { forward: Faults; backward: Faults };
  readonly #schedule: Schedule;
  #memory: Memory | null;

  /** @throws RangeError if an option is out of its range. */
  constructor(options: LinkOptions = {}) {
    const { medium = 'ip', onOversized, heldFramesMax = HELD_FRAMES_DEFAULT } = options;
    const mtu = checkMtu(options.mtu ?? 1500);
    const random = new Random(options.seed ?? 1);
    const direction = (from: () => LinkEnd): Direction =>
      new Direction(
        medium,
        random.fork(),
        heldFramesMax,
        (memory, frame, now) => onOversized?.(from(), memory, frame, now),
        (_memory, _frame, why) => from().lost(why),
      );
    this.#memory = options.memory ?? null;
    this.#forward = direction(() => this.left);
    this.#backward = direction(() => this.right);
    this.#target = { forward: this.#forward.faults, backward: this.#backward.faults };
    changeFaults(this.#target, options);
    this.#schedule = new Schedule(options.schedule ?? [], this.#target);
    const ask = { memory: () => this.memory, advance: (now: number) => this.#schedule.apply(now, this.#target) };
    this.left = new LinkEnd(medium, mtu, this.#forward, this.#backward.held, ask);
    this.right = new LinkEnd(medium, mtu, this.#backward, this.#forward.held, ask);
    this.left.join(this.right);
    this.right.join(this.left);
  }

  /** Where frames under way live, made when first asked for. */
  get memory(): Memory {
    this.#memory ??= new Memory();
    return this.#memory;
  }

  /** What was done to frames, by direction: `forward` is from left to right. */
  get stats(): { readonly forward: FaultStats; readonly backward: FaultStats } {
    return { forward: this.#forward.stats, backward: this.#backward.stats };
  }

  /** Frames under way now, in both directions. */
  get held(): number {
    return this.#forward.held.length + this.#backward.held.length;
  }

  /**
   * Changes what is named, from now on; frames under way keep their times.
   * @throws RangeError if a setting is out of its range.
   */
  configure(changes: LinkFaults): void {
    changeFaults(this.#target, changes);
  }

  /** Closes both ends and gives back every frame. */
  close(): void {
    this.left.close();
    this.right.close();
  }
}

/** What an end asks of its link. */
interface LinkCore {
  memory(): Memory;
  advance(now: number): void;
}

/** One end of a {@link Link}. */
export class LinkEnd implements Device {
  readonly medium: Medium;
  readonly mtu: number;
  readonly offload = false;
  watch: DeviceWatch | null = null;
  readonly #out: Direction;
  readonly #in: HeldFrames;
  readonly #link: LinkCore;
  #peer: LinkEnd | null = null;
  #stackMemory: Memory | null = null;
  #wake: (() => void) | null = null;
  #closed = false;
  #sending = 0; // the frame that the stack hands over now, in its own memory

  /** Made by {@link Link}. */
  constructor(medium: Medium, mtu: number, out: Direction, inbound: HeldFrames, link: LinkCore) {
    this.medium = medium;
    this.mtu = mtu;
    this.#out = out;
    this.#in = inbound;
    this.#link = link;
  }

  get memory(): Memory {
    return this.#link.memory();
  }

  /** Joins the ends; {@link Link} does. */
  join(peer: LinkEnd): void {
    this.#peer = peer;
  }

  attach(memory: Memory, wake: () => void): void {
    if (this.#stackMemory !== null) {
      throw new TypeError('device: expected one without a stack, got one that a stack has');
    }
    this.#stackMemory = memory;
    this.#wake = wake;
  }

  receive(now: number): number {
    const to = this.#stackMemory;
    if (to === null) return 0;
    // A frame the stack's memory has no room for is lost, and the next one tried: it may be smaller.
    for (;;) {
      const frame = this.#in.take(now);
      if (frame === 0) return 0;
      const own = this.#carry(this.memory, frame, to);
      if (own !== 0) return own;
    }
  }

  room(): number {
    return this.#closed ? 0 : LINK_ROOM;
  }

  transmit(frame: number, now: number): void {
    const from = this.#stackMemory;
    if (from === null) return;
    if (this.#closed) {
      from.free(frame);
      return;
    }
    this.#sending = frame;
    const own = this.#carry(from, frame, this.memory);
    if (own === 0) {
      this.lost('no-memory');
    } else {
      this.#link.advance(now);
      this.#enter(own, now);
    }
    if (this.#sending !== 0) this.watch?.done(frame, null);
    this.#sending = 0;
  }

  /** For the link: a frame on the way from here is lost. One that was injected, or made on the way, is nobody's. */
  lost(why: string): void {
    if (this.#sending === 0) return;
    this.watch?.done(this.#sending, why);
    this.#sending = 0;
  }

  /**
   * Puts a packet of the network's own on the way to this end, as a router on the path would: it takes what a frame from
   * the far end would take. Lost where memory is exhausted.
   */
  inject(packet: Uint8Array, now: number): void {
    const frame = frameFrom(this.memory, packet);
    if (frame !== 0) this.#peer!.#enter(frame, now);
  }

  /** Gives a frame of the link's memory to the faults, and wakes the far end if it must poll earlier than it knew. */
  #enter(frame: number, now: number): void {
    const { faults, held } = this.#out;
    const peer = this.#peer!;
    if (peer.#closed) {
      this.lost('no-peer');
      this.memory.free(frame);
      return;
    }
    const before = held.nextAt;
    faults.put(this.memory, frame, now);
    if (held.nextAt < before) peer.#wake?.();
  }

  pollAt(): number {
    return this.#in.nextAt;
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#in.clear(this.memory);
  }

  /** Moves a frame to another memory; 0, and the frame is lost and counted, where that is exhausted. */
  #carry(from: Memory, frame: number, to: Memory): number {
    if (from === to) return frame;
    const copy = copyFrame(from, frame, to);
    if (copy === 0) this.#out.stats.overflowed++;
    from.free(frame);
    return copy;
  }
}
