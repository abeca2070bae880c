/** The machine's resolver: its name servers, asked by its own sockets, and its table of hosts. @module */
import { createSocket } from 'node:dgram';
import { getServers } from 'node:dns';
import { readFileSync } from 'node:fs';
import { connect } from 'node:net';
import type { DnsTransport, Endpoint, HostsTable, QueryHandler, QuerySocket } from '../dns/index.ts';
import { Resolver } from '../dns/index.ts';
import { type ErrorCode, NetError } from '../errors.ts';
import { realClock, secureRandom } from '../sockets/real-clock.ts';
import { type IpAddress, parseIp } from '../wire/address.ts';
import { isName } from '../wire/dns.ts';

const random = secureRandom();
const STREAM_BYTES_MAX = 2 + 65_535;

class MachineTransport implements DnsTransport {
  readonly clock = realClock;

  random(): number {
    return random();
  }

  /** The stack counts what is dropped between it and its guests; this is the machine's. */
  drop(): void {}

  open(server: Endpoint, handler: QueryHandler): QuerySocket {
    const socket = createSocket(server.address.isV4 ? 'udp4' : 'udp6');
    const waiting: Uint8Array[] = [];
    let state: 'opening' | 'open' | 'closed' = 'opening';
    const fail = (error: NodeJS.ErrnoException): void => handler.failed((error.code ?? 'EIO') as ErrorCode);
    socket.on('error', fail);
    socket.on('message', (data) => handler.message(new Uint8Array(data)));
    socket.connect(server.port, `${server.address}`, (error?: Error) => {
      if (state === 'closed') return;
      if (error) {
        fail(error);
        return;
      }
      state = 'open';
      for (const data of waiting) socket.send(data, () => {});
    });
    return {
      send: (data) => {
        if (state === 'open') socket.send(data, () => {});
        else if (state === 'opening') waiting.push(data);
      },
      close: () => {
        if (state === 'closed') return;
        state = 'closed';
        socket.close();
      },
    };
  }

  stream(server: Endpoint, query: Uint8Array, signal: AbortSignal): Promise<Uint8Array> {
    return new Promise((resolve, reject) => {
      const socket = connect({ host: `${server.address}`, port: server.port, signal });
      const got = Buffer.alloc(STREAM_BYTES_MAX);
      let length = 0;
      socket.once('connect', () => {
        const framed = new Uint8Array(2 + query.length);
        framed.set([query.length >> 8, query.length & 0xff]);
        framed.set(query, 2);
        socket.write(framed);
      });
      socket.on('data', (chunk) => {
        length += chunk.copy(got, length);
        const wanted = length < 2 ? Number.POSITIVE_INFINITY : 2 + got.readUInt16BE(0);
        if (length < wanted) return;
        resolve(new Uint8Array(got.subarray(2, wanted)));
        socket.destroy();
      });
      socket.on('error', reject);
      socket.on('close', () => reject(new NetError('ECONNRESET', 'resolve', { address: `${server.address}` })));
    });
  }
}

/** `10.0.0.53`, `10.0.0.53:5353`, `[fd00::53]:5353`, as node:dns writes them. */
function readServer(text: string): { address: IpAddress; port?: number } | null {
  const match = /^\[(.+)\](?::(\d+))?$/.exec(text) ?? /^([\d.]+):(\d+)$/.exec(text);
  const address = parseIp(match?.[1] ?? text);
  if (address === null) return null;
  return match?.[2] === undefined ? { address } : { address, port: Number(match[2]) };
}

/** The table in /etc/hosts, but for loopback addresses, which mean another host to whoever asks here. */
export function readHosts(path = '/etc/hosts'): HostsTable {
  let text = '';
  try {
    text = readFileSync(path, 'utf8');
  } catch {
    return {}; // a machine may have none
  }
  const table: Record<string, string[]> = {};
  for (const line of text.split('\n')) {
    const [address, ...names] = line.replace(/#.*$/, '').trim().split(/\s+/);
    const parsed = parseIp(address ?? '');
    if (parsed === null || parsed.isLoopback || parsed.isMulticast || parsed.isLinkLocal) continue;
    for (const name of names.filter(isName)) {
      table[name] ??= [];
      table[name].push(`${parsed}`);
    }
  }
  return table;
}

export interface MachineResolverOptions {
  /** Who is asked; by default whom the machine asks. */
  readonly nameServers?: readonly string[] | undefined;
  /** Names beside those of the machine's own table. */
  readonly hosts?: HostsTable | undefined;
}

/** @throws TypeError for a name server or a table that is none */
export function machineResolver({ nameServers, hosts }: MachineResolverOptions = {}): Resolver {
  const resolver = new Resolver(new MachineTransport(), { hosts: { ...readHosts(), ...hosts } });
  const servers = (nameServers ?? getServers()).map((text) => {
    const server = readServer(text);
    if (server !== null || nameServers === undefined) return server;
    throw new TypeError(`nameServers: expected addresses, got ${JSON.stringify(text)}`);
  });
  resolver.setServers(
    'static',
    servers.filter((server) => server !== null),
  );
  return resolver;
}
