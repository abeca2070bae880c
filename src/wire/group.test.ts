import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { patched, toHex } from '../../test/hex.ts';
import * as packets from '../../test/packets-control.ts';
import { IpAddress } from './address.ts';
import * as groupRecord from './group-record.ts';
import * as igmp from './igmp.ts';
import { PROTOCOL_ICMPV6, PROTOCOL_IGMP, pseudoHeaderSum } from './ip.ts';
import * as ipv4Options from './ipv4-options.ts';
import * as mld from './mld.ts';
import { octetsOf } from './octets.ts';

const ip = (text: string): IpAddress => IpAddress.parse(text);

describe('group-record: codes of times', () => {
  const rows: [code: number, bits: 8 | 16, value: number][] = [
    [0, 8, 0],
    [127, 8, 127],
    [0x80, 8, 128], // RFC 3376 §4.1.1: (0 | 16) << 3
    [0x8a, 8, 208],
    [0xff, 8, 31744],
    [0x7fff, 16, 32767],
    [0x8000, 16, 32768], // RFC 3810 §5.1.3: (0 | 4096) << 3
    [0xffff, 16, 8387584],
  ];
  for (const [code, bits, value] of rows) {
    it(`${bits} bits, code ${code.toString(16)}: ${value}`, () => {
      assert.equal(groupRecord.decodeTime(code, bits), value);
      assert.equal(groupRecord.encodeTime(value, bits), code);
    });
  }
  it('a value between two codes is rounded down, one above the last is the last', () => {
    for (const bits of [8, 16] as const) {
      fc.assert(
        fc.property(fc.integer({ min: 0, max: 10_000_000 }), (value) => {
          const code = groupRecord.encodeTime(value, bits);
          assert.ok(code >= 0 && code < 1 << bits);
          assert.ok(groupRecord.decodeTime(code, bits) <= value);
          if (code + 1 < 1 << bits) assert.ok(groupRecord.decodeTime(code + 1, bits) > value);
        }),
        { seed: 20261121, numRuns: 2000 },
      );
    }
  });
});

describe('igmp', () => {
  const body = (packet: Uint8Array): Uint8Array => packet.slice(24);
  const sources = [ip('10.0.0.7'), ip('10.0.0.8')];
  const v3 = { suppress: true, robustness: 2, intervalSeconds: 125, sources };
  const old = { suppress: false, robustness: 0, intervalSeconds: 0, sources: [] };
  const queries: [string, Uint8Array, igmp.Query][] = [
    ['v1', packets.IGMP_QUERY_V1, { version: 1, group: ip('0.0.0.0'), maxResponseMs: 10_000, ...old }],
    ['v2', packets.IGMP_QUERY_V2, { version: 2, group: ip('224.1.1.1'), maxResponseMs: 10_000, ...old }],
    ['v3', packets.IGMP_QUERY_V3, { version: 3, group: ip('232.1.1.1'), maxResponseMs: 20_800, ...v3 }],
  ];
  for (const [name, packet, want] of queries) {
    it(`query ${name}: read and written`, () => {
      const bytes = body(packet);
      const o = octetsOf(bytes);
      assert.equal(igmp.check(o, 0, bytes.length), null);
      assert.deepEqual(igmp.parseQuery(o.dv, 0, bytes.length), want);
      const out = octetsOf(new Uint8Array(bytes.length).fill(0xee));
      if (want.version === 3) assert.equal(igmp.emitQuery(out, 0, want), bytes.length);
      else igmp.emit(out, 0, igmp.QUERY, want.version === 1 ? 0 : want.maxResponseMs / 100, want.group);
      assert.equal(toHex(out.u8), toHex(bytes));
    });
  }
  const reports: [number, Uint8Array][] = [
    [igmp.REPORT_V1, packets.IGMP_REPORT_V1],
    [igmp.REPORT_V2, packets.IGMP_REPORT_V2],
    [igmp.LEAVE, packets.IGMP_LEAVE],
  ];
  for (const [type, packet] of reports) {
    it(`type ${type.toString(16)}: read and written`, () => {
      const bytes = body(packet);
      const o = octetsOf(bytes);
      assert.equal(igmp.check(o, 0, bytes.length), null);
      assert.equal(igmp.type(o.dv, 0), type);
      assert.ok(igmp.group(o.dv, 0).equals(ip('224.1.1.1')));
      const out = octetsOf(new Uint8Array(8));
      igmp.emit(out, 0, type, 0, ip('224.1.1.1'));
      assert.equal(toHex(out.u8), toHex(bytes));
    });
  }
  it('report of version 3: read and written', () => {
    const bytes = body(packets.IGMP_REPORT_V3);
    const o = octetsOf(bytes);
    assert.equal(igmp.check(o, 0, bytes.length), null);
    const records = igmp.parseRecords(o.dv, 0);
    assert.deepEqual(records, [
      { type: groupRecord.CHANGE_TO_EXCLUDE, group: ip('224.1.1.1'), sources: [] },
      { type: groupRecord.MODE_IS_INCLUDE, group: ip('232.1.1.1'), sources: [ip('10.0.0.7')] },
    ]);
    assert.equal(igmp.reportLength(records), bytes.length);
    const out = octetsOf(new Uint8Array(bytes.length).fill(0xee));
    assert.equal(igmp.emitReport(out, 0, records), bytes.length);
    assert.equal(toHex(out.u8), toHex(bytes));
  });
  it('the packet that carries it: router alert and all', () => {
    const out = octetsOf(new Uint8Array(32));
    igmp.emit(out, 24, igmp.REPORT_V2, 0, ip('224.1.1.1'));
    const [src, dst] = [ip('10.0.0.2'), ip('224.1.1.1')];
    ipv4Options.emitAlerted(out, 0, 32, 0, 1, 0, 1, PROTOCOL_IGMP, src.d, dst.d);
    assert.equal(toHex(out.u8), toHex(packets.IGMP_REPORT_V2));
  });

  /** With its checksum mended. */
  const mended = (bytes: Uint8Array): Uint8Array => {
    const o = octetsOf(bytes.slice());
    o.dv.setUint16(2, 0);
    o.dv.setUint16(2, ~o.sum(0, bytes.length, 0) & 0xffff, true);
    return o.u8;
  };
  const report = body(packets.IGMP_REPORT_V3);
  const drops: [string, Uint8Array, igmp.Drop | null][] = [
    ['empty', new Uint8Array(0), 'igmp-truncated'],
    ['7 bytes', new Uint8Array(7), 'igmp-truncated'],
    ['a bit', patched(report, 20, 'ff'), 'igmp-bad-checksum'],
    ['a query of 9 bytes', mended(body(packets.IGMP_QUERY_V3).slice(0, 9)), 'igmp-bad-length'],
    ['a query with a source cut off', mended(body(packets.IGMP_QUERY_V3).slice(0, -1)), 'igmp-bad-length'],
    ['a report with more records than bytes', mended(patched(report, 7, '03')), 'igmp-bad-length'],
    ['a record with more sources than bytes', mended(patched(report, 18, 'ffff')), 'igmp-bad-length'],
    ['auxiliary data over the end', mended(patched(report, 17, '01')), 'igmp-bad-length'],
    ['an unknown type', mended(patched(report, 0, '77')), null],
  ];
  for (const [name, bytes, want] of drops) {
    it(`check: ${name}`, () => assert.equal(igmp.check(octetsOf(bytes), 0, bytes.length), want));
  }
});

describe('mld', () => {
  const body = (packet: Uint8Array): Uint8Array => packet.slice(48);
  const local = ip('fe80::1');
  const pseudo = (packet: Uint8Array): number => {
    const { dv } = octetsOf(packet);
    const address = (p: number): IpAddress =>
      new IpAddress(dv.getInt32(p), dv.getInt32(p + 4), dv.getInt32(p + 8), dv.getInt32(p + 12));
    return pseudoHeaderSum(address(8), address(24), PROTOCOL_ICMPV6);
  };
  const old = { suppress: false, robustness: 0, intervalSeconds: 0, sources: [] };
  const v2 = { suppress: true, robustness: 2, intervalSeconds: 125, sources: [ip('fd00::7')] };
  const queries: [string, Uint8Array, mld.Query][] = [
    ['v1', packets.MLD_QUERY_V1, { version: 1, group: ip('::'), maxResponseMs: 10_000, ...old }],
    ['v2', packets.MLD_QUERY_V2, { version: 2, group: ip('ff3e::1'), maxResponseMs: 35096, ...v2 }],
  ];
  for (const [name, packet, want] of queries) {
    it(`query ${name}: read and written`, () => {
      const bytes = body(packet);
      const { dv } = octetsOf(bytes);
      assert.equal(mld.check(dv, 0, bytes.length, 1, local), null);
      assert.deepEqual(mld.parseQuery(dv, 0, bytes.length), want);
      const out = octetsOf(new Uint8Array(bytes.length).fill(0xee));
      if (want.version === 2) assert.equal(mld.emitQuery(out, 0, want, pseudo(packet)), bytes.length);
      else mld.emit(out, 0, mld.QUERY, 10_000, want.group, pseudo(packet));
      assert.equal(toHex(out.u8), toHex(bytes));
    });
  }
  for (const [type, packet] of [
    [mld.REPORT_V1, packets.MLD_REPORT_V1],
    [mld.DONE, packets.MLD_DONE],
  ] as const) {
    it(`type ${type}: read and written`, () => {
      const bytes = body(packet);
      assert.equal(mld.check(octetsOf(bytes).dv, 0, bytes.length, 1, local), null);
      assert.ok(mld.group(octetsOf(bytes).dv, 0).equals(ip('ff02::fb')));
      const out = octetsOf(new Uint8Array(24));
      mld.emit(out, 0, type, 0, ip('ff02::fb'), pseudo(packet));
      assert.equal(toHex(out.u8), toHex(bytes));
    });
  }
  it('report of version 2: read and written', () => {
    const bytes = body(packets.MLD_REPORT_V2);
    const { dv } = octetsOf(bytes);
    assert.equal(mld.check(dv, 0, bytes.length, 1, ip('::')), null);
    const records = mld.parseRecords(dv, 0);
    assert.deepEqual(records, [
      { type: groupRecord.CHANGE_TO_EXCLUDE, group: ip('ff02::fb'), sources: [] },
      { type: groupRecord.MODE_IS_INCLUDE, group: ip('ff3e::1'), sources: [ip('fd00::7')] },
    ]);
    assert.equal(mld.reportLength(records), bytes.length);
    const out = octetsOf(new Uint8Array(bytes.length).fill(0xee));
    assert.equal(mld.emitReport(out, 0, records, pseudo(packets.MLD_REPORT_V2)), bytes.length);
    assert.equal(toHex(out.u8), toHex(bytes));
  });
  const query = body(packets.MLD_QUERY_V2);
  const report = body(packets.MLD_REPORT_V2);
  const drops: [string, Uint8Array, number, string, mld.Drop | null][] = [
    ['a hop limit of 2', query, 2, 'fe80::1', 'mld-bad-hop-limit'],
    ['a query from a global address', query, 1, 'fd00::1', 'mld-bad-source'],
    ['a query from nowhere', query, 1, '::', 'mld-bad-source'],
    ['a report from a global address', report, 1, 'fd00::1', 'mld-bad-source'],
    ['a report from nowhere', report, 1, '::', null],
    ['empty', new Uint8Array(0).fill(0), 1, 'fe80::1', 'mld-bad-length'],
    ['a report of version 1 cut', body(packets.MLD_REPORT_V1).slice(0, 23), 1, 'fe80::1', 'mld-bad-length'],
    ['a query of 25 bytes', query.slice(0, 25), 1, 'fe80::1', 'mld-bad-length'],
    ['a query with a source cut off', query.slice(0, -1), 1, 'fe80::1', 'mld-bad-length'],
    ['more records than bytes', patched(report, 7, '03'), 1, 'fe80::1', 'mld-bad-length'],
    ['more sources than bytes', patched(report, 10, 'ffff'), 1, 'fe80::1', 'mld-bad-length'],
  ];
  for (const [name, bytes, hopLimit, source, want] of drops) {
    it(`check: ${name}`, () =>
      assert.equal(mld.check(octetsOf(bytes).dv, 0, bytes.length, hopLimit, ip(source)), want));
  }
});
