/**
 * Where the headers of a captured packet stand: one pass from the link to the transport, for whoever prints, filters or
 * searches packets of any kind. It is lenient where a host must be strict: packets cut by the capture, super-segments and
 * wrong checksums are read on. @module
 */
import { formatMac, formatV4, formatV6 } from './address.ts';
import * as ethernet from './ethernet.ts';
import * as fragment from './fragment.ts';
import * as ipv4 from './ipv4.ts';
import * as ipv6 from './ipv6.ts';
import * as extension from './ipv6-extension.ts';
import {
  LINKTYPE_ETHERNET,
  LINKTYPE_IPV4,
  LINKTYPE_IPV6,
  LINKTYPE_LINUX_SLL,
  LINKTYPE_LINUX_SLL2,
  LINKTYPE_LOOP,
  LINKTYPE_NULL,
  LINKTYPE_PPP,
  LINKTYPE_PPP_ETHER,
  LINKTYPE_PPP_HDLC,
  LINKTYPE_RAW,
  LINKTYPE_RAW_BSD,
  LINKTYPE_RAW_OPENBSD,
} from './link-type.ts';
import type { Octets } from './octets.ts';
import * as pppoe from './pppoe.ts';
import * as vlan from './vlan.ts';

/** Tags read of one frame; with more, the rest is not read. */
const TAGS_MAX = 8;
/** Extension headers read of one packet; with more, the rest is not read. */
const EXTENSIONS_MAX = 16;
const NULL_LENGTH = 4;
const SLL_LENGTH = 16;
const SLL_PROTOCOL = 14; // u16
const SLL2_LENGTH = 20;
/** RFC 1042: AA-AA-03 and an organisation of zeros, then an Ethernet type. */
const SNAP_LENGTH = 8;
const SNAP_HIGH = 0xaaaa0300 | 0;
/** Below it, the field is a length: IEEE 802.3 clause 3.2.6. */
export const ETHERTYPE_MIN = 0x600;

/**
 * What is wrong with a packet, the first thing of it. All but a bad checksum end the reading where it is.
 * `link-unknown`: of a link type that is not read.
 */
export type Problem =
  | ethernet.Drop
  | ipv4.Drop
  | ipv6.Drop
  | vlan.Drop
  | 'ip-extension-truncated'
  | 'ip-extension-limit'
  | 'link-truncated'
  | 'link-unknown';

/** What {@link dissect} found; one record is reused for all packets. Offsets are absolute, -1 where there is no such thing. */
export class Dissection {
  /** The bytes at hand, and where the packet ended on the wire, which may be beyond them. */
  start = 0;
  end = 0;
  wireEnd = 0;
  ethernet = -1;
  /** The first tag, and how many there are. */
  vlan = -1;
  tags = 0;
  /** What the link carries, behind all tags; below {@link ETHERTYPE_MIN} a length; -1 where the link does not say. */
  etherType = -1;
  /** The header of PPP over Ethernet. */
  pppoe = -1;
  /** What the link header is followed by. */
  network = -1;
  /** 4 or 6, or 0 for what is no IP. */
  version = 0;
  /** How many extension headers there are, and where the fragment header stands: in IPv6 its own, in IPv4 the header. */
  extensions = 0;
  fragment = -1;
  /** Of the fragment, 0 else: bytes before it. */
  fragmentOffset = 0;
  /** What stands behind all IP headers, -1 where they could not be read; of a later fragment, no header follows. */
  protocol = -1;
  transport = -1;
  /** Where it ends: of the bytes at hand, and by the IP header. */
  transportEnd = -1;
  transportWireEnd = -1;
  problem: Problem | null = null;
  /** In how many other packets it stands. */
  depth = 0;
}

/**
 * Reads the packet in `[start, end)` into `d`. Never throws, never reads outside.
 * @param wireEnd - where it ended on the wire, `end` or beyond
 */
export function dissect(o: Octets, start: number, end: number, wireEnd: number, linkType: number, d: Dissection): void {
  d.start = start;
  d.end = end;
  d.wireEnd = wireEnd;
  d.ethernet = -1;
  d.vlan = -1;
  d.tags = 0;
  d.etherType = -1;
  d.pppoe = -1;
  d.network = -1;
  d.version = 0;
  d.extensions = 0;
  d.fragment = -1;
  d.fragmentOffset = 0;
  d.protocol = -1;
  d.transport = -1;
  d.transportEnd = -1;
  d.transportWireEnd = -1;
  d.problem = null;
  if (linkType === LINKTYPE_ETHERNET) dissectEthernet(o, d);
  else if (linkType === LINKTYPE_RAW || linkType === LINKTYPE_IPV4 || linkType === LINKTYPE_IPV6)
    dissectIp(o, start, d);
  else dissectOther(o, linkType, d);
}

/** Whether the type of an Ethernet frame, which is a length, is followed by another type. */
const isSnap = (dv: DataView, p: number, end: number): boolean =>
  end - p >= SNAP_LENGTH && dv.getInt32(p) === SNAP_HIGH && dv.getUint16(p + 4) === 0;

function dissectEthernet(o: Octets, d: Dissection): void {
  const { dv } = o;
  const { start, end } = d;
  d.problem = ethernet.check(dv, start, end);
  if (d.problem !== null) return;
  d.ethernet = start;
  dissectTyped(o, ethernet.etherType(dv, start), start + ethernet.HEADER_LENGTH, d);
}

/** What follows an Ethernet type. */
function dissectTyped(o: Octets, etherType: number, p: number, d: Dissection): void {
  while (vlan.isTag(etherType) && d.tags < TAGS_MAX) {
    if (d.tags === 0) d.vlan = p;
    d.problem = vlan.check(o.dv, p, d.end);
    if (d.problem !== null) return;
    d.tags++;
    etherType = vlan.etherType(o.dv, p);
    p += vlan.HEADER_LENGTH;
  }
  if (etherType < ETHERTYPE_MIN && isSnap(o.dv, p, d.end)) {
    etherType = o.dv.getUint16(p + SNAP_LENGTH - 2);
    p += SNAP_LENGTH;
  }
  d.etherType = etherType;
  d.network = p;
  if (etherType === pppoe.ETHERTYPE_SESSION && d.end - p >= pppoe.HEADER_LENGTH) dissectPppoe(o, p, d);
  if (etherType === ethernet.ETHERTYPE_IPV4 || etherType === ethernet.ETHERTYPE_IPV6) dissectIp(o, p, d);
}

function dissectPppoe(o: Octets, p: number, d: Dissection): void {
  d.pppoe = p;
  dissectPpp(o, p + pppoe.HEADER_LENGTH, d);
}

/** A packet of PPP: what is no IP begins with the number of its protocol. */
function dissectPpp(o: Octets, p: number, d: Dissection): void {
  d.network = p;
  d.etherType = pppoe.ETHERTYPE_PPP;
  if (!pppoe.hasProtocol(o.dv, p, d.end)) {
    d.problem = 'link-truncated';
    return;
  }
  const protocol = pppoe.protocol(o.dv, p);
  if (protocol !== pppoe.PPP_IPV4 && protocol !== pppoe.PPP_IPV6) return;
  d.etherType = -1;
  dissectIp(o, p + pppoe.protocolLength(o.dv, p), d);
}

function dissectOther(o: Octets, linkType: number, d: Dissection): void {
  const { dv } = o;
  const length = d.end - d.start;
  if (linkType === LINKTYPE_LINUX_SLL) {
    if (length < SLL_LENGTH) d.problem = 'link-truncated';
    else dissectTyped(o, dv.getUint16(d.start + SLL_PROTOCOL), d.start + SLL_LENGTH, d);
  } else if (linkType === LINKTYPE_LINUX_SLL2) {
    if (length < SLL2_LENGTH) d.problem = 'link-truncated';
    else dissectTyped(o, dv.getUint16(d.start), d.start + SLL2_LENGTH, d);
  } else if (linkType === LINKTYPE_NULL || linkType === LINKTYPE_LOOP) {
    // The family's number differs from system to system; the version of the header says as much.
    if (length < NULL_LENGTH) d.problem = 'link-truncated';
    else dissectIp(o, d.start + NULL_LENGTH, d);
  } else if (linkType === LINKTYPE_RAW_BSD || linkType === LINKTYPE_RAW_OPENBSD) {
    dissectIp(o, d.start, d);
  } else if (linkType === LINKTYPE_PPP || linkType === LINKTYPE_PPP_HDLC) {
    // Address and control, where they are not left out: RFC 1662 §3.1, RFC 1661 §6.6.
    const hasAddress = length >= 2 && dv.getUint16(d.start) === 0xff03;
    dissectPpp(o, d.start + (hasAddress ? 2 : 0), d);
  } else if (linkType === LINKTYPE_PPP_ETHER) {
    if (length < pppoe.HEADER_LENGTH) d.problem = 'link-truncated';
    else dissectTyped(o, pppoe.ETHERTYPE_SESSION, d.start, d);
  } else {
    d.problem = 'link-unknown';
  }
}

/** Reads the IP header at `p` and what follows it: for a packet quoted in another too. */
export function dissectIp(o: Octets, p: number, d: Dissection): void {
  d.network = p;
  if (d.end - p < 1) {
    d.problem = 'ip-truncated';
    return;
  }
  const version = ipv4.version(o.dv, p);
  if (d.etherType < 0) d.etherType = version === 6 ? ethernet.ETHERTYPE_IPV6 : ethernet.ETHERTYPE_IPV4;
  if (version === 6) dissectV6(o.dv, p, d);
  else dissectV4(o, p, d);
}

function dissectV4(o: Octets, p: number, d: Dissection): void {
  const { dv } = o;
  d.version = 4;
  if (d.end - p < ipv4.HEADER_LENGTH) d.problem = 'ip-truncated';
  else if (ipv4.version(dv, p) !== 4) {
    d.problem = 'ip-bad-version';
    d.version = 0;
  }
  if (d.problem !== null) return;
  const header = ipv4.headerLength(dv, p);
  if (header < ipv4.HEADER_LENGTH || header > d.end - p) {
    d.problem = 'ip-bad-header-length';
    return;
  }
  // A super-segment that the card shall cut has no length yet.
  const total = ipv4.totalLength(dv, p) === 0 ? d.wireEnd - p : ipv4.totalLength(dv, p);
  if (total < header || total > d.wireEnd - p) {
    d.problem = 'ip-bad-length';
    return;
  }
  if (o.sum(p, header, 0) !== 0xffff) d.problem = 'ip-bad-checksum';
  if (ipv4.isFragment(dv, p)) {
    d.fragment = p;
    d.fragmentOffset = ipv4.fragmentOffset(dv, p);
  }
  found(d, ipv4.protocol(dv, p), p + header, p + total);
}

function found(d: Dissection, protocol: number, transport: number, wireEnd: number): void {
  d.protocol = protocol;
  d.transport = transport;
  d.transportWireEnd = wireEnd;
  d.transportEnd = Math.min(wireEnd, d.end);
}

function dissectV6(dv: DataView, p: number, d: Dissection): void {
  d.version = 6;
  if (d.end - p < ipv6.HEADER_LENGTH) {
    d.problem = 'ip-truncated';
    return;
  }
  const payload = ipv6.payloadLength(dv, p);
  // A jumbogram, or a super-segment that has no length yet: RFC 2675 §3.
  const wireEnd = payload === 0 ? d.wireEnd : p + ipv6.HEADER_LENGTH + payload;
  if (wireEnd > d.wireEnd) {
    d.problem = 'ip-bad-length';
    return;
  }
  let next = ipv6.nextHeader(dv, p);
  let at = p + ipv6.HEADER_LENGTH;
  const end = Math.min(d.end, wireEnd);
  while (extension.isExtension(next) && d.fragmentOffset === 0) {
    if (d.extensions === EXTENSIONS_MAX) d.problem = 'ip-extension-limit';
    else if (extension.check(dv, at, end, next) !== null) d.problem = 'ip-extension-truncated';
    if (d.problem !== null) return;
    if (next === extension.FRAGMENT) {
      d.fragment = at;
      d.fragmentOffset = fragment.offset(dv, at);
    }
    d.extensions++;
    const length = extension.headerLength(dv, at, next);
    next = extension.nextHeader(dv, at);
    at += length;
  }
  found(d, next, at, wireEnd);
}

/** The address in text; of a packet whose {@link Dissection.version} is 4 or 6 and whose header was whole. */
export const formatSource = (dv: DataView, d: Dissection): string =>
  d.version === 6 ? ipv6.formatSource(dv, d.network) : formatV4(ipv4.source(dv, d.network));
export const formatDestination = (dv: DataView, d: Dissection): string =>
  d.version === 6 ? ipv6.formatDestination(dv, d.network) : formatV4(ipv4.destination(dv, d.network));
/** Whether the addresses of the IP header can be read. */
export const hasAddresses = (d: Dissection): boolean =>
  (d.version === 4 && d.end - d.network >= ipv4.HEADER_LENGTH) ||
  (d.version === 6 && d.end - d.network >= ipv6.HEADER_LENGTH);

/** Gives addresses as text; for tools that remember what they gave. */
export interface AddressText {
  v4(word: number): string;
  v6(a: number, b: number, c: number, d: number): string;
  mac(high: number, low: number): string;
}

/** Makes each text anew. */
export const PLAIN_TEXT: AddressText = { v4: formatV4, v6: formatV6, mac: formatMac };
