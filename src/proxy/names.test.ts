import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LearnedNames } from './names.ts';

test('names are remembered by address, the latest first, for ten minutes at least', () => {
  const names = new LearnedNames();
  names.learn('10.0.0.1', 'A.Example.', 5, 0);
  names.learn('10.0.0.1', 'b.example', 3600, 0);
  assert.deepEqual(names.of('10.0.0.1', 1), ['b.example', 'a.example']);
  names.learn('10.0.0.1', 'a.example', 5, 10);
  assert.deepEqual(names.of('10.0.0.1', 11), ['a.example', 'b.example']);
  assert.deepEqual(names.of('10.0.0.1', 700_000), ['b.example']);
  assert.deepEqual(names.of('10.0.0.1', 3_700_000), []);
  assert.deepEqual(names.of('10.0.0.2', 0), []);
});

test('both bounds hold', () => {
  const names = new LearnedNames();
  for (let i = 0; i < 100; i++) names.learn('10.0.0.1', `n${i}`, 60, 0);
  assert.equal(names.of('10.0.0.1', 0).length, 16);
  assert.equal(names.of('10.0.0.1', 0)[0], 'n99');
  for (let i = 0; i < 9000; i++) names.learn(`fd00::${i.toString(16)}`, 'x', 60, 0);
  assert.deepEqual(names.of('10.0.0.1', 0), []);
  assert.deepEqual(names.of('fd00::2327', 0), ['x']);
});
