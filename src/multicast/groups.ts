/**
 * The groups an interface is in, of both families: who wants each of them, from which sources, and whether a packet
 * passes. The lowest layer of multicast; sockets come here through {@link Memberships}. RFC 1112 §7, RFC 3376 §3.2,
 * RFC 4291 §2.8. @module
 */
import { NetError } from '../errors.ts';
import type { Packet } from '../iface/packet.ts';
import { IpAddress } from '../wire/address.ts';
import { AddressMap } from './address-map.ts';
import { ANYBODY, type Filter, isNobody, merge, NOBODY, passes } from './filter.ts';

/** Groups an interface may be in, those of the stack included; joining one more is refused. */
const GROUPS_MAX = 1024;
/** Sources in the merged filter of a group; beyond, the interface takes in any source, and the sockets sort them out. */
const SOURCES_MAX = 1024;

/** RFC 1112 §4: all hosts of the link. */
export const ALL_SYSTEMS = IpAddress.v4(0xe0000001);
/** RFC 4291 §2.7.1: all nodes of the interface and of the link. */
export const ALL_NODES_INTERFACE = new IpAddress(0xff010000, 0, 0, 1);
export const ALL_NODES = new IpAddress(0xff020000, 0, 0, 1);

/** Groups every host is in for ever: RFC 1112 §4, RFC 4291 §2.8. All their packets go to every socket of the port. */
export const isBuiltIn = (a: number, b: number, c: number, d: number): boolean =>
  c === 0xffff ? d === ALL_SYSTEMS.d && a === 0 && b === 0 : d === 1 && c === 0 && b === 0 && isNodeScope(a);

const isNodeScope = (a: number): boolean => a === ALL_NODES.a || a === ALL_NODES_INTERFACE.a;

/** One group of one interface. */
export class Group {
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

/** Hears of every change of what an interface takes in: what reports it to routers. */
export interface FilterObserver {
  /** The filter of `group` was `before` and is `group.filter` now. */
  changed(group: Group, before: Filter): void;
}

export class Groups {
  readonly #groups = new AddressMap<Group>();
  /** Set by what reports to routers; null: nobody does. */
  observer: FilterObserver | null = null;

  constructor() {
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
    return this.#groups.get(address) ?? null;
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
    const group = this.#groups.get(address);
    if (group === undefined || group.references === 0) return false;
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

  #obtain(address: IpAddress): Group {
    const known = this.#groups.get(address);
    if (known !== undefined) return known;
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
    this.observer?.changed(group, before);
  }

  /** Whether the interface takes in packets to this group, from some source at least. */
  has(a: number, b: number, c: number, d: number): boolean {
    return this.#groups.find(a, b, c, d) !== undefined;
  }

  /** Why a packet to a group must be dropped, or null: the receive filter. */
  check(packet: Packet): 'ip-no-member' | 'ip-source-filtered' | null {
    const group = this.#groups.find(packet.dstA, packet.dstB, packet.dstC, packet.dstD);
    if (group === undefined) return 'ip-no-member';
    return passes(group.filter, packet.srcA, packet.srcB, packet.srcC, packet.srcD) ? null : 'ip-source-filtered';
  }
}
