/** One readable line a packet, as tcpdump prints it; for tools and tests. @module */
import { formatV4 } from './address.ts';
import * as arp from './arp.ts';
import * as ethernet from './ethernet.ts';
import * as fragment from './fragment.ts';
import * as icmpv4 from './icmpv4.ts';
import * as icmpv6 from './icmpv6.ts';
import { PROTOCOL_ICMP, PROTOCOL_ICMPV6, PROTOCOL_TCP, PROTOCOL_UDP } from './ip.ts';
import * as ipv4 from './ipv4.ts';
import * as ipv6 from './ipv6.ts';
import type { Octets } from './octets.ts';
import * as tcp from './tcp.ts';
import * as udp from './udp.ts';

/** Whether frames of a device begin with an Ethernet header or with the IP header. */
export type Medium = 'ethernet' | 'ip';

/** Formats the frame in `[p, end)`; a malformed one says so and never throws. */
export function formatFrame(o: Octets, p: number, end: number, medium: Medium): string {
  if (medium === 'ip') return formatIp(o, p, end);
  const drop = ethernet.check(o.dv, p, end);
  if (drop !== null) return `[${drop}], length ${end - p}`;
  const body = p + ethernet.HEADER_LENGTH;
  switch (ethernet.etherType(o.dv, p)) {
    case ethernet.ETHERTYPE_IPV4:
    case ethernet.ETHERTYPE_IPV6:
      return formatIp(o, body, end);
    case ethernet.ETHERTYPE_ARP: {
      const bad = arp.check(o.dv, body, end);
      return bad === null ? arp.format(o.dv, body, end) : `ARP [${bad}]`;
    }
    default:
      return `${ethernet.format(o.dv, p)}, length ${end - p}`;
  }
}

/** Formats the IP packet in `[p, end)`. */
export function formatIp(o: Octets, p: number, end: number): string {
  const { dv } = o;
  if (end - p < 1) return 'IP [ip-truncated]';
  if (ipv6.version(dv, p) === 6) {
    const drop = ipv6.check(dv, p, end);
    if (drop !== null) return `IP6 [${drop}]`;
    const body = p + ipv6.HEADER_LENGTH;
    const names: [string, string, string] = ['IP6', ipv6.formatSource(dv, p), ipv6.formatDestination(dv, p)];
    const end6 = body + ipv6.payloadLength(dv, p);
    if (ipv6.nextHeader(dv, p) === fragment.PROTOCOL_FRAGMENT && body + fragment.HEADER_LENGTH <= end6) {
      return `IP6 ${names[1]} > ${names[2]}: ${fragment.format(dv, body, end6)}`;
    }
    return formatTransport(o, body, end6, ipv6.nextHeader(dv, p), names) ?? ipv6.format(dv, p);
  }
  const drop = ipv4.check(o, p, end);
  if (drop !== null) return `IP [${drop}]`;
  if (ipv4.isFragment(dv, p)) return ipv4.format(dv, p);
  const body = p + ipv4.headerLength(dv, p);
  const names: [string, string, string] = ['IP', formatV4(ipv4.source(dv, p)), formatV4(ipv4.destination(dv, p))];
  return formatTransport(o, body, p + ipv4.totalLength(dv, p), ipv4.protocol(dv, p), names) ?? ipv4.format(dv, p);
}

function formatTransport(
  o: Octets,
  p: number,
  end: number,
  protocol: number,
  [ip, source, destination]: [string, string, string],
): string | null {
  const { dv } = o;
  if (protocol === PROTOCOL_TCP && tcp.check(o, p, end, -1) === null) {
    const flow = `${source}.${tcp.sourcePort(dv, p)} > ${destination}.${tcp.destinationPort(dv, p)}`;
    return `${ip} ${flow}: ${tcp.format(dv, p, end)}`;
  }
  if (protocol === PROTOCOL_UDP && udp.check(o, p, end, -1, false) === null) {
    const flow = `${source}.${udp.sourcePort(dv, p)} > ${destination}.${udp.destinationPort(dv, p)}`;
    return `${ip} ${flow}: ${udp.format(dv, p)}`;
  }
  if (protocol === PROTOCOL_ICMP && end - p >= icmpv4.HEADER_LENGTH) {
    return `${ip} ${source} > ${destination}: ${icmpv4.format(dv, p, end)}`;
  }
  if (protocol === PROTOCOL_ICMPV6 && end - p >= icmpv6.HEADER_LENGTH) {
    return `${ip} ${source} > ${destination}: ${icmpv6.format(dv, p, end)}`;
  }
  return null;
}
