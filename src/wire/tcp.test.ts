import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { hex, patched, toHex } from '../../test/hex.ts';
import { TCP_DATA, TCP_RST6, TCP_SACK, TCP_SYN, TCP_SYN_ACK } from '../../test/packets.ts';
import { IpAddress } from './address.ts';
import { PROTOCOL_TCP, pseudoHeaderSum } from './ip.ts';
import { fold, octetsOf, swap } from './octets.ts';
import * as tcp from './tcp.ts';

const PSEUDO = pseudoHeaderSum(IpAddress.parse('10.0.0.1'), IpAddress.parse('10.0.0.2'), PROTOCOL_TCP);
const PSEUDO6 = pseudoHeaderSum(IpAddress.parse('fd00::1'), IpAddress.parse('fd00::2'), PROTOCOL_TCP);
const VOUCHED = -1;
const SEEDED = { seed: 20260105, numRuns: 1000 };
const word = fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 });
const u16 = fc.integer({ min: 0, max: 0xffff });

const syn = TCP_SYN.slice(20);
const synAck = TCP_SYN_ACK.slice(20);
const data = TCP_DATA.slice(20);
const sack = TCP_SACK.slice(20);
const rst6 = TCP_RST6.slice(40);

/** A segment of the given options, padded with END to a multiple of 4. */
function segmentOf(options: string, flags = tcp.SYN): Uint8Array {
  const bytes = hex(options);
  const header = 20 + ((bytes.length + 3) & ~3);
  const o = octetsOf(new Uint8Array(header));
  tcp.emit(o.dv, 0, 0, 0, 0, header, flags, 0);
  o.u8.set(bytes, 20);
  return o.u8;
}

function parsed(bytes: Uint8Array, segment = new tcp.Segment()): tcp.Segment {
  const o = octetsOf(bytes);
  assert.equal(tcp.check(o, 0, bytes.length, VOUCHED), null);
  tcp.parse(o.dv, 0, bytes.length, segment);
  return segment;
}

/** What the options of a segment say, by name, absent ones left out. */
function optionsOf(segment: tcp.Segment, bytes: Uint8Array): Record<string, unknown> {
  const found: Record<string, unknown> = {};
  if (segment.mss !== 0) found.mss = segment.mss;
  if (segment.windowScale !== -1) found.windowScale = segment.windowScale;
  if (segment.sackPermitted) found.sackPermitted = true;
  if (segment.hasTimestamps) found.timestamps = [segment.tsVal >>> 0, segment.tsEcr >>> 0];
  const { dv } = octetsOf(bytes);
  const blocks: number[] = [];
  for (let i = 0; i < 2 * segment.sackCount; i++) blocks.push(dv.getUint32(segment.sackBlocks + 4 * i));
  if (blocks.length > 0) found.sack = blocks;
  return found;
}

describe('tcp: check', () => {
  const rows: { name: string; bytes: Uint8Array; pseudo?: number; want: tcp.Drop | null }[] = [
    { name: 'SYN', bytes: syn, want: null },
    { name: 'SYN-ACK', bytes: synAck, want: null },
    { name: 'data', bytes: data, want: null },
    { name: 'header of 60 bytes', bytes: sack, want: null },
    { name: 'IPv6', bytes: rst6, pseudo: PSEUDO6, want: null },
    { name: 'empty', bytes: syn.slice(0, 0), want: 'tcp-truncated' },
    { name: '19 bytes', bytes: syn.slice(0, 19), want: 'tcp-truncated' },
    { name: 'header of 16 bytes', bytes: patched(syn, 12, '40'), want: 'tcp-bad-header-length' },
    { name: 'header of 0 bytes', bytes: patched(syn, 12, '00'), want: 'tcp-bad-header-length' },
    { name: 'header beyond the end', bytes: patched(syn, 12, 'b0'), want: 'tcp-bad-header-length' },
    { name: 'cut in the options', bytes: syn.slice(0, 39), want: 'tcp-bad-header-length' },
    {
      name: 'cut in the options, vouched for',
      bytes: syn.slice(0, 39),
      pseudo: VOUCHED,
      want: 'tcp-bad-header-length',
    },
    { name: 'cut in the data', bytes: data.slice(0, -1), want: 'tcp-bad-checksum' },
    { name: 'a bit of the data', bytes: patched(data, 40, '00'), want: 'tcp-bad-checksum' },
    { name: 'a flag', bytes: patched(data, 13, '19'), want: 'tcp-bad-checksum' },
    { name: 'other addresses', bytes: data, pseudo: PSEUDO + 1, want: 'tcp-bad-checksum' },
    { name: 'a bit of the data, vouched for', bytes: patched(data, 40, '00'), pseudo: VOUCHED, want: null },
  ];
  for (const { name, bytes, pseudo = PSEUDO, want } of rows) {
    it(name, () => assert.equal(tcp.check(octetsOf(bytes), 0, bytes.length, pseudo), want));
  }
  it('MUST-3: every bit counts', () => {
    for (let bit = 0; bit < 8 * data.length; bit++) {
      const bytes = data.slice();
      bytes[bit >> 3] = bytes[bit >> 3]! ^ (0x80 >> (bit & 7));
      assert.notEqual(tcp.check(octetsOf(bytes), 0, bytes.length, PSEUDO), null, `bit ${bit}`);
    }
  });
});

describe('tcp: fields', () => {
  it('accessors', () => {
    const { dv } = octetsOf(TCP_SYN_ACK);
    assert.equal(tcp.sourcePort(dv, 20), 80);
    assert.equal(tcp.destinationPort(dv, 20), 43210);
    assert.equal(tcp.ports(dv, 20), (80 << 16) | 43210);
    assert.equal(tcp.sequence(dv, 20), -16);
    assert.equal(tcp.acknowledgment(dv, 20), 0x89abcdf0 | 0);
    assert.equal(tcp.headerLength(dv, 20), 40);
    assert.equal(tcp.flags(dv, 20), tcp.SYN | tcp.ACK);
    assert.equal(tcp.window(dv, 20), 65160);
    assert.equal(tcp.urgent(dv, 20), 0);
    assert.equal(tcp.urgent(octetsOf(patched(data, 18, '1234')).dv, 0), 0x1234);
  });
  it('setters', () => {
    const o = octetsOf(data.slice());
    tcp.setSequence(o.dv, 0, -2);
    tcp.setFlags(o.dv, 0, tcp.FIN | tcp.ACK);
    tcp.setChecksum(o.dv, 0, 0xabcd);
    assert.equal(tcp.sequence(o.dv, 0), -2);
    assert.equal(tcp.flags(o.dv, 0), 0x11);
    assert.equal(o.dv.getUint16(tcp.CHECKSUM_OFFSET), 0xabcd);
    assert.equal(tcp.headerLength(o.dv, 0), 32);
  });
  it('parse: a data segment', () => {
    const segment = parsed(data);
    assert.equal(segment.seq, 0x89abcdf0 | 0);
    assert.equal(segment.ack, -15);
    assert.equal(segment.flags, tcp.PSH | tcp.ACK);
    assert.equal(segment.wnd, 502);
    assert.equal(segment.payload, 32);
    assert.equal(segment.length, 12);
  });
  it('parse: payload offsets count from the start of the memory', () => {
    const o = octetsOf(TCP_SACK);
    const segment = new tcp.Segment();
    tcp.parse(o.dv, 20, TCP_SACK.length, segment);
    assert.equal(segment.payload, 80);
    assert.equal(segment.length, 0);
    assert.equal(segment.sackBlocks, 20 + 20 + 12 + 4);
    assert.equal(segment.sackCount, 3);
  });
});

describe('tcp: options', () => {
  const TS = '080a 0000000a 0000000b';
  const timestamps = [10, 11];
  const rows: { name: string; options: string; want: Record<string, unknown> }[] = [
    { name: 'none', options: '', want: {} },
    { name: 'END', options: '00 020405b4 000000', want: {} },
    { name: 'NOP only', options: '01010101', want: {} },
    { name: 'MSS', options: '020405b4', want: { mss: 1460 } },
    { name: 'MSS 65535', options: '0204ffff', want: { mss: 65535 } },
    { name: 'MSS of length 3', options: '0203ff 01', want: {} },
    { name: 'MSS of length 5', options: '0205ffffff 01', want: {} },
    { name: 'window scale', options: '030307', want: { windowScale: 7 } },
    { name: 'window scale 0', options: '030300', want: { windowScale: 0 } },
    { name: 'window scale over 14 counts as 14', options: '0303ff', want: { windowScale: 14 } },
    { name: 'window scale of length 2', options: '0302 020405b4', want: { mss: 1460 } },
    { name: 'SACK permitted', options: '0402', want: { sackPermitted: true } },
    { name: 'SACK permitted of length 3', options: '040301', want: {} },
    { name: 'one SACK block', options: '050a 00000001 00000002', want: { sack: [1, 2] } },
    {
      name: 'four SACK blocks',
      options: `0522 ${'0000000100000002'.repeat(4)}`,
      want: { sack: [1, 2, 1, 2, 1, 2, 1, 2] },
    },
    { name: 'SACK without a block', options: '0502', want: {} },
    { name: 'SACK of half a block', options: '0506 00000001', want: {} },
    { name: 'SACK of one and a half', options: '050e 00000001 00000002 00000003', want: {} },
    { name: 'timestamps', options: TS, want: { timestamps } },
    { name: 'timestamps as nearly all send them', options: `0101 ${TS}`, want: { timestamps } },
    { name: 'timestamps behind one NOP', options: `01 ${TS}`, want: { timestamps } },
    { name: 'timestamps before the NOPs', options: `${TS} 0101`, want: { timestamps } },
    { name: 'timestamps of length 9', options: '0809 0000000a000000', want: {} },
    {
      name: 'timestamps above 2^31',
      options: '080a fffffffe ffffffff',
      want: { timestamps: [0xfffffffe, 0xffffffff] },
    },
    { name: 'unaligned MSS', options: '01 020405b4 01', want: { mss: 1460 } },
    { name: 'MUST-6: unknown kinds are skipped', options: 'fd04ffff 22021e03ff 020405b4', want: { mss: 1460 } },
    { name: 'MD5 is skipped', options: `1312 ${'00'.repeat(16)} 0402`, want: { sackPermitted: true } },
    { name: 'MUST-7: length 0 ends the reading', options: 'fe00 020405b4', want: {} },
    { name: 'MUST-7: length 1 ends the reading', options: 'fe01 020405b4', want: {} },
    { name: 'known kind of length 0', options: '0200 020405b4', want: {} },
    { name: 'length beyond the header', options: '020405b4 fe05 0101', want: { mss: 1460 } },
    { name: 'kind without a length', options: '0101 01 02', want: {} },
    { name: 'length that ends at the header', options: 'fe080000 0000ffff', want: {} },
    { name: 'the last of two counts', options: '02040001 02040002', want: { mss: 2 } },
    {
      name: 'all that Linux sends',
      options: `020405b4 0402 ${TS} 01 030307`,
      want: { mss: 1460, sackPermitted: true, timestamps, windowScale: 7 },
    },
    {
      name: 'timestamps and SACK',
      options: `0101 ${TS} 0101 050a 00000005 00000006`,
      want: { timestamps, sack: [5, 6] },
    },
  ];
  for (const { name, options, want } of rows) {
    for (const flags of [tcp.SYN, tcp.ACK]) {
      it(`${name}, ${tcp.formatFlags(flags)}`, () => {
        const bytes = segmentOf(options, flags);
        assert.deepEqual(optionsOf(parsed(bytes), bytes), want);
      });
    }
  }

  it('the record holds nothing of the segment before', () => {
    const everything = segmentOf(`020405b4 0402 ${TS} 030307 050a 00000001 00000002`);
    for (const { options, want } of rows) {
      for (const flags of [tcp.SYN, tcp.ACK]) {
        const segment = parsed(everything);
        const bytes = segmentOf(options, flags);
        parsed(bytes, segment);
        assert.deepEqual(optionsOf(segment, bytes), want, options);
      }
    }
  });

  it('cut at every length: what stood whole before the cut is found', () => {
    const options = `020405b4 0402 ${TS} 01 030307 050a 00000001 00000002`;
    const ends = { mss: 4, sackPermitted: 6, timestamps: 16, windowScale: 20, sack: 30 };
    // A header ends at a multiple of 4; with NOPs in front the cut comes to every place.
    for (let nops = 0; nops < 4; nops++) {
      const all = hex('01'.repeat(nops) + options);
      for (let cut = 0; cut <= all.length; cut += 4) {
        const bytes = segmentOf(toHex(all.subarray(0, cut)));
        const found = Object.keys(optionsOf(parsed(bytes), bytes)).sort();
        const whole = Object.entries(ends).filter(([, end]) => nops + end <= cut);
        assert.deepEqual(found, whole.map(([name]) => name).sort(), `${nops} NOPs, cut at ${cut}`);
      }
    }
  });

  it('any bytes are options: reading ends, blocks lie in the header', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 0, maxLength: 40 }), fc.boolean(), (options, isSyn) => {
        const bytes = segmentOf(toHex(options), isSyn ? tcp.SYN : tcp.ACK);
        const segment = parsed(bytes);
        assert.ok(segment.sackCount >= 0 && segment.sackCount <= 4);
        assert.ok(segment.sackCount === 0 || segment.sackBlocks >= 22);
        assert.ok(segment.sackCount === 0 || segment.sackBlocks + 8 * segment.sackCount <= bytes.length);
        assert.ok(segment.windowScale >= -1 && segment.windowScale <= 14);
      }),
      { seed: 20260106, numRuns: 5000 },
    );
  });
});

describe('tcp: emit', () => {
  it('bytes of a SYN as Linux sends it', () => {
    const o = octetsOf(new Uint8Array(40).fill(0xee));
    tcp.emit(o.dv, 0, (43210 << 16) | 80, 0x89abcdef | 0, 0, 40, tcp.SYN, 64240);
    assert.equal(tcp.emitSynOptions(o.dv, 20, 1460, 7, true, true, 0x12345678, 0), 20);
    tcp.complete(o, 0, 40, PSEUDO);
    assert.equal(toHex(o.u8), toHex(syn));
  });
  it('bytes of a data segment', () => {
    const o = octetsOf(data.slice());
    o.u8.fill(0xee, 0, 32);
    tcp.emit(o.dv, 0, (43210 << 16) | 80, 0x89abcdf0 | 0, -15, 32, tcp.PSH | tcp.ACK, 502);
    tcp.emitTimestamps(o.dv, 20, 0x1234567c, 0x9abcdef0 | 0);
    tcp.complete(o, 0, o.u8.length, PSEUDO);
    assert.equal(toHex(o.u8), toHex(data));
  });
  it('bytes of a SACK', () => {
    const o = octetsOf(sack.slice());
    o.u8.fill(0xee, 0, 36);
    tcp.emit(o.dv, 0, (80 << 16) | 43210, 1, 2000, 60, tcp.ACK, 1024);
    tcp.emitTimestamps(o.dv, 20, 7, 8);
    tcp.emitSackHead(o.dv, 32, 3);
    tcp.complete(o, 0, 60, PSEUDO);
    assert.equal(toHex(o.u8), toHex(sack));
  });

  const synOptions: { name: string; args: [number, number, boolean, boolean]; want: string }[] = [
    { name: 'MSS only', args: [1460, -1, false, false], want: '020405b4' },
    { name: 'scale', args: [1460, 0, false, false], want: '020405b401030300' },
    { name: 'SACK', args: [536, -1, true, false], want: '0204021801010402' },
    { name: 'timestamps', args: [1460, -1, false, true], want: '020405b40101080a0000000100000002' },
    { name: 'SACK and timestamps', args: [1460, -1, true, true], want: '020405b40402080a0000000100000002' },
    { name: 'SACK and scale', args: [65495, 14, true, false], want: '0204ffd7010104020103030e' },
    { name: 'all', args: [1440, 10, true, true], want: '020405a00402080a00000001000000020103030a' },
  ];
  for (const { name, args, want } of synOptions) {
    it(`options of a SYN: ${name}`, () => {
      const { u8, dv } = octetsOf(new Uint8Array(40));
      const [mss, scale, sackPermitted, timestamps] = args;
      const length = tcp.emitSynOptions(dv, 0, mss, scale, sackPermitted, timestamps, 1, 2);
      assert.equal(toHex(u8.subarray(0, length)), want);
      const found = optionsOf(parsed(segmentOf(want)), segmentOf(want));
      assert.deepEqual(found, {
        mss,
        ...(scale >= 0 && { windowScale: scale }),
        ...(sackPermitted && { sackPermitted }),
        ...(timestamps && { timestamps: [1, 2] }),
      });
    });
  }

  it('round trip of any fields; sums agree with the bytes', () => {
    fc.assert(
      fc.property(
        word,
        word,
        word,
        fc.integer({ min: 0, max: 255 }),
        u16,
        word,
        word,
        (ports, seq, ack, flags, wnd, a, b) => {
          const o = octetsOf(new Uint8Array(33));
          tcp.emit(o.dv, 0, ports, seq, ack, 32, flags, wnd);
          tcp.emitTimestamps(o.dv, 20, a, b);
          // Sums made of numbers must be those of the bytes; modulo 0xffff, where both zeros are one.
          const sum = swap(o.sum(0, 20, 0));
          assert.equal(fold(tcp.sumHeader(ports, seq, ack, 32, flags, wnd)) % 0xffff, sum % 0xffff);
          assert.equal(fold(tcp.sumTimestamps(a, b)) % 0xffff, swap(o.sum(20, 12, 0)) % 0xffff);
          o.u8[32] = 0xab;
          tcp.complete(o, 0, 33, PSEUDO6);
          assert.equal(tcp.check(o, 0, 33, PSEUDO6), null);
          const segment = new tcp.Segment();
          tcp.parse(o.dv, 0, 33, segment);
          assert.deepEqual(
            [tcp.ports(o.dv, 0), segment.seq, segment.ack, segment.flags, segment.wnd, segment.tsVal, segment.tsEcr],
            [ports, seq, ack, flags, wnd, a, b],
          );
          assert.deepEqual([segment.hasTimestamps, segment.payload, segment.length], [true, 32, 1]);
        },
      ),
      SEEDED,
    );
  });
});

describe('tcp: format', () => {
  const rows: { bytes: Uint8Array; want: string }[] = [
    {
      bytes: syn,
      want: 'Flags [S], seq 2309737967, win 64240, options [mss 1460,sackOK,TS val 305419896 ecr 0,wscale 7], length 0',
    },
    {
      bytes: synAck,
      want:
        'Flags [S.], seq 4294967280, ack 2309737968, win 65160, ' +
        'options [mss 1460,sackOK,TS val 2596069104 ecr 305419896,wscale 7], length 0',
    },
    {
      bytes: data,
      want:
        'Flags [P.], seq 2309737968:2309737980, ack 4294967281, win 502, ' +
        'options [TS val 305419900 ecr 2596069104], length 12',
    },
    {
      bytes: sack,
      want:
        'Flags [.], ack 2000, win 1024, ' +
        'options [TS val 7 ecr 8,sack 3 {3000:4000}{5000:6000}{4294967280:16}], length 0',
    },
    { bytes: rst6, want: 'Flags [R.], seq 0, ack 77, win 0, length 0' },
  ];
  for (const { bytes, want } of rows) {
    it(want, () => assert.equal(tcp.format(octetsOf(bytes).dv, 0, bytes.length), want));
  }
  it('sequence numbers wrap', () => {
    const bytes = patched(data, 4, 'fffffffe');
    assert.match(tcp.format(octetsOf(bytes).dv, 0, bytes.length), /seq 4294967294:10,/);
  });
  const flags: [number, string][] = [
    [0, 'none'],
    [tcp.FIN | tcp.ACK, 'F.'],
    [tcp.SYN | tcp.ECE | tcp.CWR, 'SEW'],
    [0xff, 'FSRP.UEW'],
  ];
  for (const [bits, want] of flags) it(`flags ${want}`, () => assert.equal(tcp.formatFlags(bits), want));
});

describe('tcp: the AccECN option, RFC 9768 §3.2.3', () => {
  const rows: [options: string, fields: number, isZero: boolean, text: string][] = [
    ['ae0b 000001 000000 000001', 3, false, 'accecn1 e1b 1 ceb 0 e0b 1'],
    ['ac0b 000010 00ffff 123456', 3, true, 'accecn0 e0b 16 ceb 65535 e1b 1193046'],
    ['ae08 000001 ffffff', 2, false, 'accecn1 e1b 1 ceb 16777215'],
    ['ae05 000002', 1, false, 'accecn1 e1b 2'],
    ['ac02', 0, true, 'accecn0'],
    ['ae07 0000010000', 1, false, 'accecn1 0000010000'],
    ['ae0e 000001 000000 000001 000000', 3, false, 'accecn1 000001000000000001000000'],
    ['ae0b 000001', -1, false, 'bad'],
  ];
  for (const [options, fields, isZero, text] of rows) {
    it(options, () => {
      const bytes = segmentOf(options, tcp.ACK);
      const segment = parsed(bytes);
      assert.equal(segment.accEcnFields, fields);
      if (fields >= 0) assert.deepEqual([segment.isAccEcn0, segment.accEcn], [isZero, 22]);
      assert.equal(tcp.formatOptions(octetsOf(bytes).dv, 20, bytes.length, 0), text);
    });
  }

  it('is forgotten with the next segment that has none', () => {
    const segment = new tcp.Segment();
    parsed(segmentOf('ae05 000002', tcp.ACK), segment);
    parsed(segmentOf('', tcp.ACK), segment);
    assert.equal(segment.accEcnFields, -1);
  });
});

describe('tcp: the urgent pointer', () => {
  it('is written with the header, summed and printed', () => {
    const o = octetsOf(new Uint8Array(20));
    tcp.emit(o.dv, 0, 0x00500051, 100, 200, 20, tcp.URG | tcp.ACK | tcp.PSH, 300, 0xabcd);
    assert.equal(tcp.urgent(o.dv, 0), 0xabcd);
    tcp.complete(o, 0, 20, PSEUDO);
    assert.equal(tcp.check(o, 0, 20, PSEUDO), null);
    assert.equal(tcp.format(o.dv, 0, 20), 'Flags [P.U], ack 200, win 300, urg 43981, length 0');
  });
});
