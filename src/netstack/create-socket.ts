/**
 * Sockets over anything that has a channel: the same classes as a host's. Each function has a twin that stops the thread
 * until it is done, where a thread may. @module
 */
import { NetError } from '../errors.ts';
import type { BlockingOptions, Lookup } from '../sockets/backend.ts';
import type { BindOptions, ConnectOptions, ListenOptions, UdpConnectOptions } from '../sockets/host-sockets.ts';
import type { SynHandler } from '../sockets/incoming-syn.ts';
import { type RawOpenOptions, RawSocket } from '../sockets/raw-socket.ts';
import { TcpListener } from '../sockets/tcp-listener.ts';
import { TcpStream } from '../sockets/tcp-stream.ts';
import { UdpSocket } from '../sockets/udp-socket.ts';
import { IpAddress, parseIp } from '../wire/address.ts';
import type { Caller } from './caller.ts';
import type { HasChannel } from './channel.ts';
import { ChannelListener, ChannelRaw, ChannelUdp, openStream } from './command-sockets.ts';
import type { Command, PlainTcpSettings, ResponseTo, TcpCommand, UdpCommand } from './commands.ts';
import { addressOf } from './executor.ts';

/** Names are looked up by the stack. */
function lookupOver(caller: Caller): Lookup {
  const found = (response: unknown): IpAddress => IpAddress.parse((response as { address: string }).address);
  return {
    numeric: (host) => {
      if (typeof host !== 'string') throw new TypeError(`host: expected an address as a string, got ${typeof host}`);
      return host === 'localhost' ? addressOf(host, 'send') : parseIp(host);
    },
    address: async (host, syscall) => found(await caller.request({ kind: 'lookup', host, syscall })),
    addressBlocking: (host, syscall, options) =>
      found(caller.requestBlocking({ kind: 'lookup', host, syscall }, options)),
  };
}

/** As a host's. `onSyn` is asked on the thread that listens; one that blocks must decide at once, not by a promise. */
export type ChannelListenOptions = Omit<ListenOptions, 'tcp'> & { readonly tcp?: PlainTcpSettings };
export type ChannelConnectOptions = Omit<ConnectOptions, 'tcp'> & { readonly tcp?: PlainTcpSettings };

function listenCommand({ host, port, backlog, ipv6Only, tcp, onSyn }: ChannelListenOptions): Command & TcpCommand {
  if (onSyn !== undefined && typeof onSyn !== 'function') {
    throw new TypeError(`onSyn: expected a function, got ${typeof onSyn}`);
  }
  return { kind: 'tcp-listen', host, port, backlog, ipv6Only, tcp, holdsSyns: onSyn !== undefined };
}

const listenerOf = (
  caller: Caller,
  { handle, local }: ResponseTo<{ kind: 'tcp-listen' } & TcpCommand>,
  { onSyn = null }: { readonly onSyn?: SynHandler | null },
): TcpListener => {
  const socket = new ChannelListener(caller, handle, local, onSyn);
  return new TcpListener(socket, socket);
};

/** Listens for connections. @throws NetError EADDRINUSE, EADDRNOTAVAIL, ENETDOWN */
export async function tcpListen(of: HasChannel, options: ChannelListenOptions): Promise<TcpListener> {
  const { caller } = of.commandChannel();
  return listenerOf(caller, (await caller.request(listenCommand(options))) as never, options);
}

export function tcpListenBlocking(
  of: HasChannel,
  options: ChannelListenOptions,
  blocking?: BlockingOptions,
): TcpListener {
  const { caller } = of.commandChannel();
  return listenerOf(caller, caller.requestBlocking(listenCommand(options), blocking) as never, options);
}

const connectCommand = (options: ChannelConnectOptions): Command & TcpCommand => {
  const { host, port, localAddress, localPort, noDelay, keepAliveMs, data } = options;
  const tcp = {
    ...options.tcp,
    ...(noDelay === undefined ? {} : { noDelay }),
    ...(keepAliveMs === undefined ? {} : { keepAliveMs }),
  };
  const command = { kind: 'tcp-connect', host, port, localHost: localAddress, localPort, tcp } as const;
  return data === undefined ? command : { ...command, data: data.slice() };
};

const streamOf = (caller: Caller, opened: ResponseTo<{ kind: 'tcp-connect' } & TcpCommand>): TcpStream => {
  const socket = openStream(caller, opened);
  return new TcpStream(socket, socket);
};

/**
 * Connects to a peer. Cancelling, or the timeout, leaves nothing behind.
 * @throws NetError ECONNREFUSED, ETIMEDOUT, EHOSTUNREACH, ENETUNREACH, ENETDOWN, ...
 */
export async function tcpConnect(of: HasChannel, options: ChannelConnectOptions): Promise<TcpStream> {
  const { caller } = of.commandChannel();
  const { signal, timeout } = options;
  signal?.throwIfAborted();
  const abort = new AbortController();
  const onAbort = (): void => abort.abort(signal!.reason);
  signal?.addEventListener('abort', onAbort, { once: true });
  const late = (): void =>
    abort.abort(new NetError('ETIMEDOUT', 'connect', { address: options.host, port: options.port }));
  const timer = timeout === undefined ? undefined : setTimeout(late, timeout);
  try {
    return streamOf(caller, (await caller.request(connectCommand(options), { signal: abort.signal })) as never);
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener('abort', onAbort);
  }
}

export function tcpConnectBlocking(
  of: HasChannel,
  options: ChannelConnectOptions,
  blocking: BlockingOptions = {},
): TcpStream {
  const { caller } = of.commandChannel();
  const timeoutMs = blocking.timeoutMs ?? options.timeout;
  return streamOf(caller, caller.requestBlocking(connectCommand(options), { timeoutMs }) as never);
}

const bindCommand = ({ host, port = 0, reuse, ipv6Only }: BindOptions): Command & UdpCommand => ({
  kind: 'udp-bind',
  host,
  port,
  reuse,
  ipv6Only,
});

/** A socket that the stack has opened. */
export const udpOf = (caller: Caller, answer: ResponseTo<{ kind: 'udp-bind' } & UdpCommand>): UdpSocket => {
  const socket = new ChannelUdp(caller, answer.handle, answer.local, answer.pathMtu);
  return new UdpSocket(socket, socket, lookupOver(caller));
};

/** Takes datagrams to a port. @throws NetError EADDRINUSE, EADDRNOTAVAIL, ENETDOWN */
export async function udpBind(of: HasChannel, options: BindOptions = {}): Promise<UdpSocket> {
  const { caller } = of.commandChannel();
  return udpOf(caller, (await caller.request(bindCommand(options))) as never);
}

export function udpBindBlocking(of: HasChannel, options: BindOptions = {}, blocking?: BlockingOptions): UdpSocket {
  const { caller } = of.commandChannel();
  return udpOf(caller, caller.requestBlocking(bindCommand(options), blocking) as never);
}

const udpConnectCommand = ({ host, port, localAddress, localPort }: UdpConnectOptions): Command & UdpCommand => ({
  kind: 'udp-connect',
  host,
  port,
  localHost: localAddress,
  localPort,
});

/** A socket for one peer. @throws NetError ENETUNREACH, EADDRINUSE, EADDRNOTAVAIL, ENETDOWN */
export async function udpConnect(of: HasChannel, options: UdpConnectOptions): Promise<UdpSocket> {
  const { caller } = of.commandChannel();
  const names = lookupOver(caller);
  const { host } = options;
  const numeric = names.numeric(host) === null ? `${await names.address(host, 'connect')}` : host;
  return udpOf(caller, (await caller.request(udpConnectCommand({ ...options, host: numeric }))) as never);
}

export function udpConnectBlocking(of: HasChannel, options: UdpConnectOptions, blocking?: BlockingOptions): UdpSocket {
  const { caller } = of.commandChannel();
  const names = lookupOver(caller);
  const { host } = options;
  const numeric = names.numeric(host) === null ? `${names.addressBlocking!(host, 'connect', blocking)}` : host;
  return udpOf(caller, caller.requestBlocking(udpConnectCommand({ ...options, host: numeric }), blocking) as never);
}

const rawCommand = ({ localAddress, remoteAddress, ...rest }: RawOpenOptions): Command => ({
  kind: 'raw-open',
  ...rest,
  localHost: localAddress,
  remoteHost: remoteAddress,
});

const rawOf = (caller: Caller, { family, protocol }: RawOpenOptions, handle: number): RawSocket => {
  const socket = new ChannelRaw(caller, handle, family, protocol);
  return new RawSocket(socket, socket, addressOf);
};

/** A socket that gets every packet of a protocol. @throws NetError EADDRNOTAVAIL, EAFNOSUPPORT, EMFILE, ENETDOWN */
export async function rawOpen(of: HasChannel, options: RawOpenOptions): Promise<RawSocket> {
  const { caller } = of.commandChannel();
  const answer = (await caller.request(rawCommand(options))) as { handle: number };
  return rawOf(caller, options, answer.handle);
}

export function rawOpenBlocking(of: HasChannel, options: RawOpenOptions, blocking?: BlockingOptions): RawSocket {
  const { caller } = of.commandChannel();
  const answer = caller.requestBlocking(rawCommand(options), blocking) as unknown as { handle: number };
  return rawOf(caller, options, answer.handle);
}
