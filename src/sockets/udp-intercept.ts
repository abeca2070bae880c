/** Every UDP flow that comes in on an any-IP interface, decided by a handler at its first datagram. @module */
import { NetError } from '../errors.ts';
import type { Packet } from '../iface/packet.ts';
import { SharedBytes } from '../udp/datagram-queue.ts';
import type { UdpSocket as CoreUdpSocket } from '../udp/socket.ts';
import type { IpAddress } from '../wire/address.ts';
import { asyncDispose } from './dispose.ts';
import { checkMs, FlowSlots, type FlowStats, noFlows, type Slot } from './flow-slots.ts';
import type { StackLoop } from './loop.ts';
import type { Names } from './names.ts';
import { UdpSocket } from './udp-socket.ts';

const FLOWS_MAX = 1024;
/** RFC 4787 REQ-5: at least two minutes. */
const IDLE_MS = 120_000;
const DEADLINE_MS = 10_000;
/** Bytes of datagrams that may wait in one flow, a power of two. */
const RECEIVE_BYTES = 1 << 16;
const RECEIVE_BYTES_MIN = 1 << 11;
const RECEIVE_BYTES_MAX = 1 << 24;
/** Bytes of the first datagram that an ICMP error quotes. */
const QUOTED_BYTES = 128;

export interface UdpInterceptOptions {
  /** Flows at once; beyond it the one without traffic for longest ends. Default 1024. */
  readonly flowsMax?: number;
  /**
   * Memory that waiting datagrams of all flows may hold; beyond it they are dropped (`udp-queue-full`), and the flows that
   * hold any and had none for longest end. Default an eighth of the stack's.
   */
  readonly bytesMax?: number;
  /** Milliseconds without a datagram after which a flow ends. Default two minutes. */
  readonly idleMs?: number;
  /** Milliseconds until a flow ends that was not decided about. Default 10 s. */
  readonly deadlineMs?: number;
  /** Bytes of datagrams that may wait in one flow, a power of two; what is more is dropped (`udp-queue-full`). Default 64 KiB. */
  readonly receiveBytes?: number;
}

/** Decides about a flow by {@link UdpFlow.accept} or {@link UdpFlow.reject}, now or later. What it throws ends the flow. */
export type UdpFlowHandler = (flow: UdpFlow) => void | Promise<void>;

/** Datagrams of one host and port to another. */
export class UdpFlow implements Slot {
  readonly sourceAddress: string;
  readonly sourcePort: number;
  /** Whom they are for, which is hardly ever us. */
  readonly destinationAddress: string;
  readonly destinationPort: number;
  /** Milliseconds without a datagram after which it ends; may be changed. */
  idleMs: number;
  readonly #owner: UdpInterception;
  readonly #core: CoreUdpSocket;
  readonly #quote: Uint8Array;
  readonly #gone = new AbortController();
  readonly #local: IpAddress;
  readonly #remote: IpAddress;
  #socket: UdpSocket | null = null;
  #isTaken = false;

  /** Made by the interception. */
  constructor(owner: UdpInterception, core: CoreUdpSocket, quote: Uint8Array, idleMs: number) {
    const { ip } = owner.loop.stack;
    this.#owner = owner;
    this.#core = core;
    this.#quote = quote;
    this.#local = core.local;
    this.#remote = core.remote;
    this.idleMs = idleMs;
    this.sourceAddress = ip.format(core.remote);
    this.sourcePort = core.remotePort;
    this.destinationAddress = ip.format(core.local);
    this.destinationPort = core.port;
    core.onClose = () => this.#over();
  }

  /** However the socket was closed, the slot is free. */
  #over(): void {
    this.#owner.forget(this);
    this.#gone.abort('the flow is over');
  }

  /** The addresses as the stack has them; a link-local one with the index of its interface. */
  get source(): IpAddress {
    return this.#remote;
  }

  get destination(): IpAddress {
    return this.#local;
  }

  /** Whether it waits for a decision. */
  get isPending(): boolean {
    return !this.#isTaken && !this.signal.aborted;
  }

  /** Aborted when the flow is over. */
  get signal(): AbortSignal {
    return this.#gone.signal;
  }

  /**
   * The flow as a socket: it receives what the source sends, beginning with the first datagram, and `send` without a
   * destination answers as the address that was asked for. Further calls give the same socket.
   * @throws NetError ECANCELED where the flow is over
   */
  accept(): UdpSocket {
    if (this.#socket !== null) return this.#socket;
    if (this.signal.aborted) throw new NetError('ECANCELED', 'accept', { detail: 'the flow is over' });
    this.#socket = new UdpSocket(this.#owner.loop, this.take(), this.#owner.names);
    return this.#socket;
  }

  /** Accepts it as the core's socket, for who makes another kind of socket of that. Once, and instead of {@link accept}. */
  take(): CoreUdpSocket {
    this.#isTaken = true;
    this.#owner.stats.accepted++;
    return this.#core;
  }

  /** Ends it, accepted or not, and tells the source that nobody is there (ICMP). False when it is over already. */
  reject(how: 'port' | 'host' = 'port'): boolean {
    if (this.signal.aborted) return false;
    const { loop, stats } = this.#owner;
    if (this.isPending) stats.rejected++;
    loop.touch();
    this.close();
    loop.stack.icmp.hostUnreachable(this.#local, this.#remote, this.#quote, how);
    loop.wake();
    return true;
  }

  /** Ends it without a word; the next datagram begins a new flow. */
  close(): void {
    if (this.signal.aborted) return;
    if (this.#socket === null) this.#core.close();
    else void this.#socket.close();
  }

  traffic(): number {
    return this.#core.traffic;
  }

  bytes(): number {
    return this.#core.heldBytes;
  }

  expire(why: 'idle' | 'evicted'): void {
    this.#owner.stats[why]++;
    this.close();
  }
}

function checkBytes(bytes: number): void {
  const isPower = Number.isInteger(bytes) && (bytes & (bytes - 1)) === 0;
  if (isPower && bytes >= RECEIVE_BYTES_MIN && bytes <= RECEIVE_BYTES_MAX) return;
  throw new RangeError(
    `receiveBytes: expected a power of two from ${RECEIVE_BYTES_MIN} to ${RECEIVE_BYTES_MAX}, got ${bytes}`,
  );
}

/** What `host.udp.intercept` gives: the flows under way, and what became of all. */
export class UdpInterception {
  readonly loop: StackLoop;
  readonly names: Names;
  readonly stats: FlowStats = noFlows();
  readonly #handler: UdpFlowHandler;
  readonly #slots: FlowSlots<UdpFlow>;
  readonly #idleMs: number;
  readonly #deadlineMs: number;
  readonly #receiveBytes: number;
  readonly #held: SharedBytes;
  #isTrimming = false;
  #isClosed = false;

  /** Made by `host.udp.intercept`. */
  constructor(loop: StackLoop, names: Names, handler: UdpFlowHandler, options: UdpInterceptOptions) {
    const { flowsMax = FLOWS_MAX, idleMs = IDLE_MS, deadlineMs = DEADLINE_MS } = options;
    const { bytesMax = loop.stack.memory.bytes / 8 } = options;
    if (typeof handler !== 'function') throw new TypeError(`handler: expected a function, got ${typeof handler}`);
    checkMs('deadlineMs', deadlineMs);
    const { receiveBytes = RECEIVE_BYTES } = options;
    checkBytes(receiveBytes);
    const { udp } = loop.stack;
    if (udp.interceptor !== null) throw new NetError('EADDRINUSE', 'intercept');
    this.loop = loop;
    this.names = names;
    this.#handler = handler;
    this.#idleMs = idleMs;
    this.#deadlineMs = deadlineMs;
    this.#receiveBytes = receiveBytes;
    this.#slots = new FlowSlots(loop, flowsMax, bytesMax, idleMs);
    this.#held = new SharedBytes(bytesMax, () => this.#trimSoon());
    udp.interceptor = (packet, sourcePort, port, p, length) => this.#open(packet, sourcePort, port, p, length);
    loop.closers.add(this.#close);
  }

  get flows(): readonly UdpFlow[] {
    return this.#slots.values();
  }

  get count(): number {
    return this.#slots.count;
  }

  /** Memory that their waiting datagrams hold. */
  get bytes(): number {
    return this.#slots.bytes;
  }

  /** After the poll: a flow cannot end while one of its datagrams comes in. */
  #trimSoon(): void {
    if (this.#isTrimming) return;
    this.#isTrimming = true;
    queueMicrotask(() => {
      this.#isTrimming = false;
      if (!this.#isClosed) this.#slots.trim();
    });
  }

  /** The first datagram of a flow has come, inside `poll`. False: nobody can answer it. */
  #open(packet: Packet, sourcePort: number, port: number, p: number, length: number): boolean {
    if (sourcePort === 0 || port === 0) return false; // RFC 768: nobody to answer
    const core = this.loop.stack.udpSocket(this.#receiveBytes);
    core.shareBytes(this.#held);
    try {
      core.adopt({ address: packet.destination, port }, { address: packet.source, port: sourcePort });
    } catch {
      return false; // no way back
    }
    const { u8 } = this.loop.stack.memory;
    const quote = u8.slice(packet.header, Math.min(packet.end, packet.header + QUOTED_BYTES));
    const flow = new UdpFlow(this, core, quote, this.#idleMs);
    this.stats.opened++;
    core.deliver(packet, sourcePort, p, length);
    this.#slots.add(flow);
    void this.#ask(flow);
    return true;
  }

  /** Asks the handler, outside the poll that the datagram came in with. */
  async #ask(flow: UdpFlow): Promise<void> {
    const { clock } = this.loop;
    const deadline = clock.setTimer(clock.now() + this.#deadlineMs, () => {
      if (!flow.isPending) return;
      this.stats.undecided++;
      flow.close();
    });
    flow.signal.addEventListener('abort', () => clock.clearTimer(deadline), { once: true });
    await Promise.resolve();
    try {
      await this.#handler(flow);
    } catch {
      this.stats.handlerErrors++;
      flow.close();
    }
  }

  /** Called by a flow that is over. */
  forget(flow: UdpFlow): void {
    this.#slots.remove(flow);
  }

  readonly #close = (): void => void this.close();

  /** Intercepts no more, and ends all flows. */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.loop.closers.delete(this.#close);
    this.loop.stack.udp.interceptor = null;
    for (const flow of this.#slots.values()) flow.close();
    this.#slots.clear();
  }

  [asyncDispose](): Promise<void> {
    return this.close();
  }
}
