/** Listeners, UDP and raw sockets behind a channel. What is answered and not taken waits here: nothing is lost. @module */
import type { PathMtuDiscovery } from '../iface/path-mtu.ts';
import type {
  BlockingOptions,
  ListenerBackend,
  MembershipChange,
  RawBackend,
  StreamBackend,
  UdpBackend,
} from '../sockets/backend.ts';
import type { SynHandler } from '../sockets/incoming-syn.ts';
import { ACCEPTABLE, READABLE } from '../tcp/events.ts';
import type { Endpoint } from '../tcp/socket.ts';
import type { Source } from '../udp/datagram-queue.ts';
import { IpAddress } from '../wire/address.ts';
import { type Caller, goneError } from './caller.ts';
import { ChannelSocket } from './channel-socket.ts';
import { SynAsker } from './channel-syn.ts';
import { CommandStream, endpointOf } from './command-stream.ts';
import {
  type Command,
  errorOf,
  type Handle,
  type Local,
  type Response,
  type StreamOpened,
  type UdpSettings,
} from './commands.ts';
import { RingStream } from './ring-stream.ts';

/** A stream that the stack has opened: over rings where it shares its memory. */
export function openStream(caller: Caller, opened: StreamOpened): CommandStream | RingStream {
  const { rings } = opened;
  return rings === undefined ? new CommandStream(caller, opened) : new RingStream(caller, opened, rings);
}

export class ChannelListener extends ChannelSocket implements ListenerBackend {
  readonly local: Endpoint;
  readonly #handle: Handle;
  #isAccepting = false;
  readonly #accepted: StreamOpened[] = [];
  readonly #syns: SynAsker | null;

  constructor(caller: Caller, handle: Handle, local: Local, onSyn: SynHandler | null) {
    super(caller);
    this.#handle = handle;
    this.local = endpointOf(local);
    this.#syns = onSyn === null ? null : new SynAsker(caller, handle, onSyn);
  }

  /** A connection, or null: then one is asked for. */
  accept(): StreamBackend | null {
    const opened = this.#accepted.shift();
    if (opened !== undefined) return openStream(this.caller, opened);
    if (!this.#isAccepting && !this.isReleased) this.#ask();
    return null;
  }

  #ask(): void {
    this.#isAccepting = true;
    this.caller.call({ kind: 'tcp-accept', handle: this.#handle }, (response) => {
      this.#isAccepting = false;
      if (response.kind !== 'accepted') return;
      if (this.isReleased) this.#refuse(response);
      else this.#accepted.push(response);
      this.notifyOwner(ACCEPTABLE);
    });
  }

  /** A connection that came when nobody wanted any more. */
  #refuse({ handle }: StreamOpened): void {
    this.caller.tell({ kind: 'tcp-abort', handle });
  }

  close(): void {
    if (this.isReleased) return;
    this.forget();
    this.#syns?.close();
    for (const opened of this.#accepted.splice(0)) this.#refuse(opened);
    this.caller.tell({ kind: 'tcp-close', handle: this.#handle });
  }

  drop(): void {
    this.close();
  }

  protected stackIsGone(): void {
    const owner = this.owner as { close?: () => void } | null;
    owner?.close?.();
  }
}

type DatagramResponse = Extract<Response, { kind: 'datagram' }>;

/** What UDP and raw sockets share. */
abstract class DatagramChannelSocket extends ChannelSocket {
  protected readonly handle: Handle;
  readonly #family: 'udp' | 'raw';
  #isReceiving = false;
  #received: DatagramResponse | null = null;
  #error: Error | null = null;
  pathMtu: number | null = null;

  constructor(caller: Caller, family: 'udp' | 'raw', handle: Handle) {
    super(caller);
    this.#family = family;
    this.handle = handle;
  }

  /** Length of the datagram that is here, or -1: then one is asked for. @throws what was reported */
  peekLength(): number {
    if (this.#received !== null) return this.#received.data.length;
    this.#throwError();
    this.#ask();
    return -1;
  }

  #throwError(): void {
    const error = this.#error;
    this.#error = null;
    if (error !== null) throw error;
  }

  /** @throws what was reported about a connected peer, once */
  recv(target: Uint8Array, source: Source): number {
    this.#throwError();
    const datagram = this.#received;
    if (datagram === null) {
      this.#ask();
      return -1;
    }
    this.#received = null;
    target.set(target.length < datagram.data.length ? datagram.data.subarray(0, target.length) : datagram.data);
    const { a, b, c, d } = IpAddress.parse(datagram.address);
    Object.assign(source, { a, b, c, d, port: datagram.port, length: datagram.length, ttl: datagram.ttl });
    const local = IpAddress.parse(datagram.localAddress);
    Object.assign(source, { localA: local.a, localB: local.b, localC: local.c, localD: local.d });
    return Math.min(target.length, datagram.data.length);
  }

  #ask(): void {
    if (this.#isReceiving || this.isReleased) return;
    this.#isReceiving = true;
    this.caller.call({ kind: `${this.#family}-receive`, handle: this.handle }, (response) => {
      this.#isReceiving = false;
      if (response.kind === 'datagram') this.#received = response;
      else if (response.kind === 'error') this.#error = errorOf(response);
      this.notifyOwner(READABLE);
    });
  }

  protected async sendCommand(command: Command): Promise<boolean> {
    return this.#noteSent(await this.caller.request(command));
  }

  protected sendCommandBlocking(command: Command, options?: BlockingOptions): void {
    this.#noteSent(this.caller.requestBlocking(command, options));
  }

  #noteSent(response: Response): true {
    if (response.kind === 'sent') this.pathMtu = response.pathMtu ?? null;
    return true;
  }

  close(): void {
    if (this.isReleased) return;
    this.forget();
    this.caller.tell({ kind: `${this.#family}-close`, handle: this.handle });
  }

  drop(): void {
    this.close();
  }

  protected stackIsGone(): void {
    this.#error ??= goneError('receive');
    this.notifyOwner(READABLE);
  }
}

export class ChannelUdp extends DatagramChannelSocket implements UdpBackend {
  readonly local: IpAddress;
  readonly port: number;
  readonly #settings: { -readonly [K in keyof UdpSettings]: UdpSettings[K] } = {
    pathMtuDiscovery: 'want',
    broadcast: false,
    ttl: 64,
    multicastTtl: 1,
    multicastLoopback: true,
    multicastInterface: '',
  };

  constructor(caller: Caller, handle: Handle, local: Local, pathMtu: number | null) {
    super(caller, 'udp', handle);
    this.local = IpAddress.parse(local.address);
    this.port = local.port;
    this.pathMtu = pathMtu;
  }

  /** What the stack is told of here is obeyed by the next command: they keep their order. */
  #set(changes: Partial<UdpSettings>): void {
    const known = this.#settings as Record<string, unknown>;
    if (Object.entries(changes).every(([name, value]) => known[name] === value)) return;
    Object.assign(this.#settings, changes);
    this.caller.tell({ kind: 'udp-configure', handle: this.handle, settings: changes });
  }

  get pathMtuDiscovery(): PathMtuDiscovery {
    return this.#settings.pathMtuDiscovery;
  }

  set pathMtuDiscovery(pathMtuDiscovery: PathMtuDiscovery) {
    this.#set({ pathMtuDiscovery });
  }

  get broadcast(): boolean {
    return this.#settings.broadcast;
  }

  set broadcast(broadcast: boolean) {
    this.#set({ broadcast });
  }

  get ttl(): number {
    return this.#settings.ttl;
  }

  set ttl(ttl: number) {
    this.#set({ ttl });
  }

  get multicastTtl(): number {
    return this.#settings.multicastTtl;
  }

  set multicastTtl(multicastTtl: number) {
    this.#set({ multicastTtl });
  }

  get multicastLoopback(): boolean {
    return this.#settings.multicastLoopback;
  }

  set multicastLoopback(multicastLoopback: boolean) {
    this.#set({ multicastLoopback });
  }

  async changeMembership(membership: MembershipChange): Promise<void> {
    await this.caller.request({ kind: 'udp-membership', handle: this.handle, membership });
  }

  changeMembershipBlocking(membership: MembershipChange, options?: BlockingOptions): void {
    this.caller.requestBlocking({ kind: 'udp-membership', handle: this.handle, membership }, options);
  }

  async setMulticastInterface(multicastInterface: string): Promise<void> {
    await this.caller.request({ kind: 'udp-configure', handle: this.handle, settings: { multicastInterface } });
    this.#settings.multicastInterface = multicastInterface;
  }

  #command(data: Uint8Array, to: Endpoint | null, from: IpAddress | null): Command {
    const [host, localHost] = [to?.address.toString(), from?.toString()];
    return { kind: 'udp-send', handle: this.handle, host, port: to?.port, localHost, data };
  }

  send(data: Uint8Array, to: Endpoint | null, from: IpAddress | null): Promise<boolean> {
    return this.sendCommand(this.#command(data.slice(), to, from));
  }

  sendBlocking(data: Uint8Array, to: Endpoint | null, from: IpAddress | null, options?: BlockingOptions): void {
    this.sendCommandBlocking(this.#command(data, to, from), options);
  }
}

export class ChannelRaw extends DatagramChannelSocket implements RawBackend {
  readonly family: 4 | 6;
  readonly protocol: number;

  constructor(caller: Caller, handle: Handle, family: 4 | 6, protocol: number) {
    super(caller, 'raw', handle);
    this.family = family;
    this.protocol = protocol;
  }

  #command(data: Uint8Array, to: IpAddress | null | undefined): Command {
    return { kind: 'raw-send', handle: this.handle, host: to?.toString(), data };
  }

  send(data: Uint8Array, to?: IpAddress | null): Promise<boolean> {
    return this.sendCommand(this.#command(data.slice(), to));
  }

  sendBlocking(data: Uint8Array, to: IpAddress | null | undefined, options?: BlockingOptions): void {
    this.sendCommandBlocking(this.#command(data, to), options);
  }
}
