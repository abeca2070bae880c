/**
 * Every TCP connection that comes in on an any-IP interface, decided by a handler before its SYN is answered: what a
 * proxy needs, which accepts a client only once the other side has accepted it. @module
 */
import { NetError } from '../errors.ts';
import type { Connection } from '../tcp/connection.ts';
import type { TcpSettings } from '../tcp/settings.ts';
import type { TcpSocket } from '../tcp/socket.ts';
import { CLOSED } from '../tcp/state.ts';
import type { SynRequest } from '../tcp/syn-request.ts';
import type { IpAddress } from '../wire/address.ts';
import { asyncDispose } from './dispose.ts';
import { checkCount, FlowSlots, type FlowStats, noFlows, type Slot } from './flow-slots.ts';
import type { Notified, StackLoop } from './loop.ts';
import { TcpStream } from './tcp-stream.ts';

const FLOWS_MAX = 4096;
/** RFC 5382 REQ-5: a connection without traffic is kept for 2 hours and 4 minutes at least. */
const IDLE_MS = 7_440_000;
const DEADLINE_MS = 30_000;
/** Why a signal is aborted. */
const GONE = 'the connection is gone';

export interface TcpInterceptOptions {
  /** Connections at once, held ones included; beyond it the one without traffic for longest is reset. Default 4096. */
  readonly flowsMax?: number;
  /**
   * Memory that their buffers may hold together, looked at four times a second; beyond it those without traffic for longest
   * are reset. Default half of the stack's.
   */
  readonly bytesMax?: number;
  /** Milliseconds without traffic after which a connection is reset. Default 2 hours and 4 minutes. */
  readonly idleMs?: number;
  /** Milliseconds a SYN may wait for its decision, at most; then it is rejected. Default 30 s. */
  readonly deadlineMs?: number;
  /**
   * SYNs that may be held, or half open, at once, at least 256. Beyond it one that was answered a quarter of a second ago, or
   * has been held for 3 s, makes room; where there is none, SYNs are dropped, and sent again by their hosts.
   */
  readonly backlog?: number;
  /** What the connections have other than the host's: buffers, timeouts. */
  readonly tcp?: Partial<TcpSettings>;
}

/**
 * Decides about a connection by {@link TcpFlow.accept} or {@link TcpFlow.reject}, now or later. What it throws, or a
 * promise that rejects, ends the connection in whatever state it is.
 */
export type TcpFlowHandler = (flow: TcpFlow) => void | Promise<void>;

/** A connection that another host asks for. */
export class TcpFlow implements Slot {
  /** Who asks. */
  readonly sourceAddress: string;
  readonly sourcePort: number;
  /** Whom it wants, which is hardly ever us. */
  readonly destinationAddress: string;
  readonly destinationPort: number;
  /** Milliseconds without traffic after which it is reset; may be changed. */
  idleMs: number;
  readonly #owner: TcpInterception;
  readonly #request: SynRequest;
  /** Called once, when the connection is over, as {@link signal} is aborted; costs less than a signal. */
  onGone: (() => void) | null = null;
  #isGone = false;
  #gone: AbortController | null = null; // made when somebody asks: it costs as much as a segment or two
  #accepting: Promise<TcpStream> | null = null;
  #settle: { resolve(stream: TcpStream): void; reject(error: unknown): void } | null = null;
  #stream: TcpStream | null = null;
  #isDecided = false;
  readonly #deadlineAt: number;

  /** Made by the interception. */
  constructor(owner: TcpInterception, request: SynRequest, idleMs: number, deadlineMs: number) {
    this.#owner = owner;
    this.#request = request;
    this.idleMs = idleMs;
    this.#deadlineAt = owner.loop.stack.context.nowMs + deadlineMs;
    this.sourceAddress = owner.loop.stack.ip.format(request.remote.address);
    this.sourcePort = request.remote.port;
    this.destinationAddress = owner.loop.stack.ip.format(request.local.address);
    this.destinationPort = request.local.port;
  }

  /** The options of the SYN; an MSS of 0 and a scale of -1 where it had none. */
  get options(): Pick<SynRequest, 'mss' | 'windowScale' | 'sackPermitted' | 'timestamps'> {
    const { mss, windowScale, sackPermitted, timestamps } = this.#request;
    return { mss, windowScale, sackPermitted, timestamps };
  }

  /** Whether it waits for a decision: there was none, the deadline has not passed, and the client has not given up. */
  get isPending(): boolean {
    return this.#request.isPending;
  }

  /** Aborted when the connection is over, for whatever reason: what was begun on its behalf can end. */
  get signal(): AbortSignal {
    this.#gone ??= new AbortController();
    if (this.#isGone && !this.#gone.signal.aborted) this.#gone.abort(GONE);
    return this.#gone.signal;
  }

  /** Whether the connection is over. */
  get isGone(): boolean {
    return this.#isGone;
  }

  /** The addresses as the stack has them; a link-local one with the index of its interface. */
  get source(): IpAddress {
    return this.#request.remote.address;
  }

  get destination(): IpAddress {
    return this.#request.local.address;
  }

  /**
   * Answers the SYN. Resolves when the handshake is done; further calls give the same promise.
   * @throws NetError ECONNABORTED where the client has given up, or it is too late
   */
  accept(): Promise<TcpStream> {
    if (this.#accepting !== null) return this.#accepting;
    const { loop, stats } = this.#owner;
    loop.touch();
    this.#accepting = new Promise((resolve, reject) => {
      this.#settle = { resolve, reject };
    });
    this.#accepting.catch(() => {}); // who does not wait for it need not hear of it
    this.#isDecided ||= this.isPending;
    if (this.#request.accept()) stats.accepted++;
    else this.#fail();
    loop.wake();
    return this.#accepting;
  }

  #fail(): void {
    if (this.#settle === null) return;
    const context = { address: this.sourceAddress, port: this.sourcePort, detail: GONE };
    this.#settle.reject(new NetError('ECONNABORTED', 'accept', context));
    this.#settle = null;
  }

  /** Refuses it: with a RST, or as a host that cannot be reached (ICMP). False when it is too late. */
  reject(how: 'reset' | 'unreachable' = 'reset'): boolean {
    const { loop, stats } = this.#owner;
    loop.touch();
    this.#isDecided ||= this.isPending;
    const isInTime = this.#request.reject(how);
    if (isInTime) stats.rejected++;
    loop.wake();
    return isInTime;
  }

  /** Called by the interception: the handshake is done. */
  established(stream: TcpStream): void {
    this.#stream = stream;
    this.#settle?.resolve(stream);
    this.#settle = null;
  }

  /** Called by the interception: the connection has left the stack. */
  gone(): void {
    const { loop, stats } = this.#owner;
    if (!this.#isDecided && loop.stack.context.nowMs >= this.#deadlineAt) stats.undecided++;
    this.#fail();
    this.#isGone = true;
    this.#gone?.abort(GONE); // a reason of its own: the default one costs a stack trace
    this.onGone?.();
  }

  traffic(): number {
    const { rcvNxt, sndUna } = this.#request.connection;
    return (rcvNxt + sndUna) | 0;
  }

  bytes(): number {
    const { rx, tx } = this.#request.connection;
    return (rx?.heldBytes ?? 0) + (tx?.heldBytes ?? 0);
  }

  expire(why: 'idle' | 'evicted'): void {
    this.#owner.stats[why]++;
    this.end();
  }

  /** Ends the connection in whatever state it is. */
  end(): void {
    const { loop } = this.#owner;
    const { connection } = this.#request;
    loop.touch();
    this.#isDecided = true;
    if (this.isPending) this.#request.reject();
    else if (this.#stream !== null) this.#stream.abort();
    if (connection.state !== CLOSED) loop.stack.tcp.abort(connection);
    loop.wake();
  }
}

/** What `host.tcp.intercept` gives: the flows under way, and what became of all. */
export class TcpInterception implements Notified {
  readonly loop: StackLoop;
  readonly stats: FlowStats = noFlows();
  readonly #socket: TcpSocket;
  readonly #handler: TcpFlowHandler;
  readonly #slots: FlowSlots<TcpFlow>;
  readonly #byConnection = new Map<Connection, TcpFlow>();
  readonly #idleMs: number;
  readonly #deadlineMs: number;
  #isClosed = false;

  /** Made by `host.tcp.intercept`. */
  constructor(loop: StackLoop, handler: TcpFlowHandler, options: TcpInterceptOptions) {
    const { flowsMax = FLOWS_MAX, idleMs = IDLE_MS, deadlineMs = DEADLINE_MS, backlog, tcp } = options;
    const { bytesMax = loop.stack.memory.bytes / 2 } = options;
    if (typeof handler !== 'function') throw new TypeError(`handler: expected a function, got ${typeof handler}`);
    if (backlog !== undefined) checkCount('backlog', backlog);
    this.loop = loop;
    this.#handler = handler;
    this.#idleMs = idleMs;
    this.#deadlineMs = deadlineMs;
    this.#slots = new FlowSlots(loop, flowsMax, bytesMax, idleMs);
    this.#socket = loop.stack.tcpSocket({ ...tcp, synDeadlineMs: deadlineMs });
    this.#socket.owner = this;
    this.#socket.intercept({ onSyn: (request) => this.#open(request), backlog });
    loop.closers.add(this.#close);
  }

  /** The connections there are, held ones included. */
  get flows(): readonly TcpFlow[] {
    return this.#slots.values();
  }

  get count(): number {
    return this.#slots.count;
  }

  /** Memory that their buffers hold. */
  get bytes(): number {
    return this.#slots.bytes;
  }

  /** A SYN has come, inside `poll`. */
  #open(request: SynRequest): void {
    const flow = new TcpFlow(this, request, this.#idleMs, this.#deadlineMs);
    const { connection } = request;
    this.stats.opened++;
    // Whatever the handler does, the slot is free when the stack has done with the connection.
    connection.onGone = () => {
      this.#byConnection.delete(connection);
      this.#slots.remove(flow);
      flow.gone();
    };
    this.#byConnection.set(connection, flow);
    this.#slots.add(flow);
    void this.#ask(flow);
  }

  /** Asks the handler, outside the poll that the SYN came in with. */
  async #ask(flow: TcpFlow): Promise<void> {
    await Promise.resolve();
    try {
      await this.#handler(flow);
    } catch {
      this.stats.handlerErrors++;
      if (!flow.isGone) flow.end();
    }
  }

  notify(): void {
    for (let socket = this.#socket.accept(); socket !== null; socket = this.#socket.accept()) {
      const flow = this.#byConnection.get(socket.connection!);
      const stream = new TcpStream(this.loop, socket);
      if (flow === undefined) stream.abort();
      else flow.established(stream);
    }
  }

  readonly #close = (): void => void this.close();

  /** Intercepts no more: held SYNs are refused; streams that were accepted live on. */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.loop.closers.delete(this.#close);
    this.loop.touch();
    this.#socket.close();
    this.#slots.clear();
    this.#byConnection.clear();
    this.loop.wake();
  }

  [asyncDispose](): Promise<void> {
    return this.close();
  }
}
