/**
 * A TCP socket behind a descriptor: Linux's rules of what a call does in which state, over a `TcpSocket` of the core. Its
 * variables are Linux's: whether it is connected is remembered apart from the state of the connection, an error is told
 * once, and each half may be shut. @module
 */
import { type ErrorCode, NetError } from '../errors.ts';
import type { Stack } from '../stack.ts';
import { hasMuchUnsent } from '../tcp/burst.ts';
import type { Connection } from '../tcp/connection.ts';
import { isEarly } from '../tcp/fast-open.ts';
import type { TcpSettings } from '../tcp/settings.ts';
import type { TcpSocket } from '../tcp/socket.ts';
import {
  CLOSE_WAIT,
  CLOSED,
  CLOSING,
  ESTABLISHED,
  FIN_WAIT_1,
  LAST_ACK,
  LISTEN,
  SYN_RECEIVED,
  SYN_SENT,
  TIME_WAIT,
} from '../tcp/state.ts';
import { IpAddress } from '../wire/address.ts';
import { contextOf, readAddress, type SockAddr, sockAddr, unspecifiedOf } from './address.ts';
import { LINUX as L } from './constants.ts';
import { eachFrom, type Reading, type Writing } from './message.ts';
import { type Option, OptionStore, type OptionValue } from './options.ts';
import type { Holder, Ports } from './ports.ts';
import { BOTH, type PosixSocket, RECEIVING, SENDING } from './socket.ts';
import { checkControl, endsAtMark, queuedFrom, readable, takeBytes, takeUrgentByte } from './stream-bytes.ts';
import { applyOption, configure, readTcpOption } from './tcp-options.ts';
import type { Call } from './waits.ts';

/** Linux's net.core.somaxconn: a longer backlog counts as this. */
const BACKLOG_MAX = 4096;

const LOOPBACK_V4 = IpAddress.v4(0x7f000001);
const LOOPBACK_V6 = new IpAddress(0, 0, 0, 1);

/** What the sockets of one layer share. */
export interface Shared {
  readonly stack: Stack;
  readonly ports: Ports;
  /** What TCP sockets start with other than the stack's. */
  readonly settings: Partial<TcpSettings> | undefined;
  /** Unix time in ms when the clock of the stack is 0. */
  readonly epochMs: number;
}

/** `struct socket`'s state: it changes by calls only. */
type Phase = 'unconnected' | 'connecting' | 'connected' | 'listening';

/** A claim on a port, by the descriptor and later by its connection. */
interface Claim extends Holder {
  left: Connection | null | undefined;
}

export class StreamSocket implements PosixSocket {
  readonly domain: number;
  readonly type = L.SOCK_STREAM;
  readonly protocol = L.IPPROTO_TCP;
  readonly sendsAtOnce = false;
  readonly calls = new Set<Call>();
  readonly options: OptionStore;
  readonly #shared: Shared;
  #core: TcpSocket;
  #phase: Phase = 'unconnected';
  /** Halves that shutdown() has closed. */
  #shut = 0;
  /** What disconnecting left to be told. */
  #error: ErrorCode | null = null;
  /** The connection's own error has been told. */
  #isErrorTold = false;
  #claim: Claim | null = null;
  /** Where a connect leads that waits for the first send. */
  #deferred: SockAddr | null = null;
  /** bind() was called; a port that was chosen otherwise is given back with the connection. */
  #isBound = false;
  /** The last send said MSG_MORE. */
  #isMoreToCome = false;

  constructor(shared: Shared, domain: number, accepted?: { core: TcpSocket; options: OptionStore }) {
    this.#shared = shared;
    this.domain = domain;
    this.options = accepted?.options ?? new OptionStore(domain, 'stream');
    this.#core = accepted?.core ?? shared.stack.tcpSocket(shared.settings);
    this.#own();
    if (accepted === undefined) return;
    this.#phase = 'connected';
    const { address, port } = this.#core.local!;
    this.#claimPort(address, port);
  }

  #own(): void {
    this.#core.owner = this;
    this.#core.urgentInline = this.options.isOn(L.SOL_SOCKET, L.SO_OOBINLINE);
  }

  /** The socket of the core, for tools that look inside. */
  get core(): TcpSocket {
    return this.#core;
  }

  get isListening(): boolean {
    return this.#phase === 'listening';
  }

  get isConnected(): boolean {
    return this.#phase === 'connected';
  }

  get isConnecting(): boolean {
    return this.#phase === 'connecting';
  }

  /** The state as Linux would have it: a connection in TIME-WAIT has left its socket. */
  get #state(): number {
    if (this.isListening) return LISTEN;
    const state = this.#core.connection?.state ?? CLOSED;
    return state === TIME_WAIT ? CLOSED : state;
  }

  /** The peer's FIN has come: SOCK_DONE. */
  get #hasEnded(): boolean {
    return this.#core.connection?.peerEnded ?? false;
  }

  /** Halves that are closed, by whomever: `sk_shutdown`. */
  get #shutHalves(): number {
    if (this.#core.connection !== null && this.#state === CLOSED) return BOTH;
    return this.#shut | (this.#hasEnded ? RECEIVING : 0);
  }

  get #pendingError(): ErrorCode | null {
    const { error } = this.#core;
    return this.#isErrorTold || error === null ? this.#error : this.#asLinux(error);
  }

  /** A reset behind the peer's end breaks our writes only. The core calls an end of its own making an abort. */
  #asLinux(code: ErrorCode): ErrorCode {
    if (code !== 'ECONNABORTED' && code !== 'ECONNRESET') return code;
    return code === 'ECONNRESET' && this.#hasEnded ? 'EPIPE' : 'ECONNRESET';
  }

  takeError(): ErrorCode | null {
    const code = this.#pendingError;
    this.#error = null;
    if (code !== null) this.#isErrorTold = this.#core.error !== null;
    return code;
  }

  #throwError(syscall: string): void {
    const code = this.takeError();
    if (code !== null) throw new NetError(code, syscall);
  }

  // Addresses.

  bind(to: SockAddr): void {
    const address = readAddress('bind', this.domain, to);
    if (this.#isMappedOnly(address)) throw new NetError('EINVAL', 'bind', contextOf(to));
    const { stack, ports } = this.#shared;
    const isForeign = !address.isUnspecified && !stack.ip.isLocalAddress(address);
    if (isForeign) throw new NetError('EADDRNOTAVAIL', 'bind', contextOf(to));
    // A port that was chosen for a connection is given back with its end.
    if (this.#state === CLOSED && !this.#isBound) this.#leaveClaim();
    if (this.#state !== CLOSED || this.#claim !== null) throw new NetError('EINVAL', 'bind', contextOf(to));
    const port = to.port === 0 ? ports.draw() : to.port;
    const claim = this.#claimOf(address, port);
    if (port === 0 || !ports.isFree(claim)) throw new NetError('EADDRINUSE', 'bind', contextOf(to));
    ports.add(claim);
    this.#claim = claim;
    this.#isBound = true;
  }

  /** IPV6_V6ONLY: an IPv4 address in its mapped form is none of this socket's. */
  #isMappedOnly(address: IpAddress): boolean {
    return this.domain === L.AF_INET6 && address.isV4 && this.options.isOn(L.SOL_IPV6, L.IPV6_V6ONLY);
  }

  #claimOf(address: IpAddress, port: number): Claim {
    const socket = this;
    return {
      address,
      port,
      left: undefined,
      get reuse() {
        const { options } = socket;
        return {
          address: options.isOn(L.SOL_SOCKET, L.SO_REUSEADDR),
          port: options.isOn(L.SOL_SOCKET, L.SO_REUSEPORT),
        };
      },
      get isListening() {
        return socket.isListening;
      },
    };
  }

  #claimPort(address: IpAddress, port: number): void {
    this.#claim = this.#claimOf(address, port);
    this.#shared.ports.add(this.#claim);
  }

  #dropClaim(): void {
    if (this.#claim !== null) this.#shared.ports.remove(this.#claim);
    this.#claim = null;
  }

  name(): SockAddr {
    const local = this.#core.local ?? this.#claim;
    return sockAddr(this.domain, local?.address ?? unspecifiedOf(this.domain), local?.port ?? 0);
  }

  /** The other end of a connection that was accepted, whatever has become of it. */
  get remote(): SockAddr {
    const { address, port } = this.#core.remote!;
    return sockAddr(this.domain, address, port);
  }

  peer(): SockAddr {
    const { remote } = this.#core;
    const state = this.#state;
    if (remote === null || state === CLOSED || state === SYN_SENT) throw new NetError('ENOTCONN', 'getpeername');
    return sockAddr(this.domain, remote.address, remote.port);
  }

  // Opening.

  listen(backlog: number): void {
    const isFresh = this.#phase === 'unconnected' && this.#state === CLOSED;
    if (!isFresh && !this.isListening) throw new NetError('EINVAL', 'listen');
    // Linux takes one connection more than it is asked for: so a backlog of 0 is one.
    const count = (backlog < 0 ? BACKLOG_MAX : Math.min(Math.trunc(backlog), BACKLOG_MAX)) + 1;
    if (this.isListening) {
      this.#core.backlog = count;
      return;
    }
    const { ports } = this.#shared;
    if (this.#claim === null) {
      const port = ports.draw();
      if (port === 0) throw new NetError('EADDRINUSE', 'listen');
      this.#claimPort(unspecifiedOf(this.domain), port);
    }
    const { address, port } = this.#claim!;
    this.#phase = 'listening';
    try {
      if (!ports.isFree(this.#claim!)) throw new NetError('EADDRINUSE', 'listen', { port });
      this.#core.listen({ port, address, backlog: count, keepsReset: true });
    } catch (error) {
      this.#phase = 'unconnected';
      throw error;
    }
  }

  accept(): StreamSocket | null {
    if (!this.isListening) throw new NetError('EINVAL', 'accept');
    const core = this.#core.accept();
    return core === null ? null : new StreamSocket(this.#shared, this.domain, { core, options: this.options.copy() });
  }

  connect(to: SockAddr): boolean {
    if (to.family === L.AF_UNSPEC) {
      this.#disconnect();
      return true;
    }
    if (this.#phase === 'connecting') return this.#continueConnect(to);
    if (this.#phase !== 'unconnected') throw new NetError('EISCONN', 'connect', contextOf(to));
    const address = this.#destination(to);
    if (this.options.isOn(L.SOL_TCP, L.TCP_FASTOPEN_CONNECT) && this.#mayDefer(address)) {
      this.#deferred = to;
      this.#phase = 'connected';
      return true;
    }
    this.#beginConnect(to, address);
    return false;
  }

  /** TCP_FASTOPEN_CONNECT: whether the first send can go with the SYN, which waits for it then. */
  #mayDefer(address: IpAddress): boolean {
    const { tcp, ip } = this.#shared.stack;
    return tcp.fastOpen.knows(address, this.#core.settings) && ip.path(address, null) !== null;
  }

  /** Where to connect to: the unspecified address means this host. */
  #destination(to: SockAddr): IpAddress {
    const address = readAddress('connect', this.domain, to);
    const { ip } = this.#shared.stack;
    // A group has no route that TCP could take: MUST-46 of RFC 9293, with Linux's error.
    const isGroup = address.isMulticast || address.isLimitedBroadcast || ip.isBroadcast(address);
    if (isGroup || this.#isMappedOnly(address)) throw new NetError('ENETUNREACH', 'connect', contextOf(to));
    if (to.port === 0) throw new NetError('ECONNREFUSED', 'connect', contextOf(to)); // nobody serves it: no SYN is sent
    if (!address.isUnspecified) return address;
    return address.isV4 ? LOOPBACK_V4 : LOOPBACK_V6;
  }

  #beginConnect(to: SockAddr, address: IpAddress): void {
    const claim = this.#claim;
    const local = claim === null || claim.address.isUnspecified ? {} : { address: claim.address };
    const remote = { address, port: to.port };
    try {
      this.#core.connect(remote, { ...local, port: claim?.port ?? this.#shared.ports.draw() });
    } catch (error) {
      if (!(error instanceof NetError) || error.code !== 'EADDRINUSE') throw error;
      // Four numbers that are all in use; ours was drawn without looking at the peer's, and the core draws another.
      if (claim !== null) throw new NetError('EADDRNOTAVAIL', 'connect', contextOf(to));
      this.#core.connect(remote, local);
    }
    if (this.#phase !== 'connected') this.#phase = 'connecting';
    if (claim === null) this.#claimPort(this.#core.local!.address, this.#core.local!.port);
  }

  /** A connect is under way: whether it is done. @throws NetError why it failed; ECONNABORTED where that was told */
  #continueConnect(to: SockAddr): boolean {
    const state = this.#state;
    if (state === SYN_SENT || state === SYN_RECEIVED) return false;
    if (state === CLOSED) {
      const code = this.takeError() ?? 'ECONNABORTED';
      this.#disconnect();
      throw new NetError(code, 'connect', contextOf(to));
    }
    this.#phase = 'connected';
    return true;
  }

  /** tcp_disconnect: the connection is reset and the socket is as new, but for what bind() and options said. */
  #disconnect(): void {
    this.#holdBack(false);
    const core = this.#core;
    const state = this.#state;
    const untold = this.#pendingError;
    const isOpen = state !== CLOSED && state !== LISTEN && state !== CLOSING && state !== LAST_ACK;
    const isLost = isOpen || this.#deferred !== null;
    core.owner = null;
    core.abort();
    core.release();
    this.#core = this.#shared.stack.tcpSocket(core.settings);
    this.#own();
    this.#phase = 'unconnected';
    this.#deferred = null;
    this.#shut = 0;
    this.#error = isLost ? 'ECONNRESET' : untold;
    this.#isErrorTold = false;
    if (!this.#isBound) this.#dropClaim();
  }

  // Moving bytes.

  receive(reading: Reading): boolean {
    const { flags, room } = reading;
    if ((flags & L.MSG_ERRQUEUE) !== 0) throw new NetError('EAGAIN', 'recv');
    if (this.isListening) throw new NetError('ENOTCONN', 'recv');
    const core = this.#core;
    if ((flags & L.MSG_OOB) !== 0) {
      const isLost = this.#state === CLOSED && !this.#hasEnded;
      takeUrgentByte(core, reading, (this.#shutHalves & RECEIVING) !== 0, isLost);
      return true;
    }
    const waiting = core.recvQueue();
    if (waiting > 0) takeBytes(core, reading);
    if (this.options.isOn(L.SOL_TCP, L.TCP_INQ)) this.#tellQueue(reading);
    const target = (flags & L.MSG_WAITALL) !== 0 ? room : this.options.number(L.SOL_SOCKET, L.SO_RCVLOWAT);
    if (reading.count >= Math.min(target, room) && (reading.count > 0 || waiting > 0)) return true;
    if (endsAtMark(core, reading)) return true;
    if (reading.count > 0) return this.#pendingError !== null || (this.#shutHalves & RECEIVING) !== 0;
    if (this.#hasEnded) return true;
    this.#throwError('recv');
    if ((this.#shutHalves & RECEIVING) !== 0) return true;
    if (this.#state === CLOSED && this.#deferred === null) throw new NetError('ENOTCONN', 'recv');
    return false;
  }

  /** TCP_INQ: what is left, and 1 for an end that is still to be read. */
  #tellQueue(reading: Reading): void {
    const left = this.#core.recvQueue();
    reading.control.length = 0;
    reading.control.push({ level: L.SOL_TCP, type: L.TCP_CM_INQ, value: left === 0 && this.#hasEnded ? 1 : left });
  }

  send(writing: Writing): boolean {
    const { buffers, flags, length } = writing;
    checkControl(writing);
    if (this.#opensWith(writing)) return this.#sendWithSyn(writing);
    const state = this.#state;
    const isOpen = state === ESTABLISHED || state === CLOSE_WAIT || this.#isEarly;
    const isBroken = this.#pendingError !== null || (isOpen && (this.#shutHalves & SENDING) !== 0);
    if (isBroken || (!isOpen && state !== SYN_SENT && state !== SYN_RECEIVED)) {
      if (writing.count > 0) return true;
      this.#throwError('send');
      throw new NetError('EPIPE', 'send');
    }
    if (!isOpen) return false;
    this.#holdBack((flags & L.MSG_MORE) !== 0);
    const count = eachFrom(buffers, writing.count, (buffer, start) => this.#core.send(buffer, start));
    if ((flags & L.MSG_OOB) !== 0 && count > 0) this.#core.markUrgent();
    writing.count += count;
    return writing.count === length;
  }

  /** Handed out before its handshake is done: Fast Open. */
  get #isEarly(): boolean {
    const c = this.#core.connection;
    return c !== null && isEarly(c);
  }

  /** Whether a send opens the connection: MSG_FASTOPEN, a connect that waited for it, or what BSD has. */
  #opensWith({ flags, address }: Writing): boolean {
    if (this.#deferred !== null) return true;
    const { settings } = this.#core;
    const isAsked =
      (flags & L.MSG_FASTOPEN) !== 0 || (settings.bsd && settings.fastOpenBacklog > 0 && address !== null);
    return isAsked && this.#phase === 'unconnected';
  }

  /** RFC 7413: a SYN with as much as it takes; without a cookie one is asked for, and everything waits for the handshake. */
  #sendWithSyn(writing: Writing): boolean {
    const to = this.#deferred ?? writing.address;
    if (to === null || to.family === L.AF_UNSPEC) throw new NetError('EDESTADDRREQ', 'send');
    this.#deferred = null;
    const address = this.#destination(to);
    configure(this.#core, 'fastOpen', 1);
    this.#beginConnect(to, address);
    const c = this.#core.connection!;
    // What waits for the handshake anyway leaves with its end.
    let room = writing.isBlocking || c.settings.bsd ? c.txBytes : this.#shared.stack.tcp.fastOpen.room(c);
    writing.count = eachFrom(writing.buffers, 0, (buffer, start) => {
      const count = this.#core.send(buffer, start, Math.min(buffer.length, start + room));
      room -= count;
      return count;
    });
    return c.settings.bsd;
  }

  /** MSG_MORE is TCP_CORK until the next send without it. */
  #holdBack(isMoreToCome: boolean): void {
    if (isMoreToCome === this.#isMoreToCome) return;
    this.#isMoreToCome = isMoreToCome;
    const isCorked = isMoreToCome || this.options.isOn(L.SOL_TCP, L.TCP_CORK);
    configure(this.#core, 'cork', isCorked ? 1 : 0);
  }

  // Closing.

  shutdown(bits: number): void {
    const state = this.#state;
    if (state === LISTEN || state === SYN_SENT || this.#deferred !== null) {
      if (state !== LISTEN || (bits & RECEIVING) !== 0) this.#disconnect();
      return;
    }
    this.#shut |= bits;
    if (state === CLOSED) throw new NetError('ENOTCONN', 'shutdown');
    if (this.#phase === 'connecting') this.#phase = 'connected';
    if ((bits & SENDING) !== 0) this.#closeSending();
    // Only where both halves are shut is what still comes answered with RST; before, it may be read as ever.
    if (this.#shut === BOTH) this.#core.connection!.rcvClosed = true;
  }

  /** tcp_shutdown does nothing before the handshake is done: then the FIN goes; what close() sends does not wait. */
  #closeSending(): void {
    const c = this.#core.connection!;
    if (isEarly(c)) c.fastOpen!.holdsFin = true;
    this.#core.close();
  }

  close(): void {
    const core = this.#core;
    const c = core.connection;
    if (c?.fastOpen?.holdsFin) {
      c.fastOpen.holdsFin = false;
      this.#shared.stack.tcp.ready(c);
    }
    const { onoff, linger } = this.options.linger;
    // RFC 9293 §3.10.4, SYN-SENT: what was to go with the SYN, or behind it, is lost.
    if ((onoff !== 0 && linger === 0) || this.#state === SYN_SENT) core.abort();
    core.release();
    core.owner = null;
    this.#leaveClaim();
  }

  /** The port is the connection's alone from now on, until it and its TIME-WAIT are over. */
  #leaveClaim(): void {
    const claim = this.#claim;
    if (claim === null) return;
    claim.left = this.#core.connection;
    if (claim.left === null) this.#dropClaim();
    this.#claim = null;
  }

  beginClose(): boolean {
    const { onoff, linger } = this.options.linger;
    const c = this.#core.connection;
    if (onoff === 0 || linger <= 0 || c === null || c.readable > 0 || this.#state === SYN_SENT) return false;
    this.#core.close();
    c.rcvClosed = true;
    return this.isClosing;
  }

  get isClosing(): boolean {
    const state = this.#state;
    return state === SYN_RECEIVED || state === FIN_WAIT_1 || state === CLOSING || state === LAST_ACK;
  }

  // What is asked of it.

  /** tcp_poll() of Linux, bit by bit. */
  events(): number {
    if (this.isListening) return this.#core.pending > 0 ? L.POLLIN | L.POLLRDNORM : 0;
    const state = this.#state;
    const shut = this.#shutHalves;
    let mask = 0;
    if (shut === BOTH || state === CLOSED) mask |= L.POLLHUP;
    if ((shut & RECEIVING) !== 0) mask |= L.POLLIN | L.POLLRDNORM | L.POLLRDHUP;
    if (this.#deferred !== null) return L.POLLOUT | L.POLLWRNORM;
    if (state !== SYN_SENT && (state !== SYN_RECEIVED || this.#isEarly)) {
      const { urgentByte, urgentInline } = this.#core;
      let least = this.options.number(L.SOL_SOCKET, L.SO_RCVLOWAT);
      if (urgentByte !== 'none' && !urgentInline && this.#core.isAtMark()) least++; // it is not to be read
      if (urgentByte === 'here') mask |= L.POLLPRI;
      if (this.#core.recvQueue() >= least) mask |= L.POLLIN | L.POLLRDNORM;
      if ((shut & SENDING) !== 0 || this.#isWritable()) mask |= L.POLLOUT | L.POLLWRNORM;
    }
    if (this.#pendingError !== null) mask |= L.POLLERR;
    return mask;
  }

  /** Linux's sk_stream_is_writeable: at least half as much is free as is queued. */
  #isWritable(): boolean {
    const c = this.#core.connection;
    if (c === null) return true;
    const queued = this.#core.sendQueue();
    if (c.settings.linux && hasMuchUnsent(c, 1)) return false;
    return 2 * (c.settings.sendBufferBytes - queued) >= queued;
  }

  wantRoom(): void {
    const c = this.#core.connection;
    if (c !== null) c.wantsRoom = true;
  }

  queued(request: number): number {
    const isCount = request === L.FIONREAD || request === L.SIOCOUTQ || request === L.SIOCOUTQNSD;
    if (!isCount && request !== L.SIOCATMARK) throw new NetError('ENOTTY', 'ioctl');
    if (request === L.SIOCATMARK) return this.#core.isAtMark() ? 1 : 0;
    if (this.isListening) throw new NetError('EINVAL', 'ioctl');
    if (request === L.FIONREAD) return readable(this.#core);
    const c = this.#core.connection;
    const state = this.#state;
    if (c === null || state === CLOSED || state === SYN_SENT || state === SYN_RECEIVED) return 0;
    return queuedFrom(c, request === L.SIOCOUTQ ? c.sndUna : c.sndMax);
  }

  applied(option: Option): void {
    if (option.level === L.SOL_SOCKET && option.name === L.SO_OOBINLINE) this.#own();
    applyOption(this.#core, this.options, option);
  }

  accepts(option: Option, value: OptionValue): void {
    if (option.level === L.SOL_IPV6 && option.name === L.IPV6_V6ONLY && this.#claim !== null) {
      throw new NetError('EINVAL', 'setsockopt');
    }
    const isFastOpen = option.name === L.TCP_FASTOPEN || option.name === L.TCP_FASTOPEN_CONNECT;
    const isFresh = this.#state === CLOSED || (this.isListening && option.name === L.TCP_FASTOPEN);
    if (option.level === L.SOL_TCP && isFastOpen && !isFresh) throw new NetError('EINVAL', 'setsockopt');
    const isClamp = option.level === L.SOL_TCP && option.name === L.TCP_WINDOW_CLAMP;
    if (isClamp && value === 0 && this.#state !== CLOSED) throw new NetError('EINVAL', 'setsockopt');
    if (option.level === L.SOL_SOCKET && option.name === L.SO_BINDTODEVICE && value !== '') {
      const isKnown = this.#shared.stack.interfaces.some((iface) => iface.name === value);
      if (!isKnown) throw new NetError('ENODEV', 'setsockopt');
    }
  }

  readOption(option: Option): OptionValue | undefined {
    if (option.level === L.SOL_SOCKET && option.name === L.SO_MEMINFO) return this.#memory();
    return readTcpOption(this.#core, this.options, option);
  }

  /** SO_MEMINFO, in payload bytes: what a segment costs beside them is not counted here. */
  #memory(): number[] {
    const { settings } = this.#core;
    const received = this.#core.recvQueue();
    const sent = this.#core.sendQueue();
    return [received, 2 * settings.receiveBufferBytes, sent, 2 * settings.sendBufferBytes, 0, sent, 0, 0, 0];
  }
}
