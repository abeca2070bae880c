/** Interface identifiers: stable and opaque (RFC 7217 §5), or random (RFC 8981 §3.3.1). @module */
import { SipHash } from '../tcp/isn.ts';
import { IpAddress } from '../wire/address.ts';

/** RFC 5453, RFC 2526: identifiers that mean something else: subnet routers' anycast, proxy mobile IPv6, reserved anycast. */
const isReserved = (high: number, low: number): boolean =>
  (high === 0 && low === 0) ||
  (high === 0x02005eff && low >>> 24 === 0xfe) ||
  (high === (0xfdffffff | 0) && low >>> 0 >= 0xffffff80);

const SECRET_BYTES = 16;
/** Reserved identifiers in a row after which one is taken all the same: chance is broken then. */
const TRIES_MAX = 8;

/** Makes the identifiers of one stack. */
export class InterfaceIds {
  readonly #high: SipHash;
  readonly #low: SipHash;
  readonly #random: () => number;

  /**
   * @param secret - 16 bytes, or undefined: random ones
   * @throws RangeError for a secret of another length
   */
  constructor(random: () => number, secret: Uint8Array | undefined) {
    if (secret !== undefined && secret.length !== SECRET_BYTES) {
      throw new RangeError(`secret: expected ${SECRET_BYTES} bytes, got ${secret.length}`);
    }
    this.#random = random;
    const words = secret === undefined ? null : new DataView(secret.buffer, secret.byteOffset, SECRET_BYTES);
    // Two keys of one secret: the second hash is that of the first one's key with its bits turned over.
    const key = (flip: number): (() => number) => {
      let at = 0;
      return words === null ? random : () => words.getUint32(4 * at++) ^ flip;
    };
    this.#high = new SipHash(key(0));
    this.#low = new SipHash(key(-1));
  }

  /**
   * RFC 7217 §5: RID = F(Prefix, Net_Iface, Network_ID, DAD_Counter, secret_key). There is no Network_ID on Ethernet.
   * @param iface - what stands for the interface
   * @param conflicts - how many identifiers in this prefix were another host's
   */
  stable(prefix: IpAddress, iface: readonly number[], conflicts: number): IpAddress {
    for (let tries = conflicts; ; tries += 256) {
      const words = Int32Array.of(prefix.a, prefix.b, ...iface, tries);
      const high = this.#high.hash(words) | 0;
      const low = this.#low.hash(words) | 0;
      if (!isReserved(high, low) || tries > TRIES_MAX * 256) return new IpAddress(prefix.a, prefix.b, high, low);
    }
  }

  /** RFC 8981 §3.3.1. */
  temporary(prefix: IpAddress): IpAddress {
    for (let tries = 0; ; tries++) {
      const high = this.#random() | 0;
      const low = this.#random() | 0;
      if (!isReserved(high, low) || tries > TRIES_MAX) return new IpAddress(prefix.a, prefix.b, high, low);
    }
  }
}
