/**
 * What a TCP payload begins with, where one can tell by looking at it: the first line of HTTP (RFC 9112 §2) and the server
 * name of a TLS ClientHello (RFC 8446 §4.1.2, RFC 6066 §3). For people who read traces; nothing here is a parser of those
 * protocols. @module
 */

/** Characters kept of a line. */
const LINE_MAX = 200;
const CR = 0x0d;
const LF = 0x0a;

/** First bytes of requests and responses, as a word. */
const STARTS: ReadonlySet<number> = new Set(
  ['GET ', 'POST', 'HEAD', 'PUT ', 'DELE', 'OPTI', 'PATC', 'CONN', 'TRAC', 'HTTP'].map((start) =>
    [...start].reduce((word, letter) => (word << 8) | letter.charCodeAt(0), 0),
  ),
);
const REQUEST_OR_STATUS = /^(?:[A-Z]{3,8} \S+ HTTP\/\d\.\d|HTTP\/\d\.\d \d{3}(?: |$))/;

/** `HTTP: GET / HTTP/1.1`, `TLS: ClientHello, SNI example.org`, or null for anything else. */
export function format(dv: DataView, p: number, end: number): string | null {
  if (end - p < 6) return null;
  const first = dv.getInt32(p);
  if (STARTS.has(first)) {
    const line = httpLine(dv, p, end);
    return line === null ? null : `HTTP: ${line}`;
  }
  if (first >>> 16 !== TLS_HANDSHAKE || dv.getUint8(p + TLS_TYPE) !== CLIENT_HELLO) return null;
  const name = serverName(dv, p, end);
  return `TLS: ClientHello${name === null ? '' : `, SNI ${name}`}`;
}

/** The first line in `[p, end)` if it is one of HTTP, or its beginning where it is long or cut; else null. */
export function httpLine(dv: DataView, p: number, end: number): string | null {
  const last = Math.min(end, p + LINE_MAX);
  let line = '';
  for (let at = p; at < last; at++) {
    const byte = dv.getUint8(at);
    if (byte === CR || byte === LF) break;
    if (byte < 0x20 || byte > 0x7e) return null;
    line += String.fromCharCode(byte);
  }
  return REQUEST_OR_STATUS.test(line) || line.length === LINE_MAX ? line : null;
}

// TLS record and handshake: RFC 8446 §5.1, §4.
/** Content type 22 and the high byte of the version, which is 3 in all. */
const TLS_HANDSHAKE = 0x1603;
const TLS_TYPE = 5; // u8: behind the record header
const CLIENT_HELLO = 1;
const HELLO_RANDOM_END = 43; // record 5, handshake 4, version 2, random 32
const EXTENSION_SERVER_NAME = 0;
const NAME_HOST = 0;
const NAME_MAX = 255;

/** The host name a ClientHello at `p` asks for; null where it has none, or the name lies beyond `end`. */
export function serverName(dv: DataView, p: number, end: number): string | null {
  let at = p + HELLO_RANDOM_END;
  at = skip(dv, at, end, 1); // session id
  at = skip(dv, at, end, 2); // cipher suites
  at = skip(dv, at, end, 1); // compression methods
  if (at < 0 || at + 2 > end) return null;
  const extensionsEnd = Math.min(end, at + 2 + dv.getUint16(at));
  at += 2;
  while (at + 4 <= extensionsEnd) {
    const [type, length] = [dv.getUint16(at), dv.getUint16(at + 2)];
    if (type === EXTENSION_SERVER_NAME) return hostName(dv, at + 4, Math.min(extensionsEnd, at + 4 + length));
    at += 4 + length;
  }
  return null;
}

/** Behind a vector whose length stands in `width` bytes at `at`; -1 where it runs over `end`. */
function skip(dv: DataView, at: number, end: number, width: 1 | 2): number {
  if (at < 0 || at + width > end) return -1;
  const next = at + width + (width === 1 ? dv.getUint8(at) : dv.getUint16(at));
  return next > end ? -1 : next;
}

/** RFC 6066 §3: a list, its type, its length, the name. */
function hostName(dv: DataView, p: number, end: number): string | null {
  if (p + 5 > end || dv.getUint8(p + 2) !== NAME_HOST) return null;
  const length = dv.getUint16(p + 3);
  if (length === 0 || length > NAME_MAX || p + 5 + length > end) return null;
  let name = '';
  for (let i = p + 5; i < p + 5 + length; i++) {
    const byte = dv.getUint8(i);
    if (byte <= 0x20 || byte > 0x7e) return null;
    name += String.fromCharCode(byte);
  }
  return name;
}
