import assert from 'node:assert/strict';
import { test } from 'node:test';
import { randomOf } from '../../test/random.ts';
import type { Command } from './commands.ts';
import { Handles, noteOf } from './handles.ts';
import { encode, RecordRing, type Taken } from './record-ring.ts';

const BYTES = 1 << 12;

function ring(from = 0): { writer: RecordRing; reader: RecordRing; i32: Int32Array } {
  const buffer = new SharedArrayBuffer(64 + BYTES);
  const i32 = new Int32Array(buffer);
  const u8 = new Uint8Array(buffer);
  i32.fill(from, 0, 2);
  const make = (): RecordRing => new RecordRing(i32, u8, 64, BYTES, 0, 1, from);
  return { writer: make(), reader: make(), i32 };
}

for (const from of [0, 0x7ffff000 - 64, -BYTES * 3 + 16]) {
  test(`records come out as they went in, whatever their lengths and from position ${from} on, beside a queue`, () =>
    besideQueue(from));
}

function besideQueue(from: number): void {
  const random = randomOf(7);
  const { writer, reader } = ring(from);
  const expected: unknown[] = [];
  const got: unknown[] = [];
  const taken: Taken = {
    message: (id, message) => got.push([id, message]),
    note: (handle, events) => got.push([handle, events]),
  };
  let refused = 0;
  for (let step = 0; step < 20_000; step++) {
    if (random.below(3) > 0) {
      const isNote = random.below(4) === 0;
      const id = random.below(1000);
      const data = random.below(2) === 0 ? undefined : new Uint8Array(random.below(700)).fill(step & 255);
      const text = 'äx'.repeat(random.below(20));
      const message = { kind: text, ...(data === undefined ? {} : { data }) } as unknown as Command;
      const isIn = isNote ? writer.pushNote(id, step) : writer.push(id, encode(message));
      if (isIn) expected.push(isNote ? [id, step] : [id, message]);
      else refused++;
    } else {
      reader.take(taken);
    }
  }
  while (reader.take(taken));
  assert.deepEqual(got, expected);
  assert.ok(refused > 0, 'it was full at times');
  assert.equal(reader.take(taken), false);
}

test('a record above half of the ring never fits, one of half always does', () => {
  const { writer, reader } = ring();
  assert.equal(writer.fits(encode({ kind: 'x', data: new Uint8Array(BYTES / 2) } as unknown as Command)), false);
  const largest = encode({ kind: 'x', data: new Uint8Array(BYTES / 2 - 64) } as unknown as Command);
  assert.ok(writer.fits(largest));
  for (let i = 0; i < 10; i++) {
    assert.ok(writer.push(1, largest));
    assert.ok(reader.take({ message: () => {}, note: () => {} }));
  }
});

test('a record that nobody of ours wrote is an error, not a read out of bounds', () => {
  for (const tail of [-4, 2, BYTES + 4, -0x80000000, 0x7ffffffc]) {
    const { reader, i32 } = ring();
    i32[1] = tail;
    assert.throws(() => reader.take({ message: () => {}, note: () => {} }), { name: 'DamagedRing' });
  }
  for (const [text, data] of [
    [0x7fffffff, -1],
    [-1, 0],
    [0, 0x7fffffff],
    [0, -2],
    [48, 4],
    [3, -1],
  ]) {
    const { reader, i32 } = ring();
    i32.set([64, 1, text!, data!], 16);
    i32[1] = 64;
    assert.throws(() => reader.take({ message: () => {}, note: () => {} }), { name: 'DamagedRing' });
  }
  const { writer, i32: words } = ring();
  words[0] = 8;
  assert.equal(writer.pushNote(1, 1), false, 'a head beyond the tail');
  assert.ok(writer.isDamaged);
  for (const length of [0, 3, 15, 17, -5, 1 << 20]) {
    const { reader, i32 } = ring();
    i32[16] = length;
    i32[1] = 64;
    assert.throws(() => reader.take({ message: () => {}, note: () => {} }), { name: 'DamagedRing' });
  }
});

test('handles: a stale one names nothing, whoever has its place', () => {
  const handles = new Handles<{ n: number }>();
  const stale: number[] = [];
  for (let n = 0; n < 5000; n++) {
    const handle = handles.add({ n }, 'open');
    assert.equal(handles.get(handle)!.n, n);
    assert.equal(handles.noted(noteOf(handle))!.n, n);
    for (const old of [...stale.slice(-20), ...stale.slice(0, 20)]) assert.equal(handles.get(old), null);
    handles.remove(handle);
    handles.remove(handle);
    stale.push(handle);
  }
  assert.equal(new Set(stale).size, stale.length, 'a place was given the same generation twice');
  assert.ok(stale.at(-1)! > 2 ** 32, 'beyond what a note carries');
  assert.equal(handles.count, 0);
  assert.deepEqual(handles.all(), []);
  for (const none of [-1, 0.5, Number.NaN, '1', null, undefined, {}, 2 ** 40]) assert.equal(handles.get(none), null);
});
