/** A map by IP address whose look-up by words allocates nothing. @module */
import type { IpAddress } from '../wire/address.ts';

interface Entry<V> {
  readonly address: IpAddress;
  value: V;
}

const hashOf = (a: number, b: number, c: number, d: number): number =>
  Math.imul(a ^ Math.imul(b, 0x9e3779b1), 0x85ebca6b) ^ Math.imul(c, 0xc2b2ae35) ^ d;

/** Values by address. */
export class AddressMap<V> {
  readonly #chains = new Map<number, Entry<V>[]>();
  size = 0;

  /** The value at the address of these words, or undefined. */
  find(a: number, b: number, c: number, d: number): V | undefined {
    const chain = this.#chains.get(hashOf(a, b, c, d));
    if (chain === undefined) return undefined;
    for (let i = 0; i < chain.length; i++) {
      const { address, value } = chain[i]!;
      if (address.d === d && address.c === c && address.b === b && address.a === a) return value;
    }
    return undefined;
  }

  get({ a, b, c, d }: IpAddress): V | undefined {
    return this.find(a, b, c, d);
  }

  has(address: IpAddress): boolean {
    return this.get(address) !== undefined;
  }

  set(address: IpAddress, value: V): void {
    const hash = hashOf(address.a, address.b, address.c, address.d);
    const chain = this.#chains.get(hash) ?? [];
    const known = chain.find((entry) => entry.address.equals(address));
    if (known !== undefined) {
      known.value = value;
      return;
    }
    chain.push({ address, value });
    this.#chains.set(hash, chain);
    this.size++;
  }

  delete(address: IpAddress): boolean {
    const hash = hashOf(address.a, address.b, address.c, address.d);
    const chain = this.#chains.get(hash);
    const index = chain?.findIndex((entry) => entry.address.equals(address)) ?? -1;
    if (index < 0) return false;
    chain!.splice(index, 1);
    if (chain!.length === 0) this.#chains.delete(hash);
    this.size--;
    return true;
  }

  clear(): void {
    this.#chains.clear();
    this.size = 0;
  }

  *keys(): Generator<IpAddress, void, undefined> {
    for (const chain of this.#chains.values()) for (const { address } of chain) yield address;
  }

  *values(): Generator<V, void, undefined> {
    for (const chain of this.#chains.values()) for (const { value } of chain) yield value;
  }
}

/** A set of addresses. */
export class AddressSet {
  readonly #map = new AddressMap<true>();

  constructor(addresses: Iterable<IpAddress> = []) {
    for (const address of addresses) this.add(address);
  }

  get size(): number {
    return this.#map.size;
  }

  add(address: IpAddress): void {
    this.#map.set(address, true);
  }

  delete(address: IpAddress): boolean {
    return this.#map.delete(address);
  }

  has(address: IpAddress): boolean {
    return this.#map.has(address);
  }

  hasWords(a: number, b: number, c: number, d: number): boolean {
    return this.#map.find(a, b, c, d) !== undefined;
  }

  clear(): void {
    this.#map.clear();
  }

  [Symbol.iterator](): Generator<IpAddress, void, undefined> {
    return this.#map.keys();
  }
}
