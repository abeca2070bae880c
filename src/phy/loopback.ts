/** The device that gives back what it is given; a stack keeps one for its own addresses. @module */
import type { Memory } from '../memory/memory.ts';
import type { Device } from './device.ts';
import { checkMtu } from './pipe.ts';
import { FrameQueue } from './queue.ts';

/** Frames under way; beyond, the sender waits. */
const QUEUE_FRAMES = 256;

export interface LoopbackOptions {
  /** The largest IP packet in bytes. Default 65535. */
  readonly mtu?: number;
  /** Whether super-segments and partial checksums may pass. Default true. */
  readonly offload?: boolean;
}

export class Loopback implements Device {
  readonly medium = 'ip';
  readonly mtu: number;
  readonly offload: boolean;
  readonly memory = null;
  readonly #queue = new FrameQueue(QUEUE_FRAMES);
  #memory: Memory | null = null;
  #wake: (() => void) | null = null;
  #waits = false;

  constructor(options: LoopbackOptions = {}) {
    this.mtu = checkMtu(options.mtu ?? 65_535);
    this.offload = options.offload ?? true;
  }

  attach(memory: Memory, wake: () => void): void {
    this.#memory = memory;
    this.#wake = wake;
  }

  receive(): number {
    if (this.#waits && this.#queue.length <= QUEUE_FRAMES >> 1) {
      this.#waits = false;
      this.#wake?.();
    }
    return this.#queue.shift();
  }

  room(): number {
    const room = QUEUE_FRAMES - this.#queue.length;
    if (room === 0) this.#waits = true;
    return room;
  }

  transmit(frame: number): void {
    if (!this.#queue.push(frame)) this.#memory!.free(frame);
    else if (this.#queue.length === 1) this.#wake?.();
  }

  pollAt(): number {
    return this.#queue.length > 0 ? 0 : Number.POSITIVE_INFINITY;
  }

  close(): void {
    if (this.#memory !== null) this.#queue.clear(this.#memory);
  }
}
