import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { hex } from '../../test/hex.ts';
import { randomOf } from '../../test/random.ts';
import { Memory } from '../memory/memory.ts';
import { IpAddress } from './address.ts';
import { protocolName, pseudoHeaderSum, sumAddress } from './ip.ts';
import { fold, halves, octetsOf, swap } from './octets.ts';

describe('octets: arithmetic', () => {
  const folds: [number, number][] = [
    [0, 0],
    [0xffff, 0xffff],
    [0x10000, 1],
    [0x1fffe, 0xffff],
    [0x1ffff, 1],
    [0x7fffffff, 0x7fff + 0xffff - 0xffff],
    [0xffffffff, 0xffff],
  ];
  for (const [from, want] of folds) {
    it(`fold(0x${from.toString(16)}) is 0x${want.toString(16)}`, () => assert.equal(fold(from), want));
  }
  it('swap exchanges bytes and is its own inverse', () => {
    assert.equal(swap(0x1234), 0x3412);
    assert.equal(swap(0xff00), 0x00ff);
    for (let s = 0; s < 0x10000; s += 77) assert.equal(swap(swap(s)), s);
  });
  it('halves adds the two words of an int32', () => {
    assert.equal(halves(0x00010002), 3);
    assert.equal(halves(-1), 0x1fffe);
    assert.equal(halves(0x80000000 | 0), 0x8000);
  });
});

describe('octets: sum', () => {
  it('the example of RFC 1071 §3', () => {
    const o = octetsOf(hex('0001 f203 f4f5 f6f7'));
    assert.equal(swap(o.sum(0, 8, 0)), 0xddf2);
  });
  it('octetsOf honours the offset of a view', () => {
    const whole = randomOf(1).bytes(100);
    const o = octetsOf(whole.subarray(7, 60));
    assert.equal(o.sum(3, 20, 5), octetsOf(whole).sum(10, 20, 5));
    assert.equal(o.dv.getUint8(0), whole[7]);
  });
  it('a Memory is Octets, and sums the same', () => {
    const memory = new Memory({ bytes: 1 << 18 });
    const bytes = randomOf(2).bytes(65535);
    memory.u8.set(bytes, 4096);
    const o = octetsOf(bytes);
    for (const [p, length] of [
      [0, 0],
      [0, 1],
      [1, 33],
      [5, 1461],
      [0, 65535],
    ] as const) {
      assert.equal(o.sum(p, length, 0x1234), memory.sum(4096 + p, length, 0x1234), `${length} bytes at ${p}`);
    }
  });
  it('65535 bytes of 0xff', () => assert.equal(octetsOf(new Uint8Array(65535).fill(0xff)).sum(0, 65535, 0), 0xff));
});

describe('ip: pseudo-header', () => {
  const rows = [
    { name: 'IPv4', from: '10.0.0.1', to: '10.0.0.2', protocol: 6, want: 0x0a00 + 1 + 0x0a00 + 2 + 6 },
    { name: 'IPv6', from: 'fd00::1', to: 'fd00::2', protocol: 58, want: fold(0xfd00 * 2 + 3 + 58) },
    { name: 'carries', from: '255.255.255.255', to: '255.255.255.255', protocol: 17, want: 17 },
  ];
  for (const { name, from, to, protocol, want } of rows) {
    it(name, () => assert.equal(pseudoHeaderSum(IpAddress.parse(from), IpAddress.parse(to), protocol), want));
  }
  it('an IPv4 address counts its 32 bits only', () => {
    assert.equal(sumAddress(IpAddress.parse('1.2.3.4')), 0x0102 + 0x0304);
    assert.equal(sumAddress(IpAddress.parse('::1.2.3.4')), 0x0102 + 0x0304);
    assert.equal(sumAddress(IpAddress.parse('::fffe:102:304')), fold(0xfffe + 0x0102 + 0x0304));
  });
  it('names', () => {
    assert.deepEqual([1, 6, 17, 58, 132, 253].map(protocolName), [
      'ICMP',
      'TCP',
      'UDP',
      'ICMP6',
      'SCTP',
      'ip-proto-253',
    ]);
  });
});
