/**
 * A router in the middle of a simulated network: ports on a left and a right side, each a device for one stack, and
 * between the sides a trunk that all share, which may be the bottleneck: one rate, one queue, one set of faults in each
 * direction. From the trunk a packet goes to the port that has its destination address, over that port's own path with
 * faults of its own (a delay, usually: so flows of different round-trip times share a queue). Packets between ports of
 * one side do not pass the trunk.
 *
 * As in link.ts all is decided when a packet is sent, so a hop costs no event. What must happen before the trunk, on a
 * port's way in, is a FaultInjector around the port. Missing on purpose: TTL, ICMP errors, Ethernet. @module
 */
import { copyFrame, frameEnd, frameStart } from '../memory/frame.ts';
import { Memory } from '../memory/memory.ts';
import type { Device } from '../phy/device.ts';
import {
  type FaultSettings,
  type FaultSink,
  type FaultStats,
  Faults,
  HELD_FRAMES_DEFAULT,
  HeldFrames,
  noFaultStats,
  resolveFaults,
} from '../phy/faults.ts';
import { checkMtu } from '../phy/pipe.ts';
import { Random } from '../phy/random.ts';
import { IpAddress } from '../wire/address.ts';
import * as ipv4 from '../wire/ipv4.ts';
import * as ipv6 from '../wire/ipv6.ts';
import { LINK_ROOM } from './link.ts';
import { changeFaults, type LinkChange, type LinkFaults, Schedule } from './schedule.ts';

/** Addresses a router knows, of all ports: a look-up walks them. One more is refused with a RangeError. */
export const ROUTER_ADDRESSES_MAX = 256;

export interface RouterOptions extends LinkFaults {
  /** The largest IP packet the ports offer. Default 1500. */
  readonly mtu?: number;
  /** Default 1. */
  readonly seed?: number;
  /** Changes of the trunk over time, in order. */
  readonly schedule?: readonly LinkChange[];
  /** Where packets live that are under way; by default one is made. A stack that adopts it passes them as offsets. */
  readonly memory?: Memory;
  /** Packets under way to each port, a power of two; default 4096. Beyond it one is dropped (`overflowed`). */
  readonly heldFramesMax?: number;
}

export interface RouterPortOptions extends FaultSettings {
  readonly side: 'left' | 'right';
  /** What is sent here: all addresses of the port's stack, without prefix. */
  readonly addresses: readonly (string | IpAddress)[];
}

/**
 * The router.
 * @example
 * const router = new Router({ rateBitsPerSecond: 100e6, queueBytesMax: 250_000 })
 * client.addInterface(router.port({ side: 'left', addresses: ['10.0.0.1'], delayMs: 10 }), { addresses: [...] })
 */
export class Router {
  readonly mtu: number;
  /** Packets to an address that no port has, and what is no IP packet. */
  unroutable = 0;
  readonly #memory: Memory;
  readonly #random: Random;
  readonly #framesMax: number;
  readonly #stats = { forward: noFaultStats(), backward: noFaultStats() };
  readonly #trunk: { forward: Faults; backward: Faults };
  readonly #schedule: Schedule;
  readonly #routes: { address: IpAddress; port: RouterPort }[] = [];
  readonly #ports: RouterPort[] = [];

  /** @throws RangeError if an option is out of its range. */
  constructor(options: RouterOptions = {}) {
    this.mtu = checkMtu(options.mtu ?? 1500);
    this.#memory = options.memory ?? new Memory();
    this.#random = new Random(options.seed ?? 1);
    this.#framesMax = options.heldFramesMax ?? HELD_FRAMES_DEFAULT;
    const sink: FaultSink = {
      free: 1,
      pass: (frame, at, isLate) => this.#route(frame)?.deliver(frame, at, isLate),
    };
    const faults = (stats: FaultStats): Faults =>
      new Faults({ medium: 'ip', stats, random: this.#random.fork(), sink });
    this.#trunk = { forward: faults(this.#stats.forward), backward: faults(this.#stats.backward) };
    changeFaults(this.#trunk, options);
    this.#schedule = new Schedule(options.schedule ?? [], this.#trunk);
  }

  /** Where packets under way live. */
  get memory(): Memory {
    return this.#memory;
  }

  /** What the trunk did to packets, by direction: `forward` is from left to right. */
  get stats(): { readonly forward: FaultStats; readonly backward: FaultStats } {
    return this.#stats;
  }

  /**
   * A new port, for one stack.
   * @throws RangeError if a setting is out of its range, or an address is taken.
   */
  port(options: RouterPortOptions): RouterPort {
    const addresses = options.addresses.map((a) => (typeof a === 'string' ? IpAddress.parse(a) : a));
    if (this.#routes.length + addresses.length > ROUTER_ADDRESSES_MAX) {
      throw new RangeError(`router: expected at most ${ROUTER_ADDRESSES_MAX} addresses, got more`);
    }
    for (const address of addresses) {
      const isTaken = this.#routes.some((route) => route.address.equals(address));
      if (isTaken) throw new RangeError(`router: expected an address of no other port, got ${address}`);
    }
    const port = new RouterPort(this, options, this.#random.fork(), this.#framesMax, (frame, now) =>
      this.#forward(port, frame, now),
    );
    for (const address of addresses) this.#routes.push({ address, port });
    this.#ports.push(port);
    return port;
  }

  /** Changes what is named of the trunk, from now on. @throws RangeError if a setting is out of its range. */
  configure(changes: LinkFaults): void {
    changeFaults(this.#trunk, changes);
  }

  /** Closes every port and gives back every packet. */
  close(): void {
    for (const port of this.#ports) port.close();
  }

  /** Takes a packet of the router's memory from `from`. */
  #forward(from: RouterPort, frame: number, now: number): void {
    this.#schedule.apply(now, this.#trunk);
    const to = this.#find(frame);
    if (to === null) this.#drop(frame);
    else if (to.side === from.side) to.deliver(frame, now, false);
    else (from.side === 'left' ? this.#trunk.forward : this.#trunk.backward).put(this.#memory, frame, now);
  }

  /** Where a packet goes that has passed the trunk, where a bit of its address may have been turned over. */
  #route(frame: number): RouterPort | null {
    const to = this.#find(frame);
    if (to === null) this.#drop(frame);
    return to;
  }

  #drop(frame: number): void {
    this.unroutable++;
    this.#memory.free(frame);
  }

  #find(frame: number): RouterPort | null {
    const { dv } = this.#memory;
    const p = frameStart(this.#memory, frame);
    const length = frameEnd(this.#memory, frame) - p;
    const version = length > 0 ? ipv4.version(dv, p) : 0;
    if (version === 4 && length >= ipv4.HEADER_LENGTH) return this.#findV4(ipv4.destination(dv, p));
    return version === 6 && length >= ipv6.HEADER_LENGTH ? this.#findV6(dv, p) : null;
  }

  #findV4(word: number): RouterPort | null {
    for (let i = 0; i < this.#routes.length; i++) {
      const { address, port } = this.#routes[i]!;
      if (address.d === word && address.isV4) return port;
    }
    return null;
  }

  #findV6(dv: DataView, p: number): RouterPort | null {
    const word = (i: number): number => ipv6.destinationWord(dv, p, i);
    for (const { address, port } of this.#routes) {
      if (address.d === word(3) && address.c === word(2) && address.b === word(1) && address.a === word(0)) return port;
    }
    return null;
  }
}

/** A port of a {@link Router}, made by its `port()`. */
export class RouterPort implements Device {
  readonly medium = 'ip';
  readonly mtu: number;
  readonly offload = false;
  readonly memory: Memory;
  readonly side: 'left' | 'right';
  /** What was done to packets on the way to this port, after the trunk. */
  readonly stats: FaultStats = noFaultStats();
  readonly #held: HeldFrames;
  readonly #faults: Faults;
  readonly #forward: (frame: number, now: number) => void;
  #stackMemory: Memory | null = null;
  #wake: (() => void) | null = null;
  #closed = false;

  /** Made by {@link Router.port}. */
  constructor(
    router: Router,
    options: RouterPortOptions,
    random: Random,
    framesMax: number,
    forward: (frame: number, now: number) => void,
  ) {
    this.mtu = router.mtu;
    this.memory = router.memory;
    this.side = options.side;
    this.#held = new HeldFrames(framesMax);
    this.#faults = new Faults({ medium: 'ip', stats: this.stats, random, sink: this.#held });
    this.#forward = forward;
    this.configure(options);
  }

  /** Changes what is named of the way to this port, from now on. @throws RangeError if a setting is out of its range. */
  configure(changes: FaultSettings): void {
    this.#faults.settings = resolveFaults(this.#faults.settings, changes);
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
    // A packet the stack's memory has no room for is lost, and the next one tried: it may be smaller.
    for (;;) {
      const frame = this.#held.take(now);
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
    const own = this.#carry(from, frame, this.memory);
    if (own !== 0) this.#forward(own, now);
  }

  /** For the router: takes a packet of its memory that is here at `at`, and wakes the stack if it must poll earlier. */
  deliver(frame: number, at: number, isLate: boolean): void {
    if (this.#closed) {
      this.memory.free(frame);
      return;
    }
    const before = this.#held.nextAt;
    this.#faults.put(this.memory, frame, at, isLate);
    if (this.#held.nextAt < before) this.#wake?.();
  }

  pollAt(): number {
    return this.#held.nextAt;
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#held.clear(this.memory);
  }

  /** Moves a packet to another memory; 0, and it is lost and counted, where that is exhausted. */
  #carry(from: Memory, frame: number, to: Memory): number {
    if (from === to) return frame;
    const copy = copyFrame(from, frame, to);
    if (copy === 0) this.stats.overflowed++;
    from.free(frame);
    return copy;
  }
}
