/** A listening TCP port with promises. @module */
import { NetError } from '../errors.ts';
import type { TcpSocket } from '../tcp/socket.ts';
import { asyncDispose } from './dispose.ts';
import type { Loop, Notified } from './loop.ts';
import { TcpStream } from './tcp-stream.ts';
import { Waiters, type WaitOptions } from './waiters.ts';

export class TcpListener implements Notified {
  /** The address listened on; `::` means all, of both families. */
  readonly address: string;
  readonly port: number;
  readonly #loop: Loop;
  readonly #socket: TcpSocket;
  readonly #waiters: Waiters<TcpStream>;
  #isClosed = false;

  /** Made by `host.tcp.listen`. */
  constructor(loop: Loop, socket: TcpSocket) {
    this.#loop = loop;
    this.#socket = socket;
    this.#waiters = new Waiters(loop);
    this.address = loop.stack.ip.format(socket.local!.address);
    this.port = socket.local!.port;
    socket.owner = this;
    loop.closers.add(this.#close);
  }

  /**
   * The next connection. Clients that nobody accepts wait in the backlog; beyond it they try again.
   * @throws NetError ECANCELED when the listener is closed
   */
  accept(options?: WaitOptions): Promise<TcpStream> {
    if (this.#isClosed) return Promise.reject(closedError());
    if (this.#waiters.isEmpty) {
      const socket = this.#socket.accept();
      if (socket !== null) return Promise.resolve(new TcpStream(this.#loop, socket));
    }
    return this.#waiters.wait(options);
  }

  /** Connections until the listener is closed: `for await (const stream of listener)`. */
  async *[Symbol.asyncIterator](): AsyncGenerator<TcpStream, void, undefined> {
    while (!this.#isClosed) {
      let stream: TcpStream;
      try {
        stream = await this.accept();
      } catch (error) {
        if (this.#isClosed) return;
        throw error;
      }
      yield stream;
    }
  }

  readonly #close = (): void => void this.close();

  /** Stops listening and resets connections that nobody accepted; accepted ones live on. */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#loop.closers.delete(this.#close);
    this.#loop.touch();
    this.#socket.close();
    this.#waiters.rejectAll(closedError());
    this.#loop.wake();
  }

  [asyncDispose](): Promise<void> {
    return this.close();
  }

  notify(): void {
    while (!this.#waiters.isEmpty) {
      const socket = this.#socket.accept();
      if (socket === null) return;
      this.#waiters.resolve(new TcpStream(this.#loop, socket));
    }
  }
}

const closedError = (): NetError => new NetError('ECANCELED', 'accept', { detail: 'the listener is closed' });
