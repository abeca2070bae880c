/**
 * Packets larger than their path are cut: by RFC 791 §3.2 in IPv4, by RFC 8200 §4.5 in IPv6, at the source only. A
 * router cuts IPv4 too, fragments among it, whose offsets then go on from theirs. Fragments that the device has no room
 * for yet, or whose neighbour is still being asked for, wait as what is left of their packet. @module
 */
import { allocFrame, frameEnd, frameLength, frameStart, HEADROOM, setFrameBounds } from '../memory/frame.ts';
import type { Memory } from '../memory/memory.ts';
import type { IpAddress } from '../wire/address.ts';
import * as fragment from '../wire/fragment.ts';
import * as ipv4 from '../wire/ipv4.ts';
import * as ipv6 from '../wire/ipv6.ts';
import type { Context } from './context.ts';
import type { Interface } from './interface.ts';
import { GONE, INCOMPLETE } from './neighbours.ts';
import type { Path } from './routes.ts';
import type { DropReason } from './stats.ts';

/** Packets that wait, in all and for one neighbour, and the part of the memory they may hold: an eighth. Then new ones are dropped. */
const WAITING_MAX = 64;
const NEIGHBOUR_MAX = 4;
const WAITING_SHIFT = 3;
/** Counters of identifications; a destination has one of them to itself, or shares it. */
const COUNTERS = 256;
const SECRETS = 6;

/** What is left of a packet. */
interface Rest {
  readonly path: Path;
  readonly destination: IpAddress;
  /** The whole packet; ours until the last fragment has left. */
  readonly frame: number;
  /** What it holds of the memory. */
  readonly bytes: number;
  /** Bytes of data a fragment. */
  readonly step: number;
  /** The fragment header's, in IPv6. */
  readonly id: number;
  /** Bytes of data sent. */
  sent: number;
}

/** Puts a packet on its way: its frame is the callee's. */
type Transmit = (path: Path, frame: number, destination: IpAddress) => void;

export class Fragmenter {
  readonly #context: Context;
  readonly #memory: Memory;
  readonly #transmit: Transmit;
  readonly #waiting: Rest[] = [];
  #waitingBytes = 0;
  /** Drawn when the first is needed. */
  #counters: Int32Array | null = null;
  #secrets: Int32Array | null = null;

  constructor(context: Context, transmit: Transmit) {
    this.#context = context;
    this.#memory = context.memory;
    this.#transmit = transmit;
  }

  /**
   * An identification for an IPv4 packet from `source` to `destination` that may be fragmented. RFC 7739 §5.3: a counter
   * behind a secret function of both: nobody else can guess it, and none comes twice before 65536 others (RFC 6864 §4.3).
   */
  identification(source: number, destination: number): number {
    const { random } = this.#context;
    this.#counters ??= Int32Array.from({ length: COUNTERS }, () => random());
    this.#secrets ??= Int32Array.from({ length: SECRETS }, () => random() | 1);
    const s = this.#secrets;
    const at = (Math.imul(source ^ s[0]!, s[1]!) + Math.imul(destination ^ s[2]!, s[3]!)) >>> 16;
    const start = Math.imul(source ^ s[2]!, s[4]!) + Math.imul(destination ^ s[0]!, s[5]!);
    return (this.#counters[at % COUNTERS]!++ + (start >>> 16)) & 0xffff;
  }

  /** Packets of which fragments wait. */
  get waitingCount(): number {
    return this.#waiting.length;
  }

  /** Whether a packet that must be cut had better wait: others of `iface` have not left yet for want of room. */
  isBusy(iface: Interface): boolean {
    if (this.#waiting.length === 0) return false;
    return this.#waiting.some((rest) => rest.path.iface === iface && !isAsking(rest));
  }

  /** Whether fragments wait that could leave now. */
  get hasReady(): boolean {
    return this.#waiting.length > 0 && this.#waiting.some(canGoOn);
  }

  /**
   * Sends the packet in `frame` in fragments of `mtu` bytes at most. The frame is the fragmenter's from now on.
   * @param destination - of the packet   @returns the identification, where it is IPv6
   */
  send(path: Path, frame: number, mtu: number, destination: IpAddress): number {
    const memory = this.#memory;
    const isV6 = !destination.isV4;
    const headers = isV6
      ? ipv6.HEADER_LENGTH + fragment.HEADER_LENGTH
      : ipv4.headerLength(memory.dv, frameStart(memory, frame));
    // RFC 791 §3.2, RFC 8200 §4.5: all but the last are a multiple of 8 bytes long.
    const step = Math.max(8, (mtu - headers) & ~7);
    // RFC 7739 §5.2: of 32 bits, chance gives no two alike.
    const id = isV6 ? this.#context.random() | 0 : 0;
    const rest: Rest = { path, destination, frame, bytes: memory.sizeOf(frame), step, id, sent: 0 };
    this.#context.stats.datagramsFragmented++;
    if (!this.#advance(rest)) this.#wait(rest);
    return id;
  }

  /** Sends what may leave now of the packets that wait. */
  flush(): void {
    const waiting = this.#waiting;
    for (let i = 0; i < waiting.length; ) {
      if (!this.#advance(waiting[i]!)) {
        i++;
        continue;
      }
      const [done] = waiting.splice(i, 1);
      this.#waitingBytes -= done!.bytes;
    }
  }

  /** Gives back everything that waits. */
  clear(): void {
    for (const { frame } of this.#waiting.splice(0)) this.#memory.free(frame);
    this.#waitingBytes = 0;
  }

  #wait(rest: Rest): void {
    const { path, bytes, frame } = rest;
    const isFull =
      this.#waiting.length >= WAITING_MAX || this.#waitingBytes + bytes > this.#memory.bytes >>> WAITING_SHIFT;
    const isCrowd =
      isAsking(rest) && this.#waiting.filter((r) => r.path.neighbour === path.neighbour).length >= NEIGHBOUR_MAX;
    if (isFull || isCrowd) {
      refuse(rest, isCrowd ? 'neighbour-queue-full' : 'fragment-queue-full', this.#memory);
      this.#memory.free(frame);
      return;
    }
    this.#waiting.push(rest);
    this.#waitingBytes += bytes;
  }

  /** Sends fragments of `rest` while it may; true when it is done with, and its frame given back. */
  #advance(rest: Rest): boolean {
    const memory = this.#memory;
    const { frame, path } = rest;
    const start = frameStart(memory, frame);
    const isV6 = ipv6.version(memory.dv, start) === 6;
    const data = start + (isV6 ? ipv6.HEADER_LENGTH : ipv4.headerLength(memory.dv, start));
    const length = frameEnd(memory, frame) - data;
    while (rest.sent < length) {
      // The first fragment asks for the neighbour; without one the rest is lost as it was.
      if (rest.sent > 0 && path.neighbour !== null && path.neighbour.state === GONE) {
        refuse(rest, 'neighbour-unreachable', memory);
        break;
      }
      if (isAsking(rest) || path.iface.device.room() <= 0) return false;
      const count = Math.min(rest.step, length - rest.sent);
      const piece = isV6
        ? this.#cutV6(rest, start, data, count, length)
        : this.#cutV4(rest, start, data, count, length);
      if (piece === 0) {
        refuse(rest, 'no-memory', memory);
        break;
      }
      rest.sent += count;
      this.#context.stats.fragmentsOut++;
      this.#transmit(path, piece, rest.destination);
    }
    memory.free(frame);
    return true;
  }

  /** A fragment with the next `count` bytes: the header again, with flags, offset and length of its own. */
  #cutV4(rest: Rest, start: number, data: number, count: number, length: number): number {
    const memory = this.#memory;
    const header = data - start;
    const frame = allocFrame(memory, header + count);
    if (frame === 0) return 0;
    const p = frame + HEADROOM;
    memory.copy(p, start, header);
    memory.copy(p + header, data + rest.sent, count);
    const isLast = rest.sent + count === length && !ipv4.moreFragments(memory.dv, start);
    const offset = ipv4.fragmentOffset(memory.dv, start) + rest.sent;
    ipv4.patchFragment(memory.dv, p, (isLast ? 0 : ipv4.MORE_FRAGMENTS) | (offset >>> 3));
    if (rest.sent > 0 && header > ipv4.HEADER_LENGTH) ipv4.clearUncopiedOptions(memory.dv, p);
    ipv4.patchLength(memory, p, header + count, ipv4.identification(memory.dv, start));
    setFrameBounds(memory, frame, p, p + header + count);
    return frame;
  }

  #cutV6(rest: Rest, start: number, data: number, count: number, length: number): number {
    const memory = this.#memory;
    const { dv } = memory;
    const headers = ipv6.HEADER_LENGTH + fragment.HEADER_LENGTH;
    const frame = allocFrame(memory, headers + count);
    if (frame === 0) return 0;
    const p = frame + HEADROOM;
    memory.copy(p, start, ipv6.HEADER_LENGTH);
    dv.setUint8(p + ipv6.NEXT_HEADER_OFFSET, fragment.PROTOCOL_FRAGMENT);
    ipv6.patchLength(dv, p, fragment.HEADER_LENGTH + count);
    const more = rest.sent + count < length;
    fragment.emit(dv, p + ipv6.HEADER_LENGTH, ipv6.nextHeader(dv, start), rest.sent, more, rest.id);
    memory.copy(p + headers, data + rest.sent, count);
    setFrameBounds(memory, frame, p, p + headers + count);
    return frame;
  }
}

/** What is left of a packet does not leave; whoever records it is shown the whole. */
const refuse = ({ path, frame }: Rest, reason: DropReason, memory: Memory): void =>
  path.iface.refuse(reason, frameLength(memory, frame), frame);

/** Whether the neighbour is being asked for, by the first fragment: RFC 1122 §2.3.2.2 keeps few packets for it. */
const isAsking = ({ sent, path: { neighbour } }: Rest): boolean =>
  sent > 0 && neighbour !== null && neighbour.state === INCOMPLETE;

const canGoOn = (rest: Rest): boolean => !isAsking(rest) && rest.path.iface.device.room() > 0;
