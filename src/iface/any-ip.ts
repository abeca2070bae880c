/**
 * Any-IP: an interface that takes what is sent to every address, and answers as that address. What a proxy stands on:
 * who sends need not know of it. @module
 */
import type { IpAddress } from '../wire/address.ts';

/** Whether packets to these words may be taken for a host beyond the link: RFC 1812 §5.3.7, RFC 4291 §2.5.6. */
export function mayBeAnyones(version: number, a: number, b: number, c: number, d: number): boolean {
  if (version === 4) {
    const network = d >>> 24;
    return network !== 0 && network !== 127 && network < 224; // not this network, not loopback, no group, not class E
  }
  if (a >>> 24 === 0xff || a >>> 22 === 0x3fa) return false; // a group; valid on its link only
  return a !== 0 || b !== 0 || c !== 0 || (d !== 0 && d !== 1);
}

export const mayBeAnyone = ({ isV4, a, b, c, d }: IpAddress): boolean => mayBeAnyones(isV4 ? 4 : 6, a, b, c, d);

/** RFC 4291 §2.7.1: the groups in which neighbours are looked for. */
export const isSolicitedNode = (a: number, b: number, c: number, d: number): boolean =>
  a === (0xff020000 | 0) && b === 0 && c === 1 && d >>> 24 === 0xff;
