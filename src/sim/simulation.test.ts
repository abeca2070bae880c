import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Memory } from '../memory/memory.ts';
import type { Device } from '../phy/device.ts';
import { Random } from '../phy/random.ts';
import { Tracer } from '../phy/tracer.ts';
import { Stack } from '../stack.ts';
import { CONNECTED, READABLE, WRITABLE } from '../tcp/events.ts';
import type { TcpSocket } from '../tcp/socket.ts';
import { Cidr, IpAddress } from '../wire/address.ts';
import { type DumbbellOptions, dumbbell } from './dumbbell.ts';
import { Link } from './link.ts';
import { Simulation } from './simulation.ts';

const PIECE = new Uint8Array(16_384);

test('simulation: two stacks on a link run to the end of all, in the time the link takes', () => {
  const memory = new Memory({ bytes: 4 << 20 });
  const link = new Link({ memory, delayMs: 100 });
  const random = new Random(1);
  const stack = (device: Device, address: string): Stack => {
    const made = new Stack({ memory, random: () => random.next(), tcp: { timeWaitMs: 5000 } });
    made.addInterface(device, { addresses: [Cidr.parse(address)] });
    return made;
  };
  const [a, b] = [stack(link.left, '10.0.0.1/24'), stack(link.right, '10.0.0.2/24')];
  const listener = b.tcpSocket();
  listener.listen({ port: 80 });
  const socket = a.tcpSocket();
  const story: [string, number][] = [];
  const serve = (one: TcpSocket): void => {
    if (one.recv(new Uint8Array(9)) === 0) return;
    story.push(['received', simulation.now]);
    one.close();
  };
  const simulation = new Simulation({
    stacks: [a, b],
    onChanged: (changed, owner) => {
      const one = changed as TcpSocket;
      const events = one.takeEvents();
      if (one === socket && (events & CONNECTED) !== 0) {
        story.push(['connected', simulation.now]);
        socket.send(PIECE, 0, 5);
        socket.close();
      } else if (one === listener) {
        serve(listener.accept()!); // its bytes came with the end of the handshake
      } else if (owner === b && (events & READABLE) !== 0) {
        serve(one);
      }
    },
  });
  simulation.clock.setTimer(50, () => socket.connect({ address: IpAddress.parse('10.0.0.2'), port: 80 }));
  assert.equal(simulation.run(1000), false);
  assert.equal(simulation.now, 1000);
  assert.deepEqual(story, [
    ['connected', 250],
    ['received', 350],
  ]);
  assert.equal(simulation.run(), false); // until nothing is left
  assert.ok(simulation.now > 5000 && simulation.now < 6000, `${simulation.now}`);
  assert.equal(simulation.step(), false);
  a.close();
  b.close();
  assert.equal(memory.usedBytes, 0);
});

test('simulation: what never comes to rest is stopped', () => {
  const busy = { pollAt: () => 0, poll: () => true, nextChanged: () => null } as unknown as Stack;
  assert.throws(() => new Simulation({ stacks: [busy] }).run(10), /always more to do/);
});

/** Bulk from each sender to its receiver; bytes received by pair. */
function bulk(options: DumbbellOptions, seconds: number): { received: number[]; seen: number } {
  let seen = 0;
  const net = dumbbell({
    memory: 32 << 20,
    ...options,
    wrap: (port, side) => (side === 'left' ? new Tracer(port, () => seen++) : port),
  });
  const received = net.receivers.map(() => 0);
  const listeners = net.receivers.map((stack) => {
    const listener = stack.tcpSocket();
    listener.listen({ port: 80 });
    return listener;
  });
  const fill = (socket: TcpSocket): void => {
    while (socket.send(PIECE) > 0);
  };
  const scratch = new Uint8Array(1 << 16);
  const simulation = new Simulation({
    stacks: [...net.senders, ...net.receivers],
    onChanged: (changed, stack) => {
      const socket = changed as TcpSocket;
      const events = socket.takeEvents();
      const pair = net.receivers.indexOf(stack);
      if (pair < 0) {
        if ((events & WRITABLE) !== 0) fill(socket);
      } else if (socket === listeners[pair]) socket.accept();
      else for (let count = socket.recv(scratch); count > 0; count = socket.recv(scratch)) received[pair]! += count;
    },
  });
  net.senders.forEach((stack, pair) => {
    const socket = stack.tcpSocket();
    socket.connect({ address: net.receiverAddress(pair), port: 80 });
    fill(socket);
  });
  simulation.run(1 + seconds * 1000);
  net.close();
  assert.equal(net.memory.usedBytes, 0);
  return { received, seen };
}

test('dumbbell: senders fill the bottleneck and no more, the same at every run', () => {
  const options = { pairs: 3, rttMs: [10, 20, 30], rateBitsPerSecond: 10e6, queueBytesMax: 25_000 };
  const first = bulk(options, 10);
  const share = (first.received.reduce((sum, bytes) => sum + bytes, 0) * 8) / 10 / 10e6;
  assert.ok(share > 0.85 && share < 0.97, `${share} of the link`);
  assert.ok(first.received.every((bytes) => bytes > 300_000));
  assert.ok(first.seen > 10_000);
  assert.deepEqual(bulk(options, 10), first);
});

test('dumbbell: settings of a pair are its own', () => {
  const tcp = (pair: number) => ({ receiveBufferBytes: pair === 0 ? 1 << 14 : 1 << 17 });
  const { received } = bulk({ pairs: 2, rttMs: 100, tcp }, 5);
  assert.ok(received[1]! > 4 * received[0]!, `${received}`);
});

for (const options of [{ pairs: 0 }, { pairs: 101 }, { pairs: 1.5 }, { rttMs: -5 }, { drop: 2 }, { memory: 1 }]) {
  test(`dumbbell: refused: ${JSON.stringify(options)}`, () => {
    assert.throws(() => dumbbell(options), RangeError);
  });
}
