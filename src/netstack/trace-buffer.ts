/** Records of a connection that a client looks at, until they are taken: a bounded ring, which never holds the stack up. @module */
import { NetError } from '../errors.ts';
import type { Trace } from '../tcp/trace.ts';
import type { Call } from './client.ts';
import type { TcpCommand } from './commands.ts';
import { RECORD_BYTES, WORDS, writeRecord } from './trace-records.ts';

type NextTraces = Call<Extract<TcpCommand, { kind: 'tcp-next-traces' }>>;

/** Records that wait, at most; what comes then is lost, and counted. */
const RECORDS_MAX = 1024;

/** What the stack tells a client of at the end of a turn. */
export interface Teller {
  tell(): void;
}

export class TraceBuffer implements Teller {
  readonly #words = new Uint32Array(RECORDS_MAX * WORDS);
  readonly #tellsSoon: (teller: Teller) => void;
  readonly #onLost: () => void;
  #first = 0;
  #count = 0;
  #lost = 0;
  #asking: NextTraces | null = null;

  /** @param tellsSoon - has `tell` called at the end of the turn @param onLost - called for each record that is lost */
  constructor(tellsSoon: (teller: Teller) => void, onLost: () => void) {
    this.#tellsSoon = tellsSoon;
    this.#onLost = onLost;
  }

  /** For `TcpSocket.trace`. */
  readonly look: Trace = (event) => {
    if (this.#count === RECORDS_MAX) {
      this.#lost++;
      this.#onLost();
      return;
    }
    writeRecord(this.#words, ((this.#first + this.#count++) % RECORDS_MAX) * WORDS, event);
    if (this.#asking !== null) this.#tellsSoon(this);
  };

  next(call: NextTraces): void {
    if (this.#asking !== null)
      throw new NetError('EBUSY', 'trace', { detail: 'the next records are waited for already' });
    this.#asking = call;
    call.waits(() => {
      this.#asking = null;
    });
    this.tell();
  }

  tell(): void {
    const call = this.#asking;
    if (call === null || this.#count === 0) return;
    const { dataMax = Number.POSITIVE_INFINITY } = call.client.answers;
    const count = Math.min(this.#count, Math.floor(dataMax / RECORD_BYTES));
    const words = new Uint32Array(count * WORDS);
    const beforeEnd = Math.min(count, RECORDS_MAX - this.#first);
    words.set(this.#words.subarray(this.#first * WORDS, (this.#first + beforeEnd) * WORDS));
    words.set(this.#words.subarray(0, (count - beforeEnd) * WORDS), beforeEnd * WORDS);
    this.#first = (this.#first + count) % RECORDS_MAX;
    this.#count -= count;
    const lost = this.#lost;
    this.#lost = 0;
    call.answer({ kind: 'traces', lost, data: new Uint8Array(words.buffer) });
  }

  /** Nobody looks any more. */
  close(): void {
    this.#asking?.fail(new NetError('ECANCELED', 'trace', { detail: 'nothing is recorded any more' }));
  }
}
