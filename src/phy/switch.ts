/**
 * A learning Ethernet switch in memory: any number of ports, each a device for one stack. IEEE 802.1D-2004 §7.7-7.9
 * (forwarding, learning, the filtering database with ageing). A switch drops where a port's queue is full; it never
 * pushes back on the sender. Missing on purpose: spanning tree (do not wire loops), VLANs, priorities, speeds: a
 * FaultInjector around a port makes it slow. @module
 */
import { copyFrame, frameEnd, frameStart } from '../memory/frame.ts';
import { Memory } from '../memory/memory.ts';
import * as ethernet from '../wire/ethernet.ts';
import type { Device } from './device.ts';
import { FrameQueue } from './queue.ts';

/** Ports unless told otherwise; one more is refused with a RangeError. */
export const SWITCH_PORTS_DEFAULT = 256;
/** Stations remembered unless told otherwise; beyond it the one longest silent is forgotten, and flooded to again. */
export const SWITCH_TABLE_DEFAULT = 1024;
const TABLE_MAX = 1 << 20;
/** Frames waiting at a port unless told otherwise; beyond it frames for that port are dropped and counted. */
export const SWITCH_QUEUE_DEFAULT = 1024;
/** IEEE 802.1D-2004 table 7-5: the recommended ageing time, 300 s. */
export const SWITCH_AGE_MS_DEFAULT = 300_000;
/** Places a station may stand in: the table is searched over this many and no more. */
const WAYS = 8;
/** What `room` says: a switch takes all it is given. */
const ROOM = 1 << 16;

// IEEE 802.1D-2004 §7.12.6: 01-80-C2-00-00-00 to -0F are for the next hop only and are never relayed.
const RESERVED_HIGH = 0x0180;
const RESERVED_LOW = 0xc2000000 | 0;

export interface SwitchOptions {
  /** Where frames live that are under way; default one of its own, made with the first port. */
  readonly memory?: Memory;
  /** The largest IP packet; default 1500. */
  readonly mtu?: number;
  /** Whether super-segments and partial checksums pass between ports as they are; default false. */
  readonly offload?: boolean;
  /** Default {@link SWITCH_PORTS_DEFAULT}. */
  readonly portsMax?: number;
  /** Stations remembered, a power of two of at least 8; default {@link SWITCH_TABLE_DEFAULT}. */
  readonly tableMax?: number;
  /** How long a silent station is remembered; default {@link SWITCH_AGE_MS_DEFAULT}. */
  readonly ageMs?: number;
  /** Frames waiting at a port, a power of two; default {@link SWITCH_QUEUE_DEFAULT}. */
  readonly queueFrames?: number;
}

export interface SwitchStats {
  /** Frames sent to the one port where their station is. */
  forwarded: number;
  /** Frames sent to every other port: broadcast, multicast, and stations not known. */
  flooded: number;
  /** Frames sent nowhere: their station is at the port they came from, or their address is reserved. */
  filtered: number;
  /** Frames too short for a header. */
  malformed: number;
  /** Times an address was learned, at first or at another port. */
  learned: number;
  /** Stations forgotten for want of room in the table. */
  evicted: number;
  /** Copies not made because memory was exhausted. */
  exhausted: number;
}

export interface SwitchPortStats {
  /** Frames the stack at this port sent. */
  transmitted: number;
  /** Frames it was given. */
  received: number;
  /** Frames for it that its full queue, or its exhausted memory, did not take. */
  dropped: number;
}

/**
 * The switch.
 * @example
 * const lan = new Switch()
 * const a = createHost({ device: lan.port(), addresses: ['10.0.0.1/24'] })
 * const b = createHost({ device: lan.port(), addresses: ['10.0.0.2/24'] })
 */
export class Switch {
  readonly mtu: number;
  readonly offload: boolean;
  readonly stats: SwitchStats = {
    forwarded: 0,
    flooded: 0,
    filtered: 0,
    malformed: 0,
    learned: 0,
    evicted: 0,
    exhausted: 0,
  };
  readonly #ports: (SwitchPort | null)[] = []; // by number; null: closed, to be used again
  readonly #portsMax: number;
  readonly #queueFrames: number;
  readonly #table: StationTable;
  #memory: Memory | null;
  #closed = false;

  /** @throws RangeError if an option is out of its range. */
  constructor(options: SwitchOptions = {}) {
    const { mtu = 1500, portsMax = SWITCH_PORTS_DEFAULT, ageMs = SWITCH_AGE_MS_DEFAULT } = options;
    if (!(Number.isInteger(mtu) && mtu >= 68 && mtu <= 65535)) {
      throw new RangeError(`switch: expected an mtu of 68 to 65535 bytes, got ${mtu}`);
    }
    if (!(portsMax >= 1)) throw new RangeError(`switch: expected a limit of 1 or more ports, got ${portsMax}`);
    if (!(ageMs >= 0)) throw new RangeError(`switch: expected an age of 0 or more ms, got ${ageMs}`);
    this.mtu = mtu;
    this.offload = options.offload ?? false;
    this.#memory = options.memory ?? null;
    this.#portsMax = portsMax;
    this.#queueFrames = options.queueFrames ?? SWITCH_QUEUE_DEFAULT;
    this.#table = new StationTable(options.tableMax ?? SWITCH_TABLE_DEFAULT, ageMs, this.stats);
  }

  /**
   * A new port, for one stack.
   * @throws RangeError if the switch has its ports already.   @throws Error if it is closed.
   */
  port(): SwitchPort {
    if (this.#closed) throw new Error('switch: expected an open switch, got a closed one');
    let number = this.#ports.indexOf(null);
    if (number < 0) number = this.#ports.length;
    if (number >= this.#portsMax)
      throw new RangeError(`switch: expected at most ${this.#portsMax} ports, got one more`);
    this.#memory ??= new Memory();
    const port = new SwitchPort(this, this.#memory, number, this.#queueFrames, {
      forward: (frame, now) => this.#forward(number, frame, now),
      leave: () => {
        this.#ports[number] = null;
        this.#table.forgetPort(number);
      },
    });
    this.#ports[number] = port;
    return port;
  }

  /** Closes every port and gives back every frame; repeated calls do nothing. */
  close(): void {
    this.#closed = true;
    for (const port of [...this.#ports]) port?.close();
    this.#ports.length = 0;
  }

  /** Takes `frame`, which lives in the switch's memory, from port `from`. */
  #forward(from: number, frame: number, now: number): void {
    const memory = this.#memory!;
    const p = frameStart(memory, frame);
    const { dv } = memory;
    if (ethernet.check(dv, p, frameEnd(memory, frame)) !== null) {
      this.stats.malformed++;
      memory.free(frame);
      return;
    }
    const sourceHigh = ethernet.sourceHigh(dv, p);
    // IEEE 802.1D-2004 §7.8: only individual addresses are learned.
    if ((sourceHigh & 0x100) === 0) this.#table.learn(sourceHigh, ethernet.sourceLow(dv, p), from, now);
    const high = ethernet.destinationHigh(dv, p);
    const low = ethernet.destinationLow(dv, p);
    if (ethernet.isGroup(dv, p)) {
      if (high === RESERVED_HIGH && (low & ~0xf) === RESERVED_LOW) this.#filter(memory, frame);
      else this.#flood(memory, from, frame);
      return;
    }
    const to = this.#table.find(high, low, now);
    if (to < 0) {
      this.#flood(memory, from, frame);
    } else if (to === from) {
      this.#filter(memory, frame);
    } else {
      this.stats.forwarded++;
      this.#ports[to]!.deliver(frame);
    }
  }

  #filter(memory: Memory, frame: number): void {
    this.stats.filtered++;
    memory.free(frame);
  }

  /** Gives a copy to every port but `from`; the last gets the frame itself. */
  #flood(memory: Memory, from: number, frame: number): void {
    this.stats.flooded++;
    let last: SwitchPort | null = null;
    for (let i = 0; i < this.#ports.length; i++) {
      const port = this.#ports[i];
      if (i === from || port == null || !port.accepts()) continue;
      if (last !== null) {
        const copy = copyFrame(memory, frame, memory);
        if (copy === 0) this.stats.exhausted++;
        else last.deliver(copy);
      }
      last = port;
    }
    if (last === null) memory.free(frame);
    else last.deliver(frame);
  }
}

/** What a port asks of its switch. */
interface Backplane {
  /** Takes a frame of the switch's memory. */
  forward(frame: number, now: number): void;
  leave(): void;
}

/** A port of a {@link Switch}, made by its `port()`. */
export class SwitchPort implements Device {
  readonly medium = 'ethernet';
  readonly mtu: number;
  readonly offload: boolean;
  /** The switch's: a stack that adopts it passes frames on without a copy. */
  readonly memory: Memory;
  readonly stats: SwitchPortStats = { transmitted: 0, received: 0, dropped: 0 };
  /** Which port of the switch this is, from 0. */
  readonly number: number;
  readonly #switch: Switch;
  readonly #backplane: Backplane;
  readonly #queue: FrameQueue;
  #stackMemory: Memory | null = null;
  #wake: () => void = nothing;
  #closed = false;

  constructor(owner: Switch, memory: Memory, number: number, queueFrames: number, backplane: Backplane) {
    this.mtu = owner.mtu;
    this.offload = owner.offload;
    this.memory = memory;
    this.number = number;
    this.#switch = owner;
    this.#backplane = backplane;
    this.#queue = new FrameQueue(queueFrames);
  }

  attach(memory: Memory, wake: () => void): void {
    this.#stackMemory = memory;
    this.#wake = wake;
  }

  receive(_now: number): number {
    const to = this.#stackMemory;
    if (to === null) return 0;
    // A frame the stack's memory has no room for is dropped, and the next one tried: they may be smaller.
    for (;;) {
      const frame = this.#queue.shift();
      if (frame === 0) return 0;
      const own = to === this.memory ? frame : this.#carry(this.memory, frame, to);
      if (own === 0) {
        this.stats.dropped++;
        continue;
      }
      this.stats.received++;
      return own;
    }
  }

  room(): number {
    return this.#closed ? 0 : ROOM;
  }

  transmit(frame: number, now: number): void {
    const from = this.#stackMemory;
    if (from === null) return;
    if (this.#closed) {
      from.free(frame);
      return;
    }
    this.stats.transmitted++;
    const own = from === this.memory ? frame : this.#carry(from, frame, this.memory);
    if (own !== 0) this.#backplane.forward(own, now);
  }

  pollAt(): number {
    return Number.POSITIVE_INFINITY;
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#queue.clear(this.memory);
    this.#backplane.leave();
  }

  /** For the switch: whether the port takes a frame now; one that cannot is counted. A port without a stack takes none. */
  accepts(): boolean {
    if (this.#stackMemory === null) return false;
    if (this.#queue.length < this.#queue.capacity) return true;
    this.stats.dropped++;
    return false;
  }

  /** For the switch: takes `frame`, which lives in its memory, for the stack at this port. */
  deliver(frame: number): void {
    const wasEmpty = this.#queue.length === 0;
    if (this.#stackMemory === null || !this.#queue.push(frame)) {
      this.stats.dropped++;
      this.memory.free(frame);
      return;
    }
    if (wasEmpty) this.#wake();
  }

  /** Moves a frame to another memory; 0, and the frame is gone, where that is exhausted. */
  #carry(from: Memory, frame: number, to: Memory): number {
    const copy = copyFrame(from, frame, to);
    if (copy === 0) this.#switch.stats.exhausted++;
    from.free(frame);
    return copy;
  }
}

function nothing(): void {}

/**
 * Which station is at which port. Sets of {@link WAYS} places chosen by a hash of the address: a look-up, a change and
 * the choice of whom to forget all read one set, and nothing is ever allocated.
 */
class StationTable {
  readonly #high: Int32Array; // u16 of the address, or -1: free
  readonly #low: Int32Array;
  readonly #port: Int32Array;
  readonly #seenAt: Float64Array; // ms
  readonly #setMask: number;
  readonly #ageMs: number;
  readonly #stats: SwitchStats;

  constructor(tableMax: number, ageMs: number, stats: SwitchStats) {
    const inRange = Number.isInteger(tableMax) && tableMax >= WAYS && tableMax <= TABLE_MAX;
    if (!inRange || (tableMax & (tableMax - 1)) !== 0) {
      throw new RangeError(`switch: expected a table of a power of two from ${WAYS} to ${TABLE_MAX}, got ${tableMax}`);
    }
    this.#high = new Int32Array(tableMax).fill(-1);
    this.#low = new Int32Array(tableMax);
    this.#port = new Int32Array(tableMax);
    this.#seenAt = new Float64Array(tableMax);
    this.#setMask = tableMax / WAYS - 1;
    this.#ageMs = ageMs;
    this.#stats = stats;
  }

  /** The port of a station heard within the ageing time, or -1. */
  find(high: number, low: number, now: number): number {
    const first = this.#set(high, low);
    for (let i = first; i < first + WAYS; i++) {
      if (this.#low[i] === low && this.#high[i] === high) {
        return now - this.#seenAt[i]! <= this.#ageMs ? this.#port[i]! : -1;
      }
    }
    return -1;
  }

  /** Notes that a station was heard at `port`. */
  learn(high: number, low: number, port: number, now: number): void {
    const first = this.#set(high, low);
    let place = first; // the best so far: a free one, else the one longest silent
    for (let i = first; i < first + WAYS; i++) {
      if (this.#low[i] === low && this.#high[i] === high) {
        if (this.#port[i] !== port || now - this.#seenAt[i]! > this.#ageMs) this.#stats.learned++;
        this.#port[i] = port;
        this.#seenAt[i] = now;
        return;
      }
      if (this.#high[place] === -1) continue;
      if (this.#high[i] === -1 || this.#seenAt[i]! < this.#seenAt[place]!) place = i;
    }
    if (this.#high[place] !== -1 && now - this.#seenAt[place]! <= this.#ageMs) this.#stats.evicted++;
    this.#stats.learned++;
    this.#high[place] = high;
    this.#low[place] = low;
    this.#port[place] = port;
    this.#seenAt[place] = now;
  }

  /** Forgets every station at `port`. */
  forgetPort(port: number): void {
    for (let i = 0; i < this.#port.length; i++) if (this.#port[i] === port) this.#high[i] = -1;
  }

  /** First place of the set of an address. */
  #set(high: number, low: number): number {
    const h = Math.imul(low ^ Math.imul(high, 0x9e3779b1), 0x85ebca6b);
    return ((h ^ (h >>> 15)) & this.#setMask) * WAYS;
  }
}
