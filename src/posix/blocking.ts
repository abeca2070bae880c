/**
 * The blocking form of the calls: same names and arguments as {@link Posix}, each a promise that settles when the C call
 * would return; on a descriptor with O_NONBLOCK at once. @module
 */
import type { SockAddr } from './address.ts';
import { type EpollEvent, epollPlan } from './epoll.ts';
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
import { acceptPlan, closePlan, connectPlan, type PollFd, pollPlan, receivePlan, sendPlan } from './plans.ts';
import type { Accepted, Posix } from './posix.ts';
import type { Plan } from './waits.ts';

export class Blocking {
  readonly #posix: Posix;

  /** Made by {@link Posix}. */
  constructor(posix: Posix) {
    this.#posix = posix;
  }

  /** Timeouts count from the stack's time: `stack.setNow()` tells it, where the last poll is long ago. */
  #until<T>(plan: Plan<T>): Promise<T> {
    return this.#posix.waits.until(plan, this.#posix.stack.context.now);
  }

  async accept(fd: number, flags = 0): Promise<Accepted> {
    const plan = acceptPlan(this.#posix.descriptors.get(fd, 'accept'));
    return this.#posix.opened(await this.#until(plan), flags);
  }

  /** SO_SNDTIMEO ends the wait with EINPROGRESS, and the connection goes on. */
  async connect(fd: number, address: SockAddr): Promise<0> {
    return this.#until(connectPlan(this.#posix.descriptors.get(fd, 'connect'), address));
  }

  read(fd: number, buffer: Uint8Array): Promise<number> {
    return this.readv(fd, [buffer]);
  }

  async readv(fd: number, buffers: readonly Uint8Array[]): Promise<number> {
    this.#posix.descriptors.get(fd, 'read');
    if (buffers.every(({ length }) => length === 0)) return 0;
    return (await this.#receive(fd, buffers, 0)).count;
  }

  async recv(fd: number, buffer: Uint8Array, flags = 0): Promise<number> {
    return (await this.#receive(fd, [buffer], flags)).count;
  }

  async recvfrom(fd: number, buffer: Uint8Array, flags = 0): Promise<Received> {
    return received(await this.#receive(fd, [buffer], flags));
  }

  async recvmsg(fd: number, buffers: readonly Uint8Array[], flags = 0): Promise<ReceivedMessage> {
    return receivedMessage(await this.#receive(fd, buffers, flags));
  }

  async #receive(fd: number, buffers: readonly Uint8Array[], flags: number): Promise<Reading> {
    const reading = new Reading(buffers, flags);
    const plan = receivePlan(this.#posix.descriptors.get(fd, 'recv'), reading);
    reading.isBlocking = plan.timeoutMs > 0;
    return this.#until(plan);
  }

  write(fd: number, bytes: Uint8Array): Promise<number> {
    return this.writev(fd, [bytes]);
  }

  writev(fd: number, buffers: readonly Uint8Array[]): Promise<number> {
    return this.sendmsg(fd, { buffers });
  }

  send(fd: number, bytes: Uint8Array, flags = 0): Promise<number> {
    return this.sendmsg(fd, { buffers: [bytes] }, flags);
  }

  sendto(fd: number, bytes: Uint8Array, flags: number, address: SockAddr | null): Promise<number> {
    return this.sendmsg(fd, { buffers: [bytes], address }, flags);
  }

  /** All bytes are taken before it returns, unless SO_SNDTIMEO or the end of the connection comes between. */
  async sendmsg(fd: number, message: Message, flags = 0): Promise<number> {
    return this.#until(sendPlan(this.#posix.descriptors.get(fd, 'send'), writingOf(message, flags)));
  }

  /** Waits as SO_LINGER says; the descriptor is free at once. */
  async close(fd: number): Promise<0> {
    const socket = this.#posix.closing(fd);
    return socket === null ? 0 : this.#until(closePlan(socket));
  }

  /** @param timeoutMs - negative: for ever */
  async poll(fds: readonly PollFd[], timeoutMs = -1): Promise<number> {
    return this.#until(pollPlan(fds, timeoutMs, (fd) => this.#posix.pollable(fd)));
  }

  /** @param timeoutMs - negative: for ever */
  async epollWait(epfd: number, most: number, timeoutMs = -1): Promise<EpollEvent[]> {
    return this.#until(epollPlan(this.#posix.epollSet(epfd, 'epoll_wait', most), most, timeoutMs));
  }

  // Calls that never wait.

  async epollCreate(flags = 0): Promise<number> {
    return this.#posix.epollCreate(flags);
  }

  async epollCtl(epfd: number, operation: number, fd: number, event?: EpollEvent): Promise<0> {
    return this.#posix.epollCtl(epfd, operation, fd, event);
  }

  async socket(domain: number, type: number, protocol = 0): Promise<number> {
    return this.#posix.socket(domain, type, protocol);
  }

  async bind(fd: number, address: SockAddr): Promise<0> {
    return this.#posix.bind(fd, address);
  }

  async listen(fd: number, backlog: number): Promise<0> {
    return this.#posix.listen(fd, backlog);
  }

  async shutdown(fd: number, how: number): Promise<0> {
    return this.#posix.shutdown(fd, how);
  }

  async dup(fd: number): Promise<number> {
    return this.#posix.dup(fd);
  }

  async fcntl(fd: number, command: number, argument = 0): Promise<number> {
    return this.#posix.fcntl(fd, command, argument);
  }

  async ioctl(fd: number, request: number, argument = 0): Promise<number> {
    return this.#posix.ioctl(fd, request, argument);
  }

  async sockatmark(fd: number): Promise<number> {
    return this.#posix.sockatmark(fd);
  }

  async getsockopt(fd: number, level: number, name: number): Promise<OptionValue> {
    return this.#posix.getsockopt(fd, level, name);
  }

  async setsockopt(fd: number, level: number, name: number, value: OptionInput): Promise<0> {
    return this.#posix.setsockopt(fd, level, name, value);
  }

  async getsockname(fd: number): Promise<SockAddr> {
    return this.#posix.getsockname(fd);
  }

  async getpeername(fd: number): Promise<SockAddr> {
    return this.#posix.getpeername(fd);
  }
}
