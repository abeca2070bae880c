/**
 * struct virtio_net_hdr (linux/virtio_net.h, VIRTIO 1.2 §5.1.6), the ten bytes before each packet of a TUN or a packet
 * socket that say what is left to do: complete a checksum, cut a super-segment. Little-endian, as the kernels Node runs
 * on have it. Only TCP segmentation is known; UDP's is never asked for. @module
 */
import {
  CHECKSUM_FULL,
  CHECKSUM_PARTIAL,
  CHECKSUM_VALID,
  frameChecksum,
  frameGsoSize,
  frameTransport,
  setFrameOffload,
} from '../memory/frame.ts';
import type { Memory } from '../memory/memory.ts';
import { PROTOCOL_ICMPV6, PROTOCOL_UDP } from '../wire/ip.ts';
import * as ipv4 from '../wire/ipv4.ts';
import * as ipv6 from '../wire/ipv6.ts';
import * as tcp from '../wire/tcp.ts';

const FLAGS = 0; // u8
const GSO_TYPE = 1; // u8
const HEADER_BYTES = 2; // u16: Ethernet, IP and TCP headers
const GSO_SIZE = 4; // u16: TCP payload bytes a segment
const CHECKSUM_START = 6; // u16: from the packet's first byte
const CHECKSUM_OFFSET = 8; // u16: from CHECKSUM_START
export const VNET_LENGTH = 10;

const NEEDS_CSUM = 1; // VIRTIO_NET_HDR_F_NEEDS_CSUM
const DATA_VALID = 2; // VIRTIO_NET_HDR_F_DATA_VALID
const GSO_NONE = 0;
const GSO_TCPV4 = 1;
const GSO_TCPV6 = 4;
const GSO_ECN = 0x80;

const UDP_CHECKSUM = 6; // RFC 768
const ICMPV6_CHECKSUM = 2; // RFC 4443 §2.1

/**
 * Reads the header at `h` of the packet in `[start, end)`, whose IP header is at `ip`, into the offload words of
 * `frame`. False if the header is malformed or names something this stack did not ask for: the packet must be dropped.
 */
export function readVnet(memory: Memory, frame: number, h: number, start: number, ip: number, end: number): boolean {
  const { dv } = memory;
  const flags = dv.getUint8(h + FLAGS);
  const gsoType = dv.getUint8(h + GSO_TYPE) & ~GSO_ECN;
  if (gsoType === GSO_NONE && flags === 0) {
    setFrameOffload(memory, frame, CHECKSUM_FULL, 0, 0);
    return true;
  }
  let gsoSize = 0;
  if (gsoType !== GSO_NONE) {
    if (end - ip < ipv4.HEADER_LENGTH) return false;
    const wanted = ipv4.version(dv, ip) === 6 ? GSO_TCPV6 : GSO_TCPV4;
    gsoSize = dv.getUint16(h + GSO_SIZE, true);
    if (gsoType !== wanted || gsoSize === 0) return false;
  }
  if ((flags & NEEDS_CSUM) !== 0) {
    const transport = start + dv.getUint16(h + CHECKSUM_START, true);
    // The field must lie inside the packet, behind an IP header.
    if (transport < ip + ipv4.HEADER_LENGTH || transport + dv.getUint16(h + CHECKSUM_OFFSET, true) + 2 > end)
      return false;
    setFrameOffload(memory, frame, CHECKSUM_PARTIAL, gsoSize, transport);
    return true;
  }
  const transport = gsoSize === 0 ? 0 : transportOf(dv, ip);
  setFrameOffload(memory, frame, (flags & DATA_VALID) !== 0 ? CHECKSUM_VALID : CHECKSUM_FULL, gsoSize, transport);
  return true;
}

/** Writes at `h` the header for the packet of `frame` that starts at `start`, its IP header at `ip`. */
export function emitVnet(memory: Memory, frame: number, h: number, start: number, ip: number): void {
  const { dv } = memory;
  const partial = frameChecksum(memory, frame) === CHECKSUM_PARTIAL;
  const gsoSize = frameGsoSize(memory, frame);
  if (!partial && gsoSize === 0) {
    dv.setInt32(h, 0);
    dv.setInt32(h + 4, 0);
    dv.setInt16(h + 8, 0);
    return;
  }
  const transport = frameTransport(memory, frame);
  const isV6 = ipv4.version(dv, ip) === 6;
  let gsoType = GSO_NONE;
  let headerBytes = 0;
  let checksumOffset = tcp.CHECKSUM_OFFSET;
  if (gsoSize > 0) {
    // CWR belongs to the first of the segments only: RFC 3168 §6.1.2.
    const ecn = (tcp.flags(dv, transport) & tcp.CWR) !== 0 ? GSO_ECN : 0;
    gsoType = (isV6 ? GSO_TCPV6 : GSO_TCPV4) | ecn;
    headerBytes = transport - start + tcp.headerLength(dv, transport);
  } else {
    checksumOffset = checksumOffsetOf(isV6 ? ipv6.nextHeader(dv, ip) : ipv4.protocol(dv, ip));
  }
  // A super-segment's sums are made while it is cut, whether asked for or not.
  dv.setUint8(h + FLAGS, NEEDS_CSUM);
  dv.setUint8(h + GSO_TYPE, gsoType);
  dv.setUint16(h + HEADER_BYTES, headerBytes, true);
  dv.setUint16(h + GSO_SIZE, gsoSize, true);
  dv.setUint16(h + CHECKSUM_START, transport - start, true);
  dv.setUint16(h + CHECKSUM_OFFSET, checksumOffset, true);
}

/** The transport header of a packet without extension headers. */
const transportOf = (dv: DataView, ip: number): number =>
  ip + (ipv4.version(dv, ip) === 6 ? ipv6.HEADER_LENGTH : ipv4.headerLength(dv, ip));

/** Where the checksum stands in the transport header; behind IPv6 extension headers TCP is meant. */
function checksumOffsetOf(protocol: number): number {
  if (protocol === PROTOCOL_UDP) return UDP_CHECKSUM;
  return protocol === PROTOCOL_ICMPV6 ? ICMPV6_CHECKSUM : tcp.CHECKSUM_OFFSET;
}
