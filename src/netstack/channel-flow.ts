/** Flows of others that a thread decides about, whose stack is behind a channel: what a handler is given. @module */
import { NetError } from '../errors.ts';
import type { BlockingOptions } from '../sockets/backend.ts';
import type { EchoDecision } from '../sockets/echo-intercept.ts';
import { TcpStream } from '../sockets/tcp-stream.ts';
import type { UdpSocket } from '../sockets/udp-socket.ts';
import type { Caller } from './caller.ts';
import { openStream } from './command-sockets.ts';
import type { Command, FlowDecision, Handle, HeldFlow, HeldSyn, Local, Response, StreamOpened } from './commands.ts';

/** Why a signal is aborted, as a host has it. */
const GONE = 'the flow is over';

/** The interception that a flow is of. */
export interface FlowOwner {
  readonly caller: Caller;
  readonly handle: Handle;
  /** A UDP socket of the flow. */
  udpSocket(handle: Handle, local: Local, pathMtu: number | null): UdpSocket;
}

/** What flows of all protocols have in common. */
export abstract class ChannelFlow {
  readonly sourceAddress: string;
  readonly destinationAddress: string;
  /** Called once, when the flow is over, as {@link signal} is aborted. */
  onGone: (() => void) | null = null;
  protected readonly owner: FlowOwner;
  protected readonly flow: number;
  protected isDecided = false;
  #isGone = false;
  #gone: AbortController | null = null;

  /** Made by the interception. */
  constructor(owner: FlowOwner, { flow, source, destination }: HeldFlow) {
    this.owner = owner;
    this.flow = flow;
    this.sourceAddress = source.address;
    this.destinationAddress = destination.address;
  }

  /** Whether it waits for a decision, as far as it is known on this side: the stack may have ended it. */
  get isPending(): boolean {
    return !this.isDecided && !this.#isGone;
  }

  /** Whether it is over, as far as it was told of: that is while somebody waits for the next flow. */
  get isGone(): boolean {
    return this.#isGone;
  }

  /** Aborted when the flow is over, for whatever reason. */
  get signal(): AbortSignal {
    this.#gone ??= new AbortController();
    if (this.#isGone && !this.#gone.signal.aborted) this.#gone.abort(GONE);
    return this.#gone.signal;
  }

  /** Called by the interception: the flow has left the stack. */
  gone(): void {
    if (this.#isGone) return;
    this.#isGone = true;
    this.#gone?.abort(GONE);
    this.onGone?.();
  }

  /** Called by the interception: the handler has failed. */
  fail(): void {
    this.isDecided = true;
    this.tell('end');
  }

  protected tell(decision: FlowDecision): void {
    const { caller, handle } = this.owner;
    caller.tell({ kind: 'intercept-decide', handle, flow: this.flow, decision });
  }

  /** Decides once; false: it was decided, or is over. */
  protected decide(decision: FlowDecision): boolean {
    if (!this.isPending) return false;
    this.isDecided = true;
    this.tell(decision);
    return true;
  }
}

/** What flows with ports have in common: they are accepted, as a socket. */
abstract class PortFlow<S> extends ChannelFlow {
  readonly sourcePort: number;
  readonly destinationPort: number;
  #idleMs: number;
  #accepting: Promise<S> | null = null;
  #socket: S | null = null;
  /** Accepted, or about to be: a call that was too late may be made again. */
  #isAccepting = false;

  constructor(owner: FlowOwner, held: HeldFlow, idleMs: number) {
    super(owner, held);
    this.sourcePort = held.source.port;
    this.destinationPort = held.destination.port;
    this.#idleMs = idleMs;
  }

  /** Milliseconds without traffic after which the stack ends it; may be changed. */
  get idleMs(): number {
    return this.#idleMs;
  }

  set idleMs(ms: number) {
    if (!(ms > 0)) throw new RangeError(`idleMs: expected milliseconds above 0, got ${ms}`);
    this.#idleMs = ms;
    const { caller, handle } = this.owner;
    const idleMs = Math.min(ms, Number.MAX_VALUE);
    caller.tell({ kind: 'intercept-idle', handle, flow: this.flow, idleMs });
  }

  /** The socket that the stack has opened. */
  protected abstract open(opened: Response): S;

  /**
   * Takes it: of TCP the SYN is answered, and the promise resolves when the handshake is done. Of UDP the socket receives what
   * the source sends, beginning with the first datagram, and `send` without a destination answers as the address that was asked
   * for. Further calls give the same promise.
   * @throws NetError ECONNABORTED where the source has given up, or it is too late
   */
  accept(): Promise<S> {
    this.#accepting ??= this.#accept();
    this.#accepting.catch(() => {}); // who does not wait for it need not hear of it
    return this.#accepting;
  }

  async #accept(): Promise<S> {
    this.#begin();
    return this.open(await this.owner.caller.request(this.#command));
  }

  /** As {@link accept}, but stops the thread. A call that is too late loses nothing: the next one gets the socket. */
  acceptBlocking(options?: BlockingOptions): S {
    this.owner.caller.assertMayBlock('accept');
    if (this.#socket !== null) return this.#socket;
    this.#begin();
    this.#socket = this.open(this.owner.caller.requestBlocking(this.#command, options));
    this.#accepting = Promise.resolve(this.#socket);
    return this.#socket;
  }

  get #command(): Command {
    return { kind: 'intercept-accept', handle: this.owner.handle, flow: this.flow };
  }

  /** It is to be accepted. @throws NetError ECONNABORTED */
  #begin(): void {
    if (!this.isPending && !this.#isAccepting) {
      const context = { address: this.sourceAddress, port: this.sourcePort, detail: GONE };
      throw new NetError('ECONNABORTED', 'accept', context);
    }
    this.isDecided = true;
    this.#isAccepting = true;
  }
}

/** A connection that another host asks for; its SYN waits. As `TcpFlow` of a host. */
export class ChannelTcpFlow extends PortFlow<TcpStream> {
  /** The options of the SYN; an MSS of 0 and a scale of -1 where it had none. */
  readonly options: Pick<HeldSyn, 'mss' | 'windowScale' | 'sackPermitted' | 'timestamps'>;

  constructor(owner: FlowOwner, held: HeldFlow, idleMs: number) {
    super(owner, held, idleMs);
    this.options = held.options!;
  }

  protected open(opened: Response): TcpStream {
    const socket = openStream(this.owner.caller, opened as unknown as StreamOpened);
    return new TcpStream(socket, socket);
  }

  /** Refuses it: with a RST, or as a host that cannot be reached (ICMP). False when it was decided before, or is over. */
  reject(how: 'reset' | 'unreachable' = 'reset'): boolean {
    return this.decide(how);
  }

  /** Ends the connection in whatever state it is. */
  end(): void {
    if (!this.decide('reset')) this.tell('end');
  }
}

/** Datagrams of one host and port to another. As `UdpFlow` of a host, but that to accept takes a while. */
export class ChannelUdpFlow extends PortFlow<UdpSocket> {
  protected open(response: Response): UdpSocket {
    const { handle, local, pathMtu } = response as Extract<Response, { kind: 'bound' }>;
    return this.owner.udpSocket(handle, local, pathMtu);
  }

  /** Ends it, accepted or not, and tells the source that nobody is there (ICMP). False when it is over already. */
  reject(how: 'port' | 'host' = 'port'): boolean {
    if (this.isGone) return false;
    this.isDecided = true;
    this.tell(how);
    return true;
  }

  /** Ends it without a word; the next datagram begins a new flow. */
  close(): void {
    if (this.isGone) return;
    this.isDecided = true;
    this.tell('drop');
  }
}

/** Somebody pings an address that is not ours. As `EchoRequest` of a host, with the decision as a call. */
export class ChannelEchoRequest extends ChannelFlow {
  readonly identifier: number;
  readonly sequence: number;
  readonly ttl: number;
  /** The handler's own. */
  readonly data: Uint8Array;

  constructor(owner: FlowOwner, held: HeldFlow) {
    super(owner, held);
    const { identifier, sequence, ttl } = held.echo!;
    this.identifier = identifier;
    this.sequence = sequence;
    this.ttl = ttl;
    this.data = held.data ?? new Uint8Array(0);
  }

  /** Answers it as the address that was asked for, or with an ICMP error, or not at all. False when that was decided before. */
  answer(decision: EchoDecision): boolean {
    return this.decide(decision);
  }
}
