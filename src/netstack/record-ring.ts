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

export class RecordRing {
  readonly #i32: Int32Array;
  readonly #u8: Uint8Array;
  readonly #at: number;
  readonly #bytes: number;
  readonly #headWord: number;
  readonly #tailWord: number;

  /** @param at - byte offset of the ring @param bytes - its size, a power of two */
  constructor(i32: Int32Array, u8: Uint8Array, at: number, bytes: number, headWord: number, tailWord: number) {
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

  get isEmpty(): boolean {
    return Atomics.load(this.#i32, this.#headWord) === Atomics.load(this.#i32, this.#tailWord);
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
    const tail = i32[this.#tailWord]!; // this side's own
    const used = (tail - Atomics.load(i32, this.#headWord)) | 0;
    const o = tail & (this.#bytes - 1);
    const toEnd = this.#bytes - o;
    const skip = toEnd < length ? toEnd : 0;
    if (used + skip + length > this.#bytes) return -1;
    if (skip === 0) return this.#at + o;
    i32[(this.#at + o) >> 2] = SKIP;
    Atomics.store(i32, this.#tailWord, (tail + skip) | 0);
    return this.#at;
  }

  #publish(w: number, length: number): void {
    const i32 = this.#i32;
    i32[w] = length;
    Atomics.store(i32, this.#tailWord, (i32[this.#tailWord]! + length) | 0);
  }

  /**
   * Takes the oldest record; false when there is none.
   * @throws Error for a record that no side of ours wrote
   */
  take(taken: Taken): boolean {
    const i32 = this.#i32;
    let head = i32[this.#headWord]!; // this side's own
    const tail = Atomics.load(i32, this.#tailWord);
    if (head === tail) return false;
    let w = (this.#at + (head & (this.#bytes - 1))) >> 2;
    if (i32[w] === SKIP) {
      head = (head + this.#bytes - (head & (this.#bytes - 1))) | 0;
      w = this.#at >> 2;
      Atomics.store(i32, this.#headWord, head);
      if (head === tail) return false;
    }
    const length = i32[w]!;
    if (length < HEADER_BYTES || (length & 3) !== 0 || length > ((tail - head) | 0))
      throw new Error('a damaged record');
    this.#read(w, length, taken, (head + length) | 0);
    return true;
  }

  #read(w: number, length: number, taken: Taken, next: number): void {
    const i32 = this.#i32;
    const id = i32[w + 1]!;
    const [a, b] = [i32[w + 2]!, i32[w + 3]!];
    if (id === NOTE) {
      Atomics.store(i32, this.#headWord, next);
      taken.note(a, b);
      return;
    }
    const p = 4 * w + HEADER_BYTES;
    if (a < 0 || HEADER_BYTES + ((a + 3) & ~3) + Math.max(0, b) > length) throw new Error('a damaged record');
    let text = '';
    for (let i = 0; i < a; i++) text += String.fromCharCode(this.#u8[p + i]!);
    const data = b < 0 ? null : this.#u8.slice(p + ((a + 3) & ~3), p + ((a + 3) & ~3) + b);
    Atomics.store(i32, this.#headWord, next);
    const message = JSON.parse(text) as { data?: Uint8Array };
    // A copy in memory of its own: `slice` of shared memory is not shared, but its type is.
    if (data !== null) message.data = data;
    taken.message(id, message as Message);
  }
}
