/**
 * The flows that somebody intercepts, bounded by count and by the memory they hold: at either limit the one without traffic
 * for longest makes room, and one that is idle for too long ends by itself. Traffic is noticed by looking, so a packet pays nothing for it. @module
 */
import type { StackLoop } from './loop.ts';

/** How often flows are looked at: an eighth of the idle time, within these. */
const LOOK_MIN_MS = 100;
const LOOK_MAX_MS = 15_000;
/** Where there is no room, no sooner again than this: a look costs as much as there are flows. */
const LOOK_AGAIN_MS = 250;
/** Then so many eighths of the bytes stay, so that the next datagram does not end the next flow. */
const KEPT_EIGHTHS = 7;

/** What the table needs of a flow. */
export interface Slot {
  /** A number that is another one after there was traffic. */
  traffic(): number;
  /** Memory it holds: what has arrived and was not read, what was sent and is not acknowledged. */
  bytes(): number;
  /** Milliseconds without traffic after which it ends. */
  readonly idleMs: number;
  /** Ends it; it takes itself out of the table. */
  expire(why: 'idle' | 'evicted'): void;
}

/** What is counted of intercepted flows since the beginning. */
export interface FlowStats {
  /** Flows that were told of. */
  opened: number;
  accepted: number;
  rejected: number;
  /** Neither accepted nor rejected in time. */
  undecided: number;
  /** Ended without traffic for too long; ended to make room. */
  idle: number;
  evicted: number;
  /** Handlers that threw. */
  handlerErrors: number;
}

export const noFlows = (): FlowStats => ({
  opened: 0,
  accepted: 0,
  rejected: 0,
  undecided: 0,
  idle: 0,
  evicted: 0,
  handlerErrors: 0,
});

/** @throws RangeError */
export function checkMs(name: string, ms: number): void {
  if (!(typeof ms === 'number' && ms > 0)) throw new RangeError(`${name}: expected milliseconds above 0, got ${ms}`);
}

/** @throws RangeError */
export function checkCount(name: string, count: number): void {
  if (!(Number.isInteger(count) && count >= 1)) {
    throw new RangeError(`${name}: expected a whole number from 1, got ${count}`);
  }
}

interface Seen {
  traffic: number;
  at: number;
}

export class FlowSlots<S extends Slot> {
  readonly #loop: StackLoop;
  readonly #flowsMax: number;
  readonly #bytesMax: number;
  readonly #lookMs: number;
  /** In the order of their last traffic, as far as it was noticed. */
  readonly #seen = new Map<S, Seen>();
  #timer = 0;
  #lookedAt = Number.NEGATIVE_INFINITY;

  /** @throws RangeError for a limit that is none */
  constructor(loop: StackLoop, flowsMax: number, bytesMax: number, idleMs: number) {
    checkCount('flowsMax', flowsMax);
    if (!(bytesMax > 0)) throw new RangeError(`bytesMax: expected bytes above 0, got ${bytesMax}`);
    checkMs('idleMs', idleMs);
    this.#loop = loop;
    this.#flowsMax = flowsMax;
    this.#bytesMax = bytesMax;
    // What is held may grow fast: it is looked at as often as there may be a look for room.
    this.#lookMs = Math.min(Math.max(idleMs / 8, LOOK_MIN_MS), LOOK_MAX_MS, LOOK_AGAIN_MS);
  }

  /** Memory that all flows hold. */
  get bytes(): number {
    let bytes = 0;
    for (const slot of this.#seen.keys()) bytes += slot.bytes();
    return bytes;
  }

  get count(): number {
    return this.#seen.size;
  }

  values(): S[] {
    return [...this.#seen.keys()];
  }

  /** Adds a flow; where there is no room, another ends. */
  add(slot: S): void {
    if (this.#seen.size >= this.#flowsMax) this.#makeRoom();
    this.#seen.set(slot, { traffic: slot.traffic(), at: this.#loop.clock.now() });
    this.#arm();
  }

  remove(slot: S): void {
    this.#seen.delete(slot);
    if (this.#seen.size > 0 || this.#timer === 0) return;
    this.#loop.clock.clearTimer(this.#timer);
    this.#timer = 0;
  }

  #makeRoom(): void {
    if (this.#loop.clock.now() - this.#lookedAt >= LOOK_AGAIN_MS) this.#look();
    for (const slot of this.#seen.keys()) {
      if (this.#seen.size < this.#flowsMax) return;
      this.#end(slot, 'evicted');
    }
  }

  /** Where the flows hold too much, ends those that have had no traffic for longest and hold any. */
  trim(): void {
    let { bytes } = this;
    if (bytes < this.#bytesMax) return;
    this.#look();
    const kept = (this.#bytesMax / 8) * KEPT_EIGHTHS;
    for (const slot of [...this.#seen.keys()]) {
      if (bytes <= kept) return;
      const held = slot.bytes();
      if (held === 0) continue;
      this.#end(slot, 'evicted');
      bytes -= held;
    }
  }

  #end(slot: S, why: 'idle' | 'evicted'): void {
    slot.expire(why);
    this.remove(slot);
  }

  /** Puts those with traffic behind the others, and ends who had none for too long. */
  #look(): void {
    const now = this.#loop.clock.now();
    this.#lookedAt = now;
    for (const [slot, seen] of [...this.#seen]) {
      const traffic = slot.traffic();
      if (traffic !== seen.traffic) {
        this.#seen.delete(slot);
        this.#seen.set(slot, { traffic, at: now });
      } else if (now - seen.at >= slot.idleMs) {
        this.#end(slot, 'idle');
      }
    }
  }

  #arm(): void {
    if (this.#timer !== 0 || this.#seen.size === 0) return;
    const { clock } = this.#loop;
    this.#timer = clock.setTimer(clock.now() + this.#lookMs, () => {
      this.#timer = 0;
      if (!this.#loop.isClosed) {
        this.#look();
        this.trim();
      }
      this.#arm();
    });
  }

  /** Forgets all; what they were is the caller's. */
  clear(): void {
    this.#seen.clear();
    if (this.#timer !== 0) this.#loop.clock.clearTimer(this.#timer);
    this.#timer = 0;
  }
}
