/**
 * IGMP: RFC 3376 (version 3), RFC 2236 (version 2), RFC 1112 Appendix I (version 1). Read both ways: a host hears queries
 * and older reports, and sends reports; queries are written for tests and routers. @module
 */
import { IpAddress } from './address.ts';
import { decodeTime, encodeTime, formatRecord, type GroupRecord } from './group-record.ts';
import type { Octets } from './octets.ts';

const TYPE = 0; // u8
const MAX_RESPONSE = 1; // u8: tenths of a second, in version 3 a code
const CHECKSUM = 2; // u16, of the whole IGMP message
const GROUP = 4; // u32
const FLAGS = 8; // u4 reserved, u1 suppress, u3 robustness (version 3 query)
const QUERY_INTERVAL = 9; // u8: seconds, a code
const SOURCE_COUNT = 10; // u16
const SOURCES = 12; // u32 each
const RECORD_COUNT = 6; // u16 (version 3 report)
const RECORDS = 8;
const RECORD_TYPE = 0; // u8
const RECORD_AUXILIARY = 1; // u8: words of what follows the sources
const RECORD_SOURCE_COUNT = 2; // u16
const RECORD_GROUP = 4; // u32
const RECORD_SOURCES = 8; // u32 each
/** A message of versions 1 and 2, and the least of any. */
export const HEADER_LENGTH = 8;
const QUERY_V3_LENGTH = 12;

export const QUERY = 0x11;
export const REPORT_V1 = 0x12;
export const REPORT_V2 = 0x16;
export const LEAVE = 0x17;
export const REPORT_V3 = 0x22;

const SUPPRESS = 0x08;

/** 224.0.0.1, where general queries go; 224.0.0.2, where leaves go; 224.0.0.22, where version 3 reports go. */
export const ALL_SYSTEMS = IpAddress.v4(0xe0000001);
export const ALL_ROUTERS = IpAddress.v4(0xe0000002);
export const ALL_REPORTS = IpAddress.v4(0xe0000016);

/** Why a message was dropped. */
export type Drop = 'igmp-truncated' | 'igmp-bad-length' | 'igmp-bad-checksum';

export const type = (dv: DataView, p: number): number => dv.getUint8(p + TYPE);
/** As it stands: what it means depends on the version. */
export const maxResponseCode = (dv: DataView, p: number): number => dv.getUint8(p + MAX_RESPONSE);
export const group = (dv: DataView, p: number): IpAddress => IpAddress.v4(dv.getInt32(p + GROUP));

/**
 * Says why the message in `[p, end)` must be dropped, or null. After null nothing here reads out of bounds. An unknown
 * type passes: RFC 3376 §4 has it ignored.
 */
export function check(o: Octets, p: number, end: number): Drop | null {
  const { dv } = o;
  const length = end - p;
  if (length < HEADER_LENGTH) return 'igmp-truncated';
  // RFC 3376 §4.1.2: the checksum covers the whole payload of the IP packet, and MUST be verified.
  if (o.sum(p, length, 0) !== 0xffff) return 'igmp-bad-checksum';
  if (type(dv, p) === REPORT_V3) return recordsEnd(dv, p, end) < 0 ? 'igmp-bad-length' : null;
  if (type(dv, p) !== QUERY || length === HEADER_LENGTH) return null;
  // RFC 3376 §7.1: queries of other lengths than 8 and 12 or more MUST be silently ignored.
  if (length < QUERY_V3_LENGTH) return 'igmp-bad-length';
  return SOURCES + 4 * dv.getUint16(p + SOURCE_COUNT) > length ? 'igmp-bad-length' : null;
}

/** A membership query. */
export interface Query {
  /** RFC 3376 §7.1: from the length and the response time. */
  readonly version: 1 | 2 | 3;
  /** 0.0.0.0 in a general query. */
  readonly group: IpAddress;
  /** The longest delay of an answer; version 1 has none of its own, and counts as 10 s (RFC 3376 §7.2.1). */
  readonly maxResponseMs: number;
  /** Version 3: routers shall not update their timers; robustness, 0 where it is above 7; seconds between queries. */
  readonly suppress: boolean;
  readonly robustness: number;
  readonly intervalSeconds: number;
  readonly sources: readonly IpAddress[];
}

/** RFC 2236 §4, RFC 3376 §7.2.1: what a query of version 1 gives, in tenths of a second. */
const MAX_RESPONSE_V1 = 100;

/** Reads a query that {@link check} found good. Its sources are as many as the message holds, 16380 at most. */
export function parseQuery(dv: DataView, p: number, end: number): Query {
  const code = maxResponseCode(dv, p);
  if (end - p < QUERY_V3_LENGTH) {
    const tenths = code === 0 ? MAX_RESPONSE_V1 : code;
    const none = { suppress: false, robustness: 0, intervalSeconds: 0, sources: [] };
    return { version: code === 0 ? 1 : 2, group: group(dv, p), maxResponseMs: tenths * 100, ...none };
  }
  const flags = dv.getUint8(p + FLAGS);
  return {
    version: 3,
    group: group(dv, p),
    maxResponseMs: decodeTime(code, 8) * 100,
    suppress: (flags & SUPPRESS) !== 0,
    robustness: flags & 7,
    intervalSeconds: decodeTime(dv.getUint8(p + QUERY_INTERVAL), 8),
    sources: readSources(dv, p + SOURCES, dv.getUint16(p + SOURCE_COUNT)),
  };
}

/** Reads the records of a version 3 report that {@link check} found good. */
export function parseRecords(dv: DataView, p: number): GroupRecord[] {
  const records: GroupRecord[] = [];
  let at = p + RECORDS;
  for (let i = dv.getUint16(p + RECORD_COUNT); i > 0; i--) {
    const sources = readSources(dv, at + RECORD_SOURCES, dv.getUint16(at + RECORD_SOURCE_COUNT));
    records.push({ type: dv.getUint8(at + RECORD_TYPE), group: group(dv, at + RECORD_GROUP - GROUP), sources });
    at += recordLength(dv, at);
  }
  return records;
}

const readSources = (dv: DataView, p: number, count: number): IpAddress[] =>
  Array.from({ length: count }, (_, i) => IpAddress.v4(dv.getInt32(p + 4 * i)));

const recordLength = (dv: DataView, at: number): number =>
  RECORD_SOURCES + 4 * (dv.getUint16(at + RECORD_SOURCE_COUNT) + dv.getUint8(at + RECORD_AUXILIARY));

/** Where the last record ends, or -1 where one would end behind `end`. */
function recordsEnd(dv: DataView, p: number, end: number): number {
  let at = p + RECORDS;
  for (let i = dv.getUint16(p + RECORD_COUNT); i > 0; i--) {
    if (at + RECORD_SOURCES > end) return -1;
    at += recordLength(dv, at);
  }
  return at > end ? -1 : at;
}

/** Writes a message of versions 1 and 2 at `p`: a report, a leave or a query; 8 bytes. @param tenths - 0 but in a query */
export function emit(o: Octets, p: number, messageType: number, tenths: number, groupAddress: IpAddress): void {
  o.dv.setInt32(p, (messageType << 24) | (tenths << 16));
  o.dv.setInt32(p + GROUP, groupAddress.d);
  complete(o, p, HEADER_LENGTH);
}

/** Writes a version 3 query at `p`; returns its length. */
export function emitQuery(o: Octets, p: number, query: Omit<Query, 'version'>): number {
  const { dv } = o;
  dv.setInt32(p, (QUERY << 24) | (encodeTime(query.maxResponseMs / 100, 8) << 16));
  dv.setInt32(p + GROUP, query.group.d);
  dv.setUint8(p + FLAGS, (query.suppress ? SUPPRESS : 0) | query.robustness);
  dv.setUint8(p + QUERY_INTERVAL, encodeTime(query.intervalSeconds, 8));
  dv.setUint16(p + SOURCE_COUNT, query.sources.length);
  for (const [i, source] of query.sources.entries()) dv.setInt32(p + SOURCES + 4 * i, source.d);
  const length = SOURCES + 4 * query.sources.length;
  complete(o, p, length);
  return length;
}

/** Bytes of a version 3 report of these records. */
export const reportLength = (records: readonly GroupRecord[]): number =>
  records.reduce((sum, { sources }) => sum + RECORD_SOURCES + 4 * sources.length, RECORDS);

/** Writes a version 3 report at `p`; returns its length. */
export function emitReport(o: Octets, p: number, records: readonly GroupRecord[]): number {
  const { dv } = o;
  dv.setInt32(p, REPORT_V3 << 24);
  dv.setInt32(p + RECORD_COUNT - 2, records.length);
  let at = p + RECORDS;
  for (const record of records) {
    dv.setInt32(at, (record.type << 24) | record.sources.length);
    dv.setInt32(at + RECORD_GROUP, record.group.d);
    at += RECORD_SOURCES;
    for (const source of record.sources) {
      dv.setInt32(at, source.d);
      at += 4;
    }
  }
  complete(o, p, at - p);
  return at - p;
}

function complete(o: Octets, p: number, length: number): void {
  o.dv.setUint16(p + CHECKSUM, 0);
  o.dv.setUint16(p + CHECKSUM, ~o.sum(p, length, 0) & 0xffff, true);
}

/** `igmp query v3`, `igmp v2 report 224.1.1.1`, `igmp v3 report, 1 group record(s) [gaddr 224.1.1.1 to_ex { }]`. */
export function format(dv: DataView, p: number, end: number): string {
  switch (type(dv, p)) {
    case QUERY: {
      const query = parseQuery(dv, p, end);
      const about = query.group.isUnspecified ? '' : ` [gaddr ${query.group}]`;
      const sources = query.sources.length === 0 ? '' : ` {${query.sources.map((s) => ` ${s}`).join('')} }`;
      const delay = query.version === 1 ? '' : ` [max resp time ${query.maxResponseMs / 1000}s]`;
      return `igmp query v${query.version}${delay}${about}${sources}`;
    }
    case REPORT_V1:
      return `igmp v1 report ${group(dv, p)}`;
    case REPORT_V2:
      return `igmp v2 report ${group(dv, p)}`;
    case LEAVE:
      return `igmp leave ${group(dv, p)}`;
    case REPORT_V3: {
      const records = parseRecords(dv, p);
      return `igmp v3 report, ${records.length} group record(s)${records.map((r) => ` ${formatRecord(r)}`).join('')}`;
    }
    default:
      return `igmp-#${type(dv, p)}`;
  }
}
