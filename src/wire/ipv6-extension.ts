/**
 * IPv6 extension headers: RFC 8200 §4 (with the unknown-option actions of §4.2), RFC 5095 (routing headers of type 0),
 * RFC 2711 (router alert), RFC 6946 (atomic fragments), RFC 8504 §5.3 (limits). {@link walk} goes from the IPv6 header
 * to what a host hands on; the accessors read one header, those of the fragment header are in `fragment.ts`. Missing on
 * purpose: jumbograms, Mobile IPv6, and AH and ESP, which count as protocols. @module
 */
import { formatV6 } from './address.ts';
import * as fragment from './fragment.ts';
import { protocolName } from './ip.ts';

const NEXT_HEADER = 0; // u8
const LENGTH = 1; // u8: in 8 bytes, the first 8 not counted
const OPTIONS = 2; // options headers: the first option
const OPTION_LENGTH = 1; // u8: of its data; not there for PAD1
const OPTION_DATA = 2;
const ROUTING_TYPE = 2; // u8
const SEGMENTS_LEFT = 3; // u8
/** Every extension header has at least these bytes. */
export const HEADER_LENGTH = 8;

export const HOP_BY_HOP = 0;
export const ROUTING = 43;
export const FRAGMENT = fragment.PROTOCOL_FRAGMENT;
export const NO_NEXT = 59;
export const DESTINATION = 60;

export const OPTION_PAD1 = 0;
export const OPTION_PADN = 1;
/** RFC 2711 §2.1. */
export const OPTION_ROUTER_ALERT = 5;
export const ALERT_MLD = 0;

// RFC 8200 §4.2: the two high bits of an option type, what to do where it is not known.
export const ACTION_SKIP = 0;
export const ACTION_DISCARD = 1;
export const ACTION_REPORT = 2;
/** Reports only if the destination is no multicast address. */
export const ACTION_REPORT_UNICAST = 3;

// RFC 4443 §3.4: codes of the parameter problem that a Drop may call for.
export const PROBLEM_FIELD = 0;
export const PROBLEM_NEXT_HEADER = 1;
export const PROBLEM_OPTION = 2;

/** Extension headers read of one packet; more are a drop: RFC 8504 §5.3 allows the limit. */
export const HEADERS_MAX = 8;
/** Options read of one header, and bytes of consecutive padding: Linux has the same limits, RFC 8504 §5.3. */
export const OPTIONS_MAX = 8;
export const PADDING_MAX = 7;

/** Why a packet was dropped for its extension headers. */
export type Drop =
  | 'ip-extension-truncated'
  | 'ip-extension-limit'
  | 'ip-extension-order'
  | 'ip-bad-option'
  | 'ip-unknown-option'
  | 'ip-bad-routing';

/** What one walk found; one record is reused for all packets. Offsets are absolute. */
export class Chain {
  /** The protocol the walk ended at, and where its first byte stands. {@link FRAGMENT}: a part, to be reassembled. */
  protocol = 0;
  offset = 0;
  /** Where the byte stands that names {@link protocol}: what a reassembly rewrites, what a parameter problem points at. */
  nextHeaderAt = 0;
  /** Offset of the fragment header, of an atomic fragment too; -1: none. */
  fragment = -1;
  /** Value of the router alert option; -1: none. */
  routerAlert = -1;
  /** After a Drop: code of the parameter problem to send, -1: none, and the byte it points at. */
  problem = -1;
  pointer = 0;
  /** Whether it may be sent where the destination is a multicast address: RFC 4443 §2.4 (e.3). */
  problemToMulticast = false;
}

/** Whether a next header value is one of the four headers {@link walk} reads. */
export const isExtension = (next: number): boolean =>
  next === HOP_BY_HOP || next === ROUTING || next === FRAGMENT || next === DESTINATION;

export const nextHeader = (dv: DataView, p: number): number => dv.getUint8(p + NEXT_HEADER);
/** Bytes of the whole header. @param type - which of the four it is: a fragment header has no length field */
export const headerLength = (dv: DataView, p: number, type: number): number =>
  type === FRAGMENT ? fragment.HEADER_LENGTH : (dv.getUint8(p + LENGTH) + 1) << 3;
export const routingType = (dv: DataView, p: number): number => dv.getUint8(p + ROUTING_TYPE);
export const segmentsLeft = (dv: DataView, p: number): number => dv.getUint8(p + SEGMENTS_LEFT);
/** RFC 6946 §2: a fragment that is the whole packet, which is processed apart from all others. */
export const isAtomic = (dv: DataView, p: number): boolean =>
  fragment.offset(dv, p) === 0 && !fragment.moreFragments(dv, p);

/** What an option of this type calls for where it is not known: one of the ACTIONs. */
export const optionAction = (type: number): number => type >>> 6;

/** Says why the header of `type` in `[p, end)` must be dropped, or null. After null it lies within. */
export function check(dv: DataView, p: number, end: number, type: number): Drop | null {
  if (end - p < HEADER_LENGTH || headerLength(dv, p, type) > end - p) return 'ip-extension-truncated';
  return null;
}

/**
 * Follows the headers of the packet whose payload is `[p, end)` as its destination must, up to the protocol above or to
 * a fragment that is not the whole.
 * @param next - the next header field of the IPv6 header   @param nextAt - where that field stands
 * @param chain - gets what was found; after a Drop, the parameter problem that is to be sent
 */
export function walk(dv: DataView, next: number, nextAt: number, p: number, end: number, chain: Chain): Drop | null {
  chain.fragment = -1;
  chain.routerAlert = -1;
  chain.problem = -1;
  chain.problemToMulticast = false;
  for (let headers = 0; isExtension(next); headers++) {
    // RFC 8200 §4.1: hop-by-hop options stand first; elsewhere their number is an unrecognised next header (§4).
    if (next === HOP_BY_HOP && headers > 0) return problem(chain, 'ip-extension-order', PROBLEM_NEXT_HEADER, nextAt);
    if (headers === HEADERS_MAX) return 'ip-extension-limit';
    const bad = check(dv, p, end, next) ?? checkHeader(dv, p, next, chain);
    if (bad !== null) return bad;
    if (next === FRAGMENT) {
      chain.fragment = p;
      if (!isAtomic(dv, p)) break;
    }
    const length = headerLength(dv, p, next);
    nextAt = p + NEXT_HEADER;
    next = nextHeader(dv, p);
    p += length;
  }
  chain.protocol = next;
  chain.nextHeaderAt = nextAt;
  chain.offset = p;
  return null;
}

function problem(chain: Chain, drop: Drop, code: number, pointer: number): Drop {
  chain.problem = code;
  chain.pointer = pointer;
  return drop;
}

function checkHeader(dv: DataView, p: number, type: number, chain: Chain): Drop | null {
  if (type === ROUTING) {
    // RFC 8200 §4.4, RFC 5095 §3: no routing type is known here; with no segments left it is skipped.
    if (segmentsLeft(dv, p) === 0) return null;
    return problem(chain, 'ip-bad-routing', PROBLEM_FIELD, p + ROUTING_TYPE);
  }
  if (type === FRAGMENT) return null;
  return walkOptions(dv, p + OPTIONS, p + headerLength(dv, p, type), type, chain);
}

/** The options in `[p, end)` of a hop-by-hop or destination options header. */
function walkOptions(dv: DataView, p: number, end: number, header: number, chain: Chain): Drop | null {
  let options = 0;
  let padding = 0;
  while (p < end) {
    const type = dv.getUint8(p);
    const length = type === OPTION_PAD1 ? 1 : OPTION_DATA + (p + OPTION_LENGTH < end ? dv.getUint8(p + 1) : end);
    if (p + length > end) return problem(chain, 'ip-bad-option', PROBLEM_FIELD, p + OPTION_LENGTH);
    if (type <= OPTION_PADN) {
      padding += length;
      if (padding > PADDING_MAX) return 'ip-extension-limit';
    } else {
      padding = 0;
      if (++options > OPTIONS_MAX) return 'ip-extension-limit';
      const bad = readOption(dv, p, type, header, chain);
      if (bad !== null) return bad;
    }
    p += length;
  }
  return null;
}

function readOption(dv: DataView, p: number, type: number, header: number, chain: Chain): Drop | null {
  if (type === OPTION_ROUTER_ALERT && header === HOP_BY_HOP) {
    // RFC 2711 §2.1: the value is two bytes.
    if (dv.getUint8(p + OPTION_LENGTH) !== 2) return problem(chain, 'ip-bad-option', PROBLEM_FIELD, p + OPTION_LENGTH);
    chain.routerAlert = dv.getUint16(p + OPTION_DATA);
    return null;
  }
  const action = optionAction(type);
  if (action === ACTION_SKIP) return null;
  if (action === ACTION_DISCARD) return 'ip-unknown-option';
  chain.problemToMulticast = action === ACTION_REPORT;
  return problem(chain, 'ip-unknown-option', PROBLEM_OPTION, p);
}

/** Bytes of a hop-by-hop header with a router alert. */
export const ROUTER_ALERT_LENGTH = 8;

/** Writes at `p` a hop-by-hop header of {@link ROUTER_ALERT_LENGTH} bytes with a router alert: RFC 2711 §2.1. */
export function emitRouterAlert(dv: DataView, p: number, next: number, value: number): void {
  dv.setUint16(p, next << 8);
  dv.setUint16(p + OPTIONS, (OPTION_ROUTER_ALERT << 8) | 2);
  dv.setUint16(p + 4, value);
  dv.setUint16(p + 6, OPTION_PADN << 8);
}

const NAMES: Readonly<Record<number, string>> = {
  [HOP_BY_HOP]: 'HBH',
  [ROUTING]: 'RT',
  [FRAGMENT]: 'frag',
  [DESTINATION]: 'DSTOPT',
};

/** `HBH`, `frag (0|1232+)`, `RT type 4 left 1 [2001:db8::1]`: one header that {@link check} found good. */
export function format(dv: DataView, p: number, type: number): string {
  const name = NAMES[type] ?? protocolName(type);
  if (type === FRAGMENT) {
    const more = fragment.moreFragments(dv, p) ? '+' : '';
    return `frag id ${fragment.identification(dv, p) >>> 0} offset ${fragment.offset(dv, p)}${more}`;
  }
  if (type !== ROUTING) return name;
  const addresses: string[] = [];
  const end = p + headerLength(dv, p, type);
  for (let at = p + HEADER_LENGTH; at + 16 <= end; at += 16) {
    addresses.push(formatV6(dv.getInt32(at), dv.getInt32(at + 4), dv.getInt32(at + 8), dv.getInt32(at + 12)));
  }
  return `${name} type ${routingType(dv, p)} left ${segmentsLeft(dv, p)} [${addresses.join(' ')}]`;
}
