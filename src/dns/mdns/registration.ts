/**
 * One set of records of ours on its way to being ours: RFC 6762 §8 (probing and announcing), §9 (conflicts), §10.1
 * (goodbye). @module
 */
import { dataKey, nameKey, type Question, question, type ResourceRecord, sameName } from '../../wire/dns.ts';
import { between, type MdnsWorld } from './types.ts';

/** RFC 6762 §8.1. */
const PROBE_DELAY_MS = 250;
const PROBES = 3;
/** RFC 6762 §8.2: who loses to a probe of the same moment waits, and probes again. */
const LOST_MS = 1000;
/** RFC 6762 §8.3: two announcements, a second apart. */
const ANNOUNCEMENTS = 2;
const ANNOUNCE_INTERVAL_MS = 1000;
/** RFC 6762 §8.1: after fifteen conflicts within ten seconds, five seconds before each further try. */
const CONFLICTS_MAX = 15;
const CONFLICTS_WITHIN_MS = 10_000;
const CONFLICTS_PAUSE_MS = 5000;

/** A record of ours. */
export interface Own {
  readonly record: ResourceRecord;
  readonly key: string;
  /** No other host has records of this name and type: probed for, and sent with the cache-flush bit. */
  readonly isUnique: boolean;
  /** Unique, but nobody's choice: reverse names are not probed for. */
  readonly isProbed: boolean;
  readonly registration: Registration;
  /** When it was last sent to everybody, ms. */
  sentAt: number;
}

/** What a set of records is made of: a record, whether it is ours alone, whether its name is probed for. */
export interface Draft {
  readonly record: ResourceRecord;
  readonly isUnique: boolean;
  readonly isProbed: boolean;
}

export interface RegistrationOptions {
  /** The records under the `attempt`-th name, 1 for the name wanted. Empty: there is nothing to say now. */
  build(attempt: number): readonly Draft[];
  /** The names have been probed for and are ours; called again after each change of name. */
  ready?(): void;
  /** Another host has the name: from now on it is that of `attempt`. */
  renamed?(attempt: number, now: number): void;
}

export type RegistrationState = 'idle' | 'probing' | 'announcing' | 'up' | 'closed';

export class Registration {
  state: RegistrationState = 'idle';
  attempt = 1;
  own: Own[] = [];
  nextAt = Number.POSITIVE_INFINITY;
  readonly #world: MdnsWorld;
  readonly #options: RegistrationOptions;
  #count = 0;
  #conflicts: number[] = [];

  constructor(world: MdnsWorld, options: RegistrationOptions, now: number) {
    this.#world = world;
    this.#options = options;
    this.#rebuild();
    this.#probe(now);
  }

  /** Whether its records are answered with. */
  get isOurs(): boolean {
    return this.state === 'announcing' || this.state === 'up';
  }

  #rebuild(): void {
    const before = this.own;
    this.own = this.#options.build(this.attempt).map(({ record, isUnique, isProbed }) => {
      const key = dataKey(record);
      const old = before.find((own) => own.key === key && sameName(own.record.name, record.name));
      const flushed = { ...record, flush: isUnique };
      const sentAt = old?.sentAt ?? Number.NEGATIVE_INFINITY;
      return { record: flushed, key, isUnique, isProbed, registration: this, sentAt };
    });
  }

  /** RFC 6762 §8.1: first a random time within 250 ms. */
  #probe(now: number, delayMs = between(this.#world, 0, PROBE_DELAY_MS)): void {
    this.#count = 0;
    if (this.own.length === 0) {
      this.state = 'idle';
      this.nextAt = Number.POSITIVE_INFINITY;
    } else {
      this.state = 'probing';
      this.nextAt = now + delayMs;
    }
  }

  poll(now: number): void {
    if (now < this.nextAt) return;
    if (this.state === 'probing') this.#pollProbing(now);
    else if (this.state === 'announcing') this.#announce(now);
  }

  #pollProbing(now: number): void {
    const probed = this.own.filter((own) => own.isProbed);
    if (this.#count < PROBES && probed.length > 0) {
      this.#count++;
      this.nextAt = now + PROBE_DELAY_MS;
      this.#world.send({ message: { questions: probes(probed), authorities: plain(probed) }, to: null });
      return;
    }
    // 250 ms after the last probe nobody has objected.
    this.state = 'announcing';
    this.#count = 0;
    this.#announce(now);
    this.#options.ready?.();
  }

  #announce(now: number): void {
    this.#count++;
    this.#world.send({ message: answerOf(this.own.map(({ record }) => record)), to: null });
    for (const own of this.own) own.sentAt = now;
    const isLast = this.#count >= ANNOUNCEMENTS;
    this.state = isLast ? 'up' : 'announcing';
    this.nextAt = isLast ? Number.POSITIVE_INFINITY : now + ANNOUNCE_INTERVAL_MS;
  }

  /** The records are others now, under the same names: what is gone is taken back, what is new announced. */
  change(now: number): void {
    if (this.state === 'closed') return;
    const before = this.own;
    this.#rebuild();
    if (!this.isOurs) {
      if (this.state === 'idle') this.#probe(now);
      else if (this.own.length === 0) this.#probe(now);
      return;
    }
    const isKept = ({ key, record }: Own): boolean =>
      this.own.some((own) => own.key === key && sameName(own.record.name, record.name));
    goodbye(
      this.#world,
      before.filter((own) => !isKept(own)),
    );
    if (this.own.length === 0) this.#probe(now);
    else {
      this.state = 'announcing';
      this.#count = 0;
      this.nextAt = now;
    }
  }

  /** A record of another host. RFC 6762 §8.1: while probing any of that name is a conflict; §9: later one of the type. */
  seen(record: ResourceRecord, now: number): void {
    if (record.ttl === 0 || (this.state !== 'probing' && !this.isOurs)) return;
    const same = this.own.filter((own) => own.isProbed && sameName(own.record.name, record.name));
    if (same.length === 0) return;
    const key = dataKey(record);
    if (same.some((own) => own.key === key)) return;
    if (this.state === 'probing') this.#conflict(now);
    else if (same.some((own) => own.record.type === record.type)) this.#probe(now);
  }

  #conflict(now: number): void {
    this.#conflicts = [...this.#conflicts.filter((at) => now - at < CONFLICTS_WITHIN_MS), now].slice(-CONFLICTS_MAX);
    this.attempt++;
    this.#rebuild();
    this.#probe(now, this.#conflicts.length >= CONFLICTS_MAX ? CONFLICTS_PAUSE_MS : undefined);
    this.#options.renamed?.(this.attempt, now);
  }

  /** RFC 6762 §8.2: another host probes for a name that we probe for: the records that sort later win. */
  rival(authorities: readonly ResourceRecord[], now: number): void {
    if (this.state !== 'probing') return;
    const names = new Set(this.own.filter((own) => own.isProbed).map((own) => nameKey(own.record.name)));
    for (const name of names) {
      const theirs = authorities.filter((record) => nameKey(record.name) === name).map(dataKey);
      const ours = this.own.filter((own) => nameKey(own.record.name) === name).map(({ key }) => key);
      if (theirs.length > 0 && comparedSets(ours, theirs) < 0) {
        this.#probe(now, LOST_MS);
        return;
      }
    }
  }

  close(): void {
    if (this.isOurs) goodbye(this.#world, this.own);
    this.state = 'closed';
    this.nextAt = Number.POSITIVE_INFINITY;
    this.own = [];
  }
}

/** RFC 6762 §8.2: sorted, then compared one by one; who has more at the end is later. */
export function comparedSets(ours: readonly string[], theirs: readonly string[]): number {
  const [a, b] = [[...ours].sort(), [...theirs].sort()];
  for (let i = 0; i < Math.min(a.length, b.length); i++) {
    if (a[i] !== b[i]) return a[i]! < b[i]! ? -1 : 1;
  }
  return a.length - b.length;
}

/** RFC 6762 §8.1: one question of any type for each name, which may be answered by unicast. */
function probes(own: readonly Own[]): Question[] {
  const names = new Map(own.map(({ record }) => [nameKey(record.name), record.name]));
  return [...names.values()].map((name) => question(name, 'ANY', true));
}

/** RFC 6762 §10.2: the cache-flush bit is for answers, not for what is proposed. */
const plain = (own: readonly Own[]): ResourceRecord[] => own.map(({ record }) => ({ ...record, flush: false }));

/** RFC 6762 §18: an answer, authoritative, without an id. */
export const answerOf = (answers: readonly ResourceRecord[], additionals: readonly ResourceRecord[] = []) => ({
  isResponse: true,
  isAuthoritative: true,
  answers,
  additionals,
});

/** RFC 6762 §10.1: a lifetime of zero. */
function goodbye(world: MdnsWorld, own: readonly Own[]): void {
  if (own.length === 0) return;
  world.send({ message: answerOf(own.map(({ record }) => ({ ...record, ttl: 0 }))), to: null });
}
