import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { hex, patched, toHex } from '../../test/hex.ts';
import { FRAGMENT, PING, PING_OPTIONS, PONG, TCP_RST6, UDP6_DATA } from '../../test/packets.ts';
import { IpAddress } from './address.ts';
import * as ipv4 from './ipv4.ts';
import * as ipv6 from './ipv6.ts';
import { octetsOf } from './octets.ts';

const SEEDED = { seed: 20260102, numRuns: 1000 };
const u8 = fc.integer({ min: 0, max: 0xff });
const u16 = fc.integer({ min: 0, max: 0xffff });
const word = fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 });

/** With the header checksum computed anew. */
function summed(bytes: Uint8Array): Uint8Array {
  const copy = bytes.slice();
  const o = octetsOf(copy);
  ipv4.patchLength(o, 0, ipv4.totalLength(o.dv, 0), ipv4.identification(o.dv, 0));
  return copy;
}

describe('ipv4: check', () => {
  const rows: { name: string; bytes: Uint8Array; want: ipv4.Drop | null }[] = [
    { name: 'no options', bytes: PING, want: null },
    { name: 'with options', bytes: PING_OPTIONS, want: null },
    { name: 'a fragment', bytes: FRAGMENT, want: null },
    { name: 'padded by the link', bytes: hex(toHex(PONG) + '00'.repeat(18)), want: null },
    { name: 'header only', bytes: summed(patched(PONG, 2, '0014')).slice(0, 20), want: null },
    { name: 'empty', bytes: new Uint8Array(0), want: 'ip-truncated' },
    { name: '19 bytes', bytes: PONG.slice(0, 19), want: 'ip-truncated' },
    { name: 'version 6', bytes: patched(PONG, 0, '65'), want: 'ip-bad-version' },
    { name: 'version 0', bytes: patched(PONG, 0, '05'), want: 'ip-bad-version' },
    { name: 'header of 16 bytes', bytes: patched(PONG, 0, '44'), want: 'ip-bad-header-length' },
    { name: 'header of 0 bytes', bytes: patched(PONG, 0, '40'), want: 'ip-bad-header-length' },
    { name: 'header beyond the end', bytes: patched(PONG, 0, '4f'), want: 'ip-bad-header-length' },
    { name: 'total length under the header', bytes: summed(patched(PONG, 2, '0013')), want: 'ip-bad-length' },
    { name: 'total length 0', bytes: summed(patched(PONG, 2, '0000')), want: 'ip-bad-length' },
    { name: 'total length beyond the end', bytes: summed(patched(PONG, 2, '001d')), want: 'ip-bad-length' },
    { name: 'cut', bytes: PING.slice(0, -1), want: 'ip-bad-length' },
    { name: 'a bit of the address', bytes: patched(PONG, 15, '03'), want: 'ip-bad-checksum' },
    { name: 'checksum 0', bytes: patched(PONG, 10, '0000'), want: 'ip-bad-checksum' },
    { name: 'a bit of the options', bytes: patched(PING_OPTIONS, 23, '01'), want: 'ip-bad-checksum' },
  ];
  for (const { name, bytes, want } of rows) {
    it(name, () => assert.equal(ipv4.check(octetsOf(bytes), 0, bytes.length), want));
  }
  it('every bit of the header counts', () => {
    for (let bit = 0; bit < 160; bit++) {
      const bytes = PING.slice();
      bytes[bit >> 3] = bytes[bit >> 3]! ^ (0x80 >> (bit & 7));
      assert.notEqual(ipv4.check(octetsOf(bytes), 0, bytes.length), null, `bit ${bit}`);
    }
  });
  it('looks at the bytes from p to end only', () => {
    const bytes = hex(`ffffff${toHex(PONG)}ffffff`);
    assert.equal(ipv4.check(octetsOf(bytes), 3, 3 + PONG.length), null);
    assert.equal(ipv4.check(octetsOf(bytes), 3, 2 + PONG.length), 'ip-bad-length');
  });
});

describe('ipv4: fields', () => {
  it('accessors', () => {
    const { dv } = octetsOf(PING_OPTIONS);
    assert.equal(ipv4.version(dv, 0), 4);
    assert.equal(ipv4.headerLength(dv, 0), 24);
    assert.equal(ipv4.dsEcn(dv, 0), 0);
    assert.equal(ipv4.totalLength(dv, 0), 80);
    assert.equal(ipv4.identification(dv, 0), 0x1c46);
    assert.equal(ipv4.fragmentOffset(dv, 0), 0);
    assert.equal(ipv4.moreFragments(dv, 0), false);
    assert.equal(ipv4.isFragment(dv, 0), false);
    assert.equal(ipv4.ttl(dv, 0), 64);
    assert.equal(ipv4.protocol(dv, 0), 1);
    assert.equal(ipv4.source(dv, 0), 0x0a000001);
    assert.equal(ipv4.destination(dv, 0), 0x0a000002);
  });
  const fragments = [
    { field: '0000', offset: 0, more: false, is: false },
    { field: '4000', offset: 0, more: false, is: false },
    { field: '2000', offset: 0, more: true, is: true },
    { field: '00b9', offset: 1480, more: false, is: true },
    { field: '20b9', offset: 1480, more: true, is: true },
    { field: '3fff', offset: 65528, more: true, is: true },
  ];
  for (const { field, offset, more, is } of fragments) {
    it(`fragment field ${field}`, () => {
      const { dv } = octetsOf(patched(PING, 6, field));
      assert.equal(ipv4.fragmentOffset(dv, 0), offset);
      assert.equal(ipv4.moreFragments(dv, 0), more);
      assert.equal(ipv4.isFragment(dv, 0), is);
    });
  }
  it('emit: bytes of a known packet', () => {
    const o = octetsOf(new Uint8Array(22));
    ipv4.emit(o.dv, 1, 28, 0, 0x77, ipv4.DONT_FRAGMENT, 64, 1, 0x0a000002, 0x0a000001);
    assert.equal(toHex(o.u8), `00${toHex(PONG.slice(0, 20))}00`);
  });
  it('emit: round trip of any fields, checksum good', () => {
    fc.assert(
      fc.property(u16, u8, u16, u16, u8, u8, word, word, (length, ds, id, flags, hops, proto, src, dst) => {
        const total = Math.max(20, length);
        const o = octetsOf(new Uint8Array(total));
        ipv4.emit(o.dv, 0, total, ds, id, flags, hops, proto, src, dst);
        assert.equal(ipv4.check(o, 0, total), null);
        assert.deepEqual(
          [
            ipv4.totalLength,
            ipv4.dsEcn,
            ipv4.identification,
            ipv4.ttl,
            ipv4.protocol,
            ipv4.source,
            ipv4.destination,
          ].map((read) => read(o.dv, 0)),
          [total, ds, id, hops, proto, src, dst],
        );
        assert.equal(ipv4.fragmentOffset(o.dv, 0), (flags & 0x1fff) * 8);
      }),
      SEEDED,
    );
  });
  it('patchLength: new length and identification, good with options too', () => {
    for (const packet of [PING, PING_OPTIONS]) {
      const o = octetsOf(packet.slice());
      ipv4.patchLength(o, 0, 40, 0xfffe);
      assert.equal(ipv4.check(o, 0, 80 - 4), null);
      assert.equal(ipv4.totalLength(o.dv, 0), 40);
      assert.equal(ipv4.identification(o.dv, 0), 0xfffe);
    }
  });
  const lines: { bytes: Uint8Array; want: string }[] = [
    { bytes: PING, want: 'IP 10.0.0.1 > 10.0.0.2: ICMP, length 56' },
    { bytes: PING_OPTIONS, want: 'IP 10.0.0.1 > 10.0.0.2: ICMP, length 56' },
    { bytes: FRAGMENT, want: 'IP 10.0.0.1 > 10.0.0.2: UDP, frag id 48879 offset 1480, length 10' },
    { bytes: patched(FRAGMENT, 6, '2000'), want: 'IP 10.0.0.1 > 10.0.0.2: UDP, frag id 48879 offset 0+, length 10' },
    { bytes: patched(PONG, 9, '84'), want: 'IP 10.0.0.2 > 10.0.0.1: SCTP, length 8' },
  ];
  for (const { bytes, want } of lines)
    it(`format: ${want}`, () => assert.equal(ipv4.format(octetsOf(bytes).dv, 0), want));
});

describe('ipv6: check', () => {
  const rows: { name: string; bytes: Uint8Array; want: ipv6.Drop | null }[] = [
    { name: 'a datagram', bytes: UDP6_DATA, want: null },
    { name: 'padded by the link', bytes: hex(`${toHex(UDP6_DATA)}0000`), want: null },
    { name: 'no payload', bytes: patched(UDP6_DATA, 4, '0000').slice(0, 40), want: null },
    { name: 'empty', bytes: new Uint8Array(0), want: 'ip-truncated' },
    { name: '39 bytes', bytes: UDP6_DATA.slice(0, 39), want: 'ip-truncated' },
    { name: 'version 4', bytes: patched(UDP6_DATA, 0, '45'), want: 'ip-bad-version' },
    { name: 'version 7', bytes: patched(UDP6_DATA, 0, '70'), want: 'ip-bad-version' },
    { name: 'payload beyond the end', bytes: patched(UDP6_DATA, 4, '0015'), want: 'ip-bad-length' },
    { name: 'cut', bytes: UDP6_DATA.slice(0, -1), want: 'ip-bad-length' },
  ];
  for (const { name, bytes, want } of rows) {
    it(name, () => assert.equal(ipv6.check(octetsOf(bytes).dv, 0, bytes.length), want));
  }
});

describe('ipv6: fields', () => {
  const FROM = IpAddress.parse('fd00::1');
  const TO = IpAddress.parse('fd00::2');

  it('accessors', () => {
    const { dv } = octetsOf(UDP6_DATA);
    assert.equal(ipv6.version(dv, 0), 6);
    assert.equal(ipv6.trafficClass(dv, 0), 0xb8);
    assert.equal(ipv6.flowLabel(dv, 0), 0xabcde);
    assert.equal(ipv6.payloadLength(dv, 0), 20);
    assert.equal(ipv6.nextHeader(dv, 0), 17);
    assert.equal(ipv6.hopLimit(dv, 0), 64);
    assert.deepEqual(
      [0, 1, 2, 3].map((i) => ipv6.sourceWord(dv, 0, i)),
      [FROM.a, FROM.b, FROM.c, FROM.d],
    );
    assert.deepEqual(
      [0, 1, 2, 3].map((i) => ipv6.destinationWord(dv, 0, i)),
      [TO.a, TO.b, TO.c, TO.d],
    );
    assert.equal(ipv6.formatSource(dv, 0), 'fd00::1');
    assert.equal(ipv6.formatDestination(dv, 0), 'fd00::2');
  });
  it('emit: bytes of a known packet', () => {
    const o = octetsOf(new Uint8Array(42));
    ipv6.emit(o.dv, 1, 20, 0, 64, 6, FROM, TO);
    assert.equal(toHex(o.u8), `00${toHex(TCP_RST6.slice(0, 40))}00`);
  });
  it('emit: round trip of any fields', () => {
    fc.assert(
      fc.property(u16, u8, u8, u8, word, word, word, word, (payload, ds, hops, next, a, b, c, d) => {
        const o = octetsOf(new Uint8Array(40 + payload));
        const src = new IpAddress(a, b, c, d);
        const dst = new IpAddress(d, c, b, a);
        ipv6.emit(o.dv, 0, payload, ds, hops, next, src, dst);
        assert.equal(ipv6.check(o.dv, 0, 40 + payload), null);
        assert.deepEqual(
          [ipv6.payloadLength, ipv6.trafficClass, ipv6.flowLabel, ipv6.hopLimit, ipv6.nextHeader].map((f) =>
            f(o.dv, 0),
          ),
          [payload, ds, 0, hops, next],
        );
        assert.equal(ipv6.formatSource(o.dv, 0), String(new IpAddress(a, b, c, d)));
        assert.equal(ipv6.formatDestination(o.dv, 0), String(dst));
      }),
      SEEDED,
    );
  });
  it('patchLength', () => {
    const { dv } = octetsOf(UDP6_DATA.slice());
    ipv6.patchLength(dv, 0, 9);
    assert.equal(ipv6.payloadLength(dv, 0), 9);
    assert.equal(ipv6.nextHeader(dv, 0), 17);
  });
  it('format', () => {
    assert.equal(ipv6.format(octetsOf(UDP6_DATA).dv, 0), 'IP6 fd00::1 > fd00::2: UDP, length 20');
  });
});

describe('markCe', () => {
  it('ipv4: marks what is ECN-capable, all else unchanged, and the checksum still holds', () => {
    fc.assert(
      fc.property(u8, u16, u16, word, word, (ds, id, length, source, destination) => {
        const o = octetsOf(new Uint8Array(20));
        ipv4.emit(o.dv, 0, length, ds, id, 0, 64, 6, source, destination);
        const before = o.u8.slice();
        const isCapable = (ds & 3) !== 0;
        assert.equal(ipv4.markCe(o.dv, 0), isCapable);
        assert.equal(ipv4.dsEcn(o.dv, 0), isCapable ? ds | 3 : ds);
        assert.equal(o.sum(0, 20, 0), 0xffff);
        const rest = (u8: Uint8Array): string => toHex(u8.filter((_, at) => at !== 1 && at !== 10 && at !== 11));
        assert.equal(rest(o.u8), rest(before));
      }),
      SEEDED,
    );
  });

  it('ipv6: marks what is ECN-capable, all else unchanged', () => {
    const [a, b] = [IpAddress.parse('fd00::1'), IpAddress.parse('fd00::2')];
    for (let ds = 0; ds < 256; ds++) {
      const dv = new DataView(new ArrayBuffer(40));
      ipv6.emit(dv, 0, 8, ds, 64, 6, a, b);
      const want = new DataView(new ArrayBuffer(40));
      const isCapable = (ds & 3) !== 0;
      ipv6.emit(want, 0, 8, isCapable ? ds | 3 : ds, 64, 6, a, b);
      assert.equal(ipv6.markCe(dv, 0), isCapable);
      assert.deepEqual(dv, want);
    }
  });
});
