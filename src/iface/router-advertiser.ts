/**
 * Router advertisements of an interface, for LANs whose router is a stack of ours: RFC 4861 §6.2, RFC 4191, RFC 8106.
 * It advertises from `start` to `stop`; forwarding is another matter. Missing on purpose: consistency checks of other
 * routers' advertisements (§6.2.7). @module
 */
import type { Cidr, IpAddress } from '../wire/address.ts';
import * as ndp from '../wire/ndp.ts';
import { type Options, optionsLength, type Preference } from '../wire/ndp-options.ts';
import type { Interface } from './interface.ts';
import type { Nd, SolicitationListener } from './nd.ts';
import type { Timed } from './timers.ts';

/** RFC 4861 §10: MAX_INITIAL_RTR_ADVERT_INTERVAL, MAX_INITIAL_RTR_ADVERTISEMENTS, MIN_DELAY_BETWEEN_RAS, MAX_RA_DELAY_TIME. */
const INITIAL_INTERVAL_MS = 16_000;
const INITIAL_COUNT = 3;
const BETWEEN_MS = 3000;
const ANSWER_DELAY_MS = 500;
/** While the interface has no link-local address yet. */
const AGAIN_MS = 200;
/** Hosts that are answered one by one; where more ask at a time, all of them are by one advertisement. */
const ANSWERS_MAX = 16;
/** RFC 4861 §6.2.1: AdvValidLifetime and AdvPreferredLifetime, in seconds. */
const VALID_SECONDS = 2_592_000;
const PREFERRED_SECONDS = 604_800;
/** The router lifetime, and by default the maximum interval: 3 times, and 600 s. */
const INTERVAL_SECONDS = 600;
const INTERVAL_SECONDS_MAX = 1800;
const INTERVAL_SECONDS_MIN = 4;
const LIFETIME_SECONDS_MAX = 9000;
/** Bytes of an advertisement without its options. */
const FIXED_BYTES = 16;

export interface AdvertisedPrefix {
  readonly prefix: Cidr;
  /** Both true by default. */
  readonly onLink?: boolean;
  readonly autonomous?: boolean;
  /** 30 days and 7 days by default. */
  readonly validSeconds?: number;
  readonly preferredSeconds?: number;
}

export interface RouterAdvertiserOptions {
  readonly prefixes?: readonly AdvertisedPrefix[];
  /** Routes more specific than the default one. */
  readonly routes?: readonly {
    readonly prefix: Cidr;
    readonly preference?: Preference;
    readonly lifetimeSeconds?: number;
  }[];
  readonly nameServers?: readonly IpAddress[];
  readonly searchDomains?: readonly string[];
  /** Default 'medium'. */
  readonly preference?: Preference;
  /** How long this is a default router, 0: not at all; by default three times the interval. */
  readonly lifetimeSeconds?: number;
  /** The most time between two advertisements to all, 4 to 1800 s, default 600; the least is a third of it. */
  readonly intervalSeconds?: number;
  /** What hosts are told to use; 0, the default but for the hop limit of 64, tells nothing. */
  readonly hopLimit?: number;
  readonly reachableMs?: number;
  readonly retransMs?: number;
  readonly mtu?: number;
  /** Whether DHCPv6 has addresses, and other configuration. */
  readonly managed?: boolean;
  readonly other?: boolean;
}

export class RouterAdvertiser implements Timed, SolicitationListener {
  timerAt = 0;
  timerIndex = -1;
  /** Advertisements sent to all. */
  sent = 0;
  readonly #nd: Nd;
  #options: RouterAdvertiserOptions;
  #nextAt = Number.POSITIVE_INFINITY;
  #lastAt = Number.NEGATIVE_INFINITY;
  #answerAt = Number.POSITIVE_INFINITY;
  #asking: IpAddress[] = [];

  /**
   * Turns IPv6 on where it is not.
   * @throws RangeError for an interval or a lifetime that is none
   */
  constructor(iface: Interface, options: RouterAdvertiserOptions) {
    iface.enableV6();
    if (iface.nd === null) throw new RangeError(`interface: expected one with a link, got ${iface.name}`);
    this.#nd = iface.nd;
    this.#options = checked(options);
  }

  /** Begins to advertise. */
  start(): void {
    this.#nd.listener = this;
    this.#nd.iface.groups.join(ndp.ALL_ROUTERS); // RFC 4291 §2.8
    this.sent = 0;
    this.#nextAt = this.#nd.context.nowMs + 1;
    this.#arm();
  }

  /** Changes what is advertised, and tells all soon. @throws RangeError as the constructor */
  configure(options: RouterAdvertiserOptions): void {
    this.#options = checked(options);
    this.sent = 0;
    this.#soon();
  }

  /** Ends it: RFC 4861 §6.2.5: hosts hear that this is no default router any more. */
  stop(): void {
    const nd = this.#nd;
    if (nd.listener !== this) return;
    if (nd.slaac.linkLocal !== null) this.#send(ndp.ALL_NODES, 0);
    nd.listener = null;
    nd.iface.groups.leave(ndp.ALL_ROUTERS);
    nd.context.timers.cancel(this);
  }

  /** A host asks: RFC 4861 §6.2.6. It is answered at random within half a second. */
  solicited(source: IpAddress): void {
    if (source.isUnspecified || this.#asking.length >= ANSWERS_MAX) {
      this.#soon();
      return;
    }
    if (!this.#asking.some((other) => other.equals(source))) this.#asking.push(source);
    this.#answerAt = Math.min(this.#answerAt, this.#nd.context.nowMs + this.#delay());
    this.#arm();
  }

  #delay(): number {
    return 1 + Math.floor(ANSWER_DELAY_MS * this.#nd.chance());
  }

  /** To all, within half a second, but three seconds after the last one. */
  #soon(): void {
    const at = Math.max(this.#nd.context.nowMs + this.#delay(), this.#lastAt + BETWEEN_MS);
    this.#nextAt = Math.min(this.#nextAt, at);
    this.#arm();
  }

  #arm(): void {
    this.#nd.context.timers.atMost(this, Math.min(this.#nextAt, this.#answerAt));
  }

  expire(nowMs: number): void {
    if (this.#nd.listener !== this) return;
    if (this.#nd.slaac.linkLocal === null) {
      this.#nextAt = Math.max(this.#nextAt, nowMs + AGAIN_MS);
      this.#answerAt = Number.POSITIVE_INFINITY;
    } else if (this.#nextAt <= nowMs) this.#advertise(nowMs);
    else if (this.#answerAt <= nowMs) {
      for (const host of this.#asking.splice(0)) this.#send(host, this.#lifetimeSeconds);
      this.#answerAt = Number.POSITIVE_INFINITY;
    }
    this.#arm();
  }

  #advertise(nowMs: number): void {
    this.#send(ndp.ALL_NODES, this.#lifetimeSeconds);
    this.sent++;
    this.#asking = []; // they have heard it too
    this.#answerAt = Number.POSITIVE_INFINITY;
    this.#lastAt = nowMs;
    // §6.2.4: uniformly between the least and the most, and the first ones sooner.
    const most = this.#intervalSeconds * 1000;
    const interval = most / 3 + ((most * 2) / 3) * this.#nd.chance();
    this.#nextAt = nowMs + Math.max(1, this.sent < INITIAL_COUNT ? Math.min(interval, INITIAL_INTERVAL_MS) : interval);
  }

  get #intervalSeconds(): number {
    return this.#options.intervalSeconds ?? INTERVAL_SECONDS;
  }

  get #lifetimeSeconds(): number {
    return this.#options.lifetimeSeconds ?? 3 * this.#intervalSeconds;
  }

  #send(to: IpAddress, lifetimeSeconds: number): void {
    const nd = this.#nd;
    const { preference = 'medium', hopLimit = 64, reachableMs = 0, retransMs = 0 } = this.#options;
    const { managed = false, other = false } = this.#options;
    const router = { hopLimit, managed, other, preference, lifetimeSeconds, reachableMs, retransMs };
    const options = this.#messageOptions();
    nd.send(nd.slaac.linkLocal!, to, FIXED_BYTES + optionsLength(options), null, (p, pseudo) =>
      ndp.emitRouterAdvertisement(nd.context.memory, p, router, options, pseudo),
    );
  }

  #messageOptions(): Partial<Options> {
    const { prefixes = [], routes = [], nameServers = [], searchDomains = [], mtu } = this.#options;
    const { iface, isEthernet } = this.#nd;
    const lifetimeSeconds = 3 * this.#intervalSeconds; // RFC 8106 §5.1
    return {
      sourceMac: isEthernet ? iface.mac : null,
      mtu: mtu ?? null,
      prefixes: prefixes.map(({ prefix, onLink, autonomous, validSeconds, preferredSeconds }) => ({
        prefix: prefix.address,
        prefixLength: prefix.prefixLength,
        onLink: onLink ?? true,
        autonomous: autonomous ?? true,
        validSeconds: validSeconds ?? VALID_SECONDS,
        preferredSeconds: preferredSeconds ?? PREFERRED_SECONDS,
      })),
      routes: routes.map(({ prefix, preference, lifetimeSeconds: seconds }) => ({
        prefix: prefix.address,
        prefixLength: prefix.prefixLength,
        preference: preference ?? 'medium',
        lifetimeSeconds: seconds ?? this.#lifetimeSeconds,
      })),
      nameServers: nameServers.length === 0 ? [] : [{ lifetimeSeconds, servers: nameServers }],
      searchDomains: searchDomains.length === 0 ? [] : [{ lifetimeSeconds, domains: searchDomains }],
    };
  }
}

function checked(options: RouterAdvertiserOptions): RouterAdvertiserOptions {
  const { intervalSeconds = INTERVAL_SECONDS, lifetimeSeconds = 3 * intervalSeconds } = options;
  if (!(intervalSeconds >= INTERVAL_SECONDS_MIN && intervalSeconds <= INTERVAL_SECONDS_MAX)) {
    const range = `${INTERVAL_SECONDS_MIN} to ${INTERVAL_SECONDS_MAX}`;
    throw new RangeError(`intervalSeconds: expected ${range}, got ${intervalSeconds}`);
  }
  // RFC 4861 §6.2.1: 0, or from the interval to 9000 s.
  const isLifetime =
    lifetimeSeconds === 0 || (lifetimeSeconds >= intervalSeconds && lifetimeSeconds <= LIFETIME_SECONDS_MAX);
  if (isLifetime) return options;
  throw new RangeError(
    `lifetimeSeconds: expected 0, or ${intervalSeconds} to ${LIFETIME_SECONDS_MAX}, got ${lifetimeSeconds}`,
  );
}
