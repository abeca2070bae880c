/** The packet that an ICMP error quotes: RFC 792, RFC 1122 §3.2.2, RFC 4443 §2.4. @module */
import { IpAddress } from '../wire/address.ts';
import * as fragment from '../wire/fragment.ts';
import * as ipv4 from '../wire/ipv4.ts';
import * as ipv6 from '../wire/ipv6.ts';

/** @param zone - the index of the interface that the packet left by */
export function quotedAddress(dv: DataView, p: number, isV6: boolean, isSource: boolean, zone: number): IpAddress {
  if (!isV6) return IpAddress.v4(isSource ? ipv4.source(dv, p) : ipv4.destination(dv, p));
  const word = isSource ? ipv6.sourceWord : ipv6.destinationWord;
  return new IpAddress(word(dv, p, 0), word(dv, p, 1), word(dv, p, 2), word(dv, p, 3)).withZone(zone);
}

/** What stands behind the headers of a quoted packet, which are `header` bytes long: see {@link quotedHeader}. */
export function quotedProtocol(dv: DataView, p: number, header: number): number {
  if (header > 0) return ipv4.protocol(dv, p);
  if (header === -ipv6.HEADER_LENGTH) return ipv6.nextHeader(dv, p);
  return fragment.nextHeader(dv, p + ipv6.HEADER_LENGTH);
}

/**
 * Length of the headers of the packet quoted in `[p, end)`, negative for IPv6; 0 for a quote too short to name a
 * socket. RFC 1122 §3.2.2: at least the header and 8 bytes are quoted.
 */
export function quotedHeader(dv: DataView, p: number, end: number): number {
  const isV6 = p < end && ipv6.version(dv, p) === 6;
  const headerMin = isV6 ? ipv6.HEADER_LENGTH : ipv4.HEADER_LENGTH;
  if (end - p < headerMin + 8) return 0;
  let header = isV6 ? headerMin : ipv4.headerLength(dv, p);
  if (isV6 && ipv6.nextHeader(dv, p) === fragment.PROTOCOL_FRAGMENT) {
    if (fragment.offset(dv, p + header) !== 0) return 0;
    header += fragment.HEADER_LENGTH;
  }
  if (header < headerMin || p + header + 8 > end) return 0;
  if (!isV6 && ipv4.fragmentOffset(dv, p) !== 0) return 0;
  return isV6 ? -header : header;
}
