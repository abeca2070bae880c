import type { TcpSettings } from '../tcp/settings.ts';
import type { SynRequest } from '../tcp/syn-request.ts';
import { checkPort } from '../wire/ip.ts';
import { dial } from './dial.ts';
import { type EchoHandler, EchoInterception, type EchoInterceptOptions } from './echo-intercept.ts';
import { IncomingSyn, type SynHandler } from './incoming-syn.ts';
import type { Loop } from './loop.ts';
import { type Names, ownAddress } from './names.ts';
import { type RawOpenOptions, RawSocket } from './raw-socket.ts';
import { type TcpFlowHandler, TcpInterception, type TcpInterceptOptions } from './tcp-intercept.ts';
import { TcpListener } from './tcp-listener.ts';
import type { TcpStream } from './tcp-stream.ts';
import { type UdpFlowHandler, UdpInterception, type UdpInterceptOptions } from './udp-intercept.ts';
import { UdpSocket } from './udp-socket.ts';

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
