/** ICMPv4: RFC 792, RFC 1122 §3.2.2, RFC 1191 §4 (next-hop MTU). @module */
import { formatV4 } from './address.ts';
import { fold, type Octets } from './octets.ts';

const TYPE = 0; // u8
const CODE = 1; // u8
const CHECKSUM = 2; // u16
const IDENTIFIER = 4; // u16 (echo)
const SEQUENCE = 6; // u16 (echo)
const NEXT_HOP_MTU = 6; // u16 (unreachable, code 4)
export const HEADER_LENGTH = 8;

export const ECHO_REPLY = 0;
export const UNREACHABLE = 3;
/** Deprecated: RFC 6633. */
export const SOURCE_QUENCH = 4;
export const REDIRECT = 5;
export const ECHO_REQUEST = 8;
export const TIME_EXCEEDED = 11;
export const PARAMETER_PROBLEM = 12;
export const TIMESTAMP = 13;
export const TIMESTAMP_REPLY = 14;
/** Deprecated: RFC 6918 §2. */
export const INFORMATION = 15;
export const ADDRESS_MASK = 17;
export const ADDRESS_MASK_REPLY = 18;

export const CODE_NET = 0;
export const CODE_HOST = 1;
export const CODE_PROTOCOL = 2;
export const CODE_PORT = 3;
export const CODE_FRAGMENTATION_NEEDED = 4;
export const CODE_SOURCE_ROUTE = 5;
/** Communication administratively prohibited: RFC 1812 §5.2.7.1. */
export const CODE_PROHIBITED = 13;
/** Of time exceeded: on the way. */
export const CODE_TTL = 0;
/** Of a redirect: for the host. */
export const CODE_REDIRECT_HOST = 1;
/** Of time exceeded. */
export const CODE_REASSEMBLY = 1;
/** The highest code of an unreachable: RFC 1812 §5.2.7.1. */
export const CODE_MAX = 15;

/** Why a message was dropped. */
export type Drop = 'icmp-truncated' | 'icmp-bad-checksum';

export const type = (dv: DataView, p: number): number => dv.getUint8(p + TYPE);
export const code = (dv: DataView, p: number): number => dv.getUint8(p + CODE);
export const identifier = (dv: DataView, p: number): number => dv.getUint16(p + IDENTIFIER);
export const sequence = (dv: DataView, p: number): number => dv.getUint16(p + SEQUENCE);
/** The four bytes that mean something else in each message, as int32. */
export const rest = (dv: DataView, p: number): number => dv.getInt32(p + IDENTIFIER);
export const nextHopMtu = (dv: DataView, p: number): number => dv.getUint16(p + NEXT_HOP_MTU);

/** Whether a message of this type reports an error and quotes a packet: RFC 1122 §3.2.2. */
export const isError = (messageType: number): boolean =>
  messageType === UNREACHABLE ||
  messageType === TIME_EXCEEDED ||
  messageType === PARAMETER_PROBLEM ||
  messageType === SOURCE_QUENCH ||
  messageType === REDIRECT;

/** Says why the message in `[p, end)` must be dropped, or null. After null no accessor reads out of bounds. */
export function check(o: Octets, p: number, end: number): Drop | null {
  if (end - p < HEADER_LENGTH) return 'icmp-truncated';
  return fold(o.sum(p, end - p, 0)) === 0xffff ? null : 'icmp-bad-checksum';
}

/** Writes the 8 header bytes at `p` and the checksum over `length` bytes, whose rest stands behind them. */
export function emit(
  o: Octets,
  p: number,
  messageType: number,
  messageCode: number,
  rest: number,
  length: number,
): void {
  const { dv } = o;
  dv.setInt32(p + TYPE, (messageType << 24) | (messageCode << 16));
  dv.setInt32(p + IDENTIFIER, rest);
  dv.setUint16(p + CHECKSUM, ~fold(o.sum(p, length, 0)) & 0xffff, true);
}

const UNREACHABLE_NAMES = [
  'net',
  'host',
  'protocol',
  'port',
  'need to frag',
  'source route failed',
  'net unknown',
  'host unknown',
  'host isolated',
  'net prohibited',
  'host prohibited',
  'net for TOS',
  'host for TOS',
  'admin prohibited',
  'precedence violation',
  'precedence cutoff',
];

/** `ICMP echo request, id 1, seq 2, length 64`; of an error, without the packet it quotes. */
export function format(dv: DataView, p: number, end: number): string {
  const tail = `, length ${end - p}`;
  const t = type(dv, p);
  const c = code(dv, p);
  switch (t) {
    case ECHO_REQUEST:
    case ECHO_REPLY:
      return `ICMP echo ${t === ECHO_REQUEST ? 'request' : 'reply'}, id ${identifier(dv, p)}, seq ${sequence(dv, p)}${tail}`;
    case UNREACHABLE: {
      const mtu = c === CODE_FRAGMENTATION_NEEDED ? ` (mtu ${nextHopMtu(dv, p)})` : '';
      return `ICMP unreachable - ${UNREACHABLE_NAMES[c] ?? `code ${c}`}${mtu}${tail}`;
    }
    case TIME_EXCEEDED:
      return `ICMP time exceeded${c === 1 ? ' in reassembly' : ' in-transit'}${tail}`;
    case REDIRECT:
      return `ICMP redirect to ${c === 0 || c === 2 ? 'net' : 'host'} ${formatV4(rest(dv, p))}${tail}`;
    case PARAMETER_PROBLEM:
      return `ICMP parameter problem - octet ${rest(dv, p) >>> 24}${tail}`;
    case SOURCE_QUENCH:
      return `ICMP source quench${tail}`;
    default:
      return `ICMP type-#${t}, code ${c}${tail}`;
  }
}
