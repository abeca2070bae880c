/**
 * A UDP port of the machine that leads to one of the guest: each source that sends there is a flow of its own, from a port of
 * the router. Missing on purpose: a source is not told when the guest's port is closed, for a program cannot send its ICMP
 * error; the flow's line tells it. @module
 */
import { createSocket, type Socket as Datagrams } from 'node:dgram';
import type { Host } from '../sockets/host.ts';
import { endpoint, type FlowRecord, OpenFlow } from './flow-log.ts';
import type { FarDatagrams } from './machine.ts';
import type { Publication } from './publication.ts';
import type { Relay } from './relay.ts';

const FLOWS_MAX = 1024;
/** RFC 4787 REQ-5: at least two minutes. */
const IDLE_MS = 120_000;
/** How often flows are looked at: an eighth of the idle time, within these. */
const LOOK_MIN_MS = 100;
const LOOK_MAX_MS = 15_000;
/** Bytes of datagrams that wait until the flow of their source has begun; more are dropped. */
const EARLY_BYTES_MAX = 65_536;

export interface PublishedDatagramsOptions {
  readonly host: Host;
  readonly relay: Relay;
  /** The guest's address. */
  readonly guest: string;
  readonly onFlow: (record: FlowRecord) => void;
  /** Flows at once; beyond it the one without traffic for longest ends. Default 1024. */
  readonly flowsMax?: number | undefined;
  /** Milliseconds without a datagram after which a flow ends. Default two minutes. */
  readonly idleMs?: number | undefined;
}

/** The datagrams of one source. */
class Source implements FarDatagrams {
  onError: (error: Error) => void = () => {}; // the machine tells of none
  /** When the last one went through, either way. */
  at: number;
  isClosed = false;
  /** Ends the flow. */
  end: () => void = () => {};
  readonly #answer: (data: Uint8Array) => void;
  readonly #onClose: () => void;
  #take: ((data: Uint8Array) => void) | null = null;
  #early: Uint8Array[] = [];
  #earlyBytes = 0;

  constructor(at: number, answer: (data: Uint8Array) => void, onClose: () => void) {
    this.at = at;
    this.#answer = answer;
    this.#onClose = onClose;
  }

  set onMessage(take: (data: Uint8Array) => void) {
    this.#take = take;
    for (const data of this.#early.splice(0)) take(data);
  }

  deliver(data: Uint8Array): void {
    if (this.#take !== null) this.#take(data);
    else if (this.#earlyBytes < EARLY_BYTES_MAX) {
      this.#earlyBytes += data.length + 1; // an empty one waits, too
      this.#early.push(data);
    }
  }

  send(data: Uint8Array): void {
    if (!this.isClosed) this.#answer(data);
  }

  close(): void {
    if (this.isClosed) return;
    this.isClosed = true;
    this.#early = [];
    this.#onClose();
  }
}

export class PublishedDatagrams {
  readonly port: number;
  readonly #socket: Datagrams;
  readonly #guestPort: number;
  readonly #options: PublishedDatagramsOptions;
  readonly #flowsMax: number;
  readonly #idleMs: number;
  /** By the source; the one with the latest traffic last. */
  readonly #sources = new Map<string, Source>();
  readonly #over = new Set<Promise<void>>();
  #timer = 0;
  #isClosed = false;

  private constructor(socket: Datagrams, guestPort: number, options: PublishedDatagramsOptions) {
    this.#socket = socket;
    this.#guestPort = guestPort;
    this.#options = options;
    this.#flowsMax = options.flowsMax ?? FLOWS_MAX;
    this.#idleMs = options.idleMs ?? IDLE_MS;
    this.port = socket.address().port;
    socket.on('message', (data, { address, port }) => this.#take(data, address, port));
    socket.on('error', () => {}); // of one datagram
  }

  /** @throws what node:dgram says where the port cannot be had */
  static async start({ host, port, guestPort }: Publication & { host: string }, options: PublishedDatagramsOptions) {
    const isV6 = host.includes(':');
    const socket = createSocket({ type: isV6 ? 'udp6' : 'udp4', ipv6Only: isV6 });
    try {
      await new Promise<void>((resolve, reject) => {
        socket.once('error', reject);
        socket.bind(port, host, resolve);
      });
    } catch (error) {
      socket.close();
      throw error;
    }
    socket.removeAllListeners('error');
    return new PublishedDatagrams(socket, guestPort, options);
  }

  /** Flows under way. */
  get count(): number {
    return this.#over.size;
  }

  #take(data: Uint8Array, address: string, port: number): void {
    const key = endpoint(address, port);
    const { limiter } = this.#options.relay;
    let source = this.#sources.get(key);
    if (source === undefined) {
      // The line of the flow that used up the last byte has told it; one for each datagram would tell nothing more.
      if (limiter.exhausted !== null) {
        limiter.stats.dropped++;
        return;
      }
      source = this.#open(key, address, port);
    }
    this.#touch(key, source);
    source.deliver(data);
  }

  #touch(key: string, source: Source): void {
    source.at = this.#options.host.clock.now();
    if (source.isClosed) return;
    this.#sources.delete(key);
    this.#sources.set(key, source);
  }

  #open(key: string, address: string, port: number): Source {
    if (this.#sources.size >= this.#flowsMax) {
      for (const [, oldest] of this.#sources) {
        this.#expire(oldest);
        break;
      }
    }
    const { guest, host, onFlow } = this.#options;
    const source: Source = new Source(
      host.clock.now(),
      (data) => {
        this.#touch(key, source);
        this.#socket.send(data, port, address, () => {});
      },
      () => {
        if (this.#sources.get(key) === source) this.#sources.delete(key);
      },
    );
    this.#sources.set(key, source);
    const destination = endpoint(guest, this.#guestPort);
    const open = new OpenFlow({ protocol: 'udp', direction: 'in', source: key, destination }, onFlow);
    open.reason = 'published';
    const over: Promise<void> = this.#lead(source, open).finally(() => this.#over.delete(over));
    this.#over.add(over);
    this.#arm();
    return source;
  }

  async #lead(source: Source, open: OpenFlow): Promise<void> {
    const { host, relay, guest } = this.#options;
    try {
      const near = await host.udp.connect({ host: guest, port: this.#guestPort });
      source.end = () => void near.close();
      if (source.isClosed) await near.close();
      await relay.joinDatagrams(near, source, open);
    } catch (error) {
      open.end((error as { code?: string }).code ?? 'EIO');
    } finally {
      source.close();
    }
  }

  #expire(source: Source): void {
    source.close();
    source.end();
  }

  #arm(): void {
    if (this.#timer !== 0 || this.#sources.size === 0) return;
    const { clock } = this.#options.host;
    const ms = Math.min(Math.max(this.#idleMs / 8, LOOK_MIN_MS), LOOK_MAX_MS);
    this.#timer = clock.setTimer(clock.now() + ms, () => {
      this.#timer = 0;
      const oldest = clock.now() - this.#idleMs;
      for (const [, source] of this.#sources) {
        if (source.at > oldest) break;
        this.#expire(source);
      }
      this.#arm();
    });
  }

  /** Gives back the port, and ends every flow. */
  async close(): Promise<void> {
    if (this.#timer !== 0) this.#options.host.clock.clearTimer(this.#timer);
    for (const [, source] of [...this.#sources]) this.#expire(source);
    this.#timer = 0;
    await Promise.all(this.#over);
    if (!this.#isClosed) this.#socket.close();
    this.#isClosed = true;
  }
}
