/**
 * When an ICMP error may be made, and how much it quotes: RFC 1122 §3.2.2, RFC 1812 §4.3.2, RFC 4443 §2.4. @module
 */
import type { Packet } from '../iface/packet.ts';
import * as v4 from '../wire/icmpv4.ts';
import * as v6 from '../wire/icmpv6.ts';
import { PROTOCOL_ICMP, PROTOCOL_ICMPV6 } from '../wire/ip.ts';
import * as ipv4 from '../wire/ipv4.ts';
import * as ipv6 from '../wire/ipv6.ts';

/** RFC 1812 §4.3.2.3: an IPv4 error is at most 576 bytes long; RFC 4443 §2.4 (c): an IPv6 one 1280. */
const ERROR_BYTES_V4 = 576;
const ERROR_BYTES_V6 = ipv6.MTU_MIN;
/** Extension headers looked behind for what an IPv6 packet carries; beyond, no error is made about it. */
const EXTENSIONS_MAX = 8;
const FRAGMENT = 44;

/** How many bytes of `packet` an error quotes. */
export function quotedBytes(packet: Packet): number {
  const most =
    packet.version === 4
      ? ERROR_BYTES_V4 - ipv4.HEADER_LENGTH - v4.HEADER_LENGTH
      : ERROR_BYTES_V6 - ipv6.HEADER_LENGTH - v6.HEADER_LENGTH;
  return Math.min(packet.end - packet.header, most);
}

/** Whether an error of this type and code may be made about `packet`. */
export function mayReport(dv: DataView, packet: Packet, type: number, code: number): boolean {
  return packet.version === 4 ? mayReportV4(dv, packet) : mayReportV6(dv, packet, type, code);
}

/** RFC 1122 §3.2.2: no error about what follows. */
function mayReportV4(dv: DataView, packet: Packet): boolean {
  const { header, srcD, dstD, iface } = packet;
  // "a datagram destined to an IP broadcast or IP multicast address", or sent as a link-layer broadcast
  if (packet.toGroup || dstD >>> 28 >= 0xe || iface.isBroadcast(0, 0, 0xffff, dstD)) return false;
  // "a non-initial fragment"
  if (ipv4.fragmentOffset(dv, header) !== 0) return false;
  // "a datagram whose source address does not define a single host"
  const network = srcD >>> 24;
  if (network === 0 || network >= 224 || (network === 127 && !iface.isLoopback)) return false;
  if (iface.isBroadcast(0, 0, 0xffff, srcD)) return false;
  // "an ICMP error message"; and of what cannot be told, none is made either.
  if (packet.protocol !== PROTOCOL_ICMP) return true;
  return packet.payload < packet.end && !v4.isError(v4.type(dv, packet.payload));
}

/** RFC 4443 §2.4 (e). */
function mayReportV6(dv: DataView, packet: Packet, type: number, code: number): boolean {
  // (e.3), (e.4), (e.5): to a group only "too big", for path MTU discovery, and the option that asks for a report
  const isGroup = packet.toGroup || packet.dstA >>> 24 === 0xff;
  const isExcepted = type === v6.PACKET_TOO_BIG || (type === v6.PARAMETER_PROBLEM && code === v6.CODE_OPTION);
  if (isGroup && !isExcepted) return false;
  // (e.6): "a packet whose source address does not uniquely identify a single node"
  const { srcA, srcB, srcC, srcD } = packet;
  if (srcA >>> 24 === 0xff || (srcA === 0 && srcB === 0 && srcC === 0 && srcD === 0)) return false;
  // RFC 8200 §4.5, RFC 7112 §5: what is wrong with a fragment is told of any; so is that it is too big.
  const isToldAnyway = type === v6.PACKET_TOO_BIG || type === v6.PARAMETER_PROBLEM;
  return !isErrorV6(dv, packet, isToldAnyway);
}

/**
 * Whether an IPv6 packet is an ICMP error or redirect, (e.1) and (e.2), a later fragment, or nothing that can be told.
 * @param isToldAnyway - of a later fragment and of a chain of headers that does not end: no error is so long
 */
function isErrorV6(dv: DataView, packet: Packet, isToldAnyway: boolean): boolean {
  const { end } = packet;
  let next = ipv6.nextHeader(dv, packet.header);
  let p = packet.header + ipv6.HEADER_LENGTH;
  for (let i = 0; ipv6.EXTENSION_HEADERS.includes(next); i++) {
    if (i === EXTENSIONS_MAX || p + 8 > end) return !isToldAnyway;
    const isFragment = next === FRAGMENT;
    if (isFragment && (dv.getUint16(p + 2) & 0xfff8) !== 0) return !isToldAnyway;
    next = dv.getUint8(p);
    p += isFragment ? 8 : (dv.getUint8(p + 1) + 1) << 3;
  }
  if (next !== PROTOCOL_ICMPV6) return false;
  return p >= end || v6.isError(v6.type(dv, p)) || v6.type(dv, p) === v6.REDIRECT;
}
