/**
 * IPv4 link-local addresses: RFC 3927. An interface takes an address of 169.254/16 that nobody on the link has, keeps it
 * as RFC 5227 says, and takes another when it is lost. That such packets go by no router is the IP layer's business
 * (`Ip.path`), that their ARP is broadcast the interface's. @module
 */
import { PROBES } from '../iface/acd.ts';
import type { Interface } from '../iface/interface.ts';
import type { Timed } from '../iface/timers.ts';
import type { Stack } from '../stack.ts';
import { Cidr, IpAddress, type MacAddress } from '../wire/address.ts';

/** RFC 3927 §2.1: the first and the last 256 addresses of the prefix are reserved. */
const FIRST = 0xa9fe0100;
const COUNT = 254 * 256;
const PREFIX_LENGTH = 16;
/** RFC 3927 §9: MAX_CONFLICTS; from then on one attempt in RATE_LIMIT_INTERVAL. */
const CONFLICTS_MAX = 10;
const RATE_LIMIT_MS = 60_000;

export type LinkLocalState = 'CLOSED' | 'PROBING' | 'BOUND' | 'WAITING';

export interface LinkLocalOptions {
  /** The address of before a restart, tried first: RFC 3927 §2.1. */
  readonly address?: IpAddress;
  /** The interface has this address from now on; null: it has none any more. */
  onConfigured?(address: Cidr | null): void;
  /** Another host has `address`; `isLost`: another one is chosen. */
  onConflict?(address: IpAddress, mac: MacAddress, isLost: boolean): void;
}

export class LinkLocal implements Timed {
  readonly #stack: Stack;
  readonly #iface: Interface;
  readonly #options: LinkLocalOptions;
  #state: LinkLocalState = 'CLOSED';
  #address: Cidr | null = null;
  /** State of the generator of addresses. */
  #seed: number;
  #conflicts = 0;
  timerAt = 0;
  timerIndex = -1;

  /** @throws TypeError for an interface that is no Ethernet */
  constructor(stack: Stack, iface: Interface, options: LinkLocalOptions = {}) {
    if (iface.device.medium !== 'ethernet') {
      throw new TypeError('link-local: expected an Ethernet interface, got an IP medium');
    }
    this.#stack = stack;
    this.#iface = iface;
    this.#options = options;
    // RFC 3927 §2.1: seeded by the link address, so that a host mostly finds the same one again, and no two hosts go
    // through the same ones.
    this.#seed = Math.imul(iface.mac.low ^ Math.imul(iface.mac.high, 0x9e3779b1), 0x85ebca6b);
  }

  get state(): LinkLocalState {
    return this.#state;
  }

  /** The address in use, or being probed. */
  get address(): Cidr | null {
    return this.#address;
  }

  start(): void {
    if (this.#state !== 'CLOSED') return;
    this.#conflicts = 0;
    const { address } = this.#options;
    const isOne = address?.isV4 && address.d >>> 0 >= FIRST && address.d >>> 0 < FIRST + COUNT;
    this.#probe(isOne ? address : this.#next());
  }

  /** Gives the address up. */
  close(): void {
    const { context } = this.#stack;
    context.timers.cancel(this);
    const address = this.#address;
    const was = this.#state;
    this.#state = 'CLOSED';
    this.#address = null;
    if (was === 'PROBING') this.#iface.claims.release(address!.address);
    if (was !== 'BOUND') return;
    this.#stack.removeAddress(this.#iface, address!.address);
    this.#options.onConfigured?.(null);
  }

  expire(): void {
    this.#probe(this.#next());
  }

  /** The next address of the sequence: the generator mulberry32. */
  #next(): IpAddress {
    this.#seed = (this.#seed + 0x6d2b79f5) | 0;
    let t = Math.imul(this.#seed ^ (this.#seed >>> 15), 1 | this.#seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return IpAddress.v4(FIRST + (((t ^ (t >>> 14)) >>> 0) % COUNT));
  }

  #probe(address: IpAddress): void {
    this.#address = new Cidr(address, PREFIX_LENGTH);
    this.#state = 'PROBING';
    if (!this.#iface.claims.canClaim(address)) {
      this.#again(); // ours already, by hand
      return;
    }
    this.#iface.claims.claim(address, {
      probes: PROBES,
      announce: true,
      defence: 'defend', // RFC 3927 §2.5 (b)
      onClaimed: () => this.#bind(),
      onConflict: (mac, isLost) => this.#conflict(mac, isLost),
    });
  }

  #bind(): void {
    this.#state = 'BOUND';
    this.#stack.putAddress(this.#iface, this.#address!, 'link-local');
    this.#options.onConfigured?.(this.#address);
  }

  #conflict(mac: MacAddress, isLost: boolean): void {
    const { address } = this.#address!;
    this.#options.onConflict?.(address, mac, isLost);
    if (!isLost) return;
    if (this.#state === 'BOUND') {
      this.#stack.removeAddress(this.#iface, address);
      this.#options.onConfigured?.(null);
    }
    this.#again();
  }

  /** RFC 3927 §2.2.1: another address; after MAX_CONFLICTS one a minute only. */
  #again(): void {
    const { timers, nowMs } = this.#stack.context;
    this.#conflicts++;
    this.#address = null;
    this.#state = 'WAITING';
    timers.atMost(this, nowMs + (this.#conflicts >= CONFLICTS_MAX ? RATE_LIMIT_MS : 1));
  }
}
