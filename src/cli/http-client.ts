/**
 * A client of HTTP/1.1 for one GET a connection: RFC 9112 §4 to §7, RFC 9110 §15.4 (redirects). Missing on purpose: TLS,
 * content codings, caches, cookies. @module
 */
import type { Host, TcpStream } from '../index.ts';
import { CommandError } from './command.ts';
import { HttpError, HttpInput } from './http-request.ts';

/** Interim responses (RFC 9110 §15.2) before the one that counts. */
const INTERIM_MAX = 16;
const STATUS_LINE = /^HTTP\/1\.[01] (\d{3})(?: (.*))?$/;
const FIELD = /^([!#$%&'*+.^_`|~\w-]+):[ \t]*(.*?)[ \t]*$/;

export interface ResponseHead {
  readonly status: number;
  readonly reason: string;
  /** As it came, line by line, without the empty line behind it. */
  readonly text: string;
  /** Names in lower case; equal ones are joined by commas. */
  readonly headers: ReadonlyMap<string, string>;
}

/** @throws HttpError for what is no HTTP/1 response */
export function parseResponse(text: string): ResponseHead {
  const [first = '', ...lines] = text.split(/\r?\n/);
  const match = STATUS_LINE.exec(first);
  if (match === null) throw new HttpError(502, 'the answer is not HTTP/1.1');
  const headers = new Map<string, string>();
  for (const line of lines) {
    const field = FIELD.exec(line);
    if (field === null) throw new HttpError(502, 'a header field of the answer is malformed');
    const name = field[1]!.toLowerCase();
    const before = headers.get(name);
    headers.set(name, before === undefined ? field[2]! : `${before}, ${field[2]}`);
  }
  return { status: Number(match[1]), reason: match[2] ?? '', text, headers };
}

/** How the end of a body is found: RFC 9112 §6.3. -1: chunked, -2: by the end of the connection. */
export function bodyBytesOf({ status, headers }: ResponseHead): number {
  if (status === 204 || status === 304) return 0;
  const coding = headers.get('transfer-encoding');
  if (coding !== undefined) {
    if (coding.toLowerCase() !== 'chunked') throw new HttpError(502, `the transfer coding ${coding} is not known here`);
    return -1;
  }
  const length = headers.get('content-length');
  if (length === undefined) return -2;
  // The same length several times is one: RFC 9110 §8.6.
  const values = new Set(length.split(/[ \t]*,[ \t]*/));
  const [value] = values;
  if (values.size !== 1 || !/^\d{1,15}$/.test(value!)) throw new HttpError(502, 'Content-Length is no number');
  return Number(value);
}

/** Where a redirect leads, or null where the answer is none: RFC 9110 §15.4. */
export function redirectOf({ status, headers }: ResponseHead, from: URL): URL | null {
  const location = headers.get('location');
  if (![301, 302, 303, 307, 308].includes(status) || location === undefined) return null;
  try {
    return new URL(location, from);
  } catch {
    throw new CommandError(`${from} redirects to ${JSON.stringify(location)}, which is no URL`);
  }
}

export interface GetOptions {
  readonly signal: AbortSignal;
  /** The address of the server. */
  readonly address: string;
  readonly userAgent: string;
  /** Called once the head is there; false: the body is of no interest. */
  readonly onHead: (head: ResponseHead) => boolean;
  /** Gets the body piece by piece; a piece is valid until the promise it returns is fulfilled. */
  readonly onBody: (piece: Uint8Array) => Promise<void> | undefined;
}

/** Gets `url`; the head of the answer. @throws HttpError, NetError */
export async function get(host: Host, url: URL, options: GetOptions): Promise<ResponseHead> {
  const port = url.port === '' ? 80 : Number(url.port);
  const stream = await host.tcp.connect({ host: options.address, port, signal: options.signal });
  const onAbort = (): void => stream.abort();
  options.signal.addEventListener('abort', onAbort, { once: true });
  try {
    const fields = [
      `GET ${url.pathname}${url.search} HTTP/1.1`,
      `Host: ${url.host}`,
      `User-Agent: ${options.userAgent}`,
      'Accept: */*',
      'Connection: close',
    ];
    await stream.write(new TextEncoder().encode(`${fields.join('\r\n')}\r\n\r\n`));
    const head = await receive(stream, options);
    await stream.close();
    return head;
  } catch (error) {
    stream.abort();
    options.signal.throwIfAborted();
    throw error;
  } finally {
    options.signal.removeEventListener('abort', onAbort);
  }
}

async function receive(stream: TcpStream, { onHead, onBody }: GetOptions): Promise<ResponseHead> {
  const input = new HttpInput(stream, () => {}, 'answer');
  for (let i = 0; i < INTERIM_MAX; i++) {
    const text = await input.headText();
    if (text === null) throw new HttpError(502, 'the server closed the connection without an answer');
    const head = parseResponse(text);
    if (head.status < 200 && head.status !== 101) continue;
    if (onHead(head)) await input.body({ bodyBytes: bodyBytesOf(head) }, onBody);
    return head;
  }
  throw new HttpError(502, `more than ${INTERIM_MAX} interim answers`);
}
