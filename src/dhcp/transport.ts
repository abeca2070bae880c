/**
 * Datagrams of the protocols that configure an interface: from an address it may not have yet, out of one certain
 * interface, to a neighbour that cannot be asked. @module
 */
import type { Interface } from '../iface/interface.ts';
import { Neighbour, REACHABLE } from '../iface/neighbours.ts';
import type { Path } from '../iface/routes.ts';
import type { Stack } from '../stack.ts';
import { IpAddress, type MacAddress } from '../wire/address.ts';

const TTL = 64;

/** 255.255.255.255. */
export const BROADCAST = IpAddress.v4(-1);

/** A neighbour that stands in no cache: its link address is known, and it is never asked for. */
function knownNeighbour(iface: Interface, address: IpAddress, mac: MacAddress): Neighbour {
  const neighbour = new Neighbour(iface.neighbours, address);
  neighbour.state = REACHABLE;
  neighbour.isStatic = true;
  neighbour.macHigh = mac.high;
  neighbour.macLow = mac.low;
  return neighbour;
}

/** The way out of `iface` to everybody, or with `mac` to one link address, from `source`. */
export function linkPath(iface: Interface, source: IpAddress, to: IpAddress, mac: MacAddress | null): Path {
  const neighbour = mac === null || iface.device.medium !== 'ethernet' ? null : knownNeighbour(iface, to, mac);
  return { iface, neighbour, source, mtu: iface.mtu, flowLabel: 0, generation: -1 };
}

/** Sends one datagram; false when there is no room or no memory: it is lost, as any may be. */
export function sendDatagram(
  stack: Stack,
  path: Path,
  to: IpAddress,
  fromPort: number,
  toPort: number,
  data: Uint8Array,
): boolean {
  return stack.udp.output(path, data, to, fromPort, toPort, TTL, 0, false);
}
