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
import { PROTOCOL_TCP } from '../wire/ip.ts';
import * as ipv4 from '../wire/ipv4.ts';
import * as ipv6 from '../wire/ipv6.ts';
import type { Context } from './context.ts';
import { Incomplete, RECORD_BYTES, Source } from './incomplete.ts';
import { Packet } from './packet.ts';
import type { DropReason } from './stats.ts';
import type { Timed } from './timers.ts';
import type { ErrorReporter } from './transport.ts';

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
/** RFC 4443 §3.4. */
const CODE_HEADER = 0;
const CODE_FIRST_FRAGMENT = 3;
/** RFC 792, RFC 4443 §3.3: "fragment reassembly time exceeded". */
const CODE_REASSEMBLY = 1;

// ECN field values seen, one bit each: 1 << value.
const ECN_MASK = 3;
const NOT_ECT_SEEN = 1 << 0;
const CE = 3;
const CE_SEEN = 1 << CE;

/** 16-bit pieces of a key: addresses, identification, protocol. */
const PIECES = 20;

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
  /** Drawn when the first fragment comes. */
  #secrets: Int32Array | null = null;
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
    if (this.#offset === 0 && !fragment.hasWholeChain(dv, fragment.nextHeader(dv, p), this.#data, packet.end)) {
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
    this.#secrets ??= Int32Array.from({ length: PIECES }, () => this.#context.random() | 1);
    let h = this.#pieces(0, packet.srcD) + this.#pieces(2, packet.dstD) + this.#pieces(4, this.#id);
    if (packet.version === 4) return (h + Math.imul(packet.protocol, this.#secrets[6]!)) | 0;
    h += this.#pieces(8, packet.srcA) + this.#pieces(10, packet.srcB) + this.#pieces(12, packet.srcC);
    return (h + this.#pieces(14, packet.dstA) + this.#pieces(16, packet.dstB) + this.#pieces(18, packet.dstC)) | 0;
  }

  #pieces(i: number, word: number): number {
    const secrets = this.#secrets!;
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
    incomplete.clear(this.#memory);
    this.#hold(incomplete, -incomplete.heldBytes);
    if (source.datagrams.size === 0) this.#sources.delete(source.key);
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

  /** Room for a record of `bytes`; 0 when there is none. */
  #take(incomplete: Incomplete, bytes: number): number {
    const at = incomplete.takeRoom(bytes);
    if (at !== 0) return at;
    return this.#takeBlock(incomplete, bytes + 7) ? incomplete.takeRoom(bytes) : 0;
  }

  #takeBlock(incomplete: Incomplete, bytes: number): boolean {
    const memory = this.#memory;
    const held = incomplete.blocks.length === 0 ? 0 : incomplete.heldBytes;
    const size = Math.max(bytes, Math.min(held, BLOCK_MOST));
    if (incomplete.heldBytes + 2 * size > this.#heldMost) return false; // even all alone it would be too much
    let block = memory.alloc(size);
    while (block === 0 && this.#shedOne(incomplete)) block = memory.alloc(size);
    if (block === 0) return false;
    incomplete.addBlock(memory, block);
    const taken = memory.sizeOf(block);
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
    const memory = this.#memory;
    const known = incomplete.lastEnd(memory);
    const isBeyond = incomplete.end >= 0 ? end > incomplete.end || (!this.#more && end !== incomplete.end) : false;
    if (isBeyond || (!this.#more && end < known)) return this.#giveUp(incomplete);
    const before = incomplete.recordBefore(memory, start);
    const after = incomplete.recordAfter(memory, before);
    if (after !== 0 && incomplete.isDuplicate(memory, after, start, end, this.#data)) {
      stats.drop('ip-fragment-duplicate');
      return false;
    }
    if (incomplete.overlaps(memory, before, after, start, end)) return this.#giveUp(incomplete);
    // The first one is kept with its headers.
    const headers = start === 0 ? this.#data - packet.header : 0;
    const at = this.#take(incomplete, RECORD_BYTES + headers + end - start);
    if (at === 0) {
      stats.drop('no-memory');
      if (incomplete.fragments === 0) this.#remove(incomplete);
      return false;
    }
    incomplete.insert(memory, at, before, after, start, end, this.#data, headers);
    if (!this.#more) incomplete.end = end;
    incomplete.ecnSeen |= 1 << (packet.ds & ECN_MASK);
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
    incomplete.clear(this.#memory);
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
    const isV4 = packet.version === 4;
    // The fragment header is no part of the whole: RFC 8200 §4.5.
    const headers = incomplete.headerBytes(memory) - (isV4 ? 0 : fragment.HEADER_LENGTH);
    const total = headers + incomplete.end;
    if (total - (isV4 ? 0 : ipv6.HEADER_LENGTH) > LENGTH_MAX) return 'ip-fragment-too-long';
    // RFC 3168 §5.3, as Linux has it: a mixture of "not ECN-capable" and others was made up by somebody.
    const { ecnSeen } = incomplete;
    if ((ecnSeen & NOT_ECT_SEEN) !== 0 && ecnSeen !== NOT_ECT_SEEN) return 'ip-fragment-ecn';
    const block = memory.alloc(total);
    if (block === 0) return 'no-memory';
    memory.copy(block, incomplete.firstPacket, headers);
    incomplete.copyData(memory, block + headers);
    this.#whole = block;
    packet.header = block;
    packet.payload = block + headers;
    packet.end = block + total;
    packet.trusted = false;
    packet.gsoSize = 0;
    if (isV4) this.#mendV4(packet, (ecnSeen & CE_SEEN) !== 0);
    else this.#mendV6(packet, incomplete.firstPacket + headers, nextAt, (ecnSeen & CE_SEEN) !== 0);
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
    const memory = this.#memory;
    const { flow, fragments } = incomplete;
    if (fragments > 0) this.#context.stats.drop('ip-fragment-timeout', fragments);
    if (incomplete.hasFirst(memory)) {
      const quoted = this.#quoted;
      quoted.copyFrom(flow);
      quoted.toGroup = flow.toGroup;
      quoted.header = incomplete.firstPacket;
      quoted.payload = quoted.header + incomplete.headerBytes(memory);
      quoted.end = quoted.payload + incomplete.firstEnd(memory);
      const isV4 = flow.version === 4;
      quoted.protocol = isV4 ? flow.protocol : fragment.nextHeader(memory.dv, quoted.payload - fragment.HEADER_LENGTH);
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
