import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Limiter, type LimitSet } from './limits.ts';
import { decide, Policy } from './policy.ts';

/** A limiter whose time stands still until it is moved. */
function at(set: LimitSet): { limiter: Limiter; pass(ms: number): void } {
  let now = 1000;
  return {
    limiter: new Limiter(() => now, set),
    pass: (ms) => {
      now += ms;
    },
  };
}

test('a rate lets a burst through, then what it gives, and is paid back what was taken too much', () => {
  const { limiter, pass } = at({ flow: { bytesPerSecond: 1_000_000 } });
  const gate = limiter.open()!;
  assert.equal(gate.room('out'), 100_000, 'a tenth of a second');
  assert.equal(gate.pass('out', 100_000), null);
  assert.equal(gate.room('out'), 0);
  assert.equal(gate.room('in'), 100_000, 'each way has its own');
  assert.equal(gate.waitMs('out'), 10, 'what is worth a wait');
  pass(10);
  assert.equal(gate.room('out'), 10_000);
  gate.pass('out', 60_000); // a datagram is not cut
  assert.equal(gate.room('out'), 0);
  pass(50);
  assert.equal(gate.room('out'), 0);
  assert.equal(gate.waitMs('out'), 10);
  pass(10);
  assert.equal(gate.room('out'), 10_000);
  pass(100_000);
  assert.equal(gate.room('out'), 100_000, 'an idle flow saves no more than a burst');
});

test('a small rate has a burst of a second, or of a datagram of any size', () => {
  for (const [bytesPerSecond, burst] of [
    [10, 10],
    [100_000, 65_536],
    [10_000_000, 1_000_000],
  ] as const) {
    assert.equal(at({ flow: { bytesPerSecond } }).limiter.open()!.room('in'), burst);
  }
});

test('the rate of all is shared; the smaller of both holds', () => {
  const { limiter } = at({ flow: { bytesPerSecond: 1_000_000 }, all: { bytesPerSecond: 2_000_000 } });
  const [one, two, three] = [limiter.open()!, limiter.open()!, limiter.open()!];
  for (const gate of [one, two]) gate.pass('in', 100_000);
  assert.equal(three.room('in'), 0, 'the others have used it up');
  assert.equal(three.room('out'), 100_000);
  assert.equal(limiter.exhausted, null);
  const { limiter: small, pass } = at({ all: { bytesPerSecond: 100_000 } });
  const gates = [small.open()!, small.open()!, small.open()!];
  gates[0]!.pass('out', 65_536);
  const turns: number[] = [];
  for (let i = 0; i < 12; i++) {
    pass(i % 3 === 0 ? 1 : 0);
    for (const [who, gate] of gates.entries()) {
      const room = gate.claim('out');
      if (room === 0) continue;
      turns.push(who);
      gate.pass('out', room);
    }
  }
  assert.deepEqual(turns, [0, 1, 2, 0], 'in turn, though the first always asks first');
  gates[1]!.close();
  pass(1);
  assert.equal(gates[0]!.claim('out'), 0);
  assert.equal(gates[2]!.claim('out'), 100, 'nobody waits for one that is over');
});

test('who is held up by its own rate holds up nobody else', () => {
  const { limiter, pass } = at({ all: { bytesPerSecond: 100_000 } });
  const [slow, fast] = [limiter.open({ bytesPerSecond: 10 })!, limiter.open()!];
  slow.pass('out', 10);
  fast.pass('out', 65_526);
  assert.deepEqual([slow.claim('out'), fast.claim('out')], [0, 0]);
  pass(10);
  assert.deepEqual([slow.claim('out'), fast.claim('out')], [0, 1000]);
  pass(1000);
  assert.equal(slow.claim('out'), 10);
});

test('bytes: what would go over does not go, and when all are used no flow begins', () => {
  const { limiter } = at({ flow: { bytes: 1000 }, all: { bytes: 2500 } });
  const gate = limiter.open()!;
  assert.equal(gate.pass('out', 600), null);
  assert.equal(gate.pass('in', 400), null, 'both ways together, and all of it');
  assert.match(gate.pass('in', 1) ?? '', /the limit of 1000 bytes a flow is reached/);
  assert.equal(limiter.open()!.pass('out', 1000), null);
  const last = limiter.open()!;
  assert.equal(last.pass('out', 500), null);
  assert.match(last.pass('out', 1) ?? '', /the limit of 2500 bytes of all flows/);
  assert.match(limiter.exhausted ?? '', /the limit of 2500 bytes of all flows/);
});

test('a flow has limits of its own instead of those of each; without any there is no gate', () => {
  const { limiter } = at({ flow: { bytes: 10 } });
  assert.equal(limiter.open({ bytes: 20 })!.pass('out', 20), null);
  assert.equal(limiter.open({}), null);
  assert.equal(at({}).limiter.open(), null);
});

test('limits that are none are refused by name, in a document and of a function', async () => {
  const rows: [limits: unknown, message: RegExp][] = [
    [7, /limits: expected \{"flow"/],
    [{ flows: {} }, /expected flow, all, got "flows"/],
    [{ flow: 5 }, /limits.flow: expected \{"bytesPerSecond"/],
    [{ flow: { byte: 1 } }, /expected bytesPerSecond, bytes, got "byte"/],
    [{ all: { bytes: 0 } }, /limits.all: bytes: expected a number above 0, got 0/],
    [{ all: { bytesPerSecond: '1M' } }, /bytesPerSecond: expected a number above 0, got "1M"/],
  ];
  for (const [limits, message] of rows) {
    assert.throws(() => new Policy({ limits: limits as LimitSet }), { message });
    assert.throws(() => new Limiter(() => 0, limits as LimitSet), { message });
  }
  const facts = {} as Parameters<typeof decide>[1];
  const wrong = { verdict: 'allow', reason: '', limits: { bytes: -1 } } as const;
  for (const policy of [() => wrong, async () => wrong]) {
    const { verdict, reason } = await decide(policy, facts);
    assert.equal(verdict, 'deny');
    assert.match(reason, /bytes: expected a number above 0/);
  }
});
