/**
 * Frames: one packet each, in a block of the linear memory, named by the block's offset. A descriptor of eight int32
 * stands first, then headroom for headers put in front later, then the bytes.
 *
 *     frame + 0     descriptor, see the constants
 *     frame + 32    headroom
 *     frame + 114   an Ethernet header, where there is one
 *     frame + 128   the IP header of a frame made by {@link allocFrame}
 *
 * Who holds a frame owns it: a device that accepts one in `transmit`, or the caller of `receive`, must pass it on or
 * give it back with `memory.free`. @module
 */
import type { Memory } from './memory.ts';

/** Bytes before the IP header: descriptor, and room for a virtio-net and an Ethernet header. */
export const HEADROOM = 128;

// Descriptor words: memory.i32[(frame >> 2) + WORD].
const START = 0; // offset of the packet's first byte
const END = 1; // offset after its last byte
const CHECKSUM = 2; // one of the CHECKSUM_ constants
const GSO_SIZE = 3; // TCP payload bytes a segment, or 0: not a super-segment
const TRANSPORT = 4; // offset of the TCP or UDP header, where CHECKSUM or GSO_SIZE need it
/** Int32 words of a descriptor, two of them spare. */
const DESCRIPTOR_WORDS = 8;

/** The transport checksum stands in the packet, not yet verified. */
export const CHECKSUM_FULL = 0;
/** The transport checksum field holds the sum of the pseudo-header only; whoever puts the packet on a wire completes it. */
export const CHECKSUM_PARTIAL = 1;
/** A device has verified the transport checksum already. */
export const CHECKSUM_VALID = 2;

/**
 * Takes a frame for a packet of up to `length` bytes, START and END at the IP header; 0 when memory is exhausted.
 * The offload words are cleared.
 */
export function allocFrame(memory: Memory, length: number): number {
  const frame = memory.alloc(HEADROOM + length);
  if (frame === 0) return 0;
  const { i32 } = memory;
  const w = frame >> 2;
  i32[w + START] = frame + HEADROOM;
  i32[w + END] = frame + HEADROOM;
  i32[w + CHECKSUM] = CHECKSUM_FULL;
  i32[w + GSO_SIZE] = 0;
  i32[w + TRANSPORT] = 0;
  return frame;
}

export const frameStart = (memory: Memory, frame: number): number => memory.i32[(frame >> 2) + START]!;
export const frameEnd = (memory: Memory, frame: number): number => memory.i32[(frame >> 2) + END]!;
export const frameLength = (memory: Memory, frame: number): number =>
  memory.i32[(frame >> 2) + END]! - memory.i32[(frame >> 2) + START]!;
export const frameChecksum = (memory: Memory, frame: number): number => memory.i32[(frame >> 2) + CHECKSUM]!;
export const frameGsoSize = (memory: Memory, frame: number): number => memory.i32[(frame >> 2) + GSO_SIZE]!;
export const frameTransport = (memory: Memory, frame: number): number => memory.i32[(frame >> 2) + TRANSPORT]!;

/** Says which bytes are the packet. */
export function setFrameBounds(memory: Memory, frame: number, start: number, end: number): void {
  memory.i32[(frame >> 2) + START] = start;
  memory.i32[(frame >> 2) + END] = end;
}

/** Sets the offload words: state of the checksum, payload bytes a segment (0: one packet), transport header. */
export function setFrameOffload(
  memory: Memory,
  frame: number,
  checksum: number,
  gsoSize: number,
  transport: number,
): void {
  const w = frame >> 2;
  memory.i32[w + CHECKSUM] = checksum;
  memory.i32[w + GSO_SIZE] = gsoSize;
  memory.i32[w + TRANSPORT] = transport;
}

/** Largest packet the block of `frame` can hold. */
export const frameCapacity = (memory: Memory, frame: number): number => memory.sizeOf(frame) - HEADROOM;

/** Makes a frame of `bytes`, START at {@link HEADROOM} less `before`; 0 when memory is exhausted. */
export function frameFrom(memory: Memory, bytes: Uint8Array, before = 0): number {
  const frame = allocFrame(memory, bytes.length);
  if (frame === 0) return 0;
  const start = frame + HEADROOM - before;
  memory.u8.set(bytes, start);
  setFrameBounds(memory, frame, start, start + bytes.length);
  return frame;
}

/** A copy of the packet's bytes, the caller's own. For tools and tests; the data path never makes one. */
export const frameBytes = (memory: Memory, frame: number): Uint8Array =>
  memory.u8.slice(frameStart(memory, frame), frameEnd(memory, frame));

/**
 * A copy of `frame` in `to`, descriptor included; 0 when `to` is exhausted. `from` and `to` may be the same memory.
 */
export function copyFrame(from: Memory, frame: number, to: Memory): number {
  const start = frameStart(from, frame);
  const length = frameLength(from, frame);
  const copied = to.alloc(start - frame + length);
  if (copied === 0) return 0;
  const moved = copied - frame;
  to.u8.set(from.u8.subarray(start, start + length), start + moved);
  for (let w = 0; w < DESCRIPTOR_WORDS; w++) to.i32[(copied >> 2) + w] = from.i32[(frame >> 2) + w]!;
  setFrameBounds(to, copied, start + moved, start + moved + length);
  const transport = frameTransport(from, frame);
  to.i32[(copied >> 2) + TRANSPORT] = transport === 0 ? 0 : transport + moved;
  return copied;
}
