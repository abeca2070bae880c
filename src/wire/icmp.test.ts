import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { patched, toHex } from '../../test/hex.ts';
import { FRAG_NEEDED, PING, PING6, PONG, UNREACHABLE6 } from '../../test/packets.ts';
import { IpAddress } from './address.ts';
import * as icmpv4 from './icmpv4.ts';
import * as icmpv6 from './icmpv6.ts';
import { PROTOCOL_ICMPV6, pseudoHeaderSum } from './ip.ts';
import { octetsOf } from './octets.ts';

const SEEDED = { seed: 20260103, numRuns: 500 };
const u8 = fc.integer({ min: 0, max: 0xff });
const word = fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 });
const PSEUDO = pseudoHeaderSum(IpAddress.parse('fd00::1'), IpAddress.parse('fd00::2'), PROTOCOL_ICMPV6);

const ping = PING.slice(20);
const pong = PONG.slice(20);
const ping6 = PING6.slice(40);

describe('icmpv4', () => {
  const rows: { name: string; bytes: Uint8Array; want: icmpv4.Drop | null }[] = [
    { name: 'echo request', bytes: ping, want: null },
    { name: 'echo reply without data', bytes: pong, want: null },
    { name: 'unreachable', bytes: FRAG_NEEDED.slice(20), want: null },
    { name: 'empty', bytes: ping.slice(0, 0), want: 'icmp-truncated' },
    { name: '7 bytes', bytes: ping.slice(0, 7), want: 'icmp-truncated' },
    { name: 'cut', bytes: ping.slice(0, -1), want: 'icmp-bad-checksum' },
    { name: 'a bit of the data', bytes: patched(ping, 30, 'ff'), want: 'icmp-bad-checksum' },
    { name: 'checksum 0', bytes: patched(ping, 2, '0000'), want: 'icmp-bad-checksum' },
    { name: 'all zeros', bytes: new Uint8Array(8), want: 'icmp-bad-checksum' },
  ];
  for (const { name, bytes, want } of rows) {
    it(`check: ${name}`, () => assert.equal(icmpv4.check(octetsOf(bytes), 0, bytes.length), want));
  }
  it('accessors', () => {
    const { dv } = octetsOf(ping);
    assert.deepEqual(
      [icmpv4.type, icmpv4.code, icmpv4.identifier, icmpv4.sequence].map((read) => read(dv, 0)),
      [icmpv4.ECHO_REQUEST, 0, 1, 2],
    );
    const unreachable = octetsOf(FRAG_NEEDED).dv;
    assert.equal(icmpv4.type(unreachable, 20), icmpv4.UNREACHABLE);
    assert.equal(icmpv4.code(unreachable, 20), icmpv4.CODE_FRAGMENTATION_NEEDED);
    assert.equal(icmpv4.nextHopMtu(unreachable, 20), 1400);
  });
  it('errors: RFC 1122 §3.2.2', () => {
    const errors = Array.from({ length: 256 }, (_, t) => t).filter(icmpv4.isError);
    assert.deepEqual(errors, [3, 4, 5, 11, 12]);
  });
  it('emit: bytes of a known packet', () => {
    const o = octetsOf(patched(ping, 0, '0000000000000000'));
    icmpv4.emit(o, 0, icmpv4.ECHO_REQUEST, 0, 0x00010002, ping.length);
    assert.equal(toHex(o.u8), toHex(ping));
  });
  it('emit: round trip, odd lengths too', () => {
    fc.assert(
      fc.property(u8, u8, word, fc.uint8Array({ maxLength: 65 }), (type, code, rest, data) => {
        fc.pre(type !== 0 || code !== 0 || rest !== 0 || data.some((b) => b !== 0));
        const length = 8 + data.length;
        const o = octetsOf(new Uint8Array(length));
        o.u8.set(data, 8);
        icmpv4.emit(o, 0, type, code, rest, length);
        assert.equal(icmpv4.check(o, 0, length), null);
        assert.deepEqual([icmpv4.type(o.dv, 0), icmpv4.code(o.dv, 0), o.dv.getInt32(4)], [type, code, rest]);
      }),
      SEEDED,
    );
  });
  const lines: { bytes: Uint8Array; want: string }[] = [
    { bytes: ping, want: 'ICMP echo request, id 1, seq 2, length 56' },
    { bytes: pong, want: 'ICMP echo reply, id 1, seq 2, length 8' },
    { bytes: FRAG_NEEDED.slice(20), want: 'ICMP unreachable - need to frag (mtu 1400), length 36' },
    { bytes: patched(pong, 0, '0300'), want: 'ICMP unreachable - net, length 8' },
    { bytes: patched(pong, 0, '0303'), want: 'ICMP unreachable - port, length 8' },
    { bytes: patched(pong, 0, '030d'), want: 'ICMP unreachable - admin prohibited, length 8' },
    { bytes: patched(pong, 0, '0310'), want: 'ICMP unreachable - code 16, length 8' },
    { bytes: patched(pong, 0, '0501'), want: 'ICMP redirect to host 0.1.0.2, length 8' },
    { bytes: patched(pong, 0, '0c00'), want: 'ICMP parameter problem - octet 0, length 8' },
    { bytes: patched(pong, 0, '0400'), want: 'ICMP source quench, length 8' },
    { bytes: patched(pong, 0, '0b00'), want: 'ICMP time exceeded in-transit, length 8' },
    { bytes: patched(pong, 0, '0b01'), want: 'ICMP time exceeded in reassembly, length 8' },
    { bytes: patched(pong, 0, '0d02'), want: 'ICMP type-#13, code 2, length 8' },
  ];
  for (const { bytes, want } of lines) {
    it(`format: ${want}`, () => assert.equal(icmpv4.format(octetsOf(bytes).dv, 0, bytes.length), want));
  }
});

describe('icmpv6', () => {
  const rows: { name: string; bytes: Uint8Array; pseudo?: number; want: icmpv6.Drop | null }[] = [
    { name: 'echo request', bytes: ping6, want: null },
    { name: 'unreachable', bytes: UNREACHABLE6.slice(40), want: null },
    { name: 'empty', bytes: ping6.slice(0, 0), want: 'icmp-truncated' },
    { name: '7 bytes', bytes: ping6.slice(0, 7), want: 'icmp-truncated' },
    { name: 'cut', bytes: ping6.slice(0, -1), want: 'icmp-bad-checksum' },
    { name: 'a bit of the data', bytes: patched(ping6, 9, 'ff'), want: 'icmp-bad-checksum' },
    { name: 'other addresses', bytes: ping6, pseudo: PSEUDO + 1, want: 'icmp-bad-checksum' },
    { name: 'no pseudo-header: as ICMPv4', bytes: ping, pseudo: PSEUDO, want: 'icmp-bad-checksum' },
  ];
  for (const { name, bytes, pseudo, want } of rows) {
    it(`check: ${name}`, () => assert.equal(icmpv6.check(octetsOf(bytes), 0, bytes.length, pseudo ?? PSEUDO), want));
  }
  it('accessors', () => {
    const { dv } = octetsOf(PING6);
    assert.deepEqual(
      [icmpv6.type, icmpv6.code, icmpv6.identifier, icmpv6.sequence].map((read) => read(dv, 40)),
      [icmpv6.ECHO_REQUEST, 0, 3, 4],
    );
    assert.equal(icmpv6.code(octetsOf(UNREACHABLE6).dv, 40), icmpv6.CODE_PORT);
  });
  it('errors: RFC 4443 §2.1', () => {
    assert.deepEqual([0, 1, 4, 127, 128, 129, 135, 255].map(icmpv6.isError), [
      ...[true, true, true, true],
      ...[false, false, false, false],
    ]);
  });
  it('emit: bytes of a known packet', () => {
    const o = octetsOf(patched(ping6, 0, '0000000000000000'));
    icmpv6.emit(o, 0, icmpv6.ECHO_REQUEST, 0, 0x00030004, ping6.length, PSEUDO);
    assert.equal(toHex(o.u8), toHex(ping6));
  });
  it('emit: round trip, odd lengths too', () => {
    fc.assert(
      fc.property(u8, u8, word, fc.uint8Array({ maxLength: 65 }), (type, code, rest, data) => {
        const length = 8 + data.length;
        const o = octetsOf(new Uint8Array(length + 1));
        o.u8.set(data, 9);
        icmpv6.emit(o, 1, type, code, rest, length, PSEUDO);
        assert.equal(icmpv6.check(o, 1, 1 + length, PSEUDO), null);
        assert.deepEqual([icmpv6.type(o.dv, 1), icmpv6.code(o.dv, 1), o.dv.getInt32(5)], [type, code, rest]);
      }),
      SEEDED,
    );
  });
  const lines: { bytes: Uint8Array; want: string }[] = [
    { bytes: ping6, want: 'ICMP6, echo request, id 3, seq 4, length 16' },
    { bytes: patched(ping6, 0, '81'), want: 'ICMP6, echo reply, id 3, seq 4, length 16' },
    { bytes: patched(ping6, 0, 'c803'), want: 'ICMP6, type-#200, code 3, length 16' },
  ];
  for (const { bytes, want } of lines) {
    it(`format: ${want}`, () => assert.equal(icmpv6.format(octetsOf(bytes).dv, 0, bytes.length), want));
  }
});
