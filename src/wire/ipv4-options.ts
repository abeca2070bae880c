/**
 * Options of the IPv4 header: RFC 791 §3.1, RFC 1122 §3.2.1.8, RFC 2113 (router alert). Read for what a host must know of
 * them; none is acted upon here. Missing on purpose: security options and what RFC 6814 made obsolete, which are skipped
 * by their length. @module
 */
import { formatV4 } from './address.ts';
import * as ipv4 from './ipv4.ts';
import type { Octets } from './octets.ts';

const TYPE = 0; // u1 copied, u2 class, u5 number
const LENGTH = 1; // u8: type and length included; not there for END and NOP
const POINTER = 2; // u8, routes: from the type, 1 for the type itself; the first address stands at 4
const ADDRESSES = 3; // u32 each, routes
const ALERT_VALUE = 2; // u16
const POINTER_FIRST = 4;

export const END = 0;
export const NOP = 1;
export const RECORD_ROUTE = 7;
export const TIMESTAMP = 68;
export const LOOSE_SOURCE_ROUTE = 131;
export const STRICT_SOURCE_ROUTE = 137;
export const ROUTER_ALERT = 148;

/** Bytes of a router alert option, which needs no padding. */
export const ROUTER_ALERT_LENGTH = 4;
/** RFC 2113 §2.1: the router shall examine the packet; all other values are reserved. */
export const ALERT_EXAMINE = 0;

/** Why a packet was dropped for its options. */
export type Drop = 'ip-bad-option';

/** What stands in the options of one header; one record is reused. Offsets are absolute, -1 where absent. */
export class Options {
  /** Offset of a loose or strict source route: what a host that refuses them looks for. */
  sourceRoute = -1;
  recordRoute = -1;
  timestamp = -1;
  /** Value of the router alert option, or -1. */
  routerAlert = -1;
  /** After a Drop: where the bad byte stands, for a parameter problem (RFC 792). */
  pointer = -1;
}

/**
 * Reads the options of the header at `p`, which `ipv4.check` found good, into `options`. At most 40 bytes are looked at.
 * Says why the packet must be dropped, or null.
 */
export function parse(dv: DataView, p: number, options: Options): Drop | null {
  options.sourceRoute = -1;
  options.recordRoute = -1;
  options.timestamp = -1;
  options.routerAlert = -1;
  options.pointer = -1;
  const end = p + ipv4.headerLength(dv, p);
  let at = p + ipv4.HEADER_LENGTH;
  while (at < end) {
    const type = dv.getUint8(at + TYPE);
    if (type === END) return null;
    if (type === NOP) {
      at++;
      continue;
    }
    const length = at + LENGTH < end ? dv.getUint8(at + LENGTH) : 0;
    const bad = checkOption(dv, at, type, length, end);
    if (bad >= 0) {
      options.pointer = bad;
      return 'ip-bad-option';
    }
    note(dv, at, type, options);
    at += length;
  }
  return null;
}

/** Offset of the byte that is wrong with the option at `at`, or -1. */
function checkOption(dv: DataView, at: number, type: number, length: number, end: number): number {
  if (length < 2 || at + length > end) return Math.min(at + LENGTH, end - 1);
  if (type === ROUTER_ALERT) return length === ROUTER_ALERT_LENGTH ? -1 : at + LENGTH;
  if (isRoute(type)) {
    // RFC 791: "The smallest legal value for the pointer is 4"; the route data are whole addresses.
    if (length < ADDRESSES) return at + LENGTH;
    if (dv.getUint8(at + POINTER) < POINTER_FIRST) return at + POINTER;
  }
  return -1;
}

const isRoute = (type: number): boolean =>
  type === LOOSE_SOURCE_ROUTE || type === STRICT_SOURCE_ROUTE || type === RECORD_ROUTE;

function note(dv: DataView, at: number, type: number, options: Options): void {
  if (type === ROUTER_ALERT) options.routerAlert = dv.getUint16(at + ALERT_VALUE);
  else if (type === RECORD_ROUTE) options.recordRoute = at;
  else if (type === TIMESTAMP) options.timestamp = at;
  else if (isRoute(type)) options.sourceRoute = at;
}

/** Bytes of a header with a router alert: what {@link emitAlerted} writes. */
export const ALERTED_HEADER_LENGTH = ipv4.HEADER_LENGTH + ROUTER_ALERT_LENGTH;

/**
 * As `ipv4.emit`, with a router alert option behind: {@link ALERTED_HEADER_LENGTH} bytes, which `total` counts.
 * RFC 3376 §4: IGMP messages carry it.
 */
export function emitAlerted(
  o: Octets,
  p: number,
  total: number,
  ds: number,
  id: number,
  flags: number,
  hops: number,
  proto: number,
  src: number,
  dst: number,
): void {
  const { dv } = o;
  ipv4.emit(dv, p, total, ds, id, flags, hops, proto, src, dst);
  dv.setUint8(p, 0x40 | (ALERTED_HEADER_LENGTH >> 2));
  dv.setInt32(p + ipv4.HEADER_LENGTH, (ROUTER_ALERT << 24) | (ROUTER_ALERT_LENGTH << 16) | ALERT_EXAMINE);
  ipv4.patchLength(o, p, total, id);
}

const NAMES: Readonly<Record<number, string>> = {
  [END]: 'EOL',
  [NOP]: 'NOP',
  [RECORD_ROUTE]: 'RR',
  [TIMESTAMP]: 'TS',
  [LOOSE_SOURCE_ROUTE]: 'LSRR',
  [STRICT_SOURCE_ROUTE]: 'SSRR',
  [ROUTER_ALERT]: 'RA',
};

/** `options [RA]`, `options [NOP,RR 10.0.0.1 10.0.0.2]`; empty where there are none. */
export function format(dv: DataView, p: number): string {
  const end = p + ipv4.headerLength(dv, p);
  const names: string[] = [];
  for (let at = p + ipv4.HEADER_LENGTH; at < end; ) {
    const type = dv.getUint8(at);
    const length = type <= NOP ? 1 : at + LENGTH < end ? dv.getUint8(at + LENGTH) : 0;
    if (length < 1 || (type > NOP && length < 2) || at + length > end) {
      names.push('bad');
      break;
    }
    names.push(formatOption(dv, at, type, length));
    if (type === END) break;
    at += length;
  }
  return names.length === 0 ? '' : `options [${names.join(',')}]`;
}

function formatOption(dv: DataView, at: number, type: number, length: number): string {
  const name = NAMES[type] ?? `unknown ${type}`;
  if (!isRoute(type)) return name;
  const addresses: string[] = [];
  for (let i = at + ADDRESSES; i + 4 <= at + length; i += 4) addresses.push(formatV4(dv.getInt32(i)));
  return [name, ...addresses].join(' ');
}
