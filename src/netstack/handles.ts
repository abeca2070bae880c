/**
 * Handles with generations: a place in a table in the low 20 bits, and above it how often the place was taken, in 33. A
 * handle that was given back names nothing, whoever has its place now; a place whose generations are used up is not taken
 * again. @module
 */
import { NetError } from '../errors.ts';
import type { Handle } from './commands.ts';

/** Sockets of one client, at most: the low 20 bits. One more is refused with EMFILE. */
export const HANDLES_MAX = 1 << 20;
/** Generations of a place: with it a handle is an integer that a number holds exactly. */
const GENERATIONS = 2 ** 33;

/** The low bits of a handle, as a note carries them. */
export const noteOf = (handle: Handle): number => handle | 0;

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
    if (place === HANDLES_MAX) throw new NetError('EMFILE', syscall); // the others are used up
    this.#entries[place] = entry;
    this.count++;
    return this.#generations[place]! * HANDLES_MAX + place;
  }

  /** The place that was given back first: its generation comes round last. */
  #place(): number {
    if (this.#freeTaken === this.#free.length) {
      if (this.#entries.length === HANDLES_MAX) return HANDLES_MAX;
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
    if (typeof handle !== 'number' || !Number.isSafeInteger(handle) || handle < 0) return null;
    const place = handle % HANDLES_MAX;
    return this.#generations[place] === Math.floor(handle / HANDLES_MAX) ? (this.#entries[place] ?? null) : null;
  }

  /** What a note means, which carries the low 32 bits: one that comes too late may mean another, who has a look in vain. */
  noted(note: number): T | null {
    const place = note & (HANDLES_MAX - 1);
    const handle = (this.#generations[place] ?? 0) * HANDLES_MAX + place;
    return noteOf(handle) === noteOf(note) ? (this.#entries[place] ?? null) : null;
  }

  /** Takes `handle` out; a stale one is ignored. */
  remove(handle: Handle): void {
    if (this.get(handle) === null) return;
    const place = handle % HANDLES_MAX;
    this.#entries[place] = null;
    this.count--;
    if (++this.#generations[place]! < GENERATIONS) this.#free.push(place);
  }

  all(): T[] {
    return this.#entries.filter((entry) => entry !== null);
  }
}
