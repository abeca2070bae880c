/** The routing table of a stack, and the path a flow takes out. @module */
import type { Cidr, IpAddress } from '../wire/address.ts';
import type { Interface } from './interface.ts';
import type { Neighbour } from './neighbours.ts';

export interface Route {
  readonly prefix: Cidr;
  readonly iface: Interface;
  /** The router to send to, null where the prefix is on the link. */
  readonly gateway: IpAddress | null;
  /** Among equal prefixes the lower one is taken; 0 by default. */
  readonly metric?: number;
  /**
   * The gateway does not answer: another route is taken where there is one, if need be one of a shorter prefix
   * (RFC 4191 §3.2). Changed by neighbour discovery only.
   */
  isDead?: boolean;
}

/** The routes of one prefix, by metric; in a chain of the hash table. */
interface Bucket {
  readonly prefix: Cidr;
  readonly routes: Route[];
  next: Bucket | null;
}

const SIZE_MIN = 16;
/** Bits of the mapped form's prefix: shorter prefixes are IPv6. */
const BITS_V4 = 96;

const maskWord = (bits: number): number => (bits <= 0 ? 0 : bits >= 32 ? -1 : (-1 << (32 - bits)) | 0);

const isPrefixOf = ({ bits, address }: Cidr, length: number, a: number, b: number, c: number, d: number): boolean =>
  bits === length &&
  ((d ^ address.d) & maskWord(bits - 96)) === 0 &&
  ((c ^ address.c) & maskWord(bits - 64)) === 0 &&
  ((b ^ address.b) & maskWord(bits - 32)) === 0 &&
  ((a ^ address.a) & maskWord(bits)) === 0;

/** Mixes the words of a prefix; the top bits are its place. */
function mix(bits: number, a: number, b: number, c: number, d: number): number {
  let h = Math.imul(bits ^ (a & maskWord(bits)), 0x9e3779b1);
  h = Math.imul((h ^ (h >>> 15)) + (b & maskWord(bits - 32)), 0x85ebca6b);
  h = Math.imul((h ^ (h >>> 13)) + (c & maskWord(bits - 64)), 0xc2b2ae35);
  return Math.imul((h ^ (h >>> 16)) + (d & maskWord(bits - 96)), 0x27d4eb2f);
}

/**
 * Routes by longest prefix; among equals the lower metric wins, then the first added. One hash table of prefixes, asked
 * once for each length that occurs, longest first: ten thousand routes cost a look-up no more than ten do.
 */
export class Routes {
  #buckets = new Array<Bucket | null>(SIZE_MIN).fill(null);
  #shift = Math.clz32(SIZE_MIN - 1);
  #bucketCount = 0;
  /** Lengths that occur, longest first, and how many prefixes there are of each. */
  #lengths: number[] = [];
  readonly #prefixes = new Int32Array(129);
  /** How many routes there are. */
  count = 0;
  /** Grows at every change, so that cached paths know when they are old. */
  generation = 0;

  /** All routes, longest prefix first. */
  get all(): readonly Route[] {
    const all: Route[] = [];
    for (const head of this.#buckets) for (let at = head; at !== null; at = at.next) all.push(...at.routes);
    return all.sort((x, y) => y.prefix.bits - x.prefix.bits);
  }

  add(route: Route): void {
    const { bits, address } = route.prefix;
    const bucket = this.#find(bits, address.a, address.b, address.c, address.d) ?? this.#insert(route.prefix);
    const metric = route.metric ?? 0;
    const at = bucket.routes.findIndex((other) => (other.metric ?? 0) > metric);
    bucket.routes.splice(at < 0 ? bucket.routes.length : at, 0, route);
    this.count++;
    this.generation++;
  }

  /** Removes the routes for which `gone` holds; says how many. */
  remove(gone: (route: Route) => boolean): number {
    const kept = this.all.filter((route) => !gone(route));
    const count = this.count - kept.length;
    if (count === 0) return 0;
    this.#buckets = new Array<Bucket | null>(SIZE_MIN).fill(null);
    this.#shift = Math.clz32(SIZE_MIN - 1);
    this.#bucketCount = this.count = 0;
    this.#lengths = [];
    this.#prefixes.fill(0);
    for (const route of kept) this.add(route);
    return count;
  }

  /** Removes one route; nothing happens if it is not in. */
  delete(route: Route): boolean {
    const { bits, address } = route.prefix;
    const bucket = this.#find(bits, address.a, address.b, address.c, address.d);
    const at = bucket?.routes.indexOf(route) ?? -1;
    if (bucket === null || at < 0) return false;
    bucket.routes.splice(at, 1);
    if (bucket.routes.length === 0) this.#drop(bucket);
    this.count--;
    this.generation++;
    return true;
  }

  /**
   * The best route to `destination`, or null. A dead one is given only where no other leads there.
   * @param iface - the one it must leave by; null: any
   */
  lookup(destination: IpAddress, iface: Interface | null = null): Route | null {
    const { a, b, c, d, isV4 } = destination;
    let dead: Route | null = null;
    for (const bits of this.#lengths) {
      if (isV4 && bits < BITS_V4) break;
      const bucket = this.#find(bits, a, b, c, d);
      if (bucket === null) continue;
      for (const route of bucket.routes) {
        if (route.isDead !== true && (iface === null || route.iface === iface)) return route;
      }
      dead ??= iface === null ? this.#nextDead(bucket) : (bucket.routes.find((route) => route.iface === iface) ?? null);
    }
    return dead;
  }

  /** RFC 4861 §6.3.6 (2): where no router is known to be reachable, they are tried in turn. */
  #nextDead({ routes }: Bucket): Route {
    const route = routes[0]!;
    if (routes.length > 1 && (routes[1]!.metric ?? 0) === (route.metric ?? 0)) {
      const same = routes.findIndex((other) => (other.metric ?? 0) !== (route.metric ?? 0));
      routes.splice(same < 0 ? routes.length : same, 0, route);
      routes.shift();
    }
    return route;
  }

  #find(bits: number, a: number, b: number, c: number, d: number): Bucket | null {
    let at = this.#buckets[mix(bits, a, b, c, d) >>> this.#shift]!;
    while (at !== null && !isPrefixOf(at.prefix, bits, a, b, c, d)) at = at.next!;
    return at;
  }

  #insert(prefix: Cidr): Bucket {
    if (this.#bucketCount >= this.#buckets.length) this.#grow();
    const bucket: Bucket = { prefix, routes: [], next: null };
    this.#link(bucket);
    this.#bucketCount++;
    if (this.#prefixes[prefix.bits]!++ === 0) {
      this.#lengths.push(prefix.bits);
      this.#lengths.sort((x, y) => y - x);
    }
    return bucket;
  }

  #link(bucket: Bucket): void {
    const { bits, address } = bucket.prefix;
    const place = mix(bits, address.a, address.b, address.c, address.d) >>> this.#shift;
    bucket.next = this.#buckets[place]!;
    this.#buckets[place] = bucket;
  }

  #drop(bucket: Bucket): void {
    const { bits, address } = bucket.prefix;
    const place = mix(bits, address.a, address.b, address.c, address.d) >>> this.#shift;
    if (this.#buckets[place] === bucket) this.#buckets[place] = bucket.next;
    else {
      let before = this.#buckets[place]!;
      while (before.next !== bucket) before = before.next!;
      before.next = bucket.next;
    }
    this.#bucketCount--;
    if (--this.#prefixes[bits]! === 0) this.#lengths = this.#lengths.filter((length) => length !== bits);
  }

  #grow(): void {
    const old = this.#buckets;
    this.#buckets = new Array<Bucket | null>(2 * old.length).fill(null);
    this.#shift--;
    for (const head of old) {
      for (let at = head; at !== null; ) {
        const { next } = at;
        this.#link(at);
        at = next;
      }
    }
  }
}

/** Where packets to one destination leave; found once, kept by each flow until the routes change. */
export interface Path {
  readonly iface: Interface;
  /** The next hop on an Ethernet interface; null on an IP one. */
  readonly neighbour: Neighbour | null;
  /** Our address towards the destination. */
  readonly source: IpAddress;
  /** Bytes of IP packet the path carries. */
  readonly mtu: number;
  /** Of IPv6 packets that take it; 0 until whoever holds the path gives his flow one: see `Ip.flowLabel`. */
  flowLabel: number;
  readonly generation: number;
}
