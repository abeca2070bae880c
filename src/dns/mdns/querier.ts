/**
 * The asking half of mDNS: RFC 6762 §5 (continuous queries), §7.1 to §7.3 (known answers, questions of others). Time comes
 * in, messages go out. @module
 */

import { NetError } from '../../errors.ts';
import {
  dataKey,
  type Message,
  type Question,
  question,
  type RecordOf,
  type RecordType,
  type ResourceRecord,
  sameName,
} from '../../wire/dns.ts';
import { LinkCache } from './link-cache.ts';
import { between, isOfClassIn, type MdnsWorld, RECORD_BYTES_MAX, setKey, sizeOf } from './types.ts';

/** Names and types watched at once. */
const WATCHES_MAX = 512;
/** RFC 6762 §5.2: the first question after 20 to 120 ms, so that many that start together do not ask together. */
const FIRST_LEAST_MS = 20;
const FIRST_MOST_MS = 120;
/** The same: then after a second, each time twice as long, to an hour. */
const INTERVAL_FIRST_MS = 1000;
const INTERVAL_MAX_MS = 3_600_000;

/** Told of records that come and go; `denied`: the name is somebody's, and has nothing of the type (NSEC). */
export type WatchListener = (event: 'added' | 'removed' | 'denied', record: ResourceRecord) => void;

interface Watch {
  readonly name: string;
  readonly type: RecordType;
  readonly listeners: Set<WatchListener>;
  nextAt: number;
  intervalMs: number;
  /** Whether the first question is still to come: it may be answered by unicast (§5.4). */
  isFirst: boolean;
}

export class Querier {
  readonly cache: LinkCache;
  readonly #world: MdnsWorld;
  readonly #watches = new Map<string, Watch>();

  constructor(world: MdnsWorld) {
    this.#world = world;
    this.cache = new LinkCache(() => world.random());
  }

  /**
   * Asks for a name and type from now on; what is known already is told at once.
   * @returns ends it
   * @throws NetError ENOBUFS with too many
   */
  watch(name: string, type: RecordType, listener: WatchListener, now: number): () => void {
    const key = setKey(name, type);
    let watch = this.#watches.get(key);
    if (watch === undefined) {
      if (this.#watches.size >= WATCHES_MAX) throw new NetError('ENOBUFS', 'resolve', { address: name });
      const nextAt = now + between(this.#world, FIRST_LEAST_MS, FIRST_MOST_MS);
      watch = { name, type, listeners: new Set(), nextAt, intervalMs: INTERVAL_FIRST_MS, isFirst: true };
      this.#watches.set(key, watch);
    }
    watch.listeners.add(listener);
    for (const record of this.cache.records(name, type, now)) listener('added', record);
    return () => {
      watch.listeners.delete(listener);
      if (watch.listeners.size > 0 || this.#watches.get(key) !== watch) return;
      this.#watches.delete(key);
      // Without anybody who asks, nothing is remembered: what is not refreshed would only grow old.
      if (this.#watches.size === 0) this.cache.clear();
    };
  }

  /** Takes a response: of messages with something that was asked for, all of it, for the rest belongs to it. */
  response(message: Message, now: number): void {
    if (this.#watches.size === 0) return;
    const records = [...message.answers, ...message.additionals].filter(isOfClassIn);
    for (const record of records) if (record.type === 'NSEC') this.#denied(record as RecordOf<'NSEC'>);
    if (!records.some(({ name, type }) => this.#watches.has(setKey(name, type)))) return;
    const fresh = records.filter((record) => this.cache.take(record, now));
    for (const record of fresh) this.#tell('added', record);
  }

  /** RFC 6762 §7.3: another host asks what we were about to ask, and knows no answer that we do not: its is as good. */
  query(message: Message, now: number): void {
    for (const { name, type, unicast } of message.questions) {
      const watch = this.#watches.get(setKey(name, type));
      if (watch === undefined || unicast || message.isTruncated) continue;
      const known = new Set(this.#knownAnswers(watch, now).map((record) => dataKey(record)));
      const theirs = message.answers.filter((record) => sameName(record.name, name) && record.type === type);
      if (theirs.every((record) => known.has(dataKey(record)))) this.#later(watch, now);
    }
  }

  /** RFC 6762 §6.1: NSEC lists the types a name has; what it does not list is not there. */
  #denied(nsec: RecordOf<'NSEC'>): void {
    for (const { name, type, listeners } of [...this.#watches.values()]) {
      if (!sameName(name, nsec.name) || nsec.types.includes(type)) continue;
      for (const listener of [...listeners]) listener('denied', nsec);
    }
  }

  #tell(event: 'added' | 'removed', record: ResourceRecord): void {
    for (const listener of [...(this.#watches.get(setKey(record.name, record.type))?.listeners ?? [])]) {
      listener(event, record);
    }
  }

  pollAt(): number {
    let at = this.cache.nextAt;
    for (const { nextAt } of this.#watches.values()) at = Math.min(at, nextAt);
    return at;
  }

  poll(now: number): void {
    const due = new Map<string, Watch>();
    const gone = this.cache.expire(now, ({ record }) => {
      const watch = this.#watches.get(setKey(record.name, record.type));
      if (watch !== undefined) due.set(setKey(record.name, record.type), watch);
    });
    for (const record of gone) this.#tell('removed', record);
    for (const [key, watch] of this.#watches) {
      if (watch.nextAt > now) continue;
      due.set(key, watch);
    }
    if (due.size > 0) this.#ask([...due.values()], now);
  }

  /** RFC 6762 §5.3: all questions that are due in one message; §7.1: with what is known. */
  #ask(watches: readonly Watch[], now: number): void {
    for (let at = 0; at < watches.length; ) {
      const questions: Question[] = [];
      const known: ResourceRecord[] = [];
      let bytes = 0;
      for (; at < watches.length && bytes < RECORD_BYTES_MAX / 2; at++) {
        const watch = watches[at]!;
        questions.push(question(watch.name, watch.type, watch.isFirst));
        known.push(...this.#knownAnswers(watch, now));
        bytes += watch.name.length + 6;
        if (watch.nextAt <= now) this.#later(watch, now);
        watch.isFirst = false;
      }
      this.#send(questions, known, bytes);
    }
  }

  /** RFC 6762 §7.2: known answers that do not fit follow in further messages, announced by TC. */
  #send(questions: readonly Question[], known: readonly ResourceRecord[], questionBytes: number): void {
    let asked = questions;
    let bytes = questionBytes;
    let answers: ResourceRecord[] = [];
    for (const record of known) {
      const size = sizeOf(record, dataKey(record));
      if (bytes + size > RECORD_BYTES_MAX && answers.length > 0) {
        this.#world.send({ message: { questions: asked, answers, isTruncated: true }, to: null });
        asked = [];
        answers = [];
        bytes = 0;
      }
      answers.push(record);
      bytes += size;
    }
    this.#world.send({ message: { questions: asked, answers }, to: null });
  }

  /** RFC 6762 §7.1: those with more than half of their lifetime left; §10.2: without the cache-flush bit. */
  #knownAnswers({ name, type }: Watch, now: number): ResourceRecord[] {
    return this.cache
      .entries(name, type)
      .filter(({ record, expiresAt }) => expiresAt - now > 500 * record.ttl)
      .map(({ record, expiresAt }) => ({ ...record, flush: false, ttl: Math.floor((expiresAt - now) / 1000) }));
  }

  #later(watch: Watch, now: number): void {
    watch.nextAt = now + watch.intervalMs;
    watch.intervalMs = Math.min(2 * watch.intervalMs, INTERVAL_MAX_MS);
  }
}
