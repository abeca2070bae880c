/**
 * The IPv6 fragment header: RFC 8200 §4.5. IPv4's fields of the same meaning stand in its own header. @module
 */
import { PROTOCOL_ICMPV6, PROTOCOL_TCP, PROTOCOL_UDP, protocolName } from './ip.ts';
import { EXTENSION_HEADERS } from './ipv6.ts';

const NEXT_HEADER = 0; // u8: the first header of the fragmentable part
const OFFSET_MORE = 2; // u13 offset in 8 bytes, u2 reserved, u1 more fragments
const IDENTIFICATION = 4; // u32
export const HEADER_LENGTH = 8;
/** The next header value that announces one. */
export const PROTOCOL_FRAGMENT = 44;

/** Where the offset stands in the header: for errors that point at it. */
export const OFFSET_OFFSET = OFFSET_MORE;

const OFFSET_MASK = 0xfff8;
const MORE = 1;

export const nextHeader = (dv: DataView, p: number): number => dv.getUint8(p + NEXT_HEADER);
/** Where the data of the fragment stand in the fragmentable part, bytes. */
export const offset = (dv: DataView, p: number): number => dv.getUint16(p + OFFSET_MORE) & OFFSET_MASK;
export const moreFragments = (dv: DataView, p: number): boolean => (dv.getUint16(p + OFFSET_MORE) & MORE) !== 0;
/** As int32. */
export const identification = (dv: DataView, p: number): number => dv.getInt32(p + IDENTIFICATION);

/** Writes the header at `p`. @param at - the offset in bytes, a multiple of 8 */
export function emit(dv: DataView, p: number, next: number, at: number, more: boolean, id: number): void {
  dv.setInt32(p + NEXT_HEADER, (next << 24) | at | (more ? MORE : 0));
  dv.setInt32(p + IDENTIFICATION, id);
}

/** `frag UDP id 7 offset 1232+, length 1232`: `+` says that more follow. */
export function format(dv: DataView, p: number, end: number): string {
  const more = moreFragments(dv, p) ? '+' : '';
  const id = identification(dv, p) >>> 0;
  return `frag ${protocolName(nextHeader(dv, p))} id ${id} offset ${offset(dv, p)}${more}, length ${end - p - HEADER_LENGTH}`;
}

/** Extension headers walked in a first fragment; RFC 8200 §4.1 knows seven places. */
const CHAIN_MOST = 16;

/** Bytes that the header of an upper layer needs; of those not named one byte. */
function upperLength(protocol: number): number {
  if (protocol === PROTOCOL_TCP) return 20;
  return protocol === PROTOCOL_UDP || protocol === PROTOCOL_ICMPV6 ? 8 : 1;
}

const AUTHENTICATION = 51;
const NO_NEXT_HEADER = 59;

/** Whether all headers, from `next` at `p` on to that of the upper layer, end before `end`: RFC 7112 §3. */
export function hasWholeChain(dv: DataView, next: number, p: number, end: number): boolean {
  for (let i = 0; i < CHAIN_MOST; i++) {
    if (next === NO_NEXT_HEADER) return true;
    const isOptions = EXTENSION_HEADERS.includes(next);
    if (!isOptions && next !== AUTHENTICATION) return p + upperLength(next) <= end;
    if (p + 8 > end) return false;
    const following = dv.getUint8(p);
    // RFC 8200 §4.2: in 8 bytes beyond the first 8. RFC 4302 §2.2: in 4 bytes, less 2. A fragment header has 8 bytes.
    if (next === AUTHENTICATION) p += (dv.getUint8(p + 1) + 2) << 2;
    else p += next === PROTOCOL_FRAGMENT ? HEADER_LENGTH : (dv.getUint8(p + 1) + 1) << 3;
    next = following;
  }
  return false;
}
