/** What a host's resolver asks with: UDP sockets of one query each, TCP connections, the host's clock and chance. @module */
import type { DnsDrop, DnsTransport, Endpoint, QueryHandler, QuerySocket } from '../dns/index.ts';
import { NetError } from '../errors.ts';
import type { Clock } from '../sim/clock.ts';
import { Source } from '../udp/datagram-queue.ts';
import { dial } from './dial.ts';
import type { StackLoop } from './loop.ts';
import type { TcpStream } from './tcp-stream.ts';

/** Bytes of answers that may wait in one query's socket: a flood of guesses fills no more. */
const RECEIVE_BYTES = 1 << 16;

export class HostTransport implements DnsTransport {
  readonly clock: Clock;
  readonly #loop: StackLoop;

  constructor(loop: StackLoop) {
    this.#loop = loop;
    this.clock = loop.clock;
  }

  random(): number {
    return this.#loop.stack.context.random();
  }

  drop(reason: DnsDrop): void {
    this.#loop.stack.stats.drop(reason);
  }

  /** A connected socket: the stack lets in nothing but datagrams of the server's address and port (RFC 5452 §9.1). */
  open(server: Endpoint, handler: QueryHandler): QuerySocket {
    const loop = this.#loop;
    loop.assertOpen('resolve');
    const socket = loop.stack.udpSocket(RECEIVE_BYTES);
    const source = new Source();
    let isOpen = true;
    const read = (): void => {
      try {
        while (isOpen) {
          const data = new Uint8Array(Math.max(0, socket.peekLength()));
          if (socket.recv(data, source) < 0) return;
          handler.message(data);
        }
      } catch (error) {
        if (!(error instanceof NetError)) throw error;
        handler.failed(error.code);
      }
    };
    const cancel = (): void => handler.failed('ECANCELED');
    socket.owner = { notify: read };
    loop.closers.add(cancel);
    loop.hold(1);
    const close = (): void => {
      if (!isOpen) return;
      isOpen = false;
      loop.hold(-1);
      loop.closers.delete(cancel);
      socket.close();
    };
    try {
      loop.touch();
      socket.connect(server);
    } catch (error) {
      close();
      throw error;
    }
    const send = (data: Uint8Array): void => {
      loop.touch();
      socket.send(data);
      loop.wake();
    };
    return { send, close };
  }

  async stream(server: Endpoint, query: Uint8Array, signal: AbortSignal): Promise<Uint8Array> {
    const stream = await dial(this.#loop, server.address, server.port, { signal });
    const abort = (): void => stream.abort();
    this.#loop.closers.add(abort);
    signal.addEventListener('abort', abort, { once: true });
    try {
      // RFC 7766 §8: length and message in one write, so that they leave in one segment.
      const framed = new Uint8Array(2 + query.length);
      framed.set([query.length >> 8, query.length & 0xff]);
      framed.set(query, 2);
      await stream.write(framed);
      const length = await readExactly(stream, 2, signal);
      return await readExactly(stream, (length[0]! << 8) | length[1]!, signal);
    } finally {
      signal.removeEventListener('abort', abort);
      this.#loop.closers.delete(abort);
      await stream.close();
    }
  }
}

async function readExactly(stream: TcpStream, length: number, signal: AbortSignal): Promise<Uint8Array> {
  const data = new Uint8Array(length);
  for (let at = 0; at < length; ) {
    const count = await stream.readInto(data.subarray(at), { signal });
    if (count === 0) throw new NetError('ECONNRESET', 'resolve', { detail: 'the server ended within an answer' });
    at += count;
  }
  return data;
}
