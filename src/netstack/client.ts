/** One client of a stack: who holds sockets of it over one channel. All of it is on the stack's thread. @module */
import { NetError } from '../errors.ts';
import type { Posix } from '../posix/index.ts';
import { type Command, errorResponse, type Handle, type Response } from './commands.ts';
import { Handles } from './handles.ts';
import type { StreamRings } from './stream-rings.ts';

/** Where answers go. */
export interface Answers {
  /** What of an answer may be data, in bytes; undefined: whatever it is. */
  readonly dataMax?: number;
  answer(id: number, response: Response): void;
  /** Something changed in the rings of a stream. */
  event?(handle: Handle, events: number): void;
}

/** A socket of a client. */
export interface Entry {
  readonly kind: 'stream' | 'listener' | 'udp' | 'raw' | 'interception' | 'reports';
  handle: Handle;
  /** Something changed in the core. */
  notify(events: number): void;
  /** The client gives it up; calls that wait fail with ECANCELED. */
  close(): void;
}

/** One command, until it is answered. */
export class Call<C extends Command = Command> {
  readonly client: Client;
  readonly id: number;
  readonly command: C;
  /** Takes it out of where it waits. */
  #leave: (() => void) | null = null;

  constructor(client: Client, id: number, command: C) {
    this.client = client;
    this.id = id;
    this.command = command;
  }

  /** It must wait: `leave` is called when it need not any more. */
  waits(leave: () => void): void {
    this.#leave = leave;
    this.client.calls.set(this.id, this);
  }

  answer(response: Response): void {
    this.#settle();
    this.client.answers.answer(this.id, response);
  }

  fail(error: unknown): void {
    this.answer(errorResponse(error, syscallOf(this.command)));
  }

  #settle(): void {
    if (this.#leave === null) return;
    this.client.calls.delete(this.id);
    this.#leave();
    this.#leave = null;
  }
}

/** `tcp-receive` -> `receive`. */
export const syscallOf = (command: Command | null): string =>
  String(command?.kind ?? 'request').replace(/^(tcp|udp|raw)-|^intercept-(?=accept$)/, '');

export class Client {
  readonly answers: Answers;
  readonly entries = new Handles<Entry>();
  /** Calls that wait, by their ids. */
  readonly calls = new Map<number, Call>();
  /** Makes the rings of a stream, where the client shares the stack's memory. */
  readonly makeRings: (() => StreamRings | null) | null;
  /** Its descriptors, from the first posix call on. */
  posix: Posix | null = null;
  isGone = false;
  /** It wrote into shared memory what cannot be. */
  isDamaged = false;
  /** Called when a call was answered outside of the stack's turns. */
  onAnswered: (() => void) | null = null;

  constructor(answers: Answers, makeRings: (() => StreamRings | null) | null = null) {
    this.answers = answers;
    this.makeRings = makeRings;
  }

  add(entry: Entry, syscall: string): Handle {
    entry.handle = this.entries.add(entry, syscall);
    return entry.handle;
  }

  /** @throws NetError EBADF */
  get<K extends Entry['kind']>(kind: K, handle: Handle, syscall: string): Extract<Entry, { kind: K }> {
    const entry = this.entries.get(handle);
    if (entry === null || entry.kind !== kind) throw new NetError('EBADF', syscall);
    return entry as Extract<Entry, { kind: K }>;
  }

  /** Calls on descriptors go on: what they have taken already could not be given to anybody else. */
  cancel(id: number): void {
    const call = this.calls.get(id);
    if (call !== undefined && call.command.kind !== 'posix') call.fail(new NetError('ECANCELED', 'cancel'));
  }

  /** Closes everything it has; nothing is answered any more. */
  leave(): void {
    if (this.isGone) return;
    this.isGone = true;
    this.posix?.closeAll();
    for (const entry of this.entries.all()) entry.close();
    for (const call of [...this.calls.values()]) call.fail(new NetError('ECANCELED', syscallOf(call.command)));
  }
}
