import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Flow, fakeConnection, Link, MSS, run } from '../../../test/congestion-path.ts';
import type { Connection } from '../connection.ts';
import type { Seq } from '../seq.ts';
import { type CongestionControl, SSTHRESH_MAX } from './controller.ts';
import { cubic } from './cubic.ts';
import { newreno } from './newreno.ts';

/** A connection in its first slow start that is paced, so that a round grows it by all that it acknowledges. */
function starting(isPaced = true): Connection {
  const c = fakeConnection(100_000);
  cubic.init(c);
  c.pacingRate = isPaced ? 1e6 : 0;
  return c;
}

/** Sends one window, and acknowledges `segments` of it, with round-trip times that are given or the same for all. */
function round(c: Connection, rttMs: number | readonly number[], segments = 10): number {
  const before = c.cwnd;
  const end = (c.sndNxt + segments * MSS) | 0;
  c.sndNxt = end as Seq;
  for (let i = 0; i < segments; i++) {
    c.sndUna = ((c.sndUna + MSS) | 0) as Seq;
    const ms = typeof rttMs === 'number' ? rttMs : rttMs[Math.min(i, rttMs.length - 1)]!;
    if (c.cwnd < c.ssthresh) cubic.acked(c, MSS, ms * 1000);
  }
  return (c.cwnd - before) / MSS;
}

test('hystart: RFC 9406 §4.2: slow start grows by all that is acknowledged while the round-trip time is level', () => {
  const c = starting();
  for (let i = 0; i < 8; i++) assert.equal(round(c, 100), 10);
  assert.equal(c.ssthresh, SSTHRESH_MAX);
});

test('hystart: RFC 9406 §4.2, §4.3: CSS begins where the round-trip time rises by an eighth, at least 4 ms, at most 16', () => {
  for (const [last, now, isCss] of [
    [20, 23.9, false],
    [20, 24, true],
    [80, 89.9, false],
    [80, 90, true],
    [400, 415.9, false],
    [400, 416, true],
  ] as const) {
    const c = starting();
    round(c, last);
    round(c, last);
    round(c, now);
    // CSS grows by a quarter.
    assert.equal(round(c, now), isCss ? 2.5 : 10, `${last} -> ${now} ms`);
    assert.equal(c.ssthresh, SSTHRESH_MAX);
  }
});

test('hystart: RFC 9406 §4.2: the eighth measurement of a round decides, not one before', () => {
  const c = starting();
  round(c, 100);
  round(c, 100);
  assert.equal(round(c, 120, 8), 7 + 0.25, 'one byte in four from the eighth on');
  const less = starting();
  round(less, 100);
  round(less, 100);
  assert.equal(round(less, 120, 7), 7);
});

test('hystart: RFC 9406 §4.2: a round whose least is level is no sign, whatever its other measurements', () => {
  const c = starting();
  round(c, 100);
  for (let i = 0; i < 4; i++) assert.equal(round(c, [150, 100, 150]), 10);
});

test('hystart: RFC 9406 §4.2: after five rounds of CSS congestion avoidance begins at that window', () => {
  const c = starting();
  round(c, 100);
  round(c, 100);
  round(c, 130); // the first of the five: it counts though it began in slow start
  for (let i = 2; i <= 5; i++) {
    assert.equal(c.ssthresh, SSTHRESH_MAX, `round ${i}`);
    assert.equal(round(c, 130), 2.5);
  }
  const { cwnd } = c;
  round(c, 130);
  assert.equal(c.ssthresh, cwnd);
});

test('hystart: RFC 9406 §4.2: a round-trip time below that at the entry of CSS takes slow start up again', () => {
  const c = starting();
  round(c, 100);
  round(c, 100);
  round(c, 130);
  assert.equal(round(c, 130), 2.5);
  round(c, 105);
  assert.equal(round(c, 105), 10);
  assert.equal(c.ssthresh, SSTHRESH_MAX);
  for (let i = 0; i < 8; i++) round(c, 105);
  for (let i = 1; i <= 5; i++) round(c, 140);
  assert.equal(c.ssthresh, SSTHRESH_MAX, 'the count of rounds is forgotten too');
  round(c, 140);
  assert.ok(c.ssthresh < SSTHRESH_MAX);
});

test('hystart: RFC 9406 §4.3: without pacing an acknowledgement counts for eight segments at most', () => {
  for (const [isPaced, bytes, grown] of [
    [false, 8 * MSS, 8 * MSS],
    [false, 9 * MSS, 8 * MSS],
    [true, 40 * MSS, 40 * MSS],
  ] as const) {
    const c = starting(isPaced);
    const { cwnd } = c;
    cubic.acked(c, bytes, 100_000);
    assert.equal(c.cwnd - cwnd, grown);
  }
});

test('hystart: RFC 9406 §4.3: only the first slow start: one that knows its ssthresh goes straight to it', () => {
  const c = starting();
  round(c, 100);
  cubic.timedOut(c, 100 * MSS, true);
  for (const rtt of [100, 200, 300]) round(c, rtt);
  assert.equal(c.cwnd, 31 * MSS, 'thirty segments acknowledged, each counted in full');
});

test('hystart: RFC 9406 §4.2: a loss in slow start or CSS ends both', () => {
  const c = starting();
  round(c, 100);
  round(c, 100);
  round(c, 130);
  cubic.reduce(c, c.cwnd, 'loss');
  assert.equal(c.ssthresh, Math.floor(c.cwnd * 0.7));
});

test('hystart: a link with a deep queue: the first slow start ends without a loss, where a plain one overruns it', () => {
  for (const rttMs of [20, 100]) {
    const bdp = 12_500 * rttMs;
    const after = (control: CongestionControl): Flow => {
      // CSS begins at less than four products, seen a round late, and its rounds take that to less than twelve.
      const flow = new Flow(control, new Link({ mbps: 100, bufferBytes: 12 * bdp }), { rttMs, isPaced: true });
      run([flow], 60 * rttMs);
      return flow;
    };
    const { losses, c } = after(cubic);
    assert.equal(losses, 0, `${rttMs} ms`);
    assert.ok(c.ssthresh < SSTHRESH_MAX && c.cwnd > bdp, `${rttMs} ms: the link is full`);
    assert.ok(after(newreno).losses > 0);
  }
});
