/** A host: a stack, the loop that drives it, and sockets with promises. What most programs use. @module */
import type { RecordType, Resolver } from '../dns/index.ts';
import { NetError } from '../errors.ts';
import type { ForwardOptions } from '../iface/forward.ts';
import type { Interface } from '../iface/interface.ts';
import type { Ipv6Options } from '../iface/nd.ts';
import type { Stats } from '../iface/stats.ts';
import type { Memory } from '../memory/memory.ts';
import type { Device } from '../phy/device.ts';
import type { Clock } from '../sim/clock.ts';
import { Stack } from '../stack.ts';
import { ALGORITHMS } from '../tcp/congestion/index.ts';
import type { TcpSettings } from '../tcp/settings.ts';
import { isDrained } from '../tcp/socket.ts';
import type { SynRequest } from '../tcp/syn-request.ts';
import { IpAddress } from '../wire/address.ts';
import { checkPort } from '../wire/ip.ts';
import type { Autoconfig, AutoconfigOptions, ConfiguredOptions } from './autoconfig.ts';
import { addConfigured, learnServers } from './configured-interface.ts';
import { dial } from './dial.ts';
import { asyncDispose } from './dispose.ts';
import { type EchoHandler, EchoInterception, type EchoInterceptOptions } from './echo-intercept.ts';
import { IncomingSyn, type SynHandler } from './incoming-syn.ts';
import { Loop } from './loop.ts';
import { HostMdns, type HostMdnsOptions } from './mdns.ts';
import { Names, type NamesOptions, ownAddress, type Resolved, type ResolveOptions } from './names.ts';
import { type PingManyOptions, type PingOptions, type PingReply, type PingStatistics, ping, pingMany } from './ping.ts';
import { type RawOpenOptions, RawSocket } from './raw-socket.ts';
import { realClock, secureRandom } from './real-clock.ts';
import { type TcpFlowHandler, TcpInterception, type TcpInterceptOptions } from './tcp-intercept.ts';
import { TcpListener } from './tcp-listener.ts';
import type { TcpStream } from './tcp-stream.ts';
import { type TraceHop, type TraceOptions, trace } from './trace.ts';
import { type UdpFlowHandler, UdpInterception, type UdpInterceptOptions } from './udp-intercept.ts';
import { UdpSocket } from './udp-socket.ts';

/** How long `close` lets connections whose streams were closed finish. */
const LINGER_MS = 1000;
const LINGER_STEP_MS = 5;

export interface HostOptions extends AutoconfigOptions, NamesOptions {
  /** The device of the first interface. A host without one can still talk to itself. */
  readonly device?: Device;
  /**
   * Addresses with prefixes: `10.0.0.1/24`, `fd00::1/64`; or what finds one: `slaac` by what IPv6 routers tell, and on
   * Ethernet `dhcp`, and `link-local`, which beside `dhcp` is for when no server answers. See {@link Host.configured}.
   */
  readonly addresses?: readonly string[];
  /** Whether other hosts are asked for IPv4 addresses before they are used, which takes 4 to 7 seconds: RFC 5227. Default false. */
  readonly probe?: boolean;
  /** Whether IPv4 addresses are announced by gratuitous ARP. Default true. */
  readonly announce?: boolean;
  /**
   * Whether the interface takes what is sent to any address and port, and answers as that address: see
   * {@link HostTcp.intercept}. Hosts beyond its own networks are asked for by ARP and neighbour discovery, too. Default false.
   */
  readonly anyIp?: boolean;
  /** Whether ICMP redirects of IPv4 are followed; a router never does. Default true. */
  readonly acceptRedirects?: boolean;
  /** How IPv6 behaves: temporary addresses, a secret for stable ones, probes for duplicates, whether routers are listened to. */
  readonly ipv6?: Omit<Ipv6Options, 'onDns' | 'onManaged' | 'autoconfigure'>;
  /** Routers for what no network of ours holds, at most one a family. */
  readonly gateway?: string | readonly string[];
  /** The Ethernet address; random by default. */
  readonly mac?: string;
  /** Shown in traces. */
  readonly name?: string;
  /** Bytes of memory the host may use, in all; or a memory to share. Default: the device's, else 64 MiB. */
  readonly memory?: number | Memory;
  /** Whether packets for others are passed on between the interfaces, as a router does. Default false. */
  readonly forward?: boolean | ForwardOptions;
  /** What TCP sockets start with. */
  readonly tcp?: Partial<TcpSettings>;
  /** Answers and asks on the link by mDNS (RFC 6762), on the interface of `device`; default false. */
  readonly mdns?: boolean | HostMdnsOptions;
  /** Virtual time for simulations; by default the machine's. */
  readonly clock?: Clock;
  /** Uniform uint32; by default the engine's cryptographic source. */
  readonly random?: () => number;
}

/** What {@link Host.addInterface} takes. */
export type InterfaceSettings = Pick<
  HostOptions,
  'addresses' | 'mac' | 'name' | 'probe' | 'announce' | 'ipv6' | 'anyIp'
> &
  AutoconfigOptions;

export interface ListenOptions {
  /** 0: a free port is chosen. */
  readonly port: number;
  /** The address to listen on; by default all, of both families. */
  readonly host?: string;
  /** Whether `::`, and no host at all, mean IPv6 only: RFC 3493 §5.3. Default false. */
  readonly ipv6Only?: boolean;
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
  /**
   * The first bytes to send, no more than the send buffer takes (128 KiB by default). With `tcp: { fastOpen: true }` and an
   * address they go with the SYN to a server that has given a cookie (RFC 7413), and may reach it twice; else they follow the
   * handshake.
   */
  readonly data?: Uint8Array;
}

export interface BindOptions {
  /** 0, the default: a free port is chosen. */
  readonly port?: number;
  /** The address to bind to; by default all, of both families. The address of a group: only what is sent to it comes. */
  readonly host?: string;
  /** Whether the port may be shared with other sockets that say so too: each gets what is sent to a group. */
  readonly reuse?: boolean;
  /** Whether `::`, and no host at all, mean IPv6 only: RFC 3493 §5.3. Default false. */
  readonly ipv6Only?: boolean;
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
    const address = host === undefined ? undefined : ownAddress(this.#loop, host, 'listen');
    const ask = (handler: SynHandler) => (request: SynRequest) =>
      void new IncomingSyn(this.#loop, request).ask(handler);
    const asked = onSyn === undefined ? undefined : ask(onSyn);
    socket.listen({ port: checkPort(options.port, 0), address, backlog, onSyn: asked, ipv6Only: options.ipv6Only });
    return new TcpListener(this.#loop, socket);
  }

  /**
   * Has `handler` decide about every connection that comes in on an any-IP interface and that no listener is there for,
   * to whatever address and port; a listener without a host stands for our own addresses only.
   * @throws NetError EADDRINUSE where there is a handler already; TypeError, RangeError
   * @example host.tcp.intercept(async (flow) => serve(await flow.accept(), flow.destinationAddress, flow.destinationPort))
   */
  intercept(handler: TcpFlowHandler, options: TcpInterceptOptions = {}): TcpInterception {
    this.#loop.assertOpen('intercept');
    return new TcpInterception(this.#loop, handler, options);
  }

  /**
   * Connects to a peer. Cancelling, or the timeout, leaves nothing behind.
   * @throws NetError ECONNREFUSED, ETIMEDOUT, EHOSTUNREACH, ENETUNREACH, ENOTFOUND, ...
   * @example const stream = await host.tcp.connect({ host: '10.0.0.1', port: 80 })
   */
  async connect(options: ConnectOptions): Promise<TcpStream> {
    this.#loop.assertOpen('connect');
    const { host, signal, timeout, noDelay, keepAliveMs, localAddress, localPort, data } = options;
    signal?.throwIfAborted();
    const address = this.#names.numeric(host);
    const port = checkPort(options.port, 1);
    const dialled = {
      signal,
      timeout,
      localAddress: localAddress === undefined ? undefined : ownAddress(this.#loop, localAddress, 'connect'),
      localPort: localPort === undefined ? undefined : checkPort(localPort, 0),
      tcp: {
        ...options.tcp,
        ...(noDelay === undefined ? {} : { noDelay }),
        ...(keepAliveMs === undefined ? {} : { keepAliveMs }),
      },
    };
    if (address !== null) return dial(this.#loop, address, port, { ...dialled, data });
    // Several addresses may be tried at once: only the one that answers gets the bytes.
    const stream = await this.#names.connect(host, port, dialled);
    if (data !== undefined) await stream.write(data);
    return stream;
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
    socket.ipv6Only = options.ipv6Only ?? false;
    const address = options.host === undefined ? undefined : ownAddress(this.#loop, options.host, 'bind');
    socket.bind({ port: checkPort(options.port ?? 0, 0), address });
    return new UdpSocket(this.#loop, socket, this.#names);
  }

  /**
   * Has `handler` decide about every flow that comes in on an any-IP interface and that no socket is there for.
   * @throws NetError EADDRINUSE where there is a handler already; TypeError, RangeError
   * @example host.udp.intercept(async (flow) => { for await (const { data } of flow.accept()) ... })
   */
  intercept(handler: UdpFlowHandler, options: UdpInterceptOptions = {}): UdpInterception {
    this.#loop.assertOpen('intercept');
    return new UdpInterception(this.#loop, this.#names, handler, options);
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
        const address = localAddress === undefined ? undefined : ownAddress(this.#loop, localAddress, 'bind');
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

/** Echo requests to a host. */
export class HostIcmp {
  readonly #loop: Loop;

  constructor(loop: Loop) {
    this.#loop = loop;
  }

  /**
   * Has `handler` decide about every echo request that comes in on an any-IP interface for an address that is not ours;
   * without it each is answered.
   * @throws NetError EADDRINUSE where there is a handler already; TypeError
   */
  intercept(handler: EchoHandler, options: EchoInterceptOptions = {}): EchoInterception {
    this.#loop.assertOpen('intercept');
    return new EchoInterception(this.#loop, handler, options);
  }
}

/** Raw sockets of a host. */
export class HostRaw {
  readonly #loop: Loop;

  constructor(loop: Loop) {
    this.#loop = loop;
  }

  /**
   * Opens a socket that gets every packet of a protocol, and sends packets of it.
   * @throws NetError EADDRNOTAVAIL, EAFNOSUPPORT, EMFILE
   * @example const ospf = await host.raw.open({ family: 4, protocol: 89 })
   */
  async open(options: RawOpenOptions): Promise<RawSocket> {
    this.#loop.assertOpen('open');
    const { localAddress, remoteAddress, ttl } = options;
    const socket = this.#loop.stack.rawSocket(options);
    try {
      if (ttl !== undefined) socket.ttl = ttl;
      if (localAddress !== undefined) socket.bind(ownAddress(this.#loop, localAddress, 'bind'));
      if (remoteAddress !== undefined) socket.connect(ownAddress(this.#loop, remoteAddress, 'connect'));
    } catch (error) {
      socket.close();
      throw error;
    }
    return new RawSocket(this.#loop, socket, (host, syscall) => ownAddress(this.#loop, host, syscall));
  }
}

/** A stack and the loop that drives it. */
export class Host {
  readonly stack: Stack;
  readonly tcp: HostTcp;
  readonly udp: HostUdp;
  readonly icmp: HostIcmp;
  readonly raw: HostRaw;
  /** The interface of the device given at creation, null without one. */
  readonly iface: Interface | null;
  /** Services and names of the link, null unless the host was made with `mdns`. */
  readonly mdns: HostMdns | null;
  readonly #loop: Loop;
  readonly #autoconfigs: Autoconfig[] = [];
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
      forward: options.forward,
      congestion: ALGORITHMS,
    });
    this.#loop = new Loop(this.stack, options.clock ?? realClock);
    this.#names = new Names(this.#loop, options);
    this.tcp = new HostTcp(this.#loop, this.#names);
    this.udp = new HostUdp(this.#loop, this.#names);
    this.icmp = new HostIcmp(this.#loop);
    this.raw = new HostRaw(this.#loop);
    this.#loop.touch(); // what begins now counts its times from now
    this.stack.ip.addresses.onChange = (local, event) => {
      this.autoconfig(local.iface)?.addressChanged(local, event);
    };
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
    const { iface } = addConfigured(this.#loop, device, options, {
      made: (autoconfig) => this.#autoconfigs.push(autoconfig),
      configured: (found) => {
        const isFirst = this.#autoconfigs[0]?.iface.name === found.interface;
        learnServers(this.#names.resolver, this.#loop, found, isFirst);
      },
    });
    return iface;
  }

  /**
   * Waits until an interface has an address to be reached by, and each that was written out was found to be nobody else's:
   * at once where none is probed.
   * @param iface - by default the one of the device given at creation
   * @returns its addresses with their prefixes
   * @throws NetError ETIMEDOUT; ENODEV for a host without the interface
   * @example
   * const host = createHost({ device, addresses: ['dhcp'] })
   * const [address] = await host.configured({ timeout: 10_000 })
   */
  async configured(options: ConfiguredOptions = {}, iface: Interface | null = this.iface): Promise<readonly string[]> {
    this.#loop.assertOpen('configured');
    const autoconfig = this.autoconfig(iface);
    if (autoconfig === null) throw new NetError('ENODEV', 'configured');
    await autoconfig.configured(options);
    return autoconfig.iface.addresses.map(String);
  }

  /** What finds the addresses of an interface, by default of the first; null: the host has no such interface. */
  autoconfig(iface: Interface | null = this.iface): Autoconfig | null {
    return this.#autoconfigs.find((one) => one.iface === iface) ?? null;
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
  addInterface(device: Device, options: InterfaceSettings = {}): Interface {
    this.#loop.assertOpen('addInterface');
    this.#loop.touch();
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
   * Sends one echo request and waits for its reply; or, with `count`, so many at an interval, and counts what comes back.
   * @throws NetError ETIMEDOUT, ENETUNREACH, EMSGSIZE, ENOTFOUND; what the network reports about a single one:
   *   EHOSTUNREACH, ... With `count`, lost replies and reported errors are counted, and the signal ends it without an error.
   * @example const { timeMs } = await host.ping('10.0.0.1')
   * @example const { received } = await host.ping('10.0.0.1', { count: 5, interval: 200 })
   */
  async ping(host: string, options: PingManyOptions): Promise<PingStatistics>;
  async ping(host: string, options?: PingOptions): Promise<PingReply>;
  async ping(host: string, options: PingOptions | PingManyOptions = {}): Promise<PingReply | PingStatistics> {
    this.#loop.assertOpen('ping');
    const address = this.stack.ip.zoned(await this.#names.address(host, 'ping', options.signal));
    return 'count' in options ? pingMany(this.#loop, address, options) : ping(this.#loop, address, options);
  }

  /**
   * Finds the routers on the way to `host`: hop after hop, as soon as each is known.
   * @throws NetError ENETUNREACH, ENOTFOUND, EMSGSIZE
   * @example for await (const { ttl, probes } of client.trace('10.9.0.1')) console.log(ttl, probes[0].address)
   */
  async *trace(host: string, options: TraceOptions = {}): AsyncGenerator<TraceHop, void, undefined> {
    this.#loop.assertOpen('trace');
    yield* trace(this.#loop, this.stack.ip.zoned(await this.#names.address(host, 'trace')), options);
  }

  /**
   * Closes everything. Connections whose streams were closed may finish for up to a second; all others are reset.
   * A lease is given back, and so is all memory.
   */
  async close(): Promise<void> {
    if (this.#loop.isClosed) return;
    this.mdns?.close(); // its goodbye leaves with what lingers
    await this.#linger();
    await Promise.all(this.#autoconfigs.map((one) => one.release()));
    this.#loop.touch();
    for (const one of this.#autoconfigs) one.close();
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
