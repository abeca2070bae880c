import assert from 'node:assert/strict';
import { test } from 'node:test';
import { etherFrame, HandDevice, packet } from '../../test/phy-frames.ts';
import { frameFrom } from '../memory/frame.ts';
import { Memory } from '../memory/memory.ts';
import { Tracer } from './tracer.ts';

test('tracer: tells every frame, and passes it on', () => {
  const memory = new Memory({ bytes: 1 << 18 });
  const inner = new HandDevice('ip', true);
  const told: [string, string, number][] = [];
  const tracer = new Tracer(inner, (line, direction, now) => told.push([line, direction, now]));
  let woken = 0;
  tracer.attach(memory, () => woken++);
  inner.wake();
  assert.equal(woken, 1);
  assert.deepEqual([tracer.medium, tracer.mtu, tracer.offload], ['ip', 1500, true]);

  const out = packet(memory, { id: 100 });
  tracer.transmit(out, 5);
  assert.deepEqual(inner.sent, [{ frame: out, now: 5 }]);
  assert.equal(tracer.room(), 999);
  const incoming = packet(memory, { protocol: 'udp', id: 9 });
  inner.arrived.push(incoming);
  assert.equal(tracer.receive(6), incoming);
  assert.equal(tracer.receive(7), 0);
  assert.deepEqual(told, [
    ['IP 10.0.0.1.4000 > 10.0.0.2.80: Flags [.], seq 100:104, ack 7, win 1000, length 4', 'tx', 5],
    ['IP 10.0.0.1.9 > 10.0.0.2.53: UDP, length 4', 'rx', 6],
  ]);
  memory.free(incoming);
  assert.equal(tracer.pollAt(), Number.POSITIVE_INFINITY);
  tracer.close();
  assert.equal(inner.closed, 1);
  assert.equal(memory.usedBytes, 0);
});

test('tracer: frames of Ethernet, and bad ones', () => {
  const memory = new Memory({ bytes: 1 << 18 });
  const inner = new HandDevice('ethernet');
  const lines: string[] = [];
  const tracer = new Tracer(inner, (line) => lines.push(line));
  tracer.attach(memory, () => {});
  tracer.transmit(etherFrame(memory, 'ff:ff:ff:ff:ff:ff', '02:00:00:00:00:01'), 0);
  tracer.transmit(frameFrom(memory, new Uint8Array(3)), 0);
  tracer.transmit(frameFrom(memory, new Uint8Array(0)), 0);
  assert.deepEqual(lines, [
    '02:00:00:00:00:01 > ff:ff:ff:ff:ff:ff, ethertype 0x88b5, length 60',
    '[ethernet-truncated], length 3',
    '[ethernet-truncated], length 0',
  ]);
  tracer.close();
  assert.equal(memory.usedBytes, 0);
});
