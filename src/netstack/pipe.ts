/** Packets by hand: a virtual wire whose far end is in the program's hands, and the device that a stack has of it. @module */
import { frameBytes, frameFrom } from '../memory/frame.ts';
import type { Memory } from '../memory/memory.ts';
import type { Device, Medium } from '../phy/device.ts';
import { checkMtu } from '../phy/pipe.ts';

/** Packets that an unbounded pipe holds all the same; beyond, the oldest would be memory without end: it is full. */
const UNBOUNDED_PACKETS = 1 << 20;

/** One direction of a pipe: a queue of packets, each an array of whoever takes it. */
export class PacketQueue {
  /** Packets that may wait. */
  readonly capacity: number;
  /** Called when a packet came into the empty queue. */
  onPacket: (() => void) | null = null;
  /** Called when a full queue has room again. */
  onRoom: (() => void) | null = null;
  readonly #packets: Uint8Array[] = [];
  #taken = 0;
  #receivers: ((packet: Uint8Array | null) => void)[] = [];
  #isClosed = false;

  constructor(capacity: number) {
    this.capacity = capacity;
  }

  get length(): number {
    return this.#packets.length - this.#taken;
  }

  /** How many more it would take now. */
  get room(): number {
    return this.#isClosed ? 0 : this.capacity - this.length;
  }

  /** Puts a packet, which the queue owns from now on; false: it is full, or closed. Never waits. */
  trySend(packet: Uint8Array): boolean {
    if (this.room <= 0) return false;
    const receiver = this.#receivers.shift();
    if (receiver !== undefined) {
      receiver(packet);
      return true;
    }
    this.#packets.push(packet);
    if (this.length === 1) this.onPacket?.();
    return true;
  }

  /** The oldest packet, or null. */
  tryReceive(): Uint8Array | null {
    if (this.length === 0) return null;
    const wasFull = this.length === this.capacity;
    const packet = this.#packets[this.#taken++]!;
    if (this.#taken > 64 && this.#taken * 2 > this.#packets.length) {
      this.#packets.splice(0, this.#taken);
      this.#taken = 0;
    }
    if (wasFull) this.onRoom?.();
    return packet;
  }

  /** The next packet; null once the pipe is closed. */
  receive(): Promise<Uint8Array | null> {
    const packet = this.tryReceive();
    if (packet !== null || this.#isClosed) return Promise.resolve(packet);
    return new Promise((resolve) => this.#receivers.push(resolve));
  }

  /** Nothing more is taken; what waits may still be received. */
  close(): void {
    this.#isClosed = true;
    for (const receiver of this.#receivers.splice(0)) receiver(null);
  }
}

/** One end of a virtual wire: what is sent to `tx` comes out of the other end's `rx`. */
export class Pipe {
  readonly tx: PacketQueue;
  readonly rx: PacketQueue;

  /** Made by {@link bounded} and {@link unbounded}. */
  constructor(tx: PacketQueue, rx: PacketQueue) {
    this.tx = tx;
    this.rx = rx;
  }

  /** Two ends; in each direction at most `packets` wait, and who would send more has no room. */
  static bounded(packets: number): [Pipe, Pipe] {
    if (!(Number.isInteger(packets) && packets >= 1 && packets <= UNBOUNDED_PACKETS)) {
      throw new RangeError(`packets: expected 1 to ${UNBOUNDED_PACKETS}, got ${packets}`);
    }
    const [one, other] = [new PacketQueue(packets), new PacketQueue(packets)];
    return [new Pipe(one, other), new Pipe(other, one)];
  }

  /** Two ends that hold a million packets each way. */
  static unbounded(): [Pipe, Pipe] {
    return Pipe.bounded(UNBOUNDED_PACKETS);
  }

  close(): void {
    this.tx.close();
    this.rx.close();
  }
}

export interface PipeDevOptions {
  readonly pipe: Pipe;
  /** Default `ip`. */
  readonly medium?: Medium;
  /** Default 1500. */
  readonly mtu?: number;
}

/** A stack's device over one end of a pipe. It never waits: without room in `tx` it has none either. */
export class PipeDev implements Device {
  readonly pipe: Pipe;
  readonly medium: Medium;
  readonly mtu: number;
  readonly offload = false;
  readonly memory = null;
  #memory: Memory | null = null;
  #wake: (() => void) | null = null;

  constructor({ pipe, medium = 'ip', mtu = 1500 }: PipeDevOptions) {
    this.pipe = pipe;
    this.medium = medium;
    this.mtu = checkMtu(mtu);
  }

  attach(memory: Memory, wake: () => void): void {
    if (this.#memory !== null) throw new TypeError('device: expected one without a stack, got one that a stack has');
    this.#memory = memory;
    this.#wake = wake;
    const told = (): void => this.#wake?.();
    this.pipe.rx.onPacket = told;
    this.pipe.tx.onRoom = told;
  }

  /** Packets that are longer than a frame may be, or find no memory, are lost. */
  receive(): number {
    for (let packet = this.pipe.rx.tryReceive(); packet !== null; packet = this.pipe.rx.tryReceive()) {
      const frame = frameFrom(this.#memory!, packet, this.medium === 'ethernet' ? 14 : 0);
      if (frame !== 0) return frame;
    }
    return 0;
  }

  room(): number {
    return this.pipe.tx.room;
  }

  transmit(frame: number): void {
    const memory = this.#memory!;
    this.pipe.tx.trySend(frameBytes(memory, frame));
    memory.free(frame);
  }

  pollAt(): number {
    return this.pipe.rx.length > 0 ? 0 : Number.POSITIVE_INFINITY;
  }

  close(): void {
    this.#wake = null;
    this.pipe.tx.close();
  }
}
