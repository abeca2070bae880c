import assert from 'node:assert/strict';
import { test } from 'node:test';
import { copyBytes } from './shared-copy.ts';

test('every alignment, short and long, into shared memory and out of it', () => {
  const shared = new Uint8Array(new SharedArrayBuffer(4096));
  const source = Uint8Array.from({ length: 2048 }, (_, i) => (i * 7 + (i >> 8)) & 0xff);
  for (const length of [0, 1, 511, 512, 1447]) {
    for (let at = 0; at < 9; at++) {
      shared.fill(0);
      const from = (at * 3) % 8;
      copyBytes(shared, at, source.subarray(from, from + length));
      const expected = new Uint8Array(4096);
      expected.set(source.subarray(from, from + length), at);
      assert.deepEqual(Buffer.from(shared), Buffer.from(expected), `${length} in at ${at}`);
      const back = new Uint8Array(length + 2);
      copyBytes(back, 1, shared.subarray(at, at + length));
      assert.deepEqual(back.subarray(1, length + 1), source.slice(from, from + length), `${length} out from ${at}`);
      assert.deepEqual([back[0], back[length + 1]], [0, 0]);
    }
  }
});
