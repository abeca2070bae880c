/** What IPv4 and IPv6 share: protocol numbers, the pseudo-header, ECN. @module */
import { type IpAddress, wireWord } from './address.ts';
import { fold, halves } from './octets.ts';

export const PROTOCOL_ICMP = 1;
export const PROTOCOL_IGMP = 2;
export const PROTOCOL_TCP = 6;
export const PROTOCOL_UDP = 17;
export const PROTOCOL_ICMPV6 = 58;

/** Sum of an address in network order, folded. An IPv4 address counts its 32 bits only, and a zone nothing. */
export function sumAddress(address: IpAddress): number {
  if (address.isV4) return fold(halves(address.d));
  return fold(halves(address.a) + halves(wireWord(address.a, address.b)) + halves(address.c) + halves(address.d));
}

/**
 * Sum of the pseudo-header without the length: RFC 9293 §3.1, RFC 8200 §8.1. Both families come to the same sum of
 * addresses, protocol and length, since lengths stay under 64 KiB.
 */
export const pseudoHeaderSum = (source: IpAddress, destination: IpAddress, protocol: number): number =>
  fold(sumAddress(source) + sumAddress(destination) + protocol);

/**
 * A port as an argument of a public call.
 * @param least - 0 where that means "choose one"
 * @throws RangeError if it is none
 */
export function checkPort(port: number, least: 0 | 1): number {
  if (Number.isInteger(port) && port >= least && port <= 65_535) return port;
  throw new RangeError(`port: expected ${least} to 65535, got ${port}`);
}

const NAMES: Record<number, string> = {
  1: 'ICMP',
  2: 'igmp',
  4: 'IPIP',
  6: 'TCP',
  8: 'EGP',
  17: 'UDP',
  33: 'DCCP',
  41: 'IP6',
  46: 'RSVP',
  47: 'GRE',
  50: 'ESP',
  51: 'AH',
  58: 'ICMP6',
  59: 'no next header',
  88: 'EIGRP',
  89: 'OSPF',
  103: 'PIM',
  112: 'VRRP',
  115: 'L2TP',
  132: 'SCTP',
  136: 'UDP-Lite',
};

/** The name of a protocol number, for people. */
export const protocolName = (protocol: number): string => NAMES[protocol] ?? `ip-proto-${protocol}`;
