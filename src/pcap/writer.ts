/**
 * Writes a capture file that Wireshark and tcpdump read: records go to a sink as they are made, so that a file can be
 * watched while it grows. @module
 */
import {
  type CaptureFormat,
  emitPacket,
  emitRecord,
  encodeComments,
  FLAGS_INBOUND,
  FLAGS_OUTBOUND,
  interfaceBlock,
  PACKET_BYTES,
  PCAP_RECORD_LENGTH,
  packetBlockLength,
  pcapHeader,
  SNAPLEN_DEFAULT,
  sectionBlock,
  statisticsBlock,
} from './format.ts';

/** Bytes of the slabs that records are cut from; a larger record gets a slab of its own. */
const SLAB_BYTES = 1 << 16;
const NO_COMMENTS: readonly string[] = [];

/** Where a capture goes: a file, an array, a stream. */
export interface CaptureSink {
  /**
   * Takes the next bytes of the file, whole records at a time. They are never written again, so the sink may keep them;
   * it must not transfer their buffer, which other records share.
   */
  write(bytes: Uint8Array): void;
}

export interface CaptureWriterOptions {
  /** Default `pcapng`. Classic pcap has no names, directions or comments, and one link type a file. */
  readonly format?: CaptureFormat;
  /** Bytes kept of a packet, 1 to 262144; default {@link SNAPLEN_DEFAULT}. */
  readonly snaplen?: number;
}

/** From the view of the interface: `in` came from the wire, `out` goes to it. */
export type PacketDirection = 'in' | 'out';

/** A packet to write. */
export interface PacketRecord {
  /** What was captured of it; copied, at most `snaplen` bytes of it. */
  readonly bytes: Uint8Array;
  /** Bytes it had on the wire; default all of `bytes`. */
  readonly originalLength?: number;
  /** Unix time, in whole seconds and nanoseconds of the second. */
  readonly seconds: number;
  readonly nanoseconds: number;
  /** What {@link CaptureWriter.addInterface} gave; default 0. */
  readonly interfaceId?: number;
  readonly direction?: PacketDirection;
  /** Shown by Wireshark as packet comments: why it was dropped, for example. Ignored in classic files. */
  readonly comments?: readonly string[];
}

/**
 * A capture file under way. Its header is written at once, or with the first interface of a classic file.
 * @example
 * const writer = new CaptureWriter({ write: (bytes) => writeSync(fd, bytes) });
 * const id = writer.addInterface({ linkType: LINKTYPE_ETHERNET, name: 'eth0' });
 * writer.write({ interfaceId: id, bytes, seconds, nanoseconds, direction: 'in', comments: ['dropped: udp-no-socket'] });
 */
export class CaptureWriter {
  readonly format: CaptureFormat;
  readonly snaplen: number;
  /** Packets written. */
  packets = 0;
  readonly #sink: CaptureSink;
  #linkType = -1; // of a classic file
  #interfaces = 0;
  #slab = new Uint8Array(0);
  #view = new DataView(this.#slab.buffer);
  #slabUsed = 0;
  #record = 0; // where the record begun stands, and its length
  #recordLength = 0;

  /** @throws RangeError if `format` or `snaplen` is none. */
  constructor(sink: CaptureSink, options: CaptureWriterOptions = {}) {
    const { format = 'pcapng', snaplen = SNAPLEN_DEFAULT } = options;
    if (format !== 'pcap' && format !== 'pcapng') {
      throw new RangeError(`capture: expected format pcap or pcapng, got ${String(format)}`);
    }
    if (!(Number.isInteger(snaplen) && snaplen >= 1 && snaplen <= SNAPLEN_DEFAULT)) {
      throw new RangeError(`capture: expected a snaplen of 1 to ${SNAPLEN_DEFAULT} bytes, got ${snaplen}`);
    }
    this.format = format;
    this.snaplen = snaplen;
    this.#sink = sink;
    if (format === 'pcapng') sink.write(sectionBlock());
  }

  /**
   * Adds an interface and returns its id: 0, then 1, and so on.
   * @param options.linkType - what its packets begin with, as the tcpdump registry numbers it
   * @throws RangeError if the file is a classic one and has another link type already.
   */
  addInterface(options: { readonly linkType: number; readonly name?: string }): number {
    const { linkType, name = '' } = options;
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

  /**
   * Writes a packet.
   * @throws RangeError if its interface was not added, or a number is out of its range.
   */
  write(packet: PacketRecord): void {
    const { bytes, seconds, nanoseconds, interfaceId = 0, direction, comments = NO_COMMENTS } = packet;
    const original = packet.originalLength ?? bytes.length;
    check('interfaceId', interfaceId, this.#interfaces - 1);
    check('originalLength', original, 0xffffffff);
    check('seconds', seconds, 0xffffffff);
    check('nanoseconds', nanoseconds, 999_999_999);
    const captured = Math.min(bytes.length, this.snaplen);
    const flags = direction === undefined ? 0 : direction === 'in' ? FLAGS_INBOUND : FLAGS_OUTBOUND;
    const at = this.begin(interfaceId, seconds, nanoseconds, captured, original, flags, comments);
    this.#slab.set(captured === bytes.length ? bytes : bytes.subarray(0, captured), at);
    this.end();
  }

  /**
   * Writes what an interface counted: packets that came, and of them those lost before they could be recorded. Nothing
   * in a classic file.
   */
  writeStatistics(
    interfaceId: number,
    seconds: number,
    nanoseconds: number,
    counts: { readonly received: number; readonly dropped: number },
  ): void {
    if (this.format === 'pcap') return;
    check('interfaceId', interfaceId, this.#interfaces - 1);
    this.#sink.write(statisticsBlock(interfaceId, seconds, nanoseconds, counts.received, counts.dropped));
  }

  /**
   * Begins a record for whoever has its bytes elsewhere: they go to {@link slab} from the offset returned on, `captured` of
   * them, then {@link end} follows. Nothing is checked.
   * @param flags - bits 0-1: 1 inbound, 2 outbound
   */
  begin(
    id: number,
    seconds: number,
    nanoseconds: number,
    captured: number,
    original: number,
    flags: number,
    comments: readonly string[],
  ): number {
    if (this.format === 'pcap') {
      this.#take(PCAP_RECORD_LENGTH + captured);
      emitRecord(this.#view, this.#record, seconds, nanoseconds, captured, original);
      return this.#record + PCAP_RECORD_LENGTH;
    }
    const texts = encodeComments(comments);
    this.#take(packetBlockLength(captured, texts));
    const p = this.#record;
    emitPacket(this.#slab, this.#view, p, id, seconds, nanoseconds, captured, original, flags, texts);
    return p + PACKET_BYTES;
  }

  /** Where the bytes of the record begun go; another array after the next {@link begin}. */
  get slab(): Uint8Array {
    return this.#slab;
  }

  /** Hands the record begun to the sink. */
  end(): void {
    this.packets++;
    this.#sink.write(this.#slab.subarray(this.#record, this.#record + this.#recordLength));
  }

  /** Takes `length` zero bytes of the slab, or of a new one. */
  #take(length: number): void {
    if (this.#slabUsed + length > this.#slab.length) {
      this.#slab = new Uint8Array(Math.max(length, SLAB_BYTES));
      this.#view = new DataView(this.#slab.buffer);
      this.#slabUsed = 0;
    }
    this.#record = this.#slabUsed;
    this.#recordLength = length;
    this.#slabUsed += length;
  }
}

function check(name: string, value: number, max: number): void {
  if (Number.isInteger(value) && value >= 0 && value <= max) return;
  throw new RangeError(`capture: expected ${name} of 0 to ${max}, got ${value}`);
}
