import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checksumHolds, HandDevice, type PacketOptions, packet } from '../../test/phy-frames.ts';
import { CHECKSUM_PARTIAL, frameBytes, frameChecksum, frameFrom, frameLength } from '../memory/frame.ts';
import { Memory } from '../memory/memory.ts';
import { readCapture } from '../pcap/reader.ts';
import type { CaptureSink } from '../pcap/writer.ts';
import { Capture, PcapWriter, type PcapWriterOptions } from './pcap-writer.ts';

/** Keeps what it is given, as a sink may. */
class Chunks implements CaptureSink {
  readonly chunks: Uint8Array[] = [];

  write(bytes: Uint8Array): void {
    this.chunks.push(bytes);
  }

  bytes(): Uint8Array {
    return Uint8Array.from(this.chunks.flatMap((chunk) => [...chunk]));
  }
}

interface Captured {
  id: number;
  /** In nanoseconds. */
  time: bigint;
  original: number;
  bytes: Uint8Array;
  flags: number;
}

/** Reads a classic file by the text of draft-ietf-opsawg-pcap, and by none of the code under test. */
function readPcap(file: Uint8Array): { linkType: number; snaplen: number; packets: Captured[] } {
  const dv = new DataView(file.buffer);
  assert.equal(dv.getUint32(0, true), 0xa1b23c4d);
  assert.deepEqual([dv.getUint16(4, true), dv.getUint16(6, true)], [2, 4]);
  assert.deepEqual([dv.getUint32(8, true), dv.getUint32(12, true)], [0, 0]);
  const packets: Captured[] = [];
  let p = 24;
  while (p < file.length) {
    const nanoseconds = dv.getUint32(p + 4, true);
    assert.ok(nanoseconds < 1e9);
    const time = BigInt(dv.getUint32(p, true)) * 1_000_000_000n + BigInt(nanoseconds);
    const length = dv.getUint32(p + 8, true);
    const bytes = file.slice(p + 16, p + 16 + length);
    packets.push({ id: 0, time, original: dv.getUint32(p + 12, true), bytes, flags: 0 });
    p += 16 + length;
  }
  assert.equal(p, file.length);
  return { linkType: dv.getUint32(20, true), snaplen: dv.getUint32(16, true), packets };
}

/** The options from `p` on: a map of code to value. */
function readOptions(file: Uint8Array, p: number, end: number): Map<number, Uint8Array> {
  const dv = new DataView(file.buffer);
  const options = new Map<number, Uint8Array>();
  for (;;) {
    const code = dv.getUint16(p, true);
    const length = dv.getUint16(p + 2, true);
    p += 4;
    if (code === 0) {
      assert.equal(length, 0);
      break;
    }
    options.set(code, file.slice(p, p + length));
    for (let i = p + length; (i & 3) !== 0; i++) assert.equal(file[i], 0, 'padding');
    p += (length + 3) & ~3;
  }
  assert.equal(p, end, 'options end with the block');
  return options;
}

interface NgInterface {
  linkType: number;
  snaplen: number;
  name: string;
}

/** Reads a pcapng file by the text of draft-ietf-opsawg-pcapng. */
function readPcapng(file: Uint8Array): { application: string; interfaces: NgInterface[]; packets: Captured[] } {
  const dv = new DataView(file.buffer);
  const text = new TextDecoder();
  const interfaces: NgInterface[] = [];
  const packets: Captured[] = [];
  let application = '';
  for (let p = 0; p < file.length; ) {
    const type = dv.getUint32(p, true);
    const length = dv.getUint32(p + 4, true);
    const end = p + length - 4;
    assert.equal(length & 3, 0);
    assert.equal(dv.getUint32(end, true), length, 'length at both ends');
    if (p === 0) assert.equal(type, 0x0a0d0d0a);
    if (type === 0x0a0d0d0a) {
      assert.equal(dv.getUint32(p + 8, true), 0x1a2b3c4d);
      assert.deepEqual([dv.getUint16(p + 12, true), dv.getUint16(p + 14, true)], [1, 0]);
      assert.equal(dv.getBigInt64(p + 16, true), -1n);
      application = text.decode(readOptions(file, p + 24, end).get(4));
    } else if (type === 1) {
      assert.equal(dv.getUint16(p + 10, true), 0);
      const options = readOptions(file, p + 16, end);
      assert.deepEqual([...options.get(9)!], [9], 'if_tsresol');
      const name = text.decode(options.get(2));
      interfaces.push({ linkType: dv.getUint16(p + 8, true), snaplen: dv.getUint32(p + 12, true), name });
    } else {
      assert.equal(type, 6);
      const time = (BigInt(dv.getUint32(p + 12, true)) << 32n) | BigInt(dv.getUint32(p + 16, true));
      const captured = dv.getUint32(p + 20, true);
      const bytes = file.slice(p + 28, p + 28 + captured);
      const options = readOptions(file, p + 28 + ((captured + 3) & ~3), end);
      const flags = new DataView(options.get(2)!.buffer).getUint32(0, true);
      const id = dv.getUint32(p + 8, true);
      assert.ok(id < interfaces.length);
      packets.push({ id, time, original: dv.getUint32(p + 24, true), bytes, flags });
    }
    p += length;
  }
  return { application, interfaces, packets };
}

function rig(options: PcapWriterOptions = {}, medium: 'ip' | 'ethernet' = 'ip') {
  const memory = new Memory({ bytes: 1 << 20 });
  const inner = new HandDevice(medium, true);
  const sink = new Chunks();
  const writer = new PcapWriter(inner, sink, options);
  writer.attach(memory, () => {});
  return { memory, inner, sink, writer };
}

test('pcapng: section, interface and packets with direction', () => {
  const { memory, inner, sink, writer } = rig({ name: 'left' });
  const sent = packet(memory, { length: 3 });
  const sentBytes = frameBytes(memory, sent);
  writer.transmit(sent, 1.5);
  const incoming = packet(memory, { length: 8 });
  const incomingBytes = frameBytes(memory, incoming);
  inner.arrived.push(incoming);
  assert.equal(writer.receive(2), incoming);
  assert.equal(writer.receive(2), 0);
  const { application, interfaces, packets } = readPcapng(sink.bytes());
  assert.equal(application, 'ethertype');
  assert.deepEqual(interfaces, [{ linkType: 101, snaplen: 262_144, name: 'left' }]);
  assert.deepEqual(packets, [
    { id: 0, time: 1_500_000n, original: 43, bytes: sentBytes, flags: 2 },
    { id: 0, time: 2_000_000n, original: 48, bytes: incomingBytes, flags: 1 },
  ]);
  assert.equal(writer.capture.packets, 2);
  memory.free(incoming);
  writer.close();
  assert.equal(memory.usedBytes, 0);
});

test('pcap: header and packets', () => {
  const { memory, sink, writer } = rig({ format: 'pcap' }, 'ethernet');
  const sent = packet(memory, { medium: 'ethernet', length: 3 });
  const bytes = frameBytes(memory, sent);
  writer.transmit(sent, 61_000.25);
  writer.transmit(packet(memory, { medium: 'ethernet', length: 4 }), 61_001);
  const { linkType, snaplen, packets } = readPcap(sink.bytes());
  assert.deepEqual([linkType, snaplen], [1, 262_144]);
  assert.deepEqual(packets[0], { id: 0, time: 61_000_250_000n, original: 57, bytes, flags: 0 });
  assert.equal(packets[1]!.time, 61_001_000_000n);
});

for (const format of ['pcap', 'pcapng'] as const) {
  const read = (file: Uint8Array) => (format === 'pcap' ? readPcap(file).packets : readPcapng(file).packets);

  test(`${format}: a file without packets is a file`, () => {
    assert.equal(read(rig({ format }).sink.bytes()).length, 0);
  });

  const MODES = [
    { mode: 'both', lengths: [40, 41] },
    { mode: 'tx', lengths: [40] },
    { mode: 'rx', lengths: [41] },
  ] as const;
  for (const { mode, lengths } of MODES) {
    test(`${format}: mode ${mode}`, () => {
      const { memory, inner, sink, writer } = rig({ format, mode });
      writer.transmit(packet(memory, { length: 0 }), 0);
      inner.arrived.push(packet(memory, { length: 1 }));
      memory.free(writer.receive(1));
      assert.deepEqual(
        read(sink.bytes()).map(({ bytes }) => bytes.length),
        lengths,
      );
      writer.close();
      assert.equal(memory.usedBytes, 0);
    });
  }

  test(`${format}: snaplen cuts the bytes and keeps the length`, () => {
    const { memory, sink, writer } = rig({ format, snaplen: 37 });
    // A checksum to complete that lies across the cut is left alone.
    writer.transmit(packet(memory, { length: 500, partial: true }), 0);
    writer.transmit(packet(memory, { length: 500 }), 0);
    assert.deepEqual(
      read(sink.bytes()).map(({ bytes, original }) => [bytes.length, original]),
      [
        [37, 540],
        [37, 540],
      ],
    );
  });

  const TIMES = [
    { name: 'zero', epochMs: 0, now: 0, time: 0n },
    { name: 'a nanosecond', epochMs: 0, now: 0.000001, time: 1n },
    { name: 'just under a second rounds up', epochMs: 0, now: 999.9999999, time: 1_000_000_000n },
    { name: 'this century', epochMs: 1_700_000_000_123, now: 0.25, time: 1_700_000_000_123_250_000n },
    { name: 'fractions carry', epochMs: 1_700_000_000_999.5, now: 4000.75, time: 1_700_000_005_000_250_000n },
    { name: 'past 2^32 ns by far', epochMs: 4_294_967_295_000, now: 999, time: 4_294_967_295_999_000_000n },
  ];
  for (const { name, epochMs, now, time } of TIMES) {
    test(`${format}: time: ${name}`, () => {
      const { memory, sink, writer } = rig({ format, epochMs });
      writer.transmit(packet(memory), now);
      assert.equal(read(sink.bytes())[0]!.time, time);
    });
  }

  const CHECKSUMS: ({ name: string } & PacketOptions)[] = [
    { name: 'TCP over IPv4', partial: true, length: 100 },
    { name: 'TCP over IPv6', partial: true, length: 101, family: 6 },
    { name: 'UDP over IPv4', partial: true, length: 102, protocol: 'udp' },
    { name: 'UDP over IPv6', partial: true, length: 103, protocol: 'udp', family: 6 },
    { name: 'TCP on Ethernet', partial: true, length: 104, medium: 'ethernet' },
    { name: 'super-segment', partial: true, length: 65_000, gsoSize: 1448 },
    {
      name: 'super-segment over IPv6 on Ethernet',
      partial: true,
      length: 64_001,
      gsoSize: 1428,
      family: 6,
      medium: 'ethernet',
    },
  ];
  for (const row of CHECKSUMS) {
    test(`${format}: a partial checksum is completed in the copy only: ${row.name}`, () => {
      const { memory, inner, sink, writer } = rig({ format }, row.medium);
      const frame = packet(memory, row);
      const before = frameBytes(memory, frame);
      writer.transmit(frame, 0);
      assert.equal(inner.sent[0]!.frame, frame);
      assert.deepEqual(frameBytes(memory, frame), before);
      assert.equal(frameChecksum(memory, frame), CHECKSUM_PARTIAL);
      const { bytes, original } = read(sink.bytes())[0]!;
      assert.equal(original, frameLength(memory, frame));
      const copy = frameFrom(memory, bytes);
      assert.equal(checksumHolds(memory, copy + 128, copy + 128 + bytes.length, row), true);
      assert.equal(bytes.filter((byte, i) => byte !== before[i]).length <= 2, true);
    });
  }

  test(`${format}: what a sink keeps is never written again`, () => {
    const { memory, sink, writer } = rig({ format });
    const sums: number[] = [];
    for (let i = 0; i < 300; i++) {
      const frame = packet(memory, { length: 1 + i, id: i });
      writer.transmit(frame, i);
      sums.push(sink.chunks[sink.chunks.length - 1]!.reduce((a, b) => a + b, 0));
    }
    const kept = sink.chunks.slice(-300);
    assert.deepEqual(
      kept.map((chunk) => chunk.reduce((a, b) => a + b, 0)),
      sums,
    );
    assert.equal(read(sink.bytes()).length, 300);
    writer.close();
    assert.equal(memory.usedBytes, 0);
  });
}

test('pcapng: several devices share a file', () => {
  const memory = new Memory({ bytes: 1 << 20 });
  const sink = new Chunks();
  const capture = new Capture(sink);
  const left = new PcapWriter(new HandDevice('ip'), capture, { name: 'left' });
  left.attach(memory, () => {});
  left.transmit(packet(memory), 1);
  const right = new PcapWriter(new HandDevice('ethernet'), capture, { name: 'rechts äöü' });
  right.attach(memory, () => {});
  right.transmit(packet(memory, { medium: 'ethernet' }), 2);
  left.transmit(packet(memory), 3);
  const { interfaces, packets } = readPcapng(sink.bytes());
  assert.deepEqual(
    interfaces.map(({ linkType, name }) => [linkType, name]),
    [
      [101, 'left'],
      [1, 'rechts äöü'],
    ],
  );
  assert.deepEqual(
    packets.map(({ id, time }) => [id, time]),
    [
      [0, 1_000_000n],
      [1, 2_000_000n],
      [0, 3_000_000n],
    ],
  );
});

test('pcap: a file has one link type', () => {
  const capture = new Capture(new Chunks(), { format: 'pcap' });
  new PcapWriter(new HandDevice('ip'), capture);
  new PcapWriter(new HandDevice('ip'), capture);
  assert.throws(() => new PcapWriter(new HandDevice('ethernet'), capture), RangeError);
});

const REFUSED = [
  { name: 'format', options: { format: 'snoop' } },
  { name: 'mode', options: { mode: 'none' } },
  { name: 'snaplen 0', options: { snaplen: 0 } },
  { name: 'snaplen of a fraction', options: { snaplen: 96.5 } },
];
for (const { name, options } of REFUSED) {
  test(`pcap: refused: ${name}`, () => {
    assert.throws(() => new PcapWriter(new HandDevice(), new Chunks(), options as PcapWriterOptions), RangeError);
  });
}

test('why a frame was dropped stands in the capture, behind the frame that was received last', () => {
  const { memory, inner, writer, sink } = rig();
  const stats: { onDrop: ((reason: string, isInput: boolean) => void) | null } = { onDrop: null };
  writer.explain(stats);
  const [first, second, third] = [40, 41, 42].map((length) => frameFrom(memory, new Uint8Array(length).fill(0x45)));
  inner.arrived.push(first!, second!);
  assert.equal(writer.receive(1), first);
  writer.transmit(third!, 2); // the answer to it
  stats.onDrop!('udp-no-socket', true);
  assert.equal(writer.receive(3), second);
  assert.equal(writer.receive(4), 0);
  stats.onDrop!('nobody is concerned', true);
  const packets = [...readCapture(sink.bytes())];
  assert.deepEqual(
    packets.map(({ bytes, direction, nanoseconds, comments }) => [bytes.length, direction, nanoseconds, comments]),
    [
      [40, 'in', 1_000_000, ['dropped: udp-no-socket']],
      [42, 'out', 2_000_000, []],
      [41, 'in', 3_000_000, []],
    ],
  );
  writer.close();
  for (const frame of [first, second]) memory.free(frame!);
  assert.equal(memory.usedBytes, 0);
});
