/**
 * The rings of one TCP connection in the stack's shared memory, as the stack sees them: bytes to send, which the client's
 * thread writes and the stack takes, and bytes received, the other way round. @module
 */
import type { Memory } from '../memory/memory.ts';
import { READABLE, WRITABLE } from '../tcp/events.ts';
import { STATE_NAMES } from '../tcp/state.ts';
import type { RingPlace } from './commands.ts';
import type { StreamEntry } from './stream-entry.ts';

// Words at the beginning of the block, in Int32Array indices. Positions run from 0 to twice the size, so that a full ring
// and an empty one differ. Written by the client:
export const TX_TAIL = 0;
export const RX_HEAD = 1;
/** 1: the client waits for bytes, or for their end. */
export const RX_WAITS = 2;
/** 1: the client waits for room. */
export const TX_WAITS = 3;
/** 1: nothing more will be written. */
export const TX_SHUT = 4;
// Written by the stack:
export const TX_HEAD = 16;
export const RX_TAIL = 17;
/** Index of the state's name. */
export const RX_STATE = 18;
/** The errno of what ended the connection, or 0. */
export const RX_ERROR = 19;
/** 1: no bytes come after those that are there. */
export const RX_FINISHED = 20;
/** 1: nothing can be sent any more. */
export const TX_CLOSED = 21;
/** 1: bytes wait for room in the ring of the received. */
export const RX_BLOCKED = 22;
// Written by both:
/** 1: the stack has been told and has not looked yet. */
export const KICKED = 32;
/** 1: all that was sent has been acknowledged. */
export const TX_DRAINED = 33;
export const HEADER_BYTES = 256;

/** Bytes used in a ring of `bytes`. */
export const usedOf = (head: number, tail: number, bytes: number): number =>
  tail >= head ? tail - head : tail - head + 2 * bytes;
/** Whether a position can be one: then `usedOf` is not below 0. */
export const isPosition = (position: number, bytes: number): boolean => position >= 0 && position < 2 * bytes;
/** `position` moved by `count`. */
export const movedBy = (position: number, count: number, bytes: number): number =>
  position + count >= 2 * bytes ? position + count - 2 * bytes : position + count;

/** Less than this is told at once: somebody waits for an answer, not for bulk. */
const HOLD_MIN = 1 << 13;
/** Part of a ring, as a shift, that is told at once: one quarter. */
const HOLD_SHIFT = 2;
/** No news waits longer than this, in ms. */
const HOLD_MS = 0.1;

/**
 * Rings whose client waits for bytes, and has some, while the stack has more to do that may bring more: one wake-up for all
 * of it.
 */
export class HeldBack {
  /** Whether somebody will call {@link tell}. */
  isWanted = false;
  readonly #rings: StreamRings[] = [];
  #since = 0;

  add(rings: StreamRings): void {
    this.#rings.push(rings);
  }

  /** After each turn of the stack: what has waited for long is told. */
  look(now: number): void {
    if (this.#rings.length === 0) this.#since = now;
    else if (now - this.#since >= HOLD_MS) this.tell();
  }

  /** Tells all of it; false: there was none. */
  tell(): boolean {
    if (this.#rings.length === 0) return false;
    for (const rings of this.#rings) rings.tellReadable();
    this.#rings.length = 0;
    return true;
  }
}

export class StreamRings {
  readonly place: RingPlace;
  readonly #memory: Memory;
  readonly #w: number;
  readonly #txAt: number;
  readonly #rxAt: number;
  readonly #bytes: number;
  readonly #heldBack: HeldBack;
  readonly #onFree: (rings: StreamRings) => void;
  #entry: StreamEntry | null = null;
  #isShut = false;
  #isHeldBack = false;
  #isFreed = false;
  // The stack's own positions. It only tells them: what the client's thread writes over them is not believed.
  #txHead = 0;
  #rxTail = 0;
  /** The client's positions cannot be: nothing is moved any more. */
  #isDamaged = false;

  /** @param offset - of a block of the memory, which the rings own from now on */
  constructor(memory: Memory, offset: number, heldBack: HeldBack, onFree: (rings: StreamRings) => void) {
    this.#memory = memory;
    this.#bytes = (memory.sizeOf(offset) - HEADER_BYTES) >> 1;
    this.place = { offset, bytes: this.#bytes };
    this.#w = offset >> 2;
    this.#txAt = offset + HEADER_BYTES;
    this.#rxAt = this.#txAt + this.#bytes;
    this.#heldBack = heldBack;
    this.#onFree = onFree;
    memory.i32.fill(0, this.#w, this.#w + (HEADER_BYTES >> 2));
  }

  /** Begins to move bytes of `entry`. */
  serve(entry: StreamEntry): void {
    this.#entry = entry;
    this.move();
  }

  /** Whether the client has read everything that is in its ring. */
  get isRead(): boolean {
    return Atomics.load(this.#memory.i32, this.#w + RX_HEAD) === this.#rxTail;
  }

  /** Whether all that the client wrote is in the connection's buffer. */
  get isSent(): boolean {
    return this.#isDamaged || Atomics.load(this.#memory.i32, this.#w + TX_TAIL) === this.#txHead;
  }

  /** Moves what can be moved, both ways, and tells the client if it waits. */
  move(): void {
    const entry = this.#entry;
    if (entry === null || this.#isFreed || this.#isDamaged) return;
    const { i32 } = this.#memory;
    const w = this.#w;
    Atomics.store(i32, w + KICKED, 0);
    let events = 0;
    if (this.#moveOut(entry) && Atomics.exchange(i32, w + TX_WAITS, 0) === 1) events |= WRITABLE;
    const hasMoved = this.#moveIn(entry);
    const hasEnded = this.#tellState(entry);
    if (hasEnded || (hasMoved && !this.#mayHoldBack())) {
      if (Atomics.exchange(i32, w + RX_WAITS, 0) === 1) events |= READABLE;
    }
    if (hasEnded && Atomics.exchange(i32, w + TX_WAITS, 0) === 1) events |= WRITABLE;
    if (events !== 0) entry.client.answers.event?.(entry.handle, events);
  }

  /** Whether the client, if it waits, can wait for more: the ring holds some, not much, and more is on its way. */
  #mayHoldBack(): boolean {
    if (this.#isHeldBack) return this.#used < this.#bytes >> HOLD_SHIFT;
    const used = this.#used;
    if (!this.#heldBack.isWanted || used < HOLD_MIN || used >= this.#bytes >> HOLD_SHIFT) return false;
    this.#isHeldBack = true;
    this.#heldBack.add(this);
    return true;
  }

  /** Bytes that the client has not read. */
  get #used(): number {
    return usedOf(Atomics.load(this.#memory.i32, this.#w + RX_HEAD), this.#rxTail, this.#bytes);
  }

  /** Tells the client, if it waits, what was held back. */
  tellReadable(): void {
    this.#isHeldBack = false;
    const entry = this.#entry;
    if (entry === null || this.#isFreed) return;
    if (Atomics.exchange(this.#memory.i32, this.#w + RX_WAITS, 0) === 1) {
      entry.client.answers.event?.(entry.handle, READABLE);
    }
  }

  /** Takes what the client wrote; says whether three quarters of the ring are free again. */
  #moveOut(entry: StreamEntry): boolean {
    const { i32 } = this.#memory;
    const w = this.#w;
    const bytes = this.#bytes;
    const { socket } = entry;
    let head = this.#txHead;
    const tail = Atomics.load(i32, w + TX_TAIL);
    let used = usedOf(head, tail, bytes);
    if (!isPosition(tail, bytes) || used > bytes) return this.#refuse(entry);
    while (used > 0) {
      const o = head >= bytes ? head - bytes : head;
      const count = Math.min(used, bytes - o);
      // What cannot be sent any more is dropped: the client learns of it from the words of the state.
      const taken = socket.maySend() ? socket.sendAt(this.#txAt + o, count) : count;
      if (taken === 0) break;
      head = movedBy(head, taken, bytes);
      used -= taken;
    }
    if (head !== this.#txHead) {
      this.#txHead = head;
      Atomics.store(i32, w + TX_HEAD, head);
    }
    if (used === 0 && (this.#isShut || Atomics.load(i32, w + TX_SHUT) === 1) && socket.maySend()) socket.close();
    return used <= bytes >> 2;
  }

  /** No client of ours wrote that: all of them is ended, at the end of the turn. */
  #refuse({ client }: StreamEntry): false {
    this.#isDamaged = true;
    client.isDamaged = true;
    return false;
  }

  /** Gives what arrived; says whether there was any. */
  #moveIn(entry: StreamEntry): boolean {
    const { socket } = entry;
    if (socket.recvQueue() === 0) return false;
    const { i32 } = this.#memory;
    const w = this.#w;
    const bytes = this.#bytes;
    let tail = this.#rxTail;
    let isBlocked = false;
    for (;;) {
      const head = Atomics.load(i32, w + RX_HEAD);
      const used = usedOf(head, tail, bytes);
      if (!isPosition(head, bytes) || used > bytes) return this.#refuse(entry);
      const free = bytes - used;
      const queued = socket.recvQueue();
      if (queued === 0) break;
      if (free === 0) {
        if (isBlocked) break;
        // Looked at once more after the flag: the client may have read just before.
        Atomics.store(i32, w + RX_BLOCKED, 1);
        isBlocked = true;
        continue;
      }
      const o = tail >= bytes ? tail - bytes : tail;
      const count = socket.recvAt(this.#rxAt + o, Math.min(queued, free, bytes - o));
      if (count === 0) break;
      isBlocked = false;
      tail = movedBy(tail, count, bytes);
    }
    if (tail === this.#rxTail) return false;
    this.#rxTail = tail;
    Atomics.store(i32, w + RX_TAIL, tail);
    return true;
  }

  /** Writes the words of the state; says whether something ended. */
  #tellState({ socket }: StreamEntry): boolean {
    const { i32 } = this.#memory;
    const w = this.#w;
    i32[w + RX_STATE] = STATE_NAMES.indexOf(socket.state());
    Atomics.store(i32, w + TX_DRAINED, socket.isDrained() && this.isSent ? 1 : 0);
    let hasEnded = false;
    if (i32[w + RX_ERROR] === 0 && socket.error !== null && socket.recvQueue() === 0) {
      Atomics.store(i32, w + RX_ERROR, this.#entry!.errno());
      hasEnded = true;
    }
    if (i32[w + TX_CLOSED] === 0 && !socket.maySend()) {
      Atomics.store(i32, w + TX_CLOSED, 1);
      hasEnded = true;
    }
    if (i32[w + RX_FINISHED] === 0 && !socket.mayRecv()) {
      Atomics.store(i32, w + RX_FINISHED, 1);
      hasEnded = true;
    }
    return hasEnded;
  }

  /** Closes the sending half behind what the client wrote. */
  shutdown(): void {
    this.#isShut = true;
    this.move();
  }

  /** Gives the memory back. */
  free(): void {
    if (this.#isFreed) return;
    this.#isFreed = true;
    this.#entry = null;
    this.#memory.free(this.place.offset);
    this.#onFree(this);
  }
}
