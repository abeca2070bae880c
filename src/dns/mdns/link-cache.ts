/** What the link has told us: RFC 6762 §10 and §5.2. @module */
import { dataKey, type RecordType, type ResourceRecord } from '../../wire/dns.ts';
import { setKey } from './types.ts';

/** Records kept; more are not listened to until some have gone. */
const RECORDS_MAX = 4096;
/** RFC 6762 §10.1 and §10.2: a second after a goodbye, or after others said that they are all there is. */
const GOODBYE_MS = 1000;
/** RFC 6762 §5.2: parts of the lifetime at which a record in use is asked for again. */
const REFRESH_AT = [0.8, 0.85, 0.9, 0.95];
/** The same: and up to 2 % later, by chance. */
const REFRESH_SPREAD = 0.02;

export interface CacheEntry {
  readonly record: ResourceRecord;
  readonly key: string;
  readonly receivedAt: number;
  expiresAt: number;
  /** Which of the refreshes comes next, and when. */
  refreshes: number;
  refreshAt: number;
}

export class LinkCache {
  readonly #sets = new Map<string, CacheEntry[]>();
  readonly #random: () => number;
  #count = 0;
  /** When something expires or is to be asked for again, at the earliest. */
  nextAt = Number.POSITIVE_INFINITY;

  constructor(random: () => number) {
    this.#random = random;
  }

  get count(): number {
    return this.#count;
  }

  /** Takes a record; true: it was not known. */
  take(record: ResourceRecord, now: number): boolean {
    const set = setKey(record.name, record.type);
    const key = dataKey(record);
    const entries = this.#sets.get(set) ?? [];
    // RFC 6762 §10.2: what came within the last second belongs to the same announcement.
    if (record.flush) {
      for (const entry of entries) {
        if (entry.key !== key && now - entry.receivedAt > GOODBYE_MS) this.#endSoon(entry, now);
      }
    }
    const at = entries.findIndex((entry) => entry.key === key);
    const known = entries[at];
    if (record.ttl === 0) {
      if (known !== undefined) this.#endSoon(known, now);
      return false;
    }
    if (known === undefined && this.#count >= RECORDS_MAX) return false;
    const entry = this.#entry(record, key, now);
    if (known === undefined) {
      entries.push(entry);
      this.#count++;
      this.#sets.set(set, entries);
    } else {
      entries[at] = entry;
    }
    this.nextAt = Math.min(this.nextAt, entry.refreshAt);
    return known === undefined;
  }

  #entry(record: ResourceRecord, key: string, now: number): CacheEntry {
    const entry = { record, key, receivedAt: now, expiresAt: now + 1000 * record.ttl, refreshes: 0, refreshAt: 0 };
    this.refreshLater(entry, 0);
    return entry;
  }

  /** Sets when the record is asked for again, the `times`-th time. */
  refreshLater(entry: CacheEntry, times: number): void {
    const part = REFRESH_AT[times];
    const spread = (REFRESH_SPREAD * this.#random()) / 0x100000000;
    entry.refreshes = times;
    entry.refreshAt =
      part === undefined ? entry.expiresAt : entry.receivedAt + 1000 * entry.record.ttl * (part + spread);
    this.nextAt = Math.min(this.nextAt, entry.refreshAt);
  }

  #endSoon(entry: CacheEntry, now: number): void {
    entry.expiresAt = Math.min(entry.expiresAt, now + GOODBYE_MS);
    entry.refreshAt = entry.expiresAt;
    this.nextAt = Math.min(this.nextAt, entry.expiresAt);
  }

  /** The records of a name and type, with the TTL that is left. */
  records(name: string, type: RecordType, now: number): ResourceRecord[] {
    return this.entries(name, type)
      .filter(({ expiresAt }) => expiresAt > now)
      .map(({ record, expiresAt }) => ({ ...record, ttl: Math.ceil((expiresAt - now) / 1000) }));
  }

  entries(name: string, type: RecordType): readonly CacheEntry[] {
    return this.#sets.get(setKey(name, type)) ?? [];
  }

  /** Takes out what has expired, and gives it; `refresh` is called for what is due to be asked for again. */
  expire(now: number, refresh: (entry: CacheEntry) => void): ResourceRecord[] {
    if (now < this.nextAt) return [];
    const gone: ResourceRecord[] = [];
    this.nextAt = Number.POSITIVE_INFINITY;
    for (const [set, entries] of this.#sets) {
      const kept = entries.filter((entry) => entry.expiresAt > now);
      for (const entry of entries) if (entry.expiresAt <= now) gone.push(entry.record);
      for (const entry of kept) {
        if (entry.refreshAt <= now && entry.refreshAt < entry.expiresAt) {
          this.refreshLater(entry, entry.refreshes + 1);
          refresh(entry);
        }
        this.nextAt = Math.min(this.nextAt, entry.refreshAt, entry.expiresAt);
      }
      if (kept.length > 0) this.#sets.set(set, kept);
      else this.#sets.delete(set);
    }
    this.#count -= gone.length;
    return gone;
  }

  /** Takes out all that `isWanted` does not want. */
  keepOnly(isWanted: (name: string, type: RecordType) => boolean): void {
    for (const [set, entries] of this.#sets) {
      const { name, type } = entries[0]!.record;
      if (isWanted(name, type)) continue;
      this.#count -= entries.length;
      this.#sets.delete(set);
    }
  }

  clear(): void {
    this.#sets.clear();
    this.#count = 0;
  }
}
