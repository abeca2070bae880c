import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Flow, fakeConnection, Link, MSS, mean, run, setTime } from '../../../test/congestion-path.ts';
import type { Connection } from '../connection.ts';
import { SSTHRESH_MAX } from './controller.ts';
import { cubic } from './cubic.ts';

const C = 0.4;
const BETA = 0.7;
const ALPHA = 9 / 17;

/** A connection with a window of `segments`, whose first loss has just been repaired, at time 0. */
function afterLoss(segments: number, rttMs = 100): Connection {
  const c = fakeConnection(rttMs * 1000);
  cubic.init(c);
  c.cwnd = segments * MSS;
  reduce(c);
  return c;
}

/** A loss with the whole window under way, and its recovery. */
function reduce(c: Connection): void {
  cubic.reduce(c, c.cwnd, 'loss');
  c.cwnd = c.ssthresh;
}

/** Acknowledges one window a round trip, evenly, until `ms`; returns the window in segments. */
function acknowledge(c: Connection, untilMs: number): number {
  for (let us = c.context.nowMs * 1000; ; ) {
    us += (c.srttUs * MSS) / c.cwnd;
    if (us > untilMs * 1000) break;
    setTime(c, us);
    cubic.acked(c, MSS, c.srttUs);
  }
  setTime(c, untilMs * 1000);
  return c.cwnd / MSS;
}

/** Asserts that `actual` is within `part` of `expected`. */
function near(actual: number, expected: number, part: number, what = ''): void {
  assert.ok(Math.abs(actual - expected) <= part * expected, `${what}: expected ${expected}, got ${actual}`);
}

test('cubic: RFC 9438 §4.2: the window follows C (t - K)^3 + W_max, concave and convex', () => {
  const wMax = 1000;
  const k = Math.cbrt((wMax * (1 - BETA)) / C);
  assert.ok(k > 9 && k < 9.1);
  const c = afterLoss(wMax);
  acknowledge(c, 50);
  for (const t of [0.5, 1, 2, 4, 6, 8, k, 10, 12, 14, 16]) {
    // Acknowledgements bring the window towards where the curve is a round trip later: W(t + RTT).
    const got = acknowledge(c, t * 1000 + 50);
    const [low, high] = [C * (t - 0.15 - k) ** 3 + wMax, C * (t + 0.15 - k) ** 3 + wMax];
    assert.ok(got >= low && got <= high, `t ${t}: ${low} <= ${got} <= ${high}`);
  }
});

test('cubic: RFC 9438 §4.6: a loss leaves 0.7 of what was under way, and never less than two segments', () => {
  for (const [flight, left] of [
    [100, 70],
    [10, 7],
    [2, 2],
    [1, 2],
  ] as const) {
    const c = fakeConnection(100_000);
    cubic.init(c);
    c.cwnd = 100 * MSS;
    cubic.reduce(c, flight * MSS, 'loss');
    assert.equal(c.ssthresh, Math.floor(left * MSS));
    assert.equal(c.cwnd, 100 * MSS, 'the sender reduces it in its own way');
  }
});

test('cubic: RFC 9438 §4.6: marks of ECN reduce the window down to one segment, ssthresh to two', () => {
  const c = fakeConnection(100_000);
  cubic.init(c);
  c.cwnd = 3 * MSS;
  const seen: number[] = [];
  for (let i = 0; i < 4; i++) {
    cubic.reduce(c, c.cwnd, 'ecn');
    c.cwnd = Math.min(c.cwnd, c.ssthresh);
    seen.push(Math.floor((c.cwnd / MSS) * 100));
    assert.ok(c.ssthresh >= 2 * MSS);
  }
  assert.deepEqual(seen, [209, 146, 102, 100]);
});

test('cubic: RFC 9438 §4.3: in the Reno-friendly region the window grows by alpha a round trip, later by one', () => {
  const rtt = 10;
  const c = afterLoss(20, rtt); // at such a round-trip time the cubic curve is far below
  let before = acknowledge(c, rtt);
  let rounds = 0;
  for (let ms = 2 * rtt; before < 19; ms += rtt, rounds++) {
    const now = acknowledge(c, ms);
    near(now - before, ALPHA, 0.1, `round ${rounds}`);
    before = now;
  }
  near(rounds, (19 - 14) / ALPHA, 0.15, 'rounds');
  before = acknowledge(c, c.context.nowMs + 5 * rtt); // past W_est = cwnd_prior = 20
  assert.ok(before > 20);
  for (let i = 0; i < 10; i++) {
    const now = acknowledge(c, c.context.nowMs + rtt);
    near(now - before, 1, 0.1, 'as Reno');
    before = now;
  }
});

test('cubic: RFC 9438 §4.2: the target is at most half a window above', () => {
  const c = afterLoss(1000);
  acknowledge(c, 100);
  c.srttUs = 100_000_000; // W(t + RTT) is beyond all measure
  const before = c.cwnd;
  cubic.acked(c, before, 100_000);
  assert.ok(c.cwnd <= 1.5 * before + MSS && c.cwnd > 1.45 * before, `${c.cwnd} after ${before}`);
});

test('cubic: RFC 9438 §4.2: an acknowledgement never makes the window smaller', () => {
  const c = afterLoss(500);
  acknowledge(c, 1000);
  c.cwnd = 900 * MSS; // above the curve
  for (let i = 0; i < 100; i++) {
    const before = c.cwnd;
    cubic.acked(c, MSS, 100_000);
    assert.ok(c.cwnd >= before);
  }
});

test('cubic: RFC 9438 §4.7: fast convergence: a second loss below W_max leaves room', () => {
  const wMaxAfter = (again: number): number => {
    const c = afterLoss(1000);
    c.cwnd = again * MSS;
    reduce(c);
    // Where the curve is flat is W_max: there a round trip adds least.
    let [flat, least, before] = [0, Number.POSITIVE_INFINITY, acknowledge(c, 100)];
    for (let ms = 200; ms < 20_000; ms += 100) {
      const now = acknowledge(c, ms);
      if (now - before < least) [flat, least] = [now, now - before];
      before = now;
    }
    return flat;
  };
  near(wMaxAfter(800), (800 * (1 + BETA)) / 2, 0.01, 'less than W_max');
  near(wMaxAfter(1200), 1200, 0.01, 'more than W_max');
});

test('cubic: RFC 9438 §4.8: after a timeout K = 0: the curve begins at its plateau', () => {
  const c = afterLoss(1000);
  acknowledge(c, 1000);
  const { cwnd } = c;
  cubic.timedOut(c, cwnd, true);
  assert.equal(c.cwnd, MSS);
  assert.equal(c.ssthresh, Math.floor(cwnd * BETA));
  const { ssthresh } = c;
  cubic.timedOut(c, MSS, false);
  assert.equal(c.ssthresh, ssthresh, 'RFC 5681 §3.1: held when the same data times out again');
  while (c.cwnd < c.ssthresh) cubic.acked(c, MSS, -1); // slow start
  assert.equal(c.cwnd, c.ssthresh, 'slow start ends at ssthresh');
  const start = c.context.nowMs;
  for (const t of [5, 7, 9]) {
    const got = acknowledge(c, start + t * 1000) - ssthresh / MSS;
    const [low, high] = [C * (t - 0.15) ** 3, C * (t + 0.15) ** 3];
    assert.ok(got >= low && got <= high, `t ${t}: ${low} <= ${got} <= ${high}`);
  }
});

test('cubic: RFC 9438 §4.2, §5.8: time without use of the window is no part of t', () => {
  const busy = afterLoss(1000);
  const rested = afterLoss(1000);
  acknowledge(busy, 3000);
  acknowledge(rested, 3000);
  setTime(rested, 33_000_000); // half a minute limited by the application, or idle
  const got = acknowledge(rested, 36_000);
  const expected = acknowledge(busy, 6000);
  near(got, expected, 0.01);
  near(expected, C * (6.1 - Math.cbrt(300 / C)) ** 3 + 1000, 0.01);
});

test('cubic: RFC 9438 §4.9.2: after an undo the curve goes on where it was', () => {
  const straight = afterLoss(1000);
  const mistaken = afterLoss(1000);
  acknowledge(straight, 4000);
  acknowledge(mistaken, 4000);
  for (const strike of [() => cubic.reduce(mistaken, mistaken.cwnd, 'loss'), () => cubic.timedOut(mistaken, 0, true)]) {
    const { cwnd, ssthresh } = mistaken;
    strike();
    mistaken.cwnd = mistaken.ssthresh;
    Object.assign(mistaken, { cwnd, ssthresh }); // the sender's part
    cubic.undo(mistaken);
    const untilMs = mistaken.context.nowMs + 2000;
    near(acknowledge(mistaken, untilMs), acknowledge(straight, untilMs), 0.001);
  }
});

test('cubic: RFC 9438 §4.9.2: an undo that comes late does not take back a larger window', () => {
  const [c, twin] = [afterLoss(100), afterLoss(100)];
  for (const one of [c, twin]) {
    acknowledge(one, 3000);
    reduce(one);
    acknowledge(one, 23_000);
    assert.ok(one.cwnd > 100 * MSS);
  }
  cubic.undo(c);
  assert.equal(acknowledge(c, 26_000), acknowledge(twin, 26_000), 'the curve is still that of the last loss');
});

test('cubic: RFC 9438 §5.2: the average window is that of the response function, within 10 %', () => {
  for (const [p, rttMs] of [
    [1e-4, 100],
    [3e-5, 100],
    [1e-4, 200],
  ] as const) {
    const expected = 1.054 * ((rttMs / 1000) ** 3 / p ** 3) ** 0.25;
    const flow = new Flow(cubic, new Link({ mbps: 1e6, lossEvery: Math.round(1 / p) }), { rttMs });
    // It begins where it belongs: with losses this regular a cycle is like the one before, and converges for hours.
    flow.c.cwnd = Math.floor((expected / 0.925) * MSS);
    reduce(flow.c);
    run([flow], 20_000);
    near(
      mean(flow, 200_000, ({ c }) => c.cwnd / MSS),
      expected,
      0.1,
      `p ${p}, ${rttMs} ms`,
    );
  }
});

test('cubic: RFC 9438 §5.1: where Reno does well, the average window is that of Reno, within 10 %', () => {
  for (const [p, rttMs] of [
    [1e-3, 10],
    [1e-4, 10],
    [1e-3, 40],
  ] as const) {
    const flow = new Flow(cubic, new Link({ mbps: 1e6, lossEvery: Math.round(1 / p) }), { rttMs });
    run([flow], 20_000);
    const got = mean(flow, 120_000, ({ c }) => c.cwnd / MSS);
    near(got, Math.sqrt(1.5 / p), 0.1, `p ${p}, ${rttMs} ms`);
  }
});

test('cubic: with a queue of one bandwidth-delay product it fills a link of 100 Mbit/s', () => {
  for (const rttMs of [5, 20, 100]) {
    const link = new Link({ mbps: 100, bufferBytes: 12_500 * rttMs });
    const flow = new Flow(cubic, link, { rttMs });
    run([flow], 5000);
    const from = flow.c.delivered;
    run([flow], 25_000);
    const mbps = ((flow.c.delivered - from) * 8) / 20e6;
    assert.ok(mbps > 95, `${rttMs} ms: ${mbps}`);
  }
});

test('cubic: four flows share a link: Jain 0.95 over 60 s', () => {
  const link = new Link({ mbps: 100, bufferBytes: 250_000 });
  const flows = [0, 1, 2, 3].map((i) => new Flow(cubic, link, { rttMs: 20, startMs: 100 * i }));
  run(flows, 60_000);
  const rates = flows.map(({ c }) => c.delivered);
  const sum = rates.reduce((a, b) => a + b, 0);
  const squares = rates.reduce((a, b) => a + b * b, 0);
  assert.ok(sum ** 2 / (4 * squares) > 0.95, rates.join(' '));
});

test('cubic: RFC 6928, RFC 5681 §3.1: ten segments to begin with, and no threshold', () => {
  const c = fakeConnection(100_000);
  cubic.init(c);
  assert.deepEqual([c.cwnd, c.ssthresh], [10 * MSS, SSTHRESH_MAX]);
});

test('cubic: RFC 5681 §4.1, RFC 2861: each timeout of idleness halves the window, down to the initial one', () => {
  for (const [rtos, segments] of [
    [0.9, 100],
    [1, 50],
    [2.5, 25],
    [60, 10],
  ] as const) {
    const c = afterLoss(1000);
    c.cwnd = 100 * MSS;
    c.ssthresh = 70 * MSS;
    cubic.restart!(c, rtos * c.rtoMs);
    assert.equal(c.cwnd, segments * MSS, `${rtos} timeouts`);
    assert.equal(c.ssthresh, rtos < 1 ? 70 * MSS : 75 * MSS, 'the way back is quick');
  }
});
