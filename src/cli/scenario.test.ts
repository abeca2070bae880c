import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FaultInjector, pipePair } from '../phy/index.ts';
import { VirtualClock } from '../sim/index.ts';
import { UsageError } from './command.ts';
import { JsonNode } from './json-file.ts';
import { type Change, cableTarget, type FaultTarget, readScenario, ScenarioPlayer } from './scenario.ts';

const TARGETS = new Map([
  ['alice', { kind: 'cable' }],
  ['bob', { kind: 'cable' }],
  ['wan', { kind: 'link' }],
] as const);
const read = (value: unknown, targets: typeof TARGETS | null = TARGETS) =>
  readScenario(new JsonNode(value, '', 'file'), targets);

test('scenario: what a file says is what changes', () => {
  const { changes, repeatMs } = read({
    schedule: [
      { atMs: 0, on: 'alice', drop: 0.5, rx: { delayMs: 3 } },
      { atMs: 10, on: ['alice', 'bob'], down: true },
      { atMs: 10, on: 'wan', backward: { drop: 1 } },
    ],
    repeatMs: 11,
  });
  assert.equal(repeatMs, 11);
  assert.deepEqual(changes, [
    { atMs: 0, on: ['alice'], both: { drop: 0.5 }, first: { delayMs: 3 }, second: {} },
    { atMs: 10, on: ['alice', 'bob'], both: { down: true }, first: {}, second: {} },
    { atMs: 10, on: ['wan'], both: {}, first: {}, second: { drop: 1 } },
  ]);
  const alone = read({ schedule: [{ atMs: 1, tx: { drop: 1 } }] }, null);
  assert.deepEqual(alone, {
    changes: [{ atMs: 1, on: [], both: {}, first: {}, second: { drop: 1 } }],
    repeatMs: null,
  });
});

const WRONG: { name: string; value: unknown; alone?: boolean; expected: RegExp }[] = [
  { name: 'no object', value: [], expected: /^file: expected an object with schedule, repeatMs, got \[\]$/ },
  { name: 'nothing', value: {}, expected: /^file: expected a schedule, got none$/ },
  {
    name: 'an unknown name',
    value: { schedul: [] },
    expected: /^file: unknown name "schedul": did you mean schedule\?$/,
  },
  { name: 'no list', value: { schedule: {} }, expected: /^file: schedule: expected a list, got \{\}$/ },
  {
    name: 'no time',
    value: { schedule: [{ on: 'alice' }] },
    expected: /^file: schedule\[0\]\.atMs: expected a number from 0 to \d+, got nothing$/,
  },
  {
    name: 'time that goes back',
    value: {
      schedule: [
        { atMs: 5, on: 'alice' },
        { atMs: 4, on: 'alice' },
      ],
    },
    expected: /^file: schedule\[1\]\.atMs: expected 5 or later/,
  },
  {
    name: 'a cable that is not there',
    value: { schedule: [{ atMs: 5, on: 'carol' }] },
    expected: /^file: schedule\[0\]\.on: expected one of alice, bob, wan, got "carol"$/,
  },
  {
    name: 'a fault that is none',
    value: { schedule: [{ atMs: 5, on: 'alice', drop: 7 }] },
    expected: /^file: schedule\[0\]\.drop: expected a number from 0 to 1, got 7$/,
  },
  {
    name: 'a fault in one direction that is none',
    value: { schedule: [{ atMs: 5, on: 'alice', rx: { jitterShape: 'round' } }] },
    expected: /^file: schedule\[0\]\.rx\.jitterShape: expected uniform, normal, pareto, got round$/,
  },
  {
    name: "a link's direction for a cable",
    value: { schedule: [{ atMs: 5, on: 'alice', forward: {} }] },
    expected: /^file: schedule\[0\]\.forward: expected rx or tx for a cable$/,
  },
  {
    name: "a cable's direction for a link",
    value: { schedule: [{ atMs: 5, on: 'wan', tx: {} }] },
    expected: /^file: schedule\[0\]\.tx: expected forward or backward for a link$/,
  },
  {
    name: 'a period that is too short',
    value: { schedule: [{ atMs: 5, on: 'alice' }], repeatMs: 5 },
    expected: /^file: repeatMs: expected more than the last change's 5 ms, got 5$/,
  },
  {
    name: 'a name where there is one cable',
    value: { schedule: [{ atMs: 5, on: 'alice' }] },
    alone: true,
    expected: /^file: schedule\[0\]: unknown name "on"/,
  },
];

for (const { name, value, alone, expected } of WRONG) {
  test(`scenario: refuses ${name}`, () => {
    assert.throws(
      () => read(value, alone === true ? null : TARGETS),
      (error) => error instanceof UsageError && expected.test(error.message),
    );
  });
}

/** Plays changes for so long; what was applied, and when. */
async function play(changes: readonly { atMs: number }[], repeatMs: number | null, forMs: number): Promise<number[][]> {
  const clock = new VirtualClock(1000);
  const seen: number[][] = [];
  const scenario = { changes: changes.map((one) => ({ ...one, on: [], both: {}, first: {}, second: {} })), repeatMs };
  const target = (change: Change): FaultTarget[] => [{ apply: () => seen.push([clock.now() - 1000, change.atMs]) }];
  const player = new ScenarioPlayer(clock, scenario, target);
  player.start();
  clock.advanceTo(1000 + forMs);
  player.stop();
  assert.equal(clock.pending, 0, 'nothing is left to come');
  return seen;
}

test('scenario: changes come at their times, at once, and again with a period', async () => {
  const times = [{ atMs: 0 }, { atMs: 5 }, { atMs: 5 }, { atMs: 20 }];
  assert.deepEqual(await play(times, null, 100), [
    [0, 0],
    [5, 5],
    [5, 5],
    [20, 20],
  ]);
  assert.deepEqual(await play(times, 30, 40), [
    [0, 0],
    [5, 5],
    [5, 5],
    [20, 20],
    [30, 0],
    [35, 5],
    [35, 5],
  ]);
  assert.deepEqual(await play(times, null, 4), [[0, 0]]);
  assert.deepEqual(await play([], 10, 100), []);
});

test('scenario: a cable keeps what a change does not name', () => {
  const [left] = pipePair({ medium: 'ip' });
  const cable = new FaultInjector(left);
  const seen: unknown[] = [];
  cable.configure = (options) =>
    seen.push([options.rx!.drop, options.rx!.delayMs, options.tx!.drop, options.tx!.delayMs]);
  const target = cableTarget(cable, { delayMs: 7, tx: { drop: 0.25 } });
  target.apply({ both: { drop: 0.5 }, first: {}, second: {} });
  target.apply({ both: {}, first: { delayMs: 1 }, second: {} });
  target.apply({ both: { delayMs: 2 }, first: {}, second: { drop: 0 } });
  assert.deepEqual(seen, [
    [0.5, 7, 0.5, 7],
    [0.5, 1, 0.5, 7],
    [0.5, 2, 0, 2],
  ]);
});
