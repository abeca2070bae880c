/**
 * Source filters: which senders of a group are wanted. RFC 3376 §2 and §3, RFC 3810 §3 and §4.2; both families have the
 * same rules. @module
 */
import type { IpAddress } from '../wire/address.ts';
import { AddressSet } from './address-map.ts';

/** A filter as RFC 3376 §2 names its parts; immutable. */
export interface Filter {
  /** EXCLUDE: all senders but `sources`. Otherwise INCLUDE: `sources` only. */
  readonly isExclude: boolean;
  readonly sources: AddressSet;
}

const NONE = new AddressSet();

/** INCLUDE {}: nobody, which is the same as not being a member. */
export const NOBODY: Filter = { isExclude: false, sources: NONE };
/** EXCLUDE {}: any source. */
export const ANYBODY: Filter = { isExclude: true, sources: NONE };

export const includeOf = (sources: Iterable<IpAddress>): Filter => ({
  isExclude: false,
  sources: new AddressSet(sources),
});
export const excludeOf = (sources: Iterable<IpAddress>): Filter => ({
  isExclude: true,
  sources: new AddressSet(sources),
});

/** Whether the filter keeps everybody out. */
export const isNobody = (filter: Filter): boolean => !filter.isExclude && filter.sources.size === 0;

/** Whether a packet from the source of these words passes. */
export const passes = (filter: Filter, a: number, b: number, c: number, d: number): boolean =>
  filter.sources.size === 0 ? filter.isExclude : filter.sources.hasWords(a, b, c, d) !== filter.isExclude;

/** The members of `a` that are not in `b`. */
export function without(a: Iterable<IpAddress>, b: AddressSet): IpAddress[] {
  const left: IpAddress[] = [];
  for (const address of a) if (!b.has(address)) left.push(address);
  return left;
}

/** The members of both. */
export function common(a: Iterable<IpAddress>, b: AddressSet): IpAddress[] {
  const both: IpAddress[] = [];
  for (const address of a) if (b.has(address)) both.push(address);
  return both;
}

/**
 * What an interface must receive so that each of these filters has what it wants: RFC 3376 §3.2, RFC 3810 §4.2.
 * "If any such record has a filter mode of EXCLUDE, then the filter mode of the interface record is EXCLUDE, and the
 * source list is the intersection of the source lists of all records in EXCLUDE mode, minus those source addresses that
 * appear in any of the records in INCLUDE mode"; else it is INCLUDE with the union.
 */
export function merge(filters: Iterable<Filter>): Filter {
  const included = new AddressSet();
  let excluded: AddressSet | null = null;
  for (const { isExclude, sources } of filters) {
    if (!isExclude) for (const source of sources) included.add(source);
    else if (excluded === null) excluded = sources;
    else if (excluded.size > 0) excluded = new AddressSet(common(excluded, sources));
  }
  if (excluded === null) return included.size === 0 ? NOBODY : { isExclude: false, sources: included };
  return excluded.size === 0 ? ANYBODY : excludeOf(without(excluded, included));
}
