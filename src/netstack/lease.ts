/**
 * How each side of a channel learns that the other's thread has ended. Node's ports say so by their `close` event. Browsers'
 * do not where a worker is terminated; but a Web Lock is let go of with the thread that holds it. So each side holds one,
 * says so over the port, and asks for the other's: it gets that when the other is gone, however long that one computed or
 * slept, for no heart has to beat. Where a page has no locks (it is not secure), only `close` of the channel tells. @module
 */
import { isNode } from './node-threads.ts';

export type Role = 'stack' | 'client';

interface Locks {
  request(name: string, options: { signal?: AbortSignal }, callback: () => unknown): Promise<unknown>;
  query(): Promise<{ readonly held?: readonly { readonly name?: string }[] }>;
}

const locks: Locks | null = isNode
  ? null
  : ((globalThis as { navigator?: { locks?: Locks } }).navigator?.locks ?? null);

/** A name for the two locks of a channel. */
export const leaseName = (): string => `ethertype ${[...crypto.getRandomValues(new Uint32Array(4))].join('-')}`;

export class Lease {
  readonly #name: string;
  readonly #role: Role;
  readonly #onEnd: () => void;
  readonly #end = new AbortController();
  #release: (() => void) | null = null;
  #isWatching = false;

  /** @param say - tells the other side that this one holds its lock; it calls {@link heard} @param onEnd - called once */
  constructor(name: string, role: Role, say: () => void, onEnd: () => void) {
    this.#name = name;
    this.#role = role;
    this.#onEnd = onEnd;
    const hold = (): unknown => {
      if (this.#end.signal.aborted) return null;
      say();
      return new Promise<void>((resolve) => {
        this.#release = resolve;
      });
    };
    locks?.request(`${name} ${role}`, {}, hold).catch(() => {});
  }

  /** The other side holds its lock. */
  heard(): void {
    if (locks === null || this.#isWatching) return;
    this.#isWatching = true;
    this.#watch(locks).catch(() => {}); // aborted by `close`, as a rule
  }

  async #watch(all: Locks): Promise<void> {
    const name = `${this.#name} ${this.#role === 'stack' ? 'client' : 'stack'}`;
    // A lock that is held and not to be seen is held in another storage partition, where it tells nothing.
    const { held = [] } = await all.query();
    if (!held.some((lock) => lock.name === name)) return;
    await all.request(name, { signal: this.#end.signal }, () => this.#onEnd());
  }

  /** This side ends. */
  close(): void {
    this.#end.abort();
    this.#release?.();
  }
}
