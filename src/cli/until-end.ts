/** How a command comes to its end: by a signal, or since what it serves on is gone. @module */
import { CommandError } from './command.ts';

/** How often that is looked after: somebody may delete an interface. */
const WATCH_MS = 500;
const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/** Calls `end` at the first signal that asks for it; a second one kills. The result takes that back. */
export function onSignal(end: () => void): () => void {
  const forget = (): void => {
    for (const signal of SIGNALS) process.off(signal, first);
  };
  const first = (): void => {
    forget();
    end();
  };
  for (const signal of SIGNALS) process.on(signal, first);
  return forget;
}

/**
 * Resolves at the first signal, when `over` does, or with `failure()` once there is one: why the interface is gone.
 * @param over - what else ends the command
 */
export function untilEnd(failure: () => Error | null, over?: Promise<unknown>): Promise<Error | null> {
  return new Promise((resolve) => {
    const end = (error: Error | null): void => {
      clearInterval(watch);
      forget();
      resolve(error);
    };
    const watch = setInterval(() => {
      const error = failure();
      if (error !== null) end(error);
    }, WATCH_MS);
    const forget = onSignal(() => end(null));
    void over?.then(() => end(null));
  });
}

/** @throws CommandError if there is a `failure`: the interface `name` is gone */
export function checkGone(name: string, failure: Error | null): void {
  if (failure !== null) throw new CommandError(`interface ${name} is gone: ${failure.message}`);
}
