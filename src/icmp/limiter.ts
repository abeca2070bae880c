/** How many ICMP errors leave: token buckets, one for all and one for each destination. RFC 4443 §2.4 (f). @module */
import type { IpAddress } from '../wire/address.ts';

/** RFC 1812 §4.3.2.8, RFC 4443 §2.4 (f): errors made a second, and at once. */
const ERRORS_PER_SECOND = 1000;
const ERRORS_BURST = 50;
/** The same to one destination: what traceroute asks of a router or host at once still gets its answers. */
const DESTINATION_PER_SECOND = 100;
const DESTINATION_BURST = 20;
/** Destinations remembered, a power of two. Two that fall into one slot take it from each other, with a full bucket. */
const SLOTS = 256;

export class ErrorLimiter {
  readonly #random: () => number;
  #secret = 0;
  readonly #addresses = new Int32Array(SLOTS * 4);
  readonly #tokens = new Float64Array(SLOTS);
  readonly #at = new Float64Array(SLOTS);
  #allTokens = ERRORS_BURST;
  #allAt = 0;

  /** @param random - gives a secret, once it is needed, that keeps strangers from choosing which destinations share a slot */
  constructor(random: () => number) {
    this.#random = random;
    this.#tokens.fill(DESTINATION_BURST);
  }

  /** Whether one more error may leave for `to`, now. @param isLimitedEach - whether the bucket of `to` counts too */
  take(to: IpAddress, nowMs: number, isLimitedEach: boolean): boolean {
    this.#allTokens = Math.min(ERRORS_BURST, this.#allTokens + ((nowMs - this.#allAt) * ERRORS_PER_SECOND) / 1000);
    this.#allAt = nowMs;
    if (this.#allTokens < 1) return false;
    if (isLimitedEach && !this.#takeEach(to, nowMs)) return false;
    this.#allTokens--;
    return true;
  }

  #takeEach({ a, b, c, d }: IpAddress, nowMs: number): boolean {
    if (this.#secret === 0) this.#secret = this.#random() | 1;
    let hash = Math.imul(a ^ Math.imul(b, 0x9e3779b1) ^ this.#secret, 0x85ebca6b) ^ Math.imul(c, 0xc2b2ae35);
    hash = Math.imul(hash ^ d ^ (hash >>> 15), this.#secret);
    const slot = (hash >>> 16) & (SLOTS - 1);
    const words = this.#addresses;
    const w = slot * 4;
    if (words[w] !== a || words[w + 1] !== b || words[w + 2] !== c || words[w + 3] !== d) {
      words[w] = a;
      words[w + 1] = b;
      words[w + 2] = c;
      words[w + 3] = d;
      this.#tokens[slot] = DESTINATION_BURST;
      this.#at[slot] = nowMs;
    }
    const more = ((nowMs - this.#at[slot]!) * DESTINATION_PER_SECOND) / 1000;
    const tokens = Math.min(DESTINATION_BURST, this.#tokens[slot]! + more);
    this.#at[slot] = nowMs;
    this.#tokens[slot] = tokens < 1 ? tokens : tokens - 1;
    return tokens >= 1;
  }
}
