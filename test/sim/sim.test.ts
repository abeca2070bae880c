import assert from 'node:assert/strict';
import { test } from 'node:test';
import { pairPlanOf, planOf } from './plan.ts';
import { runPair, runSeed } from './run.ts';

/** Runs in `npm test`; `npm run sim` does 10,000 and more. */
const SEEDS = 400;
const GROUPS = 8;

for (let group = 0; group < GROUPS; group++) {
  const first = 1 + (group * SEEDS) / GROUPS;
  const last = ((group + 1) * SEEDS) / GROUPS;
  test(`simulation: seeds ${first} to ${last}: bytes whole and in order, windows kept, memory balanced, every run ends`, () => {
    for (let seed = first; seed <= last; seed++) runSeed(seed);
  });
}

/** Seeds that found something once, on a wire; what each found has a test of its own in src/tcp. */
const FOUND: { seed: number; what: string }[] = [
  { seed: 6, what: 'a device with a deadline between two milliseconds was polled for ever' },
  { seed: 21, what: 'SACK blocks beside a full segment went over the MTU' },
  { seed: 96, what: 'the fast retransmission went beyond the window' },
  { seed: 240, what: 'acknowledgements below the window after a timeout, answered for ever' },
  { seed: 255, what: 'two peers that had both timed out ignored each other until they gave up' },
  { seed: 328, what: 'a window from before an acknowledgement was counted from after it' },
  { seed: 1056, what: 'a writer that memory had refused was never told of room' },
  { seed: 1490, what: 'SND.NXT below SND.UNA when the SYN-ACK came with the timeout of the SYN' },
];
for (const { seed, what } of FOUND) {
  test(`simulation: seed ${seed}: ${what}`, () => {
    runPair(seed);
  });
}

/** The same of whole networks: a timeout that an acknowledgement of the same moment took back left no timer. */
for (const seed of [4636, 8871]) {
  test(`simulation: seed ${seed}: what is under way has a deadline`, () => {
    runSeed(seed);
  });
}

test('simulation: a seed gives the same run each time, and another one a different run', () => {
  const traceOf = (seed: number): string[] => {
    const lines: string[] = [];
    runSeed(seed, (line) => lines.push(line));
    return lines;
  };
  const first = traceOf(17);
  assert.ok(first.length > 10);
  assert.deepEqual(traceOf(17), first);
  assert.notDeepEqual(traceOf(18), first);
});

test('simulation: the seeds of npm test cover every kind of link, stack and ending', () => {
  const plans = Array.from({ length: SEEDS }, (_, i) => planOf(i + 1));
  const has = (what: (plan: (typeof plans)[number]) => boolean): void => assert.ok(plans.filter(what).length > 4);
  has(({ link }) => link.medium === 'ethernet');
  has(({ link }) => link.family === 6);
  has(({ link }) => link.offload);
  has(({ link }) => link.drop > 0.1);
  has(({ link }) => link.corrupt > 0);
  has(({ link }) => link.reorder > 0.1);
  has(({ link }) => link.duplicate > 0.05);
  has(({ link }) => link.rateBitsPerSecond < 1e6);
  has(({ link }) => link.cutAtMs < 3000);
  has(({ stacks }) => stacks[0]!.memoryBytes === 1 << 18);
  has(({ stacks }) => stacks[0]!.tcp.timestamps === false);
  has(({ connections }) => connections.length > 6);
  has(({ connections }) => connections.some(({ sides }) => sides[0].end === 'abort'));
  has(({ connections }) => connections.some(({ sides }) => sides[1].end === 'release'));
  for (const topology of ['wire', 'link', 'router', 'switch']) has((plan) => plan.topology === topology);
  for (const count of [2, 5, 8]) has(({ stacks }) => stacks.length === count);
  has(({ faults }) => (faults.badEnter ?? 0) > 0);
  has(({ faults }) => faults.jitterShape === 'pareto');
  has(({ spells }) => spells.some(({ way, faults }) => way === 'both' && faults.down === true));
  has(({ spells }) => spells.some(({ way, faults }) => way !== 'both' && faults.down === true));
  has(({ spells }) => spells.some(({ faults }) => faults.sizeBytesMax !== undefined));
  has(({ datagrams }) => datagrams.length > 0);
  has(({ unlistenAtMs }) => unlistenAtMs.some((at) => at < 3000));
  has(({ connections }) => connections.some(({ sides }) => sides.some(({ pauseMs }) => pauseMs > 5000)));
  has(({ stacks }) => stacks.every(({ tcp }) => tcp.ecn === 'accurate'));
  has(({ connections }) => connections.some(({ sides }) => sides[0].urgentEvery === 1 && !sides[1].urgentInline));
  has(({ connections }) => connections.some(({ sides }) => sides[1].urgentEvery > 1 && sides[0].urgentInline));
});

test('simulation: a pair on a wire is one of the seeds, and can be asked for', () => {
  assert.deepEqual(planOf(6), pairPlanOf(6));
  assert.notDeepEqual(planOf(7), pairPlanOf(7));
});
