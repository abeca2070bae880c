/**
 * A TCP connection of a stack that shares its memory, as the client's thread sees it: bytes are copied straight into the
 * ring of the stack and out of it, and the stack is told once for all that it has not looked at yet. @module
 */
import { type ErrorCode, errorCodeOf, NetError } from '../errors.ts';
import type { StreamBackend } from '../sockets/backend.ts';
import { CLOSED_EVENT, READABLE, WRITABLE } from '../tcp/events.ts';
import type { Endpoint } from '../tcp/socket.ts';
import { STATE_NAMES, type TcpState } from '../tcp/state.ts';
import type { Caller } from './caller.ts';
import { endpointOf } from './command-stream.ts';
import type { Handle, RingPlace, StreamOpened } from './commands.ts';
import { noteOf } from './handles.ts';
import { copyBytes } from './shared-copy.ts';
import type { SharedLink } from './shared-link.ts';
import { InspectedSocket } from './stream-inspector.ts';
import {
  HEADER_BYTES,
  isPosition,
  KICKED,
  movedBy,
  RX_BLOCKED,
  RX_ERROR,
  RX_FINISHED,
  RX_HEAD,
  RX_STATE,
  RX_TAIL,
  RX_WAITS,
  TX_CLOSED,
  TX_DRAINED,
  TX_HEAD,
  TX_SHUT,
  TX_TAIL,
  TX_WAITS,
  usedOf,
} from './stream-rings.ts';

export class RingStream extends InspectedSocket implements StreamBackend {
  readonly local: Endpoint;
  readonly remote: Endpoint;
  readonly connection = null;
  readonly #handle: Handle;
  readonly #link: SharedLink;
  readonly #i32: Int32Array;
  readonly #u8: Uint8Array;
  readonly #w: number;
  readonly #txAt: number;
  readonly #rxAt: number;
  readonly #bytes: number;
  // This side's own positions. It only tells them: what others write over them is not believed.
  #txTail = 0;
  #rxHead = 0;
  #isShut = false;
  #isGone = false;

  constructor(caller: Caller, { handle, local, remote }: StreamOpened, { offset, bytes }: RingPlace) {
    super(caller, handle);
    this.#handle = handle;
    this.local = endpointOf(local);
    this.remote = endpointOf(remote);
    this.#link = caller.link as SharedLink;
    this.#i32 = this.#link.memory32;
    this.#u8 = this.#link.memory8;
    this.#w = offset >> 2;
    this.#txAt = offset + HEADER_BYTES;
    this.#rxAt = this.#txAt + bytes;
    this.#bytes = bytes;
    caller.streams.set(noteOf(handle), (events) => this.#onEvent(events));
  }

  #load(word: number): number {
    return Atomics.load(this.#i32, this.#w + word);
  }

  /** What stands in the rings belongs to the stack again: nothing may be read of it. */
  get #isOver(): boolean {
    return this.isReleased || this.#isGone || this.#link.isOver;
  }

  get error(): ErrorCode | null {
    if (this.#isGone || (!this.isReleased && this.#link.isOver)) return 'ENETDOWN';
    const errno = this.isReleased ? 0 : this.#load(RX_ERROR);
    return errno === 0 ? null : errorCodeOf(errno);
  }

  state(): TcpState {
    return this.#isOver ? 'CLOSED' : (STATE_NAMES[this.#load(RX_STATE)] ?? 'CLOSED');
  }

  send(data: Uint8Array, from = 0): number {
    if (this.#isOver || this.#isShut || this.#load(TX_CLOSED) === 1 || !this.#link.enter()) throw this.#fault();
    let count = this.#put(data, from);
    if (count < data.length - from) {
      // The flag first, then another look: the stack may have made room just before.
      Atomics.store(this.#i32, this.#w + TX_WAITS, 1);
      count += this.#put(data, from + count);
      if (count === data.length - from) Atomics.store(this.#i32, this.#w + TX_WAITS, 0);
    }
    if (count > 0) this.#kick();
    this.#link.leave();
    if (this.#isGone) throw this.#fault();
    return count;
  }

  #fault(): NetError {
    const { address, port } = this.remote;
    return new NetError(this.error ?? 'EPIPE', 'write', { address: address.toString(), port });
  }

  /** Bytes used in a ring; -1: the stack's position cannot be, so nobody knows what stands there. */
  #used(head: number, tail: number): number {
    const used = usedOf(head, tail, this.#bytes);
    if (isPosition(head, this.#bytes) && isPosition(tail, this.#bytes) && used <= this.#bytes) return used;
    this.#link.damaged();
    return -1;
  }

  #put(data: Uint8Array, from: number): number {
    const bytes = this.#bytes;
    const tail = this.#txTail;
    const used = this.#used(this.#load(TX_HEAD), tail);
    const count = Math.min(data.length - from, bytes - used);
    if (used < 0 || count <= 0) return 0;
    const o = tail >= bytes ? tail - bytes : tail;
    const first = Math.min(count, bytes - o);
    const u8 = this.#u8;
    copyBytes(u8, this.#txAt + o, from === 0 && first === data.length ? data : data.subarray(from, from + first));
    if (first < count) copyBytes(u8, this.#txAt, data.subarray(from + first, from + count));
    this.#txTail = movedBy(tail, count, bytes);
    Atomics.store(this.#i32, this.#w + TX_TAIL, this.#txTail);
    return count;
  }

  recvQueue(): number {
    return this.#isOver ? 0 : Math.max(0, this.#used(this.#rxHead, this.#load(RX_TAIL)));
  }

  recv(target: Uint8Array): number {
    if (this.#isOver || !this.#link.enter()) return 0;
    const count = this.#takeOut(target);
    this.#link.leave();
    return count;
  }

  #takeOut(target: Uint8Array): number {
    const bytes = this.#bytes;
    const head = this.#rxHead;
    const used = this.#used(head, this.#load(RX_TAIL));
    const count = Math.min(used, target.length);
    if (count <= 0) return 0;
    const o = head >= bytes ? head - bytes : head;
    const first = Math.min(count, bytes - o);
    const u8 = this.#u8;
    copyBytes(target, 0, u8.subarray(this.#rxAt + o, this.#rxAt + o + first));
    if (first < count) copyBytes(target, first, u8.subarray(this.#rxAt, this.#rxAt + count - first));
    this.#rxHead = movedBy(head, count, bytes);
    Atomics.store(this.#i32, this.#w + RX_HEAD, this.#rxHead);
    if (used - count <= bytes >> 1 && this.#load(RX_BLOCKED) === 1) {
      Atomics.store(this.#i32, this.#w + RX_BLOCKED, 0);
      this.#kick();
    }
    return count;
  }

  mayRecv(): boolean {
    if (this.#isOver) return false;
    // The end first: bytes that were there before it are seen after it.
    const isFinished = this.#load(RX_FINISHED) === 1;
    return !isFinished || this.recvQueue() > 0;
  }

  /** Has the stack tell when bytes come, or their end; true: they came just now. */
  wantRecv(): boolean {
    if (!this.#link.enter()) return false;
    const hasSome = this.#wantRecv();
    this.#link.leave();
    return hasSome || this.#isGone; // a damaged ring: the error is told at once
  }

  #wantRecv(): boolean {
    Atomics.store(this.#i32, this.#w + RX_WAITS, 1);
    // Another look after the flag: the stack may have put something there just before.
    if (this.recvQueue() === 0 && this.#load(RX_FINISHED) === 0 && this.#load(RX_ERROR) === 0) return false;
    Atomics.store(this.#i32, this.#w + RX_WAITS, 0);
    return true;
  }

  #kick(): void {
    if (Atomics.exchange(this.#i32, this.#w + KICKED, 1) === 1) return;
    this.caller.note(this.#handle);
  }

  #onEvent(events: number): void {
    if (this.isReleased) return;
    const hasEnded = this.#load(TX_CLOSED) === 1 || this.#load(RX_ERROR) !== 0;
    this.notifyOwner(events | (hasEnded ? CLOSED_EVENT : 0));
  }

  close(): void {
    if (this.#isShut || this.#isOver || !this.#link.enter()) return;
    this.#isShut = true;
    Atomics.store(this.#i32, this.#w + TX_SHUT, 1);
    this.#kick();
    this.#link.leave();
  }

  release(): void {
    if (this.isReleased) return;
    this.#leave('tcp-close');
  }

  async releaseLingering(lingerMs: number): Promise<void> {
    if (this.isReleased) return;
    this.forget();
    this.caller.streams.delete(noteOf(this.#handle));
    await this.caller
      .request({ kind: 'tcp-close', handle: this.#handle, lingerMs: Math.min(lingerMs, Number.MAX_VALUE) })
      .catch(() => {});
  }

  abort(): void {
    if (this.isReleased) return;
    this.#leave('tcp-abort');
  }

  #leave(kind: 'tcp-close' | 'tcp-abort'): void {
    this.forget();
    this.caller.streams.delete(noteOf(this.#handle));
    this.caller.tell({ kind, handle: this.#handle });
  }

  /** Whether the peer has acknowledged everything; a stream that was let go of is the stack's affair. */
  isDrained(): boolean {
    return this.#isOver || (this.#load(TX_DRAINED) === 1 && this.#txTail === this.#load(TX_HEAD));
  }

  drop(): void {
    this.release();
  }

  protected stackIsGone(): void {
    this.#isGone = true;
    this.notifyOwner(READABLE | WRITABLE | CLOSED_EVENT);
  }
}
