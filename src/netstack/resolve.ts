/** Names over a channel: the resolver of `ethertype/dns`, whose sockets are the channel's. @module */
import {
  type DnsDrop,
  type DnsTransport,
  type Endpoint,
  type HostsTable,
  type QueryHandler,
  type QuerySocket,
  Resolver,
} from '../dns/index.ts';
import { NetError } from '../errors.ts';
import { realClock, secureRandom } from '../sockets/real-clock.ts';
import type { TcpStream } from '../sockets/tcp-stream.ts';
import { IpAddress } from '../wire/address.ts';
import type { HasChannel } from './channel.ts';
import { tcpConnect, udpConnect } from './create-socket.ts';

/** Messages that wait until the socket of a query is there. */
const WAITING_MAX = 4;

class ChannelTransport implements DnsTransport {
  readonly clock = realClock;
  readonly random = secureRandom();
  /** Messages that were dropped, by their reason. */
  readonly drops: Partial<Record<DnsDrop, number>> = {};
  readonly #of: HasChannel;

  constructor(of: HasChannel) {
    this.#of = of;
  }

  drop(reason: DnsDrop): void {
    this.drops[reason] = (this.drops[reason] ?? 0) + 1;
  }

  open({ address, port }: Endpoint, handler: QueryHandler): QuerySocket {
    const waiting: Uint8Array[] = [];
    const abort = new AbortController();
    let send = (data: Uint8Array): void => {
      if (waiting.length < WAITING_MAX) waiting.push(data);
    };
    const run = async (): Promise<void> => {
      await using socket = await udpConnect(this.#of, { host: address.toString(), port });
      send = (data) => void socket.send(data).catch(() => {});
      for (const data of waiting) send(data);
      while (!abort.signal.aborted) handler.message((await socket.receive({ signal: abort.signal })).data);
    };
    run().catch((error: unknown) => {
      if (!abort.signal.aborted) handler.failed(error instanceof NetError ? error.code : 'ECANCELED');
    });
    return { send: (data) => send(data), close: () => abort.abort() };
  }

  async stream({ address, port }: Endpoint, query: Uint8Array, signal: AbortSignal): Promise<Uint8Array> {
    await using stream = await tcpConnect(this.#of, { host: address.toString(), port, signal });
    // RFC 7766 §8: length and message in one write, so that they leave in one segment.
    const framed = new Uint8Array(2 + query.length);
    framed.set([query.length >> 8, query.length & 0xff]);
    framed.set(query, 2);
    await stream.write(framed);
    const length = await readExactly(stream, 2, signal);
    return readExactly(stream, (length[0]! << 8) | length[1]!, signal);
  }
}

async function readExactly(stream: TcpStream, length: number, signal: AbortSignal): Promise<Uint8Array> {
  const data = new Uint8Array(length);
  for (let at = 0; at < length; ) {
    const count = await stream.readInto(data.subarray(at), { signal });
    if (count === 0) throw new NetError('ECONNRESET', 'resolve', { detail: 'the server ended within an answer' });
    at += count;
  }
  return data;
}

export interface ChannelResolverOptions {
  /** Addresses of name servers. */
  readonly nameServers: readonly string[];
  readonly searchDomains?: readonly string[];
  /** Names with their addresses, which no server is asked for. */
  readonly hosts?: HostsTable;
}

/**
 * A resolver whose queries go through the stack behind a channel; it may be kept, for it has a cache.
 * @example const [address] = await resolverOver(channel, { nameServers: ['10.0.0.53'] }).lookup('example.com')
 */
export function resolverOver(of: HasChannel, options: ChannelResolverOptions): Resolver {
  const resolver = new Resolver(new ChannelTransport(of), { hosts: options.hosts });
  const servers = options.nameServers.map((text) => ({ address: IpAddress.parse(text) }));
  resolver.setServers('static', servers, options.searchDomains ?? []);
  return resolver;
}
