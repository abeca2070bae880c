/**
 * The user's handle of TCP in the core, in smoltcp's terms: synchronous, never blocking. A call moves what can be moved
 * now; `stack.nextChanged()` tells when to try again. @module
 */
import { type ErrorCode, NetError } from '../errors.ts';
import type { Changed } from '../iface/context.ts';
import type { IpAddress } from '../wire/address.ts';
import { UNSPECIFIED_V6 } from '../wire/address.ts';
import { checkPort } from '../wire/ip.ts';
import { resizeBuffers, sendCapacity } from './autotune.ts';
import { queueAsLinux } from './burst.ts';
import type { CongestionControl } from './congestion/controller.ts';
import type { Connection } from './connection.ts';
import { infoOf, type TcpInfo } from './info.ts';
import { BACKLOG_DEFAULT, Listener } from './listener.ts';
import { limitPacing } from './pacing.ts';
import { readAcks } from './quick-ack.ts';
import { consumed } from './receive.ts';
import { canQueue, noteAppLimited, sendRoom } from './send.ts';
import { seqAdd, seqDiff } from './seq.ts';
import type { TcpSettings } from './settings.ts';
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
import type { OnSyn } from './syn-request.ts';
import type { Tcp } from './tcp.ts';
import { restartKeepAlive, startRoomTimer } from './timers.ts';
import type { Trace } from './trace.ts';
import { markUrgent, readableApart, type UrgentByte, urgentByte, urgentQueue } from './urgent.ts';

/** An address and a port. */
export interface Endpoint {
  readonly address: IpAddress;
  readonly port: number;
}

/** What a listener is asked for. */
export interface ListenOptions {
  /** 0: a free one is chosen. */
  readonly port: number;
  /** By default all, of both families. */
  readonly address?: IpAddress | undefined;
  /** Whether `::`, and no address at all, mean IPv6 only. Default false. */
  readonly ipv6Only?: boolean | undefined;
  /** Connections that may wait for {@link TcpSocket.accept}. */
  readonly backlog?: number | undefined;
  /** Decides about each SYN before it is answered. */
  readonly onSyn?: OnSyn | undefined;
  /** Connections that were reset before they were accepted are handed out all the same, as Linux does. Default false. */
  readonly keepsReset?: boolean | undefined;
}

/** Whether everything queued, and the FIN if there is one, was sent and acknowledged. */
export const isDrained = (c: Connection): boolean => c.sndUna === seqAdd(c.txEnd, c.finQueued ? 1 : 0);

export class TcpSocket implements Changed {
  isChanged = false;
  /** Whatever the user of the core wants to find again when the socket is reported. */
  owner: unknown = null;
  /**
   * Whether the urgent byte stays in the stream, as RFC 6093 §5 wants. Where not, {@link recv} stops in front of it and then
   * leaves it out, and {@link takeUrgent} gives it. Accepted sockets have it from their listener.
   */
  urgentInline = true;
  readonly #tcp: Tcp;
  #settings: TcpSettings;
  #connection: Connection | null = null;
  #listener: Listener | null = null;
  #events = 0;
  #trace: Trace | null = null;

  /** Usually made by `stack.tcpSocket()`. */
  constructor(tcp: Tcp, settings: Partial<TcpSettings> = {}) {
    this.#tcp = tcp;
    this.#settings = Object.keys(settings).length === 0 ? tcp.settings : tcp.settingsWith(settings);
  }

  /**
   * Passive OPEN: takes connections to `port`, up to `backlog` waiting for {@link accept}.
   * @throws NetError EADDRINUSE, EADDRNOTAVAIL, EISCONN
   */
  listen(options: ListenOptions): void {
    const address = this.#tcp.ip.zoned(options.address ?? UNSPECIFIED_V6);
    const context = { address: address.toString(), port: checkPort(options.port, 0) };
    if (this.#connection !== null || this.#listener !== null) throw new NetError('EISCONN', 'listen', context);
    if (!address.isUnspecified && !this.#tcp.ip.isLocalAddress(address)) {
      throw new NetError('EADDRNOTAVAIL', 'listen', context);
    }
    const port = options.port === 0 ? this.#tcp.ephemeralListenPort() : options.port;
    const backlog = Math.max(1, Math.trunc(options.backlog ?? BACKLOG_DEFAULT) || BACKLOG_DEFAULT);
    const { onSyn = null, keepsReset } = options;
    const listener = new Listener(
      this.#tcp,
      this,
      address,
      port,
      backlog,
      this.#settings,
      onSyn,
      keepsReset,
      options.ipv6Only ?? false,
    );
    const error = port === 0 ? 'EADDRINUSE' : this.#tcp.listen(listener);
    if (error !== null) throw new NetError(error, 'listen', context);
    this.#listener = listener;
  }

  /**
   * Takes every connection that comes in on an any-IP interface, to whatever address and port, and for which nobody
   * listens; `onSyn` decides about each.
   * @throws NetError EADDRINUSE where another socket does, EISCONN
   */
  intercept(options: { onSyn: OnSyn; backlog?: number | undefined }): void {
    if (this.#connection !== null || this.#listener !== null) throw new NetError('EISCONN', 'intercept');
    const { backlog = BACKLOG_DEFAULT, onSyn } = options;
    const listener = new Listener(this.#tcp, this, UNSPECIFIED_V6, 0, backlog, this.#settings, onSyn);
    if (!this.#tcp.intercept(listener)) throw new NetError('EADDRINUSE', 'intercept');
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
    socket.urgentInline = this.urgentInline;
    return socket;
  }

  /**
   * Active OPEN. Returns at once; the state is SYN-SENT until the peer answers.
   * @throws NetError ENETUNREACH, EADDRINUSE, EADDRNOTAVAIL, EISCONN, ENOBUFS, EINVAL (a group address: MUST-46)
   */
  connect(remote: Endpoint, local: { address?: IpAddress; port?: number } = {}): void {
    const { ip } = this.#tcp;
    const own = local.address === undefined ? null : ip.zoned(local.address);
    const address = ip.zoned(remote.address, own);
    const { port } = remote;
    const context = { address: address.toString(), port: checkPort(port, 1) };
    if (this.#connection !== null || this.#listener !== null) throw new NetError('EISCONN', 'connect', context);
    if (address.isMulticast || ip.isBroadcast(address)) throw new NetError('EINVAL', 'connect', context);
    if (own !== null && !ip.isLocalAddress(own)) {
      throw new NetError('EADDRNOTAVAIL', 'bind', { address: own.toString(), port: local.port });
    }
    const made = this.#tcp.connect(address, port, own, checkPort(local.port ?? 0, 0), this.#settings);
    if (typeof made === 'string') throw new NetError(made, 'connect', context);
    made.socket = this;
    made.trace = this.#trace;
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
    const isLinux = c.settings.linux;
    if (isLinux && seqDiff(c.txEnd, c.sndNxt) < c.mss) noteAppLimited(c);
    const ring = c.txRing();
    let taken = isLinux ? queueAsLinux(c, data, from, to) : ring.append(data, from, to - from);
    // No room for all of it: the buffer may be larger by now.
    if (taken < to - from && c.txBytes < sendCapacity(c)) taken += ring.append(data, from + taken, to - from - taken);
    if (taken < to - from) c.wantsRoom = true;
    if (c.wantsRoom && c.tx!.length === 0) startRoomTimer(c);
    if (taken > 0) this.#tcp.ready(c);
    return taken;
  }

  /** As {@link send}, from offset `p` of the stack's own memory: for rings that other threads write into. */
  sendAt(p: number, length: number): number {
    const c = this.#open('send');
    if (!canQueue(c)) throw new NetError(c.error ?? 'EPIPE', 'write', this.#context());
    const ring = c.txRing();
    let taken = ring.appendAt(p, length);
    if (taken < length && c.txBytes < sendCapacity(c)) taken += ring.appendAt(p + taken, length - taken);
    if (taken < length) c.wantsRoom = true;
    if (c.wantsRoom && c.tx!.length === 0) startRoomTimer(c);
    if (taken > 0) this.#tcp.ready(c);
    return taken;
  }

  /** As {@link recv}, to offset `p` of the stack's own memory. */
  recvAt(p: number, length: number): number {
    const c = this.#open('recv');
    const { rx } = c;
    if (rx === null || rx.length === 0) return 0;
    const count = Math.min(length, rx.length);
    rx.copyOut(0, p, count);
    rx.advance(count);
    if (consumed(c) || (c.acks !== null && readAcks(c))) {
      c.ackNow = true;
      this.#tcp.ready(c);
    }
    return count;
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
    const count = rx.peek(target, from, this.#bounded(c, to - from));
    rx.advance(count);
    if (consumed(c) || (c.acks !== null && readAcks(c))) {
      c.ackNow = true;
      this.#tcp.ready(c);
    }
    return count;
  }

  /** Like {@link recv}, but the bytes stay. */
  peek(target: Uint8Array, from = 0, to = target.length): number {
    const c = this.#connection;
    if (c === null || c.rx === null) return 0;
    const queue = this.urgentInline ? 0 : urgentQueue(c);
    if (queue === 1) return c.rx.peekAt(1, target, from, to - from);
    return c.rx.peek(target, from, queue === 0 ? to - from : Math.min(to - from, queue - 1));
  }

  /** How much of `wanted` a read takes: it does not go across an urgent byte that is no part of the stream. */
  #bounded(c: Connection, wanted: number): number {
    return c.urgent === null || this.urgentInline ? wanted : Math.min(wanted, readableApart(c));
  }

  // Urgent data: RFC 9293 §3.8.5. Not for new applications (RFC 6093): what is on the way may clear the pointer.

  /**
   * As {@link send}, and the last byte taken is the last urgent one: until it is acknowledged, segments tell of it.
   * @returns how many bytes were taken
   */
  sendUrgent(data: Uint8Array, from = 0, to = data.length): number {
    const taken = this.send(data, from, to);
    if (taken > 0) this.markUrgent();
    return taken;
  }

  /** Makes all that is queued urgent, up to its last byte: SND.UP. Nothing happens where nothing is queued. */
  markUrgent(): void {
    const c = this.#connection;
    if (c === null || this.sendQueue() === 0 || !canQueue(c)) return;
    markUrgent(c);
    this.#tcp.ready(c);
  }

  /** Bytes to read up to the last urgent one, and that itself, whether they have come or not; 0: none is urgent. MUST-33. */
  urgentQueue(): number {
    return this.#connection === null ? 0 : urgentQueue(this.#connection);
  }

  /** Whether the next byte to read is the urgent one: SIOCATMARK. */
  isAtMark(): boolean {
    return this.urgentQueue() === 1;
  }

  /** What has become of the urgent byte. Once the reader is past it, there is `'none'`. */
  get urgentByte(): UrgentByte {
    return this.#connection === null ? 'none' : urgentByte(this.#connection);
  }

  /** The urgent byte, which is then taken, but for a look with `isPeek`; -1 where {@link urgentByte} is not `'here'`. */
  takeUrgent(isPeek = false): number {
    if (this.urgentByte !== 'here') return -1;
    const urgent = this.#connection!.urgent!;
    if (!isPeek) urgent.what = 'taken';
    return urgent.byte;
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

  /**
   * Lets go: what is queued and a FIN are still sent; unread or later bytes are answered with a RST.
   * @param options.lingerMs - 0: a RST at once instead, as by SO_LINGER with no time
   */
  release(options: { lingerMs?: number | undefined } = {}): void {
    if (this.#listener !== null) this.#unlisten();
    const c = this.#connection;
    if (c === null || c.socket !== this) return;
    if (options.lingerMs === 0) this.#tcp.abort(c);
    this.#tcp.release(c);
  }

  /** Whether the peer has acknowledged everything that was sent, and the FIN if there was one. */
  isDrained(): boolean {
    return this.#connection === null || this.isClosed() || isDrained(this.#connection);
  }

  /**
   * Changes settings of the socket as it is: a connection obeys them from now on, a listener for connections to come.
   * Options that were agreed on in the handshake stay as they are.
   * @throws RangeError, TypeError: see {@link TcpSettings}
   */
  configure(changes: Partial<TcpSettings>): void {
    this.#settings = this.#tcp.settingsWith(changes, this.#settings);
    if (this.#listener !== null) this.#listener.settings = this.#settings;
    const c = this.#connection;
    if (c === null) return;
    c.settings = this.#settings;
    if (changes.congestion !== undefined) c.congest(this.#settings.congestion as CongestionControl);
    if (changes.maxPacingRate !== undefined) limitPacing(c);
    resizeBuffers(c, changes);
    if (changes.mssMax !== undefined && c.state > SYN_RECEIVED) c.fitMss();
    if (changes.keepAliveMs !== undefined) restartKeepAlive(c);
    this.#tcp.ready(c); // what Nagle held back may go, and the window may open
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

  /** Calls `look` at every segment, timer and change of the window of the connection from now on; null: no more. */
  trace(look: Trace | null): void {
    this.#trace = look;
    if (this.#connection !== null) this.#connection.trace = look;
  }

  /** Everything known of the connection, under the names of Linux's TCP_INFO; null before there is one. */
  info(): TcpInfo | null {
    return this.#connection === null ? null : infoOf(this.#connection);
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

  /** What changed since the last call: READABLE, WRITABLE, CONNECTED, ACCEPTABLE, CLOSED_EVENT, SENT, URGENT in one mask. */
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
