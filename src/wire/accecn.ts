/**
 * The AccECN option of TCP: RFC 9768 §3.2.3. Three counters of bytes, of 24 bits each: what arrived with ECT(1), CE and ECT(0).
 * It comes in two orders, and fields are left out from its end. @module
 */

/** Kinds: AccECN0 begins with ECT(0), AccECN1 with ECT(1). */
export const OPTION_ACCECN0 = 172;
export const OPTION_ACCECN1 = 174;
const HEAD_LENGTH = 2;
const FIELD_LENGTH = 3;
export const FIELDS_MAX = 3;
/** Bytes of an option with all fields, padded. */
export const LENGTH_MAX = 12;
const OPTION_NOP = 1;

/** Bytes that an option of `fields` fields takes, padding with it. */
export const lengthOf = (fields: number): number => (HEAD_LENGTH + FIELD_LENGTH * fields + 3) & ~3;

/** Fields in an option of `length` bytes. RFC 9768 §3.2.3: of a length not known yet those that fit; the rest is padding. */
export const fieldsIn = (length: number): number =>
  Math.min(FIELDS_MAX, Math.floor((length - HEAD_LENGTH) / FIELD_LENGTH));

/** Field `index` of the option whose fields begin at `p`. */
export const field = (dv: DataView, p: number, index: number): number =>
  (dv.getUint16(p + FIELD_LENGTH * index) << 8) | dv.getUint8(p + FIELD_LENGTH * index + 2);

/** Writes the first `fields` of the three at `p`, as AccECN1, and NOPs behind them; returns the length. */
export function emit(dv: DataView, p: number, fields: number, e1b: number, ceb: number, e0b: number): number {
  dv.setUint8(p, OPTION_ACCECN1);
  dv.setUint8(p + 1, HEAD_LENGTH + FIELD_LENGTH * fields);
  let at = p + HEAD_LENGTH;
  for (let i = 0; i < fields; i++, at += FIELD_LENGTH) {
    const value = i === 0 ? e1b : i === 1 ? ceb : e0b;
    dv.setUint16(at, (value >>> 8) & 0xffff);
    dv.setUint8(at + 2, value & 0xff);
  }
  const length = lengthOf(fields);
  for (; at < p + length; at++) dv.setUint8(at, OPTION_NOP);
  return length;
}

const NAMES = ['e1b', 'ceb', 'e0b'] as const;

/** `accecn1 e1b 1 ceb 0 e0b 1`, of the option of `length` bytes at `p`; null where the length is none of its. */
export function format(dv: DataView, p: number, kind: number, length: number): string | null {
  const fields = fieldsIn(length);
  if (HEAD_LENGTH + FIELD_LENGTH * fields !== length) return null;
  const isFirst = kind === OPTION_ACCECN0;
  let text = isFirst ? 'accecn0' : 'accecn1';
  for (let i = 0; i < fields; i++) {
    text += ` ${NAMES[isFirst ? FIELDS_MAX - 1 - i : i]} ${field(dv, p + HEAD_LENGTH, i)}`;
  }
  return text;
}
