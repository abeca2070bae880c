import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { hex, patched, toHex } from '../../test/hex.ts';
import * as packets from '../../test/packets.ts';
import * as control from '../../test/packets-control.ts';
import { type Random, randomOf } from '../../test/random.ts';
import { Memory } from '../memory/memory.ts';
import * as arp from './arp.ts';
import * as ethernet from './ethernet.ts';
import * as icmpv4 from './icmpv4.ts';
import * as icmpv6 from './icmpv6.ts';
import * as ipv4 from './ipv4.ts';
import * as ipv6 from './ipv6.ts';
import { type Octets, octetsOf } from './octets.ts';
import { formatFrame, formatIp } from './packet.ts';
import * as tcp from './tcp.ts';
import * as udp from './udp.ts';

/** `packet` behind an Ethernet header of that type. */
const framed = (type: string, packet: Uint8Array): Uint8Array => hex(`020000000002020000000001${type}${toHex(packet)}`);

describe('packet: lines', () => {
  const ip: [Uint8Array, string][] = [
    [packets.PING, 'IP 10.0.0.1 > 10.0.0.2: ICMP echo request, id 1, seq 2, length 56'],
    [packets.PING_OPTIONS, 'IP 10.0.0.1 > 10.0.0.2: options [RA] ICMP echo request, id 1, seq 2, length 56'],
    [packets.FRAGMENT, 'IP 10.0.0.1 > 10.0.0.2: frag id 48879 offset 1480 UDP, length 10'],
    [
      packets.FRAG_NEEDED,
      'IP 10.0.0.254 > 10.0.0.1: ICMP unreachable - need to frag (mtu 1400), length 36 [IP 10.0.0.1.43210 > 10.0.0.2.80: TCP, seq 1000, length 20]',
    ],
    [packets.TCP_RST6, 'IP6 fd00::1.9 > fd00::2.50000: Flags [R.], seq 0, ack 77, win 0, length 0'],
    [packets.UDP_DATA, 'IP 10.0.0.1.5000 > 10.0.0.2.53: UDP, length 12'],
    [packets.UDP6_DATA, 'IP6 fd00::1.5000 > fd00::2.53: UDP, length 12'],
    [packets.PING6, 'IP6 fd00::1 > fd00::2: ICMP6, echo request, id 3, seq 4, length 16'],
    [hex(`${toHex(packets.UDP_DATA)}000000`), 'IP 10.0.0.1.5000 > 10.0.0.2.53: UDP, length 12'],
    // Behind the IP header nothing fits: the line says what the IP header says.
    [patched(packets.TCP_RST6, 52, '40'), 'IP6 fd00::1 > fd00::2: TCP, length 20'],
    [patched(packets.UDP6_DATA, 44, '0007'), 'IP6 fd00::1 > fd00::2: UDP, length 20'],
    [patched(packets.PING6, 6, '84'), 'IP6 fd00::1.32768 > fd00::2.51288: SCTP [chunk 111], length 16'],
    [new Uint8Array(0), 'IP [ip-truncated]'],
    [hex('45'), 'IP [ip-truncated]'],
    [hex('60'), 'IP6 [ip-truncated]'],
    [patched(packets.PING, 0, '35'), 'IP [ip-bad-version]'],
    [patched(packets.PING, 0, '44'), 'IP 10.0.0.1 > 10.0.0.2: [ip-bad-header-length]'],
    [packets.PING.slice(0, -1), 'IP 10.0.0.1 > 10.0.0.2: [ip-bad-length]'],
    [
      patched(packets.PING, 8, '3f'),
      'IP 10.0.0.1 > 10.0.0.2: ICMP echo request, id 1, seq 2, length 56 [ip-bad-checksum]',
    ],
    [packets.PING6.slice(0, -1), 'IP6 fd00::1 > fd00::2: [ip-bad-length]'],
  ];
  for (const [bytes, want] of ip) {
    it(want, () => {
      assert.equal(formatIp(octetsOf(bytes), 0, bytes.length), want);
      assert.equal(formatFrame(octetsOf(bytes), 0, bytes.length, 'ip'), want);
    });
  }

  const frames: [Uint8Array, string][] = [
    [packets.ARP_REQUEST, 'ARP, Request who-has 10.0.0.2 tell 10.0.0.1, length 28'],
    [packets.ARP_REPLY.slice(0, 20), 'ARP [arp-truncated]'],
    [patched(packets.ARP_REPLY, 14, '0006'), 'ARP [arp-bad-type]'],
    [framed('0800', packets.UDP_DATA), 'IP 10.0.0.1.5000 > 10.0.0.2.53: UDP, length 12'],
    [framed('86dd', packets.UDP6_DATA), 'IP6 fd00::1.5000 > fd00::2.53: UDP, length 12'],
    [framed('88cc', hex('0207')), '02:00:00:00:00:01 > 02:00:00:00:00:02, ethertype LLDP (0x88cc), length 16'],
    [packets.ARP_REPLY.slice(0, 13), '[ethernet-truncated], length 13'],
  ];
  const controls: [keyof typeof control, string][] = [
    ['CHAIN6', 'IP6 fd00::1.5000 > fd00::2.9: HBH DSTOPT RT type 4 left 0 [fd00::3] frag id 7 offset 0 UDP, length 5'],
    ['FRAGMENT6', 'IP6 fd00::1 > fd00::2: frag id 3735928559 offset 1232+ UDP, length 16'],
    ['IGMP_LEAVE', 'IP 10.0.0.2 > 224.0.0.2: options [RA] igmp leave 224.1.1.1'],
    ['IGMP_QUERY_V1', 'IP 10.0.0.2 > 224.0.0.1: options [RA] igmp query v1'],
    ['IGMP_QUERY_V2', 'IP 10.0.0.2 > 224.1.1.1: options [RA] igmp query v2 [max resp time 10s] [gaddr 224.1.1.1]'],
    [
      'IGMP_QUERY_V3',
      'IP 10.0.0.2 > 232.1.1.1: options [RA] igmp query v3 [max resp time 20.8s] [gaddr 232.1.1.1] { 10.0.0.7 10.0.0.8 }',
    ],
    ['IGMP_REPORT_V1', 'IP 10.0.0.2 > 224.1.1.1: options [RA] igmp v1 report 224.1.1.1'],
    ['IGMP_REPORT_V2', 'IP 10.0.0.2 > 224.1.1.1: options [RA] igmp v2 report 224.1.1.1'],
    [
      'IGMP_REPORT_V3',
      'IP 10.0.0.2 > 224.0.0.22: options [RA] igmp v3 report, 2 group record(s) [gaddr 224.1.1.1 to_ex { }] [gaddr 232.1.1.1 is_in { 10.0.0.7 }]',
    ],
    ['MLD_DONE', 'IP6 fe80::1 > ff02::2: HBH ICMP6, multicast listener done ff02::fb, length 24'],
    [
      'MLD_QUERY_V1',
      'IP6 fe80::1 > ff02::1: HBH ICMP6, multicast listener query max resp delay: 10000 addr: ::, length 24',
    ],
    [
      'MLD_QUERY_V2',
      'IP6 fe80::1 > ff3e::1: HBH ICMP6, multicast listener query v2 max resp delay: 35096 addr: ff3e::1 { fd00::7 }, length 44',
    ],
    ['MLD_REPORT_V1', 'IP6 fe80::1 > ff02::fb: HBH ICMP6, multicast listener report ff02::fb, length 24'],
    [
      'MLD_REPORT_V2',
      'IP6 fe80::1 > ff02::16: HBH ICMP6, multicast listener report v2, 2 group record(s) [gaddr ff02::fb to_ex { }] [gaddr ff3e::1 is_in { fd00::7 }], length 64',
    ],
    ['ND_DAD', 'IP6 :: > ff02::1:ff00:9: ICMP6, neighbor solicitation, who has fe80::9, nonce 010203040506, length 32'],
    [
      'ND_NA',
      'IP6 fe80::1 > fe80::2: ICMP6, neighbor advertisement, tgt is fd00::2, router, solicited, override, destination link-address 02:00:00:00:00:02, length 32',
    ],
    [
      'ND_NS',
      'IP6 fe80::1 > ff02::1:ff00:2: ICMP6, neighbor solicitation, who has fd00::2, source link-address 02:00:00:00:00:01, length 32',
    ],
    [
      'ND_RA',
      'IP6 fe80::1 > ff02::1: ICMP6, router advertisement, hop limit 64, other stateful, pref high, router lifetime 1800s, source link-address 02:00:00:00:00:01, mtu 1400, prefix fd00:1::/64 [onlink, auto] valid 86400s pref 14400s, route fd00:2::/48 pref low lifetime 600s, rdnss lifetime 1200s fd00::53 fd00::54, dnssl lifetime 1200s example.com lan, length 160',
    ],
    [
      'ND_REDIRECT',
      'IP6 fe80::1 > fd00::1: ICMP6, redirect, fd00:9::9 to fe80::2, destination link-address 02:00:00:00:00:02, length 104',
    ],
    ['ND_RS', 'IP6 fe80::1 > ff02::2: ICMP6, router solicitation, source link-address 02:00:00:00:00:01, length 16'],
    ['QINQ', 'vlan 100, p 0, vlan 5, p 0, DEI, ARP, Request who-has 10.0.0.2 tell 10.0.0.1, length 28'],
    ['SSRR', 'IP 10.0.0.1 > 10.0.0.2: options [SSRR 10.0.0.3 10.0.0.4,EOL] ICMP echo request, id 0, seq 0, length 8'],
    [
      'TOOBIG6',
      'IP6 fd00::9 > fd00::1: ICMP6, packet too big, mtu 1280, length 71 [IP6 fd00::1.40000 > fd00::2.80: TCP, seq 1000, length 23]',
    ],
    [
      'UNREACH4',
      'IP 10.0.0.2 > 10.0.0.1: ICMP unreachable - port, length 41 [IP 10.0.0.1.5000 > 10.0.0.2.53: UDP, length 13]',
    ],
    ['VLAN', 'vlan 5, p 3, IP 10.0.0.1.5000 > 10.0.0.2.9: UDP, length 12'],
  ];
  const byName = new Map(Object.entries(control));
  for (const [name, want] of controls) {
    it(`${name}: ${want}`, () => {
      const bytes = byName.get(name)!;
      const medium = name === 'VLAN' || name === 'QINQ' ? 'ethernet' : 'ip';
      assert.equal(formatFrame(octetsOf(bytes), 0, bytes.length, medium), want);
    });
  }
  it('every packet of the table above has its line', () => assert.equal(controls.length, Object.keys(control).length));
  for (const [bytes, want] of frames) {
    it(`Ethernet: ${want}`, () => assert.equal(formatFrame(octetsOf(bytes), 0, bytes.length, 'ethernet'), want));
  }
});

const SEEDS: Uint8Array[] = [...Object.values(packets), ...Object.values(control)].map((bytes) => {
  if (bytes === control.VLAN || bytes === control.QINQ) return bytes;
  if (bytes[12] === 0x08 && bytes[13] === 0x06) return bytes;
  return framed(bytes[0]! >> 4 === 4 ? '0800' : '86dd', bytes);
});

/** A frame that is noise, or a good one with a few bytes changed, cut, or doubled; often with its IP sum mended. */
function spoiled(random: Random): Uint8Array {
  if (random.below(10) === 0) return random.bytes(random.below(120));
  let bytes = random.pick(SEEDS).slice();
  for (let n = random.below(6); n > 0; n--)
    bytes[random.below(bytes.length)] = random.pick([0, 0xff, random.below(256)]);
  if (random.below(4) === 0) bytes = bytes.slice(0, random.below(bytes.length + 1));
  if (random.below(8) === 0) bytes = Uint8Array.of(...bytes, ...bytes);
  const o = octetsOf(bytes);
  const body = ethernet.HEADER_LENGTH;
  if (random.below(3) > 0 && bytes.length >= body + 20 && bytes.length >= body + ipv4.headerLength(o.dv, body)) {
    if (bytes[body]! >> 4 === 4) ipv4.patchLength(o, body, ipv4.totalLength(o.dv, body), 7);
  }
  return bytes;
}

/** Reads every field that a null from `check` has promised; returns how many layers were good. */
function readAll(o: Octets, p: number, end: number, pseudo: number): number {
  const { dv } = o;
  let good = 0;
  if (arp.check(dv, p, end) === null) {
    good++;
    for (const read of [arp.operation, arp.senderMacHigh, arp.senderMacLow, arp.senderIp, arp.targetIp]) read(dv, p);
    arp.format(dv, p, end);
  }
  if (udp.check(o, p, end, pseudo, false) === null) {
    good++;
    assert.ok(p + udp.length(dv, p) <= end);
    udp.format(dv, p);
  }
  if (icmpv4.check(o, p, end) === null) good++;
  if (icmpv6.check(o, p, end, Math.max(0, pseudo)) === null) good++;
  if (end - p >= icmpv4.HEADER_LENGTH) {
    icmpv4.format(dv, p, end);
    icmpv6.format(dv, p, end);
  }
  if (tcp.check(o, p, end, pseudo) === null) {
    good++;
    const segment = new tcp.Segment();
    tcp.parse(dv, p, end, segment);
    assert.ok(segment.length >= 0 && segment.payload + segment.length === end);
    for (let i = 0; i < 2 * segment.sackCount; i++) dv.getUint32(segment.sackBlocks + 4 * i);
    tcp.format(dv, p, end);
  }
  return good;
}

/** The frame in `[p, end)`, layer by layer as the checks allow, and every layer as anything else too. */
function readFrame(o: Octets, p: number, end: number): number {
  const { dv } = o;
  formatFrame(o, p, end, 'ethernet');
  formatFrame(o, p, end, 'ip');
  let good = readAll(o, p, end, -1) + readAll(o, p, end, 0);
  if (ethernet.check(dv, p, end) !== null) return good;
  ethernet.format(dv, p);
  const ip = p + ethernet.HEADER_LENGTH;
  good += readAll(o, ip, end, -1);
  if (ipv4.check(o, ip, end) === null) {
    good++;
    assert.ok(ip + ipv4.headerLength(dv, ip) <= ip + ipv4.totalLength(dv, ip));
    assert.ok(ip + ipv4.totalLength(dv, ip) <= end);
    ipv4.format(dv, ip);
    good += readAll(o, ip + ipv4.headerLength(dv, ip), ip + ipv4.totalLength(dv, ip), -1);
  }
  if (ipv6.check(dv, ip, end) === null) {
    good++;
    assert.ok(ip + ipv6.HEADER_LENGTH + ipv6.payloadLength(dv, ip) <= end);
    ipv6.format(dv, ip);
    good += readAll(o, ip + ipv6.HEADER_LENGTH, ip + ipv6.HEADER_LENGTH + ipv6.payloadLength(dv, ip), -1);
  }
  return good;
}

describe('packet: fuzz', () => {
  // Where the view ends with the frame, a read beyond `end` throws a RangeError.
  for (const seed of [1, 2, 3, 4, 5]) {
    it(`20000 spoiled frames, seed ${seed}: nothing throws, nothing is read beyond the end`, () => {
      const random = randomOf(seed);
      let good = 0;
      for (let i = 0; i < 20_000; i++) {
        const bytes = spoiled(random);
        try {
          good += readFrame(octetsOf(bytes), 0, bytes.length);
        } catch (error) {
          assert.fail(`seed ${seed}, frame ${i}, ${toHex(bytes)}: ${(error as Error).stack}`);
        }
      }
      assert.ok(good > 20_000, `only ${good} good layers: the mutations spoil too much to test anything`);
    });
  }

  it('the same answers in a linear memory, at any offset', () => {
    const random = randomOf(6);
    const memory = new Memory({ bytes: 1 << 18 });
    for (let i = 0; i < 5000; i++) {
      const bytes = spoiled(random);
      const p = 2048 + random.below(64);
      memory.u8.fill(random.below(256), 2048, 4096);
      memory.u8.set(bytes, p);
      assert.equal(
        formatFrame(memory, p, p + bytes.length, 'ethernet'),
        formatFrame(octetsOf(bytes), 0, bytes.length, 'ethernet'),
        toHex(bytes),
      );
    }
  });
});
