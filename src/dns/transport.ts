/** What the DNS needs of the world: time, chance, datagrams and streams. Hosts give theirs; tests give any. @module */
import type { ErrorCode } from '../errors.ts';
import type { Clock } from '../sim/clock.ts';
import type { IpAddress } from '../wire/address.ts';
import type { Drop } from '../wire/dns.ts';

export const PORT = 53;

/** Where a server listens. */
export interface Endpoint {
  readonly address: IpAddress;
  readonly port: number;
}

/** Why a message was dropped that came to a query or to a server. */
export type DnsDrop =
  | Drop
  | 'dns-wrong-id' // an answer to nothing we asked: RFC 5452 §9
  | 'dns-wrong-question'
  | 'dns-not-an-answer' // a query where an answer was due
  | 'dns-not-a-query' // an answer where a query was due
  | 'dns-wrong-source' // an mDNS message from beyond the link, or from a wrong port: RFC 6762 §11
  | 'dns-server-busy'; // more queries at once than a server takes

/** A socket of one query: a random port of its own (RFC 5452 §4.5), and nobody's datagrams but the server's. */
export interface QuerySocket {
  /** Sends one datagram; without room it is lost, and the timeout tells. */
  send(data: Uint8Array): void;
  close(): void;
}

export interface QueryHandler {
  /** A datagram from the server; the array is the handler's own. */
  message(data: Uint8Array): void;
  /** The network says that the server cannot be reached. */
  failed(code: ErrorCode): void;
}

export interface DnsTransport {
  readonly clock: Clock;
  /** Uniform uint32, not to be guessed. */
  random(): number;
  /** Counts a message that was dropped. */
  drop(reason: DnsDrop): void;
  /** @throws NetError where no route leads to the server, or no port is left */
  open(server: Endpoint, handler: QueryHandler): QuerySocket;
  /** One query over a TCP connection of its own, and its answer, both without the length in front: RFC 7766. */
  stream(server: Endpoint, query: Uint8Array, signal: AbortSignal): Promise<Uint8Array>;
}
