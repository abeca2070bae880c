/**
 * Fragments that come in become datagrams again: RFC 791 §3.2, RFC 815, RFC 1122 §3.3.2, RFC 8200 §4.5, RFC 5722 (no
 * overlaps), RFC 6946 (atomic fragments), RFC 7112 (the header chain), RFC 1858 and RFC 3128 (tiny fragments), RFC 3168
 * §5.3 (ECN). @module
 *
 * The fragments of a datagram are kept in blocks of the linear memory, as a list in the order of their offsets; a
 * datagram that is whole is put together in one block, which goes up the stack and is given back after that. What is
 * kept is bounded: beyond the limit a source with more than its share loses its oldest datagram, and where none has
 * more, the oldest of all goes. So one host's thousands of half datagrams cost other hosts nothing.
 */
import type { Memory } from '../memory/memory.ts';
import * as fragment from '../wire/fragment.ts';
import { PROTOCOL_ICMPV6, PROTOCOL_TCP, PROTOCOL_UDP } from '../wire/ip.ts';
import * as ipv4 from '../wire/ipv4.ts';
import * as ipv6 from '../wire/ipv6.ts';
import type { Context } from './context.ts';
import type { ErrorReporter } from './ip.ts';
import { Packet } from './packet.ts';
import type { DropReason } from './stats.ts';
import type { Timed } from './timers.ts';

/** RFC 8200 §4.5: 60 s. For IPv4 RFC 1122 §3.3.2 asks for 60 to 120 s; 30 s is what Linux and RFC 791's hint have. */
const TIMEOUT_V6_MS = 60_000;
const TIMEOUT_V4_MS = 30_000;
/** What incomplete datagrams may hold: a sixteenth of the memory, but 256 KiB in a small one and 4 MiB at most. */
const HELD_SHIFT = 4;
const HELD_LEAST = 1 << 18;
const HELD_MOST = 1 << 22;
/** No more than this part of a small memory: a quarter. */
const HELD_PART_SHIFT = 2;
/** The share of that which one source has for sure, as a shift: a sixteenth; at least two large datagrams. */
const SHARE_SHIFT = 4;
const SHARE_LEAST = 1 << 17;
/** Every datagram counts this much, even one that is given up and only remembered: so their number is bounded too. */
const ENTRY_BYTES = 1 << 11;
/** Blocks grow with the datagram up to this size; beyond, half of each would lie idle. */
const BLOCK_MOST = 1 << 14;
/** What the length fields of both versions can say. */
const LENGTH_MAX = 65_535;
/** RFC 1858 §3.1: a first fragment of TCP that ends before the flags was made to hide them. */
const TCP_FIRST_LEAST = 16;
/** RFC 1858 §3.2.2: the second fragment of such a one, or one meant to overwrite the flags. */
const TCP_HIDDEN_OFFSET = 8;
/** Extension headers walked in a first fragment; RFC 8200 §4.1 knows seven places. */
const CHAIN_MOST = 16;
/** RFC 4443 §3.4. */
const CODE_HEADER = 0;
const CODE_FIRST_FRAGMENT = 3;
/** RFC 792, RFC 4443 §3.3: "fragment reassembly time exceeded". */
const CODE_REASSEMBLY = 1;

// A record: four int32, then for the first fragment the headers, then the data.
const START = 0;
const END = 1;
/** The record behind it, 0: none. */
const NEXT = 2;
/** Bytes of headers between the record and the data. */
const HEADERS = 3;
const RECORD_BYTES = 16;

// ECN field values seen, one bit each: 1 << value.
const ECN_MASK = 3;
const NOT_ECT_SEEN = 1 << 0;
const CE = 3;
const CE_SEEN = 1 << CE;

/** 16-bit pieces of a key: addresses, identification, protocol. */
const PIECES = 20;

/** Who sends fragments: an IPv4 address, or the network (/64) of an IPv6 one, which one host can have all of. */
class Source {
  readonly key: number | string;
  /** Its incomplete datagrams, oldest first. */
  readonly datagrams = new Set<Incomplete>();
  heldBytes = 0;

  constructor(key: number | string) {
    this.key = key;
  }
}

/** A datagram of which not all has come. */
class Incomplete {
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
}

/** The ten bits of fe80::/10. */
const LINK_LOCAL = 0xfe80 >>> 6;

export class Reassembly implements Timed {
  timerAt = 0;
  timerIndex = -1;
  readonly #context: Context;
  readonly #memory: Memory;
  readonly #errors: () => ErrorReporter;
  readonly #table = new Map<number, Incomplete>();
  /** All of a version, oldest first: each has the same time to live. */
  readonly #v4 = new Set<Incomplete>();
  readonly #v6 = new Set<Incomplete>();
  readonly #sources = new Map<number | string, Source>();
  /** Sources with more than their share: never more than 1 << SHARE_SHIFT. */
  readonly #greedy = new Set<Source>();
  readonly #secrets: Int32Array;
  readonly #heldMost: number;
  readonly #share: number;
  #heldBytes = 0;
  /** The block of the datagram that was put together last and is being worked on; 0: none. */
  #whole = 0;
  /** For errors about what is not in a frame any more. */
  readonly #quoted: Packet;

  // The fragment in hand.
  #id = 0;
  #offset = 0;
  #more = false;
  /** Its data: [#data, packet.end). */
  #data = 0;

  /** @param errors - who tells senders of errors; asked for when one is to be told */
  constructor(context: Context, errors: () => ErrorReporter) {
    this.#context = context;
    this.#memory = context.memory;
    this.#errors = errors;
    this.#secrets = Int32Array.from({ length: PIECES }, () => context.random() | 1);
    const { bytes } = context.memory;
    this.#heldMost = Math.min(Math.max(bytes >>> HELD_SHIFT, HELD_LEAST), HELD_MOST, bytes >>> HELD_PART_SHIFT);
    this.#share = Math.max(this.#heldMost >>> SHARE_SHIFT, Math.min(SHARE_LEAST, this.#heldMost >>> 1));
    this.#quoted = new Packet(null as never);
  }

  /** Incomplete datagrams, those that are given up and only remembered included. */
  get count(): number {
    return this.#v4.size + this.#v6.size;
  }

  /** What they count against the limit. */
  get heldBytes(): number {
    return this.#heldBytes;
  }

  /** The limit. */
  get heldBytesMax(): number {
    return this.#heldMost;
  }

  /**
   * Takes in a packet that is a fragment: of IPv4, or whose fragment header stands at `p`.
   * @param nextAt - where in the packet that header is announced: a next header field
   * @returns whether the packet goes on: it is whole (its record then is that of the whole datagram). In either case
   *   {@link release} must follow when the packet is done with
   */
  input(packet: Packet, p: number, nextAt = 0): boolean {
    const { stats } = this.#context;
    stats.fragmentsIn++;
    // RFC 8200 §4.1: each extension header at most once; what was put together, or came as one, holds no fragment.
    if (packet.fragmented) {
      stats.drop('ip-fragment-nested');
      return false;
    }
    packet.fragmented = true;
    const drop = packet.version === 4 ? this.#checkV4(packet, p) : this.#checkV6(packet, p);
    if (drop !== null) {
      stats.drop(drop);
      return false;
    }
    // RFC 6946 §4: a fragment that is all of its datagram is taken by itself, whatever else there is under its number.
    if (this.#offset === 0 && !this.#more) {
      packet.protocol = fragment.nextHeader(this.#memory.dv, p);
      packet.payload = this.#data;
      return true;
    }
    const incomplete = this.#find(packet);
    if (!this.#add(incomplete, packet)) return false;
    if (incomplete.dataBytes !== incomplete.end) return false;
    return this.#complete(incomplete, packet, nextAt - packet.header);
  }

  /** The packet is done with: the memory of what was put together is given back. */
  release(packet: Packet): void {
    packet.fragmented = false;
    if (this.#whole === 0) return;
    this.#memory.free(this.#whole);
    this.#whole = 0;
  }

  /** Forgets everything and gives the memory back. */
  clear(): void {
    for (const incomplete of [...this.#v4, ...this.#v6]) this.#remove(incomplete);
    this.#context.timers.cancel(this);
  }

  expire(nowMs: number): void {
    for (const set of [this.#v4, this.#v6]) {
      for (const incomplete of set) {
        if (incomplete.expiresAt > nowMs) {
          this.#context.timers.atMost(this, incomplete.expiresAt);
          break;
        }
        this.#timeOut(incomplete);
      }
    }
  }

  // What is wrong with a fragment by itself.

  #checkV4(packet: Packet, p: number): DropReason | null {
    const { dv } = this.#memory;
    const length = packet.end - packet.payload;
    this.#id = ipv4.identification(dv, p);
    this.#offset = ipv4.fragmentOffset(dv, p);
    this.#more = ipv4.moreFragments(dv, p);
    this.#data = packet.payload;
    // RFC 791 §3.1: all but the last are multiples of 8 bytes.
    if (this.#more && (length & 7) !== 0) return 'ip-fragment-bad-length';
    if (length === 0) return 'ip-fragment-empty';
    if (packet.payload - p + this.#offset + length > LENGTH_MAX) return 'ip-fragment-too-long';
    if (packet.protocol === PROTOCOL_TCP) {
      // RFC 3128 §3.2: the second rule alone does not do: both fragments are looked at.
      const isTiny = this.#offset === 0 ? length < TCP_FIRST_LEAST : this.#offset === TCP_HIDDEN_OFFSET;
      if (isTiny) return 'ip-fragment-tiny';
    }
    return null;
  }

  #checkV6(packet: Packet, p: number): DropReason | null {
    const { dv } = this.#memory;
    if (p + fragment.HEADER_LENGTH > packet.end) return 'ip-fragment-truncated';
    this.#id = fragment.identification(dv, p);
    this.#offset = fragment.offset(dv, p);
    this.#more = fragment.moreFragments(dv, p);
    this.#data = p + fragment.HEADER_LENGTH;
    const length = packet.end - this.#data;
    if (this.#offset === 0 && !this.#more) return null; // its headers are walked as if it had none: RFC 6946
    // RFC 8200 §4.5: both MUST be discarded, and SHOULD be told of; the pointers are those of the RFC.
    if (this.#more && (length & 7) !== 0) {
      this.#tell(packet, p, CODE_HEADER, ipv6.PAYLOAD_LENGTH_OFFSET);
      return 'ip-fragment-bad-length';
    }
    const before = p - packet.header - ipv6.HEADER_LENGTH;
    if (before + this.#offset + length > LENGTH_MAX) {
      this.#tell(packet, p, CODE_HEADER, p - packet.header + fragment.OFFSET_OFFSET);
      return 'ip-fragment-too-long';
    }
    if (length === 0) return 'ip-fragment-empty';
    if (this.#offset === 0 && !hasWholeChain(dv, fragment.nextHeader(dv, p), this.#data, packet.end)) {
      // RFC 7112 §5, RFC 8200 §4.5: the first fragment holds all headers, that of the upper layer included.
      this.#tell(packet, p, CODE_FIRST_FRAGMENT, 0);
      return 'ip-fragment-header-chain';
    }
    return null;
  }

  /** Tells the sender of a fragment what is wrong with it; not where what it begins is itself an error. */
  #tell(packet: Packet, p: number, code: number, pointer: number): void {
    if (this.#offset === 0) {
      packet.protocol = fragment.nextHeader(this.#memory.dv, p);
      packet.payload = this.#data;
    }
    this.#errors().parameterProblem(packet, code, pointer);
  }

  // The table.

  /** The datagram that the fragment in hand belongs to, which it may be the first of. */
  #find(packet: Packet): Incomplete {
    const hash = this.#hash(packet);
    for (let known = this.#table.get(hash) ?? null; known !== null; known = known.chained) {
      if (known.holds(packet, this.#id)) return known;
    }
    const isV4 = packet.version === 4;
    const source = this.#sourceOf(packet);
    const expiresAt = this.#context.nowMs + (isV4 ? TIMEOUT_V4_MS : TIMEOUT_V6_MS);
    const made = new Incomplete(source, packet, this.#id, hash, expiresAt);
    made.chained = this.#table.get(hash) ?? null;
    this.#table.set(hash, made);
    (isV4 ? this.#v4 : this.#v6).add(made);
    source.datagrams.add(made);
    this.#hold(made, ENTRY_BYTES);
    this.#context.timers.atMost(this, expiresAt);
    this.#shed(made);
    return made;
  }

  #sourceOf(packet: Packet): Source {
    const key = packet.version === 4 ? packet.srcD : `${packet.srcA},${packet.srcB}`;
    let source = this.#sources.get(key);
    if (source === undefined) {
      source = new Source(key);
      this.#sources.set(key, source);
    }
    return source;
  }

  /** A sum of 16-bit pieces, each times a secret of its own: nobody outside can choose what falls into one place. */
  #hash(packet: Packet): number {
    let h = this.#pieces(0, packet.srcD) + this.#pieces(2, packet.dstD) + this.#pieces(4, this.#id);
    if (packet.version === 4) return (h + Math.imul(packet.protocol, this.#secrets[6]!)) | 0;
    h += this.#pieces(8, packet.srcA) + this.#pieces(10, packet.srcB) + this.#pieces(12, packet.srcC);
    return (h + this.#pieces(14, packet.dstA) + this.#pieces(16, packet.dstB) + this.#pieces(18, packet.dstC)) | 0;
  }

  #pieces(i: number, word: number): number {
    const secrets = this.#secrets;
    return Math.imul(word & 0xffff, secrets[i]!) + Math.imul(word >>> 16, secrets[i + 1]!);
  }

  /** Takes `incomplete` out of everything and gives its memory back. */
  #remove(incomplete: Incomplete): void {
    const { hash, source } = incomplete;
    const first = this.#table.get(hash)!;
    if (first === incomplete) {
      if (incomplete.chained === null) this.#table.delete(hash);
      else this.#table.set(hash, incomplete.chained);
    } else {
      let before = first;
      while (before.chained !== incomplete) before = before.chained!;
      before.chained = incomplete.chained;
    }
    (incomplete.flow.version === 4 ? this.#v4 : this.#v6).delete(incomplete);
    source.datagrams.delete(incomplete);
    this.#freeBlocks(incomplete);
    this.#hold(incomplete, -incomplete.heldBytes);
    if (source.datagrams.size === 0) this.#sources.delete(source.key);
  }

  #freeBlocks(incomplete: Incomplete): void {
    for (const block of incomplete.blocks) this.#memory.free(block);
    incomplete.blocks.length = 0;
    incomplete.head = incomplete.tail = incomplete.room = incomplete.free = 0;
  }

  // What is held, and who goes when it is too much.

  /** `incomplete` counts `bytes` more, or less. */
  #hold(incomplete: Incomplete, bytes: number): void {
    const { source } = incomplete;
    incomplete.heldBytes += bytes;
    source.heldBytes += bytes;
    this.#heldBytes += bytes;
    if (source.heldBytes > this.#share) this.#greedy.add(source);
    else this.#greedy.delete(source);
  }

  /** Brings what is held below the limit, without `kept`. */
  #shed(kept: Incomplete): void {
    while (this.#heldBytes > this.#heldMost) if (!this.#shedOne(kept)) return;
  }

  /** Gives one datagram up, but not `kept`; false where there is no other. */
  #shedOne(kept: Incomplete): boolean {
    let victim: Incomplete | null = null;
    let most = 0;
    for (const source of this.#greedy) {
      if (source.heldBytes <= most) continue;
      const oldest = firstBut(source.datagrams, kept);
      if (oldest === null) continue;
      victim = oldest;
      most = source.heldBytes;
    }
    victim ??= older(firstBut(this.#v4, kept), firstBut(this.#v6, kept));
    if (victim === null) return false;
    this.#context.stats.drop('ip-fragment-shed', victim.fragments);
    this.#remove(victim);
    return true;
  }

  /** Room for `bytes` behind what `incomplete` has; 0 when there is none. */
  #take(incomplete: Incomplete, bytes: number): number {
    const wanted = (bytes + 7) & ~7;
    if (incomplete.room < wanted && !this.#takeBlock(incomplete, wanted)) return 0;
    const at = incomplete.free;
    incomplete.free += wanted;
    incomplete.room -= wanted;
    return at;
  }

  #takeBlock(incomplete: Incomplete, bytes: number): boolean {
    const memory = this.#memory;
    const held = incomplete.blocks.length === 0 ? 0 : incomplete.heldBytes;
    const size = Math.max(bytes, Math.min(held, BLOCK_MOST));
    if (incomplete.heldBytes + 2 * size > this.#heldMost) return false; // even all alone it would be too much
    let block = memory.alloc(size);
    while (block === 0 && this.#shedOne(incomplete)) block = memory.alloc(size);
    if (block === 0) return false;
    const taken = memory.sizeOf(block);
    incomplete.blocks.push(block);
    incomplete.free = block;
    incomplete.room = taken;
    // The first block is what every entry counts.
    this.#hold(incomplete, held === 0 ? taken - incomplete.heldBytes : taken);
    this.#shed(incomplete);
    return true;
  }

  // Putting together.

  /** Adds the fragment in hand. False: it was dropped, or all of the datagram was. */
  #add(incomplete: Incomplete, packet: Packet): boolean {
    const { stats } = this.#context;
    if (incomplete.isGivenUp) {
      stats.drop('ip-fragment-overlap');
      return false;
    }
    const start = this.#offset;
    const end = start + packet.end - this.#data;
    // All after the end, or an end before what came already, or a second end: they cannot be of one datagram.
    const known = incomplete.tail === 0 ? 0 : this.#memory.i32[(incomplete.tail >> 2) + END]!;
    const isBeyond = incomplete.end >= 0 ? end > incomplete.end || (!this.#more && end !== incomplete.end) : false;
    if (isBeyond || (!this.#more && end < known)) return this.#giveUp(incomplete);
    const before = this.#recordBefore(incomplete, start);
    const after = before === 0 ? incomplete.head : this.#memory.i32[(before >> 2) + NEXT]!;
    if (after !== 0 && this.#isDuplicate(after, start, end)) {
      stats.drop('ip-fragment-duplicate');
      return false;
    }
    if (this.#overlaps(before, after, start, end)) return this.#giveUp(incomplete);
    if (!this.#store(incomplete, packet, before, after, end)) {
      stats.drop('no-memory');
      if (incomplete.fragments === 0) this.#remove(incomplete);
      return false;
    }
    if (!this.#more) incomplete.end = end;
    incomplete.ecnSeen |= 1 << (packet.ds & ECN_MASK);
    return true;
  }

  /** The last record that begins before `start`, 0: none. Usually the last of all. */
  #recordBefore(incomplete: Incomplete, start: number): number {
    const { i32 } = this.#memory;
    const { tail } = incomplete;
    if (tail !== 0 && i32[(tail >> 2) + START]! < start) return tail;
    let before = 0;
    for (let at = incomplete.head; at !== 0 && i32[(at >> 2) + START]! < start; at = i32[(at >> 2) + NEXT]!)
      before = at;
    return before;
  }

  /**
   * RFC 8200 §4.5: the network may duplicate a fragment, and an exact duplicate may be dropped alone. Exact means its
   * bytes too: what Linux drops as a duplicate for its bounds only is an overlap here where the bytes differ.
   */
  #isDuplicate(at: number, start: number, end: number): boolean {
    const { i32, u8 } = this.#memory;
    if (i32[(at >> 2) + START] !== start || i32[(at >> 2) + END] !== end) return false;
    const kept = at + RECORD_BYTES + i32[(at >> 2) + HEADERS]!;
    for (let i = 0; i < end - start; i++) if (u8[kept + i] !== u8[this.#data + i]) return false;
    return true;
  }

  #overlaps(before: number, after: number, start: number, end: number): boolean {
    const { i32 } = this.#memory;
    return (before !== 0 && i32[(before >> 2) + END]! > start) || (after !== 0 && i32[(after >> 2) + START]! < end);
  }

  /** Copies the fragment in hand in between `before` and `after`; the first with the headers in front of it. */
  #store(incomplete: Incomplete, packet: Packet, before: number, after: number, end: number): boolean {
    const memory = this.#memory;
    const headers = this.#offset === 0 ? this.#data - packet.header : 0;
    const length = headers + packet.end - this.#data;
    const at = this.#take(incomplete, RECORD_BYTES + length);
    if (at === 0) return false;
    const { i32 } = memory;
    i32[(at >> 2) + START] = this.#offset;
    i32[(at >> 2) + END] = end;
    i32[(at >> 2) + NEXT] = after;
    i32[(at >> 2) + HEADERS] = headers;
    memory.copy(at + RECORD_BYTES, this.#data - headers, length);
    if (before === 0) incomplete.head = at;
    else i32[(before >> 2) + NEXT] = at;
    if (after === 0) incomplete.tail = at;
    incomplete.dataBytes += end - this.#offset;
    incomplete.fragments++;
    return true;
  }

  /**
   * RFC 5722 §4, RFC 8200 §4.5: fragments overlap, or contradict each other, and all of the datagram is discarded without
   * a word, what still comes of it included. The same for IPv4, where no honest host makes such either.
   */
  #giveUp(incomplete: Incomplete): false {
    this.#context.stats.drop('ip-fragment-overlap', incomplete.fragments + 1);
    incomplete.isGivenUp = true;
    incomplete.fragments = 0;
    this.#freeBlocks(incomplete);
    this.#hold(incomplete, ENTRY_BYTES - incomplete.heldBytes);
    return false;
  }

  /** All has come: `packet` becomes the whole. @param nextAt - see {@link input}, from the packet's beginning */
  #complete(incomplete: Incomplete, packet: Packet, nextAt: number): boolean {
    const { stats } = this.#context;
    const drop = this.#assemble(incomplete, packet, nextAt);
    if (drop === null) stats.datagramsReassembled++;
    else stats.drop(drop, incomplete.fragments);
    this.#remove(incomplete);
    return drop === null;
  }

  #assemble(incomplete: Incomplete, packet: Packet, nextAt: number): DropReason | null {
    const memory = this.#memory;
    const { i32 } = memory;
    const first = incomplete.head;
    const isV4 = packet.version === 4;
    // The fragment header is no part of the whole: RFC 8200 §4.5.
    const headers = i32[(first >> 2) + HEADERS]! - (isV4 ? 0 : fragment.HEADER_LENGTH);
    const total = headers + incomplete.end;
    if (total - (isV4 ? 0 : ipv6.HEADER_LENGTH) > LENGTH_MAX) return 'ip-fragment-too-long';
    // RFC 3168 §5.3, as Linux has it: a mixture of "not ECN-capable" and others was made up by somebody.
    const { ecnSeen } = incomplete;
    if ((ecnSeen & NOT_ECT_SEEN) !== 0 && ecnSeen !== NOT_ECT_SEEN) return 'ip-fragment-ecn';
    const block = memory.alloc(total);
    if (block === 0) return 'no-memory';
    memory.copy(block, first + RECORD_BYTES, headers);
    for (let at = first; at !== 0; at = i32[(at >> 2) + NEXT]!) {
      const start = i32[(at >> 2) + START]!;
      const data = at + RECORD_BYTES + i32[(at >> 2) + HEADERS]!;
      memory.copy(block + headers + start, data, i32[(at >> 2) + END]! - start);
    }
    this.#whole = block;
    packet.header = block;
    packet.payload = block + headers;
    packet.end = block + total;
    packet.trusted = false;
    packet.gsoSize = 0;
    if (isV4) this.#mendV4(packet, (ecnSeen & CE_SEEN) !== 0);
    else this.#mendV6(packet, first + RECORD_BYTES + headers, nextAt, (ecnSeen & CE_SEEN) !== 0);
    return null;
  }

  /** The header of the first fragment becomes that of the whole. */
  #mendV4(packet: Packet, isMarked: boolean): void {
    const memory = this.#memory;
    const p = packet.header;
    if (isMarked) ipv4.markCe(memory.dv, p);
    ipv4.patchFragment(memory.dv, p, 0);
    ipv4.patchLength(memory, p, packet.end - p, ipv4.identification(memory.dv, p));
    packet.ds = ipv4.dsEcn(memory.dv, p);
    packet.ttl = ipv4.ttl(memory.dv, p);
  }

  /** The same; `nextAt` in it named the fragment header, and names now what that named. */
  #mendV6(packet: Packet, fragmentHeader: number, nextAt: number, isMarked: boolean): void {
    const { dv } = this.#memory;
    const p = packet.header;
    if (isMarked) ipv6.markCe(dv, p);
    packet.protocol = fragment.nextHeader(dv, fragmentHeader);
    dv.setUint8(p + nextAt, packet.protocol);
    ipv6.patchLength(dv, p, packet.end - p - ipv6.HEADER_LENGTH);
    packet.ds = ipv6.trafficClass(dv, p);
    packet.ttl = ipv6.hopLimit(dv, p);
  }

  /** RFC 1122 §3.3.2, RFC 8200 §4.5: told if the first fragment has come, which is quoted. */
  #timeOut(incomplete: Incomplete): void {
    const { i32 } = this.#memory;
    const { head, flow, fragments } = incomplete;
    if (fragments > 0) this.#context.stats.drop('ip-fragment-timeout', fragments);
    if (head !== 0 && i32[(head >> 2) + START] === 0) {
      const quoted = this.#quoted;
      quoted.copyFrom(flow);
      quoted.toGroup = flow.toGroup;
      quoted.header = head + RECORD_BYTES;
      quoted.payload = quoted.header + i32[(head >> 2) + HEADERS]!;
      quoted.end = quoted.payload + i32[(head >> 2) + END]!;
      const isV4 = flow.version === 4;
      quoted.protocol = isV4
        ? flow.protocol
        : fragment.nextHeader(this.#memory.dv, quoted.payload - fragment.HEADER_LENGTH);
      this.#errors().timeExceeded(quoted, CODE_REASSEMBLY);
    }
    this.#remove(incomplete);
  }
}

/** The first of `set` that is not `kept`. */
function firstBut(set: ReadonlySet<Incomplete>, kept: Incomplete): Incomplete | null {
  for (const incomplete of set) if (incomplete !== kept) return incomplete;
  return null;
}

function older(a: Incomplete | null, b: Incomplete | null): Incomplete | null {
  if (a === null || b === null) return a ?? b;
  return a.expiresAt - TIMEOUT_V4_MS <= b.expiresAt - TIMEOUT_V6_MS ? a : b;
}

/** Bytes that the header of an upper layer needs; of those not named one byte. */
function upperLength(protocol: number): number {
  if (protocol === PROTOCOL_TCP) return 20;
  return protocol === PROTOCOL_UDP || protocol === PROTOCOL_ICMPV6 ? 8 : 1;
}

const AUTHENTICATION = 51;
const NO_NEXT_HEADER = 59;

/** Whether all headers, from `next` at `p` on to that of the upper layer, end before `end`: RFC 7112 §3. */
function hasWholeChain(dv: DataView, next: number, p: number, end: number): boolean {
  for (let i = 0; i < CHAIN_MOST; i++) {
    if (next === NO_NEXT_HEADER) return true;
    const isOptions = ipv6.EXTENSION_HEADERS.includes(next);
    if (!isOptions && next !== AUTHENTICATION) return p + upperLength(next) <= end;
    if (p + 8 > end) return false;
    const following = dv.getUint8(p);
    // RFC 8200 §4.2: in 8 bytes beyond the first 8. RFC 4302 §2.2: in 4 bytes, less 2. A fragment header has 8 bytes.
    if (next === AUTHENTICATION) p += (dv.getUint8(p + 1) + 2) << 2;
    else p += next === fragment.PROTOCOL_FRAGMENT ? fragment.HEADER_LENGTH : (dv.getUint8(p + 1) + 1) << 3;
    next = following;
  }
  return false;
}
