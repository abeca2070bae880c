import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  CHECKSUM_PARTIAL,
  frameBytes,
  frameChecksum,
  frameFrom,
  frameGsoSize,
  frameStart,
  frameTransport,
  setFrameOffload,
} from '../memory/frame.ts';
import { Memory } from '../memory/memory.ts';
import { checkMtu, pipePair } from './pipe.ts';

function rig(shared: boolean, options = {}) {
  const memory = new Memory({ bytes: 4 << 20 });
  const other = shared ? memory : new Memory({ bytes: 4 << 20 });
  const [left, right] = pipePair({ memory, ...options });
  const woken = { left: 0, right: 0 };
  left.attach(memory, () => woken.left++);
  right.attach(other, () => woken.right++);
  return { memory, other, left, right, woken };
}

for (const shared of [true, false]) {
  const name = shared ? 'one memory: frames pass as offsets' : 'two memories: the bytes are copied';
  test(`pipe: ${name}, in order, with their descriptors`, () => {
    const { memory, other, left, right, woken } = rig(shared);
    const frames = [1, 2, 3].map((tag) => frameFrom(memory, Uint8Array.of(tag, tag)));
    setFrameOffload(memory, frames[1]!, CHECKSUM_PARTIAL, 1448, frameStart(memory, frames[1]!) + 1);
    for (const frame of frames) left.transmit(frame);
    assert.equal(woken.right, 1, 'woken once, when the first came');
    assert.equal(right.pollAt(), 0);
    for (const tag of [1, 2, 3]) {
      const frame = right.receive();
      assert.deepEqual(frameBytes(other, frame), Uint8Array.of(tag, tag));
      if (shared) assert.equal(frame, frames[tag - 1]);
      if (tag === 2) {
        assert.deepEqual([frameChecksum(other, frame), frameGsoSize(other, frame)], [CHECKSUM_PARTIAL, 1448]);
        assert.equal(frameTransport(other, frame), frameStart(other, frame) + 1);
      }
      other.free(frame);
    }
    assert.equal(right.receive(), 0);
    assert.equal(right.pollAt(), Number.POSITIVE_INFINITY);
    assert.deepEqual([memory.usedBytes, other.usedBytes], [0, 0]);
  });
}

test('pipe: a sender that found no room is woken when half of the queue is empty', () => {
  const { memory, left, right, woken } = rig(true);
  const room = left.room();
  for (let i = 0; i < room; i++) left.transmit(frameFrom(memory, Uint8Array.of(i & 0xff)));
  assert.equal(left.room(), 0);
  left.transmit(frameFrom(memory, Uint8Array.of(0)));
  assert.equal(left.dropped, 1, 'beyond it frames are dropped');
  let taken = 0;
  while (woken.left === 0) {
    memory.free(right.receive());
    taken++;
  }
  assert.equal(taken, room / 2);
  left.close();
  right.close();
  assert.equal(memory.usedBytes, 0);
});

test('pipe: a receiver whose memory is full loses frames, and the sender none of its own', () => {
  const { memory, other, left, right } = rig(false);
  const taken: number[] = [];
  for (let block = other.alloc(1 << 16); block !== 0; block = other.alloc(1 << 16)) taken.push(block);
  for (let block = other.alloc(2048); block !== 0; block = other.alloc(2048)) taken.push(block);
  left.transmit(frameFrom(memory, Uint8Array.of(1)));
  assert.equal(left.dropped, 1);
  assert.deepEqual([memory.usedBytes, right.receive()], [0, 0]);
});

test('pipe: closed at either end it takes frames and delivers none, and gives back what it held', () => {
  const { memory, left, right } = rig(true);
  left.transmit(frameFrom(memory, Uint8Array.of(1)));
  right.transmit(frameFrom(memory, Uint8Array.of(2)));
  right.close();
  right.close();
  left.transmit(frameFrom(memory, Uint8Array.of(3)));
  assert.ok(left.room() > 0);
  memory.free(left.receive());
  left.close();
  assert.equal(memory.usedBytes, 0);
});

test('pipe: both ends offer one memory, and MTUs have limits', () => {
  const [left, right] = pipePair();
  assert.equal(left.memory, right.memory);
  assert.deepEqual([left.medium, left.mtu, left.offload], ['ip', 1500, false]);
  for (const mtu of [67, 65_536, 1500.5, Number.NaN]) assert.throws(() => pipePair({ mtu }), RangeError);
  assert.equal(checkMtu(68), 68);
});
