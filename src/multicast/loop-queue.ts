/**
 * Own datagrams to groups that this host is in itself: copies of them wait here for the next round of the poll, which
 * takes them in as if they came from the interface they left by. RFC 1112 §6.1, RFC 3678 §3 (IP_MULTICAST_LOOP). @module
 */
import type { Context } from '../iface/context.ts';
import type { Interface } from '../iface/interface.ts';
import type { Ip } from '../iface/ip.ts';
import {
  allocFrame,
  CHECKSUM_FULL,
  frameChecksum,
  frameEnd,
  frameLength,
  frameStart,
  HEADROOM,
  setFrameBounds,
  setFrameOffload,
} from '../memory/frame.ts';

/** Copies that wait, at most; what comes then is dropped and counted. */
const QUEUE_MAX = 256;

export class LoopQueue {
  readonly #context: Context;
  readonly #ip: Ip;
  #frames: number[] = [];
  #ifaces: Interface[] = [];

  constructor(context: Context, ip: Ip) {
    this.#context = context;
    this.#ip = ip;
  }

  get count(): number {
    return this.#frames.length;
  }

  /** Copies the packet in `frame`, which stays the caller's. */
  push(iface: Interface, frame: number): void {
    const { memory, stats } = this.#context;
    if (this.#frames.length >= QUEUE_MAX) {
      stats.drop('multicast-loop-full');
      return;
    }
    const length = frameLength(memory, frame);
    const copy = allocFrame(memory, length);
    if (copy === 0) {
      stats.drop('no-memory');
      return;
    }
    const p = copy + HEADROOM;
    memory.copy(p, frameStart(memory, frame), length);
    setFrameBounds(memory, copy, p, p + length);
    setFrameOffload(memory, copy, frameChecksum(memory, frame), 0, 0);
    this.#frames.push(copy);
    this.#ifaces.push(iface);
  }

  /** Takes in what waits; what that sends in turn waits for the next call. Returns how many there were. */
  drain(): number {
    const count = this.#frames.length;
    if (count === 0) return 0;
    const { memory } = this.#context;
    const frames = this.#frames;
    const ifaces = this.#ifaces;
    this.#frames = [];
    this.#ifaces = [];
    for (let i = 0; i < count; i++) {
      const frame = frames[i]!;
      const trusted = frameChecksum(memory, frame) !== CHECKSUM_FULL;
      this.#ip.inputLooped(ifaces[i]!, frameStart(memory, frame), frameEnd(memory, frame), trusted);
      memory.free(frame);
    }
    return count;
  }

  /** Gives all memory back. */
  close(): void {
    for (const frame of this.#frames) this.#context.memory.free(frame);
    this.#frames = [];
    this.#ifaces = [];
  }
}
