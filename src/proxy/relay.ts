/**
 * Every flow of an any-IP host, relayed to the machine's own network as far as a policy lets it. A SYN is answered once
 * the far side has answered; what keeps it from answering is passed on as it was. @module
 */
import type { Socket as MachineDatagrams } from 'node:dgram';
import type { Socket } from 'node:net';
import type { EchoDecision, EchoInterception, EchoRequest } from '../sockets/echo-intercept.ts';
import type { Host } from '../sockets/host.ts';
import type { TcpFlow, TcpInterception, TcpInterceptOptions } from '../sockets/tcp-intercept.ts';
import type { TcpStream } from '../sockets/tcp-stream.ts';
import type { UdpFlow, UdpInterception, UdpInterceptOptions } from '../sockets/udp-intercept.ts';
import type { UdpSocket } from '../sockets/udp-socket.ts';
import type { TcpState } from '../tcp/state.ts';
import { IpAddress } from '../wire/address.ts';
import { concat, HELLO_BYTES_MAX, serverName } from './client-hello.ts';
import { endpoint, type FlowRecord, OpenFlow } from './flow-log.ts';
import { dialDatagrams, dialMachine, pingFromMachine, refusalOf } from './machine.ts';
import type { LearnedNames } from './names.ts';
import { decide, Policy, type PolicyFunction } from './policy.ts';
import type { FlowFacts, FlowProtocol } from './rules.ts';
import { splice } from './splice.ts';
import { dialUpstream, type Upstream } from './upstream.ts';

/** RFC 4787 REQ-5 allows less for ports of protocols that ask once. */
const DNS_PORT = 53;
const DNS_IDLE_MS = 10_000;
/** How long a client has to say its TLS name. */
const HELLO_MS = 10_000;
/** Pings of the machine at once, each a process. */
const PINGS_MAX = 16;
/** Answers of one flow that wait for the device; more are dropped, as a router drops them. */
const ANSWERS_MAX = 64;

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
  /** Bytes of one TCP connection, both ways together, after which it is reset. */
  readonly bytesMax?: number | undefined;
  /** Another proxy that TCP goes out through; by default none. UDP and pings, which it does not carry, are refused then. */
  readonly upstream?: Upstream | undefined;
  readonly tcp?: TcpInterceptOptions | undefined;
  readonly udp?: UdpInterceptOptions | undefined;
}

interface Endpoints {
  readonly sourceAddress: string;
  readonly sourcePort: number;
  readonly destinationAddress: string;
  readonly destinationPort: number;
}

/** States in which the host may still send. */
const OPEN_STATES: readonly TcpState[] = ['ESTABLISHED', 'FIN-WAIT-1', 'FIN-WAIT-2'];
const CLOSING_MS = 1000;
const CLOSING_STEP_MS = 5;

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

const codeOf = (error: unknown): string => (error as { code?: string }).code ?? 'EIO';

/** The guest's link is no matter of a policy. */
const withoutZone = (text: string): IpAddress => IpAddress.parse(text.replace(/%.*$/, ''));

export class Relay {
  readonly tcp: TcpInterception;
  readonly udp: UdpInterception;
  readonly echo: EchoInterception;
  readonly #host: Host;
  readonly #options: RelayOptions;
  readonly #policy: Policy | PolicyFunction;
  /** Connections under way, and when they are over. */
  readonly #joined = new Map<TcpStream, Promise<void>>();
  #pings = 0;

  /** Relays from now on. @param host - has an any-IP interface */
  constructor(host: Host, options: RelayOptions = {}) {
    this.#host = host;
    this.#options = options;
    this.#policy = options.policy ?? new Policy();
    this.tcp = host.tcp.intercept((flow) => this.#relayTcp(flow), options.tcp);
    this.udp = host.udp.intercept((flow) => this.#relayUdp(flow), options.udp);
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
    while (performance.now() < until && [...this.#joined.keys()].some(isClosing)) await pause(CLOSING_STEP_MS);
    await Promise.all([this.tcp.close(), this.udp.close(), this.echo.close()]);
    const left = [...this.#joined];
    for (const [stream] of left) stream.abort();
    await Promise.all(left.map(([, over]) => over));
  }

  #open(protocol: FlowProtocol, flow: Endpoints): { open: OpenFlow; facts: FlowFacts } {
    const { names, onFlow } = this.#options;
    const source = endpoint(flow.sourceAddress, flow.sourcePort);
    const destination = endpoint(flow.destinationAddress, flow.destinationPort);
    const open = new OpenFlow({ protocol, direction: 'out', source, destination }, onFlow ?? (() => {}));
    const known = names?.of(flow.destinationAddress, this.#host.clock.now()) ?? [];
    open.name = known[0] ?? null;
    const facts: FlowFacts = {
      protocol,
      sourceAddress: withoutZone(flow.sourceAddress),
      sourcePort: flow.sourcePort,
      address: withoutZone(flow.destinationAddress),
      port: flow.destinationPort,
      names: known,
      sni: null,
    };
    return { open, facts };
  }

  /** Where the flow may go; null: nowhere, and `open` is over. `sni`: its TLS name must be heard first. */
  async #target(open: OpenFlow, facts: FlowFacts): Promise<{ target: string; needsName: boolean } | null> {
    const { verdict, reason } = await decide(this.#policy, facts);
    open.reason = reason;
    const target = verdict === 'deny' ? null : this.#redirect(facts);
    const isCarried =
      this.#options.upstream === undefined ||
      facts.protocol === 'tcp' ||
      (target !== null && IpAddress.parse(target).isLoopback);
    if (!isCarried) {
      open.reason = `the upstream proxy carries no ${facts.protocol}`;
      open.verdict = 'deny';
      open.end('ECONNREFUSED');
      return null;
    }
    if (target !== null) return { target, needsName: verdict === 'sni' };
    if (verdict !== 'deny') open.reason = `${facts.address} is the gateway itself`;
    open.verdict = 'deny';
    open.end('ECONNREFUSED');
    return null;
  }

  #redirect({ address, port }: FlowFacts): string | null {
    const { redirect } = this.#options;
    if (redirect !== undefined) return redirect(address, port);
    return this.#host.stack.ip.isLocalAddress(address) ? null : `${address}`;
  }

  async #relayTcp(flow: TcpFlow): Promise<void> {
    const { open, facts } = this.#open('tcp', flow);
    const found = await this.#target(open, facts);
    if (found === null) flow.reject();
    else if (found.needsName) await this.#relayNamed(flow, open, facts, found.target);
    else await this.#relayPlain(flow, open, found.target);
  }

  async #relayPlain(flow: TcpFlow, open: OpenFlow, target: string): Promise<void> {
    let socket: Socket;
    try {
      socket = await this.#dial(target, flow);
    } catch (error) {
      const result = flow.signal.aborted ? 'ECONNABORTED' : codeOf(error);
      flow.reject(refusalOf(error));
      open.end(result);
      return;
    }
    socket.on('error', () => {}); // told again when it is joined
    const stream = await flow.accept().catch(() => null);
    if (stream === null) {
      socket.resetAndDestroy();
      open.end('ECONNABORTED');
      return;
    }
    await this.#join(stream, socket, open);
  }

  /** Directly, or through another proxy; the machine's own loopback is always direct. */
  #dial(target: string, { destinationPort, signal }: TcpFlow): Promise<Socket> {
    const { upstream } = this.#options;
    const isOwn = IpAddress.parse(target).isLoopback;
    if (upstream === undefined || isOwn) return dialMachine(target, destinationPort, signal);
    return dialUpstream(upstream, target, destinationPort, signal);
  }

  async #join(stream: TcpStream, socket: Socket, open: OpenFlow, first?: Uint8Array): Promise<void> {
    const { bytesMax } = this.#options;
    const over = splice(stream, socket, open.counts, { bytesMax, first }).then((result) => {
      this.#joined.delete(stream);
      open.end(result ?? 'closed');
    });
    this.#joined.set(stream, over);
    await over;
  }

  /** The client is accepted first, since it says its name only then. */
  async #relayNamed(flow: TcpFlow, open: OpenFlow, facts: FlowFacts, target: string): Promise<void> {
    const stream = await flow.accept().catch(() => null);
    if (stream === null) {
      open.end('ECONNABORTED');
      return;
    }
    const hello = await readHello(stream);
    open.name = hello.name ?? open.name;
    const { verdict, reason } = await decide(this.#policy, { ...facts, sni: hello.name ?? '' });
    open.reason = reason;
    if (verdict !== 'allow') {
      open.verdict = 'deny';
      if (verdict === 'sni') open.reason = 'no TLS name was said';
      stream.abort();
      open.end('ECONNRESET');
      return;
    }
    try {
      const socket = await this.#dial(target, flow);
      await this.#join(stream, socket, open, hello.bytes);
    } catch (error) {
      stream.abort();
      open.end(codeOf(error));
    }
  }

  async #relayUdp(flow: UdpFlow): Promise<void> {
    const { open, facts } = this.#open('udp', flow);
    const found = await this.#target(open, facts);
    if (found === null) {
      flow.reject();
      return;
    }
    let far: MachineDatagrams;
    try {
      far = await dialDatagrams(found.target, flow.destinationPort);
    } catch (error) {
      flow.reject(refusalOf(error) === 'reset' ? 'port' : 'host');
      open.end(codeOf(error));
      return;
    }
    const close = (): void => void far.close();
    if (flow.signal.aborted) {
      close();
      open.end('ECANCELED');
      return;
    }
    flow.signal.addEventListener('abort', close, { once: true });
    if (flow.destinationPort === DNS_PORT) flow.idleMs = Math.min(flow.idleMs, DNS_IDLE_MS);
    const near = flow.accept();
    answers(far, near, flow, open);
    try {
      for await (const { data } of near) {
        open.counts.out += data.length;
        if (!flow.signal.aborted) far.send(data, () => {});
      }
      open.end('closed');
    } catch (error) {
      flow.close();
      open.end(codeOf(error));
    }
  }

  async #relayEcho(request: EchoRequest): Promise<EchoDecision> {
    const { open, facts } = this.#open('icmp', { ...request, sourcePort: 0, destinationPort: 0 });
    const found = await this.#target(open, facts);
    if (found === null) return 'unreachable';
    if (this.#pings >= PINGS_MAX) {
      open.end('EBUSY');
      return 'drop';
    }
    this.#pings++;
    const isThere = await pingFromMachine(found.target);
    this.#pings--;
    open.end(isThere ? 'closed' : 'ETIMEDOUT');
    return isThere ? 'reply' : 'drop';
  }
}

/** What the far side sends goes back; its refusal too. */
function answers(far: MachineDatagrams, near: UdpSocket, flow: UdpFlow, open: OpenFlow): void {
  let waiting = 0;
  far.on('message', (data) => {
    if (waiting >= ANSWERS_MAX || flow.signal.aborted) return;
    open.counts.in += data.length;
    waiting++;
    near
      .send(new Uint8Array(data))
      .catch(() => {})
      .finally(() => waiting--);
  });
  far.on('error', (error) => {
    open.end(codeOf(error));
    if (codeOf(error) === 'ECONNREFUSED') flow.reject();
    else flow.close();
  });
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
