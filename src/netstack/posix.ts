/**
 * `ethertype/posix` over a channel: the same calls and results, each of which stops the thread until the C call would
 * return. Descriptors are the client's own; the calls run beside the stack. @module
 */
import { LINUX } from '../posix/constants.ts';
import type { Accepted, EpollEvent, OptionInput, OptionValue, PollFd, Received, SockAddr } from '../posix/index.ts';
import type { HasChannel } from './channel.ts';

/** What {@link ChannelPosix.poll} gives back beside the count. */
interface Polled {
  readonly count: number;
  readonly entries: readonly PollFd[];
}

/**
 * The calls of one client, blocking.
 * @throws NetError as `Posix`; ENETDOWN once the stack is gone, EDEADLK on the stack's own thread
 * @example
 * const posix = new ChannelPosix(channel)
 * const fd = posix.socket(AF_INET, SOCK_STREAM)
 * posix.connect(fd, { family: AF_INET, address: '10.0.0.1', port: 80 })
 */
export class ChannelPosix {
  readonly #of: HasChannel;

  constructor(of: HasChannel) {
    this.#of = of;
  }

  #call(call: string, args: readonly unknown[], data?: Uint8Array): { result: unknown; data?: Uint8Array | undefined } {
    return this.#of.commandChannel().requestBlocking({ kind: 'posix', call, args, data });
  }

  socket(domain: number, type: number, protocol = 0): number {
    return this.#call('socket', [domain, type, protocol]).result as number;
  }

  bind(fd: number, address: SockAddr): 0 {
    return this.#call('bind', [fd, address]).result as 0;
  }

  listen(fd: number, backlog: number): 0 {
    return this.#call('listen', [fd, backlog]).result as 0;
  }

  accept(fd: number, flags = 0): Accepted {
    return this.#call('accept', [fd, flags]).result as Accepted;
  }

  connect(fd: number, address: SockAddr): 0 {
    return this.#call('connect', [fd, address]).result as 0;
  }

  /** At most 64 KiB at once. */
  read(fd: number, buffer: Uint8Array): number {
    return this.#fill('read', buffer, [fd, buffer.length]) as number;
  }

  /** At most 64 KiB at once. */
  recv(fd: number, buffer: Uint8Array, flags = 0): number {
    return this.#fill('recv', buffer, [fd, buffer.length, flags]) as number;
  }

  recvfrom(fd: number, buffer: Uint8Array, flags = 0): Received {
    return this.#fill('recvfrom', buffer, [fd, buffer.length, flags]) as Received;
  }

  #fill(call: string, buffer: Uint8Array, args: readonly unknown[]): unknown {
    const { result, data } = this.#call(call, args);
    if (data !== undefined) buffer.set(data);
    return result;
  }

  write(fd: number, bytes: Uint8Array): number {
    return this.#pour(bytes, (part) => this.#call('write', [fd, 0], part).result as number);
  }

  send(fd: number, bytes: Uint8Array, flags = 0): number {
    return this.#pour(bytes, (part) => this.#call('send', [fd, 0, flags], part).result as number);
  }

  sendto(fd: number, bytes: Uint8Array, flags: number, address: SockAddr | null): number {
    return this.#call('sendto', [fd, 0, flags, address], bytes).result as number;
  }

  /** More than one command carries goes in several; of datagrams that would be too long anyway. */
  #pour(bytes: Uint8Array, put: (part: Uint8Array) => number): number {
    if (bytes.length <= PART_BYTES) return put(bytes);
    let count = 0;
    while (count < bytes.length) {
      const part = bytes.subarray(count, count + PART_BYTES);
      const taken = put(part);
      count += taken;
      if (taken < part.length) break;
    }
    return count;
  }

  shutdown(fd: number, how: number): 0 {
    return this.#call('shutdown', [fd, how]).result as 0;
  }

  close(fd: number): 0 {
    return this.#call('close', [fd]).result as 0;
  }

  dup(fd: number): number {
    return this.#call('dup', [fd]).result as number;
  }

  /** `revents` of the entries is written. */
  poll(fds: readonly PollFd[], timeoutMs = -1): number {
    const { count, entries } = this.#call('poll', [fds, finite(timeoutMs)]).result as Polled;
    for (const [i, entry] of entries.entries()) fds[i]!.revents = entry.revents;
    return count;
  }

  epollCreate(flags = 0): number {
    return this.#call('epollCreate', [flags]).result as number;
  }

  epollCtl(epfd: number, operation: number, fd: number, event?: EpollEvent): 0 {
    return this.#call('epollCtl', [epfd, operation, fd, event]).result as 0;
  }

  epollWait(epfd: number, most: number, timeoutMs = -1): EpollEvent[] {
    return this.#call('epollWait', [epfd, most, finite(timeoutMs)]).result as EpollEvent[];
  }

  fcntl(fd: number, command: number, argument = 0): number {
    return this.#call('fcntl', [fd, command, argument]).result as number;
  }

  ioctl(fd: number, request: number, argument = 0): number {
    return this.#call('ioctl', [fd, request, argument]).result as number;
  }

  sockatmark(fd: number): number {
    return this.ioctl(fd, LINUX.SIOCATMARK);
  }

  getsockopt(fd: number, level: number, name: number): OptionValue {
    return this.#call('getsockopt', [fd, level, name]).result as OptionValue;
  }

  setsockopt(fd: number, level: number, name: number, value: OptionInput): 0 {
    const isBytes = value instanceof Uint8Array;
    return this.#call('setsockopt', [fd, level, name, isBytes ? 0 : value], isBytes ? value : undefined).result as 0;
  }

  getsockname(fd: number): SockAddr {
    return this.#call('getsockname', [fd]).result as SockAddr;
  }

  getpeername(fd: number): SockAddr {
    return this.#call('getpeername', [fd]).result as SockAddr;
  }
}

/** For ever is negative in C, and Infinity cannot be posted everywhere. */
const finite = (timeoutMs: number): number => (timeoutMs === Number.POSITIVE_INFINITY ? -1 : timeoutMs);

/** Bytes of one command; a longer datagram is too long for UDP as well. */
const PART_BYTES = 1 << 16;
