/**
 * Script packets and the bytes on the wire: IPv4 and IPv6, TCP, UDP, ICMP, written and read with nothing of the stack's own
 * code, so that a mistake in one does not hide in the other. @module
 */
import type { TcpOption } from './ast.ts';

// Bits of the TCP header, AE (RFC 9768 §3.1) above the eight of RFC 9293 §3.1.
export const FIN = 0x001;
export const SYN = 0x002;
export const RST = 0x004;
export const PSH = 0x008;
export const ACK = 0x010;
export const URG = 0x020;
export const ECE = 0x040;
export const CWR = 0x080;
export const AE = 0x100;

export const PROTOCOL_ICMPV4 = 1;
export const PROTOCOL_TCP = 6;
export const PROTOCOL_UDP = 17;
export const PROTOCOL_ICMPV6 = 58;

/** https://www.iana.org/assignments/tcp-parameters */
const OPTION_EOL = 0;
const OPTION_NOP = 1;
const OPTION_MSS = 2;
const OPTION_WSCALE = 3;
const OPTION_SACK_OK = 4;
const OPTION_SACK = 5;
const OPTION_TS = 8;
export const OPTION_MD5 = 19;
export const OPTION_FAST_OPEN = 34;

const IPV4_HEADER = 20;
const IPV6_HEADER = 40;
const TCP_HEADER = 20;
const UDP_HEADER = 8;
const ICMP_HEADER = 8;

/** An address: 4 bytes or 16. */
export type Address = Uint8Array;

export interface IpHeader {
  readonly source: Address;
  readonly destination: Address;
  readonly protocol: number;
  /** The byte of DSCP and ECN. */
  readonly tos: number;
  readonly ttl: number;
  readonly flowLabel: number;
}

export interface TcpHeader {
  readonly sourcePort: number;
  readonly destinationPort: number;
  readonly seq: number;
  readonly ack: number;
  /** Nine bits. */
  readonly flags: number;
  readonly window: number;
  readonly urgent: number;
  readonly options: readonly TcpOption[];
}

/** A packet of the stack, read. Bytes of the payload stay where they are. */
export interface Decoded {
  readonly bytes: Uint8Array;
  readonly ip: IpHeader & { readonly isV4: boolean; readonly headerLength: number };
  readonly tcp: (TcpHeader & { readonly reserved: number }) | null;
  readonly udp: { readonly sourcePort: number; readonly destinationPort: number } | null;
  readonly icmp: { readonly type: number; readonly code: number; readonly word: number } | null;
  readonly payload: Uint8Array;
  /** What is wrong with the packet as such, such as a checksum; null: nothing. */
  readonly fault: string | null;
}

const u16 = (bytes: Uint8Array, at: number): number => (bytes[at]! << 8) | bytes[at + 1]!;
const u32 = (bytes: Uint8Array, at: number): number => u16(bytes, at) * 0x1_0000 + u16(bytes, at + 2);

function put16(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 8;
  bytes[at + 1] = value & 0xff;
}

function put32(bytes: Uint8Array, at: number, value: number): void {
  put16(bytes, at, (value >>> 16) & 0xffff);
  put16(bytes, at + 2, value & 0xffff);
}

/** RFC 1071: the sum of 16-bit words, not folded. */
function sum(bytes: Uint8Array, start: number, end: number): number {
  let total = 0;
  for (let i = start; i + 1 < end; i += 2) total += u16(bytes, i);
  return (end - start) % 2 === 0 ? total : total + (bytes[end - 1]! << 8);
}

function checksum(total: number): number {
  let folded = total;
  while (folded > 0xffff) folded = (folded & 0xffff) + Math.floor(folded / 0x1_0000);
  return ~folded & 0xffff;
}

const pseudoSum = (source: Address, destination: Address, protocol: number, length: number): number =>
  sum(source, 0, source.length) + sum(destination, 0, destination.length) + protocol + length;

/** An IP packet around `payload`, checksums of both headers filled in. */
export function encodeIp(header: IpHeader, payload: Uint8Array): Uint8Array {
  const isV4 = header.source.length === 4;
  const bytes = new Uint8Array((isV4 ? IPV4_HEADER : IPV6_HEADER) + payload.length);
  bytes.set(payload, bytes.length - payload.length);
  if (isV4) writeIpv4(bytes, header);
  else writeIpv6(bytes, header, payload.length);
  completeTransport(bytes, bytes.length - payload.length, header);
  return bytes;
}

function writeIpv4(bytes: Uint8Array, header: IpHeader): void {
  bytes[0] = 0x45;
  bytes[1] = header.tos;
  put16(bytes, 2, bytes.length);
  bytes[8] = header.ttl;
  bytes[9] = header.protocol;
  bytes.set(header.source, 12);
  bytes.set(header.destination, 16);
  put16(bytes, 10, checksum(sum(bytes, 0, IPV4_HEADER)));
}

function writeIpv6(bytes: Uint8Array, header: IpHeader, length: number): void {
  put32(bytes, 0, 6 * 2 ** 28 + header.tos * 2 ** 20 + header.flowLabel);
  put16(bytes, 4, length);
  bytes[6] = header.protocol;
  bytes[7] = header.ttl;
  bytes.set(header.source, 8);
  bytes.set(header.destination, 24);
}

/** Where the checksum of a protocol stands in its header; -1: unknown protocol, none. */
function checksumOffset(protocol: number): number {
  if (protocol === PROTOCOL_TCP) return 16;
  if (protocol === PROTOCOL_UDP) return 6;
  return protocol === PROTOCOL_ICMPV4 || protocol === PROTOCOL_ICMPV6 ? 2 : -1;
}

/** The sum a transport checksum is made of. RFC 792: ICMP for IPv4 has no pseudo-header. */
function transportSum(bytes: Uint8Array, start: number, header: IpHeader): number {
  const length = bytes.length - start;
  const pseudo =
    header.protocol === PROTOCOL_ICMPV4 ? 0 : pseudoSum(header.source, header.destination, header.protocol, length);
  return pseudo + sum(bytes, start, bytes.length);
}

function completeTransport(bytes: Uint8Array, start: number, header: IpHeader): void {
  const at = checksumOffset(header.protocol);
  if (at < 0 || start + at + 2 > bytes.length) return;
  put16(bytes, start + at, 0);
  const value = checksum(transportSum(bytes, start, header));
  // RFC 768: 0 would say that there is none.
  put16(bytes, start + at, value === 0 && header.protocol === PROTOCOL_UDP ? 0xffff : value);
}

/** A TCP segment with `length` zero bytes; its checksum is left to {@link encodeIp}. */
export function encodeTcp(header: TcpHeader, length: number): Uint8Array {
  const options = encodeOptions(header.options);
  const start = TCP_HEADER + options.length;
  const bytes = new Uint8Array(start + length);
  put16(bytes, 0, header.sourcePort);
  put16(bytes, 2, header.destinationPort);
  put32(bytes, 4, header.seq);
  put32(bytes, 8, header.ack);
  put16(bytes, 12, ((start >> 2) << 12) | header.flags);
  put16(bytes, 14, header.window);
  put16(bytes, 18, header.urgent);
  bytes.set(options, TCP_HEADER);
  return bytes;
}

export function encodeUdp(sourcePort: number, destinationPort: number, payload: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(UDP_HEADER + payload.length);
  put16(bytes, 0, sourcePort);
  put16(bytes, 2, destinationPort);
  put16(bytes, 4, bytes.length);
  bytes.set(payload, UDP_HEADER);
  return bytes;
}

export function encodeIcmp(type: number, code: number, word: number, payload: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(ICMP_HEADER + payload.length);
  bytes[0] = type;
  bytes[1] = code;
  put32(bytes, 4, word);
  bytes.set(payload, ICMP_HEADER);
  return bytes;
}

export function encodeOptions(options: readonly TcpOption[]): Uint8Array {
  return Uint8Array.from(options.flatMap(encodeOption));
}

const word = (value: number): number[] => [
  (value >>> 24) & 0xff,
  (value >>> 16) & 0xff,
  (value >>> 8) & 0xff,
  value & 0xff,
];

function encodeOption(option: TcpOption): number[] {
  switch (option.kind) {
    case 'eol':
      return [OPTION_EOL];
    case 'nop':
      return [OPTION_NOP];
    case 'mss':
      return [OPTION_MSS, 4, option.value >>> 8, option.value & 0xff];
    case 'wscale':
      return [OPTION_WSCALE, 3, option.value];
    case 'sackOK':
      return [OPTION_SACK_OK, 2];
    case 'sack':
      return [OPTION_SACK, 2 + 8 * option.blocks.length, ...option.blocks.flat().flatMap(word)];
    case 'TS':
      return [OPTION_TS, 10, ...word(option.val), ...word(option.ecr)];
    case 'bytes':
      return [option.type, 2 + option.bytes.length, ...option.bytes];
  }
}

/** Reads TCP options; null where their lengths do not fit. */
export function decodeOptions(bytes: Uint8Array): TcpOption[] | null {
  const options: TcpOption[] = [];
  for (let at = 0; at < bytes.length; ) {
    const type = bytes[at]!;
    if (type === OPTION_EOL || type === OPTION_NOP) {
      options.push({ kind: type === OPTION_EOL ? 'eol' : 'nop' });
      at++;
      continue;
    }
    const length = bytes[at + 1] ?? 0;
    if (length < 2 || at + length > bytes.length) return null;
    options.push(decodeOption(type, bytes.subarray(at + 2, at + length)));
    at += length;
  }
  return options;
}

function decodeOption(type: number, bytes: Uint8Array): TcpOption {
  const { length } = bytes;
  if (type === OPTION_MSS && length === 2) return { kind: 'mss', value: u16(bytes, 0) };
  if (type === OPTION_WSCALE && length === 1) return { kind: 'wscale', value: bytes[0]! };
  if (type === OPTION_SACK_OK && length === 0) return { kind: 'sackOK' };
  if (type === OPTION_TS && length === 8) return { kind: 'TS', val: u32(bytes, 0), ecr: u32(bytes, 4) };
  if (type === OPTION_SACK && length > 0 && length % 8 === 0) {
    const blocks = Array.from({ length: length / 8 }, (_, i): [number, number] => [
      u32(bytes, 8 * i),
      u32(bytes, 8 * i + 4),
    ]);
    return { kind: 'sack', blocks };
  }
  return { kind: 'bytes', type, bytes, name: 'kind' };
}

/** Reads a packet of the stack; null where it is no IP packet that can be read at all. */
export function decode(bytes: Uint8Array): Decoded | null {
  const version = (bytes[0] ?? 0) >> 4;
  const ip = version === 4 ? readIpv4(bytes) : version === 6 ? readIpv6(bytes) : null;
  if (ip === null || ip.headerLength > bytes.length) return null;
  const start = ip.headerLength;
  const nothing = { bytes, ip, tcp: null, udp: null, icmp: null };
  const fault = ipFault(bytes, ip) ?? transportFault(bytes, start, ip);
  if (ip.protocol === PROTOCOL_TCP) return decodeTcp(bytes, ip, fault);
  if (ip.protocol === PROTOCOL_UDP && bytes.length >= start + UDP_HEADER) {
    const udp = { sourcePort: u16(bytes, start), destinationPort: u16(bytes, start + 2) };
    const wrong = u16(bytes, start + 4) === bytes.length - start ? null : 'UDP length is not that of the packet';
    return { ...nothing, udp, payload: bytes.subarray(start + UDP_HEADER), fault: fault ?? wrong };
  }
  const isIcmp = ip.protocol === (ip.isV4 ? PROTOCOL_ICMPV4 : PROTOCOL_ICMPV6);
  if (!isIcmp || bytes.length < start + ICMP_HEADER) return { ...nothing, payload: bytes.subarray(start), fault };
  const icmp = { type: bytes[start]!, code: bytes[start + 1]!, word: u32(bytes, start + 4) };
  return { ...nothing, icmp, payload: bytes.subarray(start + ICMP_HEADER), fault };
}

function decodeTcp(bytes: Uint8Array, ip: Decoded['ip'], fault: string | null): Decoded | null {
  const start = ip.headerLength;
  if (bytes.length < start + TCP_HEADER) return null;
  const end = start + (bytes[start + 12]! >> 4) * 4;
  const options = end <= bytes.length ? decodeOptions(bytes.subarray(start + TCP_HEADER, end)) : null;
  const tcp = {
    sourcePort: u16(bytes, start),
    destinationPort: u16(bytes, start + 2),
    seq: u32(bytes, start + 4),
    ack: u32(bytes, start + 8),
    flags: u16(bytes, start + 12) & 0x1ff,
    reserved: (bytes[start + 12]! >> 1) & 7,
    window: u16(bytes, start + 14),
    urgent: u16(bytes, start + 18),
    options: options ?? [],
  };
  const wrong = options === null ? 'TCP options do not fit the header' : null;
  const payload = bytes.subarray(Math.min(end, bytes.length));
  return { bytes, ip, tcp, udp: null, icmp: null, payload, fault: fault ?? wrong };
}

function readIpv4(bytes: Uint8Array): Decoded['ip'] | null {
  if (bytes.length < IPV4_HEADER) return null;
  return {
    isV4: true,
    headerLength: (bytes[0]! & 15) * 4,
    tos: bytes[1]!,
    ttl: bytes[8]!,
    flowLabel: 0,
    protocol: bytes[9]!,
    source: bytes.subarray(12, 16),
    destination: bytes.subarray(16, 20),
  };
}

function readIpv6(bytes: Uint8Array): Decoded['ip'] | null {
  if (bytes.length < IPV6_HEADER) return null;
  return {
    isV4: false,
    headerLength: IPV6_HEADER,
    tos: (u16(bytes, 0) >> 4) & 0xff,
    ttl: bytes[7]!,
    flowLabel: u32(bytes, 0) & 0xfffff,
    protocol: bytes[6]!,
    source: bytes.subarray(8, 24),
    destination: bytes.subarray(24, 40),
  };
}

function ipFault(bytes: Uint8Array, ip: Decoded['ip']): string | null {
  const length = ip.isV4 ? u16(bytes, 2) : u16(bytes, 4) + IPV6_HEADER;
  if (length !== bytes.length) return `IP length is ${length}, and the packet has ${bytes.length} bytes`;
  if (ip.isV4 && checksum(sum(bytes, 0, ip.headerLength)) !== 0) return 'IP checksum is wrong';
  return null;
}

function transportFault(bytes: Uint8Array, start: number, ip: Decoded['ip']): string | null {
  const at = checksumOffset(ip.protocol);
  if (at < 0 || start + at + 2 > bytes.length) return null;
  if (ip.protocol === PROTOCOL_UDP && ip.isV4 && u16(bytes, start + at) === 0) return null;
  // A packet in fragments has its checksum spread; the first one alone cannot be judged.
  if (ip.isV4 && (u16(bytes, 6) & 0x3fff) !== 0) return null;
  return checksum(transportSum(bytes, start, ip)) === 0 ? null : 'transport checksum is wrong';
}
