/**
 * The checksum kernel in plain TypeScript, for engines without WebAssembly SIMD. Same three functions, same results
 * as kernel.as.ts; about 5 times slower for a full segment. @module
 */
import type { Kernel } from './kernel.ts';

/** Makes the plain kernel over `buffer`. */
export function plainKernel(buffer: ArrayBufferLike): Kernel {
  const u8 = new Uint8Array(buffer);
  const dv = new DataView(buffer);

  function sum(p: number, length: number, acc: number): number {
    // 32-bit words are added as two 16-bit halves: even a 128 KiB block leaves both sums far below 2^53.
    let low = acc;
    let high = 0;
    const end = p + length;
    const words = p + (length & ~15);
    for (; p < words; p += 16) {
      const w = dv.getInt32(p, true);
      const x = dv.getInt32(p + 4, true);
      const y = dv.getInt32(p + 8, true);
      const z = dv.getInt32(p + 12, true);
      low += (w & 0xffff) + (x & 0xffff) + (y & 0xffff) + (z & 0xffff);
      high += (w >>> 16) + (x >>> 16) + (y >>> 16) + (z >>> 16);
    }
    for (; p + 2 <= end; p += 2) low += dv.getUint16(p, true);
    if (p < end) low += u8[p]!;
    let s = low + high;
    while (s > 0xffff) s = (s % 0x10000) + Math.floor(s / 0x10000);
    return s;
  }

  const copy = (d: number, p: number, length: number): void => {
    u8.copyWithin(d, p, p + length);
  };

  const copySum = (d: number, p: number, length: number, acc: number): number => {
    copy(d, p, length);
    return sum(p, length, acc);
  };

  return { sum, copy, copySum };
}
