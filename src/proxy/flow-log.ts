/** One line a flow, when it is over. @module */
import { OVER_LIMIT } from './limits.ts';
import type { FlowProtocol } from './rules.ts';
import type { ByteCounts } from './splice.ts';

/** A flow that is over. */
export interface FlowRecord {
  /** When it began, ISO 8601. */
  readonly time: string;
  readonly protocol: FlowProtocol;
  /** `in`: to a published port. */
  readonly direction: 'out' | 'in';
  readonly source: string;
  readonly destination: string;
  /** The name the destination was found by, or that of its TLS hello. */
  readonly name: string | null;
  readonly verdict: 'allow' | 'deny';
  /** What decided. */
  readonly reason: string;
  /** `closed`, or the code of what ended it or kept it from beginning. */
  readonly result: string;
  /** Bytes the guest sent, and got. */
  readonly bytesOut: number;
  readonly bytesIn: number;
  readonly milliseconds: number;
}

/** A flow under way. */
export class OpenFlow {
  readonly counts: ByteCounts = { out: 0, in: 0 };
  name: string | null = null;
  verdict: 'allow' | 'deny' = 'allow';
  reason = '';
  readonly #log: (record: FlowRecord) => void;
  readonly #what: Pick<FlowRecord, 'protocol' | 'direction' | 'source' | 'destination'>;
  readonly #time = new Date();
  readonly #began = performance.now();
  #isOver = false;

  constructor(
    what: Pick<FlowRecord, 'protocol' | 'direction' | 'source' | 'destination'>,
    log: (record: FlowRecord) => void,
  ) {
    this.#what = what;
    this.#log = log;
  }

  /** Writes the line; further calls do nothing. */
  end(result: string): void {
    if (this.#isOver) return;
    this.#isOver = true;
    const { name, verdict, reason, counts } = this;
    const milliseconds = Math.round(performance.now() - this.#began);
    const how = { name, verdict, reason, result, bytesOut: counts.out, bytesIn: counts.in, milliseconds };
    this.#log({ time: this.#time.toISOString(), ...this.#what, ...how });
  }
}

const bracket = (address: string): string => (address.includes(':') ? `[${address}]` : address);

/** `10.0.2.100:5000`, `[fd00:2::64]:5000`; an address alone for port 0. */
export const endpoint = (address: string, port: number): string =>
  port === 0 ? address : `${bracket(address)}:${port}`;

/** A record as a line for people. */
export function formatFlow(record: FlowRecord): string {
  const { protocol, direction, source, destination, name, verdict, reason, result } = record;
  const where = `${protocol} ${source} -> ${destination}${direction === 'in' ? ' published' : ''}`;
  const known = name === null ? where : `${where} (${name})`;
  if (verdict === 'deny') return `denied ${known}: ${reason}`;
  const why = result === OVER_LIMIT ? `${result} (${reason})` : result;
  return `${known}: ${why}, ${record.bytesOut} bytes out, ${record.bytesIn} in, ${record.milliseconds} ms`;
}
