/**
 * Seeded pseudo-random numbers for faults and simulation: sfc32 (Doty-Humphrey, PractRand), four words of state, period
 * at least 2^32 for every seed, seeded through splitmix32. The same seed gives the same numbers on every machine and in
 * every release. Not for secrets: those come into a stack from outside. @module
 */

/** Outputs thrown away after seeding, until seeds that differ in one bit give unrelated numbers. */
const WARM_UP = 12;
const TWO_32 = 0x1_0000_0000;

export class Random {
  #a: number;
  #b: number;
  #c: number;
  #counter = 1; // makes the period at least 2^32

  /** @param seed - any number; its low 32 bits count */
  constructor(seed: number) {
    this.#a = splitmix(seed | 0);
    this.#b = splitmix(this.#a);
    this.#c = splitmix(this.#b);
    for (let i = 0; i < WARM_UP; i++) this.next();
  }

  /** The next number, a uint32. */
  next(): number {
    const out = (((this.#a + this.#b) | 0) + this.#counter) | 0;
    this.#counter = (this.#counter + 1) | 0;
    this.#a = this.#b ^ (this.#b >>> 9);
    this.#b = (this.#c + (this.#c << 3)) | 0;
    this.#c = (((this.#c << 21) | (this.#c >>> 11)) + out) | 0;
    return out >>> 0;
  }

  /** The next number in [0, 1), a multiple of 2^-32. */
  float(): number {
    return this.next() / TWO_32;
  }

  /** An integer in [0, n); `n` from 1 to 2^32. Uneven by less than n / 2^32. */
  below(n: number): number {
    return Math.floor((this.next() / TWO_32) * n);
  }

  /** True with probability `p`. Draws nothing for 0 and 1, so that a fault that is off does not move the others. */
  chance(p: number): boolean {
    if (p <= 0) return false;
    if (p >= 1) return true;
    return this.next() < p * TWO_32;
  }

  /** An independent generator, so that two users of one seed do not disturb each other. */
  fork(): Random {
    return new Random(this.next());
  }

  /** Fills `u8`, four bytes a draw. */
  bytes(u8: Uint8Array): void {
    let word = 0;
    for (let i = 0; i < u8.length; i++) {
      word = (i & 3) === 0 ? this.next() : word >>> 8;
      u8[i] = word & 0xff;
    }
  }
}

/** One step of splitmix32: spreads a seed's bits over the word. */
function splitmix(x: number): number {
  let z = (x + 0x9e3779b9) | 0;
  z = Math.imul(z ^ (z >>> 16), 0x21f0aaad);
  z = Math.imul(z ^ (z >>> 15), 0x735a2d97);
  return z ^ (z >>> 15);
}
