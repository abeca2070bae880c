/**
 * The loop that resolvers, DHCP clients and the like expect, for a stack whose time is told by its polls: its timers stand
 * among the stack's own deadlines. @module
 */
import { NetError } from '../errors.ts';
import type { Timed, Timers } from '../iface/timers.ts';
import type { Clock } from '../sim/clock.ts';
import type { StackLoop } from '../sockets/loop.ts';
import type { Stack } from '../stack.ts';
import type { IpAddress } from '../wire/address.ts';

class Timer implements Timed {
  timerAt = 0;
  timerIndex = -1;
  readonly #fire: () => void;

  constructor(fire: () => void) {
    this.#fire = fire;
  }

  expire(): void {
    this.#fire();
  }
}

class PolledClock implements Clock {
  readonly #now: () => number;
  readonly #timers: Timers;
  readonly #onFired: () => void;
  readonly #set = new Map<number, Timer>();
  #nextHandle = 1;

  constructor(now: () => number, timers: Timers, onFired: () => void) {
    this.#now = now;
    this.#timers = timers;
    this.#onFired = onFired;
  }

  now(): number {
    return this.#now();
  }

  setTimer(atMs: number, fn: () => void): number {
    const handle = this.#nextHandle++;
    const timer = new Timer(() => {
      this.#set.delete(handle);
      fn();
      this.#onFired();
    });
    this.#set.set(handle, timer);
    // A millisecond at least: what fires in a poll must not set a deadline that is over already.
    this.#timers.atMost(timer, Math.max(atMs, this.#now() + 1));
    return handle;
  }

  clearTimer(handle: number): void {
    const timer = this.#set.get(handle);
    if (timer === undefined) return;
    this.#set.delete(handle);
    this.#timers.cancel(timer);
  }
}

export class PolledLoop implements StackLoop {
  readonly stack: Stack;
  readonly clock: Clock;
  readonly closers = new Set<() => void>();
  isClosed = false;
  readonly #onWork: () => void;

  /** @param now - the time the stack was last told @param onWork - called when there is something to do */
  constructor(stack: Stack, now: () => number, onWork: () => void) {
    this.stack = stack;
    this.#onWork = onWork;
    this.clock = new PolledClock(now, stack.context.timers, onWork);
  }

  assertOpen(syscall: string): void {
    if (this.isClosed) throw new NetError('ENETDOWN', syscall, { detail: 'the stack is closed' });
  }

  wake(): void {
    this.#onWork();
  }

  touch(): void {
    this.stack.setNow(this.clock.now());
  }

  hold(): void {
    // Clients hold their processes themselves.
  }

  parseAddress(text: string): IpAddress | null {
    return this.stack.ip.parse(text);
  }

  formatAddress(address: IpAddress): string {
    return this.stack.ip.format(address);
  }

  block(syscall: string): never {
    throw new NetError('EDEADLK', syscall, { detail: 'the stack runs on this thread' });
  }

  close(): void {
    this.isClosed = true;
    for (const closer of [...this.closers]) closer();
  }
}
