/** The stack's side of shared memory: who has which slot, what they ask, and what they are told. @module */
import { NetError } from '../errors.ts';
import type { Memory } from '../memory/memory.ts';
import { type Answers, Client } from './client.ts';
import { type Command, errorResponse, type Response } from './commands.ts';
import {
  ANSWERS_HEAD,
  ANSWERS_TAIL,
  ANSWERS_WAIT,
  COMMANDS_HEAD,
  COMMANDS_OUT,
  COMMANDS_TAIL,
  type Control,
  PENDING,
  SLOTS_MAX,
  type Slot,
  WANTS_ROOM,
} from './control.ts';
import type { Request } from './mailbox.ts';
import { type Encoded, encode, type Message, RecordRing, type Taken } from './record-ring.ts';
import { HeldBack, StreamRings } from './stream-rings.ts';

/** Both rings of a stream together take at most this part of the free memory, as a shift: one 32nd. */
const SHARE_SHIFT = 5;
/** And at least so much. */
const RINGS_MIN = 1 << 12;
/** Notes of one slot that are served in one go; then the others have their turn. */
const NOTES_MAX = 4096;
/** Answers that may wait for a client that takes none; then no more of its commands are taken. */
const HELD_MAX = 4096;
/** How long a stack that is closed waits for threads that copy bytes; what is not done then is in a thread that was stopped. */
const BUSY_MS = 20;
/** What a message takes beside its data, at most. */
const MESSAGE_BYTES = 512;

/** What waits for room in the ring of answers. */
interface Held {
  readonly id: number;
  readonly encoded: Encoded | null; // null: a note
  readonly events: number;
}

/** One slot, while somebody has it. */
class SlotServer implements Answers, Taken {
  readonly client: Client;
  readonly slot: Slot;
  readonly #control: Control;
  readonly #commands: RecordRing;
  readonly #answers: RecordRing;
  #held: Held[] = [];
  /** Sends the client a message, where it waits for one. */
  post: (() => void) | null = null;
  /** Whether commands may be there that were not looked at: too many notes came before them, or answers wait. */
  hasMore = false;
  /** Its slot is kept from others until its thread is gone. */
  isQuarantined = false;
  /** What of an answer may be data, in bytes. */
  readonly dataMax: number;
  #mustRing = false;
  #taken: Request | null = null;

  constructor(control: Control, slot: Slot, makeRings: () => StreamRings | null) {
    this.slot = slot;
    this.#control = control;
    const { i32, u8, ringBytes } = control;
    const { word, commandsAt, answersAt } = slot;
    this.#commands = new RecordRing(i32, u8, commandsAt, ringBytes, word + COMMANDS_HEAD, word + COMMANDS_TAIL);
    this.#answers = new RecordRing(i32, u8, answersAt, ringBytes, word + ANSWERS_HEAD, word + ANSWERS_TAIL);
    this.dataMax = this.#answers.recordMax - MESSAGE_BYTES;
    this.client = new Client(this, makeRings);
  }

  /** Whether something stands in its words that no client of ours writes. */
  get isDamaged(): boolean {
    return this.#answers.isDamaged || this.client.isDamaged;
  }

  /** Whether so many answers wait that no command is taken. */
  get isStalled(): boolean {
    return this.#held.length >= HELD_MAX;
  }

  /** The oldest command, or null; notes about streams are served on the way. @throws DamagedRing */
  take(): Request | null {
    this.#taken = null;
    let notes = 0;
    this.hasMore = this.isStalled;
    while (this.#taken === null && !this.hasMore && this.#commands.take(this)) this.hasMore = ++notes > NOTES_MAX;
    const { i32 } = this.#control;
    const { word } = this.slot;
    if (Atomics.exchange(i32, word + WANTS_ROOM, 0) === 1) this.#mustRing = true;
    return this.#taken;
  }

  message(id: number, command: Message): void {
    const { i32 } = this.#control;
    const { word } = this.slot;
    Atomics.store(i32, word + COMMANDS_OUT, (i32[word + COMMANDS_OUT]! + 1) | 0);
    this.#taken = { client: this.client, id, command: command as Command };
  }

  note(handle: number): void {
    const entry = this.client.entries.noted(handle);
    entry?.notify(0);
  }

  answer(id: number, response: Response): void {
    if (id === 0 || this.client.isGone) return; // the slot may be another's by now
    let encoded = encode(response);
    if (!this.#answers.fits(encoded)) {
      encoded = encode(errorResponse(new NetError('EMSGSIZE', 'request', { detail: 'the answer is too long' }), ''));
    }
    if (this.#held.length > 0 || !this.#answers.push(id, encoded)) this.#hold({ id, encoded, events: 0 });
    this.#mustRing = true;
  }

  event(handle: number, events: number): void {
    if (this.client.isGone) return;
    if (this.#held.length > 0 || !this.#answers.pushNote(handle, events)) {
      this.#hold({ id: handle, encoded: null, events });
    }
    this.#mustRing = true;
  }

  /** One answer a command, of which no more are taken beyond {@link HELD_MAX}; and one note a direction of a stream. */
  #hold(held: Held): void {
    this.#held.push(held);
    Atomics.store(this.#control.i32, this.slot.word + ANSWERS_WAIT, 1);
  }

  /** Puts what waited into the ring, and rings the client if it has anything new. */
  flush(): void {
    const held = this.#held;
    let put = 0;
    while (put < held.length && this.#put(held[put]!)) put++;
    if (put > 0) this.#held = held.slice(put);
    if (put > 0) this.#mustRing = true;
    if (this.#held.length > 0) Atomics.store(this.#control.i32, this.slot.word + ANSWERS_WAIT, 1);
    if (!this.#mustRing) return;
    this.#mustRing = false;
    this.ring();
  }

  ring(): void {
    this.#control.ringClient(this.slot.word, this.post);
  }

  #put({ id, encoded, events }: Held): boolean {
    return encoded === null ? this.#answers.pushNote(id, events) : this.#answers.push(id, encoded);
  }
}

export class Slots {
  readonly control: Control;
  readonly #memory: Memory;
  readonly #streamBytes: number;
  readonly #servers: (SlotServer | null)[];
  /** Rings of streams, and whose slot they are of. */
  readonly #rings = new Map<StreamRings, number>();
  readonly #heldBack = new HeldBack();
  /** Slots with commands that were not all taken, a bit each. */
  #pending = 0;
  /** Slots to look at again in the next turn. */
  #again = 0;
  /** The slot that had its turn last. */
  #last = SLOTS_MAX - 1;
  /** Slots that nobody may have: see {@link STATE_ENDED}. */
  #quarantined = 0;
  /** Clients that were ended because of what they wrote. */
  damagedCount = 0;

  constructor(control: Control, memory: Memory, streamBytes: number) {
    this.control = control;
    this.#memory = memory;
    this.#streamBytes = streamBytes;
    this.#servers = Array.from({ length: control.slotCount }, () => null);
  }

  /** Clients that are there now. */
  get count(): number {
    return this.#servers.filter((server) => server !== null).length;
  }

  /** Sockets of all of them. */
  get socketCount(): number {
    return this.#servers.reduce((count, server) => count + (server?.client.entries.count ?? 0), 0);
  }

  /**
   * The slot is a thread's whose end is watched: gives what is to be called then, or null where the slot is another's.
   * @param post - sends that thread a message
   */
  watch(index: number, post: () => void): (() => void) | null {
    if (!(Number.isInteger(index) && index >= 0 && index < this.control.slotCount)) return null;
    const server = this.#servers[index] ?? this.#serve(index);
    if (server.post !== null) return null;
    server.post = post;
    server.ring(); // it may have waited for a message already
    return () => {
      if (this.#servers[index] === server) this.end(index);
      else if (server.isQuarantined) this.#release(index); // its thread is gone: it writes no more
    };
  }

  #serve(index: number): SlotServer {
    const server = new SlotServer(this.control, this.control.slot(index), () => this.#makeRings(index));
    this.#servers[index] = server;
    return server;
  }

  /**
   * Large rings while there is much memory, so that neither thread waits for the other's wake-up; smaller ones as it gets
   * less. Half of the memory is left to frames and connections: beyond that bytes go in commands.
   */
  #makeRings(index: number): StreamRings | null {
    const memory = this.#memory;
    const share = memory.freeBytes >>> SHARE_SHIFT;
    const bytes = Math.min(this.#streamBytes, share < RINGS_MIN ? RINGS_MIN : 1 << (31 - Math.clz32(share)));
    if (memory.freeBytes - bytes < memory.bytes >>> 1) return null;
    const offset = memory.alloc(bytes);
    if (offset === 0) return null;
    const rings = new StreamRings(memory, offset, this.#heldBack, (gone) => this.#rings.delete(gone));
    this.#rings.set(rings, index);
    return rings;
  }

  /** Whether somebody has asked for something. */
  get hasRequests(): boolean {
    return (this.#pending | this.#again) !== 0 || Atomics.load(this.control.i32, PENDING) !== 0;
  }

  /** The next command, or null; one of each slot in turn, so that none waits for another. */
  take(): Request | null {
    this.#pending |= Atomics.exchange(this.control.i32, PENDING, 0) | this.#again;
    this.#again = 0;
    while (this.#pending !== 0) {
      const index = this.#next();
      const request = this.#takeFrom(index);
      this.#last = index;
      if (request !== null) return request;
      this.#pending &= ~(1 << index);
    }
    return null;
  }

  /** The first slot with commands behind the one that had its turn last. */
  #next(): number {
    const behind = this.#last === SLOTS_MAX - 1 ? 0 : this.#pending & (-2 << this.#last);
    const bits = behind === 0 ? this.#pending : behind;
    return 31 - Math.clz32(bits & -bits);
  }

  #takeFrom(index: number): Request | null {
    if (index >= this.control.slotCount || this.#isQuarantined(index)) return null;
    const server = this.#servers[index] ?? this.#serve(index);
    try {
      const request = server.take();
      if (request === null && server.hasMore && !server.isStalled) this.#again |= 1 << index;
      return request;
    } catch {
      // Somebody who is none of ours wrote into the ring: nothing of it can be trusted.
      this.#endDamaged(index, server);
      return null;
    }
  }

  /** Whether nobody may have the slot; a thread that was ended and has seen it gives its slot back itself. */
  #isQuarantined(index: number): boolean {
    const bit = 1 << index;
    if ((this.#quarantined & bit) !== 0 && !this.control.isEnded(index)) this.#quarantined &= ~bit;
    return (this.#quarantined & bit) !== 0;
  }

  /** Ends the client of a slot: its thread is gone, or left. Its sockets are closed. */
  end(index: number): void {
    const server = this.#servers[index] ?? null;
    if (server === null) return;
    this.#servers[index] = null;
    server.client.leave();
    this.control.free(index);
  }

  /** Ends a client that wrote what cannot be. Its thread may go on writing: the slot is kept from others. */
  #endDamaged(index: number, server: SlotServer): void {
    this.damagedCount++;
    this.#servers[index] = null;
    this.#quarantined |= 1 << index;
    server.isQuarantined = true;
    this.control.quarantine(index);
    this.#isIdle(index, performance.now() + BUSY_MS);
    server.client.leave();
    server.ring();
  }

  #release(index: number): void {
    this.#quarantined &= ~(1 << index);
    this.control.free(index);
  }

  set holdsBack(holds: boolean) {
    this.#heldBack.isWanted = holds;
  }

  /** Has the clients told of what was held back; false: nothing was. */
  tellHeldBack(): boolean {
    return this.#heldBack.tell();
  }

  /** Puts out what clients are to be told, and gives back the slots of those that left. */
  flush(now = 0): void {
    this.#heldBack.look(now);
    for (const [index, server] of this.#servers.entries()) {
      if (server === null) continue;
      const wasStalled = server.isStalled;
      server.flush();
      if (server.isDamaged) this.#endDamaged(index, server);
      else if (server.client.isGone) this.end(index);
      else if (wasStalled && server.hasMore && !server.isStalled) this.#again |= 1 << index;
    }
  }

  /** Whether the thread of a slot is done in its rings by `until`: it begins nothing new any more. */
  #isIdle(index: number, until: number): boolean {
    while (this.control.isBusy(index)) if (performance.now() >= until) return false;
    return true;
  }

  /** The stack ends, and has said so. Rings in which a thread was stopped stay as they are: it may write on. */
  close(): void {
    const until = performance.now() + BUSY_MS;
    for (const [rings, index] of [...this.#rings]) if (this.#isIdle(index, until)) rings.free();
    for (const server of this.#servers) if (server !== null) server.ring();
    this.control.retire();
  }
}
