/** Echo requests to addresses that are not ours, on an any-IP interface, decided by a handler. @module */
import { NetError } from '../errors.ts';
import type { Packet } from '../iface/packet.ts';
import type { IpAddress } from '../wire/address.ts';
import { asyncDispose } from './dispose.ts';
import { checkCount, checkMs } from './flow-slots.ts';
import type { StackLoop } from './loop.ts';

const PENDING_MAX = 256;
const DEADLINE_MS = 10_000;
/** Bytes of the request that an ICMP error quotes, at most. */
const QUOTED_BYTES = 128;

export interface EchoInterceptOptions {
  /** Requests that may wait for their decision; beyond it they are dropped (`refused` counts). Default 256. */
  readonly pendingMax?: number;
  /** Milliseconds until a request is forgotten that was not decided about. Default 10 s. */
  readonly deadlineMs?: number;
}

/** Somebody pings. */
export interface EchoRequest {
  readonly sourceAddress: string;
  readonly destinationAddress: string;
  /** The same as the stack has them; a link-local one with the index of its interface. */
  readonly source: IpAddress;
  readonly destination: IpAddress;
  readonly identifier: number;
  readonly sequence: number;
  readonly ttl: number;
  /** The handler's own. */
  readonly data: Uint8Array;
}

/** `reply` answers as the address that was asked for, `unreachable` with an ICMP error, `drop` not at all. */
export type EchoDecision = 'reply' | 'drop' | 'unreachable';
export type EchoHandler = (request: EchoRequest) => EchoDecision | Promise<EchoDecision>;

/** What `host.icmp.intercept` gives. */
export class EchoInterception {
  readonly stats = { asked: 0, replied: 0, unreachable: 0, dropped: 0, refused: 0, handlerErrors: 0 };
  readonly #loop: StackLoop;
  readonly #handler: EchoHandler;
  readonly #pendingMax: number;
  /** Milliseconds until a request is forgotten. */
  readonly deadlineMs: number;
  readonly #timers = new Set<number>();
  #isClosed = false;

  /** Made by `host.icmp.intercept`. */
  constructor(loop: StackLoop, handler: EchoHandler, options: EchoInterceptOptions) {
    if (typeof handler !== 'function') throw new TypeError(`handler: expected a function, got ${typeof handler}`);
    const { pendingMax = PENDING_MAX, deadlineMs = DEADLINE_MS } = options;
    checkCount('pendingMax', pendingMax);
    checkMs('deadlineMs', deadlineMs);
    const { icmp } = loop.stack;
    if (icmp.interceptor !== null) throw new NetError('EADDRINUSE', 'intercept');
    this.#loop = loop;
    this.#handler = handler;
    this.#pendingMax = pendingMax;
    this.deadlineMs = deadlineMs;
    icmp.interceptor = (packet, rest, data) => this.#take(packet, rest, data);
    loop.closers.add(this.#close);
  }

  /** Requests that wait for their decision. */
  get pending(): number {
    return this.#timers.size;
  }

  /** Always true: it is ours now, if only to be dropped. */
  #take(packet: Packet, rest: number, data: Uint8Array): true {
    if (this.#timers.size >= this.#pendingMax) {
      this.stats.refused++;
      return true;
    }
    const { u8 } = this.#loop.stack.memory;
    const quote = u8.slice(packet.header, Math.min(packet.end, packet.header + QUOTED_BYTES));
    this.stats.asked++;
    void this.#ask(packet.source, packet.destination, packet.ttl, rest, data, quote);
    return true;
  }

  async #ask(
    source: IpAddress,
    destination: IpAddress,
    ttl: number,
    rest: number,
    data: Uint8Array,
    quote: Uint8Array,
  ): Promise<void> {
    const { clock, stack } = this.#loop;
    const timer = clock.setTimer(clock.now() + this.deadlineMs, () => this.#timers.delete(timer));
    this.#timers.add(timer);
    const request: EchoRequest = {
      sourceAddress: stack.ip.format(source),
      destinationAddress: stack.ip.format(destination),
      source,
      destination,
      identifier: rest >>> 16,
      sequence: rest & 0xffff,
      ttl,
      data: data.slice(),
    };
    let decision: EchoDecision = 'drop';
    await Promise.resolve();
    try {
      decision = await this.#handler(request);
    } catch {
      this.stats.handlerErrors++;
    }
    clock.clearTimer(timer);
    if (!this.#timers.delete(timer) || this.#loop.isClosed) return; // too late
    this.#loop.touch();
    if (decision === 'reply') {
      this.stats.replied++;
      stack.icmp.replyFor(destination, source, rest, data);
    } else if (decision === 'unreachable') {
      this.stats.unreachable++;
      stack.icmp.hostUnreachable(destination, source, quote);
    } else {
      this.stats.dropped++;
    }
    this.#loop.wake();
  }

  readonly #close = (): void => void this.close();

  /** Intercepts no more: the stack answers by itself again; what waits is dropped. */
  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#loop.closers.delete(this.#close);
    this.#loop.stack.icmp.interceptor = null;
    for (const timer of this.#timers) this.#loop.clock.clearTimer(timer);
    this.#timers.clear();
  }

  [asyncDispose](): Promise<void> {
    return this.close();
  }
}
