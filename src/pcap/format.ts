/**
 * Capture files: classic pcap (draft-ietf-opsawg-pcap), and pcapng (draft-ietf-opsawg-pcapng §3-4). Every field is
 * written little-endian and every time in nanoseconds, which both formats allow and mark; `reader.ts` reads all they allow.
 *
 *     pcap     file header, then records of one link type
 *     pcapng   section header, then interface descriptions and packets in any order
 *
 * Missing on purpose: name resolution and decryption blocks, and custom options. @module
 */

export type CaptureFormat = 'pcap' | 'pcapng';

/** Bytes kept of a packet unless told otherwise: what tcpdump takes, over any super-segment. */
export const SNAPLEN_DEFAULT = 262_144;

// Classic pcap file header: draft-ietf-opsawg-pcap §4.
export const PCAP_MAGIC = 0; // u32: byte order and unit of the timestamps
export const PCAP_VERSION_MAJOR = 4; // u16
const PCAP_VERSION_MINOR = 6; // u16
const PCAP_RESERVED1 = 8; // u32
const PCAP_RESERVED2 = 12; // u32
export const PCAP_SNAPLEN = 16; // u32
export const PCAP_LINKTYPE = 20; // u16, FCS and flag bits above it are zero
export const PCAP_HEADER_LENGTH = 24;
export const PCAP_MAGIC_MICROSECONDS = 0xa1b2c3d4;
export const PCAP_MAGIC_NANOSECONDS = 0xa1b23c4d;

// Classic packet record: draft-ietf-opsawg-pcap §5.
export const RECORD_SECONDS = 0; // u32
export const RECORD_NANOSECONDS = 4; // u32
export const RECORD_CAPTURED = 8; // u32: bytes that follow
export const RECORD_ORIGINAL = 12; // u32: bytes on the wire
export const PCAP_RECORD_LENGTH = 16;

// What every pcapng block begins with; its total length stands again at its end: draft-ietf-opsawg-pcapng §3.1.
export const BLOCK_TYPE = 0; // u32
export const BLOCK_LENGTH = 4; // u32
export const BLOCK_TRAILER = 4; // bytes of the length repeated
export const BLOCK_SECTION_HEADER = 0x0a0d0d0a;
export const BLOCK_INTERFACE = 1;
/** Obsolete (appendix A), and read still. */
export const BLOCK_PACKET = 2;
export const BLOCK_SIMPLE_PACKET = 3;
export const BLOCK_STATISTICS = 5;
export const BLOCK_ENHANCED_PACKET = 6;

// Section header block: §4.1.
export const SECTION_BYTE_ORDER = 8; // u32
export const SECTION_VERSION_MAJOR = 12; // u16
const SECTION_VERSION_MINOR = 14; // u16
const SECTION_LENGTH = 16; // i64: -1, not known
export const SECTION_OPTIONS = 24;
export const BYTE_ORDER_MAGIC = 0x1a2b3c4d;

// Interface description block: §4.2.
export const INTERFACE_LINKTYPE = 8; // u16
export const INTERFACE_SNAPLEN = 12; // u32
export const INTERFACE_OPTIONS = 16;

// Enhanced packet block: §4.3.
export const PACKET_INTERFACE = 8; // u32
export const PACKET_TIME_HIGH = 12; // u32
export const PACKET_TIME_LOW = 16; // u32
export const PACKET_CAPTURED = 20; // u32
export const PACKET_ORIGINAL = 24; // u32
/** Where the bytes of a packet stand in its block. */
export const PACKET_BYTES = 28;

// Obsolete packet block: appendix A; times and lengths as in the enhanced one.
export const OLD_PACKET_INTERFACE = 8; // u16

// Simple packet block: §4.4.
export const SIMPLE_ORIGINAL = 8; // u32
export const SIMPLE_BYTES = 12;

// Interface statistics block: §4.6; the interface and the time as in a packet.
const STATISTICS_OPTIONS = 20;

// Options: §3.5, a code and a length, the value padded to 32 bits.
export const OPTION_CODE = 0; // u16
export const OPTION_LENGTH = 2; // u16
export const OPTION_VALUE = 4;
export const OPTION_END = 0;
export const OPTION_COMMENT = 1;
export const OPTION_IF_NAME = 2;
export const OPTION_IF_DESCRIPTION = 3;
export const OPTION_IF_TSRESOL = 9;
export const OPTION_IF_TSOFFSET = 14;
const OPTION_ISB_RECEIVED = 4;
const OPTION_ISB_DROPPED = 5;
const OPTION_SHB_USERAPPL = 4;
export const OPTION_EPB_FLAGS = 2;
/** if_tsresol: a negative power of ten, 10^-9 s. */
const TSRESOL_NANOSECONDS = 9;
/** epb_flags bits 0-1: the direction. §4.3.1. */
export const FLAGS_INBOUND = 1;
export const FLAGS_OUTBOUND = 2;

const APPLICATION = 'ethertype';

export const pad4 = (length: number): number => (length + 3) & ~3;

/**
 * Bytes of the block of a packet of which `captured` bytes are kept: flags, comments and end of options come behind it.
 * @param comments - as {@link encodeComments} gave them
 */
export const packetBlockLength = (captured: number, comments: readonly Uint8Array[]): number =>
  PACKET_BYTES +
  pad4(captured) +
  (OPTION_VALUE + 4) +
  comments.reduce((sum, comment) => sum + OPTION_VALUE + pad4(comment.length), 0) +
  OPTION_VALUE +
  BLOCK_TRAILER;

/** Bytes of one comment, its length field being of 16 bits; a longer one is cut at a character. */
const COMMENT_MAX = 65_535;
const NO_COMMENTS: readonly Uint8Array[] = [];

/** Comments as UTF-8 (§3.5). */
export function encodeComments(comments: readonly string[]): readonly Uint8Array[] {
  if (comments.length === 0) return NO_COMMENTS;
  return comments.map((comment) => {
    const bytes = new TextEncoder().encode(comment);
    if (bytes.length <= COMMENT_MAX) return bytes;
    let end = COMMENT_MAX;
    while ((bytes[end]! & 0xc0) === 0x80) end--;
    return bytes.subarray(0, end);
  });
}

/** The header of a classic file. */
export function pcapHeader(linkType: number, snaplen: number): Uint8Array {
  const u8 = new Uint8Array(PCAP_HEADER_LENGTH);
  const dv = new DataView(u8.buffer);
  dv.setUint32(PCAP_MAGIC, PCAP_MAGIC_NANOSECONDS, true);
  dv.setUint16(PCAP_VERSION_MAJOR, 2, true);
  dv.setUint16(PCAP_VERSION_MINOR, 4, true);
  dv.setUint32(PCAP_RESERVED1, 0, true);
  dv.setUint32(PCAP_RESERVED2, 0, true);
  dv.setUint32(PCAP_SNAPLEN, snaplen, true);
  dv.setUint16(PCAP_LINKTYPE, linkType, true);
  return u8;
}

/** Writes the header of a classic record at `p`; the captured bytes stand behind it. */
export function emitRecord(
  dv: DataView,
  p: number,
  seconds: number,
  nanoseconds: number,
  captured: number,
  original: number,
): void {
  dv.setUint32(p + RECORD_SECONDS, seconds, true);
  dv.setUint32(p + RECORD_NANOSECONDS, nanoseconds, true);
  dv.setUint32(p + RECORD_CAPTURED, captured, true);
  dv.setUint32(p + RECORD_ORIGINAL, original, true);
}

/** The section header that begins a pcapng file. */
export function sectionBlock(): Uint8Array {
  const application = new TextEncoder().encode(APPLICATION);
  const options = OPTION_VALUE + pad4(application.length) + OPTION_VALUE;
  const { u8, dv } = block(BLOCK_SECTION_HEADER, SECTION_OPTIONS + options);
  dv.setUint32(SECTION_BYTE_ORDER, BYTE_ORDER_MAGIC, true);
  dv.setUint16(SECTION_VERSION_MAJOR, 1, true);
  dv.setUint16(SECTION_VERSION_MINOR, 0, true);
  dv.setInt32(SECTION_LENGTH, -1, true);
  dv.setInt32(SECTION_LENGTH + 4, -1, true);
  const p = emitOption(dv, SECTION_OPTIONS, OPTION_SHB_USERAPPL, application.length);
  u8.set(application, p);
  emitOption(dv, p + pad4(application.length), OPTION_END, 0);
  return u8;
}

/** Describes an interface; the first of a section has id 0, the next 1, and so on. Timestamps are nanoseconds. */
export function interfaceBlock(linkType: number, snaplen: number, name: string): Uint8Array {
  const text = new TextEncoder().encode(name);
  const options = OPTION_VALUE + pad4(text.length) + (OPTION_VALUE + 4) + OPTION_VALUE;
  const { u8, dv } = block(BLOCK_INTERFACE, INTERFACE_OPTIONS + options);
  dv.setUint16(INTERFACE_LINKTYPE, linkType, true);
  dv.setUint32(INTERFACE_SNAPLEN, snaplen, true);
  let p = emitOption(dv, INTERFACE_OPTIONS, OPTION_IF_NAME, text.length);
  u8.set(text, p);
  p = emitOption(dv, p + pad4(text.length), OPTION_IF_TSRESOL, 1);
  dv.setUint8(p, TSRESOL_NANOSECONDS);
  emitOption(dv, p + 4, OPTION_END, 0);
  return u8;
}

/**
 * Writes the block of a packet at `p`, all but its bytes, which the caller puts at `p +` {@link PACKET_BYTES}. The
 * {@link packetBlockLength} bytes at `p` must be zero before.
 * @param flags - {@link FLAGS_INBOUND} or {@link FLAGS_OUTBOUND}, or 0: not known
 */
export function emitPacket(
  u8: Uint8Array,
  dv: DataView,
  p: number,
  id: number,
  seconds: number,
  nanoseconds: number,
  captured: number,
  original: number,
  flags: number,
  comments: readonly Uint8Array[],
): void {
  const length = packetBlockLength(captured, comments);
  dv.setUint32(p + BLOCK_TYPE, BLOCK_ENHANCED_PACKET, true);
  dv.setUint32(p + BLOCK_LENGTH, length, true);
  dv.setUint32(p + PACKET_INTERFACE, id, true);
  emitTime(dv, p, seconds, nanoseconds);
  dv.setUint32(p + PACKET_CAPTURED, captured, true);
  dv.setUint32(p + PACKET_ORIGINAL, original, true);
  let at = emitOption(dv, p + PACKET_BYTES + pad4(captured), OPTION_EPB_FLAGS, 4);
  dv.setUint32(at, flags, true);
  at += 4;
  for (const comment of comments) {
    at = emitOption(dv, at, OPTION_COMMENT, comment.length);
    u8.set(comment, at);
    at += pad4(comment.length);
  }
  emitOption(dv, at, OPTION_END, 0);
  dv.setUint32(p + length - BLOCK_TRAILER, length, true);
}

/** What an interface counted up to a time: packets received, and of them dropped before they could be recorded. */
export function statisticsBlock(
  id: number,
  seconds: number,
  nanoseconds: number,
  received: number,
  dropped: number,
): Uint8Array {
  const { u8, dv } = block(BLOCK_STATISTICS, STATISTICS_OPTIONS + 2 * (OPTION_VALUE + 8) + OPTION_VALUE);
  dv.setUint32(PACKET_INTERFACE, id, true);
  emitTime(dv, 0, seconds, nanoseconds);
  let p = emitOption(dv, STATISTICS_OPTIONS, OPTION_ISB_RECEIVED, 8);
  dv.setBigUint64(p, BigInt(received), true);
  p = emitOption(dv, p + 8, OPTION_ISB_DROPPED, 8);
  dv.setBigUint64(p, BigInt(dropped), true);
  emitOption(dv, p + 8, OPTION_END, 0);
  return u8;
}

/** The 64-bit count of nanoseconds, in two words: it is past 2^53, so it is multiplied out in two parts. */
function emitTime(dv: DataView, p: number, seconds: number, nanoseconds: number): void {
  const high = Math.floor(seconds / 0x10000) * 1e9; // counts 2^16 ns
  const low = (seconds % 0x10000) * 1e9 + nanoseconds + (high % 0x10000) * 0x10000;
  dv.setUint32(p + PACKET_TIME_HIGH, Math.floor(high / 0x10000) + Math.floor(low / 0x1_0000_0000), true);
  dv.setUint32(p + PACKET_TIME_LOW, low % 0x1_0000_0000, true);
}

/** Writes the head of an option at `p`; returns where its value stands. */
function emitOption(dv: DataView, p: number, code: number, length: number): number {
  dv.setUint16(p + OPTION_CODE, code, true);
  dv.setUint16(p + OPTION_LENGTH, length, true);
  return p + OPTION_VALUE;
}

/** A zeroed block with type and both lengths. @param body - bytes without the trailer, a multiple of four */
function block(type: number, body: number): { u8: Uint8Array; dv: DataView } {
  const length = body + BLOCK_TRAILER;
  const u8 = new Uint8Array(length);
  const dv = new DataView(u8.buffer);
  dv.setUint32(BLOCK_TYPE, type, true);
  dv.setUint32(BLOCK_LENGTH, length, true);
  dv.setUint32(length - BLOCK_TRAILER, length, true);
  return { u8, dv };
}
