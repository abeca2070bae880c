import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Control, STATE_FREE, STATE_RESERVED } from './control.ts';
import { processors } from './processors.ts';
import { HeldBack, type StreamRings } from './stream-rings.ts';

describe('news that is held back', () => {
  const rings = (): [StreamRings, () => number] => {
    let told = 0;
    return [{ tellReadable: () => told++ } as unknown as StreamRings, () => told];
  };

  test('is told when the driver is about to wait, once', () => {
    const heldBack = new HeldBack();
    const [one, told] = rings();
    assert.equal(heldBack.tell(), false);
    heldBack.add(one);
    assert.equal(told(), 0);
    assert.equal(heldBack.tell(), true);
    assert.equal(heldBack.tell(), false);
    assert.equal(told(), 1);
  });

  test('is told after a tenth of a millisecond, though the stack has more to do', () => {
    const heldBack = new HeldBack();
    const [one, told] = rings();
    heldBack.look(5);
    heldBack.add(one);
    heldBack.look(5.05);
    assert.equal(told(), 0);
    heldBack.look(5.125);
    assert.equal(told(), 1);
    heldBack.look(5.3);
    assert.equal(told(), 1);
  });
});

test('threads of one doorbell are counted while they have slots', () => {
  const first = Control.make(4, 1 << 12, 8);
  const second = Control.make(processors + 1, 1 << 12, 8, first);
  assert.equal(first.hasProcessors, processors > 0);
  for (let i = 0; i < processors; i++) {
    assert.equal(first.hasProcessors, true);
    assert.equal(second.claim(i, STATE_FREE), true);
  }
  assert.equal(second.claim(0, STATE_FREE), false, 'taken');
  assert.equal(first.hasProcessors, false, 'the stacks and so many clients are one too many');
  second.release(0);
  assert.equal(first.hasProcessors, true);
  second.release(0); // nobody had it: nothing is counted twice
  assert.equal(second.claim(0, STATE_RESERVED), false);
  assert.equal(second.claim(0, STATE_FREE), true);
  assert.equal(first.hasProcessors, false);
  second.retire(); // its stack has ended: the other one has the processors
  assert.equal(first.hasProcessors, true);
  for (let i = 0; i < processors; i++) second.release(i); // and its threads end later
  assert.equal(first.claim(0, STATE_FREE), true);
  assert.equal(first.hasProcessors, processors > 1);
});
