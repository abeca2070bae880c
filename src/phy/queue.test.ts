import assert from 'node:assert/strict';
import { test } from 'node:test';
import { allocFrame } from '../memory/frame.ts';
import { Memory } from '../memory/memory.ts';
import { FrameQueue } from './queue.ts';

test('queue: first in, first out, across the wrap of the ring', () => {
  const queue = new FrameQueue(4);
  let put = 1;
  let got = 1;
  for (let round = 0; round < 10; round++) {
    for (let i = 0; i < 3; i++) assert.equal(queue.push(put++), true);
    assert.equal(queue.length, 3);
    assert.equal(queue.peek(), got);
    for (let i = 0; i < 3; i++) assert.equal(queue.shift(), got++);
  }
  assert.equal(queue.shift(), 0);
  assert.equal(queue.peek(), 0);
});

test('queue: refuses a frame when full and keeps the others', () => {
  const queue = new FrameQueue(2);
  assert.equal(queue.push(7), true);
  assert.equal(queue.push(8), true);
  assert.equal(queue.push(9), false);
  assert.deepEqual([queue.shift(), queue.shift(), queue.shift()], [7, 8, 0]);
});

test('queue: clear gives every frame back', () => {
  const memory = new Memory({ bytes: 1 << 18 });
  const queue = new FrameQueue(8);
  for (let i = 0; i < 5; i++) queue.push(allocFrame(memory, 100));
  assert.notEqual(memory.usedBytes, 0);
  queue.clear(memory);
  assert.equal(queue.length, 0);
  assert.equal(memory.usedBytes, 0);
});

for (const capacity of [0, -1, 3, 1.5, 1 << 21, Number.NaN]) {
  test(`queue: capacity ${capacity} is refused`, () => {
    assert.throws(() => new FrameQueue(capacity), RangeError);
  });
}
