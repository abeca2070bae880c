/** ICMPv6 messages a host answers without neighbour discovery: RFC 4443 §4 (echo), §3 (errors). @module */
import { fold, type Octets, swap } from './octets.ts';

const TYPE = 0; // u8
const CODE = 1; // u8
const CHECKSUM = 2; // u16, over the pseudo-header too
const IDENTIFIER = 4; // u16 (echo)
const SEQUENCE = 6; // u16 (echo)
const MTU = 4; // u32 (packet too big)
export const HEADER_LENGTH = 8;

export const UNREACHABLE = 1;
export const PACKET_TOO_BIG = 2;
export const TIME_EXCEEDED = 3;
export const PARAMETER_PROBLEM = 4;
export const ECHO_REQUEST = 128;
export const ECHO_REPLY = 129;
export const REDIRECT = 137;

export const CODE_NO_ROUTE = 0;
export const CODE_BEYOND_SCOPE = 2;
export const CODE_ADDRESS = 3;
export const CODE_PORT = 4;
/** Of time exceeded: on the way. */
export const CODE_HOP_LIMIT = 0;
/** Of a parameter problem: RFC 4443 §3.4. */
export const CODE_FIELD = 0;
export const CODE_NEXT_HEADER = 1;
export const CODE_OPTION = 2;

/** Why a message was dropped. */
export type Drop = 'icmp-truncated' | 'icmp-bad-checksum';

export const type = (dv: DataView, p: number): number => dv.getUint8(p + TYPE);
export const code = (dv: DataView, p: number): number => dv.getUint8(p + CODE);
export const identifier = (dv: DataView, p: number): number => dv.getUint16(p + IDENTIFIER);
export const sequence = (dv: DataView, p: number): number => dv.getUint16(p + SEQUENCE);
export const mtu = (dv: DataView, p: number): number => dv.getUint32(p + MTU);

/** RFC 4443 §2.1: types below 128 are errors. */
export const isError = (messageType: number): boolean => messageType < 128;

/**
 * Says why the message in `[p, end)` must be dropped, or null. After null no accessor reads out of bounds.
 * @param pseudo - sum of the pseudo-header without the length
 */
export function check(o: Octets, p: number, end: number, pseudo: number): Drop | null {
  if (end - p < HEADER_LENGTH) return 'icmp-truncated';
  return fold(o.sum(p, end - p, swap(fold(pseudo + end - p)))) === 0xffff ? null : 'icmp-bad-checksum';
}

/** Writes the 8 header bytes at `p` and the checksum over `length` bytes, whose rest stands behind them. */
export function emit(
  o: Octets,
  p: number,
  messageType: number,
  messageCode: number,
  rest: number,
  length: number,
  pseudo: number,
): void {
  const { dv } = o;
  dv.setInt32(p + TYPE, (messageType << 24) | (messageCode << 16));
  dv.setInt32(p + IDENTIFIER, rest);
  dv.setUint16(p + CHECKSUM, ~fold(o.sum(p, length, swap(fold(pseudo + length)))) & 0xffff, true);
}

const UNREACHABLE_NAMES = [
  'no route',
  'admin prohibited',
  'beyond scope',
  'address',
  'port',
  'source policy',
  'route rejected',
];
const PROBLEM_NAMES = ['header field', 'next header', 'option'];

/** `ICMP6, echo request, id 1, seq 2, length 64`; of an error, without the packet it quotes. */
export function format(dv: DataView, p: number, end: number): string {
  const tail = `, length ${end - p}`;
  const t = type(dv, p);
  const c = code(dv, p);
  switch (t) {
    case ECHO_REQUEST:
    case ECHO_REPLY:
      return `ICMP6, echo ${t === ECHO_REQUEST ? 'request' : 'reply'}, id ${identifier(dv, p)}, seq ${sequence(dv, p)}${tail}`;
    case UNREACHABLE:
      return `ICMP6, unreachable - ${UNREACHABLE_NAMES[c] ?? `code ${c}`}${tail}`;
    case PACKET_TOO_BIG:
      return `ICMP6, packet too big, mtu ${mtu(dv, p)}${tail}`;
    case TIME_EXCEEDED:
      return `ICMP6, time exceeded${c === 1 ? ' in reassembly' : ' in-transit'}${tail}`;
    case PARAMETER_PROBLEM:
      return `ICMP6, parameter problem - ${PROBLEM_NAMES[c] ?? `code ${c}`}, octet ${mtu(dv, p)}${tail}`;
    default:
      return `ICMP6, type-#${t}, code ${c}${tail}`;
  }
}
