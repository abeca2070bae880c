/** Times of pcapng: 64-bit counts of a unit that each interface chooses. draft-ietf-opsawg-pcapng §4.2 (if_tsresol). @module */

/** From here on a product below would leave the 53 bits of a double. */
const FAST_UNITS_MAX = 1e9;
const BINARY = 0x80;

export class Resolution {
  /** What classic files count the fraction of a second in, and pcapng where an interface does not say. */
  static readonly MICROSECONDS = new Resolution(6, 0);

  /** What the last {@link set} gave. */
  seconds = 0;
  nanoseconds = 0;
  readonly #units: number; // a second
  readonly #offset: number; // seconds
  readonly #exact: bigint | null; // units a second where doubles do not do

  /** @param code - if_tsresol: a power of ten, or with the highest bit one of two   @param offset - if_tsoffset */
  constructor(code: number, offset: number) {
    const exponent = code & ~BINARY;
    const binary = (code & BINARY) !== 0;
    this.#units = (binary ? 2 : 10) ** exponent;
    this.#offset = offset;
    const isFast = !binary && this.#units <= FAST_UNITS_MAX;
    this.#exact = isFast ? null : (binary ? 2n : 10n) ** BigInt(exponent);
  }

  /** Sets {@link seconds} and {@link nanoseconds} to a count in two words. */
  set(high: number, low: number): void {
    if (this.#exact !== null) {
      const count = (BigInt(high) << 32n) | BigInt(low);
      this.seconds = Number(count / this.#exact) + this.#offset;
      this.nanoseconds = Number(((count % this.#exact) * 1_000_000_000n) / this.#exact);
      return;
    }
    const units = this.#units;
    // 48 bits, then 16: neither step leaves the 53 bits of a double.
    const upper = high * 0x10000 + (low >>> 16);
    const wholes = Math.floor(upper / units);
    const rest = (upper - wholes * units) * 0x10000 + (low & 0xffff);
    const more = Math.floor(rest / units);
    this.seconds = wholes * 0x10000 + more + this.#offset;
    this.nanoseconds = (rest - more * units) * (1e9 / units);
  }
}
