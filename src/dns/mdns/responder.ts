/**
 * The answering half of mDNS: RFC 6762 §6 (when, to whom, what besides), §7.1 and §7.4 (what is known is not said), §6.7
 * (askers that are no mDNS). Time comes in, messages go out. @module
 */
import {
  CLASS_ANY,
  CLASS_IN,
  dataKey,
  MDNS_PORT,
  type Message,
  nameKey,
  type Question,
  type RecordType,
  type ResourceRecord,
  record,
  sameName,
} from '../../wire/dns.ts';
import { answerOf, type Own, Registration, type RegistrationOptions } from './registration.ts';
import { between, type MdnsPeer, type MdnsWorld, RECORD_BYTES_MAX, sizeOf } from './types.ts';

/** RFC 6762 §6: answers that others may give too wait 20 to 120 ms, */
const SHARED_LEAST_MS = 20;
const SHARED_MOST_MS = 120;
/** §7.2: those to a question whose known answers are still coming 400 to 500 ms. */
const CUT_LEAST_MS = 400;
const CUT_MOST_MS = 500;
/** §6: no record to everybody more often than once a second, to a probe 250 ms. */
const AGAIN_MS = 1000;
const AGAIN_PROBE_MS = 250;
/** §6.7: seconds that an answer to an asker without mDNS may last. */
const LEGACY_TTL = 10;
/** Sets of records published at once. */
export const REGISTRATIONS_MAX = 256;
/** Answers waiting to be sent. */
const PENDING_MAX = 1024;

/** An answer that waits its time. */
interface Pending {
  readonly own: Own;
  at: number;
  /** Who asked with more known answers to come (§7.2), or null. */
  readonly from: string | null;
}

export class Responder {
  readonly #world: MdnsWorld;
  readonly #registrations: Registration[] = [];
  readonly #pending = new Map<Own, Pending>();
  /** The NSEC record of a name, by the first record of that name: they change together. */
  readonly #denials = new WeakMap<Own, Own>();

  constructor(world: MdnsWorld) {
    this.#world = world;
  }

  /** Begins to publish a set of records; null: there are too many. */
  register(options: RegistrationOptions, now: number): Registration | null {
    if (this.#registrations.length >= REGISTRATIONS_MAX) return null;
    const registration = new Registration(this.#world, options, now);
    this.#registrations.push(registration);
    return registration;
  }

  /** Takes a set back, with a goodbye. */
  unregister(registration: Registration): void {
    registration.close();
    const at = this.#registrations.indexOf(registration);
    if (at >= 0) this.#registrations.splice(at, 1);
  }

  close(): void {
    for (const registration of [...this.#registrations]) this.unregister(registration);
    this.#pending.clear();
  }

  /** Our records that answer a question. */
  own(name: string, type: RecordType): Own[] {
    const matches = ({ record: r }: Own): boolean => (type === 'ANY' || r.type === type) && sameName(r.name, name);
    return this.#ours().filter(matches);
  }

  #ours(): Own[] {
    return this.#registrations.filter(({ isOurs }) => isOurs).flatMap(({ own }) => own);
  }

  /** A query from `from`. */
  query(message: Message, from: MdnsPeer, now: number): void {
    if (message.authorities.length > 0) {
      for (const registration of this.#registrations) registration.rival(message.authorities, now);
    }
    const source = `${from.address}`;
    if (message.questions.length === 0) {
      this.#knownLater(message.answers, source);
      return;
    }
    if (from.port !== MDNS_PORT) {
      this.#legacy(message, from);
      return;
    }
    const known = knownKeys(message.answers);
    const direct: Own[] = [];
    const isProbe = message.authorities.length > 0;
    for (const question of message.questions) {
      for (const own of this.#answersTo(question)) {
        if (isKnown(own, known)) continue;
        // RFC 6762 §5.4: by unicast as asked, unless it is long ago that everybody heard it.
        const isRecent = now - own.sentAt < 250 * own.record.ttl;
        if (question.unicast && isRecent) direct.push(own);
        else this.#schedule(own, message.isTruncated ? source : null, isProbe, now);
      }
    }
    if (direct.length > 0) this.#send(direct, from, now);
  }

  /** RFC 6762 §6: what answers a question; §6.1: NSEC where the name is ours and has nothing of the type. */
  #answersTo({ name, type, class: cls }: Question): Own[] {
    if (cls !== CLASS_IN && cls !== CLASS_ANY) return [];
    const found = this.own(name, type);
    if (found.length > 0) return found;
    const named = this.own(name, 'ANY').filter(({ isProbed }) => isProbed);
    const first = named[0];
    if (first === undefined) return [];
    const made = this.#denials.get(first) ?? denial(first, named);
    this.#denials.set(first, made);
    return [made];
  }

  #schedule(own: Own, from: string | null, isProbe: boolean, now: number): void {
    const isCut = from !== null;
    let at = now;
    if (isCut) at += between(this.#world, CUT_LEAST_MS, CUT_MOST_MS);
    // §6: a unique answer has no rival and needs no delay.
    else if (!own.isUnique) at += between(this.#world, SHARED_LEAST_MS, SHARED_MOST_MS);
    at = Math.max(at, own.sentAt + (isProbe ? AGAIN_PROBE_MS : AGAIN_MS));
    const pending = this.#pending.get(own);
    if (pending !== undefined) pending.at = Math.min(pending.at, at);
    else if (this.#pending.size < PENDING_MAX) this.#pending.set(own, { own, at, from });
  }

  /** RFC 6762 §7.2: the rest of the known answers of a question that came before. */
  #knownLater(answers: readonly ResourceRecord[], source: string): void {
    const known = knownKeys(answers);
    for (const [own, { from }] of this.#pending) {
      if (from === source && isKnown(own, known)) this.#pending.delete(own);
    }
  }

  /** A response of another host: what it says we need not say (§7.4), and what it claims may be ours (§9). */
  response(message: Message, now: number): void {
    const records = [...message.answers, ...message.additionals];
    if (this.#registrations.length === 0) return;
    for (const theirs of records) {
      for (const registration of this.#registrations) registration.seen(theirs, now);
    }
    if (this.#pending.size === 0) return;
    const said = new Map(message.answers.map((r) => [`${nameKey(r.name)} ${dataKey(r)}`, r.ttl]));
    for (const own of this.#pending.keys()) {
      const ttl = said.get(`${nameKey(own.record.name)} ${own.key}`);
      if (ttl !== undefined && ttl >= own.record.ttl) this.#pending.delete(own);
    }
  }

  pollAt(): number {
    let at = Number.POSITIVE_INFINITY;
    for (const { nextAt } of this.#registrations) at = Math.min(at, nextAt);
    for (const pending of this.#pending.values()) at = Math.min(at, pending.at);
    return at;
  }

  poll(now: number): void {
    for (const registration of [...this.#registrations]) registration.poll(now);
    const due = [...this.#pending.values()].filter(({ at }) => at <= now).map(({ own }) => own);
    for (const own of due) this.#pending.delete(own);
    // A set may have been taken back since.
    const still = due.filter((own) => own.registration.isOurs);
    if (still.length > 0) this.#send(still, null, now);
  }

  /** Answers with what belongs to them, in as many messages as it takes. */
  #send(own: readonly Own[], to: MdnsPeer | null, now: number): void {
    let answers: Own[] = [];
    let bytes = 0;
    const flush = (): void => {
      const additionals = this.#additionals(answers, RECORD_BYTES_MAX - bytes);
      const records = (list: readonly Own[]): ResourceRecord[] => list.map(({ record: r }) => r);
      this.#world.send({ message: answerOf(records(answers), records(additionals)), to });
      if (to === null) for (const each of [...answers, ...additionals]) each.sentAt = now;
      answers = [];
      bytes = 0;
    };
    for (const each of own) {
      const size = sizeOf(each.record, each.key);
      if (bytes + size > RECORD_BYTES_MAX && answers.length > 0) flush();
      answers.push(each);
      bytes += size;
    }
    flush();
  }

  /** RFC 6763 §12: with a service its target and text, with a target its addresses; RFC 6762 §6.2: A with AAAA. */
  #additionals(answers: readonly Own[], bytesMax: number): Own[] {
    const added: Own[] = [];
    let bytes = 0;
    const ours = this.#ours();
    const add = (name: string, ...types: readonly RecordType[]): void => {
      for (const own of ours) {
        if (!types.includes(own.record.type) || !sameName(own.record.name, name)) continue;
        if (answers.includes(own) || added.includes(own)) continue;
        bytes += sizeOf(own.record, own.key);
        if (bytes <= bytesMax) added.push(own);
      }
    };
    const walk = (list: readonly Own[]): void => {
      for (const { record: r } of list) {
        if (r.type === 'PTR') add(r.target, 'SRV', 'TXT');
        else if (r.type === 'SRV') add(r.target, 'A', 'AAAA');
        else if (r.type === 'A' || r.type === 'AAAA') add(r.name, 'A', 'AAAA');
      }
    };
    walk(answers);
    walk([...added]);
    return added;
  }

  /** RFC 6762 §6.7: a resolver that is no mDNS gets an answer as DNS has it: id, question, short TTLs, no flush bit. */
  #legacy(message: Message, from: MdnsPeer): void {
    const known = knownKeys(message.answers);
    const own = message.questions.flatMap((q) => this.#answersTo(q)).filter((each) => !isKnown(each, known));
    if (own.length === 0) return;
    const plain = ({ record: r }: Own): ResourceRecord => ({ ...r, flush: false, ttl: Math.min(LEGACY_TTL, r.ttl) });
    const { id } = message;
    const questions = message.questions.map((q) => ({ ...q, unicast: false }));
    const additionals = this.#additionals(own, RECORD_BYTES_MAX / 2).map(plain);
    this.#world.send({ message: { ...answerOf(own.map(plain), additionals), id, questions }, to: from });
  }
}

/** RFC 6762 §6.1: the types a name of ours has, and thereby that it has no others. */
function denial(first: Own, named: readonly Own[]): Own {
  const { name, ttl } = first.record;
  const types = [...new Set(named.map(({ record: r }) => r.type))];
  const nsec = { ...record(name, ttl, { type: 'NSEC', next: name, types }), flush: true };
  return { ...first, record: nsec, key: dataKey(nsec), isUnique: true, sentAt: Number.NEGATIVE_INFINITY };
}

const knownKeys = (answers: readonly ResourceRecord[]): ReadonlyMap<string, number> =>
  new Map(answers.map((r) => [`${nameKey(r.name)} ${dataKey(r)}`, r.ttl]));

/** RFC 6762 §7.1: known with at least half of its lifetime left. */
function isKnown({ record: r, key }: Own, known: ReadonlyMap<string, number>): boolean {
  const ttl = known.get(`${nameKey(r.name)} ${key}`);
  return ttl !== undefined && ttl >= r.ttl / 2;
}
