import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  advertisement,
  ip,
  NdPeer,
  neighbourAdvertisement,
  prefix,
  ROUTER,
  ROUTER_MAC,
  ROUTER2_MAC,
  routerSolicitation,
  solicitation,
} from '../../test/ndp.ts';
import { REMOTE_MAC } from '../../test/peer.ts';
import { Cidr, MacAddress } from '../wire/address.ts';
import * as ndp from '../wire/ndp.ts';
import { DELAY, INCOMPLETE, PROBE, REACHABLE, STALE } from './neighbours.ts';

const REMOTE = 'fd00::2';
const FROM = { from: REMOTE, to: 'fd00::1', mac: REMOTE_MAC };

/** A host at fd00::1/64 with an UDP socket, whose addresses need no probing. */
function rig() {
  const peer = new NdPeer({ addresses: ['fd00::1/64'], dadTransmits: 0 });
  peer.lines();
  const socket = peer.stack.udpSocket();
  socket.bind({ port: 4000 });
  const send = (to = REMOTE): boolean => socket.send(new Uint8Array(1), { address: ip(to), port: 53 });
  const state = (of = REMOTE): number | null => peer.iface.neighbours.find(peer.zoned(of))?.state ?? null;
  return { peer, socket, send, state };
}

const DATAGRAM = /fd00::1\.4000 > fd00::2\.53/;
const WHO_HAS = /neighbor solicitation, who has fd00::2/;

describe('nd: solicitations of ours', () => {
  test('RFC 4861 §7.2.2: to the solicited-node group, with our link address, from the address of the packet', () => {
    const { peer, send } = rig();
    send();
    const [line] = peer.lines();
    assert.match(
      line!,
      /^IP6 fd00::1 > ff02::1:ff00:2: ICMP6, neighbor solicitation, who has fd00::2, source link-address 02:00:00:00:00:01/,
    );
    peer.end();
  });

  test('RFC 4861 §7.2.2: three, RetransTimer apart; then what waited is unreachable', () => {
    const { peer, send, state } = rig();
    peer.stack.udpSocket();
    const tcp = peer.stack.tcpSocket();
    tcp.connect({ address: ip(REMOTE), port: 80 });
    send();
    assert.deepEqual(
      peer.watch(5000, WHO_HAS).map(([ms]) => ms),
      [0, 1000, 2000],
    );
    assert.equal(tcp.error, 'EHOSTUNREACH');
    assert.equal(state(), null);
    assert.equal(peer.drops['neighbour-unreachable'], 3, 'the datagram, the SYN, and the SYN again');
    peer.end();
  });

  test('the timers of a router advertisement count', () => {
    const peer = new NdPeer({ addresses: ['fd00::1/64'], dadTransmits: 0, acceptRouters: true });
    const socket = peer.stack.udpSocket();
    peer.send(advertisement({ retransMs: 300, reachableMs: 10_000, hopLimit: 33 }));
    assert.equal(peer.nd.retransMs, 300);
    assert.ok(peer.nd.reachableMs >= 5000 && peer.nd.reachableMs < 15_000, `${peer.nd.reachableMs}`);
    assert.equal(peer.iface.hopLimit, 33);
    socket.send(new Uint8Array(1), { address: ip(REMOTE), port: 53 });
    assert.deepEqual(
      peer.watch(2000, WHO_HAS).map(([ms]) => ms),
      [0, 300, 600],
    );
    peer.end();
  });

  test('RFC 4861 §6.3.2: a new random reachable time is drawn every few hours', () => {
    const peer = new NdPeer({ dadTransmits: 0, acceptRouters: true });
    const seen = new Set<number>();
    for (let i = 0; i < 8; i++) {
      peer.send(advertisement({ reachableMs: 30_000 }));
      seen.add(peer.nd.reachableMs);
      peer.pass(3_600_000);
    }
    assert.equal(seen.size, 4);
    for (const ms of seen) assert.ok(ms >= 15_000 && ms < 45_000, `${ms}`);
    peer.end();
  });
});

describe('nd: advertisements of others, RFC 4861 §7.2.5', () => {
  const flags = { S: ndp.FLAG_SOLICITED, O: ndp.FLAG_OVERRIDE, R: ndp.FLAG_ROUTER };
  const other = MacAddress.parse('02:00:00:00:00:77');
  interface Row {
    readonly name: string;
    /** The state before, and after. */
    readonly from: 'INCOMPLETE' | 'REACHABLE';
    readonly flags: number;
    readonly mac: MacAddress | null;
    readonly to: number;
    readonly isOther: boolean;
  }
  const rows: Row[] = [
    {
      name: 'INCOMPLETE, solicited',
      from: 'INCOMPLETE',
      flags: flags.S,
      mac: REMOTE_MAC,
      to: REACHABLE,
      isOther: false,
    },
    { name: 'INCOMPLETE, unsolicited', from: 'INCOMPLETE', flags: 0, mac: REMOTE_MAC, to: STALE, isOther: false },
    {
      name: 'INCOMPLETE, no link address',
      from: 'INCOMPLETE',
      flags: flags.S,
      mac: null,
      to: INCOMPLETE,
      isOther: false,
    },
    { name: 'other address, no override', from: 'REACHABLE', flags: flags.S, mac: other, to: STALE, isOther: false },
    {
      name: 'other address, override, solicited',
      from: 'REACHABLE',
      flags: flags.S | flags.O,
      mac: other,
      to: REACHABLE,
      isOther: true,
    },
    {
      name: 'other address, override, unsolicited',
      from: 'REACHABLE',
      flags: flags.O,
      mac: other,
      to: STALE,
      isOther: true,
    },
    {
      name: 'same address, unsolicited',
      from: 'REACHABLE',
      flags: flags.O,
      mac: REMOTE_MAC,
      to: REACHABLE,
      isOther: false,
    },
    { name: 'no link address, solicited', from: 'REACHABLE', flags: flags.S, mac: null, to: REACHABLE, isOther: false },
  ];
  for (const row of rows) {
    test(row.name, () => {
      const { peer, send, state } = rig();
      send();
      if (row.from === 'REACHABLE') peer.send(neighbourAdvertisement(REMOTE, { ...FROM, flags: flags.S | flags.O }));
      peer.lines();
      const to = (row.flags & flags.S) !== 0 ? 'fd00::1' : 'ff02::1';
      peer.send(neighbourAdvertisement(REMOTE, { ...FROM, to, flags: row.flags, targetMac: row.mac }));
      const { macLow } = peer.iface.neighbours.find(ip(REMOTE))!;
      // What leaves at once on a stale entry makes it DELAY.
      const isSent = row.from === 'INCOMPLETE' && row.to === STALE;
      assert.equal(state(), isSent ? DELAY : row.to);
      if (row.to !== INCOMPLETE) assert.equal(macLow, row.isOther ? other.low : REMOTE_MAC.low);
      assert.equal(peer.lines().length, row.from === 'INCOMPLETE' && row.to !== INCOMPLETE ? 1 : 0);
      peer.end();
    });
  }

  test('of a neighbour that nobody asked for: no entry is made', () => {
    const { peer, state } = rig();
    peer.send(neighbourAdvertisement(REMOTE, FROM));
    assert.equal(state(), null);
    assert.equal(peer.drops['nd-unsolicited'], 1);
    peer.end();
  });

  test('of our own address: a conflict, and nothing changes', () => {
    const { peer } = rig();
    peer.send(neighbourAdvertisement('fd00::1', { ...FROM, to: 'ff02::1', from: 'fe80::9', flags: flags.O }));
    assert.equal(peer.drops['nd-conflict'], 1);
    assert.deepEqual(peer.states(), ['static preferred']);
    peer.end();
  });

  test('a group as link address is no address', () => {
    const { peer, send, state } = rig();
    send();
    const targetMac = MacAddress.parse('33:33:00:00:00:01');
    peer.send(neighbourAdvertisement(REMOTE, { ...FROM, targetMac }));
    assert.equal(state(), INCOMPLETE);
    peer.end();
  });
});

describe('nd: reachability, RFC 4861 §7.3', () => {
  test('REACHABLE, STALE, DELAY, PROBE to the neighbour itself, and gone', () => {
    const { peer, send, state } = rig();
    send();
    peer.send(neighbourAdvertisement(REMOTE, FROM));
    assert.equal(peer.lines().length, 2);
    peer.pass(peer.nd.reachableMs - 1);
    assert.equal(state(), REACHABLE);
    peer.pass(2);
    assert.equal(state(), STALE);
    send();
    assert.match(peer.lines()[0]!, DATAGRAM);
    assert.equal(state(), DELAY);
    peer.pass(4999);
    assert.deepEqual(peer.lines(), []);
    peer.pass(1);
    assert.equal(state(), PROBE);
    assert.match(peer.lines()[0]!, /^IP6 fd00::1 > fd00::2: ICMP6, neighbor solicitation/);
    assert.deepEqual(
      peer.watch(1999, WHO_HAS).map(([ms]) => ms),
      [1000],
    );
    peer.pass(2000);
    assert.equal(state(), null);
    peer.end();
  });

  test('an answer to a probe makes it REACHABLE again', () => {
    const { peer, send, state } = rig();
    send();
    peer.send(neighbourAdvertisement(REMOTE, { ...FROM, to: 'ff02::1', flags: 0 }));
    assert.equal(state(), DELAY);
    peer.pass(5000);
    assert.equal(state(), PROBE);
    peer.send(neighbourAdvertisement(REMOTE, FROM));
    assert.equal(state(), REACHABLE);
    peer.end();
  });

  test('a neighbour that comes back with another link address is found again', () => {
    const { peer, send, state } = rig();
    send();
    peer.send(neighbourAdvertisement(REMOTE, FROM));
    peer.pass(60_000);
    send();
    peer.pass(9000);
    assert.equal(state(), null);
    peer.lines();
    send();
    peer.send(neighbourAdvertisement(REMOTE, { ...FROM, mac: ROUTER2_MAC }));
    assert.equal(peer.lines().length, 2);
    assert.equal(peer.iface.neighbours.find(ip(REMOTE))!.macLow, ROUTER2_MAC.low);
    peer.end();
  });
});

describe('nd: solicitations of others, RFC 4861 §7.2.3', () => {
  test('are answered, and their link address is learned as stale', () => {
    const { peer, state } = rig();
    peer.send(solicitation('fd00::1', { from: REMOTE, mac: REMOTE_MAC, sourceMac: REMOTE_MAC }));
    assert.equal(state(), DELAY, 'the answer went there');
    const [line] = peer.lines();
    assert.match(
      line!,
      /^IP6 fd00::1 > fd00::2: ICMP6, neighbor advertisement, tgt is fd00::1, solicited, override, destination link-address 02:00:00:00:00:01/,
    );
    peer.end();
  });

  test('without a link address the asker is asked first', () => {
    const { peer } = rig();
    peer.send(solicitation('fd00::1', { from: REMOTE, to: 'fd00::1', mac: REMOTE_MAC }));
    assert.match(peer.lines()[0]!, WHO_HAS);
    peer.send(neighbourAdvertisement(REMOTE, FROM));
    assert.match(peer.lines()[0]!, /neighbor advertisement, tgt is fd00::1/);
    peer.end();
  });

  test('from ::, for duplicates: all nodes hear that the address is ours', () => {
    const { peer } = rig();
    peer.send(solicitation('fd00::1', { from: '::', mac: REMOTE_MAC }));
    assert.match(peer.lines()[0]!, /^IP6 fd00::1 > ff02::1: ICMP6, neighbor advertisement, tgt is fd00::1, override/);
    peer.end();
  });

  test('for the link-local address, and for nobody', () => {
    const { peer } = rig();
    const own = peer
      .addresses()
      .find((line) => line.startsWith('fe80'))!
      .split(' ')[0]!;
    peer.send(solicitation(own, { from: 'fe80::9', mac: REMOTE_MAC, sourceMac: REMOTE_MAC }));
    assert.match(peer.lines()[0]!, new RegExp(`^IP6 ${own} > fe80::9: ICMP6, neighbor advertisement`));
    peer.send(solicitation('fd00::77', { from: REMOTE, to: 'fd00::1', sourceMac: REMOTE_MAC }));
    assert.deepEqual(peer.lines(), []);
    assert.equal(peer.drops['nd-not-ours'], 1);
    peer.end();
  });
});

describe('nd: what is dropped', () => {
  const own = 'fd00::1';
  const rows: [string, Uint8Array, string][] = [
    ['RFC 4861 §7.1.1: a hop limit below 255', solicitation(own, { from: REMOTE, hopLimit: 254 }), 'ndp-bad-hop-limit'],
    [
      'RFC 4861 §6.1.2: an advertisement from a global address',
      advertisement({}, { from: 'fd00::9' }),
      'ndp-bad-source',
    ],
    ['RFC 4861 §7.1.1: from :: to us alone', solicitation(own, { from: '::', to: own }), 'ip-bad-source'],
    ['a target that is a group', solicitation('ff02::9', { from: REMOTE, to: own }), 'ndp-bad-target'],
    [
      'RFC 4861 §7.1.2: solicited, to a group',
      neighbourAdvertisement(REMOTE, { to: 'ff02::1' }),
      'ndp-bad-destination',
    ],
    ['routers where none are listened to', advertisement(), 'nd-ignored'],
    ['router solicitations on a host', routerSolicitation({ from: 'fe80::9', to: 'ff02::1' }), 'nd-ignored'],
  ];
  for (const [name, bytes, reason] of rows) {
    test(`${name}: ${reason}`, () => {
      const { peer } = rig();
      peer.send(bytes);
      assert.equal(peer.drops[reason], 1, JSON.stringify(peer.drops));
      assert.deepEqual(peer.lines(), []);
      peer.end();
    });
  }

  test('RFC 4291 §2.5.6: bits between fe80::/10 and the identifier', () => {
    const { peer } = rig();
    const bytes = solicitation('fd00::1', { from: 'fe80::9', sourceMac: REMOTE_MAC });
    bytes[14 + 8 + 7] = 5;
    peer.send(bytes);
    assert.equal(peer.drops['ip-bad-zone'], 1);
    peer.end();
  });
});

describe('nd: duplicate address detection, RFC 4862 §5.4', () => {
  const PROBE_LINE = /^IP6 :: > ff02::1:ff00:1: ICMP6, neighbor solicitation, who has fd00::1, nonce [0-9a-f]{12}/;

  test('an address by hand is tentative for a second, and used then', () => {
    const peer = new NdPeer({ addresses: ['fd00::1/64'], linkLocal: false });
    assert.match(peer.lines()[0]!, PROBE_LINE);
    assert.deepEqual(peer.states(), ['static tentative']);
    assert.equal(peer.stack.ip.isLocalAddress(ip('fd00::1')), false);
    assert.throws(() => peer.stack.udpSocket().bind({ address: ip('fd00::1') }), { code: 'EADDRNOTAVAIL' });
    assert.equal(peer.stack.ip.path(ip(REMOTE), null), null);
    peer.send(solicitation('fd00::1', { from: REMOTE, sourceMac: REMOTE_MAC }));
    assert.deepEqual(peer.lines(), [], 'nobody is answered');
    peer.pass(999);
    assert.deepEqual(peer.states(), ['static tentative']);
    peer.pass(1);
    assert.deepEqual(peer.states(), ['static preferred']);
    assert.match(peer.lines()[0]!, /^IP6 fd00::1 > ff02::2: ICMP6, neighbor advertisement, tgt is fd00::1, dest/); // RFC 9131
    peer.end();
  });

  for (const [name, bytes] of [
    ['an advertisement of it', neighbourAdvertisement('fd00::1', { flags: ndp.FLAG_OVERRIDE })],
    ['another probe for it', solicitation('fd00::1', { from: '::', mac: REMOTE_MAC })],
    ['another probe with a nonce', solicitation('fd00::1', { from: '::', nonce: Uint8Array.of(1, 2, 3, 4, 5, 6) })],
  ] as const) {
    test(`${name}: a duplicate, which is reported and not used`, () => {
      const peer = new NdPeer({ linkLocal: false });
      let duplicates = 0;
      peer.stack.addAddress(peer.iface, Cidr.parse('fd00::1/64'), { onDuplicate: () => duplicates++ });
      peer.send(bytes);
      assert.equal(duplicates, 1);
      assert.equal(peer.stack.stats.ndDuplicates, 1);
      peer.pass(10_000);
      assert.deepEqual(peer.states(), ['static duplicate']);
      assert.equal(peer.stack.ip.isLocalAddress(ip('fd00::1')), false);
      peer.end();
    });
  }

  test('RFC 7527: our own probe that comes back is known by its nonce; three more are sent', () => {
    const peer = new NdPeer({ addresses: ['fd00::1/64'], linkLocal: false });
    const seen: number[] = [];
    for (let i = 0; i < 5; i++) {
      const probe = peer.device.sent.splice(0).find((bytes) => bytes[54] === 135);
      if (probe !== undefined) {
        seen.push(peer.now - 1000);
        peer.send(probe);
      }
      peer.pass(1000);
    }
    assert.deepEqual(seen, [0, 1000, 2000, 3000]);
    assert.deepEqual(peer.states(), ['static preferred']);
    assert.equal(peer.drops['nd-looped'], 4);
    peer.end();
  });

  test('several probes where that is wanted', () => {
    const peer = new NdPeer({ addresses: ['fd00::1/64'], linkLocal: false, dadTransmits: 3 });
    assert.deepEqual(
      peer.watch(5000, PROBE_LINE).map(([ms]) => ms),
      [0, 1000, 2000],
    );
    peer.end();
  });

  test('RFC 7217 §6: a link-local address that another has is made anew, four times at most', () => {
    const peer = new NdPeer();
    const tried = new Set<string>();
    for (let i = 0; i < 10; i++) {
      peer.pass(1000);
      for (const line of peer.lines()) {
        const target = /who has (fe80::[0-9a-f:]+), nonce/.exec(line)?.[1];
        if (target === undefined) continue;
        tried.add(target);
        peer.send(neighbourAdvertisement(target, { flags: ndp.FLAG_OVERRIDE }));
      }
    }
    assert.equal(tried.size, 4);
    assert.deepEqual(peer.addresses(), []);
    peer.end();
  });

  test('removed while it is asked about, it leaves nothing behind', () => {
    const peer = new NdPeer({ addresses: ['fd00::1/64'], linkLocal: false });
    const groups = peer.iface.groups.count;
    assert.equal(peer.stack.removeAddress(peer.iface, ip('fd00::1')), true);
    assert.equal(peer.iface.groups.count, groups - 1);
    peer.pass(5000);
    assert.deepEqual(peer.addresses(), []);
    peer.end();
  });
});

describe('nd: bounds', () => {
  test('16,384 neighbours are remembered, whoever asks', () => {
    const { peer } = rig();
    for (let i = 0; i < 20_000; i++) {
      const from = `fd00::1:${(i >>> 8).toString(16)}:${(i & 0xff).toString(16)}`;
      peer.send(solicitation('fd00::1', { from, mac: REMOTE_MAC, sourceMac: REMOTE_MAC, to: 'fd00::1' }));
      peer.device.sent.length = 0;
      if ((i & 63) === 0) peer.now++;
    }
    assert.equal(peer.iface.neighbours.count, 16_384);
    peer.end();
  });

  test('the link address of a router is learned from its advertisement', () => {
    const peer = new NdPeer({ autoconfigure: true, dadTransmits: 0 });
    peer.send(advertisement({ prefixes: [prefix('2001:db8::/64')] }));
    assert.deepEqual(peer.nd.routers.defaults.map(String), [`${peer.zoned(ROUTER)}`]);
    assert.equal(peer.iface.neighbours.find(peer.zoned(ROUTER))!.macLow, ROUTER_MAC.low);
    peer.end();
  });
});
