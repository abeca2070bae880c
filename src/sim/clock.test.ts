import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Random } from '../phy/random.ts';
import { STALLED_TIMERS_MAX, VirtualClock } from './clock.ts';

const settle = () => new Promise<void>((resolve) => setImmediate(resolve));

test('clock: timers fire in order of time, equals in the order they were set', () => {
  const clock = new VirtualClock();
  const fired: [string, number][] = [];
  const set = (name: string, at: number) => clock.setTimer(at, () => fired.push([name, clock.now()]));
  set('c', 30);
  set('a', 10.5);
  set('b1', 20);
  set('b2', 20);
  set('late', 41);
  assert.equal(clock.nextAt, 10.5);
  clock.advanceTo(40);
  assert.deepEqual(fired, [
    ['a', 10.5],
    ['b1', 20],
    ['b2', 20],
    ['c', 30],
  ]);
  assert.equal(clock.now(), 40);
  assert.equal(clock.pending, 1);
});

test('clock: a timer set or cleared while firing', () => {
  const clock = new VirtualClock(100);
  const fired: string[] = [];
  clock.setTimer(110, () => {
    fired.push('first');
    clock.clearTimer(doomed);
    clock.setTimer(50, () => fired.push(`past at ${clock.now()}`)); // due at once
    clock.setTimer(115, () => fired.push('new'));
  });
  const doomed = clock.setTimer(110, () => fired.push('doomed'));
  clock.advanceTo(115);
  assert.deepEqual(fired, ['first', 'past at 110', 'new']);
  clock.clearTimer(doomed);
  clock.clearTimer(12345);
  assert.equal(clock.nextAt, Number.POSITIVE_INFINITY);
});

test('clock: time never goes back', () => {
  const clock = new VirtualClock(100);
  clock.advanceTo(50);
  assert.equal(clock.now(), 100);
  assert.throws(() => clock.advanceTo(Number.NaN), RangeError);
  assert.throws(() => clock.advanceTo(Number.POSITIVE_INFINITY), RangeError);
  assert.throws(() => clock.setTimer(Number.NaN, () => {}), RangeError);
});

test('clock: step goes to the next timer and fires that one', () => {
  const clock = new VirtualClock();
  let fired = 0;
  clock.setTimer(7, () => fired++);
  clock.setTimer(7, () => fired++);
  clock.setTimer(Number.POSITIVE_INFINITY, () => fired++);
  assert.equal(clock.step(), true);
  assert.deepEqual([fired, clock.now()], [1, 7]);
  assert.equal(clock.step(), true);
  assert.equal(clock.step(), false);
  assert.equal(fired, 2);
});

test('clock: as a sorted list does it, with timers set and cleared at random', () => {
  const random = new Random(11);
  const clock = new VirtualClock();
  let list: { at: number; handle: number }[] = []; // the slow twin
  const fired: number[] = [];
  for (let round = 0; round < 3000; round++) {
    const what = random.below(10);
    if (what < 5) {
      const at = clock.now() + random.below(50);
      const handle: number = clock.setTimer(at, () => fired.push(handle));
      list.push({ at, handle });
    } else if (what < 7 && list.length > 0) {
      const { handle } = list[random.below(list.length)]!;
      clock.clearTimer(handle);
      list = list.filter((timer) => timer.handle !== handle);
    } else {
      const t = clock.now() + random.below(20);
      const due = list.filter(({ at }) => at <= t).sort((a, b) => a.at - b.at || a.handle - b.handle);
      list = list.filter(({ at }) => at > t);
      fired.length = 0;
      clock.advanceTo(t);
      assert.deepEqual(
        fired,
        due.map(({ handle }) => handle),
      );
    }
    assert.equal(clock.nextAt, Math.min(...list.map(({ at }) => at)));
    assert.equal(clock.pending, list.length);
  }
});

test('clock: a timer that sets itself anew at the same moment is found out', () => {
  const clock = new VirtualClock();
  let fired = 0;
  const again = () => {
    fired++;
    clock.setTimer(clock.now(), again);
  };
  again();
  assert.throws(() => clock.advanceTo(1), /time does not move/);
  assert.equal(fired, STALLED_TIMERS_MAX + 1);
});

test('clock: run drives promises to their end', async () => {
  const clock = new VirtualClock();
  const sleep = (ms: number) => new Promise<void>((resolve) => clock.setTimer(clock.now() + ms, resolve));
  let done = false;
  const work = (async () => {
    for (let i = 0; i < 100; i++) await sleep(6000);
    done = true;
  })();
  assert.equal(await clock.run({ settle, until: () => done }), true);
  assert.equal(clock.now(), 600_000);
  await work;
});

test('clock: run ends when nothing is left, and when the time is over', async () => {
  const clock = new VirtualClock();
  let fired = 0;
  clock.setTimer(10, () => fired++);
  assert.equal(await clock.run({ settle, until: () => false }), false);
  assert.deepEqual([clock.now(), fired], [10, 1]);
  const tick = () => {
    fired++;
    clock.setTimer(clock.now() + 10, tick);
  };
  tick();
  assert.equal(await clock.run({ settle, maxMs: 95 }), false);
  assert.deepEqual([clock.now(), fired], [105, 11]);
});
