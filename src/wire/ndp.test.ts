import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { patched, toHex } from '../../test/hex.ts';
import * as packets from '../../test/packets-control.ts';
import { randomOf } from '../../test/random.ts';
import { IpAddress, MacAddress } from './address.ts';
import { PROTOCOL_ICMPV6, pseudoHeaderSum } from './ip.ts';
import * as ndp from './ndp.ts';
import * as ndpOptions from './ndp-options.ts';
import { octetsOf } from './octets.ts';

const ip = (text: string): IpAddress => IpAddress.parse(text);
const HEADER = 40;
const MAC1 = MacAddress.parse('02:00:00:00:00:01');
const MAC2 = MacAddress.parse('02:00:00:00:00:02');
const NONE: ndpOptions.Options = {
  sourceMac: null,
  targetMac: null,
  mtu: null,
  nonce: null,
  prefixes: [],
  routes: [],
  nameServers: [],
  searchDomains: [],
  redirected: null,
};
const ROUTER: ndp.RouterAdvertisement = {
  hopLimit: 64,
  managed: false,
  other: true,
  preference: 'high',
  lifetimeSeconds: 1800,
  reachableMs: 30_000,
  retransMs: 1000,
};
const RA_OPTIONS: ndpOptions.Options = {
  ...NONE,
  sourceMac: MAC1,
  mtu: 1400,
  prefixes: [
    {
      prefix: ip('fd00:1::'),
      prefixLength: 64,
      onLink: true,
      autonomous: true,
      validSeconds: 86_400,
      preferredSeconds: 14_400,
    },
  ],
  routes: [{ prefix: ip('fd00:2::'), prefixLength: 48, preference: 'low', lifetimeSeconds: 600 }],
  nameServers: [{ lifetimeSeconds: 1200, servers: [ip('fd00::53'), ip('fd00::54')] }],
  searchDomains: [{ lifetimeSeconds: 1200, domains: ['example.com', 'lan'] }],
};

const sourceOf = (packet: Uint8Array): IpAddress => addressAt(packet, 8);
const destinationOf = (packet: Uint8Array): IpAddress => addressAt(packet, 24);
const addressAt = (packet: Uint8Array, p: number): IpAddress => {
  const { dv } = octetsOf(packet);
  return new IpAddress(dv.getInt32(p), dv.getInt32(p + 4), dv.getInt32(p + 8), dv.getInt32(p + 12));
};

function checkPacket(packet: Uint8Array, hopLimit = 255, from = sourceOf(packet), to = destinationOf(packet)) {
  return ndp.check(octetsOf(packet).dv, HEADER, packet.length, hopLimit, from, to);
}

describe('ndp: read and written', () => {
  /** What `emit` writes must be the packet. */
  function assertEmits(packet: Uint8Array, emit: (o: ReturnType<typeof octetsOf>, pseudo: number) => number): void {
    const out = octetsOf(new Uint8Array(packet.length).fill(0xee));
    out.u8.set(packet.subarray(0, HEADER));
    const pseudo = pseudoHeaderSum(sourceOf(packet), destinationOf(packet), PROTOCOL_ICMPV6);
    assert.equal(emit(out, pseudo), packet.length - HEADER);
    assert.equal(toHex(out.u8), toHex(packet));
  }
  const optionsOf = (packet: Uint8Array) => ndp.options(octetsOf(packet).dv, HEADER, packet.length);

  it('router solicitation', () => {
    assert.equal(checkPacket(packets.ND_RS), null);
    assert.deepEqual(optionsOf(packets.ND_RS), { ...NONE, sourceMac: MAC1 });
    assertEmits(packets.ND_RS, (o, pseudo) => ndp.emitRouterSolicitation(o, HEADER, { sourceMac: MAC1 }, pseudo));
  });
  it('router advertisement with all options', () => {
    assert.equal(checkPacket(packets.ND_RA), null);
    assert.deepEqual(ndp.routerAdvertisement(octetsOf(packets.ND_RA).dv, HEADER), ROUTER);
    const read = optionsOf(packets.ND_RA);
    assert.deepEqual(read, RA_OPTIONS);
    // scapy uses 24 bytes for a route of 48 bits where 16 do: the same message otherwise.
    const out = octetsOf(new Uint8Array(300));
    const pseudo = pseudoHeaderSum(sourceOf(packets.ND_RA), destinationOf(packets.ND_RA), PROTOCOL_ICMPV6);
    const length = ndp.emitRouterAdvertisement(out, HEADER, ROUTER, read, pseudo);
    assert.equal(length, 16 + ndpOptions.optionsLength(read));
    assert.deepEqual(ndp.routerAdvertisement(out.dv, HEADER), ROUTER);
    assert.deepEqual(ndp.options(out.dv, HEADER, HEADER + length), RA_OPTIONS);
  });
  it('neighbour solicitation', () => {
    assert.equal(checkPacket(packets.ND_NS), null);
    const { dv } = octetsOf(packets.ND_NS);
    assert.ok(ndp.target(dv, HEADER).equals(ip('fd00::2')));
    assert.ok(ndp.solicitedNode(ip('fd00::2')).equals(destinationOf(packets.ND_NS)));
    assertEmits(packets.ND_NS, (o, pseudo) =>
      ndp.emitNeighbourSolicitation(o, HEADER, ip('fd00::2'), { sourceMac: MAC1 }, pseudo),
    );
  });
  it('duplicate address detection with a nonce', () => {
    assert.equal(checkPacket(packets.ND_DAD), null);
    const nonce = Uint8Array.of(1, 2, 3, 4, 5, 6);
    assert.deepEqual(optionsOf(packets.ND_DAD), { ...NONE, nonce });
    const out = octetsOf(new Uint8Array(packets.ND_DAD.length));
    ndp.emitNeighbourSolicitation(out, HEADER, ip('fe80::9'), { nonce }, 0);
    // All but the checksum, which scapy's raw option is not part of.
    assert.equal(toHex(out.u8.slice(HEADER + 4)), toHex(packets.ND_DAD.slice(HEADER + 4)));
  });
  it('neighbour advertisement', () => {
    assert.equal(checkPacket(packets.ND_NA), null);
    const flags = ndp.FLAG_ROUTER | ndp.FLAG_SOLICITED | ndp.FLAG_OVERRIDE;
    assert.equal(ndp.neighbourFlags(octetsOf(packets.ND_NA).dv, HEADER), flags);
    assertEmits(packets.ND_NA, (o, pseudo) =>
      ndp.emitNeighbourAdvertisement(o, HEADER, ip('fd00::2'), flags, { targetMac: MAC2 }, pseudo),
    );
  });
  it('redirect', () => {
    const packet = packets.ND_REDIRECT;
    assert.equal(checkPacket(packet), null);
    const { dv, u8 } = octetsOf(packet);
    assert.ok(ndp.target(dv, HEADER).equals(ip('fe80::2')));
    assert.ok(ndp.destination(dv, HEADER).equals(ip('fd00:9::9')));
    const { targetMac, redirected } = optionsOf(packet);
    assert.deepEqual(targetMac, MAC2);
    assert.deepEqual(redirected, { start: HEADER + 56, end: packet.length });
    const out = octetsOf(new Uint8Array(400));
    const quoted = u8.slice(redirected.start, redirected.end);
    out.u8.set(quoted, 300);
    const pseudo = pseudoHeaderSum(sourceOf(packet), destinationOf(packet), PROTOCOL_ICMPV6);
    const opts = { targetMac: MAC2, redirected: { start: 300, end: 300 + quoted.length } };
    const length = ndp.emitRedirect(out, HEADER, ip('fe80::2'), ip('fd00:9::9'), opts, pseudo);
    assert.equal(toHex(out.u8.slice(HEADER, HEADER + length)), toHex(packet.slice(HEADER)));
  });
});

describe('ndp: validity', () => {
  const { ND_RS, ND_RA, ND_NS, ND_DAD, ND_NA, ND_REDIRECT } = packets;
  const rows: [name: string, got: ndp.Drop | null, want: ndp.Drop | null][] = [
    ['a hop limit of 254', checkPacket(ND_RA, 254), 'ndp-bad-hop-limit'],
    ['a code', checkPacket(patched(ND_RA, HEADER + 1, '01')), 'ndp-bad-code'],
    ['an advertisement cut', checkPacket(ND_RA.slice(0, HEADER + 15)), 'ndp-truncated'],
    ['nothing', checkPacket(ND_RA.slice(0, HEADER), 255, ip('fe80::1'), ip('ff02::1')), 'ndp-truncated'],
    ['an option cut', checkPacket(ND_RA.slice(0, -1)), 'ndp-bad-option'],
    ['an option of length 0', checkPacket(patched(ND_RS, HEADER + 9, '00')), 'ndp-bad-option'],
    ['RS from nowhere with an address option', checkPacket(ND_RS, 255, ip('::')), 'ndp-bad-option'],
    ['RS from nowhere without', checkPacket(ND_RS.slice(0, -8), 255, ip('::')), null],
    ['RA from a global address', checkPacket(ND_RA, 255, ip('fd00::1')), 'ndp-bad-source'],
    ['NS for a group', checkPacket(patched(ND_NS, HEADER + 8, 'ff02')), 'ndp-bad-target'],
    ['DAD to one host', checkPacket(ND_DAD, 255, ip('::'), ip('fe80::9')), 'ndp-bad-destination'],
    ['DAD with an address option', checkPacket(patched(ND_DAD, HEADER + 24, '01')), 'ndp-bad-option'],
    ['NA for a group', checkPacket(patched(ND_NA, HEADER + 8, 'ff02')), 'ndp-bad-target'],
    ['a solicited NA to all', checkPacket(ND_NA, 255, ip('fe80::1'), ip('ff02::1')), 'ndp-bad-destination'],
    ['a redirect from a global address', checkPacket(ND_REDIRECT, 255, ip('fd00::9')), 'ndp-bad-source'],
    ['a redirect to a global router', checkPacket(patched(ND_REDIRECT, HEADER + 8, 'fd00')), 'ndp-bad-target'],
    ['a redirect about a group', checkPacket(patched(ND_REDIRECT, HEADER + 24, 'ff02')), 'ndp-bad-destination'],
  ];
  for (const [name, got, want] of rows) it(name, () => assert.equal(got, want));
});

describe('ndp-options: contents that make no sense', () => {
  const read = (bytes: Uint8Array): ndpOptions.Options => {
    assert.ok(ndpOptions.checkOptions(octetsOf(bytes).dv, 0, bytes.length));
    return ndpOptions.parseOptions(octetsOf(bytes).dv, 0, bytes.length);
  };
  const write = (options: Partial<ndpOptions.Options>): Uint8Array => {
    const bytes = new Uint8Array(ndpOptions.optionsLength(options)).fill(0xee);
    assert.equal(ndpOptions.emitOptions(octetsOf(bytes).dv, 0, options), bytes.length);
    return bytes;
  };
  const prefix = write({ prefixes: RA_OPTIONS.prefixes });
  const route = write({ routes: RA_OPTIONS.routes });
  const domains = write({ searchDomains: RA_OPTIONS.searchDomains });
  const rows: [string, Uint8Array][] = [
    ['a prefix of 129 bits', patched(prefix, 2, '81')],
    ['a prefix option of 24 bytes', patched(prefix.slice(0, 24), 1, '03')],
    ['a route of 129 bits', patched(route, 2, '81')],
    ['a route of 65 bits in 16 bytes', patched(route, 2, '41')],
    ['a route of reserved preference', patched(route, 3, '10')],
    ['a label with a dot in it', patched(domains, 10, '2e')],
    ['a label with a control character', patched(domains, 10, '1b')],
    ['a compressed name', patched(domains, 8, 'c0')],
    ['a label over the end', patched(domains, 8, '3f')],
    [
      'a name without its end',
      patched(write({ searchDomains: [{ lifetimeSeconds: 1, domains: ['abcdef'] }] }), 15, '61'),
    ],
    ['name servers of an even length', patched(write({ nameServers: RA_OPTIONS.nameServers }).slice(0, 32), 1, '04')],
  ];
  for (const [name, bytes] of rows) it(name, () => assert.deepEqual(read(bytes), NONE));

  it('more than LIST_MAX of a kind are skipped', () => {
    const many = Array.from({ length: 40 }, () => RA_OPTIONS.prefixes[0]!);
    assert.equal(read(write({ prefixes: many })).prefixes.length, ndpOptions.LIST_MAX);
  });
  it('routes of every length come back', () => {
    for (const prefixLength of [0, 1, 64, 65, 128]) {
      const lifetimeSeconds = ndpOptions.LIFETIME_INFINITE;
      const prefix = prefixLength === 0 ? ip('::') : prefixLength <= 64 ? ip('fd00:1:2:3::') : ip('fd00::1:2:3:4');
      const routes = [{ prefix, prefixLength, preference: 'medium', lifetimeSeconds }] as const;
      assert.deepEqual(read(write({ routes })).routes, routes);
    }
  });
  it('20000 random and spoiled lists: nothing throws', () => {
    const random = randomOf(11);
    const all = write({ ...RA_OPTIONS, targetMac: MAC2, nonce: Uint8Array.of(1, 2, 3, 4, 5, 6) });
    let read = 0;
    for (let i = 0; i < 20_000; i++) {
      const bytes = random.below(4) === 0 ? random.bytes(8 * random.below(9)) : all.slice(0, 8 * random.below(30));
      for (let n = random.below(4); n > 0 && bytes.length > 0; n--)
        bytes[random.below(bytes.length)] = random.below(256);
      const { dv } = octetsOf(bytes);
      if (!ndpOptions.checkOptions(dv, 0, bytes.length)) continue;
      ndpOptions.formatOptions(ndpOptions.parseOptions(dv, 0, bytes.length));
      read++;
    }
    assert.ok(read > 2000, `only ${read} lists were good`);
  });
});
