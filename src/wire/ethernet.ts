/**
 * Ethernet II: IEEE 802.3 clause 3, RFC 894. Every function takes the bytes and the offset of the header.
 * The tags of virtual LANs are in `vlan.ts`. Missing on purpose: 802.3 length fields (LLC). @module
 */
import { formatMac, type MacAddress } from './address.ts';

const DESTINATION = 0; // u48
const SOURCE = 6; // u48
const ETHERTYPE = 12; // u16
export const HEADER_LENGTH = 14;

export const ETHERTYPE_IPV4 = 0x0800;
export const ETHERTYPE_ARP = 0x0806;
export const ETHERTYPE_IPV6 = 0x86dd;

/** RFC 1112 §6.4: 01-00-5E and a zero bit, then the low 23 bits of an IPv4 group. */
export const GROUP_HIGH_V4 = 0x0100;
export const groupLowV4 = (group: number): number => 0x5e000000 | (group & 0x7fffff);
/** RFC 2464 §7: 33-33, then the low 32 bits of an IPv6 group. */
export const GROUP_HIGH_V6 = 0x3333;

/** Why a frame was dropped. */
export type Drop = 'ethernet-truncated';

export const destinationHigh = (dv: DataView, p: number): number => dv.getUint16(p + DESTINATION);
export const destinationLow = (dv: DataView, p: number): number => dv.getInt32(p + DESTINATION + 2);
export const sourceHigh = (dv: DataView, p: number): number => dv.getUint16(p + SOURCE);
export const sourceLow = (dv: DataView, p: number): number => dv.getInt32(p + SOURCE + 2);
export const etherType = (dv: DataView, p: number): number => dv.getUint16(p + ETHERTYPE);
/** Broadcast or multicast. */
export const isGroup = (dv: DataView, p: number): boolean => (dv.getUint8(p + DESTINATION) & 1) !== 0;

/** Says why the frame in `[p, end)` must be dropped, or null. After null no accessor reads out of bounds. */
export function check(_dv: DataView, p: number, end: number): Drop | null {
  return end - p < HEADER_LENGTH ? 'ethernet-truncated' : null;
}

/** Writes the header at `p`. */
export function emit(dv: DataView, p: number, destination: MacAddress, source: MacAddress, type: number): void {
  dv.setUint16(p + DESTINATION, destination.high);
  dv.setInt32(p + DESTINATION + 2, destination.low);
  dv.setUint16(p + SOURCE, source.high);
  dv.setInt32(p + SOURCE + 2, source.low);
  dv.setUint16(p + ETHERTYPE, type);
}

/** As {@link emit}, for a destination that is at hand as words: 16 high bits and 32 low ones. */
export function emitWords(
  dv: DataView,
  p: number,
  destHigh: number,
  destLow: number,
  source: MacAddress,
  type: number,
): void {
  dv.setInt32(p + DESTINATION, (destHigh << 16) | (destLow >>> 16));
  dv.setInt32(p + DESTINATION + 4, (destLow << 16) | source.high);
  dv.setInt32(p + SOURCE + 2, source.low);
  dv.setUint16(p + ETHERTYPE, type);
}

/** `02:00:00:00:00:01 > ff:ff:ff:ff:ff:ff, ethertype 0x0800`. */
export function format(dv: DataView, p: number): string {
  const source = formatMac(sourceHigh(dv, p), sourceLow(dv, p));
  const destination = formatMac(destinationHigh(dv, p), destinationLow(dv, p));
  return `${source} > ${destination}, ethertype 0x${etherType(dv, p).toString(16).padStart(4, '0')}`;
}
