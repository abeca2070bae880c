import assert from 'node:assert/strict';
import { test } from 'node:test';
import { etherFrame, packet, takeTag } from '../../test/phy-frames.ts';
import { frameStart } from '../memory/frame.ts';
import { Memory } from '../memory/memory.ts';
import * as ipv4 from '../wire/ipv4.ts';
import * as ipv6 from '../wire/ipv6.ts';
import { type FaultSettings, Faults, HeldFrames, NO_FAULTS, noFaultStats, resolveFaults } from './faults.ts';
import { Random } from './random.ts';

const A = '02:00:00:00:00:01';
const B = '02:00:00:00:00:02';

function rig(settings: FaultSettings, medium: 'ip' | 'ethernet' = 'ethernet', seed = 1) {
  const memory = new Memory({ bytes: 4 << 20 });
  const stats = noFaultStats();
  const held = new HeldFrames(4096);
  const oversized: number[] = [];
  const faults = new Faults({
    medium,
    stats,
    random: new Random(seed),
    sink: held,
    onOversized: (m, frame, now) => {
      assert.equal(m, memory);
      assert.ok(frame > 0);
      oversized.push(now);
    },
  });
  faults.settings = resolveFaults(NO_FAULTS, settings);
  const frame = (tag = 0, length = 100): number => etherFrame(memory, B, A, tag, length);
  return { memory, stats, held, faults, frame, oversized };
}

/** Which of `count` frames, sent a ms apart, are lost. */
function losses(settings: FaultSettings, count: number, seed = 1): boolean[] {
  const { memory, held, faults, frame } = rig(settings, 'ethernet', seed);
  return Array.from({ length: count }, (_, now) => {
    faults.put(memory, frame(), now);
    const passed = held.take(now);
    if (passed !== 0) memory.free(passed);
    return passed === 0;
  });
}

/** Lengths of the runs of losses. */
function bursts(lost: readonly boolean[]): number[] {
  const runs: number[] = [];
  lost.forEach((is, i) => {
    if (!is) return;
    if (i > 0 && lost[i - 1]) runs[runs.length - 1]!++;
    else runs.push(1);
  });
  return runs;
}

const mean = (numbers: readonly number[]): number => numbers.reduce((sum, x) => sum + x, 0) / numbers.length;

test('faults: bad spells come and last as Gilbert and Elliott have it', () => {
  const lost = losses({ badEnter: 0.01, badLeave: 0.2 }, 100_000);
  const runs = bursts(lost);
  // In the long run a share of enter / (enter + leave), in runs of 1 / leave on average.
  assert.ok(Math.abs(mean(lost.map(Number)) - 0.01 / 0.21) < 0.005, `${mean(lost.map(Number))}`);
  assert.ok(Math.abs(mean(runs) - 5) < 0.5, `${mean(runs)} frames a burst`);
});

test('faults: a bad spell may lose only some, and outside of it the usual loss applies', () => {
  const share = (settings: FaultSettings): number => mean(losses(settings, 50_000).map(Number));
  const inSpell = 0.02 / (0.02 + 0.1);
  assert.ok(Math.abs(share({ badEnter: 0.02, badLeave: 0.1, badDrop: 0.5 }) - inSpell / 2) < 0.015);
  const both = share({ badEnter: 0.02, badLeave: 0.1, badDrop: 0, drop: 0.3 });
  assert.ok(Math.abs(both - 0.3 * (1 - inSpell)) < 0.02, `${both}`);
});

test('faults: what is down loses everything, and settings come back', () => {
  const { memory, held, faults, frame, stats } = rig({ down: true, delayMs: 3 });
  faults.put(memory, frame(1), 0);
  faults.settings = resolveFaults(faults.settings, { down: false });
  faults.put(memory, frame(2), 1);
  assert.deepEqual([held.length, held.nextAt, stats.dropped], [1, 4, 1]);
  held.clear(memory);
  assert.equal(memory.usedBytes, 0);
});

const SHAPES = [
  { jitterShape: 'uniform', least: 40, most: 60, deviation: 10 / Math.sqrt(3), mean: 50 },
  { jitterShape: 'normal', least: 0, most: 110, deviation: 10, mean: 50 },
  { jitterShape: 'pareto', least: 50, most: 50 + 31 * 10, deviation: 20.1, mean: 59.7 },
] as const;
for (const { jitterShape, least, most, deviation, mean: expected } of SHAPES) {
  test(`faults: ${jitterShape} jitter has its range, mean and deviation`, () => {
    const { memory, held, faults, frame } = rig({ delayMs: 50, jitterMs: 10, jitterShape });
    const delays = Array.from({ length: 20_000 }, (_, i) => {
      const now = i * 1000; // far apart: none waits for the one before
      faults.put(memory, frame(), now);
      const at = held.nextAt;
      memory.free(held.take(at));
      return at - now;
    });
    const of = mean(delays);
    const spread = Math.sqrt(mean(delays.map((delay) => (delay - of) ** 2)));
    assert.ok(Math.min(...delays) >= least && Math.max(...delays) <= most);
    assert.ok(Math.abs(of - expected) < 0.5, `mean ${of}`);
    assert.ok(Math.abs(spread - deviation) < deviation * 0.1, `deviation ${spread}`);
  });
}

test('faults: the queue of a rate is bounded in frames', () => {
  // 100 bytes at 80 kbit/s are 10 ms.
  const { memory, held, faults, frame, stats } = rig({ rateBitsPerSecond: 80_000, queueFramesMax: 3 });
  for (let tag = 0; tag < 5; tag++) faults.put(memory, frame(tag), 0);
  assert.deepEqual([held.length, stats.overflowed], [3, 2]);
  faults.put(memory, frame(5), 10); // the first has passed
  faults.put(memory, frame(6), 10);
  assert.deepEqual([held.length, stats.overflowed], [4, 3]);
  const order: number[] = [];
  while (held.length > 0) order.push(takeTag(memory, held.take(held.nextAt)));
  assert.deepEqual(order, [0, 1, 2, 5]);
  for (let now = 100; now < 3000; now += 5) faults.put(memory, frame(now & 0xff), now);
  assert.ok(Math.abs(held.length - 291) <= 2, `${held.length}`); // one each 10 ms
  held.clear(memory);
  assert.equal(memory.usedBytes, 0);
});

const MARKED = [
  { name: 'IPv4', medium: 'ip', family: 4, ecn: 1, isMarked: true },
  { name: 'IPv4 on Ethernet', medium: 'ethernet', family: 4, ecn: 2, isMarked: true },
  { name: 'IPv6', medium: 'ip', family: 6, ecn: 2, isMarked: true },
  { name: 'not capable of ECN', medium: 'ip', family: 4, ecn: 0, isMarked: false },
] as const;
for (const { name, medium, family, ecn, isMarked } of MARKED) {
  test(`faults: a long queue marks a packet: ${name}`, () => {
    const { memory, held, faults, stats } = rig({ rateBitsPerSecond: 80_000, markBytes: 120 }, medium);
    const header = medium === 'ethernet' ? 14 : 0;
    const ecnOf = (frame: number): number => {
      const p = frameStart(memory, frame) + header;
      if (family === 4) assert.equal(ipv4.check(memory, p, p + 100), null);
      return (family === 4 ? ipv4.dsEcn(memory.dv, p) : ipv6.trafficClass(memory.dv, p)) & 3;
    };
    const seen = [0, 1, 2].map(() => {
      const frame = packet(memory, { medium, family, length: 100 - header - (family === 4 ? 40 : 60) });
      const p = frameStart(memory, frame) + header;
      if (family === 4) ipv4.emit(memory.dv, p, 100 - header, ecn, 0, 0, 64, 6, 0x0a000001, 0x0a000002);
      else memory.dv.setUint16(p, memory.dv.getUint16(p) | (ecn << 4));
      faults.put(memory, frame, 0);
      return frame;
    });
    // 0, 100 and 200 bytes waited.
    assert.deepEqual(seen.map(ecnOf), [ecn, ecn, isMarked ? 3 : ecn]);
    assert.equal(stats.marked, isMarked ? 1 : 0);
    held.clear(memory);
  });
}

test('faults: who asked is told of a frame that is too large', () => {
  const { memory, faults, frame, stats, oversized, held } = rig({ sizeBytesMax: 100 });
  faults.put(memory, frame(1, 101), 7);
  faults.put(memory, frame(1, 100), 8);
  assert.deepEqual([oversized, stats.oversized, held.length], [[7], 1, 1]);
  held.clear(memory);
  assert.equal(memory.usedBytes, 0);
});

test('faults: what was held back before does not hold back what follows', () => {
  const { memory, faults, frame, held } = rig({ delayMs: 5 });
  faults.put(memory, frame(1), 100, true);
  faults.put(memory, frame(2), 10);
  assert.equal(held.nextAt, 15);
  assert.equal(takeTag(memory, held.take(15)), 2);
  assert.equal(takeTag(memory, held.take(105)), 1);
});

test('faults: a change keeps what it does not name, and refuses what is none', () => {
  const base = resolveFaults(NO_FAULTS, { drop: 0.1, delayMs: 5 });
  assert.deepEqual(resolveFaults(base, { delayMs: 9 }, { corrupt: 1 }), { ...base, delayMs: 9, corrupt: 1 });
  const refused: unknown[] = [
    { badLeave: 2 },
    { queueFramesMax: -1 },
    { markBytes: Number.NaN },
    { jitterShape: 'square' },
    { down: 1 },
    { drop: '0.5' },
  ];
  for (const settings of refused) {
    assert.throws(() => resolveFaults(NO_FAULTS, settings as FaultSettings), RangeError, JSON.stringify(settings));
  }
});
