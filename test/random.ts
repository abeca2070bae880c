/** Randomness that repeats: every random test names its seed. @module */

export interface Random {
  /** A number of [0, 1). */
  next(): number;
  /** A whole number of [0, limit). */
  below(limit: number): number;
  /** One of `choices`. */
  pick<T>(choices: readonly T[]): T;
  bytes(length: number): Uint8Array;
}

/** The generator mulberry32: small, fast, and good enough to shake a table. */
export function randomOf(seed: number): Random {
  let state = seed | 0;
  const next = (): number => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 0x100000000;
  };
  const below = (limit: number): number => Math.floor(next() * limit);
  return {
    next,
    below,
    pick: (choices) => choices[below(choices.length)]!,
    bytes: (length) => Uint8Array.from({ length }, () => below(256)),
  };
}
