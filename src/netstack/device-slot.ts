/** The device of a netstack's interface before it has one, and in front of it afterwards. @module */
import type { Memory } from '../memory/memory.ts';
import type { Device, FrameNotes, Medium } from '../phy/device.ts';
import { checkMtu } from '../phy/pipe.ts';
import { FrameQueue } from '../phy/queue.ts';

/** Frames that wait for a device; beyond them there is no room, and senders wait. */
const WAITING_FRAMES = 64;

export class DeviceSlot implements Device {
  readonly medium: Medium;
  readonly #mtu: number;
  readonly #queue = new FrameQueue(WAITING_FRAMES);
  #memory: Memory | null = null;
  #wake: (() => void) | null = null;
  #device: Device | null = null;

  constructor(medium: Medium, mtu: number) {
    if (medium !== 'ip' && medium !== 'ethernet') {
      throw new TypeError(`medium: expected 'ip' or 'ethernet', got ${JSON.stringify(medium)}`);
    }
    this.medium = medium;
    this.#mtu = checkMtu(mtu);
  }

  get mtu(): number {
    return Math.min(this.#mtu, this.#device?.mtu ?? this.#mtu);
  }

  get offload(): boolean {
    return this.#device?.offload ?? false;
  }

  get memory(): Memory | null {
    return this.#memory;
  }

  get notes(): FrameNotes | null {
    return this.#device?.notes ?? null;
  }

  /** The device it has now, or null. */
  get device(): Device | null {
    return this.#device;
  }

  /** Takes `device`, which is the stack's from now on. @throws TypeError if it is of the other medium */
  take(device: Device): void {
    if (device.medium !== this.medium) {
      throw new TypeError(`device: expected one of the medium '${this.medium}', got '${device.medium}'`);
    }
    device.attach(this.#memory!, () => this.#wake?.());
    this.#device = device;
  }

  attach(memory: Memory, wake: () => void): void {
    this.#memory = memory;
    this.#wake = wake;
  }

  receive(now: number): number {
    this.#forward(now);
    return this.#device?.receive(now) ?? 0;
  }

  room(): number {
    const device = this.#device;
    return device === null || this.#queue.length > 0 ? this.#queue.capacity - this.#queue.length : device.room();
  }

  transmit(frame: number, now: number): void {
    const device = this.#device;
    if (device !== null && this.#queue.length === 0) device.transmit(frame, now);
    else if (!this.#queue.push(frame)) this.#memory!.free(frame);
  }

  /** What waited for the device goes first. */
  #forward(now: number): void {
    const device = this.#device;
    if (device === null) return;
    while (this.#queue.length > 0 && device.room() > 0) device.transmit(this.#queue.shift(), now);
  }

  pollAt(): number {
    return this.#device?.pollAt() ?? Number.POSITIVE_INFINITY;
  }

  close(): void {
    if (this.#memory !== null) this.#queue.clear(this.#memory);
    this.#device?.close();
    this.#wake = null;
  }
}
