import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { hex, patched, toHex } from '../../../test/hex.ts';
import * as packets from '../../../test/packets.ts';
import { CARRIED } from '../../../test/packets-carried.ts';
import * as control from '../../../test/packets-control.ts';
import { randomOf } from '../../../test/random.ts';
import { CapturedPacket, type CaptureInterface } from '../../pcap/index.ts';
import { Dissection, dissect } from '../../wire/dissect.ts';
import { formatV4, formatV6 } from '../../wire/index.ts';
import {
  LINKTYPE_ETHERNET,
  LINKTYPE_LINUX_SLL,
  LINKTYPE_LINUX_SLL2,
  LINKTYPE_NULL,
  LINKTYPE_RAW,
} from '../../wire/link-type.ts';
import { octetsOf } from '../../wire/octets.ts';
import * as tcp from '../../wire/tcp.ts';
import { LineTools } from './line-tools.ts';
import { Printer, type PrintOptions } from './printer.ts';

const QUIET: PrintOptions = { time: 'none', color: false, json: false, tree: false, hex: false };
const RAW: CaptureInterface = { id: 0, name: 'tun0', description: '', linkType: LINKTYPE_RAW, snaplen: 0 };

interface Given {
  linkType?: number;
  originalLength?: number;
  comments?: string[];
  direction?: 'in' | 'out';
  seconds?: number;
}

/** Prints packets one after another, as one printer does. */
function rig(options: Partial<PrintOptions> = {}) {
  const printer = new Printer({ ...QUIET, ...options });
  let number = 0;
  return (bytes: Uint8Array, given: Given = {}, several = false): string => {
    const {
      linkType = LINKTYPE_RAW,
      originalLength = bytes.length,
      comments = [],
      direction = null,
      seconds = 0,
    } = given;
    const o = octetsOf(bytes);
    const d = new Dissection();
    dissect(o, 0, bytes.length, originalLength, linkType, d);
    const iface = { ...RAW, linkType };
    const packet = new CapturedPacket(
      bytes,
      0,
      bytes.length,
      originalLength,
      seconds,
      123_456_789,
      iface,
      direction,
      comments,
    );
    return printer.print(o, d, packet, ++number, several);
  };
}

/** An IPv4 segment; the header checksum is good. */
function segment(
  fields: { from?: number; to?: number; seq: number; ack?: number; flags: number; back?: boolean },
  text = '',
): Uint8Array {
  const payload = new TextEncoder().encode(text);
  const bytes = packets.TCP_SYN.slice(0, 40 + payload.length);
  const full = new Uint8Array(40 + payload.length);
  full.set(bytes.slice(0, 40));
  full.set(payload, 40);
  const { dv } = octetsOf(full);
  const { from = 40000, to = 80, seq, ack = 0, flags, back = false } = fields;
  const [a, b] = back ? [0x0a000002, 0x0a000001] : [0x0a000001, 0x0a000002];
  dv.setUint16(2, full.length);
  dv.setUint32(12, a);
  dv.setUint32(16, b);
  dv.setUint16(10, 0);
  dv.setUint16(10, ~octetsOf(full).sum(0, 20, 0) & 0xffff, true);
  tcp.emit(dv, 20, back ? (to << 16) | from : (from << 16) | to, seq | 0, ack | 0, 20, flags, 1000);
  return full;
}

describe('dump: relative sequence numbers', () => {
  it('from the SYN of either side on; SYNs as they stand', () => {
    const print = rig();
    const a = 'IP 10.0.0.1.40000 > 10.0.0.2.80: Flags';
    const b = 'IP 10.0.0.2.80 > 10.0.0.1.40000: Flags';
    const [isn, peer] = [0xffff_fff0, 5000];
    const rows: [Uint8Array, string][] = [
      [segment({ seq: isn, flags: tcp.SYN }), `${a} [S], seq 4294967280, win 1000, length 0`],
      [
        segment({ seq: peer, ack: isn + 1, flags: tcp.SYN | tcp.ACK, back: true }),
        `${b} [S.], seq 5000, ack 4294967281, win 1000, length 0`,
      ],
      [segment({ seq: isn + 1, ack: peer + 1, flags: tcp.ACK }), `${a} [.], ack 1, win 1000, length 0`],
      [
        segment({ seq: isn + 1, ack: peer + 1, flags: tcp.ACK | tcp.PSH }, 'hello, this goes beyond zero'),
        `${a} [P.], seq 1:29, ack 1, win 1000, length 28`,
      ],
      [
        segment({ seq: peer + 1, ack: isn + 29, flags: tcp.ACK | tcp.FIN, back: true }),
        `${b} [F.], seq 1, ack 29, win 1000, length 0`,
      ],
      // The same ports again: a new connection counts anew.
      [segment({ seq: 77, flags: tcp.SYN }), `${a} [S], seq 77, win 1000, length 0`],
      [segment({ seq: 78, flags: tcp.RST }), `${a} [R], seq 1, win 1000, length 0`],
    ];
    for (const [bytes, want] of rows) assert.equal(print(bytes), want);
  });
  it('of a flow met in its middle, from there on', () => {
    const print = rig();
    assert.match(print(segment({ seq: 1000, ack: 2000, flags: tcp.ACK }, 'abc')), /seq 1:4, ack 1,/);
    assert.match(print(segment({ seq: 2000, ack: 1003, flags: tcp.ACK, back: true }, 'xy')), /seq 1:3, ack 4,/);
  });
  it('many flows: bounded, and each by itself', () => {
    const print = rig();
    for (let port = 1000; port < 3000; port++) print(segment({ from: port, seq: port * 1000, flags: tcp.SYN }));
    for (let port = 1000; port < 3000; port++) {
      assert.match(print(segment({ from: port, seq: port * 1000 + 5, flags: tcp.RST })), /seq 5,/);
    }
  });
  it('texts of addresses are those of the formats', () => {
    const tools = new LineTools();
    const random = randomOf(4);
    for (let i = 0; i < 20_000; i++) {
      const [a, b, c, d] = [0, 1, 2, 3].map(() => random.below(6) - 2) as [number, number, number, number];
      assert.equal(tools.v6(a, b, c, d), formatV6(a, b, c, d));
      const word = random.below(2 ** 32) | 0;
      assert.equal(tools.v4(word), formatV4(word));
      assert.equal(tools.v4(word), formatV4(word));
    }
  });
});

describe('dump: a packet as text', () => {
  it('times', () => {
    const at = { seconds: 1_700_000_000 };
    assert.match(rig({ time: 'utc' })(packets.PING, at), /^22:13:20\.123456 IP /);
    assert.match(rig({ time: 'epoch' })(packets.PING, at), /^1700000000\.123456 IP /);
    assert.match(rig({ time: 'local' })(packets.PING, at), /^\d\d:\d\d:20\.123456 IP /);
  });
  it('interface, direction and comments, without control characters', () => {
    const given = { direction: 'in', comments: ['dropped: udp-no-socket', '\x1b[31mred'] } as const;
    const want = 'tun0 In  IP 10.0.0.1.5000 > 10.0.0.2.53: UDP, length 12 -- dropped: udp-no-socket; .[31mred';
    assert.equal(rig()(packets.UDP_DATA, { ...given, comments: [...given.comments] }, true), want);
  });
  it('colours: red for what is wrong, each line ended', () => {
    const print = rig({ color: true });
    assert.equal(
      print(packets.UDP_DATA),
      '\x1b[90m\x1b[0m\x1b[36mIP 10.0.0.1.5000 > 10.0.0.2.53: UDP, length 12\x1b[0m',
    );
    const bad = print(patched(packets.PING, 8, '3f'));
    assert.ok(bad.includes('\x1b[31mIP ') && bad.endsWith('[ip-bad-checksum]\x1b[0m'), bad);
  });
  it('what the capture cut is told by its headers', () => {
    const whole = segment({ seq: 1, ack: 1, flags: tcp.ACK }, 'x'.repeat(1000));
    assert.match(
      rig()(whole.slice(0, 60), { originalLength: whole.length }),
      /seq 1:1001, ack 1, win 1000, length 1000$/,
    );
    assert.match(rig()(packets.UDP_DATA.slice(0, 28), { originalLength: 40 }), /UDP, length 12$/);
  });
  it('a super-segment without a length', () => {
    const bytes = patched(segment({ seq: 1, ack: 1, flags: tcp.ACK }, 'x'.repeat(100)), 2, '0000');
    assert.match(rig()(bytes), /length 100 \[ip-bad-checksum\]$/);
  });
  it('HTTP and TLS', () => {
    const print = rig();
    const flags = tcp.ACK | tcp.PSH;
    assert.match(
      print(segment({ seq: 1, ack: 1, flags }, 'GET /a HTTP/1.1\r\nHost: x\r\n')),
      /: HTTP: GET \/a HTTP\/1\.1$/,
    );
    assert.match(
      print(segment({ seq: 1, ack: 1, flags }, 'HTTP/1.1 204 No Content\r\n')),
      /: HTTP: HTTP\/1\.1 204 No Content$/,
    );
    assert.match(print(segment({ seq: 1, ack: 1, flags }, 'GET into the car, said she')), /length 26$/);
    const hello = new TextDecoder('latin1').decode(CLIENT_HELLO);
    const line = print(patched(segment({ seq: 1, ack: 1, flags }, 'x'.repeat(hello.length)), 40, toHex(CLIENT_HELLO)));
    assert.match(line, /: TLS: ClientHello, SNI example\.org$/);
  });
  const links: [string, number, string][] = [
    ['BSD loopback', LINKTYPE_NULL, '02000000'],
    ['Linux cooked', LINKTYPE_LINUX_SLL, '00000001000602000000000100000800'],
    ['Linux cooked v2', LINKTYPE_LINUX_SLL2, '0800000000000002000100060200000000010000'],
  ];
  for (const [name, linkType, head] of links) {
    it(`${name}: read, and too short`, () => {
      const bytes = Uint8Array.of(...hex(head), ...packets.UDP_DATA);
      assert.equal(rig()(bytes, { linkType }), 'IP 10.0.0.1.5000 > 10.0.0.2.53: UDP, length 12');
      assert.equal(rig()(bytes.slice(0, 3), { linkType }), '[link-truncated], length 3');
    });
  }
  it('a link type nobody reads', () => {
    assert.equal(rig()(packets.PING, { linkType: 9999 }), `[link-unknown], length ${packets.PING.length}`);
  });
  it('a tree and the bytes', () => {
    const text = rig({ tree: true, hex: true })(control.VLAN, { linkType: LINKTYPE_ETHERNET });
    assert.match(text, /^vlan 5, p 3, IP .*\n {4}ethernet\n {8}source: 02:00:00:00:00:01\n/);
    assert.match(text, /\n {4}vlan\n {8}ids: 5\n {8}priorities: 3\n/);
    assert.match(text, /\n {4}udp\n {8}sourcePort: 5000\n {8}destinationPort: 9\n {8}length: 12\n/);
    assert.match(text, /\n {4}0x0000: {2}0200 0000 0002 0200 0000 0001 8100 6005 {3}\.+`\.$/m);
    assert.match(text, /\n {4}0x0030: .* orld!$|world!$/);
  });
});

/** A ClientHello with nothing in it but a server name. */
const CLIENT_HELLO = hex(`
  1603010043 0100003f 0303 ${'ab'.repeat(32)} 00 0002 1301 0100
  0014 0000 0010 000e 00 000b ${toHex(new TextEncoder().encode('example.org'))}
`);

describe('dump: JSON', () => {
  const object = (bytes: Uint8Array, given: Given = {}) => JSON.parse(rig({ json: true })(bytes, given));
  it('a segment', () => {
    const got = object(segment({ seq: 9, ack: 4, flags: tcp.ACK }, 'hello'), {
      seconds: 1_700_000_000,
      direction: 'out',
    });
    assert.deepEqual(
      { ...got, ipv4: undefined, line: undefined },
      {
        number: 1,
        time: '2023-11-14T22:13:20.123456789Z',
        interface: 'tun0',
        direction: 'out',
        length: 45,
        captured: 45,
        ipv4: undefined,
        line: undefined,
        tcp: {
          sourcePort: 40000,
          destinationPort: 80,
          flags: '.',
          flagBits: 16,
          seq: 9,
          ack: 4,
          relativeSeq: 1,
          relativeAck: 1,
          window: 1000,
          headerLength: 20,
          length: 5,
        },
      },
    );
  });
  it('a router advertisement', () => {
    const { icmpv6 } = object(control.ND_RA);
    assert.equal(icmpv6.preference, 'high');
    assert.deepEqual(icmpv6.prefixes[0].prefix, 'fd00:1::');
    assert.deepEqual(icmpv6.nameServers, [{ lifetimeSeconds: 1200, servers: ['fd00::53', 'fd00::54'] }]);
  });
  it('the packet an error quotes', () => {
    const { icmp } = object(control.UNREACH4);
    assert.equal(icmp.quoted.ipv4.destination, '10.0.0.2');
    assert.deepEqual(icmp.quoted.ports, { sourcePort: 5000, destinationPort: 53 });
    const tooBig = object(control.TOOBIG6).icmpv6;
    assert.deepEqual([tooBig.mtu, tooBig.quoted.tcp.destinationPort], [1280, 80]);
  });
});

describe('dump: fuzz', () => {
  const ethernet = [control.VLAN, control.QINQ, packets.ARP_REQUEST, packets.ARP_REPLY, ...Object.values(CARRIED)];
  const all = [...Object.values(packets), ...Object.values(control), ...Object.values(CARRIED)];
  const seeds: [Uint8Array, number][] = all.map((bytes) => [
    bytes,
    ethernet.includes(bytes) ? LINKTYPE_ETHERNET : LINKTYPE_RAW,
  ]);
  const linkTypes = [
    LINKTYPE_ETHERNET,
    LINKTYPE_RAW,
    LINKTYPE_NULL,
    LINKTYPE_LINUX_SLL,
    LINKTYPE_LINUX_SLL2,
    9,
    51,
    9999,
  ];
  for (const seed of [1, 2, 3]) {
    it(`15000 random and spoiled packets, seed ${seed}: a line, a tree, an object`, () => {
      const random = randomOf(seed);
      const [text, json] = [rig({ tree: true, hex: true }), rig({ json: true })];
      for (let i = 0; i < 15_000; i++) {
        const [good, type] = random.pick(seeds);
        let bytes = random.below(10) === 0 ? random.bytes(random.below(120)) : good.slice();
        for (let n = random.below(5); n > 0 && bytes.length > 0; n--) {
          bytes[random.below(bytes.length)] = random.pick([0, 0xff, random.below(256)]);
        }
        if (random.below(3) === 0) bytes = bytes.slice(0, random.below(bytes.length + 1));
        const linkType = random.below(5) === 0 ? random.pick(linkTypes) : type;
        const given = { linkType, originalLength: bytes.length + random.pick([0, 0, 1, 1500]) };
        try {
          assert.ok(text(bytes, given).length > 0);
          JSON.parse(json(bytes, given));
        } catch (error) {
          assert.fail(`seed ${seed}, packet ${i}, link type ${linkType}, ${toHex(bytes)}: ${(error as Error).stack}`);
        }
      }
    });
  }
});
