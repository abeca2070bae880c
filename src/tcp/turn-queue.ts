/** Connections that wait for their turn: a ring that grows and is kept, so that queueing allocates nothing. @module */
import type { Connection } from './connection.ts';

const SIZE_MIN = 16;

export class TurnQueue {
  #ring: (Connection | null)[] = new Array<Connection | null>(SIZE_MIN).fill(null);
  #head = 0;
  length = 0;

  push(c: Connection): void {
    if (this.length === this.#ring.length) this.#grow();
    this.#ring[(this.#head + this.length++) & (this.#ring.length - 1)] = c;
  }

  /** The one that waits longest; the queue must not be empty. */
  shift(): Connection {
    const c = this.#ring[this.#head]!;
    this.#ring[this.#head] = null;
    this.#head = (this.#head + 1) & (this.#ring.length - 1);
    this.length--;
    return c;
  }

  #grow(): void {
    const ring = this.#ring;
    const grown = new Array<Connection | null>(ring.length * 2).fill(null);
    for (let i = 0; i < ring.length; i++) grown[i] = ring[(this.#head + i) & (ring.length - 1)]!;
    this.#ring = grown;
    this.#head = 0;
  }
}
