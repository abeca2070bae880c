import assert from 'node:assert/strict';
import { test } from 'node:test';
import { mergeSettings, TCP_DEFAULTS } from './settings.ts';

test('settings: buffers have whole bytes within their limits', () => {
  for (const [asked, got] of [
    [0, 64],
    [65.5, 65],
    [4096, 4096],
    [65_700, 65_700],
    [2 ** 30, 2 ** 24],
  ] as const) {
    const settings = mergeSettings(TCP_DEFAULTS, { receiveBufferBytes: asked, sendBufferBytes: asked });
    assert.deepEqual([settings.receiveBufferBytes, settings.sendBufferBytes], [got, got]);
  }
});

test('settings: unknown names and values of another type are refused by name', () => {
  assert.throws(() => mergeSettings(TCP_DEFAULTS, { nosuch: 1 } as never), { name: 'RangeError', message: /nosuch/ });
  assert.throws(() => mergeSettings(TCP_DEFAULTS, { sack: 1 } as never), { name: 'TypeError', message: /sack/ });
  assert.throws(
    () => mergeSettings(TCP_DEFAULTS, { congestion: 'vegas' } as never),
    /expected cubic or an algorithm, got vegas/,
  );
  assert.throws(() => mergeSettings(TCP_DEFAULTS, { keepAliveIntervalMs: 0 }), /from 1 on/);
  assert.deepEqual(mergeSettings(TCP_DEFAULTS, { keepAliveMs: undefined } as never), TCP_DEFAULTS);
});

test('settings: numbers that are none are refused by name', () => {
  for (const value of [-1, Number.NaN, Number.POSITIVE_INFINITY]) {
    assert.throws(() => mergeSettings(TCP_DEFAULTS, { rtoMinMs: value }), { name: 'RangeError', message: /rtoMinMs/ });
  }
});

test('settings: MUST-40, MUST-23, MUST-25: the defaults keep the limits of the RFC', () => {
  assert.ok(TCP_DEFAULTS.delayedAckMs < 500);
  assert.ok(TCP_DEFAULTS.rtoInitialMs * (2 ** (TCP_DEFAULTS.synRetriesMax + 1) - 1) >= 180_000);
  assert.equal(TCP_DEFAULTS.keepAliveMs, 0);
});
