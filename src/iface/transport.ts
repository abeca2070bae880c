/** What IP asks of the protocols above it. @module */
import type { ErrorCode } from '../errors.ts';
import type { IpAddress } from '../wire/address.ts';
import type { Packet } from './packet.ts';

/** A protocol above IP. */
export interface Transport {
  /** Takes in one packet; the record is the caller's and changes with the next packet. */
  input(packet: Packet): void;
}

/** A transport whose sockets want to hear of errors. */
export interface ErrorTransport extends Transport {
  /**
   * Something happened to a packet that this stack sent.
   * @param local - our address and `remote` the peer's, as they stood in the packet
   * @param p - offset of the transport header that was quoted; at least 8 bytes stand there
   * @param endsHandshake - whether it ends a handshake that nobody waits for yet
   */
  error(local: IpAddress, remote: IpAddress, p: number, code: ErrorCode, endsHandshake: boolean): void;
}

/** A transport whose sockets may ask for errors with their origin, which is `Ip.cause`. */
export interface DatagramTransport extends Transport {
  /** As {@link ErrorTransport}; the quote ends at `end`. @param isTransient - only of concern to sockets that asked */
  error(local: IpAddress, remote: IpAddress, p: number, code: ErrorCode, end: number, isTransient: boolean): void;
}

/** UDP, which may be told of the MTU of a path. */
export interface UdpTransport extends DatagramTransport {
  /** A datagram of ours was too big for its path, whose MTU is known now; the quote as in {@link ErrorTransport.error}. */
  tooBig(local: IpAddress, remote: IpAddress, p: number): void;
}

/** Sockets that get whole packets. */
export interface RawTransport {
  /** Gives a copy of the packet to every socket that wants it; says whether there was one. */
  input(packet: Packet): boolean;
  /** As {@link DatagramTransport}, of a packet of `protocol` whose IP header is quoted from `head` on. */
  error(
    protocol: number,
    local: IpAddress,
    remote: IpAddress,
    head: number,
    p: number,
    code: ErrorCode,
    end: number,
    isTransient: boolean,
  ): void;
}

/** A transport that fits its packets to the path. */
export interface StreamTransport extends ErrorTransport {
  /** A router dropped a packet of `length` bytes because it takes no more than `mtu`; 0: it did not say. */
  tooBig(local: IpAddress, remote: IpAddress, p: number, mtu: number, length: number): void;
}

/** Makes ICMP errors about packets that came in. */
export interface ErrorReporter extends DatagramTransport {
  /** Reports whatever ICMP has a message for. @param rest - the four bytes behind the checksum */
  report(packet: Packet, type: number, code: number, rest: number): void;
  /** An error about a UDP datagram of ours, for who has bound its port's errors. */
  errorOfUdp(local: IpAddress, p: number): void;
  /** The protocol or the port of `packet` is not served here. */
  unreachable(packet: Packet, what: 'protocol' | 'port'): void;
  /** Time exceeded for `packet`: code 0 on the way, 1 in reassembly. */
  timeExceeded(packet: Packet, code: number): void;
  /** Something in `packet` is wrong, `pointer` bytes from its beginning: IPv6 only. */
  parameterProblem(packet: Packet, code: number, pointer: number): void;
  /** Tells `to` that the host, or its port, it sent `quote`, the beginning of a packet, to cannot be reached through us. */
  hostUnreachable(from: IpAddress, to: IpAddress, quote: Uint8Array, what?: 'host' | 'port'): void;
}
