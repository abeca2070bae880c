import assert from 'node:assert/strict';
import { test } from 'node:test';
import { frameLength } from '../../src/memory/frame.ts';
import type { Memory } from '../../src/memory/memory.ts';
import type { Device } from '../../src/phy/device.ts';
import { CONGESTION_NAMES } from '../../src/tcp/congestion/index.ts';
import { EXPECTED, SMOLTCP } from './expected.ts';
import { bdpBytes, SMOLTCP_LOSSES, smoltcpBulk } from './golden.ts';
import { jain, runBulk } from './goodput.ts';

const RATE = 100e6;
const path = (rttMs: number, drop = 0) => ({ rateBitsPerSecond: RATE, queueBytesMax: bdpBytes(RATE, rttMs), drop });
const mbits = (octets: number): string => `${((octets * 8) / 1e6).toFixed(1)} Mbit/s`;

/** Long enough for some 300 losses, so that chance evens out. */
function secondsFor(octets: number, drop: number): number {
  if (drop === 0) return 30;
  return Math.min(Math.max((300 * 1448) / (octets * drop), 30), 400);
}

test('goodput: every algorithm is known to test/sim/expected.ts', () => {
  for (const name of CONGESTION_NAMES) assert.ok(EXPECTED[name] !== undefined, `nothing is expected of ${name}`);
});

for (const congestion of CONGESTION_NAMES) {
  const expected = EXPECTED[congestion];
  if (expected === undefined) continue; // failed above
  for (const rttMs of [5, 20, 100]) {
    for (const drop of [0, 0.001, 0.01, 0.03]) {
      const least = expected.goodput(RATE, rttMs, drop);
      test(`goodput: ${congestion}, RTT ${rttMs} ms, loss ${drop * 100} %: at least ${mbits(least)}`, () => {
        const seconds = secondsFor(least, drop);
        const { goodput } = runBulk({ congestion, rttMs, seconds, path: path(rttMs, drop) });
        assert.ok(goodput >= least, `got ${mbits(goodput)}, ${((100 * goodput) / least).toFixed(0)} % of it`);
      });
    }
  }

  for (const rttMs of [5, 20, 100]) {
    test(`goodput: ${congestion}, RTT ${rttMs} ms: 3 % of reordering costs under 5 %`, () => {
      const run = (reorder: number): number =>
        runBulk({ congestion, rttMs, seconds: 20, path: { ...path(rttMs), reorder, reorderMs: rttMs / 8 } }).goodput;
      const [without, reordered] = [run(0), run(0.03)];
      assert.ok(reordered > 0.95 * without, `${mbits(without)} became ${mbits(reordered)}`);
    });
  }

  test(`goodput: ${congestion}: a burst of 20 lost segments is repaired without a timeout`, () => {
    let dropper: Dropper | null = null;
    const wrap = (port: Device): Device => {
      dropper = new Dropper(port, 3000, 20);
      return dropper;
    };
    // The buffers bound the window: nothing else is lost.
    const bulk = { congestion, rttMs: 20, seconds: 3, bufferBytes: 1 << 18, path: path(20) };
    const { timeouts, overflowed, retransmits } = runBulk({ ...bulk, wrap });
    assert.equal(dropper!.dropped, 20);
    assert.deepEqual({ timeouts, overflowed }, { timeouts: 0, overflowed: 0 });
    assert.ok(retransmits >= 20 && retransmits < 40, `${retransmits} sent again`);
  });

  test(`goodput: four flows of ${congestion} share a bottleneck: Jain's index above ${expected.jain}`, () => {
    const { flowBytes, goodput } = runBulk({ congestion, rttMs: 20, seconds: 60, flows: 4, path: path(20) });
    const index = jain(flowBytes);
    assert.ok(index > expected.jain, `${index.toFixed(3)}: ${flowBytes.map((bytes) => bytes >> 20)} MiB`);
    assert.ok(goodput > (0.9 * RATE) / 8, `${mbits(goodput)} in all`);
  });

  for (const { bufferBytes, hasControl, octets } of SMOLTCP) {
    SMOLTCP_LOSSES.forEach((drop, i) => {
      const theirs = octets[i]!;
      // Without congestion control a sender keeps its window whatever is lost; who has it must do no worse than a sender
      // with the same control could.
      const bound = expected.bearsLoss || hasControl ? theirs : Math.min(theirs, expected.goodput(200e6, 100, drop));
      test(`goodput: ${congestion}, ${bufferBytes >> 10} KiB, RTT 100 ms, loss ${drop * 100} %: no less than smoltcp`, () => {
        const { goodput } = runBulk(smoltcpBulk(congestion, bufferBytes, drop));
        assert.ok(goodput >= bound, `${goodput} octets/s; smoltcp has ${theirs}, bound ${Math.round(bound)}`);
      });
    });
  }
}

/** Loses full frames `first` to `first + count` of those a stack sends. */
class Dropper implements Device {
  readonly medium;
  readonly mtu;
  readonly offload;
  readonly memory;
  dropped = 0;
  readonly #inner: Device;
  readonly #first: number;
  readonly #count: number;
  #memory: Memory | null = null;
  #sent = 0;

  constructor(inner: Device, first: number, count: number) {
    this.medium = inner.medium;
    this.mtu = inner.mtu;
    this.offload = inner.offload;
    this.memory = inner.memory;
    this.#inner = inner;
    this.#first = first;
    this.#count = count;
  }

  attach(memory: Memory, wake: () => void): void {
    this.#memory = memory;
    this.#inner.attach(memory, wake);
  }

  receive(now: number): number {
    return this.#inner.receive(now);
  }

  room(): number {
    return this.#inner.room();
  }

  transmit(frame: number, now: number): void {
    const number = frameLength(this.#memory!, frame) === this.mtu ? this.#sent++ : -1;
    if (number >= this.#first && number < this.#first + this.#count) {
      this.dropped++;
      this.#memory!.free(frame);
    } else {
      this.#inner.transmit(frame, now);
    }
  }

  pollAt(): number {
    return this.#inner.pollAt();
  }

  close(): void {
    this.#inner.close();
  }
}
