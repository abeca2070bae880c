import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  Flow,
  type FlowOptions,
  fakeConnection,
  Link,
  type LinkOptions,
  MSS,
  mean,
  run,
  throughput,
} from '../../../test/congestion-path.ts';
import { bbr } from './bbr.ts';
import { advanceMaxBwFilter } from './bbr-model.ts';
import {
  type BbrState,
  CRUISE,
  DOWN,
  DRAIN,
  NO_STATE,
  PROBE_RTT,
  REFILL,
  STARTUP,
  UNBOUNDED,
  UP,
} from './bbr-state.ts';

// The names of the tests follow draft-ietf-ccwg-bbr, its appendix A where it has the case.

/** A flow alone on a link of 100 Mbit/s with a queue of one bandwidth-delay product. */
function alone(rttMs: number, link: Partial<LinkOptions> = {}, options: Partial<FlowOptions> = {}): Flow {
  const mbps = link.mbps ?? 100;
  const bufferBytes = Math.max(mbps * 125 * rttMs, 8 * MSS);
  return new Flow(bbr, new Link({ mbps, bufferBytes, ...link }), { rttMs, ...options });
}

const state = (flow: Flow): BbrState => flow.c.congestionState as BbrState;
const bdpOf = (flow: Flow): number => flow.link.bytesPerUs * flow.rttUs;

/** Runs until `isSo` holds; fails at `untilMs`. */
function runTo(flow: Flow, isSo: (s: BbrState) => boolean, untilMs = 60_000): void {
  while (!isSo(state(flow))) {
    assert.ok(flow.nextUs < untilMs * 1000, `not before ${untilMs} ms; state ${state(flow).state}`);
    flow.step();
  }
}

/** The states a flow goes through from now until `untilMs`, with the times at which they begin. */
function statesOf(flow: Flow, untilMs: number): { state: number; ms: number }[] {
  const seen = [{ state: state(flow).state, ms: flow.nowUs / 1000 }];
  run([flow], untilMs, () => {
    if (state(flow).state !== seen.at(-1)!.state) seen.push({ state: state(flow).state, ms: flow.nowUs / 1000 });
  });
  return seen;
}

test('bbr: A.1: Startup ends once three rounds bring less than a quarter more, with the bandwidth known to 2 %', () => {
  const flow = alone(50);
  assert.ok(flow.c.pacingRate > 2.7 * ((10 * MSS) / 0.05), 'paced from the first segment on');
  runTo(flow, (s) => s.fullBwCount === 2);
  assert.equal(state(flow).state, STARTUP);
  const { roundCount } = state(flow);
  runTo(flow, (s) => s.state === DRAIN);
  assert.equal(state(flow).roundCount, roundCount + 1);
  assert.ok(state(flow).isFullBwReached && state(flow).isFullBwNow);
  assert.ok(Math.abs(state(flow).maxBw - 12.5e6) < 0.02 * 12.5e6);
  assert.ok(flow.nowUs / 50_000 < 15, 'a handful of rounds: it doubles');
});

test('bbr: A.2: heavy loss ends Startup even where the application limits the rate', () => {
  const flow = alone(50, { loss: 0.15 });
  flow.setApp(4000, 0);
  runTo(flow, (s) => s.state !== STARTUP, 10_000);
  assert.ok(state(flow).isFullBwReached && state(flow).inflightLongterm < UNBOUNDED);
});

test('bbr: A.3: Drain paces at half the bandwidth, and ends where a bandwidth-delay product is under way', () => {
  const flow = alone(50);
  runTo(flow, (s) => s.state === DRAIN);
  flow.step();
  assert.ok(Math.abs(flow.c.pacingRate / state(flow).bw - 0.5 * 0.99) < 0.001);
  runTo(flow, (s) => s.state !== DRAIN);
  assert.equal(state(flow).state, CRUISE, 'by way of DOWN, which has nothing left to do');
  assert.ok(flow.c.inFlight() <= 1.05 * bdpOf(flow));
});

test('bbr: A.4: Drain ends after three rounds where the bandwidth was overrated', () => {
  const flow = alone(50, { bufferBytes: 1e9 });
  runTo(flow, (s) => s.state === DRAIN);
  const { roundCount } = state(flow);
  flow.slow(4);
  runTo(flow, (s) => s.state !== DRAIN);
  assert.equal(state(flow).roundCount, roundCount + 4);
  assert.ok(flow.c.inFlight() > bdpOf(flow));
});

test('bbr: §5.3: it goes DOWN, CRUISE, REFILL, UP, in turn', () => {
  const flow = alone(20);
  runTo(flow, (s) => s.state === DOWN);
  const next: Record<number, number> = { [DOWN]: CRUISE, [CRUISE]: REFILL, [REFILL]: UP, [UP]: DOWN };
  const seen = statesOf(flow, 4900);
  for (let i = 1; i < seen.length; i++) assert.equal(seen[i]!.state, next[seen[i - 1]!.state]);
  assert.ok(seen.length > 8);
  for (let i = 1; i < seen.length - 1; i++) {
    const rounds = (seen[i + 1]!.ms - seen[i]!.ms) / 20;
    if (seen[i]!.state === REFILL) assert.ok(rounds > 0.9 && rounds < 2.5, 'a round to fill the pipe');
    if (seen[i]!.state === CRUISE) assert.ok(rounds <= 64, 'no longer than Reno would wait');
  }
});

test('bbr: it fills links from 1 Mbit/s to 1 Gbit/s to within 5 %', () => {
  for (const [mbps, rttMs] of [
    [1, 50],
    [10, 10],
    [100, 5],
    [100, 20],
    [1000, 5],
  ] as const) {
    const flow = alone(rttMs, { mbps });
    run([flow], 2000);
    const got = throughput(flow, mbps === 1000 ? 4900 : 9000);
    assert.ok(got > 0.95 * mbps && got <= mbps, `${mbps} Mbit/s, ${rttMs} ms: ${got}`);
    const { maxBw, minRttUs } = state(flow);
    assert.ok(Math.abs(maxBw * 8e-6 - mbps) < 0.05 * mbps, `${maxBw}`);
    assert.ok(minRttUs - rttMs * 1000 < 0.05 * rttMs * 1000 + 1.5 * ((MSS * 8) / mbps), `${minRttUs}`);
  }
});

test('bbr: it drains its queue: on the average less than a tenth of a bandwidth-delay product stands', () => {
  const flow = alone(20, { bufferBytes: 1e9 });
  runTo(flow, (s) => s.state === DOWN);
  const queue = mean(flow, 20_000, () => flow.link.queueBytes(flow.nowUs));
  assert.ok(queue < 0.1 * bdpOf(flow), `${queue / bdpOf(flow)}`);
  assert.equal(flow.losses, 0);
});

test('bbr: with 0.1, 1 and 3 % of loss by chance it keeps 80 % of the link and more', () => {
  for (const rttMs of [5, 20, 100]) {
    for (const loss of [0.001, 0.01, 0.03]) {
      const got = throughput(alone(rttMs, { loss }), 20_000);
      assert.ok(got > 80, `${rttMs} ms, ${loss}: ${got}`);
    }
  }
});

test('bbr: where the queue is shallow the long-term bound keeps losses low, and the link is used', () => {
  const flow = alone(50, { bufferBytes: 0.1 * 12_500 * 50 });
  run([flow], 5000);
  const [losses, delivered] = [flow.losses, flow.c.delivered];
  const got = throughput(flow, 30_000);
  assert.ok(got > 85, `${got}`);
  assert.ok(((flow.losses - losses) * MSS) / (flow.c.delivered - delivered) < 0.02);
  assert.ok(state(flow).inflightLongterm < 1.5 * bdpOf(flow));
});

test('bbr: A.14: excess loss in UP lowers the long-term bound and goes DOWN; the next probe is a careful one', () => {
  const flow = alone(50);
  runTo(flow, (s) => s.state === UP && s.ackPhase === 3);
  assert.equal(state(flow).inflightLongterm, UNBOUNDED);
  flow.link.loss = 0.4;
  runTo(flow, (s) => s.state !== UP);
  assert.equal(state(flow).state, DOWN);
  assert.ok(state(flow).wasProbeTooHigh);
  assert.ok(state(flow).inflightLongterm < 1.5 * bdpOf(flow));
  assert.ok(state(flow).inflightLongterm >= 0.69 * bdpOf(flow), 'by three tenths at most');
  flow.link.loss = 0;
  runTo(flow, (s) => s.state === UP);
  const { roundCount } = state(flow);
  runTo(flow, (s) => s.state === DOWN);
  assert.ok(state(flow).wasProbePrecautionary && state(flow).roundCount <= roundCount + 2);
  runTo(flow, (s) => s.state === UP);
  const again = state(flow).roundCount;
  assert.ok(again <= roundCount + 6, 'no harm was done: it probes again at once');
  runTo(flow, (s) => s.state === DOWN);
  assert.ok(state(flow).roundCount > again + 2, 'and stays');
});

test('bbr: A.11: every 5 s ProbeRTT leaves half of a bandwidth-delay product under way, for 200 ms and a round', () => {
  const flow = alone(40);
  runTo(flow, (s) => s.state === PROBE_RTT, 7000);
  const fromMs = flow.nowUs / 1000;
  assert.ok(fromMs > 5000 && fromMs < 5700, `${fromMs}`);
  const { cwnd } = flow.c;
  let least = Number.POSITIVE_INFINITY;
  while (state(flow).state === PROBE_RTT) {
    flow.step();
    least = Math.min(least, flow.c.inFlight());
  }
  const tookMs = flow.nowUs / 1000 - fromMs;
  assert.ok(tookMs > 200 && tookMs < 200 + 4 * 40, `${tookMs}`);
  assert.ok(least < 0.52 * bdpOf(flow) && least > 0.4 * bdpOf(flow), `${least / bdpOf(flow)}`);
  assert.equal(state(flow).state, CRUISE);
  assert.ok(flow.c.cwnd >= 0.8 * cwnd, 'the window is back');
  const next = statesOf(flow, fromMs + 5900).find((seen) => seen.state === PROBE_RTT);
  assert.ok(next !== undefined && next.ms - fromMs > 5000);
});

test('bbr: A.13: ProbeRTT is left out after a pause: the queue had time to drain', () => {
  const flow = alone(40);
  run([flow], 3000);
  flow.setApp(0, 3_000_000);
  run([flow], 9000);
  assert.equal(flow.c.inFlight(), 0);
  flow.setApp(Number.POSITIVE_INFINITY, 9_000_000);
  const { pacingRate } = flow.c;
  assert.ok(Math.abs(pacingRate / state(flow).bw - 0.99) < 0.001, '§5.4.1: paced at the bandwidth, from the first on');
  const seen = statesOf(flow, 13_500);
  assert.ok(!seen.some(({ state }) => state === PROBE_RTT), JSON.stringify(seen));
  assert.ok(throughput(flow, 13_900) > 90, 'and the model is that of before');
});

test('bbr: A.22: ProbeRTT in Startup goes back to Startup', () => {
  const flow = alone(40);
  flow.setApp(200, 0); // too little to find out what the path can do
  runTo(flow, (s) => s.state === PROBE_RTT, 7000);
  runTo(flow, (s) => s.state !== PROBE_RTT, 7000);
  assert.equal(state(flow).state, STARTUP);
});

test('bbr: §5.3.4.3: a longer path is learned within 15 s, a shorter one at once', () => {
  const flow = alone(20, { bufferBytes: 1e9 });
  run([flow], 3000);
  flow.rttUs = 60_000;
  run([flow], 19_000);
  assert.ok(Math.abs(state(flow).minRttUs - 60_000) < 3000, `${state(flow).minRttUs}`);
  assert.ok(throughput(flow, 29_000) > 90);
  flow.rttUs = 30_000;
  run([flow], 29_500);
  assert.ok(state(flow).minRttUs < 33_000);
});

test('bbr: A.17: ten times the bandwidth is found within a few probes', () => {
  const flow = alone(20, { mbps: 10, bufferBytes: 250_000 });
  run([flow], 4000);
  flow.slow(1 / 10);
  let ms = 0;
  runTo(flow, (s) => s.maxBw > 0.9 * 12.5e6, 12_000);
  ms = flow.nowUs / 1000 - 4000;
  assert.ok(ms < 6000, `${ms}`);
  assert.ok(throughput(flow, 20_000) > 90);
});

test('bbr: A.18: a tenth of the bandwidth: the short-term model adapts within a second, the long-term one in two probes', () => {
  const flow = alone(20);
  run([flow], 4000);
  flow.slow(10);
  runTo(flow, (s) => s.bw < 0.5 * 12.5e6, 5000);
  runTo(flow, (s) => s.maxBw < 1.1 * 1.25e6, 14_000);
  const got = throughput(flow, 24_000);
  assert.ok(got > 9 && got <= 10, `${got}`);
});

test('bbr: A.7: a flow that the application limits stays in UP or Startup, and its samples do not lower the model', () => {
  const slow = alone(40);
  slow.setApp(500, 0);
  run([slow], 4500);
  assert.equal(state(slow).state, STARTUP);

  const flow = alone(40);
  runTo(flow, (s) => s.state === UP);
  const { maxBw } = state(flow);
  flow.setApp(1000, flow.nowUs);
  const seen = statesOf(flow, 4900);
  assert.deepEqual(
    seen.map(({ state }) => state),
    [UP],
  );
  assert.ok(state(flow).maxBw >= 0.99 * maxBw);
});

test('bbr: A.15: acknowledgements in bursts of 15 ms: extra_acked makes up for them', () => {
  const flow = alone(20, { bufferBytes: 1e9 }, { aggregationMs: 15 });
  run([flow], 2000);
  const { extraAckedNow, extraAckedBefore } = state(flow);
  assert.ok(Math.max(extraAckedNow, extraAckedBefore) > 0.5 * 15 * 12_500, `${extraAckedNow}`);
  assert.ok(flow.c.cwnd > 2 * state(flow).minRttUs * flow.link.bytesPerUs);
  assert.ok(throughput(flow, 4900) > 95);
});

test('bbr: A.16: where less than a segment fits the path, four are under way', () => {
  const flow = alone(10, { mbps: 0.5, bufferBytes: 50_000 });
  const cwnds = new Set<boolean>();
  run([flow], 20_000, () => cwnds.add(flow.c.cwnd >= 4 * MSS));
  assert.deepEqual([...cwnds], [true]);
  assert.ok(throughput(flow, 30_000) > 0.45);
  assert.ok(flow.link.queueBytes(flow.nowUs) <= 12 * MSS);
});

test('bbr: two flows share a link, and neither starves', () => {
  const link = new Link({ mbps: 100, bufferBytes: 250_000 });
  const flows = [0, 1].map((i) => new Flow(bbr, link, { rttMs: 20, startMs: i * 500, seed: i + 1 }));
  run(flows, 10_000);
  const from = flows.map(({ c }) => c.delivered);
  run(flows, 60_000);
  const [a, b] = flows.map(({ c }, i) => (c.delivered - from[i]!) / 1e6) as [number, number];
  assert.ok((a + b) ** 2 / (2 * (a * a + b * b)) > 0.85, `${a} ${b}`);
  assert.ok(((a + b) * 8) / 50 > 90);
});

test('bbr: §3.6: marks of ECN are congestion: the queue stays below where losses would begin', () => {
  const flow = alone(20, { markAboveBytes: 50_000, bufferBytes: 1e9 });
  let most = 0;
  run([flow], 3000);
  run([flow], 12_000, () => {
    most = Math.max(most, flow.link.queueBytes(flow.nowUs));
  });
  assert.ok(most < 0.5 * bdpOf(flow), `${most / bdpOf(flow)}`);
  assert.ok(state(flow).inflightLongterm < UNBOUNDED);
  const unmarked = alone(20, { bufferBytes: 1e9 });
  run([unmarked], 3000);
  assert.equal(state(unmarked).inflightLongterm, UNBOUNDED);
});

test('bbr: without SACK, and without being told of losses one by one, it still holds 80 % with 0.1 % of loss', () => {
  assert.ok(throughput(alone(20, { loss: 0.001 }, { tellsLosses: false }), 20_000) > 80);
  const flow = alone(20, { bufferBytes: 50_000 }, { useSack: false, tellsLosses: false });
  assert.ok(throughput(flow, 20_000) > 70);
});

test('bbr: §5.6.4.4: after a timeout one segment goes, and after recovery the window is back', () => {
  const flow = alone(20);
  run([flow], 3000);
  const { cwnd } = flow.c;
  flow.link.loss = 1;
  run([flow], 3100);
  let least = Number.POSITIVE_INFINITY;
  run([flow], 3900, () => {
    least = Math.min(least, flow.c.cwnd);
  });
  assert.equal(least, MSS);
  flow.link.loss = 0;
  run([flow], 6000);
  assert.ok(flow.c.cwnd > 0.4 * cwnd, `${flow.c.cwnd} of ${cwnd}`);
  assert.ok(throughput(flow, 9000) > 80);
});

test('bbr: A.20: an undo brings back the bounds and the window, and Startup or a probe that was cut short', () => {
  const startup = alone(50);
  runTo(startup, (s) => s.roundCount === 3);
  assert.equal(state(startup).state, STARTUP);
  const { cwnd } = startup.c;
  bbr.reduce(startup.c, startup.c.inFlight(), 'ecn'); // ends Startup
  for (let i = 0; i < 3; i++) startup.step();
  assert.notEqual(state(startup).state, STARTUP);
  bbr.undo(startup.c);
  assert.equal(state(startup).state, STARTUP);
  assert.ok(startup.c.cwnd >= cwnd && !state(startup).isFullBwReached);
  assert.equal(state(startup).inflightLongterm, UNBOUNDED);

  const up = alone(50);
  runTo(up, (s) => s.state === UP && s.ackPhase === 3);
  bbr.reduce(up.c, Math.floor(0.8 * up.c.inFlight()), 'ecn');
  assert.equal(state(up).state, DOWN);
  assert.ok(state(up).inflightLongterm < UNBOUNDED);
  bbr.undo(up.c);
  assert.equal(state(up).state, REFILL);
  assert.equal(state(up).inflightLongterm, UNBOUNDED);
  assert.equal(state(up).undoState, NO_STATE);
});

test('bbr: §5.6.4.4: as recovery ends the window is what it was before', () => {
  const flow = alone(20);
  runTo(flow, (s) => s.state === CRUISE);
  run([flow], flow.nowUs / 1000 + 200);
  const { cwnd } = flow.c;
  assert.ok(cwnd > 1.9 * bdpOf(flow));
  bbr.timedOut(flow.c, flow.c.inFlight(), true);
  assert.equal(flow.c.cwnd, MSS);
  runTo(flow, (s) => !s.isInRecovery);
  assert.ok(flow.c.cwnd > 0.99 * cwnd, `${flow.c.cwnd} of ${cwnd}`);
});

test('bbr: §5.4.1: after a pause within a probe it sends at the bandwidth, not above', () => {
  const flow = alone(40);
  runTo(flow, (s) => s.state === UP);
  flow.step();
  assert.ok(flow.c.pacingRate > 1.2 * state(flow).bw);
  flow.setApp(0, flow.nowUs);
  run([flow], flow.nowUs / 1000 + 100);
  flow.setApp(Number.POSITIVE_INFINITY, flow.nowUs + 500_000);
  assert.ok(Math.abs(flow.c.pacingRate / state(flow).bw - 0.99) < 0.001);
});

test('bbr: §5.5.4: a sample that the application limited counts only where it shows more than was known', () => {
  const c = fakeConnection(20_000);
  bbr.init(c);
  const sample = (bytesPerSecond: number, isAppLimited: boolean): void => {
    c.delivered += MSS;
    const rate = { delivered: bytesPerSecond / 50, intervalUs: 20_000, rttUs: 20_000, isAppLimited };
    const before = { priorDelivered: 0, priorLost: 0, inFlightAtSend: MSS, priorInFlight: MSS };
    bbr.sample!(c, { newlyDelivered: MSS, newlyLost: 0, newlyMarked: 0, ...rate, ...before });
  };
  const s = c.congestionState as BbrState;
  sample(1e6, false);
  advanceMaxBwFilter(s);
  sample(1e5, true);
  advanceMaxBwFilter(s); // nothing was measured in this cycle: what was known stays
  assert.equal(s.maxBw, 1e6);
  sample(2e6, true);
  assert.equal(s.maxBw, 2e6);
  advanceMaxBwFilter(s);
  sample(5e5, false);
  assert.equal(s.maxBw, 2e6, 'the filter covers two cycles');
  advanceMaxBwFilter(s);
  assert.equal(s.maxBw, 5e5);
});

test('bbr: §5.5.10.3: a round with excess loss that was not sent to probe cuts the short-term model to 0.7 at most', () => {
  const flow = alone(50);
  runTo(flow, (s) => s.state === CRUISE);
  const { maxBw } = state(flow);
  flow.link.loss = 0.5;
  for (let before = maxBw; before > 0.5 * maxBw; before = state(flow).bwShortterm) {
    runTo(flow, (s) => s.bwShortterm < before || (s.bwShortterm === before && before === maxBw));
    assert.ok(state(flow).bwShortterm >= 0.699 * before, `${state(flow).bwShortterm} after ${before}`);
    assert.ok(state(flow).inflightShortterm < UNBOUNDED);
    if (state(flow).bwShortterm === maxBw) runTo(flow, (s) => s.bwShortterm < maxBw);
  }
  flow.link.loss = 0;
  runTo(flow, (s) => s.state === REFILL);
  assert.deepEqual([state(flow).bwShortterm, state(flow).inflightShortterm], [UNBOUNDED, UNBOUNDED]);
});

test('bbr: clocks that wrap, and a first measurement that is not there yet', () => {
  const c = fakeConnection(0);
  bbr.init(c);
  assert.equal(c.pacingRate, Math.floor((2.77 * 10 * MSS) / 0.001), '§5.6.2: as if a round trip took 1 ms');
  const flow = alone(20, {}, { startMs: 2_146_483 }); // us pass 2^31 after a second
  run([flow], 2_146_483 + 2000);
  assert.ok(throughput(flow, 2_146_483 + 4500) > 95);
  assert.ok(flow.c.cwnd < 2.5 * bdpOf(flow), 'no aggregation was made up');
});

test('bbr: info tells the model', () => {
  const flow = alone(20);
  run([flow], 3000);
  const info = bbr.info!(flow.c);
  assert.ok(Math.abs(info.maxBw! - 12.5e6) < 0.05 * 12.5e6);
  assert.ok(info.minRttUs! >= 20_000 && info.pacingGain! > 0 && info.cwndGain! >= 2);
});
