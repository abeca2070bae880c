import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { icmpPacket, MACS, type PacketOptions, Rig, type RigOptions, tcpPacket, udpPacket } from '../../test/router.ts';
import { CHECKSUM_FULL, CHECKSUM_PARTIAL } from '../memory/frame.ts';
import { Cidr, IpAddress } from '../wire/address.ts';
import * as arp from '../wire/arp.ts';
import * as ethernet from '../wire/ethernet.ts';
import { PROTOCOL_TCP, pseudoHeaderSum } from '../wire/ip.ts';
import * as ipv4 from '../wire/ipv4.ts';
import * as ipv6 from '../wire/ipv6.ts';
import { octetsOf } from '../wire/octets.ts';
import * as tcp from '../wire/tcp.ts';

const V6 = { from: 'fd01::2', to: 'fd02::2' };

function withRig(options: RigOptions, body: (rig: Rig) => void): void {
  const rig = new Rig(options);
  body(rig);
  rig.stack.close();
  assert.equal(rig.stack.memory.usedBytes, 0);
}

test('forward: off by default: what is for others is dropped', () => {
  withRig({ forward: false }, (rig) => {
    rig.put(0, udpPacket());
    assert.deepEqual(rig.drops(), { 'ip-not-ours': 1 });
    assert.deepEqual(
      [0, 1, 2].map((i) => rig.taken(i).length),
      [0, 0, 0],
    );
  });
});

for (const [name, options] of [
  ['IPv4', {}],
  ['IPv6', V6],
] as const) {
  test(`forward: ${name}: a packet leaves as it came, with one hop less`, () => {
    withRig({}, (rig) => {
      const packet = udpPacket(options);
      // The second goes the way that was found for the first.
      for (let i = 0; i < 2; i++) {
        rig.put(0, packet);
        const [sent, ...others] = rig.taken(1);
        assert.deepEqual(others, []);
        const expected = udpPacket({ ...options, ttl: 63 });
        assert.deepEqual(sent, expected);
      }
      assert.equal(rig.stack.stats.ipForwarded, 2);
      assert.deepEqual(rig.drops(), {});
    });
  });
}

test('forward: RFC 1624: the checksum stays right for every TTL and for checksums near the turn', () => {
  withRig({}, (rig) => {
    for (let i = 0; i < 2000; i++) {
      const packet = udpPacket({ ttl: 2 + (i % 254), to: `10.0.2.${2 + (i % 200)}` });
      ipv4.patchLength(octetsOf(packet), 0, packet.length, (i * 7919) & 0xffff);
      rig.put(0, packet);
      const [sent] = rig.taken(1);
      assert.equal(ipv4.check(octetsOf(sent!), 0, sent!.length), null);
      assert.equal(ipv4.ttl(octetsOf(sent!).dv, 0), 1 + (i % 254));
    }
  });
});

test('forward: RFC 1812 §5.3.1, RFC 4443 §3.3: the TTL runs out', () => {
  withRig({}, (rig) => {
    for (const ttl of [0, 1]) {
      rig.put(0, udpPacket({ ttl }));
      const [error] = rig.taken(0);
      assert.deepEqual([error![20], error![21]], [11, 0]);
      assert.deepEqual(error!.subarray(28), udpPacket({ ttl }), 'quoted as it came');
      assert.equal(IpAddress.v4(ipv4.source(octetsOf(error!).dv, 0)).toString(), '10.0.1.1');
      rig.put(0, udpPacket({ ...V6, ttl }));
      const [error6] = rig.taken(0);
      assert.deepEqual([error6![40], error6![41]], [3, 0]);
      assert.deepEqual(error6!.subarray(48), udpPacket({ ...V6, ttl }));
    }
    assert.equal(rig.drops()['ip-ttl-exceeded'], 4);
    assert.equal(rig.taken(1).length, 0);
  });
});

describe('forward: what is not passed on', () => {
  const rows: [string, PacketOptions, string, string | null][] = [
    ['no route', { to: '192.168.1.1' }, 'no-route', 'ICMP unreachable - net'],
    ['no route, IPv6', { ...V6, to: 'fd09::1' }, 'no-route', 'ICMP6, unreachable - no route'],
    ['from loopback', { from: '127.0.0.1' }, 'ip-martian', null],
    ['to loopback', { to: '127.0.0.1' }, 'ip-martian', null],
    ['from our own address', { from: '10.0.2.1' }, 'ip-martian', null],
    ['from our own address, IPv6', { ...V6, from: 'fd02::1' }, 'ip-martian', null],
    ['to this network', { to: '0.1.2.3' }, 'ip-not-forwarded', null],
    ['from this network', { from: '0.1.2.3' }, 'ip-not-forwarded', null],
    ['RFC 3927 §2.7: from a link-local address', { from: '169.254.3.4' }, 'ip-not-forwarded', null],
    ['to a link-local address', { to: '169.254.3.4' }, 'ip-not-forwarded', null],
    ['to class E', { to: '240.0.0.1' }, 'ip-not-forwarded', null],
    ['to a group', { to: '239.1.2.3' }, 'ip-no-member', null],
    ['from a group', { from: '239.1.2.3' }, 'ip-bad-source', null],
    ['RFC 2644: a directed broadcast', { to: '10.0.2.255' }, 'ip-not-forwarded', null],
    ['RFC 4291 §2.5.6: to a link-local address, IPv6', { ...V6, to: 'fe80::5' }, 'ip-not-forwarded', null],
    ['RFC 4007 §9: from a link-local address, IPv6', { ...V6, from: 'fe80::5' }, 'ip-not-forwarded', 'beyond scope'],
    ['to a group, IPv6', { ...V6, to: 'ff0e::5' }, 'ip-no-member', null],
    ['from ::1', { ...V6, from: '::1' }, 'ip-martian', null],
    ['RFC 7126 §4.3: a loose source route', { options: [131, 7, 4, 10, 0, 2, 9, 0] }, 'ip-source-route', null],
    ['RFC 7126 §4.4: a strict source route', { options: [1, 137, 7, 4, 10, 0, 2, 9] }, 'ip-source-route', null],
  ];
  for (const [name, options, reason, answer] of rows) {
    test(name, () => {
      withRig({}, (rig) => {
        for (let i = 1; i <= 2; i++) {
          rig.put(0, udpPacket(options));
          assert.equal(rig.drops()[reason], i);
          const lines = rig.lines(0);
          assert.equal(lines.length, answer === null ? 0 : 1, lines.join());
          if (answer !== null) assert.ok(lines[0]!.includes(answer), lines[0]);
        }
        assert.deepEqual([rig.taken(1), rig.taken(2)], [[], []]);
        assert.equal(rig.stack.stats.ipForwarded, 0);
      });
    });
  }

  test('what everybody on the link was sent', () => {
    withRig({ medium: 'ethernet' }, (rig) => {
      const packet = udpPacket();
      const frame = new Uint8Array(14 + packet.length);
      frame.fill(0xff, 0, 6);
      ethernet.emitWords(octetsOf(frame).dv, 0, 0xffff, -1, MACS[1]!, ethernet.ETHERTYPE_IPV4);
      frame.set(packet, 14);
      rig.put(0, frame);
      assert.deepEqual(rig.drops(), { 'ip-link-group': 1 });
    });
  });
});

test('forward: options that mean nothing to a router pass: RFC 7126 §4.1', () => {
  withRig({}, (rig) => {
    const options = [1, 1, 148, 4, 0, 0, 0, 0]; // two no-operations, a router alert, the end
    rig.put(0, udpPacket({ options }));
    assert.deepEqual(rig.taken(1), [udpPacket({ options, ttl: 63 })]);
  });
});

for (const [name, options, pointer] of [
  ['without a length', [1, 1, 1, 148], 23],
  ['of length 0', [148, 0, 0, 0], 21],
  ['of length 1', [148, 1, 0, 0], 21],
  ['longer than the header', [1, 148, 9, 0], 22],
] as const) {
  test(`forward: RFC 1812 §5.2.7.3: an option ${name} is a parameter problem`, () => {
    withRig({}, (rig) => {
      rig.put(0, udpPacket({ options }));
      const [error] = rig.taken(0);
      assert.deepEqual([error![20], error![21], error![24]], [12, 0, pointer]);
      assert.deepEqual(rig.drops(), { 'ip-bad-option': 1 });
      // The same to ourselves; and none about one to a group.
      rig.put(0, udpPacket({ options, to: '10.0.1.1' }));
      assert.deepEqual([rig.taken(0)[0]![20], rig.drops()['ip-bad-option']], [12, 2]);
      rig.put(0, udpPacket({ options, to: '224.0.0.1' }));
      assert.deepEqual([rig.taken(0), rig.drops()['ip-bad-option']], [[], 3]);
    });
  });
}

test('forward: RFC 1191 §4, RFC 4443 §3.2: too big for the next link', () => {
  withRig({ mtu: [1500, 1280, 1500] }, (rig) => {
    const flags = ipv4.DONT_FRAGMENT;
    for (let i = 0; i < 2; i++) {
      rig.put(0, udpPacket({ length: 1280 - 28, flags }));
      assert.equal(rig.taken(1).length, 1, 'one that fits');
      rig.put(0, udpPacket({ length: 1280 - 27, flags }));
      const [error] = rig.taken(0);
      assert.deepEqual([error![20], error![21], octetsOf(error!).dv.getUint32(24)], [3, 4, 1280]);
      assert.equal(error!.length, 576, 'RFC 1812 §4.3.2.3: as much as 576 bytes hold');
      rig.put(0, udpPacket({ ...V6, length: 1280 - 47 }));
      const [error6] = rig.taken(0);
      assert.deepEqual([error6![40], error6![41], octetsOf(error6!).dv.getUint32(44)], [2, 0, 1280]);
      assert.equal(error6!.length, 1280, 'RFC 4443 §2.4 (c): as much as 1280 bytes hold');
    }
    assert.equal(rig.drops()['ip-too-big'], 4);
    assert.equal(rig.taken(1).length, 0);
  });
});

test('forward: RFC 791 §3.2: IPv4 without DF is fragmented, and so are fragments', () => {
  withRig({ mtu: [1500, 576, 1500] }, (rig) => {
    const options = [7, 7, 4, 0, 0, 0, 0, 1, 148, 4, 0, 0]; // a record route for the first, a router alert for all
    const whole = udpPacket({ length: 1300, options });
    for (const [packet, first, more] of [
      [whole, 0, false],
      [udpPacket({ length: 1300, options, flags: 0x2000 | 100 }), 800, true],
    ] as const) {
      rig.put(0, packet);
      const pieces = rig.taken(1);
      assert.equal(pieces.length, 3);
      let at = first;
      const data: number[] = [];
      pieces.forEach((bytes, i) => {
        const o = octetsOf(bytes);
        assert.equal(ipv4.check(o, 0, bytes.length), null);
        assert.ok(bytes.length <= 576);
        assert.deepEqual([ipv4.ttl(o.dv, 0), ipv4.identification(o.dv, 0)], [63, 7]);
        assert.equal(ipv4.fragmentOffset(o.dv, 0), at);
        assert.equal(ipv4.moreFragments(o.dv, 0), more || i < 2);
        const seen = i === 0 ? options : [1, 1, 1, 1, 1, 1, 1, 1, 148, 4, 0, 0];
        assert.deepEqual([...bytes.subarray(20, 32)], seen);
        data.push(...bytes.subarray(32));
        at += bytes.length - 32;
      });
      assert.deepEqual(Uint8Array.from(data), packet.subarray(32));
    }
    assert.equal(rig.stack.stats.ipForwarded, 2);
    assert.deepEqual(rig.drops(), {});
  });
});

test('forward: RFC 3704: reverse paths', () => {
  const cases = [
    ['off', '10.0.2.9', 1],
    ['loose', '10.0.2.9', 1],
    ['strict', '10.0.2.9', 0],
    ['off', '192.168.1.1', 1],
    ['loose', '192.168.1.1', 0],
    ['strict', '192.168.1.1', 0],
    ['strict', '10.0.1.9', 1],
  ] as const;
  for (const [reversePath, from, passed] of cases) {
    withRig({ forward: { reversePath } }, (rig) => {
      rig.put(0, udpPacket({ from, to: '10.0.3.7' }));
      assert.equal(rig.taken(2).length, passed, `${reversePath} ${from}`);
      assert.equal(rig.drops()['ip-reverse-path'] ?? 0, 1 - passed);
    });
  }
  assert.throws(() => new Rig({ forward: { reversePath: 'tight' as never } }), TypeError);
});

test('forward: RFC 1812 §5.2.7.2: redirects are off by default, and tell of the better router', () => {
  const toGateway = (forward: RigOptions['forward']) => {
    const rig = new Rig({ forward: forward! });
    rig.stack.addDefaultRoute(IpAddress.parse('10.0.1.254'));
    rig.put(0, udpPacket({ to: '192.168.7.7' }));
    const sent = rig.taken(0);
    rig.put(0, udpPacket({ from: '10.0.9.9', to: '192.168.7.7' })); // no neighbour of that router
    const foreign = rig.taken(0);
    rig.stack.close();
    return { sent, foreign };
  };
  assert.equal(toGateway(true).sent.length, 1);
  const { sent, foreign } = toGateway({ redirects: true });
  assert.equal(sent.length, 2);
  const [redirect] = sent;
  assert.deepEqual([redirect![20], redirect![21]], [5, 1]);
  assert.equal(IpAddress.v4(octetsOf(redirect!).dv.getInt32(24)).toString(), '10.0.1.254');
  assert.equal(foreign.length, 1);
});

test('forward: a change of routes is heeded at once', () => {
  withRig({}, (rig) => {
    rig.stack.addDefaultRoute(IpAddress.parse('10.0.3.254'));
    rig.put(0, udpPacket({ to: '192.168.1.1' }));
    assert.equal(rig.taken(2).length, 1);
    rig.stack.ip.routes.remove((route) => route.gateway !== null);
    rig.put(0, udpPacket({ to: '192.168.1.1' }));
    assert.equal(rig.taken(2).length, 0);
    assert.equal(rig.drops()['no-route'], 1);
    // An address that becomes ours is not passed on any longer.
    rig.put(0, udpPacket({ to: '10.0.2.2' }));
    assert.equal(rig.taken(1).length, 1);
    rig.stack.addAddress(rig.stack.interfaces[3]!, Cidr.parse('10.0.2.2/32'));
    rig.put(0, udpPacket({ to: '10.0.2.2' }));
    assert.equal(rig.taken(1).length, 0);
    assert.equal(rig.drops()['udp-no-socket'], 1);
  });
});

test('forward: a super-segment passes whole to a device with offload', () => {
  withRig({ offload: [true, true, true] }, (rig) => {
    const packet = tcpPacket({ length: 5000 });
    rig.putOffloaded(0, packet, CHECKSUM_PARTIAL, 1460, 20);
    assert.deepEqual(rig.taken(1), [tcpPacket({ length: 5000, ttl: 63 })]);
  });
});

for (const [name, options, header] of [
  ['IPv4', {}, 20],
  ['IPv6', V6, 40],
] as const) {
  test(`forward: ${name}: a super-segment is cut for a device without offload`, () => {
    withRig({ offload: [true, false, false] }, (rig) => {
      const flags = tcp.ACK | tcp.PSH | tcp.FIN | tcp.CWR;
      const whole = tcpPacket({ ...options, length: 4000, tcpFlags: flags, seq: 0xffff_fff0 | 0 });
      rig.putOffloaded(0, whole, CHECKSUM_PARTIAL, 1400, header);
      const sent = rig.taken(1);
      assert.deepEqual(
        sent.map((bytes) => bytes.length - header - 20),
        [1400, 1400, 1200],
      );
      const seen: number[] = [];
      sent.forEach((bytes, i) => {
        const o = octetsOf(bytes);
        if (header === 20) {
          assert.equal(ipv4.check(o, 0, bytes.length), null);
          assert.deepEqual([ipv4.ttl(o.dv, 0), ipv4.identification(o.dv, 0)], [63, 7 + i]);
        } else {
          assert.equal(ipv6.check(o.dv, 0, bytes.length), null);
          assert.equal(ipv6.hopLimit(o.dv, 0), 63);
        }
        const from = IpAddress.parse(options === V6 ? V6.from : '10.0.1.2');
        const to = IpAddress.parse(options === V6 ? V6.to : '10.0.2.2');
        assert.equal(tcp.check(o, header, bytes.length, pseudoHeaderSum(from, to, PROTOCOL_TCP)), null);
        assert.equal(tcp.sequence(o.dv, header), ((0xffff_fff0 | 0) + i * 1400) | 0);
        // RFC 3168 §6.1.2: CWR stands in the first only; the last ends it.
        const expected = tcp.ACK | (i === 0 ? tcp.CWR : 0) | (i === 2 ? tcp.PSH | tcp.FIN : 0);
        assert.equal(tcp.flags(o.dv, header), expected);
        seen.push(...bytes.subarray(header + 20));
      });
      assert.deepEqual(Uint8Array.from(seen), whole.subarray(header + 20));
    });
  });
}

test('forward: a super-segment whose segments do not fit is too big', () => {
  withRig({ offload: [true, true, false], mtu: [1500, 1280, 1280] }, (rig) => {
    for (const [to, i] of [
      ['10.0.2.2', 1],
      ['10.0.3.2', 2],
    ] as const) {
      const packet = tcpPacket({ to, length: 4000, flags: ipv4.DONT_FRAGMENT });
      rig.putOffloaded(0, packet, CHECKSUM_PARTIAL, 1460, 20);
      assert.equal(rig.taken(i).length, 0);
      assert.equal(octetsOf(rig.taken(0)[0]!).dv.getUint32(24), 1280);
      rig.putOffloaded(0, packet, CHECKSUM_PARTIAL, 1240, 20);
      assert.equal(rig.taken(i).length, i === 1 ? 1 : 4);
    }
  });
});

test('forward: a partial checksum is completed for a device without offload', () => {
  withRig({ offload: [true, false, false] }, (rig) => {
    const packet = udpPacket({ length: 100 });
    const o = octetsOf(packet);
    const whole = o.dv.getUint16(26);
    // What the sender leaves: the sum of the pseudo-header.
    const pseudo = pseudoHeaderSum(IpAddress.parse('10.0.1.2'), IpAddress.parse('10.0.2.2'), 17) + 108;
    o.dv.setUint16(26, (pseudo & 0xffff) + (pseudo >>> 16));
    rig.putOffloaded(0, packet, CHECKSUM_PARTIAL, 0, 20);
    const [sent] = rig.taken(1);
    assert.equal(octetsOf(sent!).dv.getUint16(26), whole);
  });
});

test('forward: super-segments that cannot be cut are dropped', () => {
  withRig({ offload: [true, false, false] }, (rig) => {
    for (const [packet, transport] of [
      [udpPacket({ length: 3000 }), 20],
      [tcpPacket({ length: 3000 }), 24],
      [tcpPacket({ length: 3000 }), 2000],
    ] as const) {
      rig.putOffloaded(0, packet, CHECKSUM_FULL, 1000, transport);
    }
    rig.putOffloaded(0, tcpPacket({ length: 3000 }), CHECKSUM_FULL, 1, 20);
    assert.equal(rig.drops()['ip-bad-offload'], 4);
    assert.equal(rig.taken(1).length, 0);
  });
});

test('forward: between Ethernets; a neighbour that does not answer is reported to the sender: RFC 1812 §5.2.7.1', () => {
  withRig({ medium: 'ethernet' }, (rig) => {
    const arrive = (packet: Uint8Array) => {
      const frame = new Uint8Array(14 + packet.length + 6); // padded by the link
      ethernet.emitWords(octetsOf(frame).dv, 0, MACS[0]!.high, MACS[0]!.low, MACS[1]!, ethernet.ETHERTYPE_IPV4);
      frame.set(packet, 14);
      rig.put(0, frame);
    };
    arrive(udpPacket());
    const request = rig.lines(1).find((line) => line.startsWith('ARP'));
    assert.match(request!, /^ARP, Request who-has 10\.0\.2\.2 tell 10\.0\.2\.1/);
    // The answer lets the packet go, without the padding.
    const reply = new Uint8Array(14 + arp.PACKET_LENGTH);
    const o = octetsOf(reply);
    const mac = MACS[2]!;
    arp.emit(o.dv, 14, arp.REPLY, mac, IpAddress.parse('10.0.2.2'), MACS[1]!, IpAddress.parse('10.0.2.1'));
    ethernet.emit(o.dv, 0, MACS[1]!, mac, ethernet.ETHERTYPE_ARP);
    rig.put(1, reply);
    assert.deepEqual(
      rig.taken(1).map((bytes) => bytes.subarray(14)),
      [udpPacket({ ttl: 63 })],
    );
    arrive(udpPacket({ to: '10.0.2.77' }));
    for (let i = 0; i < 4; i++) {
      rig.now += 1000;
      rig.stack.poll(rig.now);
    }
    assert.equal(rig.drops()['neighbour-unreachable'], 1);
    const lines = rig.lines(0);
    assert.ok(
      lines.some((line) => /who-has 10\.0\.1\.2 /.test(line)),
      'the error asks for its neighbour',
    );
    const answer = new Uint8Array(14 + arp.PACKET_LENGTH);
    arp.emit(
      octetsOf(answer).dv,
      14,
      arp.REPLY,
      mac,
      IpAddress.parse('10.0.1.2'),
      MACS[0]!,
      IpAddress.parse('10.0.1.1'),
    );
    ethernet.emit(octetsOf(answer).dv, 0, MACS[0]!, mac, ethernet.ETHERTYPE_ARP);
    rig.put(0, answer);
    assert.match(rig.lines(0).join(), /10\.0\.1\.1 > 10\.0\.1\.2: ICMP unreachable - host/);
  });
});

test('forward: two routers that point at each other end a packet by its TTL', () => {
  const one = new Rig();
  const two = new Rig();
  one.stack.addDefaultRoute(IpAddress.parse('10.0.2.254'));
  two.stack.addDefaultRoute(IpAddress.parse('10.0.2.254'));
  one.put(0, udpPacket({ to: '192.168.1.1' }));
  let hops = 0;
  for (let [from, to] = [one, two]; hops < 1000; [from, to] = [to, from]) {
    const [packet] = from.taken(1);
    if (packet === undefined || ipv4.protocol(octetsOf(packet).dv, 0) !== 17) break;
    hops++;
    to.put(1, packet);
  }
  assert.equal(hops, 63);
  one.stack.close();
  two.stack.close();
  assert.equal(one.stack.memory.usedBytes + two.stack.memory.usedBytes, 0);
});

test('forward: no error about an error, a later fragment, or a packet to a group', () => {
  withRig({}, (rig) => {
    rig.put(0, icmpPacket({ type: 3, ttl: 1, quote: udpPacket() }));
    rig.put(0, icmpPacket({ type: 5, ttl: 1, quote: udpPacket() }));
    rig.put(0, udpPacket({ ttl: 1, flags: 0x2000 | 5 }));
    rig.put(0, icmpPacket({ ...V6, type: 1, ttl: 1, quote: udpPacket(V6) }));
    rig.put(0, icmpPacket({ ...V6, type: 137, ttl: 1, length: 40 }));
    assert.deepEqual(rig.taken(0), []);
    assert.equal(rig.drops()['ip-ttl-exceeded'], 5);
    // The first fragment is told of, and so is an echo request.
    rig.put(0, udpPacket({ ttl: 1, flags: 0x2000 }));
    rig.put(0, icmpPacket({ ttl: 1, type: 8 }));
    rig.put(0, icmpPacket({ ...V6, ttl: 1, type: 128 }));
    assert.equal(rig.taken(0).length, 3);
  });
});
