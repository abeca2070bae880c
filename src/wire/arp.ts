/**
 * ARP for IPv4 over Ethernet: RFC 826. Other hardware and protocol types are dropped. @module
 */
import { formatMac, formatV4, type IpAddress, type MacAddress } from './address.ts';

const HARDWARE_TYPE = 0; // u16
const PROTOCOL_TYPE = 2; // u16
const LENGTHS = 4; // u8 hardware, u8 protocol
const OPERATION = 6; // u16
const SENDER_MAC = 8; // u48
const SENDER_IP = 14; // u32
const TARGET_MAC = 18; // u48
const TARGET_IP = 24; // u32
export const PACKET_LENGTH = 28;

const HARDWARE_ETHERNET = 1;
const PROTOCOL_IPV4 = 0x0800;
const LENGTHS_ETHERNET_IPV4 = 0x0604;

export const REQUEST = 1;
export const REPLY = 2;

/** Why an ARP packet was dropped. */
export type Drop = 'arp-truncated' | 'arp-bad-type';

export const operation = (dv: DataView, p: number): number => dv.getUint16(p + OPERATION);
export const senderMacHigh = (dv: DataView, p: number): number => dv.getUint16(p + SENDER_MAC);
export const senderMacLow = (dv: DataView, p: number): number => dv.getInt32(p + SENDER_MAC + 2);
export const senderIp = (dv: DataView, p: number): number => dv.getInt32(p + SENDER_IP);
export const targetIp = (dv: DataView, p: number): number => dv.getInt32(p + TARGET_IP);

/** Says why the packet in `[p, end)` must be dropped, or null. After null no accessor reads out of bounds. */
export function check(dv: DataView, p: number, end: number): Drop | null {
  if (end - p < PACKET_LENGTH) return 'arp-truncated';
  if (dv.getUint16(p + HARDWARE_TYPE) !== HARDWARE_ETHERNET) return 'arp-bad-type';
  if (dv.getUint16(p + PROTOCOL_TYPE) !== PROTOCOL_IPV4) return 'arp-bad-type';
  return dv.getUint16(p + LENGTHS) === LENGTHS_ETHERNET_IPV4 ? null : 'arp-bad-type';
}

/** Writes a whole packet at `p`. In a request `targetMac` is ignored by receivers; pass zeros. */
export function emit(
  dv: DataView,
  p: number,
  op: number,
  senderMac: MacAddress,
  sender: IpAddress,
  targetMac: MacAddress,
  target: IpAddress,
): void {
  dv.setUint16(p + HARDWARE_TYPE, HARDWARE_ETHERNET);
  dv.setUint16(p + PROTOCOL_TYPE, PROTOCOL_IPV4);
  dv.setUint16(p + LENGTHS, LENGTHS_ETHERNET_IPV4);
  dv.setUint16(p + OPERATION, op);
  dv.setUint16(p + SENDER_MAC, senderMac.high);
  dv.setInt32(p + SENDER_MAC + 2, senderMac.low);
  dv.setInt32(p + SENDER_IP, sender.d);
  dv.setUint16(p + TARGET_MAC, targetMac.high);
  dv.setInt32(p + TARGET_MAC + 2, targetMac.low);
  dv.setInt32(p + TARGET_IP, target.d);
}

/** `ARP, Request who-has 10.0.0.2 tell 10.0.0.1, length 28`. */
export function format(dv: DataView, p: number, end: number): string {
  const tail = `, length ${end - p}`;
  const sender = formatV4(senderIp(dv, p));
  if (operation(dv, p) === REQUEST) return `ARP, Request who-has ${formatV4(targetIp(dv, p))} tell ${sender}${tail}`;
  if (operation(dv, p) !== REPLY) return `ARP, operation ${operation(dv, p)}${tail}`;
  return `ARP, Reply ${sender} is-at ${formatMac(senderMacHigh(dv, p), senderMacLow(dv, p))}${tail}`;
}
