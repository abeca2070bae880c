import assert from 'node:assert/strict';
import { test } from 'node:test';
import { frameFrom } from '../memory/frame.ts';
import { Memory } from '../memory/memory.ts';
import { Loopback } from './loopback.ts';

test('loopback: gives back what it was given, in order, and wakes', () => {
  const memory = new Memory({ bytes: 4 << 20 });
  const device = new Loopback();
  let woken = 0;
  device.attach(memory, () => woken++);
  assert.deepEqual([device.medium, device.mtu, device.offload, device.memory], ['ip', 65_535, true, null]);
  const frames = [1, 2, 3].map((tag) => frameFrom(memory, Uint8Array.of(tag)));
  for (const frame of frames) device.transmit(frame);
  assert.deepEqual([woken, device.pollAt()], [1, 0]);
  assert.deepEqual(
    frames.map(() => device.receive()),
    frames,
  );
  assert.deepEqual([device.receive(), device.pollAt()], [0, Number.POSITIVE_INFINITY]);
  for (const frame of frames) memory.free(frame);
  assert.equal(memory.usedBytes, 0);
});

test('loopback: full it drops, wakes the sender when half is free, and closes with nothing held', () => {
  const memory = new Memory({ bytes: 4 << 20 });
  const device = new Loopback();
  let woken = 0;
  device.attach(memory, () => woken++);
  const room = device.room();
  for (let i = 0; i <= room; i++) device.transmit(frameFrom(memory, Uint8Array.of(1)));
  assert.equal(device.room(), 0);
  assert.equal(memory.usedBytes, room * 2048, 'the last one was dropped');
  woken = 0;
  for (let i = 0; woken === 0 && i <= room; i++) memory.free(device.receive());
  assert.ok(device.room() >= room / 2 - 1);
  device.close();
  assert.equal(memory.usedBytes, 0);
});
