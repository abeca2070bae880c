/**
 * The user's handle of TCP in the core, in smoltcp's terms: synchronous, never blocking. A call moves what can be moved
 * now; `stack.nextChanged()` tells when to try again. @module
 */
import { type ErrorCode, NetError } from '../errors.ts';
import type { Changed } from '../iface/context.ts';
import type { IpAddress } from '../wire/address.ts';
import { UNSPECIFIED_V6 } from '../wire/address.ts';
import { checkPort } from '../wire/ip.ts';
import type { Connection } from './connection.ts';
import { BACKLOG_DEFAULT, Listener } from './listener.ts';
import { consumed } from './receive.ts';
import { canQueue, sendRoom } from './send.ts';
import { mergeSettings, type TcpSettings } from './settings.ts';
import {
  CLOSED,
  LISTEN,
  mayReceiveIn,
  STATE_NAMES,
  SYN_RECEIVED,
  SYN_SENT,
  type TcpState,
  TIME_WAIT,
} from './state.ts';
import type { Tcp } from './tcp.ts';
import { restartKeepAlive, startRoomTimer } from './timers.ts';

/** An address and a port. */
export interface Endpoint {
  readonly address: IpAddress;
  readonly port: number;
}

export class TcpSocket implements Changed {
  isChanged = false;
  /** Whatever the user of the core wants to find again when the socket is reported. */
  owner: unknown = null;
  readonly #tcp: Tcp;
  #settings: TcpSettings;
  #connection: Connection | null = null;
  #listener: Listener | null = null;
  #events = 0;

  /** Usually made by `stack.tcpSocket()`. */
  constructor(tcp: Tcp, settings: Partial<TcpSettings> = {}) {
    this.#tcp = tcp;
    this.#settings = Object.keys(settings).length === 0 ? tcp.settings : mergeSettings(tcp.settings, settings);
  }

  /**
   * Passive OPEN: takes connections to `port`, up to `backlog` waiting for {@link accept}.
   * @param options.port - 0: a free one is chosen   @param options.address - by default all, of both families
   * @throws NetError EADDRINUSE, EADDRNOTAVAIL, EISCONN
   */
  listen(options: { port: number; address?: IpAddress | undefined; backlog?: number | undefined }): void {
    const address = options.address ?? UNSPECIFIED_V6;
    const context = { address: address.toString(), port: checkPort(options.port, 0) };
    if (this.#connection !== null || this.#listener !== null) throw new NetError('EISCONN', 'listen', context);
    if (!address.isUnspecified && !this.#tcp.ip.isLocalAddress(address)) {
      throw new NetError('EADDRNOTAVAIL', 'listen', context);
    }
    const port = options.port === 0 ? this.#tcp.ephemeralListenPort() : options.port;
    const backlog = Math.max(1, Math.trunc(options.backlog ?? BACKLOG_DEFAULT) || BACKLOG_DEFAULT);
    const listener = new Listener(this.#tcp, this, address, port, backlog, this.#settings);
    const error = port === 0 ? 'EADDRINUSE' : this.#tcp.listen(listener);
    if (error !== null) throw new NetError(error, 'listen', context);
    this.#listener = listener;
  }

  /** How many connections may wait for {@link accept}; 0 where the socket does not listen. */
  get backlog(): number {
    return this.#listener?.backlog ?? 0;
  }

  set backlog(count: number) {
    if (this.#listener !== null) this.#listener.backlog = Math.max(1, Math.trunc(count));
  }

  /** What the socket was made with, and {@link configure} changed. */
  get settings(): TcpSettings {
    return this.#settings;
  }

  /**
   * Changes settings in any state: of the connection, and of those that a listener will take. What the handshake has
   * fixed (timestamps, window scale, SACK, congestion control) stays as it is for a connection that has begun.
   * @throws RangeError, TypeError: see `mergeSettings`
   */
  configure(changes: Partial<TcpSettings>): void {
    const before = this.#settings;
    const settings = mergeSettings(before, changes);
    this.#settings = settings;
    if (this.#listener !== null) this.#listener.settings = settings;
    const c = this.#connection;
    if (c === null) return;
    c.settings = settings;
    if (c.tx !== null) c.tx.capacity = settings.sendBufferBytes;
    // What was offered must find its place: the receive ring only grows.
    if (c.rx !== null) c.rx.capacity = Math.max(c.rx.capacity, settings.receiveBufferBytes);
    if (settings.keepAliveMs !== before.keepAliveMs) restartKeepAlive(c);
  }

  /** Connections that wait for {@link accept}. */
  get pending(): number {
    return this.#listener?.pending ?? 0;
  }

  /** A socket for the oldest connection that waits, or null. */
  accept(): TcpSocket | null {
    const connection = this.#listener?.accept() ?? null;
    if (connection === null) return null;
    const socket = new TcpSocket(this.#tcp);
    socket.#settings = connection.settings;
    socket.#connection = connection;
    connection.socket = socket;
    return socket;
  }

  /**
   * Active OPEN. Returns at once; the state is SYN-SENT until the peer answers.
   * @throws NetError ENETUNREACH, EADDRINUSE, EADDRNOTAVAIL, EISCONN, ENOBUFS, EINVAL (a group address: MUST-46)
   */
  connect(remote: Endpoint, local: { address?: IpAddress; port?: number } = {}): void {
    const { address, port } = remote;
    const context = { address: address.toString(), port: checkPort(port, 1) };
    if (this.#connection !== null || this.#listener !== null) throw new NetError('EISCONN', 'connect', context);
    if (address.isMulticast || this.#tcp.ip.isBroadcast(address)) throw new NetError('EINVAL', 'connect', context);
    if (local.address !== undefined && !this.#tcp.ip.isLocalAddress(local.address)) {
      throw new NetError('EADDRNOTAVAIL', 'bind', { address: local.address.toString(), port: local.port });
    }
    const made = this.#tcp.connect(address, port, local.address ?? null, checkPort(local.port ?? 0, 0), this.#settings);
    if (typeof made === 'string') throw new NetError(made, 'connect', context);
    made.socket = this;
    this.#connection = made;
  }

  /**
   * Queues bytes `[from, to)` of `data`, as many as there is room for, and copies them; they leave at the next poll.
   * @returns how many were taken; 0 means wait for WRITABLE
   * @throws NetError EPIPE after close, ENOTCONN, or what ended the connection
   */
  send(data: Uint8Array, from = 0, to = data.length): number {
    const c = this.#open('send');
    if (!canQueue(c)) throw new NetError(c.error ?? 'EPIPE', 'write', this.#context());
    if (to <= from) return 0;
    const taken = c.txRing().append(data, from, to - from);
    if (taken < to - from) c.wantsRoom = true;
    if (c.wantsRoom && c.tx!.length === 0) startRoomTimer(c);
    if (taken > 0) this.#tcp.ready(c);
    return taken;
  }

  /**
   * Moves bytes that arrived into `target[from, to)`.
   * @returns how many; 0 means none now, or, when {@link mayRecv} is false, that there will be none
   * @throws NetError what ended the connection, once everything that arrived before is read
   */
  recv(target: Uint8Array, from = 0, to = target.length): number {
    const c = this.#open('recv');
    const { rx } = c;
    if (rx === null || rx.length === 0) {
      if (c.error !== null) throw new NetError(c.error, 'read', this.#context());
      return 0;
    }
    const count = rx.peek(target, from, to - from);
    rx.advance(count);
    if (consumed(c)) {
      c.ackNow = true;
      this.#tcp.ready(c);
    }
    return count;
  }

  /** Like {@link recv}, but the bytes stay. */
  peek(target: Uint8Array, from = 0, to = target.length): number {
    return this.#connection?.rx?.peek(target, from, to - from) ?? 0;
  }

  /** Whether the sending half is open: {@link send} will take bytes, now or later. */
  maySend(): boolean {
    return this.#connection !== null && canQueue(this.#connection);
  }

  /** Whether {@link send} would take at least one byte now. */
  canSend(): boolean {
    return this.#connection !== null && sendRoom(this.#connection) > 0;
  }

  /** Whether bytes may still come: the peer has not closed its half, or there are some to read. */
  mayRecv(): boolean {
    const c = this.#connection;
    if (c === null) return false;
    return c.readable > 0 || mayReceiveIn(c.state) || c.state === SYN_SENT || c.state === SYN_RECEIVED;
  }

  /** Whether {@link recv} would give at least one byte now. */
  canRecv(): boolean {
    return this.recvQueue() > 0;
  }

  /** Bytes in order that wait to be read. */
  recvQueue(): number {
    return this.#connection?.readable ?? 0;
  }

  /** Bytes queued or not yet acknowledged. */
  sendQueue(): number {
    return this.#connection?.tx?.length ?? 0;
  }

  /** Closes the sending half: a FIN follows what is queued. Bytes may still come. RFC 9293 §3.10.4. */
  close(): void {
    if (this.#listener !== null) this.#unlisten();
    else if (this.#connection !== null) this.#tcp.shutdown(this.#connection);
  }

  /** Lets go: what is queued and a FIN are still sent; unread or later bytes are answered with a RST. */
  release(): void {
    if (this.#listener !== null) this.#unlisten();
    const c = this.#connection;
    if (c !== null && c.socket === this) this.#tcp.release(c);
  }

  /** Resets the connection: RFC 9293 §3.10.5. */
  abort(): void {
    if (this.#listener !== null) this.#unlisten();
    else if (this.#connection !== null) this.#tcp.abort(this.#connection);
  }

  #unlisten(): void {
    this.#tcp.unlisten(this.#listener!);
    this.#listener = null;
  }

  /** The state as RFC 9293 prints it. */
  state(): TcpState {
    if (this.#listener !== null) return STATE_NAMES[LISTEN];
    return STATE_NAMES[this.#connection?.state ?? CLOSED]!;
  }

  /** Whether the connection is over: nothing more will be sent, and what arrived is all there will be. */
  isClosed(): boolean {
    const state = this.#connection?.state ?? CLOSED;
    return this.#listener === null && (state === CLOSED || state === TIME_WAIT);
  }

  /** Why the connection failed, or null. */
  get error(): ErrorCode | null {
    return this.#connection?.error ?? null;
  }

  get local(): Endpoint | null {
    const c = this.#connection;
    if (c !== null) return { address: c.local, port: c.localPort };
    const listener = this.#listener;
    return listener === null ? null : { address: listener.local, port: listener.port };
  }

  get remote(): Endpoint | null {
    const c = this.#connection;
    return c === null ? null : { address: c.remote, port: c.remotePort };
  }

  /** The connection itself, for tools that look inside. */
  get connection(): Connection | null {
    return this.#connection;
  }

  /** Called by the stack: adds to what changed. */
  report(events: number): void {
    this.#events |= events;
    this.#tcp.context.changed(this);
  }

  /** What changed since the last call: READABLE, WRITABLE, CONNECTED, ACCEPTABLE, CLOSED_EVENT, SENT in one mask. */
  takeEvents(): number {
    const events = this.#events;
    this.#events = 0;
    return events;
  }

  #open(syscall: string): Connection {
    if (this.#connection === null) throw new NetError('ENOTCONN', syscall);
    return this.#connection;
  }

  #context(): { address: string; port: number } | Record<string, never> {
    const { remote } = this;
    return remote === null ? {} : { address: remote.address.toString(), port: remote.port };
  }
}
