/**
 * Packets in a ring that the kernel shares (packet(7), PACKET_RX_RING of TPACKET_V3): it fills blocks of many packets, and
 * gives each over when it is full or has waited long enough. No call and no copy a packet: seen on the loopback, a flood
 * of 64-byte datagrams costs 0.1 us of our processor time a packet, by recvmmsg 2.5 us. @module
 */
import { Struct } from './ifreq.ts';
import type * as c from './libc.ts';
import { setSocketOption } from './packet-socket.ts';
import {
  noPacket,
  type PacketSource,
  readName,
  restoreTag,
  type SeenPacket,
  SOL_PACKET,
  TAG_BYTES,
} from './packet-source.ts';

// linux/if_packet.h, asm-generic/socket.h
const PACKET_RX_RING = 5;
const PACKET_VERSION = 10;
const PACKET_RESERVE = 12;
const TPACKET_V3 = 2;
const SOL_SOCKET = 1;
const SO_ERROR = 4;

/** Any super-segment of 64 KiB goes into a block; all of them are what the kernel may queue. */
const BLOCK_BYTES = 1 << 18;
const BLOCKS = 64;
/** Must divide a block; packets take what they need all the same. */
const FRAME_BYTES = 1 << 11;
/** How long packets wait at most for their block to become full. */
const RETIRE_MS = 10;
/** Blocks taken before the loop gets a turn. */
const TURN_BLOCKS = 4;

// struct tpacket_req3: u32 each
const REQUEST_BYTES = 28;
// struct tpacket_block_desc
const BLOCK_STATUS = 8; // u32
const BLOCK_PACKETS = 12; // u32
const BLOCK_FIRST = 16; // u32
const STATUS_USER = 1;
// struct tpacket3_hdr, and behind it a struct sockaddr_ll
const NEXT = 0; // u32
const SECONDS = 4; // u32
const NANOSECONDS = 8; // u32
const CAPTURED = 12; // u32
const LENGTH = 16; // u32
const STATUS = 20; // u32
const BYTES = 24; // u16
const TAG = 32; // u32
const TAG_TYPE = 36; // u16
const NAME = 48;

export class PacketRing implements PacketSource {
  readonly #libc: c.Libc;
  readonly #fd: number;
  readonly #dv: DataView;
  readonly #words: Int32Array;
  readonly #seen: SeenPacket;
  #block = 0;
  #closed = false;

  private constructor(libc: c.Libc, fd: number, bytes: Uint8Array) {
    this.#libc = libc;
    this.#fd = fd;
    this.#dv = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    this.#words = new Int32Array(bytes.buffer, bytes.byteOffset, bytes.length >> 2);
    this.#seen = noPacket(bytes);
  }

  /** Makes the ring of a packet socket that is not bound yet; null: this kernel has none, and the socket is as it was. */
  static open(libc: c.Libc, fd: number): PacketRing | null {
    if (!setSocketOption(libc, fd, SOL_PACKET, PACKET_VERSION, TPACKET_V3)) return null;
    const hasRoom = setSocketOption(libc, fd, SOL_PACKET, PACKET_RESERVE, TAG_BYTES);
    const request = new Struct(libc, REQUEST_BYTES);
    const words = [BLOCK_BYTES, BLOCKS, FRAME_BYTES, (BLOCK_BYTES / FRAME_BYTES) * BLOCKS, RETIRE_MS];
    for (const [i, word] of words.entries()) request.dv.setUint32(4 * i, word, true);
    const { address } = request;
    if (!hasRoom || libc.setsockopt(fd, SOL_PACKET, PACKET_RX_RING, address, REQUEST_BYTES) < 0) {
      setSocketOption(libc, fd, SOL_PACKET, PACKET_VERSION, 0);
      return null;
    }
    const bytes = libc.map(fd, BLOCK_BYTES * BLOCKS);
    if (bytes !== null) return new PacketRing(libc, fd, bytes);
    request.u8.fill(0);
    libc.setsockopt(fd, SOL_PACKET, PACKET_RX_RING, address, REQUEST_BYTES);
    setSocketOption(libc, fd, SOL_PACKET, PACKET_VERSION, 0);
    return null;
  }

  drain(take: (packet: SeenPacket) => void): number {
    for (let count = 0; count < TURN_BLOCKS; count++) {
      const at = this.#block * BLOCK_BYTES;
      const status = (at + BLOCK_STATUS) >> 2;
      // The kernel writes on another processor: what the block holds is read after its status.
      if ((Atomics.load(this.#words, status) & STATUS_USER) === 0) return count > 0 ? 0 : this.#failure();
      this.#take(at, take);
      if (this.#closed) return 0;
      Atomics.store(this.#words, status, 0);
      this.#block = (this.#block + 1) % BLOCKS;
    }
    return 0;
  }

  #take(block: number, take: (packet: SeenPacket) => void): void {
    const dv = this.#dv;
    const packets = dv.getUint32(block + BLOCK_PACKETS, true);
    let at = block + dv.getUint32(block + BLOCK_FIRST, true);
    for (let i = 0; i < packets; i++) {
      if (this.#read(at)) take(this.#seen);
      if (this.#closed) return;
      at += dv.getUint32(at + NEXT, true);
    }
  }

  /** Fills the record with the packet at `at`; false for one that is seen twice. */
  #read(at: number): boolean {
    const dv = this.#dv;
    const seen = this.#seen;
    if (!readName(seen, dv, at + NAME)) return false;
    seen.start = at + dv.getUint16(at + BYTES, true);
    seen.end = seen.start + dv.getUint32(at + CAPTURED, true);
    seen.originalLength = dv.getUint32(at + LENGTH, true);
    seen.seconds = dv.getUint32(at + SECONDS, true);
    seen.nanoseconds = dv.getUint32(at + NANOSECONDS, true);
    const status = dv.getUint32(at + STATUS, true);
    restoreTag(seen, dv, status, dv.getUint32(at + TAG, true), dv.getUint16(at + TAG_TYPE, true));
    return true;
  }

  /** Why there was a wake without packets: the interface went down, or nothing. */
  #failure(): number {
    const answer = new Struct(this.#libc, 8);
    answer.dv.setUint32(4, 4, true);
    const { address } = answer;
    if (this.#libc.getsockopt(this.#fd, SOL_SOCKET, SO_ERROR, address, address + 4) < 0) return this.#libc.errno();
    return answer.dv.getInt32(0, true);
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#libc.unmap(this.#seen.buffer);
  }
}
