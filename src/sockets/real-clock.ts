/** The clock of the machine: performance.now and setTimeout, on Node and in browsers. @module */
import type { Clock } from '../sim/clock.ts';

/** The longest delay setTimeout takes: 2^31 - 1 ms. */
const DELAY_MAX = 0x7fffffff;

type Timer = ReturnType<typeof setTimeout>;

/** Node's timers can let the process end while they run; browsers' are numbers. */
const unref = (timer: Timer): void => {
  if (typeof timer === 'object') (timer as { unref?: () => void }).unref?.();
};

class RealClock implements Clock {
  readonly #timers = new Map<number, Timer>();
  #nextHandle = 1;

  now(): number {
    return performance.now();
  }

  /** Timers never hold the process: {@link holdProcess} does, while somebody waits. */
  setTimer(atMs: number, fn: () => void): number {
    const handle = this.#nextHandle++;
    const delay = Math.min(Math.max(0, Math.ceil(atMs - performance.now())), DELAY_MAX);
    const timer = setTimeout(() => {
      this.#timers.delete(handle);
      fn();
    }, delay);
    unref(timer);
    this.#timers.set(handle, timer);
    return handle;
  }

  clearTimer(handle: number): void {
    const timer = this.#timers.get(handle);
    if (timer === undefined) return;
    clearTimeout(timer);
    this.#timers.delete(handle);
  }
}

/** The machine's clock, one for all hosts. */
export const realClock: Clock = new RealClock();

/** Uniform uint32 from the engine's cryptographic source, drawn in blocks. */
export function secureRandom(): () => number {
  const block = new Uint32Array(256);
  let used = block.length;
  return () => {
    if (used === block.length) {
      crypto.getRandomValues(block);
      used = 0;
    }
    return block[used++]!;
  };
}

let holder: Timer | null = null;
let holds = 0;

/**
 * Keeps the process alive while something is awaited, as an open node:net handle would: +1 when a wait begins, -1 when
 * it ends. Where timers are numbers, in browsers, there is nothing to keep.
 */
export function holdProcess(change: 1 | -1): void {
  holds += change;
  if (holds === 1 && change === 1) {
    holder ??= setInterval(() => {}, DELAY_MAX);
    if (typeof holder === 'object') (holder as { ref?: () => void }).ref?.();
  } else if (holds === 0 && holder !== null) {
    unref(holder);
  }
}

type Task = () => void;

/** Runs a function in a new macrotask, with as little delay as the engine knows. */
export const macrotask: (task: Task) => void = chooseMacrotask();

function chooseMacrotask(): (task: Task) => void {
  const { setImmediate } = globalThis as { setImmediate?: (task: Task) => void };
  if (setImmediate !== undefined) return (task) => setImmediate(task);
  if (typeof MessageChannel === 'undefined') return (task) => void setTimeout(task, 0);
  const channel = new MessageChannel();
  const tasks: Task[] = [];
  channel.port1.onmessage = () => tasks.shift()?.();
  return (task) => {
    tasks.push(task);
    channel.port2.postMessage(null);
  };
}
