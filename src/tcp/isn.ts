/**
 * Secrets of TCP: initial sequence numbers (RFC 6528 §3) and timestamp offsets, both SipHash-2-4 of the connection's
 * addresses and ports under a key drawn at start. @module
 */
import type { IpAddress } from '../wire/address.ts';
import { type Seq, seq } from './seq.ts';

/** RFC 6528 §3: the clock M ticks every 4 microseconds. */
const TICKS_PER_MS = 250;

/** The other byte order of an int32. */
export const swapBytes = (n: number): number =>
  ((n & 0xff) << 24) | ((n & 0xff00) << 8) | ((n >>> 8) & 0xff00) | (n >>> 24);

/** SipHash-2-4 over int32 words, in 32-bit halves. Aumasson and Bernstein, 2012. */
export class SipHash {
  readonly #key: Int32Array;
  // v0..v3 as (low, high) pairs.
  readonly #v = new Int32Array(8);

  /** The high 32 bits of the last hash. */
  high = 0;

  /** @param random - gives uniform uint32 */
  constructor(random: () => number) {
    this.#key = Int32Array.from({ length: 4 }, () => random() | 0);
  }

  /** @param key - 32 hexadecimal digits: 16 bytes in their order */
  static withKey(key: string): SipHash {
    const words = Array.from({ length: 4 }, (_, i) => swapBytes(Number.parseInt(key.slice(8 * i, 8 * i + 8), 16)));
    return new SipHash(() => words.shift()!);
  }

  /** The low 32 bits of the hash of `words`. */
  hash(words: Int32Array): number {
    const v = this.#v;
    const [k0, k1, k2, k3] = this.#key as unknown as [number, number, number, number];
    v[0] = k0 ^ 0x70736575;
    v[1] = k1 ^ 0x736f6d65;
    v[2] = k2 ^ 0x6e646f6d;
    v[3] = k3 ^ 0x646f7261;
    v[4] = k0 ^ 0x6e657261;
    v[5] = k1 ^ 0x6c796765;
    v[6] = k2 ^ 0x79746573;
    v[7] = k3 ^ 0x74656462;
    const pairs = words.length & ~1;
    for (let i = 0; i < pairs; i += 2) this.#compress(words[i]!, words[i + 1]!);
    const rest = pairs < words.length ? words[pairs]! : 0;
    this.#compress(rest, words.length << 26); // the length in bytes, in the top byte
    v[4]! ^= 0xff;
    for (let i = 0; i < 4; i++) this.#round();
    this.high = v[1]! ^ v[3]! ^ v[5]! ^ v[7]!;
    return v[0]! ^ v[2]! ^ v[4]! ^ v[6]!;
  }

  #compress(low: number, high: number): void {
    const v = this.#v;
    v[6]! ^= low;
    v[7]! ^= high;
    this.#round();
    this.#round();
    v[0]! ^= low;
    v[1]! ^= high;
  }

  #round(): void {
    this.#add(0, 2);
    this.#rotate(2, 13, 0);
    this.#swap(0);
    this.#add(4, 6);
    this.#rotate(6, 16, 4);
    this.#add(0, 6);
    this.#rotate(6, 21, 0);
    this.#add(4, 2);
    this.#rotate(2, 17, 4);
    this.#swap(4);
  }

  /** v[a] += v[b]. */
  #add(a: number, b: number): void {
    const v = this.#v;
    const low = (v[a]! >>> 0) + (v[b]! >>> 0);
    v[a + 1] = v[a + 1]! + v[b + 1]! + (low > 0xffffffff ? 1 : 0);
    v[a] = low | 0;
  }

  /** v[a] = rotl(v[a], bits) ^ v[b], bits below 32. */
  #rotate(a: number, bits: number, b: number): void {
    const v = this.#v;
    const low = v[a]!;
    const high = v[a + 1]!;
    v[a] = ((low << bits) | (high >>> (32 - bits))) ^ v[b]!;
    v[a + 1] = ((high << bits) | (low >>> (32 - bits))) ^ v[b + 1]!;
  }

  /** v[a] = rotl(v[a], 32). */
  #swap(a: number): void {
    const v = this.#v;
    const low = v[a]!;
    v[a] = v[a + 1]!;
    v[a + 1] = low;
  }
}

/** Makes the numbers a connection starts from. */
export class Secrets {
  readonly #isn: SipHash;
  readonly #timestamps: SipHash;
  readonly #words = new Int32Array(9);

  constructor(random: () => number) {
    this.#isn = new SipHash(random);
    this.#timestamps = new SipHash(random);
  }

  /** RFC 6528 §3: ISN = M + F(localip, localport, remoteip, remoteport, secretkey). RFC 9293 MUST-8, MUST-9. */
  isn(local: IpAddress, remote: IpAddress, ports: number, now: number): Seq {
    const clock = Math.floor(now * TICKS_PER_MS) | 0;
    return seq(clock + this.#isn.hash(this.#fill(local, remote, ports)));
  }

  /** RFC 7323 §5.4, §7.1: an offset per pair of hosts, so that timestamps tell neither uptime nor other connections. */
  timestampOffset(local: IpAddress, remote: IpAddress): number {
    return this.#timestamps.hash(this.#fill(local, remote, 0));
  }

  #fill(local: IpAddress, remote: IpAddress, ports: number): Int32Array {
    const w = this.#words;
    w[0] = local.a;
    w[1] = local.b;
    w[2] = local.c;
    w[3] = local.d;
    w[4] = remote.a;
    w[5] = remote.b;
    w[6] = remote.c;
    w[7] = remote.d;
    w[8] = ports;
    return w;
  }
}
