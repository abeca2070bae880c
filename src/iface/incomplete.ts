/**
 * A datagram of which not all has come, with the fragments that have: records in blocks of the linear memory, a list in
 * the order of their offsets. What is done with them stands in reassembly.ts. @module
 */
import type { Memory } from '../memory/memory.ts';
import { Packet } from './packet.ts';

// A record: four int32, then for the first fragment the headers, then the data.
const START = 0;
const END = 1;
/** The record behind it, 0: none. */
const NEXT = 2;
/** Bytes of headers between the record and the data. */
const HEADERS = 3;
/** Bytes that a record takes beside its headers and data. */
export const RECORD_BYTES = 16;

/** Who sends fragments: an IPv4 address, or the network (/64) of an IPv6 one, which one host can have all of. */
export class Source {
  readonly key: number | string;
  /** Its incomplete datagrams, oldest first. */
  readonly datagrams = new Set<Incomplete>();
  heldBytes = 0;

  constructor(key: number | string) {
    this.key = key;
  }
}

/** A datagram of which not all has come. */
export class Incomplete {
  readonly source: Source;
  /** Version and addresses; the interface the first of it came by. */
  readonly flow: Packet;
  readonly id: number;
  readonly hash: number;
  readonly expiresAt: number;
  /** The next one in the table with the same hash. */
  chained: Incomplete | null = null;
  /** The first and the last record. */
  head = 0;
  tail = 0;
  /** Bytes of data and fragments held. */
  dataBytes = 0;
  fragments = 0;
  /** Where the data end, once the last fragment has come; -1 before. */
  end = -1;
  ecnSeen = 0;
  /** RFC 5722 §4: what still comes of it is dropped too. */
  isGivenUp = false;
  readonly blocks: number[] = [];
  /** Free bytes of the last block, and where they begin. */
  room = 0;
  free = 0;
  heldBytes = 0;

  constructor(source: Source, packet: Packet, id: number, hash: number, expiresAt: number) {
    this.source = source;
    this.flow = new Packet(packet.iface);
    this.flow.copyFrom(packet);
    this.flow.protocol = packet.protocol;
    this.flow.toGroup = packet.toGroup;
    this.id = id;
    this.hash = hash;
    this.expiresAt = expiresAt;
  }

  /** Whether `packet` is a piece of it: RFC 791 §3.2 for IPv4, RFC 8200 §4.5 for IPv6. */
  holds(packet: Packet, id: number): boolean {
    const { flow } = this;
    if (id !== this.id || packet.version !== flow.version) return false;
    if (packet.srcD !== flow.srcD || packet.dstD !== flow.dstD) return false;
    if (packet.version === 4) return packet.protocol === flow.protocol;
    // RFC 4007 §4: the same link-local address on another link is another host.
    return packet.sameHighWords(flow) && (packet.iface === flow.iface || packet.srcA >>> 22 !== LINK_LOCAL);
  }

  /** Whether the first fragment has come. */
  hasFirst({ i32 }: Memory): boolean {
    return this.head !== 0 && i32[(this.head >> 2) + START] === 0;
  }

  /** Bytes of headers kept with the first fragment; they stand at {@link firstPacket}, its data behind them. */
  headerBytes({ i32 }: Memory): number {
    return i32[(this.head >> 2) + HEADERS]!;
  }

  /** Where the first fragment stands as it came. */
  get firstPacket(): number {
    return this.head + RECORD_BYTES;
  }

  /** Where the data of the last record end, of the first. */
  lastEnd({ i32 }: Memory): number {
    return this.tail === 0 ? 0 : i32[(this.tail >> 2) + END]!;
  }

  firstEnd({ i32 }: Memory): number {
    return i32[(this.head >> 2) + END]!;
  }

  /** The last record that begins before `start`, 0: none. Usually the last of all. */
  recordBefore({ i32 }: Memory, start: number): number {
    const { tail } = this;
    if (tail !== 0 && i32[(tail >> 2) + START]! < start) return tail;
    let before = 0;
    for (let at = this.head; at !== 0 && i32[(at >> 2) + START]! < start; at = i32[(at >> 2) + NEXT]!) before = at;
    return before;
  }

  /** The record behind `before`, or the first for 0; 0: none. */
  recordAfter({ i32 }: Memory, before: number): number {
    return before === 0 ? this.head : i32[(before >> 2) + NEXT]!;
  }

  /**
   * RFC 8200 §4.5: the network may duplicate a fragment, and an exact duplicate may be dropped alone. Exact means its
   * bytes too: what Linux drops as a duplicate for its bounds only is an overlap here where the bytes differ.
   * @param data - where the bytes of `[start, end)` stand
   */
  isDuplicate({ i32, u8 }: Memory, at: number, start: number, end: number, data: number): boolean {
    if (i32[(at >> 2) + START] !== start || i32[(at >> 2) + END] !== end) return false;
    const kept = at + RECORD_BYTES + i32[(at >> 2) + HEADERS]!;
    for (let i = 0; i < end - start; i++) if (u8[kept + i] !== u8[data + i]) return false;
    return true;
  }

  /** Whether `[start, end)` reaches into the records before or behind it. */
  overlaps({ i32 }: Memory, before: number, after: number, start: number, end: number): boolean {
    return (before !== 0 && i32[(before >> 2) + END]! > start) || (after !== 0 && i32[(after >> 2) + START]! < end);
  }

  /** Room for a record of `bytes` in the last block, 0: too little. */
  takeRoom(bytes: number): number {
    const wanted = (bytes + 7) & ~7;
    if (this.room < wanted) return 0;
    const at = this.free;
    this.free += wanted;
    this.room -= wanted;
    return at;
  }

  /** Takes `block` in, from which room is taken now. */
  addBlock(memory: Memory, block: number): void {
    this.blocks.push(block);
    this.free = block;
    this.room = memory.sizeOf(block);
  }

  /** Makes a record at `at`, between two others, of the bytes of `[start, end)` at `data` and `headers` before them. */
  insert(
    memory: Memory,
    at: number,
    before: number,
    after: number,
    start: number,
    end: number,
    data: number,
    headers: number,
  ): void {
    const { i32 } = memory;
    i32[(at >> 2) + START] = start;
    i32[(at >> 2) + END] = end;
    i32[(at >> 2) + NEXT] = after;
    i32[(at >> 2) + HEADERS] = headers;
    memory.copy(at + RECORD_BYTES, data - headers, headers + end - start);
    if (before === 0) this.head = at;
    else i32[(before >> 2) + NEXT] = at;
    if (after === 0) this.tail = at;
    this.dataBytes += end - start;
    this.fragments++;
  }

  /** Copies all data to `to`, each to its place. */
  copyData(memory: Memory, to: number): void {
    const { i32 } = memory;
    for (let at = this.head; at !== 0; at = i32[(at >> 2) + NEXT]!) {
      const start = i32[(at >> 2) + START]!;
      memory.copy(to + start, at + RECORD_BYTES + i32[(at >> 2) + HEADERS]!, i32[(at >> 2) + END]! - start);
    }
  }

  /** Gives the blocks back. */
  clear(memory: Memory): void {
    for (const block of this.blocks) memory.free(block);
    this.blocks.length = 0;
    this.head = this.tail = this.room = this.free = 0;
  }
}

/** The ten bits of fe80::/10. */
const LINK_LOCAL = 0xfe80 >>> 6;
