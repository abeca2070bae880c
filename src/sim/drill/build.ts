/** Injected packets: what a script writes behind `<`, as bytes for the stack. @module */
import type { Ecn, IcmpBody, IpFields, Quote, ScriptPacket } from './ast.ts';
import type { Flow } from './flow.ts';
import {
  type Address,
  encodeIcmp,
  encodeIp,
  encodeTcp,
  encodeUdp,
  type IpHeader,
  PROTOCOL_ICMPV4,
  PROTOCOL_ICMPV6,
  PROTOCOL_TCP,
  PROTOCOL_UDP,
} from './wire.ts';

const ECN_BITS: Readonly<Record<Ecn, number>> = { noecn: 0, ect1: 1, ect0: 2, ce: 3, ect01: 2 };
/** As Linux sends packets, so that what counts hops sees the usual number. */
const TTL_DEFAULT = 255;
const PROTOCOL_RAW = 255;
const ZEROS = new Uint8Array(0);

export interface Ends {
  readonly source: Address;
  readonly destination: Address;
}

const ipHeader = (ends: Ends, protocol: number, ip: IpFields): IpHeader => ({
  ...ends,
  protocol,
  tos: (ip.tos ?? 0) | (ip.ecn === null ? 0 : ECN_BITS[ip.ecn]),
  ttl: ip.ttl ?? TTL_DEFAULT,
  flowLabel: ip.flowLabel ?? 0,
});

/** @param ends - of the packet: the peer is its source   @param flow - the connection it is for or about */
export function buildPacket(packet: ScriptPacket, ends: Ends, flow: Flow | null, isEcrScaled: boolean): Uint8Array {
  const { body, ip } = packet;
  if (body.kind === 'icmp') {
    const protocol = ends.source.length === 4 ? PROTOCOL_ICMPV4 : PROTOCOL_ICMPV6;
    return encodeIp(ipHeader(ends, protocol, ip), buildIcmp(body, ends, flow));
  }
  if (flow === null) throw new Error('a TCP or UDP packet needs a flow');
  if (body.kind === 'udp') {
    const datagram = encodeUdp(flow.remotePort, flow.localPort, new Uint8Array(body.length));
    return encodeIp(ipHeader(ends, PROTOCOL_UDP, ip), datagram);
  }
  const header = flow.toLive(body, isEcrScaled);
  const segment = encodeTcp(header, body.seq.length);
  const { udpEncap } = packet;
  if (udpEncap === null) return encodeIp(ipHeader(ends, PROTOCOL_TCP, ip), segment);
  // RFC 6951 does this for SCTP; for TCP it is FreeBSD's alone. The checksum inside is that of a segment without UDP.
  const inner = encodeIp(ipHeader(ends, PROTOCOL_TCP, ip), segment).slice(-segment.length);
  return encodeIp(ipHeader(ends, PROTOCOL_UDP, ip), encodeUdp(udpEncap.source, udpEncap.destination, inner));
}

function buildIcmp(body: IcmpBody, ends: Ends, flow: Flow | null): Uint8Array {
  const payload = body.quote === null ? new Uint8Array(body.length) : quoted(body.quote, ends, flow);
  return encodeIcmp(body.type, body.code, body.word ?? 0, payload);
}

/** The packet the stack is told about: what it had sent, as much as a router quotes. RFC 792: 8 bytes of the transport. */
function quoted(quote: Quote, ends: Ends, flow: Flow | null): Uint8Array {
  const sent = { source: ends.destination, destination: ends.source };
  const nothing: IpFields = { ecn: null, tos: null, ttl: null, flowLabel: null };
  const localPort = flow?.localPort ?? 0;
  const remotePort = flow?.remotePort ?? 0;
  if (quote.kind === 'raw') return encodeIp(ipHeader(sent, PROTOCOL_RAW, nothing), new Uint8Array(quote.length));
  if (quote.kind !== 'tcp') {
    return encodeIp(
      ipHeader(sent, PROTOCOL_UDP, nothing),
      encodeUdp(localPort, remotePort, new Uint8Array(quote.length)),
    );
  }
  const seq = flow?.quotedSeq(quote.seq) ?? quote.seq.start;
  const header = { sourcePort: localPort, destinationPort: remotePort, seq, ack: 0, flags: 0, window: 0, urgent: 0 };
  const segment = encodeTcp({ ...header, options: [] }, quote.seq.length);
  const { udpEncap } = quote;
  const whole =
    udpEncap === null
      ? encodeIp(ipHeader(sent, PROTOCOL_TCP, nothing), segment)
      : encodeIp(
          ipHeader(sent, PROTOCOL_UDP, nothing),
          encodeUdp(udpEncap.source, udpEncap.destination, segment.length === 0 ? ZEROS : segment),
        );
  const isV4 = ends.source.length === 4;
  // RFC 4443 §3.1: as much as fits in the minimum MTU of IPv6.
  return whole.subarray(0, isV4 ? 28 : Math.min(whole.length, 1232));
}
