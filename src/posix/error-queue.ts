/** MSG_ERRQUEUE: errors about what was sent, each with who says so, as IP_RECVERR has them: ip(7), ipv6(7). @module */
import { type ErrorCode, NetError } from '../errors.ts';
import type { ErrorDetail } from '../iface/error-detail.ts';
import { type SockAddr, sockAddr } from './address.ts';
import { LINUX as L } from './constants.ts';
import { type Reading, scatter } from './message.ts';
import type { OptionStore } from './options.ts';

/** `struct sock_extended_err`, and the address behind it. */
export interface ExtendedError {
  readonly code: ErrorCode;
  /** SO_EE_ORIGIN_LOCAL, SO_EE_ORIGIN_ICMP or SO_EE_ORIGIN_ICMP6. */
  readonly origin: number;
  /** Of the ICMP message; 0 for a local one. */
  readonly type: number;
  readonly icmpCode: number;
  /** The MTU of "too big", the pointer of a parameter problem; else 0. */
  readonly info: number;
  /** SO_EE_OFFENDER: where the ICMP message came from; null for a local one. */
  readonly offender: SockAddr | null;
}

const ORIGINS = { local: L.SO_EE_ORIGIN_LOCAL, icmp: L.SO_EE_ORIGIN_ICMP, icmp6: L.SO_EE_ORIGIN_ICMP6 };

/** Whether the options ask for errors with their origin. */
export const wantsErrors = (options: OptionStore): boolean =>
  options.isOn(L.SOL_IP, L.IP_RECVERR) || options.isOn(L.SOL_IPV6, L.IPV6_RECVERR);

/**
 * Reads the oldest error: what was quoted of the datagram goes to the buffers, the address is where it was to go.
 * @throws NetError EAGAIN when there is none: this call never waits
 */
export function readError(reading: Reading, domain: number, detail: ErrorDetail | null): true {
  if (detail === null) throw new NetError('EAGAIN', 'recv');
  const { code, origin, type, icmpCode, info, offender, address, port, data } = detail;
  reading.count = scatter(data, reading.buffers);
  reading.outFlags |= L.MSG_ERRQUEUE | (reading.count < data.length ? L.MSG_TRUNC : 0);
  reading.address = sockAddr(domain, address, port);
  const from = offender === null ? null : sockAddr(domain, offender, 0);
  const error: ExtendedError = { code, origin: ORIGINS[origin], type, icmpCode, info, offender: from };
  const isV4 = address.isV4;
  const [level, name] = isV4 ? [L.SOL_IP, L.IP_RECVERR] : [L.SOL_IPV6, L.IPV6_RECVERR];
  reading.control.push({ level, type: name, value: 0, error });
  return true;
}
