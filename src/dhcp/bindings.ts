/** Which client has which address of a DHCP server, and until when: RFC 2131 §4.3. @module */
import { IpAddress } from '../wire/address.ts';

/** Addresses of a pool, at most: a look for a free one walks them. */
const POOL_MAX = 4096;
const RESERVATIONS_MAX = 1024;

export type BindingState = 'offered' | 'bound' | 'free' | 'declined';

export interface Binding {
  readonly address: IpAddress;
  /** The client: its identifier or link address in hexadecimal. */
  readonly client: string;
  /** The link address it was seen with, and the name it gave, null: none. */
  readonly mac: string;
  readonly hostName: string | null;
  /** `free`: it was this client's, who gets it again if nobody else has taken it. */
  readonly state: BindingState;
  /** ms; when an offer, a lease or a quarantine ends. Infinity: never. */
  readonly until: number;
}

export interface PoolOptions {
  readonly from: IpAddress;
  readonly to: IpAddress;
  /** Addresses in between that are never given. */
  readonly isTaken: (address: IpAddress) => boolean;
  /** Addresses kept for one client each, by link address or client identifier in hexadecimal; in the pool or not. */
  readonly reservations: ReadonlyMap<string, IpAddress>;
}

export class Bindings {
  readonly #pool: PoolOptions;
  readonly #reserved: ReadonlySet<number>;
  readonly #byAddress = new Map<number, Binding>();
  readonly #byClient = new Map<string, Binding>();
  /** Where the next look for an address nobody ever had begins. */
  #next = 0;

  /** @throws RangeError for a pool or reservations that cannot be */
  constructor(pool: PoolOptions) {
    const size = (pool.to.d >>> 0) - (pool.from.d >>> 0) + 1;
    if (!pool.from.isV4 || !pool.to.isV4 || size < 1 || size > POOL_MAX) {
      throw new RangeError(`pool: expected 1 to ${POOL_MAX} IPv4 addresses, got ${pool.from} to ${pool.to}`);
    }
    if (pool.reservations.size > RESERVATIONS_MAX) {
      throw new RangeError(`reservations: expected at most ${RESERVATIONS_MAX}, got ${pool.reservations.size}`);
    }
    this.#pool = pool;
    this.#reserved = new Set([...pool.reservations.values()].map(({ d }) => d));
  }

  /** All there are, those that are over too. */
  get all(): readonly Binding[] {
    return [...this.#byAddress.values()];
  }

  of(client: string): Binding | null {
    return this.#byClient.get(client) ?? null;
  }

  /** Notes what became of an address. What the client or the address was noted with before is forgotten. */
  set(binding: Binding): void {
    const before = this.#byAddress.get(binding.address.d);
    if (before !== undefined && this.#byClient.get(before.client) === before) this.#byClient.delete(before.client);
    const other = this.#byClient.get(binding.client);
    if (other !== undefined) this.#byAddress.delete(other.address.d);
    this.#byAddress.set(binding.address.d, binding);
    // A quarantined address is nobody's.
    if (binding.state !== 'declined') this.#byClient.set(binding.client, binding);
  }

  /** Whether `client` may have `address` now. */
  isFree(address: IpAddress, client: string, mac: string, now: number): boolean {
    const kept = this.#reservation(client, mac);
    if (kept !== null ? !kept.equals(address) : this.#reserved.has(address.d)) return false;
    if (kept === null && !this.#isInPool(address)) return false;
    if (this.#pool.isTaken(address)) return false;
    const held = this.#byAddress.get(address.d);
    return held === undefined || held.until <= now || (held.client === client && held.state !== 'declined');
  }

  /**
   * The address for `client`, in the order of RFC 2131 §4.3.1; null: none is left.
   * @param wanted - the one it asks for
   */
  choose(client: string, mac: string, wanted: IpAddress | null, now: number): IpAddress | null {
    const kept = this.#reservation(client, mac);
    if (kept !== null) return this.isFree(kept, client, mac, now) ? kept : null;
    const before = this.#byClient.get(client);
    if (before !== undefined && this.isFree(before.address, client, mac, now)) return before.address;
    if (wanted !== null && this.isFree(wanted, client, mac, now)) return wanted;
    return this.#unused(client, mac, now) ?? this.#oldest(client, mac, now);
  }

  #reservation(client: string, mac: string): IpAddress | null {
    const { reservations } = this.#pool;
    return reservations.get(client) ?? reservations.get(mac) ?? null;
  }

  #isInPool({ d }: IpAddress): boolean {
    const { from, to } = this.#pool;
    return d >>> 0 >= from.d >>> 0 && d >>> 0 <= to.d >>> 0;
  }

  /** An address nobody ever had, so that each client finds its own again for as long as can be. */
  #unused(client: string, mac: string, now: number): IpAddress | null {
    const { from, to } = this.#pool;
    const size = (to.d >>> 0) - (from.d >>> 0) + 1;
    for (let i = 0; i < size; i++) {
      const address = IpAddress.v4(from.d + ((this.#next + i) % size));
      if (this.#byAddress.has(address.d) || !this.isFree(address, client, mac, now)) continue;
      this.#next = (this.#next + i + 1) % size;
      return address;
    }
    return null;
  }

  /** The one that has been over for longest. */
  #oldest(client: string, mac: string, now: number): IpAddress | null {
    let chosen: Binding | null = null;
    for (const binding of this.#byAddress.values()) {
      if (binding.until > now || !this.isFree(binding.address, client, mac, now)) continue;
      if (chosen === null || binding.until < chosen.until) chosen = binding;
    }
    return chosen?.address ?? null;
  }
}
