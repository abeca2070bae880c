/**
 * The stateless DHCPv6 client of one interface: RFC 8415 §6.1, §18.2.6. It asks for name servers and the like where a
 * router advertisement has the O flag set, and again when what it heard grows old. Missing on purpose: addresses and
 * prefixes by DHCPv6, which SLAAC gives. @module
 */
import type { ConfigPort } from '../iface/config-port.ts';
import type { Interface } from '../iface/interface.ts';
import type { Packet } from '../iface/packet.ts';
import type { Timed } from '../iface/timers.ts';
import type { Stack } from '../stack.ts';
import type { IpAddress } from '../wire/address.ts';
import * as dhcp from '../wire/dhcpv6.ts';
import { sendDatagram } from './transport.ts';

const { OPTION } = dhcp;

/** RFC 8415 §7.6: INF_MAX_DELAY, INF_TIMEOUT, INF_MAX_RT, and what a server may set the latter to (§21.25). */
const DELAY_MS = 1000;
const TIMEOUT_MS = 1000;
const RETRY_MAX_MS = 3_600_000;
const RETRY_MAX_LEAST_S = 60;
const RETRY_MAX_MOST_S = 86_400;
/** RFC 8415 §7.6: IRT_DEFAULT, IRT_MINIMUM. */
const REFRESH_MS = 86_400_000;
const REFRESH_MIN_MS = 600_000;
const FOR_EVER = 0xffff_ffff;
/** Servers of each kind that are taken over. */
const SERVERS_MAX = 8;

/** What a server has told. */
export interface Settings6 {
  readonly serverId: Uint8Array;
  readonly dnsServers: readonly IpAddress[];
  readonly search: readonly string[];
  readonly sntpServers: readonly IpAddress[];
  /** ms until it is asked for again; Infinity: never. */
  readonly refreshMs: number;
}

export interface Dhcpv6ClientOptions {
  /** RFC 8415 §11; by default made of the link address. */
  readonly duid?: Uint8Array;
  /** Settings were heard, or heard anew. */
  onConfigured?(settings: Settings6): void;
}

const sameBytes = (a: Uint8Array, b: Uint8Array): boolean =>
  a.length === b.length && a.every((byte, i) => byte === b[i]);

export class Dhcpv6Client implements Timed {
  readonly #stack: Stack;
  readonly #iface: Interface;
  readonly #options: Dhcpv6ClientOptions;
  readonly #duid: Uint8Array;
  readonly #port: ConfigPort;
  #isRunning = false;
  #settings: Settings6 | null = null;
  #transaction = 0;
  /** Whether an answer is awaited; the time of the last wait, and when the first request left, in ms. */
  #isAsking = false;
  #waitMs = 0;
  #beganAt = 0;
  #retryMaxMs = RETRY_MAX_MS;
  #nextAt = Number.POSITIVE_INFINITY;
  timerAt = 0;
  timerIndex = -1;

  constructor(stack: Stack, iface: Interface, options: Dhcpv6ClientOptions = {}) {
    this.#stack = stack;
    this.#iface = iface;
    this.#options = options;
    this.#duid = options.duid ?? dhcp.duidOf(iface.mac);
    this.#port = {
      port: dhcp.CLIENT_PORT,
      takes: () => false,
      input: (packet, _from, p, end) => this.#input(packet, p, end),
    };
  }

  /** What was heard last, null: nothing yet. */
  get settings(): Settings6 | null {
    return this.#settings;
  }

  /** Called at each router advertisement with the O flag: begins to ask, if it has not yet. */
  start(): void {
    if (this.#isRunning) return;
    this.#isRunning = true;
    this.#iface.configPorts.push(this.#port);
    this.#begin();
  }

  close(): void {
    if (!this.#isRunning) return;
    this.#isRunning = false;
    this.#isAsking = false;
    this.#settings = null;
    this.#stack.context.timers.cancel(this);
    const { configPorts } = this.#iface;
    configPorts.splice(configPorts.indexOf(this.#port), 1);
  }

  expire(nowMs: number): void {
    if (nowMs >= this.#nextAt) {
      if (this.#isAsking) this.#ask();
      else this.#begin();
    }
    this.#arm(this.#nextAt);
  }

  #arm(at: number): void {
    this.#nextAt = at;
    if (at !== Number.POSITIVE_INFINITY) this.#stack.context.timers.atMost(this, at);
  }

  /** RFC 8415 §18.2.6: "the first Information-request message ... MUST be delayed by a random amount of time". */
  #begin(): void {
    const { random, nowMs } = this.#stack.context;
    this.#isAsking = true;
    this.#waitMs = 0;
    this.#transaction = random() & 0xff_ffff;
    this.#arm(nowMs + 1 + (random() % DELAY_MS));
  }

  #ask(): void {
    const { nowMs } = this.#stack.context;
    if (this.#waitMs === 0) this.#beganAt = nowMs;
    // RFC 8415 §21.9: in hundredths of a second.
    const elapsed = Math.min(Math.floor((nowMs - this.#beganAt) / 10), 0xffff);
    const message = dhcp.encode(dhcp.INFORMATION_REQUEST, this.#transaction, [
      [OPTION.clientId, this.#duid],
      dhcp.numberOption(OPTION.elapsedTime, elapsed, 2),
      // RFC 8415 §18.2.6: the refresh time and INF_MAX_RT must be asked for.
      dhcp.requestOption([
        OPTION.dnsServers,
        OPTION.domainList,
        OPTION.sntpServers,
        OPTION.refreshTime,
        OPTION.infMaxRt,
      ]),
    ]);
    // Without a link-local address yet there is no way; the next time there may be.
    const path = this.#stack.ip.path(dhcp.ALL_SERVERS, null, this.#iface);
    if (path !== null) {
      sendDatagram(this.#stack, path, dhcp.ALL_SERVERS, dhcp.CLIENT_PORT, dhcp.SERVER_PORT, message);
    }
    this.#waitMs = this.#nextWait();
    this.#arm(nowMs + this.#waitMs);
  }

  /** RFC 8415 §15: RT. */
  #nextWait(): number {
    const fuzz = (this.#stack.context.random() % 2001) / 10_000 - 0.1;
    const doubled = this.#waitMs === 0 ? TIMEOUT_MS * (1 + fuzz) : this.#waitMs * (2 + fuzz);
    return Math.round(doubled > this.#retryMaxMs ? this.#retryMaxMs * (1 + fuzz) : doubled);
  }

  #input(packet: Packet, p: number, end: number): void {
    const { memory, stats } = this.#stack.context;
    const { dv } = memory;
    const drop = packet.version === 6 ? dhcp.check(dv, p, end) : 'dhcp-unexpected';
    if (drop !== null) {
      stats.drop(drop);
      return;
    }
    const isAwaited = this.#isAsking && this.#waitMs > 0 && dhcp.type(dv, p) === dhcp.REPLY;
    if (!isAwaited) stats.drop('dhcp-unexpected');
    else if (dhcp.transaction(dv, p) !== this.#transaction) stats.drop('dhcp-other-client');
    else this.#heard(dhcp.parseOptions(dv, p, end));
  }

  #heard(options: dhcp.Options): void {
    const { stats, nowMs } = this.#stack.context;
    const serverId = options.get(OPTION.serverId);
    const clientId = options.get(OPTION.clientId);
    // RFC 8415 §16.10: a reply has the server's identifier, and ours.
    if (serverId === undefined || clientId === undefined || !sameBytes(clientId, this.#duid)) {
      stats.drop('dhcp-other-client');
      return;
    }
    const longest = dhcp.readNumber(options, OPTION.infMaxRt, 4);
    if (longest !== null && longest >= RETRY_MAX_LEAST_S && longest <= RETRY_MAX_MOST_S)
      this.#retryMaxMs = longest * 1000;
    // RFC 8415 §18.2.10: a failure is no answer; the server is asked again.
    if (dhcp.statusCode(options) !== 0) {
      stats.drop('dhcp-unexpected');
      return;
    }
    this.#isAsking = false;
    this.#settings = {
      serverId,
      dnsServers: dhcp.readIps(options, OPTION.dnsServers).slice(0, SERVERS_MAX),
      search: dhcp.readDomains(options),
      sntpServers: dhcp.readIps(options, OPTION.sntpServers).slice(0, SERVERS_MAX),
      refreshMs: refreshOf(options),
    };
    this.#arm(nowMs + this.#settings.refreshMs);
    this.#options.onConfigured?.(this.#settings);
  }
}

/** RFC 8415 §21.23. */
function refreshOf(options: dhcp.Options): number {
  const seconds = dhcp.readNumber(options, OPTION.refreshTime, 4);
  if (seconds === null) return REFRESH_MS;
  return seconds === FOR_EVER ? Number.POSITIVE_INFINITY : Math.max(seconds * 1000, REFRESH_MIN_MS);
}
