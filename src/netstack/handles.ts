/**
 * Handles with generations: a place in a table in the low bits, and above it how often the place was taken. A handle that
 * was given back names nothing, whoever has its place now. @module
 */
import { NetError } from '../errors.ts';
import type { Handle } from './commands.ts';

/** Sockets of one client, at most: the low 20 bits. One more is refused with EMFILE. */
export const HANDLES_MAX = 1 << 20;
const PLACE_BITS = 20;
/** Generations of a place before they begin again: 11 bits, so that a handle stays a positive int32. */
const GENERATIONS = 1 << 11;

export class Handles<T extends object> {
  readonly #entries: (T | null)[] = [];
  readonly #generations: number[] = [];
  readonly #free: number[] = [];
  #freeTaken = 0;
  count = 0;

  /** @throws NetError EMFILE */
  add(entry: T, syscall: string): Handle {
    if (this.count === HANDLES_MAX) throw new NetError('EMFILE', syscall);
    const place = this.#place();
    this.#entries[place] = entry;
    this.count++;
    return ((this.#generations[place] ?? 0) << PLACE_BITS) | place;
  }

  /** The place that was given back first: its generation comes round last. */
  #place(): number {
    if (this.#freeTaken === this.#free.length) {
      this.#entries.push(null);
      this.#generations.push(1);
      return this.#entries.length - 1;
    }
    const place = this.#free[this.#freeTaken++]!;
    if (this.#freeTaken > 1024 && this.#freeTaken * 2 > this.#free.length) {
      this.#free.splice(0, this.#freeTaken);
      this.#freeTaken = 0;
    }
    return place;
  }

  /** What `handle` names, or null. */
  get(handle: unknown): T | null {
    if (typeof handle !== 'number' || !Number.isInteger(handle)) return null;
    const place = handle & (HANDLES_MAX - 1);
    return this.#generations[place] === handle >>> PLACE_BITS ? (this.#entries[place] ?? null) : null;
  }

  /** Takes `handle` out; a stale one is ignored. */
  remove(handle: Handle): void {
    if (this.get(handle) === null) return;
    const place = handle & (HANDLES_MAX - 1);
    this.#entries[place] = null;
    this.#generations[place] = (this.#generations[place]! + 1) & (GENERATIONS - 1);
    this.#free.push(place);
    this.count--;
  }

  all(): T[] {
    return this.#entries.filter((entry) => entry !== null);
  }
}
