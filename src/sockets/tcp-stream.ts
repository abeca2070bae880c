/** A TCP connection with promises: write, read, half-close; and WHATWG byte streams of the same connection. @module */
import { NetError } from '../errors.ts';
import { CLOSED_EVENT, CONNECTED, READABLE, WRITABLE } from '../tcp/events.ts';
import type { TcpInfo } from '../tcp/info.ts';
import { TcpSocket } from '../tcp/socket.ts';
import type { TcpState } from '../tcp/state.ts';
import type { Trace } from '../tcp/trace.ts';
import type { IpAddress } from '../wire/address.ts';
import type { BlockingOptions, SocketLoop, StreamBackend } from './backend.ts';
import { asyncDispose, dispose } from './dispose.ts';
import type { Notified } from './loop.ts';
import { Waiters, type WaitOptions } from './waiters.ts';

/** The most bytes one `read` gives. */
const CHUNK_BYTES = 1 << 16;
/** How often a lingering close looks. */
const LINGER_STEP_MS = 5;
const DONE = Promise.resolve();

interface PendingWrite {
  readonly data: Uint8Array;
  taken: number;
  resolve(): void;
  reject(error: unknown): void;
}

/** Checks an argument at the public border. */
export function assertBytes(name: string, value: unknown): asserts value is Uint8Array {
  if (!(value instanceof Uint8Array)) {
    throw new TypeError(`${name}: expected a Uint8Array, got ${value === null ? 'null' : typeof value}`);
  }
}

export interface CloseOptions {
  /**
   * As SO_LINGER: 0 resets the connection at once; above, `close` resolves once the peer has acknowledged everything, or
   * after so many ms, when the rest goes on by itself. Left out, it does not wait; over a channel it never does: what was
   * written is the stack's, which sends it.
   */
  readonly lingerMs?: number;
}

export class TcpStream implements Notified {
  readonly #socket: StreamBackend;
  readonly #loop: SocketLoop;
  readonly #readers: Waiters<Uint8Array | number | null>;
  readonly #writers: PendingWrite[] = [];
  #onConnect: ((error: NetError | null) => void) | null = null;
  #readable: ReadableStream<Uint8Array> | null = null;
  #writable: WritableStream<Uint8Array> | null = null;
  #isReleased = false;
  #heir: Notified | null = null;

  /** Made by `host.tcp.connect` and `listener.accept`. */
  constructor(loop: SocketLoop, socket: StreamBackend) {
    this.#loop = loop;
    this.#socket = socket;
    this.#readers = new Waiters(loop);
    socket.owner = this;
  }

  get localAddress(): string {
    return this.#format(this.#socket.local?.address);
  }

  #format(address: IpAddress | undefined): string {
    return address === undefined ? '' : this.#loop.formatAddress(address);
  }

  get localPort(): number {
    return this.#socket.local?.port ?? 0;
  }

  get remoteAddress(): string {
    return this.#format(this.#socket.remote?.address);
  }

  get remotePort(): number {
    return this.#socket.remote?.port ?? 0;
  }

  get remoteFamily(): 'IPv4' | 'IPv6' {
    return this.#socket.remote?.address.isV4 === false ? 'IPv6' : 'IPv4';
  }

  /** The state as RFC 9293 prints it: `ESTABLISHED`, `FIN-WAIT-1`, ... */
  get state(): TcpState {
    return this.#socket.state();
  }

  /** Everything known of the connection, under the names of Linux's TCP_INFO; null where nothing is, any more. */
  async info(): Promise<TcpInfo | null> {
    return this.#socket.info();
  }

  /** As {@link info}, but stops the thread: see {@link SocketLoop.block}. */
  infoBlocking(options?: BlockingOptions): TcpInfo | null {
    if (this.#socket.infoBlocking === undefined) this.#loop.block('info', () => true);
    return this.#socket.infoBlocking!(options);
  }

  /**
   * Calls `look` at every segment, timer and change of the window from now on; null: no more. Over a channel the records
   * come later, many at once, and those that the thread is too slow for are lost: {@link tracesLost} counts them.
   */
  trace(look: Trace | null): void {
    if (look !== null && typeof look !== 'function') {
      throw new TypeError(`look: expected a function or null, got ${typeof look}`);
    }
    this.#socket.trace(look);
  }

  /** Records of {@link trace} that were lost on their way from the stack's thread; on a host none is. */
  get tracesLost(): number {
    return this.#socket.tracesLost ?? 0;
  }

  /** The socket of the core under this stream. @throws NetError EOPNOTSUPP where that is behind a channel */
  get socket(): TcpSocket {
    if (this.#socket instanceof TcpSocket) return this.#socket;
    throw new NetError('EOPNOTSUPP', 'socket', { detail: 'the socket of the core is on the other side of a channel' });
  }

  /** Whether it was closed or aborted here. */
  get isReleased(): boolean {
    return this.#isReleased;
  }

  /**
   * For relays: `heir` is told what changes from now on, and that the stream was released; it works with the core's socket
   * and wakes the loop itself. Only `close`, `abort` and what tells of addresses and state are to be called afterwards.
   * @throws NetError EOPNOTSUPP where the stack is behind a channel
   */
  handOver(heir: Notified): { readonly socket: TcpSocket; readonly loop: SocketLoop } {
    const { socket } = this;
    this.#heir = heir;
    socket.owner = heir;
    return { socket, loop: this.#loop };
  }

  /**
   * Sends `data`. Resolves when the stack took all of it; until then the array must not change.
   * @throws NetError EPIPE after `end`, ECONNRESET, ETIMEDOUT, ...: what ended the connection
   */
  write(data: Uint8Array): Promise<void> {
    let taken: number;
    try {
      assertBytes('write', data);
      if (this.#writers.length > 0) return this.#queueWrite(data, 0);
      taken = this.#socket.send(data);
    } catch (error) {
      return Promise.reject(error);
    }
    if (taken > 0) this.#loop.wake();
    return taken === data.length ? DONE : this.#queueWrite(data, taken);
  }

  #queueWrite(data: Uint8Array, taken: number): Promise<void> {
    this.#loop.hold(1);
    return new Promise((resolve, reject) => {
      this.#writers.push({ data, taken, resolve, reject });
    });
  }

  /**
   * The bytes that have arrived, up to 64 KiB, in an array of the caller's own; null at the end of the stream.
   * @throws NetError what ended the connection, once everything before was read; ECANCELED when this side closed it
   */
  read(options?: WaitOptions): Promise<Uint8Array | null> {
    if (this.#readers.isEmpty) {
      try {
        const chunk = this.#take(null);
        if (chunk !== undefined) return Promise.resolve(chunk as Uint8Array | null);
      } catch (error) {
        return Promise.reject(error);
      }
    }
    return this.#readers.wait(options) as Promise<Uint8Array | null>;
  }

  /**
   * Moves bytes that have arrived into `buffer`, without an allocation; resolves with their count, 0 at the end of the
   * stream. `buffer` belongs to the stream until then.
   */
  readInto(buffer: Uint8Array, options?: WaitOptions): Promise<number> {
    try {
      assertBytes('readInto', buffer);
      if (buffer.length === 0) throw new RangeError('readInto: expected a buffer with room, got length 0');
      if (this.#readers.isEmpty) {
        const count = this.#take(buffer);
        if (count !== undefined) return Promise.resolve(count as number);
      }
    } catch (error) {
      return Promise.reject(error);
    }
    return this.#readers.wait(options, buffer) as Promise<number>;
  }

  /** What a reader gets now: a chunk, or a count if it brought a buffer; null or 0 at the end; undefined: must wait. */
  #take(buffer: Uint8Array | null): Uint8Array | number | null | undefined {
    const socket = this.#socket;
    const queued = socket.recvQueue();
    if (queued === 0) {
      if (this.#isReleased) throw new NetError('ECANCELED', 'read', { detail: 'the stream is closed' });
      if (socket.error !== null) throw this.#error('read');
      if (socket.mayRecv()) return socket.wantRecv?.() === true ? this.#take(buffer) : undefined;
      return buffer === null ? null : 0;
    }
    const target = buffer ?? new Uint8Array(Math.min(queued, CHUNK_BYTES));
    const count = socket.recv(target);
    if (socket.connection?.isReady) this.#loop.wake();
    return buffer === null ? target : count;
  }

  /** Closes the sending half: the peer reads what was written, then the end. Resolves when the stack has taken it all. */
  async end(): Promise<void> {
    if (this.#writers.length > 0) await this.write(new Uint8Array(0)).catch(() => {});
    this.#socket.close();
    this.#loop.wake();
  }

  /**
   * Closes both halves and lets go of the connection: what was written is still sent; bytes unread, or still coming,
   * are answered with a reset.
   */
  async close(options: CloseOptions = {}): Promise<void> {
    if (this.#isReleased) return;
    const { lingerMs } = options;
    if (lingerMs === 0) {
      this.abort();
      return;
    }
    // With bytes unread there is no orderly end, only the reset that release() sends: RFC 2525 §2.17.
    if (this.#socket.recvQueue() === 0) await this.end();
    if (lingerMs !== undefined && this.#socket.releaseLingering !== undefined) {
      this.#release();
      await this.#socket.releaseLingering(lingerMs);
      return;
    }
    this.#letGo();
    if (lingerMs !== undefined) await this.#drained(lingerMs);
  }

  #letGo(): void {
    this.#release();
    this.#loop.touch();
    this.#socket.release();
    this.#loop.wake();
  }

  /** Waits until the peer has acknowledged everything, but no longer than `ms`. */
  async #drained(ms: number): Promise<void> {
    const { clock } = this.#loop;
    const until = clock.now() + ms;
    this.#loop.hold(1);
    while (!this.#socket.isDrained() && clock.now() < until && !this.#loop.isClosed) {
      await new Promise<void>((resolve) => {
        clock.setTimer(Math.min(until, clock.now() + LINGER_STEP_MS), resolve);
      });
    }
    this.#loop.hold(-1);
  }

  /** Resets the connection at once; what was not yet acknowledged may be lost. Pending reads and writes reject. */
  abort(): void {
    if (this.#isReleased) return;
    this.#loop.touch();
    this.#socket.abort();
    this.#release();
    this.#socket.release();
    this.#loop.wake();
  }

  #release(): void {
    this.#isReleased = true;
    this.#heir?.notify(CLOSED_EVENT);
    if (this.#readers.isEmpty && this.#writers.length === 0) return; // an error costs a stack trace
    const error = new NetError('ECANCELED', 'read', { detail: 'the stream was closed' });
    this.#readers.rejectAll(error);
    this.#rejectWriters(error);
  }

  // The same calls for threads that may stop and wait: see {@link SocketLoop.block} for what they throw elsewhere.

  /** As {@link write}, but returns when the stack took all of it. */
  writeBlocking(data: Uint8Array, options?: BlockingOptions): void {
    assertBytes('writeBlocking', data);
    let taken = 0;
    this.#loop.block(
      'write',
      () => {
        if (this.#writers.length > 0) return undefined;
        if (this.#isReleased) throw new NetError('ECANCELED', 'write', { detail: 'the stream is closed' });
        taken += this.#socket.send(data, taken);
        return taken === data.length ? true : undefined;
      },
      options,
    );
  }

  /** As {@link read}, but returns what was read. */
  readBlocking(options?: BlockingOptions): Uint8Array | null {
    const attempt = (): Uint8Array | number | null | undefined =>
      this.#readers.isEmpty ? this.#take(null) : undefined;
    return this.#loop.block('read', attempt, options) as Uint8Array | null;
  }

  /** As {@link readInto}, but returns the count. */
  readIntoBlocking(buffer: Uint8Array, options?: BlockingOptions): number {
    assertBytes('readIntoBlocking', buffer);
    if (buffer.length === 0) throw new RangeError('readIntoBlocking: expected a buffer with room, got length 0');
    const attempt = (): Uint8Array | number | null | undefined =>
      this.#readers.isEmpty ? this.#take(buffer) : undefined;
    return this.#loop.block('read', attempt, options) as number;
  }

  /** As {@link end}: what was written is under way when it returns. */
  endBlocking(options?: BlockingOptions): void {
    const attempt = (): true | undefined => {
      if (this.#writers.length > 0) return undefined;
      this.#socket.close();
      return true;
    };
    this.#loop.block('end', attempt, options);
  }

  /** As {@link close} without lingering. */
  closeBlocking(options?: BlockingOptions): void {
    if (this.#isReleased) return;
    if (this.#socket.recvQueue() === 0) this.endBlocking(options);
    this.#letGo();
  }

  /** Closes without waiting for anything, as `using` does. */
  [dispose](): void {
    if (this.#isReleased) return;
    if (this.#socket.recvQueue() === 0) this.#socket.close();
    this.#letGo();
  }

  [asyncDispose](): Promise<void> {
    return this.close();
  }

  /** Chunks until the end: `for await (const chunk of stream)`. Leaving the loop early closes the stream. */
  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array, void, undefined> {
    let isDone = false;
    try {
      for (let chunk = await this.read(); chunk !== null; chunk = await this.read()) yield chunk;
      isDone = true;
    } finally {
      if (!isDone) await this.close();
    }
  }

  /** The receiving half as a WHATWG byte stream; reading from it and from the stream itself takes turns. */
  get readable(): ReadableStream<Uint8Array> {
    this.#readable ??= new ReadableStream({
      type: 'bytes',
      autoAllocateChunkSize: CHUNK_BYTES,
      pull: async (controller) => {
        const request = controller.byobRequest as ReadableStreamBYOBRequest;
        const { buffer, byteOffset, byteLength } = request.view as ArrayBufferView<ArrayBuffer>;
        const count = await this.readInto(new Uint8Array(buffer, byteOffset, byteLength));
        if (count === 0) controller.close();
        request.respond(count);
      },
      cancel: () => this.close(),
    });
    return this.#readable;
  }

  /** The sending half as a WHATWG stream; closing it is {@link end}, aborting it {@link abort}. */
  get writable(): WritableStream<Uint8Array> {
    this.#writable ??= new WritableStream<Uint8Array>({
      write: (chunk) => this.write(chunk),
      close: () => this.end(),
      abort: () => this.abort(),
    });
    return this.#writable;
  }

  /** Resolves when the handshake is done. Called once, by the host. */
  connected(done: (error: NetError | null) => void): void {
    this.#onConnect = done;
  }

  notify(events: number): void {
    if (this.#onConnect !== null && (events & (CONNECTED | CLOSED_EVENT)) !== 0) {
      const done = this.#onConnect;
      this.#onConnect = null;
      done(this.#socket.error === null ? null : this.#error('connect'));
    }
    if ((events & (READABLE | CLOSED_EVENT)) !== 0) this.#serveReaders();
    if ((events & (WRITABLE | CLOSED_EVENT)) !== 0) this.#serveWriters();
  }

  #serveReaders(): void {
    while (!this.#readers.isEmpty) {
      try {
        const taken = this.#take(this.#readers.buffer);
        if (taken === undefined) return;
        this.#readers.resolve(taken);
      } catch (error) {
        this.#readers.reject(error);
      }
    }
  }

  #serveWriters(): void {
    while (this.#writers.length > 0) {
      const writer = this.#writers[0]!;
      try {
        const taken = this.#socket.send(writer.data, writer.taken);
        writer.taken += taken;
        if (taken > 0) this.#loop.wake();
      } catch (error) {
        this.#rejectWriters(error);
        return;
      }
      if (writer.taken < writer.data.length) return;
      this.#writers.shift();
      this.#loop.hold(-1);
      writer.resolve();
    }
  }

  #rejectWriters(error: unknown): void {
    for (const writer of this.#writers.splice(0)) {
      this.#loop.hold(-1);
      writer.reject(error);
    }
  }

  #error(syscall: string): NetError {
    return new NetError(this.#socket.error!, syscall, { address: this.remoteAddress, port: this.remotePort });
  }
}
