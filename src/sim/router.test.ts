import assert from 'node:assert/strict';
import { test } from 'node:test';
import { frameFrom, frameStart } from '../memory/frame.ts';
import { Memory } from '../memory/memory.ts';
import { IpAddress } from '../wire/address.ts';
import * as ipv4 from '../wire/ipv4.ts';
import * as ipv6 from '../wire/ipv6.ts';
import { Router, type RouterOptions, type RouterPort } from './router.ts';

const LENGTH = 100;

/** A packet of `tag` from anybody to `to`. */
function packetTo(to: string, tag: number): Uint8Array {
  const bytes = new Uint8Array(LENGTH);
  const dv = new DataView(bytes.buffer);
  const address = IpAddress.parse(to);
  if (address.isV4) ipv4.emit(dv, 0, LENGTH, 0, 0, 0, 64, 253, 0x0a000063, address.d);
  else ipv6.emit(dv, 0, LENGTH - 40, 0, 64, 253, IpAddress.parse('fd00::63'), address);
  bytes[LENGTH - 1] = tag;
  return bytes;
}

function rig(options: RouterOptions = {}) {
  const memory = new Memory({ bytes: 4 << 20 });
  const router = new Router({ memory, ...options });
  const add = (side: 'left' | 'right', addresses: string[], delayMs = 0, own = memory): RouterPort => {
    const port = router.port({ side, addresses, delayMs });
    port.attach(own, () => {});
    return port;
  };
  const send = (from: RouterPort, to: string, tag: number, now: number): void =>
    from.transmit(frameFrom(memory, packetTo(to, tag)), now);
  const receive = (port: RouterPort, now: number, own = memory): number[] => {
    const tags: number[] = [];
    for (let frame = port.receive(now); frame !== 0; frame = port.receive(now)) {
      tags.push(own.u8[frameStart(own, frame) + LENGTH - 1]!);
      own.free(frame);
    }
    return tags;
  };
  const end = (): void => {
    router.close();
    assert.equal(memory.usedBytes, 0);
  };
  return { memory, router, add, send, receive, end };
}

test('router: packets go to the port that has their address, of either family', () => {
  const { router, add, send, receive, end } = rig();
  const a = add('left', ['10.0.0.1', 'fd00::1']);
  const b = add('right', ['10.0.0.2', 'fd00::2', '10.0.0.22']);
  const c = add('right', ['10.0.0.3', 'fd00::3']);
  send(a, '10.0.0.2', 1, 0);
  send(a, 'fd00::2', 2, 0);
  send(a, '10.0.0.22', 3, 0);
  send(a, 'fd00::3', 4, 0);
  send(b, '10.0.0.1', 5, 0);
  send(b, '10.0.0.3', 6, 0);
  send(a, '10.0.0.9', 7, 0);
  assert.deepEqual([receive(a, 0), receive(b, 0), receive(c, 0)], [[5], [1, 2, 3], [4, 6]]);
  assert.equal(router.unroutable, 1);
  end();
});

test('router: what crosses shares the trunk, what stays on a side does not', () => {
  // 100 bytes at 80 kbit/s are 10 ms.
  const { router, add, send, receive, end } = rig({ forward: { rateBitsPerSecond: 80_000, queueBytesMax: 300 } });
  const a = add('left', ['10.0.0.1'], 1);
  const b = add('left', ['10.0.0.2'], 2);
  const c = add('right', ['10.0.0.3'], 5);
  const d = add('right', ['10.0.0.4'], 50);
  send(a, '10.0.0.3', 1, 0);
  send(b, '10.0.0.4', 2, 0);
  send(b, '10.0.0.3', 3, 0);
  send(a, '10.0.0.3', 4, 0); // no room in the queue
  send(a, '10.0.0.2', 5, 0);
  send(c, '10.0.0.1', 6, 0);
  assert.deepEqual([a.pollAt(), b.pollAt(), c.pollAt(), d.pollAt()], [1, 2, 15, 70]);
  assert.deepEqual([receive(c, 15), receive(c, 34.9), receive(c, 35), receive(d, 70)], [[1], [], [3], [2]]);
  assert.deepEqual([receive(a, 1), receive(b, 2)], [[6], [5]]);
  assert.equal(router.stats.forward.overflowed, 1);
  end();
});

test('router: a packet that the trunk holds back does not hold back others', () => {
  const { router, add, send, receive, end } = rig({ forward: { reorder: 1, reorderMs: 20 } });
  const a = add('left', ['10.0.0.1']);
  const b = add('right', ['10.0.0.2'], 5);
  send(a, '10.0.0.2', 1, 0);
  router.configure({ forward: { reorder: 0 } });
  send(a, '10.0.0.2', 2, 1);
  assert.deepEqual([receive(b, 6), receive(b, 25)], [[2], [1]]);
  end();
});

test('router: the trunk changes by schedule, a port by hand', () => {
  const { add, send, receive, end } = rig({
    schedule: [
      { atMs: 10, down: true },
      { atMs: 20, down: false },
    ],
  });
  const a = add('left', ['10.0.0.1']);
  const b = add('right', ['10.0.0.2']);
  for (const now of [9, 10, 20]) send(a, '10.0.0.2', now, now);
  b.configure({ delayMs: 7 });
  send(a, '10.0.0.2', 30, 30);
  assert.deepEqual([receive(b, 30), receive(b, 37)], [[9, 20], [30]]);
  end();
});

test('router: a corrupted address goes nowhere or elsewhere, and nothing is left', () => {
  const { router, add, send, end } = rig({ corrupt: 1 });
  const a = add('left', ['10.0.0.1']);
  add('right', ['10.0.0.2']);
  for (let i = 0; i < 1000; i++) send(a, '10.0.0.2', 0, i);
  assert.ok(router.unroutable > 10, `${router.unroutable}`); // 36 of 800 bits are the version and the address
  assert.equal(router.stats.forward.corrupted, 1000);
  end();
});

test('router: a stack with a memory of its own gets copies', () => {
  const { add, send, receive, end } = rig();
  const own = new Memory({ bytes: 1 << 18 });
  const a = add('left', ['10.0.0.1']);
  const b = add('right', ['10.0.0.2'], 0, own);
  send(a, '10.0.0.2', 1, 0);
  assert.deepEqual(receive(b, 0, own), [1]);
  b.transmit(frameFrom(own, packetTo('10.0.0.1', 2)), 0);
  assert.deepEqual(receive(a, 0), [2]);
  assert.equal(own.usedBytes, 0);
  end();
});

test('router: an address has one port, and the table a limit', () => {
  const { router, end } = rig();
  router.port({ side: 'left', addresses: ['10.0.0.1'] });
  assert.throws(() => router.port({ side: 'left', addresses: ['10.0.0.1'] }), RangeError);
  assert.throws(() => router.port({ side: 'left', addresses: ['10.0.0.2'], drop: 3 }), RangeError);
  const many = Array.from({ length: 256 }, (_, i) => `10.1.0.${i}`);
  assert.throws(() => router.port({ side: 'left', addresses: many }), RangeError);
  end();
});
