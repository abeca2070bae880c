/** Work in virtual time. @module */
import type { VirtualClock } from '../../sim/index.ts';

/** Virtual time after which a run counts as stuck: 30 days, far beyond what any connection takes to give up. */
const VIRTUAL_MS_MAX = 30 * 86_400_000;

/**
 * Runs `work`, whose hosts live on `clock`, letting virtual time pass whenever nothing else can happen.
 * @throws Error if the work waits for what never comes
 */
export async function inVirtualTime<T>(clock: VirtualClock, work: Promise<T>): Promise<T> {
  let isDone = false;
  const mark = (): void => {
    isDone = true;
  };
  work.then(mark, mark);
  const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
  const until = (): boolean => isDone;
  if (await clock.run({ settle, until, maxMs: VIRTUAL_MS_MAX })) return work;
  throw new Error('stuck: nothing more happens, and the work is not done');
}

/** Lets virtual time pass. */
export const pass = (clock: VirtualClock, ms: number): Promise<void> =>
  new Promise((resolve) => {
    clock.setTimer(clock.now() + ms, resolve);
  });
