import assert from 'node:assert/strict';
import { test } from 'node:test';
import { randomOf } from '../../test/random.ts';
import { type Timed, Timers } from './timers.ts';

class Alarm implements Timed {
  timerAt = 0;
  timerIndex = -1;
  fired: number[] = [];
  readonly name: number;
  readonly log: number[];

  constructor(name: number, log: number[]) {
    this.name = name;
    this.log = log;
  }

  expire(nowMs: number): void {
    this.fired.push(nowMs);
    this.log.push(this.name);
  }
}

test('timers: set, brought forward, cancelled and fired at random, as a list has it', () => {
  const random = randomOf(3);
  const timers = new Timers();
  const log: number[] = [];
  const alarms = Array.from({ length: 200 }, (_, i) => new Alarm(i, log));
  const twin = new Map<Alarm, number>();
  let now = 1;
  for (let step = 0; step < 20_000; step++) {
    const alarm = random.pick(alarms);
    const what = random.below(10);
    if (what < 6) {
      const at = now + 1 + random.below(500);
      timers.atMost(alarm, at);
      twin.set(alarm, Math.min(at, twin.get(alarm) ?? Number.POSITIVE_INFINITY));
    } else if (what < 8) {
      timers.cancel(alarm);
      twin.delete(alarm);
    } else {
      now += random.below(60);
      const due = [...twin].filter(([, at]) => at <= now).sort(([, a], [, b]) => a - b);
      log.length = 0;
      timers.expire(now);
      assert.deepEqual(
        log.map((name) => twin.get(alarms[name]!)),
        due.map(([, at]) => at),
        'in the order of deadlines',
      );
      assert.deepEqual([...log].sort(), due.map(([a]) => a.name).sort());
      for (const [a] of due) twin.delete(a);
    }
    assert.equal(timers.count, twin.size);
    assert.equal(timers.nextAt, Math.min(Number.POSITIVE_INFINITY, ...twin.values()));
  }
});

test('timers: what fires may set itself again, and cancel others', () => {
  const timers = new Timers();
  const fired: string[] = [];
  const make = (name: string, then: () => void): Timed => ({
    timerAt: 0,
    timerIndex: -1,
    expire: () => {
      fired.push(name);
      then();
    },
  });
  const victim = make('victim', () => {});
  const killer = make('killer', () => timers.cancel(victim));
  const again: Timed = make('again', () => {
    if (fired.length < 4) timers.atMost(again, 10 + fired.length);
  });
  timers.atMost(killer, 5);
  timers.atMost(victim, 5);
  timers.atMost(victim, 6);
  timers.atMost(again, 7);
  timers.expire(20);
  assert.deepEqual(
    fired.filter((name) => name !== 'victim'),
    ['killer', 'again', 'again', 'again'],
  );
  assert.equal(timers.nextAt, Number.POSITIVE_INFINITY);
});
