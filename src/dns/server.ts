/**
 * A small name server for LANs in memory: authority over a table (`zone.ts`), all else forwarded through a resolver; UDP
 * and TCP. RFC 1035 §7.3, RFC 7766, RFC 6891. Missing on purpose: zone transfer, update, DNSSEC. @module
 */
import { NetError } from '../errors.ts';
import type { Clock } from '../sim/clock.ts';
import {
  BADVERS,
  CLASS_ANY,
  CLASS_IN,
  emit,
  FORMERR,
  HEADER_LENGTH,
  type Message,
  message,
  NOTIMP,
  OPCODE_QUERY,
  PORT,
  parse,
  type Question,
  REFUSED,
  type RecordType,
  type ResourceRecord,
  SERVFAIL,
  UDP_BYTES,
} from '../wire/dns.ts';
import type { Resolver } from './resolver.ts';
import type { DnsDrop } from './transport.ts';
import { EDNS_BYTES } from './upstream.ts';
import { Zone, type ZoneOptions } from './zone.ts';

/** Questions forwarded at once; more are dropped, and asked again by whoever asked. */
const FORWARDED_MAX = 512;
/** Connections open at once; more are closed at once. */
const CONNECTIONS_MAX = 64;
/** RFC 7766 §6.2.3: how long a silent connection is kept. */
const IDLE_MS = 10_000;
/** Types that are no records: RFC 1035 §3.2.3, RFC 5936. */
const REFUSED_TYPES: readonly RecordType[] = ['AXFR', 'OPT', 'TYPE251', 'TYPE249', 'TYPE250'];

interface Stream {
  readInto(buffer: Uint8Array, options?: { signal?: AbortSignal }): Promise<number>;
  write(data: Uint8Array): Promise<void>;
  close(): Promise<void>;
  abort(): void;
}

/** A datagram with a question; the answer leaves from where it was asked. */
interface Asked {
  readonly data: Uint8Array;
  readonly address: string;
  readonly port: number;
  readonly localAddress: string;
}

/** What of a host a server uses. */
export interface ServerHost {
  readonly clock: Clock;
  readonly stats: { drop(reason: DnsDrop): void };
  readonly udp: {
    bind(options: { port: number; host?: string }): Promise<
      AsyncIterable<Asked> & {
        send(data: Uint8Array, to: { host: string; port: number; localAddress: string }): Promise<void>;
        close(): Promise<void>;
      }
    >;
  };
  readonly tcp: {
    listen(options: { port: number; host?: string }): Promise<AsyncIterable<Stream> & { close(): Promise<void> }>;
  };
}

export interface DnsServerOptions extends ZoneOptions {
  /** Who is asked what the table does not know; by default it is refused. Often `host.resolver`. */
  readonly forward?: Pick<Resolver, 'follow'>;
  /** Default 53. */
  readonly port?: number;
  /** The address to listen on; by default all. */
  readonly host?: string;
}

type Datagrams = Awaited<ReturnType<ServerHost['udp']['bind']>>;
type Listener = Awaited<ReturnType<ServerHost['tcp']['listen']>>;

/**
 * @example
 * const server = await DnsServer.start(router, { domains: ['lan'], hosts: { 'router.lan': '10.0.0.1' }, forward: router.resolver })
 */
export class DnsServer {
  /** The table; it may change while the server runs. */
  readonly zone: Zone;
  readonly #host: ServerHost;
  readonly #forward: Pick<Resolver, 'follow'> | null;
  readonly #streams = new Set<Stream>();
  #datagrams: Datagrams | null = null;
  #listener: Listener | null = null;
  #forwarded = 0;

  private constructor(host: ServerHost, options: DnsServerOptions) {
    this.#host = host;
    this.zone = new Zone(options);
    this.#forward = options.forward ?? null;
  }

  /** @throws NetError EADDRINUSE, EADDRNOTAVAIL; TypeError, RangeError for a table that is none */
  static async start(host: ServerHost, options: DnsServerOptions = {}): Promise<DnsServer> {
    const server = new DnsServer(host, options);
    const where = { port: options.port ?? PORT, ...(options.host === undefined ? {} : { host: options.host }) };
    const datagrams = await host.udp.bind(where);
    server.#datagrams = datagrams;
    try {
      server.#listener = await host.tcp.listen(where);
    } catch (error) {
      await datagrams.close();
      throw error;
    }
    void server.#serveDatagrams(datagrams);
    void server.#serveStreams(server.#listener);
    return server;
  }

  /** Ends it: open connections are reset, and what is still forwarded finds nobody to answer. */
  async close(): Promise<void> {
    for (const stream of this.#streams) stream.abort();
    await this.#datagrams?.close();
    await this.#listener?.close();
  }

  async #serveDatagrams(socket: Datagrams): Promise<void> {
    for await (const { data, address, port, localAddress } of socket) {
      // Each question takes its own time; a full device or a route that is gone loses the answer, as the network may.
      void this.#answer(data, false)
        .then((answer) => answer && socket.send(answer, { host: address, port, localAddress }))
        .catch(ignoreNetError);
    }
  }

  async #serveStreams(listener: Listener): Promise<void> {
    for await (const stream of listener) {
      if (this.#streams.size >= CONNECTIONS_MAX) {
        this.#host.stats.drop('dns-server-busy');
        stream.abort();
        continue;
      }
      this.#streams.add(stream);
      void this.#serveStream(stream)
        .catch((error: unknown) => {
          stream.abort();
          ignoreNetError(error);
        })
        .finally(() => this.#streams.delete(stream));
    }
  }

  /** Questions one after the other, each with its length in front: RFC 1035 §4.2.2. */
  async #serveStream(stream: Stream): Promise<void> {
    const length = new Uint8Array(2);
    while (await this.#fill(stream, length)) {
      const query = new Uint8Array((length[0]! << 8) | length[1]!);
      if (!(await this.#fill(stream, query))) break;
      const answer = await this.#answer(query, true);
      if (answer === null) break;
      const framed = new Uint8Array(2 + answer.length);
      framed.set([answer.length >> 8, answer.length & 0xff]);
      framed.set(answer, 2);
      await stream.write(framed);
    }
    await stream.close();
  }

  /** Fills `buffer`, or says that the stream ended, or nothing came for too long. */
  async #fill(stream: Stream, buffer: Uint8Array): Promise<boolean> {
    const { clock } = this.#host;
    const idle = new AbortController();
    const timer = clock.setTimer(clock.now() + IDLE_MS, () => idle.abort());
    try {
      for (let at = 0; at < buffer.length; ) {
        const count = await stream.readInto(buffer.subarray(at), { signal: idle.signal });
        if (count === 0) return false;
        at += count;
      }
      return true;
    } catch (error) {
      if (idle.signal.aborted) return false;
      throw error;
    } finally {
      clock.clearTimer(timer);
    }
  }

  /** The bytes of the answer to what came, or null: nothing is said to what is no question. */
  async #answer(data: Uint8Array, overTcp: boolean): Promise<Uint8Array | null> {
    const query = parse(data);
    const { stats } = this.#host;
    if (typeof query === 'string') {
      stats.drop(query);
      // A response that cannot be read must not be answered, or two servers would go on for ever.
      if (data.length < HEADER_LENGTH || (data[2]! & 0x80) !== 0) return null;
      return emit({ id: (data[0]! << 8) | data[1]!, isResponse: true, rcode: FORMERR });
    }
    if (query.isResponse) {
      stats.drop('dns-not-a-query');
      return null;
    }
    const answer = await this.#respond(query);
    if (answer === null) return null;
    // RFC 6891 §6.2.5: no more than the asker takes, and no more than any path carries whole.
    const datagramBytes = Math.min(EDNS_BYTES, query.edns?.payloadBytes ?? UDP_BYTES);
    return emit(answer, overTcp ? {} : { bytesMax: datagramBytes });
  }

  async #respond(query: Message): Promise<Message | null> {
    const reply = (fields: Partial<Message>): Message =>
      message({
        id: query.id,
        isResponse: true,
        opcode: query.opcode,
        recursionDesired: query.recursionDesired,
        recursionAvailable: this.#forward !== null,
        questions: query.questions,
        // RFC 6891 §6.1.1: OPT in the answer where it was in the query.
        edns: query.edns === null ? null : { payloadBytes: EDNS_BYTES, version: 0, dnssecOk: false },
        ...fields,
      });
    const [question, ...more] = query.questions;
    if (query.opcode !== OPCODE_QUERY) return reply({ rcode: NOTIMP, questions: [] });
    if (question === undefined || more.length > 0) return reply({ rcode: FORMERR, questions: [] });
    if (query.edns !== null && query.edns.version > 0) return reply({ rcode: BADVERS }); // RFC 6891 §6.1.3
    const isIn = question.class === CLASS_IN || question.class === CLASS_ANY;
    if (!isIn || REFUSED_TYPES.includes(question.type)) return reply({ rcode: REFUSED });
    return this.#lookUp(question, query.recursionDesired, reply);
  }

  async #lookUp(
    { name, type }: Question,
    recursionDesired: boolean,
    reply: (fields: Partial<Message>) => Message,
  ): Promise<Message | null> {
    const own = this.zone.answer(name, type);
    const next = own === null ? name : own.leadsTo;
    const canForward = this.#forward !== null && recursionDesired;
    if (own !== null && (next === null || !canForward)) return reply({ ...own, isAuthoritative: true });
    if (!canForward) return reply({ rcode: REFUSED });
    const rest = await this.#ask(next!, type);
    if (rest === null) return null;
    return reply({ ...rest, answers: [...(own?.answers ?? []), ...rest.answers], isAuthoritative: own !== null });
  }

  /** Asks on behalf of somebody; null: too many do at once. */
  async #ask(
    name: string,
    type: RecordType,
  ): Promise<{ rcode: number; answers: readonly ResourceRecord[]; authorities: readonly ResourceRecord[] } | null> {
    if (this.#forwarded >= FORWARDED_MAX) {
      this.#host.stats.drop('dns-server-busy');
      return null;
    }
    this.#forwarded++;
    try {
      const found = await this.#forward!.follow(name, type);
      const { rcode, aliases, records, soa } = found;
      return { rcode, answers: [...aliases, ...records], authorities: soa === undefined ? [] : [soa] };
    } catch (error) {
      ignoreNetError(error);
      return { rcode: SERVFAIL, answers: [], authorities: [] };
    } finally {
      this.#forwarded--;
    }
  }
}

/** What the network does to one asker is nothing to the server; anything else is a fault of ours. */
function ignoreNetError(error: unknown): void {
  if (!(error instanceof NetError)) throw error;
}
