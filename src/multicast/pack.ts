/** Records into reports: RFC 3376 §4.2.16, RFC 3810 §5.2.15. @module */
import { CHANGE_TO_EXCLUDE, type GroupRecord, MODE_IS_EXCLUDE } from '../wire/group-record.ts';

/** Bytes: for the records of one report at most, of a record without sources, of a source. */
export interface ReportSize {
  readonly reportBytes: number;
  readonly recordBytes: number;
  readonly sourceBytes: number;
}

/** Records of reports, each as long as a packet may be, in the order given. */
export function packReports(records: readonly GroupRecord[], size: ReportSize): GroupRecord[][] {
  const { reportBytes, recordBytes, sourceBytes } = size;
  const reports: GroupRecord[][] = [];
  let left = 0;
  for (const record of records) {
    for (const part of splitRecord(record, Math.max(1, Math.floor((reportBytes - recordBytes) / sourceBytes)))) {
      const bytes = recordBytes + sourceBytes * part.sources.length;
      if (reports.length === 0 || bytes > left) {
        reports.push([]);
        left = reportBytes;
      }
      reports[reports.length - 1]!.push(part);
      left -= bytes;
    }
  }
  return reports;
}

/** Cuts a record with more sources than a report holds. */
function splitRecord(record: GroupRecord, sourcesMax: number): GroupRecord[] {
  const { type, sources } = record;
  if (sources.length <= sourcesMax) return [record];
  // "... a single Group Record is sent, containing as many source addresses as can fit, and the remaining source
  // addresses are not reported": more would be let through than is wanted, never less.
  if (type === MODE_IS_EXCLUDE || type === CHANGE_TO_EXCLUDE) {
    return [{ ...record, sources: sources.slice(0, sourcesMax) }];
  }
  const parts: GroupRecord[] = [];
  for (let at = 0; at < sources.length; at += sourcesMax) {
    parts.push({ ...record, sources: sources.slice(at, at + sourcesMax) });
  }
  return parts;
}
