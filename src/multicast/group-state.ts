/** What a host has to tell routers of one group on one interface, and when. RFC 3376 §5, RFC 3810 §6. @module */
import type { IpAddress } from '../wire/address.ts';
import {
  ALLOW_NEW_SOURCES,
  BLOCK_OLD_SOURCES,
  CHANGE_TO_EXCLUDE,
  CHANGE_TO_INCLUDE,
  type GroupRecord,
  MODE_IS_EXCLUDE,
  MODE_IS_INCLUDE,
} from '../wire/group-record.ts';
import { AddressMap, AddressSet } from './address-map.ts';
import { common, type Filter, isNobody, NOBODY, passes, without } from './filter.ts';

/**
 * Sources remembered of one group, for reports still to be sent and from queries; beyond, the whole filter is told
 * instead of single sources. RFC 3376 §9.1 asks for a limit against queries with ever new sources.
 */
const SOURCES_MAX = 1024;

const NEVER = Number.POSITIVE_INFINITY;

export class GroupState {
  readonly address: IpAddress;
  /** What the interface takes in. NOBODY: the group was left, which is still to be told. */
  filter: Filter = NOBODY;
  /** When the next report of a change is due. */
  changeAt = NEVER;
  /** Reports of a new filter mode still to be sent, and reports of each source. */
  #modeReports = 0;
  readonly #sourceReports = new AddressMap<number>();
  /** When the answer to a query is due; in older versions any report. */
  answerAt = NEVER;
  /** The sources a query asked for; null: all. */
  #asked: AddressSet | null = null;
  /** Older versions: reports still to be sent unasked, and whether the last one on the link was ours (RFC 2236 §6). */
  unasked = 0;
  isLastReporter = false;

  constructor(address: IpAddress) {
    this.address = address;
  }

  /** Whether there is nothing to remember. */
  get isDone(): boolean {
    return isNobody(this.filter) && this.changeAt === NEVER && this.answerAt === NEVER;
  }

  get dueAt(): number {
    return Math.min(this.changeAt, this.answerAt);
  }

  /**
   * The filter has changed from `before`: RFC 3376 §5.1. Says whether that is to be reported, `robustness` times.
   * The reports are made when they leave, from what the filter is then; so changes of changes need no merging.
   */
  note(before: Filter, robustness: number): boolean {
    const { filter } = this;
    if (filter.isExclude !== before.isExclude) {
      this.noteMode(robustness);
      return true;
    }
    const differing = [...without(filter.sources, before.sources), ...without(before.sources, filter.sources)];
    // "Each time a source is included in the difference report ..., retransmission state for that source needs to be
    // maintained until [Robustness Variable] State-Change reports have been sent by the host."
    for (const source of differing) this.#sourceReports.set(source, robustness);
    if (this.#sourceReports.size > SOURCES_MAX) this.noteMode(robustness);
    return differing.length > 0;
  }

  /** The next `robustness` reports tell mode and whole filter: which covers every source told of before. */
  noteMode(robustness: number): void {
    this.#modeReports = robustness;
    this.#sourceReports.clear();
  }

  /** The records of one state change report: the table of RFC 3376 §5.1. Each call counts as having sent them. */
  takeChange(): GroupRecord[] {
    const { filter, address } = this;
    const listed = [...this.#sourceReports.keys()];
    for (const source of listed) {
      const left = this.#sourceReports.get(source)! - 1;
      if (left > 0) this.#sourceReports.set(source, left);
      else this.#sourceReports.delete(source);
    }
    if (this.#modeReports > 0) {
      this.#modeReports--;
      const type = filter.isExclude ? CHANGE_TO_EXCLUDE : CHANGE_TO_INCLUDE;
      return [{ type, group: address, sources: [...filter.sources] }];
    }
    const isWanted = ({ a, b, c, d }: IpAddress): boolean => passes(filter, a, b, c, d);
    const allowed = listed.filter(isWanted);
    const blocked = listed.filter((source) => !isWanted(source));
    const records: GroupRecord[] = [];
    // "If the computed source list for either an ALLOW or a BLOCK record is empty, that record is omitted."
    if (allowed.length > 0) records.push({ type: ALLOW_NEW_SOURCES, group: address, sources: allowed });
    if (blocked.length > 0) records.push({ type: BLOCK_OLD_SOURCES, group: address, sources: blocked });
    return records;
  }

  get hasChanges(): boolean {
    return this.#modeReports > 0 || this.#sourceReports.size > 0;
  }

  /** A query asks for the group, or for `sources` of it: RFC 3376 §5.2, rules 3 to 5. */
  ask(sources: readonly IpAddress[], at: number): void {
    if (this.answerAt === NEVER) {
      this.#asked = sources.length === 0 ? null : new AddressSet();
      this.answerAt = at;
    } else {
      if (sources.length === 0) this.#asked = null;
      this.answerAt = Math.min(this.answerAt, at);
    }
    if (this.#asked === null) return;
    for (const source of sources) this.#asked.add(source);
    if (this.#asked.size > SOURCES_MAX) this.#asked = null;
  }

  /** The record that answers what was asked, null: there is nothing to say. The table of RFC 3376 §5.2. */
  takeAnswer(): GroupRecord | null {
    const asked = this.#asked;
    this.#asked = null;
    this.answerAt = NEVER;
    if (asked === null) return this.current();
    const { isExclude, sources } = this.filter;
    const named = isExclude ? without(asked, sources) : common(asked, sources);
    // "If the resulting Current-State Record has an empty set of source addresses, then no response is sent."
    return named.length === 0 ? null : { type: MODE_IS_INCLUDE, group: this.address, sources: named };
  }

  /** The current state record of the group, null: not a member. */
  current(): GroupRecord | null {
    if (isNobody(this.filter)) return null;
    const type = this.filter.isExclude ? MODE_IS_EXCLUDE : MODE_IS_INCLUDE;
    return { type, group: this.address, sources: [...this.filter.sources] };
  }

  /** Forgets whatever was to be sent: RFC 3376 §7.2.1, on a change of version. */
  cancel(): void {
    this.changeAt = NEVER;
    this.answerAt = NEVER;
    this.#modeReports = 0;
    this.#sourceReports.clear();
    this.#asked = null;
    this.unasked = 0;
    this.isLastReporter = false;
  }
}
