/**
 * What a DHCP server has granted: an address for a time, and the settings that come with it. RFC 2131 §3.1, RFC 2132,
 * RFC 3442. @module
 */
import { Cidr, IpAddress } from '../wire/address.ts';
import * as dhcp from '../wire/dhcpv4.ts';

const { OPTION } = dhcp;

/** A lease of less is no lease: it could not be renewed in time. */
const LEASE_MIN_S = 5;
/** RFC 791: what every link carries. RFC 2132 §5.1 has the same least value for option 26. */
const MTU_MIN = 68;
/** Routes, and addresses of each kind of server, that are taken over; the rest is left out. */
const ROUTES_MAX = 64;
const SERVERS_MAX = 8;

/** What a server says about the network, with an address or without (INFORM). */
export interface Settings {
  /** Routers by destination; the default route is 0.0.0.0/0. A router 0.0.0.0: the destination is on the link. */
  readonly routes: readonly dhcp.ClasslessRoute[];
  readonly dnsServers: readonly IpAddress[];
  readonly domain: string | null;
  /** Domains to look names up in, best first; the domain alone where the server named no list. */
  readonly search: readonly string[];
  readonly ntpServers: readonly IpAddress[];
  /** The largest IP packet of the link, null: not said. */
  readonly mtu: number | null;
  /** All options as they came. */
  readonly options: dhcp.Options;
}

export interface Lease extends Settings {
  /** The address with the prefix of its network. */
  readonly address: Cidr;
  readonly serverId: IpAddress;
  /** ms of the stack's clock when it was asked for, from which it counts: RFC 2131 §4.4.1. */
  readonly startedAt: number;
  /** How long it holds, in ms; Infinity: for ever. */
  readonly leaseMs: number;
  /** RFC 2131 §4.4.5: when it is renewed (T1), and when any server is asked (T2), in ms after its start. */
  readonly renewMs: number;
  readonly rebindMs: number;
}

/** Whether `address` can be one host's. */
function isHost({ address, prefixLength, broadcast }: Cidr): boolean {
  const first = address.d >>> 24;
  if (first === 0 || first === 127 || first >= 224) return false;
  const hostBits = prefixLength >= 31 ? 0 : -1 >>> prefixLength;
  // The network's own address is nobody's, but on point-to-point prefixes: RFC 3021.
  return broadcast === null || (!broadcast.equals(address) && (address.d & hostBits) !== 0);
}

/** The length of a netmask, -1 where it is none. */
function maskLength(mask: IpAddress): number {
  const zeros = ~mask.d >>> 0;
  return (zeros & (zeros + 1)) === 0 ? Math.clz32(zeros) : -1;
}

/** RFC 2132 §3.3 leaves the mask optional; then the class of the address tells: RFC 791 §3.2. */
const classLength = ({ d }: IpAddress): number => (d >>> 31 === 0 ? 8 : d >>> 30 === 2 ? 16 : 24);

function prefixOf(address: IpAddress, options: dhcp.Options): Cidr | null {
  const mask = dhcp.readIp(options, OPTION.subnetMask);
  const length = mask === null ? classLength(address) : maskLength(mask);
  return length < 1 ? null : new Cidr(address, length);
}

export function parseSettings(options: dhcp.Options): Settings {
  // RFC 3442: "if the DHCP server returns both a Classless Static Routes option and a Router option, the DHCP client MUST
  // ignore the Router option".
  const routers = dhcp.readIps(options, OPTION.routers);
  const fallback = routers.slice(0, 1).map((router) => ({ prefix: new Cidr(IpAddress.v4(0), 0), router }));
  const routes = dhcp.readRoutes(options) ?? fallback;
  const domain = dhcp.readText(options, OPTION.domainName);
  const search = dhcp.readDomains(options);
  const mtu = dhcp.readNumber(options, OPTION.mtu, 2);
  return {
    routes: routes.slice(0, ROUTES_MAX),
    dnsServers: dhcp.readIps(options, OPTION.dnsServers).slice(0, SERVERS_MAX),
    domain,
    search: search.length > 0 || domain === null ? search : [domain],
    ntpServers: dhcp.readIps(options, OPTION.ntpServers).slice(0, SERVERS_MAX),
    mtu: mtu === null || mtu < MTU_MIN ? null : mtu,
    options,
  };
}

/** The lease that a message offers or grants, null where it is none that a host could live with. */
export function parseLease(yiaddr: number, options: dhcp.Options, startedAt: number): Lease | null {
  const address = prefixOf(IpAddress.v4(yiaddr), options);
  const serverId = dhcp.readIp(options, OPTION.serverId);
  const seconds = dhcp.readNumber(options, OPTION.leaseTime, 4);
  if (address === null || serverId === null || seconds === null) return null;
  if (!isHost(address) || seconds < LEASE_MIN_S) return null;
  const leaseMs = seconds === dhcp.INFINITE ? Number.POSITIVE_INFINITY : seconds * 1000;
  return { ...parseSettings(options), address, serverId, startedAt, leaseMs, ...renewalTimes(options, leaseMs) };
}

/** T1 and T2 as the server says, or RFC 2131 §4.4.5's shares of the lease where they are missing or make no sense. */
function renewalTimes(options: dhcp.Options, leaseMs: number): { renewMs: number; rebindMs: number } {
  const given = (code: number): number | null => {
    const seconds = dhcp.readNumber(options, code, 4);
    return seconds === null || seconds === dhcp.INFINITE ? null : seconds * 1000;
  };
  let rebindMs = given(OPTION.rebindingTime) ?? leaseMs * 0.875;
  if (!(rebindMs > 0 && rebindMs < leaseMs)) rebindMs = leaseMs * 0.875;
  let renewMs = given(OPTION.renewalTime) ?? leaseMs * 0.5;
  if (!(renewMs > 0 && renewMs < rebindMs)) renewMs = leaseMs * 0.5;
  if (!(renewMs < rebindMs)) renewMs = rebindMs * 0.5;
  return { renewMs, rebindMs };
}

/** A lease as it can be kept in a file, for INIT-REBOOT after a restart. */
export interface StoredLease {
  /** The address without its prefix. */
  readonly address: string;
  /** Seconds the lease still held when it was stored; null: for ever. */
  readonly secondsLeft: number | null;
  /** Options by code, in hexadecimal. */
  readonly options: Readonly<Record<string, string>>;
}

/** @param nowMs - the stack's clock */
export function storeLease(lease: Lease, nowMs: number): StoredLease {
  const toHex = (bytes: Uint8Array): string => Array.from(bytes, (b) => b.toString(16).padStart(2, '0')).join('');
  const left = (lease.startedAt + lease.leaseMs - nowMs) / 1000;
  return {
    address: lease.address.address.toString(),
    secondsLeft: lease.leaseMs === Number.POSITIVE_INFINITY ? null : Math.max(0, Math.floor(left)),
    options: Object.fromEntries([...lease.options].map(([code, value]) => [code, toHex(value)])),
  };
}

/**
 * The stored lease, null when it is over or was spoiled. The seconds that have passed since it was stored are the
 * caller's to take off `secondsLeft`.
 */
export function restoreLease(stored: StoredLease, nowMs: number): Lease | null {
  const { secondsLeft } = stored;
  if (secondsLeft !== null && !(secondsLeft >= 1)) return null;
  const options = new Map<number, Uint8Array>();
  for (const [code, hex] of Object.entries(stored.options ?? {})) {
    const bytes = (String(hex).match(/../g) ?? []).map((digits) => Number.parseInt(digits, 16));
    options.set(Number(code), Uint8Array.from(bytes));
  }
  let address: IpAddress;
  try {
    address = IpAddress.parse(stored.address);
  } catch {
    return null;
  }
  const lease = parseLease(address.d, options, nowMs);
  if (lease === null || !address.isV4 || secondsLeft === null) return address.isV4 ? lease : null;
  // It began before the clock did, perhaps: what counts is when it ends.
  return { ...lease, startedAt: nowMs + secondsLeft * 1000 - lease.leaseMs };
}
