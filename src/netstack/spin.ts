/**
 * A short look before a long wait. To stop a thread and wake it costs both sides 10 to 20 us, in which the other one often
 * has done what is waited for; so a waiter first looks at the word for a while, where that has lately paid. @module
 */

const LOOKS_MIN = 16;
/** One look takes about 5 ns. */
const LOOKS_PER_MS = 200_000;

export class Spin {
  readonly #looksMax: number;
  readonly #shortMs: number;
  #looks = LOOKS_MIN;

  /** @param lookMs - the longest look; a wait of up to twice that would have been worth one */
  constructor(lookMs: number) {
    this.#looksMax = lookMs * LOOKS_PER_MS;
    this.#shortMs = 2 * lookMs;
  }

  /** Looks for a while; true: the word is not `seen` any more. */
  look(words: Int32Array, index: number, seen: number): boolean {
    for (let i = this.#looks; i > 0; i--) if (Atomics.load(words, index) !== seen) return true;
    return false;
  }

  /** Stops the thread until the word is not `seen`, or for `ms`; false: the time is over. */
  wait(words: Int32Array, index: number, seen: number, ms: number): boolean {
    const since = performance.now();
    const isOver = Atomics.wait(words, index, seen, ms) === 'timed-out';
    if (performance.now() - since < this.#shortMs) this.#looks = this.#looksMax;
    else if (this.#looks > LOOKS_MIN) this.#looks >>= 1;
    return !isOver;
  }
}
