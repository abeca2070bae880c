/**
 * What routers of a link tell its hosts: RFC 4861 §6.3 (default routers, prefixes on the link, parameters), RFC 4191
 * (preferences, more specific routes), RFC 8106 (name servers), RFC 7559 (asking for it all), and redirects (RFC 4861
 * §8.3). Whatever is told has a lifetime and a limit. @module
 */
import { Cidr, IpAddress, UNSPECIFIED_V6 } from '../wire/address.ts';
import * as ipv6 from '../wire/ipv6.ts';
import type { RouterAdvertisement } from '../wire/ndp.ts';
import { LIFETIME_INFINITE, type Options, type Preference } from '../wire/ndp-options.ts';
import type { Nd } from './nd.ts';
import { RouterSolicitor } from './nd-solicit.ts';
import type { Route } from './routes.ts';
import type { Timed } from './timers.ts';

/** Of one interface. Beyond, a new router, prefix or route is not taken. */
const ROUTERS_MAX = 16;
const PREFIXES_MAX = 64;
const ROUTES_MAX = 64;
/** RFC 8106 §5.3.1: name servers, and search domains; beyond, the one that ends first is given up. */
const SERVERS_MAX = 8;
const DOMAINS_MAX = 8;
/** RFC 4191 §3.5: a router that does not answer is asked again "no more often than once per minute". */
const PROBE_MS = 60_000;

/** Among routes to one prefix, those of routers come behind what was set by hand. */
const METRICS: Readonly<Record<Preference, number>> = { high: 1023, medium: 1024, low: 1025 };

const ANY = new Cidr(UNSPECIFIED_V6, 0);

/** A route that a router told of, until it ends. */
interface Told {
  readonly route: Route;
  until: number;
}

interface Named<T> {
  readonly value: T;
  until: number;
}

/** When what lasts `seconds` ends, in ms. */
export const endOf = (seconds: number, nowMs: number): number =>
  seconds === LIFETIME_INFINITE ? Number.POSITIVE_INFINITY : nowMs + seconds * 1000;

/** The address with all bits behind the prefix cleared. */
export function prefixOf({ a, b, c, d }: IpAddress, bits: number): Cidr {
  const mask = (at: number): number => (bits <= at ? 0 : bits >= at + 32 ? -1 : -1 << (32 - (bits - at)));
  return new Cidr(new IpAddress(a & mask(0), b & mask(32), c & mask(64), d & mask(96)), bits);
}

export class Routers implements Timed {
  timerAt = 0;
  timerIndex = -1;
  readonly solicitor: RouterSolicitor;
  /** Whether the last advertisement said that DHCPv6 has addresses, and other configuration. */
  isManaged = false;
  hasOther = false;
  readonly #nd: Nd;
  /** Default routers, more specific routes, prefixes on the link: each a route in the stack's table. */
  #defaults: Told[] = [];
  #specific: Told[] = [];
  #prefixes: Told[] = [];
  #servers: Named<IpAddress>[] = [];
  #domains: Named<string>[] = [];
  #probeAt = Number.POSITIVE_INFINITY;

  constructor(nd: Nd) {
    this.#nd = nd;
    this.solicitor = new RouterSolicitor(nd);
  }

  /** The default routers, in no order. */
  get defaults(): readonly IpAddress[] {
    return this.#defaults.map(({ route }) => route.gateway!);
  }

  get servers(): readonly IpAddress[] {
    return this.#servers.map(({ value }) => value);
  }

  get search(): readonly string[] {
    return this.#domains.map(({ value }) => value);
  }

  /** How many routes, prefixes and redirects are remembered. */
  get count(): number {
    return this.#defaults.length + this.#specific.length + this.#prefixes.length + this.#nd.iface.redirects.count;
  }

  /** A good advertisement of the router `source`: RFC 4861 §6.3.4. */
  input(router: RouterAdvertisement, options: Options, source: IpAddress): void {
    const nd = this.#nd;
    const { neighbours } = nd.iface;
    const known = options.sourceMac === null ? neighbours.find(source) : neighbours.heard(source, options.sourceMac);
    if (known !== null) known.isRouter = true;
    if (router.hopLimit !== 0) nd.iface.hopLimit = router.hopLimit;
    nd.setTimers(router.reachableMs, router.retransMs);
    this.#setMtu(options.mtu);
    this.#setDefault(router, options, source);
    for (const prefix of options.prefixes) {
      if (prefix.prefix.isLinkLocal || prefix.prefix.isMulticast) continue; // §6.3.4, RFC 4862 §5.5.3 (b)
      if (prefix.onLink) this.#setPrefix(prefixOf(prefix.prefix, prefix.prefixLength), prefix.validSeconds);
      if (prefix.autonomous && nd.options.autoconfigure) nd.slaac.input(prefix, source);
    }
    for (const { prefix, prefixLength, preference, lifetimeSeconds } of options.routes) {
      if (prefixLength === 0 || prefix.isLinkLocal || prefix.isMulticast) continue; // ::/0: see #setDefault
      this.#set(this.#specific, ROUTES_MAX, prefixOf(prefix, prefixLength), source, preference, lifetimeSeconds);
    }
    this.#setNames(options);
    if (router.lifetimeSeconds !== 0) this.solicitor.stop(); // RFC 7559 §2
    this.#setManaged(router);
    this.#arm();
  }

  /** RFC 4861 §6.3.4: "between the minimum and the maximum": the least that IPv6 needs, and what the device takes. */
  #setMtu(mtu: number | null): void {
    const { iface } = this.#nd;
    if (mtu === null || mtu < ipv6.MTU_MIN || mtu > iface.device.mtu || mtu === iface.mtuMax) return;
    iface.mtuMax = mtu;
    iface.pathsChanged();
  }

  #setDefault(router: RouterAdvertisement, options: Options, source: IpAddress): void {
    // RFC 4191 §3.1: a route to ::/0 has the last word over the header.
    const any = options.routes.find(({ prefixLength }) => prefixLength === 0);
    const seconds = any?.lifetimeSeconds ?? router.lifetimeSeconds;
    this.#set(this.#defaults, ROUTERS_MAX, ANY, source, any?.preference ?? router.preference, seconds);
  }

  /** RFC 4861 §6.3.4, RFC 5942 §4: on the link until told otherwise, or for so long. */
  #setPrefix(prefix: Cidr, seconds: number): void {
    this.#set(this.#prefixes, PREFIXES_MAX, prefix, null, 'medium', seconds);
  }

  /** Adds a route, renews it, or takes it away where `seconds` is 0. */
  #set(
    list: Told[],
    most: number,
    prefix: Cidr,
    gateway: IpAddress | null,
    preference: Preference,
    seconds: number,
  ): void {
    const { iface, ip, context } = this.#nd;
    const isSame = ({ route }: Told): boolean =>
      route.prefix.bits === prefix.bits &&
      route.prefix.address.equals(prefix.address) &&
      (gateway === null ? route.gateway === null : route.gateway?.equals(gateway) === true);
    const known = list.find(isSame);
    const metric = METRICS[preference];
    if (known !== undefined && seconds !== 0 && known.route.metric === metric) {
      known.until = endOf(seconds, context.nowMs);
      return;
    }
    if (known !== undefined) this.#drop(list, known);
    if (seconds === 0) return;
    if (list.length >= most) {
      context.stats.drop('nd-table-full');
      return;
    }
    const route: Route = { prefix, iface, gateway, metric, isDead: known?.route.isDead ?? false };
    ip.routes.add(route);
    list.push({ route, until: endOf(seconds, context.nowMs) });
  }

  #drop(list: Told[], told: Told): void {
    list.splice(list.indexOf(told), 1);
    this.#nd.ip.routes.delete(told.route);
  }

  /** RFC 8106 §5.3.1, §6.1. */
  #setNames(options: Options): void {
    const { context } = this.#nd;
    const before = this.#names();
    for (const { servers, lifetimeSeconds } of options.nameServers) {
      for (const server of servers) {
        const zoned = server.withZone(this.#nd.iface.index);
        if (zoned.isMulticast || zoned.isUnspecified) continue;
        this.#servers = named(
          this.#servers,
          zoned,
          (x) => x.equals(zoned),
          lifetimeSeconds,
          context.nowMs,
          SERVERS_MAX,
        );
      }
    }
    for (const { domains, lifetimeSeconds } of options.searchDomains) {
      for (const domain of domains) {
        this.#domains = named(this.#domains, domain, (x) => x === domain, lifetimeSeconds, context.nowMs, DOMAINS_MAX);
      }
    }
    if (this.#names() !== before) this.#nd.options.onDns?.(this.servers, this.search);
  }

  #names(): string {
    return `${this.servers.join()} ${this.search.join()}`;
  }

  #setManaged({ managed, other }: RouterAdvertisement): void {
    if (managed === this.isManaged && other === this.hasOther) return;
    this.isManaged = managed;
    this.hasOther = other;
    this.#nd.options.onManaged?.(managed, other);
  }

  /**
   * A redirect from `source`: packets to `destination` go to `target` from now on, which is the destination itself where it
   * is on the link. RFC 4861 §8.1, §8.3.
   */
  redirected(target: IpAddress, destination: IpAddress, source: IpAddress, options: Options): void {
    const nd = this.#nd;
    const { ip, iface } = nd;
    const isAccepted = nd.options.acceptRedirects ?? nd.acceptsRouters;
    const first = ip.routes.lookup(destination);
    // §8.1: "The IP source address of the Redirect is the same as the current first-hop router for the destination".
    const isFirstHop = first !== null && first.iface === iface && first.gateway?.equals(source) === true;
    if (nd.isRouter || !isAccepted || !isFirstHop || ip.isLocalAddress(destination) || ip.isLocalAddress(target)) {
      nd.context.stats.drop('nd-redirect-refused');
      return;
    }
    if (options.targetMac !== null) {
      const neighbour = iface.neighbours.heard(target, options.targetMac);
      // §8.3: a better router if it is not the destination itself; else nothing is known of that.
      if (neighbour !== null && !target.equals(destination)) neighbour.isRouter = true;
    }
    iface.redirects.follow(destination, target);
    nd.context.stats.ndRedirects++;
  }

  /** `address` said that it is no router any more: RFC 4861 §7.2.5. */
  lost(address: IpAddress): void {
    const isVia = ({ route }: Told): boolean => route.gateway?.equals(address) === true;
    for (const told of this.#defaults.filter(isVia)) this.#drop(this.#defaults, told);
    for (const told of this.#specific.filter(isVia)) this.#drop(this.#specific, told);
    this.#nd.iface.redirects.lost(address);
    this.#seekRouters();
  }

  /** `address` does not answer: other routers are taken, and it is asked now and then. RFC 4861 §6.3.6, RFC 4191 §3.5. */
  failed(address: IpAddress): void {
    if (!this.#mark(address, true)) return;
    this.#probeAt = Math.min(this.#probeAt, this.#nd.context.nowMs + PROBE_MS);
    this.#arm();
  }

  /** `address` answers again. */
  revived(address: IpAddress): void {
    this.#mark(address, false);
  }

  #mark(address: IpAddress, isDead: boolean): boolean {
    let any = false;
    for (const { route } of [...this.#defaults, ...this.#specific]) {
      if (route.gateway?.equals(address) !== true || route.isDead === isDead) continue;
      route.isDead = isDead;
      any = true;
    }
    if (any) this.#nd.iface.pathsChanged();
    return any;
  }

  /** No router is left: they are asked for anew. */
  #seekRouters(): void {
    if (this.#defaults.length === 0 && this.#nd.options.autoconfigure && !this.#nd.isRouter) this.solicitor.start();
  }

  /** Takes away what has ended. */
  expire(): void {
    const { nowMs } = this.#nd.context;
    const hadRouters = this.#defaults.length > 0;
    for (const list of [this.#defaults, this.#specific, this.#prefixes]) {
      for (const told of list.filter(({ until }) => until <= nowMs)) this.#drop(list, told);
    }
    const before = this.#names();
    this.#servers = this.#servers.filter(({ until }) => until > nowMs);
    this.#domains = this.#domains.filter(({ until }) => until > nowMs);
    if (this.#names() !== before) this.#nd.options.onDns?.(this.servers, this.search);
    if (this.#probeAt <= nowMs) this.#probeDead(nowMs);
    if (hadRouters) this.#seekRouters();
    this.#arm();
  }

  #probeDead(nowMs: number): void {
    this.#probeAt = Number.POSITIVE_INFINITY;
    for (const { route } of [...this.#defaults, ...this.#specific]) {
      if (route.isDead !== true) continue;
      this.#nd.iface.neighbours.probe(route.gateway!);
      this.#probeAt = nowMs + PROBE_MS;
    }
  }

  #arm(): void {
    let at = this.#probeAt;
    for (const list of [this.#defaults, this.#specific, this.#prefixes, this.#servers, this.#domains]) {
      for (const { until } of list) at = Math.min(at, until);
    }
    if (at !== Number.POSITIVE_INFINITY) this.#nd.context.timers.atMost(this, at);
  }

  close(): void {
    this.solicitor.stop();
    this.#nd.context.timers.cancel(this);
  }
}

/** `list` with `value` in it for so long, or without it where `seconds` is 0. */
function named<T>(
  list: Named<T>[],
  value: T,
  isSame: (other: T) => boolean,
  seconds: number,
  nowMs: number,
  most: number,
): Named<T>[] {
  const until = endOf(seconds, nowMs);
  const known = list.find((entry) => isSame(entry.value));
  if (seconds === 0) return list.filter((entry) => entry !== known);
  if (known !== undefined) {
    known.until = until;
    return list;
  }
  const all = [...list, { value, until }];
  if (all.length <= most) return all;
  const first = all.reduce((x, y) => (y.until < x.until ? y : x));
  return all.filter((entry) => entry !== first);
}
