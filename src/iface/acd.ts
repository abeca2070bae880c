/**
 * Address conflict detection for IPv4 on Ethernet: RFC 5227. An address is claimed: probed where asked for, announced,
 * and defended for as long as it is held. @module
 */
import { IpAddress, MacAddress } from '../wire/address.ts';
import * as arp from '../wire/arp.ts';
import type { Context } from './context.ts';
import type { Interface } from './interface.ts';
import type { Timed } from './timers.ts';

/** How an address is probed, in ms. */
export interface ProbeTiming {
  /** The first probe leaves at random within this time. */
  readonly waitMs: number;
  readonly count: number;
  /** Between two probes, at random. */
  readonly minMs: number;
  readonly maxMs: number;
  /** Silence after the last probe, after which the address is ours. */
  readonly lastMs: number;
}

/** RFC 5227 §1.1: PROBE_WAIT, PROBE_NUM, PROBE_MIN, PROBE_MAX, ANNOUNCE_WAIT. It takes 4 to 7 seconds. */
export const PROBES: ProbeTiming = { waitMs: 1000, count: 3, minMs: 1000, maxMs: 2000, lastMs: 2000 };
/**
 * About half a second, for an address that a server vouches for. RFC 5227 has no such shorter times; on a wired link
 * whoever has the address answers within milliseconds, and the exchange with the server was random enough in time.
 */
export const QUICK_PROBES: ProbeTiming = { waitMs: 20, count: 3, minMs: 100, maxMs: 150, lastMs: 200 };

/** RFC 5227 §1.1: ANNOUNCE_NUM, ANNOUNCE_INTERVAL, DEFEND_INTERVAL. */
const ANNOUNCE_COUNT = 2;
const ANNOUNCE_MS = 2000;
export const DEFEND_MS = 10_000;
/** Addresses of one interface that are claimed or probed; more are refused with an error. */
const CLAIMS_MAX = 128;

/**
 * RFC 5227 §2.4, what is done when another host uses a held address: (a) give it up, (b) defend it once in DEFEND_INTERVAL and
 * give it up at a second conflict, (c) defend it as often and never give it up.
 */
export type Defence = 'retreat' | 'defend' | 'insist';

export interface ClaimOptions {
  /** Null: the address is ours at once. */
  readonly probes: ProbeTiming | null;
  readonly defence: Defence;
  /** Whether it is announced: RFC 5227 §2.3. */
  readonly announce: boolean;
  /** The probes found nobody. Called by a poll; at once where nothing is probed. */
  onClaimed?(): void;
  /**
   * Another host has the address.
   * @param mac - the host
   * @param isLost - whether the claim has ended with it: then the address must not be used any more
   */
  onConflict?(mac: MacAddress, isLost: boolean): void;
}

/** One address and where its claim stands. */
class Claim implements Timed {
  readonly address: IpAddress;
  readonly options: ClaimOptions;
  readonly #claims: Claims;
  /** Whether it is still being probed. */
  isProbing: boolean;
  /** Probes or announcements sent. */
  sent = 0;
  /** When a conflict was last seen, and when the address was last defended, in ms. */
  conflictAt = Number.NEGATIVE_INFINITY;
  defendedAt = Number.NEGATIVE_INFINITY;
  timerAt = 0;
  timerIndex = -1;

  constructor(claims: Claims, address: IpAddress, options: ClaimOptions) {
    this.#claims = claims;
    this.address = address;
    this.options = options;
    this.isProbing = options.probes !== null;
  }

  expire(): void {
    this.#claims.step(this);
  }
}

/** The claims of one interface. */
export class Claims {
  readonly #context: Context;
  readonly #iface: Interface;
  readonly #claims = new Map<number, Claim>();

  constructor(context: Context, iface: Interface) {
    this.#context = context;
    this.#iface = iface;
  }

  get count(): number {
    return this.#claims.size;
  }

  /** Whether `address` is being probed. */
  isProbing(address: IpAddress): boolean {
    return this.#claims.get(address.d)?.isProbing === true;
  }

  /** Whether {@link claim} would take `address`. */
  canClaim(address: IpAddress): boolean {
    return !this.#claims.has(address.d) && this.#claims.size < CLAIMS_MAX;
  }

  /**
   * Claims an IPv4 address. Where nothing is probed it is announced at the next poll.
   * @throws RangeError for one that is claimed already, or one too many
   */
  claim(address: IpAddress, options: ClaimOptions): void {
    if (this.#claims.has(address.d)) throw new RangeError(`address: expected one not claimed yet, got ${address}`);
    if (this.#claims.size >= CLAIMS_MAX)
      throw new RangeError(`addresses: expected at most ${CLAIMS_MAX}, got one more`);
    const claim = new Claim(this, address, options);
    this.#claims.set(address.d, claim);
    const { timers, nowMs } = this.#context;
    if (options.probes !== null) {
      // RFC 5227 §2.1.1: "wait for a random time interval selected uniformly in the range zero to PROBE_WAIT seconds".
      timers.atMost(claim, nowMs + this.#between(0, options.probes.waitMs));
      return;
    }
    if (options.announce) timers.atMost(claim, nowMs);
    options.onClaimed?.();
  }

  /** Gives up an address, whatever its claim has come to. */
  release(address: IpAddress): void {
    const claim = this.#claims.get(address.d);
    if (claim === undefined) return;
    this.#claims.delete(address.d);
    this.#context.timers.cancel(claim);
  }

  close(): void {
    for (const claim of [...this.#claims.values()]) this.release(claim.address);
  }

  /** Sends the next probe or announcement of `claim`. */
  step(claim: Claim): void {
    const { timers, nowMs } = this.#context;
    const { probes } = claim.options;
    if (claim.isProbing && claim.sent < probes!.count) {
      claim.sent++;
      this.#iface.emitArp(arp.REQUEST, IpAddress.v4(0), claim.address, ZERO, false);
      const { count, minMs, maxMs, lastMs } = probes!;
      timers.atMost(claim, nowMs + Math.max(1, claim.sent < count ? this.#between(minMs, maxMs) : lastMs));
      return;
    }
    if (claim.isProbing) {
      claim.isProbing = false;
      claim.sent = 0;
      claim.options.onClaimed?.();
      if (this.#claims.get(claim.address.d) !== claim || !claim.options.announce) return;
    }
    // RFC 5227 §2.3: ANNOUNCE_NUM announcements, ANNOUNCE_INTERVAL seconds apart.
    this.#announce(claim.address);
    if (++claim.sent < ANNOUNCE_COUNT) timers.atMost(claim, nowMs + ANNOUNCE_MS);
  }

  /** An ARP request whose sender and target are both ours: everybody who knows the address learns where it is. */
  #announce(address: IpAddress): void {
    this.#iface.emitArp(arp.REQUEST, address, address, ZERO, false);
  }

  /**
   * Looks at an ARP packet of another host. True: it is in conflict with a claim, and of no other use.
   * @param sender - and `target`: int32 words of the addresses in it
   */
  input(operation: number, sender: number, target: number, macHigh: number, macLow: number): boolean {
    if (this.#claims.size === 0) return false;
    const held = this.#claims.get(sender);
    if (held !== undefined && sender !== 0) {
      // RFC 5227 §2.1.1, §2.4: a request or a reply, whoever it is for.
      this.#conflict(held, new MacAddress(macHigh, macLow));
      return true;
    }
    // RFC 5227 §2.1.1: another host is probing for what we are probing for.
    const wanted = sender === 0 && operation === arp.REQUEST ? this.#claims.get(target) : undefined;
    if (wanted === undefined || !wanted.isProbing) return false;
    this.#conflict(wanted, new MacAddress(macHigh, macLow));
    return true;
  }

  #conflict(claim: Claim, mac: MacAddress): void {
    const { nowMs } = this.#context;
    const { defence, onConflict } = claim.options;
    const isSecond = nowMs - claim.conflictAt < DEFEND_MS;
    claim.conflictAt = nowMs;
    const isLost = claim.isProbing || defence === 'retreat' || (defence === 'defend' && isSecond);
    if (isLost) {
      this.release(claim.address);
    } else if (nowMs - claim.defendedAt >= DEFEND_MS) {
      // RFC 5227 §2.4: at most one announcement in DEFEND_INTERVAL, or two hosts could flood the link for ever.
      claim.defendedAt = nowMs;
      this.#announce(claim.address);
    }
    onConflict?.call(claim.options, mac, isLost);
  }

  /** A whole number from `min` to `max`. */
  #between(min: number, max: number): number {
    return min + (this.#context.random() % (Math.max(0, max - min) + 1));
  }
}

const ZERO = new MacAddress(0, 0);
