/**
 * The host side of IGMP and of MLD on one interface: when to report which groups to routers. RFC 3376 §5 and §7, RFC 3810
 * §6 and §8, which are one state machine; RFC 2236 and RFC 2710 for older routers, which are another. Versions are called
 * generations here: 3 for IGMPv3 and MLDv2, 2 for IGMPv2 and MLDv1, 1 for IGMPv1.
 * Missing on purpose: suppression by older reports while the querier is of generation 3 (RFC 3376 §7.2.2 allows it).
 * @module
 */
import type { Context } from '../iface/context.ts';
import type { Timed } from '../iface/timers.ts';
import type { IpAddress } from '../wire/address.ts';
import type { GroupRecord } from '../wire/group-record.ts';
import { AddressMap } from './address-map.ts';
import { type Filter, isNobody } from './filter.ts';
import { GroupState } from './group-state.ts';
import type { Group } from './groups.ts';
import { packReports, type ReportSize } from './pack.ts';

export type Generation = 1 | 2 | 3;

/** RFC 3376 §8, RFC 3810 §9: what holds until a querier says otherwise. */
const ROBUSTNESS_DEFAULT = 2;
const QUERY_INTERVAL_MS = 125_000;
/** RFC 3376 §8.11, RFC 3810 §9.11; RFC 2236 §8.10 and RFC 2710 §7.10 for older queriers. */
const UNSOLICITED_INTERVAL_MS = 1000;
const UNSOLICITED_INTERVAL_OLD_MS = 10_000;
/** RFC 3376 §7.2.1: what a query of IGMPv1 stands for. */
const RESPONSE_V1_MS = 10_000;
/**
 * No answer comes sooner: who asks for answers at once, as often as he can, gets a hundred a second. Queriers in use
 * give a tenth of a second and more.
 */
const ANSWER_MIN_MS = 10;

const NEVER = Number.POSITIVE_INFINITY;

/** A membership or listener query, of either family. */
export interface HostQuery {
  readonly generation: Generation;
  /** Whether the interface is to speak the query's older generation from now on. */
  readonly demotes: boolean;
  /** Null in a general query. */
  readonly group: IpAddress | null;
  readonly maxResponseMs: number;
  /** 0: the default. */
  readonly robustness: number;
  readonly intervalSeconds: number;
  readonly sources: readonly IpAddress[];
}

/** What writes the messages: IGMP or MLD. */
export interface Speaker {
  /** The room in a report, and what records take of it. */
  readonly size: ReportSize;
  report(records: readonly GroupRecord[]): void;
  reportOld(group: IpAddress, generation: 1 | 2): void;
  leave(group: IpAddress): void;
}

export class Reporter implements Timed {
  timerAt = 0;
  timerIndex = -1;
  readonly #context: Context;
  readonly #speaker: Speaker;
  readonly #groups = new AddressMap<GroupState>();
  #generation: Generation = 3;
  #robustness = ROBUSTNESS_DEFAULT;
  #queryIntervalMs = QUERY_INTERVAL_MS;
  /** RFC 3376 §7.2.1: until when queriers of generation 1 and 2 count as present. */
  #presentUntil1 = 0;
  #presentUntil2 = 0;
  /** When the answer to a general query is due. */
  #answerAllAt = NEVER;

  constructor(context: Context, speaker: Speaker) {
    this.#context = context;
    this.#speaker = speaker;
  }

  /** The host compatibility mode: RFC 3376 §7.2.1, RFC 3810 §8.2.1. */
  get generation(): Generation {
    return this.#generation;
  }

  /** The filter of a group was `before` and is another now. */
  changed({ address, filter }: Group, before: Filter): void {
    const state = this.#groups.get(address) ?? new GroupState(address);
    this.#groups.set(address, state);
    state.filter = filter;
    if (this.#generation === 3) {
      // RFC 3376 §5.1: at once; and whatever was pending is told in the same report.
      if (state.note(before, this.#robustness)) this.#changeNow(state);
    } else if (isNobody(before) !== isNobody(filter)) this.#changedOld(state);
    if (state.isDone) this.#groups.delete(address);
  }

  #changeNow(state: GroupState): void {
    state.changeAt = this.#context.nowMs;
    this.#context.timers.atMost(this, state.changeAt);
  }

  /** RFC 2236 §3: a report at once, and once more in case it is lost; a leave where ours was the last report. */
  #changedOld(state: GroupState): void {
    if (!isNobody(state.filter)) {
      state.unasked = this.#robustness;
      this.#answerAt(state, this.#context.nowMs);
      return;
    }
    const isToTell = state.isLastReporter && this.#generation === 2;
    state.cancel();
    if (isToTell) this.#speaker.leave(state.address);
  }

  #answerAt(state: GroupState, at: number): void {
    state.answerAt = at;
    this.#context.timers.atMost(this, at);
  }

  /** A query has come. */
  query(query: HostQuery): void {
    this.#learn(query);
    const { nowMs, timers } = this.#context;
    if (this.#generation < 3) {
      this.#queryOld(query);
      return;
    }
    const at = nowMs + this.#draw(query.maxResponseMs, ANSWER_MIN_MS);
    // RFC 3376 §5.2, rule 1: an answer that is due sooner says all of it. Rule 2: an earlier one replaces it.
    if (this.#answerAllAt <= at) return;
    if (query.group === null) {
      this.#answerAllAt = at;
    } else {
      const state = this.#groups.get(query.group);
      if (state === undefined || isNobody(state.filter)) return;
      state.ask(query.sources, at);
    }
    timers.atMost(this, at);
  }

  /** RFC 2236 §3: one timer a group; RFC 1112 Appendix I the same, and its queries are all general ones. */
  #queryOld({ group, maxResponseMs }: HostQuery): void {
    const isOldest = this.#generation === 1;
    const mostMs = isOldest ? RESPONSE_V1_MS : maxResponseMs;
    for (const state of this.#groups.values()) {
      if (isNobody(state.filter) || !(group === null || isOldest || group.equals(state.address))) continue;
      // "... reset to the random value only if the requested Max Response Time is less than the remaining value".
      if (state.answerAt - this.#context.nowMs <= mostMs) continue;
      this.#answerAt(state, this.#context.nowMs + this.#draw(mostMs, ANSWER_MIN_MS));
    }
  }

  /** What a query tells about the querier. */
  #learn(query: HostQuery): void {
    const { nowMs, timers } = this.#context;
    if (query.generation === 3) {
      // RFC 3376 §4.1.6, §4.1.7: 0 means that the querier does not say.
      this.#robustness = query.robustness === 0 ? ROBUSTNESS_DEFAULT : query.robustness;
      this.#queryIntervalMs = query.intervalSeconds === 0 ? QUERY_INTERVAL_MS : query.intervalSeconds * 1000;
    } else if (query.demotes) {
      // RFC 3376 §8.12, RFC 3810 §9.12: "Older Version Querier Present Timeout".
      const until = nowMs + this.#robustness * this.#queryIntervalMs + query.maxResponseMs;
      if (query.generation === 1) this.#presentUntil1 = until;
      else this.#presentUntil2 = until;
      timers.atMost(this, until);
    }
    this.#updateGeneration();
  }

  #updateGeneration(): void {
    const { nowMs } = this.#context;
    const generation = this.#presentUntil1 > nowMs ? 1 : this.#presentUntil2 > nowMs ? 2 : 3;
    if (generation === this.#generation) return;
    this.#generation = generation;
    // RFC 3376 §7.2.1: "it cancels all of its pending response and retransmission timers".
    this.#answerAllAt = NEVER;
    for (const state of [...this.#groups.values()]) {
      state.cancel();
      if (state.isDone) this.#groups.delete(state.address);
    }
  }

  /** Another member has reported `group` in an older version: RFC 2236 §3, RFC 3376 §7.2.1: ours is not needed. */
  heard(group: IpAddress): void {
    const state = this.#groups.get(group);
    if (state === undefined || this.#generation === 3) return;
    state.answerAt = NEVER;
    state.unasked = 0;
    state.isLastReporter = false;
  }

  /** Reports every group anew: what was sent from no valid address may not have counted (RFC 3590 §4). */
  restart(): void {
    for (const state of this.#groups.values()) {
      if (isNobody(state.filter)) continue;
      if (this.#generation === 3) {
        state.noteMode(this.#robustness);
        this.#changeNow(state);
      } else this.#changedOld(state);
    }
  }

  expire(): void {
    const { nowMs, timers } = this.#context;
    this.#updateGeneration();
    this.#sendChanges();
    if (this.#generation === 3) this.#sendAnswers();
    else this.#sendOld();
    let next = this.#answerAllAt;
    for (const state of [...this.#groups.values()]) {
      next = Math.min(next, state.dueAt);
      if (state.isDone) this.#groups.delete(state.address);
    }
    for (const until of [this.#presentUntil1, this.#presentUntil2]) if (until > nowMs) next = Math.min(next, until);
    if (next !== NEVER) timers.atMost(this, next);
  }

  /** Sends the changes that are due, and plans their repetition. */
  #sendChanges(): void {
    const { nowMs } = this.#context;
    const records: GroupRecord[] = [];
    // RFC 3376 §5.1: "at intervals chosen at random from the range (0, [Unsolicited Report Interval])"; those that go
    // together now do so again.
    const againAt = nowMs + this.#draw(UNSOLICITED_INTERVAL_MS, 1);
    for (const state of this.#groups.values()) {
      if (state.changeAt > nowMs) continue;
      records.push(...state.takeChange());
      state.changeAt = state.hasChanges ? againAt : NEVER;
    }
    this.#send(records);
  }

  #sendAnswers(): void {
    const { nowMs } = this.#context;
    const isForAll = this.#answerAllAt <= nowMs;
    if (isForAll) this.#answerAllAt = NEVER;
    const records: GroupRecord[] = [];
    for (const state of this.#groups.values()) {
      const answer = state.answerAt <= nowMs ? state.takeAnswer() : null;
      const record = isForAll ? state.current() : answer;
      if (record !== null) records.push(record);
    }
    this.#send(records);
  }

  #sendOld(): void {
    const { nowMs } = this.#context;
    const generation = this.#generation as 1 | 2;
    for (const state of this.#groups.values()) {
      if (state.answerAt > nowMs) continue;
      this.#speaker.reportOld(state.address, generation);
      state.isLastReporter = true;
      state.unasked = Math.max(0, state.unasked - 1);
      state.answerAt = state.unasked > 0 ? nowMs + this.#draw(UNSOLICITED_INTERVAL_OLD_MS, 1) : NEVER;
    }
  }

  #send(records: readonly GroupRecord[]): void {
    for (const report of packReports(records, this.#speaker.size)) this.#speaker.report(report);
  }

  /** A whole number of ms of [least, most], evenly. */
  #draw(most: number, least: number): number {
    return Math.max(least, Math.ceil((this.#context.random() / 2 ** 32) * most));
  }

  /** Sends what was to be told right now, and forgets everything. */
  close(): void {
    if (this.#generation === 3) this.#sendChanges();
    this.#context.timers.cancel(this);
    this.#groups.clear();
  }
}
