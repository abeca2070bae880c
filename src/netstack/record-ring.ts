/**
 * Records in shared memory, from one thread to one other: a ring of whole records, published by moving its tail.
 *
 *     word 0   bytes of the record, all of it, a multiple of 4; -1: the next one stands at the beginning of the ring
 *     word 1   id; for a note {@link NOTE}
 *     word 2   bytes of the text (JSON, ASCII); for a note its handle
 *     word 3   bytes of data behind it, -1: none; for a note its events
 *
 * @module
 */
import type { Command, Response } from './commands.ts';

/** The id of a note: two numbers and nothing else. */
const NOTE = -1;
const SKIP = -1;
const HEADER_BYTES = 16;
const NOT_ASCII = /[\u0080-\uffff]/g;

export type Message = Command | Response;

/** A message as it is written. */
export interface Encoded {
  readonly text: string;
  readonly data: Uint8Array | null;
}

/** Everything but `data` becomes text. @throws TypeError for what cannot */
export function encode(message: Message): Encoded {
  const { data = null, ...rest } = message as { data?: Uint8Array };
  if (data !== null && !(data instanceof Uint8Array)) {
    throw new TypeError(`data: expected a Uint8Array, got ${typeof data}`);
  }
  const escaped = (c: string): string => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`;
  return { text: JSON.stringify(rest).replace(NOT_ASCII, escaped), data };
}

export interface Taken {
  /** Takes a message, or a note where `message` is null. */
  message(id: number, message: Message): void;
  note(handle: number, events: number): void;
}

/** Somebody who is none of ours wrote into the ring: nothing of it can be trusted. */
export class DamagedRing extends Error {
  override readonly name = 'DamagedRing';
}

/**
 * One side of a ring. Its own position it keeps to itself, and only tells it; the other side's is believed as far as it can
 * be true. So what another thread writes into the words makes it refuse the ring, and never read or write beyond it.
 */
export class RecordRing {
  readonly #i32: Int32Array;
  readonly #u8: Uint8Array;
  readonly #at: number;
  readonly #bytes: number;
  readonly #headWord: number;
  readonly #tailWord: number;
  /** Where this side stands: of a reader the head, of a writer the tail. Wraps at 2^32, which the size divides. */
  #own: number;
  /** The writer has seen a head that cannot be. */
  isDamaged = false;

  /**
   * @param at - byte offset of the ring @param bytes - its size, a power of two
   * @param from - where both sides begin
   */
  constructor(
    i32: Int32Array,
    u8: Uint8Array,
    at: number,
    bytes: number,
    headWord: number,
    tailWord: number,
    from = 0,
  ) {
    this.#own = from | 0;
    this.#i32 = i32;
    this.#u8 = u8;
    this.#at = at;
    this.#bytes = bytes;
    this.#headWord = headWord;
    this.#tailWord = tailWord;
  }

  /** The largest record: two of them always fit. */
  get recordMax(): number {
    return this.#bytes >> 1;
  }

  /** Whether a record of that size will ever fit. */
  fits({ text, data }: Encoded): boolean {
    return HEADER_BYTES + text.length + (data?.length ?? 0) + 8 <= this.recordMax;
  }

  /** Appends a message; false when there is no room now. */
  push(id: number, { text, data }: Encoded): boolean {
    const textBytes = (text.length + 3) & ~3;
    const dataBytes = data === null ? 0 : (data.length + 3) & ~3;
    const p = this.#room(HEADER_BYTES + textBytes + dataBytes);
    if (p < 0) return false;
    const i32 = this.#i32;
    const u8 = this.#u8;
    const w = p >> 2;
    i32[w + 1] = id;
    i32[w + 2] = text.length;
    i32[w + 3] = data === null ? -1 : data.length;
    for (let i = 0, q = p + HEADER_BYTES; i < text.length; i++) u8[q + i] = text.charCodeAt(i);
    if (data !== null) u8.set(data, p + HEADER_BYTES + textBytes);
    this.#publish(w, HEADER_BYTES + textBytes + dataBytes);
    return true;
  }

  /** Appends a note; false when there is no room now. */
  pushNote(handle: number, events: number): boolean {
    const p = this.#room(HEADER_BYTES);
    if (p < 0) return false;
    const w = p >> 2;
    this.#i32[w + 1] = NOTE;
    this.#i32[w + 2] = handle;
    this.#i32[w + 3] = events;
    this.#publish(w, HEADER_BYTES);
    return true;
  }

  /** Byte offset of `length` free bytes in a row, or -1. */
  #room(length: number): number {
    const i32 = this.#i32;
    const tail = this.#own;
    const used = (tail - Atomics.load(i32, this.#headWord)) | 0;
    if (used < 0 || used > this.#bytes) this.isDamaged = true;
    if (this.isDamaged) return -1;
    const o = tail & (this.#bytes - 1);
    const toEnd = this.#bytes - o;
    const skip = toEnd < length ? toEnd : 0;
    if (used + skip + length > this.#bytes) return -1;
    if (skip === 0) return this.#at + o;
    i32[(this.#at + o) >> 2] = SKIP;
    this.#move(skip);
    return this.#at;
  }

  #publish(w: number, length: number): void {
    this.#i32[w] = length;
    this.#move(length);
  }

  /** Tells the other side, for which all that was written before is there. */
  #move(length: number): void {
    this.#own = (this.#own + length) | 0;
    Atomics.store(this.#i32, this.#tailWord, this.#own);
  }

  /**
   * Takes the oldest record; false when there is none.
   * @throws DamagedRing for a record that no side of ours wrote
   */
  take(taken: Taken): boolean {
    const i32 = this.#i32;
    const bytes = this.#bytes;
    let used = (Atomics.load(i32, this.#tailWord) - this.#own) | 0;
    if (used === 0) return false;
    if (used < 0 || used > bytes) throw damaged();
    let o = this.#own & (bytes - 1);
    if (i32[(this.#at + o) >> 2] === SKIP) {
      used -= bytes - o;
      if (used < 0) throw damaged();
      this.#pass(bytes - o);
      if (used === 0) return false;
      o = 0;
    }
    const w = (this.#at + o) >> 2;
    const length = i32[w]!;
    if (length < HEADER_BYTES || (length & 3) !== 0 || length > used || length > bytes - o) throw damaged();
    this.#read(w, length, taken);
    return true;
  }

  /** Gives the writer its room back. */
  #pass(length: number): void {
    this.#own = (this.#own + length) | 0;
    Atomics.store(this.#i32, this.#headWord, this.#own);
  }

  /** Each word is read once: what another thread writes meanwhile changes nothing that was checked. */
  #read(w: number, length: number, taken: Taken): void {
    const i32 = this.#i32;
    const id = i32[w + 1]!;
    const [a, b] = [i32[w + 2]!, i32[w + 3]!];
    if (id === NOTE) {
      this.#pass(length);
      taken.note(a, b);
      return;
    }
    const dataAt = 4 * w + HEADER_BYTES + ((a + 3) & ~3);
    const isWithin = a >= 0 && a <= length && b >= -1 && b <= length;
    if (!isWithin || dataAt + Math.max(0, b) > 4 * w + length) throw damaged();
    const message = this.#message(4 * w + HEADER_BYTES, a);
    // A copy in memory of its own: `slice` of shared memory is not shared, but its type is.
    if (b >= 0) message.data = this.#u8.slice(dataAt, dataAt + b);
    this.#pass(length);
    taken.message(id, message as Message);
  }

  /** @throws DamagedRing for a text that is no record */
  #message(p: number, length: number): { data?: Uint8Array } {
    let text = '';
    for (let i = 0; i < length; i++) text += String.fromCharCode(this.#u8[p + i]!);
    try {
      const message: unknown = JSON.parse(text);
      if (typeof message === 'object' && message !== null) return message;
    } catch {
      // below
    }
    throw damaged();
  }
}

const damaged = (): DamagedRing => new DamagedRing('the ring of a channel holds what no side of it wrote');
