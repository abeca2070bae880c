/**
 * Connecting by name: Happy Eyeballs, RFC 8305. Addresses of both families are tried in turn, each a little after the
 * one before, and the first connection that stands is taken. @module
 */
import type { Clock } from '../sim/clock.ts';
import type { IpAddress } from '../wire/address.ts';

/** RFC 8305 §8: how long IPv4 addresses wait for IPv6 ones. */
export const RESOLUTION_DELAY_MS = 50;
/** RFC 8305 §8: how long one attempt goes alone. */
export const ATTEMPT_DELAY_MS = 250;
/** Addresses of one name that are tried. */
const ADDRESSES_MAX = 32;

export interface RaceOptions<T> {
  readonly clock: Clock;
  /** Orders addresses by RFC 6724. */
  sort(addresses: readonly IpAddress[]): IpAddress[];
  /** One attempt; it must end soon once its signal is aborted. */
  attempt(address: IpAddress, signal: AbortSignal): Promise<T>;
  /** Ends what was won after the race. */
  discard(value: T): void;
}

/** The race for one connection. Addresses come in with {@link add} as they are known, {@link end} says that these were all. */
export class Race<T> {
  readonly result: Promise<T>;
  readonly #options: RaceOptions<T>;
  readonly #running = new Set<AbortController>();
  #resolve!: (value: T) => void;
  #reject!: (error: unknown) => void;
  #waiting: IpAddress[] = [];
  #known = 0;
  #lastFamily = 0;
  #timer = 0;
  #hasStarted = false;
  #hasEnded = false;
  #isSettled = false;
  #firstError: unknown;
  #emptyError: unknown;

  constructor(options: RaceOptions<T>) {
    this.#options = options;
    this.result = new Promise<T>((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    this.result.catch(() => {});
  }

  /** Takes more addresses: RFC 8305 §3. */
  add(addresses: readonly IpAddress[]): void {
    if (this.#isSettled) return;
    const added = addresses.slice(0, ADDRESSES_MAX - this.#known);
    this.#known += added.length;
    this.#waiting = interleaved(this.#options.sort([...this.#waiting, ...added]), this.#lastFamily);
    if (this.#hasStarted) {
      if (this.#timer === 0 && this.#running.size === 0) this.#next();
      else if (this.#timer === 0) this.#arm(ATTEMPT_DELAY_MS);
      return;
    }
    // RFC 8305 §3: "If a positive AAAA response is received first, [...] immediately"; an A first waits a little.
    const has6 = this.#waiting.some((address) => !address.isV4);
    if (has6) this.#next();
    else if (this.#timer === 0) this.#arm(RESOLUTION_DELAY_MS);
  }

  /** No more addresses will come. @param error - what it means where there were none */
  end(error: unknown): void {
    this.#hasEnded = true;
    this.#emptyError = error;
    if (!this.#hasStarted && this.#waiting.length > 0) this.#next();
    else this.#checkLost();
  }

  /** Ends everything. */
  cancel(error: unknown): void {
    if (this.#isSettled) return;
    this.#settle();
    this.#reject(error);
  }

  #arm(delayMs: number): void {
    const { clock } = this.#options;
    this.#timer = clock.setTimer(clock.now() + delayMs, () => {
      this.#timer = 0;
      this.#next();
    });
  }

  /** Begins with the next address; RFC 8305 §5: the one after it has to wait, but no longer than until this one fails. */
  #next(): void {
    this.#clearTimer();
    this.#hasStarted = true;
    const address = this.#waiting.shift();
    if (address === undefined) {
      this.#checkLost();
      return;
    }
    this.#lastFamily = address.family;
    const controller = new AbortController();
    this.#running.add(controller);
    this.#options.attempt(address, controller.signal).then(
      (value) => this.#won(value, controller),
      (error) => this.#failed(error, controller),
    );
    if (this.#waiting.length > 0) this.#arm(ATTEMPT_DELAY_MS);
  }

  #won(value: T, controller: AbortController): void {
    if (this.#isSettled) {
      this.#options.discard(value);
      return;
    }
    this.#running.delete(controller);
    this.#settle();
    this.#resolve(value);
  }

  #failed(error: unknown, controller: AbortController): void {
    this.#running.delete(controller);
    if (this.#isSettled) return;
    this.#firstError ??= error;
    if (this.#waiting.length > 0) this.#next();
    else this.#checkLost();
  }

  /** Fails with the error of the first attempt, the address preferred most, once nothing is left to try. */
  #checkLost(): void {
    if (this.#isSettled || !this.#hasEnded || this.#running.size > 0 || this.#waiting.length > 0) return;
    this.#settle();
    this.#reject(this.#firstError ?? this.#emptyError);
  }

  #settle(): void {
    this.#isSettled = true;
    this.#clearTimer();
    for (const controller of this.#running) controller.abort();
    this.#running.clear();
  }

  #clearTimer(): void {
    if (this.#timer !== 0) this.#options.clock.clearTimer(this.#timer);
    this.#timer = 0;
  }
}

/**
 * RFC 8305 §4: families in turn, each in its order, beginning with the first address's; after an attempt, with the
 * family that was not tried last.
 */
export function interleaved(sorted: readonly IpAddress[], lastFamily: number): IpAddress[] {
  const first = sorted[0];
  if (first === undefined) return [];
  const head = lastFamily === 0 ? first.family : 10 - lastFamily;
  const these = sorted.filter((address) => address.family === head);
  const others = sorted.filter((address) => address.family !== head);
  const all: IpAddress[] = [];
  for (let i = 0; i < Math.max(these.length, others.length); i++)
    all.push(...these.slice(i, i + 1), ...others.slice(i, i + 1));
  return all;
}
