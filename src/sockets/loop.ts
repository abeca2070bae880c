/**
 * The loop that drives a stack: polls it when a device or a socket has something, or a deadline has come, and tells the
 * sockets what changed. @module
 */
import { NetError } from '../errors.ts';
import type { Clock } from '../sim/clock.ts';
import type { Stack } from '../stack.ts';
import type { IpAddress } from '../wire/address.ts';
import type { SocketLoop } from './backend.ts';
import { holdProcess, macrotask, realClock } from './real-clock.ts';

/** A socket of this ring, which stands as `owner` on a socket of the core. */
export interface Notified {
  /** Something changed; see the event constants of the socket. */
  notify(events: number): void;
}

/** A loop with the stack that it drives; or that somebody else drives by `poll`, behind a channel. */
export interface StackLoop extends SocketLoop {
  readonly stack: Stack;
  /** @throws NetError ECANCELED once it is closed */
  assertOpen(syscall: string): void;
}

interface Reporting {
  readonly owner: unknown;
  takeEvents(): number;
}

/**
 * Polls made from microtasks in a row, over all hosts of the thread. Two hosts on a pipe can keep each other busy for
 * ever; after this many the loop lets the engine's other work have its turn.
 */
const MICROTASKS_MAX = 64;
let microtasks = 0;
/** Node's `queueMicrotask` makes an AsyncResource each time and costs three times as much as a reaction of this (measured). */
const RESOLVED = Promise.resolve();

export class Loop implements StackLoop {
  readonly stack: Stack;
  readonly clock: Clock;
  readonly #yields: boolean;
  /** What the host must end when it closes: each is called once, and takes itself out when it ends before. */
  readonly closers = new Set<() => void>();
  #isScheduled = false;
  #isRunning = false;
  #timer = 0;
  #timerAt = Number.POSITIVE_INFINITY;
  #isClosed = false;
  readonly #run = (): void => {
    try {
      this.#turn();
    } catch (error) {
      // What a handler of the user throws is an uncaught exception, and no rejection of ours.
      queueMicrotask(() => {
        throw error;
      });
    }
  };
  readonly #onTimer = (): void => {
    this.#timer = 0;
    this.#timerAt = Number.POSITIVE_INFINITY;
    this.#turn();
  };

  constructor(stack: Stack, clock: Clock) {
    this.stack = stack;
    this.clock = clock;
    // In virtual time all that can happen at one moment happens before time moves: nothing yields.
    this.#yields = clock === realClock;
    stack.onWake = () => this.wake();
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** @throws NetError ECANCELED once the host is closed. */
  assertOpen(syscall: string): void {
    if (this.#isClosed) throw new NetError('ECANCELED', syscall, { detail: 'the host is closed' });
  }

  /** Has the stack polled soon: after the current synchronous work. */
  wake(): void {
    if (this.#isScheduled || this.#isClosed) return;
    this.#isScheduled = true;
    if (this.#yields && ++microtasks > MICROTASKS_MAX) {
      microtasks = 0;
      macrotask(this.#run);
    } else {
      RESOLVED.then(this.#run);
    }
  }

  /** Tells the stack the time, for what a socket sends right now and not in a poll. */
  touch(): void {
    this.stack.setNow(this.clock.now());
  }

  /** Counts those who wait for something of this host: they keep the process alive. */
  hold(change: 1 | -1): void {
    if (this.#yields) holdProcess(change);
  }

  parseAddress(text: string): IpAddress | null {
    return this.stack.ip.parse(text);
  }

  formatAddress(address: IpAddress): string {
    return this.stack.ip.format(address);
  }

  /** The stack needs this thread: a call that stops it could never return. @throws NetError EDEADLK */
  block(syscall: string): never {
    const detail = 'the stack runs on this thread, which must not wait for it: use the call without Blocking';
    throw new NetError('EDEADLK', syscall, { detail });
  }

  close(): void {
    this.#isClosed = true;
    for (const closer of [...this.closers]) closer();
    if (this.#timer !== 0) this.clock.clearTimer(this.#timer);
    this.#timer = 0;
  }

  /** Tells each changed socket what changed. */
  notify(): void {
    const { stack } = this;
    for (let socket = stack.nextChanged(); socket !== null; socket = stack.nextChanged()) {
      const { owner } = socket as unknown as Reporting;
      const events = (socket as unknown as Reporting).takeEvents();
      if (owner !== null) (owner as Notified).notify(events);
    }
  }

  #turn(): void {
    this.#isScheduled = false;
    if (this.#isClosed || this.#isRunning) return;
    this.#isRunning = true;
    const { stack } = this;
    const more = stack.poll(this.clock.now());
    this.notify();
    this.#isRunning = false;
    if (this.#isClosed) return;
    if (more || stack.tcp.hasReady) this.#again(more);
    this.#arm();
  }

  /** What the sockets queued in return leaves in the next turn, unless the device has no room and will call. */
  #again(more: boolean): void {
    if (more || this.stack.pollAt() <= this.stack.context.now) this.wake();
  }

  /** One timer; it stays when the next deadline is later than its own, and then fires early, which is harmless. */
  #arm(): void {
    const at = this.stack.pollAt();
    if (at >= this.#timerAt || at === Number.POSITIVE_INFINITY || this.#isScheduled) return;
    if (this.#timer !== 0) this.clock.clearTimer(this.#timer);
    this.#timerAt = at;
    this.#timer = this.clock.setTimer(at, this.#onTimer);
  }
}
