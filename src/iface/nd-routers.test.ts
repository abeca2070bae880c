import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  advertisement,
  type From,
  ip,
  NdPeer,
  neighbourAdvertisement,
  prefix,
  ROUTER,
  ROUTER2,
  ROUTER2_MAC,
  redirect,
} from '../../test/ndp.ts';
import { Random } from '../phy/random.ts';
import type { IpAddress } from '../wire/address.ts';
import * as ndp from '../wire/ndp.ts';

const SECOND: From = { from: ROUTER2, mac: ROUTER2_MAC };
const FAR = '2001:db8:ffff::1';

const peerOf = (options = {}): NdPeer =>
  new NdPeer({ addresses: ['2001:db8::1/64'], dadTransmits: 0, acceptRouters: true, ...options });

/** The next hop to an address, without its zone; null: no way. */
function hop(peer: NdPeer, to = FAR): string | null {
  const path = peer.stack.ip.path(ip(to), null);
  return path === null ? null : `${path.neighbour!.address.withZone(0)}`;
}

describe('routers: RFC 4861 §6.3.4', () => {
  test('a default router for as long as it says, and taken back by a lifetime of 0', () => {
    const peer = peerOf();
    assert.equal(hop(peer), null);
    peer.send(advertisement({ lifetimeSeconds: 10 }));
    assert.equal(hop(peer), ROUTER);
    peer.pass(9999);
    assert.equal(hop(peer), ROUTER);
    peer.pass(1);
    assert.equal(hop(peer), null);
    peer.send(advertisement(), advertisement({ lifetimeSeconds: 0 }));
    assert.equal(hop(peer), null);
    peer.end();
  });

  test('prefixes on the link: what is under them is a neighbour; a lifetime of 0 takes them back', () => {
    const peer = peerOf();
    const on = (seconds: number, onLink = true) =>
      advertisement({ prefixes: [prefix('2001:db8:ffff::/48', { validSeconds: seconds, onLink, autonomous: false })] });
    peer.send(on(100));
    assert.equal(hop(peer), FAR);
    peer.send(on(0, false));
    assert.equal(hop(peer), FAR, 'RFC 4861 §6.3.4: without the flag nothing is said');
    peer.pass(99_999);
    assert.equal(hop(peer), FAR);
    peer.pass(1);
    assert.equal(hop(peer), ROUTER);
    peer.send(on(100), on(0));
    assert.equal(hop(peer), ROUTER);
    peer.end();
  });

  test('RFC 4191 §3.1: the preferred router, whichever came first', () => {
    const peer = peerOf();
    peer.send(advertisement(), advertisement({ preference: 'high' }, SECOND));
    assert.equal(hop(peer), ROUTER2);
    peer.send(advertisement({ preference: 'low' }, SECOND));
    assert.equal(hop(peer), ROUTER);
    peer.end();
  });

  test('RFC 4191 §2.3: more specific routes, by length, preference and lifetime', () => {
    const peer = peerOf();
    const route = (text: string, seconds: number, preference: 'low' | 'medium' | 'high' = 'medium') => {
      const { prefix: address, prefixLength } = prefix(text);
      return { prefix: address, prefixLength, preference, lifetimeSeconds: seconds };
    };
    peer.send(
      advertisement({ lifetimeSeconds: 1800 }),
      advertisement({ lifetimeSeconds: 0, routes: [route('2001:db8:ffff::/48', 60)] }, SECOND),
    );
    assert.equal(hop(peer), ROUTER2);
    assert.equal(hop(peer, '2001:db8:fffe::1'), ROUTER);
    peer.send(advertisement({ routes: [route('2001:db8:ffff::/48', 60, 'high')] }));
    assert.equal(hop(peer), ROUTER);
    peer.send(advertisement({ routes: [route('2001:db8:ffff::/48', 0)] }));
    assert.equal(hop(peer), ROUTER2);
    peer.pass(60_000);
    assert.equal(hop(peer), ROUTER);
    peer.send(advertisement({ lifetimeSeconds: 1800, routes: [route('::/0', 1800, 'high')] }, SECOND));
    assert.equal(hop(peer), ROUTER2, 'RFC 4191 §3.1: ::/0 speaks of the default route');
    peer.end();
  });

  test('the MTU, where it can be one', () => {
    const peer = peerOf();
    for (const [mtu, want] of [
      [1400, 1400],
      [1279, 1400],
      [1501, 1400],
      [1280, 1280],
      [1500, 1500],
    ] as const) {
      peer.send(advertisement({ mtu }));
      assert.equal(peer.iface.mtu, want, `told ${mtu}`);
    }
    peer.end();
  });

  test('M and O are told when they change', () => {
    const heard: [boolean, boolean][] = [];
    const peer = peerOf({ onManaged: (managed: boolean, other: boolean) => heard.push([managed, other]) });
    for (const [managed, other] of [
      [false, false],
      [false, true],
      [false, true],
      [true, true],
    ] as const) {
      peer.send(advertisement({ managed, other }));
    }
    assert.deepEqual(heard, [
      [false, true],
      [true, true],
    ]);
    peer.end();
  });

  test('a router that forwards listens to none', () => {
    const peer = peerOf({ acceptRouters: undefined });
    peer.send(advertisement());
    assert.equal(hop(peer), null);
    assert.equal(peer.drops['nd-ignored'], 1);
    peer.end();
  });
});

describe('routers: name servers, RFC 8106', () => {
  const servers = (lifetimeSeconds: number, ...texts: string[]) => ({
    nameServers: [{ lifetimeSeconds, servers: texts.map(ip) }],
  });

  test('come, last, and go', () => {
    const heard: string[] = [];
    const onDns = (list: readonly IpAddress[], search: readonly string[]): void => {
      heard.push(`${list.map((server) => server.withZone(0)).join(' ')} | ${search.join(' ')}`);
    };
    const peer = peerOf({ onDns });
    peer.send(
      advertisement({
        ...servers(60, 'fd00::53', 'fe80::53'),
        searchDomains: [{ lifetimeSeconds: 30, domains: ['a.example', 'b.example'] }],
      }),
    );
    peer.send(advertisement(servers(60, 'fd00::53')));
    peer.pass(30_000);
    peer.send(advertisement(servers(60, 'fd00::53')));
    peer.send(advertisement(servers(0, 'fe80::53')));
    peer.pass(60_000);
    assert.deepEqual(heard, ['fd00::53 fe80::53 | a.example b.example', 'fd00::53 fe80::53 | ', 'fd00::53 | ', ' | ']);
    peer.end();
  });

  test('eight of each at most, the one that ends first given up', () => {
    const peer = peerOf();
    for (let i = 0; i < 20; i++) peer.send(advertisement(servers(100 + i, `fd00::${i + 1}`)));
    assert.deepEqual(
      peer.nd.routers.servers.map(String),
      Array.from({ length: 8 }, (_, i) => `fd00::${(i + 13).toString(10)}`),
    );
    peer.end();
  });
});

describe('routers that do not answer: RFC 4861 §6.3.6, RFC 4191 §3.5', () => {
  /** Two routers, of which the first, preferred one stops answering while it is used. */
  function dead(): { peer: NdPeer; send: () => void } {
    const peer = peerOf();
    const socket = peer.stack.udpSocket();
    const send = (): void => void socket.send(new Uint8Array(1), { address: ip(FAR), port: 53 });
    peer.send(
      advertisement({ preference: 'high', lifetimeSeconds: 9000 }),
      advertisement({ lifetimeSeconds: 9000 }, SECOND),
    );
    send();
    assert.equal(hop(peer), ROUTER);
    peer.pass(5000 + 3000); // DELAY, and three probes
    peer.lines();
    return { peer, send };
  }

  test('another is taken within 8 seconds', () => {
    const { peer, send } = dead();
    assert.equal(hop(peer), ROUTER2);
    send();
    assert.match(peer.lines()[0]!, /2001:db8::1\.\d+ > 2001:db8:ffff::1\.53/);
    peer.end();
  });

  test('the dead one is asked once a minute, and taken again when it answers', () => {
    const { peer } = dead();
    const asked = peer.watch(130_000, /who has fe80::1,/).map(([ms]) => ms);
    // Three solicitations each time.
    assert.deepEqual(asked, [60_000, 61_000, 62_000, 120_000, 121_000, 122_000]);
    peer.pass(51_000);
    peer.send(neighbourAdvertisement(ROUTER, { to: '2001:db8::1', flags: ndp.FLAG_SOLICITED | ndp.FLAG_ROUTER }));
    assert.equal(hop(peer), ROUTER);
    peer.end();
  });

  test('where none answers they are tried in turn', () => {
    const peer = peerOf();
    const socket = peer.stack.udpSocket();
    peer.send(advertisement({ lifetimeSeconds: 9000 }), advertisement({ lifetimeSeconds: 9000 }, SECOND));
    const tried = new Set<string>();
    for (let i = 0; i < 6; i++) {
      tried.add(hop(peer)!);
      socket.send(new Uint8Array(1), { address: ip(FAR), port: 53 });
      peer.pass(9000);
    }
    assert.deepEqual([...tried].sort(), [ROUTER, ROUTER2]);
    peer.end();
  });

  test('RFC 4861 §7.2.5: one that says it is no router any more is none', () => {
    const peer = peerOf();
    peer.send(advertisement());
    assert.equal(hop(peer), ROUTER);
    peer.send(neighbourAdvertisement(ROUTER, { flags: ndp.FLAG_OVERRIDE }));
    assert.equal(hop(peer), null);
    peer.end();
  });
});

describe('routers: redirects, RFC 4861 §8', () => {
  const TO_US = { to: '2001:db8::1' };

  test('to a better router, and to a destination on the link', () => {
    const peer = peerOf();
    peer.send(advertisement(), redirect(ROUTER2, FAR, { ...TO_US, targetMac: ROUTER2_MAC }));
    assert.equal(hop(peer), ROUTER2);
    assert.equal(hop(peer, '2001:db8:ffff::2'), ROUTER, 'of one destination only');
    assert.equal(peer.iface.neighbours.find(peer.zoned(ROUTER2))!.isRouter, true);
    peer.send(redirect(FAR, FAR, { ...TO_US, from: ROUTER2, mac: ROUTER2_MAC }));
    assert.equal(hop(peer), FAR);
    assert.equal(peer.stack.stats.ndRedirects, 2);
    peer.end();
  });

  const refused: [string, Uint8Array][] = [
    ['not from the first hop', redirect(ROUTER2, FAR, { ...TO_US, from: 'fe80::66' })],
    ['about ourselves', redirect(ROUTER2, '2001:db8::1', TO_US)],
    ['about what is on the link', redirect(ROUTER2, '2001:db8::7', TO_US)],
  ];
  for (const [name, bytes] of refused) {
    test(`refused: ${name}`, () => {
      const peer = peerOf();
      peer.send(advertisement(), bytes);
      assert.equal(peer.drops['nd-redirect-refused'], 1);
      assert.equal(hop(peer), ROUTER);
      peer.end();
    });
  }

  test('refused where they are not wanted', () => {
    const peer = peerOf({ acceptRedirects: false });
    peer.send(advertisement(), redirect(ROUTER2, FAR, TO_US));
    assert.equal(peer.drops['nd-redirect-refused'], 1);
    peer.end();
  });

  const malformed: [string, Uint8Array, string][] = [
    ['from a global address', redirect(ROUTER2, FAR, { ...TO_US, from: '2001:db8::9' }), 'ndp-bad-source'],
    ['about a group', redirect(ROUTER2, 'ff0e::1', TO_US), 'ndp-bad-destination'],
    ['to a global router', redirect('2001:db8::9', FAR, TO_US), 'ndp-bad-target'],
    ['from far', redirect(ROUTER2, FAR, { ...TO_US, hopLimit: 64 }), 'ndp-bad-hop-limit'],
  ];
  for (const [name, bytes, reason] of malformed) {
    test(`RFC 4861 §8.1: ${name}: ${reason}`, () => {
      const peer = peerOf();
      peer.send(advertisement(), bytes);
      assert.equal(peer.drops[reason], 1);
      assert.equal(hop(peer), ROUTER);
      peer.end();
    });
  }

  test('forgotten when the better router does not answer', () => {
    const peer = peerOf();
    peer.send(advertisement({ lifetimeSeconds: 9000 }), redirect(ROUTER2, FAR, TO_US));
    const socket = peer.stack.udpSocket();
    socket.send(new Uint8Array(1), { address: ip(FAR), port: 53 });
    assert.equal(hop(peer), ROUTER2);
    peer.pass(3000);
    assert.equal(hop(peer), ROUTER);
    peer.end();
  });

  test('256 destinations, the oldest forgotten', () => {
    const peer = peerOf();
    peer.send(advertisement());
    for (let i = 1; i <= 300; i++) peer.send(redirect(ROUTER2, `2001:db8:ffff::${i.toString(16)}`, TO_US));
    assert.equal(peer.nd.routers.count, 257);
    assert.equal(hop(peer, '2001:db8:ffff::1'), ROUTER);
    assert.equal(hop(peer, '2001:db8:ffff::12c'), ROUTER2);
    peer.end();
  });
});

test('routers: 20,000 hostile messages: nothing throws, all tables keep their bounds, and the host still finds its way', () => {
  const random = new Random(7);
  const peer = peerOf({ autoconfigure: true, temporary: true });
  const below = (n: number): number => random.next() % n;
  const any = (): string => `2001:db8:${below(400).toString(16)}::${below(4)}`;
  for (let i = 0; i < 20_000; i++) {
    const from: From = { from: `fe80::${1 + below(60)}`, to: below(2) === 0 ? 'ff02::1' : '2001:db8::1' };
    const lifetimeSeconds = [0, 1, 60, 65_535][below(4)]!;
    const route = { prefix: ip(any()), prefixLength: below(129), preference: 'high' as const, lifetimeSeconds };
    const made = [
      () =>
        advertisement(
          {
            lifetimeSeconds,
            hopLimit: below(256),
            reachableMs: random.next() >>> below(32),
            retransMs: random.next() >>> below(32),
            mtu: below(70_000),
            routes: [{ ...route, prefixLength: Math.min(64, route.prefixLength) }],
            prefixes: [
              prefix(`${any().replace(/::.*/, '')}::/64`, {
                validSeconds: below(100_000),
                preferredSeconds: below(100_000),
              }),
            ],
            nameServers: [{ lifetimeSeconds, servers: [ip(any()), ip('::')] }],
          },
          from,
        ),
      () => redirect(below(2) === 0 ? ROUTER2 : any(), any(), from),
      () => neighbourAdvertisement(any(), { ...from, flags: below(8) << 5 }),
    ][below(3)]!();
    // One in four is spoiled.
    if (below(4) === 0) made[14 + below(made.length - 14)] = below(256);
    peer.send(made);
    peer.device.sent.length = 0;
    if (below(16) === 0) peer.pass(below(3000));
  }
  const { routers } = peer.nd;
  assert.ok(routers.count <= 16 + 64 + 64 + 256, `${routers.count}`);
  assert.ok(routers.servers.length <= 8);
  assert.ok(peer.stack.ip.addresses.all.length <= 16 + 4);
  assert.ok(peer.stack.ip.routes.count <= 16 + 64 + 64 + 256 + 4);
  peer.pass(70_000_000);
  peer.send(advertisement({ preference: 'high', hopLimit: 64 }));
  assert.equal(hop(peer, '2001:dead::1'), ROUTER);
  peer.end();
});
