/** A listening TCP port with promises. @module */
import { NetError } from '../errors.ts';
import type { BlockingOptions, ListenerBackend, SocketLoop } from './backend.ts';
import { asyncDispose, dispose } from './dispose.ts';
import type { Notified } from './loop.ts';
import { TcpStream } from './tcp-stream.ts';
import { Waiters, type WaitOptions } from './waiters.ts';

export class TcpListener implements Notified {
  /** The address listened on; `::` means all, of both families. */
  readonly address: string;
  readonly port: number;
  readonly #loop: SocketLoop;
  readonly #socket: ListenerBackend;
  readonly #waiters: Waiters<TcpStream>;
  #isClosed = false;

  /** Made by `host.tcp.listen`. */
  constructor(loop: SocketLoop, socket: ListenerBackend) {
    this.#loop = loop;
    this.#socket = socket;
    this.#waiters = new Waiters(loop);
    this.address = loop.formatAddress(socket.local!.address);
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
      const stream = this.#take();
      if (stream !== undefined) return Promise.resolve(stream);
    }
    return this.#waiters.wait(options);
  }

  /** As {@link accept}, but stops the thread: see {@link SocketLoop.block}. */
  acceptBlocking(options?: BlockingOptions): TcpStream {
    const attempt = (): TcpStream | undefined => {
      if (this.#isClosed) throw closedError();
      return this.#waiters.isEmpty ? this.#take() : undefined;
    };
    return this.#loop.block('accept', attempt, options);
  }

  #take(): TcpStream | undefined {
    const socket = this.#socket.accept();
    return socket === null ? undefined : new TcpStream(socket.loop ?? this.#loop, socket);
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

  [dispose](): void {
    void this.close();
  }

  [asyncDispose](): Promise<void> {
    return this.close();
  }

  notify(): void {
    while (!this.#waiters.isEmpty) {
      const stream = this.#take();
      if (stream === undefined) return;
      this.#waiters.resolve(stream);
    }
  }
}

const closedError = (): NetError => new NetError('ECANCELED', 'accept', { detail: 'the listener is closed' });
