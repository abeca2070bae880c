/** What is told of while it goes on: replies to echo requests, hops on a way; until the client takes it. @module */
import { NetError } from '../errors.ts';
import type { Call, Client, Entry } from './client.ts';
import type { Response, ServiceCommand } from './commands.ts';

type NextReport = Call<Extract<ServiceCommand, { kind: 'report-next' }>>;

/** Reports that wait, at most; what comes then is lost, and counted. */
const REPORTS_MAX = 1024;
/** Bytes of a report as it is told, at most: what an answer has room for is counted in these. */
const REPORT_BYTES = 512;
/** Reports of one answer, at most. */
const BATCH_MAX = 32;

export class ReportEntry implements Entry {
  readonly kind = 'reports';
  handle = 0;
  readonly client: Client;
  /** Aborted when the client wants no more. */
  readonly end = new AbortController();
  readonly #onLost: () => void;
  #reports: unknown[] = [];
  #lost = 0;
  #result: Response | null = null;
  #asking: NextReport | null = null;

  /** @param onLost - called for each report that there is no room for */
  constructor(client: Client, onLost: () => void) {
    this.client = client;
    this.#onLost = onLost;
  }

  push(report: unknown): void {
    if (this.#reports.length < REPORTS_MAX) {
      this.#reports.push(report);
    } else {
      this.#lost++;
      this.#onLost();
    }
    this.#tell();
  }

  /** It is over, and came to this. */
  finish(result: Response): void {
    this.#result = result;
    this.#tell();
  }

  next(call: NextReport): void {
    if (this.#asking !== null)
      throw new NetError('EBUSY', 'report', { detail: 'the next report is waited for already' });
    this.#asking = call;
    call.waits(() => {
      this.#asking = null;
    });
    this.#tell();
  }

  #tell(): void {
    const call = this.#asking;
    if (call === null || (this.#reports.length === 0 && this.#result === null)) return;
    const { dataMax = Number.POSITIVE_INFINITY } = this.client.answers;
    const reports = this.#reports.splice(0, Math.max(1, Math.min(BATCH_MAX, Math.floor(dataMax / REPORT_BYTES))));
    const lost = this.#lost;
    this.#lost = 0;
    // The result by itself, for it has the size of a report or two.
    const result = reports.length === 0 ? (this.#result ?? undefined) : undefined;
    call.answer({ kind: 'reports', reports, lost, result });
    if (result !== undefined) this.client.entries.remove(this.handle);
  }

  notify(): void {
    // No socket of the core stands behind it.
  }

  close(): void {
    this.client.entries.remove(this.handle);
    this.end.abort(new NetError('ECANCELED', 'report'));
    this.#asking?.fail(new NetError('ECANCELED', 'report', { detail: 'it was ended' }));
  }
}
