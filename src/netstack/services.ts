/** What a stack does for its clients besides sockets: names, echo requests, finding its addresses. @module */
import { NetError } from '../errors.ts';
import type { Device } from '../phy/device.ts';
import type { Autoconfig, Configuration } from '../sockets/autoconfig.ts';
import { addConfigured, type ConfiguredInterfaceOptions, learnServers } from '../sockets/configured-interface.ts';
import { queueAll } from '../sockets/dial.ts';
import { HostMdns, type HostMdnsOptions } from '../sockets/mdns.ts';
import { Names, type NamesOptions } from '../sockets/names.ts';
import { type PingFailure, ping, pingMany } from '../sockets/ping.ts';
import { trace } from '../sockets/trace.ts';
import type { Stack } from '../stack.ts';
import { CLOSED_EVENT, CONNECTED } from '../tcp/events.ts';
import type { TcpSettings } from '../tcp/settings.ts';
import type { Endpoint, TcpSocket } from '../tcp/socket.ts';
import type { IpAddress } from '../wire/address.ts';
import { checkPort } from '../wire/ip.ts';
import type { Call, Client } from './client.ts';
import { errorResponse, type Response, type ServiceCommand, type TcpCommand } from './commands.ts';
import { plainRecord } from './records.ts';
import { ReportEntry } from './report-entry.ts';
import { PolledLoop } from './stack-loop.ts';
import { StreamEntry } from './stream-entry.ts';

export interface ServicesOptions extends NamesOptions, ConfiguredInterfaceOptions {
  /** Answers and asks on the link by mDNS (RFC 6762), so that names under `.local` are found; default false. */
  readonly mdns?: boolean | HostMdnsOptions;
}

/** How often a stream that lingers is looked at. */
const LINGER_STEP_MS = 5;

type Reported = Extract<ServiceCommand, { kind: 'ping' | 'trace-route' }>;
type ConnectCommand = Extract<TcpCommand, { kind: 'tcp-connect' }>;

export class Services {
  readonly loop: PolledLoop;
  readonly names: Names;
  readonly autoconfig: Autoconfig;
  readonly mdns: HostMdns | null;
  readonly #found = new Map<string, Configuration>();
  readonly #onAnswered: () => void;
  readonly #onLost: () => void;
  /** Calls that go on in microtasks. */
  underWay = 0;
  readonly interceptions = new Set<{ readonly opened: number }>();
  #opened = 0;

  /**
   * Adds the interface of `device` to the stack.
   * @param onWork - called when there is something to do @param onAnswered - a call was answered outside of a turn
   * @param onLost - a report was lost
   */
  constructor(
    stack: Stack,
    device: Device,
    options: ServicesOptions,
    now: () => number,
    onWork: () => void,
    onAnswered: () => void,
    onLost: () => void,
  ) {
    this.#onAnswered = onAnswered;
    this.#onLost = onLost;
    this.loop = new PolledLoop(stack, now, onWork);
    this.names = new Names(this.loop, options);
    let made: Autoconfig | null = null;
    stack.ip.addresses.onChange = (local, event) => {
      if (local.iface === made?.iface) made.addressChanged(local, event);
    };
    this.autoconfig = addConfigured(this.loop, device, options, {
      made: (autoconfig) => {
        made = autoconfig;
      },
      configured: (found) => {
        this.#found.set(found.source, found);
        learnServers(this.names.resolver, this.loop, found, true);
      },
    });
    this.mdns = this.#startMdns(options.mdns ?? false);
  }

  #startMdns(options: boolean | HostMdnsOptions): HostMdns | null {
    if (options === false) return null;
    const mdns = new HostMdns(this.loop, this.autoconfig.iface, options === true ? {} : options);
    this.names.resolver.setLink(mdns);
    return mdns;
  }

  /** Runs one call, which is answered when it is done, and cancelled by its client. */
  execute(call: Call<ServiceCommand>): void {
    const { command } = call;
    if (command.kind === 'trace-route' || (command.kind === 'ping' && command.reports === true)) {
      this.#report(call, command);
      return;
    }
    this.#run(call, (signal) => this.#answerTo(command, signal));
  }

  #run(call: Call, work: (signal: AbortSignal) => Promise<Response>): void {
    const abort = new AbortController();
    let isOver = false;
    call.waits(() => {
      isOver = true;
      abort.abort(new NetError('ECANCELED', 'cancel'));
    });
    this.underWay++;
    const done = (settle: () => void): void => {
      this.underWay--;
      if (!isOver) settle();
      this.#onAnswered();
    };
    work(abort.signal).then(
      (response) => done(() => call.answer(response)),
      (error) => done(() => call.fail(error)),
    );
  }

  async #answerTo(command: ServiceCommand, signal: AbortSignal): Promise<Response> {
    const { names, loop } = this;
    switch (command.kind) {
      case 'lookup': {
        const address = await names.address(command.host, command.syscall, signal);
        return { kind: 'found', address: `${address}` };
      }
      case 'resolve': {
        const { name, family, type } = command;
        const records = await names.resolve(name, { family, type: type as never, signal });
        return { kind: 'resolved', records: records.map(plainRecord) };
      }
      case 'ping': {
        const { host, count, ...options } = command;
        const to = loop.stack.ip.zoned(await names.address(host, 'ping', signal));
        if (count === undefined) return { kind: 'pinged', reply: await ping(loop, to, { ...options, signal }) };
        if (!Number.isFinite(count)) throw new RangeError(`count: expected a number of requests, got ${count}`);
        const statistics = await pingMany(loop, to, { ...options, count, signal });
        return { kind: 'ping-statistics', statistics };
      }
      case 'configured': {
        const { timeoutMs } = command;
        await this.autoconfig.configured({ signal, ...(timeoutMs === undefined ? {} : { timeout: timeoutMs }) });
        return { kind: 'addresses', addresses: this.autoconfig.iface.addresses.map(String) };
      }
      case 'get-configuration':
        return { kind: 'configuration', configurations: [...this.#found.values()] };
      default:
        throw new NetError('EPROTO', 'request', { detail: 'expected a command' });
    }
  }

  /** What tells of itself while it goes on: its client gets a handle, and asks for the reports. */
  #report(call: Call, command: Reported): void {
    const entry = new ReportEntry(call.client, this.#onLost);
    const handle = call.client.add(entry, command.kind);
    const { signal } = entry.end;
    this.underWay++;
    const done = (result: Response): void => {
      this.underWay--;
      entry.finish(result);
      this.#onAnswered();
    };
    const tell = (report: unknown): void => {
      entry.push(report);
      this.#onAnswered();
    };
    const running = command.kind === 'ping' ? this.#pings(command, signal, tell) : this.#hops(command, signal, tell);
    running.then(done, (error) => done(errorResponse(error, command.kind)));
    call.answer({ kind: 'reporting', handle });
  }

  async #pings(
    { kind: _, host, reports: __, count = 1, ...options }: Extract<Reported, { kind: 'ping' }>,
    signal: AbortSignal,
    tell: (report: unknown) => void,
  ): Promise<Response> {
    const to = this.loop.stack.ip.zoned(await this.names.address(host, 'ping', signal));
    const statistics = await pingMany(this.loop, to, {
      ...options,
      count: count === Number.MAX_VALUE ? Number.POSITIVE_INFINITY : count,
      signal,
      onReply: (reply) => tell({ reply }),
      onFailure: ({ error, ...failure }: PingFailure) => tell({ failure, error: errorResponse(error, 'ping') }),
    });
    return { kind: 'ping-statistics', statistics };
  }

  async #hops(
    { kind: _, host, ...options }: Extract<Reported, { kind: 'trace-route' }>,
    signal: AbortSignal,
    tell: (report: unknown) => void,
  ): Promise<Response> {
    const { loop } = this;
    const to = loop.stack.ip.zoned(await this.names.address(host, 'trace', signal));
    for await (const hop of trace(loop, to, { ...options, signal })) tell(hop);
    return { kind: 'ok' };
  }

  /** Whether flows came since the last call: their clients are told of them in microtasks. */
  hasFlows(): boolean {
    if (this.interceptions.size === 0) return false;
    let opened = 0;
    for (const interception of this.interceptions) opened += interception.opened;
    if (opened === this.#opened) return false;
    this.#opened = opened;
    return true;
  }

  /** A call was answered outside of a turn of the stack: its client must hear of it all the same. */
  answered(): void {
    this.#onAnswered();
  }

  /** Connects to a name: to its addresses in turn, RFC 8305. */
  connect(client: Client, call: Call, command: ConnectCommand, localAddress: IpAddress | undefined): void {
    const { stack } = this.loop;
    const port = checkPort(command.port, 1);
    const local = {
      ...(localAddress === undefined ? {} : { address: localAddress }),
      ...(command.localPort === undefined ? {} : { port: checkPort(command.localPort, 0) }),
    };
    this.#run(call, async (signal) => {
      const attempt = (address: IpAddress, end: AbortSignal): Promise<TcpSocket> => {
        const socket = stack.tcpSocket(command.tcp as Partial<TcpSettings> | undefined);
        this.loop.touch();
        return connected(socket, { address, port }, local, end).finally(() => this.loop.wake());
      };
      const socket = await this.names.race(command.host, 'connect', { signal, localAddress }, attempt, discard);
      if (signal.aborted) {
        discard(socket);
        throw signal.reason;
      }
      const stream = new StreamEntry(client, socket);
      try {
        // Several addresses were tried at once: only the one that has answered gets the bytes.
        if (command.data !== undefined) {
          this.loop.touch();
          queueAll(socket, command.data);
          this.loop.wake();
        }
        return { kind: 'connected', ...stream.open() };
      } catch (error) {
        stream.abort(); // no handle is free, or no room for the data
        throw error;
      }
    });
  }

  /** Answers when all that a closed stream had to send is acknowledged, or after `ms`. */
  linger(call: Call, stream: StreamEntry, ms: number): void {
    const { clock } = this.loop;
    const until = clock.now() + ms;
    this.#run(call, async (signal) => {
      while (!stream.isDone && clock.now() < until && !signal.aborted && !this.loop.isClosed) {
        await new Promise<void>((resolve) => {
          clock.setTimer(Math.min(until, clock.now() + LINGER_STEP_MS), resolve);
        });
      }
      return { kind: 'ok' };
    });
  }

  close(): void {
    this.mdns?.close();
    this.autoconfig.close();
    this.loop.close();
  }
}

function discard(socket: TcpSocket): void {
  socket.owner = null;
  socket.abort();
  socket.release();
}

/** Whoever gets the socket becomes its owner; until then what it reports is looked at later. */
const NOBODY = { notify: () => {} };

function connected(
  socket: TcpSocket,
  remote: Endpoint,
  local: Partial<Endpoint>,
  signal: AbortSignal,
): Promise<TcpSocket> {
  return new Promise((resolve, reject) => {
    const end = (error: unknown): void => {
      signal.removeEventListener('abort', onAbort);
      if (error === null) {
        socket.owner = NOBODY;
        resolve(socket);
      } else {
        discard(socket);
        reject(error);
      }
    };
    const onAbort = (): void => end(signal.reason);
    signal.addEventListener('abort', onAbort, { once: true });
    const notify = (events: number): void => {
      if ((events & (CONNECTED | CLOSED_EVENT)) === 0) return;
      const { address, port } = remote;
      const { error } = socket;
      end(error === null ? null : new NetError(error, 'connect', { address: `${address}`, port }));
    };
    socket.owner = { notify };
    try {
      socket.connect(remote, local);
    } catch (error) {
      signal.removeEventListener('abort', onAbort);
      reject(error);
    }
  });
}
