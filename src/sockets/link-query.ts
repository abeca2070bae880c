/** One question to the link, and when its answer is whole: RFC 6762 §5.1 and §5.2. @module */
import type { Answer, WatchListener } from '../dns/index.ts';
import type { Clock } from '../sim/clock.ts';
import { dataKey, NOERROR, NXDOMAIN, type RecordType, type ResourceRecord } from '../wire/dns.ts';

/** How long an answer is waited for: questions go out at once, and a second later. */
const QUERY_MS = 3000;
/** How long it goes on once a first answer came that others may add to. */
const SHARED_MS = 1000;
/** When to give up on one family of a name whose other family is known: most answerers send both at once. */
const SIBLING_MS = 500;

/** What a question needs of mDNS. */
export interface LinkQueryWorld {
  /** Begins to ask; the function ends it. @throws NetError ENOBUFS */
  watch(listener: WatchListener): () => void;
  /** Whether the name has records of another type. */
  hasOther(type: RecordType): boolean;
}

export class LinkQuery {
  readonly answer: Promise<Answer>;
  readonly #clock: Clock;
  readonly #zone: number;
  readonly #records = new Map<string, ResourceRecord>();
  readonly #timers: number[] = [];
  #resolve!: (answer: Answer) => void;
  #reject!: (error: unknown) => void;
  #unwatch = (): void => {};

  /** @param zone - of the link: what its hosts say of link-local addresses is about this link (RFC 4007 §11.2) */
  constructor(clock: Clock, type: RecordType, zone: number, world: LinkQueryWorld) {
    this.#clock = clock;
    this.#zone = zone;
    this.answer = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    try {
      this.#unwatch = world.watch((event, record) => this.#heard(event, record));
    } catch (error) {
      this.fail(error);
      return;
    }
    this.#after(QUERY_MS, () => this.#finish());
    const sibling = type === 'A' ? 'AAAA' : type === 'AAAA' ? 'A' : null;
    if (sibling === null) return;
    this.#after(SIBLING_MS, () => {
      if (world.hasOther(sibling)) this.#finish();
    });
  }

  #heard(event: 'added' | 'removed' | 'denied', record: ResourceRecord): void {
    if (event === 'denied') {
      // RFC 6762 §6.1: the name is there, and has nothing of the type.
      this.#after(0, () => this.#end({ rcode: NOERROR, records: [] }));
      return;
    }
    const key = dataKey(record);
    if (event === 'removed') {
      this.#records.delete(key);
      return;
    }
    const isLinkAddress = record.type === 'AAAA';
    this.#records.set(key, isLinkAddress ? { ...record, address: record.address.withZone(this.#zone) } : record);
    // Unique records come all in one message (RFC 6762 §10.2); to shared ones others may add.
    if (this.#records.size === 1) this.#after(record.flush ? 0 : SHARED_MS, () => this.#finish());
  }

  #after(ms: number, action: () => void): void {
    this.#timers.push(this.#clock.setTimer(this.#clock.now() + ms, action));
  }

  #finish(): void {
    const records = [...this.#records.values()];
    this.#end({ rcode: records.length > 0 ? NOERROR : NXDOMAIN, records });
  }

  #end(answer: Answer): void {
    this.#clear();
    this.#resolve(answer);
  }

  /** Ends it: cancelled, or closed. */
  fail(error: unknown): void {
    this.#clear();
    this.#reject(error);
  }

  #clear(): void {
    for (const timer of this.#timers) this.#clock.clearTimer(timer);
    this.#unwatch();
  }
}
