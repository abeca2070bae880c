/**
 * What fits a path: path MTUs that routers told us, by destination (RFC 1191 §5.2, RFC 8201 §5.2), what is believed of
 * such reports (RFC 5927 §7), and what a socket may ask for. What is not here is the interface's MTU. @module
 */
import type { IpAddress } from '../wire/address.ts';
import * as ipv6 from '../wire/ipv6.ts';
import type { Context } from './context.ts';
import type { Path, Routes } from './routes.ts';
import type { Timed } from './timers.ts';

/** RFC 1191 §6.3, RFC 8201 §4: after so long a larger packet may be tried again. */
const PATH_MTU_MS = 600_000;
/** Destinations remembered; beyond, the one that was told first is given up, and found out again if it must. */
const DESTINATIONS_MAX = 1024;

/** The least path MTU believed of IPv4, Linux's; less would make anybody's ICMP a way to have us send tiny packets. */
export const FLOOR_V4 = 552;
/** RFC 791: every module must take so much, so no router reports less. */
const LEAST_V4 = 68;
/** RFC 1191 §7, table 7-1: MTUs in common use, for routers that name none. */
const PLATEAUS = [32_000, 17_914, 8166, 4352, 2002, 1492, 1006, 508, 296, 68];
/** Packets sent lately that a router may have refused, as fingerprints; a newer one may take an older one's place. */
const SENT_SHIFT = 10;
const SECRETS = 6;

/**
 * What a datagram socket does about paths that take less than it sends; Linux's IP_MTU_DISCOVER, in its order. `dont`:
 * routers may cut. `want`, the default: what fits the known path may not be cut on the way, what does not is cut here.
 * `do`: nothing is ever cut, and what does not fit is refused. `probe`: the same, but only the interface's MTU counts.
 * `interface`: only that, and routers may cut. `omit`: the same, and larger packets are cut here.
 */
export const PATH_MTU_MODES = ['dont', 'want', 'do', 'probe', 'interface', 'omit'] as const;
export type PathMtuDiscovery = (typeof PATH_MTU_MODES)[number];

/** Bytes of the largest packet that leaves whole. */
export const packetLimit = (path: Path, mode: PathMtuDiscovery): number =>
  mode === 'dont' || mode === 'want' || mode === 'do' ? path.mtu : path.iface.mtu;

/** Whether larger ones are cut, or refused. */
export const mayFragment = (mode: PathMtuDiscovery): boolean => mode === 'dont' || mode === 'want' || mode === 'omit';

/** Whether routers are told not to cut a packet of IPv4. */
export const forbidsFragments = (mode: PathMtuDiscovery, fits: boolean): boolean =>
  mode === 'do' || mode === 'probe' || (mode === 'want' && fits);

/**
 * The path MTU that a report gives, or 0 where it cannot be true.
 * @param current - the MTU used so far   @param reported - 0: none   @param length - of the packet that was too big
 */
export function believedMtu(isV4: boolean, current: number, reported: number, length: number): number {
  let mtu = reported;
  if (isV4) {
    // RFC 1191 §5: a router of before this protocol; the next lower plateau is tried.
    if (reported === 0) mtu = PLATEAUS.find((plateau) => plateau < Math.min(length, current)) ?? 0;
    if (mtu < LEAST_V4) return 0;
    // RFC 5927 §7.2: the packet must have been larger than what the router says it takes.
    if (mtu >= length) return 0;
    mtu = Math.max(mtu, FLOOR_V4);
  } else if (mtu < ipv6.MTU_MIN || mtu >= length) {
    return 0; // RFC 8201 §4: a report below the minimum of IPv6 "MUST be discarded"
  }
  // RFC 1191 §6.3, RFC 8201 §4: a report never raises the estimate.
  return mtu < current ? mtu : 0;
}

interface PathMtu {
  readonly mtu: number;
  readonly expiresAt: number;
}

const keyOf = ({ a, b, c, d }: IpAddress): string => `${a},${b},${c},${d}`;

export class PathMtus implements Timed {
  timerAt = 0;
  timerIndex = -1;
  readonly #context: Context;
  readonly #routes: Routes;
  /** In the order of their ends: each entry is put at the back when it is set. */
  readonly #entries = new Map<string, PathMtu>();
  /** Fingerprints, each at the place that its upper bits name; 0: none. */
  #sent: Int32Array | null = null;
  /** Drawn when the first is needed. */
  #secrets: Int32Array | null = null;

  constructor(context: Context, routes: Routes) {
    this.#context = context;
    this.#routes = routes;
  }

  /** How many destinations have a path MTU of their own. */
  get count(): number {
    return this.#entries.size;
  }

  /** The MTU of the path to `destination`, out of an interface with `linkMtu`. */
  get(destination: IpAddress, linkMtu: number): number {
    if (this.#entries.size === 0) return linkMtu;
    return Math.min(linkMtu, this.#entries.get(keyOf(destination))?.mtu ?? linkMtu);
  }

  /** A router on the way to `destination` takes no more than `mtu`. Whoever remembers a path looks again. */
  set(destination: IpAddress, mtu: number): void {
    const key = keyOf(destination);
    this.#entries.delete(key);
    if (this.#entries.size >= DESTINATIONS_MAX) this.#entries.delete(this.#entries.keys().next().value!);
    const expiresAt = this.#context.nowMs + PATH_MTU_MS;
    this.#entries.set(key, { mtu, expiresAt });
    this.#context.timers.atMost(this, expiresAt);
    this.#routes.generation++;
  }

  /**
   * Remembers that a datagram went to `destination`: only what was sent can have been too big. RFC 5927 §7.2 has TCP's
   * sequence numbers for that; here it is what a router quotes and nobody else knows.
   * @param mark - of the packet: identification and length in IPv4, ports or the fragments' identification in IPv6
   * @param length - of the packet, bytes
   */
  noteSent(destination: IpAddress, mark: number, length: number): void {
    if (length <= (destination.isV4 ? FLOOR_V4 : ipv6.MTU_MIN)) return; // too small to tell anything
    const print = this.#print(destination, mark);
    this.#sent ??= new Int32Array(1 << SENT_SHIFT);
    this.#sent[print >>> (32 - SENT_SHIFT)] = print;
  }

  /** Whether such a datagram was sent lately. */
  wasSent(destination: IpAddress, mark: number): boolean {
    if (this.#sent === null) return false;
    const print = this.#print(destination, mark);
    return this.#sent[print >>> (32 - SENT_SHIFT)] === print;
  }

  #print({ a, b, c, d }: IpAddress, mark: number): number {
    this.#secrets ??= Int32Array.from({ length: SECRETS }, () => this.#context.random() | 1);
    const s = this.#secrets;
    let h = Math.imul(d ^ s[0]!, s[1]!) + Math.imul(mark ^ s[2]!, s[3]!);
    h ^= h >>> 15;
    h = Math.imul(h, s[4]!) + Math.imul(a ^ c, s[5]!) + b;
    h ^= h >>> 13;
    return Math.imul(h, s[1]!) | 1;
  }

  expire(nowMs: number): void {
    for (const [key, { expiresAt }] of this.#entries) {
      if (expiresAt > nowMs) {
        this.#context.timers.atMost(this, expiresAt);
        return;
      }
      this.#entries.delete(key);
      this.#routes.generation++;
    }
  }
}
