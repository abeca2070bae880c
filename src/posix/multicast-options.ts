/**
 * Options about multicast groups: `ip_mreq`, `ipv6_mreq`, `group_req` and their like, as bytes or as a {@link Membership}.
 * RFC 3678 §4 and §5, RFC 3493 §5.2, ip(7), ipv6(7). @module
 */
import { NetError } from '../errors.ts';
import type { Interface } from '../iface/interface.ts';
import type { Ip } from '../iface/ip.ts';
import type { UdpSocket } from '../udp/socket.ts';
import { IpAddress } from '../wire/address.ts';
import { LINUX as L } from './constants.ts';

/** What an option about a group takes, in the place of Linux's structures. */
export interface Membership {
  readonly group: string;
  /** The index, name or address of an interface; without one, where packets to the group would leave. */
  readonly interface?: number | string;
  /** For the options about a source. */
  readonly source?: string;
}

type Action = 'join' | 'leave' | 'join-source' | 'leave-source' | 'block' | 'unblock';

/** How the bytes of an option are laid out. */
type Layout = 'mreq' | 'mreq-source' | 'mreq6' | 'group' | 'group-source';

interface Row {
  readonly level: number;
  readonly name: number;
  readonly action: Action;
  readonly layout: Layout;
}

const row = (level: number, name: number, action: Action, layout: Layout): Row => ({ level, name, action, layout });

/** Those that both levels have under one name. */
const rfc3678 = (level: number): Row[] => [
  row(level, L.MCAST_JOIN_GROUP, 'join', 'group'),
  row(level, L.MCAST_LEAVE_GROUP, 'leave', 'group'),
  row(level, L.MCAST_JOIN_SOURCE_GROUP, 'join-source', 'group-source'),
  row(level, L.MCAST_LEAVE_SOURCE_GROUP, 'leave-source', 'group-source'),
  row(level, L.MCAST_BLOCK_SOURCE, 'block', 'group-source'),
  row(level, L.MCAST_UNBLOCK_SOURCE, 'unblock', 'group-source'),
];

export const MEMBERSHIPS: readonly Row[] = [
  row(L.SOL_IP, L.IP_ADD_MEMBERSHIP, 'join', 'mreq'),
  row(L.SOL_IP, L.IP_DROP_MEMBERSHIP, 'leave', 'mreq'),
  row(L.SOL_IP, L.IP_ADD_SOURCE_MEMBERSHIP, 'join-source', 'mreq-source'),
  row(L.SOL_IP, L.IP_DROP_SOURCE_MEMBERSHIP, 'leave-source', 'mreq-source'),
  row(L.SOL_IP, L.IP_BLOCK_SOURCE, 'block', 'mreq-source'),
  row(L.SOL_IP, L.IP_UNBLOCK_SOURCE, 'unblock', 'mreq-source'),
  row(L.SOL_IPV6, L.IPV6_JOIN_GROUP, 'join', 'mreq6'),
  row(L.SOL_IPV6, L.IPV6_LEAVE_GROUP, 'leave', 'mreq6'),
  ...rfc3678(L.SOL_IP),
  ...rfc3678(L.SOL_IPV6),
];

/** Bytes of a structure, and where a `sockaddr_storage` stands in `group_req` and `group_source_req` of x86-64. */
const LENGTHS: Readonly<Record<Layout, number>> = {
  mreq: 8,
  'mreq-source': 12,
  mreq6: 20,
  group: 136,
  'group-source': 264,
};
const GROUP_AT = 8;
const SOURCE_AT = 136;

const v4At = (dv: DataView, p: number): IpAddress => IpAddress.v4(dv.getInt32(p));
const v6At = (dv: DataView, p: number): IpAddress =>
  new IpAddress(dv.getInt32(p), dv.getInt32(p + 4), dv.getInt32(p + 8), dv.getInt32(p + 12));

/** The address in a `sockaddr_in` or `sockaddr_in6`. */
function sockaddrAt(dv: DataView, p: number): IpAddress {
  const family = dv.getUint16(p, true);
  if (family === L.AF_INET) return v4At(dv, p + 4);
  if (family === L.AF_INET6) return v6At(dv, p + 8);
  throw new NetError('EADDRNOTAVAIL', 'setsockopt');
}

/** The structure of `layout` in `bytes`. @throws NetError EINVAL when it is too short */
function parse(layout: Layout, bytes: Uint8Array): Membership {
  if (bytes.length < LENGTHS[layout]) throw new NetError('EINVAL', 'setsockopt');
  const dv = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  switch (layout) {
    case 'mreq': {
      // ip_mreqn has the index of the interface behind.
      const index = bytes.length >= 12 ? dv.getInt32(8, true) : 0;
      return { group: `${v4At(dv, 0)}`, interface: index !== 0 ? index : `${v4At(dv, 4)}` };
    }
    case 'mreq-source':
      return { group: `${v4At(dv, 0)}`, interface: `${v4At(dv, 4)}`, source: `${v4At(dv, 8)}` };
    case 'mreq6':
      return { group: `${v6At(dv, 0)}`, interface: dv.getInt32(16, true) };
    case 'group':
      return { group: `${sockaddrAt(dv, GROUP_AT)}`, interface: dv.getUint32(0, true) };
    default: {
      const [group, source] = [sockaddrAt(dv, GROUP_AT), sockaddrAt(dv, SOURCE_AT)];
      return { group: `${group}`, interface: dv.getUint32(0, true), source: `${source}` };
    }
  }
}

/** What IP_MULTICAST_IF names, as {@link memberInterface} reads it: `in_addr`, `ip_mreq` or `ip_mreqn`. */
export function interfaceOf(bytes: Uint8Array): string {
  if (bytes.length < 4) throw new NetError('EINVAL', 'setsockopt');
  const dv = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const index = bytes.length >= 12 ? dv.getInt32(8, true) : 0;
  return index !== 0 ? `${index}` : `${v4At(dv, bytes.length >= 8 ? 4 : 0)}`;
}

/** The interface with this index, name or address; undefined for 0, an unspecified address or none. @throws NetError ENODEV */
export function memberInterface(ip: Ip, wanted: number | string | undefined): Interface | undefined {
  if (wanted === undefined || wanted === 0 || wanted === '0.0.0.0' || wanted === '::') return undefined;
  const address = typeof wanted === 'string' ? ip.parse(wanted) : null;
  const found = ip.interfaces.find(
    (iface) =>
      `${iface.index}` === `${wanted}` || iface.name === wanted || (address !== null && iface.hasAddress(address)),
  );
  if (found === undefined) throw new NetError('ENODEV', 'setsockopt', { detail: `no interface ${wanted}` });
  return found;
}

function readAddress(ip: Ip, text: string | undefined): IpAddress {
  const address = text === undefined ? null : ip.parse(text);
  if (address === null) throw new NetError('EINVAL', 'setsockopt');
  return address;
}

/** @throws NetError EINVAL, ENODEV, EADDRINUSE, EADDRNOTAVAIL, ENOBUFS, as `UdpSocket.join` and its like */
export function setMembership(
  core: UdpSocket,
  ip: Ip,
  level: number,
  name: number,
  input: Membership | Uint8Array,
): void {
  const { action, layout } = MEMBERSHIPS.find((known) => known.level === level && known.name === name)!;
  const asked = input instanceof Uint8Array ? parse(layout, input) : input;
  const group = readAddress(ip, asked.group);
  if (group.isV4 !== (level === L.SOL_IP)) throw new NetError('EINVAL', 'setsockopt');
  const options = { interface: memberInterface(ip, asked.interface) };
  const source = action === 'join' || action === 'leave' ? undefined : readAddress(ip, asked.source);
  if (action === 'block') core.blockSource(group, source!, options);
  else if (action === 'unblock') core.unblockSource(group, source!, options);
  else if (action === 'join' || action === 'join-source') core.join(group, { ...options, source });
  else core.leave(group, { ...options, source });
}
