import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as wire from '../wire/accecn.ts';
import { AccEcn } from './accecn.ts';

const ECT_1 = 1;
const ECT_0 = 2;
const CE = 3;

/** An option as it stands on the wire, read by `state`. */
function arrive(state: AccEcn, fields: readonly number[], isZeroFirst = false): void {
  const dv = new DataView(new ArrayBuffer(16));
  for (const [i, value] of fields.entries()) {
    dv.setUint8(3 * i, value >>> 16);
    dv.setUint16(3 * i + 1, value & 0xffff);
  }
  state.arrive(dv, 0, fields.length, isZeroFirst);
}

test('accecn: RFC 9768 §3.2.3: counters of arriving bytes begin at 1, 0 and 1, and go round at 24 bits', () => {
  const state = new AccEcn();
  assert.deepEqual([state.e0b, state.ceb, state.e1b], [1, 0, 1]);
  state.count(ECT_0, 0xffffff);
  state.count(CE, 10);
  state.count(ECT_1, 20);
  state.count(0, 30);
  assert.deepEqual([state.e0b, state.ceb, state.e1b], [0, 10, 21]);
});

test('accecn: §3.2.3.3: a change of codepoint is told at once, and only of text', () => {
  const state = new AccEcn();
  const rows: [mark: number, length: number, isTold: boolean][] = [
    [ECT_0, 100, false],
    [ECT_0, 100, false],
    [CE, 0, false],
    [CE, 100, true],
    [CE, 100, false],
    [0, 100, true],
    [ECT_0, 100, true],
  ];
  for (const [i, [mark, length, isTold]] of rows.entries()) assert.equal(state.count(mark, length), isTold, `row ${i}`);
});

test('accecn: §3.2.3.3: fields are left out from the end, but none that has grown', () => {
  const rows: [marks: readonly number[], room: number, fields: number][] = [
    [[], 12, 3],
    [[], 11, 2],
    [[], 8, 2],
    [[], 4, 0],
    [[], 3, -1],
    [[ECT_1], 8, 2],
    [[ECT_1], 4, -1],
    [[CE], 8, 2],
    [[ECT_0], 8, -1],
    [[ECT_0], 12, 3],
    [[0], 4, 0],
  ];
  for (const [marks, room, fields] of rows) {
    const state = new AccEcn();
    for (const mark of marks) state.count(mark, 1);
    assert.equal(state.fieldsFor(room), fields, `${marks} in ${room} bytes`);
  }
  const told = new AccEcn();
  told.count(ECT_0, 1);
  told.emit(new DataView(new ArrayBuffer(12)), 0, 3);
  assert.equal(told.fieldsFor(4), 0, 'what was told is not new');
});

test('accecn: both orders are read, shortened ones too', () => {
  const rows: [fields: readonly number[], isZeroFirst: boolean, e1b: number, ceb: number, e0b: number][] = [
    [[11, 20, 31], false, 10, 20, 30],
    [[31, 20, 11], true, 10, 20, 30],
    [[11, 20], false, 10, 20, 0],
    [[31, 20], true, 0, 20, 30],
    [[11], false, 10, 0, 0],
    [[31], true, 0, 0, 30],
    [[], false, 0, 0, 0],
  ];
  for (const [fields, isZeroFirst, e1b, ceb, e0b] of rows) {
    const state = new AccEcn();
    arrive(state, fields, isZeroFirst);
    assert.deepEqual([state.toldE1b, state.toldCeb, state.toldE0b], [e1b, ceb, e0b]);
    assert.equal(state.newlyMarked, ceb);
    assert.ok(state.isSeen);
    assert.equal(state.hasCounters, fields.length > 0);
  }
});

test('accecn: what was overtaken on its way takes nothing back, and 24 bits go round', () => {
  const state = new AccEcn();
  arrive(state, [1, 0x7fff00, 1]);
  arrive(state, [1, 0xfff000, 1]);
  arrive(state, [1, 0xfffff0, 1]);
  state.newlyMarked = 0;
  arrive(state, [1, 0xffff00, 1]);
  assert.equal(state.newlyMarked, 0);
  arrive(state, [1, 0x10, 1]);
  assert.equal(state.newlyMarked, 0x20);
  assert.equal(state.toldCeb, 0x10);
});

test('accecn: §3.2.3.2.4: an option that was zeroed is not believed, nor what comes behind it', () => {
  for (const fields of [[0, 0, 0], [0, 0], [0], [1, 5, 0]]) {
    const state = new AccEcn();
    arrive(state, fields);
    arrive(state, [1, 1000, 1]);
    assert.equal(state.newlyMarked, 0, `${fields}`);
    assert.ok(state.isFailed && state.isSeen && !state.hasCounters);
  }
  const later = new AccEcn();
  arrive(later, [1, 1000, 1]);
  arrive(later, [0, 2000, 0]);
  assert.equal(later.newlyMarked, 2000, 'later a counter may have gone round');
});

test('accecn: the option is written as it is read, in words', () => {
  for (let fields = 0; fields <= wire.FIELDS_MAX; fields++) {
    const dv = new DataView(new ArrayBuffer(16));
    const length = wire.emit(dv, 0, fields, 0xabcdef, 0x123456, 0xfffffe);
    assert.equal(length, wire.lengthOf(fields));
    assert.equal(length % 4, 0);
    assert.equal(wire.fieldsIn(dv.getUint8(1)), fields);
    const values = Array.from({ length: fields }, (_, i) => wire.field(dv, 2, i));
    assert.deepEqual(values, [0xabcdef, 0x123456, 0xfffffe].slice(0, fields));
    for (let at = 2 + 3 * fields; at < length; at++) assert.equal(dv.getUint8(at), 1, 'padding');
  }
});

test('accecn: §3.2.3: of an option of any other length the whole fields are used', () => {
  const rows: [length: number, fields: number][] = [
    [3, 0],
    [4, 0],
    [6, 1],
    [7, 1],
    [9, 2],
    [10, 2],
    [12, 3],
    [14, 3],
    [38, 3],
  ];
  for (const [length, fields] of rows) assert.equal(wire.fieldsIn(length), fields, `${length} bytes`);
});
