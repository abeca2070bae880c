/**
 * The transport checksum of a frame whose completion was left to the device: what stands on the wire where the frame
 * says "partial" (virtio 1.2 §5.1.6.2, VIRTIO_NET_HDR_F_NEEDS_CSUM) or is a super-segment. For wrappers that need
 * the packet as a wire would show it. TCP and UDP only: no other protocol is offloaded. @module
 */
import {
  CHECKSUM_FULL,
  CHECKSUM_PARTIAL,
  frameChecksum,
  frameEnd,
  frameGsoSize,
  frameStart,
  frameTransport,
  setFrameOffload,
} from '../memory/frame.ts';
import type { Memory } from '../memory/memory.ts';
import * as ethernet from '../wire/ethernet.ts';
import { PROTOCOL_TCP, PROTOCOL_UDP } from '../wire/ip.ts';
import * as ipv4 from '../wire/ipv4.ts';
import * as ipv6 from '../wire/ipv6.ts';
import type { Medium } from '../wire/link-type.ts';
import { fold, swap } from '../wire/octets.ts';
import * as tcp from '../wire/tcp.ts';
import * as udp from '../wire/udp.ts';

// Where the addresses of the pseudo-header stand in the IP header, and how many bytes they are.
const V4_ADDRESSES = 12;
const V4_ADDRESSES_LENGTH = 8;
const V6_ADDRESSES = 8;
const V6_ADDRESSES_LENGTH = 32;
/** Extension headers walked between an IPv6 header and the transport header; beyond it the checksum is left alone. */
const EXTENSIONS_MAX = 8;

/** Whether the checksum field of `frame` is not what a wire would show. */
export const needsChecksum = (memory: Memory, frame: number): boolean =>
  frameTransport(memory, frame) !== 0 &&
  (frameChecksum(memory, frame) === CHECKSUM_PARTIAL || frameGsoSize(memory, frame) !== 0);

/** Offset of the checksum field in the memory, or 0 where the frame is not a sound TCP or UDP packet. */
export function checksumField(memory: Memory, frame: number, medium: Medium): number {
  const transport = frameTransport(memory, frame);
  const packet = packetStart(memory, frame, medium);
  if (packet === 0) return 0;
  switch (transportProtocol(memory, packet, transport)) {
    case PROTOCOL_TCP:
      return transport + tcp.HEADER_LENGTH <= packetEnd(memory, packet) ? transport + tcp.CHECKSUM_OFFSET : 0;
    case PROTOCOL_UDP:
      return transport + udp.HEADER_LENGTH <= packetEnd(memory, packet) ? transport + udp.CHECKSUM_OFFSET : 0;
    default:
      return 0;
  }
}

/**
 * The checksum that belongs at `field` (from {@link checksumField}), as a little-endian u16. A partial one is completed
 * from what stands there, as a device does it, so that a wrong partial sum stays visible; any other is summed anew.
 */
export function wireChecksum(memory: Memory, frame: number, medium: Medium, field: number): number {
  const { dv } = memory;
  const transport = frameTransport(memory, frame);
  const packet = packetStart(memory, frame, medium);
  const length = packetEnd(memory, packet) - transport;
  const isUdp = field - transport === udp.CHECKSUM_OFFSET;
  let s: number;
  if (frameChecksum(memory, frame) === CHECKSUM_PARTIAL) {
    s = memory.sum(transport, length, 0);
  } else {
    const isV4 = ipv4.version(dv, packet) === 4;
    const addresses = isV4
      ? memory.sum(packet + V4_ADDRESSES, V4_ADDRESSES_LENGTH, 0)
      : memory.sum(packet + V6_ADDRESSES, V6_ADDRESSES_LENGTH, 0);
    const pseudo = fold(addresses + swap(fold((isUdp ? PROTOCOL_UDP : PROTOCOL_TCP) + length)));
    // Adding the complement takes the old field out of the sum: RFC 1624 §2.
    s = fold(memory.sum(transport, length, pseudo) + (~dv.getUint16(field, true) & 0xffff));
  }
  const checksum = ~s & 0xffff;
  // RFC 768: "If the computed checksum is zero, it is transmitted as all ones".
  return isUdp && checksum === 0 ? 0xffff : checksum;
}

/**
 * Makes the transport checksum of `frame` complete in place and says so in its descriptor: CHECKSUM_FULL, to be verified
 * by whoever receives it. A frame whose field is not found only gets the mark.
 */
export function completeChecksum(memory: Memory, frame: number, medium: Medium): void {
  if (needsChecksum(memory, frame)) {
    const field = checksumField(memory, frame, medium);
    if (field !== 0) memory.dv.setUint16(field, wireChecksum(memory, frame, medium, field), true);
  }
  setFrameOffload(memory, frame, CHECKSUM_FULL, frameGsoSize(memory, frame), frameTransport(memory, frame));
}

/** Offset of an IP header that is whole and that the transport header follows within the frame, or 0. */
function packetStart(memory: Memory, frame: number, medium: Medium): number {
  const { dv } = memory;
  const packet = frameStart(memory, frame) + (medium === 'ethernet' ? ethernet.HEADER_LENGTH : 0);
  const end = frameEnd(memory, frame);
  const transport = frameTransport(memory, frame);
  if (packet + ipv4.HEADER_LENGTH > end) return 0;
  const isV4 = ipv4.version(dv, packet) === 4;
  if (!isV4 && (ipv4.version(dv, packet) !== 6 || packet + ipv6.HEADER_LENGTH > end)) return 0;
  const header = isV4 ? ipv4.headerLength(dv, packet) : ipv6.HEADER_LENGTH;
  return transport >= packet + header && transport < end && packetEnd(memory, packet) <= end ? packet : 0;
}

/** Offset after the IP packet at `packet`; the link may have padded behind it. */
function packetEnd(memory: Memory, packet: number): number {
  const { dv } = memory;
  return ipv4.version(dv, packet) === 4
    ? packet + ipv4.totalLength(dv, packet)
    : packet + ipv6.HEADER_LENGTH + ipv6.payloadLength(dv, packet);
}

/** The protocol whose header stands at `transport`, or -1 where the chain of headers does not lead there. */
function transportProtocol(memory: Memory, packet: number, transport: number): number {
  const { dv } = memory;
  if (ipv4.version(dv, packet) === 4) {
    return transport === packet + ipv4.headerLength(dv, packet) ? ipv4.protocol(dv, packet) : -1;
  }
  let next = ipv6.nextHeader(dv, packet);
  let p = packet + ipv6.HEADER_LENGTH;
  for (let i = 0; i < EXTENSIONS_MAX && p < transport; i++) {
    // RFC 8200 §4.3-4.6: options and routing headers begin with the next protocol and their length in 8 bytes, less one.
    next = dv.getUint8(p);
    p += (dv.getUint8(p + 1) + 1) << 3;
  }
  return p === transport ? next : -1;
}
