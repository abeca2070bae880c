import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Flow, fakeConnection, Link, MSS, mean, run } from '../../../test/congestion-path.ts';
import { CWND_MAX } from './controller.ts';
import { newreno } from './newreno.ts';

test('newreno: RFC 5681 §3.1: slow start adds what is acknowledged, up to ssthresh; then a segment a window', () => {
  const c = fakeConnection(100_000);
  newreno.init(c);
  c.ssthresh = 30 * MSS;
  newreno.acked(c, 10 * MSS, -1);
  assert.equal(c.cwnd, 20 * MSS);
  newreno.acked(c, 20 * MSS, -1);
  assert.equal(c.cwnd, 30 * MSS);
  for (let i = 0; i < 29; i++) newreno.acked(c, MSS, -1);
  assert.equal(c.cwnd, 30 * MSS);
  newreno.acked(c, MSS, -1);
  assert.equal(c.cwnd, 31 * MSS);
});

test('newreno: RFC 5681 §3.1 (4), RFC 3168 §6.1.2: loss and mark halve what is under way, to two segments at least', () => {
  for (const cause of ['loss', 'ecn'] as const) {
    for (const [flight, left] of [
      [100, 50],
      [5, 2.5],
      [2, 2],
    ] as const) {
      const c = fakeConnection(100_000);
      newreno.init(c);
      newreno.reduce(c, flight * MSS, cause);
      assert.equal(c.ssthresh, left * MSS);
    }
  }
});

test('newreno: RFC 5681 §3.1: a timeout leaves one segment, and the same data once more leaves ssthresh alone', () => {
  const c = fakeConnection(100_000);
  newreno.init(c);
  newreno.timedOut(c, 40 * MSS, true);
  assert.deepEqual([c.cwnd, c.ssthresh], [MSS, 20 * MSS]);
  newreno.timedOut(c, MSS, false);
  assert.deepEqual([c.cwnd, c.ssthresh], [MSS, 20 * MSS]);
});

test('newreno: the window stays what scaling can express', () => {
  const c = fakeConnection(100_000);
  newreno.init(c);
  for (let i = 0; i < 5; i++) newreno.acked(c, CWND_MAX >> 1, -1);
  assert.equal(c.cwnd, CWND_MAX);
});

test('newreno: the average window is sqrt(1.5 / p), within 10 %', () => {
  for (const p of [1e-3, 1e-4]) {
    const flow = new Flow(newreno, new Link({ mbps: 1e6, lossEvery: Math.round(1 / p) }), { rttMs: 50 });
    run([flow], 60_000);
    const expected = Math.sqrt(1.5 / p);
    const got = mean(flow, 400_000, ({ c }) => c.cwnd / MSS);
    assert.ok(Math.abs(got - expected) < 0.1 * expected, `p ${p}: expected ${expected}, got ${got}`);
  }
});
