/**
 * Waiting for a word of shared memory without stopping the thread: by `Atomics.waitAsync`, or, in engines that have none, by
 * a message over the port of a channel, which whoever rings sends when a word asks for it. @module
 */
import { DOORBELL, STACK_WAITS, WAITS, WAITS_FOR_MESSAGE } from './control.ts';

type WaitAsync = (
  view: Int32Array,
  index: number,
  value: number,
) => { async: false; value: string } | { async: true; value: Promise<string> };

const { waitAsync } = Atomics as unknown as { waitAsync?: WaitAsync };

/** Whether a word can be waited for without a port. */
export const hasWaitAsync = waitAsync !== undefined;
/** What a thread that waits without stopping writes, so that it is woken. */
export const WAITS_HERE = hasWaitAsync ? WAITS : WAITS_FOR_MESSAGE;

/** Calls `woken` once the word is not `seen`. Only where {@link hasWaitAsync}. */
export function whenChanged(words: Int32Array, index: number, seen: number, woken: () => void): void {
  const waiting = waitAsync!(words, index, seen);
  if (waiting.async) void waiting.value.then(woken);
  else queueMicrotask(woken);
}

/** Who waits for a message about a doorbell; one may be that of several stacks. */
const waiting = new WeakMap<ArrayBufferLike, Set<() => void>>();

/** Calls `woken` once the doorbell rings. What was rung for before is to be looked at after this call. */
export function whenRung(bell: Int32Array, woken: () => void): void {
  Atomics.store(bell, STACK_WAITS, WAITS_HERE);
  if (hasWaitAsync) {
    whenChanged(bell, DOORBELL, Atomics.load(bell, DOORBELL), woken);
    return;
  }
  const those = waiting.get(bell.buffer) ?? new Set();
  waiting.set(bell.buffer, those.add(woken));
}

/** A message has come: somebody rang. */
export function rung(bell: Int32Array): void {
  const those = [...(waiting.get(bell.buffer) ?? [])];
  waiting.delete(bell.buffer);
  for (const woken of those) woken();
}
