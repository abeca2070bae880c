import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { MulticastRig, type QueryOptions } from '../../test/multicast-rig.ts';
import type { DropReason } from '../iface/stats.ts';
import { Cidr, IpAddress, MacAddress } from '../wire/address.ts';
import * as ethernet from '../wire/ethernet.ts';
import * as ipv4 from '../wire/ipv4.ts';
import * as ipv4Options from '../wire/ipv4-options.ts';
import * as ipv6 from '../wire/ipv6.ts';
import { octetsOf } from '../wire/octets.ts';
import { excludeOf, includeOf } from './filter.ts';

const ip = (text: string): IpAddress => IpAddress.parse(text);
const GROUP = ip('239.1.2.3');
const GROUP6 = ip('ff15::1:2');
const ALL_HOSTS = ip('224.0.0.1');
const ALL_NODES = ip('ff02::1');

const destinationMac = (frame: Uint8Array): string => {
  const { dv } = octetsOf(frame);
  return `${new MacAddress(ethernet.destinationHigh(dv, 0), ethernet.destinationLow(dv, 0))}`;
};

/** How the headers of an IGMP message look. */
function headerV4(frame: Uint8Array): Record<string, unknown> {
  const { dv } = octetsOf(frame);
  const options = new ipv4Options.Options();
  assert.equal(ipv4Options.parse(dv, 14, options), null);
  const source = `${IpAddress.v4(ipv4.source(dv, 14))}`;
  return {
    mac: destinationMac(frame),
    source,
    ttl: ipv4.ttl(dv, 14),
    tos: ipv4.dsEcn(dv, 14),
    alert: options.routerAlert,
  };
}

describe('igmp: messages', () => {
  test('RFC 3376 §4: TTL 1, type of service 0xc0, router alert', () => {
    const rig = new MulticastRig(4);
    rig.socket().join(GROUP);
    const [first] = rig.hear(0);
    assert.deepEqual(headerV4(first!.frame), {
      mac: '01:00:5e:00:00:16',
      source: '10.0.0.1',
      ttl: 1,
      tos: 0xc0,
      alert: 0,
    });
    rig.query({ version: 2 });
    rig.advance(20_000);
    const socket = rig.socket();
    socket.join(ip('239.9.9.9'));
    const [report] = rig.hear(0);
    socket.leave(ip('239.9.9.9'));
    const [leave] = rig.hear(0);
    assert.deepEqual(headerV4(report!.frame).mac, '01:00:5e:09:09:09');
    for (const { frame } of [report!, leave!]) {
      const { ttl, tos, alert } = headerV4(frame);
      assert.deepEqual({ ttl, tos, alert }, { ttl: 1, tos: 0xc0, alert: 0 });
    }
    assert.equal(headerV4(leave!.frame).mac, '01:00:5e:00:00:02');
    rig.end();
  });

  test('RFC 3376 §4.2.13: from 0.0.0.0 while the interface has no address', () => {
    const rig = new MulticastRig(4, { addresses: [] });
    rig.socket().join(GROUP, { interface: rig.iface });
    assert.equal(headerV4(rig.hear(0)[0]!.frame).source, '0.0.0.0');
    rig.stack.addAddress(rig.iface, Cidr.parse('10.0.0.1/24'));
    assert.equal(headerV4(rig.hear(1000)[0]!.frame).source, '10.0.0.1');
    rig.end();
  });

  test('RFC 3376 §5: 224.0.0.1 is never reported; other groups of the link are', () => {
    const rig = new MulticastRig(4);
    const socket = rig.socket();
    socket.join(ALL_HOSTS);
    assert.deepEqual(rig.advance(5000), []);
    rig.query({ maxResponseMs: 1000 });
    assert.deepEqual(rig.advance(5000), []);
    socket.join(ip('224.0.0.251'));
    assert.equal(rig.advance(5000).length, 2);
    rig.end();
  });

  test('RFC 3376 §7.2.1: IGMPv1: its reports, within ten seconds, to every query; no leaves', () => {
    const rig = new MulticastRig(4);
    const socket = rig.socket();
    const other = ip('239.9.9.9');
    for (const group of [GROUP, other]) socket.join(group);
    rig.advance(10_000);
    rig.query({ version: 1 });
    assert.deepEqual(rig.advance(20_000), [
      '15000: 239.1.2.3 igmp v1 report 239.1.2.3',
      '15000: 239.9.9.9 igmp v1 report 239.9.9.9',
    ]);
    rig.query({ version: 2, group: other, maxResponseMs: 1000 });
    rig.otherReports(GROUP, 1);
    assert.deepEqual(rig.advance(10_000), ['35000: 239.9.9.9 igmp v1 report 239.9.9.9'], 'suppressed, ten seconds');
    socket.leave(other);
    assert.deepEqual(rig.advance(10_000), []);
    rig.end();
  });

  test('versions 1 and 2 time out one after the other', () => {
    const rig = new MulticastRig(4);
    const igmp = rig.iface.groups.igmp!;
    rig.query({ version: 1 });
    rig.advance(100_000);
    rig.query({ version: 2, maxResponseMs: 10_000 });
    assert.equal(igmp.generation, 1);
    rig.advance(160_000);
    assert.equal(igmp.generation, 2);
    rig.advance(100_000);
    assert.equal(igmp.generation, 3);
    rig.end();
  });

  test('RFC 3376 §7.2.1: a query of IGMPv2 for a group makes no older querier present', () => {
    const rig = new MulticastRig(4);
    rig.socket().join(GROUP);
    rig.advance(10_000);
    rig.query({ version: 2, group: GROUP, maxResponseMs: 1000 });
    assert.equal(rig.iface.groups.igmp!.generation, 3);
    assert.equal(
      rig.advance(10_000)[0],
      '10500: 224.0.0.22 igmp v3 report, 1 group record(s) [gaddr 239.1.2.3 is_ex { }]',
    );
    rig.end();
  });
});

describe('mld: messages', () => {
  test('RFC 3810 §5: link-local source, hop limit 1, router alert; and the group address of Ethernet', () => {
    const rig = new MulticastRig(6, { addresses: ['fd00::1/64', 'fe80::1/64'] });
    rig.socket().join(GROUP6);
    const [said] = rig.hear(0);
    const { dv } = octetsOf(said!.frame);
    assert.equal(ipv6.formatSource(dv, 14), 'fe80::1');
    assert.equal(ipv6.hopLimit(dv, 14), 1);
    assert.deepEqual([...said!.frame.subarray(54, 62)], [58, 0, 5, 2, 0, 0, 1, 0], 'RFC 2711 §2.1');
    assert.equal(destinationMac(said!.frame), '33:33:00:00:00:16');
    rig.end();
  });

  test('RFC 3590 §4: from :: while there is no link-local address, and again once there is', () => {
    const rig = new MulticastRig(6, { addresses: ['fd00::1/64'] });
    rig.socket().join(GROUP6);
    const sources = (ms: number): string[] =>
      rig.hear(ms).map(({ frame }) => ipv6.formatSource(octetsOf(frame).dv, 14));
    assert.deepEqual(sources(5000), ['::', '::']);
    rig.stack.addAddress(rig.iface, Cidr.parse('fd00::2/64'));
    assert.deepEqual(sources(5000), []);
    rig.stack.addAddress(rig.iface, Cidr.parse('fe80::1/64'));
    assert.deepEqual(sources(5000), ['fe80::1', 'fe80::1']);
    rig.stack.addAddress(rig.iface, Cidr.parse('fe80::2/64'));
    assert.deepEqual(sources(5000), []);
    rig.end();
  });

  test('the same in MLDv1', () => {
    const rig = new MulticastRig(6, { addresses: ['fd00::1/64'] });
    rig.query({ version: 2 });
    rig.socket().join(GROUP6);
    rig.advance(20_000);
    rig.stack.addAddress(rig.iface, Cidr.parse('fe80::1/64'));
    assert.equal(rig.advance(20_000).length, 2);
    rig.end();
  });

  test('RFC 3810 §6: ff02::1 and the scopes of the node are never reported; solicited-node groups are', () => {
    const rig = new MulticastRig(6);
    const socket = rig.socket();
    for (const group of [ALL_NODES, ip('ff01::5'), ip('ff11::5'), ip('ff00::5')]) socket.join(group);
    rig.query({ maxResponseMs: 1000 });
    assert.deepEqual(rig.advance(5000), []);
    rig.hearsSolicited = true;
    rig.iface.groups.join(ip('ff02::1:ff00:99'));
    assert.equal(rig.advance(5000).length, 2);
    rig.end();
  });
});

describe('igmp, mld: what is dropped', () => {
  interface Row {
    readonly name: string;
    readonly family: 4 | 6;
    readonly query: QueryOptions;
    readonly reason: DropReason;
  }
  const ROWS: readonly Row[] = [
    { name: 'IGMPv3 without router alert', family: 4, query: { hasAlert: false }, reason: 'igmp-no-alert' },
    { name: 'IGMPv2 without router alert', family: 4, query: { version: 2, hasAlert: false }, reason: 'igmp-no-alert' },
    { name: 'a general query to another group', family: 4, query: { to: GROUP }, reason: 'igmp-bad-destination' },
    {
      name: 'IGMPv1 to another group',
      family: 4,
      query: { version: 1, to: GROUP },
      reason: 'igmp-bad-destination',
    },
    {
      name: 'a general query with sources',
      family: 4,
      query: { sources: [ip('10.0.0.7')], to: ALL_HOSTS },
      reason: 'igmp-bad-query',
    },
    { name: 'about no group', family: 4, query: { group: ip('10.0.0.7'), to: ALL_HOSTS }, reason: 'igmp-bad-query' },
    { name: 'MLD without router alert', family: 6, query: { hasAlert: false }, reason: 'mld-no-alert' },
    { name: 'MLDv1 without router alert', family: 6, query: { version: 2, hasAlert: false }, reason: 'mld-no-alert' },
    { name: 'MLD of another hop limit', family: 6, query: { hopLimit: 2 }, reason: 'mld-bad-hop-limit' },
    { name: 'MLD from a global address', family: 6, query: { from: ip('fd00::fe') }, reason: 'mld-bad-source' },
    { name: 'MLD from ::', family: 6, query: { from: ip('::') }, reason: 'mld-bad-source' },
    { name: 'a general query to another group', family: 6, query: { to: GROUP6 }, reason: 'mld-bad-destination' },
    {
      name: 'a general query with sources',
      family: 6,
      query: { sources: [ip('fd00::7')], to: ALL_NODES },
      reason: 'mld-bad-query',
    },
    { name: 'about no group', family: 6, query: { group: ip('fd00::7'), to: ALL_NODES }, reason: 'mld-bad-query' },
  ];
  for (const { name, family, query, reason } of ROWS) {
    test(`${name} (IPv${family}): ${reason}`, () => {
      const rig = new MulticastRig(family);
      rig.socket().join(family === 4 ? GROUP : GROUP6);
      rig.advance(10_000);
      rig.query(query);
      assert.equal(rig.stack.stats.drops[reason], 1);
      assert.deepEqual(rig.advance(60_000), []);
      rig.end();
    });
  }

  test('IGMPv1 has no router alert: RFC 1112', () => {
    const rig = new MulticastRig(4);
    rig.socket().join(GROUP);
    rig.advance(10_000);
    rig.query({ version: 1, hasAlert: false });
    assert.equal(rig.advance(60_000).length, 1);
    rig.end();
  });

  test('messages for routers, and of unknown types, change nothing', () => {
    const rig = new MulticastRig(4);
    rig.socket().join(GROUP);
    rig.advance(10_000);
    for (const type of [0x17, 0x22, 0x99]) {
      const frame = new Uint8Array(14 + 24 + 8);
      const o = octetsOf(frame);
      ipv4Options.emitAlerted(o, 14, 32, 0xc0, 1, 0, 1, 2, ip('10.0.0.9').d, ALL_HOSTS.d);
      o.dv.setUint8(38, type);
      o.dv.setUint16(40, ~o.sum(38, 8, 0) & 0xffff, true);
      ethernet.emit(o.dv, 0, MacAddress.parse('01:00:5e:00:00:01'), MacAddress.parse('02:00:00:00:00:09'), 0x0800);
      rig.deliver(frame);
    }
    assert.equal(rig.stack.stats.igmpIn, 3);
    assert.equal(rig.stack.stats.drops['igmp-unknown-type'], 1);
    assert.deepEqual(rig.advance(60_000), []);
    rig.end();
  });
});

describe('multicast: long reports', () => {
  test('RFC 3376 §4.2.16: as many reports as the MTU asks for; INCLUDE lists are cut in parts, none lost', () => {
    const rig = new MulticastRig(4, { mtu: 100 });
    const socket = rig.socket();
    // 100 bytes, less 24 and 8: 68 for records, so 15 sources in one.
    const sources = Array.from({ length: 40 }, (_, i) => IpAddress.v4(0x0a000100 + i));
    socket.setSourceFilter(GROUP, includeOf(sources));
    const first = rig.hear(0);
    assert.deepEqual(
      first.map(({ frame }) => frame.length <= 114),
      [true, true, true],
    );
    const told = first.flatMap(({ line }) => line.match(/10\.0\.1\.\d+/g) ?? []);
    assert.deepEqual(told.sort(), sources.map(String).sort());
    rig.end();
  });

  test('an EXCLUDE list is cut short: rather too much than too little', () => {
    const rig = new MulticastRig(6, { mtu: 1280 });
    const sources = Array.from({ length: 64 }, (_, i) => new IpAddress(0xfd000000, 0, 0, 100 + i));
    const sockets = Array.from({ length: 1 }, () => rig.socket());
    sockets[0]!.setSourceFilter(GROUP6, excludeOf(sources));
    assert.equal(rig.hear(0).length, 1);
    rig.end();
    const small = new MulticastRig(6, { mtu: 300 });
    small.socket().setSourceFilter(GROUP6, excludeOf(sources));
    const [only, ...rest] = small.hear(0);
    assert.deepEqual(rest, []);
    // 300 bytes, less 48, 8 and 20: 14 sources.
    assert.equal(only!.line.match(/fd00::/g)!.length, 14);
    small.end();
  });

  test('a thousand groups in a general answer, every one of them', () => {
    const rig = new MulticastRig(4);
    const sockets = Array.from({ length: 4 }, () => rig.socket());
    for (const [n, socket] of sockets.entries()) {
      for (let i = 0; i < 250; i++) socket.join(IpAddress.v4(0xef000000 + n * 250 + i));
    }
    rig.advance(10_000);
    rig.query({ maxResponseMs: 1000 });
    const said = rig.hear(10_000);
    assert.equal(said.length, Math.ceil(1000 / Math.floor((1500 - 24 - 8) / 8)));
    assert.equal(new Set(said.flatMap(({ line }) => line.match(/239\.0\.\d+\.\d+/g))).size, 1000);
    rig.end();
  });
});

describe('multicast: hostile', () => {
  for (const family of [4, 6] as const) {
    const group = family === 4 ? GROUP : GROUP6;

    test(`IPv${family}: ten thousand queries in a second: one answer each hundredth of it at most`, () => {
      const rig = new MulticastRig(family);
      rig.socket().join(group);
      rig.advance(10_000);
      let answers = 0;
      for (let i = 0; i < 10_000; i++) {
        rig.query({ maxResponseMs: 0, ...(i % 2 === 0 ? {} : { group }) });
        if (i % 10 === 9) answers += rig.advance(1).length;
      }
      assert.ok(answers >= 50 && answers <= 200, `${answers}`);
      rig.end();
    });

    test(`IPv${family}: RFC 3376 §9.1: queries with thousands of sources cost a bounded list, and are answered in full`, () => {
      const rig = new MulticastRig(family);
      rig.socket().join(group);
      rig.advance(10_000);
      for (let round = 0; round < 100; round++) {
        const sources = Array.from({ length: 80 }, (_, i) =>
          family === 4 ? IpAddress.v4(0x0b000000 + round * 80 + i) : new IpAddress(0xfd110000, 0, 0, round * 80 + i),
        );
        rig.query({ group, sources, maxResponseMs: 60_000 });
      }
      const lines = rig.advance(100_000);
      assert.equal(lines.length, 1);
      assert.match(lines[0]!, /is_ex \{ \}/, 'more sources than are remembered: the whole filter is told');
      rig.end();
    });

    test(`IPv${family}: queries for groups that nobody joined leave no trace`, () => {
      const rig = new MulticastRig(family);
      rig.advance(1000);
      for (let i = 0; i < 1000; i++) {
        const foreign = family === 4 ? IpAddress.v4(0xef000000 + i) : new IpAddress(0xff150000, 0, 0, i);
        rig.query({ group: foreign, to: family === 4 ? ALL_HOSTS : ALL_NODES });
      }
      assert.equal(rig.stack.context.timers.count, 0);
      rig.end();
    });

    test(`IPv${family}: a filter that changes all the time is told whole`, () => {
      const rig = new MulticastRig(family);
      const socket = rig.socket();
      socket.join(group, { source: family === 4 ? ip('10.0.0.2') : ip('fd00::2') });
      rig.advance(10_000);
      for (let i = 0; i < 100; i++) {
        const sources = Array.from({ length: 60 }, (_, n) =>
          family === 4 ? IpAddress.v4(0x0b000000 + i * 60 + n) : new IpAddress(0xfd110000, 0, 0, i * 60 + n),
        );
        socket.setSourceFilter(group, includeOf(sources));
      }
      const lines = rig.advance(0);
      assert.match(lines[0]!, /to_in \{/);
      assert.equal(lines.join(' ').match(/(fd11::|11\.0\.)/g)!.length, 60);
      rig.end();
    });
  }
});
