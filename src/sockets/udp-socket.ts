/** A UDP socket with promises. @module */
import { NetError } from '../errors.ts';
import type { Interface } from '../iface/interface.ts';
import { PATH_MTU_MODES, type PathMtuDiscovery } from '../iface/path-mtu.ts';
import { Source } from '../udp/datagram-queue.ts';
import { type UdpSocket as CoreUdpSocket, type MembershipOptions, READABLE } from '../udp/socket.ts';
import { IpAddress, parseIp } from '../wire/address.ts';
import { checkPort } from '../wire/ip.ts';
import { asyncDispose } from './dispose.ts';
import type { Loop, Notified } from './loop.ts';
import type { Names } from './names.ts';
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
  /** An address or a name. */
  readonly host: string;
  readonly port: number;
}

/** How long a send waits before it tries again where the device is full. */
const RETRY_MS = 1;

export class UdpSocket implements Notified {
  readonly #loop: Loop;
  readonly #socket: CoreUdpSocket;
  readonly #names: Names;
  readonly #readers: Waiters<Datagram>;
  readonly #source = new Source();
  #isClosed = false;
  #toHost = '';
  #to: { address: IpAddress; port: number } | null = null;

  /** Made by `host.udp.bind` and `host.udp.connect`. */
  constructor(loop: Loop, socket: CoreUdpSocket, names: Names) {
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
    return this.#loop.stack.ip.format(this.#socket.local);
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
    this.#loop.touch();
    while (!this.#socket.send(data, endpoint)) {
      // The device is full: its queue drains within the loop's next turns.
      this.#loop.wake();
      await this.#pause();
      this.#assertOpen('send');
    }
    this.#loop.wake();
  }

  /**
   * Joins a multicast group: what is sent to it and to the socket's port comes, from everybody.
   * @param multicastInterface - name or address of one of ours; by default where packets to the group would leave
   * @throws NetError EINVAL no group; EADDRINUSE a member already; ENODEV no such interface; ENOBUFS too many groups
   * @example socket.addMembership('224.0.0.251', 'eth0')
   */
  addMembership(group: string, multicastInterface?: string): void {
    this.#change('addMembership', () => this.#socket.join(this.#group(group), this.#membership(multicastInterface)));
  }

  /** Leaves a group; closing the socket does so too. @throws NetError EADDRNOTAVAIL not a member; EINVAL, ENODEV */
  dropMembership(group: string, multicastInterface?: string): void {
    this.#change('dropMembership', () => this.#socket.leave(this.#group(group), this.#membership(multicastInterface)));
  }

  /**
   * Joins a group for what `source` sends; further calls add sources.
   * @throws NetError EINVAL no group, or joined from everybody; EADDRNOTAVAIL there already; ENODEV, ENOBUFS
   */
  addSourceSpecificMembership(source: string, group: string, multicastInterface?: string): void {
    this.#change('addSourceSpecificMembership', () =>
      this.#socket.join(this.#group(group), this.#membership(multicastInterface, source)),
    );
  }

  /** Gives up one source of a group; the last one leaves it. @throws NetError EADDRNOTAVAIL, EINVAL, ENODEV */
  dropSourceSpecificMembership(source: string, group: string, multicastInterface?: string): void {
    this.#change('dropSourceSpecificMembership', () =>
      this.#socket.leave(this.#group(group), this.#membership(multicastInterface, source)),
    );
  }

  /** Keeps out what `source` sends to a group joined from everybody. @throws NetError EINVAL, EADDRNOTAVAIL, ENOBUFS */
  blockSource(source: string, group: string, multicastInterface?: string): void {
    this.#change('blockSource', () =>
      this.#socket.blockSource(this.#group(group), IpAddress.parse(source), this.#membership(multicastInterface)),
    );
  }

  /** Takes {@link blockSource} back. @throws NetError EINVAL, EADDRNOTAVAIL not blocked */
  unblockSource(source: string, group: string, multicastInterface?: string): void {
    this.#change('unblockSource', () =>
      this.#socket.unblockSource(this.#group(group), IpAddress.parse(source), this.#membership(multicastInterface)),
    );
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
   * @throws NetError ENODEV
   */
  setMulticastInterface(multicastInterface: string): void {
    const isAny = parseIp(multicastInterface)?.isUnspecified === true;
    this.#socket.multicastInterface = isAny ? null : this.#interface(multicastInterface);
  }

  /** Allows datagrams to broadcast addresses, which are refused with EACCES otherwise. */
  setBroadcast(flag: boolean): void {
    this.#socket.broadcast = flag;
  }

  /** Does `action`, and has the stack tell routers of it. */
  #change(syscall: string, action: () => void): void {
    this.#assertOpen(syscall);
    this.#loop.touch();
    action();
    this.#loop.wake();
  }

  #membership(name: string | undefined, source?: string): MembershipOptions {
    return {
      interface: name === undefined ? undefined : this.#interface(name),
      source: source === undefined ? undefined : IpAddress.parse(source),
    };
  }

  #group(text: string): IpAddress {
    const group = this.#loop.stack.ip.parse(text);
    if (group?.isMulticast) return group;
    throw new TypeError(`group: expected a multicast address, got ${JSON.stringify(text)}`);
  }

  #interface(text: string): Interface {
    const { ip } = this.#loop.stack;
    const name = /^[^%]*%(.+)$/.exec(text)?.[1] ?? text;
    const address = ip.parse(name);
    const isMeant = (iface: Interface): boolean =>
      iface.name === name ||
      String(iface.index) === name ||
      (address !== null && iface.hasAddress(address.lacksZone ? address.withZone(iface.index) : address));
    const found = ip.interfaces.find(isMeant);
    if (found === undefined) throw new NetError('ENODEV', 'setMulticastInterface', { detail: `no interface ${text}` });
    return found;
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

  #take(): Datagram | null {
    const data = new Uint8Array(Math.max(0, this.#socket.peekLength()));
    const source = this.#source;
    if (this.#socket.recv(data, source) < 0) return null;
    return { data, address: this.#loop.stack.ip.format(source.address), port: source.port };
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
