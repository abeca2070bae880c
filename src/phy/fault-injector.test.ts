import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checksumHolds, etherFrame, HandDevice, packet, takeTag } from '../../test/phy-frames.ts';
import {
  CHECKSUM_FULL,
  CHECKSUM_PARTIAL,
  CHECKSUM_VALID,
  frameBytes,
  frameChecksum,
  frameEnd,
  frameStart,
  setFrameOffload,
} from '../memory/frame.ts';
import { Memory } from '../memory/memory.ts';
import { FaultInjector, type FaultInjectorOptions } from './fault-injector.ts';
import { type FaultStats, noFaultStats } from './faults.ts';

const A = '02:00:00:00:00:01';
const B = '02:00:00:00:00:02';

function rig(options: FaultInjectorOptions) {
  const memory = new Memory({ bytes: 8 << 20 });
  const inner = new HandDevice('ethernet');
  const device = new FaultInjector(inner, options);
  device.attach(memory, () => {});
  const frame = (tag: number, length = 100) => etherFrame(memory, B, A, tag, length);
  /** Tags of what went to the device inside since the last call, with the time of each. */
  const sent = (): [number, number][] =>
    inner.sent.splice(0).map(({ frame: f, now }) => [takeTag(memory, f), now] as [number, number]);
  /** Tags of all that `receive(now)` gives. */
  const received = (now: number): number[] => {
    const tags: number[] = [];
    for (let f = device.receive(now); f !== 0; f = device.receive(now)) tags.push(takeTag(memory, f));
    return tags;
  };
  /** Polls whenever the device asks for it; the time of the last poll. */
  const pollUntilIdle = (from: number): number => {
    let now = from;
    for (let i = 0; i < 10_000; i++) {
      const at = device.pollAt();
      if (at === Number.POSITIVE_INFINITY) return now;
      now = Math.max(now, at);
      for (const tag of received(now)) got.push([tag, now]);
    }
    throw new Error('never idle');
  };
  const got: [number, number][] = [];
  return { memory, inner, device, frame, sent, received, pollUntilIdle, got };
}

const stats = (some: Partial<FaultStats>): FaultStats => ({ ...noFaultStats(), ...some });

test('faults: with none, frames pass at once and in order', () => {
  const { memory, inner, device, frame, sent, received } = rig({});
  assert.deepEqual([device.medium, device.mtu, device.offload, device.memory], ['ethernet', 1500, false, null]);
  for (let tag = 0; tag < 5; tag++) device.transmit(frame(tag), tag);
  assert.deepEqual(sent(), [
    [0, 0],
    [1, 1],
    [2, 2],
    [3, 3],
    [4, 4],
  ]);
  for (let tag = 0; tag < 5; tag++) inner.arrived.push(frame(tag));
  assert.deepEqual(received(9), [0, 1, 2, 3, 4]);
  assert.deepEqual(device.stats, stats({}));
  assert.equal(device.pollAt(), Number.POSITIVE_INFINITY);
  device.close();
  assert.equal(memory.usedBytes, 0);
});

const SHARES: {
  name: string;
  options: FaultInjectorOptions;
  counter: keyof FaultStats;
  passed: (n: number) => number;
}[] = [
  { name: 'drop', options: { drop: 0.1 }, counter: 'dropped', passed: (n) => 10_000 - n },
  { name: 'duplicate', options: { duplicate: 0.2 }, counter: 'duplicated', passed: (n) => 10_000 + n },
  { name: 'corrupt', options: { corrupt: 0.3 }, counter: 'corrupted', passed: () => 10_000 },
  { name: 'reorder', options: { reorder: 0.05, reorderMs: 0.5 }, counter: 'reordered', passed: () => 10_000 },
];
for (const { name, options, counter, passed } of SHARES) {
  test(`faults: ${name} comes as often as asked, the same for the same seed, in each direction`, () => {
    const run = (seed: number) => {
      const { memory, inner, device, frame, sent, received } = rig({ ...options, seed });
      let out = 0;
      for (let i = 0; i < 10_000; i++) {
        device.transmit(frame(i & 0xff), i);
        out += sent().length;
      }
      received(20_000);
      out += sent().length;
      const outbound = device.stats[counter];
      const tags: number[] = [];
      for (let i = 0; i < 10_000; i++) {
        inner.arrived.push(frame(i & 0xff));
        tags.push(...received(30_000 + i));
      }
      tags.push(...received(50_000));
      const inbound = device.stats[counter] - outbound;
      assert.equal(out, passed(outbound));
      assert.equal(tags.length, passed(inbound));
      device.close();
      assert.equal(memory.usedBytes, 0);
      return { outbound, inbound, tags };
    };
    const first = run(1);
    assert.deepEqual(run(1), first);
    assert.notDeepEqual(run(2), first);
    const p = (options as Record<string, number>)[name]!;
    const sigma = Math.sqrt(10_000 * p * (1 - p));
    for (const count of [first.outbound, first.inbound]) {
      assert.ok(Math.abs(count - 10_000 * p) < 5 * sigma, `${count} of 10000 at ${p}`);
    }
  });
}

test('faults: settings of a direction go before those of both', () => {
  const { device, frame, inner, received, sent } = rig({ drop: 1, rx: { drop: 0 } });
  device.transmit(frame(1), 0);
  inner.arrived.push(frame(2));
  assert.deepEqual([sent(), received(0)], [[], [2]]);
  device.configure({ tx: { drop: 0 }, rx: { drop: 1 } });
  device.transmit(frame(3), 0);
  inner.arrived.push(frame(4));
  assert.deepEqual([sent(), received(0)], [[[3, 0]], []]);
  assert.deepEqual(device.stats, stats({ dropped: 2 }));
});

test('faults: traffic in one direction does not change what happens in the other', () => {
  const fates = (others: number) => {
    const { device, frame, inner, received, sent } = rig({ drop: 0.5, seed: 3 });
    const seen: number[] = [];
    for (let i = 0; i < 100; i++) {
      for (let j = 0; j < others; j++) inner.arrived.push(frame(j));
      received(i);
      device.transmit(frame(i), i);
      seen.push(...sent().map(([tag]) => tag));
    }
    return seen;
  };
  assert.deepEqual(fates(0), fates(7));
});

test('faults: corrupt turns over one bit', () => {
  const { memory, device, frame, inner } = rig({ tx: { corrupt: 1 } });
  const places = new Set<number>();
  for (let i = 0; i < 2000; i++) {
    const f = frame(0, 60);
    const before = frameBytes(memory, f);
    device.transmit(f, i);
    const after = frameBytes(memory, inner.sent[0]!.frame);
    let bits = 0;
    for (const [at, byte] of after.entries()) {
      const change = byte ^ before[at]!;
      if (change !== 0) places.add(at);
      for (let x = change; x !== 0; x &= x - 1) bits++;
    }
    assert.equal(bits, 1);
    memory.free(inner.sent.pop()!.frame);
  }
  assert.equal(places.size, 60);
  assert.equal(memory.usedBytes, 0);
});

const CORRUPTED = [
  { name: 'a partial checksum', partial: true, state: CHECKSUM_PARTIAL, gsoSize: 0, length: 700 },
  { name: 'a super-segment', partial: true, state: CHECKSUM_PARTIAL, gsoSize: 1400, length: 20_000 },
  { name: 'a verified super-segment', partial: false, state: CHECKSUM_VALID, gsoSize: 1400, length: 20_000 },
  { name: 'a verified checksum', partial: false, state: CHECKSUM_VALID, gsoSize: 0, length: 700 },
];
for (const { name, partial, state, gsoSize, length } of CORRUPTED) {
  test(`faults: corruption shows in a frame with ${name}`, () => {
    const memory = new Memory({ bytes: 1 << 20 });
    const inner = new HandDevice('ip', true);
    const device = new FaultInjector(inner, { rx: { corrupt: 1 }, seed: 5 });
    device.attach(memory, () => {});
    let noticed = 0;
    for (let i = 0; i < 100; i++) {
      const frame = packet(memory, { length, partial, gsoSize });
      const start = frameStart(memory, frame);
      if (gsoSize > 0 || partial) setFrameOffload(memory, frame, state, gsoSize, start + 20);
      else setFrameOffload(memory, frame, state, 0, 0);
      inner.arrived.push(frame);
      const received = device.receive(i);
      assert.equal(frameChecksum(memory, received), CHECKSUM_FULL);
      // The checksum covers payload, ports and so on; a bit of the IP header is that header's own business.
      if (!checksumHolds(memory, start, frameEnd(memory, received))) noticed++;
      memory.free(received);
    }
    assert.ok(noticed >= 90, `${noticed} of 100`);
    device.close();
    assert.equal(memory.usedBytes, 0);
  });
}

test('faults: delay is exact, keeps order, and is told by pollAt', () => {
  const { memory, device, frame, sent, received, inner, pollUntilIdle, got } = rig({
    delayMs: 20,
    rx: { delayMs: 7.5 },
  });
  device.transmit(frame(1), 100);
  device.transmit(frame(2), 105);
  assert.equal(device.held, 2);
  assert.equal(device.pollAt(), 120);
  assert.deepEqual(received(119), []);
  assert.deepEqual(sent(), []);
  received(120);
  assert.deepEqual(sent(), [[1, 120]]);
  assert.equal(device.pollAt(), 125);
  inner.arrived.push(frame(3));
  assert.deepEqual(received(121), []);
  inner.arrived.push(frame(4));
  assert.deepEqual(received(122), []);
  assert.equal(pollUntilIdle(122), 129.5);
  assert.deepEqual(got, [
    [3, 128.5],
    [4, 129.5],
  ]);
  assert.deepEqual(sent(), [[2, 125]]);
  assert.deepEqual(device.stats, stats({ delayed: 4 }));
  device.close();
  assert.equal(memory.usedBytes, 0);
});

test('faults: jitter spreads the delay and keeps order', () => {
  const { memory, device, frame, inner, pollUntilIdle, got } = rig({ delayMs: 10, jitterMs: 10, seed: 2 });
  for (let i = 0; i < 200; i++) {
    inner.arrived.push(frame(i));
    pollNow(i);
  }
  function pollNow(now: number): void {
    for (let f = device.receive(now); f !== 0; f = device.receive(now)) got.push([takeTag(memory, f), now]);
  }
  pollUntilIdle(199);
  assert.deepEqual(
    got.map(([tag]) => tag),
    Array.from({ length: 200 }, (_, i) => i),
  );
  const delays = got.map(([tag, now]) => now - tag);
  assert.ok(delays.every((delay) => delay >= 0 && delay <= 21));
  assert.ok(new Set(delays.map(Math.floor)).size > 5);
  device.close();
  assert.equal(memory.usedBytes, 0);
});

test('faults: a reordered frame is held back and others pass it', () => {
  const { memory, device, frame, sent, received } = rig({ tx: { reorder: 1, reorderMs: 30 } });
  device.transmit(frame(1), 0);
  device.configure({});
  device.transmit(frame(2), 10);
  device.transmit(frame(3), 20);
  assert.deepEqual(sent(), [
    [2, 10],
    [3, 20],
  ]);
  assert.equal(device.pollAt(), 30);
  received(30);
  assert.deepEqual(sent(), [[1, 30]]);
  assert.deepEqual(device.stats, stats({ reordered: 1, delayed: 1 }));
  device.close();
  assert.equal(memory.usedBytes, 0);
});

test('faults: a rate gives each frame its time on the wire', () => {
  // 100 bytes at 80 kbit/s are 10 ms.
  const { memory, device, frame, sent, pollUntilIdle } = rig({ tx: { rateBitsPerSecond: 80_000 } });
  for (let tag = 0; tag < 3; tag++) device.transmit(frame(tag), 0);
  pollUntilIdle(0);
  assert.deepEqual(sent(), [
    [0, 10],
    [1, 20],
    [2, 30],
  ]);
  device.transmit(frame(3, 50), 100); // idle time is not saved up
  pollUntilIdle(100);
  assert.deepEqual(sent(), [[3, 105]]);
  device.close();
  assert.equal(memory.usedBytes, 0);
});

test('faults: a bucket lets a burst pass, then the rate', () => {
  const { memory, device, frame, sent, pollUntilIdle } = rig({ tx: { rateBitsPerSecond: 80_000, burstBytes: 250 } });
  for (let tag = 0; tag < 5; tag++) device.transmit(frame(tag), 0);
  pollUntilIdle(0);
  assert.deepEqual(sent(), [
    [0, 0],
    [1, 0],
    [2, 5],
    [3, 15],
    [4, 25],
  ]);
  device.transmit(frame(5), 40); // 15 ms later: 150 bytes of credit
  device.transmit(frame(6), 40);
  pollUntilIdle(40);
  assert.deepEqual(sent(), [
    [5, 40],
    [6, 45],
  ]);
  device.close();
  assert.equal(memory.usedBytes, 0);
});

test('faults: the queue of a rate is bounded in bytes', () => {
  const { memory, device, frame, sent, pollUntilIdle } = rig({
    tx: { rateBitsPerSecond: 80_000, queueBytesMax: 300 },
  });
  for (let tag = 0; tag < 10; tag++) device.transmit(frame(tag), 0);
  assert.deepEqual(device.stats, stats({ delayed: 3, overflowed: 7 }));
  pollUntilIdle(0);
  assert.deepEqual(
    sent().map(([tag]) => tag),
    [0, 1, 2],
  );
  device.transmit(frame(11, 1000), 100); // with nothing waiting, one of any size
  assert.equal(device.stats.overflowed, 7);
  device.close();
  assert.equal(memory.usedBytes, 0);
});

test('faults: a long run at a rate comes to that rate', () => {
  const { memory, device, frame, sent, received } = rig({ tx: { rateBitsPerSecond: 10e6, queueBytesMax: 10_000 } });
  let bytes = 0;
  for (let now = 0; now <= 1000; now += 0.25) {
    received(now);
    bytes += sent().length * 1000;
    device.transmit(frame(0, 1000), now); // 32 Mbit/s offered
  }
  assert.ok(Math.abs(bytes * 8 - 10e6) < 20_000, `${bytes * 8} bits in a second`);
  device.close();
  assert.equal(memory.usedBytes, 0);
});

test('faults: larger frames than the limit are lost', () => {
  const { memory, device, frame, sent } = rig({ sizeBytesMax: 100 });
  device.transmit(frame(1, 100), 0);
  device.transmit(frame(2, 101), 0);
  assert.deepEqual(sent(), [[1, 0]]);
  assert.deepEqual(device.stats, stats({ oversized: 1 }));
  device.close();
  assert.equal(memory.usedBytes, 0);
});

test('faults: frames held are bounded, counted and given back', () => {
  const { memory, device, frame, inner, received } = rig({ delayMs: 1000, heldFramesMax: 8 });
  assert.equal(device.room(), 8);
  for (let tag = 0; tag < 10; tag++) device.transmit(frame(tag), 0);
  assert.equal(device.room(), 0);
  for (let tag = 0; tag < 10; tag++) inner.arrived.push(frame(tag));
  assert.deepEqual(received(0), []);
  assert.deepEqual([device.held, device.stats.overflowed], [16, 4]);
  device.close();
  device.close();
  assert.equal(inner.closed, 1);
  device.transmit(frame(1), 0);
  assert.deepEqual([device.held, device.room(), device.receive(9999), memory.usedBytes], [0, 0, 0, 0]);
});

test('faults: a full device inside is not pushed, and is asked again after its wake', () => {
  const { memory, device, frame, inner, sent, received } = rig({ tx: { duplicate: 1 } });
  inner.roomFrames = 3;
  assert.equal(device.room(), 3);
  device.transmit(frame(1), 0);
  device.transmit(frame(2), 0);
  assert.equal(device.held, 1);
  assert.equal(device.room(), 0);
  assert.equal(device.pollAt(), Number.POSITIVE_INFINITY); // no busy loop: the wake will come
  assert.equal(sent().length, 3);
  received(1);
  assert.deepEqual(sent(), [[2, 1]]);
  assert.equal(device.room(), 3);
  device.close();
  assert.equal(memory.usedBytes, 0);
});

test('faults: without delay, what is not asked for stays with the device inside', () => {
  const { memory, device, frame, inner } = rig({ drop: 0.01, heldFramesMax: 1 });
  for (let tag = 0; tag < 10; tag++) inner.arrived.push(frame(tag));
  memory.free(device.receive(0));
  assert.deepEqual([inner.arrived.length, device.held], [9, 0]);
  device.close();
  assert.equal(memory.usedBytes, 0);
});

test('faults: exhausted memory loses duplicates and nothing else', () => {
  const memory = new Memory({ bytes: 1 << 18 });
  const inner = new HandDevice('ethernet');
  const device = new FaultInjector(inner, { duplicate: 1 });
  device.attach(memory, () => {});
  let given = 0;
  for (;;) {
    const frame = etherFrameOrNone(memory);
    if (frame === 0) break;
    given++;
    device.transmit(frame, 0);
  }
  assert.equal(inner.sent.length, given + device.stats.duplicated);
  assert.equal(given, device.stats.duplicated + device.stats.overflowed);
  device.close();
  assert.equal(memory.usedBytes, 0);
});

function etherFrameOrNone(memory: Memory): number {
  return memory.freeBytes < 1 << 11 ? 0 : etherFrame(memory, B, A);
}

test('faults: all at once, the memory is balanced', () => {
  for (let seed = 0; seed < 20; seed++) {
    const faults = { drop: 0.1, corrupt: 0.1, duplicate: 0.1, reorder: 0.1, reorderMs: 3, delayMs: 5, jitterMs: 4 };
    const { memory, device, frame, inner, received, sent } = rig({
      ...faults,
      rateBitsPerSecond: 1e6,
      seed,
      heldFramesMax: 32,
    });
    for (let now = 0; now < 500; now++) {
      device.transmit(frame(now & 0xff), now);
      inner.arrived.push(frame(now & 0xff));
      received(now);
      sent();
    }
    assert.ok(
      Object.entries(device.stats).every(([name, n]) => n > 0 || ['oversized', 'overflowed', 'marked'].includes(name)),
    );
    device.close();
    assert.equal(memory.usedBytes, 0);
  }
});

const REFUSED: FaultInjectorOptions[] = [
  { drop: 1.5 },
  { corrupt: -0.1 },
  { duplicate: Number.NaN },
  { delayMs: Number.POSITIVE_INFINITY },
  { jitterMs: -1 },
  { rateBitsPerSecond: 0 },
  { tx: { reorder: 2 } },
  { heldFramesMax: 5 },
];
for (const options of REFUSED) {
  test(`faults: refused: ${Object.keys(options)} ${Object.values(options).map(String)}`, () => {
    assert.throws(() => new FaultInjector(new HandDevice(), options), RangeError);
  });
}
