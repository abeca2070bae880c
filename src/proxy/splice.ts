/**
 * One TCP connection of the stack joined to one of the machine: bytes, half-closes and resets go through both ways, and
 * who reads slowly holds up who writes. @module
 */
import type { Socket } from 'node:net';
import { NetError } from '../errors.ts';
import type { TcpStream } from '../sockets/tcp-stream.ts';

/** Bytes that went through, both ways. */
export interface ByteCounts {
  /** From the stack's side to the machine's, and back. */
  out: number;
  in: number;
}

export interface SpliceOptions {
  /** Bytes of both ways together, after which the connection is reset. */
  readonly bytesMax?: number | undefined;
  /** What was read of the stream before, and goes to the socket first. */
  readonly first?: Uint8Array | undefined;
}

const codeOf = (error: unknown): string => (error as { code?: string }).code ?? String(error);

/**
 * Joins them until both halves are closed, or one side is reset, which resets the other.
 * @param socket - connected, made with `allowHalfOpen`, not read from yet
 * @returns null for an orderly end, or the code of what ended it
 */
export async function splice(
  stream: TcpStream,
  socket: Socket,
  counts: ByteCounts,
  { bytesMax = Number.POSITIVE_INFINITY, first }: SpliceOptions = {},
): Promise<string | null> {
  const check = (): void => {
    if (counts.in + counts.out > bytesMax) throw new NetError('EMSGSIZE', 'relay', { detail: 'the limit of bytes' });
  };
  // A socket that has failed is closed: nothing waits for it any more.
  const broken = new Promise<never>((_, reject) => {
    socket.once('error', reject);
    if (socket.errored) reject(socket.errored);
  });
  try {
    await Promise.race([
      broken,
      Promise.all([toSocket(stream, socket, counts, check, first), toStream(stream, socket, counts, check)]),
    ]);
    await stream.close();
    socket.destroy();
    return null;
  } catch (error) {
    stream.abort();
    socket.on('error', () => {});
    socket.resetAndDestroy();
    return codeOf(error);
  }
}

async function toSocket(
  stream: TcpStream,
  socket: Socket,
  counts: ByteCounts,
  check: () => void,
  first: Uint8Array | undefined,
): Promise<void> {
  for (let chunk = first ?? (await stream.read()); chunk !== null; chunk = await stream.read()) {
    counts.out += chunk.length;
    check();
    if (!socket.write(chunk)) await drained(socket);
  }
  socket.end();
}

/** Room in the socket again; or its end, which `broken` tells of. */
const drained = (socket: Socket): Promise<void> =>
  new Promise((resolve) => {
    const done = (): void => {
      socket.off('drain', done);
      socket.off('close', done);
      resolve();
    };
    socket.on('drain', done);
    socket.on('close', done);
  });

function toStream(stream: TcpStream, socket: Socket, counts: ByteCounts, check: () => void): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.on('data', (chunk: Uint8Array) => {
      counts.in += chunk.length;
      try {
        check();
      } catch (error) {
        reject(error);
        return;
      }
      socket.pause();
      stream.write(chunk).then(() => socket.resume(), reject);
    });
    socket.on('end', () => stream.end().then(resolve, reject));
    socket.on('close', () => {
      if (!socket.readableEnded) reject(new NetError('ECONNRESET', 'relay'));
    });
    socket.resume();
  });
}
