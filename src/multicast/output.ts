/** Sending to groups: which interface, and what becomes of the packet there. RFC 1112 §6, RFC 1122 §3.3.7. @module */
import { NetError } from '../errors.ts';
import type { Context } from '../iface/context.ts';
import type { Interface } from '../iface/interface.ts';
import type { Ip } from '../iface/ip.ts';
import type { Path } from '../iface/routes.ts';
import { type IpAddress, wireWord } from '../wire/address.ts';
import type { LoopQueue } from './loop-queue.ts';

/** RFC 4291 §2.7: the scopes that never leave the node: reserved, and interface-local. */
const isNodeLocal = (group: IpAddress): boolean => !group.isV4 && ((group.a >>> 16) & 0xf) <= 1;

const hasFamily = (iface: Interface, group: IpAddress): boolean =>
  iface.addresses.some(({ address }) => address.isV4 === group.isV4);

/**
 * The interface for packets to `group`, or for joining it where none was named: that of its zone, else that of the bound
 * address, else that of the route to the group (RFC 1122 §3.3.1.1), else the first with an address of the family (the loopback last).
 * @returns null: none has an address of the family
 */
export function groupInterface(ip: Ip, group: IpAddress, source: IpAddress | null): Interface | null {
  const { interfaces } = ip;
  if (group.zone !== 0) return ip.interfaceOf(group.zone);
  const bound = source === null ? undefined : interfaces.find((iface) => iface.hasAddress(source));
  if (bound !== undefined) return bound;
  const route = ip.routes.lookup(group);
  if (route !== null) return route.iface;
  const usable = interfaces.filter((iface) => hasFamily(iface, group));
  return usable.find((iface) => !iface.isLoopback) ?? usable[0] ?? null;
}

/**
 * Where to join `group`: as {@link groupInterface}, unless the socket has `chosen` one.
 * @throws NetError EINVAL no group; ENODEV no interface for it
 */
export function joinInterface(
  ip: Ip,
  group: IpAddress,
  source: IpAddress | null,
  chosen: Interface | null,
  syscall: string,
): Interface {
  const address = group.toString();
  if (!group.isMulticast)
    throw new NetError('EINVAL', syscall, { address, detail: `${address} is no multicast group` });
  const iface = (group.zone === 0 ? chosen : null) ?? groupInterface(ip, group, source);
  if (iface === null) throw new NetError('ENODEV', syscall, { address });
  return iface;
}

/** The way to `group`; there is no next hop but the group itself. Null: no interface has an address to send from. */
export function groupPath(ip: Ip, group: IpAddress, source: IpAddress | null, chosen: Interface | null): Path | null {
  const own = source === null || source.isMulticast ? null : source;
  const iface = (group.zone === 0 ? chosen : null) ?? groupInterface(ip, group, own);
  if (iface === null) return null;
  const from = own ?? iface.sourceFor(group, group);
  // RFC 1122 §3.2.1.3 (g): a loopback source never leaves.
  if (from === null || (from.isLoopback && !iface.isLoopback)) return null;
  return { iface, neighbour: null, source: from, mtu: iface.mtu, flowLabel: 0, generation: ip.routes.generation };
}

/** Gives this host a copy of the packet in `frame`, where the interface is in `group`. What leaves by the loopback comes back by itself. */
export function loopToMembers(looped: LoopQueue, iface: Interface, frame: number, group: IpAddress): void {
  if (iface.isLoopback || !iface.groups.has(group.a, wireWord(group.a, group.b), group.c, group.d)) return;
  looped.push(iface, frame);
}

/**
 * Sends the packet in `frame` to `group`; the frame is the callee's from now on.
 * @param loops - whether this host gets a copy, where the interface is in the group
 */
export function sendToGroup(
  context: Context,
  looped: LoopQueue,
  iface: Interface,
  frame: number,
  group: IpAddress,
  ttl: number,
  loops: boolean,
): void {
  if (loops) loopToMembers(looped, iface, frame, group);
  // RFC 1112 §6.1: a datagram with a time to live of 0 stays on this host.
  if ((ttl === 0 || isNodeLocal(group)) && !iface.isLoopback) context.memory.free(frame);
  else iface.transmit(frame, null);
}
