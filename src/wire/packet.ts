/** One readable line a packet, as tcpdump prints it; for tools and tests. @module */
import { formatV4 } from './address.ts';
import * as arp from './arp.ts';
import * as dns from './dns.ts';
import * as ethernet from './ethernet.ts';
import * as icmpv4 from './icmpv4.ts';
import * as icmpv6 from './icmpv6.ts';
import { PROTOCOL_ICMP, PROTOCOL_ICMPV6, PROTOCOL_TCP, PROTOCOL_UDP } from './ip.ts';
import * as ipv4 from './ipv4.ts';
import * as ipv6 from './ipv6.ts';
import type { Medium } from './link-type.ts';
import type { Octets } from './octets.ts';
import * as tcp from './tcp.ts';
import * as udp from './udp.ts';

const DNS_PORTS: readonly number[] = [dns.PORT, dns.MDNS_PORT];

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
    return (
      formatTransport(o, body, body + ipv6.payloadLength(dv, p), ipv6.nextHeader(dv, p), names) ?? ipv6.format(dv, p)
    );
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
    return `${ip} ${flow}: ${formatDns(o, p) ?? udp.format(dv, p)}`;
  }
  if (protocol === PROTOCOL_ICMP && end - p >= icmpv4.HEADER_LENGTH) {
    return `${ip} ${source} > ${destination}: ${icmpv4.format(dv, p, end)}`;
  }
  if (protocol === PROTOCOL_ICMPV6 && end - p >= icmpv6.HEADER_LENGTH) {
    return `${ip} ${source} > ${destination}: ${icmpv6.format(dv, p, end)}`;
  }
  return null;
}

/** A DNS message in the datagram at `p`; null for other ports, and for what is no message: programs use the port too. */
function formatDns({ u8, dv }: Octets, p: number): string | null {
  if (!DNS_PORTS.includes(udp.sourcePort(dv, p)) && !DNS_PORTS.includes(udp.destinationPort(dv, p))) return null;
  const data = p + udp.HEADER_LENGTH;
  const end = p + udp.length(dv, p);
  return typeof dns.parse(u8, data, end) === 'string' ? null : dns.format(u8, data, end);
}
