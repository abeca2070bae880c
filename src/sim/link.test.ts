import assert from 'node:assert/strict';
import { test } from 'node:test';
import { frameBytes, frameFrom } from '../memory/frame.ts';
import { Memory } from '../memory/memory.ts';
import { Link, type LinkOptions } from './link.ts';

/** A link with a stack's memory at either end, and what a stack would do with it. */
function rig(options: LinkOptions = {}, own = false) {
  const link = new Link({ memory: new Memory({ bytes: 4 << 20 }), ...options });
  const memories = [link.left, link.right].map((end) => (own ? new Memory({ bytes: 1 << 20 }) : end.memory));
  const wakes = [0, 0];
  link.left.attach(memories[0]!, () => wakes[0]!++);
  link.right.attach(memories[1]!, () => wakes[1]!++);
  const ends = [link.left, link.right] as const;
  const send = (from: 0 | 1, tag: number, now: number, length = 100): void => {
    ends[from].transmit(frameFrom(memories[from]!, new Uint8Array(length).fill(tag)), now);
  };
  /** Tags of what an end has at `now`. */
  const receive = (at: 0 | 1, now: number): number[] => {
    const tags: number[] = [];
    for (let frame = ends[at].receive(now); frame !== 0; frame = ends[at].receive(now)) {
      tags.push(frameBytes(memories[at]!, frame)[0]!);
      memories[at]!.free(frame);
    }
    return tags;
  };
  const end = (): void => {
    link.close();
    link.close();
    for (const memory of [link.memory, ...memories]) assert.equal(memory.usedBytes, 0);
  };
  return { link, send, receive, wakes, end };
}

for (const own of [false, true]) {
  test(`link: frames take their time, each way its own, ${own ? 'memories of their own' : 'one memory'}`, () => {
    const { link, send, receive, wakes, end } = rig({ delayMs: 10, backward: { delayMs: 2.5 } }, own);
    assert.deepEqual([link.left.pollAt(), link.right.pollAt()], [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY]);
    send(0, 1, 0);
    send(0, 2, 1);
    send(1, 3, 1);
    assert.deepEqual([link.right.pollAt(), link.left.pollAt(), link.held], [10, 3.5, 3]);
    assert.deepEqual(wakes, [1, 1]); // the second frame comes later than the first
    assert.deepEqual([receive(1, 9.9), receive(1, 11), receive(0, 3.5)], [[], [1, 2], [3]]);
    assert.deepEqual([link.stats.forward.delayed, link.stats.backward.delayed], [2, 1]);
    end();
  });
}

test('link: what closes loses what is under way, and the other end sends into the void', () => {
  const { link, send, receive, end } = rig({ delayMs: 5 });
  send(0, 1, 0);
  send(1, 2, 0);
  link.right.close();
  assert.equal(link.right.room(), 0);
  send(0, 3, 1);
  send(1, 4, 1);
  assert.deepEqual([receive(1, 99), receive(0, 99)], [[], [2]]);
  end();
});

test('link: a schedule changes it over time: partition, black hole, rate', () => {
  const { link, send, receive, end } = rig({
    delayMs: 1,
    schedule: [
      { atMs: 10, down: true },
      { atMs: 20, down: false, backward: { down: true } },
      { atMs: 30, backward: { down: false }, delayMs: 4 },
    ],
  });
  send(0, 1, 9.5); // under way when the link goes down: arrives
  for (const now of [10, 20, 30]) {
    send(0, now, now);
    send(1, now, now);
  }
  assert.deepEqual([receive(1, 11), receive(1, 99), receive(0, 99)], [[1], [20, 30], [30]]);
  assert.deepEqual([link.stats.forward.dropped, link.stats.backward.dropped], [1, 2]);
  link.configure({ drop: 1 });
  send(0, 5, 40);
  assert.deepEqual(receive(1, 99), []);
  end();
});

test('link: who sends too much is told by whoever asked for it', () => {
  const told: [string, number][] = [];
  const { link, send, receive, end } = rig({
    delayMs: 2,
    forward: { sizeBytesMax: 99 },
    onOversized: (from, memory, frame, now) => {
      told.push([from === link.left ? 'left' : 'right', now]);
      from.inject(frameBytes(memory, frame).subarray(0, 28).fill(9), now);
    },
  });
  send(0, 1, 5, 100);
  send(0, 2, 6, 99);
  send(1, 3, 7, 100);
  assert.deepEqual(told, [['left', 5]]);
  assert.deepEqual([receive(0, 7), receive(1, 99), receive(0, 99)], [[9], [2], [3]]);
  end();
});

test('link: the same seed does the same, in each direction by itself', () => {
  const fates = (seed: number, others: number): number[] => {
    const { send, receive, end } = rig({ seed, drop: 0.5 });
    const seen: number[] = [];
    for (let i = 0; i < 100; i++) {
      for (let j = 0; j < others; j++) send(1, j, i);
      receive(0, i);
      send(0, i, i);
      seen.push(...receive(1, i));
    }
    end();
    return seen;
  };
  assert.deepEqual(fates(1, 0), fates(1, 3));
  assert.notDeepEqual(fates(1, 0), fates(2, 0));
});

const REFUSED: LinkOptions[] = [
  { mtu: 20 },
  { drop: 2 },
  { backward: { delayMs: -1 } },
  { heldFramesMax: 3 },
  { schedule: [{ atMs: 5 }, { atMs: 4 }] },
  { schedule: [{ atMs: 5, corrupt: 7 }] },
  { schedule: [{ atMs: Number.NaN }] },
];
for (const options of REFUSED) {
  test(`link: refused: ${JSON.stringify(options)}`, () => {
    assert.throws(() => new Link(options), RangeError);
  });
}

test('link: an end has one stack', () => {
  const { link, end } = rig();
  assert.throws(() => link.left.attach(link.memory, () => {}), TypeError);
  end();
});
