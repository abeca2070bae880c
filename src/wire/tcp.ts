/**
 * TCP header and options: RFC 9293 §3.1-3.2, RFC 7323 (window scale, timestamps), RFC 2018 (SACK),
 * RFC 7413 (Fast Open), RFC 9768 (accecn.ts). Missing on purpose: MD5 options are skipped. @module
 */
import * as accecn from './accecn.ts';
import { fold, halves, type Octets, swap } from './octets.ts';

const SOURCE_PORT = 0; // u16
const DESTINATION_PORT = 2; // u16
const SEQUENCE = 4; // u32
const ACKNOWLEDGMENT = 8; // u32
const OFFSET_FLAGS = 12; // u4 header length in words, u3 reserved, u9 flags
const WINDOW = 14; // u16
const CHECKSUM = 16; // u16
const URGENT = 18; // u16
export const HEADER_LENGTH = 20;
export const HEADER_LENGTH_MAX = 60;
export const CHECKSUM_OFFSET = CHECKSUM;

export const FIN = 0x01;
export const SYN = 0x02;
export const RST = 0x04;
export const PSH = 0x08;
export const ACK = 0x10;
export const URG = 0x20;
export const ECE = 0x40;
export const CWR = 0x80;
/** RFC 9768 §3.1: the lowest of the reserved bits. */
export const AE = 0x100;

// Option kinds and lengths: RFC 9293 §3.2, RFC 7323 §2.2 and §3.2, RFC 2018 §2 and §3.
const OPTION_END = 0;
const OPTION_NOP = 1;
const OPTION_MSS = 2;
const OPTION_WINDOW_SCALE = 3;
const OPTION_SACK_PERMITTED = 4;
const OPTION_SACK = 5;
const OPTION_TIMESTAMPS = 8;
const OPTION_FAST_OPEN = 34;
/** RFC 6994: experiments share a kind, and differ in a magic number; RFC 7413's was this one before it had a kind. */
const OPTION_EXPERIMENT = 254;
const FAST_OPEN_MAGIC = 0xf989;
const LENGTH_MSS = 4;
const LENGTH_WINDOW_SCALE = 3;
const LENGTH_SACK_PERMITTED = 2;
const LENGTH_TIMESTAMPS = 10;
/** RFC 7413 §4.1.1: a cookie has an even number of bytes. */
const FAST_OPEN_COOKIE_MIN = 4;
const FAST_OPEN_COOKIE_MAX = 16;
/** RFC 7323 §2.3: a shift over 14 counts as 14. */
export const WINDOW_SCALE_MAX = 14;
/** RFC 7323 Appendix A: the layout nearly every sender uses, NOP NOP and the option. */
export const NOP_NOP_TIMESTAMPS = 0x0101080a;
/** Bytes of timestamps in that layout. */
export const TIMESTAMPS_LENGTH = 12;

/** Why a segment was dropped. */
export type Drop = 'tcp-truncated' | 'tcp-bad-header-length' | 'tcp-bad-checksum';

export const sourcePort = (dv: DataView, p: number): number => dv.getUint16(p + SOURCE_PORT);
export const destinationPort = (dv: DataView, p: number): number => dv.getUint16(p + DESTINATION_PORT);
/** Both ports in one int32, source in the high half. */
export const ports = (dv: DataView, p: number): number => dv.getInt32(p + SOURCE_PORT);
/** Sequence number as int32; see tcp/seq.ts. */
export const sequence = (dv: DataView, p: number): number => dv.getInt32(p + SEQUENCE);
export const acknowledgment = (dv: DataView, p: number): number => dv.getInt32(p + ACKNOWLEDGMENT);
/** Header length in bytes, options included. */
export const headerLength = (dv: DataView, p: number): number => (dv.getUint8(p + OFFSET_FLAGS) >>> 4) << 2;
export const flags = (dv: DataView, p: number): number => dv.getUint16(p + OFFSET_FLAGS) & 0x1ff;
export const window = (dv: DataView, p: number): number => dv.getUint16(p + WINDOW);
export const urgent = (dv: DataView, p: number): number => dv.getUint16(p + URGENT);

/**
 * Says why the segment in `[p, end)` must be dropped, or null. After null no accessor reads out of bounds.
 * @param pseudo - sum of the pseudo-header without the length, or -1 where a device vouches for the checksum
 */
export function check(o: Octets, p: number, end: number, pseudo: number): Drop | null {
  const length = end - p;
  if (length < HEADER_LENGTH) return 'tcp-truncated';
  const header = headerLength(o.dv, p);
  if (header < HEADER_LENGTH || header > length) return 'tcp-bad-header-length';
  if (pseudo < 0) return null;
  // RFC 9293 §3.1 MUST-3: the receiver MUST check the checksum.
  return fold(o.sum(p, length, swap(fold(pseudo + length)))) === 0xffff ? null : 'tcp-bad-checksum';
}

/** The fields and options of one segment, read once and used by many rules. One record is reused for all segments. */
export class Segment {
  /** Int32, as `ack`; see tcp/seq.ts. */
  seq = 0;
  ack = 0;
  flags = 0;
  /** SEG.WND as it stands in the header, not scaled. */
  wnd = 0;
  /** Offset of the payload in the memory, and its length in bytes. */
  payload = 0;
  length = 0;
  /** Options: 0 or -1 where absent. */
  mss = 0;
  windowScale = -1;
  sackPermitted = false;
  hasTimestamps = false;
  tsVal = 0;
  tsEcr = 0;
  /** Offset of the first SACK block, and how many there are. */
  sackBlocks = 0;
  sackCount = 0;
  /** Fast Open, of a SYN: offset of the cookie and its bytes, 0: one is asked for, -1: no such option. */
  fastOpenCookie = 0;
  fastOpenLength = -1;
  isFastOpenExperimental = false;
  /** AccECN: offset of its fields and how many, -1: no such option. Of no meaning where timestamps were all options. */
  accEcn = 0;
  accEcnFields = -1;
  isAccEcn0 = false;
  /** Payload bytes of each wire segment this one was merged from; 0 where it was one. */
  gsoSize = 0;
}

/** Reads the segment in `[p, end)`, which {@link check} found good, into `segment`. */
export function parse(dv: DataView, p: number, end: number, segment: Segment): void {
  const header = headerLength(dv, p);
  segment.seq = sequence(dv, p);
  segment.ack = acknowledgment(dv, p);
  segment.flags = flags(dv, p);
  segment.wnd = window(dv, p);
  segment.payload = p + header;
  segment.length = end - p - header;
  segment.mss = 0;
  segment.windowScale = -1;
  segment.sackPermitted = false;
  segment.sackCount = 0;
  if (header === HEADER_LENGTH + TIMESTAMPS_LENGTH && dv.getInt32(p + HEADER_LENGTH) === NOP_NOP_TIMESTAMPS) {
    segment.hasTimestamps = true;
    segment.tsVal = dv.getInt32(p + HEADER_LENGTH + 4);
    segment.tsEcr = dv.getInt32(p + HEADER_LENGTH + 8);
    if ((segment.flags & SYN) === 0) return;
  }
  segment.hasTimestamps = false;
  segment.accEcnFields = -1;
  segment.fastOpenLength = -1;
  segment.isFastOpenExperimental = false;
  parseOptions(dv, p + HEADER_LENGTH, p + header, segment);
}

/** RFC 9293 MUST-6, MUST-7: unknown options are skipped by their length, an illegal length ends the reading. */
function parseOptions(dv: DataView, p: number, end: number, segment: Segment): void {
  while (p < end) {
    const kind = dv.getUint8(p);
    if (kind === OPTION_END) return;
    if (kind === OPTION_NOP) {
      p++;
      continue;
    }
    const length = p + 1 < end ? dv.getUint8(p + 1) : 0;
    if (length < 2 || p + length > end) return;
    parseOption(dv, p, kind, length, segment);
    p += length;
  }
}

function parseOption(dv: DataView, p: number, kind: number, length: number, segment: Segment): void {
  if (kind === OPTION_TIMESTAMPS && length === LENGTH_TIMESTAMPS) {
    segment.hasTimestamps = true;
    segment.tsVal = dv.getInt32(p + 2);
    segment.tsEcr = dv.getInt32(p + 6);
  } else if (kind === OPTION_SACK && (length & 7) === 2 && length > 2) {
    segment.sackBlocks = p + 2;
    segment.sackCount = (length - 2) >> 3;
  } else if (kind === OPTION_MSS && length === LENGTH_MSS) {
    segment.mss = dv.getUint16(p + 2);
  } else if (kind === OPTION_WINDOW_SCALE && length === LENGTH_WINDOW_SCALE) {
    segment.windowScale = Math.min(dv.getUint8(p + 2), WINDOW_SCALE_MAX);
  } else if (kind === OPTION_SACK_PERMITTED && length === LENGTH_SACK_PERMITTED) {
    segment.sackPermitted = true;
  } else if (kind === accecn.OPTION_ACCECN0 || kind === accecn.OPTION_ACCECN1) {
    segment.accEcn = p + 2;
    segment.accEcnFields = accecn.fieldsIn(length);
    segment.isAccEcn0 = kind === accecn.OPTION_ACCECN0;
  } else if (kind === OPTION_FAST_OPEN) {
    noteFastOpen(segment, p + 2, length - 2, false);
  } else if (kind === OPTION_EXPERIMENT && length >= 4 && dv.getUint16(p + 2) === FAST_OPEN_MAGIC) {
    noteFastOpen(segment, p + 4, length - 4, true);
  }
}

/** RFC 7413 §4.1.1: "Options with invalid Cookie field lengths or without the SYN flag set MUST be ignored". */
function noteFastOpen(segment: Segment, p: number, length: number, isExperimental: boolean): void {
  if ((segment.flags & SYN) === 0 || (length & 1) !== 0) return;
  if (length !== 0 && (length < FAST_OPEN_COOKIE_MIN || length > FAST_OPEN_COOKIE_MAX)) return;
  segment.fastOpenCookie = p;
  segment.fastOpenLength = length;
  segment.isFastOpenExperimental = isExperimental;
}

/** The cookie of a SYN that has one, in an array of its own. */
export const fastOpenCookie = (u8: Uint8Array, { fastOpenCookie: p, fastOpenLength }: Segment): Uint8Array =>
  u8.slice(p, p + fastOpenLength);

/** What fills up the last word of options: Linux has NOPs, FreeBSD ends of options. */
export type Padding = typeof OPTION_NOP | typeof OPTION_END;
export const PAD_NOP = OPTION_NOP;
export const PAD_END = OPTION_END;

/** Writes a Fast Open option at `p`, and `padding` behind it; returns its length, a multiple of 4. */
export function emitFastOpen(
  dv: DataView,
  p: number,
  cookie: Uint8Array,
  isExperimental: boolean,
  padding: Padding,
): number {
  const head = isExperimental ? 4 : 2;
  const length = head + cookie.length;
  dv.setUint8(p, isExperimental ? OPTION_EXPERIMENT : OPTION_FAST_OPEN);
  dv.setUint8(p + 1, length);
  if (isExperimental) dv.setUint16(p + 2, FAST_OPEN_MAGIC);
  for (let i = 0; i < cookie.length; i++) dv.setUint8(p + head + i, cookie[i]!);
  for (let i = length; (i & 3) !== 0; i++) dv.setUint8(p + i, padding);
  return (length + 3) & ~3;
}

/**
 * Writes the 20 fixed bytes at `p`, checksum zero.
 * @param header - length in bytes with options, a multiple of 4   @param wnd - already scaled
 * @param urgentPointer - for {@link URG}
 */
export function emit(
  dv: DataView,
  p: number,
  bothPorts: number,
  seq: number,
  ack: number,
  header: number,
  flagBits: number,
  wnd: number,
  urgentPointer = 0,
): void {
  dv.setInt32(p + SOURCE_PORT, bothPorts);
  dv.setInt32(p + SEQUENCE, seq);
  dv.setInt32(p + ACKNOWLEDGMENT, ack);
  dv.setInt32(p + OFFSET_FLAGS, (header << 26) | (flagBits << 16) | wnd);
  dv.setInt32(p + CHECKSUM, urgentPointer);
}

/** Sum in network order of what {@link emit} writes, unfolded. */
export const sumHeader = (
  bothPorts: number,
  seq: number,
  ack: number,
  header: number,
  flagBits: number,
  wnd: number,
): number => halves(bothPorts) + halves(seq) + halves(ack) + ((header << 10) | flagBits) + wnd;

export const setChecksum = (dv: DataView, p: number, checksum: number): void => dv.setUint16(p + CHECKSUM, checksum);

/** Writes NOP NOP timestamps at `p`; 12 bytes. */
export function emitTimestamps(dv: DataView, p: number, tsVal: number, tsEcr: number): void {
  dv.setInt32(p, NOP_NOP_TIMESTAMPS);
  dv.setInt32(p + 4, tsVal);
  dv.setInt32(p + 8, tsEcr);
}

/** Sum in network order of what {@link emitTimestamps} writes, unfolded. */
export const sumTimestamps = (tsVal: number, tsEcr: number): number => 0x0101 + 0x080a + halves(tsVal) + halves(tsEcr);

/**
 * Writes the options of a SYN at `p`, in the order Linux has them; returns their length, a multiple of 4.
 * @param scale - -1: none   @param timestamps - whether tsVal and tsEcr are sent
 */
export function emitSynOptions(
  dv: DataView,
  p: number,
  mss: number,
  scale: number,
  sackPermitted: boolean,
  timestamps: boolean,
  tsVal: number,
  tsEcr: number,
): number {
  const start = p;
  dv.setInt32(p, (OPTION_MSS << 24) | (LENGTH_MSS << 16) | mss);
  p += LENGTH_MSS;
  if (timestamps) {
    const pair = sackPermitted ? (OPTION_SACK_PERMITTED << 8) | LENGTH_SACK_PERMITTED : (OPTION_NOP << 8) | OPTION_NOP;
    emitTimestamps(dv, p, tsVal, tsEcr);
    dv.setUint16(p, pair);
    p += TIMESTAMPS_LENGTH;
  } else if (sackPermitted) {
    dv.setInt32(p, (OPTION_NOP << 24) | (OPTION_NOP << 16) | (OPTION_SACK_PERMITTED << 8) | LENGTH_SACK_PERMITTED);
    p += 4;
  }
  if (scale >= 0) {
    dv.setInt32(p, (OPTION_NOP << 24) | (OPTION_WINDOW_SCALE << 16) | (LENGTH_WINDOW_SCALE << 8) | scale);
    p += 4;
  }
  return p - start;
}

/** The same in the order FreeBSD has them: window scale before SACK, and what is left of a word filled up at the end. */
export function emitSynOptionsPadded(
  dv: DataView,
  p: number,
  mss: number,
  scale: number,
  sackPermitted: boolean,
  timestamps: boolean,
  tsVal: number,
  tsEcr: number,
): number {
  const start = p;
  dv.setInt32(p, (OPTION_MSS << 24) | (LENGTH_MSS << 16) | mss);
  p += LENGTH_MSS;
  if (scale >= 0) {
    dv.setInt32(p, (OPTION_NOP << 24) | (OPTION_WINDOW_SCALE << 16) | (LENGTH_WINDOW_SCALE << 8) | scale);
    p += 4;
  }
  if (timestamps) {
    const pair = sackPermitted ? (OPTION_SACK_PERMITTED << 8) | LENGTH_SACK_PERMITTED : (OPTION_NOP << 8) | OPTION_NOP;
    emitTimestamps(dv, p, tsVal, tsEcr);
    dv.setUint16(p, pair);
    p += TIMESTAMPS_LENGTH;
  } else if (sackPermitted) {
    dv.setInt32(p, (OPTION_SACK_PERMITTED << 24) | (LENGTH_SACK_PERMITTED << 16) | (OPTION_END << 8) | OPTION_END);
    p += 4;
  }
  return p - start;
}

/** Writes the head of a SACK option of `count` blocks, behind two NOPs; the blocks follow 4 bytes on. */
export const emitSackHead = (dv: DataView, p: number, count: number): void =>
  dv.setInt32(p, (OPTION_NOP << 24) | (OPTION_NOP << 16) | (OPTION_SACK << 8) | (2 + 8 * count));

/** Computes and writes the checksum of the segment in `[p, end)`. @param pseudo - without the length */
export function complete(o: Octets, p: number, end: number, pseudo: number): void {
  o.dv.setUint16(p + CHECKSUM, 0);
  const s = fold(o.sum(p, end - p, swap(fold(pseudo + end - p))));
  o.dv.setUint16(p + CHECKSUM, ~s & 0xffff, true);
}

export const setSequence = (dv: DataView, p: number, seq: number): void => dv.setInt32(p + SEQUENCE, seq);
export const setFlags = (dv: DataView, p: number, flagBits: number): void =>
  dv.setUint8(p + OFFSET_FLAGS + 1, flagBits);

const FLAG_LETTERS: [number, string][] = [
  [FIN, 'F'],
  [SYN, 'S'],
  [RST, 'R'],
  [PSH, 'P'],
  [ACK, '.'],
  [URG, 'U'],
  [ECE, 'E'],
  [CWR, 'W'],
  [AE, 'e'],
];

const FLAG_TEXTS: readonly string[] = /* @__PURE__ */ Array.from(
  { length: AE << 1 },
  (_, bits) => FLAG_LETTERS.map(([bit, letter]) => (bits & bit ? letter : '')).join('') || 'none',
);

/** The flags as tcpdump prints them: `S.`, `P.`, `none`. */
export const formatFlags = (bits: number): string => FLAG_TEXTS[bits & 0x1ff]!;

// Options that are read by people only: RFC 2385, RFC 5482, RFC 5925, RFC 8684, RFC 7413, RFC 9768.
const OPTION_NAMES: Readonly<Record<number, string>> = {
  19: 'md5',
  28: 'uto',
  29: 'tcp-ao',
  30: 'mptcp',
  34: 'tfo',
  172: 'accecn0',
  174: 'accecn1',
};

/** The options of a good segment in `[p, end)`, in their order, with commas between them and padding left out. */
export function formatOptions(dv: DataView, p: number, end: number, ackBase: number): string {
  if (end - p === TIMESTAMPS_LENGTH && dv.getInt32(p) === NOP_NOP_TIMESTAMPS) {
    return `TS val ${dv.getUint32(p + 4)} ecr ${dv.getUint32(p + 8)}`;
  }
  const parts: string[] = [];
  while (p < end) {
    const kind = dv.getUint8(p);
    if (kind === OPTION_END) break;
    if (kind === OPTION_NOP) {
      p++;
      continue;
    }
    const length = p + 1 < end ? dv.getUint8(p + 1) : 0;
    if (length < 2 || p + length > end) {
      parts.push('bad');
      break;
    }
    parts.push(formatOption(dv, p, kind, length, ackBase));
    p += length;
  }
  return parts.join(',');
}

function formatOption(dv: DataView, p: number, kind: number, length: number, ackBase: number): string {
  if (kind === OPTION_TIMESTAMPS && length === LENGTH_TIMESTAMPS) {
    return `TS val ${dv.getUint32(p + 2)} ecr ${dv.getUint32(p + 6)}`;
  }
  if (kind === OPTION_SACK && (length & 7) === 2 && length > 2) {
    const blocks: string[] = [];
    for (let at = p + 2; at < p + length; at += 8) {
      blocks.push(`{${(dv.getInt32(at) - ackBase) >>> 0}:${(dv.getInt32(at + 4) - ackBase) >>> 0}}`);
    }
    return `sack ${blocks.length} ${blocks.join('')}`;
  }
  if (kind === OPTION_MSS && length === LENGTH_MSS) return `mss ${dv.getUint16(p + 2)}`;
  if (kind === OPTION_WINDOW_SCALE && length === LENGTH_WINDOW_SCALE) return `wscale ${dv.getUint8(p + 2)}`;
  if (kind === OPTION_SACK_PERMITTED && length === LENGTH_SACK_PERMITTED) return 'sackOK';
  if (kind === accecn.OPTION_ACCECN0 || kind === accecn.OPTION_ACCECN1) {
    const text = accecn.format(dv, p, kind, length);
    if (text !== null) return text;
  }
  const name = OPTION_NAMES[kind] ?? `unknown-${kind}`;
  let value = '';
  for (let at = p + 2; at < p + length; at++) value += dv.getUint8(at).toString(16).padStart(2, '0');
  return value === '' ? name : `${name} ${value}`;
}

/** `Flags [P.], seq 1:13, ack 1, win 502, options [TS val 1 ecr 2], length 12`. */
export const format = (dv: DataView, p: number, end: number): string => formatFrom(dv, p, end, 0, 0);

/**
 * The same with sequence numbers counted from `seqBase`, and acknowledgements from `ackBase`.
 * @param end - of the segment on the wire: only the header must be there
 */
export function formatFrom(dv: DataView, p: number, end: number, seqBase: number, ackBase: number): string {
  const header = headerLength(dv, p);
  const bits = flags(dv, p);
  const length = end - p - header;
  const first = (sequence(dv, p) - seqBase) >>> 0;
  const last = (first + length) >>> 0;
  const seq = length > 0 ? `, seq ${first}:${last}` : (bits & (SYN | FIN | RST)) !== 0 ? `, seq ${first}` : '';
  const ack = (bits & ACK) !== 0 ? `, ack ${(acknowledgment(dv, p) - ackBase) >>> 0}` : '';
  const urg = (bits & URG) !== 0 ? `, urg ${urgent(dv, p)}` : '';
  const options = header === HEADER_LENGTH ? '' : formatOptions(dv, p + HEADER_LENGTH, p + header, ackBase);
  const rest = options === '' ? '' : `, options [${options}]`;
  return `Flags [${formatFlags(bits)}]${seq}${ack}, win ${window(dv, p)}${urg}${rest}, length ${length}`;
}
