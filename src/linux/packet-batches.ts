/**
 * Packets fetched from a packet(7) socket in batches (recvmmsg), where the kernel has no ring to share: packet-ring.ts.
 * @module
 */
import { Struct } from './ifreq.ts';
import * as c from './libc.ts';
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
const PACKET_AUXDATA = 8;
const SOL_SOCKET = 1;
const SO_TIMESTAMPNS = 35;
const MSG_DONTWAIT = 0x40;
const MSG_TRUNC = 0x20;

/** Packets fetched a call, and calls made before the loop gets a turn. */
const BATCH = 32;
const CALLS_MAX = 16;
/** Bytes of one packet at most: any super-segment of 64 KiB with its headers and a tag put back. */
const SLOT = 1 << 17;

// struct mmsghdr, 64 bits: msghdr (name, its length, vector, its count, control, its length, flags), then the length read.
const MMSG = 64;
const MSG_NAME = 0;
const MSG_NAME_LENGTH = 8;
const MSG_VECTOR = 16;
const MSG_VECTOR_COUNT = 24;
const MSG_CONTROL = 32;
const MSG_CONTROL_LENGTH = 40;
const MSG_FLAGS = 48;
const MSG_READ = 56;
const IOVEC = 16;
/** struct sockaddr_ll */
const NAME = 20;
// struct cmsghdr: u64 length, i32 level, i32 type, then the value
const CONTROL = 128;
const CMSG_HEADER = 16;
// struct tpacket_auxdata
const AUX_STATUS = 0; // u32
const AUX_TAG = 16; // u16
const AUX_TAG_TYPE = 18; // u16

export class PacketBatches implements PacketSource {
  readonly #libc: c.Libc;
  readonly #fd: number;
  readonly #packets: Struct;
  readonly #messages: Struct;
  readonly #names: Struct;
  readonly #controls: Struct;
  readonly #vectors: Struct;
  readonly #seen: SeenPacket;
  #closed = false;

  /** @param fd - a packet socket that is not bound yet, so that no packet comes without its time */
  constructor(libc: c.Libc, fd: number) {
    this.#libc = libc;
    this.#fd = fd;
    this.#packets = new Struct(libc, BATCH * SLOT);
    this.#messages = new Struct(libc, BATCH * MMSG);
    this.#names = new Struct(libc, BATCH * NAME);
    this.#controls = new Struct(libc, BATCH * CONTROL);
    this.#vectors = new Struct(libc, BATCH * IOVEC);
    this.#seen = noPacket(this.#packets.u8);
    setSocketOption(libc, fd, SOL_SOCKET, SO_TIMESTAMPNS, 1);
    setSocketOption(libc, fd, SOL_PACKET, PACKET_AUXDATA, 1);
    for (let i = 0; i < BATCH; i++) this.#prepare(i);
  }

  close(): void {
    this.#closed = true;
  }

  /** Sets what a call to the kernel may have changed, or all at first. */
  #prepare(i: number): void {
    const { dv } = this.#messages;
    const at = i * MMSG;
    const vector = i * IOVEC;
    setPointer(dv, at + MSG_NAME, this.#names.address + i * NAME);
    dv.setUint32(at + MSG_NAME_LENGTH, NAME, true);
    setPointer(dv, at + MSG_VECTOR, this.#vectors.address + vector);
    dv.setUint32(at + MSG_VECTOR_COUNT, 1, true);
    setPointer(dv, at + MSG_CONTROL, this.#controls.address + i * CONTROL);
    dv.setUint32(at + MSG_CONTROL_LENGTH, CONTROL, true);
    dv.setUint32(at + MSG_FLAGS, 0, true);
    setPointer(this.#vectors.dv, vector, this.#packets.address + i * SLOT + TAG_BYTES);
    this.#vectors.dv.setUint32(vector + 8, SLOT - TAG_BYTES, true);
  }

  /** The watch fires again for what is left. */
  drain(take: (packet: SeenPacket) => void): number {
    for (let call = 0; call < CALLS_MAX; call++) {
      const count = this.#libc.recvmmsg(this.#fd, this.#messages.address, BATCH, MSG_DONTWAIT | MSG_TRUNC, 0);
      if (count <= 0) {
        const errno = count === 0 ? 0 : this.#libc.errno();
        return errno === c.EAGAIN || errno === c.EINTR ? 0 : errno;
      }
      for (let i = 0; i < count; i++) {
        if (this.#read(i)) take(this.#seen);
        if (this.#closed) return 0;
        this.#prepare(i);
      }
      if (count < BATCH) return 0;
    }
    return 0;
  }

  /** Fills the record with packet `i`; false for one that is seen twice. */
  #read(i: number): boolean {
    const seen = this.#seen;
    if (!readName(seen, this.#names.dv, i * NAME)) return false;
    const length = this.#messages.dv.getUint32(i * MMSG + MSG_READ, true);
    seen.start = i * SLOT + TAG_BYTES;
    seen.originalLength = length;
    seen.end = seen.start + Math.min(length, SLOT - TAG_BYTES);
    seen.seconds = 0;
    seen.nanoseconds = 0;
    this.#readControl(i);
    return true;
  }

  /** The time, and the tag the kernel took out. */
  #readControl(i: number): void {
    const { dv } = this.#controls;
    const seen = this.#seen;
    const start = i * CONTROL;
    const end = start + this.#messages.dv.getUint32(i * MMSG + MSG_CONTROL_LENGTH, true);
    for (let at = start; at + CMSG_HEADER <= end; ) {
      const length = dv.getUint32(at, true);
      if (length < CMSG_HEADER) return;
      const [level, type] = [dv.getInt32(at + 8, true), dv.getInt32(at + 12, true)];
      const value = at + CMSG_HEADER;
      if (level === SOL_SOCKET && type === SO_TIMESTAMPNS) {
        seen.seconds = dv.getUint32(value, true) + dv.getInt32(value + 4, true) * 2 ** 32;
        seen.nanoseconds = dv.getUint32(value + 8, true);
      } else if (level === SOL_PACKET && type === PACKET_AUXDATA) {
        const tagType = dv.getUint16(value + AUX_TAG_TYPE, true);
        const status = dv.getUint32(value + AUX_STATUS, true);
        restoreTag(seen, this.#packets.dv, status, dv.getUint16(value + AUX_TAG, true), tagType);
      }
      at += (length + 7) & ~7;
    }
  }
}

function setPointer(dv: DataView, at: number, address: number): void {
  dv.setUint32(at, address % 2 ** 32, true);
  dv.setUint32(at + 4, Math.floor(address / 2 ** 32), true);
}
