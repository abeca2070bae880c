import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { advertisement, ip, NdPeer, type NdPeerOptions, neighbourAdvertisement, prefix } from '../../test/ndp.ts';
import * as ndp from '../wire/ndp.ts';
import { LIFETIME_INFINITE } from '../wire/ndp-options.ts';

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

/** A host that has its link-local address and has asked for routers. */
function rig(options: NdPeerOptions = {}): NdPeer {
  const peer = new NdPeer({ autoconfigure: true, ...options });
  peer.pass(3000);
  peer.lines();
  return peer;
}

const says = (valid: number, preferred: number, text = '2001:db8::/64'): Uint8Array =>
  advertisement({ prefixes: [prefix(text, { validSeconds: valid, preferredSeconds: preferred })] });

/** What is left of the valid and preferred lifetime of the one address made of a prefix, in seconds. */
function left(peer: NdPeer): [number, number] {
  const local = peer.stack.ip.addresses.all.find(({ origin }) => origin === 'slaac')!;
  return [(local.validUntil - peer.now) / 1000, (local.preferredUntil - peer.now) / 1000];
}

describe('slaac: the link-local address, RFC 4862 §5.3', () => {
  test('is opaque and stable: the same secret gives the same one, RFC 7217', () => {
    const secret = Uint8Array.from({ length: 16 }, (_, i) => i);
    const of = (options: NdPeerOptions): string => rig(options).addresses()[0]!;
    const first = of({ secret, seed: 1 });
    assert.match(first, /^fe80::[0-9a-f:]+ link-local preferred$/);
    assert.equal(of({ secret, seed: 2 }), first);
    assert.notEqual(of({ secret: secret.map((byte) => byte ^ 1), seed: 1 }), first);
    assert.notEqual(of({ seed: 1 }), of({ seed: 2 }), 'without a secret it is by chance');
    assert.doesNotMatch(first, /ff:fe/, 'made of no link address');
  });

  test('a secret has 16 bytes', () => {
    assert.throws(() => new NdPeer({ secret: new Uint8Array(15) }), /secret: expected 16 bytes, got 15/);
  });

  test('RFC 4862 §5.4.2: probed for within a second, and used a second after', () => {
    const peer = new NdPeer({ autoconfigure: true });
    const [[at]] = peer.watch(3000, /who has fe80::/) as [[number, string]];
    assert.ok(at >= 1 && at <= 1001, `${at}`);
    const before = peer.addresses();
    assert.match(before[0]!, /preferred$/);
    peer.end();
  });
});

describe('slaac: asking for routers, RFC 7559', () => {
  test('after 4 s, twice as long each time, an hour at most; until a router answers', () => {
    const peer = new NdPeer({ autoconfigure: true });
    const seen = peer.watch(3 * DAY_MS, /router solicitation/).map(([ms]) => ms);
    const gaps = seen.slice(1).map((ms, i) => (ms - seen[i]!) / 1000);
    assert.ok(seen[0]! < 2100, `${seen[0]}`);
    assert.ok(gaps[0]! >= 3.6 && gaps[0]! <= 4.4, `${gaps[0]}`);
    for (let i = 1; gaps[i]! < 3000; i++) {
      const ratio = gaps[i]! / gaps[i - 1]!;
      assert.ok(ratio >= 1.89 && ratio <= 2.11, `gap ${i}: ${ratio}`);
    }
    for (const gap of gaps.slice(12)) assert.ok(gap >= 3240 && gap <= 3960, `${gap}`);
    peer.send(advertisement({ lifetimeSeconds: 0 }));
    assert.equal(peer.watch(2 * HOUR_MS, /router solicitation/).length >= 1, true, 'no default router: asked on');
    peer.send(advertisement({ lifetimeSeconds: 9000 }));
    assert.deepEqual(peer.watch(2 * HOUR_MS, /router solicitation/), []);
    assert.equal(peer.watch(HOUR_MS, /router solicitation/).length > 3, true, 'the last router is gone: asked anew');
    peer.end();
  });

  test('from the link-local address, to all routers, with our link address', () => {
    const peer = new NdPeer({ autoconfigure: true });
    const [[, line]] = peer.watch(3000, /router solicitation/) as [[number, string]];
    assert.match(line, /^IP6 fe80::\S+ > ff02::2: ICMP6, router solicitation, source link-address 02:00:00:00:00:01/);
    peer.end();
  });

  test('a host without SLAAC asks nobody', () => {
    const peer = new NdPeer({});
    assert.deepEqual(peer.watch(60_000, /router solicitation/), []);
    peer.end();
  });
});

describe('slaac: prefixes, RFC 4862 §5.5.3', () => {
  test('make an address, which is probed for within a second, and routes', () => {
    const peer = rig();
    peer.send(says(86_400, 3600));
    assert.deepEqual(peer.states(), ['slaac tentative']);
    peer.pass(2001);
    assert.deepEqual(peer.states(), ['slaac preferred']);
    const path = peer.stack.ip.path(ip('2001:db8:1::1'), null)!;
    assert.match(`${path.source}`, /^2001:db8::/);
    assert.equal(path.neighbour!.address.toString(), 'fe80::1%2', 'by the default router');
    assert.equal(
      peer.stack.ip.path(ip('2001:db8::7'), null)!.neighbour!.address.toString(),
      '2001:db8::7',
      'on the link',
    );
    peer.end();
  });

  const ignored: [string, Parameters<typeof prefix>[1], string?][] = [
    ['without the autonomous flag', { autonomous: false }],
    ['(b): link-local', {}, 'fe80::/64'],
    ['(c): preferred for longer than valid', { validSeconds: 100, preferredSeconds: 101 }],
    ['(d): a valid lifetime of 0', { validSeconds: 0, preferredSeconds: 0 }],
    ['(d): other than 64 bits', {}, '2001:db8::/60'],
    ['a group', {}, 'ff0e::/64'],
  ];
  for (const [name, changes, text = '2001:db8::/64'] of ignored) {
    test(`no address ${name}`, () => {
      const peer = rig();
      peer.send(advertisement({ prefixes: [prefix(text, changes)] }));
      peer.pass(3000);
      assert.deepEqual(peer.states(), []);
      peer.end();
    });
  }

  test('deprecated when its preferred lifetime ends, gone when the valid one does', () => {
    const peer = rig();
    peer.send(says(10_000, 5000));
    peer.pass(4_999_999);
    assert.deepEqual(peer.states(), ['slaac preferred']);
    peer.pass(1);
    assert.deepEqual(peer.states(), ['slaac deprecated']);
    assert.equal(peer.stack.ip.addresses.all.at(-1)!.isAssigned, true, 'still ours');
    peer.pass(4_999_999);
    assert.deepEqual(peer.states(), ['slaac deprecated']);
    const groups = peer.iface.groups.count;
    peer.pass(1);
    assert.deepEqual(peer.states(), []);
    assert.equal(peer.iface.groups.count, groups - 1, 'its solicited-node group too');
    assert.equal(peer.stack.ip.routes.lookup(ip('2001:db8::1')), null, 'and the prefix');
    peer.end();
  });

  test('an advertisement renews both, and makes it preferred again', () => {
    const peer = rig();
    peer.send(says(10_000, 5000));
    peer.pass(6_000_000);
    assert.deepEqual(peer.states(), ['slaac deprecated']);
    peer.send(says(10_000, 5000));
    assert.deepEqual(peer.states(), ['slaac preferred']);
    assert.deepEqual(left(peer), [10_000, 5000]);
    peer.end();
  });

  const rows: [string, number, number, number][] = [
    ['longer than what is left', 10_000, 20_000, 20_000],
    ['longer than two hours', 86_400, 7201, 7201],
    ['two hours or less: two hours', 86_400, 60, 7200],
    ['0: two hours', 86_400, 0, 7200],
    ['less, and less than two hours are left: no change', 6000, 60, 6000],
    ['more than is left, though less than two hours', 3000, 4000, 4000],
    ['for ever', 86_400, LIFETIME_INFINITE, Number.POSITIVE_INFINITY],
  ];
  for (const [name, first, second, want] of rows) {
    test(`(e), the two-hour rule: ${name}`, () => {
      const peer = rig();
      peer.send(says(first, Math.min(first, 1000)));
      peer.pass(3000);
      peer.send(says(second, 0));
      const [valid, preferred] = left(peer);
      // What is left alone has run for 3 s.
      assert.equal(valid, want === first ? want - 3 : want);
      assert.equal(preferred, 0, 'the preferred lifetime is as told');
      assert.deepEqual(peer.states(), ['slaac deprecated']);
      peer.end();
    });
  }

  test('one that comes deprecated is deprecated from the first', () => {
    const peer = rig();
    peer.send(says(86_400, 0));
    peer.pass(3000);
    assert.deepEqual(peer.states(), ['slaac deprecated']);
    peer.end();
  });

  test("RFC 7217: another identifier where the first is another host's", () => {
    const peer = rig();
    const target = (): string => {
      for (let i = 0; i < 40; i++) {
        const [seen] = peer.watch(50, /who has 2001:db8::/);
        if (seen !== undefined) return /who has (\S+),/.exec(seen[1])![1]!;
      }
      throw new Error('no probe');
    };
    peer.send(says(86_400, 3600));
    const first = target();
    peer.send(neighbourAdvertisement(first, { flags: ndp.FLAG_OVERRIDE }));
    const second = target();
    assert.notEqual(second, first);
    peer.pass(3000);
    assert.deepEqual(peer.states(), ['slaac preferred']);
    assert.equal(peer.stack.stats.ndDuplicates, 1);
    peer.end();
  });

  test('sixteen addresses at most, however many prefixes', () => {
    const peer = rig({ dadTransmits: 0 });
    for (let i = 0; i < 8; i++) {
      const prefixes = Array.from({ length: 8 }, (_, k) => prefix(`2001:db8:${i}:${k}::/64`));
      peer.send(advertisement({ prefixes }));
    }
    assert.equal(peer.states().length, 16);
    assert.ok(peer.drops['nd-table-full']! >= 48);
    peer.end();
  });
});

describe('slaac: temporary addresses, RFC 8981', () => {
  const of = (peer: NdPeer, origin: string): string[] =>
    peer.addresses().filter((line) => line.includes(` ${origin} `));

  test('one beside the stable one, preferred for what is new', () => {
    const peer = rig({ temporary: true });
    peer.send(says(7 * 86_400, 7 * 86_400));
    peer.pass(3000);
    assert.deepEqual(peer.states(), ['slaac preferred', 'temporary preferred']);
    const [temporary] = of(peer, 'temporary');
    assert.equal(`${peer.stack.ip.path(ip('2001:db8:1::1'), null)!.source}`, temporary!.split(' ')[0]);
    peer.end();
  });

  test('a new one each day, before the old one is deprecated; each lives two days', () => {
    const peer = rig({ temporary: true });
    const all = new Set<string>();
    for (let hour = 0; hour < 10 * 24; hour++) {
      if (hour % 12 === 0) peer.send(says(30 * 86_400, 7 * 86_400));
      peer.pass(HOUR_MS);
      const now = of(peer, 'temporary');
      for (const line of now) all.add(line.split(' ')[0]!);
      assert.ok(
        now.some((line) => line.endsWith('preferred')),
        `hour ${hour}: ${now.join()}`,
      );
      assert.ok(now.length <= 4, now.join());
    }
    // Each is preferred for 14.4 to 24 hours.
    assert.ok(all.size >= 10 && all.size <= 17, `${all.size}`);
    assert.equal(of(peer, 'slaac').length, 1);
    peer.end();
  });

  test('RFC 8981 §3.4: none where it would not be preferred for long', () => {
    const peer = rig({ temporary: true });
    peer.send(says(86_400, 5));
    peer.pass(1000);
    assert.deepEqual(of(peer, 'temporary'), []);
    peer.end();
  });

  test('it ends with its prefix', () => {
    const peer = rig({ temporary: true });
    peer.send(says(10_000, 5000));
    peer.pass(5_000_000);
    assert.deepEqual(peer.states(), ['slaac deprecated', 'temporary deprecated']);
    peer.pass(5_000_000);
    assert.deepEqual(peer.states(), []);
    peer.end();
  });
});
