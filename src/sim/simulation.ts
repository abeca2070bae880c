/**
 * Drives stacks in virtual time: to the next deadline of any of them, whatever can happen at that moment, and on. For
 * stacks driven by hand; hosts with promises hang on a `VirtualClock` themselves. @module
 */
import type { Changed } from '../iface/context.ts';
import type { Stack } from '../stack.ts';
import { VirtualClock } from './clock.ts';

/** Rounds with time standing still before {@link Simulation} throws: two stacks keep each other busy for ever. */
export const STALLED_ROUNDS_MAX = 100_000;

export interface SimulationOptions {
  readonly stacks: readonly Stack[];
  /** Called with each socket that has something to report, at the time of {@link Simulation.now}. */
  readonly onChanged?: (socket: Changed, stack: Stack) => void;
  /** What {@link Simulation.now} says first, above 0; default 1. */
  readonly startMs?: number;
}

/**
 * Stacks under one virtual clock.
 * @example
 * const simulation = new Simulation({ stacks: [client, server], onChanged: (socket) => serve(socket) })
 * simulation.clock.setTimer(500, () => socket.close())
 * simulation.run(60_000)
 */
export class Simulation {
  /** Timers of whoever simulates: applications that act by themselves. Moves with the simulation and only so. */
  readonly clock: VirtualClock;
  readonly stacks: readonly Stack[];
  /** Polls so far, of all stacks. */
  polls = 0;
  readonly #onChanged: (socket: Changed, stack: Stack) => void;

  constructor(options: SimulationOptions) {
    this.stacks = options.stacks;
    this.clock = new VirtualClock(options.startMs ?? 1);
    this.#onChanged = options.onChanged ?? nothing;
  }

  /** Virtual ms. */
  get now(): number {
    return this.clock.now();
  }

  /**
   * Lets everything happen that can happen at this moment.
   * @returns when something happens next by itself
   * @throws Error if that never ends
   */
  settle(): number {
    const { stacks, clock } = this;
    const now = clock.now();
    for (let round = 0; round < STALLED_ROUNDS_MAX; round++) {
      let next = clock.nextAt;
      let isBusy = false;
      for (let i = 0; i < stacks.length; i++) {
        const stack = stacks[i]!;
        const at = stack.pollAt();
        if (at < next) next = at;
        if (at > now) continue;
        isBusy = true;
        this.polls++;
        stack.poll(now);
        this.#notify(stack);
      }
      if (!isBusy) return next;
    }
    throw new Error(`simulation: at ${now} ms there is always more to do`);
  }

  /**
   * Lets everything happen that can happen now, then goes to the next moment at which something will, if that is at
   * `untilMs` or before; false: there is none.
   */
  step(untilMs = Number.POSITIVE_INFINITY): boolean {
    return this.#goTo(this.settle(), untilMs);
  }

  #goTo(at: number, untilMs: number): boolean {
    if (at > untilMs || at === Number.POSITIVE_INFINITY) return false;
    this.clock.advanceTo(Math.max(at, this.clock.now()));
    return true;
  }

  /**
   * Runs until `until` says so, until `untilMs` (then `now` is exactly that), or until nothing will ever happen again.
   * @param until - asked after all of each moment has happened
   * @returns whether it said so
   */
  run(untilMs = Number.POSITIVE_INFINITY, until: () => boolean = never): boolean {
    for (;;) {
      const next = this.settle();
      if (until()) return true;
      if (this.#goTo(next, untilMs)) continue;
      if (untilMs !== Number.POSITIVE_INFINITY) this.clock.advanceTo(Math.max(untilMs, this.clock.now()));
      return false;
    }
  }

  #notify(stack: Stack): void {
    for (let socket = stack.nextChanged(); socket !== null; socket = stack.nextChanged()) {
      this.#onChanged(socket, stack);
    }
  }
}

const never = (): boolean => false;

function nothing(): void {}
