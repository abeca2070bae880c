/** Socket addresses as the calls take and give them. @module */
import { NetError } from '../errors.ts';
import { type IpAddress, parseIp, UNSPECIFIED_V4, UNSPECIFIED_V6 } from '../wire/address.ts';
import { LINUX } from './constants.ts';

const { AF_INET, AF_INET6, AF_UNSPEC } = LINUX;

/** A `sockaddr_in` or `sockaddr_in6`. IPv4 addresses stand in the second as `::ffff:10.0.0.1`. */
export interface SockAddr {
  /** AF_INET or AF_INET6; AF_UNSPEC in `connect`: the peer is let go. */
  readonly family: number;
  readonly address: string;
  readonly port: number;
}

/** What a call says of an address in its error. */
export const contextOf = ({ address, port }: SockAddr): { address: string; port: number } => ({ address, port });

export const unspecifiedOf = (domain: number): IpAddress => (domain === AF_INET6 ? UNSPECIFIED_V6 : UNSPECIFIED_V4);

/**
 * Reads an address for a socket of `domain`.
 * @throws NetError EAFNOSUPPORT: of another family; EINVAL: text or port that is none
 */
export function readAddress(syscall: string, domain: number, from: SockAddr): IpAddress {
  const context = contextOf(from);
  // A sockaddr_in is too short for an AF_INET6 socket, and that is looked at first.
  if (domain === AF_INET6 && from.family === AF_INET) throw new NetError('EINVAL', syscall, context);
  const isAny = syscall === 'bind' && domain === AF_INET && from.family === AF_UNSPEC && from.address === '0.0.0.0';
  if (from.family !== domain && !isAny) throw new NetError('EAFNOSUPPORT', syscall, context);
  const address = parseIp(from.address);
  const { port } = from;
  const isPort = Number.isInteger(port) && port >= 0 && port <= 0xffff;
  if (address === null || !isPort || (domain === AF_INET) !== isOfV4(from.address)) {
    throw new NetError('EINVAL', syscall, context);
  }
  return address;
}

const isOfV4 = (text: string): boolean => !text.includes(':');

/** How a socket of `domain` shows an address. */
export function sockAddr(domain: number, address: IpAddress, port: number): SockAddr {
  if (domain === AF_INET) return { family: AF_INET, address: address.isV4 ? address.toString() : '0.0.0.0', port };
  return { family: AF_INET6, address: address.isV4 ? `::ffff:${address}` : address.toString(), port };
}
