/**
 * A device that records what passes: every frame of the device inside goes to a capture file that Wireshark and tcpdump
 * read. A file may hold several devices ({@link Capture}), one interface each.
 *
 * What is recorded is what a wire would show: a checksum left to the device is completed in the copy, the frame itself
 * stays as it is. A super-segment is recorded as the one large packet it is. @module
 */
import { frameLength, frameStart } from '../memory/frame.ts';
import type { Memory } from '../memory/memory.ts';
import { checksumField, needsChecksum, wireChecksum } from './checksum.ts';
import type { Device, Medium } from './device.ts';
import {
  type CaptureFormat,
  emitPacket,
  emitRecord,
  FLAGS_INBOUND,
  FLAGS_OUTBOUND,
  interfaceBlock,
  linkTypeOf,
  PACKET_BYTES,
  PCAP_RECORD_LENGTH,
  packetBlockLength,
  pcapHeader,
  SNAPLEN_DEFAULT,
  sectionBlock,
} from './pcap.ts';

/** Bytes of the slabs that records are cut from; a larger record gets a slab of its own. */
const SLAB_BYTES = 1 << 16;

/** Where a capture goes: a file, an array, a stream. */
export interface CaptureSink {
  /**
   * Takes the next bytes of the file, whole records at a time. They are never written again, so the sink may keep them;
   * it must not transfer their buffer, which other records share.
   */
  write(bytes: Uint8Array): void;
}

export interface CaptureOptions {
  /** Default `pcapng`. Classic pcap has no names, no directions, and one link type a file. */
  readonly format?: CaptureFormat;
  /** Bytes kept of a packet; default {@link SNAPLEN_DEFAULT}. */
  readonly snaplen?: number;
  /** Unix time in milliseconds at which `now` is 0; default 0, so that captures of a simulation are repeatable. */
  readonly epochMs?: number;
}

/** A capture file under way, which several {@link PcapWriter}s may write to. Its header is written at once. */
export class Capture {
  readonly format: CaptureFormat;
  readonly snaplen: number;
  /** Packets written. */
  packets = 0;
  readonly #sink: CaptureSink;
  readonly #epochSeconds: number;
  readonly #epochRestMs: number; // the part of the epoch under a second: apart, so that sums keep their nanoseconds
  #linkType = -1; // of a classic file
  #interfaces = 0;
  #seconds = 0; // of the packet being written
  #nanoseconds = 0;
  #slab = new Uint8Array(0);
  #view = new DataView(this.#slab.buffer);
  #slabUsed = 0;

  /** @throws RangeError if `format` or `snaplen` is none. */
  constructor(sink: CaptureSink, options: CaptureOptions = {}) {
    const { format = 'pcapng', snaplen = SNAPLEN_DEFAULT, epochMs = 0 } = options;
    if (format !== 'pcap' && format !== 'pcapng') {
      throw new RangeError(`capture: expected format pcap or pcapng, got ${String(format)}`);
    }
    if (!(Number.isInteger(snaplen) && snaplen >= 1 && snaplen <= SNAPLEN_DEFAULT)) {
      throw new RangeError(`capture: expected a snaplen of 1 to ${SNAPLEN_DEFAULT} bytes, got ${snaplen}`);
    }
    this.format = format;
    this.snaplen = snaplen;
    this.#sink = sink;
    this.#epochSeconds = Math.floor(epochMs / 1000);
    this.#epochRestMs = epochMs - this.#epochSeconds * 1000;
    if (format === 'pcapng') sink.write(sectionBlock());
  }

  /**
   * Adds an interface and returns its id.
   * @throws RangeError if the file is a classic one and has another link type already.
   */
  addInterface(medium: Medium, name: string): number {
    const linkType = linkTypeOf(medium);
    if (this.format === 'pcapng') {
      this.#sink.write(interfaceBlock(linkType, this.snaplen, name));
    } else if (this.#linkType < 0) {
      this.#linkType = linkType;
      this.#sink.write(pcapHeader(linkType, this.snaplen));
    } else if (this.#linkType !== linkType) {
      throw new RangeError(`capture: expected link type ${this.#linkType}, got ${linkType}: a pcap file has only one`);
    }
    return this.#interfaces++;
  }

  /** Writes `frame`, which stays the caller's, as seen at `now` by interface `id`. */
  write(memory: Memory, frame: number, medium: Medium, id: number, inbound: boolean, now: number): void {
    const original = frameLength(memory, frame);
    const captured = Math.min(original, this.snaplen);
    const isNg = this.format === 'pcapng';
    const before = isNg ? PACKET_BYTES : PCAP_RECORD_LENGTH;
    const length = isNg ? packetBlockLength(captured) : PCAP_RECORD_LENGTH + captured;
    const p = this.#take(length);
    this.#setTime(now);
    if (isNg) {
      const flags = inbound ? FLAGS_INBOUND : FLAGS_OUTBOUND;
      emitPacket(this.#view, p, id, this.#seconds, this.#nanoseconds, captured, original, flags);
    } else {
      emitRecord(this.#view, p, this.#seconds, this.#nanoseconds, captured, original);
    }
    this.#copy(memory, frame, medium, p + before, captured);
    this.packets++;
    this.#sink.write(this.#slab.subarray(p, p + length));
  }

  /** Copies the first `captured` bytes of `frame` to `p` of the slab, the checksum completed. */
  #copy(memory: Memory, frame: number, medium: Medium, p: number, captured: number): void {
    const start = frameStart(memory, frame);
    this.#slab.set(memory.u8.subarray(start, start + captured), p);
    if (!needsChecksum(memory, frame)) return;
    const field = checksumField(memory, frame, medium);
    if (field === 0 || field + 2 > start + captured) return;
    this.#view.setUint16(p + field - start, wireChecksum(memory, frame, medium, field), true);
  }

  /** Takes `length` zero bytes of the slab, or of a new one; returns their offset. */
  #take(length: number): number {
    if (this.#slabUsed + length > this.#slab.length) {
      this.#slab = new Uint8Array(Math.max(length, SLAB_BYTES));
      this.#view = new DataView(this.#slab.buffer);
      this.#slabUsed = 0;
    }
    const p = this.#slabUsed;
    this.#slabUsed = p + length;
    return p;
  }

  #setTime(now: number): void {
    const seconds = Math.floor(now / 1000);
    const nanoseconds = Math.round((now - seconds * 1000 + this.#epochRestMs) * 1e6);
    const carry = Math.floor(nanoseconds / 1e9);
    this.#seconds = this.#epochSeconds + seconds + carry;
    this.#nanoseconds = nanoseconds - carry * 1e9;
  }
}

/** Which frames are recorded, from the stack's view. */
export type CaptureMode = 'both' | 'rx' | 'tx';

export interface PcapWriterOptions extends CaptureOptions {
  /** Default `both`. */
  readonly mode?: CaptureMode;
  /** The interface's name in a pcapng file; default `eth0` or `tun0` by medium. */
  readonly name?: string;
}

/**
 * Wraps `inner` and records it; all else passes through unchanged. Transmitted frames are recorded as they are handed
 * to the device, received ones as they are taken from it.
 * @example new PcapWriter(device, { write: (bytes) => writeSync(fd, bytes) }, { epochMs: Date.now() - performance.now() })
 */
export class PcapWriter implements Device {
  readonly medium: Medium;
  readonly mtu: number;
  readonly offload: boolean;
  readonly memory: Memory | null;
  readonly capture: Capture;
  readonly #inner: Device;
  readonly #id: number;
  readonly #rx: boolean;
  readonly #tx: boolean;
  #memory: Memory | null = null;

  /**
   * @param to - a sink, which gets a file of its own, or a {@link Capture} under way, whose options then hold
   * @throws RangeError if an option is out of its range or a classic file would need a second link type.
   */
  constructor(inner: Device, to: CaptureSink | Capture, options: PcapWriterOptions = {}) {
    const { mode = 'both', name = inner.medium === 'ethernet' ? 'eth0' : 'tun0' } = options;
    if (mode !== 'both' && mode !== 'rx' && mode !== 'tx') {
      throw new RangeError(`pcap: expected mode both, rx or tx, got ${String(mode)}`);
    }
    this.medium = inner.medium;
    this.mtu = inner.mtu;
    this.offload = inner.offload;
    this.memory = inner.memory;
    this.#inner = inner;
    this.#rx = mode !== 'tx';
    this.#tx = mode !== 'rx';
    this.capture = to instanceof Capture ? to : new Capture(to, options);
    this.#id = this.capture.addInterface(inner.medium, name);
  }

  attach(memory: Memory, wake: () => void): void {
    this.#memory = memory;
    this.#inner.attach(memory, wake);
  }

  receive(now: number): number {
    const frame = this.#inner.receive(now);
    if (frame !== 0 && this.#rx) this.capture.write(this.#memory!, frame, this.medium, this.#id, true, now);
    return frame;
  }

  room(): number {
    return this.#inner.room();
  }

  transmit(frame: number, now: number): void {
    if (this.#tx) this.capture.write(this.#memory!, frame, this.medium, this.#id, false, now);
    this.#inner.transmit(frame, now);
  }

  pollAt(): number {
    return this.#inner.pollAt();
  }

  close(): void {
    this.#inner.close();
  }
}
