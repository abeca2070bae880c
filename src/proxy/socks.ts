/**
 * What is said to a SOCKS5 proxy: RFC 1928, login by name and password (RFC 1929), and the header of its datagrams.
 * Missing on purpose: BIND, GSS-API, and datagrams in fragments, which the RFC leaves to who wants them. @module
 */
import type { Socket } from 'node:net';
import { IpAddress, parseIp } from '../wire/address.ts';

const VERSION = 5;
/** RFC 1929 §2: the version of the login is another one. */
const LOGIN_VERSION = 1;
const NO_LOGIN = 0;
const BY_PASSWORD = 2;
/** RFC 1928 §4. */
export const CONNECT = 1;
export const UDP_ASSOCIATE = 3;
/** RFC 1928 §5. */
const TYPE_IPV4 = 1;
const TYPE_NAME = 3;
const TYPE_IPV6 = 4;
/** RFC 1928 §7: two bytes reserved, FRAG, and the address follows. */
const FRAG = 2; // u8
const ADDRESS = 3;
/** What a length of one byte can say, of names of hosts and users, and of passwords. */
export const TEXT_BYTES_MAX = 255;

/** RFC 1928 §6: what the replies mean. */
const REPLIES: Readonly<Record<number, string>> = {
  2: 'EACCES',
  3: 'ENETUNREACH',
  4: 'EHOSTUNREACH',
  5: 'ECONNREFUSED',
  6: 'ETIMEDOUT',
  7: 'EOPNOTSUPP',
};

export const failed = (code: string, detail: string): Error => Object.assign(new Error(detail), { code });

/** An address or a name, and a port. */
export interface Place {
  readonly host: string;
  readonly port: number;
}

/** Takes exactly `length` bytes. @throws ECONNRESET where the proxy ends before */
export function take(socket: Socket, length: number): Promise<Buffer> {
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

/**
 * Logs in, and asks for `command`.
 * @returns the address the proxy is bound to
 * @throws EACCES, EOPNOTSUPP and what else the replies mean; ECONNRESET where it speaks something else
 */
export async function ask(
  socket: Socket,
  user: { readonly name: string; readonly password: string } | null,
  command: number,
  { host, port }: Place,
): Promise<Place> {
  const wanted = user === null ? NO_LOGIN : BY_PASSWORD;
  socket.write(Uint8Array.of(VERSION, 1, wanted));
  const method = await take(socket, 2);
  if (method[0] !== VERSION || method[1] !== wanted) throw failed('EACCES', 'the proxy wants another way to log in');
  if (user !== null) {
    const [name, password] = [Buffer.from(user.name), Buffer.from(user.password)];
    const said = [Uint8Array.of(LOGIN_VERSION, name.length), name, Uint8Array.of(password.length), password];
    socket.write(Buffer.concat(said));
    if ((await take(socket, 2))[1] !== 0) throw failed('EACCES', 'the proxy does not know the user');
  }
  socket.write(Buffer.concat([Uint8Array.of(VERSION, command, 0), placeBytes(host, port)]));
  const [version, reply, , type] = await take(socket, 4);
  if (version !== VERSION) throw failed('ECONNRESET', 'the proxy does not speak SOCKS5');
  if (reply !== 0) throw failed(REPLIES[reply!] ?? 'ECONNRESET', `the proxy answers ${reply}`);
  if (type !== TYPE_IPV4 && type !== TYPE_IPV6 && type !== TYPE_NAME) {
    throw failed('ECONNRESET', `the proxy answers with an address of type ${type}`);
  }
  const length = type === TYPE_IPV4 ? 4 : type === TYPE_IPV6 ? 16 : (await take(socket, 1))[0]!;
  const bound = await take(socket, length + 2);
  return { host: hostOf(type, bound.subarray(0, length)), port: bound.readUInt16BE(length) };
}

/** The type and the bytes of an address or a name, and the port: RFC 1928 §5. */
function placeBytes(host: string, port: number): Uint8Array {
  const address = parseIp(host);
  if (address === null) {
    const name = Buffer.from(host);
    if (name.length > TEXT_BYTES_MAX) throw failed('EINVAL', 'the name is too long');
    return Buffer.concat([Uint8Array.of(TYPE_NAME, name.length), name, Uint8Array.of(port >> 8, port & 0xff)]);
  }
  const words = address.isV4 ? [address.d] : [address.a, address.b, address.c, address.d];
  const bytes = new Uint8Array(1 + 4 * words.length + 2);
  const dv = new DataView(bytes.buffer);
  bytes[0] = address.isV4 ? TYPE_IPV4 : TYPE_IPV6;
  for (const [i, word] of words.entries()) dv.setInt32(1 + 4 * i, word);
  dv.setUint16(bytes.length - 2, port);
  return bytes;
}

function hostOf(type: number, bytes: Uint8Array): string {
  if (type === TYPE_NAME) return Buffer.from(bytes).toString('latin1');
  const dv = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  if (type === TYPE_IPV4) return `${IpAddress.v4(dv.getInt32(0))}`;
  return `${new IpAddress(dv.getInt32(0), dv.getInt32(4), dv.getInt32(8), dv.getInt32(12))}`;
}

/** The header of a datagram to a place: RFC 1928 §7. */
export const datagramHeader = (host: string, port: number): Uint8Array =>
  Buffer.concat([Uint8Array.of(0, 0, 0), placeBytes(host, port)]);

/** A datagram as it came of the proxy. */
export interface Relayed extends Place {
  /** A view of what was read. */
  readonly payload: Uint8Array;
}

/** Reads one: whom it is of, and what it carries; or why it is dropped. */
export function readDatagram(data: Uint8Array): Relayed | 'fragment' | 'malformed' {
  if (data.length < ADDRESS + 1 || data[0] !== 0 || data[1] !== 0) return 'malformed';
  // RFC 1928 §7: "An implementation that does not support fragmentation MUST drop any datagram whose FRAG field is other than X'00'".
  if (data[FRAG] !== 0) return 'fragment';
  const type = data[ADDRESS]!;
  if (type !== TYPE_IPV4 && type !== TYPE_IPV6 && type !== TYPE_NAME) return 'malformed';
  const isName = type === TYPE_NAME;
  const at = ADDRESS + (isName ? 2 : 1);
  const length = isName ? (data[ADDRESS + 1] ?? 0) : type === TYPE_IPV4 ? 4 : 16;
  const port = at + length;
  if (length === 0 || data.length < port + 2) return 'malformed';
  const host = hostOf(type, data.subarray(at, port));
  return { host, port: (data[port]! << 8) | data[port + 1]!, payload: data.subarray(port + 2) };
}
