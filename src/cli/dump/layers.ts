/** The headers of a packet as plain objects, for `--json` and the tree of `-v`. @module */
import { formatMac, formatV4, type IpAddress, MacAddress } from '../../wire/address.ts';
import * as arp from '../../wire/arp.ts';
import * as dhcpv4 from '../../wire/dhcpv4.ts';
import * as dhcpv6 from '../../wire/dhcpv6.ts';
import { Dissection, dissectIp, hasAddresses } from '../../wire/dissect.ts';
import * as dns from '../../wire/dns.ts';
import * as ethernet from '../../wire/ethernet.ts';
import * as fragment from '../../wire/fragment.ts';
import * as icmpv4 from '../../wire/icmpv4.ts';
import * as icmpv6 from '../../wire/icmpv6.ts';
import * as igmp from '../../wire/igmp.ts';
import * as ip from '../../wire/ip.ts';
import * as ipv4 from '../../wire/ipv4.ts';
import * as ipv4Options from '../../wire/ipv4-options.ts';
import * as ipv6 from '../../wire/ipv6.ts';
import * as extension from '../../wire/ipv6-extension.ts';
import * as mld from '../../wire/mld.ts';
import * as ndp from '../../wire/ndp.ts';
import type { Options as NdpOptions } from '../../wire/ndp-options.ts';
import type { Octets } from '../../wire/octets.ts';
import * as payload from '../../wire/payload.ts';
import * as pppoe from '../../wire/pppoe.ts';
import * as tcp from '../../wire/tcp.ts';
import * as udp from '../../wire/udp.ts';
import * as vlan from '../../wire/vlan.ts';
import type { LineTools } from './line-tools.ts';

/** Fields by name; a field that is undefined is not there. */
export type Fields = Record<string, unknown>;
/** Layers by name, from the link outwards. */
export type Layers = Record<string, Fields>;

const hex = (value: number, digits: number): string => `0x${(value >>> 0).toString(16).padStart(digits, '0')}`;

/** What stands in the packet, as far as it could be read. */
export function describe(o: Octets, d: Dissection, tools: LineTools): Layers {
  const { dv } = o;
  const layers: Layers = {};
  if (d.ethernet >= 0) layers.ethernet = describeEthernet(dv, d, tools);
  if (d.tags > 0) layers.vlan = describeTags(dv, d);
  if (d.pppoe >= 0) layers.pppoe = { session: pppoe.session(dv, d.pppoe) };
  if (d.etherType === ethernet.ETHERTYPE_ARP && arp.check(dv, d.network, d.end) === null) {
    layers.arp = describeArp(dv, d.network);
  }
  if (hasAddresses(d)) describeIp(o, d, layers, tools);
  return layers;
}

const describeEthernet = (dv: DataView, d: Dissection, tools: LineTools): Fields => ({
  source: tools.mac(ethernet.sourceHigh(dv, d.ethernet), ethernet.sourceLow(dv, d.ethernet)),
  destination: tools.mac(ethernet.destinationHigh(dv, d.ethernet), ethernet.destinationLow(dv, d.ethernet)),
  type: hex(ethernet.etherType(dv, d.ethernet), 4),
});

function describeTags(dv: DataView, d: Dissection): Fields {
  const tags = Array.from({ length: d.tags }, (_, i) => d.vlan + i * vlan.HEADER_LENGTH);
  return {
    ids: tags.map((p) => vlan.id(dv, p)),
    priorities: tags.map((p) => vlan.priority(dv, p)),
    type: hex(d.etherType, 4),
  };
}

function describeArp(dv: DataView, p: number): Fields {
  const op = arp.operation(dv, p);
  return {
    operation: op === arp.REQUEST ? 'request' : op === arp.REPLY ? 'reply' : op,
    senderMac: formatMac(arp.senderMacHigh(dv, p), arp.senderMacLow(dv, p)),
    sender: formatV4(arp.senderIp(dv, p)),
    target: formatV4(arp.targetIp(dv, p)),
  };
}

function describeIp(o: Octets, d: Dissection, layers: Layers, tools: LineTools): void {
  const { dv } = o;
  layers[d.version === 6 ? 'ipv6' : 'ipv4'] = d.version === 6 ? describeV6(dv, d, tools) : describeV4(dv, d, tools);
  if (d.transport < 0 || d.fragmentOffset > 0) return;
  const { transport: p, transportEnd: end, transportWireEnd: wireEnd } = d;
  if (d.protocol === ip.PROTOCOL_TCP && tcp.check(o, p, end, -1) === null) describeTcp(dv, d, layers, tools);
  else if (d.protocol === ip.PROTOCOL_UDP && end - p >= udp.HEADER_LENGTH) describeUdp(o, d, layers);
  else if (end - p < icmpv4.HEADER_LENGTH) return;
  else if (d.protocol === ip.PROTOCOL_ICMP) layers.icmp = describeIcmp(o, d, tools);
  else if (d.protocol === ip.PROTOCOL_ICMPV6) layers.icmpv6 = describeIcmp6(o, d, tools);
  else if (d.protocol === ip.PROTOCOL_IGMP && igmp.check(o, p, end) === null) {
    layers.igmp = { ...describeIgmp(dv, p, end), length: wireEnd - p };
  }
}

function describeV4(dv: DataView, d: Dissection, tools: LineTools): Fields {
  const p = d.network;
  return {
    source: tools.v4(ipv4.source(dv, p)),
    destination: tools.v4(ipv4.destination(dv, p)),
    protocol: ipv4.protocol(dv, p),
    length: ipv4.totalLength(dv, p),
    headerLength: ipv4.headerLength(dv, p),
    ttl: ipv4.ttl(dv, p),
    ds: hex(ipv4.dsEcn(dv, p), 2),
    id: ipv4.identification(dv, p),
    dontFragment: (dv.getUint16(p + 6) & ipv4.DONT_FRAGMENT) !== 0,
    moreFragments: ipv4.moreFragments(dv, p),
    fragmentOffset: ipv4.fragmentOffset(dv, p),
    options: d.transport > p + ipv4.HEADER_LENGTH ? ipv4Options.format(dv, p) : undefined,
  };
}

// RFC 8200 §3: where the addresses stand.
const SOURCE_V6 = 8;
const DESTINATION_V6 = 24;

const textV6 = (dv: DataView, p: number, tools: LineTools): string =>
  tools.v6(dv.getInt32(p), dv.getInt32(p + 4), dv.getInt32(p + 8), dv.getInt32(p + 12));

function describeV6(dv: DataView, d: Dissection, tools: LineTools): Fields {
  const p = d.network;
  const extensions: string[] = [];
  let next = ipv6.nextHeader(dv, p);
  let at = p + ipv6.HEADER_LENGTH;
  for (let i = 0; i < d.extensions; i++) {
    extensions.push(extension.format(dv, at, next));
    const length = extension.headerLength(dv, at, next);
    next = extension.nextHeader(dv, at);
    at += length;
  }
  const f = d.fragment;
  return {
    source: textV6(dv, p + SOURCE_V6, tools),
    destination: textV6(dv, p + DESTINATION_V6, tools),
    protocol: d.protocol >= 0 ? d.protocol : ipv6.nextHeader(dv, p),
    length: ipv6.payloadLength(dv, p),
    hopLimit: ipv6.hopLimit(dv, p),
    trafficClass: hex(ipv6.trafficClass(dv, p), 2),
    flowLabel: hex(ipv6.flowLabel(dv, p), 5),
    extensions: extensions.length === 0 ? undefined : extensions,
    id: f < 0 ? undefined : fragment.identification(dv, f) >>> 0,
    moreFragments: f < 0 ? undefined : fragment.moreFragments(dv, f),
    fragmentOffset: f < 0 ? undefined : d.fragmentOffset,
  };
}

function describeTcp(dv: DataView, d: Dissection, layers: Layers, tools: LineTools): void {
  const { transport: p, transportEnd: end, transportWireEnd: wireEnd } = d;
  const header = tcp.headerLength(dv, p);
  tools.lookUpAll(dv, d);
  const bits = tcp.flags(dv, p);
  const options = header === tcp.HEADER_LENGTH ? '' : tcp.formatOptions(dv, p + tcp.HEADER_LENGTH, p + header, 0);
  layers.tcp = {
    sourcePort: tcp.sourcePort(dv, p),
    destinationPort: tcp.destinationPort(dv, p),
    flags: tcp.formatFlags(bits),
    flagBits: bits,
    seq: tcp.sequence(dv, p) >>> 0,
    ack: tcp.acknowledgment(dv, p) >>> 0,
    relativeSeq: (tcp.sequence(dv, p) - tools.seqBase) >>> 0,
    relativeAck: (bits & tcp.ACK) === 0 ? 0 : (tcp.acknowledgment(dv, p) - tools.ackBase) >>> 0,
    window: tcp.window(dv, p),
    urgent: (bits & tcp.URG) === 0 ? undefined : tcp.urgent(dv, p),
    headerLength: header,
    length: wireEnd - p - header,
    options: options === '' ? undefined : options.split(','),
  };
  if (p + header >= end) return;
  const text = payload.format(dv, p + header, end);
  if (text?.startsWith('HTTP: ')) layers.http = { line: text.slice(6) };
  else if (text !== null) layers.tls = { message: 'ClientHello', serverName: payload.serverName(dv, p + header, end) };
}

function describeUdp(o: Octets, d: Dissection, layers: Layers): void {
  const { u8, dv } = o;
  const { transport: p } = d;
  const [from, to] = [udp.sourcePort(dv, p), udp.destinationPort(dv, p)];
  layers.udp = { sourcePort: from, destinationPort: to, length: udp.length(dv, p) - udp.HEADER_LENGTH };
  const data = p + udp.HEADER_LENGTH;
  const end = Math.min(d.transportEnd, p + udp.length(dv, p));
  if (end < data) return;
  const ports = [from, to];
  if (ports.includes(dns.PORT) || ports.includes(dns.MDNS_PORT)) {
    const message = dns.parse(u8, data, end);
    if (typeof message !== 'string') layers[ports.includes(dns.MDNS_PORT) ? 'mdns' : 'dns'] = describeDns(message);
  } else if (ports.every((port) => port === dhcpv4.SERVER_PORT || port === dhcpv4.CLIENT_PORT)) {
    if (dhcpv4.check(dv, data, end) === null) layers.dhcp = describeDhcp(dv, data, end);
  } else if (ports.includes(dhcpv6.SERVER_PORT) && dhcpv6.check(dv, data, end) === null) {
    layers.dhcpv6 = { type: dhcpv6.type(dv, data), transaction: hex(dhcpv6.transaction(dv, data), 6) };
  }
}

function describeDns(message: dns.Message): Fields {
  const records = (list: readonly dns.ResourceRecord[]): string[] | undefined =>
    list.length === 0 ? undefined : list.map((record) => `${record.name} ${record.type} ${dns.formatData(record)}`);
  return {
    id: message.id,
    response: message.isResponse,
    opcode: message.opcode,
    rcode: message.rcode,
    truncated: message.isTruncated,
    questions: message.questions.map(({ name, type }) => `${name} ${type}`),
    answers: records(message.answers),
    authorities: records(message.authorities),
    additionals: records(message.additionals),
  };
}

function describeDhcp(dv: DataView, p: number, end: number): Fields {
  const options = dhcpv4.parseOptions(dv, p, end);
  const text = (address: IpAddress | null): string | undefined => address?.toString();
  return {
    type: dhcpv4.typeName(dhcpv4.messageType(options)),
    xid: hex(dhcpv4.xid(dv, p), 8),
    client: formatV4(dhcpv4.ciaddr(dv, p)),
    your: formatV4(dhcpv4.yiaddr(dv, p)),
    mac: formatMac(dhcpv4.chaddrHigh(dv, p), dhcpv4.chaddrLow(dv, p)),
    requested: text(dhcpv4.readIp(options, dhcpv4.OPTION.requestedAddress)),
    server: text(dhcpv4.readIp(options, dhcpv4.OPTION.serverId)),
    options: [...options.keys()],
  };
}

function describeIcmp(o: Octets, d: Dissection, tools: LineTools): Fields {
  const { dv } = o;
  const { transport: p, transportWireEnd: wireEnd } = d;
  const type = icmpv4.type(dv, p);
  const isEcho = type === icmpv4.ECHO_REQUEST || type === icmpv4.ECHO_REPLY;
  const isTooBig = type === icmpv4.UNREACHABLE && icmpv4.code(dv, p) === icmpv4.CODE_FRAGMENTATION_NEEDED;
  return {
    type,
    code: icmpv4.code(dv, p),
    id: isEcho ? icmpv4.identifier(dv, p) : undefined,
    seq: isEcho ? icmpv4.sequence(dv, p) : undefined,
    mtu: isTooBig ? icmpv4.nextHopMtu(dv, p) : undefined,
    length: wireEnd - p,
    quoted: icmpv4.isError(type) ? describeQuoted(o, d, tools) : undefined,
  };
}

function describeIcmp6(o: Octets, d: Dissection, tools: LineTools): Fields {
  const { dv } = o;
  const { transport: p, transportEnd: end, transportWireEnd: wireEnd } = d;
  const type = icmpv6.type(dv, p);
  const isEcho = type === icmpv6.ECHO_REQUEST || type === icmpv6.ECHO_REPLY;
  const head = { type, code: icmpv6.code(dv, p), length: wireEnd - p };
  if (icmpv6.isError(type)) {
    const mtu = type === icmpv6.PACKET_TOO_BIG ? icmpv6.mtu(dv, p) : undefined;
    return { ...head, mtu, quoted: describeQuoted(o, d, tools) };
  }
  if (isEcho) return { ...head, id: icmpv6.identifier(dv, p), seq: icmpv6.sequence(dv, p) };
  if (ndp.isNdp(type) && ndp.checkMessage(dv, p, end) === null) return { ...head, ...describeNdp(dv, p, end) };
  if (mld.isMld(type) && mld.checkLength(dv, p, end) === null) return { ...head, ...describeMld(dv, p, end) };
  return head;
}

function describeNdp(dv: DataView, p: number, end: number): Fields {
  const type = icmpv6.type(dv, p);
  const options = describeNdpOptions(ndp.options(dv, p, end));
  if (type === ndp.ROUTER_SOLICITATION) return options;
  if (type === ndp.ROUTER_ADVERTISEMENT) return { ...ndp.routerAdvertisement(dv, p), ...options };
  const target = ndp.target(dv, p).toString();
  if (type === ndp.REDIRECT) return { target, destination: ndp.destination(dv, p).toString(), ...options };
  if (type === ndp.NEIGHBOUR_SOLICITATION) return { target, ...options };
  return { target, flags: hex(ndp.neighbourFlags(dv, p), 2), ...options };
}

/** With addresses as text, and without what is empty. */
function describeNdpOptions({ redirected, nonce, ...options }: NdpOptions): Fields {
  const fields: Fields = {};
  for (const [name, value] of Object.entries(options)) {
    if (value === null || (Array.isArray(value) && value.length === 0)) continue;
    fields[name] = plain(value);
  }
  if (nonce !== null) fields.nonce = Buffer.from(nonce).toString('hex');
  if (redirected !== null) fields.redirectedBytes = redirected.end - redirected.start;
  return fields;
}

/** Addresses as text, wherever they stand. */
function plain(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) return value.map(plain);
  if (value instanceof MacAddress || 'isV4' in value) return String(value);
  return Object.fromEntries(Object.entries(value).map(([name, field]) => [name, plain(field)]));
}

function describeMld(dv: DataView, p: number, end: number): Fields {
  const type = icmpv6.type(dv, p);
  if (type === mld.QUERY) return plain(mld.parseQuery(dv, p, end)) as Fields;
  if (type === mld.REPORT_V2) return { records: plain(mld.parseRecords(dv, p)) };
  return { group: mld.group(dv, p).toString() };
}

function describeIgmp(dv: DataView, p: number, end: number): Fields {
  const type = igmp.type(dv, p);
  if (type === igmp.QUERY) return { type, ...(plain(igmp.parseQuery(dv, p, end)) as Fields) };
  if (type === igmp.REPORT_V3) return { type, records: plain(igmp.parseRecords(dv, p)) };
  return { type, group: igmp.group(dv, p).toString() };
}

/** The packet an error is about, as far as it was quoted: its IP header, and ports. */
function describeQuoted(o: Octets, d: Dissection, tools: LineTools): Layers | undefined {
  const p = d.transport + icmpv4.HEADER_LENGTH;
  if (d.transportEnd - p < 1) return undefined;
  const quoted = new Dissection();
  quoted.start = p;
  quoted.end = d.transportEnd;
  quoted.wireEnd = p + 0xffff;
  dissectIp(o, p, quoted);
  if (!hasAddresses(quoted)) return undefined;
  const layers: Layers = {};
  const { dv } = o;
  const { transport, transportEnd, protocol } = quoted;
  // An error within an error is not read: RFC 1122 §3.2.2 forbids it, and depth must have an end.
  if (protocol !== ip.PROTOCOL_TCP && protocol !== ip.PROTOCOL_UDP) quoted.transport = -1;
  const isCut = transport >= 0 && transportEnd - transport < tcp.HEADER_LENGTH;
  describeIp(o, isCut ? Object.assign(quoted, { transport: -1 }) : quoted, layers, tools);
  if (isCut && transportEnd - transport >= 4 && quoted.fragmentOffset === 0 && protocol !== 1) {
    layers.ports = { sourcePort: udp.sourcePort(dv, transport), destinationPort: udp.destinationPort(dv, transport) };
  }
  return layers;
}
