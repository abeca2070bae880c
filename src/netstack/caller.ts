/**
 * The client's side of a channel: sends commands over a link, and settles those that are answered. One a thread and
 * channel; all sockets made of the channel stand on it. @module
 */
import { NetError } from '../errors.ts';
import type { BlockingOptions } from '../sockets/backend.ts';
import { holdProcess } from '../sockets/real-clock.ts';
import type { WaitOptions } from '../sockets/waiters.ts';
import { type Command, errorOf, errorResponse, type Handle, type Response } from './commands.ts';
import { noteOf } from './handles.ts';

/** Commands that wait for room in a full channel; one more fails with ENOBUFS. */
const OUTBOX_MAX = 1 << 17;

/** How a channel reaches its stack. */
export interface Link {
  /**
   * Hands a command over; false: the channel is full, and `room` of the caller is called when it is not.
   * @throws NetError EMSGSIZE, ENETDOWN
   */
  send(id: number, command: Command): boolean;
  /** Tells the stack that the rings of a stream have changed; false: full. */
  note?(handle: Handle): boolean;
  /** Tells the stack that there is something. */
  ring(): void;
  /** Takes what the stack has answered. */
  drain(): void;
  /** Somebody waits for answers without blocking (or nobody does any more). */
  listen(isWanted: boolean): void;
  /** Whether those who wait keep the process alive. */
  hold?(isWanted: boolean): void;
  /** Stops the thread until the stack may have answered, but no longer than `ms`. */
  wait(ms: number): void;
  /** Why this thread may not stop, or null. */
  refusesBlocking(): { readonly code: 'EDEADLK' | 'EOPNOTSUPP'; readonly detail: string } | null;
  /** Lets go of the stack. */
  close(): void;
}

/** How long a cancelled call is waited for. */
const CANCEL_MS = 1000;

type Done = (response: Response) => void;

interface Waiting {
  readonly id: number;
  /** null: a note about the stream `id`. */
  readonly command: Command | null;
}

/** Channels of this thread that have something to ring for. */
const unrung = new Set<Caller>();
/** Channels of this thread with handlers, which are asked also while the thread waits for another channel. */
const attended = new Set<Caller>();
/** How long such a wait goes on at once. */
const ATTEND_MS = 5;

export class Caller {
  readonly link: Link;
  /** Called with changes in the rings of a stream, by what a note carries of its handle. */
  readonly streams = new Map<number, (events: number) => void>();
  /** Called once when the stack is gone. */
  readonly mourners = new Set<() => void>();
  #dead: NetError | null = null;
  readonly #pending = new Map<number, Done>();
  #outbox: Waiting[] = [];
  #nextId = 1;
  #listeners = 0;
  #holders = 0;
  #mustRing = false;
  #handlers = 0;
  #tasks: (() => void)[] = [];
  #isRunning = false;
  readonly #runTasks = (): void => this.runTasks();
  readonly #ringNow = (): void => this.flush();

  constructor(makeLink: (caller: Caller) => Link) {
    this.link = makeLink(this);
  }

  get isDead(): boolean {
    return this.#dead !== null;
  }

  /** Commands that are not answered yet. */
  get pendingCount(): number {
    return this.#pending.size;
  }

  /** Sends `command` as soon as there is room; `done` gets its answer, perhaps at once. Returns its id. */
  call(command: Command, done: Done): number {
    const id = this.#nextId++;
    if (this.#dead !== null) {
      done(errorResponse(this.#dead, 'request'));
      return id;
    }
    if (typeof command !== 'object' || command === null) {
      const detail = `expected a command, got ${command === null ? 'null' : typeof command}`;
      done(errorResponse(new NetError('EPROTO', 'request', { detail }), 'request'));
      return id;
    }
    this.#pending.set(id, done);
    try {
      if (!this.#enqueue(id, command)) {
        this.settle(
          id,
          errorResponse(new NetError('ENOBUFS', 'request', { detail: 'the channel is full' }), 'request'),
        );
      }
    } catch (error) {
      this.settle(id, errorResponse(error, 'request'));
    }
    return id;
  }

  /** Sends a command whose answer nobody needs, and rings at once: nobody may come back to do it. */
  tell(command: Command): void {
    if (this.#dead !== null) return;
    this.#enqueue(0, command);
    this.flush();
  }

  /** Tells the stack that the rings of a stream have changed. */
  note(handle: Handle): void {
    if (this.#dead === null) this.#enqueue(handle, null);
  }

  /**
   * Hands over, or keeps until there is room; false: there is too much already. What closes sockets, and notes, are always
   * kept: there are no more of them than sockets.
   */
  #enqueue(id: number, command: Command | null): boolean {
    if (this.#outbox.length === 0 && this.#send(id, command)) {
      this.ringSoon();
      return true;
    }
    if (this.#outbox.length >= OUTBOX_MAX && command !== null && id !== 0) return false;
    this.#outbox.push({ id, command });
    // What is handed over must leave: answers are listened to until it has.
    if (this.#outbox.length === 1) this.listen(1);
    this.ringSoon();
    return true;
  }

  #send(id: number, command: Command | null): boolean {
    return command === null ? this.link.note!(id) : this.link.send(id, command);
  }

  /** The answer to `command`. A signal cancels it: what has been answered by then is not lost, but is the result. */
  request(command: Command, { signal }: WaitOptions = {}): Promise<Response> {
    if (signal?.aborted) return Promise.reject(signal.reason);
    return new Promise((resolve, reject) => {
      const onAbort = (): void => this.cancel(id);
      let isSettled = false;
      this.listen(1);
      const id = this.call(command, (response) => {
        isSettled = true;
        this.listen(-1);
        signal?.removeEventListener('abort', onAbort);
        if (response.kind !== 'error') resolve(response);
        else if (signal?.aborted && response.code === 'ECANCELED') reject(signal.reason);
        else reject(errorOf(response));
      });
      if (!isSettled) signal?.addEventListener('abort', onAbort, { once: true });
    });
  }

  /** Ends a call; it is settled by its answer, ECANCELED if that was not already under way. */
  cancel(id: number): void {
    const at = this.#outbox.findIndex((waiting) => waiting.id === id && waiting.command !== null);
    if (at >= 0) {
      this.#outbox.splice(at, 1);
      if (this.#outbox.length === 0) this.listen(-1);
      this.settle(id, errorResponse(new NetError('ECANCELED', 'cancel'), 'cancel'));
    } else if (this.#pending.has(id)) {
      this.tell({ kind: 'cancel', id });
    }
  }

  /** Sends `command` now or throws; nobody waits for its answer. @throws NetError EAGAIN when the channel is full */
  post(command: Command): void {
    if (this.#dead !== null) throw this.#dead;
    if (this.#outbox.length > 0 || !this.#tryPost(command)) {
      throw new NetError('EAGAIN', 'request', { detail: 'the channel is full' });
    }
  }

  #tryPost(command: Command): boolean {
    try {
      if (!this.link.send(0, command)) return false;
      this.ringSoon();
      this.flush();
      return true;
    } catch (error) {
      throw errorOf(errorResponse(error, 'request')); // what the engine says of a command that cannot be posted
    }
  }

  requestBlocking(command: Command, options: BlockingOptions = {}): Response {
    this.assertMayBlock('request');
    const box: { answer?: Response } = {};
    const id = this.call(command, (response) => {
      box.answer = response;
    });
    let answer: Response | null;
    try {
      answer = this.block('request', () => box.answer, options);
    } catch (error) {
      answer = box.answer ?? this.#giveUp(id, box);
      if (answer === null) throw error;
    }
    if (answer.kind === 'error') throw errorOf(answer);
    return answer;
  }

  /** The time is over: the call is cancelled, and what was answered before that is still its result. */
  #giveUp(id: number, box: { readonly answer?: Response }): Response | null {
    if (this.isDead) return null;
    this.cancel(id);
    try {
      const answer = this.block('request', () => box.answer, { timeoutMs: CANCEL_MS });
      return answer.kind === 'error' && answer.code === 'ECANCELED' ? null : answer;
    } catch {
      // It may still be answered: a socket that nobody is there for any more is closed.
      if (this.#pending.has(id)) this.#pending.set(id, (response) => this.#closeOpened(response));
      return null;
    }
  }

  #closeOpened(response: Response): void {
    const { kind } = response;
    if (kind === 'accepted' || kind === 'connected') this.tell({ kind: 'tcp-abort', handle: response.handle });
    else if (kind === 'listening') this.tell({ kind: 'tcp-close', handle: response.handle });
    else if (kind === 'bound') this.tell({ kind: 'udp-close', handle: response.handle });
    else if (kind === 'opened') this.tell({ kind: 'raw-close', handle: response.handle });
  }

  /** @throws NetError EDEADLK, EOPNOTSUPP */
  assertMayBlock(syscall: string): void {
    const refusal = this.link.refusesBlocking();
    if (refusal !== null) throw new NetError(refusal.code, syscall, { detail: refusal.detail });
  }

  /** Stops the thread until `attempt` gives something. */
  block<T>(syscall: string, attempt: () => T | undefined, { timeoutMs }: BlockingOptions = {}): T {
    this.assertMayBlock(syscall);
    const until = timeoutMs === undefined ? Number.POSITIVE_INFINITY : performance.now() + timeoutMs;
    for (;;) {
      this.#drainAll();
      const result = attempt();
      // No microtask runs while the thread is stopped, for no channel of it.
      for (const caller of unrung) caller.flush();
      if (result !== undefined) return result;
      if (this.#dead !== null) throw this.#dead;
      const left = until - performance.now();
      if (left <= 0) throw new NetError('ETIMEDOUT', syscall);
      this.link.wait(this.#hasOthers ? Math.min(left, ATTEND_MS) : left);
    }
  }

  /** Takes what has come, and has the handlers of all channels of this thread asked: they have no microtasks now. */
  #drainAll(): void {
    this.link.drain();
    this.runTasks();
    for (const caller of attended) {
      if (caller === this) continue;
      caller.link.drain();
      caller.runTasks();
    }
  }

  get #hasOthers(): boolean {
    return attended.size > (attended.has(this) ? 1 : 0);
  }

  /** Somebody has a handler that the stack calls, or no more. What it is told does not keep the process alive. */
  attend(change: 1 | -1): void {
    this.listen(change, false);
    this.#handlers += change;
    if (this.#handlers > 0) attended.add(this);
    else attended.delete(this);
  }

  /**
   * Calls `task`, which is somebody's handler, in a microtask; or between two waits, where the thread blocks. Never inside
   * of taking answers, so that a handler may block itself; others have to wait for it then.
   */
  later(task: () => void): void {
    this.#tasks.push(task);
    if (this.#tasks.length === 1) queueMicrotask(this.#runTasks);
  }

  runTasks(): void {
    if (this.#isRunning) return;
    this.#isRunning = true;
    try {
      for (let task = this.#tasks.shift(); task !== undefined; task = this.#tasks.shift()) task();
    } finally {
      this.#isRunning = false;
      if (this.#tasks.length > 0) queueMicrotask(this.#runTasks);
    }
  }

  /** Rings once for all that is handed over in this turn. */
  ringSoon(): void {
    if (this.#mustRing) return;
    this.#mustRing = true;
    unrung.add(this);
    queueMicrotask(this.#ringNow);
  }

  /** Rings now, if there is a reason. */
  flush(): void {
    if (!this.#mustRing) return;
    this.#mustRing = false;
    unrung.delete(this);
    this.link.ring();
  }

  /** Counts those who wait without blocking; while there are any, answers are listened to, and if they hold it the process lives. */
  listen(change: 1 | -1, holds = true): void {
    if (holds) this.#hold(change);
    this.#listeners += change;
    if (change === 1 && this.#listeners === 1) this.link.listen(true);
    if (change === -1 && this.#listeners === 0) this.link.listen(false);
  }

  #hold(change: 1 | -1): void {
    this.#holders += change;
    holdProcess(change);
    if (this.#holders === (change === 1 ? 1 : 0)) this.link.hold?.(change === 1);
  }

  get isListening(): boolean {
    return this.#listeners > 0;
  }

  /** Called by the link: `id` is answered. */
  settle(id: number, response: Response): void {
    const done = this.#pending.get(id);
    if (done === undefined) return;
    this.#pending.delete(id);
    done(response);
  }

  /** Called by the link: the rings of a stream have changed. */
  event(handle: Handle, events: number): void {
    this.streams.get(noteOf(handle))?.(events);
  }

  /** Called by the link: there is room again. */
  room(): void {
    const outbox = this.#outbox;
    if (outbox.length === 0) return;
    let sent = 0;
    while (sent < outbox.length && this.#sendWaiting(outbox[sent]!)) sent++;
    if (sent === 0 || this.#dead !== null) return; // whom it was answered to may have closed the channel
    this.#outbox = outbox.slice(sent);
    this.ringSoon();
    if (this.#outbox.length === 0) this.listen(-1);
  }

  /** One that cannot be sent at all is answered here, and holds up no other. */
  #sendWaiting({ id, command }: Waiting): boolean {
    try {
      return this.#send(id, command);
    } catch (error) {
      this.settle(id, errorResponse(error, 'request'));
      return true;
    }
  }

  /** Called by the link: the stack is gone, or this side lets go of it. Everything that waits fails. */
  die(error: NetError): void {
    if (this.#dead !== null) return;
    this.#dead = error;
    if (this.#outbox.length > 0) this.listen(-1);
    this.#outbox = [];
    const response = errorResponse(error, error.syscall);
    for (const id of [...this.#pending.keys()]) this.settle(id, response);
    for (const mourner of [...this.mourners]) mourner();
    this.mourners.clear();
    attended.delete(this);
    this.link.close();
  }
}

/** What everybody gets whose stack is gone. */
export const goneError = (syscall = 'request'): NetError =>
  new NetError('ENETDOWN', syscall, { detail: 'the stack behind the channel is gone' });
