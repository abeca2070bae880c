/**
 * Descriptors over a stack: the socket calls with Linux's results and errors. It has no clock and no loop of its own;
 * who drives the stack calls {@link Posix.turn} after each poll. @module
 */
import { NetError } from '../errors.ts';
import type { Changed } from '../iface/context.ts';
import type { Stack } from '../stack.ts';
import type { TcpSettings } from '../tcp/settings.ts';
import type { TcpSocket } from '../tcp/socket.ts';
import type { SockAddr } from './address.ts';
import { Blocking } from './blocking.ts';
import { LINUX as L } from './constants.ts';
import { DatagramSocket } from './datagram.ts';
import { Descriptors } from './descriptors.ts';
import { type EpollEvent, EpollSet, epollPlan } from './epoll.ts';
import {
  type Message,
  Reading,
  type Received,
  type ReceivedMessage,
  received,
  receivedMessage,
  writingOf,
} from './message.ts';
import type { OptionInput, OptionValue } from './options.ts';
import { PingSocket } from './ping.ts';
import { acceptPlan, connectPlan, type PollFd, pollPlan, receivePlan, sendPlan } from './plans.ts';
import { Ports } from './ports.ts';
import { RawSocket } from './raw.ts';
import { getOption, type PosixSocket, setOption } from './socket.ts';
import { type Shared, StreamSocket } from './stream.ts';
import { Waits } from './waits.ts';

export interface PosixOptions {
  /** What TCP sockets start with other than the stack's. */
  readonly settings?: Partial<TcpSettings> | undefined;
  /** Unix time in ms when the stack's `now` is 0, for SO_TIMESTAMP; default 0, so that simulations are repeatable. */
  readonly epochMs?: number | undefined;
  /** The lowest descriptor given. Default 3. */
  readonly firstDescriptor?: number | undefined;
}

/** What accept() gives. */
export interface Accepted {
  readonly fd: number;
  readonly address: SockAddr;
}

/**
 * The socket calls of one process. No call waits: where the C call would have to, it throws EAGAIN (a connect
 * EINPROGRESS), whether the descriptor blocks or not; {@link blocking} has the same calls as promises that wait. What is
 * sent leaves at the next `stack.poll()`.
 * @example
 * const posix = new Posix(stack);
 * const fd = posix.socket(AF_INET, SOCK_STREAM, 0);
 * const connected = posix.blocking.connect(fd, { family: AF_INET, address: '10.0.0.1', port: 80 });
 * stack.poll(now); posix.turn(now); // over and over
 */
export class Posix {
  readonly stack: Stack;
  /** The same calls, each a promise that settles when the C call would return. */
  readonly blocking: Blocking;
  /** The table of descriptors. */
  readonly descriptors: Descriptors;
  /** Those that wait. */
  readonly waits = new Waits();
  readonly #shared: Shared;

  constructor(stack: Stack, options: PosixOptions = {}) {
    this.stack = stack;
    this.descriptors = new Descriptors(options.firstDescriptor ?? 3);
    this.#shared = { stack, ports: new Ports(stack), settings: options.settings, epochMs: options.epochMs ?? 0 };
    this.blocking = new Blocking(this);
  }

  // What drives it.

  /**
   * Goes on with calls that wait: to be called after every `stack.poll()`. Takes all of `stack.nextChanged()`.
   * @param nowMs - the time given to `poll`
   */
  turn(nowMs: number): void {
    const { stack } = this;
    for (let changed = stack.nextChanged(); changed !== null; changed = stack.nextChanged()) this.notify(changed);
    this.waits.turn(nowMs);
  }

  /**
   * The same for one changed socket, where others share the stack and `nextChanged()` is taken elsewhere; `turn` must
   * still be called, for deadlines. Returns whether the socket is one of this layer.
   */
  notify(changed: Changed): boolean {
    const { owner } = changed as { owner?: unknown };
    if (!isSocket(owner)) return false;
    this.waits.serve(owner);
    return true;
  }

  /** When `turn` has a deadline to see to: ms of the stack's clock, Infinity: none. The stack has its own `pollAt()`. */
  nextAt(): number {
    return this.waits.nextAt;
  }

  /** Closes every descriptor. */
  closeAll(): void {
    for (const fd of this.descriptors.all()) this.close(fd);
  }

  /** The core's socket behind a TCP descriptor, for tools that look inside; null for others. @throws NetError EBADF */
  tcpSocket(fd: number): TcpSocket | null {
    const socket = this.#socket(fd, 'socket');
    return socket instanceof StreamSocket ? socket.core : null;
  }

  #socket(fd: number, syscall: string): PosixSocket {
    return this.descriptors.get(fd, syscall).socket;
  }

  // The calls.

  /** @throws NetError EAFNOSUPPORT, ESOCKTNOSUPPORT, EPROTONOSUPPORT, EINVAL, EMFILE */
  socket(domain: number, type: number, protocol = 0): number {
    const kind = type & ~(L.SOCK_NONBLOCK | L.SOCK_CLOEXEC);
    const socket = makeSocket(this.#shared, domain, kind, protocol);
    return this.descriptors.open(socket, (type & L.SOCK_NONBLOCK) !== 0, (type & L.SOCK_CLOEXEC) !== 0);
  }

  /** @throws NetError EBADF, EINVAL, EADDRINUSE, EADDRNOTAVAIL, EAFNOSUPPORT */
  bind(fd: number, address: SockAddr): 0 {
    this.#socket(fd, 'bind').bind(address);
    return 0;
  }

  /** @throws NetError EBADF, EINVAL, EADDRINUSE, EOPNOTSUPP */
  listen(fd: number, backlog: number): 0 {
    this.#socket(fd, 'listen').listen(backlog);
    return 0;
  }

  /** @param flags - SOCK_NONBLOCK, SOCK_CLOEXEC  @throws NetError EBADF, EAGAIN, EINVAL, EOPNOTSUPP, EMFILE */
  accept(fd: number, flags = 0): Accepted {
    return this.opened(this.waits.now(acceptPlan(this.descriptors.get(fd, 'accept'))), flags);
  }

  /** Gives an accepted socket its descriptor. */
  opened(socket: StreamSocket, flags: number): Accepted {
    try {
      const fd = this.descriptors.open(socket, (flags & L.SOCK_NONBLOCK) !== 0, (flags & L.SOCK_CLOEXEC) !== 0);
      return { fd, address: socket.remote };
    } catch (error) {
      socket.close(); // nobody could ever name it
      throw error;
    }
  }

  /** @throws NetError EINPROGRESS, EALREADY, EISCONN, ECONNREFUSED, ENETUNREACH, EADDRNOTAVAIL, EAFNOSUPPORT, ... */
  connect(fd: number, address: SockAddr): 0 {
    return this.waits.now(connectPlan(this.descriptors.get(fd, 'connect'), address));
  }

  /** @throws NetError EBADF, EAGAIN, ENOTCONN, ECONNRESET and what else ended the connection */
  read(fd: number, buffer: Uint8Array): number {
    return this.readv(fd, [buffer]);
  }

  readv(fd: number, buffers: readonly Uint8Array[]): number {
    const reading = new Reading(buffers, 0);
    const description = this.descriptors.get(fd, 'read');
    return reading.room === 0 ? 0 : this.waits.now(receivePlan(description, reading)).count;
  }

  recv(fd: number, buffer: Uint8Array, flags = 0): number {
    return this.#receive(fd, [buffer], flags).count;
  }

  recvfrom(fd: number, buffer: Uint8Array, flags = 0): Received {
    return received(this.#receive(fd, [buffer], flags));
  }

  recvmsg(fd: number, buffers: readonly Uint8Array[], flags = 0): ReceivedMessage {
    return receivedMessage(this.#receive(fd, buffers, flags));
  }

  #receive(fd: number, buffers: readonly Uint8Array[], flags: number): Reading {
    return this.waits.now(receivePlan(this.descriptors.get(fd, 'recv'), new Reading(buffers, flags)));
  }

  /** @throws NetError EBADF, EAGAIN, EPIPE, ECONNRESET, EDESTADDRREQ, EMSGSIZE, ... */
  write(fd: number, bytes: Uint8Array): number {
    return this.writev(fd, [bytes]);
  }

  writev(fd: number, buffers: readonly Uint8Array[]): number {
    return this.sendmsg(fd, { buffers });
  }

  send(fd: number, bytes: Uint8Array, flags = 0): number {
    return this.sendmsg(fd, { buffers: [bytes] }, flags);
  }

  sendto(fd: number, bytes: Uint8Array, flags: number, address: SockAddr | null): number {
    return this.sendmsg(fd, { buffers: [bytes], address }, flags);
  }

  sendmsg(fd: number, message: Message, flags = 0): number {
    return this.waits.now(sendPlan(this.descriptors.get(fd, 'send'), writingOf(message, flags)));
  }

  /** @param how - SHUT_RD, SHUT_WR, SHUT_RDWR  @throws NetError EBADF, EINVAL, ENOTCONN */
  shutdown(fd: number, how: number): 0 {
    const socket = this.#socket(fd, 'shutdown');
    if (how !== L.SHUT_RD && how !== L.SHUT_WR && how !== L.SHUT_RDWR) throw new NetError('EINVAL', 'shutdown');
    try {
      socket.shutdown(how + 1);
    } finally {
      this.waits.serve(socket);
    }
    return 0;
  }

  /** Frees the descriptor; what was written is still sent, whatever SO_LINGER says, unless it says to reset. */
  close(fd: number): 0 {
    const closed = this.closing(fd);
    closed?.close();
    return 0;
  }

  /** Frees the descriptor; the socket is returned if that was its last, for its caller to close. */
  closing(fd: number): PosixSocket | null {
    const description = this.descriptors.close(fd);
    if (description === null) return null;
    this.waits.interrupt(description.socket, new NetError('EBADF', 'close', { detail: 'closed while a call waited' }));
    return description.socket;
  }

  /** Another descriptor for the same socket. @throws NetError EBADF, EMFILE */
  dup(fd: number): number {
    return this.descriptors.dup(fd, 0);
  }

  /** F_GETFL, F_SETFL, F_GETFD, F_SETFD, F_DUPFD, F_DUPFD_CLOEXEC. @throws NetError EBADF, EINVAL: another command */
  fcntl(fd: number, command: number, argument = 0): number {
    const { descriptors } = this;
    const description = descriptors.get(fd, 'fcntl');
    switch (command) {
      case L.F_GETFL:
        return L.O_RDWR | (description.isNonBlocking ? L.O_NONBLOCK : 0);
      case L.F_SETFL:
        description.isNonBlocking = (argument & L.O_NONBLOCK) !== 0;
        return 0;
      case L.F_GETFD:
        return descriptors.closesOnExec(fd) ? L.FD_CLOEXEC : 0;
      case L.F_SETFD:
        descriptors.setClosesOnExec(fd, (argument & L.FD_CLOEXEC) !== 0);
        return 0;
      case L.F_DUPFD:
      case L.F_DUPFD_CLOEXEC:
        return descriptors.dup(fd, argument, command === L.F_DUPFD_CLOEXEC);
      default:
        throw new NetError('EINVAL', 'fcntl');
    }
  }

  /**
   * FIONREAD (SIOCINQ), SIOCOUTQ, SIOCOUTQNSD, SIOCATMARK: returns what C has stored through its pointer. FIONBIO takes
   * `argument` and returns 0.
   * @throws NetError EBADF, EINVAL: a listener; ENOTTY: another request
   */
  ioctl(fd: number, request: number, argument = 0): number {
    const description = this.descriptors.get(fd, 'ioctl');
    if (request !== L.FIONBIO) return description.socket.queued(request);
    description.isNonBlocking = argument !== 0;
    return 0;
  }

  /** Whether the next byte to read is the urgent one: 1 or 0. @throws NetError EBADF, ENOTTY: no stream */
  sockatmark(fd: number): number {
    return this.ioctl(fd, L.SIOCATMARK);
  }

  /**
   * Returns the value: a number, or a structure where the option has one (SO_LINGER, SO_RCVTIMEO, TCP_INFO, ...).
   * @throws NetError EBADF, ENOPROTOOPT, EOPNOTSUPP: a level that the socket has not
   */
  getsockopt(fd: number, level: number, name: number): OptionValue {
    return getOption(this.#socket(fd, 'getsockopt'), level, name);
  }

  /** @throws NetError EBADF, ENOPROTOOPT, EINVAL, EDOM, EPERM, ENOENT, ENODEV */
  setsockopt(fd: number, level: number, name: number, value: OptionInput): 0 {
    const socket = this.#socket(fd, 'setsockopt');
    setOption(socket, level, name, value);
    this.waits.serve(socket); // SO_RCVLOWAT may let a read go on
    return 0;
  }

  getsockname(fd: number): SockAddr {
    return this.#socket(fd, 'getsockname').name();
  }

  /** @throws NetError EBADF, ENOTCONN */
  getpeername(fd: number): SockAddr {
    return this.#socket(fd, 'getpeername').peer();
  }

  /** Sets `revents` of each entry and returns how many are not 0. @param _timeoutMs - for the blocking twin only */
  poll(fds: readonly PollFd[], _timeoutMs = 0): number {
    return pollPlan(fds, 0, (fd) => this.pollable(fd)).late();
  }

  /** A set for {@link epollWait}. @param flags - EPOLL_CLOEXEC  @throws NetError EINVAL, EMFILE */
  epollCreate(flags = 0): number {
    if ((flags & ~L.EPOLL_CLOEXEC) !== 0) throw new NetError('EINVAL', 'epoll_create1');
    return this.descriptors.open(new EpollSet((set) => this.waits.serve(set)), false, flags !== 0);
  }

  /** @param event - ignored by EPOLL_CTL_DEL  @throws NetError EBADF, EEXIST, ENOENT, EINVAL, ENOSPC */
  epollCtl(epfd: number, operation: number, fd: number, event: EpollEvent = { events: 0, data: fd }): 0 {
    const set = this.epollSet(epfd, 'epoll_ctl');
    set.control(operation, fd, this.descriptors.get(fd, 'epoll_ctl'), event);
    return 0;
  }

  /** What is ready of a set, `most` events at most. @param _timeoutMs - for the blocking twin only */
  epollWait(epfd: number, most: number, _timeoutMs = 0): EpollEvent[] {
    return this.waits.now(epollPlan(this.epollSet(epfd, 'epoll_wait', most), most, 0));
  }

  /** @throws NetError EBADF, EINVAL: no such set, or no room for events */
  epollSet(epfd: number, syscall: string, most = 1): EpollSet {
    const socket = this.#socket(epfd, syscall);
    if (!(socket instanceof EpollSet) || most <= 0) throw new NetError('EINVAL', syscall);
    return socket;
  }

  /** The socket that poll() looks at, or null: POLLNVAL. */
  pollable(fd: number): PosixSocket | null {
    return this.descriptors.has(fd) ? this.#socket(fd, 'poll') : null;
  }
}

const isSocket = (owner: unknown): owner is PosixSocket =>
  owner instanceof StreamSocket ||
  owner instanceof DatagramSocket ||
  owner instanceof PingSocket ||
  owner instanceof RawSocket;

/** Linux's order of checks: the range of the numbers, the family, the type, the protocol. */
function makeSocket(shared: Shared, domain: number, type: number, protocol: number): PosixSocket {
  const isIp = domain === L.AF_INET || domain === L.AF_INET6;
  if (!isIp) throw new NetError('EAFNOSUPPORT', 'socket');
  if (type < 0 || type > 10 || protocol < 0 || protocol > 262) throw new NetError('EINVAL', 'socket');
  if (type === L.SOCK_STREAM && (protocol === 0 || protocol === L.IPPROTO_TCP)) return new StreamSocket(shared, domain);
  if (type === L.SOCK_DGRAM) {
    if (protocol === 0 || protocol === L.IPPROTO_UDP) return new DatagramSocket(shared, domain);
    const ping = domain === L.AF_INET ? L.IPPROTO_ICMP : L.IPPROTO_ICMPV6;
    if (protocol === ping) return new PingSocket(shared, domain);
  }
  // Without a protocol a raw socket would get nothing: IPPROTO_IP is none.
  if (type === L.SOCK_RAW && protocol > 0 && protocol <= 255) return new RawSocket(shared, domain, protocol);
  const isKnown = type === L.SOCK_STREAM || type === L.SOCK_DGRAM || type === L.SOCK_RAW;
  throw new NetError(isKnown ? 'EPROTONOSUPPORT' : 'ESOCKTNOSUPPORT', 'socket');
}
