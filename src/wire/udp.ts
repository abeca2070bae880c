/** UDP header: RFC 768 (over IPv4), RFC 8200 §8.1 (over IPv6). @module */
import { fold, type Octets, swap } from './octets.ts';

const SOURCE_PORT = 0; // u16
const DESTINATION_PORT = 2; // u16
const LENGTH = 4; // u16: header and data, bytes
const CHECKSUM = 6; // u16: zero means "none sent", IPv4 only
export const HEADER_LENGTH = 8;

/** Why a datagram was dropped. */
export type Drop = 'udp-truncated' | 'udp-bad-length' | 'udp-bad-checksum' | 'udp-no-checksum';

export const sourcePort = (dv: DataView, p: number): number => dv.getUint16(p + SOURCE_PORT);
export const destinationPort = (dv: DataView, p: number): number => dv.getUint16(p + DESTINATION_PORT);
/** Header and data, bytes. */
export const length = (dv: DataView, p: number): number => dv.getUint16(p + LENGTH);
export const checksum = (dv: DataView, p: number): number => dv.getUint16(p + CHECKSUM);

/**
 * Says why the datagram in `[p, end)` must be dropped, or null. After null no accessor reads out of bounds.
 * @param pseudo - sum of the pseudo-header without the length, or -1 where a device vouches for the checksum
 * @param ipv6 - true forbids a zero checksum
 */
export function check(o: Octets, p: number, end: number, pseudo: number, ipv6: boolean): Drop | null {
  const { dv } = o;
  if (end - p < HEADER_LENGTH) return 'udp-truncated';
  const total = length(dv, p);
  if (total < HEADER_LENGTH || total > end - p) return 'udp-bad-length';
  if (pseudo < 0) return null;
  // RFC 768: "An all zero transmitted checksum value means that the transmitter generated no checksum".
  // RFC 8200 §8.1: IPv6 receivers must discard such datagrams.
  if (checksum(dv, p) === 0) return ipv6 ? 'udp-no-checksum' : null;
  return fold(o.sum(p, total, swap(fold(pseudo + total)))) === 0xffff ? null : 'udp-bad-checksum';
}

/** Writes the header at `p` over `total - 8` data bytes that stand behind it, checksum included. */
export function emit(o: Octets, p: number, src: number, dst: number, total: number, pseudo: number): void {
  const { dv } = o;
  emitPartial(dv, p, src, dst, total, 0);
  const s = ~fold(o.sum(p, total, swap(fold(pseudo + total)))) & 0xffff;
  // RFC 768: "If the computed checksum is zero, it is transmitted as all ones".
  dv.setUint16(p + CHECKSUM, s === 0 ? 0xffff : s, true);
}

/** Writes the header with `partial` in the checksum field: a pseudo-header sum that a device completes. */
export function emitPartial(dv: DataView, p: number, src: number, dst: number, total: number, partial: number): void {
  dv.setInt32(p + SOURCE_PORT, (src << 16) | dst);
  dv.setInt32(p + LENGTH, (total << 16) | partial);
}

export const CHECKSUM_OFFSET = CHECKSUM;

/** `UDP, length 12`: the data length, as tcpdump prints it. */
export const format = (dv: DataView, p: number): string => `UDP, length ${length(dv, p) - HEADER_LENGTH}`;
