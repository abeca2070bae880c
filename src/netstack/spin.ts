/**
 * A short look before a long wait. To stop a thread and wake it costs both sides 10 to 20 us, in which the other one often
 * has done what is waited for; so a waiter first looks at the word for a while, where that has lately paid. @module
 */

const LOOKS_MIN = 16;
/** About 40 us. */
const LOOKS_MAX = 1 << 13;
/** A wait that was shorter than this would have been worth a look, in ms. */
const SHORT_MS = 0.08;

export class Spin {
  #looks = LOOKS_MIN;

  /** Stops the thread until the word is not `seen`, or for `ms`; false: the time is over. */
  wait(words: Int32Array, index: number, seen: number, ms: number, waits: () => void): boolean {
    for (let i = this.#looks; i > 0; i--) if (Atomics.load(words, index) !== seen) return true;
    const since = performance.now();
    waits();
    const isOver = Atomics.wait(words, index, seen, ms) === 'timed-out';
    if (performance.now() - since < SHORT_MS) this.#looks = LOOKS_MAX;
    else if (this.#looks > LOOKS_MIN) this.#looks >>= 1;
    return !isOver;
  }
}
