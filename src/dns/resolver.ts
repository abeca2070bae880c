/**
 * The resolver of a host: RFC 1034 §5.3.1 (a stub that asks recursive servers), with a cache, aliases followed, a search
 * list, and names that are known without asking. @module
 */
import { NetError } from '../errors.ts';
import type { IpAddress } from '../wire/address.ts';
import {
  addressOfReverse,
  isName,
  isUnder,
  type Message,
  NOERROR,
  NXDOMAIN,
  nameKey,
  normalName,
  question,
  type RecordOf,
  type RecordType,
  type ResourceRecord,
  reverseName,
  sameName,
  typeNumber,
} from '../wire/dns.ts';
import { type Answer, Cache } from './cache.ts';
import { candidates, Hosts, type HostsTable, numericAddress } from './hosts.ts';
import { type DnsTransport, type Endpoint, PORT } from './transport.ts';
import { Upstream, type UpstreamOptions } from './upstream.ts';

/** Aliases that one name may lead through. */
const ALIASES_MAX = 16;
/** Questions under way at once; more are refused. */
const QUESTIONS_MAX = 256;
/** Domains of the search list that count. */
const SEARCH_MAX = 16;
/** A name with fewer dots is tried under the search list first: resolv.conf(5). */
const NDOTS_DEFAULT = 1;
/** Where servers may come from, the most trusted first; others stand behind. */
const SOURCES: readonly string[] = ['static', 'dhcp', 'ra'];

export type Family = 4 | 6;

export interface ResolverOptions extends UpstreamOptions {
  readonly hosts?: HostsTable | undefined;
  /** Default 1. */
  readonly ndots?: number | undefined;
}

/** Answers `.local` and what belongs to the link: mDNS, where it is on. */
export interface LinkResolver {
  /** The records there are within a short while. @throws the signal's reason */
  query(name: string, type: RecordType, signal: AbortSignal): Promise<Answer>;
}

export interface QueryOptions {
  readonly signal?: AbortSignal | undefined;
}

export interface LookupOptions extends QueryOptions {
  /** Families wanted; by default both. */
  readonly families?: readonly Family[] | undefined;
  /** Called for each family that has addresses, as soon as it is known. */
  readonly onFamily?: ((family: Family, addresses: readonly IpAddress[]) => void) | undefined;
}

/** Aliases that were followed, and what stands at their end. */
export interface Resolution extends Answer {
  /** The name at the end of the aliases. */
  readonly name: string;
  readonly aliases: readonly RecordOf<'CNAME'>[];
}

interface Source {
  readonly servers: readonly Endpoint[];
  readonly search: readonly string[];
}

/** One question that several may wait for. */
interface Shared {
  readonly promise: Promise<Resolution>;
  readonly controller: AbortController;
  users: number;
}

export class Resolver {
  /** The servers; forwarders ask them directly. */
  readonly upstream: Upstream;
  readonly #transport: DnsTransport;
  readonly #hosts: Hosts;
  readonly #ndots: number;
  readonly #cache = new Cache();
  readonly #sources = new Map<string, Source>();
  readonly #shared = new Map<string, Shared>();
  #link: LinkResolver | null = null;

  constructor(transport: DnsTransport, options: ResolverOptions = {}) {
    this.#transport = transport;
    this.upstream = new Upstream(transport, options);
    this.#hosts = new Hosts(options.hosts);
    this.#ndots = options.ndots ?? NDOTS_DEFAULT;
  }

  /** The domains that are tried behind a short name. */
  get search(): readonly string[] {
    return this.#inOrder()
      .flatMap((source) => source.search)
      .slice(0, SEARCH_MAX);
  }

  get servers(): readonly Endpoint[] {
    return this.upstream.servers;
  }

  /** Sets of records in the cache. */
  get cached(): number {
    return this.#cache.size;
  }

  /**
   * Sets the servers and the search list that one source knows: `static`, `dhcp` or `ra`, asked in that order; a word
   * behind it tells sources of one kind apart, `dhcp eth1`. Empty
   * lists take back what it said before. Where the servers change, the cache is emptied.
   * @param search - domains; what is no name is left out, for it may come from the network
   */
  setServers(
    source: string,
    servers: readonly { readonly address: IpAddress; readonly port?: number }[],
    search: readonly string[] = [],
  ): void {
    this.#sources.set(source, {
      servers: servers.map(({ address, port = PORT }) => ({ address, port })),
      search: search.filter(isName).map(normalName),
    });
    if (this.upstream.setServers(this.#inOrder().flatMap(({ servers: list }) => list))) this.#cache.clear();
  }

  #inOrder(): Source[] {
    const rank = (name: string): number => {
      const at = SOURCES.indexOf(name.split(' ', 1)[0]!);
      return at < 0 ? SOURCES.length : at;
    };
    return [...this.#sources].sort(([a], [b]) => rank(a) - rank(b)).map(([, source]) => source);
  }

  /** Names of the link go to `link` from now on; null: to the servers, as all others. */
  setLink(link: LinkResolver | null): void {
    this.#link = link;
  }

  /**
   * The addresses of a name, of both families as they come; an address is its own.
   * @throws NetError ENOTFOUND, ETIMEDOUT, EAI_AGAIN; the signal's reason
   */
  async lookup(name: string, options: LookupOptions = {}): Promise<IpAddress[]> {
    const { families = [6, 4], onFamily, signal } = options;
    signal?.throwIfAborted();
    const numeric = numericAddress(checkName(name));
    if (numeric !== null) {
      if (!families.includes(numeric.family)) throw notFound(name);
      onFamily?.(numeric.family, [numeric]);
      return [numeric];
    }
    const search = new Search();
    for (const candidate of this.#candidates(name)) {
      const addresses = await search.try(() => this.#families(candidate, { ...options, families }, search));
      if (addresses !== null && addresses.length > 0) return addresses;
    }
    throw search.error(notFound(name), name);
  }

  async #families(name: string, options: LookupOptions, search: Search): Promise<IpAddress[]> {
    const { families = [], signal, onFamily } = options;
    const one = async (family: Family): Promise<IpAddress[]> => {
      const { rcode, records } = await this.follow(name, family === 4 ? 'A' : 'AAAA', { signal });
      search.exists ||= rcode === NOERROR;
      const addresses = records.flatMap((r) => (r.type === 'A' || r.type === 'AAAA' ? [r.address] : []));
      if (addresses.length > 0) onFamily?.(family, addresses);
      return addresses;
    };
    const settled = await Promise.allSettled(families.map(one));
    const addresses = settled.flatMap((result) => (result.status === 'fulfilled' ? result.value : []));
    // One family is enough: servers exist that never answer the other.
    const failure = settled.find((result) => result.status === 'rejected');
    if (addresses.length === 0 && failure !== undefined) throw failure.reason;
    return addresses;
  }

  /**
   * The records of one type, aliases followed, under the search list. An address has its PTR records.
   * @throws NetError ENOTFOUND where the name does not exist, ENODATA where it has none of that type, ETIMEDOUT, EAI_AGAIN;
   * TypeError for a type that is none; the signal's reason
   */
  async resolve<T extends RecordType>(name: string, type: T, options: QueryOptions = {}): Promise<RecordOf<T>[]> {
    return [...(await this.query(name, type, options)).records] as RecordOf<T>[];
  }

  /** {@link resolve}, with the aliases that led there. */
  async query(name: string, type: RecordType, options: QueryOptions = {}): Promise<Resolution> {
    options.signal?.throwIfAborted();
    if (typeof type !== 'string' || typeNumber(type) < 0) {
      throw new TypeError(`type: expected a record type like AAAA or TXT, got ${JSON.stringify(type)}`);
    }
    const numeric = type === 'PTR' ? numericAddress(checkName(name)) : null;
    const search = new Search();
    for (const candidate of numeric === null ? this.#candidates(name) : [`${reverseName(numeric)}.`]) {
      const resolution = await search.try(() => this.follow(candidate, type, options));
      if (resolution !== null && resolution.records.length > 0) return resolution;
      search.exists ||= resolution?.rcode === NOERROR;
    }
    throw search.error(new NetError('ENODATA', 'resolve', { address: name }), name);
  }

  #candidates(name: string): string[] {
    const ascii = toAscii(checkName(name));
    return candidates(ascii, this.search, this.#ndots).filter(isName);
  }

  /** What one whole name has of one type; equal questions that are under way are asked once. */
  async follow(name: string, type: RecordType, options: QueryOptions = {}): Promise<Resolution> {
    const { signal } = options;
    signal?.throwIfAborted();
    const whole = normalName(name);
    const key = `${type} ${nameKey(whole)}`;
    let shared = this.#shared.get(key);
    if (shared === undefined) {
      if (this.#shared.size >= QUESTIONS_MAX) {
        throw new NetError('ENOBUFS', 'resolve', { address: name, detail: 'too many questions are under way' });
      }
      const controller = new AbortController();
      shared = { promise: this.#follow(whole, type, controller.signal), controller, users: 0 };
      this.#shared.set(key, shared);
      const done = (): void => this.#forget(key, shared!);
      shared.promise.then(done, done); // those who wait are told; nobody may be left
    }
    return this.#wait(key, shared, signal);
  }

  /** Waits for a shared question; when the last one leaves, it ends. */
  #wait(key: string, shared: Shared, signal: AbortSignal | undefined): Promise<Resolution> {
    shared.users++;
    if (signal === undefined) return shared.promise;
    return new Promise((resolve, reject) => {
      const onAbort = (): void => {
        reject(signal.reason);
        if (--shared.users > 0) return;
        this.#forget(key, shared);
        shared.controller.abort(signal.reason);
      };
      signal.addEventListener('abort', onAbort, { once: true });
      const done = (): void => signal.removeEventListener('abort', onAbort);
      shared.promise.finally(done).then(resolve, reject);
    });
  }

  /** A question that is over makes room, unless the same one has been asked anew meanwhile. */
  #forget(key: string, shared: Shared): void {
    if (this.#shared.get(key) === shared) this.#shared.delete(key);
  }

  async #follow(name: string, type: RecordType, signal: AbortSignal): Promise<Resolution> {
    const aliases: RecordOf<'CNAME'>[] = [];
    let at = name;
    while (aliases.length <= ALIASES_MAX) {
      const known = this.#known(at, type);
      if (known !== null) return { ...known, name: at, aliases };
      const alias = this.#cachedAlias(at, type);
      if (alias !== null) {
        aliases.push(alias);
        at = alias.target;
        continue;
      }
      if (this.#link !== null && isOfLink(at)) {
        return { ...(await this.#link.query(at, type, signal)), name: at, aliases };
      }
      const answer = await this.upstream.query(question(at, type), signal);
      const { end, records, isFinal, via, soa } = this.#absorb(answer, at, type);
      aliases.push(...via);
      at = end;
      if (isFinal) return { rcode: answer.rcode === NXDOMAIN ? NXDOMAIN : NOERROR, records, name: at, aliases, soa };
    }
    throw new NetError('EAI_AGAIN', 'resolve', { address: name, detail: `${name} leads through too many aliases` });
  }

  #known(name: string, type: RecordType): Answer | null {
    return this.#hosts.answer(name, type) ?? this.#cache.get(name, type, this.#transport.clock.now());
  }

  #cachedAlias(name: string, type: RecordType): RecordOf<'CNAME'> | null {
    if (!isFollowed(type)) return null;
    return this.#cache.get(name, 'CNAME', this.#transport.clock.now())?.records.find(isAlias) ?? null;
  }

  /**
   * Goes along the aliases of an answer and keeps what it says about them. Only records on the way from the question
   * count: whatever else an answer brings, nobody asked for (RFC 5452 §6).
   * @returns where the way ends; `isFinal` unless that name must be asked for itself
   */
  #absorb(answer: Message, name: string, type: RecordType) {
    const now = this.#transport.clock.now();
    const byOwner = new Map<string, ResourceRecord[]>();
    for (const record of answer.answers) {
      const key = nameKey(record.name);
      const list = byOwner.get(key);
      if (list === undefined) byOwner.set(key, [record]);
      else list.push(record);
    }
    const via: RecordOf<'CNAME'>[] = [];
    let end = name;
    for (;;) {
      const own = byOwner.get(nameKey(end)) ?? [];
      const records = type === 'ANY' ? own : own.filter((record) => record.type === type);
      if (records.length > 0) {
        this.#cache.put(end, type, records, now);
        return { end, records, isFinal: true, via, soa: undefined };
      }
      const alias = own.find(isAlias);
      // A loop within one answer ends as one over many does: by the count.
      if (alias === undefined || !isFollowed(type) || via.length > ALIASES_MAX) break;
      this.#cache.put(end, 'CNAME', [alias], now);
      via.push(alias);
      end = alias.target;
    }
    let soa = answer.authorities.find(
      (record): record is RecordOf<'SOA'> => record.type === 'SOA' && isUnder(end, record.name),
    );
    // RFC 2308 §2: an alias without what it leads to, without SOA: the server did not go on; we do.
    const isFinal = answer.rcode === NXDOMAIN || soa !== undefined || sameName(end, name);
    if (isFinal && soa !== undefined) {
      const rcode = answer.rcode === NXDOMAIN ? NXDOMAIN : NOERROR;
      soa = this.#cache.putNegative(end, type, rcode, soa, now);
    }
    return { end, records: [], isFinal, via, soa };
  }
}

/** A walk along the search list: where the servers fail for one name, the next is still tried, as Linux does. */
class Search {
  /** Whether some name existed, though without what was asked for. */
  exists = false;
  #failure: NetError | null = null;

  /** What it all came to. @param none - where a name exists without what was asked for */
  error(none: NetError, name: string): NetError {
    return this.exists ? none : (this.#failure ?? notFound(name));
  }

  async try<T>(attempt: () => Promise<T>): Promise<T | null> {
    try {
      return await attempt();
    } catch (error) {
      if (!(error instanceof NetError) || error.code !== 'EAI_AGAIN') throw error;
      this.#failure ??= error;
      return null;
    }
  }
}

const notFound = (name: string): NetError => new NetError('ENOTFOUND', 'resolve', { address: name });

const isAlias = (record: ResourceRecord): record is RecordOf<'CNAME'> => record.type === 'CNAME';

/** RFC 1034 §3.6.2: an alias is followed unless it is itself what was asked for. */
const isFollowed = (type: RecordType): boolean => type !== 'CNAME' && type !== 'ANY';

function checkName(name: string): string {
  if (typeof name !== 'string') throw new TypeError(`name: expected a domain name as a string, got ${typeof name}`);
  return name;
}

/** RFC 6762 §3 and §4: `.local`, and the reverse names of link-local addresses. */
const isOfLink = (name: string): boolean => isUnder(name, 'local') || addressOfReverse(name)?.isLinkLocal === true;

/** IDNA, as the engine's own URLs have it. mDNS has UTF-8 instead: RFC 6762 §16. */
function toAscii(name: string): string {
  if (/^[!-~]*$/.test(name) || isUnder(name, 'local')) return name;
  try {
    return new URL(`http://${name}`).hostname;
  } catch {
    return name;
  }
}
