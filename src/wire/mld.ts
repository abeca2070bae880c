/**
 * Multicast listener discovery: RFC 3810 (version 2), RFC 2710 (version 1). Messages are ICMPv6, and `icmpv6.check` comes
 * first; `p` is the ICMPv6 header. @module
 */
import { IpAddress } from './address.ts';
import { decodeTime, encodeTime, formatRecord, type GroupRecord } from './group-record.ts';
import * as icmpv6 from './icmpv6.ts';
import type { Octets } from './octets.ts';

const MAX_RESPONSE = 4; // u16: milliseconds, in version 2 a code
const GROUP = 8; // u128
const FLAGS = 24; // u4 reserved, u1 suppress, u3 robustness (version 2 query)
const QUERY_INTERVAL = 25; // u8: seconds, a code
const SOURCE_COUNT = 26; // u16
const SOURCES = 28; // u128 each
const RECORD_COUNT = 6; // u16 (version 2 report)
const RECORDS = 8;
const RECORD_TYPE = 0; // u8
const RECORD_AUXILIARY = 1; // u8: words of what follows the sources
const RECORD_SOURCE_COUNT = 2; // u16
const RECORD_GROUP = 4; // u128
const RECORD_SOURCES = 20; // u128 each
const ADDRESS_LENGTH = 16;
/** A message of version 1. */
export const HEADER_LENGTH = 24;
const QUERY_V2_LENGTH = 28;

export const QUERY = 130;
export const REPORT_V1 = 131;
export const DONE = 132;
export const REPORT_V2 = 143;

const SUPPRESS = 0x08;
/** RFC 3810 §5: every message is sent with this hop limit. */
export const HOP_LIMIT = 1;

/** ff02::1, where general queries go; ff02::2, where done goes; ff02::16, where version 2 reports go. */
export const ALL_NODES = new IpAddress(0xff020000, 0, 0, 1);
export const ALL_ROUTERS = new IpAddress(0xff020000, 0, 0, 2);
export const ALL_REPORTS = new IpAddress(0xff020000, 0, 0, 0x16);

/** Why a message was dropped. */
export type Drop = 'mld-bad-length' | 'mld-bad-source' | 'mld-bad-hop-limit';

/** Whether an ICMPv6 type is one of MLD's. */
export const isMld = (type: number): boolean =>
  type === QUERY || type === REPORT_V1 || type === DONE || type === REPORT_V2;

/** The group of a query, a version 1 report or a done. */
export const group = (dv: DataView, p: number): IpAddress => readAddress(dv, p + GROUP);

const readAddress = (dv: DataView, p: number): IpAddress =>
  new IpAddress(dv.getInt32(p), dv.getInt32(p + 4), dv.getInt32(p + 8), dv.getInt32(p + 12));

function emitAddress(dv: DataView, p: number, { a, b, c, d }: IpAddress): void {
  dv.setInt32(p, a);
  dv.setInt32(p + 4, b);
  dv.setInt32(p + 8, c);
  dv.setInt32(p + 12, d);
}

/**
 * Says why the message in `[p, end)` must be dropped, or null. After null nothing here reads out of bounds.
 * @param hopLimit - of the IPv6 header   @param source - its source address
 */
export function check(dv: DataView, p: number, end: number, hopLimit: number, source: IpAddress): Drop | null {
  // RFC 3810 §6.2: a query whose hop limit is not 1 or whose source is not link-local is dropped; §7.4 asks the same of
  // reports, which may come from the unspecified address too (§5.2.13).
  if (hopLimit !== HOP_LIMIT) return 'mld-bad-hop-limit';
  const bad = checkLength(dv, p, end);
  if (bad !== null) return bad;
  const isQuery = icmpv6.type(dv, p) === QUERY;
  if (!isLinkLocal(source) && (isQuery || !source.isUnspecified)) return 'mld-bad-source';
  return null;
}

const isLinkLocal = (address: IpAddress): boolean => !address.isV4 && address.isLinkLocal;

/** As {@link check}, of the message alone: for tools, which know no more. */
export function checkLength(dv: DataView, p: number, end: number): Drop | null {
  const length = end - p;
  if (length < icmpv6.HEADER_LENGTH) return 'mld-bad-length';
  if (icmpv6.type(dv, p) === REPORT_V2) return recordsFit(dv, p, end) ? null : 'mld-bad-length';
  if (length < HEADER_LENGTH) return 'mld-bad-length';
  if (icmpv6.type(dv, p) !== QUERY || length === HEADER_LENGTH) return null;
  // RFC 3810 §8.1: queries of other lengths than 24 and 28 or more MUST be silently ignored.
  if (length < QUERY_V2_LENGTH) return 'mld-bad-length';
  return SOURCES + ADDRESS_LENGTH * dv.getUint16(p + SOURCE_COUNT) > length ? 'mld-bad-length' : null;
}

/** A listener query. */
export interface Query {
  /** RFC 3810 §8.1: from the length. */
  readonly version: 1 | 2;
  /** `::` in a general query. */
  readonly group: IpAddress;
  /** The longest delay of an answer. */
  readonly maxResponseMs: number;
  /** Version 2: routers shall not update their timers; robustness, 0 where it is above 7; seconds between queries. */
  readonly suppress: boolean;
  readonly robustness: number;
  readonly intervalSeconds: number;
  readonly sources: readonly IpAddress[];
}

/** Reads a query that {@link check} found good. Its sources are as many as the message holds, 4095 at most. */
export function parseQuery(dv: DataView, p: number, end: number): Query {
  const code = dv.getUint16(p + MAX_RESPONSE);
  if (end - p < QUERY_V2_LENGTH) {
    const none = { suppress: false, robustness: 0, intervalSeconds: 0, sources: [] };
    return { version: 1, group: group(dv, p), maxResponseMs: code, ...none };
  }
  const flags = dv.getUint8(p + FLAGS);
  return {
    version: 2,
    group: group(dv, p),
    maxResponseMs: decodeTime(code, 16),
    suppress: (flags & SUPPRESS) !== 0,
    robustness: flags & 7,
    intervalSeconds: decodeTime(dv.getUint8(p + QUERY_INTERVAL), 8),
    sources: readSources(dv, p + SOURCES, dv.getUint16(p + SOURCE_COUNT)),
  };
}

/** Reads the records of a version 2 report that {@link check} found good. */
export function parseRecords(dv: DataView, p: number): GroupRecord[] {
  const records: GroupRecord[] = [];
  let at = p + RECORDS;
  for (let i = dv.getUint16(p + RECORD_COUNT); i > 0; i--) {
    const sources = readSources(dv, at + RECORD_SOURCES, dv.getUint16(at + RECORD_SOURCE_COUNT));
    records.push({ type: dv.getUint8(at + RECORD_TYPE), group: readAddress(dv, at + RECORD_GROUP), sources });
    at += recordLength(dv, at);
  }
  return records;
}

const readSources = (dv: DataView, p: number, count: number): IpAddress[] =>
  Array.from({ length: count }, (_, i) => readAddress(dv, p + ADDRESS_LENGTH * i));

const recordLength = (dv: DataView, at: number): number =>
  RECORD_SOURCES + ADDRESS_LENGTH * dv.getUint16(at + RECORD_SOURCE_COUNT) + 4 * dv.getUint8(at + RECORD_AUXILIARY);

function recordsFit(dv: DataView, p: number, end: number): boolean {
  let at = p + RECORDS;
  for (let i = dv.getUint16(p + RECORD_COUNT); i > 0; i--) {
    if (at + RECORD_SOURCES > end) return false;
    at += recordLength(dv, at);
  }
  return at <= end;
}

/**
 * Writes a message of version 1 at `p`: a report, a done or a query; {@link HEADER_LENGTH} bytes.
 * @param delayMs - 0 but in a query   @param pseudo - sum of the pseudo-header without the length
 */
export function emit(
  o: Octets,
  p: number,
  type: number,
  delayMs: number,
  groupAddress: IpAddress,
  pseudo: number,
): void {
  emitAddress(o.dv, p + GROUP, groupAddress);
  icmpv6.emit(o, p, type, 0, delayMs << 16, HEADER_LENGTH, pseudo);
}

/** Writes a version 2 query at `p`; returns its length. */
export function emitQuery(o: Octets, p: number, query: Omit<Query, 'version'>, pseudo: number): number {
  const { dv } = o;
  emitAddress(dv, p + GROUP, query.group);
  dv.setUint8(p + FLAGS, (query.suppress ? SUPPRESS : 0) | query.robustness);
  dv.setUint8(p + QUERY_INTERVAL, encodeTime(query.intervalSeconds, 8));
  dv.setUint16(p + SOURCE_COUNT, query.sources.length);
  for (const [i, source] of query.sources.entries()) emitAddress(dv, p + SOURCES + ADDRESS_LENGTH * i, source);
  const length = SOURCES + ADDRESS_LENGTH * query.sources.length;
  icmpv6.emit(o, p, QUERY, 0, encodeTime(query.maxResponseMs, 16) << 16, length, pseudo);
  return length;
}

/** Bytes of a version 2 report of these records. */
export const reportLength = (records: readonly GroupRecord[]): number =>
  records.reduce((sum, { sources }) => sum + RECORD_SOURCES + ADDRESS_LENGTH * sources.length, RECORDS);

/** Writes a version 2 report at `p`; returns its length. */
export function emitReport(o: Octets, p: number, records: readonly GroupRecord[], pseudo: number): number {
  const { dv } = o;
  let at = p + RECORDS;
  for (const record of records) {
    dv.setInt32(at, (record.type << 24) | record.sources.length);
    emitAddress(dv, at + RECORD_GROUP, record.group);
    at += RECORD_SOURCES;
    for (const source of record.sources) {
      emitAddress(dv, at, source);
      at += ADDRESS_LENGTH;
    }
  }
  icmpv6.emit(o, p, REPORT_V2, 0, records.length, at - p, pseudo);
  return at - p;
}

/** `multicast listener query v2 max resp delay: 10000 addr: ::`, as tcpdump prints it, for a good message. */
export function format(dv: DataView, p: number, end: number): string {
  switch (icmpv6.type(dv, p)) {
    case QUERY: {
      const query = parseQuery(dv, p, end);
      const sources = query.sources.length === 0 ? '' : ` {${query.sources.map((s) => ` ${s}`).join('')} }`;
      const version = query.version === 2 ? ' v2' : '';
      return `multicast listener query${version} max resp delay: ${query.maxResponseMs} addr: ${query.group}${sources}`;
    }
    case REPORT_V1:
      return `multicast listener report ${group(dv, p)}`;
    case DONE:
      return `multicast listener done ${group(dv, p)}`;
    default: {
      const records = parseRecords(dv, p);
      const list = records.map((record) => ` ${formatRecord(record)}`).join('');
      return `multicast listener report v2, ${records.length} group record(s)${list}`;
    }
  }
}
