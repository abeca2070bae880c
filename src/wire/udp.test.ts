import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { hex, patched, toHex } from '../../test/hex.ts';
import { UDP_DATA, UDP_NO_CHECKSUM, UDP_ZERO_SUM, UDP6_DATA } from '../../test/packets.ts';
import { IpAddress } from './address.ts';
import { PROTOCOL_UDP, pseudoHeaderSum } from './ip.ts';
import { octetsOf } from './octets.ts';
import * as udp from './udp.ts';

const PSEUDO = pseudoHeaderSum(IpAddress.parse('10.0.0.1'), IpAddress.parse('10.0.0.2'), PROTOCOL_UDP);
const PSEUDO6 = pseudoHeaderSum(IpAddress.parse('fd00::1'), IpAddress.parse('fd00::2'), PROTOCOL_UDP);
const VOUCHED = -1;

const plain = UDP_DATA.slice(20);
const unsummed = UDP_NO_CHECKSUM.slice(20);
const zeroSum = UDP_ZERO_SUM.slice(20);
const plain6 = UDP6_DATA.slice(40);

interface Row {
  name: string;
  bytes: Uint8Array;
  pseudo?: number;
  ipv6?: boolean;
  want: udp.Drop | null;
}

describe('udp: check', () => {
  const rows: Row[] = [
    { name: 'IPv4', bytes: plain, want: null },
    { name: 'IPv6', bytes: plain6, pseudo: PSEUDO6, ipv6: true, want: null },
    { name: 'no checksum over IPv4', bytes: unsummed, want: null },
    { name: 'no checksum over IPv6', bytes: unsummed, pseudo: PSEUDO6, ipv6: true, want: 'udp-no-checksum' },
    { name: 'no checksum over IPv6, vouched for', bytes: unsummed, pseudo: VOUCHED, ipv6: true, want: null },
    { name: 'a sum of zero, sent as ones', bytes: zeroSum, want: null },
    { name: 'bytes behind the datagram', bytes: hex(`${toHex(plain)}ffff`), want: null },
    { name: 'empty', bytes: plain.slice(0, 0), want: 'udp-truncated' },
    { name: '7 bytes', bytes: plain.slice(0, 7), want: 'udp-truncated' },
    { name: 'length 7', bytes: patched(plain, 4, '0007'), want: 'udp-bad-length' },
    { name: 'length 0', bytes: patched(plain, 4, '0000'), want: 'udp-bad-length' },
    { name: 'length beyond the end', bytes: patched(plain, 4, '0015'), want: 'udp-bad-length' },
    { name: 'cut', bytes: plain.slice(0, -1), want: 'udp-bad-length' },
    { name: 'cut, vouched for', bytes: plain.slice(0, -1), pseudo: VOUCHED, want: 'udp-bad-length' },
    { name: 'a bit of the data', bytes: patched(plain, 8, '69'), want: 'udp-bad-checksum' },
    { name: 'a bit of a port', bytes: patched(plain, 3, '36'), want: 'udp-bad-checksum' },
    { name: 'other addresses', bytes: plain, pseudo: PSEUDO + 1, want: 'udp-bad-checksum' },
    { name: 'a bit of the data, vouched for', bytes: patched(plain, 8, '69'), pseudo: VOUCHED, want: null },
  ];
  for (const { name, bytes, pseudo = PSEUDO, ipv6 = false, want } of rows) {
    it(name, () => assert.equal(udp.check(octetsOf(bytes), 0, bytes.length, pseudo, ipv6), want));
  }
});

describe('udp: fields', () => {
  it('accessors', () => {
    const { dv } = octetsOf(UDP_DATA);
    assert.deepEqual(
      [udp.sourcePort, udp.destinationPort, udp.length, udp.checksum].map((read) => read(dv, 20)),
      [5000, 53, 20, 0x97ba],
    );
  });
  const emitted = [
    { name: 'IPv4', bytes: plain, pseudo: PSEUDO },
    { name: 'IPv6', bytes: plain6, pseudo: PSEUDO6 },
    { name: 'a sum of zero is sent as ones', bytes: zeroSum, pseudo: PSEUDO },
  ];
  for (const { name, bytes, pseudo } of emitted) {
    it(`emit: ${name}`, () => {
      const o = octetsOf(patched(bytes, 0, 'ffffffffffffffff'));
      udp.emit(o, 0, 5000, 53, bytes.length, pseudo);
      assert.equal(toHex(o.u8), toHex(bytes));
    });
  }
  it('emit: round trip, odd lengths too', () => {
    const port = fc.integer({ min: 0, max: 65535 });
    fc.assert(
      fc.property(port, port, fc.uint8Array({ maxLength: 99 }), (src, dst, data) => {
        const total = 8 + data.length;
        const o = octetsOf(new Uint8Array(total));
        o.u8.set(data, 8);
        udp.emit(o, 0, src, dst, total, PSEUDO6);
        assert.equal(udp.check(o, 0, total, PSEUDO6, true), null);
        assert.deepEqual(
          [udp.sourcePort, udp.destinationPort, udp.length].map((f) => f(o.dv, 0)),
          [src, dst, total],
        );
      }),
      { seed: 20260104, numRuns: 1000 },
    );
  });
  it('emitPartial', () => {
    const o = octetsOf(new Uint8Array(8));
    udp.emitPartial(o.dv, 0, 0xfffe, 0xfffd, 0xfffc, 0xfffb);
    assert.equal(toHex(o.u8), 'fffefffdfffcfffb');
  });
  it('format', () => assert.equal(udp.format(octetsOf(plain).dv, 0), 'UDP, length 12'));
});
