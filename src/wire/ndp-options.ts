/**
 * Options of neighbour discovery: RFC 4861 §4.6, RFC 4191 §2.3 (route information), RFC 8106 §5 (RDNSS, DNSSL), RFC 3971
 * §5.3.2 and RFC 7527 §4 (nonce). All of a message are read into one plain object, and written from one. Missing on
 * purpose: SEND's signatures, proxies, PREF64; they are skipped by their length. @module
 */
import { IpAddress, MacAddress, wireWord } from './address.ts';

const TYPE = 0; // u8
const LENGTH = 1; // u8: in 8 bytes, type and length included
const VALUE = 2;
const UNIT = 8;

const SOURCE_LINK_ADDRESS = 1;
const TARGET_LINK_ADDRESS = 2;
const PREFIX = 3;
const REDIRECTED = 4;
const MTU = 5;
const NONCE = 14;
const ROUTE = 24;
const RDNSS = 25;
const DNSSL = 31;

// Prefix information: RFC 4861 §4.6.2.
const PREFIX_LENGTH = 2; // u8: bits
const PREFIX_FLAGS = 3; // u8: on-link, autonomous
const PREFIX_VALID = 4; // u32: seconds
const PREFIX_PREFERRED = 8; // u32: seconds
const PREFIX_ADDRESS = 16; // u128
const PREFIX_BYTES = 32;
const ON_LINK = 0x80;
const AUTONOMOUS = 0x40;

const REDIRECTED_PACKET = 8;
const MTU_VALUE = 4; // u32

// Route information: RFC 4191 §2.3.
const ROUTE_LENGTH = 2; // u8: bits
const ROUTE_FLAGS = 3; // u8: bits 3-4 the preference
const ROUTE_LIFETIME = 4; // u32: seconds
const ROUTE_PREFIX = 8; // as many bytes as the prefix needs

// RDNSS and DNSSL: RFC 8106 §5.
const DNS_LIFETIME = 4; // u32: seconds
const DNS_LIST = 8;

const ADDRESS_LENGTH = 16;
/** A lifetime that does not end: RFC 4861 §4.6.2, RFC 8106 §5. */
export const LIFETIME_INFINITE = 0xffffffff;

/** Options of one kind that are kept of one message; more are skipped, so that a message cannot make many objects. */
export const LIST_MAX = 32;
/** Options read of one message; the rest is skipped. */
export const OPTIONS_MAX = 128;
/** RFC 1035 §2.3.4: bytes of a name on the wire, and of a label. */
const NAME_MAX = 255;
const LABEL_MAX = 63;

/** RFC 4191 §2.1. A reserved preference reads as medium, and its option is to be ignored (§2.3). */
export type Preference = 'low' | 'medium' | 'high';

/** Two bits of the flags byte at place 3 and 4; 2 is reserved. */
export const preferenceOf = (flags: number): Preference | null =>
  (['medium', 'high', null, 'low'] as const)[(flags >>> 3) & 3] ?? null;
/** As flags, in their place. */
export const preferenceFlags = (preference: Preference): number => ({ medium: 0, high: 0x08, low: 0x18 })[preference];

/** A prefix that is on the link or good for addresses: RFC 4861 §4.6.2. Lifetimes may be {@link LIFETIME_INFINITE}. */
export interface Prefix {
  /** Bits behind the prefix length may be set: they are to be ignored. */
  readonly prefix: IpAddress;
  /** Bits, 0 to 128. */
  readonly prefixLength: number;
  readonly onLink: boolean;
  readonly autonomous: boolean;
  readonly validSeconds: number;
  readonly preferredSeconds: number;
}

/** A route more specific than the default: RFC 4191 §2.3. */
export interface RouteInformation {
  readonly prefix: IpAddress;
  /** Bits, 0 to 128. */
  readonly prefixLength: number;
  readonly preference: Preference;
  readonly lifetimeSeconds: number;
}

/** Name servers: RFC 8106 §5.1. A lifetime of 0 takes them back. */
export interface NameServers {
  readonly lifetimeSeconds: number;
  readonly servers: readonly IpAddress[];
}

/** Search domains: RFC 8106 §5.2, as text without the last dot. */
export interface SearchDomains {
  readonly lifetimeSeconds: number;
  readonly domains: readonly string[];
}

/** The options of one message; what it does not have is null or empty. */
export interface Options {
  readonly sourceMac: MacAddress | null;
  readonly targetMac: MacAddress | null;
  readonly mtu: number | null;
  /** A copy of its bytes, 6 as a rule. */
  readonly nonce: Uint8Array | null;
  readonly prefixes: readonly Prefix[];
  readonly routes: readonly RouteInformation[];
  readonly nameServers: readonly NameServers[];
  readonly searchDomains: readonly SearchDomains[];
  /** The packet a redirect quotes, `[start, end)`; null elsewhere. When written it is copied by the caller. */
  readonly redirected: { readonly start: number; readonly end: number } | null;
}

/** Whether the options in `[p, end)` fill it and none has length zero: RFC 4861 §6.1.1, §7.1.1. */
export function checkOptions(dv: DataView, p: number, end: number): boolean {
  while (p < end) {
    const length = p + LENGTH < end ? dv.getUint8(p + LENGTH) * UNIT : 0;
    if (length === 0 || p + length > end) return false;
    p += length;
  }
  return true;
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] };
interface Reading extends Mutable<Omit<Options, 'prefixes' | 'routes' | 'nameServers' | 'searchDomains'>> {
  readonly prefixes: Prefix[];
  readonly routes: RouteInformation[];
  readonly nameServers: NameServers[];
  readonly searchDomains: SearchDomains[];
}

/** Reads options that {@link checkOptions} found good. One whose contents make no sense is left out. */
export function parseOptions(dv: DataView, p: number, end: number): Options {
  const options: Reading = {
    sourceMac: null,
    targetMac: null,
    mtu: null,
    nonce: null,
    prefixes: [],
    routes: [],
    nameServers: [],
    searchDomains: [],
    redirected: null,
  };
  for (let count = 0; p < end && count < OPTIONS_MAX; count++) {
    const length = dv.getUint8(p + LENGTH) * UNIT;
    parseOption(dv, p, length, options);
    p += length;
  }
  return options;
}

function parseOption(dv: DataView, p: number, length: number, options: Reading): void {
  switch (dv.getUint8(p + TYPE)) {
    case SOURCE_LINK_ADDRESS:
      // RFC 2464 §6: with Ethernet the length is 1.
      if (length === UNIT) options.sourceMac ??= readMac(dv, p);
      return;
    case TARGET_LINK_ADDRESS:
      if (length === UNIT) options.targetMac ??= readMac(dv, p);
      return;
    case MTU:
      if (length === UNIT) options.mtu ??= dv.getUint32(p + MTU_VALUE);
      return;
    case NONCE:
      options.nonce ??= bytesOf(dv, p + VALUE, length - VALUE);
      return;
    case REDIRECTED:
      options.redirected ??= { start: p + REDIRECTED_PACKET, end: p + length };
      return;
    case PREFIX:
      add(options.prefixes, parsePrefix(dv, p, length));
      return;
    case ROUTE:
      add(options.routes, parseRoute(dv, p, length));
      return;
    case RDNSS:
      add(options.nameServers, parseNameServers(dv, p, length));
      return;
    case DNSSL:
      add(options.searchDomains, parseSearchDomains(dv, p, length));
      return;
  }
}

function add<T>(list: T[], item: T | null): void {
  if (item !== null && list.length < LIST_MAX) list.push(item);
}

const readMac = (dv: DataView, p: number): MacAddress =>
  new MacAddress(dv.getUint16(p + VALUE), dv.getInt32(p + VALUE + 2));

const bytesOf = (dv: DataView, p: number, length: number): Uint8Array =>
  new Uint8Array(dv.buffer, dv.byteOffset + p, length).slice();

const readAddress = (dv: DataView, p: number): IpAddress =>
  new IpAddress(dv.getInt32(p), dv.getInt32(p + 4), dv.getInt32(p + 8), dv.getInt32(p + 12));

function parsePrefix(dv: DataView, p: number, length: number): Prefix | null {
  const prefixLength = dv.getUint8(p + PREFIX_LENGTH);
  if (length !== PREFIX_BYTES || prefixLength > 128) return null;
  const flags = dv.getUint8(p + PREFIX_FLAGS);
  return {
    prefix: readAddress(dv, p + PREFIX_ADDRESS),
    prefixLength,
    onLink: (flags & ON_LINK) !== 0,
    autonomous: (flags & AUTONOMOUS) !== 0,
    validSeconds: dv.getUint32(p + PREFIX_VALID),
    preferredSeconds: dv.getUint32(p + PREFIX_PREFERRED),
  };
}

function parseRoute(dv: DataView, p: number, length: number): RouteInformation | null {
  const prefixLength = dv.getUint8(p + ROUTE_LENGTH);
  // RFC 4191 §2.3: the length is 1, 2 or 3, and must hold the prefix.
  if (length > 3 * UNIT || prefixLength > 128 || prefixLength > (length - ROUTE_PREFIX) * 8) return null;
  const preference = preferenceOf(dv.getUint8(p + ROUTE_FLAGS));
  // RFC 4191 §2.3: "If the Reserved (10) value is received, the Route Information Option MUST be ignored."
  if (preference === null) return null;
  const word = (i: number): number => (ROUTE_PREFIX + 4 * i < length ? dv.getInt32(p + ROUTE_PREFIX + 4 * i) : 0);
  const prefix = new IpAddress(word(0), word(1), word(2), word(3));
  return { prefix, prefixLength, preference, lifetimeSeconds: dv.getUint32(p + ROUTE_LIFETIME) };
}

function parseNameServers(dv: DataView, p: number, length: number): NameServers | null {
  // RFC 8106 §5.3.1: the length is at least 3, and odd.
  if (length < DNS_LIST + ADDRESS_LENGTH || (length - DNS_LIST) % ADDRESS_LENGTH !== 0) return null;
  const count = Math.min(LIST_MAX, (length - DNS_LIST) / ADDRESS_LENGTH);
  const servers = Array.from({ length: count }, (_, i) => readAddress(dv, p + DNS_LIST + ADDRESS_LENGTH * i));
  return { lifetimeSeconds: dv.getUint32(p + DNS_LIFETIME), servers };
}

function parseSearchDomains(dv: DataView, p: number, length: number): SearchDomains | null {
  const domains: string[] = [];
  for (let at = p + DNS_LIST; at < p + length && dv.getUint8(at) !== 0 && domains.length < LIST_MAX; ) {
    const labels: string[] = [];
    const next = readName(dv, at, p + length, labels);
    if (next < 0) return null;
    domains.push(labels.join('.'));
    at = next;
  }
  if (domains.length === 0) return null;
  return { lifetimeSeconds: dv.getUint32(p + DNS_LIFETIME), domains };
}

/** Reads the labels of one name, uncompressed (RFC 8106 §5.2); returns where it ends, or -1 where it is none. */
function readName(dv: DataView, p: number, end: number, labels: string[]): number {
  const start = p;
  while (p < end) {
    const length = dv.getUint8(p);
    if (length === 0) return p + 1;
    if (length > LABEL_MAX || p + 1 + length >= end || p + length - start > NAME_MAX) return -1;
    let label = '';
    for (let i = p + 1; i <= p + length; i++) {
      const byte = dv.getUint8(i);
      // A search domain is a host name: nothing in it may look like a separator or a control character.
      if (byte <= 0x20 || byte >= 0x7f || byte === 0x2e) return -1;
      label += String.fromCharCode(byte);
    }
    labels.push(label);
    p += 1 + length;
  }
  return -1;
}

const roundUp = (length: number): number => Math.ceil(length / UNIT) * UNIT;
const routeLength = ({ prefixLength }: RouteInformation): number =>
  prefixLength === 0 ? 8 : prefixLength <= 64 ? 16 : 24;
const domainsLength = ({ domains }: SearchDomains): number =>
  roundUp(domains.reduce((sum, domain) => sum + domain.length + 2, DNS_LIST));
const sumOf = <T>(list: readonly T[] | undefined, length: (item: T) => number): number =>
  (list ?? []).reduce((sum, item) => sum + length(item), 0);

/** Bytes that {@link emitOptions} writes. */
export function optionsLength(options: Partial<Options>): number {
  let length = options.sourceMac ? UNIT : 0;
  if (options.targetMac) length += UNIT;
  if (options.mtu != null) length += UNIT;
  if (options.nonce) length += roundUp(VALUE + options.nonce.length);
  length += sumOf(options.prefixes, () => PREFIX_BYTES) + sumOf(options.routes, routeLength);
  length += sumOf(options.nameServers, ({ servers }) => DNS_LIST + ADDRESS_LENGTH * servers.length);
  length += sumOf(options.searchDomains, domainsLength);
  if (options.redirected) length += roundUp(REDIRECTED_PACKET + options.redirected.end - options.redirected.start);
  return length;
}

/**
 * Writes `options` at `p`, in the order of the fields; returns where they end. The quoted packet of a redirect is copied
 * from its place in the same bytes, and cut to whole units of 8.
 */
export function emitOptions(dv: DataView, p: number, options: Partial<Options>): number {
  if (options.sourceMac) p = emitMac(dv, p, SOURCE_LINK_ADDRESS, options.sourceMac);
  if (options.targetMac) p = emitMac(dv, p, TARGET_LINK_ADDRESS, options.targetMac);
  if (options.mtu != null) {
    const next = emitHead(dv, p, MTU, UNIT);
    dv.setUint32(p + MTU_VALUE, options.mtu);
    p = next;
  }
  if (options.nonce) {
    const next = emitHead(dv, p, NONCE, roundUp(VALUE + options.nonce.length));
    for (const [i, byte] of options.nonce.entries()) dv.setUint8(p + VALUE + i, byte);
    p = next;
  }
  for (const prefix of options.prefixes ?? []) p = emitPrefix(dv, p, prefix);
  for (const route of options.routes ?? []) p = emitRoute(dv, p, route);
  for (const servers of options.nameServers ?? []) p = emitNameServers(dv, p, servers);
  for (const domains of options.searchDomains ?? []) p = emitSearchDomains(dv, p, domains);
  if (options.redirected) p = emitRedirected(dv, p, options.redirected);
  return p;
}

/** Writes type and length and clears the rest; returns where the option ends. */
function emitHead(dv: DataView, p: number, type: number, length: number): number {
  for (let i = 0; i < length; i += 4) dv.setInt32(p + i, 0);
  dv.setUint8(p + TYPE, type);
  dv.setUint8(p + LENGTH, length / UNIT);
  return p + length;
}

function emitMac(dv: DataView, p: number, type: number, mac: MacAddress): number {
  const end = emitHead(dv, p, type, UNIT);
  dv.setUint16(p + VALUE, mac.high);
  dv.setInt32(p + VALUE + 2, mac.low);
  return end;
}

function emitAddress(dv: DataView, p: number, address: IpAddress): void {
  dv.setInt32(p, address.a);
  dv.setInt32(p + 4, wireWord(address.a, address.b));
  dv.setInt32(p + 8, address.c);
  dv.setInt32(p + 12, address.d);
}

function emitPrefix(dv: DataView, p: number, prefix: Prefix): number {
  const end = emitHead(dv, p, PREFIX, PREFIX_BYTES);
  dv.setUint8(p + PREFIX_LENGTH, prefix.prefixLength);
  dv.setUint8(p + PREFIX_FLAGS, (prefix.onLink ? ON_LINK : 0) | (prefix.autonomous ? AUTONOMOUS : 0));
  dv.setUint32(p + PREFIX_VALID, prefix.validSeconds);
  dv.setUint32(p + PREFIX_PREFERRED, prefix.preferredSeconds);
  emitAddress(dv, p + PREFIX_ADDRESS, prefix.prefix);
  return end;
}

function emitRoute(dv: DataView, p: number, route: RouteInformation): number {
  const end = emitHead(dv, p, ROUTE, routeLength(route));
  dv.setUint8(p + ROUTE_LENGTH, route.prefixLength);
  dv.setUint8(p + ROUTE_FLAGS, preferenceFlags(route.preference));
  dv.setUint32(p + ROUTE_LIFETIME, route.lifetimeSeconds);
  const { a, b, c, d } = route.prefix;
  for (const [i, word] of [a, b, c, d].entries()) {
    if (p + ROUTE_PREFIX + 4 * i < end) dv.setInt32(p + ROUTE_PREFIX + 4 * i, word);
  }
  return end;
}

function emitNameServers(dv: DataView, p: number, { lifetimeSeconds, servers }: NameServers): number {
  const end = emitHead(dv, p, RDNSS, DNS_LIST + ADDRESS_LENGTH * servers.length);
  dv.setUint32(p + DNS_LIFETIME, lifetimeSeconds);
  for (const [i, server] of servers.entries()) emitAddress(dv, p + DNS_LIST + ADDRESS_LENGTH * i, server);
  return end;
}

function emitSearchDomains(dv: DataView, p: number, domains: SearchDomains): number {
  const end = emitHead(dv, p, DNSSL, domainsLength(domains));
  dv.setUint32(p + DNS_LIFETIME, domains.lifetimeSeconds);
  let at = p + DNS_LIST;
  for (const domain of domains.domains) {
    for (const label of domain.split('.')) {
      dv.setUint8(at++, label.length);
      for (let i = 0; i < label.length; i++) dv.setUint8(at++, label.charCodeAt(i));
    }
    at++; // the root: the bytes are zero already
  }
  return end;
}

function emitRedirected(dv: DataView, p: number, { start, end }: { start: number; end: number }): number {
  const next = emitHead(dv, p, REDIRECTED, roundUp(REDIRECTED_PACKET + end - start));
  new Uint8Array(dv.buffer, dv.byteOffset, dv.byteLength).copyWithin(p + REDIRECTED_PACKET, start, end);
  return next;
}

const seconds = (lifetime: number): string => (lifetime === LIFETIME_INFINITE ? 'infinity' : `${lifetime}s`);

/** `, source link-address 02:00:00:00:00:01, prefix fd00::/64 [onlink, auto] valid 86400s pref 14400s`; or nothing. */
export function formatOptions(options: Options): string {
  const parts: string[] = [];
  if (options.sourceMac !== null) parts.push(`source link-address ${options.sourceMac}`);
  if (options.targetMac !== null) parts.push(`destination link-address ${options.targetMac}`);
  if (options.mtu !== null) parts.push(`mtu ${options.mtu}`);
  if (options.nonce !== null) {
    parts.push(`nonce ${Array.from(options.nonce, (byte) => byte.toString(16).padStart(2, '0')).join('')}`);
  }
  for (const { prefix, prefixLength, onLink, autonomous, validSeconds, preferredSeconds } of options.prefixes) {
    const flags = [onLink ? 'onlink' : '', autonomous ? 'auto' : ''].filter((flag) => flag !== '').join(', ');
    parts.push(
      `prefix ${prefix}/${prefixLength} [${flags}] valid ${seconds(validSeconds)} pref ${seconds(preferredSeconds)}`,
    );
  }
  for (const { prefix, prefixLength, preference, lifetimeSeconds } of options.routes) {
    parts.push(`route ${prefix}/${prefixLength} pref ${preference} lifetime ${seconds(lifetimeSeconds)}`);
  }
  for (const { lifetimeSeconds, servers } of options.nameServers) {
    parts.push(`rdnss lifetime ${seconds(lifetimeSeconds)} ${servers.join(' ')}`);
  }
  for (const { lifetimeSeconds, domains } of options.searchDomains) {
    parts.push(`dnssl lifetime ${seconds(lifetimeSeconds)} ${domains.join(' ')}`);
  }
  return parts.map((part) => `, ${part}`).join('');
}
