/** Answers kept as long as they last: RFC 1035 §7.4, negative ones RFC 2308. @module */
import { NOERROR, NXDOMAIN, nameKey, type RecordOf, type RecordType, type ResourceRecord } from '../wire/dns.ts';

/** Sets of records kept; the one unused longest goes first. */
const SETS_MAX = 1024;
/** Records in all sets together. */
const RECORDS_MAX = 16_384;
/** Seconds: no record is believed longer (RFC 8767 §4 suggests a cap of days; RFC 2181 §8 allows any). */
const TTL_MAX = 86_400;
/** Seconds: RFC 2308 §5: one to three hours at most for negative answers. */
const NEGATIVE_TTL_MAX = 10_800;

/** What is known of a name and a type. Without records it is a negative answer: `rcode` says of which kind. */
export interface Answer {
  readonly rcode: typeof NOERROR | typeof NXDOMAIN;
  readonly records: readonly ResourceRecord[];
  /** Of a negative answer: whose zone says so, and how long it lasts. */
  readonly soa?: ResourceRecord | undefined;
}

interface Entry extends Answer {
  readonly storedAt: number; // ms
  readonly expiresAt: number; // ms
}

const ANY_TYPE = '*';
const keyOf = (name: string, type: string): string => `${type} ${nameKey(name)}`;

export class Cache {
  readonly #entries = new Map<string, Entry>(); // the one used last stands last
  #records = 0;

  /** Sets of records, negative answers among them. */
  get size(): number {
    return this.#entries.size;
  }

  /** What is known, TTLs counted down, or null. */
  get(name: string, type: RecordType, nowMs: number): Answer | null {
    // RFC 2308 §5: NXDOMAIN is about the name, whatever the type.
    return this.#get(keyOf(name, ANY_TYPE), nowMs) ?? this.#get(keyOf(name, type), nowMs);
  }

  #get(key: string, nowMs: number): Answer | null {
    const entry = this.#entries.get(key);
    if (entry === undefined) return null;
    this.#delete(key, entry);
    if (nowMs >= entry.expiresAt) return null;
    this.#insert(key, entry);
    const passed = Math.floor((nowMs - entry.storedAt) / 1000);
    const aged = (r: ResourceRecord): ResourceRecord => ({ ...r, ttl: Math.max(0, r.ttl - passed) });
    const { rcode, records, soa } = entry;
    return { rcode, records: records.map(aged), ...(soa === undefined ? {} : { soa: aged(soa) }) };
  }

  /** Keeps the records of one name and one type, for the shortest of their TTLs (RFC 2181 §5.2). */
  put(name: string, type: RecordType, records: readonly ResourceRecord[], nowMs: number): void {
    const ttl = Math.min(TTL_MAX, ...records.map((record) => record.ttl));
    if (ttl <= 0) return; // RFC 1035 §3.2.1: for the transaction in progress only
    this.#store(keyOf(name, type), { rcode: NOERROR, records, storedAt: nowMs, expiresAt: nowMs + 1000 * ttl });
  }

  /**
   * Keeps that there is nothing, for the smaller of the SOA's own TTL and its MINIMUM field: RFC 2308 §5.
   * @returns the SOA with that TTL, as answers pass it on
   */
  putNegative(name: string, type: RecordType, rcode: Answer['rcode'], soa: RecordOf<'SOA'>, nowMs: number) {
    const ttl = Math.min(soa.ttl, soa.minimum, NEGATIVE_TTL_MAX);
    const kept = { ...soa, ttl };
    if (ttl <= 0) return kept;
    const key = keyOf(name, rcode === NXDOMAIN ? ANY_TYPE : type);
    this.#store(key, { rcode, records: [], soa: kept, storedAt: nowMs, expiresAt: nowMs + 1000 * ttl });
    return kept;
  }

  #store(key: string, entry: Entry): void {
    const old = this.#entries.get(key);
    if (old !== undefined) this.#delete(key, old);
    this.#insert(key, entry);
    for (const [oldest, { records }] of this.#entries) {
      if (this.#entries.size <= SETS_MAX && this.#records <= RECORDS_MAX) return;
      this.#entries.delete(oldest);
      this.#records -= records.length;
    }
  }

  #insert(key: string, entry: Entry): void {
    this.#entries.set(key, entry);
    this.#records += entry.records.length;
  }

  #delete(key: string, entry: Entry): void {
    this.#entries.delete(key);
    this.#records -= entry.records.length;
  }

  clear(): void {
    this.#entries.clear();
    this.#records = 0;
  }
}
