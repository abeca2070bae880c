/** Those who wait for one thing of a socket, first come first served; cancelled ones leave without a trace. @module */
import type { SocketLoop } from './backend.ts';

/** What every awaiting call takes. */
export interface WaitOptions {
  /** Cancels the wait; the promise rejects with the signal's reason, and nothing that arrives is lost. */
  readonly signal?: AbortSignal | undefined;
}

interface Waiter<T> {
  resolve(value: T): void;
  reject(error: unknown): void;
  /** Takes the listener off the signal; null: there is none. */
  readonly settle: (() => void) | null;
  readonly buffer: Uint8Array | null;
}

export class Waiters<T> {
  readonly #loop: SocketLoop;
  readonly #waiting: Waiter<T>[] = [];

  constructor(loop: SocketLoop) {
    this.#loop = loop;
  }

  get isEmpty(): boolean {
    return this.#waiting.length === 0;
  }

  /** The buffer that the first in line brought, or null. */
  get buffer(): Uint8Array | null {
    return this.#waiting[0]?.buffer ?? null;
  }

  /** Waits for {@link resolve} or {@link reject}. */
  wait(options: WaitOptions = {}, buffer: Uint8Array | null = null): Promise<T> {
    const { signal } = options;
    if (signal?.aborted) return Promise.reject(signal.reason);
    this.#loop.hold(1);
    return new Promise<T>((resolve, reject) => {
      if (signal === undefined) this.#waiting.push({ resolve, reject, settle: null, buffer });
      else this.#waitUntilAborted(signal, resolve, reject, buffer);
    });
  }

  #waitUntilAborted(
    signal: AbortSignal,
    resolve: Waiter<T>['resolve'],
    reject: Waiter<T>['reject'],
    buffer: Uint8Array | null,
  ): void {
    const onAbort = (): void => {
      this.#waiting.splice(this.#waiting.indexOf(waiter), 1);
      this.#finish(waiter);
      reject(signal.reason);
    };
    const settle = (): void => signal.removeEventListener('abort', onAbort);
    const waiter: Waiter<T> = { resolve, reject, settle, buffer };
    signal.addEventListener('abort', onAbort, { once: true });
    this.#waiting.push(waiter);
  }

  /** Serves the first in line. */
  resolve(value: T): void {
    const waiter = this.#waiting.shift();
    if (waiter === undefined) return;
    this.#finish(waiter);
    waiter.resolve(value);
  }

  /** Refuses the first in line. */
  reject(error: unknown): void {
    const waiter = this.#waiting.shift();
    if (waiter === undefined) return;
    this.#finish(waiter);
    waiter.reject(error);
  }

  rejectAll(error: unknown): void {
    while (!this.isEmpty) this.reject(error);
  }

  #finish(waiter: Waiter<T>): void {
    this.#loop.hold(-1);
    waiter.settle?.();
  }
}
