/** A network of name servers for tests of the resolver: answers come when the test says, in virtual time. @module */

import type { DnsTransport, Endpoint, QueryHandler } from '../src/dns/index.ts';
import { type ErrorCode, NetError } from '../src/errors.ts';
import { Random } from '../src/phy/random.ts';
import { VirtualClock } from '../src/sim/clock.ts';
import { IpAddress } from '../src/wire/address.ts';
import * as dns from '../src/wire/dns.ts';

export const ip = (text: string): IpAddress => IpAddress.parse(text);
export const a = (name: string, address: string, ttl = 300): dns.ResourceRecord =>
  dns.record(name, ttl, { type: address.includes(':') ? 'AAAA' : 'A', address: ip(address) });
export const cname = (name: string, target: string, ttl = 300): dns.ResourceRecord =>
  dns.record(name, ttl, { type: 'CNAME', target });
export const soa = (name: string, minimum: number, ttl = 3600): dns.ResourceRecord =>
  dns.record(name, ttl, {
    type: 'SOA',
    primary: 'ns',
    mailbox: 'admin',
    serial: 1,
    refresh: 1,
    retry: 1,
    expire: 1,
    minimum,
  });

/** One query as a server sees it. */
export interface Query {
  readonly message: dns.Message;
  readonly name: string;
  readonly type: dns.RecordType;
  readonly server: string;
  readonly overTcp: boolean;
  /** Sends any bytes back. */
  raw(data: Uint8Array): void;
}

/** What a server says: a message that is completed from the query, an error of the network, or nothing. */
export type Reply = Partial<dns.Message> | ErrorCode | null;

export class FakeNetwork implements DnsTransport {
  readonly clock = new VirtualClock();
  readonly queries: Query[] = [];
  readonly drops: Partial<Record<string, number>> = {};
  /** Sockets open. */
  open_ = 0;
  readonly #servers: Readonly<Record<string, (query: Query) => Reply>>;
  readonly #random = new Random(7);

  constructor(servers: Readonly<Record<string, (query: Query) => Reply>>) {
    this.#servers = servers;
  }

  random(): number {
    return this.#random.next();
  }

  drop(reason: string): void {
    this.drops[reason] = (this.drops[reason] ?? 0) + 1;
  }

  /** Names and types asked so far, as `A example.org @10.0.0.53`. */
  get log(): string[] {
    return this.queries.map((q) => `${q.type} ${q.name} @${q.server}${q.overTcp ? ' tcp' : ''}`);
  }

  #serve(server: Endpoint, data: Uint8Array, overTcp: boolean, raw: (data: Uint8Array) => void): ErrorCode | null {
    const message = dns.parse(data);
    if (typeof message === 'string') throw new Error(message);
    const { name, type } = message.questions[0]!;
    const query = { message, name, type, server: `${server.address}`, overTcp, raw };
    this.queries.push(query);
    const reply = this.#servers[query.server]?.(query) ?? null;
    if (typeof reply === 'string') return reply;
    if (reply !== null) raw(answer(message, reply));
    return null;
  }

  open(server: Endpoint, handler: QueryHandler) {
    let isOpen = true;
    this.open_++;
    const later = (fn: () => void): void => {
      this.clock.setTimer(this.clock.now() + 5, () => {
        if (isOpen) fn();
      });
    };
    return {
      send: (data: Uint8Array): void => {
        const code = this.#serve(server, data, false, (bytes) => later(() => handler.message(bytes)));
        if (code !== null) later(() => handler.failed(code));
      },
      close: (): void => {
        if (isOpen) this.open_--;
        isOpen = false;
      },
    };
  }

  stream(server: Endpoint, query: Uint8Array, signal: AbortSignal): Promise<Uint8Array> {
    return new Promise((resolve, reject) => {
      signal.addEventListener('abort', () => reject(signal.reason), { once: true });
      const code = this.#serve(server, query, true, (bytes) => {
        this.clock.setTimer(this.clock.now() + 10, () => resolve(bytes));
      });
      if (code !== null) reject(new NetError(code, 'connect'));
    });
  }
}

/** The bytes of an answer to `query`. */
export const answer = (query: dns.Message, fields: Partial<dns.Message>): Uint8Array =>
  dns.emit({
    id: query.id,
    isResponse: true,
    recursionAvailable: true,
    recursionDesired: query.recursionDesired,
    questions: query.questions,
    ...fields,
  });

/** A server that knows these records, follows aliases, and says NXDOMAIN with an SOA of `minimum` for the rest. */
export function zone(records: readonly dns.ResourceRecord[], minimum = 60): (query: Query) => Reply {
  return ({ name, type }) => {
    const answers: dns.ResourceRecord[] = [];
    let at = name;
    for (let i = 0; i < 20; i++) {
      const own = records.filter((r) => dns.sameName(r.name, at));
      const alias = own.find((r): r is dns.RecordOf<'CNAME'> => r.type === 'CNAME');
      const wanted = own.filter((r) => r.type === type);
      answers.push(...(wanted.length > 0 || alias === undefined ? wanted : [alias]));
      if (wanted.length > 0) return { answers };
      if (alias === undefined) {
        const rcode = own.length === 0 ? dns.NXDOMAIN : dns.NOERROR;
        return { rcode, answers, authorities: [soa('.', minimum)] };
      }
      at = alias.target;
    }
    return { answers };
  };
}
