/**
 * IPv6 extension headers of a packet that is for us: RFC 8200 §4, with the actions for unknown options (§4.2) and the
 * errors they ask for. Only packets whose next header is none of the common protocols come here. @module
 */
import * as icmpv6 from '../wire/icmpv6.ts';
import * as ipv6 from '../wire/ipv6.ts';
import { type Chain, type Drop, walk } from '../wire/ipv6-extension.ts';
import type { Octets } from '../wire/octets.ts';
import type { Packet } from './packet.ts';
import type { ErrorReporter } from './transport.ts';

/**
 * Goes past the extension headers of `packet`: its protocol and payload are those behind them afterwards, or a fragment.
 * @param chain - a record to use, which tells afterwards where the headers stand
 * @returns why the packet must be dropped, its sender told where that is due; or null
 */
export function passExtensions({ dv }: Octets, packet: Packet, chain: Chain, icmp: ErrorReporter): Drop | null {
  const nextAt = packet.header + ipv6.NEXT_HEADER_OFFSET;
  const drop = walk(dv, packet.protocol, nextAt, packet.payload, packet.end, chain);
  if (drop !== null) {
    // RFC 8200 §4.2: of the two actions that report, one is silent about packets to groups.
    const isReported = chain.problem >= 0 && (!packet.toGroup || chain.problemToMulticast);
    if (isReported) icmp.report(packet, icmpv6.PARAMETER_PROBLEM, chain.problem, chain.pointer - packet.header);
    return drop;
  }
  packet.protocol = chain.protocol;
  packet.payload = chain.offset;
  packet.routerAlert = chain.routerAlert;
  return null;
}
