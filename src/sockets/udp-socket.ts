/** A UDP socket with promises. @module */
import { NetError } from '../errors.ts';
import { PATH_MTU_MODES, type PathMtuDiscovery } from '../iface/path-mtu.ts';
import { Source } from '../udp/datagram-queue.ts';
import { type UdpSocket as CoreUdpSocket, READABLE } from '../udp/socket.ts';
import { type IpAddress, parseIp } from '../wire/address.ts';
import { checkPort } from '../wire/ip.ts';
import type { BlockingOptions, Lookup, MembershipChange, SocketLoop, UdpBackend } from './backend.ts';
import { asyncDispose, dispose } from './dispose.ts';
import type { Notified, StackLoop } from './loop.ts';
import { changeMembership, findInterface } from './membership.ts';
import { assertBytes } from './tcp-stream.ts';
import { Waiters, type WaitOptions } from './waiters.ts';

/** One datagram and where it came from. */
export interface Datagram {
  /** The payload, an array of the caller's own. */
  readonly data: Uint8Array;
  readonly address: string;
  readonly port: number;
  /** The address it was sent to: one of ours, of a group, or of everybody. */
  readonly localAddress: string;
}

/** Where a datagram goes. */
export interface Destination {
  /** An address or a name. */
  readonly host: string;
  readonly port: number;
  /**
   * The address of ours to send from; by default the one that is bound, or that the routes give. A service on several
   * addresses answers from the one that was asked: a datagram's {@link Datagram.localAddress}. A group's counts as none.
   */
  readonly localAddress?: string | undefined;
}

/** How long a send waits before it tries again where the device is full. */
const RETRY_MS = 1;

export class UdpSocket implements Notified {
  readonly #loop: SocketLoop;
  readonly #socket: UdpBackend;
  readonly #names: Lookup;
  readonly #readers: Waiters<Datagram>;
  readonly #source = new Source();
  #local: IpAddress | null = null;
  #localName = '';
  #fromHost: string | null = null;
  #from: IpAddress | null = null;
  #isClosed = false;
  #toHost = '';
  #to: { address: IpAddress; port: number } | null = null;

  /** Made by `host.udp.bind` and `host.udp.connect`. */
  constructor(loop: SocketLoop, socket: UdpBackend, names: Lookup) {
    this.#loop = loop;
    this.#socket = socket;
    this.#names = names;
    this.#readers = new Waiters(loop);
    socket.owner = this;
    socket.broadcast = false;
    loop.closers.add(this.#close);
  }

  /** The address bound to; `::` means all, of both families. */
  get address(): string {
    return this.#loop.formatAddress(this.#socket.local);
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
    const endpoint = to === undefined ? null : (this.#endpoint(to) ?? (await this.#resolved(to)));
    const from = this.#sender(to);
    this.#loop.touch();
    for (;;) {
      const sent = this.#socket.send(data, endpoint, from);
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
    const isNamed = to !== undefined && endpoint === null;
    const whole = isNamed ? this.#resolvedBlocking(to, options) : endpoint;
    this.#socket.sendBlocking!(data, whole, this.#sender(to), options);
  }

  /**
   * Joins a multicast group: what is sent to it and to the socket's port comes, from everybody. Over a channel this call and
   * the five below give a promise, which is to be awaited: the errors are its own.
   * @param multicastInterface - name or address of one of ours; by default where packets to the group would leave
   * @throws NetError EINVAL no group; EADDRINUSE a member already; ENODEV no such interface; ENOBUFS too many groups
   * @example await socket.addMembership('224.0.0.251', 'eth0')
   */
  addMembership(group: string, multicastInterface?: string): void | Promise<void> {
    return this.#change({ change: 'join', group, interface: multicastInterface });
  }

  /** Leaves a group; closing the socket does so too. @throws NetError EADDRNOTAVAIL not a member; EINVAL, ENODEV */
  dropMembership(group: string, multicastInterface?: string): void | Promise<void> {
    return this.#change({ change: 'leave', group, interface: multicastInterface });
  }

  /**
   * Joins a group for what `source` sends; further calls add sources.
   * @throws NetError EINVAL no group, or joined from everybody; EADDRNOTAVAIL there already; ENODEV, ENOBUFS
   */
  addSourceSpecificMembership(source: string, group: string, multicastInterface?: string): void | Promise<void> {
    return this.#change({ change: 'join', group, source, interface: multicastInterface });
  }

  /** Gives up one source of a group; the last one leaves it. @throws NetError EADDRNOTAVAIL, EINVAL, ENODEV */
  dropSourceSpecificMembership(source: string, group: string, multicastInterface?: string): void | Promise<void> {
    return this.#change({ change: 'leave', group, source, interface: multicastInterface });
  }

  /** Keeps out what `source` sends to a group joined from everybody. @throws NetError EINVAL, EADDRNOTAVAIL, ENOBUFS */
  blockSource(source: string, group: string, multicastInterface?: string): void | Promise<void> {
    return this.#change({ change: 'block', group, source, interface: multicastInterface });
  }

  /** Takes {@link blockSource} back. @throws NetError EINVAL, EADDRNOTAVAIL not blocked */
  unblockSource(source: string, group: string, multicastInterface?: string): void | Promise<void> {
    return this.#change({ change: 'unblock', group, source, interface: multicastInterface });
  }

  /** Any of the six above, but stops the thread: see {@link SocketLoop.block}. */
  changeMembershipBlocking(change: MembershipChange, options?: BlockingOptions): void {
    this.#checkMembership(change);
    if (this.#socket.changeMembershipBlocking === undefined) this.#loop.block('setsockopt', () => true);
    this.#socket.changeMembershipBlocking!(change, options);
  }

  /** Routers a datagram to a group may pass, and one more; 1, the default: none; 0: it stays on this host. */
  setMulticastTTL(ttl: number): number {
    this.#socket.multicastTtl = readByte('ttl', ttl, 0);
    return ttl;
  }

  /** Routers a datagram to one host may pass, and one more: 1 to 255; 64 by default. */
  setTTL(ttl: number): number {
    this.#socket.ttl = readByte('ttl', ttl, 1);
    return ttl;
  }

  /** Whether this host gets what is sent to groups that it is in itself; it does by default. */
  setMulticastLoopback(flag: boolean): boolean {
    this.#socket.multicastLoopback = flag;
    return flag;
  }

  /**
   * Where what goes to groups leaves.
   * @param multicastInterface - name or address of one of ours, or `::%name`; `0.0.0.0` or `::`: the routes decide again
   * @returns over a channel a promise, see {@link addMembership}
   * @throws NetError ENODEV
   */
  setMulticastInterface(multicastInterface: string): void | Promise<void> {
    const name = parseIp(multicastInterface)?.isUnspecified === true ? '' : multicastInterface;
    if (this.#socket.setMulticastInterface !== undefined) return this.#socket.setMulticastInterface(name);
    const { stack } = this.#loop as StackLoop; // a socket of the core has the loop of its host
    (this.#socket as CoreUdpSocket).multicastInterface = name === '' ? null : findInterface(stack, name);
  }

  /** Allows datagrams to broadcast addresses, which are refused with EACCES otherwise. */
  setBroadcast(flag: boolean): void {
    this.#socket.broadcast = flag;
  }

  #checkMembership({ group }: MembershipChange): void {
    this.#assertOpen('setsockopt');
    if (this.#loop.parseAddress(group)?.isMulticast) return;
    throw new TypeError(`group: expected a multicast address, got ${JSON.stringify(group)}`);
  }

  #change(change: MembershipChange): void | Promise<void> {
    this.#checkMembership(change);
    if (this.#socket.changeMembership !== undefined) return this.#socket.changeMembership(change);
    this.#loop.touch();
    changeMembership((this.#loop as StackLoop).stack, this.#socket as CoreUdpSocket, change);
    this.#loop.wake(); // routers are told of it
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

  /** The address to send from, kept as that of the last destination is. @throws TypeError where it is no address */
  #sender(to: Destination | undefined): IpAddress | null {
    const text = to?.localAddress;
    if (text === undefined) return null;
    if (text === this.#localName && this.#local !== null) return this.#local; // what was asked last
    if (text !== this.#fromHost) {
      const address = this.#loop.parseAddress(text);
      if (address === null)
        throw new TypeError(`localAddress: expected an address of ours, got ${JSON.stringify(text)}`);
      this.#from = address;
      this.#fromHost = text;
    }
    return this.#from;
  }

  /** The address of the last destination is kept: most sockets send to one. Null: it is a name. */
  #endpoint(to: Destination): { address: IpAddress; port: number } | null {
    if (this.#to === null || this.#toHost !== to.host || this.#to.port !== to.port) {
      const address = this.#names.numeric(to.host);
      if (address === null) return null;
      this.#to = { address, port: checkPort(to.port, 1) };
      this.#toHost = to.host;
    }
    return this.#to;
  }

  /** A name is asked for each time: the resolver keeps it as long as it lasts. */
  async #resolved(to: Destination): Promise<{ address: IpAddress; port: number }> {
    const port = checkPort(to.port, 1);
    const address = await this.#names.address(to.host, 'send');
    this.#assertOpen('send');
    return { address, port };
  }

  #resolvedBlocking(to: Destination, options?: BlockingOptions): { address: IpAddress; port: number } {
    const port = checkPort(to.port, 1);
    return { address: this.#names.addressBlocking!(to.host, 'send', options), port };
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

  /** Most datagrams are sent to one address of ours. */
  #localText(source: Source): string {
    const known = this.#local;
    const { localA, localB, localC, localD } = source;
    if (known?.a !== localA || known.b !== localB || known.c !== localC || known.d !== localD) {
      this.#local = source.local;
      this.#localName = this.#loop.formatAddress(this.#local);
    }
    return this.#localName;
  }

  #take(): Datagram | null {
    const data = new Uint8Array(Math.max(0, this.#socket.peekLength()));
    const source = this.#source;
    if (this.#socket.recv(data, source) < 0) return null;
    const { port } = source;
    const loop = this.#loop;
    return { data, address: loop.formatAddress(source.address), port, localAddress: this.#localText(source) };
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

function readByte(what: string, value: number, least: number): number {
  if (Number.isInteger(value) && value >= least && value <= 255) return value;
  throw new RangeError(`${what}: expected ${least} to 255, got ${value}`);
}

const closedError = (syscall: string): NetError =>
  new NetError('ECANCELED', syscall, { detail: 'the socket is closed' });
