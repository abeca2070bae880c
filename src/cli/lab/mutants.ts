/** Broken frames made of sound ones: bits turned over, bytes replaced, cut short, made longer. @module */
import type { Random } from '../../sim/index.ts';
import { ethernet, ip, ipv4, ipv6 } from '../../wire/index.ts';

/** Values that lengths, offsets and counts break at. */
const EDGES = [0x00, 0x01, 0x7f, 0x80, 0xfe, 0xff];
const CHANGES_MAX = 3;
const EXTRA_BYTES_MAX = 64;
/** Bits of headers are turned over more often than of what they carry: Ethernet, IPv6 and TCP with options. */
const HEADERS_BYTES = 94;
/** Share of the mutants whose checksums are made right again, so that they get past the first door. */
const MENDED = 0.5;

const IP = ethernet.HEADER_LENGTH;
const IP_CHECKSUM = 10; // u16
const ADDRESSES = 12; // two u32
const ADDRESSES_V6 = 8; // two of 16 bytes

/** A mutant of `frame`, which stays as it is. */
export function mutant(frame: Uint8Array, random: Random): Uint8Array {
  let bytes: Uint8Array = frame.slice();
  const changes = 1 + random.below(CHANGES_MAX);
  for (let i = 0; i < changes; i++) bytes = changed(bytes, random);
  if (random.chance(MENDED)) mend(bytes);
  return bytes;
}

function changed(bytes: Uint8Array, random: Random): Uint8Array {
  const within = Math.max(1, random.chance(0.8) ? Math.min(bytes.length, HEADERS_BYTES) : bytes.length);
  const place = random.below(within);
  switch (random.below(5)) {
    case 0:
      return bytes.slice(0, place);
    case 1: {
      const longer = new Uint8Array(bytes.length + 1 + random.below(EXTRA_BYTES_MAX));
      random.bytes(longer);
      longer.set(bytes);
      return longer;
    }
    case 2:
      if (place < bytes.length) bytes[place] = EDGES[random.below(EDGES.length)]!;
      return bytes;
    default:
      if (place < bytes.length) bytes[place]! ^= 1 << random.below(8);
      return bytes;
  }
}

/** Makes the checksums of an IP packet right, as far as its lengths make sense. */
function mend(bytes: Uint8Array): void {
  const dv = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  if (bytes.length < IP + ipv4.HEADER_LENGTH) return;
  const type = ethernet.etherType(dv, 0);
  if (type === ethernet.ETHERTYPE_IPV4) mendV4(dv);
  else if (type === ethernet.ETHERTYPE_IPV6) mendV6(dv);
}

function mendV4(dv: DataView): void {
  const body = IP + ipv4.headerLength(dv, IP);
  const end = Math.min(IP + ipv4.totalLength(dv, IP), dv.byteLength);
  if (body < IP + ipv4.HEADER_LENGTH || body > end) return;
  dv.setUint16(IP + IP_CHECKSUM, 0);
  dv.setUint16(IP + IP_CHECKSUM, checksum(dv, IP, body, 0));
  const protocol = ipv4.protocol(dv, IP);
  const pseudo = sum(dv, IP + ADDRESSES, IP + ADDRESSES + 8) + protocol + end - body;
  mendBody(dv, protocol, body, end, protocol === ip.PROTOCOL_ICMP ? 0 : pseudo);
}

/** Without extension headers. */
function mendV6(dv: DataView): void {
  const body = IP + ipv6.HEADER_LENGTH;
  if (dv.byteLength < body) return;
  const end = Math.min(body + ipv6.payloadLength(dv, IP), dv.byteLength);
  const protocol = ipv6.nextHeader(dv, IP);
  const pseudo = sum(dv, IP + ADDRESSES_V6, IP + ADDRESSES_V6 + 32) + protocol + end - body;
  mendBody(dv, protocol, body, end, pseudo);
}

function mendBody(dv: DataView, protocol: number, body: number, end: number, pseudo: number): void {
  const field = body + (CHECKSUM_PLACES[protocol] ?? dv.byteLength);
  if (field + 2 > end) return;
  dv.setUint16(field, 0);
  dv.setUint16(field, checksum(dv, body, end, pseudo));
}

/** Where the checksum stands in the header of a protocol. */
const CHECKSUM_PLACES: Readonly<Record<number, number>> = {
  [ip.PROTOCOL_ICMP]: 2,
  [ip.PROTOCOL_ICMPV6]: 2,
  [ip.PROTOCOL_UDP]: 6,
  [ip.PROTOCOL_TCP]: 16,
};

/** RFC 1071, plainly: a second opinion about the kernel's sums. */
function sum(dv: DataView, from: number, end: number): number {
  let total = 0;
  for (let p = from; p < end; p += 2) total += p + 1 < end ? dv.getUint16(p) : dv.getUint8(p) << 8;
  return total;
}

function checksum(dv: DataView, from: number, end: number, initial: number): number {
  let total = initial + sum(dv, from, end);
  while (total > 0xffff) total = (total & 0xffff) + (total >>> 16);
  return ~total & 0xffff;
}
