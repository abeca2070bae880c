/**
 * A device on a file descriptor of the kernel that reads and writes one packet a call: TUN, TAP, packet sockets.
 *
 * A packet is read into a frame as large as any may be; a small one is then copied into a small frame and the large one
 * serves the next read, so that what the stack holds costs what it weighs. Whatever exceeds a 64 KiB block (only
 * forwarded packets do) spills into a side buffer by readv. @module
 */
import { NetError } from '../errors.ts';
import {
  allocFrame,
  CHECKSUM_FULL,
  frameChecksum,
  frameEnd,
  frameGsoSize,
  frameStart,
  frameTransport,
  HEADROOM,
  setFrameBounds,
  setFrameOffload,
} from '../memory/frame.ts';
import type { Memory } from '../memory/memory.ts';
import type { Device, DeviceWatch, Medium } from '../phy/device.ts';
import { FrameQueue } from '../phy/queue.ts';
import { HEADER_LENGTH as ETHERNET_LENGTH } from '../wire/ethernet.ts';
import { HEADER_LENGTH as TAG_LENGTH } from '../wire/vlan.ts';
import * as c from './libc.ts';
import { Readiness } from './readiness.ts';
import { emitVnet, readVnet, VNET_LENGTH } from './vnet.ts';

/** Frames kept while the kernel takes none; beyond it a frame is dropped and counted. */
const BACKLOG_FRAMES = 64;
/** Milliseconds until the kernel, or an exhausted memory, is tried again. */
const RETRY_MS = 1;
/** Bad packets skipped in one `receive`; beyond it the stack gets a turn first. */
const READS_MAX = 16;
/** A packet that fits a block of this size, and half of the read frame, is copied out of it: at most 0.2 us of 0.9. */
const COPY_BLOCK = 8192;
/** The smallest block there is: nothing is gained by copying out of it. */
const SMALL_BLOCK = 2048;
/** The largest block for reading; what it cannot hold spills. */
const READ_BLOCK_MAX = 65536;
/** The largest IP packet. */
const PACKET_MAX = 65535;
/** What {@link HEADROOM} begins with: the descriptor, eight int32. */
const DESCRIPTOR_BYTES = 32;

// The scratch block: two struct iovec for reading, two for writing, a header, and the spill.
const READ_VECTOR = 0;
const WRITE_VECTOR = 32;
const SCRATCH_HEADER = 64;
const SPILL = 96;
const SCRATCH_BYTES = 2048;

/** What a device counts; all since it was opened. */
export interface FdDeviceStats {
  /** Packets read, and written. */
  reads: number;
  writes: number;
  /** Reads dropped: longer than the read frame; with a malformed virtio header; for want of memory. */
  truncated: number;
  badHeader: number;
  noMemory: number;
  /** Reads and writes the kernel refused with another error than those below. */
  readErrors: number;
  writeErrors: number;
  /** Writes dropped because the interface is down. */
  interfaceDown: number;
  /** Frames put into the backlog, and dropped because it was full. */
  backlogged: number;
  backlogDropped: number;
}

/** What the opener of a descriptor knows about it. */
export interface FdDeviceOptions {
  readonly libc: c.Libc;
  readonly fd: number;
  readonly medium: Medium;
  readonly mtu: number;
  readonly offload: boolean;
  /** Whether a virtio_net_hdr stands before each packet. */
  readonly vnet: boolean;
}

export class FdDevice implements Device {
  readonly medium: Medium;
  readonly mtu: number;
  readonly offload: boolean;
  readonly memory: Memory | null = null;
  watch: DeviceWatch | null = null;
  readonly stats: FdDeviceStats = {
    reads: 0,
    writes: 0,
    truncated: 0,
    badHeader: 0,
    noMemory: 0,
    readErrors: 0,
    writeErrors: 0,
    interfaceDown: 0,
    backlogged: 0,
    backlogDropped: 0,
  };

  readonly #libc: c.Libc;
  readonly #fd: number;
  readonly #vnetLength: number;
  readonly #etherLength: number;
  readonly #backlog = new FrameQueue(BACKLOG_FRAMES);
  #attached: Memory | null = null;
  #readiness: Readiness | null = null;
  #closed = false;
  #failure: NetError | null = null;
  #base = 0; // address of the memory's first byte
  #scratch = 0;
  #readFrame = 0; // takes the next packet; 0: none yet
  #readRoom = 0; // bytes a read may fill in the read frame
  #spillRoom = 0; // and behind it
  #readBytes = 0; // since the last drain
  #retryAt = Infinity;
  #refusal: string | null = null; // of the last write that came to an end

  constructor(options: FdDeviceOptions) {
    this.medium = options.medium;
    this.mtu = options.mtu;
    this.offload = options.offload;
    this.#libc = options.libc;
    this.#fd = options.fd;
    this.#vnetLength = options.vnet ? VNET_LENGTH : 0;
    this.#etherLength = options.medium === 'ethernet' ? ETHERNET_LENGTH : 0;
  }

  /** Why the device stopped working by itself (its interface was deleted), or null. */
  get failure(): NetError | null {
    return this.#failure;
  }

  /** Times the stack was woken, and how many of them without going to sleep first. */
  get wakes(): { readonly all: number; readonly hot: number } {
    return { all: this.#readiness?.wakes ?? 0, hot: this.#readiness?.hotWakes ?? 0 };
  }

  attach(memory: Memory, wake: () => void): void {
    if (this.#closed) throw new NetError('EBADF', 'attach', { detail: 'the device is closed' });
    if (this.#attached !== null) throw new NetError('EBUSY', 'attach', { detail: 'the device has a stack already' });
    const scratch = memory.alloc(SCRATCH_BYTES);
    if (scratch === 0)
      throw new NetError('ENOMEM', 'attach', { detail: 'the memory has no block left for the device' });
    this.#attached = memory;
    this.#scratch = scratch;
    this.#base = this.#libc.address(memory.u8);
    this.#readiness = new Readiness(this.#libc, this.#fd, wake);
  }

  receive(now: number): number {
    const memory = this.#attached;
    if (memory === null || this.#closed || this.#failure !== null) return 0;
    this.#retryAt = Infinity;
    if (this.#backlog.length > 0) this.#flush(memory, now);
    for (let i = 0; i < READS_MAX; i++) {
      if (this.#readFrame === 0 && !this.#takeReadFrame(memory)) {
        this.#retryAt = now + RETRY_MS; // the packets wait in the kernel's queue
        return 0;
      }
      const n = this.#libc.readv(this.#fd, this.#base + this.#scratch + READ_VECTOR, this.#spillRoom > 0 ? 2 : 1);
      if (n <= 0) {
        if (this.#readFailed()) return 0;
        continue;
      }
      this.stats.reads++;
      this.#readBytes += n;
      const frame = this.#accept(memory, n);
      if (frame !== 0) return frame;
    }
    this.#retryAt = now; // not drained: no wake will come
    return 0;
  }

  room(): number {
    return this.#attached === null || this.#closed || this.#failure !== null
      ? 0
      : BACKLOG_FRAMES - this.#backlog.length;
  }

  transmit(frame: number, now: number): void {
    const memory = this.#attached;
    if (memory === null) throw new NetError('EBADF', 'transmit', { detail: 'the device was not attached to a stack' });
    if (this.#closed || this.#failure !== null) {
      this.stats.writeErrors++;
      this.#done(memory, frame, 'interface-gone');
    } else if ((this.#backlog.length === 0 || this.#flush(memory, now)) && this.#write(memory, frame)) {
      this.#done(memory, frame, this.#refusal);
    } else if (this.#backlog.push(frame)) {
      this.stats.backlogged++;
      this.#retryAt = now + RETRY_MS;
    } else {
      this.stats.backlogDropped++;
      this.#done(memory, frame, 'device-full');
    }
  }

  pollAt(): number {
    return this.#retryAt;
  }

  /** Whether the open device alone keeps the process alive; it does at first. */
  keepAlive(alive: boolean): void {
    this.#readiness?.keepAlive(alive);
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#readiness?.close();
    this.#libc.close(this.#fd);
    this.#retryAt = Infinity;
    const memory = this.#attached;
    if (memory === null) return;
    this.#abandon(memory);
    if (this.#readFrame !== 0) memory.free(this.#readFrame);
    this.#readFrame = 0;
    memory.free(this.#scratch);
  }

  [Symbol.dispose](): void {
    this.close();
  }

  // Receiving.

  /** Takes a frame for the next read and points the read vector at it. */
  #takeReadFrame(memory: Memory): boolean {
    // On Ethernet a tag of a virtual LAN may stand before the packet.
    const longest = this.offload ? PACKET_MAX : this.mtu + (this.#etherLength > 0 ? TAG_LENGTH : 0);
    const before = this.#vnetLength + this.#etherLength;
    const frame = allocFrame(memory, Math.min(longest + 1, READ_BLOCK_MAX - HEADROOM));
    if (frame === 0) return false;
    const start = frame + HEADROOM - before;
    this.#readFrame = frame;
    this.#readRoom = frame + memory.sizeOf(frame) - start;
    // One byte more than the longest packet, which tells a truncated one.
    this.#spillRoom = Math.max(0, before + longest + 1 - this.#readRoom);
    const vector = this.#scratch + READ_VECTOR;
    this.#setVector(memory, vector, start, this.#readRoom);
    this.#setVector(memory, vector + 16, this.#scratch + SPILL, this.#spillRoom);
    return true;
  }

  /** struct iovec: u64 address, u64 length. */
  #setVector(memory: Memory, at: number, offset: number, length: number): void {
    const address = this.#base + offset;
    memory.dv.setUint32(at, address >>> 0, true);
    memory.dv.setUint32(at + 4, address / 0x1_0000_0000, true);
    memory.dv.setUint32(at + 8, length, true);
    memory.dv.setUint32(at + 12, 0, true);
  }

  /** Says whether to stop reading for now. */
  #readFailed(): boolean {
    const errno = this.#libc.errno();
    if (errno === c.EAGAIN) {
      this.#readiness!.drained(this.#readBytes);
      this.#readBytes = 0;
      return true;
    }
    if (errno === c.EINTR) return false;
    this.stats.readErrors++;
    if (errno !== c.EBADFD && errno !== c.EBADF) return false; // a packet, or a state, that passes
    this.#failure = new NetError('ENODEV', 'read', { detail: 'the interface is gone: it was deleted' });
    this.#abandon(this.#attached!);
    this.#readiness!.close();
    return true;
  }

  /** Makes a frame of the `n` bytes just read, or 0: dropped and counted. */
  #accept(memory: Memory, n: number): number {
    const { stats } = this;
    if (n >= this.#readRoom + this.#spillRoom) {
      stats.truncated++;
      return 0;
    }
    const read = this.#readFrame;
    const ip = read + HEADROOM;
    const start = ip - this.#etherLength;
    const header = start - this.#vnetLength;
    const end = header + n;
    if (this.#vnetLength === 0) setFrameOffload(memory, read, CHECKSUM_FULL, 0, 0);
    else if (end < start || !readVnet(memory, read, header, start, ip, end)) {
      stats.badHeader++;
      return 0;
    }
    setFrameBounds(memory, read, start, end);
    if (n > this.#readRoom) {
      const large = this.#copyOut(memory, read, end);
      if (large === 0) stats.noMemory++;
      return large;
    }
    const block = memory.sizeOf(read);
    if (block > SMALL_BLOCK && end - read <= Math.min(COPY_BLOCK, block >> 1)) {
      const small = this.#copyOut(memory, read, end);
      if (small !== 0) return small;
      this.#readFrame = 0; // no small block left: give the large one away rather than lose an ACK that would free some
      return read;
    }
    if (this.#takeReadFrame(memory)) return read;
    if (block === SMALL_BLOCK) {
      this.#readFrame = 0;
      return read;
    }
    stats.noMemory++; // keep the last large block: the ACKs that free memory come through it
    return 0;
  }

  /** A copy of the packet in the read frame, and the spill, in a block that fits; 0 without memory. */
  #copyOut(memory: Memory, read: number, end: number): number {
    const start = frameStart(memory, read);
    const copy = memory.alloc(end - read);
    if (copy === 0) return 0;
    const blockEnd = Math.min(end, read + memory.sizeOf(read));
    const moved = copy - read;
    memory.copy(start + moved, start, blockEnd - start);
    if (end > blockEnd) memory.copy(blockEnd + moved, this.#scratch + SPILL, end - blockEnd);
    const transport = frameTransport(memory, read);
    setFrameBounds(memory, copy, start + moved, end + moved);
    setFrameOffload(
      memory,
      copy,
      frameChecksum(memory, read),
      frameGsoSize(memory, read),
      transport === 0 ? 0 : transport + moved,
    );
    return copy;
  }

  // Sending.

  /** Writes what waits; true when nothing does any more. */
  #flush(memory: Memory, now: number): boolean {
    for (let frame = this.#backlog.peek(); frame !== 0; frame = this.#backlog.peek()) {
      if (!this.#write(memory, frame)) {
        this.#retryAt = now + RETRY_MS;
        return false;
      }
      this.#backlog.shift();
      this.#done(memory, frame, this.#refusal);
    }
    return true;
  }

  /** Gives back a frame that was taken, and tells what became of it. */
  #done(memory: Memory, frame: number, dropped: string | null): void {
    if (this.watch !== null) this.watch.done(frame, dropped);
    memory.free(frame);
  }

  /** Gives back what still waits: it will never be written. */
  #abandon(memory: Memory): void {
    for (let frame = this.#backlog.shift(); frame !== 0; frame = this.#backlog.shift()) {
      this.#done(memory, frame, 'interface-gone');
    }
  }

  /**
   * Hands `frame` to the kernel; false when it takes none now, else `#refusal` says why it was dropped, or null. Either way
   * the frame stays the caller's.
   */
  #write(memory: Memory, frame: number): boolean {
    const start = frameStart(memory, frame);
    const end = frameEnd(memory, frame);
    let n: number;
    if (this.#vnetLength === 0) {
      n = this.#libc.write(this.#fd, this.#base + start, end - start);
    } else if (start - VNET_LENGTH >= frame + DESCRIPTOR_BYTES) {
      emitVnet(memory, frame, start - VNET_LENGTH, start, start + this.#etherLength);
      n = this.#libc.write(this.#fd, this.#base + start - VNET_LENGTH, end - start + VNET_LENGTH);
    } else {
      n = this.#writeGathered(memory, frame, start, end);
    }
    if (n >= 0) {
      this.stats.writes++;
      this.#refusal = null;
      return true;
    }
    return this.#writeFailed();
  }

  /** For a packet with no headroom left in front: the header comes from elsewhere. */
  #writeGathered(memory: Memory, frame: number, start: number, end: number): number {
    const header = this.#scratch + SCRATCH_HEADER;
    const vector = this.#scratch + WRITE_VECTOR;
    emitVnet(memory, frame, header, start, start + this.#etherLength);
    this.#setVector(memory, vector, header, VNET_LENGTH);
    this.#setVector(memory, vector + 16, start, end - start);
    return this.#libc.writev(this.#fd, this.#base + vector, 2);
  }

  /** Says whether the frame is done with, dropped. */
  #writeFailed(): boolean {
    const errno = this.#libc.errno();
    if (errno === c.EAGAIN || errno === c.ENOBUFS || errno === c.ENOMEM || errno === c.EINTR) return false;
    const isDown = errno === c.EIO || errno === c.ENETDOWN;
    if (isDown) this.stats.interfaceDown++;
    else this.stats.writeErrors++;
    this.#refusal = isDown ? 'interface-down' : `write-error ${c.codeOf(errno)}`;
    return true;
  }
}
