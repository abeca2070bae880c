/**
 * Flows to any address, taken from a stack behind a channel: `host.tcp.intercept` and the like on any thread. Each is decided
 * by a handler, or by whoever takes the next one; and each function has a twin that stops the thread until it is done. @module
 */

import { NetError } from '../errors.ts';
import type { BlockingOptions } from '../sockets/backend.ts';
import { asyncDispose, dispose } from '../sockets/dispose.ts';
import type { EchoDecision, EchoInterceptOptions } from '../sockets/echo-intercept.ts';
import type { Notified } from '../sockets/loop.ts';
import type { TcpInterceptOptions } from '../sockets/tcp-intercept.ts';
import type { UdpInterceptOptions } from '../sockets/udp-intercept.ts';
import { Waiters, type WaitOptions } from '../sockets/waiters.ts';
import { READABLE } from '../tcp/events.ts';
import type { Caller } from './caller.ts';
import type { HasChannel } from './channel.ts';
import {
  ChannelEchoRequest,
  type ChannelFlow,
  ChannelTcpFlow,
  ChannelUdpFlow,
  type FlowOwner,
} from './channel-flow.ts';
import { ChannelSocket } from './channel-socket.ts';
import type { Command, Handle, HeldFlow, InterceptCommand, Local, PlainTcpSettings, Response } from './commands.ts';
import { udpOf } from './create-socket.ts';
import { postable } from './service-calls.ts';

/** RFC 5382 REQ-5 and RFC 4787 REQ-5, as a host has them. */
const TCP_IDLE_MS = 7_440_000;
const UDP_IDLE_MS = 120_000;

/** Counters as {@link ChannelInterception.status} gives them. */
export interface InterceptionStatus {
  /** As `stats` of a host's interception. */
  readonly stats: Readonly<Record<string, number>>;
  /** Flows under way, or echo requests that wait for their decision. */
  readonly count: number;
  /** Memory that their buffers hold. */
  readonly bytes: number;
}

type Handler<F> = (flow: F) => unknown;

/** Asks the stack for one flow after the other. */
class InterceptSocket<F extends ChannelFlow> extends ChannelSocket implements FlowOwner {
  readonly handle: Handle;
  readonly flows = new Map<number, F>();
  readonly #make: (owner: FlowOwner, held: HeldFlow) => F;
  readonly #handler: Handler<F> | null;
  readonly #decided: (flow: F, result: unknown) => void;
  readonly #next: F[] = [];
  #isAsking = false;

  constructor(
    caller: Caller,
    handle: Handle,
    make: (owner: FlowOwner, held: HeldFlow) => F,
    handler: Handler<F> | null,
    decided: (flow: F, result: unknown) => void,
  ) {
    super(caller);
    this.handle = handle;
    this.#make = make;
    this.#handler = handler;
    this.#decided = decided;
    if (handler === null) return;
    caller.attend(1);
    this.#ask();
  }

  udpSocket(handle: Handle, local: Local, pathMtu: number | null): ReturnType<typeof udpOf> {
    return udpOf(this.caller, { kind: 'bound', handle, local, pathMtu });
  }

  /** A flow, or null: then one is asked for. */
  take(): F | null {
    const flow = this.#next.shift() ?? null;
    if (flow === null && !this.#isAsking && !this.isReleased) this.#ask();
    return flow;
  }

  #ask(): void {
    this.#isAsking = true;
    this.caller.call({ kind: 'intercept-next', handle: this.handle }, (response) => this.#answered(response));
  }

  #answered(response: Response): void {
    this.#isAsking = false;
    if (this.isReleased) return;
    if (response.kind === 'flow') {
      const flow = this.#make(this, response);
      this.flows.set(response.flow, flow);
      if (this.#handler === null) this.#next.push(flow);
      else this.caller.later(() => this.#handle(flow));
    } else if (response.kind === 'flows-gone') {
      for (const number of response.flows) this.#over(number);
      if (this.#handler !== null) this.#ask();
    } else {
      // One that was too long to be told of: the deadline decides. Anything else is the end.
      if (response.kind === 'error' && response.code === 'EMSGSIZE') this.#ask();
      return;
    }
    this.notifyOwner(READABLE);
  }

  #over(number: number): void {
    const flow = this.flows.get(number);
    this.flows.delete(number);
    if (flow !== undefined) this.caller.later(() => flow.gone());
  }

  /** Asks the handler; what it throws ends the flow. Then asks for the next flow: one at a time waits here. */
  #handle(flow: F): void {
    if (this.isReleased) return;
    try {
      const result = this.#handler!(flow);
      if (result instanceof Promise) {
        result.then((decision) => this.#decided(flow, decision)).catch(() => flow.fail());
      } else {
        this.#decided(flow, result);
      }
    } catch {
      flow.fail();
    }
    if (!this.#isAsking) this.#ask();
  }

  /** Nothing more is asked for. */
  release(): void {
    this.forget();
    if (this.#handler !== null) this.caller.attend(-1);
    this.flows.clear();
  }

  get closing(): Command {
    return { kind: 'intercept-close', handle: this.handle };
  }

  /** Nobody can decide any more. One with a handler is held by it. */
  drop(): void {
    if (this.#handler !== null || this.isReleased) return;
    this.release();
    this.caller.tell(this.closing);
  }

  protected stackIsGone(): void {
    for (const number of [...this.flows.keys()]) this.#over(number);
    const owner = this.owner as { close?: () => Promise<void> } | null;
    void owner?.close?.();
  }
}

/** The flows of one protocol that this thread decides about. Where it has no handler, {@link next} gives one after the other. */
export class ChannelInterception<F extends ChannelFlow = ChannelFlow> implements Notified {
  readonly #socket: InterceptSocket<F>;
  readonly #waiters: Waiters<F>;
  #isClosed = false;

  /** Made by `tcpIntercept` and the like. */
  constructor(socket: InterceptSocket<F>) {
    this.#socket = socket;
    this.#waiters = new Waiters(socket);
    socket.owner = this;
  }

  /** Those that this thread was told of, and not that they are over. */
  get flows(): readonly F[] {
    return [...this.#socket.flows.values()];
  }

  /** The next flow, for who has no handler. @throws NetError ECANCELED when the interception is closed */
  next(options?: WaitOptions): Promise<F> {
    if (this.#isClosed) return Promise.reject(closedError());
    if (this.#waiters.isEmpty) {
      const flow = this.#socket.take();
      if (flow !== null) return Promise.resolve(flow);
    }
    return this.#waiters.wait(options);
  }

  /** As {@link next}, but stops the thread. */
  nextBlocking(options?: BlockingOptions): F {
    const attempt = (): F | undefined => {
      if (this.#isClosed) throw closedError();
      return this.#waiters.isEmpty ? (this.#socket.take() ?? undefined) : undefined;
    };
    return this.#socket.block('intercept', attempt, options);
  }

  /** Flows until the interception is closed. */
  async *[Symbol.asyncIterator](): AsyncGenerator<F, void, undefined> {
    while (!this.#isClosed) {
      let flow: F;
      try {
        flow = await this.next();
      } catch (error) {
        if (this.#isClosed) return;
        throw error;
      }
      yield flow;
    }
  }

  /** What is counted on the stack's thread. */
  async status(): Promise<InterceptionStatus> {
    const { caller, handle } = this.#socket;
    return statusOf(await caller.request({ kind: 'intercept-status', handle }));
  }

  statusBlocking(options?: BlockingOptions): InterceptionStatus {
    const { caller, handle } = this.#socket;
    return statusOf(caller.requestBlocking({ kind: 'intercept-status', handle }, options));
  }

  notify(): void {
    while (!this.#waiters.isEmpty) {
      const flow = this.#socket.take();
      if (flow === null) return;
      this.#waiters.resolve(flow);
    }
  }

  /**
   * Intercepts no more: what is held is refused. Accepted streams live on. Resolves when the stack answers by itself again, and
   * others may intercept.
   */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#close();
    await this.#socket.caller.request(this.#socket.closing).catch(() => {});
  }

  /** As {@link close}, but stops the thread. */
  closeBlocking(options?: BlockingOptions): void {
    this.#socket.caller.assertMayBlock('close');
    if (this.#isClosed) return;
    this.#close();
    this.#socket.caller.requestBlocking(this.#socket.closing, options);
  }

  #close(): void {
    this.#isClosed = true;
    this.#socket.release();
    this.#waiters.rejectAll(closedError());
  }

  [dispose](): void {
    if (this.#isClosed) return;
    this.#close();
    this.#socket.caller.tell(this.#socket.closing);
  }

  [asyncDispose](): Promise<void> {
    return this.close();
  }
}

const statusOf = (response: Response): InterceptionStatus => {
  const { stats, count, bytes } = response as Extract<Response, { kind: 'interception' }>;
  return { stats, count, bytes };
};

const closedError = (): NetError => new NetError('ECANCELED', 'intercept', { detail: 'the interception is closed' });

/** As a host's; the settings of connections are those that can be posted. */
export type ChannelTcpInterceptOptions = Omit<TcpInterceptOptions, 'tcp'> & { readonly tcp?: PlainTcpSettings };
/** Decides about a flow by its calls, now or later. What it throws ends the flow. */
export type ChannelTcpFlowHandler = (flow: ChannelTcpFlow) => void | Promise<void>;
export type ChannelUdpFlowHandler = (flow: ChannelUdpFlow) => void | Promise<void>;
/** Gives the decision, or undefined for one that `answer` gives later. */
export type ChannelEchoHandler = (
  request: ChannelEchoRequest,
) => EchoDecision | undefined | Promise<EchoDecision | undefined>;

type Open = Extract<InterceptCommand, { kind: 'intercept-tcp' | 'intercept-udp' | 'intercept-icmp' }>;

/** Endless times as numbers that can be posted. */
const posted = (kind: Open['kind'], options: object): Open =>
  ({
    kind,
    ...Object.fromEntries(
      Object.entries(options).map(([name, value]) => [name, typeof value === 'number' ? postable(value) : value]),
    ),
  }) as never;

function checkHandler(handler: unknown): void {
  if (handler === null || typeof handler === 'function') return;
  throw new TypeError(`handler: expected a function or null, got ${typeof handler}`);
}

const handleOf = (response: unknown): Handle => (response as { handle: Handle }).handle;

/** How the flows of a protocol are made, and what their handler gives is taken for. */
interface Kind<F extends ChannelFlow> {
  readonly command: Open['kind'];
  make(owner: FlowOwner, held: HeldFlow, idleMs: number | undefined): F;
  decided(flow: F, result: unknown): void;
}

const TCP: Kind<ChannelTcpFlow> = {
  command: 'intercept-tcp',
  make: (owner, held, idleMs = TCP_IDLE_MS) => new ChannelTcpFlow(owner, held, idleMs),
  decided: () => {},
};

const UDP: Kind<ChannelUdpFlow> = {
  command: 'intercept-udp',
  make: (owner, held, idleMs = UDP_IDLE_MS) => new ChannelUdpFlow(owner, held, idleMs),
  decided: () => {},
};

const ICMP: Kind<ChannelEchoRequest> = {
  command: 'intercept-icmp',
  make: (owner, held) => new ChannelEchoRequest(owner, held),
  decided: (request, decision) => {
    if (decision !== undefined) request.answer(decision as EchoDecision);
  },
};

const interceptionOf = <F extends ChannelFlow>(
  caller: Caller,
  handle: Handle,
  { make, decided }: Kind<F>,
  handler: Handler<F> | null,
  { idleMs }: { readonly idleMs?: number },
): ChannelInterception<F> =>
  new ChannelInterception(
    new InterceptSocket(caller, handle, (owner, held) => make(owner, held, idleMs), handler, decided),
  );

async function intercept<F extends ChannelFlow>(
  of: HasChannel,
  kind: Kind<F>,
  handler: Handler<F> | null,
  options: object,
): Promise<ChannelInterception<F>> {
  checkHandler(handler);
  const { caller } = of.commandChannel();
  const handle = handleOf(await caller.request(posted(kind.command, options)));
  return interceptionOf(caller, handle, kind, handler, options);
}

function interceptBlocking<F extends ChannelFlow>(
  of: HasChannel,
  kind: Kind<F>,
  handler: Handler<F> | null,
  options: object,
  blocking?: BlockingOptions,
): ChannelInterception<F> {
  checkHandler(handler);
  const { caller } = of.commandChannel();
  const handle = handleOf(caller.requestBlocking(posted(kind.command, options), blocking));
  return interceptionOf(caller, handle, kind, handler, options);
}

/**
 * Has `handler` decide about every connection that comes in on an any-IP interface and that no listener is there for; the SYN is
 * answered when it has. Without a handler flows wait for {@link ChannelInterception.next}. Where the thread ends, what is held is
 * refused, and the stack answers by itself again.
 * @param handler - called between two waits where the thread blocks, in a microtask otherwise; null: there is none
 * @throws NetError EADDRINUSE where somebody intercepts already; ENETDOWN; TypeError, RangeError
 * @example await tcpIntercept(channel, async (flow) => serve(await flow.accept(), flow.destinationAddress))
 */
export const tcpIntercept = (
  of: HasChannel,
  handler: ChannelTcpFlowHandler | null = null,
  options: ChannelTcpInterceptOptions = {},
): Promise<ChannelInterception<ChannelTcpFlow>> => intercept(of, TCP, handler, options);

export const tcpInterceptBlocking = (
  of: HasChannel,
  handler: ChannelTcpFlowHandler | null = null,
  options: ChannelTcpInterceptOptions = {},
  blocking?: BlockingOptions,
): ChannelInterception<ChannelTcpFlow> => interceptBlocking(of, TCP, handler, options, blocking);

/** The same of UDP: a flow is told of with its first datagram, which waits in it. */
export const udpIntercept = (
  of: HasChannel,
  handler: ChannelUdpFlowHandler | null = null,
  options: UdpInterceptOptions = {},
): Promise<ChannelInterception<ChannelUdpFlow>> => intercept(of, UDP, handler, options);

export const udpInterceptBlocking = (
  of: HasChannel,
  handler: ChannelUdpFlowHandler | null = null,
  options: UdpInterceptOptions = {},
  blocking?: BlockingOptions,
): ChannelInterception<ChannelUdpFlow> => interceptBlocking(of, UDP, handler, options, blocking);

/** The same of echo requests to addresses that are not ours; without it the stack answers each. */
export const icmpIntercept = (
  of: HasChannel,
  handler: ChannelEchoHandler | null = null,
  options: EchoInterceptOptions = {},
): Promise<ChannelInterception<ChannelEchoRequest>> => intercept(of, ICMP, handler, options);

export const icmpInterceptBlocking = (
  of: HasChannel,
  handler: ChannelEchoHandler | null = null,
  options: EchoInterceptOptions = {},
  blocking?: BlockingOptions,
): ChannelInterception<ChannelEchoRequest> => interceptBlocking(of, ICMP, handler, options, blocking);
