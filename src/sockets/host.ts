/** A host: a stack, the loop that drives it, and sockets with promises. What most programs use. @module */

import type { RecordType, Resolver } from '../dns/index.ts';
import type { Interface } from '../iface/interface.ts';
import type { Stats } from '../iface/stats.ts';
import type { Memory } from '../memory/memory.ts';
import type { Device } from '../phy/device.ts';
import type { Clock } from '../sim/clock.ts';
import { Stack } from '../stack.ts';
import { ALGORITHMS } from '../tcp/congestion/index.ts';
import type { TcpSettings } from '../tcp/settings.ts';
import { isDrained } from '../tcp/socket.ts';
import type { SynRequest } from '../tcp/syn-request.ts';
import { Cidr, IpAddress, MacAddress } from '../wire/address.ts';
import { checkPort } from '../wire/ip.ts';
import { dial } from './dial.ts';
import { asyncDispose } from './dispose.ts';
import { IncomingSyn, type SynHandler } from './incoming-syn.ts';
import { Loop } from './loop.ts';
import { HostMdns, type HostMdnsOptions } from './mdns.ts';
import { Names, type NamesOptions, ownAddress, type Resolved, type ResolveOptions } from './names.ts';
import { type PingOptions, type PingReply, ping } from './ping.ts';
import { realClock, secureRandom } from './real-clock.ts';
import { TcpListener } from './tcp-listener.ts';
import type { TcpStream } from './tcp-stream.ts';
import { UdpSocket } from './udp-socket.ts';

/** How long `close` lets connections whose streams were closed finish. */
const LINGER_MS = 1000;
const LINGER_STEP_MS = 5;

export interface HostOptions extends NamesOptions {
  /** The device of the first interface. A host without one can still talk to itself. */
  readonly device?: Device;
  /** Addresses with prefixes: `10.0.0.1/24`, `fd00::1/64`. */
  readonly addresses?: readonly string[];
  /** Routers for what no network of ours holds, at most one a family. */
  readonly gateway?: string | readonly string[];
  /** The Ethernet address; random by default. */
  readonly mac?: string;
  /** Shown in traces. */
  readonly name?: string;
  /** Bytes of memory the host may use, in all; or a memory to share. Default: the device's, else 64 MiB. */
  readonly memory?: number | Memory;
  /** What TCP sockets start with. */
  readonly tcp?: Partial<TcpSettings>;
  /** Answers and asks on the link by mDNS (RFC 6762), on the interface of `device`; default false. */
  readonly mdns?: boolean | HostMdnsOptions;
  /** Virtual time for simulations; by default the machine's. */
  readonly clock?: Clock;
  /** Uniform uint32; by default the engine's cryptographic source. */
  readonly random?: () => number;
}

export interface ListenOptions {
  /** 0: a free port is chosen. */
  readonly port: number;
  /** The address to listen on; by default all, of both families. */
  readonly host?: string;
  /** Connections that may wait to be accepted; default 511. */
  readonly backlog?: number;
  /**
   * Decides about each SYN before it is answered: what a proxy needs, which accepts a client once the other side has.
   * @example onSyn: async (syn) => (await dial(syn.localAddress, syn.localPort)) ? 'accept' : 'unreachable'
   */
  readonly onSyn?: SynHandler;
  /** What its connections have other than the host's: buffers, timeouts. */
  readonly tcp?: Partial<TcpSettings>;
}

export interface ConnectOptions {
  /** An address, or a name: then addresses of both families are tried in turn (RFC 8305). */
  readonly host: string;
  readonly port: number;
  readonly signal?: AbortSignal | undefined;
  readonly localPort?: number;
  readonly localAddress?: string;
  /** Milliseconds until it fails with ETIMEDOUT, the name included; by default the retransmissions of the SYN decide. */
  readonly timeout?: number;
  /** Turns the Nagle algorithm off. */
  readonly noDelay?: boolean;
  /** Milliseconds of silence after which the peer is probed; 0, the default, never. */
  readonly keepAliveMs?: number;
  /** What the connection has other than the host's: buffers, timeouts. */
  readonly tcp?: Partial<TcpSettings>;
}

export interface BindOptions {
  /** 0, the default: a free port is chosen. */
  readonly port?: number;
  /** The address to bind to; by default all, of both families. The address of a group: only what is sent to it comes. */
  readonly host?: string;
  /** Whether the port may be shared with other sockets that say so too: each gets what is sent to a group. */
  readonly reuse?: boolean;
}

export interface UdpConnectOptions {
  /** An address or a name. */
  readonly host: string;
  readonly port: number;
  readonly localAddress?: string;
  /** By default a free one is chosen. */
  readonly localPort?: number;
}

/** TCP of a host. */
export class HostTcp {
  readonly #loop: Loop;
  readonly #names: Names;

  constructor(loop: Loop, names: Names) {
    this.#loop = loop;
    this.#names = names;
  }

  /**
   * Listens for connections.
   * @throws NetError EADDRINUSE, EADDRNOTAVAIL
   * @example const listener = await host.tcp.listen({ port: 80 })
   */
  async listen(options: ListenOptions): Promise<TcpListener> {
    this.#loop.assertOpen('listen');
    const { host, backlog, onSyn } = options;
    if (onSyn !== undefined && typeof onSyn !== 'function') {
      throw new TypeError(`onSyn: expected a function, got ${typeof onSyn}`);
    }
    const socket = this.#loop.stack.tcpSocket(options.tcp);
    const address = host === undefined ? undefined : ownAddress(host, 'listen');
    const ask = (handler: SynHandler) => (request: SynRequest) =>
      void new IncomingSyn(this.#loop, request).ask(handler);
    const asked = onSyn === undefined ? undefined : ask(onSyn);
    socket.listen({ port: checkPort(options.port, 0), address, backlog, onSyn: asked });
    return new TcpListener(this.#loop, socket);
  }

  /**
   * Connects to a peer. Cancelling, or the timeout, leaves nothing behind.
   * @throws NetError ECONNREFUSED, ETIMEDOUT, EHOSTUNREACH, ENETUNREACH, ENOTFOUND, ...
   * @example const stream = await host.tcp.connect({ host: '10.0.0.1', port: 80 })
   */
  async connect(options: ConnectOptions): Promise<TcpStream> {
    this.#loop.assertOpen('connect');
    const { host, signal, timeout, noDelay, keepAliveMs, localAddress, localPort } = options;
    signal?.throwIfAborted();
    const address = this.#names.numeric(host);
    const port = checkPort(options.port, 1);
    const dialled = {
      signal,
      timeout,
      localAddress: localAddress === undefined ? undefined : ownAddress(localAddress, 'connect'),
      localPort: localPort === undefined ? undefined : checkPort(localPort, 0),
      tcp: {
        ...options.tcp,
        ...(noDelay === undefined ? {} : { noDelay }),
        ...(keepAliveMs === undefined ? {} : { keepAliveMs }),
      },
    };
    if (address !== null) return dial(this.#loop, address, port, dialled);
    return this.#names.connect(host, port, dialled);
  }
}

/** UDP of a host. */
export class HostUdp {
  readonly #loop: Loop;
  readonly #names: Names;

  constructor(loop: Loop, names: Names) {
    this.#loop = loop;
    this.#names = names;
  }

  /**
   * Takes datagrams to a port.
   * @throws NetError EADDRINUSE, EADDRNOTAVAIL
   * @example const socket = await host.udp.bind({ port: 53 })
   */
  async bind(options: BindOptions = {}): Promise<UdpSocket> {
    this.#loop.assertOpen('bind');
    const socket = this.#loop.stack.udpSocket();
    socket.reuse = options.reuse ?? false;
    const address = options.host === undefined ? undefined : ownAddress(options.host, 'bind');
    socket.bind({ port: checkPort(options.port ?? 0, 0), address });
    return new UdpSocket(this.#loop, socket, this.#names);
  }

  /**
   * A socket for one peer: `send` needs no destination, and what the network reports about the peer is thrown.
   * @throws NetError ENETUNREACH, EADDRINUSE, EADDRNOTAVAIL, ENOTFOUND
   */
  async connect(options: UdpConnectOptions): Promise<UdpSocket> {
    this.#loop.assertOpen('connect');
    const { localAddress, localPort } = options;
    const port = checkPort(options.port, 1);
    const remote = { address: await this.#names.address(options.host, 'connect'), port };
    const socket = this.#loop.stack.udpSocket();
    try {
      if (localPort !== undefined || localAddress !== undefined) {
        const address = localAddress === undefined ? undefined : ownAddress(localAddress, 'bind');
        socket.bind({ port: checkPort(localPort ?? 0, 0), address });
      }
      socket.connect(remote);
    } catch (error) {
      socket.close();
      throw error;
    }
    return new UdpSocket(this.#loop, socket, this.#names);
  }
}

/** A stack and the loop that drives it. */
export class Host {
  readonly stack: Stack;
  readonly tcp: HostTcp;
  readonly udp: HostUdp;
  /** The interface of the device given at creation, null without one. */
  readonly iface: Interface | null;
  /** Services and names of the link, null unless the host was made with `mdns`. */
  readonly mdns: HostMdns | null;
  readonly #loop: Loop;
  readonly #names: Names;

  /** Use {@link createHost}. */
  constructor(options: HostOptions) {
    if (options.device === undefined && (options.addresses !== undefined || options.mac !== undefined)) {
      throw new TypeError('addresses, mac: expected a device to put them on, got none');
    }
    const memory = options.memory ?? options.device?.memory ?? undefined;
    this.stack = new Stack({
      random: options.random ?? secureRandom(),
      memory,
      tcp: options.tcp,
      congestion: ALGORITHMS,
    });
    this.#loop = new Loop(this.stack, options.clock ?? realClock);
    this.#names = new Names(this.#loop, options);
    this.tcp = new HostTcp(this.#loop, this.#names);
    this.udp = new HostUdp(this.#loop, this.#names);
    this.iface = options.device === undefined ? null : this.#addInterface(options.device, options);
    const gateways = typeof options.gateway === 'string' ? [options.gateway] : (options.gateway ?? []);
    for (const gateway of gateways) this.stack.addDefaultRoute(IpAddress.parse(gateway));
    this.mdns = this.#startMdns(options.mdns ?? false);
    this.#loop.wake();
  }

  #startMdns(options: boolean | HostMdnsOptions): HostMdns | null {
    if (options === false) return null;
    if (this.iface === null) throw new TypeError('mdns: expected a device whose link to speak on, got none');
    const mdns = new HostMdns(this.#loop, this.iface, options === true ? {} : options);
    this.#names.resolver.setLink(mdns);
    return mdns;
  }

  #addInterface(device: Device, options: HostOptions): Interface {
    const { name, mac } = options;
    return this.stack.addInterface(device, {
      addresses: (options.addresses ?? []).map((text) => Cidr.parse(text)),
      ...(name === undefined ? {} : { name }),
      ...(mac === undefined ? {} : { mac: MacAddress.parse(mac) }),
    });
  }

  /** Counters of the stack. */
  get stats(): Stats {
    return this.stack.stats;
  }

  /** The memory in use. */
  get memory(): Memory {
    return this.stack.memory;
  }

  /** Adds another interface. */
  addInterface(device: Device, options: Pick<HostOptions, 'addresses' | 'mac' | 'name'> = {}): Interface {
    this.#loop.assertOpen('addInterface');
    const iface = this.#addInterface(device, options);
    this.#loop.wake();
    return iface;
  }

  /** The clock the host runs by. */
  get clock(): Clock {
    return this.#loop.clock;
  }

  /** The resolver: its servers, its cache, aliases. */
  get resolver(): Resolver {
    return this.#names.resolver;
  }

  /**
   * Addresses of a name, those to try first first; or, with `type`, its records: strings for A and AAAA. Answers come
   * from the table of hosts, from the cache, or from the name servers; an address with `type: 'PTR'` gives its names.
   * @throws NetError ENOTFOUND where there is no such name, or no address; ENODATA no record of the type; ETIMEDOUT no
   * server answers; EAI_AGAIN none knows
   * @example const [address] = await host.resolve('example.org', { family: 6 })
   * @example for (const { exchange } of await host.resolve('example.org', { type: 'MX' })) console.log(exchange)
   */
  resolve<T extends RecordType | undefined = undefined>(
    name: string,
    options: ResolveOptions<T> = {},
  ): Promise<Resolved<T>[]> {
    return this.#names.resolve(name, options);
  }

  /** A name and a port as a peer's address: the first one to try. @throws NetError as {@link resolve} */
  async resolveSocketAddress(name: string, port: number): Promise<{ address: string; port: number }> {
    this.#loop.assertOpen('resolve');
    checkPort(port, 1);
    return { address: `${await this.#names.address(name, 'resolve')}`, port };
  }

  /**
   * Sends one echo request and waits for its reply.
   * @throws NetError ETIMEDOUT, ENETUNREACH, EMSGSIZE, ENOTFOUND
   * @example const { timeMs } = await host.ping('10.0.0.1')
   */
  async ping(host: string, options: PingOptions = {}): Promise<PingReply> {
    this.#loop.assertOpen('ping');
    const address = await this.#names.address(host, 'ping', options.signal);
    return ping(this.#loop, address, options);
  }

  /**
   * Closes everything. Connections whose streams were closed may finish for up to a second; all others are reset.
   * Memory is given back.
   */
  async close(): Promise<void> {
    if (this.#loop.isClosed) return;
    this.mdns?.close(); // its goodbye leaves with what lingers
    await this.#linger();
    this.#loop.touch();
    this.stack.close();
    this.#loop.notify();
    this.#loop.close();
  }

  /** Waits while connections that no stream holds any more have bytes or a FIN under way. */
  async #linger(): Promise<void> {
    const { clock } = this.#loop;
    const until = clock.now() + LINGER_MS;
    const isFinishing = (): boolean =>
      this.stack.tcp.connections.values().some((c) => c.socket === null && c.listener === null && !isDrained(c));
    // First a turn, so that what was just queued is under way.
    this.stack.poll(clock.now());
    this.#loop.hold(1); // or the process could end before this does
    while (isFinishing() && clock.now() < until) {
      await new Promise<void>((resolve) => {
        clock.setTimer(Math.min(until, clock.now() + LINGER_STEP_MS), resolve);
      });
    }
    this.#loop.hold(-1);
  }

  [asyncDispose](): Promise<void> {
    return this.close();
  }
}

/**
 * Makes a host: a TCP/IP stack on `device`, and the loop that drives it.
 * @throws TypeError or RangeError for an address, gateway or memory size that is none
 * @example
 * const [left, right] = pipePair({ medium: 'ip', mtu: 1500 })
 * const host = createHost({ device: left, addresses: ['10.0.0.1/24', 'fd00::1/64'] })
 */
export const createHost = (options: HostOptions = {}): Host => new Host(options);
