/**
 * What no layer here speaks, named for people who read captures: other protocols of the link, other transports, and tunnels
 * with what is inside: GRE (RFC 2784, 2890), IP in IP (RFC 2003, 2473, 4213), ESP and AH (RFC 4303, 4302), SCTP (RFC 9260),
 * MPLS (RFC 3032). @module
 */
import { protocolName } from './ip.ts';
import { LINKTYPE_ETHERNET, LINKTYPE_RAW } from './link-type.ts';

/** Labels read of one packet. */
const LABELS_MAX = 8;

const PROTOCOL_IPIP = 4;
const PROTOCOL_DCCP = 33;
const PROTOCOL_IPV6 = 41;
const PROTOCOL_GRE = 47;
const PROTOCOL_ESP = 50;
const PROTOCOL_AH = 51;
const PROTOCOL_SCTP = 132;
const PROTOCOL_UDP_LITE = 136;

const ETHERTYPE_MPLS = 0x8847;
const ETHERTYPE_MPLS_GROUP = 0x8848;
/** Ethernet in a tunnel: RFC 1701. */
const TRANSPARENT_BRIDGING = 0x6558;

const ETHERTYPES: Readonly<Record<number, string>> = {
  2114: 'Wake-on-LAN',
  8944: 'AVTP',
  34525: 'IP6',
  [ETHERTYPE_MPLS]: 'MPLS',
  [ETHERTYPE_MPLS_GROUP]: 'MPLS multicast',
  34827: 'PPP',
  34915: 'PPPoE discovery',
  34916: 'PPPoE session',
  34958: 'EAPOL',
  34984: '802.1ad',
  35020: 'LLDP',
  35045: 'MACsec',
  35063: 'PTP',
  35074: 'CFM',
  34824: 'flow control',
  34825: 'slow protocols',
  36864: 'loopback test',
};

/** By the destination's access point: IEEE 802.2. */
const ACCESS_POINTS: Readonly<Record<number, string>> = {
  66: 'STP',
  224: 'IPX',
  240: 'NetBEUI',
  254: 'IS-IS',
};

const CHUNKS: readonly string[] = [
  ...['DATA', 'INIT', 'INIT ACK', 'SACK', 'HEARTBEAT', 'HEARTBEAT ACK', 'ABORT', 'SHUTDOWN', 'SHUTDOWN ACK', 'ERROR'],
  ...['COOKIE ECHO', 'COOKIE ACK'],
];

const hex = (value: number, digits: number): string => `0x${value.toString(16).padStart(digits, '0')}`;

/** `ethertype LLDP (0x88cc)`, or without a name. */
export function etherTypeText(type: number): string {
  const name = ETHERTYPES[type];
  return name === undefined ? `ethertype ${hex(type, 4)}` : `ethertype ${name} (${hex(type, 4)})`;
}

/** `802.3`, and whose it is, of a frame whose type is a length. `[p, end)` is behind the Ethernet header. */
export function lengthText(dv: DataView, p: number, end: number): string {
  const name = end - p >= 1 ? ACCESS_POINTS[dv.getUint8(p)] : undefined;
  return name === undefined ? '802.3' : `802.3 ${name}`;
}

/** Formats the packet at an offset that begins as packets of a link type do. */
export type Nest = (linkType: number, p: number) => string;

/** The labels at `p` and what follows, or null: none of MPLS, or cut. @param end - of the bytes at hand */
export function formatLabels(dv: DataView, etherType: number, p: number, end: number, nest: Nest): string | null {
  if (etherType !== ETHERTYPE_MPLS && etherType !== ETHERTYPE_MPLS_GROUP) return null;
  const labels: string[] = [];
  for (let at = p; end - at >= 4 && labels.length < LABELS_MAX; at += 4) {
    const word = dv.getUint32(at);
    const isLast = (word & 0x100) !== 0;
    labels.push(`label ${word >>> 12}, tc ${(word >>> 9) & 7}${isLast ? ', [S]' : ''}, ttl ${word & 0xff}`);
    if (!isLast) continue;
    // RFC 3032 §2.2: nothing says what follows; by custom the first four bits are looked at.
    const version = end - at > 4 ? dv.getUint8(at + 4) >>> 4 : 0;
    const inside = version === 4 || version === 6 ? ` ${nest(LINKTYPE_RAW, at + 4)}` : '';
    return `MPLS (${labels.join(')(')})${inside}`;
  }
  return null;
}

/** The text behind the addresses, of a protocol other than those a host speaks; null: there is none, or it is cut. */
export function formatCarried(
  dv: DataView,
  protocol: number,
  p: number,
  end: number,
  wireEnd: number,
  nest: Nest,
): string | null {
  const length = `length ${wireEnd - p}`;
  switch (protocol) {
    case PROTOCOL_IPIP:
    case PROTOCOL_IPV6:
      return end > p ? nest(LINKTYPE_RAW, p) : null;
    case PROTOCOL_GRE:
      return end - p >= 4 ? formatGre(dv, p, end, length, nest) : null;
    case PROTOCOL_ESP:
      if (end - p < 8) return null;
      return `ESP (spi ${hex(dv.getUint32(p), 8)}, seq ${dv.getUint32(p + 4)}), ${length}`;
    case PROTOCOL_AH:
      return end - p >= 12 ? formatAh(dv, p, end, wireEnd, nest) : null;
    case PROTOCOL_SCTP:
      if (end - p < 13) return null;
      return `SCTP [${CHUNKS[dv.getUint8(p + 12)] ?? `chunk ${dv.getUint8(p + 12)}`}], ${length}`;
    default:
      return null;
  }
}

/** Whether ports stand where those of UDP do, for as long as they are at hand. */
export const hasPorts = (protocol: number): boolean =>
  protocol === PROTOCOL_SCTP || protocol === PROTOCOL_UDP_LITE || protocol === PROTOCOL_DCCP;

/** RFC 2784 §2.1, RFC 2890 §2: optional words, then what the type says. */
function formatGre(dv: DataView, p: number, end: number, length: string, nest: Nest): string {
  const flags = dv.getUint16(p);
  const type = dv.getUint16(p + 2);
  const hasKey = (flags & 0x2000) !== 0;
  const key = p + 4 + ((flags & 0x8000) !== 0 ? 4 : 0);
  const inside = key + (hasKey ? 4 : 0) + ((flags & 0x1000) !== 0 ? 4 : 0);
  const keyText = hasKey && end - key >= 4 ? `, key ${hex(dv.getUint32(key), 1)}` : '';
  const head = `GREv${flags & 7}${keyText}, ${length}`;
  // Version 1 is PPTP's: RFC 2637 §4.1.
  if (inside >= end || (flags & 7) !== 0) return head;
  if (type === 0x0800 || type === 0x86dd) return `${head}: ${nest(LINKTYPE_RAW, inside)}`;
  if (type === TRANSPARENT_BRIDGING) return `${head}: ${nest(LINKTYPE_ETHERNET, inside)}`;
  return `${head}: ${etherTypeText(type)}`;
}

/** RFC 4302 §2: the length is in words, less two. */
function formatAh(dv: DataView, p: number, end: number, wireEnd: number, nest: Nest): string {
  const next = dv.getUint8(p);
  const inside = p + (dv.getUint8(p + 1) + 2) * 4;
  const head = `AH (spi ${hex(dv.getUint32(p + 4), 8)}, seq ${dv.getUint32(p + 8)})`;
  if (inside >= end) return `${head}, length ${wireEnd - p}`;
  if (next === PROTOCOL_IPIP || next === PROTOCOL_IPV6) return `${head}: ${nest(LINKTYPE_RAW, inside)}`;
  return `${head}: ${protocolName(next)}, length ${wireEnd - inside}`;
}
