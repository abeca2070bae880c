import assert from 'node:assert/strict';
import { test } from 'node:test';
import { randomOf } from '../../test/random.ts';
import { END, FLAGS, IN_FLIGHT, LOST, SACKED, Scoreboard, ScoreboardPool, SENT_US, segmentsIn } from './scoreboard.ts';
import { type Seq, seqAdd, seqDiff } from './seq.ts';

const BASE = 0x7fff_f000 as Seq; // the numbers cross the sign
const at = (offset: number): Seq => seqAdd(BASE, offset);
const offsetOf = (seq: Seq): number => seqDiff(seq, BASE);

/** What the twin keeps of a record; `name` stands in SENT_US, so that a copied record is known again. */
interface Plain {
  end: number;
  readonly name: number;
  readonly flags: number;
}

/** The same in plain arrays, found by looking at all of them. */
class Twin {
  first = 0;
  records: Plain[] = [];

  get last(): number {
    return this.records.at(-1)?.end ?? this.first;
  }

  start(i: number): number {
    return i === 0 ? this.first : this.records[i - 1]!.end;
  }

  find(offset: number): number {
    const i = this.records.findIndex(({ end }) => end > offset);
    return i < 0 ? this.records.length : i;
  }

  split(i: number, offset: number): void {
    this.records.splice(i, 0, { ...this.records[i]!, end: offset });
  }

  cut(offset: number): number {
    const i = this.find(offset);
    if (i === this.records.length || offset <= this.start(i)) return i;
    this.split(i, offset);
    return i + 1;
  }

  shift(): void {
    this.first = this.records.shift()!.end;
  }
}

function push(board: Scoreboard, end: Seq, name: number, flags: number): void {
  const p = board.push();
  board.words.fill(0, p, p + 8);
  board.words[p + END] = end;
  board.words[p + SENT_US] = name;
  board.words[p + FLAGS] = flags;
  board.words[p + IN_FLIGHT] = ~name;
}

/** The whole board, record by record, as it reads from outside. */
function read(board: Scoreboard): Plain[] {
  return Array.from({ length: board.count }, (_, i) => {
    const p = board.at(i);
    assert.equal(board.words[p + IN_FLIGHT], ~board.words[p + SENT_US]!, 'the words of a record stay together');
    return { end: offsetOf(board.end(i)), name: board.words[p + SENT_US]!, flags: board.flags(i) };
  });
}

function check(board: Scoreboard, twin: Twin): void {
  assert.deepEqual(read(board), twin.records);
  assert.equal(offsetOf(board.first), twin.first);
  assert.ok(board.capacity >= board.count);
  for (let i = 0; i < board.count; i++) assert.equal(offsetOf(board.start(i)), twin.start(i));
}

test('scoreboard: records pushed, found, cut and taken at random, as a slow twin has them', () => {
  const random = randomOf(11);
  for (let round = 0; round < 100; round++) {
    const board = new Scoreboard();
    const twin = new Twin();
    board.clear(at(0));
    // Rounds differ in how many records are under way, so that the ring grows in some and only turns in others.
    const most = 4 + random.below(120);
    for (let step = 0; step < 300; step++) {
      const inside = twin.first + random.below(twin.last - twin.first + 20);
      const what = random.next();
      if (what < 0.45 && twin.records.length < most) {
        const record = { end: twin.last + 1 + random.below(50), name: step, flags: random.below(32) };
        twin.records.push(record);
        push(board, at(record.end), record.name, record.flags);
      } else if (what < 0.65) {
        assert.equal(board.find(at(inside)), twin.find(inside));
      } else if (what < 0.85) {
        assert.equal(board.cut(at(inside)), twin.cut(inside));
      } else if (twin.records.length > 0) {
        twin.shift();
        board.shift();
      }
      check(board, twin);
    }
  }
});

test('scoreboard: split: both halves have the words of the whole, also where the ring turns', () => {
  for (let turned = 0; turned < 16; turned++) {
    const board = new Scoreboard();
    board.clear(at(0));
    for (let i = 0; i < turned; i++) {
      push(board, at(i + 1), 0, 0);
      board.shift();
    }
    for (let i = 0; i < 15; i++) push(board, at(100 * (i + 1)), i + 1, i === 7 ? SACKED : LOST);
    board.split(7, at(750));
    assert.equal(board.count, 16);
    assert.deepEqual(read(board).slice(6, 10), [
      { end: 700, name: 7, flags: LOST },
      { end: 750, name: 8, flags: SACKED },
      { end: 800, name: 8, flags: SACKED },
      { end: 900, name: 9, flags: LOST },
    ]);
  }
});

test('scoreboard: cut: at a border, below the first and behind the last nothing is split', () => {
  const board = new Scoreboard();
  board.clear(at(100));
  push(board, at(200), 1, 0);
  push(board, at(300), 2, 0);
  for (const [offset, index] of [
    [50, 0],
    [100, 0],
    [200, 1],
    [300, 2],
    [400, 2],
  ] as const) {
    assert.equal(board.cut(at(offset)), index, `cut at ${offset}`);
    assert.equal(board.count, 2);
  }
});

test('scoreboard: the pool gives back boards that are empty, and keeps none that has grown large', () => {
  const pool = new ScoreboardPool();
  const small = pool.take(at(0));
  push(small, at(10), 1, 0);
  pool.give(small);
  const again = pool.take(at(500));
  assert.equal(again, small);
  assert.deepEqual([again.count, offsetOf(again.first)], [0, 500]);
  for (let i = 0; i < 1025; i++) push(again, at(501 + i), i, 0);
  pool.give(again);
  assert.notEqual(pool.take(at(0)), again);
});

test('scoreboard: segments of a record', () => {
  const rows = [
    [1, 1],
    [1000, 1],
    [1001, 2],
    [3000, 3],
    [3001, 4],
  ] as const;
  for (const [length, segments] of rows) assert.equal(segmentsIn({ mss: 1000 }, length), segments, `${length} bytes`);
});
