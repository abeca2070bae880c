/** Changes of a link over time: when which settings change. @module */
import { type FaultSettings, type ResolvedFaults, resolveFaults } from '../phy/faults.ts';

/** Settings for both directions, and what differs in one: `forward` is from left to right. */
export interface LinkFaults extends FaultSettings {
  readonly forward?: FaultSettings;
  readonly backward?: FaultSettings;
}

/** A change at a time: what is named changes, in one direction or both; the rest stays as it is. */
export interface LinkChange extends LinkFaults {
  /** In the time of the stacks: what `poll` is given. */
  readonly atMs: number;
}

/** Something with settings in two directions. */
export interface TwoWay {
  readonly forward: { settings: ResolvedFaults };
  readonly backward: { settings: ResolvedFaults };
}

/** Changes both directions of `target` by `changes`. @throws RangeError if a setting is out of its range; then nothing changes. */
export function changeFaults(target: TwoWay, changes: LinkFaults): void {
  const forward = resolveFaults(target.forward.settings, changes, changes.forward);
  const backward = resolveFaults(target.backward.settings, changes, changes.backward);
  target.forward.settings = forward;
  target.backward.settings = backward;
}

/** Applies changes in time. It needs no timer: faults decide only when a frame comes, and it is asked before. */
export class Schedule {
  readonly #changes: readonly LinkChange[];
  #next = 0;

  /** @throws RangeError if the changes are not in order of time, or one is out of range. */
  constructor(changes: readonly LinkChange[], target: TwoWay) {
    // Tried on a copy, so that a mistake in the last change is found now.
    const trial: TwoWay = { forward: { ...target.forward }, backward: { ...target.backward } };
    let last = Number.NEGATIVE_INFINITY;
    for (const change of changes) {
      if (!(change.atMs >= last)) {
        throw new RangeError(`schedule: expected changes in order of time, got ${change.atMs} ms after ${last} ms`);
      }
      last = change.atMs;
      changeFaults(trial, change);
    }
    this.#changes = changes;
  }

  /** When the next change is due; Infinity: none is left. */
  get nextAt(): number {
    return this.#changes[this.#next]?.atMs ?? Number.POSITIVE_INFINITY;
  }

  /** Applies what is due at `now`. */
  apply(now: number, target: TwoWay): void {
    while (this.nextAt <= now) changeFaults(target, this.#changes[this.#next++]!);
  }
}
