/**
 * What the network, or a neighbour that does not answer, says of a packet of ours: to the socket that sent it, which is
 * found by the quote. RFC 1122 §3.2.2, RFC 4443 §2.4. @module
 */
import type { ErrorCode } from '../errors.ts';
import type { IpAddress } from '../wire/address.ts';
import * as fragment from '../wire/fragment.ts';
import { PROTOCOL_ICMP, PROTOCOL_ICMPV6, PROTOCOL_TCP, PROTOCOL_UDP } from '../wire/ip.ts';
import * as ipv4 from '../wire/ipv4.ts';
import * as ipv6 from '../wire/ipv6.ts';
import type { Context } from './context.ts';
import type { Ip } from './ip.ts';
import { believedMtu } from './path-mtu.ts';
import { quotedAddress, quotedHeader, quotedProtocol } from './quote.ts';

/** A packet of ours in `[p, end)` found no neighbour to go to. */
export function localUnreachable(context: Context, ip: Ip, p: number, end: number, zone: number): void {
  if (ip.forwarder?.unreachable(p, end)) return;
  ip.cause.setLocal();
  deliverError(context, ip, p, end, zone, 'EHOSTUNREACH', true);
}

/**
 * Tells the socket that sent the packet quoted in `[p, end)` what became of it.
 * @param zone - the index of the interface the packet left by
 * @param endsHandshake - see {@link ErrorTransport}   @param isTransient - of no concern to datagrams
 */
export function deliverError(
  context: Context,
  ip: Ip,
  p: number,
  end: number,
  zone: number,
  code: ErrorCode,
  endsHandshake: boolean,
  isTransient = false,
): void {
  const header = quotedHeader(context.memory.dv, p, end);
  if (header === 0) return;
  const { dv } = context.memory;
  const isV6 = header < 0;
  const transport = p + Math.abs(header);
  const local = quotedAddress(dv, p, isV6, true, zone);
  const remote = quotedAddress(dv, p, isV6, false, zone);
  const protocol = quotedProtocol(dv, p, header);
  if (protocol === PROTOCOL_TCP) ip.tcp.error(local, remote, transport, code, endsHandshake);
  else tellDatagrams(ip, protocol, local, remote, p, transport, code, end, isTransient);
}

/** The same for what is no stream: where those are told in a way of their own. */
export function deliverToDatagrams(
  context: Context,
  ip: Ip,
  p: number,
  end: number,
  zone: number,
  code: ErrorCode,
  isTransient: boolean,
): void {
  const header = quotedHeader(context.memory.dv, p, end);
  if (header === 0) return;
  const { dv } = context.memory;
  const isV6 = header < 0;
  const protocol = quotedProtocol(dv, p, header);
  if (protocol === PROTOCOL_TCP) return;
  const local = quotedAddress(dv, p, isV6, true, zone);
  const remote = quotedAddress(dv, p, isV6, false, zone);
  tellDatagrams(ip, protocol, local, remote, p, p + Math.abs(header), code, end, isTransient);
}

function tellDatagrams(
  ip: Ip,
  protocol: number,
  local: IpAddress,
  remote: IpAddress,
  head: number,
  p: number,
  code: ErrorCode,
  end: number,
  isTransient: boolean,
): void {
  // RFC 5927 §4.1: only what we can have sent is of concern.
  if (!ip.maySendFrom(local)) return;
  if (protocol === PROTOCOL_UDP) {
    ip.icmp.errorOfUdp(local, p);
    ip.udp.error(local, remote, p, code, end, isTransient);
  } else if (protocol === (local.isV4 ? PROTOCOL_ICMP : PROTOCOL_ICMPV6)) {
    ip.icmp.error(local, remote, p, code, end, isTransient);
  }
  ip.raw?.error(protocol, local, remote, head, p, code, end, isTransient);
}

/** The packet quoted in `[p, end)` was too big for a router on its way, which takes `mtu` bytes (0: it did not say). */
export function deliverTooBig(context: Context, ip: Ip, p: number, end: number, zone: number, mtu: number): void {
  const header = quotedHeader(context.memory.dv, p, end);
  if (header === 0) return;
  const { dv } = context.memory;
  const isV6 = header < 0;
  const protocol = quotedProtocol(dv, p, header);
  const length = isV6 ? ipv6.HEADER_LENGTH + ipv6.payloadLength(dv, p) : ipv4.totalLength(dv, p);
  const local = quotedAddress(dv, p, isV6, true, zone);
  const remote = quotedAddress(dv, p, isV6, false, zone);
  const transport = p + Math.abs(header);
  if (protocol === PROTOCOL_TCP) {
    ip.tcp.tooBig(local, remote, transport, mtu, length);
    return;
  }
  let mark = dv.getInt32(transport);
  if (!isV6) mark = (ipv4.identification(dv, p) << 16) | length;
  else if (header !== -ipv6.HEADER_LENGTH) mark = fragment.identification(dv, p + ipv6.HEADER_LENGTH);
  const { stats } = context;
  const path = ip.pathMtus.wasSent(remote, mark) ? ip.path(remote, local) : null;
  const believed = path === null ? 0 : believedMtu(!isV6, path.mtu, mtu, length);
  if (believed === 0) {
    stats.drop('icmp-bad-mtu');
    return;
  }
  stats.pathMtuChanges++;
  ip.pathMtus.set(remote, believed);
  if (protocol === PROTOCOL_UDP) ip.udp.tooBig(local, remote, transport);
}
