/**
 * Calls that wait: each is tried again when a socket of its own changes, and given up at its deadline. Nothing is visited
 * that has not changed. @module
 */
import { NetError } from '../errors.ts';
import { type Timed, Timers } from '../iface/timers.ts';

/** Calls that wait on one socket, at most; one more fails with ENOBUFS. */
const CALLS_MAX = 1024;

/** One call, as both forms make it: the one that never waits and the one that may. */
export interface Plan<T> {
  /** The sockets whose changes may let it go on. */
  readonly sockets: readonly Waitable[];
  /** How long it may wait; 0: not at all. */
  readonly timeoutMs: number;
  /** Whether to try at every turn too: what it waits for is a device, and no socket tells. */
  readonly everyTurn?: boolean;
  /** What the call returns, or undefined: it has to wait. Throws where the call fails. */
  attempt(): T | undefined;
  /** What it returns, or throws, if it may not wait any longer. */
  late(): T;
}

/** What calls can wait for. */
export interface Waitable {
  /** Those that wait. Written by {@link Waits} only. */
  readonly calls: Set<Call>;
}

/** A call that waits. */
export interface Call {
  retry(): void;
  fail(error: unknown): void;
}

export class Waits {
  readonly #timers = new Timers();
  readonly #everyTurn = new Set<Call>();

  /** When the next call is to be given up; Infinity: none is. */
  get nextAt(): number {
    return this.#timers.nextAt;
  }

  /** Runs `plan` now, without waiting. */
  now<T>(plan: Plan<T>): T {
    return plan.attempt() ?? plan.late();
  }

  /** Runs `plan` until it returns, fails, or its time is over. */
  async until<T>(plan: Plan<T>, nowMs: number): Promise<T> {
    const result = plan.attempt();
    if (result !== undefined) return result;
    if (plan.timeoutMs <= 0) return plan.late();
    if (plan.sockets.some(({ calls }) => calls.size >= CALLS_MAX)) throw new NetError('ENOBUFS', 'wait');
    return new Promise<T>((resolve, reject) => {
      this.#enqueue(new Waiting(plan, resolve, reject, (call) => this.#dequeue(call)), nowMs + plan.timeoutMs);
    });
  }

  #enqueue<T>(call: Waiting<T>, at: number): void {
    for (const { calls } of call.plan.sockets) calls.add(call);
    if (call.plan.everyTurn) this.#everyTurn.add(call);
    if (at !== Number.POSITIVE_INFINITY) this.#timers.atMost(call, at);
  }

  #dequeue<T>(call: Waiting<T>): void {
    for (const { calls } of call.plan.sockets) calls.delete(call);
    this.#everyTurn.delete(call);
    this.#timers.cancel(call);
  }

  /** `socket` has changed: those that wait for it try again, first come first served. */
  serve(socket: Waitable): void {
    if (socket.calls.size > 0) for (const call of [...socket.calls]) call.retry();
  }

  /** `socket` is gone: those that wait for it fail. */
  interrupt(socket: Waitable, error: unknown): void {
    for (const call of [...socket.calls]) call.fail(error);
  }

  /** Tries those that wait for a device, and gives up those whose time is over. */
  turn(nowMs: number): void {
    for (const call of [...this.#everyTurn]) call.retry();
    this.#timers.expire(nowMs);
  }
}

class Waiting<T> implements Call, Timed {
  timerAt = 0;
  timerIndex = -1;
  readonly plan: Plan<T>;
  readonly #resolve: (value: T) => void;
  readonly #reject: (error: unknown) => void;
  readonly #leave: (call: Waiting<T>) => void;

  constructor(
    plan: Plan<T>,
    resolve: (value: T) => void,
    reject: (error: unknown) => void,
    leave: (call: Waiting<T>) => void,
  ) {
    this.plan = plan;
    this.#resolve = resolve;
    this.#reject = reject;
    this.#leave = leave;
  }

  retry(): void {
    this.#settle(() => this.plan.attempt());
  }

  expire(): void {
    this.#settle(() => this.plan.late());
  }

  fail(error: unknown): void {
    this.#leave(this);
    this.#reject(error);
  }

  #settle(result: () => T | undefined): void {
    try {
      const value = result();
      if (value === undefined) return;
      this.#leave(this);
      this.#resolve(value);
    } catch (error) {
      this.fail(error);
    }
  }
}
