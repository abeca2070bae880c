/**
 * Path MTUs that routers told us, by destination: RFC 1191 §5.2, RFC 8201 §5.2. What is not here is the interface's MTU.
 * @module
 */
import type { IpAddress } from '../wire/address.ts';
import type { Context } from './context.ts';
import type { Routes } from './routes.ts';
import type { Timed } from './timers.ts';

/** RFC 1191 §6.3, RFC 8201 §4: after so long a larger packet may be tried again. */
const PATH_MTU_MS = 600_000;
/** Destinations remembered; beyond, the one that was told first is given up, and found out again if it must. */
const DESTINATIONS_MAX = 1024;

interface PathMtu {
  readonly mtu: number;
  readonly expiresAt: number;
}

const keyOf = ({ a, b, c, d }: IpAddress): string => `${a},${b},${c},${d}`;

export class PathMtus implements Timed {
  timerAt = 0;
  timerIndex = -1;
  readonly #context: Context;
  readonly #routes: Routes;
  /** In the order of their ends: each entry is put at the back when it is set. */
  readonly #entries = new Map<string, PathMtu>();

  constructor(context: Context, routes: Routes) {
    this.#context = context;
    this.#routes = routes;
  }

  /** How many destinations have a path MTU of their own. */
  get count(): number {
    return this.#entries.size;
  }

  /** The MTU of the path to `destination`, out of an interface with `linkMtu`. */
  get(destination: IpAddress, linkMtu: number): number {
    if (this.#entries.size === 0) return linkMtu;
    return Math.min(linkMtu, this.#entries.get(keyOf(destination))?.mtu ?? linkMtu);
  }

  /** A router on the way to `destination` takes no more than `mtu`. Whoever remembers a path looks again. */
  set(destination: IpAddress, mtu: number): void {
    const key = keyOf(destination);
    this.#entries.delete(key);
    if (this.#entries.size >= DESTINATIONS_MAX) this.#entries.delete(this.#entries.keys().next().value!);
    const expiresAt = this.#context.nowMs + PATH_MTU_MS;
    this.#entries.set(key, { mtu, expiresAt });
    this.#context.timers.atMost(this, expiresAt);
    this.#routes.generation++;
  }

  expire(nowMs: number): void {
    for (const [key, { expiresAt }] of this.#entries) {
      if (expiresAt > nowMs) {
        this.#context.timers.atMost(this, expiresAt);
        return;
      }
      this.#entries.delete(key);
      this.#routes.generation++;
    }
  }
}
