/**
 * The ports of TCP as bind() sees them: who holds which, from bind to the end of the connection and of its TIME-WAIT,
 * and who may share. The core itself knows listeners and connections only. @module
 */
import { clashes } from '../iface/ports.ts';
import type { Stack } from '../stack.ts';
import type { Connection } from '../tcp/connection.ts';
import { CLOSED, TIME_WAIT } from '../tcp/state.ts';
import type { IpAddress } from '../wire/address.ts';

/** Linux's net.ipv4.ip_local_port_range. */
export const PORT_FIRST = 32_768;
export const PORT_LAST = 60_999;
/** Random draws before every port is tried in turn. */
const DRAWS = 64;
/** Holders of one port below which nobody looks for those that are over. */
const PRUNE_MIN = 32;

/** A claim on a port. */
export interface Holder {
  readonly address: IpAddress;
  readonly port: number;
  /** SO_REUSEADDR and SO_REUSEPORT, as they are now. */
  readonly reuse: { readonly address: boolean; readonly port: boolean };
  readonly isListening: boolean;
  /** Once its descriptor is closed: the connection for which the port is still held. Before, undefined. */
  readonly left: Connection | null | undefined;
}

export class Ports {
  readonly #stack: Stack;
  readonly #byPort = new Map<number, { holders: Holder[]; pruneAt: number }>();

  constructor(stack: Stack) {
    this.#stack = stack;
  }

  /** Whether nobody else who holds the port of `wanted` stands in its way. */
  isFree(wanted: Holder): boolean {
    this.#prune(wanted.port);
    const holders = this.#byPort.get(wanted.port)?.holders ?? [];
    return holders.every(
      (other) => other === wanted || !clashes(other.address, wanted.address) || mayShare(wanted, other),
    );
  }

  add(holder: Holder): void {
    const entry = this.#byPort.get(holder.port) ?? { holders: [], pruneAt: PRUNE_MIN };
    entry.holders.push(holder);
    this.#byPort.set(holder.port, entry);
    // Whenever the list has doubled: then a port that serves many connections costs each of them a constant time.
    if (entry.holders.length >= entry.pruneAt) this.#prune(holder.port);
  }

  remove(holder: Holder): void {
    const entry = this.#byPort.get(holder.port);
    const index = entry?.holders.indexOf(holder) ?? -1;
    if (entry === undefined || index < 0) return;
    entry.holders[index] = entry.holders.at(-1)!;
    entry.holders.pop();
    if (entry.holders.length === 0) this.#byPort.delete(holder.port);
  }

  /** A random port that nobody holds, or 0: RFC 6056 §3.3.2. */
  draw(): number {
    const { random } = this.#stack.context;
    const count = PORT_LAST - PORT_FIRST + 1;
    for (let i = 0; i < DRAWS; i++) {
      const port = PORT_FIRST + (random() % count);
      if (!this.#isHeld(port)) return port;
    }
    const start = random() % count;
    for (let i = 0; i < count; i++) {
      const port = PORT_FIRST + ((start + i) % count);
      if (!this.#isHeld(port)) return port;
    }
    return 0;
  }

  #isHeld(port: number): boolean {
    this.#prune(port);
    return this.#byPort.has(port);
  }

  /** Drops those whose connection is over. */
  #prune(port: number): void {
    const entry = this.#byPort.get(port);
    if (entry === undefined) return;
    entry.holders = entry.holders.filter((holder) => !this.#isOver(holder));
    entry.pruneAt = Math.max(PRUNE_MIN, 2 * entry.holders.length);
    if (entry.holders.length === 0) this.#byPort.delete(port);
  }

  #isOver({ left }: Holder): boolean {
    if (left === undefined) return false;
    if (left === null || left.state === CLOSED) return true;
    return left.state === TIME_WAIT && !this.#stack.tcp.timeWait.has(left.local, left.remote, left.portsIn);
  }
}

/** Linux's rule: both say SO_REUSEADDR and the other does not listen; or both say SO_REUSEPORT. */
const mayShare = (wanted: Holder, other: Holder): boolean =>
  (wanted.reuse.address && other.reuse.address && !other.isListening) || (wanted.reuse.port && other.reuse.port);
