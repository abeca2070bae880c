/** Commands, executed on the stack's thread: each is answered now, or waits with the one socket it is about. @module */
import { NetError } from '../errors.ts';
import type { Stack } from '../stack.ts';
import type { TcpSettings } from '../tcp/settings.ts';
import { IpAddress, parseIp } from '../wire/address.ts';
import { checkPort } from '../wire/ip.ts';
import { Call, type Client, syscallOf } from './client.ts';
import type { Command, PosixCommand, RawCommand, Response, StackCommand, TcpCommand, UdpCommand } from './commands.ts';
import { DatagramEntry } from './datagram-entry.ts';
import { ListenerEntry } from './listener-entry.ts';
import { BYTES_MAX, StreamEntry } from './stream-entry.ts';

/** What the executor needs of the stack behind it. */
export interface Executed {
  readonly stack: Stack;
  setAddresses(addresses: readonly string[]): void;
  addresses(): readonly string[];
  addRoute(prefix: string, gateway: string | null): void;
  removeRoute(prefix: string): void;
  runPosix(call: Call<PosixCommand>): void;
  /** A datagram waits for room on the device. */
  waitsForRoom(entry: DatagramEntry<never>): void;
}

const OK: Response = { kind: 'ok' };

/** An address, or `localhost`. @throws NetError ENOTFOUND */
export function addressOf(host: unknown, syscall: string): IpAddress {
  if (typeof host !== 'string') throw new TypeError(`host: expected an address as a string, got ${typeof host}`);
  const address = host === 'localhost' ? IpAddress.v4(0x7f000001) : parseIp(host);
  if (address === null) throw new NetError('ENOTFOUND', syscall, { address: host });
  return address;
}

const optionalAddress = (host: string | undefined, syscall: string): IpAddress | undefined =>
  host === undefined ? undefined : addressOf(host, syscall);

function checkData(data: unknown): asserts data is Uint8Array {
  if (!(data instanceof Uint8Array)) throw new TypeError(`data: expected a Uint8Array, got ${typeof data}`);
  if (data.length > BYTES_MAX) throw new NetError('EMSGSIZE', 'send', { detail: `at most ${BYTES_MAX} bytes` });
}

export class Executor {
  readonly #to: Executed;

  constructor(to: Executed) {
    this.#to = to;
  }

  /** Executes one command; what it throws is its answer. */
  execute(client: Client, id: number, command: Command): void {
    const call = new Call(client, id, command);
    try {
      const response = this.#dispatch(client, call, command);
      if (response !== null) call.answer(response);
    } catch (error) {
      call.fail(error);
    }
  }

  /** The answer, or null: the call waits, or has been answered. */
  #dispatch(client: Client, call: Call, command: Command): Response | null {
    if (typeof command !== 'object' || command === null) throw badCommand(command);
    const { kind } = command;
    if (typeof kind !== 'string') throw badCommand(command);
    if (client.isGone) throw new NetError('ENETDOWN', syscallOf(command), { detail: 'the channel is closed' });
    if (kind.startsWith('tcp-')) return this.#tcp(client, call, command as TcpCommand);
    if (kind.startsWith('udp-')) return this.#udp(client, call, command as UdpCommand);
    if (kind.startsWith('raw-')) return this.#raw(client, call, command as RawCommand);
    if (kind === 'posix') {
      this.#to.runPosix(call as Call<PosixCommand>);
      return null;
    }
    return this.#control(client, command as StackCommand);
  }

  #tcp(client: Client, call: Call, command: TcpCommand): Response | null {
    switch (command.kind) {
      case 'tcp-listen':
        return this.#listen(client, command);
      case 'tcp-connect':
        return this.#connect(client, call, command);
      case 'tcp-accept':
        (client.get('listener', command.handle, 'accept') as ListenerEntry).accept(call as never);
        return null;
      case 'tcp-close':
        this.#closeTcp(client, command.handle);
        return OK;
    }
    const stream = client.get('stream', command.handle, syscallOf(command)) as StreamEntry;
    switch (command.kind) {
      case 'tcp-send':
        checkData(command.data);
        stream.send(call as never);
        return null;
      case 'tcp-receive':
        stream.receive(call as never);
        return null;
      case 'tcp-shutdown':
        stream.shutdown();
        return OK;
      case 'tcp-abort':
        stream.abort();
        return OK;
      case 'tcp-status': {
        const { socket } = stream;
        return { kind: 'status', state: socket.state(), error: socket.error, isDrained: socket.isDrained() };
      }
      default:
        throw badCommand(command);
    }
  }

  #listen(client: Client, { host, port, backlog, tcp }: Extract<TcpCommand, { kind: 'tcp-listen' }>): Response {
    const socket = this.#to.stack.tcpSocket(tcp as Partial<TcpSettings> | undefined);
    socket.listen({ port: checkPort(port, 0), address: optionalAddress(host, 'listen'), backlog });
    return new ListenerEntry(client, socket).open();
  }

  #connect(client: Client, call: Call, command: Extract<TcpCommand, { kind: 'tcp-connect' }>): null {
    const { host, port, localHost, localPort, tcp } = command;
    const socket = this.#to.stack.tcpSocket(tcp as Partial<TcpSettings> | undefined);
    const address = optionalAddress(localHost, 'connect');
    const local = {
      ...(address === undefined ? {} : { address }),
      ...(localPort === undefined ? {} : { port: checkPort(localPort, 0) }),
    };
    socket.connect({ address: addressOf(host, 'connect'), port: checkPort(port, 1) }, local);
    new StreamEntry(client, socket).connect(call as never);
    return null;
  }

  #closeTcp(client: Client, handle: number): void {
    const entry = client.entries.get(handle);
    if (entry === null || (entry.kind !== 'stream' && entry.kind !== 'listener')) throw new NetError('EBADF', 'close');
    entry.close();
  }

  #udp(client: Client, call: Call, command: UdpCommand): Response | null {
    if (command.kind === 'udp-bind' || command.kind === 'udp-connect') return this.#bind(client, command);
    const entry = client.get('udp', command.handle, syscallOf(command)) as DatagramEntry<
      ReturnType<Stack['udpSocket']>
    >;
    switch (command.kind) {
      case 'udp-send': {
        const { host, port, data } = command;
        checkData(data);
        const to = host === undefined ? null : { address: addressOf(host, 'send'), port: checkPort(port ?? 0, 1) };
        if (!entry.send(call as never, () => entry.socket.send(data, to))) this.#to.waitsForRoom(entry as never);
        return null;
      }
      case 'udp-receive':
        entry.receive(call as never);
        return null;
      case 'udp-configure':
        entry.socket.pathMtuDiscovery = command.pathMtuDiscovery;
        return OK;
      case 'udp-close':
        entry.close();
        return OK;
      default:
        throw badCommand(command);
    }
  }

  #bind(client: Client, command: Extract<UdpCommand, { kind: 'udp-bind' | 'udp-connect' }>): Response {
    const socket = this.#to.stack.udpSocket();
    try {
      if (command.kind === 'udp-bind') {
        socket.bind({ port: checkPort(command.port, 0), address: optionalAddress(command.host, 'bind') });
      } else {
        const { host, port, localHost, localPort } = command;
        const remote = { address: addressOf(host, 'connect'), port: checkPort(port, 1) };
        if (localPort !== undefined || localHost !== undefined) {
          socket.bind({ port: checkPort(localPort ?? 0, 0), address: optionalAddress(localHost, 'bind') });
        }
        socket.connect(remote);
      }
      const handle = client.add(new DatagramEntry(client, socket, 'udp'), 'bind');
      const local = { address: socket.local.toString(), port: socket.port };
      return { kind: 'bound', handle, local, pathMtu: socket.pathMtu };
    } catch (error) {
      socket.close();
      throw error;
    }
  }

  #raw(client: Client, call: Call, command: RawCommand): Response | null {
    if (command.kind === 'raw-open') return this.#open(client, command);
    const entry = client.get('raw', command.handle, syscallOf(command)) as DatagramEntry<
      ReturnType<Stack['rawSocket']>
    >;
    switch (command.kind) {
      case 'raw-send': {
        const { host, data } = command;
        checkData(data);
        const to = optionalAddress(host, 'send');
        if (!entry.send(call as never, () => entry.socket.send(data, to))) this.#to.waitsForRoom(entry as never);
        return null;
      }
      case 'raw-receive':
        entry.receive(call as never);
        return null;
      case 'raw-close':
        entry.close();
        return OK;
      default:
        throw badCommand(command);
    }
  }

  #open(client: Client, command: Extract<RawCommand, { kind: 'raw-open' }>): Response {
    const { ttl, localHost, remoteHost, family, protocol, headerIncluded, receiveBytes } = command;
    const socket = this.#to.stack.rawSocket({ family, protocol, headerIncluded, receiveBytes });
    try {
      if (ttl !== undefined) socket.ttl = ttl;
      if (localHost !== undefined) socket.bind(addressOf(localHost, 'bind'));
      if (remoteHost !== undefined) socket.connect(addressOf(remoteHost, 'connect'));
      return { kind: 'opened', handle: client.add(new DatagramEntry(client, socket, 'raw'), 'open') };
    } catch (error) {
      socket.close();
      throw error;
    }
  }

  #control(client: Client, command: StackCommand): Response {
    const to = this.#to;
    switch (command.kind) {
      case 'set-addresses':
        to.setAddresses(command.addresses);
        return OK;
      case 'get-addresses':
        return { kind: 'addresses', addresses: to.addresses() };
      case 'add-route':
        to.addRoute(command.route.prefix, command.route.gateway);
        return OK;
      case 'remove-route':
        to.removeRoute(command.prefix);
        return OK;
      case 'get-stats':
        return { kind: 'stats', stats: plain(to.stack.stats) };
      case 'cancel':
        client.cancel(command.id);
        return OK;
      case 'leave':
        client.leave();
        return OK;
      default:
        throw badCommand(command);
    }
  }
}

/** Counters as they can be posted. */
function plain(stats: object): Record<string, unknown> {
  const copy: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(stats)) {
    if (typeof value === 'number') copy[name] = value;
    else if (value instanceof Map) copy[name] = Object.fromEntries(value as Map<string, unknown>);
    else if (typeof value === 'object' && value !== null) copy[name] = { ...value };
  }
  return copy;
}

const badCommand = (command: unknown): NetError =>
  new NetError('EPROTO', 'request', { detail: `expected a command, got ${describe(command)}` });

function describe(value: unknown): string {
  const kind = (value as { kind?: unknown } | null)?.kind;
  return kind === undefined ? typeof value : `one of the kind ${JSON.stringify(kind)}`;
}
