/**
 * Watches an interface of Linux as tcpdump does: packet(7) sockets that see what comes and what goes, with the kernel's
 * own time of each packet, and what it had to drop. Up to {@link BATCH} packets are fetched a call (recvmmsg).
 *
 * No PACKET_RX_RING: a packet costs 1.3 us of processor in all (64-byte datagrams on the loopback, kernel included), less
 * than printing its line; the ring would save one copy of it, and no call, for a call fetches a batch. @module
 */
import { NetError } from '../errors.ts';
import { LINKTYPE_ETHERNET, LINKTYPE_RAW } from '../wire/link-type.ts';
import { checkName, InterfaceControl, Struct } from './ifreq.ts';
import * as c from './libc.ts';
import { bindPacketSocket, openRawSocket, setPromiscuous, setSocketOption } from './packet-socket.ts';

// linux/if_packet.h, asm-generic/socket.h, linux/if_arp.h
const SOL_PACKET = 263;
const PACKET_STATISTICS = 6;
const PACKET_AUXDATA = 8;
const PACKET_OUTGOING = 4;
const SOL_SOCKET = 1;
const SO_TIMESTAMPNS = 35;
const SO_RCVBUFFORCE = 33;
const ARPHRD_ETHER = 1;
const ARPHRD_LOOPBACK = 772;
const MSG_DONTWAIT = 0x40;
const MSG_TRUNC = 0x20;

/** Packets fetched a call, and calls made before the loop gets a turn. */
export const BATCH = 32;
const CALLS_MAX = 16;
/** Bytes of one packet at most: any super-segment of 64 KiB with its headers and a tag put back. */
const SLOT = 1 << 17;
/** Room in front of a packet for the tag the kernel took out of it. */
const TAG = 4;
/** What the kernel may queue. Without the privilege its default serves. */
const RECEIVE_BUFFER_BYTES = 16 << 20;

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
// struct sockaddr_ll
const NAME = 20;
const NAME_HARDWARE = 8; // u16
const NAME_PACKET_TYPE = 10; // u8
// struct cmsghdr: u64 length, i32 level, i32 type, then the value
const CONTROL = 128;
const CMSG_HEADER = 16;
// struct tpacket_auxdata
const AUX_STATUS = 0; // u32
const AUX_TAG = 16; // u16
const AUX_TAG_TYPE = 18; // u16
const STATUS_TAG_VALID = 0x10;
const STATUS_TAG_TYPE_VALID = 0x40;
const ETHERTYPE_VLAN = 0x8100;
/** Where a tag stands in a frame. */
const TAG_AT = 12;

export interface PacketCaptureOptions {
  /** The interface to watch, like `eth0`. */
  readonly interface: string;
  /** Whether to see frames for every Ethernet address. Default true. */
  readonly promiscuous?: boolean;
}

/** A packet seen; one record and one buffer serve all, so it holds only during the call that hands it over. */
export interface SeenPacket {
  /** The bytes of all packets, and where this one's stand. */
  readonly buffer: Uint8Array;
  start: number;
  end: number;
  /** Bytes it had, which may be more than there are. */
  originalLength: number;
  /** Unix time. */
  seconds: number;
  nanoseconds: number;
  outgoing: boolean;
}

/** What the kernel counted since the capture began. */
export interface CaptureCounts {
  /** Packets that came to the socket, those dropped among them. */
  readonly received: number;
  /** Of them, those for which there was no room. */
  readonly dropped: number;
}

/** A capture under way. */
export class PacketCapture {
  readonly name: string;
  /** What packets begin with: LINKTYPE_ETHERNET or LINKTYPE_RAW. */
  readonly linkType: number;
  readonly #libc: c.Libc;
  readonly #fd: number;
  readonly #watch: c.Watch;
  readonly #packets: Struct;
  readonly #messages: Struct;
  readonly #names: Struct;
  readonly #controls: Struct;
  readonly #vectors: Struct;
  readonly #seen: SeenPacket;
  #received = 0;
  #dropped = 0;
  #closed = false;

  /** @internal */
  constructor(libc: c.Libc, fd: number, name: string, linkType: number) {
    this.name = name;
    this.linkType = linkType;
    this.#libc = libc;
    this.#fd = fd;
    this.#packets = new Struct(libc, BATCH * SLOT);
    this.#messages = new Struct(libc, BATCH * MMSG);
    this.#names = new Struct(libc, BATCH * NAME);
    this.#controls = new Struct(libc, BATCH * CONTROL);
    this.#vectors = new Struct(libc, BATCH * IOVEC);
    this.#seen = {
      buffer: this.#packets.u8,
      start: 0,
      end: 0,
      originalLength: 0,
      seconds: 0,
      nanoseconds: 0,
      outgoing: false,
    };
    this.#watch = libc.watch(fd);
    for (let i = 0; i < BATCH; i++) this.#prepare(i);
  }

  /**
   * Calls `take` for each packet from now on, until {@link close}.
   * @param batch - called behind the packets of one turn
   * @param failed - called once where the interface went away; the capture is closed then
   */
  start(take: (packet: SeenPacket) => void, batch: () => void, failed: (error: NetError) => void): void {
    this.#watch.start(() => {
      const error = this.#drain(take);
      if (!this.#closed) batch();
      if (error === null) return;
      this.close();
      failed(error);
    });
  }

  /** What the kernel counted; also after {@link close}, as it was then. */
  counts(): CaptureCounts {
    if (!this.#closed) this.#count();
    return { received: this.#received, dropped: this.#dropped };
  }

  /** Ends the capture; may be called from `take`. */
  close(): void {
    if (this.#closed) return;
    this.#count();
    this.#closed = true;
    this.#watch.close();
    this.#libc.close(this.#fd);
  }

  /** struct tpacket_stats: u32 packets, u32 drops; reading sets both to zero. */
  #count(): void {
    const stats = new Struct(this.#libc, 16);
    stats.dv.setUint32(8, 8, true); // the length, behind it
    if (this.#libc.getsockopt(this.#fd, SOL_PACKET, PACKET_STATISTICS, stats.address, stats.address + 8) < 0) return;
    this.#received += stats.dv.getUint32(0, true);
    this.#dropped += stats.dv.getUint32(4, true);
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
    setPointer(this.#vectors.dv, vector, this.#packets.address + i * SLOT + TAG);
    this.#vectors.dv.setUint32(vector + 8, SLOT - TAG, true);
  }

  /** Takes what there is, within bounds: the watch fires again for the rest. Null, or why there will be no more. */
  #drain(take: (packet: SeenPacket) => void): NetError | null {
    for (let call = 0; call < CALLS_MAX; call++) {
      const count = this.#libc.recvmmsg(this.#fd, this.#messages.address, BATCH, MSG_DONTWAIT | MSG_TRUNC, 0);
      if (count <= 0) {
        const errno = this.#libc.errno();
        if (count === 0 || errno === c.EAGAIN || errno === c.EINTR) return null;
        const detail = errno === c.ENETDOWN ? `interface ${this.name} went down` : `cannot read (errno ${errno})`;
        return new NetError(c.codeOf(errno), 'capture', { detail });
      }
      for (let i = 0; i < count; i++) {
        if (this.#read(i)) take(this.#seen);
        if (this.#closed) return null;
        this.#prepare(i);
      }
      if (count < BATCH) return null;
    }
    return null;
  }

  /** Fills the record with packet `i`; false for one that is seen twice. */
  #read(i: number): boolean {
    const seen = this.#seen;
    const names = this.#names.dv;
    seen.outgoing = names.getUint8(i * NAME + NAME_PACKET_TYPE) === PACKET_OUTGOING;
    // What goes out through the loopback comes in again.
    if (seen.outgoing && names.getUint16(i * NAME + NAME_HARDWARE, true) === ARPHRD_LOOPBACK) return false;
    const length = this.#messages.dv.getUint32(i * MMSG + MSG_READ, true);
    seen.start = i * SLOT + TAG;
    seen.originalLength = length;
    seen.end = seen.start + Math.min(length, SLOT - TAG);
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
        this.#restoreTag(dv, value);
      }
      at += (length + 7) & ~7;
    }
  }

  #restoreTag(dv: DataView, aux: number): void {
    const status = dv.getUint32(aux + AUX_STATUS, true);
    const seen = this.#seen;
    if ((status & STATUS_TAG_VALID) === 0 || seen.end - seen.start < TAG_AT) return;
    const type = (status & STATUS_TAG_TYPE_VALID) === 0 ? ETHERTYPE_VLAN : dv.getUint16(aux + AUX_TAG_TYPE, true);
    seen.buffer.copyWithin(seen.start - TAG, seen.start, seen.start + TAG_AT);
    seen.start -= TAG;
    seen.originalLength += TAG;
    this.#packets.dv.setUint16(seen.start + TAG_AT, type);
    this.#packets.dv.setUint16(seen.start + TAG_AT + 2, dv.getUint16(aux + AUX_TAG, true));
  }
}

function setPointer(dv: DataView, at: number, address: number): void {
  dv.setUint32(at, address % 2 ** 32, true);
  dv.setUint32(at + 4, Math.floor(address / 2 ** 32), true);
}

/**
 * Begins to watch an interface that is up: Ethernet, loopback, or one of plain IP packets.
 * @throws NetError EPERM, ENODEV (no such interface), EINVAL (bad name), ENOSYS (koffi is not installed)
 * @example
 * const capture = await openPacketCapture({ interface: 'eth0' });
 * capture.start((packet) => count++, () => {}, (error) => console.error(error.message));
 */
export async function openPacketCapture(options: PacketCaptureOptions): Promise<PacketCapture> {
  const syscall = 'openPacketCapture';
  const name = options.interface;
  checkName(name, syscall);
  const libc = await c.loadLibc();
  const control = new InterfaceControl(libc, name, syscall);
  let fd = -1;
  try {
    const index = control.index();
    if (index === 0) {
      throw new NetError('ENODEV', syscall, { detail: `no interface ${name}: ip link shows which exist` });
    }
    const hardware = control.hardwareType();
    const isEthernet = hardware === ARPHRD_ETHER || hardware === ARPHRD_LOOPBACK;
    fd = openRawSocket(libc, syscall);
    // Before bind, so that no packet comes without its time.
    setSocketOption(libc, fd, SOL_SOCKET, SO_TIMESTAMPNS, 1);
    setSocketOption(libc, fd, SOL_PACKET, PACKET_AUXDATA, 1);
    setSocketOption(libc, fd, SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER_BYTES);
    bindPacketSocket(libc, fd, index, name, syscall);
    if ((options.promiscuous ?? true) && hardware === ARPHRD_ETHER) setPromiscuous(libc, fd, index, name, syscall);
    return new PacketCapture(libc, fd, name, isEthernet ? LINKTYPE_ETHERNET : LINKTYPE_RAW);
  } catch (error) {
    if (fd >= 0) libc.close(fd);
    throw error;
  } finally {
    control.close();
  }
}
