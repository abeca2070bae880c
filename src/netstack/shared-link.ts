/** The way to a stack on another thread through shared memory: a slot of its own, and words to wait on. @module */
import { NetError } from '../errors.ts';
import { type Caller, goneError, type Link } from './caller.ts';
import type { Command, Response } from './commands.ts';
import {
  ANSWERS_HEAD,
  ANSWERS_TAIL,
  ANSWERS_WAIT,
  BUSY,
  CAPACITY,
  CLIENT_WAITS,
  COMMANDS_HEAD,
  COMMANDS_IN,
  COMMANDS_OUT,
  COMMANDS_TAIL,
  type Control,
  DEAD,
  DRIVEN,
  EVENT,
  PENDING,
  PING,
  PONG,
  type Slot,
  WAITS,
  WANTS_ROOM,
} from './control.ts';
import { hasWaitAsync, WAITS_HERE, whenChanged } from './doorbell.ts';
import { type Joined, joining, type WatchedPort } from './port.ts';
import { DamagedRing, encode, type Message, RecordRing, type Taken } from './record-ring.ts';
import { Spin } from './spin.ts';

/** How long a thread that waits takes silence for nothing to do; then it asks whether the stack still runs. */
const SILENCE_MS = 200;
/** The longest look before a wait, in ms: what a stack takes to fill a quarter of a stream's ring. */
const LOOK_MS = 0.15;
/** And how long a stack that is driven may take to answer: together less than a second. */
const PONG_MS = 600;

const damagedError = (): NetError =>
  new NetError('ENETDOWN', 'request', { detail: 'somebody wrote into the shared memory of the channel' });

/** Whether this thread may stop: browsers' main threads may not. */
const mayStop = (() => {
  try {
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 0);
    return true;
  } catch {
    return false;
  }
})();

export class SharedLink implements Link {
  readonly memory32: Int32Array;
  readonly memory8: Uint8Array;
  readonly #caller: Caller;
  readonly #control: Control;
  readonly #i32: Int32Array;
  readonly #slot: Slot;
  readonly #commands: RecordRing;
  readonly #answers: RecordRing;
  /** The way for messages to the stack, and for its end; null for a channel that was posted as it was. */
  readonly #port: WatchedPort | null;
  readonly #post: (() => void) | null;
  readonly #taken: Taken = {
    message: (id: number, message: Message) => this.#caller.settle(id, message as Response),
    note: (handle: number, events: number) => this.#caller.event(handle, events),
  };
  readonly #spin = new Spin(LOOK_MS);
  #seen = 0;
  #isWanted = false;
  #isArmed = false;
  #isClosed = false;
  #isDraining = false;
  #pingAt = 0; // when the stack was asked, 0: it was not
  #silentMs = 0; // waited since something was heard

  constructor(caller: Caller, control: Control, slot: Slot, memory: SharedArrayBuffer, port: WatchedPort | null) {
    this.#caller = caller;
    this.#control = control;
    this.#i32 = control.i32;
    this.#slot = slot;
    this.#port = port;
    this.#post = port === null ? null : () => port.ring();
    if (port !== null) port.onRing = () => this.#woken();
    this.memory32 = new Int32Array(memory);
    this.memory8 = new Uint8Array(memory);
    const { i32, u8, ringBytes } = control;
    const { word, commandsAt, answersAt } = slot;
    this.#commands = new RecordRing(i32, u8, commandsAt, ringBytes, word + COMMANDS_HEAD, word + COMMANDS_TAIL);
    this.#answers = new RecordRing(i32, u8, answersAt, ringBytes, word + ANSWERS_HEAD, word + ANSWERS_TAIL);
    this.#seen = Atomics.load(i32, word + EVENT);
  }

  /** Whether the stack is closed, or has ended this client: what was its memory may be another's. */
  get isOver(): boolean {
    return Atomics.load(this.#i32, DEAD) === 1 || this.#control.isEnded(this.#slot.index);
  }

  /**
   * Begins to work in rings of streams; false: they are not this client's any more. The word first, then the look: the stack says
   * that it is closed before it looks at the word, so that one of the two sees the other.
   */
  enter(): boolean {
    Atomics.store(this.#i32, this.#slot.word + BUSY, 1);
    if (!this.isOver) return true;
    this.leave();
    return false;
  }

  leave(): void {
    Atomics.store(this.#i32, this.#slot.word + BUSY, 0);
  }

  /** Words that only the stack writes are not what it wrote. */
  damaged(): void {
    this.#caller.die(damagedError());
  }

  /**
   * A channel for a further thread; null where this one was posted as it was: the stack would not learn of it.
   * @throws NetError EMFILE
   */
  share(): Joined | null {
    if (this.#port === null) return null;
    const slot = this.#control.reserve();
    if (slot < 0) throw new NetError('EMFILE', 'share', { detail: 'no slot is free: see clients' });
    const { given, kept } = joining(slot);
    this.#port.join(kept);
    return given;
  }

  send(id: number, command: Command): boolean {
    const encoded = encode(command);
    if (!this.#commands.fits(encoded)) {
      const detail = `a command has at most ${this.#commands.recordMax} bytes here`;
      throw new NetError('EMSGSIZE', 'request', { detail });
    }
    return this.#withRoom(() => this.#hasCapacity && this.#push(id, encoded));
  }

  get #hasCapacity(): boolean {
    const { word } = this.#slot;
    const waiting = (this.#i32[word + COMMANDS_IN]! - Atomics.load(this.#i32, word + COMMANDS_OUT)) | 0;
    return waiting < this.#i32[CAPACITY]!;
  }

  #push(id: number, encoded: ReturnType<typeof encode>): boolean {
    if (!this.#commands.push(id, encoded)) return false;
    this.#i32[this.#slot.word + COMMANDS_IN]!++;
    return true;
  }

  /** Tells the stack that the rings of a stream have changed; false: full. */
  note(handle: number): boolean {
    return this.#withRoom(() => this.#commands.pushNote(handle, 0));
  }

  /** Tries, says that room is wanted, and tries once more: the stack may have made some in between. */
  #withRoom(push: () => boolean): boolean {
    if (push()) return true;
    Atomics.store(this.#i32, this.#slot.word + WANTS_ROOM, 1);
    return push();
  }

  ring(): void {
    Atomics.or(this.#i32, PENDING, 1 << this.#slot.index);
    this.#control.ringDoorbell(this.#post);
  }

  drain(): void {
    if (this.#isDraining || this.#isClosed) return;
    this.#isDraining = true;
    this.#seen = Atomics.load(this.#i32, this.#slot.word + EVENT);
    try {
      while (!this.#isClosed && this.#answers.take(this.#taken));
      if (!this.#isClosed) this.#afterDrain();
    } catch (error) {
      if (!(error instanceof DamagedRing)) throw error;
      this.#caller.die(damagedError());
    } finally {
      this.#isDraining = false;
    }
  }

  #afterDrain(): void {
    const { word } = this.#slot;
    if (Atomics.exchange(this.#i32, word + ANSWERS_WAIT, 0) === 1) this.#caller.ringSoon();
    this.#caller.room();
    if (Atomics.load(this.#i32, DEAD) === 1) this.#caller.die(goneError());
    else if (this.#control.isEnded(this.#slot.index) || this.#commands.isDamaged) this.#endDamaged();
  }

  /** The stack has ended this client, or cannot be told of anything. Without a port only this side can give the slot back. */
  #endDamaged(): void {
    this.#caller.die(damagedError());
    if (this.#port === null && this.#control.isEnded(this.#slot.index)) this.#control.free(this.#slot.index);
  }

  wait(ms: number): void {
    const { word } = this.#slot;
    const i32 = this.#i32;
    const seen = this.#seen;
    // Of three threads on two processors, one that looks before it waits keeps another one from its work.
    if (this.#control.hasProcessors && this.#spin.look(i32, word + EVENT, seen)) return;
    const armed = this.#isArmed ? WAITS_HERE : 0;
    Atomics.store(i32, word + CLIENT_WAITS, WAITS | armed);
    const waitMs = Math.min(ms, SILENCE_MS);
    const isOver = !this.#spin.wait(i32, word + EVENT, seen, waitMs);
    Atomics.store(i32, word + CLIENT_WAITS, armed);
    this.#silentMs = isOver ? this.#silentMs + waitMs : 0;
    if (!isOver) this.#pingAt = 0;
    if (this.#silentMs < SILENCE_MS) return;
    this.#silentMs = 0;
    this.#doubt();
  }

  /** Nothing was heard for a while: a stack that somebody drives must answer, or it is gone. */
  #doubt(): void {
    const i32 = this.#i32;
    if (Atomics.load(i32, DEAD) === 1) {
      this.#caller.die(goneError());
      return;
    }
    const now = performance.now();
    if (Atomics.load(i32, DRIVEN) === 0) this.#pingAt = 0;
    else if (this.#pingAt === 0 || Atomics.load(i32, PONG) === Atomics.load(i32, PING)) this.#ask(now);
    else if (now - this.#pingAt >= PONG_MS) this.#caller.die(goneError());
  }

  #ask(now: number): void {
    this.#pingAt = now;
    Atomics.add(this.#i32, PING, 1);
    this.#control.ringDoorbell(this.#post);
  }

  refusesBlocking(): ReturnType<Link['refusesBlocking']> {
    if (mayStop) return null;
    return { code: 'EOPNOTSUPP', detail: 'this thread may not wait: Atomics.wait is for workers' };
  }

  listen(isWanted: boolean): void {
    this.#isWanted = isWanted;
    if (isWanted) this.#arm();
  }

  #arm(): void {
    if (this.#isArmed || this.#isClosed) return;
    this.#isArmed = true;
    const { word } = this.#slot;
    Atomics.store(this.#i32, word + CLIENT_WAITS, WAITS_HERE);
    const woken = (): void => this.#woken();
    if (hasWaitAsync) whenChanged(this.#i32, word + EVENT, this.#seen, woken);
    // The flag first, then a look: what came before it sent no message.
    else if (Atomics.load(this.#i32, word + EVENT) !== this.#seen) queueMicrotask(woken);
  }

  #woken(): void {
    this.#isArmed = false;
    if (this.#isClosed) return;
    this.drain();
    this.#caller.flush();
    if (this.#isWanted) this.#arm();
    else if (!this.#isArmed) Atomics.store(this.#i32, this.#slot.word + CLIENT_WAITS, 0);
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#port?.close();
  }
}
