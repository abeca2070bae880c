/** What runs a netstack: on this thread's event loop, or blocking on a worker. @module */
import type { Device } from '../phy/device.ts';
import { type PipeEnd, pipePair } from '../phy/pipe.ts';
import type { Clock } from '../sim/clock.ts';
import { asyncDispose } from '../sockets/dispose.ts';
import { macrotask, realClock } from '../sockets/real-clock.ts';
import type { Channel, HasChannel } from './channel.ts';
import { DOORBELL, DRIVEN, STACK_WAITS, WAITS } from './control.ts';
import { whenRung } from './doorbell.ts';
import { Netstack } from './netstack.ts';
import type { NetstackConfig } from './netstack-config.ts';
import { Pipe, PipeDev } from './pipe.ts';
import { Spin } from './spin.ts';

/** The longest a blocking driver stays away from the thread's event loop, on which ports and signals are served. */
const BLOCK_MS = 100;
/** The longest look before such a driver stops, in ms. */
const LOOK_MS = 0.1;
/** Turns in a row from microtasks; then the engine's other work has its turn. */
const MICROTASKS_MAX = 64;
/** Microtasks that a call of `Posix` takes to go on; of other calls those that take more go on with the next yield. */
const POSIX_TICKS = 8;

/** Drives one netstack and its device. */
export class Driver implements HasChannel {
  readonly netstack: Netstack;
  readonly device: Device | null;
  readonly #clock: Clock;
  #isScheduled = false;
  #isListening = false;
  #isStopped = true;
  #blocks = false;
  /** Whether something came between two turns. */
  hasWork = false;
  #microtasks = 0;
  #timer = 0;
  #timerAt = Number.POSITIVE_INFINITY;
  readonly #onTurn = (): void => this.#turn();

  /** @param clock - virtual time for simulations, with {@link run}; by default the machine's */
  constructor(netstack: Netstack, device: Device | null = null, clock: Clock = realClock) {
    this.netstack = netstack;
    this.device = device;
    this.#clock = clock;
  }

  commandChannel(): Channel {
    return this.netstack.commandChannel();
  }

  get isRunning(): boolean {
    return !this.#isStopped;
  }

  /** Runs on this thread's event loop from now on. It never keeps the process alive: those who wait for sockets do. */
  run(): this {
    if (!this.#isStopped) return this;
    this.#begin();
    this.netstack.onWork = () => this.#wake();
    this.#wake();
    return this;
  }

  #begin(): void {
    this.#isStopped = false;
    this.netstack.holdsBack = true;
    const { control } = this.netstack;
    if (control !== null) Atomics.store(control.i32, DRIVEN, 1);
  }

  #wake(): void {
    if (this.#isScheduled || this.#isStopped) return;
    this.#isScheduled = true;
    if (this.#clock === realClock && ++this.#microtasks > MICROTASKS_MAX) {
      this.#microtasks = 0;
      macrotask(this.#onTurn);
    } else {
      queueMicrotask(this.#onTurn);
    }
  }

  #turn(): void {
    this.#isScheduled = false;
    if (this.#isStopped || this.netstack.isClosed) return;
    const now = this.#clock.now();
    const { netstack } = this;
    netstack.setNow(now);
    netstack.processCommands();
    const more = netstack.pollDeviceIo(now, this.device);
    if (more || netstack.pollAt(now) <= now) this.#wake();
    if (!this.#isScheduled) netstack.tellHeldBack();
    this.#arm(now);
    this.#listen();
  }

  #arm(now: number): void {
    const at = this.netstack.pollAt(now);
    if (at >= this.#timerAt || at === Number.POSITIVE_INFINITY || this.#isScheduled) return;
    if (this.#timer !== 0) this.#clock.clearTimer(this.#timer);
    this.#timerAt = at;
    this.#timer = this.#clock.setTimer(at, () => {
      this.#timer = 0;
      this.#timerAt = Number.POSITIVE_INFINITY;
      this.#turn();
    });
  }

  /** Has the doorbell that other threads ring wake this one. */
  #listen(): void {
    const { netstack } = this;
    if (this.#isListening || netstack.control === null) return;
    this.#isListening = true;
    whenRung(netstack.control.bell, () => {
      this.#isListening = false;
      this.#turn();
    });
    if (netstack.isAsked || netstack.pollAt(this.#clock.now()) <= this.#clock.now()) this.#wake();
  }

  /**
   * Runs on this thread and stops it while there is nothing to do: for a worker that does nothing else. A few times a
   * second it lets the thread's own events happen. Resolves after {@link stop}, or when the netstack is closed.
   * @param others - drivers to run beside this one, whose netstacks were made `beside` this one's
   * @throws TypeError where the memory is not shared: nothing could wake the thread
   */
  async runBlocking(...others: Driver[]): Promise<void> {
    const drivers = [this as Driver, ...others];
    const bells = drivers.map(({ netstack }) => netstack.control?.bell.buffer ?? null);
    if (bells[0] === null) throw new TypeError('driver: expected a netstack with shared memory to block on');
    if (bells.some((bell) => bell !== bells[0])) throw new TypeError('driver: expected netstacks with one doorbell');
    for (const driver of drivers) driver.#beginBlocking();
    const spin = new Spin(LOOK_MS);
    let yieldAt = realClock.now() + BLOCK_MS;
    while (drivers.some((driver) => driver.#isBlocking)) {
      const now = realClock.now();
      if (now >= yieldAt) {
        for (const { netstack } of drivers) netstack.tellHeldBack();
        await new Promise<void>((resolve) => macrotask(resolve));
        yieldAt = realClock.now() + BLOCK_MS;
        continue;
      }
      turnBlocking(drivers, now, yieldAt, spin);
      if (!drivers.some(({ netstack }) => netstack.hasPromises)) continue;
      for (let tick = 0; tick < POSIX_TICKS; tick++) await undefined;
    }
  }

  #beginBlocking(): void {
    this.#begin();
    this.#blocks = true;
    // What other drivers of the thread do for it is looked at before the next wait.
    this.netstack.onWork = () => {
      this.hasWork = true;
    };
  }

  get #isBlocking(): boolean {
    return this.#blocks && !this.#isStopped && !this.netstack.isClosed;
  }

  /** One turn of a blocking driver; Infinity, or when the next one is due. */
  turnAt(now: number): number {
    if (!this.#isBlocking) return Number.POSITIVE_INFINITY;
    const { netstack } = this;
    this.hasWork = false;
    netstack.setNow(now);
    const count = netstack.processCommands();
    const more = netstack.pollDeviceIo(now, this.device);
    return more || count > 0 ? now : netstack.pollAt(now);
  }

  /** Stops driving; the netstack stays as it is. */
  stop(): void {
    if (this.#isStopped) return;
    this.#isStopped = true;
    this.netstack.onWork = null;
    this.netstack.holdsBack = false;
    this.netstack.tellHeldBack();
    const { control } = this.netstack;
    if (control !== null) {
      Atomics.store(control.i32, DRIVEN, 0);
      if (this.#blocks) control.ringDoorbell();
    }
    if (this.#timer !== 0) this.#clock.clearTimer(this.#timer);
    this.#timer = 0;
    this.#timerAt = Number.POSITIVE_INFINITY;
  }

  /** Stops, and closes the netstack and its device. */
  close(): void {
    this.stop();
    this.netstack.close();
  }

  async [asyncDispose](): Promise<void> {
    this.close();
  }
}

/** A netstack on a pipe, not running yet, and the far end of the pipe: whole packets out of `rx`, into `tx`. */
export function piped(config: NetstackConfig = {}, packets?: number): [Driver, Pipe] {
  const [near, far] = packets === undefined ? Pipe.unbounded() : Pipe.bounded(packets);
  const { medium = 'ip', mtu = 1500 } = config;
  return [new Driver(new Netstack(config, realClock.now()), new PipeDev({ pipe: near, medium, mtu })), far];
}

/** A turn of each, then a wait until there is more to do. */
function turnBlocking(drivers: readonly Driver[], now: number, yieldAt: number, spin: Spin): void {
  const { bell } = drivers[0]!.netstack.control!;
  const seen = Atomics.load(bell, DOORBELL);
  let at = yieldAt;
  for (const driver of drivers) at = Math.min(at, driver.turnAt(now));
  if (at <= now || drivers.some(({ hasWork }) => hasWork)) return;
  for (const { netstack } of drivers) netstack.tellHeldBack();
  if (spin.look(bell, DOORBELL, seen)) return;
  Atomics.store(bell, STACK_WAITS, WAITS);
  spin.wait(bell, DOORBELL, seen, at - now);
  Atomics.store(bell, STACK_WAITS, 0);
}

/** Two netstacks on one wire and in one memory, not running yet. */
export function pipedPair(left: NetstackConfig, right: NetstackConfig): [Driver, Driver] {
  const { medium = 'ip', mtu = 1500 } = left;
  const first = new Netstack(left, realClock.now());
  const [near, far]: [PipeEnd, PipeEnd] = pipePair({ medium, mtu, memory: first.memory });
  const second = new Netstack({ ...right, medium, mtu, memory: first.memory, beside: first }, realClock.now());
  return [new Driver(first, near), new Driver(second, far)];
}
