/** Names that no server is asked for: a table of one's own, and those that RFC 6761 sets apart. @module */
import { IpAddress, parseIp } from '../wire/address.ts';
import {
  absolute,
  addressOfReverse,
  isUnder,
  NOERROR,
  NXDOMAIN,
  nameKey,
  normalName,
  type RecordType,
  type ResourceRecord,
  record,
} from '../wire/dns.ts';
import type { Answer } from './cache.ts';

/** A static table as /etc/hosts: names with their addresses. */
export type HostsTable = Readonly<Record<string, string | readonly string[]>>;

/** Names a table may have. */
const NAMES_MAX = 65_536;
/** Seconds: what the answers of a table say. */
const TTL = 0;
const LOOPBACK: Readonly<Record<string, IpAddress>> = {
  A: IpAddress.v4(0x7f000001),
  AAAA: new IpAddress(0, 0, 0, 1),
};
const NONE: Answer = { rcode: NOERROR, records: [] };
const NO_NAME: Answer = { rcode: NXDOMAIN, records: [] };

const found = (records: readonly ResourceRecord[]): Answer => ({ rcode: NOERROR, records });

export class Hosts {
  readonly #byName = new Map<string, IpAddress[]>();
  readonly #byAddress = new Map<string, string>();

  /** @throws TypeError for a name or an address that is none, RangeError for too many */
  constructor(table: HostsTable = {}) {
    const entries = Object.entries(table);
    if (entries.length > NAMES_MAX) {
      throw new RangeError(`hosts: expected at most ${NAMES_MAX} names, got ${entries.length}`);
    }
    for (const [name, value] of entries) {
      const addresses = (typeof value === 'string' ? [value] : value).map((text) => IpAddress.parse(text));
      const normal = normalName(name);
      this.#byName.set(nameKey(normal), addresses);
      // The first name of an address is the one it is called by.
      for (const address of addresses) {
        if (!this.#byAddress.has(`${address}`)) this.#byAddress.set(`${address}`, normal);
      }
    }
  }

  /** The answer for a whole name, or null where servers must be asked. */
  answer(name: string, type: RecordType): Answer | null {
    return special(name, type) ?? this.#fromTable(name, type);
  }

  #fromTable(name: string, type: RecordType): Answer | null {
    if (type === 'PTR') {
      const address = addressOfReverse(name);
      const target = address === null ? undefined : this.#byAddress.get(`${address}`);
      return target === undefined ? null : found([record(name, TTL, { type: 'PTR', target })]);
    }
    if (type !== 'A' && type !== 'AAAA') return null;
    const addresses = this.#byName.get(nameKey(name));
    if (addresses === undefined) return null;
    const wanted = addresses.filter((address) => address.isV4 === (type === 'A'));
    return found(wanted.map((address) => record(name, TTL, { type, address })));
  }
}

/** RFC 6761 §6 and RFC 7686: names that never go to a server. */
function special(name: string, type: RecordType): Answer | null {
  // RFC 6761 §6.3: "localhost" and all under it are the loopback.
  if (isUnder(name, 'localhost')) {
    const address = LOOPBACK[type];
    return address === undefined ? NONE : found([record(name, TTL, { type: type as 'A' | 'AAAA', address })]);
  }
  // RFC 6761 §6.4: "invalid" does not exist. RFC 7686 §2: resolvers MUST NOT look up "onion".
  if (isUnder(name, 'invalid') || isUnder(name, 'onion')) return NO_NAME;
  // RFC 6761 §6.3 asks for it of addresses too; RFC 1912 §4.1: the reverse of the loopback is local.
  if (type === 'PTR' && addressOfReverse(name)?.isLoopback === true) {
    return found([record(name, TTL, { type: 'PTR', target: 'localhost' })]);
  }
  return null;
}

/** An address written as one, which is not asked for either. Zones are not read. */
export const numericAddress = (name: string): IpAddress | null => parseIp(name);

/** What the search list makes of a name, in the order to try: resolv.conf(5). A last dot says that it is whole. */
export function candidates(name: string, search: readonly string[], ndots: number): string[] {
  if (name === '.' || name.endsWith('.')) return [name];
  const isLocal = ['localhost', 'local', 'invalid', 'onion'].some((tld) => isUnder(name, tld));
  if (isLocal) return [name];
  const dots = name.replace(/\\./g, '').split('.').length - 1;
  const searched = search.map((domain) => `${name}.${absolute(domain)}`);
  return dots >= ndots ? [name, ...searched] : [...searched, name];
}
