/**
 * Reads capture files as they come, piece by piece: classic pcap of both byte orders and both units of time, and pcapng
 * with several sections, interfaces, byte orders and resolutions. Memory is bounded by the largest record. @module
 */
import {
  BLOCK_ENHANCED_PACKET,
  BLOCK_INTERFACE,
  BLOCK_LENGTH,
  BLOCK_PACKET,
  BLOCK_SECTION_HEADER,
  BLOCK_SIMPLE_PACKET,
  BLOCK_TRAILER,
  BLOCK_TYPE,
  BYTE_ORDER_MAGIC,
  type CaptureFormat,
  FLAGS_INBOUND,
  FLAGS_OUTBOUND,
  INTERFACE_LINKTYPE,
  INTERFACE_OPTIONS,
  INTERFACE_SNAPLEN,
  OLD_PACKET_INTERFACE,
  OPTION_CODE,
  OPTION_COMMENT,
  OPTION_END,
  OPTION_EPB_FLAGS,
  OPTION_IF_DESCRIPTION,
  OPTION_IF_NAME,
  OPTION_IF_TSOFFSET,
  OPTION_IF_TSRESOL,
  OPTION_LENGTH,
  OPTION_VALUE,
  PACKET_BYTES,
  PACKET_CAPTURED,
  PACKET_INTERFACE,
  PACKET_ORIGINAL,
  PACKET_TIME_HIGH,
  PACKET_TIME_LOW,
  PCAP_HEADER_LENGTH,
  PCAP_LINKTYPE,
  PCAP_MAGIC_MICROSECONDS,
  PCAP_MAGIC_NANOSECONDS,
  PCAP_RECORD_LENGTH,
  PCAP_SNAPLEN,
  PCAP_VERSION_MAJOR,
  pad4,
  RECORD_CAPTURED,
  RECORD_NANOSECONDS,
  RECORD_ORIGINAL,
  RECORD_SECONDS,
  SECTION_BYTE_ORDER,
  SECTION_OPTIONS,
  SECTION_VERSION_MAJOR,
  SIMPLE_BYTES,
  SIMPLE_ORIGINAL,
} from './format.ts';
import { Resolution } from './resolution.ts';
import type { PacketDirection } from './writer.ts';

/** Bytes of one record or block at most: no capture has larger ones, and a damaged length shall not fill the memory. */
export const RECORD_MAX = 1 << 24;
/** Interfaces of one section at most. */
export const INTERFACES_MAX = 65_536;
/** Comments kept of one packet; more are skipped. */
const COMMENTS_MAX = 16;
const NO_COMMENTS: readonly string[] = [];
/** The least block: type and two lengths. */
const BLOCK_MIN = 12;

/** A file that is no capture, is damaged, or ends too early. What was read before it holds. */
export class CaptureError extends Error {
  override readonly name = 'CaptureError';
  /** Bytes from the start of the file to the record that could not be read. */
  readonly offset: number;

  constructor(message: string, offset: number) {
    super(message);
    this.offset = offset;
  }
}

/** An interface of a capture. A classic file has one, without a name. */
export interface CaptureInterface {
  /** Its place in its section, from 0. */
  readonly id: number;
  readonly name: string;
  readonly description: string;
  /** What its packets begin with: see LINKTYPE_ETHERNET and the like. */
  readonly linkType: number;
  /** Bytes kept of a packet; 0: no limit. */
  readonly snaplen: number;
}

/** A packet of a capture. Its bytes are a part of what was pushed: they hold as long as that is not written over. */
export class CapturedPacket {
  readonly buffer: Uint8Array;
  /** Where its bytes begin in {@link buffer}, and where they end. */
  readonly start: number;
  readonly end: number;
  /** Bytes it had on the wire. */
  readonly originalLength: number;
  /** Unix time, in whole seconds and nanoseconds of the second; both 0 where the capture has no time. */
  readonly seconds: number;
  readonly nanoseconds: number;
  readonly interface: CaptureInterface;
  readonly direction: PacketDirection | null;
  readonly comments: readonly string[];

  constructor(
    buffer: Uint8Array,
    start: number,
    end: number,
    originalLength: number,
    seconds: number,
    nanoseconds: number,
    iface: CaptureInterface,
    direction: PacketDirection | null,
    comments: readonly string[],
  ) {
    this.buffer = buffer;
    this.start = start;
    this.end = end;
    this.originalLength = originalLength;
    this.seconds = seconds;
    this.nanoseconds = nanoseconds;
    this.interface = iface;
    this.direction = direction;
    this.comments = comments;
  }

  /** What was captured of it: a view. */
  get bytes(): Uint8Array {
    return this.buffer.subarray(this.start, this.end);
  }
}

interface Source extends CaptureInterface {
  readonly resolution: Resolution;
}

/**
 * Reads a capture file that comes in pieces. Whoever reads calls {@link next} until it gives null, then either
 * {@link push}es more or, at the end of the file, calls {@link finish}.
 * @example
 * const reader = new CaptureReader();
 * for await (const piece of file) {
 *   reader.push(piece);
 *   for (let packet = reader.next(); packet !== null; packet = reader.next()) console.log(packet.bytes.length);
 * }
 * reader.finish();
 */
export class CaptureReader {
  #buffer: Uint8Array = new Uint8Array(0);
  #view = new DataView(this.#buffer.buffer);
  #at = 0;
  #passed = 0; // bytes of the file before the buffer
  #format: CaptureFormat | null = null;
  #little = true;
  #nanoseconds = false; // of a classic file
  #interfaces: Source[] = [];
  #packets = 0;
  #failure: CaptureError | null = null;

  /** Null until the first bytes were read by {@link next}. */
  get format(): CaptureFormat | null {
    return this.#format;
  }

  /** The interfaces of the section being read, as far as they have been met. */
  get interfaces(): readonly CaptureInterface[] {
    return this.#interfaces;
  }

  /** Packets given so far. */
  get packets(): number {
    return this.#packets;
  }

  /** Takes the next bytes of the file. They are not copied as a rule: they must stay as they are while packets of them are in use. */
  push(bytes: Uint8Array): void {
    const rest = this.#buffer.length - this.#at;
    this.#passed += this.#at;
    if (rest === 0) {
      this.#buffer = bytes;
    } else {
      const joined = new Uint8Array(rest + bytes.length);
      joined.set(this.#buffer.subarray(this.#at));
      joined.set(bytes, rest);
      this.#buffer = joined;
    }
    this.#view = new DataView(this.#buffer.buffer, this.#buffer.byteOffset, this.#buffer.byteLength);
    this.#at = 0;
  }

  /**
   * The next packet, or null where the rest of it has not been pushed yet.
   * @throws CaptureError if the file is no capture or is damaged here, at every call from then on
   */
  next(): CapturedPacket | null {
    if (this.#failure !== null) throw this.#failure;
    if (this.#format === null && !this.#begin()) return null;
    const packet = this.#format === 'pcap' ? this.#nextRecord() : this.#nextBlock();
    if (packet !== null) this.#packets++;
    return packet;
  }

  /**
   * Says that nothing more comes.
   * @throws CaptureError if the file ends within a packet or before its header was whole
   */
  finish(): void {
    if (this.#failure !== null) throw this.#failure;
    const rest = this.#buffer.length - this.#at;
    if (this.#format === null) {
      this.#fail(rest === 0 && this.#passed === 0 ? 'the file is empty' : 'the file ends within its header');
    }
    if (rest > 0) this.#fail(`the file ends early, ${rest} bytes into the record behind packet ${this.#packets}`);
  }

  #fail(message: string): never {
    this.#failure = new CaptureError(message, this.#passed + this.#at);
    throw this.#failure;
  }

  #u16(p: number): number {
    return this.#view.getUint16(this.#at + p, this.#little);
  }

  #u32(p: number): number {
    return this.#view.getUint32(this.#at + p, this.#little);
  }

  /** Reads the first bytes of the file; false where they have not come yet. */
  #begin(): boolean {
    if (this.#buffer.length - this.#at < 4) return false;
    const magic = this.#view.getUint32(this.#at, true);
    if (magic === BLOCK_SECTION_HEADER) {
      this.#format = 'pcapng';
      return true;
    }
    const swapped = this.#view.getUint32(this.#at, false);
    this.#little = magic === PCAP_MAGIC_MICROSECONDS || magic === PCAP_MAGIC_NANOSECONDS;
    const native = this.#little ? magic : swapped;
    if (native !== PCAP_MAGIC_MICROSECONDS && native !== PCAP_MAGIC_NANOSECONDS) {
      this.#fail(
        `no capture file: expected pcap or pcapng, got 0x${swapped.toString(16).padStart(8, '0')} at its start`,
      );
    }
    if (this.#buffer.length - this.#at < PCAP_HEADER_LENGTH) return false;
    if (this.#u16(PCAP_VERSION_MAJOR) !== 2) {
      this.#fail(`pcap: expected version 2, got ${this.#u16(PCAP_VERSION_MAJOR)}`);
    }
    this.#nanoseconds = native === PCAP_MAGIC_NANOSECONDS;
    const linkType = this.#u32(PCAP_LINKTYPE) & 0xffff;
    const [resolution, snaplen] = [Resolution.MICROSECONDS, this.#u32(PCAP_SNAPLEN)];
    this.#interfaces.push({ id: 0, name: '', description: '', linkType, snaplen, resolution });
    this.#format = 'pcap';
    this.#at += PCAP_HEADER_LENGTH;
    return true;
  }

  /** A record of a classic file. */
  #nextRecord(): CapturedPacket | null {
    const rest = this.#buffer.length - this.#at;
    if (rest < PCAP_RECORD_LENGTH) return null;
    const captured = this.#u32(RECORD_CAPTURED);
    if (captured > RECORD_MAX) {
      this.#fail(`the record behind packet ${this.#packets} is damaged: it claims ${captured} bytes`);
    }
    if (rest < PCAP_RECORD_LENGTH + captured) return null;
    const fraction = this.#u32(RECORD_NANOSECONDS);
    const nanoseconds = Math.min(this.#nanoseconds ? fraction : fraction * 1000, 999_999_999);
    const start = this.#at + PCAP_RECORD_LENGTH;
    const [seconds, original] = [this.#u32(RECORD_SECONDS), this.#u32(RECORD_ORIGINAL)];
    this.#at = start + captured;
    const iface = this.#interfaces[0]!;
    return new CapturedPacket(this.#buffer, start, this.#at, original, seconds, nanoseconds, iface, null, NO_COMMENTS);
  }

  /** Reads blocks up to the next packet. */
  #nextBlock(): CapturedPacket | null {
    for (;;) {
      const length = this.#blockLength();
      if (length === 0) return null;
      const end = this.#at + length - BLOCK_TRAILER;
      const type = this.#u32(BLOCK_TYPE);
      let packet: CapturedPacket | null = null;
      if (type === BLOCK_ENHANCED_PACKET) packet = this.#enhanced(end, this.#u32(PACKET_INTERFACE));
      else if (type === BLOCK_PACKET) packet = this.#enhanced(end, this.#u16(OLD_PACKET_INTERFACE));
      else if (type === BLOCK_SIMPLE_PACKET) packet = this.#simple(end);
      else if (type === BLOCK_INTERFACE) this.#describe(end);
      else if (type === BLOCK_SECTION_HEADER) this.#section(end);
      // §4: blocks of other types are skipped.
      this.#at = end + BLOCK_TRAILER;
      if (packet !== null) return packet;
    }
  }

  /** Length of the block that begins here, its byte order found if it is a section header; 0: not all of it has come. */
  #blockLength(): number {
    const rest = this.#buffer.length - this.#at;
    if (rest < BLOCK_MIN) return 0;
    if (this.#u32(BLOCK_TYPE) === BLOCK_SECTION_HEADER) {
      const little = this.#view.getUint32(this.#at + SECTION_BYTE_ORDER, true) === BYTE_ORDER_MAGIC;
      const big = this.#view.getUint32(this.#at + SECTION_BYTE_ORDER, false) === BYTE_ORDER_MAGIC;
      if (!little && !big) this.#fail('pcapng: a section header has no byte order');
      this.#little = little;
    }
    const length = this.#u32(BLOCK_LENGTH);
    // §3.1: "This value MUST be a multiple of 4."
    if (length < BLOCK_MIN || length > RECORD_MAX || (length & 3) !== 0) {
      this.#fail(`the block behind packet ${this.#packets} is damaged: it claims ${length} bytes`);
    }
    if (rest < length) return 0;
    if (this.#u32(length - BLOCK_TRAILER) !== length) {
      this.#fail(`the block behind packet ${this.#packets} is damaged: its two lengths differ`);
    }
    return length;
  }

  /** §4.1: a section begins anew: its own byte order, its own interfaces. */
  #section(end: number): void {
    if (end - this.#at < SECTION_OPTIONS) this.#fail('pcapng: a section header is too short');
    if (this.#u16(SECTION_VERSION_MAJOR) !== 1) {
      this.#fail(`pcapng: expected version 1, got ${this.#u16(SECTION_VERSION_MAJOR)}`);
    }
    this.#interfaces = [];
  }

  /** §4.2. */
  #describe(end: number): void {
    if (end - this.#at < INTERFACE_OPTIONS) this.#fail('pcapng: an interface description is too short');
    if (this.#interfaces.length === INTERFACES_MAX) this.#fail(`pcapng: more than ${INTERFACES_MAX} interfaces`);
    let [name, description] = ['', ''];
    let [code, offset] = [6, 0];
    this.#options(this.#at + INTERFACE_OPTIONS, end, (option, p, length) => {
      if (option === OPTION_IF_NAME) name = this.#text(p, length);
      else if (option === OPTION_IF_DESCRIPTION) description = this.#text(p, length);
      else if (option === OPTION_IF_TSRESOL && length === 1) code = this.#buffer[p]!;
      else if (option === OPTION_IF_TSOFFSET && length === 8) {
        offset = Number(this.#view.getBigInt64(p, this.#little));
      }
    });
    const [linkType, snaplen] = [this.#u16(INTERFACE_LINKTYPE), this.#u32(INTERFACE_SNAPLEN)];
    const resolution = new Resolution(code, offset);
    this.#interfaces.push({ id: this.#interfaces.length, name, description, linkType, snaplen, resolution });
  }

  /** §4.3, and the obsolete block of appendix A, which differs in where the interface stands. */
  #enhanced(end: number, id: number): CapturedPacket {
    if (end - this.#at < PACKET_BYTES) this.#fail(`the block behind packet ${this.#packets} is too short`);
    const iface = this.#interfaceOf(id);
    const captured = this.#u32(PACKET_CAPTURED);
    const start = this.#at + PACKET_BYTES;
    if (captured > end - start) {
      this.#fail(`the block behind packet ${this.#packets} is damaged: it claims ${captured} captured bytes`);
    }
    iface.resolution.set(this.#u32(PACKET_TIME_HIGH), this.#u32(PACKET_TIME_LOW));
    const { seconds, nanoseconds } = iface.resolution;
    let flags = 0;
    const comments: string[] = [];
    this.#options(start + pad4(captured), end, (option, p, length) => {
      if (option === OPTION_EPB_FLAGS && length === 4) flags = this.#view.getUint32(p, this.#little) & 3;
      else if (option === OPTION_COMMENT && comments.length < COMMENTS_MAX) comments.push(this.#text(p, length));
    });
    const direction = flags === FLAGS_INBOUND ? 'in' : flags === FLAGS_OUTBOUND ? 'out' : null;
    const original = this.#u32(PACKET_ORIGINAL);
    return new CapturedPacket(
      this.#buffer,
      start,
      start + captured,
      original,
      seconds,
      nanoseconds,
      iface,
      direction,
      comments,
    );
  }

  /** §4.4: of the first interface, without a time. */
  #simple(end: number): CapturedPacket {
    const iface = this.#interfaceOf(0);
    if (end - this.#at < SIMPLE_BYTES) this.#fail(`the block behind packet ${this.#packets} is too short`);
    const original = this.#u32(SIMPLE_ORIGINAL);
    const start = this.#at + SIMPLE_BYTES;
    const captured = Math.min(original, iface.snaplen === 0 ? original : iface.snaplen, end - start);
    return new CapturedPacket(this.#buffer, start, start + captured, original, 0, 0, iface, null, NO_COMMENTS);
  }

  #interfaceOf(id: number): Source {
    const iface = this.#interfaces[id];
    if (iface === undefined)
      this.#fail(`the packet behind packet ${this.#packets} is of interface ${id}, which is not there`);
    return iface!;
  }

  /** Calls `take` for each option in `[p, end)`; what is cut off ends them. */
  #options(p: number, end: number, take: (code: number, p: number, length: number) => void): void {
    while (end - p >= OPTION_VALUE) {
      const code = this.#view.getUint16(p + OPTION_CODE, this.#little);
      const length = this.#view.getUint16(p + OPTION_LENGTH, this.#little);
      if (code === OPTION_END || length > end - p - OPTION_VALUE) return;
      take(code, p + OPTION_VALUE, length);
      p += OPTION_VALUE + pad4(length);
    }
  }

  #text(p: number, length: number): string {
    return new TextDecoder().decode(this.#buffer.subarray(p, p + length)).replace(/\0+$/, '');
  }
}

/**
 * The packets of a whole file at hand.
 * @param file - is not copied: packets are views of it
 * @throws CaptureError behind the last packet that could be read, where the file is damaged or ends early
 * @example for (const packet of readCapture(await readFile('trace.pcapng'))) console.log(packet.seconds, packet.bytes);
 */
export function* readCapture(file: Uint8Array): Generator<CapturedPacket, void, undefined> {
  const reader = new CaptureReader();
  reader.push(file);
  yield* drain(reader);
  reader.finish();
}

/**
 * The packets of a file that comes in pieces: a stream of Node or of a page. Memory stays that of a piece and a record.
 * @param pieces - must leave their bytes as they are while packets of them are in use
 * @throws CaptureError as {@link readCapture}
 */
export async function* readCaptureStream(
  pieces: AsyncIterable<Uint8Array>,
): AsyncGenerator<CapturedPacket, void, undefined> {
  const reader = new CaptureReader();
  for await (const piece of pieces) {
    reader.push(piece);
    yield* drain(reader);
  }
  reader.finish();
}

function* drain(reader: CaptureReader): Generator<CapturedPacket, void, undefined> {
  for (let packet = reader.next(); packet !== null; packet = reader.next()) yield packet;
}
