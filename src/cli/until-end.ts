/** How a command comes to its end: by a signal, or since what it serves on is gone. @module */
import { readFileSync, readlinkSync } from 'node:fs';
import { CommandError } from './command.ts';

/** How often that is looked after: somebody may delete an interface. */
const WATCH_MS = 500;
const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
/** open(2): the lowest two bits say for what it was opened. */
const O_ACCMODE = 3;
const O_WRONLY = 1;

/**
 * Whether nohup(1) started us. What was ignored then nobody can see any more: Node sets it back when it starts, and npx for
 * what it starts. What is left: shells name a program in `_`, and dash and npx hand on what they were told; and in place of
 * a terminal GNU's nohup gives a standard input that cannot be read, /dev/null opened for writing.
 */
export function isNohup(): boolean {
  if (/(^|\/)nohup$/.test(process.env._ ?? '')) return true;
  try {
    const flags = /^flags:\s*(\d+)$/m.exec(readFileSync('/proc/self/fdinfo/0', 'utf8'))?.[1] ?? '';
    return (Number.parseInt(flags, 8) & O_ACCMODE) === O_WRONLY && readlinkSync('/proc/self/fd/0') === '/dev/null';
  } catch {
    return false; // no such file: not Linux, or no standard input
  }
}

const signals = isNohup() ? SIGNALS.filter((signal) => signal !== 'SIGHUP') : SIGNALS;

/** Calls `end` at the first signal that asks for it; a second one kills. The result takes that back. */
export function onSignal(end: () => void): () => void {
  const forget = (): void => {
    for (const signal of signals) process.off(signal, first);
  };
  const first = (): void => {
    forget();
    end();
  };
  for (const signal of signals) process.on(signal, first);
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
