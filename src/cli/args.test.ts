import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readNumber, readPercent } from './args.ts';

test('numbers, as people write them', () => {
  for (const [text, number] of [
    ['2', 2],
    ['0.25', 0.25],
    ['.25', 0.25],
  ] as const) {
    assert.equal(readNumber('interval', text, 0.001, 3600), number);
    assert.equal(readPercent('drop', `${text}%`), number / 100);
  }
  for (const text of ['', '.', '2.', '1e3', '-1', '+1', ' 1', '0x10', '.2.', '0.0001']) {
    assert.throws(
      () => readNumber('interval', text, 0.001, 3600),
      /^UsageError: --interval: expected a number from 0.001/,
    );
  }
});
