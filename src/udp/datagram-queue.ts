/**
 * Datagrams that wait for their reader: records in a ring of the linear memory, bounded by bytes. Used by UDP and ICMP
 * sockets. @module
 */
import type { Context } from '../iface/context.ts';
import type { Packet } from '../iface/packet.ts';
import type { Memory } from '../memory/memory.ts';
import { Ring } from '../memory/ring.ts';
import { IpAddress } from '../wire/address.ts';

// A record: these int32 words, then the payload.
const LENGTH = 0;
const PORT = 1;
const WORD_A = 2; // four words of the source address
const TTL = 6;
const INTERFACE = 7;
const LOCAL_A = 8; // four of the address it was sent to
const ARRIVAL = 48; // f64, in bytes from the first word: ms of the stack's clock
const RECORD_BYTES = 56;
/** Where records are built: the memory's first block belongs to no one. */
const SCRATCH = 64;

/** Where a datagram came from, and where it was sent to; one record may be reused for many. */
export class Source {
  /** Bytes of the datagram, which may be more than the reader's buffer took. */
  length = 0;
  port = 0;
  ttl = 0;
  /** When it came, in ms of the stack's clock. */
  atMs = 0;
  a = 0;
  b = 0;
  c = 0;
  d = 0;
  /** Index of the interface it came in on. */
  interfaceIndex = 0;
  localA = 0;
  localB = 0;
  localC = 0;
  localD = 0;

  /** The address it was sent to: one of ours, of a group, or of everybody. */
  get local(): IpAddress {
    return new IpAddress(this.localA, this.localB, this.localC, this.localD);
  }

  get address(): IpAddress {
    return new IpAddress(this.a, this.b, this.c, this.d);
  }
}

/** What several queues may hold together. */
export class SharedBytes {
  /** Memory they hold, in whole blocks. */
  bytes = 0;
  /** From so many on they take no more; the last one taken may have needed a block beyond it. */
  readonly bytesMax: number;
  /** Told of each datagram that found no room, inside `poll`: it must not close a socket there. */
  readonly onFull: () => void;

  constructor(bytesMax: number, onFull: () => void) {
    this.bytesMax = bytesMax;
    this.onFull = onFull;
  }
}

export class DatagramQueue {
  readonly #memory: Memory;
  readonly #clock: Context;
  readonly #ring: Ring;
  count = 0;
  /** Null: it has its own bound only. Set while it is empty. */
  shared: SharedBytes | null = null;

  /** @param capacityBytes - a power of two; each datagram counts 56 bytes more than its payload */
  constructor(context: Context, capacityBytes: number) {
    const { memory } = context;
    this.#memory = memory;
    this.#clock = context;
    this.#ring = new Ring(memory, capacityBytes);
  }

  /** Appends the `length` bytes at `p` that came with `packet`; false when there is no room: drop it. */
  push(packet: Packet, port: number, p: number, length: number): boolean {
    const ring = this.#ring;
    const { shared } = this;
    if (shared !== null && shared.bytes >= shared.bytesMax) {
      shared.onFull();
      return false;
    }
    const held = ring.heldBytes;
    if (!ring.reserve(ring.length + RECORD_BYTES + length)) return false;
    if (shared !== null) shared.bytes += ring.heldBytes - held;
    const { i32 } = this.#memory;
    const w = SCRATCH >> 2;
    i32[w + LENGTH] = length;
    i32[w + PORT] = port;
    i32[w + WORD_A] = packet.srcA;
    i32[w + WORD_A + 1] = packet.srcB;
    i32[w + WORD_A + 2] = packet.srcC;
    i32[w + WORD_A + 3] = packet.srcD;
    i32[w + TTL] = packet.ttl;
    i32[w + INTERFACE] = packet.iface.index;
    i32[w + LOCAL_A] = packet.dstA;
    i32[w + LOCAL_A + 1] = packet.dstB;
    i32[w + LOCAL_A + 2] = packet.dstC;
    i32[w + LOCAL_A + 3] = packet.dstD;
    this.#memory.dv.setFloat64(SCRATCH + ARRIVAL, this.#clock.now, true);
    ring.store(ring.length, SCRATCH, RECORD_BYTES);
    ring.store(ring.length + RECORD_BYTES, p, length);
    ring.length += RECORD_BYTES + length;
    this.count++;
    return true;
  }

  /** Payload length of the oldest datagram, -1 when there is none. */
  peekLength(): number {
    if (this.count === 0) return -1;
    this.#ring.copyOut(0, SCRATCH, RECORD_BYTES);
    return this.#memory.i32[(SCRATCH >> 2) + LENGTH]!;
  }

  /**
   * Takes the oldest datagram into `target`; what does not fit is lost.
   * @returns bytes copied, or -1 when there is none
   */
  shift(target: Uint8Array, source: Source): number {
    const copied = this.peek(target, source);
    if (copied < 0) return -1;
    const ring = this.#ring;
    ring.advance(RECORD_BYTES + source.length);
    this.count--;
    if (this.count === 0) this.#release();
    return copied;
  }

  /** Like {@link shift}, but the datagram stays. */
  peek(target: Uint8Array, source: Source): number {
    const length = this.peekLength();
    if (length < 0) return -1;
    const { i32 } = this.#memory;
    const w = SCRATCH >> 2;
    source.length = length;
    source.port = i32[w + PORT]!;
    source.a = i32[w + WORD_A]!;
    source.b = i32[w + WORD_A + 1]!;
    source.c = i32[w + WORD_A + 2]!;
    source.d = i32[w + WORD_A + 3]!;
    source.ttl = i32[w + TTL]!;
    source.interfaceIndex = i32[w + INTERFACE]!;
    source.localA = i32[w + LOCAL_A]!;
    source.localB = i32[w + LOCAL_A + 1]!;
    source.localC = i32[w + LOCAL_A + 2]!;
    source.localD = i32[w + LOCAL_A + 3]!;
    source.atMs = this.#memory.dv.getFloat64(SCRATCH + ARRIVAL, true);
    return this.#ring.peekAt(RECORD_BYTES, target, 0, Math.min(length, target.length));
  }

  /** What may wait from now on; datagrams that wait already stay. */
  setCapacity(capacityBytes: number): void {
    this.#ring.capacity = capacityBytes;
  }

  /** Drops everything and gives the memory back. */
  clear(): void {
    this.#release();
    this.count = 0;
  }

  #release(): void {
    if (this.shared !== null) this.shared.bytes -= this.#ring.heldBytes;
    this.#ring.release();
  }

  /** Memory held. */
  get heldBytes(): number {
    return this.#ring.heldBytes;
  }
}
