/**
 * A virtual wire: two devices, each giving what the other was given. Stacks that share one memory hand frames over as
 * offsets; otherwise the bytes are copied across. @module
 */
import { copyFrame } from '../memory/frame.ts';
import { Memory } from '../memory/memory.ts';
import type { Medium } from '../wire/link-type.ts';
import type { Device } from './device.ts';
import { FrameQueue } from './queue.ts';

/**
 * Frames under way in each direction; beyond, the sender waits. Short on purpose: 64 full frames stay in the cache of a
 * core until they are read, and bulk over a pipe is 1.5 times as fast as with 256 (`ethertype bench`).
 */
const QUEUE_FRAMES = 64;
/** Limits of an MTU: RFC 791's least, and what an IP packet can be. */
const MTU_MIN = 68;
const MTU_MAX = 65_535;

export interface PipeOptions {
  /** Whether frames have an Ethernet header. Default `ip`. */
  readonly medium?: Medium;
  /** The largest IP packet in bytes, 68 to 65535. Default 1500. */
  readonly mtu?: number;
  /** Whether super-segments and partial checksums may pass. Default false: every checksum is computed and verified. */
  readonly offload?: boolean;
  /** The memory both ends offer to their stacks; by default one is made for the pair. */
  readonly memory?: Memory;
}

/** @throws RangeError if `mtu` is out of range. */
export function checkMtu(mtu: number): number {
  if (Number.isInteger(mtu) && mtu >= MTU_MIN && mtu <= MTU_MAX) return mtu;
  throw new RangeError(`mtu: expected ${MTU_MIN} to ${MTU_MAX} bytes, got ${mtu}`);
}

/** One end of a virtual wire. */
export class PipeEnd implements Device {
  readonly medium: Medium;
  readonly mtu: number;
  readonly offload: boolean;
  /** Frames given to an end that no stack has, or whose stack's memory is full. */
  dropped = 0;
  readonly #shared: { memory: Memory | null };
  readonly #queue = new FrameQueue(QUEUE_FRAMES); // frames for this end, in this end's memory
  #peer: PipeEnd | null = null;
  #memory: Memory | null = null;
  #wake: (() => void) | null = null;
  #peerWaits = false;

  /** Made by {@link pipePair}. */
  constructor(options: PipeOptions, shared: { memory: Memory | null }) {
    this.medium = options.medium ?? 'ip';
    if (this.medium !== 'ip' && this.medium !== 'ethernet') {
      throw new TypeError(`medium: expected 'ip' or 'ethernet', got ${JSON.stringify(options.medium)}`);
    }
    this.mtu = checkMtu(options.mtu ?? 1500);
    this.offload = options.offload ?? false;
    this.#shared = shared;
  }

  /** The memory of the pair, made when first asked for. */
  get memory(): Memory {
    this.#shared.memory ??= new Memory();
    return this.#shared.memory;
  }

  /** Joins two ends; {@link pipePair} does. */
  join(peer: PipeEnd): void {
    this.#peer = peer;
  }

  attach(memory: Memory, wake: () => void): void {
    if (this.#memory !== null) throw new TypeError('device: expected one without a stack, got one that a stack has');
    this.#memory = memory;
    this.#wake = wake;
  }

  receive(): number {
    const frame = this.#queue.shift();
    // Half-empty again: the sender had stopped and may go on.
    if (this.#peerWaits && this.#queue.length <= QUEUE_FRAMES >> 1) {
      this.#peerWaits = false;
      const peer = this.#peer;
      if (peer !== null) peer.#wake?.();
    }
    return frame;
  }

  room(): number {
    const peer = this.#peer;
    if (peer === null) return 1; // a cut wire takes everything and delivers nothing
    const room = QUEUE_FRAMES - peer.#queue.length;
    if (room === 0) peer.#peerWaits = true;
    return room;
  }

  transmit(frame: number): void {
    const memory = this.#memory!;
    const peer = this.#peer;
    if (peer === null || peer.#memory === null || peer.#queue.length === QUEUE_FRAMES) {
      this.dropped++;
      memory.free(frame);
      return;
    }
    const passed = this.#pass(frame, peer);
    if (passed === 0) {
      this.dropped++;
      return;
    }
    peer.#queue.push(passed);
    if (peer.#queue.length === 1) peer.#wake?.();
  }

  /** The frame in the peer's memory; 0 when that has no room. The frame itself is the peer's or given back. */
  #pass(frame: number, peer: PipeEnd): number {
    const memory = this.#memory!;
    const target = peer.#memory!;
    if (target === memory) return frame;
    const copied = copyFrame(memory, frame, target);
    memory.free(frame);
    return copied;
  }

  pollAt(): number {
    return this.#queue.length > 0 ? 0 : Number.POSITIVE_INFINITY;
  }

  close(): void {
    if (this.#memory !== null) this.#queue.clear(this.#memory);
    const peer = this.#peer;
    if (peer !== null) peer.#peer = null;
    this.#peer = null;
    this.#memory = null;
    this.#wake = null;
  }
}

/**
 * Two ends of a virtual wire.
 * @example const [left, right] = pipePair({ medium: 'ip', mtu: 1500 })
 */
export function pipePair(options: PipeOptions = {}): [PipeEnd, PipeEnd] {
  const shared = { memory: options.memory ?? null };
  const left = new PipeEnd(options, shared);
  const right = new PipeEnd(options, shared);
  left.join(right);
  right.join(left);
  return [left, right];
}
