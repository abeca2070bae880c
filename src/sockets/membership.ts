/** Multicast groups of a UDP socket, by the names that people give to interfaces. @module */
import { NetError } from '../errors.ts';
import type { Interface } from '../iface/interface.ts';
import type { Stack } from '../stack.ts';
import type { UdpSocket } from '../udp/socket.ts';
import { IpAddress } from '../wire/address.ts';
import type { MembershipChange } from './backend.ts';

/** The interface of this name, index or address, or of `address%name`. @throws NetError ENODEV */
export function findInterface({ ip }: Stack, text: string): Interface {
  const name = /^[^%]*%(.+)$/.exec(text)?.[1] ?? text;
  const address = ip.parse(name);
  const isMeant = (iface: Interface): boolean =>
    iface.name === name ||
    String(iface.index) === name ||
    (address !== null && iface.hasAddress(address.lacksZone ? address.withZone(iface.index) : address));
  const found = ip.interfaces.find(isMeant);
  if (found === undefined) throw new NetError('ENODEV', 'setMulticastInterface', { detail: `no interface ${text}` });
  return found;
}

/** @throws NetError as the core's calls; TypeError for a group or source that is none */
export function changeMembership(stack: Stack, socket: UdpSocket, { change, ...names }: MembershipChange): void {
  const group = stack.ip.parse(names.group);
  if (!group?.isMulticast) throw new TypeError(`group: expected a multicast address, got ${names.group}`);
  const iface = names.interface === undefined ? undefined : findInterface(stack, names.interface);
  const source = names.source === undefined ? undefined : IpAddress.parse(names.source);
  if (change === 'join') socket.join(group, { interface: iface, source });
  else if (change === 'leave') socket.leave(group, { interface: iface, source });
  else if (source === undefined) throw new TypeError(`source: expected an address to ${change}, got none`);
  else if (change === 'block') socket.blockSource(group, source, { interface: iface });
  else if (change === 'unblock') socket.unblockSource(group, source, { interface: iface });
  else throw new TypeError(`change: expected join, leave, block or unblock, got ${change}`);
}
