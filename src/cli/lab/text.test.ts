import assert from 'node:assert/strict';
import { test } from 'node:test';
import { counted, grouped, inBitsPerSecond, inBytes, inTime, wrapped } from './text.ts';

const ROWS: [string, string, string][] = [
  ['grouped', grouped(0), '0'],
  ['grouped', grouped(999), '999'],
  ['grouped', grouped(1000), '1,000'],
  ['grouped', grouped(12345678), '12,345,678'],
  ['inBytes', inBytes(0), '0 B'],
  ['inBytes', inBytes(1023), '1023 B'],
  ['inBytes', inBytes(1536), '1.5 KiB'],
  ['inBytes', inBytes(4 << 20), '4 MiB'],
  ['inBytes', inBytes(2 ** 41), '2048 GiB'],
  ['inBitsPerSecond', inBitsPerSecond(11.25e9), '11.3 Gbit/s'],
  ['inBitsPerSecond', inBitsPerSecond(50e6), '50 Mbit/s'],
  ['inBitsPerSecond', inBitsPerSecond(110938), '111 kbit/s'],
  ['inTime', inTime(0), '0.00 ms'],
  ['inTime', inTime(0.994), '0.99 ms'],
  ['inTime', inTime(0.999), '1.0 ms'],
  ['inTime', inTime(9.96), '10 ms'],
  ['inTime', inTime(999.6), '1.0 s'],
  ['inTime', inTime(4449), '4.4 s'],
  ['inTime', inTime(599_960), '10 min'],
  ['inTime', inTime(70_557_329), '20 h'],
  ['counted', counted(1, 'frame'), '1 frame'],
  ['counted', counted(2000, 'frame'), '2,000 frames'],
];

for (const [name, got, expected] of ROWS) {
  test(`lab/text: ${name} gives ${expected}`, () => assert.equal(got, expected));
}

test('lab/text: lines are as long as they may be, and words are never cut', () => {
  assert.deepEqual(wrapped([], 10, ''), []);
  assert.deepEqual(wrapped(['one', 'two', 'three'], 7, ''), ['one two', 'three']);
  assert.deepEqual(wrapped(['one', 'two', 'three'], 6, '  '), ['one', '  two', '  three']);
  assert.deepEqual(wrapped(['incomprehensible', 'x'], 4, ''), ['incomprehensible', 'x']);
});
