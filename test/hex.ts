/** Bytes from hexadecimal text and back. @module */

/** Reads hexadecimal digits; white space is skipped, so that packets can be laid out. */
export function hex(text: string): Uint8Array {
  const digits = text.replace(/\s+/g, '');
  if (!/^([0-9a-f]{2})*$/i.test(digits)) throw new TypeError(`hex: expected pairs of digits, got ${text}`);
  return Uint8Array.from({ length: digits.length / 2 }, (_, i) => Number.parseInt(digits.slice(2 * i, 2 * i + 2), 16));
}

export const toHex = (bytes: Uint8Array): string => Array.from(bytes, (b) => b.toString(16).padStart(2, '0')).join('');

/** A copy of `bytes` with the hexadecimal `patch` written at `at`. */
export function patched(bytes: Uint8Array, at: number, patch: string): Uint8Array {
  const copy = bytes.slice();
  copy.set(hex(patch), at);
  return copy;
}
