/**
 * Virtual LANs on one wire: IEEE 802.1Q. A trunk takes an Ethernet device and gives a device for each LAN, that tags what it
 * sends and gets what has its tag, the tag taken off. Missing on purpose: tags in tags (802.1ad), registration (MVRP). @module
 */
import { frameEnd, frameStart, setFrameBounds } from '../memory/frame.ts';
import type { Memory } from '../memory/memory.ts';
import * as ethernet from '../wire/ethernet.ts';
import * as vlan from '../wire/vlan.ts';
import type { Device, FrameNotes } from './device.ts';
import { FrameQueue } from './queue.ts';

/** Frames that wait for the host to look at their LAN; beyond, they are dropped and counted. */
const QUEUE_FRAMES = 64;
/** The two addresses of a frame, which a tag stands behind. */
const ADDRESSES_LENGTH = 12;
const PRIORITY_MAX = 7;

export interface VlanOptions {
  /** What the frames of the LAN are sent with, 0 to 7; 0, the default, is best effort. */
  readonly priority?: number | undefined;
}

/**
 * Shares `inner` among LANs. All its devices are for one host; the last one that is closed closes `inner`.
 * @example
 * const trunk = new VlanTrunk(await openTap({ name: 'tap0' }))
 * const host = createHost({ device: trunk.lan(5), addresses: ['10.5.0.1/24'] })
 * host.addInterface(trunk.lan(6), { addresses: ['10.6.0.1/24'] })
 * host.addInterface(trunk.untagged(), { addresses: ['10.0.0.1/24'] })
 */
export class VlanTrunk {
  /** Frames of LANs that no device is for, and those that found a queue full. */
  unknown = 0;
  overflowed = 0;
  readonly #inner: Device;
  readonly #lans = new Map<number, VlanDevice>();
  #memory: Memory | null = null;
  #wakes: (() => void)[] = [];

  /** @throws TypeError if `inner` is no Ethernet device */
  constructor(inner: Device) {
    if (inner.medium !== 'ethernet')
      throw new TypeError(`device: expected an Ethernet one, got medium ${inner.medium}`);
    this.#inner = inner;
  }

  /**
   * The device of one LAN.
   * @param id - 1 to 4094
   * @throws RangeError for another id or priority; TypeError if there is one already
   */
  lan(id: number, { priority = 0 }: VlanOptions = {}): Device {
    if (!Number.isInteger(id) || id <= vlan.ID_NONE || id > vlan.ID_MAX) {
      throw new RangeError(`id: expected 1 to ${vlan.ID_MAX}, got ${id}`);
    }
    if (!Number.isInteger(priority) || priority < 0 || priority > PRIORITY_MAX) {
      throw new RangeError(`priority: expected 0 to ${PRIORITY_MAX}, got ${priority}`);
    }
    return this.#add(id, priority);
  }

  /** The device of frames without a tag, or with one that has only a priority (clause 6.9.1). @throws TypeError if there is one already */
  untagged(): Device {
    return this.#add(vlan.ID_NONE, 0);
  }

  #add(id: number, priority: number): Device {
    if (this.#lans.has(id)) throw new TypeError(`id: expected one without a device, got ${id}`);
    const device = new VlanDevice(this, this.#inner, id, priority);
    this.#lans.set(id, device);
    return device;
  }

  /** Called by a device of the trunk. @throws TypeError if the host is another than that of the others */
  attach(memory: Memory, wake: () => void): void {
    if (this.#memory !== null && this.#memory !== memory) {
      throw new TypeError('device: expected the host that has the other LANs of the trunk, got another');
    }
    this.#wakes.push(wake);
    if (this.#memory !== null) return;
    this.#memory = memory;
    this.#inner.attach(memory, () => {
      for (const each of this.#wakes) each();
    });
  }

  /** The next frame of `lan`; what comes for others before waits for them. */
  receive(lan: VlanDevice, now: number): number {
    for (;;) {
      const frame = this.#inner.receive(now);
      if (frame === 0) return 0;
      const found = this.#lans.get(this.#strip(frame));
      if (found === lan) return frame;
      if (found?.queue.push(frame)) continue;
      if (found === undefined) this.unknown++;
      else this.overflowed++;
      this.#memory!.free(frame);
    }
  }

  /** Takes the tag off; returns its id, {@link vlan.ID_NONE} where there is none. */
  #strip(frame: number): number {
    const { dv, u8 } = this.#memory!;
    const start = frameStart(this.#memory!, frame);
    const end = frameEnd(this.#memory!, frame);
    const tag = start + ethernet.HEADER_LENGTH;
    if (end < tag || ethernet.etherType(dv, start) !== vlan.ETHERTYPE_VLAN) return vlan.ID_NONE;
    if (vlan.check(dv, tag, end) !== null) return -1;
    const id = vlan.id(dv, tag);
    u8.copyWithin(start + vlan.HEADER_LENGTH, start, start + ADDRESSES_LENGTH);
    setFrameBounds(this.#memory!, frame, start + vlan.HEADER_LENGTH, end);
    return id;
  }

  /** Puts a tag before what `frame` carries, in its headroom. */
  tag(frame: number, id: number, priority: number): void {
    const { dv, u8 } = this.#memory!;
    const start = frameStart(this.#memory!, frame);
    const tagged = start - vlan.HEADER_LENGTH;
    const type = ethernet.etherType(dv, start);
    u8.copyWithin(tagged, start, start + ADDRESSES_LENGTH);
    dv.setUint16(tagged + ADDRESSES_LENGTH, vlan.ETHERTYPE_VLAN);
    vlan.emit(dv, tagged + ethernet.HEADER_LENGTH, id, priority, false, type);
    setFrameBounds(this.#memory!, frame, tagged, frameEnd(this.#memory!, frame));
  }

  close(lan: VlanDevice): void {
    if (this.#memory !== null) lan.queue.clear(this.#memory);
    if (this.#lans.delete(lan.id) && this.#lans.size === 0) this.#inner.close();
  }
}

/** The device of one LAN: see {@link VlanTrunk}. */
class VlanDevice implements Device {
  readonly medium = 'ethernet';
  readonly mtu: number;
  /** Super-segments would be cut by a device that knows of no tags. */
  readonly offload = false;
  readonly memory: Memory | null;
  readonly notes: FrameNotes | null;
  readonly id: number;
  readonly queue = new FrameQueue(QUEUE_FRAMES);
  readonly #trunk: VlanTrunk;
  readonly #inner: Device;
  readonly #priority: number;

  constructor(trunk: VlanTrunk, inner: Device, id: number, priority: number) {
    this.mtu = inner.mtu;
    this.memory = inner.memory;
    this.notes = inner.notes ?? null;
    this.id = id;
    this.#trunk = trunk;
    this.#inner = inner;
    this.#priority = priority;
  }

  attach(memory: Memory, wake: () => void): void {
    this.#trunk.attach(memory, wake);
  }

  receive(now: number): number {
    const waiting = this.queue.shift();
    return waiting !== 0 ? waiting : this.#trunk.receive(this, now);
  }

  room(): number {
    return this.#inner.room();
  }

  transmit(frame: number, now: number): void {
    if (this.id !== vlan.ID_NONE) this.#trunk.tag(frame, this.id, this.#priority);
    this.#inner.transmit(frame, now);
  }

  pollAt(): number {
    return this.queue.length > 0 ? 0 : this.#inner.pollAt();
  }

  close(): void {
    this.#trunk.close(this);
  }
}
