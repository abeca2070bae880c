/**
 * Messages of HTTP/1.1 as they come in, requests above all: RFC 9112 §2 to §7. Read §6.3 (how long a body is) first. Missing on purpose:
 * trailers (skipped), upgrades, transfer codings other than chunked. @module
 */
import type { TcpStream } from '../index.ts';

/** Bytes of a request line with its header fields; beyond it the answer is 431. */
const HEAD_BYTES_MAX = 1 << 14;
/** What the buffer of a connection starts with; it doubles up to the limit above. */
const HEAD_BYTES_FIRST = 1 << 11;
/** Bytes of a body handed over at once. */
const BODY_BYTES = 1 << 16;
/** Bytes of a chunk's size line, and of all trailers. */
const CHUNK_LINE_BYTES_MAX = 256;
const TRAILER_BYTES_MAX = 1 << 13;

const LF = 10;
const CR = 13;

/** A request that cannot be served; the connection ends with this answer. */
export class HttpError extends Error {
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

export interface RequestHead {
  readonly method: string;
  /** Without the query. */
  readonly path: string;
  readonly isHttp10: boolean;
  /** Names in lower case; equal ones are joined by commas. */
  readonly headers: ReadonlyMap<string, string>;
  /** Bytes of the body, -1: chunked. */
  readonly bodyBytes: number;
  /** Whether the client wants the connection kept: RFC 9112 §9.3. */
  readonly keepsAlive: boolean;
  /** Whether it waits for `100 Continue` before it sends the body: RFC 9110 §10.1.1. */
  readonly expectsContinue: boolean;
}

const REQUEST_LINE = /^([!#$%&'*+.^_`|~\w-]+) (\S+) HTTP\/1\.([01])$/;
const FIELD = /^([!#$%&'*+.^_`|~\w-]+):[ \t]*(.*?)[ \t]*$/;

/**
 * Reads a request line and its fields, without the empty line behind them.
 * @throws HttpError 400, 501 or 505
 */
export function parseHead(text: string): RequestHead {
  const [first = '', ...fields] = text.split(/\r?\n/);
  const match = REQUEST_LINE.exec(first);
  if (match === null) {
    if (/ HTTP\/[2-9](\.\d)?$/.test(first)) throw new HttpError(505, 'this is HTTP/1.1');
    throw new HttpError(400, 'the request line is malformed');
  }
  const headers = parseFields(fields);
  const isHttp10 = match[3] === '0';
  if (!isHttp10 && !headers.has('host')) throw new HttpError(400, 'the Host field is missing'); // RFC 9112 §3.2
  const connection = (headers.get('connection') ?? '').toLowerCase().split(/[ \t]*,[ \t]*/);
  return {
    method: match[1]!,
    path: pathOf(match[2]!),
    isHttp10,
    headers,
    bodyBytes: bodyBytesOf(headers, isHttp10),
    keepsAlive: !connection.includes('close') && (!isHttp10 || connection.includes('keep-alive')),
    expectsContinue: !isHttp10 && headers.get('expect')?.toLowerCase() === '100-continue',
  };
}

function parseFields(lines: readonly string[]): Map<string, string> {
  const headers = new Map<string, string>();
  for (const line of lines) {
    const match = FIELD.exec(line); // folded lines are refused too: RFC 9112 §5.2
    // biome-ignore lint/suspicious/noControlCharactersInRegex: RFC 9110 §5.5 forbids them in a value
    if (match === null || /[\0-\x08\x0a-\x1f\x7f]/.test(match[2]!)) {
      throw new HttpError(400, 'a header field is malformed');
    }
    const name = match[1]!.toLowerCase();
    const before = headers.get(name);
    if (before !== undefined && (name === 'host' || name === 'content-length')) {
      throw new HttpError(400, `the field ${match[1]} comes twice`);
    }
    headers.set(name, before === undefined ? match[2]! : `${before}, ${match[2]}`);
  }
  return headers;
}

/** RFC 9112 §3.2: origin-form, or absolute-form as proxies get it. */
function pathOf(target: string): string {
  const path = target.replace(/^https?:\/\/[^/?]*/i, '').replace(/[?#].*$/s, '');
  return path === '' ? '/' : path;
}

/** RFC 9112 §6.3. Both fields at once is how requests are smuggled: refused. */
function bodyBytesOf(headers: ReadonlyMap<string, string>, isHttp10: boolean): number {
  const length = headers.get('content-length');
  const coding = headers.get('transfer-encoding');
  if (coding !== undefined) {
    if (length !== undefined || isHttp10) throw new HttpError(400, 'the length of the body is ambiguous');
    if (coding.toLowerCase() !== 'chunked') throw new HttpError(501, 'the only transfer coding here is chunked');
    return -1;
  }
  if (length === undefined) return 0;
  if (!/^\d{1,15}$/.test(length)) throw new HttpError(400, 'Content-Length is no number');
  return Number(length);
}

/** What receives a piece of a body; where it returns a promise, the next piece waits for it. */
type Consume = (piece: Uint8Array) => unknown;

/** The receiving half of a connection: heads, and bodies between them. */
export class HttpInput {
  readonly #stream: TcpStream;
  /** Called at each arrival of bytes. */
  readonly #alive: () => void;
  #buffer = new Uint8Array(HEAD_BYTES_FIRST);
  #start = 0;
  #end = 0;
  #body: Uint8Array | null = null;
  readonly #what: string;

  /** @param what - what comes in, for errors */
  constructor(stream: TcpStream, alive: () => void, what: 'request' | 'answer' = 'request') {
    this.#stream = stream;
    this.#alive = alive;
    this.#what = what;
  }

  /**
   * The next request, or null at the end of the connection.
   * @throws HttpError for a malformed or an endless one, NetError
   */
  async head(): Promise<RequestHead | null> {
    const text = await this.headText();
    return text === null ? null : parseHead(text);
  }

  /** The next head as text, without the empty line behind it; null at the end of the connection. */
  async headText(): Promise<string | null> {
    let searched = 0;
    for (;;) {
      // RFC 9112 §2.2: empty lines before a request are skipped.
      while (searched === 0 && this.#start < this.#end && isLineEnd(this.#buffer[this.#start]!)) this.#start++;
      const end = this.#headEnd(this.#start + searched);
      if (end >= 0) {
        const text = Buffer.from(this.#buffer.buffer, this.#start, end - this.#start).toString('latin1');
        this.#start = end;
        return text.replace(/\r?\n\r?\n$/, '');
      }
      searched = Math.max(0, this.#end - this.#start - 3);
      if (!(await this.#fill())) {
        if (this.#start === this.#end) return null;
        throw new HttpError(400, `the ${this.#what} ends in its middle`);
      }
    }
  }

  /** Where the empty line that ends a head is over, or -1. */
  #headEnd(from: number): number {
    for (let i = this.#buffer.indexOf(LF, from); i >= 0 && i < this.#end; i = this.#buffer.indexOf(LF, i + 1)) {
      const next = this.#buffer[i + 1];
      if (i + 1 < this.#end && next === LF) return i + 2;
      if (i + 2 < this.#end && next === CR && this.#buffer[i + 2] === LF) return i + 3;
    }
    return -1;
  }

  /** Reads more behind what is buffered, and makes room for it; false at the end of the stream. */
  async #fill(): Promise<boolean> {
    if (this.#start > 0) {
      this.#buffer.copyWithin(0, this.#start, this.#end);
      this.#end -= this.#start;
      this.#start = 0;
    }
    if (this.#end === this.#buffer.length) {
      if (this.#end >= HEAD_BYTES_MAX) throw new HttpError(431, `the header is over ${HEAD_BYTES_MAX} bytes`);
      const larger = new Uint8Array(2 * this.#end);
      larger.set(this.#buffer);
      this.#buffer = larger;
    }
    const count = await this.#stream.readInto(this.#buffer.subarray(this.#end));
    this.#end += count;
    this.#alive();
    return count > 0;
  }

  /**
   * Reads a body to its end.
   * @param head - its length; -1: chunked, -2: as long as the connection
   * @param consume - gets it piece by piece; a piece is valid only during the call, or until its promise is fulfilled
   * @returns its length
   */
  async body(head: Pick<RequestHead, 'bodyBytes'>, consume: Consume): Promise<number> {
    if (head.bodyBytes === -2) return this.#take(Number.POSITIVE_INFINITY, consume);
    if (head.bodyBytes >= 0) {
      await this.#take(head.bodyBytes, consume);
      return head.bodyBytes;
    }
    let total = 0;
    for (;;) {
      const size = await this.#chunkSize();
      if (size === 0) break;
      await this.#take(size, consume);
      total += size;
      if ((await this.#line(2)) !== '') throw new HttpError(400, 'a chunk is longer than it says');
    }
    let trailerBytes = 0;
    for (let line = await this.#line(TRAILER_BYTES_MAX); line !== ''; line = await this.#line(TRAILER_BYTES_MAX)) {
      trailerBytes += line.length;
      if (trailerBytes > TRAILER_BYTES_MAX) throw new HttpError(431, 'the trailers are too long');
    }
    return total;
  }

  /** RFC 9112 §7.1: hexadecimal, then extensions, which mean nothing to us. */
  async #chunkSize(): Promise<number> {
    const match = /^([0-9a-fA-F]{1,12})[ \t]*(;.*)?$/.exec(await this.#line(CHUNK_LINE_BYTES_MAX));
    if (match === null) throw new HttpError(400, 'the size of a chunk is malformed');
    return Number.parseInt(match[1]!, 16);
  }

  /** A line without its end. */
  async #line(bytesMax: number): Promise<string> {
    for (;;) {
      const at = this.#buffer.subarray(this.#start, this.#end).indexOf(LF);
      if ((at < 0 ? this.#end - this.#start : at) > bytesMax)
        throw new HttpError(400, 'a line of the body is too long');
      if (at >= 0) {
        const text = Buffer.from(this.#buffer.buffer, this.#start, at).toString('latin1');
        this.#start += at + 1;
        return text.endsWith('\r') ? text.slice(0, -1) : text;
      }
      if (!(await this.#fill())) throw new HttpError(400, 'the body ends in its middle');
    }
  }

  /** Hands over `count` bytes: first what is buffered, then straight from the stream. */
  async #take(count: number, consume: Consume): Promise<number> {
    const buffered = Math.min(count, this.#end - this.#start);
    if (buffered > 0) await consume(this.#buffer.subarray(this.#start, this.#start + buffered));
    this.#start += buffered;
    let left = count - buffered;
    if (left > 0) this.#body ??= new Uint8Array(BODY_BYTES);
    while (left > 0) {
      const body = this.#body!;
      const n = await this.#stream.readInto(left < body.length ? body.subarray(0, left) : body);
      if (n === 0 && count === Number.POSITIVE_INFINITY) return 0;
      if (n === 0) throw new HttpError(400, 'the body ends in its middle');
      this.#alive();
      const done = consume(body.subarray(0, n));
      if (done instanceof Promise) await done;
      left -= n;
    }
    return count;
  }
}

const isLineEnd = (byte: number): boolean => byte === LF || byte === CR;
