/**
 * The web server of `ethertype server`: a page, bytes to download and a place to upload to. HTTP/1.1 (RFC 9110, 9112)
 * over a TcpStream, with requests kept alive and pipelined. @module
 */
import { createHash } from 'node:crypto';
import type { TcpStream } from '../index.ts';
import { HttpError, HttpInput, type RequestHead } from './http-request.ts';

/** The most bytes /bytes/N gives. */
const BYTES_MAX = 1e12;
/** Milliseconds without a byte either way after which a connection is reset. */
const IDLE_MS = 60_000;
/** What is still read of a body that nobody wants, so that a reset does not overtake the answer. */
const LINGER_BYTES_MAX = 1 << 20;
const LINGER_MS = 2000;

const REASONS: Readonly<Record<number, string>> = {
  200: 'OK',
  400: 'Bad Request',
  404: 'Not Found',
  405: 'Method Not Allowed',
  417: 'Expectation Failed',
  431: 'Request Header Fields Too Large',
  501: 'Not Implemented',
  505: 'HTTP Version Not Supported',
};

const CONTINUE = new TextEncoder().encode('HTTP/1.1 100 Continue\r\n\r\n');
const BLOCK_BYTES = 1 << 16;
const blocks = new Map<number, Uint8Array>();

/** Byte `i` of every download: the four bytes of `i` exclusive-ored, so that a shifted or lost piece shows. */
export const byteAt = (i: number): number => (i ^ (i >>> 8) ^ (i >>> 16) ^ (i >>> 24)) & 0xff;

/** The 64 KiB of a download that begin at 65536 `index`; there are 256 different ones, made at first use. */
export function downloadBlock(index: number): Uint8Array {
  const high = (index ^ (index >>> 8)) & 0xff;
  let block = blocks.get(high);
  if (block === undefined) {
    block = new Uint8Array(BLOCK_BYTES);
    for (let i = 0; i < BLOCK_BYTES; i++) block[i] = byteAt(i) ^ high;
    blocks.set(high, block);
  }
  return block;
}

interface Answer {
  readonly status: number;
  readonly type: string;
  readonly allow?: string;
  /** A text, or how many bytes of the download. */
  readonly body: string | number;
}

const text = (status: number, body: string, allow?: string): Answer => ({
  status,
  type: 'text/plain; charset=utf-8',
  body: `${body}\n`,
  ...(allow === undefined ? {} : { allow }),
});

/** Serves one connection until either side ends it; rejects when it fails. */
export async function serveHttp(stream: TcpStream): Promise<void> {
  const idle = setTimeout(() => stream.abort(), IDLE_MS).unref();
  const connection = new HttpConnection(stream, () => idle.refresh());
  try {
    await connection.serve();
  } finally {
    clearTimeout(idle);
  }
}

class HttpConnection {
  readonly #stream: TcpStream;
  readonly #alive: () => void;
  readonly #input: HttpInput;

  constructor(stream: TcpStream, alive: () => void) {
    this.#stream = stream;
    this.#alive = alive;
    this.#input = new HttpInput(stream, alive);
  }

  async serve(): Promise<void> {
    try {
      for (let head = await this.#input.head(); head !== null; head = await this.#input.head()) {
        if (!(await this.#exchange(head))) break;
      }
    } catch (error) {
      if (!(error instanceof HttpError)) throw error;
      const answer = text(error.status, error.message);
      await this.#send(null, answer, false);
      await this.#linger();
    }
  }

  /** One request and its answer; whether there may be another. */
  async #exchange(head: RequestHead): Promise<boolean> {
    const expected = head.headers.get('expect');
    if (expected !== undefined && !head.expectsContinue) throw new HttpError(417, 'expected 100-continue');
    if (head.path === '/sum' && (head.method === 'POST' || head.method === 'PUT')) return this.#sum(head);
    const answer = route(head, this.#stream);
    if (head.bodyBytes === 0) {
      await this.#send(head, answer, head.keepsAlive);
      return head.keepsAlive;
    }
    await this.#send(head, answer, false);
    await this.#linger();
    return false;
  }

  async #sum(head: RequestHead): Promise<boolean> {
    if (head.expectsContinue && head.bodyBytes !== 0) await this.#stream.write(CONTINUE);
    const hash = createHash('sha256');
    const bytes = await this.#input.body(head, (piece) => hash.update(piece));
    const body = `${JSON.stringify({ bytes, sha256: hash.digest('hex') })}\n`;
    await this.#send(head, { status: 200, type: 'application/json', body }, head.keepsAlive);
    return head.keepsAlive;
  }

  async #send(head: RequestHead | null, { status, type, allow, body }: Answer, keepsAlive: boolean): Promise<void> {
    const length = typeof body === 'number' ? body : Buffer.byteLength(body);
    const lines = [
      `HTTP/1.1 ${status} ${REASONS[status]}`,
      `Date: ${new Date().toUTCString()}`,
      'Server: ethertype',
      `Content-Type: ${type}`,
      `Content-Length: ${length}`,
      ...(allow === undefined ? [] : [`Allow: ${allow}`]),
      ...(keepsAlive ? (head?.isHttp10 ? ['Connection: keep-alive'] : []) : ['Connection: close']),
    ];
    const top = `${lines.join('\r\n')}\r\n\r\n`;
    const isBare = head?.method === 'HEAD';
    await this.#stream.write(Buffer.from(isBare || typeof body === 'number' ? top : top + body));
    if (!isBare && typeof body === 'number') await this.#download(body);
    this.#alive();
  }

  async #download(count: number): Promise<void> {
    for (let index = 0, left = count; left > 0; index++, left -= BLOCK_BYTES) {
      const block = downloadBlock(index);
      await this.#stream.write(left < BLOCK_BYTES ? block.subarray(0, left) : block);
      this.#alive();
    }
  }

  /** RFC 9112 §9.6: ends our half, then reads on for a while, so that the client gets the answer and not a reset. */
  async #linger(): Promise<void> {
    await this.#stream.end();
    const rest = new Uint8Array(BLOCK_BYTES);
    const timer = setTimeout(() => this.#stream.abort(), LINGER_MS);
    try {
      for (let total = 0, n = 1; n > 0 && total < LINGER_BYTES_MAX; total += n) n = await this.#stream.readInto(rest);
    } catch {
      // the client has had enough, or its time was up
    } finally {
      clearTimeout(timer);
    }
  }
}

const READ = ['GET', 'HEAD'];

/** What is answered to all but an upload. */
function route({ method, path }: RequestHead, stream: TcpStream): Answer {
  const count = /^\/bytes\/(\d{1,13})$/.exec(path)?.[1];
  if (path === '/sum') return text(405, 'send what is to be summed with POST or PUT', 'POST, PUT');
  if (path !== '/' && count === undefined) {
    return text(
      404,
      path.startsWith('/bytes/') ? 'expected /bytes/N with N in digits' : 'there is no such page: see /',
    );
  }
  if (!READ.includes(method)) return text(405, 'this can be read with GET or HEAD', READ.join(', '));
  if (count === undefined) return { status: 200, type: 'text/html; charset=utf-8', body: page(stream) };
  if (Number(count) > BYTES_MAX) return text(400, `at most ${BYTES_MAX} bytes`);
  return { status: 200, type: 'application/octet-stream', body: Number(count) };
}

const page = ({ localAddress, remoteAddress, remotePort }: TcpStream): string => `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>ethertype</title>
<style>body { font: 16px/1.5 system-ui, sans-serif; max-width: 42em; margin: 3em auto; padding: 0 1em }</style>
<h1>This is ethertype at ${localAddress}</h1>
<p>A TCP/IP stack in TypeScript answers you, ${remoteAddress} port ${remotePort}.</p>
<ul>
<li><a href="/bytes/1000000">/bytes/N</a>: N bytes; byte i is the exclusive or of the four bytes of i
<li>/sum: answers POST and PUT with the count and the SHA-256 of what was sent
<li>echo on port 7, discard on 9, chargen on 19, each over TCP and UDP
<li>port 6969: over TCP what you send, reversed; over UDP "yo dawg"
</ul>
</html>
`;
