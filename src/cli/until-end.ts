/** How long a command that serves runs: until a signal, or until what it serves on is gone. @module */

/** How often that is looked after: somebody may delete an interface. */
const WATCH_MS = 500;
const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/** Resolves at the first signal, or with `failure()` once there is one. A second signal kills. */
export function untilEnd(failure: () => Error | null): Promise<Error | null> {
  return new Promise((resolve) => {
    const end = (error: Error | null): void => {
      clearInterval(watch);
      for (const signal of SIGNALS) process.off(signal, onSignal);
      resolve(error);
    };
    const onSignal = (): void => end(null);
    const watch = setInterval(() => {
      const error = failure();
      if (error !== null) end(error);
    }, WATCH_MS);
    for (const signal of SIGNALS) process.on(signal, onSignal);
  });
}
