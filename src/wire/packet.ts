/** One readable line a packet, as tcpdump prints it; for tools and tests. @module */
import * as arp from './arp.ts';
import * as carried from './carried.ts';
import * as dhcpv4 from './dhcpv4.ts';
import * as dhcpv6 from './dhcpv6.ts';
import {
  type AddressText,
  Dissection,
  dissect,
  dissectIp,
  ETHERTYPE_MIN,
  hasAddresses,
  PLAIN_TEXT,
} from './dissect.ts';
import * as dns from './dns.ts';
import * as ethernet from './ethernet.ts';
import * as icmpv4 from './icmpv4.ts';
import * as icmpv6 from './icmpv6.ts';
import * as igmp from './igmp.ts';
import { PROTOCOL_ICMP, PROTOCOL_ICMPV6, PROTOCOL_IGMP, PROTOCOL_TCP, PROTOCOL_UDP, protocolName } from './ip.ts';
import * as ipv4 from './ipv4.ts';
import * as ipv4Options from './ipv4-options.ts';
import * as ipv6 from './ipv6.ts';
import * as extension from './ipv6-extension.ts';
import { LINKTYPE_RAW, linkTypeOf, type Medium } from './link-type.ts';
import * as mld from './mld.ts';
import * as ndp from './ndp.ts';
import type { Octets } from './octets.ts';
import * as payload from './payload.ts';
import * as pppoe from './pppoe.ts';
import * as tcp from './tcp.ts';
import * as udp from './udp.ts';
import * as vlan from './vlan.ts';

/** What a tool that sees many packets adds to the line of one. */
export interface LineContext extends AddressText {
  /** Where the sequence numbers of the segment at `d.transport` are counted from, as int32; 0: as they stand. */
  seqBase: number;
  ackBase: number;
  /** Sets both of them for the segment that `d` tells of. */
  lookUp(dv: DataView, d: Dissection): void;
}

/** Packets in packets in packets: of what is deeper, nothing is said. */
const DEPTH_MAX = 8;

const PLAIN: LineContext = { ...PLAIN_TEXT, seqBase: 0, ackBase: 0, lookUp: () => {} };

/** Formats the frame in `[p, end)`; a malformed one says so and never throws. */
export function formatFrame(o: Octets, p: number, end: number, medium: Medium): string {
  const d = new Dissection();
  dissect(o, p, end, end, linkTypeOf(medium), d);
  return formatDissected(o, d, PLAIN);
}

/** Formats the IP packet in `[p, end)`. */
export function formatIp(o: Octets, p: number, end: number): string {
  const d = new Dissection();
  dissect(o, p, end, end, LINKTYPE_RAW, d);
  return formatDissected(o, d, PLAIN);
}

/** Formats what `dissect` found. */
export function formatDissected(o: Octets, d: Dissection, context: LineContext = PLAIN): string {
  const line = d.network < 0 ? `[${d.problem}], length ${d.wireEnd - d.start}` : formatNetwork(o, d, context);
  const session = d.pppoe < 0 ? '' : `${pppoe.format(o.dv, d.pppoe)} `;
  return d.vlan < 0 ? `${session}${line}` : `${formatTags(o.dv, d)}, ${session}${line}`;
}

/** Formats a packet that stands in the one of `d`, at `p`. */
function formatInner(o: Octets, d: Dissection, context: LineContext, linkType: number, p: number): string {
  const { transportEnd: end, transportWireEnd: wireEnd } = d;
  const isDeep = d.depth === DEPTH_MAX;
  if (isDeep) return '...';
  const inner = new Dissection();
  dissect(o, p, end < 0 ? d.end : end, wireEnd < 0 ? d.wireEnd : wireEnd, linkType, inner);
  inner.depth = d.depth + 1;
  return formatDissected(o, inner, context);
}

function formatTags(dv: DataView, d: Dissection): string {
  const tags: string[] = [];
  for (let i = 0; i < d.tags; i++) tags.push(vlan.format(dv, d.vlan + vlan.HEADER_LENGTH * i));
  return tags.join(', ');
}

function formatNetwork(o: Octets, d: Dissection, context: LineContext): string {
  if (d.problem === 'link-truncated') return `[${d.problem}], length ${d.wireEnd - d.start}`;
  if (d.version !== 0 || d.problem !== null) return formatPacket(o, d, context);
  if (d.etherType === ethernet.ETHERTYPE_ARP) {
    const bad = arp.check(o.dv, d.network, d.end);
    return bad === null ? arp.format(o.dv, d.network, d.end) : `ARP [${bad}]`;
  }
  const length = `length ${d.wireEnd - d.start}`;
  const { dv } = o;
  const what = formatLink(o, d, context);
  if (d.ethernet < 0 || d.pppoe >= 0) return `${what}, ${length}`;
  const from = context.mac(ethernet.sourceHigh(dv, d.ethernet), ethernet.sourceLow(dv, d.ethernet));
  const to = context.mac(ethernet.destinationHigh(dv, d.ethernet), ethernet.destinationLow(dv, d.ethernet));
  return `${from} > ${to}, ${what}, ${length}`;
}

/** What the link carries that is neither IP nor ARP. */
function formatLink(o: Octets, d: Dissection, context: LineContext): string {
  const { dv } = o;
  const { network: p, end, etherType } = d;
  if (etherType === pppoe.ETHERTYPE_DISCOVERY && end - p >= pppoe.HEADER_LENGTH) return pppoe.formatDiscovery(dv, p);
  if (etherType === pppoe.ETHERTYPE_PPP && pppoe.hasProtocol(dv, p, end)) {
    const name = pppoe.protocolName(pppoe.protocol(dv, p));
    return d.pppoe < 0 ? `PPP ${name}` : name;
  }
  if (etherType < ETHERTYPE_MIN) return carried.lengthText(dv, p, end);
  const labels = carried.formatLabels(dv, etherType, p, end, (linkType, at) =>
    formatInner(o, d, context, linkType, at),
  );
  return labels ?? carried.etherTypeText(etherType);
}

/** An IP packet: names, what is wrong, and what it carries. */
function formatPacket(o: Octets, d: Dissection, context: LineContext): string {
  const { dv } = o;
  const { network, version } = d;
  const ip = version === 6 ? 'IP6' : 'IP';
  if (!hasAddresses(d)) return `${ip} [${d.problem}]`;
  const source = version === 6 ? v6At(dv, network + 8, context) : context.v4(ipv4.source(dv, network));
  const destination = version === 6 ? v6At(dv, network + 24, context) : context.v4(ipv4.destination(dv, network));
  if (d.transport < 0) return `${ip} ${source} > ${destination}: [${d.problem}]`;
  const extras = version === 6 ? (d.extensions > 0 ? formatExtensions(dv, d) : '') : formatV4Extras(dv, d);
  const tail = d.problem === null ? '' : ` [${d.problem}]`;
  if (d.fragmentOffset > 0) {
    const length = d.transportWireEnd - d.transport;
    return `${ip} ${source} > ${destination}: ${extras}${protocolName(d.protocol)}, length ${length}${tail}`;
  }
  return `${ip} ${formatTransport(o, d, context, source, destination, extras)}${tail}`;
}

const v6At = (dv: DataView, p: number, context: LineContext): string =>
  context.v6(dv.getInt32(p), dv.getInt32(p + 4), dv.getInt32(p + 8), dv.getInt32(p + 12));

/** `HBH frag id 7 offset 0+ `, behind the addresses. */
function formatExtensions(dv: DataView, d: Dissection): string {
  const parts: string[] = [];
  let next = ipv6.nextHeader(dv, d.network);
  let at = d.network + ipv6.HEADER_LENGTH;
  for (let i = 0; i < d.extensions; i++) {
    parts.push(extension.format(dv, at, next));
    const length = extension.headerLength(dv, at, next);
    next = extension.nextHeader(dv, at);
    at += length;
  }
  return `${parts.join(' ')} `;
}

function formatV4Extras(dv: DataView, d: Dissection): string {
  const p = d.network;
  if (d.fragment < 0 && d.transport - p === ipv4.HEADER_LENGTH) return '';
  const options = ipv4Options.format(dv, p);
  const more = ipv4.moreFragments(dv, p) ? '+' : '';
  const fragment = d.fragment < 0 ? '' : `frag id ${ipv4.identification(dv, p)} offset ${d.fragmentOffset}${more} `;
  return `${options === '' ? '' : `${options} `}${fragment}`;
}

/** `10.0.0.1.5000 > 10.0.0.2.53: UDP, length 12`. @param extras - empty, or what stands before the protocol */
function formatTransport(
  o: Octets,
  d: Dissection,
  context: LineContext,
  source: string,
  destination: string,
  extras: string,
): string {
  const { dv } = o;
  const { transport: p, transportEnd: end, transportWireEnd: wireEnd, protocol } = d;
  if (protocol === PROTOCOL_TCP && tcp.check(o, p, end, -1) === null) {
    const flow = `${source}.${tcp.sourcePort(dv, p)} > ${destination}.${tcp.destinationPort(dv, p)}`;
    return `${flow}: ${extras}${formatSegment(dv, d, context)}`;
  }
  if (protocol === PROTOCOL_UDP && end - p >= udp.HEADER_LENGTH && udp.check(o, p, wireEnd, -1, false) === null) {
    const flow = `${source}.${udp.sourcePort(dv, p)} > ${destination}.${udp.destinationPort(dv, p)}`;
    return `${flow}: ${extras}${formatDatagram(o, p, Math.min(end, p + udp.length(dv, p)))}`;
  }
  const nest = (linkType: number, at: number): string => formatInner(o, d, context, linkType, at);
  const text =
    formatMessage(o, d, context) ??
    carried.formatCarried(dv, protocol, p, end, wireEnd, nest) ??
    `${protocolName(protocol)}, length ${wireEnd - p}`;
  const flow =
    carried.hasPorts(protocol) && end - p >= 4
      ? `${source}.${udp.sourcePort(dv, p)} > ${destination}.${udp.destinationPort(dv, p)}`
      : `${source} > ${destination}`;
  return `${flow}: ${extras}${text}`;
}

function formatSegment(dv: DataView, d: Dissection, context: LineContext): string {
  const { transport: p, transportEnd: end, transportWireEnd: wireEnd } = d;
  context.lookUp(dv, d);
  const line = tcp.formatFrom(dv, p, wireEnd, context.seqBase, context.ackBase);
  const data = p + tcp.headerLength(dv, p);
  if (data >= end) return line;
  const text = payload.format(dv, data, end);
  return text === null ? line : `${line}: ${text}`;
}

/** The datagram in `[p, end)`, its header checked: by its ports what a host knows, where it is that indeed. */
function formatDatagram(o: Octets, p: number, end: number): string {
  const { u8, dv } = o;
  const [from, to] = [udp.sourcePort(dv, p), udp.destinationPort(dv, p)];
  const data = p + udp.HEADER_LENGTH;
  if (from === dns.PORT || to === dns.PORT || from === dns.MDNS_PORT || to === dns.MDNS_PORT) {
    if (isDns(u8, data, end)) return dns.format(u8, data, end);
  } else if (
    (from === dhcpv4.SERVER_PORT || from === dhcpv4.CLIENT_PORT) &&
    (to === dhcpv4.SERVER_PORT || to === dhcpv4.CLIENT_PORT)
  ) {
    if (dhcpv4.check(dv, data, end) === null) return dhcpv4.format(dv, data, end);
  } else if (from === dhcpv6.SERVER_PORT || to === dhcpv6.SERVER_PORT || to === dhcpv6.CLIENT_PORT) {
    if (dhcpv6.check(dv, data, end) === null) return dhcpv6.format(dv, data, end);
  }
  return udp.format(dv, p);
}

/** Whether a datagram of the port is a message indeed, and not zeros that a test sends there. */
function isDns(u8: Uint8Array, p: number, end: number): boolean {
  const message = dns.parse(u8, p, end);
  return typeof message !== 'string' && message.questions.length + message.answers.length > 0;
}

/** ICMP, IGMP; or null where it is neither, or cut in its header. */
function formatMessage(o: Octets, d: Dissection, context: LineContext): string | null {
  const { dv } = o;
  const { transport: p, transportEnd: end, transportWireEnd: wireEnd, protocol } = d;
  if (end - p < icmpv4.HEADER_LENGTH) return null;
  if (protocol === PROTOCOL_ICMP) {
    return `${icmpv4.format(dv, p, wireEnd)}${icmpv4.isError(icmpv4.type(dv, p)) ? formatQuoted(o, d, context) : ''}`;
  }
  if (protocol === PROTOCOL_ICMPV6) {
    const type = icmpv6.type(dv, p);
    if (icmpv6.isError(type)) return `${icmpv6.format(dv, p, wireEnd)}${formatQuoted(o, d, context)}`;
    const length = `, length ${wireEnd - p}`;
    if (ndp.isNdp(type) && ndp.checkMessage(dv, p, end) === null) return `ICMP6, ${ndp.format(dv, p, end)}${length}`;
    if (mld.isMld(type) && mld.checkLength(dv, p, end) === null) return `ICMP6, ${mld.format(dv, p, end)}${length}`;
    return icmpv6.format(dv, p, wireEnd);
  }
  if (protocol === PROTOCOL_IGMP) {
    const bad = igmp.check(o, p, end);
    return bad === null || bad === 'igmp-bad-checksum' ? formatIgmp(dv, p, end, bad) : `igmp [${bad}]`;
  }
  return null;
}

const formatIgmp = (dv: DataView, p: number, end: number, bad: igmp.Drop | null): string =>
  // With a wrong checksum the lengths in it were not looked at.
  bad === null ? igmp.format(dv, p, end) : `igmp-#${igmp.type(dv, p)} [${bad}]`;

/** ` [IP 10.0.0.1.5000 > 10.0.0.2.53: UDP, length 12]`: the packet an error is about, of which a part is there. */
function formatQuoted(o: Octets, d: Dissection, context: LineContext): string {
  const p = d.transport + icmpv4.HEADER_LENGTH;
  if (d.transportEnd - p < 1) return '';
  const quoted = new Dissection();
  quoted.start = p;
  quoted.end = d.transportEnd;
  quoted.wireEnd = p + 0xffff; // it was as long as it says
  dissectIp(o, p, quoted);
  return ` [${formatPacketHead(o, quoted, context)}]`;
}

/** Of a quoted packet only the first 8 bytes of the transport are sure to be there: RFC 792. */
function formatPacketHead(o: Octets, d: Dissection, context: LineContext): string {
  const { dv } = o;
  const ip = d.version === 6 ? 'IP6' : 'IP';
  if (!hasAddresses(d)) return `${ip} [${d.problem}]`;
  const { network: n, transport: p } = d;
  const source = d.version === 6 ? v6At(dv, n + 8, context) : context.v4(ipv4.source(dv, n));
  const destination = d.version === 6 ? v6At(dv, n + 24, context) : context.v4(ipv4.destination(dv, n));
  if (p < 0) return `${ip} ${source} > ${destination}: [${d.problem}]`;
  const length = `length ${d.transportWireEnd - p}`;
  const name = protocolName(d.protocol);
  const hasPorts = d.protocol === PROTOCOL_TCP || d.protocol === PROTOCOL_UDP;
  if (!hasPorts || d.fragmentOffset > 0 || d.transportEnd - p < 8) {
    return `${ip} ${source} > ${destination}: ${name}, ${length}`;
  }
  const flow = `${source}.${udp.sourcePort(dv, p)} > ${destination}.${udp.destinationPort(dv, p)}`;
  const seq = d.protocol === PROTOCOL_TCP ? `, seq ${tcp.sequence(dv, p) >>> 0}` : '';
  return `${ip} ${flow}: ${name}${seq}, ${length}`;
}
