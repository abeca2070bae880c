/** What a capture says of frames that went no further: see {@link PcapWriter.explain}. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { HandDevice, type PacketOptions, packet } from '../../test/phy-frames.ts';
import { Memory } from '../memory/memory.ts';
import { readCapture } from '../pcap/reader.ts';
import { Stack } from '../stack.ts';
import { Cidr, IpAddress } from '../wire/address.ts';
import type { Medium } from '../wire/link-type.ts';
import { FaultInjector, type FaultInjectorOptions } from './fault-injector.ts';
import { PcapWriter } from './pcap-writer.ts';
import { Tracer } from './tracer.ts';

const OURS = IpAddress.parse('10.0.0.2');
const PEER = IpAddress.parse('10.0.0.1');

interface Seen {
  readonly direction: string | null;
  readonly length: number;
  readonly original: number;
  readonly comments: readonly string[];
}

/** A stack on a device played by hand, recorded and explained, with a tracer and faults between where asked for. */
function rig(medium: Medium = 'ip', faults: FaultInjectorOptions | null = null) {
  const memory = new Memory({ bytes: 1 << 20 });
  let onFrame = (): void => {};
  const inner = new HandDevice(medium);
  const chunks: Uint8Array[] = [];
  const writer = new PcapWriter(inner, { write: (bytes: Uint8Array) => chunks.push(bytes) });
  const traced = new Tracer(writer, () => onFrame());
  const stack = new Stack({ random: () => 7, memory });
  stack.addInterface(faults === null ? traced : new FaultInjector(traced, faults), {
    addresses: [new Cidr(OURS, 24)],
    probe: false,
  });
  writer.explain(stack.stats);
  const end = (): Seen[] => {
    stack.close();
    assert.equal(memory.usedBytes, 0);
    const file = Uint8Array.from(chunks.flatMap((chunk) => [...chunk]));
    return [...readCapture(file)].map(({ direction, bytes, originalLength, comments }) => ({
      direction,
      length: bytes.length,
      original: originalLength,
      comments,
    }));
  };
  const arrive = (options: PacketOptions): void => {
    inner.arrived.push(packet(memory, { protocol: 'udp', ...options }));
  };
  const eachFrame = (call: () => void): void => {
    onFrame = call;
  };
  return { memory, inner, stack, arrive, end, eachFrame };
}

/** Takes all memory there is. */
function fill(memory: Memory, blocks: number[]): void {
  for (let size = 1 << 19; size >= 2048; size >>= 1) {
    for (let block = memory.alloc(size); block !== 0; block = memory.alloc(size)) blocks.push(block);
  }
}

const brief = (seen: readonly Seen[]): (string | number)[][] =>
  seen.map(({ direction, length, comments }) => [direction!, length, ...comments]);

test('no memory for a segment, behind a full batch: told of the segment, not of the frame received last', () => {
  const { memory, stack, arrive, end, eachFrame } = rig();
  const sink = stack.udpSocket();
  sink.bind({ port: 9 });
  // A whole batch: nobody asks the device for the next frame before the segment is made.
  for (let i = 0; i < 64; i++) arrive({ length: 10, destinationPort: 9 });
  // The last frame comes back before segments are made: there is room for one of them.
  const sockets = [stack.tcpSocket(), stack.tcpSocket()];
  for (const socket of sockets) socket.connect({ address: PEER, port: 80 });
  const blocks: number[] = [];
  eachFrame(() => fill(memory, blocks));
  stack.poll(1);
  assert.ok(stack.stats.drops['no-memory']! > 0);
  for (const block of blocks) memory.free(block);
  for (const socket of [...sockets, sink]) socket.close();
  const seen = end();
  const segments = seen.filter(({ direction }) => direction === 'out');
  assert.ok(segments[0]!.length > 40, 'the first SYN left');
  assert.deepEqual(segments[1], { direction: 'out', length: 0, original: 40, comments: ['dropped: no-memory'] });
  const blamed = seen.filter(
    ({ direction, comments }) => direction === 'in' && comments.includes('dropped: no-memory'),
  );
  assert.deepEqual(blamed, []);
});

test('no room in the device: the answer stands there as one that was dropped, the request without a word', () => {
  const { inner, stack, arrive, end } = rig();
  inner.roomFrames = 0;
  arrive({ length: 1, destinationPort: 5 }); // nobody listens: the answer is an ICMP error
  stack.poll(1);
  assert.deepEqual(brief(end()), [
    ['in', 29, 'dropped: udp-no-socket'],
    ['out', 57, 'dropped: device-full'],
  ]);
});

test('a neighbour that never answers: what waited for it, with a header of the link without a destination', () => {
  const { stack, end } = rig('ethernet');
  const socket = stack.udpSocket();
  socket.bind({});
  socket.send(new Uint8Array(10), { address: PEER, port: 9 });
  for (let now = 0; now < 10_000; now += 500) stack.poll(now);
  socket.close();
  const dropped = end().filter(({ comments }) => comments.length > 0);
  assert.deepEqual(dropped, [
    { direction: 'out', length: 52, original: 52, comments: ['dropped: neighbour-unreachable'] },
  ]);
});

test('more than a neighbour may have waiting: the oldest is told of', () => {
  const { stack, end } = rig('ethernet');
  const socket = stack.udpSocket();
  socket.bind({});
  for (let i = 0; i < 40; i++) socket.send(new Uint8Array(i), { address: PEER, port: 9 });
  stack.poll(1);
  const count = stack.stats.drops['neighbour-queue-full']!;
  assert.ok(count > 0 && count < 40);
  socket.close();
  const dropped = end().filter(({ comments }) => comments[0] === 'dropped: neighbour-queue-full');
  assert.deepEqual(
    dropped.map(({ length }) => length),
    Array.from({ length: count }, (_, i) => 42 + i),
  );
});

test('frames that faults held back: the reason stands with the frame it is about', () => {
  const { stack, arrive, end } = rig('ip', { rx: { delayMs: 10 } });
  arrive({ length: 1, destinationPort: 5 });
  stack.poll(1);
  arrive({ length: 2, destinationPort: 5, destination: '10.0.0.77' });
  stack.poll(6);
  stack.poll(11); // now the stack sees the first
  arrive({ length: 3, destinationPort: 5, destination: '10.0.0.78' });
  stack.poll(16);
  stack.poll(26);
  const seen = brief(end()).filter(([direction]) => direction === 'in');
  assert.deepEqual(seen, [
    ['in', 29, 'dropped: udp-no-socket'],
    ['in', 30, 'dropped: ip-not-ours'],
    ['in', 31, 'dropped: ip-not-ours'],
  ]);
});

const FAULTS = [
  { name: 'lost', faults: { drop: 1 }, why: 'fault-lost' },
  { name: 'too large', faults: { sizeBytesMax: 28 }, why: 'fault-too-large' },
  { name: 'a cut wire', faults: { down: true }, why: 'fault-lost' },
];
for (const { name, faults, why } of FAULTS) {
  test(`faults, ${name}: both ways`, () => {
    const { stack, arrive, end } = rig('ip', faults);
    arrive({ length: 1, destinationPort: 5 });
    stack.poll(1);
    const socket = stack.udpSocket();
    socket.bind({});
    socket.send(new Uint8Array(2), { address: PEER, port: 9 });
    stack.poll(2);
    socket.close();
    assert.deepEqual(brief(end()), [
      ['in', 29, `dropped: ${why}`],
      ['out', 30, `dropped: ${why}`],
    ]);
  });
}

test('faults, a full queue of a slow wire', () => {
  const { stack, end } = rig('ip', { tx: { rateBitsPerSecond: 8000, queueBytesMax: 100 } });
  const socket = stack.udpSocket();
  socket.bind({});
  for (let i = 0; i < 5; i++) socket.send(new Uint8Array(i), { address: PEER, port: 9 });
  for (let now = 1; now < 1000; now += 10) stack.poll(now);
  socket.close();
  // Those that were dropped are told of at once, the others when the wire has them.
  assert.deepEqual(brief(end()), [
    ['out', 31, 'dropped: fault-queue-full'],
    ['out', 32, 'dropped: fault-queue-full'],
    ['out', 28],
    ['out', 29],
    ['out', 30],
  ]);
});
