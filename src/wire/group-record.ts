/**
 * What IGMPv3 (RFC 3376 §4.2) and MLDv2 (RFC 3810 §5.2) share: the kinds of records in a report, and the codes of times
 * that grow by an exponent. @module
 */
import type { IpAddress } from './address.ts';

export const MODE_IS_INCLUDE = 1;
export const MODE_IS_EXCLUDE = 2;
export const CHANGE_TO_INCLUDE = 3;
export const CHANGE_TO_EXCLUDE = 4;
export const ALLOW_NEW_SOURCES = 5;
export const BLOCK_OLD_SOURCES = 6;

/** What a report says of one group. */
export interface GroupRecord {
  /** One of the six kinds above; a receiver ignores any other (RFC 3376 §4.2.12). */
  readonly type: number;
  readonly group: IpAddress;
  readonly sources: readonly IpAddress[];
}

const NAMES = ['', 'is_in', 'is_ex', 'to_in', 'to_ex', 'allow', 'block'];

/** `[gaddr 224.1.1.1 to_ex { }]`, as tcpdump -v prints it. */
export const formatRecord = ({ type, group, sources }: GroupRecord): string =>
  `[gaddr ${group} ${NAMES[type] ?? `type-#${type}`} {${sources.map((source) => ` ${source}`).join('')} }]`;

/**
 * Value of a code of `bits` bits: below its highest bit it stands for itself, else for a mantissa and an exponent of
 * three bits. RFC 3376 §4.1.1 (8 bits), RFC 3810 §5.1.3 (16 bits).
 */
export function decodeTime(code: number, bits: 8 | 16): number {
  const mantissaBits = bits - 4;
  if (code < 1 << (bits - 1)) return code;
  const exponent = (code >>> mantissaBits) & 7;
  return ((code & ((1 << mantissaBits) - 1)) | (1 << mantissaBits)) * 2 ** (exponent + 3);
}

/** The code of the largest time that is not longer than `value`. */
export function encodeTime(value: number, bits: 8 | 16): number {
  const mantissaBits = bits - 4;
  if (value < 1 << (bits - 1)) return Math.max(0, Math.floor(value));
  let exponent = 0;
  while (exponent < 7 && value >= 2 ** (mantissaBits + 4 + exponent)) exponent++;
  const mantissa = Math.min(2 ** (mantissaBits + 1) - 1, Math.floor(value / 2 ** (exponent + 3)));
  return (1 << (bits - 1)) | (exponent << mantissaBits) | (mantissa - (1 << mantissaBits));
}
