/** What every layer of one stack shares: memory, the time, chance, timers, counters, changed sockets. @module */
import type { Memory } from '../memory/memory.ts';
import { Stats } from './stats.ts';
import { Timers } from './timers.ts';

/** A socket that reports what changed. */
export interface Changed {
  /** Whether it stands in the queue of changed sockets. Written by {@link Context} only. */
  isChanged: boolean;
}

/** 2^32 microseconds. */
const WRAP_MS = 2 ** 32 / 1000;

export class Context {
  readonly memory: Memory;
  readonly random: () => number;
  readonly timers = new Timers();
  readonly stats = new Stats();
  /**
   * The stack's time as last given to `poll`: for devices, whose deadlines may fall between two ms. It begins as null,
   * so that V8 holds it boxed: from an unboxed double each frame handed to a device made a box, 18 bytes (measured).
   */
  now = null as unknown as number;
  /** The same in whole ms. */
  nowMs = 0;
  /** The same in microseconds, as a wrapping int32: only differences mean something. */
  nowUs = 0;
  /** The last multiple of {@link WRAP_MS} before now. */
  #wrappedAt = 0;
  // Changed sockets, taken from the front; the array is kept, so that queueing allocates nothing.
  readonly #changed: (Changed | null)[] = [];
  #changedCount = 0;
  #changedTaken = 0;

  /** @param random - uniform uint32; secrets, ports and sequence numbers are drawn from it */
  constructor(memory: Memory, random: () => number) {
    this.memory = memory;
    this.random = random;
    this.now = 0;
  }

  /** Sets the time. Time never goes back: an earlier `now` counts as the last one. */
  setNow(now: number): void {
    if (!(now > this.now)) return;
    this.now = now;
    this.nowMs = Math.floor(now);
    // Since the last wrap: the product must stay exact, and a modulo of doubles is a call into C (measured).
    if (now - this.#wrappedAt >= WRAP_MS) this.#wrappedAt = now - (now % WRAP_MS);
    this.nowUs = Math.floor((now - this.#wrappedAt) * 1000) | 0;
  }

  /** Puts `socket` into the queue of changed sockets, once. */
  changed(socket: Changed): void {
    if (socket.isChanged) return;
    socket.isChanged = true;
    this.#changed[this.#changedCount++] = socket;
  }

  /** Takes the next changed socket, or null. */
  nextChanged(): Changed | null {
    if (this.#changedTaken === this.#changedCount) {
      this.#changedTaken = 0;
      this.#changedCount = 0;
      return null;
    }
    const socket = this.#changed[this.#changedTaken]!;
    this.#changed[this.#changedTaken++] = null;
    socket.isChanged = false;
    return socket;
  }
}
