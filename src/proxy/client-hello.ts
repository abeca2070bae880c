/**
 * The server name in a TLS hello: RFC 8446 §4.1.2, RFC 6066 §3. A hello may come in several records and any number of
 * pieces. Missing on purpose: the encrypted hello, of which only the outer name can be seen. @module
 */

const HANDSHAKE = 22;
const CLIENT_HELLO = 1;
const SERVER_NAME = 0;
const HOST_NAME = 0;
const RECORD_HEADER = 5;
/** Bytes of a hello that are looked at; a larger one has no name here. */
export const HELLO_BYTES_MAX = 1 << 16;

/** @returns the name; null: there is none, or it is no TLS; undefined: more bytes are needed */
export function serverName(bytes: Uint8Array): string | null | undefined {
  const handshake = joinRecords(bytes);
  if (handshake === null) return null;
  if (handshake.length < 4) return more(bytes);
  if (handshake[0] !== CLIENT_HELLO) return null;
  const length = (handshake[1]! << 16) | (handshake[2]! << 8) | handshake[3]!;
  if (length > HELLO_BYTES_MAX) return null;
  if (handshake.length < 4 + length) return more(bytes);
  return nameIn(handshake.subarray(4, 4 + length));
}

const more = (bytes: Uint8Array): null | undefined => (bytes.length >= HELLO_BYTES_MAX ? null : undefined);

/** The fragments of the handshake records, as far as they are there; null: no TLS. */
function joinRecords(bytes: Uint8Array): Uint8Array | null {
  const pieces: Uint8Array[] = [];
  for (let at = 0; at < bytes.length; ) {
    if (bytes[at] !== HANDSHAKE || (at + 1 < bytes.length && bytes[at + 1] !== 3))
      return at === 0 ? null : concat(pieces);
    if (at + RECORD_HEADER > bytes.length) break;
    const length = (bytes[at + 3]! << 8) | bytes[at + 4]!;
    pieces.push(bytes.subarray(at + RECORD_HEADER, at + RECORD_HEADER + length));
    at += RECORD_HEADER + length;
  }
  return concat(pieces);
}

export function concat(pieces: readonly Uint8Array[]): Uint8Array {
  const all = new Uint8Array(pieces.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const piece of pieces) {
    all.set(piece, at);
    at += piece.length;
  }
  return all;
}

/** Reads lengths and what they count; past the end everything is empty. */
class Reader {
  readonly #bytes: Uint8Array;
  #at: number;

  constructor(bytes: Uint8Array, at = 0) {
    this.#bytes = bytes;
    this.#at = at;
  }

  get isAtEnd(): boolean {
    return this.#at >= this.#bytes.length;
  }

  number(size: number): number {
    let value = 0;
    for (let i = 0; i < size; i++) value = (value << 8) | (this.#bytes[this.#at++] ?? 0);
    return value;
  }

  /** What a length of `size` bytes counts. */
  vector(size: number): Uint8Array {
    const length = this.number(size);
    const from = this.#at;
    this.#at += length;
    return this.#bytes.subarray(from, from + length);
  }
}

/** `legacy_version` and `random`. */
const FIXED = 34;

function nameIn(hello: Uint8Array): string | null {
  const body = new Reader(hello, FIXED);
  body.vector(1); // legacy_session_id
  body.vector(2); // cipher_suites
  body.vector(1); // legacy_compression_methods
  const extensions = new Reader(body.vector(2));
  while (!extensions.isAtEnd) {
    const type = extensions.number(2);
    const value = extensions.vector(2);
    if (type !== SERVER_NAME) continue;
    const list = new Reader(new Reader(value).vector(2));
    while (!list.isAtEnd) {
      const kind = list.number(1);
      const name = list.vector(2);
      if (kind === HOST_NAME && name.length > 0) return String.fromCharCode(...name.subarray(0, 255)).toLowerCase();
    }
  }
  return null;
}
