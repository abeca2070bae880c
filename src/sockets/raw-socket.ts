/** A raw socket with promises. @module */
import { NetError } from '../errors.ts';
import { Source } from '../udp/datagram-queue.ts';
import type { IpAddress } from '../wire/address.ts';
import type { BlockingOptions, RawBackend, SocketLoop } from './backend.ts';
import { asyncDispose, dispose } from './dispose.ts';
import type { Notified } from './loop.ts';
import { assertBytes } from './tcp-stream.ts';
import { Waiters, type WaitOptions } from './waiters.ts';

export interface RawOpenOptions {
  /** 4 or 6. */
  readonly family: 4 | 6;
  /** The protocol or next header, 0 to 255. */
  readonly protocol: number;
  /** Whether `send` is given whole packets, IP header included. Default false. */
  readonly headerIncluded?: boolean;
  /** Time to live of what is sent without a header of its own, default 64. */
  readonly ttl?: number;
  /** The address to take packets to, and to send from; default all. */
  readonly localAddress?: string;
  /** The only peer; default everybody. */
  readonly remoteAddress?: string;
  /** What may wait for the reader: a power of two from 2 KiB to 16 MiB, 128 KiB by default. */
  readonly receiveBytes?: number;
}

/** One packet and where it came from. */
export interface RawPacket {
  /** From the IP header on, an array of the caller's own. */
  readonly data: Uint8Array;
  readonly address: string;
}

/** How long a send waits before it tries again where the device is full. */
const RETRY_MS = 1;

export class RawSocket implements Notified {
  readonly #loop: SocketLoop;
  readonly #socket: RawBackend;
  readonly #lookup: (host: string, syscall: string) => IpAddress;
  readonly #readers: Waiters<RawPacket>;
  readonly #source = new Source();
  #isClosed = false;

  /** Made by `host.raw.open`. */
  constructor(loop: SocketLoop, socket: RawBackend, lookup: (host: string, syscall: string) => IpAddress) {
    this.#loop = loop;
    this.#socket = socket;
    this.#lookup = lookup;
    this.#readers = new Waiters(loop);
    socket.owner = this;
    loop.closers.add(this.#close);
  }

  get family(): 4 | 6 {
    return this.#socket.family;
  }

  get protocol(): number {
    return this.#socket.protocol;
  }

  /**
   * Sends one packet; the bytes are copied.
   * @param to - not needed with `remoteAddress` or `headerIncluded`
   * @throws NetError EMSGSIZE above the MTU, ENETUNREACH, EDESTADDRREQ, EAFNOSUPPORT, EINVAL
   */
  async send(data: Uint8Array, to?: string): Promise<void> {
    assertBytes('send', data);
    this.#assertOpen('send');
    const address = to === undefined ? undefined : this.#lookup(to, 'send');
    this.#loop.touch();
    for (;;) {
      const sent = this.#socket.send(data, address);
      if (typeof sent === 'boolean' ? sent : await sent) break;
      this.#loop.wake();
      await this.#pause();
      this.#assertOpen('send');
    }
    this.#loop.wake();
  }

  /** As {@link send}, but stops the thread: see {@link SocketLoop.block}. */
  sendBlocking(data: Uint8Array, to?: string, options?: BlockingOptions): void {
    assertBytes('sendBlocking', data);
    this.#assertOpen('send');
    const address = to === undefined ? undefined : this.#lookup(to, 'send');
    if (this.#socket.sendBlocking === undefined) this.#loop.block('send', () => true);
    this.#socket.sendBlocking!(data, address, options);
  }

  #pause(): Promise<void> {
    const { clock } = this.#loop;
    this.#loop.hold(1);
    return new Promise((resolve) => {
      clock.setTimer(clock.now() + RETRY_MS, () => {
        this.#loop.hold(-1);
        resolve();
      });
    });
  }

  /** The next packet, whole. @throws NetError ECANCELED when the socket is closed */
  receive(options?: WaitOptions): Promise<RawPacket> {
    if (this.#isClosed) return Promise.reject(closedError('receive'));
    if (this.#readers.isEmpty) {
      try {
        const packet = this.#take();
        if (packet !== null) return Promise.resolve(packet);
      } catch (error) {
        return Promise.reject(error);
      }
    }
    return this.#readers.wait(options);
  }

  /** As {@link receive}, but stops the thread: see {@link SocketLoop.block}. */
  receiveBlocking(options?: BlockingOptions): RawPacket {
    const attempt = (): RawPacket | undefined => {
      this.#assertOpen('receive');
      return this.#readers.isEmpty ? (this.#take() ?? undefined) : undefined;
    };
    return this.#loop.block('receive', attempt, options);
  }

  #take(): RawPacket | null {
    const length = this.#socket.peekLength();
    if (length < 0) return null;
    const data = new Uint8Array(length);
    this.#socket.recv(data, this.#source);
    return { data, address: this.#loop.formatAddress(this.#source.address) };
  }

  /** Packets until the socket is closed. */
  async *[Symbol.asyncIterator](): AsyncGenerator<RawPacket, void, undefined> {
    while (!this.#isClosed) {
      let packet: RawPacket;
      try {
        packet = await this.receive();
      } catch (error) {
        if (this.#isClosed) return;
        throw error;
      }
      yield packet;
    }
  }

  readonly #close = (): void => void this.close();

  /** Pending receives reject with ECANCELED. */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#loop.closers.delete(this.#close);
    this.#socket.close();
    this.#readers.rejectAll(closedError('receive'));
  }

  [dispose](): void {
    void this.close();
  }

  [asyncDispose](): Promise<void> {
    return this.close();
  }

  notify(): void {
    while (!this.#readers.isEmpty) {
      try {
        const packet = this.#take();
        if (packet === null) return;
        this.#readers.resolve(packet);
      } catch (error) {
        this.#readers.reject(error);
      }
    }
  }

  #assertOpen(syscall: string): void {
    if (this.#isClosed) throw closedError(syscall);
  }
}

const closedError = (syscall: string): NetError =>
  new NetError('ECANCELED', syscall, { detail: 'the socket is closed' });
