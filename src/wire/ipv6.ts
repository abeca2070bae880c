/**
 * IPv6 header: RFC 8200 §3. Extension headers are not read here yet: a packet that has one is dropped by the
 * interface under its own reason. @module
 */
import { formatV6, type IpAddress, wireWord } from './address.ts';
import { protocolName } from './ip.ts';

const VERSION_CLASS_FLOW = 0; // u4 version, u8 traffic class, u20 flow label
const PAYLOAD_LENGTH = 4; // u16: all after this header, bytes
const NEXT_HEADER = 6; // u8
const HOP_LIMIT = 7; // u8
const SOURCE = 8; // u128
const DESTINATION = 24; // u128
export const HEADER_LENGTH = 40;
/** For errors that point at the field. */
export const PAYLOAD_LENGTH_OFFSET = PAYLOAD_LENGTH;
/** Where a packet without extension headers names its protocol. */
export const NEXT_HEADER_OFFSET = NEXT_HEADER;

/** RFC 8200 §4: hop-by-hop options, routing, fragment, destination options. */
export const EXTENSION_HEADERS: readonly number[] = [0, 43, 44, 60];

/** RFC 8200 §5: every link carries 1280 bytes. */
export const MTU_MIN = 1280;
/** RFC 3168 §5: both bits of the ECN field. */
const ECN_CE = 3;

/** Why an IPv6 packet was dropped. */
export type Drop = 'ip-truncated' | 'ip-bad-version' | 'ip-bad-length';

export const version = (dv: DataView, p: number): number => dv.getUint8(p) >>> 4;
export const trafficClass = (dv: DataView, p: number): number => (dv.getUint16(p + VERSION_CLASS_FLOW) >>> 4) & 0xff;
export const flowLabel = (dv: DataView, p: number): number => dv.getUint32(p + VERSION_CLASS_FLOW) & 0xfffff;
export const payloadLength = (dv: DataView, p: number): number => dv.getUint16(p + PAYLOAD_LENGTH);
export const nextHeader = (dv: DataView, p: number): number => dv.getUint8(p + NEXT_HEADER);
export const hopLimit = (dv: DataView, p: number): number => dv.getUint8(p + HOP_LIMIT);
/** Word `i` (0 to 3) of the source address. */
export const sourceWord = (dv: DataView, p: number, i: number): number => dv.getInt32(p + SOURCE + 4 * i);
export const destinationWord = (dv: DataView, p: number, i: number): number => dv.getInt32(p + DESTINATION + 4 * i);

/**
 * Says why the packet in `[p, end)` must be dropped, or null. After null no accessor reads out of bounds, and header
 * and payload end at `end` or before.
 */
export function check(dv: DataView, p: number, end: number): Drop | null {
  if (end - p < HEADER_LENGTH) return 'ip-truncated';
  if (version(dv, p) !== 6) return 'ip-bad-version';
  return HEADER_LENGTH + payloadLength(dv, p) > end - p ? 'ip-bad-length' : null;
}

/** Writes the header at `p`. @param payload - bytes after this header   @param label - the flow label, 20 bits */
export function emit(
  dv: DataView,
  p: number,
  payload: number,
  ds: number,
  hops: number,
  next: number,
  src: IpAddress,
  dst: IpAddress,
  label = 0,
): void {
  dv.setInt32(p + VERSION_CLASS_FLOW, (6 << 28) | (ds << 20) | label);
  dv.setInt32(p + PAYLOAD_LENGTH, (payload << 16) | (next << 8) | hops);
  emitAddress(dv, p + SOURCE, src);
  emitAddress(dv, p + DESTINATION, dst);
}

/** Writes an address, without its zone. */
export function emitAddress(dv: DataView, p: number, address: IpAddress): void {
  dv.setInt32(p, address.a);
  dv.setInt32(p + 4, wireWord(address.a, address.b));
  dv.setInt32(p + 8, address.c);
  dv.setInt32(p + 12, address.d);
}

/** Takes one off the hop limit, which must be above 0. */
export const decrementHopLimit = (dv: DataView, p: number): void =>
  dv.setUint8(p + HOP_LIMIT, dv.getUint8(p + HOP_LIMIT) - 1);

/** Sets the payload length of a header: for segmentation. */
export const patchLength = (dv: DataView, p: number, payload: number): void =>
  dv.setUint16(p + PAYLOAD_LENGTH, payload);

/** Sets "congestion experienced" where the sender said that it understands: RFC 3168 §5. Whether it is marked now. */
export function markCe(dv: DataView, p: number): boolean {
  if ((trafficClass(dv, p) & ECN_CE) === 0) return false;
  dv.setUint16(p + VERSION_CLASS_FLOW, dv.getUint16(p + VERSION_CLASS_FLOW) | (ECN_CE << 4));
  return true;
}

export const formatSource = (dv: DataView, p: number): string =>
  formatV6(sourceWord(dv, p, 0), sourceWord(dv, p, 1), sourceWord(dv, p, 2), sourceWord(dv, p, 3));
export const formatDestination = (dv: DataView, p: number): string =>
  formatV6(destinationWord(dv, p, 0), destinationWord(dv, p, 1), destinationWord(dv, p, 2), destinationWord(dv, p, 3));

/** `IP6 fd00::1 > fd00::2: ICMP6, length 64`, for protocols that have no line of their own. */
export function format(dv: DataView, p: number): string {
  const name = protocolName(nextHeader(dv, p));
  return `IP6 ${formatSource(dv, p)} > ${formatDestination(dv, p)}: ${name}, length ${payloadLength(dv, p)}`;
}
