/**
 * What a host finds out by itself about one interface: the words among its addresses, started, watched and ended
 * together. @module
 */
import { DhcpClient } from '../dhcp/client.ts';
import type { DhcpClientOptions, DhcpEvent } from '../dhcp/client-options.ts';
import { Dhcpv6Client } from '../dhcp/client6.ts';
import type { Lease } from '../dhcp/lease.ts';
import { LinkLocal } from '../dhcp/link-local.ts';
import { NetError } from '../errors.ts';
import type { AddressEvent, AddressOrigin, LocalAddress } from '../iface/addresses.ts';
import type { Interface } from '../iface/interface.ts';
import type { Cidr, IpAddress, MacAddress } from '../wire/address.ts';
import type { AddressWord } from './address-words.ts';
import type { StackLoop } from './loop.ts';
import { Waiters } from './waiters.ts';

/** What one of the {@link AddressWord}s has found; all addresses as text. */
export interface Configuration {
  readonly source: AddressWord | 'dhcpv6';
  /** The name of the interface. */
  readonly interface: string;
  /** Addresses with their prefixes; none: what was found before holds no more. */
  readonly addresses: readonly string[];
  /** Routers by destination, `0.0.0.0/0` first of all; null: the destination is on the link. */
  readonly routes: readonly { readonly prefix: string; readonly gateway: string | null }[];
  readonly dnsServers: readonly string[];
  readonly domain: string | null;
  readonly search: readonly string[];
  readonly ntpServers: readonly string[];
  readonly mtu: number | null;
  /** Seconds the addresses hold; null: for ever, or until something is heard. */
  readonly leaseSeconds: number | null;
}

/** What happened to an address of an interface. */
export interface AddressChange {
  /** The name of the interface. */
  readonly interface: string;
  /** With its prefix. */
  readonly address: string;
  readonly origin: AddressOrigin;
  readonly event: AddressEvent;
}

/** Another host uses an IPv4 address of ours, or one that we were about to take: RFC 5227. */
export interface Conflict {
  readonly interface: string;
  readonly address: string;
  /** The other host's link address. */
  readonly mac: string;
  /** Whether the address is ours no longer; else it was defended. */
  readonly isLost: boolean;
}

export interface AutoconfigOptions {
  readonly onConflict?: (conflict: Conflict) => void;
  /** What the DHCP client is told: a lease of before, a name, how it probes. */
  readonly dhcp?: Omit<DhcpClientOptions, 'onEvent' | 'onConfigured'>;
  /** Every step of the DHCP client. */
  readonly onDhcp?: (event: DhcpEvent) => void;
  /** An address can be used from now on, is not to be used for what is new, is gone, or is another host's. */
  readonly onAddress?: (change: AddressChange) => void;
  /** An interface has got addresses, other settings, or has lost what it had. */
  readonly onConfigured?: (configuration: Configuration) => void;
}

export interface ConfiguredOptions {
  readonly signal?: AbortSignal | undefined;
  /** Milliseconds; by default there is no end to the waiting. */
  readonly timeout?: number;
}

const NOTHING = { addresses: [], routes: [], dnsServers: [], domain: null, search: [], ntpServers: [], mtu: null };

const ofLease = (lease: Lease): Omit<Configuration, 'source' | 'interface'> => ({
  addresses: [`${lease.address}`],
  routes: lease.routes.map(({ prefix, router }) => ({
    prefix: `${prefix}`,
    gateway: router.isUnspecified ? null : `${router}`,
  })),
  dnsServers: lease.dnsServers.map(String),
  domain: lease.domain,
  search: lease.search,
  ntpServers: lease.ntpServers.map(String),
  mtu: lease.mtu,
  leaseSeconds: Number.isFinite(lease.leaseMs) ? lease.leaseMs / 1000 : null,
});

export class Autoconfig {
  readonly iface: Interface;
  /** Null where `dhcp` is none of the words. */
  readonly dhcp: DhcpClient | null;
  readonly #loop: StackLoop;
  readonly #options: AutoconfigOptions;
  readonly #linkLocal: LinkLocal | null;
  #dhcpv6: Dhcpv6Client | null = null;
  readonly #fixed: readonly Cidr[];
  /** Whether more addresses may come by themselves. */
  readonly #asks: boolean;
  readonly #waiters: Waiters<void>;

  /** @param fixed - the addresses written out, which the caller adds */
  constructor(
    loop: StackLoop,
    iface: Interface,
    words: readonly AddressWord[],
    fixed: readonly Cidr[],
    options: AutoconfigOptions,
  ) {
    this.iface = iface;
    this.#loop = loop;
    this.#asks = words.length > 0;
    this.#fixed = fixed;
    this.#options = options;
    this.#waiters = new Waiters(loop);
    this.#linkLocal = words.includes('link-local') ? this.#makeLinkLocal() : null;
    this.dhcp = words.includes('dhcp') ? this.#makeDhcp() : null;
    this.dhcp?.start();
    // RFC 3927 §1.9: a host with a routable address should not have a link-local one beside it; it is for when no server
    // answers.
    if (this.dhcp === null) this.#linkLocal?.start();
  }

  #makeDhcp(): DhcpClient {
    return new DhcpClient(this.#loop.stack, this.iface, {
      ...this.#options.dhcp,
      onEvent: (event) => {
        if (event.type === 'silence') this.#linkLocal?.start();
        if (event.type === 'conflict') this.conflict(event.address, event.mac, event.isLost);
        this.#options.onDhcp?.(event);
      },
      onConfigured: (lease) => {
        if (lease !== null) this.#linkLocal?.close();
        this.#tell('dhcp', lease === null ? null : ofLease(lease));
      },
    });
  }

  #makeLinkLocal(): LinkLocal {
    const found = (address: Cidr | null): void =>
      this.#tell('link-local', address === null ? null : { ...NOTHING, addresses: [`${address}`], leaseSeconds: null });
    return new LinkLocal(this.#loop.stack, this.iface, {
      onConfigured: found,
      onConflict: (address, mac, isLost) => this.conflict(address, mac, isLost),
    });
  }

  /** Tells that the host `mac` uses an address. */
  conflict(address: IpAddress, mac: MacAddress, isLost: boolean): void {
    this.#options.onConflict?.({ interface: this.iface.name, address: `${address}`, mac: `${mac}`, isLost });
    this.check(); // it may have been the last that was being probed
  }

  /** A router advertisement has the O flag: name servers and the like are asked for by DHCPv6. Further calls do nothing. */
  startDhcpv6(): void {
    const text = (address: IpAddress): string => this.#loop.stack.ip.format(address.withZone(this.iface.index));
    this.#dhcpv6 ??= new Dhcpv6Client(this.#loop.stack, this.iface, {
      onConfigured: ({ dnsServers, search, sntpServers, refreshMs }) =>
        this.#tell('dhcpv6', {
          ...NOTHING,
          dnsServers: dnsServers.map(text),
          search,
          ntpServers: sntpServers.map(text),
          leaseSeconds: Number.isFinite(refreshMs) ? refreshMs / 1000 : null,
        }),
    });
    this.#dhcpv6.start();
  }

  #tell(source: Configuration['source'], found: Omit<Configuration, 'source' | 'interface'> | null): void {
    const what = found ?? { ...NOTHING, leaseSeconds: null };
    this.#options.onConfigured?.({ source, interface: this.iface.name, ...what });
    this.check();
  }

  /** An address of the interface can be used, or not any more; or another host has it. */
  addressChanged(local: LocalAddress, event: AddressEvent): void {
    this.#options.onAddress?.({
      interface: this.iface.name,
      address: `${local.cidr.withZone(0)}`,
      origin: local.origin,
      event,
    });
    if (local.origin === 'slaac' || local.origin === 'temporary') this.routersChanged();
    else this.check();
  }

  /** What routers told of has changed. */
  routersChanged(): void {
    const { nd } = this.iface;
    if (nd === null) return;
    const { ip } = this.#loop.stack;
    const isMade = ({ iface, origin, isAssigned }: LocalAddress): boolean =>
      iface === this.iface && isAssigned && (origin === 'slaac' || origin === 'temporary');
    this.#tell('slaac', {
      ...NOTHING,
      addresses: ip.addresses.all.filter(isMade).map(({ cidr }) => `${cidr}`),
      routes: nd.routers.defaults.map((router) => ({ prefix: '::/0', gateway: ip.format(router) })),
      dnsServers: nd.routers.servers.map((server) => ip.format(server)),
      search: nd.routers.search,
      mtu: Number.isFinite(this.iface.mtuMax) ? this.iface.mtuMax : null,
      leaseSeconds: null,
    });
  }

  /** Looks whether those who wait for an address have one. For whoever adds addresses by other ways. */
  check(): void {
    if (this.#isHopeless) this.#waiters.rejectAll(this.#noAddress());
    if (!this.isConfigured) return;
    while (!this.#waiters.isEmpty) this.#waiters.resolve();
  }

  /**
   * Whether the interface has an address to be reached by, one of IPv4 or more than a link-local one of IPv6, and no more
   * of those written out are being probed.
   */
  get isConfigured(): boolean {
    const { addresses } = this.iface;
    return addresses.some(({ address }) => address.isV4 || !address.isLinkLocal) && !this.#fixed.some(this.#isProbed);
  }

  readonly #isProbed = ({ address }: Cidr): boolean => {
    if (address.isV4) return this.iface.claims.isProbing(address);
    const { ip } = this.#loop.stack;
    return ip.addresses.find(address.withZone(this.iface.index), this.iface)?.state === 'tentative';
  };

  /** Whether none of the addresses written out is left, and nothing looks for others. */
  get #isHopeless(): boolean {
    return !this.#asks && this.#fixed.length > 0 && !this.isConfigured && !this.#fixed.some(this.#isProbed);
  }

  #noAddress(): NetError {
    const detail = `no address written out for ${this.iface.name} is left (another host may have it), and nothing looks for others`;
    return new NetError('EADDRNOTAVAIL', 'configured', { detail });
  }

  /** @throws NetError ETIMEDOUT, ECANCELED, EADDRNOTAVAIL; RangeError for a timeout that is none */
  async configured({ signal, timeout }: ConfiguredOptions): Promise<void> {
    if (timeout !== undefined && !(timeout >= 0)) {
      throw new RangeError(`timeout: expected milliseconds, 0 or more, got ${timeout}`);
    }
    signal?.throwIfAborted();
    if (this.isConfigured) return;
    if (this.#isHopeless) throw this.#noAddress();
    const { clock } = this.#loop;
    const end = new AbortController();
    const onAbort = (): void => end.abort(signal!.reason);
    signal?.addEventListener('abort', onAbort, { once: true });
    const detail = `no address on ${this.iface.name} after ${timeout} ms`;
    const late = (): void => end.abort(new NetError('ETIMEDOUT', 'configured', { detail }));
    const timer = timeout === undefined ? 0 : clock.setTimer(clock.now() + timeout, late);
    try {
      await this.#waiters.wait({ signal: end.signal });
    } finally {
      if (timer !== 0) clock.clearTimer(timer);
      signal?.removeEventListener('abort', onAbort);
    }
  }

  /** Gives a lease back; resolves when the message has left, or could not within a second. */
  release(): Promise<void> {
    const { dhcp } = this;
    if (dhcp === null || dhcp.lease === null) return Promise.resolve();
    this.#loop.touch();
    this.#loop.hold(1);
    return new Promise((resolve) => {
      dhcp.release(() => {
        this.#loop.hold(-1);
        resolve();
      });
      this.#loop.wake();
    });
  }

  close(): void {
    this.dhcp?.close();
    this.#dhcpv6?.close();
    this.#linkLocal?.close();
    this.#waiters.rejectAll(new NetError('ECANCELED', 'configured', { detail: 'the host was closed' }));
  }
}
