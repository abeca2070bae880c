import assert from 'node:assert/strict';
import { test } from 'node:test';
import { VirtualClock } from '../sim/clock.ts';
import { Limiter, type LimitSet } from './limits.ts';
import { Shaper } from './shaper.ts';

/** A shaper whose datagrams are noted, with when they went; the numbers are those of their first bytes. */
function shaped(set: LimitSet, limiter?: Limiter) {
  const clock = new VirtualClock();
  const all = limiter ?? new Limiter(() => clock.now(), set);
  const gate = all.open();
  const went: [number, number][] = [];
  const shaper = new Shaper(gate, 'out', clock, all, (data) => {
    went.push([data[0]!, clock.now()]);
    gate?.pass('out', data.length);
  });
  return { clock, limiter: all, gate, went, shaper };
}

/** Until nothing waits any more. */
function drain(clock: VirtualClock, limiter: Limiter): void {
  while (limiter.queuedBytes > 0) assert.ok(clock.step());
}

const datagram = (number: number, length: number): Uint8Array => new Uint8Array(length).fill(number);

test('without limits everything goes at once', () => {
  const { shaper, went, limiter } = shaped({});
  for (let i = 0; i < 100; i++) shaper.push(datagram(i, 65_507));
  assert.equal(went.length, 100);
  assert.equal(limiter.queuedBytes, 0);
});

test('a burst over the rate waits in its order, and at the rate', () => {
  // 1 MB/s: the bucket holds 100,000 bytes; 50 ms of it may wait.
  const { shaper, went, clock, limiter } = shaped({ flow: { bytesPerSecond: 1e6 } });
  for (let i = 0; i < 130; i++) shaper.push(datagram(i, 1000));
  assert.equal(went.length, 100);
  assert.ok(limiter.queuedBytes >= 30_000);
  assert.equal(limiter.stats.dropped, 0);
  drain(clock, limiter);
  assert.deepEqual(
    went.map(([number]) => number),
    Array.from({ length: 130 }, (_, i) => i),
  );
  const lastAt = went.at(-1)![1];
  assert.ok(lastAt > 15 && lastAt < 50, `the last one went after ${lastAt} ms`);
  assert.deepEqual([limiter.queuedBytes, limiter.stats.dropped], [0, 0]);
});

test('more than 50 ms of the rate is dropped, and so is what has waited for so long', () => {
  const { shaper, went, clock, limiter } = shaped({ flow: { bytesPerSecond: 1e6 } });
  for (let i = 0; i < 250; i++) shaper.push(datagram(i, 1000));
  assert.equal(went.length, 100);
  assert.equal(limiter.stats.dropped, 250 - 100 - Math.floor(50_000 / 1128));
  drain(clock, limiter);
  assert.ok(clock.now() <= 51);
  // Slow: what was taken on credit keeps the next ones waiting for longer than they may.
  const slow = shaped({ flow: { bytesPerSecond: 10_000 } });
  for (let i = 0; i < 3; i++) slow.shaper.push(datagram(i, 8000));
  assert.equal(slow.went.length, 2, 'the burst, and one on credit');
  assert.ok(slow.limiter.queuedBytes > 0, 'one may always wait');
  drain(slow.clock, slow.limiter);
  assert.deepEqual([slow.went.length, slow.limiter.stats.dropped], [2, 1]);
  assert.ok(slow.clock.now() >= 50 && slow.clock.now() <= 51);
});

test('of all flows together 4 MiB may wait; a flow that is over gives back what waited', () => {
  const { limiter } = shaped({ flow: { bytesPerSecond: 2e6 } });
  const shapers = Array.from({ length: 100 }, () => shaped({}, limiter));
  for (const { shaper } of shapers) {
    // A bucket of 2 MB/s holds 200,000 bytes; of 100 flows more than 4 MiB would wait.
    for (let i = 0; i < 20; i++) shaper.push(datagram(i, 60_000));
  }
  assert.ok(limiter.queuedBytes > 3 << 20 && limiter.queuedBytes <= 4 << 20, `${limiter.queuedBytes} bytes wait`);
  assert.ok(limiter.stats.dropped > 0);
  for (const { shaper } of shapers) shaper.close();
  assert.equal(limiter.queuedBytes, 0);
});

test('who is dropped does not stand in the way of others', () => {
  const clock = new VirtualClock();
  const limiter = new Limiter(() => clock.now(), { all: { bytesPerSecond: 10_000 } });
  const [one, other] = [limiter.open()!, limiter.open()!];
  const shaper = new Shaper(one, 'out', clock, limiter, (data) => void one.pass('out', data.length));
  shaper.push(datagram(0, 60_000)); // on credit, for five seconds
  shaper.push(datagram(1, 1000));
  drain(clock, limiter);
  assert.equal(limiter.stats.dropped, 1);
  clock.advanceTo(6000);
  assert.ok(other.claim('out') > 0, 'nobody is before it');
  shaper.close();
});
