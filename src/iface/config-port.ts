/**
 * UDP ports of one interface, below its sockets: for the protocols that give an interface its addresses, which must
 * hear what is sent to an address that is not ours yet (RFC 2131 §4.1). They are asked only about what would be dropped
 * otherwise, so no other packet pays for them. @module
 */
import { PROTOCOL_UDP } from '../wire/ip.ts';
import * as ipv4 from '../wire/ipv4.ts';
import type { Octets } from '../wire/octets.ts';
import * as udp from '../wire/udp.ts';
import type { Packet } from './packet.ts';

export interface ConfigPort {
  readonly port: number;
  /** Whether `packet`, which is for this port but to an address that is not ours, is taken all the same. */
  takes(packet: Packet): boolean;
  /**
   * Takes one datagram, whose data stand in `[p, end)`; neither outlives the call. Sockets that are bound to the port
   * go first.
   */
  input(packet: Packet, sourcePort: number, p: number, end: number): void;
}

/** Whether a port of the interface wants `packet` although its destination is not ours. */
export function isForConfigPort(ports: readonly ConfigPort[], { dv }: Octets, packet: Packet): boolean {
  if (packet.protocol !== PROTOCOL_UDP || packet.end - packet.payload < udp.HEADER_LENGTH) return false;
  if (packet.version === 4 && ipv4.isFragment(dv, packet.header)) return false;
  const wanted = udp.destinationPort(dv, packet.payload);
  return ports.some((port) => port.port === wanted && port.takes(packet));
}

/** Hands a datagram that no socket wants to a port of its interface; false: there is none either. */
export function deliverConfig(packet: Packet, sourcePort: number, port: number, p: number, end: number): boolean {
  const { configPorts } = packet.iface;
  if (configPorts.length === 0) return false;
  const taker = configPorts.find((candidate) => candidate.port === port);
  taker?.input(packet, sourcePort, p, end);
  return taker !== undefined;
}
