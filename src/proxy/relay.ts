/**
 * Every flow of an any-IP host, relayed to the machine's own network as far as a policy lets it. A SYN is answered once
 * the far side has answered; what keeps it from answering is passed on as it was. @module
 */
import type { Socket } from 'node:net';
import type { EchoDecision, EchoInterception, EchoRequest } from '../sockets/echo-intercept.ts';
import type { Host } from '../sockets/host.ts';
import type { TcpFlow, TcpInterception, TcpInterceptOptions } from '../sockets/tcp-intercept.ts';
import type { TcpStream } from '../sockets/tcp-stream.ts';
import type { UdpFlow, UdpInterception, UdpInterceptOptions } from '../sockets/udp-intercept.ts';
import type { UdpSocket } from '../sockets/udp-socket.ts';
import type { TcpState } from '../tcp/state.ts';
import type { IpAddress } from '../wire/address.ts';
import { Associations } from './association.ts';
import { concat, HELLO_BYTES_MAX, serverName } from './client-hello.ts';
import { type DatagramFlow, DatagramSplice } from './datagrams.ts';
import { endpoint, type FlowRecord, OpenFlow } from './flow-log.ts';
import { type FlowGate, Limiter, type LimitSet, OVER_LIMIT } from './limits.ts';
import { dial, dialDatagrams, dialMachine, type FarDatagrams, pingFromMachine, refusalOf, reset } from './machine.ts';
import type { LearnedNames } from './names.ts';
import { type Decision, decide, Policy, type PolicyFunction } from './policy.ts';
import type { FlowFacts, FlowProtocol } from './rules.ts';
import { Splice, type SpliceOptions } from './splice.ts';
import { dialUpstream, type Upstream } from './upstream.ts';

/** RFC 4787 REQ-5 allows less for ports of protocols that ask once. */
const DNS_PORT = 53;
const DNS_IDLE_MS = 10_000;
/** What waits of one flow while its far side is dialled: a datagram of the largest size, too. */
const RECEIVE_BYTES = 1 << 17;
/** How long a client has to say its TLS name. */
const HELLO_MS = 10_000;
/** Pings of the machine at once, each a process. */
const PINGS_MAX = 16;
const NO_DATAGRAMS = 'the upstream proxy carries no udp';

export interface RelayOptions {
  /** By default everything is allowed. */
  readonly policy?: Policy | PolicyFunction | undefined;
  /**
   * Where a flow goes that wants `address`; null: nowhere, it is refused. By default to `address` itself; an address of
   * the host goes nowhere.
   */
  readonly redirect?: ((address: IpAddress, port: number) => string | null) | undefined;
  /** Names that addresses are known by. */
  readonly names?: LearnedNames | undefined;
  /** Told of each flow when it is over. */
  readonly onFlow?: ((record: FlowRecord) => void) | undefined;
  /** How much may go through; by default what the policy says, if it is a {@link Policy}. */
  readonly limits?: LimitSet | undefined;
  /**
   * Another proxy that all goes out through; by default none. What it does not carry is refused then: pings, and datagrams
   * where it speaks HTTP.
   */
  readonly upstream?: Upstream | undefined;
  readonly tcp?: TcpInterceptOptions | undefined;
  readonly udp?: UdpInterceptOptions | undefined;
}

interface Endpoints {
  readonly sourceAddress: string;
  readonly sourcePort: number;
  readonly destinationAddress: string;
  readonly destinationPort: number;
  readonly source: IpAddress;
  readonly destination: IpAddress;
}

/** Where a flow may go. */
interface Target {
  readonly address: string;
  /** What another proxy is told in its place; null: the address. */
  readonly name: string | null;
  /** It goes to the machine itself, and through no other proxy. */
  readonly isLoopback: boolean;
  /** Its TLS name must be heard first. */
  readonly needsName: boolean;
  readonly gate: FlowGate | null;
}

const isLoopback = (address: string): boolean => address === '::1' || address.startsWith('127.');

/** States in which the host may still send. */
const OPEN_STATES: readonly TcpState[] = ['ESTABLISHED', 'FIN-WAIT-1', 'FIN-WAIT-2'];
const CLOSING_MS = 1000;
const CLOSING_STEP_MS = 5;

/** A name of a host: what else the DNS takes for one is no text that another proxy is to read. */
const SENDABLE = /^[a-z0-9_](?:[a-z0-9_.-]{0,251}[a-z0-9_])?$/;

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

const codeOf = (error: unknown): string => (error as { code?: string }).code ?? 'EIO';

export class Relay {
  readonly tcp: TcpInterception;
  readonly udp: UdpInterception;
  readonly echo: EchoInterception;
  readonly limiter: Limiter;
  /** The ways of datagrams through another proxy; null: there is none that carries any. */
  readonly associations: Associations | null;
  readonly #host: Host;
  readonly #options: RelayOptions;
  readonly #policy: Policy | PolicyFunction;
  /** Connections under way. */
  readonly #joined = new Set<TcpStream>();
  /** Pings of the machine under way, each a process; and what ends them. */
  readonly #pings = new Set<Promise<boolean>>();
  readonly #closing = new AbortController();

  /** Relays from now on. @param host - has an any-IP interface */
  constructor(host: Host, options: RelayOptions = {}) {
    this.#host = host;
    this.#options = options;
    this.#policy = options.policy ?? new Policy();
    const ofPolicy = this.#policy instanceof Policy ? this.#policy.limits : undefined;
    this.limiter = new Limiter(() => host.clock.now(), options.limits ?? ofPolicy);
    const { upstream } = options;
    this.associations = upstream?.kind === 'socks5' ? new Associations(upstream, () => host.clock.now()) : null;
    this.tcp = host.tcp.intercept((flow) => this.#relayTcp(flow), options.tcp);
    this.udp = host.udp.intercept((flow) => this.#relayUdp(flow), { receiveBytes: RECEIVE_BYTES, ...options.udp });
    this.echo = host.icmp.intercept((request) => this.#relayEcho(request));
  }

  /**
   * Ends every flow; each gets its line. What a host has closed, and is still on its way to the machine, gets a second to
   * arrive; all else is reset. The host stays.
   */
  async close(): Promise<void> {
    await pause(CLOSING_STEP_MS); // what was sent last is read
    const until = performance.now() + CLOSING_MS;
    const isClosing = ({ state }: TcpStream): boolean => !OPEN_STATES.includes(state);
    while (performance.now() < until && [...this.#joined].some(isClosing)) await pause(CLOSING_STEP_MS);
    await Promise.all([this.tcp.close(), this.udp.close(), this.echo.close()]);
    for (const stream of [...this.#joined]) stream.abort();
    this.#closing.abort();
    await Promise.all(this.#pings);
  }

  #open(protocol: FlowProtocol, flow: Endpoints): { open: OpenFlow; facts: FlowFacts } {
    const { names, onFlow = () => {} } = this.#options;
    const { sourcePort, destinationPort } = flow;
    const source = endpoint(flow.sourceAddress, sourcePort);
    const destination = endpoint(flow.destinationAddress, destinationPort);
    const open = new OpenFlow({ protocol, direction: 'out', source, destination }, onFlow);
    const known = names?.of(flow.destinationAddress, this.#host.clock.now()) ?? [];
    open.name = known[0] ?? null;
    // The guest's link is no matter of a policy.
    const [from, to] = [flow.source.withZone(0), flow.destination.withZone(0)];
    const facts = { sourceAddress: from, sourcePort, address: to, port: destinationPort, names: known, sni: null };
    return { open, facts: { protocol, ...facts } };
  }

  /** Where the flow may go; null: nowhere, and `open` is over. */
  #target(open: OpenFlow, facts: FlowFacts, decision: Decision): Target | null {
    const { verdict, reason, limits } = decision;
    open.reason = reason;
    const address = verdict === 'deny' ? null : this.#redirect(facts);
    if (address === null) {
      return this.#refuse(open, verdict === 'deny' ? reason : `${facts.address} is the gateway itself`);
    }
    const isOwn = isLoopback(address);
    if (!isOwn && !this.#isCarried(facts.protocol)) {
      return this.#refuse(open, `the upstream proxy carries no ${facts.protocol}`);
    }
    const { exhausted } = this.limiter;
    if (exhausted !== null) {
      this.limiter.stats.ended++;
      return this.#refuse(open, exhausted);
    }
    const gate = this.limiter.open(limits);
    return { address, name: this.#nameOf(decision), isLoopback: isOwn, needsName: verdict === 'sni', gate };
  }

  #isCarried(protocol: FlowProtocol): boolean {
    return (
      this.#options.upstream === undefined || protocol === 'tcp' || (protocol === 'udp' && this.associations !== null)
    );
  }

  /** What another proxy is told in place of the address. */
  #nameOf({ name = null }: Decision): string | null {
    return this.#options.upstream?.sendsNames === true && name !== null && SENDABLE.test(name) ? name : null;
  }

  #refuse(open: OpenFlow, reason: string): null {
    open.reason = reason;
    open.verdict = 'deny';
    open.end('ECONNREFUSED');
    return null;
  }

  #redirect({ address, port }: FlowFacts): string | null {
    const { redirect } = this.#options;
    if (redirect !== undefined) return redirect(address, port);
    return this.#host.stack.ip.isLocalAddress(address) ? null : `${address}`;
  }

  /** At once where the policy decides at once: each promise of a small flow is felt. */
  #relayTcp(flow: TcpFlow): void | Promise<void> {
    const { open, facts } = this.#open('tcp', flow);
    const decision = decide(this.#policy, facts);
    if (!(decision instanceof Promise)) return this.#proceedTcp(flow, open, facts, decision);
    return decision.then((later) => this.#proceedTcp(flow, open, facts, later));
  }

  #proceedTcp(flow: TcpFlow, open: OpenFlow, facts: FlowFacts, decision: Decision): void | Promise<void> {
    const target = this.#target(open, facts, decision);
    if (target === null) flow.reject();
    else if (target.needsName) return this.#relayNamed(flow, open, facts, target);
    else if (target.isLoopback || this.#options.upstream === undefined) this.#relayDirect(flow, open, target);
    else return this.#relayUpstream(flow, open, target);
  }

  #relayDirect(flow: TcpFlow, open: OpenFlow, { address, gate }: Target): void {
    if (flow.isGone) {
      open.end('ECONNABORTED');
      return;
    }
    const cancel = dial(address, flow.destinationPort, (error, dialed) => {
      flow.onGone = null;
      if (error === null) void this.#accept(flow, open, dialed.socket, { gate, intake: dialed.intake });
      else this.#failed(flow, open, error);
    });
    flow.onGone = () => {
      cancel();
      open.end('ECONNABORTED');
    };
  }

  async #relayUpstream(flow: TcpFlow, open: OpenFlow, target: Target): Promise<void> {
    const { gate } = target;
    try {
      const socket = await this.#dialUpstream(target, flow);
      await this.#accept(flow, open, socket, { gate });
    } catch (error) {
      this.#failed(flow, open, error);
    }
  }

  /** What kept the far side from answering is told the client, in place of the answer to its SYN. */
  #failed(flow: TcpFlow, open: OpenFlow, error: unknown): void {
    const result = flow.isGone ? 'ECONNABORTED' : codeOf(error);
    flow.reject(refusalOf(error));
    open.end(result);
  }

  /** The far side has answered: so does the host. */
  async #accept(flow: TcpFlow, open: OpenFlow, socket: Socket, options: SpliceOptions): Promise<void> {
    socket.on('error', () => {}); // told again when it is joined
    const stream = await flow.accept().catch(() => null);
    if (stream !== null) {
      this.#join(stream, socket, open, options);
      return;
    }
    reset(socket);
    open.end('ECONNABORTED');
  }

  #dialUpstream(target: Pick<Target, 'address' | 'name'>, { destinationPort, signal }: TcpFlow): Promise<Socket> {
    const { upstream } = this.#options;
    const { address, name } = target;
    if (upstream === undefined || isLoopback(address)) return dialMachine(address, destinationPort, signal);
    return dialUpstream(upstream, name ?? address, destinationPort, signal);
  }

  /** Joins a connection of the guest to one that came from outside, under the limits there are; resolves when both are over. */
  join(stream: TcpStream, socket: Socket, open: OpenFlow): Promise<void> {
    return new Promise((resolve) => this.#join(stream, socket, open, { gate: this.limiter.open() }, resolve));
  }

  #join(stream: TcpStream, socket: Socket, open: OpenFlow, options: SpliceOptions, onOver = (): void => {}): void {
    const joined: Splice = new Splice(stream, socket, open.counts, options, (result) => {
      this.#joined.delete(stream);
      if (result === OVER_LIMIT) this.limiter.stats.ended++;
      if (joined.limit !== null) open.reason = joined.limit;
      open.end(result ?? 'closed');
      onOver();
    });
    this.#joined.add(stream);
    joined.start();
  }

  /** The client is accepted first, since it says its name only then. */
  async #relayNamed(flow: TcpFlow, open: OpenFlow, facts: FlowFacts, { address, gate }: Target): Promise<void> {
    const stream = await flow.accept().catch(() => null);
    if (stream === null) {
      open.end('ECONNABORTED');
      return;
    }
    const hello = await readHello(stream);
    open.name = hello.name ?? open.name;
    const decision = await decide(this.#policy, { ...facts, sni: hello.name ?? '' });
    const { verdict, reason, limits } = decision;
    open.reason = reason;
    if (verdict !== 'allow') {
      open.verdict = 'deny';
      if (verdict === 'sni') open.reason = 'no TLS name was said';
      stream.abort();
      open.end('ECONNRESET');
      return;
    }
    try {
      const socket = await this.#dialUpstream({ address, name: this.#nameOf(decision) }, flow);
      const own = limits === undefined ? gate : this.limiter.open(limits);
      this.#join(stream, socket, open, { gate: own, first: hello.bytes });
    } catch (error) {
      stream.abort();
      open.end(codeOf(error));
    }
  }

  async #relayUdp(flow: UdpFlow): Promise<void> {
    const { open, facts } = this.#open('udp', flow);
    const target = this.#target(open, facts, await decide(this.#policy, facts));
    if (target === null) {
      flow.reject();
      return;
    }
    let far: FarDatagrams;
    try {
      far = await this.#dialDatagrams(flow, target);
    } catch (error) {
      flow.reject(refusalOf(error) === 'reset' ? 'port' : 'host');
      if (codeOf(error) === 'EOPNOTSUPP') this.#refuse(open, NO_DATAGRAMS);
      else open.end(codeOf(error));
      return;
    }
    if (flow.signal.aborted) {
      far.close();
      open.end('ECANCELED');
      return;
    }
    if (flow.destinationPort === DNS_PORT) flow.idleMs = Math.min(flow.idleMs, DNS_IDLE_MS);
    const end = (why: 'port' | 'host' | null): void => (why === null ? flow.close() : void flow.reject(why));
    await this.joinDatagrams(flow.accept(), far, open, target.gate, end);
  }

  #dialDatagrams(flow: UdpFlow, { address, name, isLoopback: isOwn }: Target): Promise<FarDatagrams> {
    const { destinationPort: port, sourceAddress, sourcePort, signal } = flow;
    if (this.associations === null || isOwn) return dialDatagrams(address, port);
    return this.associations.open(endpoint(sourceAddress, sourcePort), { host: name ?? address, port }, signal);
  }

  /** Joins a socket of the stack to a peer of the machine; resolves when it is over. @param end - as {@link DatagramFlow} */
  joinDatagrams(
    near: UdpSocket,
    far: FarDatagrams,
    open: OpenFlow,
    gate = this.limiter.open(),
    end: DatagramFlow['end'] = () => void near.close(),
  ): Promise<void> {
    const { limiter } = this;
    const { clock } = this.#host;
    return new DatagramSplice({ near, far, open, gate, limiter, clock, end }).run();
  }

  async #relayEcho(request: EchoRequest): Promise<EchoDecision> {
    const { open, facts } = this.#open('icmp', { ...request, sourcePort: 0, destinationPort: 0 });
    const target = this.#target(open, facts, await decide(this.#policy, facts));
    if (target === null) return 'unreachable';
    const { gate } = target;
    const { length } = request.data;
    if (this.#pings.size >= PINGS_MAX || gate?.room('out') === 0) {
      if (this.#pings.size < PINGS_MAX) this.limiter.stats.dropped++;
      open.end('EBUSY');
      return 'drop';
    }
    const limit = gate?.pass('out', length) ?? null;
    if (limit !== null) {
      this.limiter.stats.ended++;
      open.reason = limit;
      open.end(OVER_LIMIT);
      return 'unreachable';
    }
    open.counts.out = length;
    const ping = pingFromMachine(target.address, this.#closing.signal);
    this.#pings.add(ping);
    const isThere = await ping;
    this.#pings.delete(ping);
    if (isThere && gate?.pass('in', length)) return 'drop';
    if (isThere) open.counts.in = length;
    open.end(isThere ? 'closed' : 'ETIMEDOUT');
    return isThere ? 'reply' : 'drop';
  }
}

/** Reads until the TLS name is known, or it is known that there is none. */
async function readHello(stream: TcpStream): Promise<{ name: string | null; bytes: Uint8Array }> {
  let bytes = new Uint8Array(0);
  const signal = AbortSignal.timeout(HELLO_MS);
  while (bytes.length <= HELLO_BYTES_MAX) {
    const chunk = await stream.read({ signal }).catch(() => null);
    if (chunk === null) break;
    bytes = concat([bytes, chunk]) as Uint8Array<ArrayBuffer>;
    const name = serverName(bytes);
    if (name !== undefined) return { name, bytes };
  }
  return { name: null, bytes };
}
