import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CONGESTION_NAMES } from '../../src/tcp/congestion/index.ts';
import { cellsOf, goldenLines, isQuick, lineOf } from './golden.ts';
import { runBulk } from './goodput.ts';

const cells = cellsOf(CONGESTION_NAMES);

test('golden: the file has every cell of every algorithm, and no other', () => {
  const names = cells.map(({ name }) => name);
  assert.deepEqual([...goldenLines().keys()], names, 'write it anew with: npm run golden');
});

for (const cell of cells.filter(isQuick)) {
  test(`golden: ${cell.name}`, () => {
    const line = lineOf(cell);
    assert.equal(line, goldenLines().get(cell.name), 'if that is meant, write it anew with: npm run golden');
  });
}

test('golden: where the send buffer is the limit, nearly all of it is under way', () => {
  const path = { rateBitsPerSecond: 100e6, queueBytesMax: 1e6 };
  const bufferBytes = 1 << 16;
  const { goodput } = runBulk({ congestion: 'newreno', rttMs: 100, seconds: 20, bufferBytes, path });
  const share = goodput / (bufferBytes / 0.1);
  assert.ok(share > 0.85 && share <= 1, `${share.toFixed(2)} of a buffer in each round-trip time`);
});
