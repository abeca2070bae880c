/** Names of a host: its resolver, and addresses for the calls that take a name. @module */
import { type HostsTable, type LookupOptions, type RecordOf, type RecordType, Resolver } from '../dns/index.ts';
import { NetError } from '../errors.ts';
import { sortDestinations } from '../iface/address-selection.ts';
import { IpAddress, parseIp } from '../wire/address.ts';
import { PORT as DNS_PORT, isName } from '../wire/dns.ts';
import { type DialOptions, dial } from './dial.ts';
import { HostTransport } from './dns-transport.ts';
import { Race } from './happy-eyeballs.ts';
import type { StackLoop } from './loop.ts';
import type { TcpStream } from './tcp-stream.ts';

export interface NamesOptions {
  /** Name servers, `10.0.0.53` or `10.0.0.53:5353`, `[fd00::53]:5353`; at most 8 are asked. */
  readonly nameServers?: readonly string[];
  /** Domains tried behind a name with fewer dots than `ndots`. */
  readonly searchDomains?: readonly string[];
  /** Dots from which on a name is tried as it is first; default 1. */
  readonly ndots?: number;
  /** Names with their addresses, which no server is asked for. */
  readonly hosts?: HostsTable;
}

export interface ResolveOptions<T extends RecordType | undefined = RecordType | undefined> {
  /** Addresses of this family only; by default of both. Not together with `type`. */
  readonly family?: 4 | 6 | undefined;
  /** Records of this type instead of addresses. */
  readonly type?: T;
  readonly signal?: AbortSignal | undefined;
}

/** Strings for addresses, records for the other types. */
export type Resolved<T extends RecordType | undefined> = T extends undefined | 'A' | 'AAAA'
  ? string
  : RecordOf<Exclude<T, undefined>>;

const LOOPBACK = IpAddress.v4(0x7f000001);

/** An address of this host's own, for `bind` and `listen`: no name but `localhost`. */
export function ownAddress({ stack }: StackLoop, host: string, syscall: string): IpAddress {
  checkHost(host);
  const address = host === 'localhost' ? LOOPBACK : stack.ip.parse(host);
  if (address !== null) return address;
  throw new NetError('ENOTFOUND', syscall, { address: host });
}

function checkHost(host: unknown): asserts host is string {
  if (typeof host !== 'string') throw new TypeError(`host: expected an address as a string, got ${typeof host}`);
}

export class Names {
  readonly resolver: Resolver;
  readonly #loop: StackLoop;

  /** @throws TypeError, RangeError for servers, domains or a table that are none */
  constructor(loop: StackLoop, options: NamesOptions) {
    this.#loop = loop;
    this.resolver = new Resolver(new HostTransport(loop), { hosts: options.hosts, ndots: options.ndots });
    const { nameServers = [], searchDomains = [] } = options;
    const wrong = searchDomains.find((domain) => typeof domain !== 'string' || !isName(domain));
    if (wrong !== undefined) {
      throw new TypeError(`searchDomains: expected domain names, got ${JSON.stringify(wrong)}`);
    }
    this.resolver.setServers('static', nameServers.map(readServer), searchDomains);
  }

  /** The address that `host` is, or null for a name. */
  numeric(host: string): IpAddress | null {
    checkHost(host);
    return this.#loop.stack.ip.parse(host);
  }

  async resolve<T extends RecordType | undefined>(name: string, options: ResolveOptions<T>): Promise<Resolved<T>[]> {
    const { family, type, signal } = options;
    this.#loop.assertOpen('resolve');
    if (family !== undefined && family !== 4 && family !== 6) {
      throw new RangeError(`family: expected 4 or 6, got ${String(family)}`);
    }
    try {
      if (type === undefined) {
        const addresses = await this.resolver.lookup(name, {
          signal,
          ...(family === undefined ? {} : { families: [family] }),
        });
        return this.sort(addresses).map(String) as Resolved<T>[];
      }
      const records = await this.resolver.resolve(name, type, { signal });
      const isAddress = type === 'A' || type === 'AAAA';
      const plain = records.map((r) => (isAddress ? `${(r as RecordOf<'A' | 'AAAA'>).address}` : r));
      return plain as Resolved<T>[];
    } catch (error) {
      throw this.#told(error, 'resolve');
    }
  }

  /** One address for a datagram: of the family preferred, as RFC 8305 §3 waits for it. */
  async address(host: string, syscall: string, signal?: AbortSignal): Promise<IpAddress> {
    const numeric = this.numeric(host);
    if (numeric !== null) return numeric;
    const found = await this.race(
      host,
      syscall,
      { signal },
      (address) => Promise.resolve(address),
      () => {},
    );
    this.#loop.assertOpen(syscall);
    return found;
  }

  /** Connects to a name: Happy Eyeballs. */
  connect(host: string, port: number, options: DialOptions): Promise<TcpStream> {
    const { signal: _, timeout: __, ...rest } = options;
    const attempt = (address: IpAddress, signal: AbortSignal): Promise<TcpStream> =>
      dial(this.#loop, address, port, { ...rest, signal });
    return this.race(host, 'connect', options, attempt, (stream) => stream.abort());
  }

  /** The first of the addresses of a name, as they come and in turn, with which `attempt` succeeds. */
  race<T>(
    host: string,
    syscall: string,
    options: DialOptions,
    attempt: (address: IpAddress, signal: AbortSignal) => Promise<T>,
    discard: (value: T) => void,
  ): Promise<T> {
    const loop = this.#loop;
    const { clock } = loop;
    const { signal, timeout, localAddress } = options;
    const race = new Race<T>({ clock, sort: (addresses) => this.sort(addresses), attempt, discard });
    const asking = new AbortController();
    const onAbort = (): void => race.cancel(signal!.reason);
    const onClose = (): void => race.cancel(canceled(syscall));
    const late = (): void => race.cancel(new NetError('ETIMEDOUT', syscall, { address: host }));
    const timer = timeout === undefined ? 0 : clock.setTimer(clock.now() + timeout, late);
    signal?.addEventListener('abort', onAbort, { once: true });
    loop.closers.add(onClose);
    loop.hold(1);
    const lookup: LookupOptions = {
      signal: asking.signal,
      ...(localAddress === undefined ? {} : { families: [localAddress.family] }),
      onFamily: (_family, addresses) => race.add(addresses),
    };
    this.resolver.lookup(host, lookup).then(
      () => race.end(new NetError('ENOTFOUND', syscall, { address: host })),
      (error) => race.end(this.#told(error, syscall)),
    );
    return race.result.finally(() => {
      loop.hold(-1);
      loop.closers.delete(onClose);
      signal?.removeEventListener('abort', onAbort);
      if (timer !== 0) clock.clearTimer(timer);
      asking.abort();
    });
  }

  /** An error of the resolver, as the call that needed the name tells it. */
  #told(error: unknown, syscall: string): unknown {
    if (this.#loop.isClosed) return canceled(syscall);
    if (!(error instanceof NetError) || error.syscall === syscall) return error;
    return new NetError(error.code, syscall, { address: error.address });
  }

  /** Addresses in the order to try: RFC 6724 §6. */
  sort(addresses: readonly IpAddress[]): IpAddress[] {
    return sortDestinations(this.#loop.stack.ip, addresses);
  }
}

const canceled = (syscall: string): NetError => new NetError('ECANCELED', syscall, { detail: 'the host is closed' });

/** `address`, `v4:port` or `[v6]:port`. */
function readServer(text: string): { address: IpAddress; port: number } {
  const match = /^\[([^\]]+)\](?::(\d{1,5}))?$/.exec(text) ?? /^([\d.]+)(?::(\d{1,5}))?$/.exec(text);
  const address = parseIp(match?.[1] ?? text);
  const port = match?.[2] === undefined ? DNS_PORT : Number(match[2]);
  if (address !== null && port >= 1 && port <= 65_535) return { address, port };
  throw new TypeError(`nameServers: expected an address like 10.0.0.53 or [fd00::53]:53, got ${JSON.stringify(text)}`);
}
