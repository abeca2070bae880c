/** Hostile frames at the ports of a router: nothing throws, leaks or multiplies, and what is forwarded is sound. @module */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { frameFrom, setFrameOffload } from '../../src/memory/frame.ts';
import { Random } from '../../src/phy/random.ts';
import * as ipv4 from '../../src/wire/ipv4.ts';
import * as ipv6 from '../../src/wire/ipv6.ts';
import { octetsOf } from '../../src/wire/octets.ts';
import { icmpPacket, type PacketOptions, Rig, tcpPacket, udpPacket } from '../router.ts';

const ROUTERS = 6;
const FRAMES = 20_000;
const V4 = [
  '10.0.1.2',
  '10.0.2.2',
  '10.0.3.2',
  '10.0.1.1',
  '192.168.1.1',
  '127.0.0.1',
  '224.0.0.1',
  '10.0.2.255',
  '0.0.0.0',
];
const V6 = [
  'fd01::2',
  'fd02::2',
  'fd03::2',
  'fd01::1',
  'fd77::7',
  '::1',
  'ff02::1',
  'fe80::1',
  '::',
  '::ffff:10.0.2.2',
];
/** What each frame may at most become: a super-segment of 2000 bytes in pieces of one byte would be more, and is refused. */
const SENT_MAX_PER_FRAME = 1024;

function packetOf(r: Random): Uint8Array {
  const all = r.chance(0.6) ? V4 : V6;
  const pick = (): string => all[r.chance(0.6) ? r.below(3) : r.below(all.length)]!;
  const options: PacketOptions = {
    from: pick(),
    to: pick(),
    ttl: r.chance(0.8) ? 2 + r.below(60) : r.below(3),
    length: r.chance(0.8) ? r.below(200) : r.below(2000),
    flags: r.chance(0.7) ? 0x4000 : r.below(65_536),
    options: all === V4 && r.chance(0.2) ? Array.from({ length: 4 * (1 + r.below(10)) }, () => optionByte(r)) : [],
  };
  // A mapped address is IPv4 to the maker of packets: such rows only serve as IPv4.
  switch (r.below(4)) {
    case 0:
      return tcpPacket({ ...options, tcpFlags: r.below(256), seq: r.next() | 0 });
    case 1:
      return icmpPacket({ ...options, type: r.below(256), code: r.below(16), rest: r.next() | 0 });
    case 2:
      return icmpPacket({
        ...options,
        type: [3, 11, 12, 1, 2, 4][r.below(6)]!,
        code: r.below(6),
        quote: udpPacket(options),
      });
    default:
      return udpPacket(options);
  }
}

const optionByte = (r: Random): number => [0, 1, 7, 68, 131, 137, 148, 2, 4, 8, 255][r.below(11)]!;

function spoil(r: Random, bytes: Uint8Array): void {
  for (let i = r.below(4); i >= 0; i--)
    bytes[r.below(r.chance(0.7) ? Math.min(60, bytes.length) : bytes.length)] = r.below(256);
  const isV4 = bytes[0]! >> 4 === 4;
  const header = (bytes[0]! & 15) << 2;
  if (isV4 && header >= 20 && header <= bytes.length && r.chance(0.8)) {
    const o = octetsOf(bytes);
    ipv4.patchLength(o, 0, r.chance(0.8) ? bytes.length : ipv4.totalLength(o.dv, 0), ipv4.identification(o.dv, 0));
  }
}

/** What leaves is a sound packet that fits its link. */
function checkSent(rig: Rig, i: number): number {
  const sent = rig.taken(i);
  for (const bytes of sent) {
    const o = octetsOf(bytes);
    if (bytes[0]! >> 4 === 4) {
      assert.equal(ipv4.check(o, 0, bytes.length), null);
      assert.equal(ipv4.totalLength(o.dv, 0), bytes.length);
      assert.ok(ipv4.ttl(o.dv, 0) > 0);
    } else {
      assert.equal(ipv6.check(o.dv, 0, bytes.length), null);
      assert.equal(ipv6.HEADER_LENGTH + ipv6.payloadLength(o.dv, 0), bytes.length);
      assert.ok(ipv6.hopLimit(o.dv, 0) > 0);
    }
    if (!rig.devices[i]!.offload) assert.ok(bytes.length <= rig.devices[i]!.mtu, `${bytes.length} bytes on ${i}`);
  }
  return sent.length;
}

for (let seed = 1; seed <= ROUTERS; seed++) {
  test(`fuzz: ${FRAMES} packets through a router from seed ${seed}`, () => {
    const r = new Random(seed);
    const rig = new Rig({
      forward: { redirects: seed % 2 === 0, reversePath: (['off', 'loose', 'strict'] as const)[seed % 3]! },
      mtu: [1500, 1280, 700],
      offload: [true, seed % 2 === 0, false],
    });
    const raw = rig.stack.rawSocket({ family: 4, protocol: 17, receiveBytes: 4096 });
    const errors = rig.stack.udpSocket();
    errors.bind({ port: 5000 });
    errors.receiveErrors = true;
    const { memory } = rig.stack;
    for (let n = 0; n < FRAMES; n++) {
      const bytes = packetOf(r);
      if (r.chance(0.5)) spoil(r, bytes);
      const frame = frameFrom(memory, bytes.subarray(0, r.chance(0.95) ? bytes.length : r.below(bytes.length)));
      assert.notEqual(frame, 0);
      if (r.chance(0.2)) {
        const transport = frame + 128 + (r.chance(0.8) ? (bytes[0]! >> 4 === 6 ? 40 : 20) : r.below(80));
        setFrameOffload(memory, frame, r.below(3), r.chance(0.7) ? r.below(1500) : 0, transport);
      }
      rig.devices[r.below(3)]!.arrived.push(frame);
      rig.now += r.below(20);
      rig.stack.poll(rig.now);
      while (rig.stack.nextChanged() !== null);
      const sent = checkSent(rig, 0) + checkSent(rig, 1) + checkSent(rig, 2);
      assert.ok(sent <= SENT_MAX_PER_FRAME + 1, `${sent} packets for one`);
    }
    assert.ok(rig.stack.stats.ipForwarded > FRAMES / 100, `only ${rig.stack.stats.ipForwarded} were forwarded`);
    // It still forwards.
    rig.now += 120_000;
    rig.put(0, udpPacket());
    assert.deepEqual(rig.taken(1), [udpPacket({ ttl: 63 })]);
    raw.close();
    errors.close();
    rig.stack.close();
    assert.equal(memory.usedBytes, 0);
  });
}
