/** Commands, executed on the stack's thread: each is answered now, or waits with the one socket it is about. @module */
import { NetError } from '../errors.ts';
import { PATH_MTU_MODES } from '../iface/path-mtu.ts';
import { queueAll } from '../sockets/dial.ts';
import { changeMembership, findInterface } from '../sockets/membership.ts';
import type { Stack } from '../stack.ts';
import type { TcpSettings } from '../tcp/settings.ts';
import { IpAddress, parseIp } from '../wire/address.ts';
import { checkPort } from '../wire/ip.ts';
import { Call, type Client, syscallOf } from './client.ts';
import type {
  Command,
  InterceptCommand,
  PlainRoute,
  PosixCommand,
  RawCommand,
  Response,
  ServiceCommand,
  StackCommand,
  TcpCommand,
  UdpCommand,
  UdpSettings,
} from './commands.ts';
import { DatagramEntry } from './datagram-entry.ts';
import { InterceptionEntry } from './interception-entry.ts';
import { ListenerEntry } from './listener-entry.ts';
import type { ReportEntry } from './report-entry.ts';
import type { Services } from './services.ts';
import { BYTES_MAX, StreamEntry } from './stream-entry.ts';
import { type Teller, TraceBuffer } from './trace-buffer.ts';

/** What the executor needs of the stack behind it. */
export interface Executed {
  readonly stack: Stack;
  readonly services: Services;
  setAddresses(addresses: readonly string[]): void;
  addresses(): readonly string[];
  addRoute(prefix: string, gateway: string | null): void;
  removeRoute(prefix: string): void;
  routes(): readonly PlainRoute[];
  runPosix(call: Call<PosixCommand>): void;
  /** A datagram waits for room on the device. */
  waitsForRoom(entry: DatagramEntry<never>): void;
  /** Has `tell` called at the end of the turn. */
  tellsSoon(teller: Teller): void;
  /** What came of channels; see {@link ChannelStats}. */
  channelStats(): ChannelStats;
  /** A record of a trace or a report was lost. */
  readonly onLost: () => void;
}

/** What is counted of the clients of a stack. */
export interface ChannelStats {
  /** Ended because of what they wrote into shared memory. */
  readonly clientsDamaged: number;
  /** Messages on a port that are none of ours. */
  readonly foreignMessages: number;
  /** Records of traces and reports that a client was too slow for. */
  readonly recordsLost: number;
}

const OK: Response = { kind: 'ok' };
const SERVICES: readonly string[] = ['lookup', 'resolve', 'ping', 'configured', 'get-configuration', 'trace-route'];

/** An address, or `localhost`. @throws NetError ENOTFOUND */
export function addressOf(host: unknown, syscall: string, parse = parseIp): IpAddress {
  if (typeof host !== 'string') throw new TypeError(`host: expected an address as a string, got ${typeof host}`);
  const address = host === 'localhost' ? IpAddress.v4(0x7f000001) : parse(host);
  if (address === null) throw new NetError('ENOTFOUND', syscall, { address: host });
  return address;
}

function checkData(data: unknown): asserts data is Uint8Array {
  if (!(data instanceof Uint8Array)) throw new TypeError(`data: expected a Uint8Array, got ${typeof data}`);
  if (data.length > BYTES_MAX) throw new NetError('EMSGSIZE', 'send', { detail: `at most ${BYTES_MAX} bytes` });
}

export class Executor {
  readonly #to: Executed;

  constructor(to: Executed) {
    this.#to = to;
  }

  #address(host: unknown, syscall: string): IpAddress {
    return addressOf(host, syscall, (text) => this.#to.stack.ip.parse(text));
  }

  #optional(host: string | undefined, syscall: string): IpAddress | undefined {
    return host === undefined ? undefined : this.#address(host, syscall);
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
    if (kind.startsWith('intercept-')) return this.#intercept(client, call, command as InterceptCommand);
    if (kind.startsWith('report-')) return report(client, call, command as ServiceCommand);
    if (kind === 'posix') {
      this.#to.runPosix(call as Call<PosixCommand>);
      return null;
    }
    if (SERVICES.includes(kind)) {
      this.#to.services.execute(call as Call<ServiceCommand>);
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
      case 'tcp-next-syn':
        (client.get('listener', command.handle, 'accept') as ListenerEntry).nextSyn(call as never);
        return null;
      case 'tcp-decide': {
        const listener = client.get('listener', command.handle, 'accept') as ListenerEntry;
        return { kind: 'decided', isInTime: listener.decide(command.syn, command.decision) };
      }
      case 'tcp-close':
        return this.#closeTcp(client, call, command);
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
      case 'tcp-info':
        return { kind: 'info', info: stream.socket.info() };
      case 'tcp-trace': {
        const { isOn } = command;
        const to = this.#to;
        stream.trace(isOn ? new TraceBuffer((teller) => to.tellsSoon(teller), to.onLost) : null);
        return OK;
      }
      case 'tcp-next-traces':
        stream.nextTraces(call as never);
        return null;
      default:
        throw badCommand(command);
    }
  }

  #listen(
    client: Client,
    { host, port, backlog, ipv6Only, tcp, holdsSyns = false }: Extract<TcpCommand, { kind: 'tcp-listen' }>,
  ): Response {
    const socket = this.#to.stack.tcpSocket(tcp as Partial<TcpSettings> | undefined);
    const entry = new ListenerEntry(client, socket);
    const onSyn = holdsSyns ? entry.onSyn : undefined;
    socket.listen({ port: checkPort(port, 0), address: this.#optional(host, 'listen'), backlog, ipv6Only, onSyn });
    try {
      return entry.open();
    } catch (error) {
      entry.close(); // no handle is free
      throw error;
    }
  }

  #connect(client: Client, call: Call, command: Extract<TcpCommand, { kind: 'tcp-connect' }>): null {
    const { host, port, localHost, localPort, tcp, data } = command;
    if (data !== undefined) checkData(data);
    if (typeof host === 'string' && host !== 'localhost' && this.#to.stack.ip.parse(host) === null) {
      this.#to.services.connect(client, call, command, this.#optional(localHost, 'connect'));
      return null;
    }
    const socket = this.#to.stack.tcpSocket(tcp as Partial<TcpSettings> | undefined);
    const address = this.#optional(localHost, 'connect');
    const local = {
      ...(address === undefined ? {} : { address }),
      ...(localPort === undefined ? {} : { port: checkPort(localPort, 0) }),
    };
    socket.connect({ address: this.#address(host, 'connect'), port: checkPort(port, 1) }, local);
    if (data !== undefined) queueAll(socket, data);
    new StreamEntry(client, socket).connect(call as never);
    return null;
  }

  #closeTcp(client: Client, call: Call, command: Extract<TcpCommand, { kind: 'tcp-close' }>): Response | null {
    const { handle, lingerMs } = command;
    const entry = client.entries.get(handle);
    if (entry === null || (entry.kind !== 'stream' && entry.kind !== 'listener')) throw new NetError('EBADF', 'close');
    if (lingerMs !== undefined && !(lingerMs >= 0)) {
      throw new RangeError(`lingerMs: expected 0 or more, got ${lingerMs}`);
    }
    entry.close();
    if (lingerMs === undefined || entry.kind === 'listener') return OK;
    this.#to.services.linger(call, entry as StreamEntry, lingerMs);
    return null;
  }

  #udp(client: Client, call: Call, command: UdpCommand): Response | null {
    if (command.kind === 'udp-bind' || command.kind === 'udp-connect') return this.#bind(client, command);
    const entry = client.get('udp', command.handle, syscallOf(command)) as DatagramEntry<
      ReturnType<Stack['udpSocket']>
    >;
    switch (command.kind) {
      case 'udp-send': {
        const { host, port, localHost, data } = command;
        checkData(data);
        const to = host === undefined ? null : { address: this.#address(host, 'send'), port: checkPort(port ?? 0, 1) };
        const from = localHost === undefined ? null : this.#address(localHost, 'send');
        if (!entry.send(call as never, () => entry.socket.send(data, to, from))) this.#to.waitsForRoom(entry as never);
        return null;
      }
      case 'udp-receive':
        entry.receive(call as never);
        return null;
      case 'udp-configure':
        configure(this.#to.stack, entry.socket, command.settings);
        return OK;
      case 'udp-membership':
        changeMembership(this.#to.stack, entry.socket, checkRecord(command.membership));
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
      socket.broadcast = false;
      if (command.kind === 'udp-bind') {
        socket.reuse = command.reuse ?? false;
        socket.ipv6Only = command.ipv6Only ?? false;
        socket.bind({ port: checkPort(command.port, 0), address: this.#optional(command.host, 'bind') });
      } else {
        const { host, port, localHost, localPort } = command;
        const remote = { address: this.#address(host, 'connect'), port: checkPort(port, 1) };
        if (localPort !== undefined || localHost !== undefined) {
          socket.bind({ port: checkPort(localPort ?? 0, 0), address: this.#optional(localHost, 'bind') });
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
        const to = this.#optional(host, 'send');
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
      if (localHost !== undefined) socket.bind(this.#address(localHost, 'bind'));
      if (remoteHost !== undefined) socket.connect(this.#address(remoteHost, 'connect'));
      return { kind: 'opened', handle: client.add(new DatagramEntry(client, socket, 'raw'), 'open') };
    } catch (error) {
      socket.close();
      throw error;
    }
  }

  #intercept(client: Client, call: Call, command: InterceptCommand): Response | null {
    const { kind } = command;
    if (kind === 'intercept-tcp' || kind === 'intercept-udp' || kind === 'intercept-icmp') {
      const made = new InterceptionEntry(client, this.#to.services, command);
      try {
        return { kind: 'intercepting', handle: client.add(made, 'intercept') };
      } catch (error) {
        made.close(); // no handle is free
        throw error;
      }
    }
    const entry = client.get('interception', command.handle, 'intercept') as InterceptionEntry;
    switch (kind) {
      case 'intercept-next':
        entry.next(call as never);
        return null;
      case 'intercept-accept':
        entry.accept(call as never);
        return null;
      case 'intercept-decide':
        return { kind: 'decided', isInTime: entry.decide(command.flow, command.decision) };
      case 'intercept-idle':
        entry.setIdle(command.flow, command.idleMs);
        return OK;
      case 'intercept-status':
        return entry.status();
      case 'intercept-close':
        entry.close();
        return OK;
      default:
        throw badCommand(command);
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
      case 'get-routes':
        return { kind: 'routes', routes: to.routes() };
      case 'get-stats':
        return { kind: 'stats', stats: { ...plain(to.stack.stats), channels: to.channelStats() } };
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

function report(client: Client, call: Call, command: ServiceCommand): Response | null {
  if (command.kind !== 'report-next' && command.kind !== 'report-end') throw badCommand(command);
  const entry = client.get('reports', command.handle, 'report') as ReportEntry;
  if (command.kind === 'report-next') {
    entry.next(call as never);
    return null;
  }
  if (command.isDiscarded === true) entry.close();
  else entry.end.abort();
  return OK;
}

function checkRecord<T>(given: T): T {
  if (typeof given === 'object' && given !== null) return given;
  throw new TypeError(`command: expected a record in it, got ${given === null ? 'null' : typeof given}`);
}

/** @throws TypeError, RangeError for a setting that is none; NetError ENODEV */
function configure(stack: Stack, socket: ReturnType<Stack['udpSocket']>, settings: Partial<UdpSettings>): void {
  const { pathMtuDiscovery, broadcast, ttl, multicastTtl, multicastLoopback } = checkRecord(settings);
  const { multicastInterface: name } = settings;
  const isByte = (value: number, least: number): boolean => Number.isInteger(value) && value >= least && value <= 255;
  if (ttl !== undefined && !isByte(ttl, 1)) throw new RangeError(`ttl: expected 1 to 255, got ${ttl}`);
  if (multicastTtl !== undefined && !isByte(multicastTtl, 0)) {
    throw new RangeError(`multicastTtl: expected 0 to 255, got ${multicastTtl}`);
  }
  if (pathMtuDiscovery !== undefined && !PATH_MTU_MODES.includes(pathMtuDiscovery)) {
    throw new RangeError(`pathMtuDiscovery: expected ${PATH_MTU_MODES.join(', ')}, got ${pathMtuDiscovery}`);
  }
  if (name !== undefined) socket.multicastInterface = name === '' ? null : findInterface(stack, String(name));
  if (ttl !== undefined) socket.ttl = ttl;
  if (multicastTtl !== undefined) socket.multicastTtl = multicastTtl;
  if (pathMtuDiscovery !== undefined) socket.pathMtuDiscovery = pathMtuDiscovery;
  if (broadcast !== undefined) socket.broadcast = broadcast === true;
  if (multicastLoopback !== undefined) socket.multicastLoopback = multicastLoopback === true;
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
