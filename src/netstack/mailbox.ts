/**
 * Where commands of this thread wait for their stack: a bounded queue of requests. Channels hold it, and it does not hold
 * the stack, so that no channel keeps a stack alive. @module
 */
import { type Caller, goneError, type Link } from './caller.ts';
import type { Client } from './client.ts';
import type { Command } from './commands.ts';

/** A command on its way to be processed; whoever takes it from the stack gives it back to `processOneCommand`. */
export interface Request {
  readonly client: Client;
  readonly id: number;
  readonly command: Command;
}

export class Mailbox {
  readonly capacity: number;
  /** Called when a request was put: time to process. */
  onPost: (() => void) | null = null;
  readonly #requests: Request[] = [];
  readonly #callers = new Set<Caller>();
  #isDead = false;

  constructor(capacity: number) {
    this.capacity = capacity;
  }

  get isDead(): boolean {
    return this.#isDead;
  }

  get length(): number {
    return this.#requests.length;
  }

  join(caller: Caller): void {
    this.#callers.add(caller);
  }

  leave(caller: Caller): void {
    this.#callers.delete(caller);
  }

  /** False when it is full. */
  put(request: Request): boolean {
    if (this.#requests.length >= this.capacity) return false;
    this.#requests.push(request);
    return true;
  }

  /** The oldest request, or null. Those who waited for room get it. */
  take(): Request | null {
    const request = this.#requests.shift() ?? null;
    if (request !== null && this.#requests.length < this.capacity) for (const caller of this.#callers) caller.room();
    return request;
  }

  /** The stack is gone: everybody is told. */
  die(): void {
    if (this.#isDead) return;
    this.#isDead = true;
    this.#requests.length = 0;
    for (const caller of [...this.#callers]) caller.die(goneError());
  }
}

/** The way to a stack on this thread. */
export class LocalLink implements Link {
  readonly #mailbox: Mailbox;
  readonly #client: Client;
  readonly #caller: Caller;

  constructor(caller: Caller, mailbox: Mailbox, client: Client) {
    this.#caller = caller;
    this.#mailbox = mailbox;
    this.#client = client;
    mailbox.join(caller);
  }

  send(id: number, command: Command): boolean {
    return this.#mailbox.put({ client: this.#client, id, command });
  }

  ring(): void {
    this.#mailbox.onPost?.();
  }

  drain(): void {
    // Answers are given directly.
  }

  listen(): void {
    // They come by themselves.
  }

  wait(): void {
    throw new Error('a local channel cannot wait');
  }

  refusesBlocking(): { code: 'EDEADLK'; detail: string } {
    const detail = 'the stack runs on this thread, which must not wait for it: use the call without Blocking';
    return { code: 'EDEADLK', detail };
  }

  close(): void {
    this.#mailbox.leave(this.#caller);
    if (!this.#mailbox.isDead) this.#client.leave();
  }
}
