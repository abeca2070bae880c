/** `ethertype/posix` for clients: each has descriptors of its own, and calls run on the stack's thread. @module */
import { NetError } from '../errors.ts';
import { type Blocking, Posix } from '../posix/index.ts';
import type { Stack } from '../stack.ts';
import type { Call } from './client.ts';
import type { PosixCommand } from './commands.ts';

/** The most bytes of one call's buffer. */
const BUFFER_MAX = 1 << 16;

/** Calls that fill a buffer, which is given as its length; and where among the arguments it stands. */
const FILLS: Readonly<Record<string, number>> = { read: 1, recv: 1, recvfrom: 1 };
/** Calls that are given bytes, and where they go. */
const TAKES: Readonly<Record<string, number>> = { write: 1, send: 1, sendto: 1, setsockopt: 3 };
const CALLS = new Set([
  ...['socket', 'bind', 'listen', 'accept', 'connect', 'shutdown', 'close', 'dup', 'poll', 'fcntl', 'ioctl'],
  ...['getsockopt', 'setsockopt', 'getsockname', 'getpeername', 'epollCreate', 'epollCtl', 'epollWait'],
  ...Object.keys(FILLS),
  ...Object.keys(TAKES),
]);

/** Runs one call; it is answered when the C call would return. */
export function runPosixCall(stack: Stack, call: Call<PosixCommand>): void {
  const { client, command } = call;
  const { call: name, data } = command;
  if (!CALLS.has(name)) throw new NetError('ENOSYS', String(name));
  client.posix ??= new Posix(stack);
  const args = [...command.args];
  let buffer: Uint8Array | null = null;
  const fills = FILLS[name];
  if (fills !== undefined) {
    buffer = new Uint8Array(Math.min(BUFFER_MAX, Math.max(0, Math.trunc(Number(args[fills])) || 0)));
    args[fills] = buffer;
  }
  const takes = TAKES[name];
  // An option may be a number as well.
  if (takes !== undefined && (data !== undefined || name !== 'setsockopt')) args[takes] = data ?? new Uint8Array(0);
  const method = client.posix.blocking[name as keyof Blocking] as (...args: unknown[]) => Promise<unknown>;
  let isCancelled = false;
  call.waits(() => {
    isCancelled = true;
  });
  void method.apply(client.posix.blocking, args).then(
    (result) => {
      if (isCancelled) return;
      const count = typeof result === 'number' ? result : (result as { count?: number } | null)?.count;
      const filled = buffer === null ? undefined : buffer.subarray(0, Math.min(buffer.length, count ?? 0));
      // `poll` writes into its entries.
      const written = name === 'poll' ? { count: result, entries: args[0] } : result;
      call.answer({ kind: 'posix', result: written, data: filled });
      answered(client);
    },
    (error: unknown) => {
      if (isCancelled) return;
      call.fail(error);
      answered(client);
    },
  );
}

/** The answer was given between two turns of the stack: the client must hear of it all the same. */
const answered = (client: Call['client']): void => client.onAnswered?.();
