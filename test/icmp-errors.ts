/** ICMP errors as a router would send them about packets of the stack under test. @module */

import { IpAddress } from '../src/wire/address.ts';
import * as icmpv4 from '../src/wire/icmpv4.ts';
import * as icmpv6 from '../src/wire/icmpv6.ts';
import { PROTOCOL_ICMP, PROTOCOL_ICMPV6, pseudoHeaderSum } from '../src/wire/ip.ts';
import * as ipv4 from '../src/wire/ipv4.ts';
import * as ipv6 from '../src/wire/ipv6.ts';
import { octetsOf } from '../src/wire/octets.ts';

const ROUTER_V4 = IpAddress.parse('10.0.0.254');
const ROUTER_V6 = IpAddress.parse('fd00::fe');

/** An ICMPv4 error that quotes the header and 8 bytes of `packet`. @param rest - the word behind the checksum */
export function errorV4(packet: Uint8Array, type: number, code: number, rest = 0): Uint8Array {
  const quoted = packet.subarray(0, ipv4.HEADER_LENGTH + 8);
  const start = ipv4.HEADER_LENGTH + icmpv4.HEADER_LENGTH;
  const bytes = new Uint8Array(start + quoted.length);
  bytes.set(quoted, start);
  const o = octetsOf(bytes);
  icmpv4.emit(o, ipv4.HEADER_LENGTH, type, code, rest, bytes.length - ipv4.HEADER_LENGTH);
  const to = ipv4.source(octetsOf(packet).dv, 0);
  ipv4.emit(o.dv, 0, bytes.length, 0, 1, 0, 64, PROTOCOL_ICMP, ROUTER_V4.d, to);
  return bytes;
}

/** Fragmentation needed: RFC 1191 §4. */
export const fragmentationNeeded = (packet: Uint8Array, mtu: number): Uint8Array =>
  errorV4(packet, icmpv4.UNREACHABLE, icmpv4.CODE_FRAGMENTATION_NEEDED, mtu);

/** An ICMPv6 error that quotes the beginning of `packet`. */
export function errorV6(packet: Uint8Array, type: number, code: number, rest = 0): Uint8Array {
  const quoted = packet.subarray(0, ipv6.HEADER_LENGTH + 20);
  const start = ipv6.HEADER_LENGTH + icmpv6.HEADER_LENGTH;
  const bytes = new Uint8Array(start + quoted.length);
  bytes.set(quoted, start);
  const o = octetsOf(bytes);
  const { dv } = octetsOf(packet);
  const word = (i: number): number => ipv6.sourceWord(dv, 0, i);
  const to = new IpAddress(word(0), word(1), word(2), word(3));
  const length = bytes.length - ipv6.HEADER_LENGTH;
  icmpv6.emit(o, ipv6.HEADER_LENGTH, type, code, rest, length, pseudoHeaderSum(ROUTER_V6, to, PROTOCOL_ICMPV6));
  ipv6.emit(o.dv, 0, length, 0, 64, PROTOCOL_ICMPV6, ROUTER_V6, to);
  return bytes;
}
