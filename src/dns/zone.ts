/**
 * A table of names that a server answers from with authority: RFC 1034 §4.3.2, wildcards RFC 4592, negative answers RFC
 * 2308. No delegations: what lies under a zone's name is in its table, or does not exist. @module
 */
import { IpAddress } from '../wire/address.ts';
import {
  isUnder,
  NOERROR,
  NXDOMAIN,
  nameKey,
  normalName,
  type RecordOf,
  type RecordType,
  type ResourceRecord,
  record,
  reverseName,
} from '../wire/dns.ts';
import type { HostsTable } from './hosts.ts';

/** Records a zone may have. */
const RECORDS_MAX = 100_000;
/** Aliases followed within the table. */
const ALIASES_MAX = 16;
/** Seconds, of records that say no other. */
const TTL_DEFAULT = 60;

/** What a table says of a question. */
export interface ZoneAnswer {
  readonly rcode: typeof NOERROR | typeof NXDOMAIN;
  readonly answers: readonly ResourceRecord[];
  readonly authorities: readonly ResourceRecord[];
  /** A name at the end of aliases that is not of this table: whoever can, goes on from here. */
  readonly leadsTo: string | null;
}

export interface ZoneOptions {
  /** The names served, `lan`: all under them belongs to the table. Reverse names of hosts are added by themselves. */
  readonly domains?: readonly string[];
  readonly records?: readonly ResourceRecord[];
  /** Names with their addresses; their reverse names come with them. Whole names: `router.lan`. */
  readonly hosts?: HostsTable;
  /** Seconds that records of `hosts` and negative answers last; default 60. */
  readonly ttl?: number;
}

export class Zone {
  readonly #domains: string[] = [];
  readonly #byName = new Map<string, ResourceRecord[]>();
  /** Names that exist only because others lie under them: RFC 4592 §2.2.2. */
  readonly #inner = new Map<string, number>();
  readonly #ttl: number;
  #count = 0;

  /** @throws TypeError, RangeError for names, addresses or records that are none */
  constructor(options: ZoneOptions = {}) {
    this.#ttl = options.ttl ?? TTL_DEFAULT;
    this.#domains.push(...(options.domains ?? []).map(normalName));
    for (const entry of options.records ?? []) this.add(entry);
    for (const [name, value] of Object.entries(options.hosts ?? {})) {
      for (const text of typeof value === 'string' ? [value] : value) this.addHost(name, IpAddress.parse(text));
    }
  }

  /** Adds a record; the same one again changes its TTL. */
  add(entry: ResourceRecord): void {
    const name = normalName(entry.name);
    const key = nameKey(name);
    const list = this.#byName.get(key) ?? [];
    const same = list.findIndex((other) => sameData(other, entry));
    if (same >= 0) {
      list[same] = { ...entry, name };
      return;
    }
    if (this.#count >= RECORDS_MAX) throw new RangeError(`zone: expected at most ${RECORDS_MAX} records, got one more`);
    if (list.length === 0) {
      this.#byName.set(key, list);
      for (const parent of parents(key)) this.#inner.set(parent, (this.#inner.get(parent) ?? 0) + 1);
    }
    list.push({ ...entry, name });
    this.#count++;
  }

  /** Adds a name with its address, and the address's reverse name. */
  addHost(name: string, address: IpAddress): void {
    this.add(record(name, this.#ttl, { type: address.isV4 ? 'A' : 'AAAA', address }));
    this.add(record(reverseName(address), this.#ttl, { type: 'PTR', target: normalName(name) }));
  }

  /** Takes the records of a name out, of one type or all; says how many there were. */
  remove(name: string, type?: RecordType): number {
    const key = nameKey(normalName(name));
    const list = this.#byName.get(key) ?? [];
    const kept = type === undefined ? [] : list.filter((entry) => entry.type !== type);
    const removed = list.length - kept.length;
    this.#count -= removed;
    if (removed === 0) return 0;
    this.#byName.set(key, kept);
    if (kept.length > 0) return removed;
    this.#byName.delete(key);
    for (const parent of parents(key)) {
      const count = this.#inner.get(parent)! - 1;
      if (count > 0) this.#inner.set(parent, count);
      else this.#inner.delete(parent);
    }
    return removed;
  }

  /** The answer to a question, or null where it is not about this table. */
  answer(name: string, type: RecordType): ZoneAnswer | null {
    const answers: ResourceRecord[] = [];
    let at = name;
    for (;;) {
      const domain = this.#domainOf(at);
      const own = this.#recordsOf(at, domain);
      if (own === null && domain === null) {
        return answers.length === 0 ? null : { rcode: NOERROR, answers, authorities: [], leadsTo: at };
      }
      const wanted = (own ?? []).filter((entry) => type === 'ANY' || entry.type === type);
      answers.push(...wanted);
      if (wanted.length > 0) return { rcode: NOERROR, answers, authorities: [], leadsTo: null };
      const alias = (own ?? []).find((entry): entry is RecordOf<'CNAME'> => entry.type === 'CNAME');
      if (alias === undefined || answers.length >= ALIASES_MAX) {
        const authorities = [this.#soa(domain ?? at)];
        // RFC 2308 §2.1: with aliases before it, NXDOMAIN is about the last name.
        return { rcode: own === null ? NXDOMAIN : NOERROR, answers, authorities, leadsTo: null };
      }
      answers.push(alias);
      at = alias.target;
    }
  }

  /** The records of a name, empty where it exists without any, null where it does not exist. */
  #recordsOf(name: string, domain: string | null): readonly ResourceRecord[] | null {
    const key = nameKey(name);
    const own = this.#byName.get(key);
    if (own !== undefined) return own;
    if (this.#inner.has(key) || (domain !== null && nameKey(domain) === key)) return [];
    if (domain === null) return null;
    // RFC 4592 §3.3.1: the wildcard of the closest name that exists.
    for (const parent of parents(key)) {
      const wild = this.#byName.get(`*.${parent}`);
      if (wild !== undefined) return wild.map((entry) => ({ ...entry, name }));
      if (this.#byName.has(parent) || this.#inner.has(parent)) return null;
    }
    return null;
  }

  #domainOf(name: string): string | null {
    const under = this.#domains.filter((domain) => isUnder(name, domain));
    return under.sort((a, b) => b.length - a.length)[0] ?? null;
  }

  /** The zone's own SOA, or one made up, so that negative answers can be kept. */
  #soa(domain: string): ResourceRecord {
    const own = this.#byName.get(nameKey(domain))?.find((entry): entry is RecordOf<'SOA'> => entry.type === 'SOA');
    if (own !== undefined) return { ...own, ttl: Math.min(own.ttl, own.minimum) };
    const mailbox = domain === '.' ? 'hostmaster' : `hostmaster.${domain}`;
    const times = { refresh: 1200, retry: 180, expire: 1209600, minimum: this.#ttl };
    return record(domain, this.#ttl, { type: 'SOA', primary: domain, mailbox, serial: 1, ...times });
  }
}

/** The names above one, nearest first, without the root. */
function parents(key: string): string[] {
  const above: string[] = [];
  for (let at = cut(key); at !== ''; at = cut(at)) above.push(at);
  return above;
}

/** A name without its first label. */
const cut = (key: string): string => key.replace(/^(?:\\.|[^.\\])*\.?/s, '');

const sameData = (a: ResourceRecord, b: ResourceRecord): boolean => {
  const plain = ({ ttl: _, name: __, ...rest }: ResourceRecord): string =>
    JSON.stringify(rest, (_key, value) => (value instanceof Uint8Array ? [...value] : value));
  return a.type === b.type && plain(a) === plain(b);
};
