/** Numbers over time, in memory that does not grow: beyond a limit every second one is left out. @module */

/** Points of a series, at most. */
export const POINTS_MAX = 4096;

/** Points of so many numbers each, the first of them the time. */
export class Series {
  readonly #width: number;
  readonly #values: number[] = [];
  /** Of so many points one is kept. */
  #stride = 1;
  #skipped = 0;

  constructor(width = 2) {
    this.#width = width;
  }

  push(...point: readonly number[]): void {
    if (++this.#skipped < this.#stride) return;
    this.#skipped = 0;
    this.#values.push(...point);
    if (this.length > POINTS_MAX) this.#thin();
  }

  #thin(): void {
    const width = this.#width;
    let to = 0;
    for (let from = 0; from < this.#values.length; from += 2 * width) {
      for (let i = 0; i < width; i++) this.#values[to++] = this.#values[from + i]!;
    }
    this.#values.length = to;
    this.#stride *= 2;
  }

  get length(): number {
    return this.#values.length / this.#width;
  }

  /** All points in a row: time, value, time, value. */
  get values(): readonly number[] {
    return this.#values;
  }
}
