/**
 * The shared memory of a channel: one block of words a stack, with a slot for each thread that has sockets of it. A slot is
 * two rings of records, commands in and answers out, each with one writer and one reader; so no thread ever waits for a
 * lock, and one that is terminated anywhere breaks nothing. @module
 */

import { processors } from './processors.ts';

/** Slots of a stack: threads that may have sockets of it at once. */
export const SLOTS_MAX = 32;

// Words of the stack, in Int32Array indices.
const MAGIC_WORD = 0;
/** Counts what the stack should look at: it waits on this word. */
export const DOORBELL = 1;
/** How the stack waits on the doorbell: 0, or {@link WAITS} or {@link WAITS_FOR_MESSAGE}. */
export const STACK_WAITS = 2;
/** A bit for each slot with commands. */
export const PENDING = 3;
/** 1 once the stack is closed. */
export const DEAD = 4;
/** 1 while a driver runs the stack, which answers {@link PING} within moments. */
export const DRIVEN = 5;
/** Written by whoever doubts that the stack still runs, copied to {@link PONG} by its driver. */
export const PING = 6;
export const PONG = 7;
const SLOTS_WORD = 8;
const RING_BYTES_WORD = 9;
/** Commands that a client may have handed over and the stack not taken. */
export const CAPACITY = 10;
/** Threads that have slots of the stacks on one doorbell; it stands beside the doorbell. */
const CLIENTS = 11;
const HEADER_WORDS = 64;

// Words of a slot. What different threads write lies on different cache lines.
/** One of the STATE_ constants. */
export const STATE = 0;
/** Counts what the client should look at: it waits on this word. */
export const EVENT = 1;
/** Written by the client. */
export const COMMANDS_TAIL = 16;
export const ANSWERS_HEAD = 17;
/** How the client waits: bits of {@link WAITS} and {@link WAITS_FOR_MESSAGE}. */
export const CLIENT_WAITS = 18;
export const COMMANDS_IN = 19;
/** 1: the client has found the ring of commands full. */
export const WANTS_ROOM = 20;
/** 1: the client is at work in rings of streams, which the stack must not give to others meanwhile. */
export const BUSY = 21;
/** Written by the stack. */
export const COMMANDS_HEAD = 32;
export const ANSWERS_TAIL = 33;
export const COMMANDS_OUT = 34;
/** 1: the stack has found the ring of answers full. */
export const ANSWERS_WAIT = 35;
const SLOT_WORDS = 64;
/** What a slot's next life must not see of the last one. */
const USED_WORDS = [
  COMMANDS_TAIL,
  COMMANDS_HEAD,
  ANSWERS_HEAD,
  ANSWERS_TAIL,
  COMMANDS_IN,
  COMMANDS_OUT,
  WANTS_ROOM,
  ANSWERS_WAIT,
  CLIENT_WAITS,
  BUSY,
];

export const STATE_FREE = 0;
export const STATE_CLAIMED = 1;
/** Kept for the thread that a channel was shared with. */
export const STATE_RESERVED = 2;
/** What its thread wrote cannot be: its client was ended, and nobody gets the slot while that thread may still write there. */
export const STATE_ENDED = 3;

/** Whoever changes the word that is waited on must notify. */
export const WAITS = 1;
/** Whoever changes it must send a message over the port of a channel, and takes this back: one is enough. */
export const WAITS_FOR_MESSAGE = 2;

const MAGIC = 0x65746e31;

/** Where everything of a slot stands. */
export interface Slot {
  readonly index: number;
  /** Index of its first word. */
  readonly word: number;
  /** Byte offsets of its rings. */
  readonly commandsAt: number;
  readonly answersAt: number;
}

export class Control {
  readonly buffer: SharedArrayBuffer;
  /** The words with the doorbell: another stack's, where one thread waits for both. */
  readonly bell: Int32Array;
  readonly i32: Int32Array;
  readonly u8: Uint8Array;
  readonly slotCount: number;
  readonly ringBytes: number;

  /** @throws TypeError where `buffer` is no such block */
  constructor(buffer: SharedArrayBuffer, bell: SharedArrayBuffer = buffer) {
    this.buffer = buffer;
    this.bell = new Int32Array(bell);
    this.i32 = new Int32Array(buffer);
    this.u8 = new Uint8Array(buffer);
    if (this.i32[MAGIC_WORD] !== MAGIC) throw new TypeError('channel: expected the shared memory of a netstack');
    this.slotCount = this.i32[SLOTS_WORD]!;
    this.ringBytes = this.i32[RING_BYTES_WORD]!;
  }

  /** @param ringBytes - of one ring, a power of two */
  static make(slotCount: number, ringBytes: number, capacity: number, bell?: Control): Control {
    const words = HEADER_WORDS + slotCount * SLOT_WORDS;
    const buffer = new SharedArrayBuffer(4 * words + slotCount * 2 * ringBytes);
    const i32 = new Int32Array(buffer);
    i32[MAGIC_WORD] = MAGIC;
    i32[SLOTS_WORD] = slotCount;
    i32[RING_BYTES_WORD] = ringBytes;
    i32[CAPACITY] = capacity;
    return new Control(buffer, bell?.bell.buffer as SharedArrayBuffer | undefined);
  }

  slot(index: number): Slot {
    const rings = 4 * (HEADER_WORDS + this.slotCount * SLOT_WORDS) + index * 2 * this.ringBytes;
    const word = HEADER_WORDS + index * SLOT_WORDS;
    return { index, word, commandsAt: rings, answersAt: rings + this.ringBytes };
  }

  /** Claims a slot that is in `state`; false: another thread was first. */
  claim(index: number, state: number): boolean {
    const { word } = this.slot(index);
    if (Atomics.compareExchange(this.i32, word + STATE, state, STATE_CLAIMED) !== state) return false;
    Atomics.add(this.bell, CLIENTS, 1);
    return true;
  }

  /** Keeps a free slot for the thread that a channel is shared with; -1: all are taken. */
  reserve(): number {
    for (let index = 0; index < this.slotCount; index++) {
      const at = this.slot(index).word + STATE;
      if (Atomics.compareExchange(this.i32, at, STATE_FREE, STATE_RESERVED) === STATE_FREE) return index;
    }
    return -1;
  }

  /** Gives a slot back, claimed or reserved. */
  release(index: number): void {
    this.#leave(index, STATE_FREE);
  }

  /** Takes a slot out of use: see {@link STATE_ENDED}. */
  quarantine(index: number): void {
    this.#leave(index, STATE_ENDED);
  }

  #leave(index: number, state: number): void {
    const { word } = this.slot(index);
    if (Atomics.exchange(this.i32, word + STATE, state) === STATE_CLAIMED) Atomics.sub(this.bell, CLIENTS, 1);
  }

  isEnded(index: number): boolean {
    return Atomics.load(this.i32, this.slot(index).word + STATE) === STATE_ENDED;
  }

  /** Makes a slot as it was at first, and gives it back: whoever claims it next sees nothing of what was there. */
  free(index: number): void {
    const { word } = this.slot(index);
    for (const w of USED_WORDS) Atomics.store(this.i32, word + w, 0);
    this.release(index);
  }

  /** The stack ends: those who have slots of it do nothing here any more, and the slots are nobody else's. */
  retire(): void {
    for (let index = 0; index < this.slotCount; index++) {
      const at = this.slot(index).word + STATE;
      const was = Atomics.compareExchange(this.i32, at, STATE_CLAIMED, STATE_RESERVED);
      if (was === STATE_CLAIMED) Atomics.sub(this.bell, CLIENTS, 1);
    }
  }

  /** Whether the client of a slot is at work in the rings of its streams. */
  isBusy(index: number): boolean {
    return Atomics.load(this.i32, this.slot(index).word + BUSY) !== 0;
  }

  /** Whether each thread at work here, the stacks' one among them, may have a processor to itself. */
  get hasProcessors(): boolean {
    return Atomics.load(this.bell, CLIENTS) < processors;
  }

  /** Has the stack look at what is there. @param post - sends it a message, where it waits for one */
  ringDoorbell(post: (() => void) | null = null): void {
    Atomics.add(this.bell, DOORBELL, 1);
    const waits = Atomics.load(this.bell, STACK_WAITS);
    if (waits === 0) return;
    if (waits === WAITS) Atomics.notify(this.bell, DOORBELL);
    else if (post !== null && Atomics.compareExchange(this.bell, STACK_WAITS, waits, 0) === waits) post();
  }

  /** Has the client of a slot look at what is there. @param post - sends it a message, where it waits for one */
  ringClient(word: number, post: (() => void) | null = null): void {
    Atomics.add(this.i32, word + EVENT, 1);
    const waits = Atomics.load(this.i32, word + CLIENT_WAITS);
    if ((waits & WAITS) !== 0) Atomics.notify(this.i32, word + EVENT);
    if ((waits & WAITS_FOR_MESSAGE) === 0 || post === null) return;
    Atomics.and(this.i32, word + CLIENT_WAITS, ~WAITS_FOR_MESSAGE);
    post();
  }
}
