/**
 * A short look before a long wait. To stop a thread and wake it costs both sides 10 to 20 us, in which the other one often
 * has done what is waited for; so a waiter first looks at the word for a while, as long as that pays: each look that was
 * for nothing halves the next one, each that was not doubles it. @module
 */

const LOOKS_MIN = 16;
/** About 25 us. */
const LOOKS_MAX = 4096;

export class Spin {
  #looks = LOOKS_MAX;

  /** Whether the word changed while it was looked at. */
  changed(words: Int32Array, index: number, seen: number): boolean {
    for (let i = this.#looks; i > 0; i--) {
      if (Atomics.load(words, index) === seen) continue;
      if (this.#looks < LOOKS_MAX) this.#looks <<= 1;
      return true;
    }
    if (this.#looks > LOOKS_MIN) this.#looks >>= 1;
    return false;
  }
}
