/**
 * IPv4 header: RFC 791 §3.1, with RFC 1122 §3.2.1, RFC 2474 (DS field), RFC 6864 (identification). Options are bounded
 * and skipped; none are emitted. Missing on purpose: source routes (RFC 7126 §4.3, §4.4), which are refused. @module
 */
import { formatV4 } from './address.ts';
import { protocolName } from './ip.ts';
import { fold, halves, type Octets } from './octets.ts';

const VERSION_IHL = 0; // u4 version, u4 header length in words
const DS_ECN = 1; // u8
const TOTAL_LENGTH = 2; // u16: header and payload, bytes
const IDENTIFICATION = 4; // u16
const FLAGS_OFFSET = 6; // u3 flags, u13 fragment offset in 8 bytes
const TTL = 8; // u8
const PROTOCOL = 9; // u8
const CHECKSUM = 10; // u16
const SOURCE = 12; // u32
const DESTINATION = 16; // u32
export const HEADER_LENGTH = 20;

export const DONT_FRAGMENT = 0x4000;
export const MORE_FRAGMENTS = 0x2000;
const OFFSET_MASK = 0x1fff;
/** RFC 3168 §5: both bits of the ECN field. */
const ECN_CE = 3;

/** RFC 791: "every internet module must be able to forward a datagram of 68 octets". */
export const MTU_MIN = 68;
/** RFC 1122 §3.3.2: what every host must be able to receive; the default of the wire. */
export const MTU_DEFAULT = 576;

/** RFC 791 §3.1: one byte each; all others have their length in the second. */
const OPTION_END = 0;
const OPTION_NOP = 1;
/** Whether all fragments carry the option. */
const OPTION_COPIED = 0x80;
const OPTION_LOOSE_ROUTE = 131;
const OPTION_STRICT_ROUTE = 137;

/** Why an IPv4 packet was dropped. */
export type Drop =
  | 'ip-truncated'
  | 'ip-bad-version'
  | 'ip-bad-header-length'
  | 'ip-bad-length'
  | 'ip-bad-checksum'
  | 'ip-bad-option'
  | 'ip-source-route';

export const version = (dv: DataView, p: number): number => dv.getUint8(p + VERSION_IHL) >>> 4;
/** Header length in bytes, options included. */
export const headerLength = (dv: DataView, p: number): number => (dv.getUint8(p + VERSION_IHL) & 0xf) << 2;
export const dsEcn = (dv: DataView, p: number): number => dv.getUint8(p + DS_ECN);
export const totalLength = (dv: DataView, p: number): number => dv.getUint16(p + TOTAL_LENGTH);
export const doesNotFragment = (dv: DataView, p: number): boolean =>
  (dv.getUint16(p + FLAGS_OFFSET) & DONT_FRAGMENT) !== 0;
export const identification = (dv: DataView, p: number): number => dv.getUint16(p + IDENTIFICATION);
export const fragmentOffset = (dv: DataView, p: number): number => (dv.getUint16(p + FLAGS_OFFSET) & OFFSET_MASK) << 3;
export const moreFragments = (dv: DataView, p: number): boolean =>
  (dv.getUint16(p + FLAGS_OFFSET) & MORE_FRAGMENTS) !== 0;
export const isFragment = (dv: DataView, p: number): boolean =>
  (dv.getUint16(p + FLAGS_OFFSET) & (MORE_FRAGMENTS | OFFSET_MASK)) !== 0;
export const ttl = (dv: DataView, p: number): number => dv.getUint8(p + TTL);
export const protocol = (dv: DataView, p: number): number => dv.getUint8(p + PROTOCOL);
export const source = (dv: DataView, p: number): number => dv.getInt32(p + SOURCE);
export const destination = (dv: DataView, p: number): number => dv.getInt32(p + DESTINATION);

/**
 * Says why the packet in `[p, end)` must be dropped, or null. After null no accessor reads out of bounds, and
 * `p + totalLength` is at most `end` (a link may pad: RFC 894).
 */
export function check(o: Octets, p: number, end: number): Drop | null {
  const { dv } = o;
  if (end - p < HEADER_LENGTH) return 'ip-truncated';
  // RFC 1122 §3.2.1.1: a datagram whose version number is not 4 MUST be silently discarded.
  if (version(dv, p) !== 4) return 'ip-bad-version';
  const header = headerLength(dv, p);
  if (header < HEADER_LENGTH || header > end - p) return 'ip-bad-header-length';
  const total = totalLength(dv, p);
  if (total < header || total > end - p) return 'ip-bad-length';
  // RFC 1122 §3.2.1.2: a host MUST verify the header checksum and silently discard what fails.
  const s = header === HEADER_LENGTH ? sumOfFive(dv, p) : o.sum(p, header, 0);
  return s === 0xffff ? null : 'ip-bad-checksum';
}

/** Sum of a header without options: five words, sooner added here than by a call of the kernel. */
const sumOfFive = (dv: DataView, p: number): number =>
  fold(
    halves(dv.getInt32(p)) +
      halves(dv.getInt32(p + 4)) +
      halves(dv.getInt32(p + 8)) +
      halves(dv.getInt32(p + 12)) +
      halves(dv.getInt32(p + 16)),
  );

/** What the options of a header say; the pointer of the byte that is wrong stands in {@link badOption}. */
export function checkOptions(dv: DataView, p: number): Drop | null {
  const end = p + headerLength(dv, p);
  for (let at = p + HEADER_LENGTH; at < end; ) {
    const kind = dv.getUint8(at);
    if (kind === OPTION_END) return null; // RFC 791: what follows is padding
    if (kind === OPTION_NOP) {
      at++;
      continue;
    }
    // RFC 1122 §3.2.1.8: the length of an option is checked before it is believed.
    const length = at + 1 < end ? dv.getUint8(at + 1) : 0;
    if (length < 2 || at + length > end) {
      badOption.pointer = Math.min(at + 1, end - 1) - p;
      return 'ip-bad-option';
    }
    if (kind === OPTION_LOOSE_ROUTE || kind === OPTION_STRICT_ROUTE) return 'ip-source-route';
    at += length;
  }
  return null;
}

/**
 * Turns into no-operations the options that only the first fragment carries, in a header that {@link checkOptions} has
 * passed: RFC 791 §3.1, "copied flag". The checksum is the caller's to make anew.
 */
export function clearUncopiedOptions(dv: DataView, p: number): void {
  const end = p + headerLength(dv, p);
  for (let at = p + HEADER_LENGTH; at < end && dv.getUint8(at) !== OPTION_END; ) {
    const kind = dv.getUint8(at);
    const length = kind === OPTION_NOP ? 1 : dv.getUint8(at + 1);
    if ((kind & OPTION_COPIED) === 0) for (let i = 0; i < length; i++) dv.setUint8(at + i, OPTION_NOP);
    at += length;
  }
}

/** Where the last {@link checkOptions} that failed found the fault, from the beginning of the header. */
export const badOption = { pointer: 0 };

/**
 * Takes one off the TTL, which must be above 0, and corrects the checksum by what has changed: RFC 1624 §3 (eqn. 3), of
 * which only the high byte of one word has.
 */
export function decrementTtl(dv: DataView, p: number): void {
  dv.setUint8(p + TTL, dv.getUint8(p + TTL) - 1);
  // HC' = ~(~HC + ~m + m'), where m' is m less 0x0100: ~m + m' is 0xfeff in one's complement.
  dv.setUint16(p + CHECKSUM, ~fold((~dv.getUint16(p + CHECKSUM) & 0xffff) + 0xfeff) & 0xffff);
}

/**
 * Writes a header without options at `p`, checksum included.
 * @param total - header and payload, bytes   @param flags - {@link DONT_FRAGMENT} and the like, in their place
 * @param src - int32 word of the address, as `dst`
 */
export function emit(
  dv: DataView,
  p: number,
  total: number,
  ds: number,
  id: number,
  flags: number,
  hops: number,
  proto: number,
  src: number,
  dst: number,
): void {
  const first = 0x4500 | ds;
  const ttlProtocol = (hops << 8) | proto;
  const s = fold(first + total + id + flags + ttlProtocol + halves(src) + halves(dst));
  dv.setInt32(p + VERSION_IHL, (first << 16) | total);
  dv.setInt32(p + IDENTIFICATION, (id << 16) | flags);
  dv.setInt32(p + TTL, (ttlProtocol << 16) | (~s & 0xffff));
  dv.setInt32(p + SOURCE, src);
  dv.setInt32(p + DESTINATION, dst);
}

/** Sets flags and fragment offset; the checksum is not made anew. @param flags - and the offset, in 8 bytes */
export const patchFragment = (dv: DataView, p: number, flags: number): void => dv.setUint16(p + FLAGS_OFFSET, flags);

/** Sets the total length and identification of a header and completes its checksum anew: for segmentation. */
export function patchLength(o: Octets, p: number, total: number, id: number): void {
  const { dv } = o;
  dv.setUint16(p + TOTAL_LENGTH, total);
  dv.setUint16(p + IDENTIFICATION, id);
  dv.setUint16(p + CHECKSUM, 0);
  dv.setUint16(p + CHECKSUM, ~o.sum(p, headerLength(dv, p), 0) & 0xffff, true);
}

/**
 * Sets "congestion experienced" where the sender said that it understands (ECT, RFC 3168 §5), and corrects the checksum
 * as RFC 1624 §3 has it. Whether the packet was markable and is marked now.
 */
export function markCe(dv: DataView, p: number): boolean {
  const ecn = dsEcn(dv, p) & ECN_CE;
  if (ecn === 0) return false;
  dv.setUint8(p + DS_ECN, dsEcn(dv, p) | ECN_CE);
  dv.setUint16(p + CHECKSUM, ~fold((~dv.getUint16(p + CHECKSUM) & 0xffff) + (ECN_CE - ecn)));
  return true;
}

/** `IP 10.0.0.1 > 10.0.0.2: ICMP, length 64`, for protocols that have no line of their own. */
export function format(dv: DataView, p: number): string {
  const fragment = isFragment(dv, p)
    ? `, frag id ${identification(dv, p)} offset ${fragmentOffset(dv, p)}${moreFragments(dv, p) ? '+' : ''}`
    : '';
  const name = protocolName(protocol(dv, p));
  const length = totalLength(dv, p) - headerLength(dv, p);
  return `IP ${formatV4(source(dv, p))} > ${formatV4(destination(dv, p))}: ${name}${fragment}, length ${length}`;
}
