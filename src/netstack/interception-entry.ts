/**
 * Flows of others that a client decides about: the interceptions of `sockets/`, whose handler puts each flow here until the
 * client has taken it. Bounds, deadlines and counters are theirs. @module
 */
import { NetError } from '../errors.ts';
import { type EchoDecision, EchoInterception } from '../sockets/echo-intercept.ts';
import type { TcpFlow } from '../sockets/tcp-intercept.ts';
import { TcpInterception } from '../sockets/tcp-intercept.ts';
import type { UdpFlow } from '../sockets/udp-intercept.ts';
import { UdpInterception } from '../sockets/udp-intercept.ts';
import type { Call, Client, Entry } from './client.ts';
import type { FlowDecision, HeldFlow, InterceptCommand, Response } from './commands.ts';
import { DatagramEntry } from './datagram-entry.ts';
import type { Services } from './services.ts';
import { StreamEntry } from './stream-entry.ts';

type Open = Extract<InterceptCommand, { kind: 'intercept-tcp' | 'intercept-udp' | 'intercept-icmp' }>;
type Next = Call<Extract<InterceptCommand, { kind: 'intercept-next' }>>;
type Accept = Call<Extract<InterceptCommand, { kind: 'intercept-accept' }>>;

/** Flows that one answer says are over: what fits the smallest ring. */
const GONE_MAX = 64;
/** The stream that made the socket is nobody's any more. */
const NOBODY = { notify: (): void => {} };

/** A flow as this needs it, whatever its protocol. */
interface Held {
  readonly record: Omit<HeldFlow, 'flow'>;
  /** Of an echo request: when it is too late. */
  readonly lateAt?: number;
  accept(call: Accept): void;
  /** Whether it was in time. */
  decide(decision: FlowDecision): boolean;
  setIdle(ms: number): void;
}

/** What the three interceptions have in common. */
interface Interception {
  readonly stats: object;
  readonly count: number;
  readonly bytes: number;
  close(): Promise<void>;
}

const wrong = (decision: unknown, expected: string): TypeError =>
  new TypeError(`decision: expected ${expected}, got ${JSON.stringify(decision)}`);

export class InterceptionEntry implements Entry {
  readonly kind = 'interception';
  handle = 0;
  readonly client: Client;
  readonly #services: Services;
  readonly #interception: Interception;
  /** By their numbers, while they are in the stack. */
  readonly #flows = new Map<number, Held>();
  /** Those that the client was not told of, oldest first. */
  readonly #untold = new Set<number>();
  /** Those that it was told of and that are over; it is told before it is told of others. */
  #gone: number[] = [];
  #asking: Next | null = null;
  #nextFlow = 1;
  #isClosed = false;

  /** @throws NetError EADDRINUSE; TypeError, RangeError */
  constructor(client: Client, services: Services, command: Open) {
    this.client = client;
    this.#services = services;
    if (command.kind === 'intercept-tcp') this.#interception = this.#ofTcp(command);
    else if (command.kind === 'intercept-udp') this.#interception = this.#ofUdp(command);
    else this.#interception = this.#ofEcho(command);
    services.underWay++; // flows are told of and accepted in microtasks
    services.interceptions.add(this);
  }

  #ofTcp({ kind: _, ...options }: Extract<Open, { kind: 'intercept-tcp' }>): Interception {
    return new TcpInterception(this.#services.loop, (flow) => this.#heldTcp(flow), options as never);
  }

  #ofUdp({ kind: _, ...options }: Extract<Open, { kind: 'intercept-udp' }>): Interception {
    const { loop, names } = this.#services;
    return new UdpInterception(loop, names, (flow) => this.#heldUdp(flow), options);
  }

  #ofEcho({ kind: _, ...options }: Extract<Open, { kind: 'intercept-icmp' }>): Interception {
    const { loop } = this.#services;
    const { clock } = loop;
    const interception = new EchoInterception(
      loop,
      ({ identifier, sequence, ttl, data, ...request }) =>
        new Promise<EchoDecision>((resolve) => {
          const lateAt = clock.now() + interception.deadlineMs;
          this.#forgetLate(clock.now());
          const flow = this.#add({
            record: { ...ends(request), echo: { identifier, sequence, ttl }, data },
            lateAt,
            accept: (call) => call.fail(new NetError('EOPNOTSUPP', 'accept')),
            decide: (decision) => this.#decideEcho(flow, decision, resolve),
            setIdle: () => {},
          });
        }),
      options,
    );
    return {
      stats: interception.stats,
      get count() {
        return interception.pending;
      },
      bytes: 0,
      close: () => interception.close(),
    };
  }

  #decideEcho(flow: number, decision: FlowDecision, resolve: (decision: EchoDecision) => void): boolean {
    if (!['reply', 'unreachable', 'drop', 'end'].includes(decision)) {
      throw wrong(decision, 'reply, unreachable or drop');
    }
    if (decision === 'end') {
      (this.#interception.stats as EchoInterception['stats']).handlerErrors++;
      resolve('drop');
    } else {
      resolve(decision as EchoDecision);
    }
    const isInTime = this.#flows.get(flow)!.lateAt! > this.#services.loop.clock.now();
    this.#over(flow);
    return isInTime;
  }

  /** Echo requests that were not decided in time: the interception has forgotten them. */
  #forgetLate(now: number): void {
    for (const [flow, { lateAt }] of this.#flows) {
      if (lateAt! > now) return;
      this.#over(flow);
    }
  }

  #heldTcp(flow: TcpFlow): void {
    if (flow.isGone) return; // another one has taken its place in the same turn
    let isTaken = false;
    const number = this.#add({
      record: { ...ends(flow), options: flow.options },
      accept: (call) => {
        if (isTaken) throw new NetError('EALREADY', 'accept', { detail: 'the flow was accepted' });
        this.#acceptTcp(flow, call, () => {
          isTaken = true;
        });
      },
      decide: (decision) => this.#decideTcp(flow, decision),
      setIdle: (ms) => {
        flow.idleMs = ms;
      },
    });
    flow.onGone = () => this.#over(number);
  }

  /** A call that is cancelled meanwhile loses nothing: the next one gets the connection. */
  #acceptTcp(flow: TcpFlow, call: Accept, taken: () => void): void {
    let isWaiting = true;
    call.waits(() => {
      isWaiting = false;
    });
    const settle = (answer: () => void): void => {
      if (isWaiting) answer();
      this.#services.answered();
    };
    flow.accept().then(
      (stream) =>
        settle(() => {
          taken();
          const entry = new StreamEntry(this.client, stream.handOver(NOBODY).socket);
          try {
            call.answer({ kind: 'accepted', ...entry.open() });
          } catch (error) {
            entry.abort(); // no handle is free
            call.fail(error);
          }
        }),
      (error: unknown) => settle(() => call.fail(error)),
    );
  }

  #decideTcp(flow: TcpFlow, decision: FlowDecision): boolean {
    if (decision === 'reset' || decision === 'unreachable') return flow.reject(decision);
    if (decision !== 'end') throw wrong(decision, 'reset or unreachable');
    return this.#end(flow);
  }

  /** A handler has failed. */
  #end(flow: TcpFlow | UdpFlow): true {
    (this.#interception as TcpInterception).stats.handlerErrors++;
    if ('end' in flow) flow.end();
    else flow.close();
    return true;
  }

  #heldUdp(flow: UdpFlow): void {
    if (flow.signal.aborted) return;
    const number = this.#add({
      record: ends(flow),
      accept: (call) => this.#acceptUdp(flow, call),
      decide: (decision) => {
        if (decision === 'port' || decision === 'host') return flow.reject(decision);
        if (decision === 'end') return this.#end(flow);
        if (decision !== 'drop') throw wrong(decision, 'port, host or drop');
        flow.close();
        return true;
      },
      setIdle: (ms) => {
        flow.idleMs = ms;
      },
    });
    flow.signal.addEventListener('abort', () => this.#over(number), { once: true });
  }

  #acceptUdp(flow: UdpFlow, call: Accept): void {
    if (!flow.isPending) throw new NetError('EALREADY', 'accept', { detail: 'the flow was accepted' });
    const entry = new DatagramEntry(this.client, flow.take(), 'udp');
    try {
      const handle = this.client.add(entry, 'accept');
      const { socket } = entry;
      const local = { address: socket.local.toString(), port: socket.port };
      call.answer({ kind: 'bound', handle, local, pathMtu: socket.pathMtu });
    } catch (error) {
      flow.close(); // no handle is free
      throw error;
    }
    const ended = (): void => entry.end(new NetError('ECANCELED', 'receive', { detail: 'the flow is over' }));
    flow.signal.addEventListener('abort', ended, { once: true });
  }

  #add(held: Held): number {
    const number = this.#nextFlow++;
    this.#flows.set(number, held);
    this.#untold.add(number);
    this.#news();
    return number;
  }

  #over(number: number): void {
    if (!this.#flows.delete(number) || this.#untold.delete(number) || this.#isClosed) return;
    this.#gone.push(number);
    this.#news();
  }

  #news(): void {
    if (this.#asking === null) return;
    this.#tell(this.#asking);
    this.#services.answered();
  }

  next(call: Next): void {
    if (this.#asking !== null) {
      throw new NetError('EBUSY', 'intercept', { detail: 'the next flow is waited for already' });
    }
    this.#asking = call;
    call.waits(() => {
      this.#asking = null;
    });
    this.#tell(call);
  }

  #tell(call: Next): void {
    if (this.#gone.length > 0) {
      call.answer({ kind: 'flows-gone', flows: this.#gone.splice(0, GONE_MAX) });
      return;
    }
    for (const flow of this.#untold) {
      this.#untold.delete(flow);
      call.answer({ kind: 'flow', flow, ...this.#flows.get(flow)!.record });
      return;
    }
  }

  accept(call: Accept): void {
    const held = this.#flows.get(call.command.flow);
    if (held !== undefined) {
      held.accept(call);
      return;
    }
    throw new NetError('ECONNABORTED', 'accept', { detail: 'the flow is over' });
  }

  decide(flow: number, decision: FlowDecision): boolean {
    return this.#flows.get(flow)?.decide(decision) ?? false;
  }

  /** @throws RangeError */
  setIdle(flow: number, idleMs: number): void {
    if (!(idleMs > 0)) throw new RangeError(`idleMs: expected milliseconds above 0, got ${idleMs}`);
    this.#flows.get(flow)?.setIdle(idleMs);
  }

  status(): Response {
    const { stats, count, bytes } = this.#interception;
    return { kind: 'interception', stats: { ...stats }, count, bytes };
  }

  /** Flows that came, in all. */
  get opened(): number {
    const { opened = 0, asked = 0 } = this.#interception.stats as { opened?: number; asked?: number };
    return opened + asked;
  }

  notify(): void {
    // The interception is told itself.
  }

  /** Gives the interception back: held SYNs are refused, as are those that the client was never told of. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#services.underWay--;
    this.#services.interceptions.delete(this);
    this.client.entries.remove(this.handle);
    void this.#interception.close();
    this.#flows.clear();
    this.#untold.clear();
    this.#asking?.fail(new NetError('ECANCELED', 'intercept', { detail: 'the interception was closed' }));
  }
}

interface Ends {
  readonly sourceAddress: string;
  readonly sourcePort?: number;
  readonly destinationAddress: string;
  readonly destinationPort?: number;
}

/** Both ends of a flow, as they are posted; an echo request has no ports. */
const ends = ({ sourceAddress, sourcePort = 0, destinationAddress, destinationPort = 0 }: Ends): Held['record'] => ({
  source: { address: sourceAddress, port: sourcePort },
  destination: { address: destinationAddress, port: destinationPort },
});
