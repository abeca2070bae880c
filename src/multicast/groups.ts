/**
 * The groups an interface is in, of both families: who wants each of them, from which sources, and whether a packet
 * passes. The lowest layer of multicast; sockets come here through {@link Memberships}. RFC 1112 §7, RFC 3376 §3.2,
 * RFC 4291 §2.8. @module
 */
import { NetError } from '../errors.ts';
import type { Context } from '../iface/context.ts';
import type { Interface } from '../iface/interface.ts';
import type { Packet } from '../iface/packet.ts';
import { IpAddress, wireWord } from '../wire/address.ts';
import { PROTOCOL_ICMPV6, PROTOCOL_IGMP } from '../wire/ip.ts';
import { isExtension } from '../wire/ipv6-extension.ts';
import { AddressMap } from './address-map.ts';
import { ANYBODY, type Filter, isNobody, merge, NOBODY, passes } from './filter.ts';
import { IgmpSpeaker } from './igmp.ts';
import { isReportedV6, MldSpeaker } from './mld.ts';
import { Reporter } from './reporter.ts';

/** Groups an interface may be in, those of the stack included; joining one more is refused. */
const GROUPS_MAX = 1024;
/** Sources in the merged filter of a group; beyond, the interface takes in any source, and the sockets sort them out. */
const SOURCES_MAX = 1024;

/** RFC 1112 §4: all hosts of the link. */
export const ALL_SYSTEMS = IpAddress.v4(0xe0000001);
/** RFC 4291 §2.7.1: all nodes of the interface and of the link. */
export const ALL_NODES_INTERFACE = new IpAddress(0xff010000, 0, 0, 1);
export const ALL_NODES = new IpAddress(0xff020000, 0, 0, 1);

/**
 * Whether these words are a group that every host is in for ever: RFC 1112 §4, RFC 4291 §2.8. What is sent to it goes to
 * every socket of the port.
 */
export const isBuiltIn = (a: number, b: number, c: number, d: number): boolean =>
  a === 0
    ? d === ALL_SYSTEMS.d && c === 0xffff && b === 0
    : d === 1 && c === 0 && (a === ALL_NODES.a || a === ALL_NODES_INTERFACE.a);

/** Queries about a group are sent to it, and nobody includes the router: no source filter keeps them out. */
const isControl = ({ version, protocol }: Packet): boolean =>
  version === 4 ? protocol === PROTOCOL_IGMP : protocol === PROTOCOL_ICMPV6 || isExtension(protocol);

/** One group of one interface. */
export class Group {
  /** Without a zone: the interface says which link it is. */
  readonly address: IpAddress;
  /** Times the stack itself joined it. */
  references = 0;
  /** What each socket that is in the group wants. */
  readonly members = new Map<object, Filter>();
  /** What the interface takes in: all of those together. */
  filter: Filter = NOBODY;

  constructor(address: IpAddress) {
    this.address = address;
  }
}

export class Groups {
  readonly #groups = new AddressMap<Group>();
  /** What reports the groups of either family to routers; null on the loopback. */
  readonly igmp: Reporter | null;
  readonly mld: Reporter | null;
  readonly #mldSpeaker: MldSpeaker;

  constructor(context: Context, iface: Interface) {
    this.#mldSpeaker = new MldSpeaker(context, iface);
    this.igmp = iface.isLoopback ? null : new Reporter(context, new IgmpSpeaker(context, iface));
    this.mld = iface.isLoopback ? null : new Reporter(context, this.#mldSpeaker);
    for (const address of [ALL_SYSTEMS, ALL_NODES, ALL_NODES_INTERFACE]) this.join(address);
  }

  /** The groups the interface takes packets of. */
  get all(): IterableIterator<Group> {
    return this.#groups.values();
  }

  get count(): number {
    return this.#groups.size;
  }

  find(address: IpAddress): Group | null {
    return this.#groups.get(address.withZone(0)) ?? null;
  }

  /**
   * Joins for the stack itself, any source: a solicited-node group, say. Counted: each call needs its {@link leave}.
   * Sockets do not get the packets of a group because of this.
   * @throws NetError ENOBUFS when the interface is in too many groups
   */
  join(address: IpAddress): void {
    const group = this.#obtain(address);
    group.references++;
    if (group.references === 1) this.#update(group);
  }

  /** Takes one {@link join} back. False: there was none. */
  leave(address: IpAddress): boolean {
    const group = this.find(address);
    if (group === null || group.references === 0) return false;
    group.references--;
    if (group.references === 0) this.#update(group);
    return true;
  }

  /**
   * Sets what `member` wants of a group; INCLUDE {} means that it has left.
   * @param member - stands for one socket
   * @throws NetError ENOBUFS when the interface is in too many groups
   */
  setFilter(address: IpAddress, member: object, filter: Filter): void {
    const group = isNobody(filter) ? this.find(address) : this.#obtain(address);
    if (group === null) return;
    if (isNobody(filter)) group.members.delete(member);
    else group.members.set(member, filter);
    this.#update(group);
  }

  #obtain(zoned: IpAddress): Group {
    const known = this.find(zoned);
    if (known !== null) return known;
    const address = zoned.withZone(0);
    if (!address.isMulticast) throw new NetError('EINVAL', 'join', { address: address.toString() });
    if (this.#groups.size >= GROUPS_MAX) throw new NetError('ENOBUFS', 'join', { address: address.toString() });
    const group = new Group(address);
    this.#groups.set(address, group);
    return group;
  }

  /** Merges anew what the stack and the sockets want: RFC 3376 §3.2. */
  #update(group: Group): void {
    const before = group.filter;
    const filters = [...group.members.values()];
    if (group.references > 0) filters.push(ANYBODY);
    const merged = merge(filters);
    group.filter = merged.sources.size > SOURCES_MAX ? ANYBODY : merged;
    if (isNobody(merged)) this.#groups.delete(group.address);
    const { address } = group;
    // RFC 3376 §5: "the all-systems multicast address ... is handled as a special case": never reported.
    if (!address.isV4) {
      if (isReportedV6(address)) this.mld?.changed(group, before);
    } else if (!address.equals(ALL_SYSTEMS)) this.igmp?.changed(group, before);
  }

  /** The interface has an address more: RFC 3590 §4, what was reported without one is reported again. */
  addressAdded(address: IpAddress): void {
    if (address.isV4 || !address.isLinkLocal || !this.#mldSpeaker.saidFromNowhere) return;
    this.#mldSpeaker.saidFromNowhere = false;
    this.mld?.restart();
  }

  /** The interface ends: routers are told what was left just now. */
  close(): void {
    this.igmp?.close();
    this.mld?.close();
  }

  /** Whether the interface takes in packets to this group, from some source at least. */
  has(a: number, b: number, c: number, d: number): boolean {
    return this.#groups.find(a, wireWord(a, b), c, d) !== undefined;
  }

  /** Why a packet to a group must be dropped, or null: the receive filter. */
  check(packet: Packet): 'ip-no-member' | 'ip-source-filtered' | null {
    const { dstA, dstB, dstC, dstD, srcA, srcB, srcC, srcD } = packet;
    const group = this.#groups.find(dstA, wireWord(dstA, dstB), dstC, dstD);
    if (group === undefined) return 'ip-no-member';
    if (isControl(packet)) return null;
    return passes(group.filter, srcA, wireWord(srcA, srcB), srcC, srcD) ? null : 'ip-source-filtered';
  }
}
