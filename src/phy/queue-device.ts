/**
 * A device whose wire is the caller's: packets go in by `inject` and come out by `drain`, one array each. For a VPN, an
 * emulator or a test that carries them by itself. @module
 */
import { frameBytes, frameFrom } from '../memory/frame.ts';
import type { Memory } from '../memory/memory.ts';
import type { Device, Medium } from './device.ts';
import { checkMtu } from './pipe.ts';
import { FrameQueue } from './queue.ts';

const QUEUE_FRAMES = 256;
/** An Ethernet header with one VLAN tag, before a packet of full size. */
const LINK_BYTES = 18;

export interface QueueDeviceOptions {
  /** Whether packets have an Ethernet header. Default `ip`. */
  readonly medium?: Medium;
  /** The largest IP packet in bytes, 68 to 65535. Default 1500. */
  readonly mtu?: number;
  /** Packets that may wait each way, a power of two; default 256. Beyond it `inject` refuses, and the stack waits. */
  readonly queueFrames?: number;
}

/**
 * @example
 * const wire = new QueueDevice({ medium: 'ip' })
 * const host = createHost({ device: wire, addresses: ['10.0.0.1/24'] })
 * wire.onPacket = () => { for (let p = wire.drain(); p !== null; p = wire.drain()) tunnel.send(p) }
 * tunnel.onmessage = (packet) => wire.inject(packet)
 */
export class QueueDevice implements Device {
  readonly medium: Medium;
  readonly mtu: number;
  readonly offload = false;
  readonly memory = null;
  /** Packets injected and lost: too long, no stack, or no memory for them. */
  dropped = 0;
  /** Called when there is something to {@link drain} after there was nothing, maybe inside the stack: only schedule. */
  onPacket: (() => void) | null = null;
  /** Called when {@link inject} would be taken again after it was refused, maybe inside the stack: only schedule. */
  onRoom: (() => void) | null = null;
  readonly #in: FrameQueue;
  readonly #out: FrameQueue;
  #attached: Memory | null = null;
  #wake: (() => void) | null = null;
  #isRefusing = false;
  #isBlocked = false;

  /** @throws RangeError, TypeError for an option that is none */
  constructor(options: QueueDeviceOptions = {}) {
    const { medium = 'ip', mtu = 1500, queueFrames = QUEUE_FRAMES } = options;
    if (medium !== 'ip' && medium !== 'ethernet') {
      throw new TypeError(`medium: expected 'ip' or 'ethernet', got ${JSON.stringify(medium)}`);
    }
    this.medium = medium;
    this.mtu = checkMtu(mtu);
    this.#in = new FrameQueue(queueFrames);
    this.#out = new FrameQueue(queueFrames);
  }

  /**
   * Gives the stack a packet; the bytes are copied.
   * @returns false where the queue is full: the packet is the caller's still, and {@link onRoom} tells when to try again
   */
  inject(packet: Uint8Array): boolean {
    const memory = this.#attached;
    if (memory !== null && this.#in.length === this.#in.capacity) {
      this.#isRefusing = true;
      return false;
    }
    const limit = this.mtu + (this.medium === 'ethernet' ? LINK_BYTES : 0);
    const frame = memory === null || packet.length > limit ? 0 : frameFrom(memory, packet);
    if (frame === 0) {
      this.dropped++;
      return true;
    }
    this.#in.push(frame);
    if (this.#in.length === 1) this.#wake?.();
    return true;
  }

  /** Takes the next packet that the stack has sent, an array of the caller's own; null: there is none. */
  drain(): Uint8Array | null {
    const frame = this.#out.shift();
    if (frame === 0) return null;
    const memory = this.#attached!;
    const packet = frameBytes(memory, frame);
    memory.free(frame);
    if (this.#isBlocked && this.#out.length <= this.#out.capacity >> 1) {
      this.#isBlocked = false;
      this.#wake?.();
    }
    return packet;
  }

  /** Packets that wait to be drained. */
  get waiting(): number {
    return this.#out.length;
  }

  attach(memory: Memory, wake: () => void): void {
    if (this.#attached !== null) throw new TypeError('device: expected one without a stack, got one that a stack has');
    this.#attached = memory;
    this.#wake = wake;
  }

  receive(): number {
    const frame = this.#in.shift();
    if (this.#isRefusing && this.#in.length <= this.#in.capacity >> 1) {
      this.#isRefusing = false;
      this.onRoom?.();
    }
    return frame;
  }

  room(): number {
    const room = this.#out.capacity - this.#out.length;
    if (room === 0) this.#isBlocked = true;
    return room;
  }

  transmit(frame: number): void {
    if (!this.#out.push(frame)) {
      this.dropped++;
      this.#attached!.free(frame);
    } else if (this.#out.length === 1) {
      this.onPacket?.();
    }
  }

  pollAt(): number {
    return this.#in.length > 0 ? 0 : Number.POSITIVE_INFINITY;
  }

  close(): void {
    if (this.#attached !== null) {
      this.#in.clear(this.#attached);
      this.#out.clear(this.#attached);
    }
    this.#attached = null;
    this.#wake = null;
  }
}

/** Packets of a {@link QueueDevice} as streams: what the stack sends is read, what is written the stack gets. */
export interface PacketStreams {
  readonly readable: ReadableStream<Uint8Array>;
  readonly writable: WritableStream<Uint8Array>;
}

/**
 * Makes the stream pair of a device; from now on it is theirs to drain. A reader that does not read holds up the stack, a
 * stack that does not take holds up the writer.
 */
export function packetStreams(device: QueueDevice): PacketStreams {
  let arrived: () => void = () => {};
  let room: () => void = () => {};
  device.onPacket = () => arrived();
  device.onRoom = () => room();
  const readable = new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        for (let packet = device.drain(); ; packet = device.drain()) {
          if (packet !== null) {
            controller.enqueue(packet);
            return;
          }
          await new Promise<void>((resolve) => {
            arrived = resolve;
          });
        }
      },
    },
    { highWaterMark: 0 },
  );
  const writable = new WritableStream<Uint8Array>({
    async write(packet) {
      while (!device.inject(packet)) {
        await new Promise<void>((resolve) => {
          room = resolve;
        });
      }
    },
  });
  return { readable, writable };
}
