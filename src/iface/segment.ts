/**
 * Cuts a TCP super-segment into packets of wire size, for a device that takes no super-segments: what a network card's
 * segmentation offload does. RFC 9293 §3.7.1 (the MSS of the sender is GSO_SIZE), RFC 3168 §6.1.2 (CWR). @module
 */
import { allocFrame, CHECKSUM_FULL, HEADROOM, setFrameBounds, setFrameOffload } from '../memory/frame.ts';
import type { Memory } from '../memory/memory.ts';
import { PROTOCOL_TCP } from '../wire/ip.ts';
import * as ipv4 from '../wire/ipv4.ts';
import * as ipv6 from '../wire/ipv6.ts';
import { fold, swap } from '../wire/octets.ts';
import * as tcp from '../wire/tcp.ts';

/** Segments cut of one super-segment, at most: 64 KiB in pieces of the least MSS that anybody uses. Else it is refused. */
const SEGMENTS_MAX = 1024;
// Where the addresses of the pseudo-header stand in the IP header, and how many bytes they are.
const V4_ADDRESSES = 12;
const V4_ADDRESSES_LENGTH = 8;
const V6_ADDRESSES = 8;
const V6_ADDRESSES_LENGTH = 32;

/** Length of the headers of the TCP packet in `[p, end)`, or 0 where it is none that can be cut. */
export function headersOf(memory: Memory, p: number, end: number, transport: number): number {
  const { dv } = memory;
  const isV4 = ipv4.version(dv, p) === 4;
  const ip = isV4 ? ipv4.headerLength(dv, p) : ipv6.HEADER_LENGTH;
  const protocol = isV4 ? ipv4.protocol(dv, p) : ipv6.nextHeader(dv, p);
  if (protocol !== PROTOCOL_TCP || transport !== p + ip || transport + tcp.HEADER_LENGTH > end) return 0;
  const header = tcp.headerLength(dv, transport);
  return header < tcp.HEADER_LENGTH || transport + header > end ? 0 : ip + header;
}

/**
 * Cuts the packet in `[p, end)`, whose headers are `headers` bytes long, into segments of `size` bytes.
 * @param emit - gets each as a frame of its own, which it owns, and says whether it wants more
 * @returns whether it could be cut; false also where memory is exhausted on the way
 */
export function cutSegments(
  memory: Memory,
  p: number,
  end: number,
  headers: number,
  size: number,
  emit: (frame: number) => boolean,
): boolean {
  const { dv } = memory;
  const total = end - p - headers;
  if (size <= 0 || Math.ceil(total / size) > SEGMENTS_MAX) return false;
  const isV4 = ipv4.version(dv, p) === 4;
  const transport = isV4 ? ipv4.headerLength(dv, p) : ipv6.HEADER_LENGTH;
  const flags = tcp.flags(dv, p + transport);
  const sequence = tcp.sequence(dv, p + transport);
  const id = isV4 ? ipv4.identification(dv, p) : 0;
  for (let at = 0, n = 0; at < total; at += size, n++) {
    const length = Math.min(size, total - at);
    const frame = allocFrame(memory, headers + length);
    if (frame === 0) return false;
    const q = frame + HEADROOM;
    memory.copy(q, p, headers);
    memory.copy(q + headers, p + headers + at, length);
    setFrameBounds(memory, frame, q, q + headers + length);
    setFrameOffload(memory, frame, CHECKSUM_FULL, 0, 0);
    if (isV4) ipv4.patchLength(memory, q, headers + length, (id + n) & 0xffff);
    else ipv6.patchLength(dv, q, headers + length - transport);
    tcp.setSequence(dv, q + transport, (sequence + at) | 0);
    // FIN and PSH end the last of them, CWR begins the first.
    const isLast = at + length === total;
    const keep = (isLast ? 0xffff : ~(tcp.FIN | tcp.PSH)) & (n === 0 ? 0xffff : ~tcp.CWR);
    tcp.setFlags(dv, q + transport, flags & keep);
    completeTcp(memory, q, transport, headers + length);
    if (!emit(frame)) return true;
  }
  return true;
}

function completeTcp(memory: Memory, p: number, transport: number, length: number): void {
  const isV4 = ipv4.version(memory.dv, p) === 4;
  const addresses = isV4
    ? memory.sum(p + V4_ADDRESSES, V4_ADDRESSES_LENGTH, 0)
    : memory.sum(p + V6_ADDRESSES, V6_ADDRESSES_LENGTH, 0);
  tcp.complete(memory, p + transport, p + length, fold(swap(fold(addresses)) + PROTOCOL_TCP));
}
