/** A UDP socket with promises. @module */
import { NetError } from '../errors.ts';
import { PATH_MTU_MODES, type PathMtuDiscovery } from '../iface/path-mtu.ts';
import { Source } from '../udp/datagram-queue.ts';
import { READABLE } from '../udp/udp.ts';
import type { IpAddress } from '../wire/address.ts';
import { checkPort } from '../wire/ip.ts';
import type { BlockingOptions, SocketLoop, UdpBackend } from './backend.ts';
import { asyncDispose, dispose } from './dispose.ts';
import type { Notified } from './loop.ts';
import { assertBytes } from './tcp-stream.ts';
import { Waiters, type WaitOptions } from './waiters.ts';

/** One datagram and where it came from. */
export interface Datagram {
  /** The payload, an array of the caller's own. */
  readonly data: Uint8Array;
  readonly address: string;
  readonly port: number;
}

/** Where a datagram goes. */
export interface Destination {
  readonly host: string;
  readonly port: number;
}

/** How long a send waits before it tries again where the device is full. */
const RETRY_MS = 1;

export class UdpSocket implements Notified {
  readonly #loop: SocketLoop;
  readonly #socket: UdpBackend;
  readonly #lookup: (host: string, syscall: string) => IpAddress;
  readonly #readers: Waiters<Datagram>;
  readonly #source = new Source();
  #isClosed = false;
  #toHost = '';
  #to: { address: IpAddress; port: number } | null = null;

  /** Made by `host.udp.bind` and `host.udp.connect`. */
  constructor(loop: SocketLoop, socket: UdpBackend, lookup: (host: string, syscall: string) => IpAddress) {
    this.#loop = loop;
    this.#socket = socket;
    this.#lookup = lookup;
    this.#readers = new Waiters(loop);
    socket.owner = this;
    loop.closers.add(this.#close);
  }

  /** The address bound to; `::` means all, of both families. */
  get address(): string {
    return this.#socket.local.toString();
  }

  get port(): number {
    return this.#socket.port;
  }

  /**
   * What becomes of datagrams that the path does not carry whole; Linux's IP_MTU_DISCOVER. `want`, the default: they leave
   * in fragments, and what fits may not be cut by routers. `do`: they are refused with EMSGSIZE. `dont`: routers may cut.
   * `probe`: like `do`, but only the interface's MTU counts.
   */
  get pathMtuDiscovery(): PathMtuDiscovery {
    return this.#socket.pathMtuDiscovery;
  }

  set pathMtuDiscovery(mode: PathMtuDiscovery) {
    if (!PATH_MTU_MODES.includes(mode)) {
      throw new RangeError(`pathMtuDiscovery: expected ${PATH_MTU_MODES.join(', ')}, got ${mode}`);
    }
    this.#socket.pathMtuDiscovery = mode;
  }

  /** Bytes of the largest IP packet that the path to the peer is known to carry; null for a socket without a peer. */
  get pathMtu(): number | null {
    return this.#socket.pathMtu;
  }

  /**
   * Sends one datagram; the bytes are copied. Resolves when it has left for the device, or for the neighbour's queue.
   * @param to - not needed on a connected socket
   * @throws NetError EMSGSIZE above 65507 bytes (IPv6: 65527), or told by a path that takes less, ENETUNREACH, ECONNREFUSED reported by a connected peer, ...
   */
  async send(data: Uint8Array, to?: Destination): Promise<void> {
    assertBytes('send', data);
    this.#assertOpen('send');
    const endpoint = to === undefined ? null : this.#endpoint(to);
    this.#loop.touch();
    for (;;) {
      const sent = this.#socket.send(data, endpoint);
      // Awaited only where it must be: the host's own sockets answer at once.
      if (typeof sent === 'boolean' ? sent : await sent) break;
      // The device is full: its queue drains within the loop's next turns.
      this.#loop.wake();
      await this.#pause();
      this.#assertOpen('send');
    }
    this.#loop.wake();
  }

  /** As {@link send}, but stops the thread: see {@link SocketLoop.block}. */
  sendBlocking(data: Uint8Array, to?: Destination, options?: BlockingOptions): void {
    assertBytes('sendBlocking', data);
    this.#assertOpen('send');
    const endpoint = to === undefined ? null : this.#endpoint(to);
    if (this.#socket.sendBlocking === undefined) this.#loop.block('send', () => true);
    this.#socket.sendBlocking!(data, endpoint, options);
  }

  #pause(): Promise<void> {
    const loop = this.#loop;
    const { clock } = loop;
    loop.hold(1); // somebody waits for this: the process must not end
    return new Promise((resolve) => {
      clock.setTimer(clock.now() + RETRY_MS, () => {
        loop.hold(-1);
        resolve();
      });
    });
  }

  /** The address of the last destination is kept: most sockets send to one. */
  #endpoint(to: Destination): { address: IpAddress; port: number } {
    if (this.#to === null || this.#toHost !== to.host || this.#to.port !== to.port) {
      this.#to = { address: this.#lookup(to.host, 'send'), port: checkPort(to.port, 1) };
      this.#toHost = to.host;
    }
    return this.#to;
  }

  /**
   * The next datagram, whole.
   * @throws NetError ECANCELED when the socket is closed; errors reported about a connected peer
   */
  receive(options?: WaitOptions): Promise<Datagram> {
    if (this.#readers.isEmpty) {
      try {
        this.#assertOpen('receive');
        const datagram = this.#take();
        if (datagram !== null) return Promise.resolve(datagram);
      } catch (error) {
        return Promise.reject(error);
      }
    }
    return this.#readers.wait(options);
  }

  /** As {@link receive}, but stops the thread: see {@link SocketLoop.block}. */
  receiveBlocking(options?: BlockingOptions): Datagram {
    const attempt = (): Datagram | undefined => {
      this.#assertOpen('receive');
      return this.#readers.isEmpty ? (this.#take() ?? undefined) : undefined;
    };
    return this.#loop.block('receive', attempt, options);
  }

  #take(): Datagram | null {
    const data = new Uint8Array(Math.max(0, this.#socket.peekLength()));
    const source = this.#source;
    if (this.#socket.recv(data, source) < 0) return null;
    return { data, address: source.address.toString(), port: source.port };
  }

  /** Datagrams until the socket is closed. */
  async *[Symbol.asyncIterator](): AsyncGenerator<Datagram, void, undefined> {
    while (!this.#isClosed) {
      let datagram: Datagram;
      try {
        datagram = await this.receive();
      } catch (error) {
        if (this.#isClosed) return;
        throw error;
      }
      yield datagram;
    }
  }

  readonly #close = (): void => void this.close();

  /** Gives the port back; pending receives reject with ECANCELED. */
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

  notify(events: number): void {
    if ((events & READABLE) === 0) return;
    while (!this.#readers.isEmpty) {
      try {
        const datagram = this.#take();
        if (datagram === null) return;
        this.#readers.resolve(datagram);
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
