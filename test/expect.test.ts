/** The assertions that tests in browsers use must be able to fail. */
import nodeAssert from 'node:assert/strict';
import { test } from 'node:test';
import { NetError } from '../src/errors.ts';
import * as assert from './expect.ts';

const reset = new NetError('ECONNRESET', 'read');

test('what is so passes', async () => {
  assert.ok(1);
  assert.equal(Number.NaN, Number.NaN);
  assert.deepEqual([1, { a: Uint8Array.of(1, 2) }], [1, { a: Uint8Array.of(1, 2) }]);
  assert.match('abc', /b/);
  await assert.rejects(Promise.reject(reset), NetError);
  await assert.rejects(Promise.reject(reset), { code: 'ECONNRESET' });
  await assert.rejects(Promise.reject(reset), (error) => error === reset);
  assert.throws(() => {
    throw new RangeError('x');
  }, RangeError);
});

test('what is not so fails', async () => {
  const rows: (() => unknown)[] = [
    () => assert.ok(0),
    () => assert.equal(1, '1'),
    () => assert.equal(0, -0),
    () => assert.deepEqual([1], [2]),
    () => assert.deepEqual([1], [1, 2]),
    () => assert.deepEqual({ a: 1 }, { b: 1 }),
    () => assert.deepEqual({ a: undefined }, {}),
    () => assert.deepEqual(Uint8Array.of(1), [1]),
    () => assert.deepEqual(Uint8Array.of(1, 2), Uint8Array.of(1, 3)),
    () => assert.deepEqual(null, {}),
    () => assert.match('abc', /x/),
    () => assert.throws(() => {}, Error),
    () =>
      assert.throws(() => {
        throw reset;
      }, RangeError),
    () => assert.rejects(Promise.resolve(1), Error),
    () => assert.rejects(Promise.reject(reset), { code: 'EPIPE' }),
    () => assert.rejects(Promise.reject(reset), TypeError),
    () => assert.rejects(Promise.reject(reset), () => false),
  ];
  for (const [i, row] of rows.entries()) {
    await nodeAssert.rejects(async () => row(), assert.Failed, `row ${i}`);
  }
});
