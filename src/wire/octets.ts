/**
 * What wire formats need of a memory: the bytes, and the checksum kernel over them; and the arithmetic of the Internet
 * checksum (RFC 1071). @module
 */

/** Bytes and their checksum kernel. `Memory` is one; {@link octetsOf} makes one of a Uint8Array. */
export interface Octets {
  readonly u8: Uint8Array;
  readonly dv: DataView;
  /** RFC 1071 sum of little-endian 16-bit words, folded, not complemented; see Kernel. */
  sum(p: number, length: number, acc: number): number;
}

/** Folds a sum of 16-bit words to 16 bits: RFC 1071 §4.1. */
export const fold = (s: number): number => {
  s = (s & 0xffff) + (s >>> 16);
  return (s & 0xffff) + (s >>> 16);
};

/** Exchanges the bytes of a 16-bit sum: from the kernel's order to the network's and back. RFC 1071 §2(B). */
export const swap = (s: number): number => ((s & 0xff) << 8) | ((s >>> 8) & 0xff);

/** Sum of the two 16-bit halves of an int32, unfolded. */
export const halves = (x: number): number => (x >>> 16) + (x & 0xffff);

/** A view of plain bytes for tools and tests: the sum is computed byte by byte. */
export function octetsOf(u8: Uint8Array): Octets {
  const dv = new DataView(u8.buffer, u8.byteOffset, u8.byteLength);
  const sum = (p: number, length: number, acc: number): number => {
    let s = acc;
    for (let i = 0; i < length; i++) s += (i & 1) === 0 ? u8[p + i]! : u8[p + i]! << 8;
    while (s > 0xffff) s = fold(s);
    return s;
  };
  return { u8, dv, sum };
}
