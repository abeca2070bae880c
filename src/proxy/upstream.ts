/**
 * The way out through another proxy: SOCKS5 (RFC 1928, RFC 1929) or HTTP CONNECT (RFC 9110 §9.3.6). What it says of a
 * failure is told as the error it stands for. Missing on purpose: UDP through either. @module
 */
import { isIPv6, type Socket } from 'node:net';
import { parseIp } from '../wire/address.ts';
import { dialMachine } from './machine.ts';

/** How long the other proxy may take to answer. */
const ANSWER_MS = 20_000;
const HEAD_BYTES_MAX = 16_384;

export interface Upstream {
  readonly kind: 'socks5' | 'http';
  readonly host: string;
  readonly port: number;
  /** Null: none is needed. */
  readonly user: { readonly name: string; readonly password: string } | null;
}

/**
 * Reads `socks5://[USER:PASSWORD@]HOST:PORT` or `http://...`.
 * @throws TypeError for what is neither
 */
export function parseUpstream(text: string): Upstream {
  const wrong = (): never => {
    throw new TypeError(`upstream: expected socks5://HOST:PORT or http://HOST:PORT, got ${JSON.stringify(text)}`);
  };
  const match = /^(socks5|http):\/\/(?:([^:@/]+):([^@/]*)@)?(\[[^\]]+\]|[^:/]+):(\d{1,5})\/?$/.exec(text);
  const port = Number(match?.[5]);
  if (match === null || port < 1 || port > 65_535) return wrong();
  const user =
    match[2] === undefined ? null : { name: decodeURIComponent(match[2]), password: decodeURIComponent(match[3]!) };
  return { kind: match[1] as 'socks5' | 'http', host: match[4]!.replace(/^\[|\]$/g, ''), port, user };
}

const failed = (code: string, detail: string): Error => Object.assign(new Error(detail), { code });

/**
 * Connects to `host`, an address, through `upstream`; the socket is as if connected there.
 * @throws ECONNREFUSED, EHOSTUNREACH, ENETUNREACH, ETIMEDOUT, EACCES, ECONNRESET; what node:net says of the proxy itself
 */
export async function dialUpstream(
  upstream: Upstream,
  host: string,
  port: number,
  signal: AbortSignal,
): Promise<Socket> {
  const socket = await dialMachine(upstream.host, upstream.port, signal);
  socket.on('error', () => {});
  const onAbort = (): void => void socket.destroy();
  const timer = setTimeout(() => socket.destroy(failed('ETIMEDOUT', 'the proxy does not answer')), ANSWER_MS);
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    if (upstream.kind === 'socks5') await socks(socket, upstream, host, port);
    else await connectHttp(socket, upstream, host, port);
    return socket;
  } catch (error) {
    socket.destroy();
    throw error;
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', onAbort);
  }
}

/** Takes exactly `length` bytes. */
function take(socket: Socket, length: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const done = (): void => {
      socket.off('readable', look);
      socket.off('close', gone);
      socket.off('end', gone);
    };
    const gone = (): void => {
      done();
      reject(socket.errored ?? failed('ECONNRESET', 'the proxy has closed the connection'));
    };
    const look = (): void => {
      const bytes = socket.read(length) as Buffer | null;
      if (bytes === null) return;
      if (bytes.length < length) {
        gone();
        return;
      }
      done();
      resolve(bytes);
    };
    socket.on('readable', look);
    socket.on('close', gone);
    socket.on('end', gone);
    if (socket.destroyed) gone();
    else look();
  });
}

/** RFC 1928 §6: what the replies mean. */
const REPLIES: Readonly<Record<number, string>> = {
  2: 'EACCES',
  3: 'ENETUNREACH',
  4: 'EHOSTUNREACH',
  5: 'ECONNREFUSED',
  6: 'ETIMEDOUT',
};

async function socks(socket: Socket, { user }: Upstream, host: string, port: number): Promise<void> {
  const wanted = user === null ? 0 : 2;
  socket.write(Uint8Array.of(5, 1, wanted));
  const method = await take(socket, 2);
  if (method[0] !== 5 || method[1] !== wanted) throw failed('EACCES', 'the proxy wants another way to log in');
  if (user !== null) {
    const [name, password] = [Buffer.from(user.name), Buffer.from(user.password)];
    socket.write(Buffer.concat([Uint8Array.of(1, name.length), name, Uint8Array.of(password.length), password]));
    if ((await take(socket, 2))[1] !== 0) throw failed('EACCES', 'the proxy does not know the user');
  }
  socket.write(Buffer.concat([Uint8Array.of(5, 1, 0), addressOf(host), Uint8Array.of(port >> 8, port & 0xff)]));
  const [version, reply, , type] = await take(socket, 4);
  if (version !== 5) throw failed('ECONNRESET', 'the proxy does not speak SOCKS5');
  if (reply !== 0) throw failed(REPLIES[reply!] ?? 'ECONNRESET', `the proxy answers ${reply}`);
  const length = type === 1 ? 4 : type === 4 ? 16 : (await take(socket, 1))[0]!;
  await take(socket, length + 2); // the address the proxy is bound to
}

/** The type and the bytes of an address: RFC 1928 §5. */
function addressOf(host: string): Uint8Array {
  const address = parseIp(host)!;
  const words = address.isV4 ? [address.d] : [address.a, address.b, address.c, address.d];
  const bytes = new Uint8Array(1 + 4 * words.length);
  const dv = new DataView(bytes.buffer);
  bytes[0] = address.isV4 ? 1 : 4;
  for (const [i, word] of words.entries()) dv.setInt32(1 + 4 * i, word);
  return bytes;
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
