/**
 * What was sent and is not yet acknowledged, as records in the order of sequence numbers: when each was last sent, whether
 * it was SACKed, is taken for lost, or was sent again (RFC 6675 §3, RFC 8985 §5.1), and what the connection had delivered
 * when it was sent (draft-cheng-iccrg-delivery-rate-estimation §3). @module
 *
 * Records are eight int32 words in one ring. Full segments sent in one go share a record, so that bulk costs one record a
 * turn; a SACK or a retransmission splits it. Boards wait in a pool of the stack while nothing is under way: an idle
 * connection has none.
 */
import { type Seq, seqDiff, seqLe } from './seq.ts';

const WORDS_SHIFT = 3;
/** End of the record (exclusive), it begins where the one before ends. */
export const END = 0;
/** `nowUs` of the last transmission. */
export const SENT_US = 1;
export const FLAGS = 2;
/** C.delivered, C.delivered_time and C.first_sent_time when it was sent. */
export const DELIVERED = 3;
export const DELIVERED_US = 4;
export const FIRST_US = 5;
/** Bytes lost in all, and bytes under way, when it was sent. */
export const LOST_BEFORE = 6;
export const IN_FLIGHT = 7;

// FLAGS.
export const SACKED = 1;
export const LOST = 2;
/** Sent again since it was last taken for lost: that copy is under way. */
export const RETRANS = 4;
/** Sent more than once: Karn's algorithm leaves it alone. */
export const EVER_RETRANS = 8;
export const APP_LIMITED = 16;

const CAPACITY_MIN = 16;
/** Boards larger than this are not kept for the next user. */
const CAPACITY_KEPT = 1024;
/** Boards that wait in the pool. */
const POOL_MAX = 64;

export class Scoreboard {
  /** Record i stands at `words[at(i)]` and the seven words behind it. */
  words = new Int32Array(CAPACITY_MIN << WORDS_SHIFT);
  count = 0;
  /** Where the first record begins: SND.UNA. */
  first = 0 as Seq;
  #head = 0;
  #mask = CAPACITY_MIN - 1;

  get capacity(): number {
    return this.#mask + 1;
  }

  at(i: number): number {
    return ((this.#head + i) & this.#mask) << WORDS_SHIFT;
  }

  start(i: number): Seq {
    return i === 0 ? this.first : (this.words[this.at(i - 1) + END]! as Seq);
  }

  end(i: number): Seq {
    return this.words[this.at(i) + END]! as Seq;
  }

  flags(i: number): number {
    return this.words[this.at(i) + FLAGS]!;
  }

  /** Adds an empty record behind the last; the caller fills its words in. Returns its offset in `words`. */
  push(): number {
    if (this.count > this.#mask) this.#grow();
    return this.at(this.count++);
  }

  /** Drops the first record, which ended at `first` from now on. */
  shift(): void {
    this.first = this.end(0);
    this.#head = (this.#head + 1) & this.#mask;
    this.count--;
  }

  /** Drops the first `count` records, and what the next one has below `first`. */
  drop(count: number, first: Seq): void {
    this.#head = (this.#head + count) & this.#mask;
    this.count -= count;
    this.first = first;
  }

  /** The record that `seq` lies in, or `count` where it is behind the last. */
  find(seq: Seq): number {
    let low = 0;
    let high = this.count;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (seqLe(this.end(middle), seq)) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** Cuts record `i` in two at `seq`, which lies inside it; both halves have its words. */
  split(i: number, seq: Seq): void {
    this.push();
    for (let j = this.count - 1; j > i; j--) {
      const from = this.at(j - 1);
      this.words.copyWithin(this.at(j), from, from + (1 << WORDS_SHIFT));
    }
    this.words[this.at(i) + END] = seq;
  }

  /** Makes records `i` and `i + 1` one, with the words of the first. */
  join(i: number): void {
    this.words[this.at(i) + END] = this.end(i + 1);
    for (let j = i + 1; j < this.count - 1; j++) {
      const from = this.at(j + 1);
      this.words.copyWithin(this.at(j), from, from + (1 << WORDS_SHIFT));
    }
    this.count--;
  }

  /** The first record at or behind `i` that begins or ends at `seq` is cut there if it does not; returns the one behind the cut. */
  cut(seq: Seq): number {
    const i = this.find(seq);
    if (i === this.count || seqDiff(seq, this.start(i)) <= 0) return i;
    this.split(i, seq);
    return i + 1;
  }

  clear(first: Seq): void {
    this.count = 0;
    this.#head = 0;
    this.first = first;
  }

  #grow(): void {
    const { words, count } = this;
    const bigger = new Int32Array(words.length << 1);
    const head = this.#head << WORDS_SHIFT;
    bigger.set(words.subarray(head));
    bigger.set(words.subarray(0, head), words.length - head);
    this.words = bigger;
    this.#head = 0;
    this.#mask = (count << 1) - 1;
  }
}

/** Boards of one stack that nobody uses now. */
export class ScoreboardPool {
  readonly #free: Scoreboard[] = [];

  take(first: Seq): Scoreboard {
    const board = this.#free.pop() ?? new Scoreboard();
    board.clear(first);
    return board;
  }

  give(board: Scoreboard): void {
    if (board.capacity <= CAPACITY_KEPT && this.#free.length < POOL_MAX) this.#free.push(board);
  }
}

/** Segments that `length` bytes of one record were sent in. */
export const segmentsIn = (c: { readonly mss: number }, length: number): number =>
  length <= c.mss ? 1 : Math.ceil(length / c.mss);
