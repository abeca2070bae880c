import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  allocFrame,
  CHECKSUM_FULL,
  CHECKSUM_PARTIAL,
  CHECKSUM_VALID,
  frameChecksum,
  frameGsoSize,
  frameTransport,
  HEADROOM,
  Memory,
  setFrameOffload,
} from '../memory/index.ts';
import { emitVnet, readVnet, VNET_LENGTH } from './vnet.ts';

const LENGTH = 3000;

/** A frame with the first byte of an IP header, a protocol, TCP flags, and nothing else. */
function packet(version: 4 | 6, before: number, flags = 0x10, protocol = 6) {
  const memory = new Memory({ bytes: 1 << 20 });
  const frame = allocFrame(memory, LENGTH);
  const ip = frame + HEADROOM;
  const transport = ip + (version === 4 ? 20 : 40);
  memory.u8[ip] = version === 4 ? 0x45 : 0x60;
  memory.u8[ip + (version === 4 ? 9 : 6)] = protocol;
  memory.u8[transport + 12] = 0x80; // 32 bytes of TCP header
  memory.u8[transport + 13] = flags;
  const start = ip - before;
  return { memory, frame, ip, start, header: start - VNET_LENGTH, transport, end: ip + LENGTH };
}

describe('emit, then read', () => {
  const rows: {
    name: string;
    version: 4 | 6;
    before: number;
    checksum: number;
    gsoSize: number;
    bytes: number[];
    flags?: number;
    protocol?: number;
  }[] = [
    {
      name: 'a complete packet',
      version: 4,
      before: 0,
      checksum: CHECKSUM_FULL,
      gsoSize: 0,
      bytes: [0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    },
    {
      name: 'a partial TCP segment',
      version: 4,
      before: 0,
      checksum: CHECKSUM_PARTIAL,
      gsoSize: 0,
      bytes: [1, 0, 0, 0, 0, 0, 20, 0, 16, 0],
    },
    {
      name: 'a partial UDP datagram',
      version: 6,
      before: 14,
      checksum: CHECKSUM_PARTIAL,
      gsoSize: 0,
      bytes: [1, 0, 0, 0, 0, 0, 54, 0, 6, 0],
      protocol: 17,
    },
    {
      name: 'a partial ICMPv6 message',
      version: 6,
      before: 0,
      checksum: CHECKSUM_PARTIAL,
      gsoSize: 0,
      bytes: [1, 0, 0, 0, 0, 0, 40, 0, 2, 0],
      protocol: 58,
    },
    {
      name: 'an IPv4 super-segment',
      version: 4,
      before: 0,
      checksum: CHECKSUM_PARTIAL,
      gsoSize: 1448,
      bytes: [1, 1, 52, 0, 0xa8, 5, 20, 0, 16, 0],
    },
    {
      name: 'an IPv6 super-segment over Ethernet',
      version: 6,
      before: 14,
      checksum: CHECKSUM_PARTIAL,
      gsoSize: 1428,
      bytes: [1, 4, 86, 0, 0x94, 5, 54, 0, 16, 0],
    },
    {
      name: 'a super-segment with CWR',
      version: 4,
      before: 0,
      checksum: CHECKSUM_PARTIAL,
      gsoSize: 1448,
      bytes: [1, 0x81, 52, 0, 0xa8, 5, 20, 0, 16, 0],
      flags: 0x90,
    },
  ];
  for (const { name, version, before, checksum, gsoSize, bytes, flags, protocol } of rows) {
    test(name, () => {
      const { memory, frame, ip, start, header, transport, end } = packet(version, before, flags, protocol);
      const needed = checksum === CHECKSUM_FULL ? 0 : transport;
      memory.u8.fill(0xee, header, start);
      setFrameOffload(memory, frame, checksum, gsoSize, needed);
      emitVnet(memory, frame, header, start, ip);
      assert.deepEqual([...memory.u8.subarray(header, start)], bytes);
      setFrameOffload(memory, frame, 7, 7, 7);
      assert.ok(readVnet(memory, frame, header, start, ip, end));
      assert.deepEqual(
        [frameChecksum(memory, frame), frameGsoSize(memory, frame), frameTransport(memory, frame)],
        [checksum, gsoSize, needed],
      );
    });
  }
});

describe('read', () => {
  const rows: { name: string; bytes: number[]; expect: false | [number, number, number] }[] = [
    { name: 'verified by the sender', bytes: [2, 0, 0, 0, 0, 0, 0, 0, 0, 0], expect: [CHECKSUM_VALID, 0, 0] },
    { name: 'a verified super-segment', bytes: [2, 1, 52, 0, 0xa8, 5, 0, 0, 0, 0], expect: [CHECKSUM_VALID, 1448, 20] },
    { name: 'segments of no size', bytes: [1, 1, 52, 0, 0, 0, 20, 0, 16, 0], expect: false },
    { name: 'the other version', bytes: [1, 4, 52, 0, 0xa8, 5, 20, 0, 16, 0], expect: false },
    { name: 'UDP fragmentation, never asked for', bytes: [1, 3, 52, 0, 0xa8, 5, 20, 0, 6, 0], expect: false },
    { name: 'UDP segmentation, never asked for', bytes: [1, 5, 52, 0, 0xa8, 5, 20, 0, 6, 0], expect: false },
    { name: 'a checksum behind the end', bytes: [1, 0, 0, 0, 0, 0, 0xa7, 0x0b, 16, 0], expect: false },
    { name: 'a checksum far behind the end', bytes: [1, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff], expect: false },
    { name: 'a checksum in the IP header', bytes: [1, 0, 0, 0, 0, 0, 10, 0, 0, 0], expect: false },
  ];
  for (const { name, bytes, expect } of rows) {
    test(name, () => {
      const { memory, frame, ip, start, header, end } = packet(4, 0);
      memory.u8.set(bytes, header);
      assert.equal(readVnet(memory, frame, header, start, ip, end), expect !== false);
      if (expect === false) return;
      const transport = frameTransport(memory, frame);
      assert.deepEqual(
        [frameChecksum(memory, frame), frameGsoSize(memory, frame), transport === 0 ? 0 : transport - ip],
        expect,
      );
    });
  }
});
