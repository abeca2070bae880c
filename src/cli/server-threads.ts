/**
 * `ethertype server --threads N`: a TUN interface with a queue for each of N threads, which have a host with the same
 * addresses and the same services each. Linux keeps a flow on its queue, so the threads share nothing. This is the
 * thread that starts and ends them; server-worker.ts is what they run. @module
 */
import { randomBytes } from 'node:crypto';
import { Worker } from 'node:worker_threads';
import { openTunQueues, type TunOptions } from '../linux/index.ts';
import type { Account, Serving, Share } from './server.ts';

/** How long a thread may take to end what it does; its host's own deadlines are shorter. */
const END_MS = 10_000;

/** What a thread is given. */
export interface ThreadWork extends Share {
  readonly args: string[];
  readonly index: number;
}

/** What a thread tells: that it is ready, that its interface is gone, what the run came to. */
export type ThreadMessage =
  | { readonly kind: 'ready'; readonly line: string }
  | { readonly kind: 'failed'; readonly message: string }
  | { readonly kind: 'ended'; readonly account: Account };

/** An account of all threads, summed, and that of each. */
export type ThreadsAccount = Account & { readonly threads: readonly Account[] };

interface Deferred<T> {
  readonly promise: Promise<T>;
  readonly resolve: (value: T) => void;
  readonly reject: (error: Error) => void;
}

/** A promise from outside; nobody has to wait for it. */
function deferred<T>(): Deferred<T> {
  let resolve = (_: T): void => {};
  let reject = (_: Error): void => {};
  const promise = new Promise<T>((onValue, onError) => {
    resolve = onValue;
    reject = onError;
  });
  promise.catch(() => {});
  return { promise, resolve, reject };
}

/** One thread and what it has told. */
class Thread {
  readonly line: Promise<string>;
  failure: Error | null = null;
  readonly #worker: Worker;
  readonly #account: Promise<Account>;

  constructor(work: ThreadWork) {
    const name = import.meta.url.endsWith('.ts') ? './server-worker.ts' : './server-worker.js';
    this.#worker = new Worker(new URL(name, import.meta.url), { workerData: work });
    const [line, account] = [deferred<string>(), deferred<Account>()];
    this.line = line.promise;
    this.#account = account.promise;
    const fail = (error: Error): void => {
      this.failure ??= error;
      line.reject(error);
      account.reject(error);
    };
    this.#worker.on('error', fail);
    this.#worker.on('exit', (code) => fail(new Error(`thread ${work.index} ended with ${code}`)));
    this.#worker.on('message', (message: ThreadMessage) => {
      if (message.kind === 'ready') line.resolve(message.line);
      else if (message.kind === 'ended') account.resolve(message.account);
      else this.failure ??= new Error(message.message);
    });
  }

  /** Ends the thread; null if it could not say what it had done. */
  async end(): Promise<Account | null> {
    this.#worker.postMessage('end');
    const timer = setTimeout(() => void this.#worker.terminate(), END_MS);
    const account = await this.#account.catch(() => null);
    clearTimeout(timer);
    return account;
  }

  async kill(): Promise<void> {
    await this.#worker.terminate();
  }
}

/**
 * Starts a host on each of `queues` threads; ready when all of them are.
 * @param args - what the command was given, which the threads read again
 */
export async function serveInThreads(args: string[], queues: number, options: TunOptions): Promise<Serving> {
  const opened = await openTunQueues({ ...options, queues });
  const secret = new Uint8Array(randomBytes(16));
  const threads = opened.map((queue, index) => new Thread({ args, index, queue, secret }));
  try {
    const [line] = await Promise.all(threads.map((thread) => thread.line));
    return {
      line: line!,
      failure: () => threads.find(({ failure }) => failure !== null)?.failure ?? null,
      end: async () => sumOf(await Promise.all(threads.map((thread) => thread.end()))),
    };
  } catch (error) {
    await Promise.all(threads.map((thread) => thread.kill()));
    throw error;
  }
}

/** @throws Error if a thread did not say what it had done. */
function sumOf(accounts: readonly (Account | null)[]): ThreadsAccount {
  const threads = accounts.filter((account) => account !== null);
  const [first] = threads;
  if (first === undefined || threads.length < accounts.length) throw new Error('a thread ended without its account');
  const sum = threads.reduce((left, right) => added(left, right) as Account);
  const { name, kind, mtu, offload } = first.interface;
  const seconds = Math.max(...threads.map((account) => account.seconds));
  return { ...sum, interface: { ...sum.interface, name, kind, mtu, offload }, seconds, threads };
}

/** Numbers are summed, whatever holds them; of all else, the left one stays. */
function added(left: unknown, right: unknown): unknown {
  if (typeof left === 'number' && typeof right === 'number') return left + right;
  if (!isRecord(left) || !isRecord(right)) return left ?? right;
  const keys = new Set([...Object.keys(left), ...Object.keys(right)]);
  return Object.fromEntries([...keys].map((key) => [key, added(left[key], right[key])]));
}

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** Where one thread captures: the path with its number before the ending. */
export const capturePath = (path: string, index: number): string =>
  path.replace(/(\.[^./]*)?$/, (ending: string) => `-${index}${ending}`);
