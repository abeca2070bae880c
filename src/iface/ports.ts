/** Ports and bound addresses, for TCP and UDP alike. @module */
import type { IpAddress } from '../wire/address.ts';

/** RFC 6056 §3.2: ports are drawn from as large a range as may be; ours is the upper half. */
const PORT_FIRST = 32_768;
const PORT_COUNT = 32_768;
/** Random draws before every port is tried in turn. */
const PORT_DRAWS = 64;

/**
 * A random port for which `isFree` holds, or 0: RFC 6056 §3.3.2. When most are taken, each is tried from a random one on.
 * @param random - gives uniform uint32
 */
export function drawPort(random: () => number, isFree: (port: number) => boolean): number {
  for (let i = 0; i < PORT_DRAWS; i++) {
    const port = PORT_FIRST + (random() % PORT_COUNT);
    if (isFree(port)) return port;
  }
  const start = random() % PORT_COUNT;
  for (let i = 0; i < PORT_COUNT; i++) {
    const port = PORT_FIRST + ((start + i) % PORT_COUNT);
    if (isFree(port)) return port;
  }
  return 0;
}

/** Whether a socket bound to `bound` serves `address`: its own, with 0.0.0.0 all of IPv4, with :: all of both families. */
export function covers(bound: IpAddress, address: IpAddress): boolean {
  if (bound.equals(address)) return true;
  return bound.isUnspecified && (!bound.isV4 || address.isV4);
}

/** Whether two sockets bound to these addresses would both serve some address. */
export const clashes = (a: IpAddress, b: IpAddress): boolean => covers(a, b) || covers(b, a);

/** What is bound to an address. */
export interface Bound {
  readonly local: IpAddress;
  /** Whether `::` means IPv6 only, instead of both families: RFC 3493 §5.3. */
  readonly ipv6Only: boolean;
}

/** Whether `bound` serves `address`. */
export const serves = ({ local, ipv6Only }: Bound, address: IpAddress): boolean =>
  covers(local, address) && !(ipv6Only && address.isV4);

/** Whether two would both serve some address. */
export const collide = (one: Bound, other: Bound): boolean =>
  clashes(one.local, other.local) && !(one.ipv6Only && other.local.isV4) && !(other.ipv6Only && one.local.isV4);
