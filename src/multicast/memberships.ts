/**
 * The groups of one socket, each on one interface with a source filter of its own: the service interface of RFC 3376 §2
 * and RFC 3810 §3, in the steps of RFC 3678 §3 and §4 with the errors of Linux. @module
 */
import { type ErrorCode, NetError } from '../errors.ts';
import type { Interface } from '../iface/interface.ts';
import type { Packet } from '../iface/packet.ts';
import { type IpAddress, wireWord } from '../wire/address.ts';
import { ANYBODY, excludeOf, type Filter, includeOf, isNobody, passes } from './filter.ts';
import { isBuiltIn } from './groups.ts';

/** Groups a socket may be in, counted by interface. */
const MEMBERSHIPS_MAX = 256;
/** Sources in one filter of a socket. */
const SOURCES_MAX = 64;

interface Membership {
  readonly iface: Interface;
  /** Without a zone, as the sources of the filter. */
  readonly group: IpAddress;
  filter: Filter;
}

export class Memberships {
  readonly #list: Membership[] = [];
  /**
   * Whether the socket also gets what is sent to groups that it has not joined, but somebody else on this host has: as
   * before RFC 3376, and as Linux does unless IP_MULTICAST_ALL is off.
   */
  all = false;

  get count(): number {
    return this.#list.length;
  }

  /**
   * Joins for any source, or for one source more of a group joined by sources.
   * @throws NetError EINVAL no group, or joined in the other way; EADDRINUSE already a member; EADDRNOTAVAIL the source
   *   is there already; ENOBUFS too many groups or sources
   */
  join(iface: Interface, group: IpAddress, from: IpAddress | null): void {
    const source = from?.withZone(0) ?? null;
    checkGroup('join', group, source);
    const known = this.#find(iface, group);
    if (source === null) {
      if (known !== null) fail('EADDRINUSE', 'join', group);
      this.#add(iface, group, ANYBODY);
      return;
    }
    if (known === null) {
      this.#add(iface, group, includeOf([source]));
      return;
    }
    // As Linux: a filter without sources may change its mode.
    if (known.filter.isExclude && known.filter.sources.size > 0) fail('EINVAL', 'join', group);
    const sources = known.filter.sources;
    if (sources.has(source)) fail('EADDRNOTAVAIL', 'join', group);
    if (sources.size >= SOURCES_MAX) fail('ENOBUFS', 'join', group);
    this.#set(known, includeOf([...sources, source]));
  }

  /**
   * Leaves the group, or gives up one of its sources; the last one leaves it.
   * @throws NetError EADDRNOTAVAIL: not a member, or not of this source; EINVAL joined for any source
   */
  leave(iface: Interface, group: IpAddress, from: IpAddress | null): void {
    const source = from?.withZone(0) ?? null;
    checkGroup('leave', group, source);
    const known = this.#find(iface, group);
    if (source === null) {
      if (known === null) fail('EADDRNOTAVAIL', 'leave', group);
      this.#remove(known);
      return;
    }
    if (known === null || (known.filter.isExclude && known.filter.sources.size > 0)) fail('EINVAL', 'leave', group);
    if (!known.filter.sources.has(source)) fail('EADDRNOTAVAIL', 'leave', group);
    this.#set(known, includeOf([...known.filter.sources].filter((other) => !other.equals(source))));
  }

  /**
   * Keeps the datagrams of one source out of a group joined for any source.
   * @throws NetError EINVAL not joined so; EADDRNOTAVAIL blocked already; ENOBUFS too many sources
   */
  block(iface: Interface, group: IpAddress, from: IpAddress): void {
    const source = from.withZone(0);
    const known = this.#excluding('block', iface, group, source);
    const { sources } = known.filter;
    if (sources.has(source)) fail('EADDRNOTAVAIL', 'block', group);
    if (sources.size >= SOURCES_MAX) fail('ENOBUFS', 'block', group);
    this.#set(known, excludeOf([...sources, source]));
  }

  /** Takes {@link block} back. @throws NetError EINVAL, EADDRNOTAVAIL not blocked */
  unblock(iface: Interface, group: IpAddress, from: IpAddress): void {
    const source = from.withZone(0);
    const known = this.#excluding('unblock', iface, group, source);
    const { sources } = known.filter;
    if (!sources.has(source)) fail('EADDRNOTAVAIL', 'unblock', group);
    this.#set(known, excludeOf([...sources].filter((other) => !other.equals(source))));
  }

  /**
   * Sets the whole filter of a group at once, joining or leaving it as need be: IPMulticastListen of RFC 3376 §2.
   * @throws NetError EINVAL, ENOBUFS
   */
  setFilter(iface: Interface, group: IpAddress, { isExclude, sources }: Filter): void {
    checkGroup('setFilter', group, null);
    for (const source of sources) checkGroup('setFilter', group, source);
    const plain = [...sources].map((source) => source.withZone(0));
    const filter = isExclude ? excludeOf(plain) : includeOf(plain);
    if (filter.sources.size > SOURCES_MAX) fail('ENOBUFS', 'setFilter', group);
    const known = this.#find(iface, group);
    if (known !== null) this.#set(known, filter);
    else if (!isNobody(filter)) this.#add(iface, group, filter);
  }

  /** The filter of a group, null: not a member. */
  filterOf(iface: Interface, group: IpAddress): Filter | null {
    return this.#find(iface, group)?.filter ?? null;
  }

  /** An interface on which the socket is in the group, or null. */
  interfaceOf(group: IpAddress): Interface | null {
    return this.#list.find((membership) => membership.group.equals(group.withZone(0)))?.iface ?? null;
  }

  /** Whether the socket wants the packet, which was sent to a group: RFC 3376 §3.1 "filtering of packets". */
  accepts(packet: Packet): boolean {
    const { iface, dstA, dstC, dstD, srcA, srcC, srcD } = packet;
    const dstB = wireWord(dstA, packet.dstB);
    for (let i = 0; i < this.#list.length; i++) {
      const { group, iface: joined, filter } = this.#list[i]!;
      if (group.d !== dstD || group.c !== dstC || group.b !== dstB || group.a !== dstA || joined !== iface) continue;
      return passes(filter, srcA, wireWord(srcA, packet.srcB), srcC, srcD);
    }
    return this.all || isBuiltIn(dstA, dstB, dstC, dstD);
  }

  /** Leaves every group. */
  close(): void {
    for (const membership of [...this.#list]) this.#remove(membership);
  }

  #find(iface: Interface, group: IpAddress): Membership | null {
    return this.#list.find((known) => known.iface === iface && known.group.equals(group.withZone(0))) ?? null;
  }

  #excluding(syscall: string, iface: Interface, group: IpAddress, source: IpAddress): Membership {
    checkGroup(syscall, group, source);
    const known = this.#find(iface, group);
    if (known === null || !known.filter.isExclude) fail('EINVAL', syscall, group);
    return known;
  }

  #add(iface: Interface, group: IpAddress, filter: Filter): void {
    if (this.#list.length >= MEMBERSHIPS_MAX) fail('ENOBUFS', 'join', group);
    iface.groups.setFilter(group, this, filter);
    this.#list.push({ iface, group: group.withZone(0), filter });
  }

  #set(membership: Membership, filter: Filter): void {
    if (isNobody(filter)) {
      this.#remove(membership);
      return;
    }
    membership.filter = filter;
    membership.iface.groups.setFilter(membership.group, this, filter);
  }

  #remove(membership: Membership): void {
    this.#list.splice(this.#list.indexOf(membership), 1);
    membership.iface.groups.setFilter(membership.group, this, includeOf([]));
  }
}

function fail(code: ErrorCode, syscall: string, group: IpAddress): never {
  throw new NetError(code, syscall, { address: group.toString() });
}

function checkGroup(syscall: string, group: IpAddress, source: IpAddress | null): void {
  if (!group.isMulticast) fail('EINVAL', syscall, group);
  const isHost = source === null || !(source.isMulticast || source.isUnspecified || source.isLimitedBroadcast);
  if (!isHost || (source !== null && source.isV4 !== group.isV4)) fail('EINVAL', syscall, group);
}
