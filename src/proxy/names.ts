/** Which names an address has, as the DNS answers said that went through. @module */

/** Addresses remembered, the oldest out first, and names of one. */
const ADDRESSES_MAX = 8192;
const NAMES_MAX = 16;
/** A program may connect long after it asked: a name holds for so long at least, whatever its time to live. */
const KEEP_MS = 600_000;

export class LearnedNames {
  /** In the order in which they were last learned. */
  readonly #byAddress = new Map<string, Map<string, number>>();

  /** @param ttl - seconds */
  learn(address: string, name: string, ttl: number, nowMs: number): void {
    const names = this.#byAddress.get(address) ?? new Map<string, number>();
    this.#byAddress.delete(address);
    this.#byAddress.set(address, names);
    const plain = name.replace(/\.$/, '').toLowerCase();
    names.delete(plain);
    names.set(plain, nowMs + Math.max(KEEP_MS, ttl * 1000));
    dropOldest(names, NAMES_MAX);
    dropOldest(this.#byAddress, ADDRESSES_MAX);
  }

  /** The latest first. */
  of(address: string, nowMs: number): string[] {
    const names = this.#byAddress.get(address);
    if (names === undefined) return [];
    return [...names]
      .filter(([, until]) => until > nowMs)
      .map(([name]) => name)
      .reverse();
  }
}

function dropOldest<V>(map: Map<string, V>, most: number): void {
  for (const key of map.keys()) {
    if (map.size <= most) return;
    map.delete(key);
  }
}
