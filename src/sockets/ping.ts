/** Echo requests and their replies: one, or many at an interval. @module */
import { NetError } from '../errors.ts';
import type { IcmpSocket } from '../icmp/icmp.ts';
import type { ErrorDetail } from '../iface/error-detail.ts';
import { Source } from '../udp/datagram-queue.ts';
import type { IpAddress } from '../wire/address.ts';
import type { Notified, StackLoop } from './loop.ts';

export interface PingOptions {
  /** Bytes of data, default 56 as ping(8) sends. */
  readonly size?: number;
  /** Milliseconds to wait for each reply, default 5000. */
  readonly timeout?: number;
  /** The first sequence number, default 1. */
  readonly sequence?: number;
  /** Time to live of the requests, default 64. */
  readonly ttl?: number;
  readonly signal?: AbortSignal | undefined;
}

export interface PingManyOptions extends PingOptions {
  /** Requests to send; Infinity: until the signal says stop. */
  readonly count: number;
  /** Milliseconds between two requests, default 1000, at least 1. */
  readonly interval?: number;
  /** Called for each reply, duplicates included. */
  readonly onReply?: (reply: PingReply) => void;
  /** Called for each error that the network reports. */
  readonly onFailure?: (failure: PingFailure) => void;
}

export interface PingReply {
  readonly address: string;
  /** Bytes of data that came back. */
  readonly size: number;
  readonly sequence: number;
  readonly ttl: number;
  /** Milliseconds there and back. */
  readonly timeMs: number;
  /** Whether the same request had been answered before. */
  readonly isDuplicate: boolean;
}

/** What the network says about a request. */
export interface PingFailure {
  readonly sequence: number;
  /** Who says so; this host itself where its neighbour is silent. */
  readonly address: string | null;
  /** The ICMP message; 0 and 0 where this host says so. */
  readonly type: number;
  readonly code: number;
  /** The MTU of "too big", the pointer of a parameter problem. */
  readonly info: number;
  readonly error: NetError;
}

/** What came of many requests. */
export interface PingStatistics {
  readonly address: string;
  readonly sent: number;
  readonly received: number;
  readonly duplicates: number;
  /** Errors reported. */
  readonly failures: number;
  /** Milliseconds from the first request to the end. */
  readonly durationMs: number;
  /** Round-trip times of the replies, ms; NaN without any. `mdevMs` is their standard deviation. */
  readonly minMs: number;
  readonly avgMs: number;
  readonly maxMs: number;
  readonly mdevMs: number;
}

const SIZE_DEFAULT = 56;
const TIMEOUT_DEFAULT_MS = 5000;
const INTERVAL_DEFAULT_MS = 1000;
/** Requests remembered; a reply that comes after so many more is not one of ours any longer. */
const REQUESTS_MAX = 4096;

export function checkWhole(name: string, value: number, least: number, most: number): void {
  if (Number.isInteger(value) && value >= least && value <= most) return;
  throw new RangeError(`${name}: expected ${least} to ${most}, got ${value}`);
}

interface Request {
  readonly sentAt: number;
  timer: number;
  isAnswered: boolean;
}

/** Requests under one identifier. */
class PingSession implements Notified {
  readonly #loop: StackLoop;
  readonly #to: IpAddress;
  readonly #options: PingManyOptions;
  readonly #socket: IcmpSocket;
  readonly #data: Uint8Array;
  readonly #buffer: Uint8Array;
  readonly #source = new Source();
  readonly #requests = new Map<number, Request>();
  readonly #startedAt: number;
  #waiting = 0;
  #nextTimer = 0;
  #sent = 0;
  #received = 0;
  #duplicates = 0;
  #failures = 0;
  #minMs = Number.NaN;
  #maxMs = Number.NaN;
  #sumMs = 0;
  #sumSquares = 0;
  #settle: (error: unknown) => void = () => {};

  constructor(loop: StackLoop, to: IpAddress, options: PingManyOptions) {
    const { size = SIZE_DEFAULT, sequence = 1, ttl, count, interval = INTERVAL_DEFAULT_MS } = options;
    checkWhole('size', size, 0, 65_535);
    checkWhole('sequence', sequence, 0, 0xffff);
    if (ttl !== undefined) checkWhole('ttl', ttl, 1, 255);
    if (count !== Number.POSITIVE_INFINITY) checkWhole('count', count, 1, Number.MAX_SAFE_INTEGER);
    if (!(interval >= 1)) throw new RangeError(`interval: expected at least 1 ms, got ${interval}`);
    this.#loop = loop;
    this.#to = to;
    this.#options = options;
    this.#data = new Uint8Array(size).map((_, i) => i);
    this.#buffer = new Uint8Array(size);
    this.#startedAt = loop.clock.now();
    this.#socket = loop.stack.icmpSocket();
    if (ttl !== undefined) this.#socket.ttl = ttl;
    this.#socket.owner = this;
  }

  /** Runs to the end of the last request, or until the signal stops it, which is no failure of many requests. */
  async run(): Promise<PingStatistics> {
    const { signal } = this.#options;
    const loop = this.#loop;
    const onAbort = (): void => this.#settle(null);
    const onClose = (): void => this.#settle(new NetError('ECANCELED', 'ping', { detail: 'the host was closed' }));
    signal?.throwIfAborted();
    loop.hold(1);
    loop.closers.add(onClose);
    signal?.addEventListener('abort', onAbort, { once: true });
    try {
      await new Promise<void>((resolve, reject) => {
        this.#settle = (error) => (error === null ? resolve() : reject(error));
        this.#socket.bind();
        this.#next();
      });
    } finally {
      loop.hold(-1);
      loop.closers.delete(onClose);
      signal?.removeEventListener('abort', onAbort);
      this.#close();
    }
    return this.#statistics();
  }

  #close(): void {
    const { clock } = this.#loop;
    if (this.#nextTimer !== 0) clock.clearTimer(this.#nextTimer);
    for (const { timer } of this.#requests.values()) if (timer !== 0) clock.clearTimer(timer);
    this.#requests.clear();
    this.#socket.close();
  }

  #next(): void {
    const { clock } = this.#loop;
    const { count, interval = INTERVAL_DEFAULT_MS } = this.#options;
    this.#nextTimer = 0;
    try {
      this.#send();
    } catch (error) {
      this.#settle(error);
      return;
    }
    if (this.#sent < count)
      this.#nextTimer = clock.setTimer(this.#startedAt + this.#sent * interval, () => this.#next());
  }

  #send(): void {
    const loop = this.#loop;
    const { sequence: first = 1, timeout = TIMEOUT_DEFAULT_MS } = this.#options;
    const sequence = (first + this.#sent) & 0xffff;
    const now = loop.clock.now();
    this.#forget(sequence);
    if (this.#requests.size >= REQUESTS_MAX) this.#forget(this.#requests.keys().next().value!);
    loop.touch();
    // Without room in the device the request is lost like any other: the timeout tells.
    this.#socket.sendEcho(this.#to, sequence, this.#data);
    this.#sent++;
    this.#waiting++;
    const request: Request = { sentAt: now, timer: 0, isAnswered: false };
    request.timer = loop.clock.setTimer(now + timeout, () => this.#done(request));
    this.#requests.set(sequence, request);
    loop.wake();
  }

  #forget(sequence: number): void {
    const request = this.#requests.get(sequence);
    if (request !== undefined) this.#done(request);
    this.#requests.delete(sequence);
  }

  /** A request is not waited for any longer. */
  #done(request: Request): void {
    if (request.timer === 0) return;
    this.#loop.clock.clearTimer(request.timer);
    request.timer = 0;
    this.#waiting--;
    if (this.#waiting === 0 && this.#sent >= this.#options.count) this.#settle(null);
  }

  notify(): void {
    for (let n = this.#socket.recv(this.#buffer, this.#source); n >= 0; ) {
      this.#answered();
      n = this.#socket.recv(this.#buffer, this.#source);
    }
    for (let error = this.#socket.takeErrorDetail(); error !== null; error = this.#socket.takeErrorDetail()) {
      this.#failed(error);
    }
  }

  #answered(): void {
    const { port: sequence, length, ttl, address } = this.#source;
    const request = this.#requests.get(sequence);
    const data = this.#data;
    if (request === undefined || length !== data.length || !this.#buffer.every((byte, i) => byte === data[i])) return;
    const timeMs = this.#loop.clock.now() - request.sentAt;
    const isDuplicate = request.isAnswered;
    request.isAnswered = true;
    if (isDuplicate) this.#duplicates++;
    else this.#measured(timeMs);
    this.#options.onReply?.({ address: address.toString(), size: length, sequence, ttl, timeMs, isDuplicate });
    this.#done(request);
  }

  #measured(timeMs: number): void {
    this.#received++;
    this.#minMs = this.#received === 1 ? timeMs : Math.min(this.#minMs, timeMs);
    this.#maxMs = this.#received === 1 ? timeMs : Math.max(this.#maxMs, timeMs);
    this.#sumMs += timeMs;
    this.#sumSquares += timeMs * timeMs;
  }

  #failed(detail: ErrorDetail): void {
    const request = this.#requests.get(detail.port);
    if (request === undefined || request.isAnswered || !detail.address.equals(this.#to)) return;
    const { offender, type, icmpCode, info } = detail;
    const error = new NetError(detail.code, 'ping', { address: this.#to.toString() });
    this.#failures++;
    const address = offender?.toString() ?? null;
    this.#options.onFailure?.({ sequence: detail.port, address, type, code: icmpCode, info, error });
    this.#done(request);
  }

  #statistics(): PingStatistics {
    const received = this.#received;
    const avgMs = received === 0 ? Number.NaN : this.#sumMs / received;
    return {
      address: this.#to.toString(),
      sent: this.#sent,
      received,
      duplicates: this.#duplicates,
      failures: this.#failures,
      durationMs: this.#loop.clock.now() - this.#startedAt,
      minMs: this.#minMs,
      avgMs,
      maxMs: this.#maxMs,
      mdevMs: Math.sqrt(Math.max(0, this.#sumSquares / received - avgMs * avgMs)),
    };
  }
}

/** Sends echo requests to `to` and counts what comes back. */
export const pingMany = (loop: StackLoop, to: IpAddress, options: PingManyOptions): Promise<PingStatistics> =>
  new PingSession(loop, to, options).run();

/** Sends one echo request to `to` and waits for the reply with the same data. */
export async function ping(loop: StackLoop, to: IpAddress, options: PingOptions): Promise<PingReply> {
  let reply: PingReply | null = null;
  let failure: PingFailure | null = null;
  await pingMany(loop, to, {
    ...options,
    count: 1,
    onReply: (one) => {
      reply ??= one;
    },
    onFailure: (one) => {
      failure ??= one;
    },
  });
  if (reply !== null) return reply;
  options.signal?.throwIfAborted();
  if (failure !== null) throw (failure as PingFailure).error;
  throw new NetError('ETIMEDOUT', 'ping', { address: to.toString() });
}
