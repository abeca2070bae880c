// The checksum kernel, in AssemblyScript. `scripts/build.mjs` compiles it to about 800 bytes of WebAssembly SIMD and
// embeds them in kernel-bytes.ts. kernel-plain.ts is the same three functions in plain TypeScript.
//
// A sum here is the RFC 1071 sum of little-endian 16-bit words, folded to 16 bits and not complemented. The sum does
// not depend on byte order but for a final swap, so partial sums of even length compose; `acc` is added in.

/** Folds a 64-bit sum to 16 bits. */
// @ts-ignore: a decorator of AssemblyScript
@inline
function fold(s: u64): u32 {
  s = (s & 0xffffffff) + (s >> 32);
  s = (s & 0xffffffff) + (s >> 32);
  s = (s & 0xffff) + (s >> 16);
  s = (s & 0xffff) + (s >> 16);
  return ((s & 0xffff) + (s >> 16)) as u32;
}

/** Sums the last `length` (under 32) bytes at `p`. */
// @ts-ignore: a decorator of AssemblyScript
@inline
function tail(p: usize, length: i32): u64 {
  let s: u64 = 0;
  if (length & 16) {
    s = load<u32>(p) as u64;
    s += load<u32>(p, 4);
    s += load<u32>(p, 8);
    s += load<u32>(p, 12);
    p += 16;
  }
  if (length & 8) {
    s += load<u32>(p);
    s += load<u32>(p, 4);
    p += 8;
  }
  if (length & 4) {
    s += load<u32>(p);
    p += 4;
  }
  if (length & 2) {
    s += load<u16>(p);
    p += 2;
  }
  if (length & 1) s += load<u8>(p);
  return s;
}

/** Internet checksum of `length` bytes at `p`, added to `acc`. */
export function sum(p: usize, length: i32, acc: u32): u32 {
  let a = i64x2.splat(0);
  let b = i64x2.splat(0);
  const end = p + (length & ~31);
  while (p < end) {
    const x = v128.load(p);
    const y = v128.load(p, 16);
    a = i64x2.add(a, i64x2.extend_low_i32x4_u(x));
    b = i64x2.add(b, i64x2.extend_high_i32x4_u(x));
    a = i64x2.add(a, i64x2.extend_low_i32x4_u(y));
    b = i64x2.add(b, i64x2.extend_high_i32x4_u(y));
    p += 32;
  }
  a = i64x2.add(a, b);
  return fold((acc as u64) + i64x2.extract_lane(a, 0) + i64x2.extract_lane(a, 1) + tail(p, length & 31));
}

/** Copies `length` bytes from `p` to `d` (not overlapping) and sums them on the way, in one pass. */
export function copySum(d: usize, p: usize, length: i32, acc: u32): u32 {
  let a = i64x2.splat(0);
  let b = i64x2.splat(0);
  const end = p + (length & ~31);
  while (p < end) {
    const x = v128.load(p);
    const y = v128.load(p, 16);
    v128.store(d, x);
    v128.store(d, y, 16);
    a = i64x2.add(a, i64x2.extend_low_i32x4_u(x));
    b = i64x2.add(b, i64x2.extend_high_i32x4_u(x));
    a = i64x2.add(a, i64x2.extend_low_i32x4_u(y));
    b = i64x2.add(b, i64x2.extend_high_i32x4_u(y));
    p += 32;
    d += 32;
  }
  a = i64x2.add(a, b);
  memory.copy(d, p, length & 31);
  return fold((acc as u64) + i64x2.extract_lane(a, 0) + i64x2.extract_lane(a, 1) + tail(p, length & 31));
}

/** Copies `length` bytes from `p` to `d`; the two may overlap. */
export function copy(d: usize, p: usize, length: i32): void {
  memory.copy(d, p, length);
}
