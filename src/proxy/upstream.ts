/**
 * The way out through another proxy: SOCKS5 (RFC 1928, RFC 1929) or HTTP CONNECT (RFC 9110 §9.3.6). What it says of a
 * failure is told as the error it stands for. Datagrams through SOCKS5 are in `association`; HTTP carries none. @module
 */
import { isIPv6, type Socket } from 'node:net';
import { dialMachine } from './machine.ts';
import { ask, CONNECT, failed, TEXT_BYTES_MAX, take } from './socks.ts';

/** How long the other proxy may take to answer. */
const ANSWER_MS = 20_000;
const HEAD_BYTES_MAX = 16_384;

export interface Upstream {
  readonly kind: 'socks5' | 'http';
  readonly host: string;
  readonly port: number;
  /** Null: none is needed. */
  readonly user: { readonly name: string; readonly password: string } | null;
  /**
   * Whether it is told names, where they are known and no rule looks at the address, and resolves them itself, as `socks5h`
   * of other programs. By default it is told addresses.
   */
  readonly sendsNames?: boolean | undefined;
}

/**
 * Reads `socks5://[USER:PASSWORD@]HOST:PORT`, `socks5h://...` or `http://...`.
 * @throws TypeError for what is none of them
 */
export function parseUpstream(text: string): Upstream {
  const wrong = (why: string): never => {
    throw new TypeError(`upstream: ${why}, got ${JSON.stringify(text)}`);
  };
  const match = /^(socks5h?|http):\/\/(?:([^:@/]+):([^@/]*)@)?(\[[^\]]+\]|[^:/[\]]+):(\d{1,5})\/?$/.exec(text);
  const port = Number(match?.[5]);
  if (match === null || port < 1 || port > 65_535) return wrong(UPSTREAM_EXPECTED);
  const user = match[2] === undefined ? null : readUser(match[2], match[3]!);
  if (user === undefined) return wrong(`expected a user and a password of at most ${TEXT_BYTES_MAX} bytes`);
  const kind = match[1] === 'http' ? 'http' : 'socks5';
  return { kind, host: match[4]!.replace(/^\[|\]$/g, ''), port, user, sendsNames: match[1] === 'socks5h' };
}

const UPSTREAM_EXPECTED = 'expected socks5://HOST:PORT, socks5h://HOST:PORT or http://HOST:PORT';

/** Undefined: it cannot be said. */
function readUser(name: string, password: string): Upstream['user'] | undefined {
  try {
    const user = { name: decodeURIComponent(name), password: decodeURIComponent(password) };
    const fits = (text: string): boolean => Buffer.byteLength(text) <= TEXT_BYTES_MAX; // RFC 1929 §2
    return fits(user.name) && fits(user.password) ? user : undefined;
  } catch {
    return undefined; // a percent sign that is none
  }
}

/**
 * Connects to `host`, an address or a name, through `upstream`; the socket is as if connected there.
 * @throws ECONNREFUSED, EHOSTUNREACH, ENETUNREACH, ETIMEDOUT, EACCES, ECONNRESET; what node:net says of the proxy itself
 */
export async function dialUpstream(
  upstream: Upstream,
  host: string,
  port: number,
  signal: AbortSignal,
): Promise<Socket> {
  return throughUpstream(upstream, signal, async (socket) => {
    if (upstream.kind === 'http') await connectHttp(socket, upstream, host, port);
    else await ask(socket, upstream.user, CONNECT, { host, port });
    return socket;
  });
}

/**
 * Connects to the proxy, and talks to it for as long as an answer may take.
 * @throws what `talk` does, and what node:net says of the proxy; ETIMEDOUT
 */
export async function throughUpstream<T>(
  upstream: Upstream,
  signal: AbortSignal,
  talk: (socket: Socket) => Promise<T>,
): Promise<T> {
  const socket = await dialMachine(upstream.host, upstream.port, signal);
  socket.on('error', () => {});
  const onAbort = (): void => void socket.destroy();
  const timer = setTimeout(() => socket.destroy(failed('ETIMEDOUT', 'the proxy does not answer')), ANSWER_MS);
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    return await talk(socket);
  } catch (error) {
    socket.destroy();
    throw error;
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', onAbort);
  }
}

async function connectHttp(socket: Socket, { user }: Upstream, host: string, port: number): Promise<void> {
  const target = isIPv6(host) ? `[${host}]:${port}` : `${host}:${port}`;
  const login =
    user === null
      ? ''
      : `Proxy-Authorization: Basic ${Buffer.from(`${user.name}:${user.password}`).toString('base64')}\r\n`;
  socket.write(`CONNECT ${target} HTTP/1.1\r\nHost: ${target}\r\n${login}\r\n`);
  // A byte at a time, so that nothing of what follows is taken; it comes from memory.
  let head = '';
  while (!head.endsWith('\r\n\r\n')) {
    if (head.length > HEAD_BYTES_MAX) throw failed('ECONNRESET', 'the proxy answers at too great length');
    head += String.fromCharCode((await take(socket, 1))[0]!);
  }
  const status = Number(/^HTTP\/1\.[01] (\d{3})/.exec(head)?.[1]);
  if (status >= 200 && status < 300) return;
  const codes: Record<number, string> = { 403: 'EACCES', 407: 'EACCES', 502: 'EHOSTUNREACH', 504: 'ETIMEDOUT' };
  throw failed(codes[status] ?? 'ECONNREFUSED', `the proxy answers ${status || 'no HTTP'}`);
}
