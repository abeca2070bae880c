/** A host: a stack, the loop that drives it, and sockets with promises. What most programs use. @module */
import { NetError } from '../errors.ts';
import type { ForwardOptions } from '../iface/forward.ts';
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
import { Cidr, IpAddress, MacAddress, parseIp } from '../wire/address.ts';
import { checkPort } from '../wire/ip.ts';
import { asyncDispose } from './dispose.ts';
import { IncomingSyn, type SynHandler } from './incoming-syn.ts';
import { Loop } from './loop.ts';
import { type PingManyOptions, type PingOptions, type PingReply, type PingStatistics, ping, pingMany } from './ping.ts';
import { type RawOpenOptions, RawSocket } from './raw-socket.ts';
import { realClock, secureRandom } from './real-clock.ts';
import { TcpListener } from './tcp-listener.ts';
import { TcpStream } from './tcp-stream.ts';
import { type TraceHop, type TraceOptions, trace } from './trace.ts';
import { UdpSocket } from './udp-socket.ts';

/** How long `close` lets connections whose streams were closed finish. */
const LINGER_MS = 1000;
const LINGER_STEP_MS = 5;

export interface HostOptions {
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
  /** Whether packets for others are passed on between the interfaces, as a router does. Default false. */
  readonly forward?: boolean | ForwardOptions;
  /** What TCP sockets start with. */
  readonly tcp?: Partial<TcpSettings>;
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
  readonly host: string;
  readonly port: number;
  readonly signal?: AbortSignal | undefined;
  readonly localPort?: number;
  readonly localAddress?: string;
  /** Milliseconds until the attempt fails with ETIMEDOUT; by default the retransmissions of the SYN decide. */
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
  /** The address to bind to; by default all, of both families. */
  readonly host?: string;
}

/** An address, or `localhost`. Names of the DNS are not resolved yet. */
function lookup(host: string, syscall: string): IpAddress {
  if (typeof host !== 'string') throw new TypeError(`host: expected an address as a string, got ${typeof host}`);
  const address = host === 'localhost' ? IpAddress.v4(0x7f000001) : parseIp(host);
  if (address !== null) return address;
  throw new NetError('ENOTFOUND', syscall, { address: host });
}

export interface UdpConnectOptions {
  readonly host: string;
  readonly port: number;
  readonly localAddress?: string;
  /** By default a free one is chosen. */
  readonly localPort?: number;
}

/** TCP of a host. */
export class HostTcp {
  readonly #loop: Loop;

  constructor(loop: Loop) {
    this.#loop = loop;
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
    const address = host === undefined ? undefined : lookup(host, 'listen');
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
    const { signal, timeout, noDelay, keepAliveMs } = options;
    signal?.throwIfAborted();
    const address = lookup(options.host, 'connect');
    const port = checkPort(options.port, 1);
    this.#loop.touch();
    const socket = this.#loop.stack.tcpSocket({
      ...options.tcp,
      ...(noDelay === undefined ? {} : { noDelay }),
      ...(keepAliveMs === undefined ? {} : { keepAliveMs }),
    });
    socket.connect(
      { address, port },
      {
        ...(options.localAddress === undefined ? {} : { address: lookup(options.localAddress, 'connect') }),
        ...(options.localPort === undefined ? {} : { port: checkPort(options.localPort, 0) }),
      },
    );
    const stream = new TcpStream(this.#loop, socket);
    this.#loop.wake();
    await this.#established(stream, timeout, signal);
    return stream;
  }

  #established(stream: TcpStream, timeout: number | undefined, signal: AbortSignal | undefined): Promise<void> {
    const loop = this.#loop;
    const { clock } = loop;
    loop.hold(1);
    return new Promise((resolve, reject) => {
      let timer = 0;
      const settle = (error: unknown): void => {
        loop.hold(-1);
        if (timer !== 0) clock.clearTimer(timer);
        signal?.removeEventListener('abort', onAbort);
        if (error === null) resolve();
        else reject(error);
      };
      const cancel = (error: unknown): void => {
        stream.connected(() => {});
        stream.abort();
        settle(error);
      };
      const onAbort = (): void => cancel(signal!.reason);
      signal?.addEventListener('abort', onAbort, { once: true });
      if (timeout !== undefined) {
        const { remoteAddress, remotePort } = stream;
        const late = (): void =>
          cancel(new NetError('ETIMEDOUT', 'connect', { address: remoteAddress, port: remotePort }));
        timer = clock.setTimer(clock.now() + timeout, late);
      }
      stream.connected(settle);
    });
  }
}

/** UDP of a host. */
export class HostUdp {
  readonly #loop: Loop;

  constructor(loop: Loop) {
    this.#loop = loop;
  }

  /**
   * Takes datagrams to a port.
   * @throws NetError EADDRINUSE, EADDRNOTAVAIL
   * @example const socket = await host.udp.bind({ port: 53 })
   */
  async bind(options: BindOptions = {}): Promise<UdpSocket> {
    this.#loop.assertOpen('bind');
    const socket = this.#loop.stack.udpSocket();
    const address = options.host === undefined ? undefined : lookup(options.host, 'bind');
    socket.bind({ port: checkPort(options.port ?? 0, 0), address });
    return new UdpSocket(this.#loop, socket, lookup);
  }

  /**
   * A socket for one peer: `send` needs no destination, and what the network reports about the peer is thrown.
   * @throws NetError ENETUNREACH, EADDRINUSE, EADDRNOTAVAIL, ENOTFOUND
   */
  async connect(options: UdpConnectOptions): Promise<UdpSocket> {
    this.#loop.assertOpen('connect');
    const { localAddress, localPort } = options;
    const remote = { address: lookup(options.host, 'connect'), port: checkPort(options.port, 1) };
    const socket = this.#loop.stack.udpSocket();
    try {
      if (localPort !== undefined || localAddress !== undefined) {
        const address = localAddress === undefined ? undefined : lookup(localAddress, 'bind');
        socket.bind({ port: checkPort(localPort ?? 0, 0), address });
      }
      socket.connect(remote);
    } catch (error) {
      socket.close();
      throw error;
    }
    return new UdpSocket(this.#loop, socket, lookup);
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
      if (localAddress !== undefined) socket.bind(lookup(localAddress, 'bind'));
      if (remoteAddress !== undefined) socket.connect(lookup(remoteAddress, 'connect'));
    } catch (error) {
      socket.close();
      throw error;
    }
    return new RawSocket(this.#loop, socket, lookup);
  }
}

/** A stack and the loop that drives it. */
export class Host {
  readonly stack: Stack;
  readonly tcp: HostTcp;
  readonly udp: HostUdp;
  readonly raw: HostRaw;
  /** The interface of the device given at creation, null without one. */
  readonly iface: Interface | null;
  readonly #loop: Loop;

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
    this.tcp = new HostTcp(this.#loop);
    this.udp = new HostUdp(this.#loop);
    this.raw = new HostRaw(this.#loop);
    this.iface = options.device === undefined ? null : this.#addInterface(options.device, options);
    const gateways = typeof options.gateway === 'string' ? [options.gateway] : (options.gateway ?? []);
    for (const gateway of gateways) this.stack.addDefaultRoute(IpAddress.parse(gateway));
    this.#loop.wake();
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
    const address = lookup(host, 'ping');
    return 'count' in options ? pingMany(this.#loop, address, options) : ping(this.#loop, address, options);
  }

  /**
   * Finds the routers on the way to `host`: hop after hop, as soon as each is known.
   * @throws NetError ENETUNREACH, ENOTFOUND, EMSGSIZE
   * @example for await (const { ttl, probes } of client.trace('10.9.0.1')) console.log(ttl, probes[0].address)
   */
  async *trace(host: string, options: TraceOptions = {}): AsyncGenerator<TraceHop, void, undefined> {
    this.#loop.assertOpen('trace');
    yield* trace(this.#loop, lookup(host, 'trace'), options);
  }

  /**
   * Closes everything. Connections whose streams were closed may finish for up to a second; all others are reset.
   * Memory is given back.
   */
  async close(): Promise<void> {
    if (this.#loop.isClosed) return;
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
