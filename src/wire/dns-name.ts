/**
 * Domain names: RFC 1035 §3.1 and §4.1.4 (labels, compression), RFC 4343 (case), RFC 3596 §2.5 (reverse names). @module
 *
 * A name is text as people write it, without the last dot; the root is `.`. A dot or a backslash inside a label has a
 * backslash in front, other bytes that do not print are `\DDD` (RFC 1035 §5.1); UTF-8 stands as it is (RFC 6763 §4.1.3).
 */
import { formatV4, IpAddress, parseIp, wireWord } from './address.ts';

/** RFC 1035 §2.3.4. */
export const LABEL_BYTES_MAX = 63;
export const NAME_BYTES_MAX = 255;
const DOT = 0x2e;
const BACKSLASH = 0x5c;
const POINTER = 0xc0; // the two high bits of a length byte
const HEADER_LENGTH = 12;

/** Why a name could not be read. */
export type NameDrop = 'dns-truncated' | 'dns-bad-name';

/** A place in a message. `start` is where the message begins, to which compression pointers refer. */
export interface Cursor {
  readonly u8: Uint8Array;
  readonly start: number;
  readonly end: number;
  at: number;
  /** Why reading failed, once it has. */
  drop: NameDrop | null;
}

function fail(c: Cursor, drop: NameDrop): null {
  c.drop = drop;
  return null;
}

/**
 * Reads the name at the cursor and moves behind it, or gives null with the reason in `drop`. It always ends: each
 * pointer must lead before the one that led there, and labels are bounded by the 255 bytes of a name.
 */
export function readName(c: Cursor): string | null {
  const { u8, start, end } = c;
  let at = c.at;
  let limit = at;
  let next = -1;
  let length = 1;
  let text = '';
  for (;;) {
    if (at >= end) return fail(c, 'dns-truncated');
    const size = u8[at]!;
    if (size === 0) break;
    if (size >= POINTER) {
      if (at + 2 > end) return fail(c, 'dns-truncated');
      if (next < 0) next = at + 2;
      at = start + (((size & 0x3f) << 8) | u8[at + 1]!);
      // RFC 1035 §4.1.4: "a prior occurance of the same name": never forward, and never into the header.
      if (at >= limit || at < start + HEADER_LENGTH) return fail(c, 'dns-bad-name');
      limit = at;
      continue;
    }
    length += size + 1;
    // RFC 1035 §4.1.4: "The 10 and 01 combinations are reserved"; §2.3.4: 255 octets or less.
    if (size > LABEL_BYTES_MAX || length > NAME_BYTES_MAX) return fail(c, 'dns-bad-name');
    if (at + 1 + size > end) return fail(c, 'dns-truncated');
    text += (text === '' ? '' : '.') + formatLabel(u8.subarray(at + 1, at + 1 + size));
    at += 1 + size;
  }
  c.at = next < 0 ? at + 1 : next;
  return text === '' ? '.' : text;
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
const encoder = new TextEncoder();
const escaped = (byte: number): string => `\\${String(byte).padStart(3, '0')}`;

/** A label as text: see the module's comment. */
export function formatLabel(label: Uint8Array): string {
  let decoded: string;
  try {
    decoded = utf8.decode(label);
  } catch {
    // No UTF-8: the bytes above ASCII are written as numbers too.
    return Array.from(label, (byte) => (byte >= 0x80 ? escaped(byte) : formatAscii(byte))).join('');
  }
  if (/^[\w-]*$/.test(decoded)) return decoded;
  return Array.from(decoded, (c) => (c < '\u0080' ? formatAscii(c.charCodeAt(0)) : c)).join('');
}

function formatAscii(byte: number): string {
  if (byte < 0x20 || byte === 0x7f) return escaped(byte);
  return byte === DOT || byte === BACKSLASH ? `\\${String.fromCharCode(byte)}` : String.fromCharCode(byte);
}

/**
 * The labels of a name.
 * @throws TypeError if `name` is none: empty labels, labels over 63 bytes, names over 255
 */
export function labelsOf(name: string): Uint8Array[] {
  const labels = splitLabels(name);
  if (labels === null) throw new TypeError(`name: expected a domain name, got ${JSON.stringify(name)}`);
  return labels;
}

/** Whether `name` can be a domain name. */
export const isName = (name: string): boolean => splitLabels(name) !== null;

function splitLabels(name: string): Uint8Array[] | null {
  if (name === '.') return [];
  const labels: Uint8Array[] = [];
  let bytes: number[] = [];
  let total = 1;
  const finish = (): boolean => {
    if (bytes.length === 0 || bytes.length > LABEL_BYTES_MAX) return false;
    total += bytes.length + 1;
    labels.push(Uint8Array.from(bytes));
    bytes = [];
    return total <= NAME_BYTES_MAX;
  };
  const pattern = /\\(\d{3})|\\([^\d])|(\.)|([^\\])/gsuy;
  let at = 0;
  // A name of 255 bytes has at most 1020 characters, all escaped.
  if (name.length > 4 * NAME_BYTES_MAX) return null;
  for (let match = pattern.exec(name); match !== null; match = pattern.exec(name)) {
    at = pattern.lastIndex;
    if (match[3] !== undefined) {
      if (!finish()) return null;
      if (at === name.length) return labels; // the last dot
    } else if (match[1] !== undefined) {
      if (Number(match[1]) > 255) return null;
      bytes.push(Number(match[1]));
    } else {
      bytes.push(...encoder.encode(match[2] ?? match[4]!));
    }
  }
  return at === name.length && finish() ? labels : null;
}

/** The name in its one form: no last dot, escapes only where needed. @throws TypeError if it is none */
export function normalName(name: string): string {
  const labels = labelsOf(name);
  return labels.length === 0 ? '.' : labels.map(formatLabel).join('.');
}

/** What names are compared by: RFC 4343: ASCII letters without case, all else as it is. */
export const nameKey = (name: string): string => name.replace(/[A-Z]+/g, (letters) => letters.toLowerCase());

export const sameName = (a: string, b: string): boolean => a === b || nameKey(a) === nameKey(b);

/** Whether `name` is `parent` or lies under it. */
export function isUnder(name: string, parent: string): boolean {
  if (parent === '.') return true;
  const [a, b] = [nameKey(name), nameKey(parent)];
  return a === b || (a.endsWith(`.${b}`) && a[a.length - b.length - 2] !== '\\');
}

/** The name with the dot that says that it is whole. */
export const absolute = (name: string): string => (name === '.' ? '.' : `${name}.`);

/** `1.0.0.10.in-addr.arpa` for 10.0.0.1 (RFC 1035 §3.5), the nibbles under ip6.arpa for IPv6 (RFC 3596 §2.5). */
export function reverseName(address: IpAddress): string {
  if (address.isV4) return `${formatV4(address.d).split('.').reverse().join('.')}.in-addr.arpa`;
  const { a, b, c, d } = address;
  const hex = [a, wireWord(a, b), c, d].map((w) => (w >>> 0).toString(16).padStart(8, '0')).join('');
  return `${[...hex].reverse().join('.')}.ip6.arpa`;
}

/** The address that a reverse name is about, or null. */
export function addressOfReverse(name: string): IpAddress | null {
  const v4 = /^(\d+\.\d+\.\d+\.\d+)\.in-addr\.arpa$/i.exec(name);
  if (v4 !== null) return parseIp(v4[1]!.split('.').reverse().join('.'));
  const v6 = /^((?:[\da-f]\.){32})ip6\.arpa$/i.exec(name);
  if (v6 === null) return null;
  const hex = v6[1]!.split('.').reverse().join('');
  const word = (i: number): number => Number.parseInt(hex.slice(8 * i, 8 * i + 8), 16);
  return new IpAddress(word(0), word(1), word(2), word(3));
}
