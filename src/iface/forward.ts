/**
 * Forwarding between interfaces: RFC 1812 §5.2 and §5.3, RFC 8200 §3, RFC 4443 §3. A packet that is for nobody here is
 * checked, gets one off its TTL, and leaves as the frame it came in. What was found out about a pair of addresses is kept
 * in a table, so that the next packet of the same pair costs one look-up. Missing on purpose: multicast routing. @module
 */
import {
  allocFrame,
  CHECKSUM_PARTIAL,
  frameChecksum,
  frameEnd,
  frameGsoSize,
  frameStart,
  frameTransport,
  HEADROOM,
  setFrameBounds,
  setFrameOffload,
} from '../memory/frame.ts';
import { completeChecksum } from '../phy/checksum.ts';
import type { IpAddress } from '../wire/address.ts';
import * as icmpv4 from '../wire/icmpv4.ts';
import * as icmpv6 from '../wire/icmpv6.ts';
import * as ipv4 from '../wire/ipv4.ts';
import * as ipv6 from '../wire/ipv6.ts';
import type { Context } from './context.ts';
import type { Interface } from './interface.ts';
import type { Ip } from './ip.ts';
import type { Neighbour } from './neighbours.ts';
import { Packet } from './packet.ts';
import { cutSegments, headersOf } from './segment.ts';

/** How a stack forwards. */
export interface ForwardOptions {
  /** Whether a host is told of a better first hop on its own link, in IPv4. Default false. */
  readonly redirects?: boolean | undefined;
  /**
   * RFC 3704: drops packets whose way back would not be where they came from (`strict`, for routers whose routes are
   * symmetric), or that have no way back at all (`loose`). Default `off`.
   */
  readonly reversePath?: 'off' | 'loose' | 'strict' | undefined;
}

/** Pairs of addresses remembered, a power of two. Two that fall into one slot take it from each other. */
const PATHS = 1024;
/** What a frame must have in front of its IP header: its descriptor, a virtio-net header and an Ethernet header. */
const ROOM_BEFORE = 32 + 12 + 14;

/** Where packets of one pair of addresses leave. */
class Entry {
  generation = -1;
  /** The pair, and the interface they come in on. */
  readonly pair = new Packet(null as unknown as Interface);
  out!: Interface;
  neighbour: Neighbour | null = null;
}

export class Forwarder {
  readonly #context: Context;
  readonly #ip: Ip;
  readonly #redirects: boolean;
  readonly #reversePath: 'off' | 'loose' | 'strict';
  readonly #secret: number;
  readonly #paths: (Entry | undefined)[] = new Array(PATHS).fill(undefined);
  /** The frame being taken in; 0 once it has gone on. */
  #frame = 0;

  constructor(context: Context, ip: Ip, options: ForwardOptions = {}) {
    const { redirects = false, reversePath = 'off' } = options;
    if (reversePath !== 'off' && reversePath !== 'loose' && reversePath !== 'strict') {
      throw new TypeError(`reversePath: expected 'off', 'loose' or 'strict', got ${JSON.stringify(reversePath)}`);
    }
    this.#context = context;
    this.#ip = ip;
    this.#redirects = redirects;
    this.#reversePath = reversePath;
    this.#secret = context.random() | 1;
  }

  /** As `Ip.drain`, for frames that may leave again. */
  drain(iface: Interface, budget: number): number {
    const { memory, now, stats } = this.#context;
    let count = 0;
    stats.isInput = true;
    for (; count < budget; count++) {
      const frame = iface.device.receive(now);
      if (frame === 0) break;
      this.#frame = frame;
      if (frameEnd(memory, frame) > frameStart(memory, frame)) iface.input(frame);
      else stats.drop('ip-empty');
      if (this.#frame !== 0) memory.free(frame);
    }
    stats.isInput = false;
    this.#frame = 0;
    return count;
  }

  /** Passes `packet` on where one of the same pair of addresses went before; false: it has to be looked at. */
  forwardAgain(packet: Packet): boolean {
    const entry = this.#paths[this.#slot(packet)];
    if (entry === undefined || entry.generation !== this.#ip.routes.generation || packet.toGroup) return false;
    const { pair } = entry;
    const isSame =
      pair.srcD === packet.srcD &&
      pair.dstD === packet.dstD &&
      pair.iface === packet.iface &&
      pair.version === packet.version &&
      packet.sameHighWords(pair);
    if (!isSame) return false;
    this.#pass(packet, entry.out, entry.neighbour);
    return true;
  }

  #slot(packet: Packet): number {
    let hash = Math.imul(packet.srcD ^ this.#secret, 0x9e3779b1) ^ packet.dstD;
    if (packet.version === 6) {
      hash = Math.imul(hash ^ packet.srcC ^ Math.imul(packet.srcB, 0xc2b2ae35), 0x85ebca6b) ^ packet.dstC;
    }
    hash = Math.imul(hash ^ (hash >>> 15), this.#secret);
    return (hash >>> 16) & (PATHS - 1);
  }

  /** Passes on a packet whose source may be one and whose destination is not ours. */
  forward(packet: Packet): void {
    const { stats } = this.#context;
    const { iface } = packet;
    // RFC 1812 §5.3.4: what everybody on the link got is not for a router to pass on; nor are groups, without routing.
    if (packet.toGroup || iface.isLoopback || !this.#mayLeave(packet)) {
      stats.drop(packet.toGroup ? 'ip-link-group' : 'ip-not-forwarded');
      return;
    }
    const { destination } = packet;
    const route = this.#ip.routes.lookup(destination);
    if (route === null) {
      stats.drop('no-route');
      this.#unreachable(packet, icmpv4.CODE_NET, icmpv6.CODE_NO_ROUTE);
      return;
    }
    const { iface: out, gateway } = route;
    // RFC 2644 §2: directed broadcasts are not passed on. A route to our own loopback leads nowhere.
    if (out.isLoopback || out.isBroadcast(packet.dstA, packet.dstB, packet.dstC, packet.dstD)) {
      stats.drop('ip-not-forwarded');
      return;
    }
    if (!this.#reverses(packet)) {
      stats.drop('ip-reverse-path');
      return;
    }
    const nextHop = gateway ?? destination;
    const neighbour = out.device.medium === 'ethernet' ? out.neighbours.get(nextHop) : null;
    // A redirect is told again until the host heeds it, within the limits of errors: such a pair is not remembered.
    if (this.#redirects && out === iface && this.#isDirect(packet, nextHop)) this.#redirect(packet, nextHop);
    else this.#remember(packet, out, neighbour);
    this.#pass(packet, out, neighbour);
  }

  #remember(packet: Packet, out: Interface, neighbour: Neighbour | null): void {
    const slot = this.#slot(packet);
    this.#paths[slot] ??= new Entry();
    const entry = this.#paths[slot]!;
    entry.pair.copyFrom(packet);
    entry.generation = this.#ip.routes.generation;
    entry.out = out;
    entry.neighbour = neighbour;
  }

  /** Whether both addresses may be on two links: RFC 1812 §5.3.7, RFC 3927 §2.7, RFC 4291 §2.5.2 to §2.5.6, §2.7. */
  #mayLeave(packet: Packet): boolean {
    const { srcA, srcB, srcC, srcD, dstA, dstB, dstC, dstD } = packet;
    if (packet.version === 4) return isForwardableV4(srcD) && isForwardableV4(dstD);
    const isLinkLocal = srcA >>> 22 === 0x3fa;
    if (!isForwardableV6(dstA, dstB, dstC, dstD) || dstA >>> 22 === 0x3fa) return false;
    // RFC 4007 §9: a source that means nothing beyond its link is told so.
    if (isLinkLocal) this.#ip.icmp.report(packet, icmpv6.UNREACHABLE, icmpv6.CODE_BEYOND_SCOPE, 0);
    return !isLinkLocal && isForwardableV6(srcA, srcB, srcC, srcD);
  }

  /** RFC 3704 §2.2, §2.4. */
  #reverses(packet: Packet): boolean {
    if (this.#reversePath === 'off') return true;
    const route = this.#ip.routes.lookup(packet.source);
    return route !== null && (this.#reversePath === 'loose' || route.iface === packet.iface);
  }

  /** RFC 1812 §5.2.7.2, RFC 4861 §8.2: whether the sender could reach the next hop by itself. */
  #isDirect(packet: Packet, nextHop: IpAddress): boolean {
    const { source } = packet;
    return packet.iface.addresses.some((cidr) => cidr.contains(source) && cidr.contains(nextHop));
  }

  #redirect(packet: Packet, nextHop: IpAddress): void {
    // Only IPv4's: those of IPv6 belong to neighbour discovery and need a link-local source.
    if (packet.version !== 4) return;
    this.#context.stats.ipRedirectsOut++;
    this.#ip.icmp.report(packet, icmpv4.REDIRECT, icmpv4.CODE_REDIRECT_HOST, nextHop.d);
  }

  #unreachable(packet: Packet, codeV4: number, codeV6: number): void {
    const isV4 = packet.version === 4;
    this.#ip.icmp.report(packet, isV4 ? icmpv4.UNREACHABLE : icmpv6.UNREACHABLE, isV4 ? codeV4 : codeV6, 0);
  }

  /** The frame of `packet` leaves through `out`. */
  #pass(packet: Packet, out: Interface, neighbour: Neighbour | null): void {
    const { memory, stats } = this.#context;
    const isV4 = packet.version === 4;
    // RFC 1812 §5.3.1, RFC 8200 §3: a packet that would leave with none left is dropped.
    if (packet.ttl <= 1) {
      stats.drop('ip-ttl-exceeded');
      const type = isV4 ? icmpv4.TIME_EXCEEDED : icmpv6.TIME_EXCEEDED;
      this.#ip.icmp.report(packet, type, icmpv4.CODE_TTL, 0);
      return;
    }
    const frame = this.#frame;
    const headers =
      packet.gsoSize === 0 ? 0 : headersOf(memory, packet.header, packet.end, frameTransport(memory, frame));
    if (packet.gsoSize !== 0 && headers === 0) {
      stats.drop('ip-bad-offload');
      return;
    }
    const length = packet.end - packet.header;
    const wireLength = packet.gsoSize === 0 ? length : Math.min(length, headers + packet.gsoSize);
    const isCut = wireLength > out.mtu;
    if (isCut && !this.#mayCut(packet, headers, out)) {
      this.#tooBig(packet, out.mtu);
      return;
    }
    if (isV4) ipv4.decrementTtl(memory.dv, packet.header);
    else ipv6.decrementHopLimit(memory.dv, packet.header);
    stats.ipForwarded++;
    if (isCut) this.#fragment(packet, frame, out, neighbour);
    else if (packet.gsoSize !== 0 && !out.offload) this.#cut(packet, headers, out, neighbour);
    else this.#move(packet, frame, out, neighbour);
  }

  /** RFC 1191 §4, RFC 8201 §3, RFC 4443 §3.2: what the next link does not carry goes back to its sender as an error. */
  #tooBig(packet: Packet, mtu: number): void {
    this.#context.stats.drop('ip-too-big');
    if (packet.version === 6) this.#ip.icmp.report(packet, icmpv6.PACKET_TOO_BIG, 0, mtu);
    else this.#ip.icmp.report(packet, icmpv4.UNREACHABLE, icmpv4.CODE_FRAGMENTATION_NEEDED, mtu & 0xffff);
  }

  /** RFC 791 §3.2, RFC 1812 §5.2.6: only IPv4 without DF is fragmented on the way; a super-segment is not, it has DF. */
  #mayCut(packet: Packet, headers: number, out: Interface): boolean {
    if (packet.version === 6 || headers !== 0) return false;
    // RFC 791: 68 bytes hold any header and 8 bytes of data.
    return out.mtu >= ipv4.MTU_MIN && !ipv4.doesNotFragment(this.#context.memory.dv, packet.header);
  }

  /** What the next link does not carry whole leaves in fragments. */
  #fragment(packet: Packet, frame: number, out: Interface, neighbour: Neighbour | null): void {
    const { memory } = this.#context;
    setFrameBounds(memory, frame, packet.header, packet.end);
    if (frameChecksum(memory, frame) === CHECKSUM_PARTIAL) completeChecksum(memory, frame, 'ip');
    this.#frame = 0;
    const { destination } = packet;
    const { generation } = this.#ip.routes;
    const path = { iface: out, neighbour, source: destination, mtu: out.mtu, flowLabel: 0, generation };
    this.#ip.fragmenter.send(path, frame, out.mtu, destination);
  }

  /** The frame itself goes on; only one with too little room in front is copied. */
  #move(packet: Packet, frame: number, out: Interface, neighbour: Neighbour | null): void {
    const { memory } = this.#context;
    setFrameBounds(memory, frame, packet.header, packet.end);
    if (!out.offload && frameChecksum(memory, frame) === CHECKSUM_PARTIAL) completeChecksum(memory, frame, 'ip');
    if (packet.header - frame >= ROOM_BEFORE) {
      this.#frame = 0;
      out.transmit(frame, neighbour);
      return;
    }
    const copied = allocFrame(memory, packet.end - packet.header);
    if (copied === 0) {
      out.refuse('no-memory', packet.end - packet.header);
      return;
    }
    const p = copied + HEADROOM;
    const transport = frameTransport(memory, frame);
    memory.copy(p, packet.header, packet.end - packet.header);
    setFrameBounds(memory, copied, p, p + packet.end - packet.header);
    const moved = transport === 0 ? 0 : transport - packet.header + p;
    setFrameOffload(memory, copied, frameChecksum(memory, frame), frameGsoSize(memory, frame), moved);
    out.transmit(copied, neighbour);
  }

  /** A super-segment leaves in pieces of wire size. */
  #cut(packet: Packet, headers: number, out: Interface, neighbour: Neighbour | null): void {
    const { memory, stats } = this.#context;
    const emit = (frame: number): boolean => {
      out.transmit(frame, neighbour);
      return true;
    };
    if (!cutSegments(memory, packet.header, packet.end, headers, packet.gsoSize, emit)) stats.drop('ip-bad-offload');
  }

  /**
   * The packet in `[p, end)` found no neighbour to go to. Whether it was one that we passed on: its sender is told
   * (RFC 1812 §5.2.7.1, RFC 4861 §7.2.2).
   */
  unreachable(p: number, end: number): boolean {
    const { dv } = this.#context.memory;
    const packet = this.#failed;
    packet.iface = this.#ip.interfaces[0]!;
    packet.header = p;
    packet.end = end;
    packet.toGroup = false;
    if (!readAddresses(dv, packet)) return false;
    if (this.#ip.isLocalAddress(packet.source)) return false;
    this.#unreachable(packet, icmpv4.CODE_HOST, icmpv6.CODE_ADDRESS);
    return true;
  }

  readonly #failed = new Packet(null as unknown as Interface);
}

/** RFC 1812 §5.3.7, RFC 6890: not "this network", loopback, link-local, multicast, class E, limited broadcast. */
const isForwardableV4 = (word: number): boolean => {
  const network = word >>> 24;
  return network !== 0 && network !== 127 && network < 224 && word >>> 16 !== 0xa9fe;
};

/** Not ::, ::1, multicast. */
const isForwardableV6 = (a: number, b: number, c: number, d: number): boolean =>
  a >>> 24 !== 0xff && !(a === 0 && b === 0 && c === 0 && (d === 0 || d === 1));

/** Fills in of a packet what its header says; it was sound when it came in. */
function readAddresses(dv: DataView, packet: Packet): boolean {
  const { header: p, end } = packet;
  packet.version = ipv4.version(dv, p);
  if (packet.version === 6) {
    if (p + ipv6.HEADER_LENGTH > end) return false;
    packet.payload = p + ipv6.HEADER_LENGTH;
    packet.protocol = ipv6.nextHeader(dv, p);
    packet.srcA = ipv6.sourceWord(dv, p, 0);
    packet.srcB = ipv6.sourceWord(dv, p, 1);
    packet.srcC = ipv6.sourceWord(dv, p, 2);
    packet.srcD = ipv6.sourceWord(dv, p, 3);
    packet.dstA = ipv6.destinationWord(dv, p, 0);
    packet.dstB = ipv6.destinationWord(dv, p, 1);
    packet.dstC = ipv6.destinationWord(dv, p, 2);
    packet.dstD = ipv6.destinationWord(dv, p, 3);
    return true;
  }
  if (p + ipv4.HEADER_LENGTH > end) return false;
  packet.payload = p + ipv4.headerLength(dv, p);
  packet.protocol = ipv4.protocol(dv, p);
  packet.ds = ipv4.dsEcn(dv, p);
  packet.srcA = packet.srcB = packet.dstA = packet.dstB = 0;
  packet.srcC = packet.dstC = 0xffff;
  packet.srcD = ipv4.source(dv, p);
  packet.dstD = ipv4.destination(dv, p);
  return true;
}
