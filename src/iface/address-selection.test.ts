import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { PeerDevice } from '../../test/peer.ts';
import { Stack } from '../stack.ts';
import { Cidr, IpAddress } from '../wire/address.ts';
import { scopeOf, sortDestinations } from './address-selection.ts';
import type { AddressOrigin } from './addresses.ts';

const ip = (text: string): IpAddress => IpAddress.parse(text);

interface Own {
  readonly address: string;
  readonly origin?: AddressOrigin;
  readonly deprecated?: boolean;
  readonly iface?: number;
  readonly router?: string;
}

/** A stack with two interfaces and these addresses; all that has no other way leaves by the first. */
function stackWith(own: readonly Own[]): Stack {
  const stack = new Stack({ random: () => 7, memory: 1 << 20 });
  const ifaces = [0, 1].map(() => stack.addInterface(new PeerDevice(), { ipv6: { linkLocal: false } }));
  for (const { address, origin = 'static', deprecated = false, iface = 0, router } of own) {
    const on = ifaces[iface]!;
    const local = stack.ip.addresses.add(on, Cidr.parse(address).withZone(on.index), origin);
    stack.ip.addresses.assign(local);
    if (deprecated) stack.ip.addresses.deprecate(local);
    if (router !== undefined) local.router = ip(router);
  }
  const gateways: [string, string][] = [
    ['::/0', 'fe80::99'],
    ['0.0.0.0/0', '10.0.0.99'],
  ];
  for (const [prefix, gateway] of gateways) {
    stack.addRoute({ prefix: Cidr.parse(prefix), iface: ifaces[0]!, gateway: ip(gateway).withZone(ifaces[0]!.index) });
  }
  stack.addRoute({ prefix: Cidr.parse(`fe80::%${ifaces[0]!.index}/64`), iface: ifaces[0]!, gateway: null });
  return stack;
}

describe('sources: RFC 6724 §5, §10.1', () => {
  const rows: [string, string, readonly (string | Own)[], string][] = [
    ['rule 1: the same address', '2001:db8::2', ['2001:db8::1/64', '2001:db8::2/64'], '2001:db8::2'],
    ['rule 2: global for global', '2001:db8:1::1', ['fe80::1/64', '2001:db8:3::1/64'], '2001:db8:3::1'],
    ['rule 2: of the link for the link', 'fe80::5', ['2001:db8:3::1/64', 'fe80::1/64'], 'fe80::1'],
    ['rule 2: a group of the link', 'ff02::5', ['2001:db8:3::1/64', 'fe80::1/64'], 'fe80::1'],
    ['rule 2: nothing smaller where there is larger', 'fec0::1', ['fe80::1/64', '2001:db8:3::1/64'], '2001:db8:3::1'],
    [
      'rule 3: not the deprecated one',
      '2001:db8:1::1',
      [{ address: '2001:db8:1::9/64', deprecated: true }, '2001:db8:3::1/64'],
      '2001:db8:3::1',
    ],
    [
      'rule 3: the deprecated one where there is no other',
      '2001:db8:1::1',
      [{ address: '2001:db8:1::9/64', deprecated: true }, 'fe80::1/64'],
      '2001:db8:1::9',
    ],
    [
      'rule 5.5: a prefix of the next hop',
      '2001:db8:1::1',
      [
        { address: '2001:db8:1::9/64', router: 'fe80::98%2' },
        { address: '2001:db8:7::9/64', router: 'fe80::99%2' },
      ],
      '2001:db8:7::9',
    ],
    [
      'rule 6: the matching label',
      '2002:c633:6401::1',
      ['2001:db8:1::2/64', '2002:c633:6401:1::2/64'],
      '2002:c633:6401:1::2',
    ],
    ['rule 6: the label goes before the prefix', 'fd12::1', ['2001:db8:1::2/64', 'fd99::2/64'], 'fd99::2'],
    [
      'rule 7: temporary ones',
      '2001:db8:1::d5e3',
      [
        { address: '2001:db8:1::2/64', origin: 'slaac' },
        { address: '2001:db8:1::9/64', origin: 'temporary' },
      ],
      '2001:db8:1::9',
    ],
    [
      'rule 8: the longest matching prefix',
      '2001:db8:1::1',
      ['2001:db8:3::2/64', '2001:db8:1:5::2/64'],
      '2001:db8:1:5::2',
    ],
    [
      'rule 8: no further than the prefix of the source',
      '2001:db8:1::1',
      ['2001:db8:1:0:8000::/64', '2001:db8:1::3/64'],
      '2001:db8:1:0:8000::',
    ],
    [
      'of the outgoing interface only',
      '2001:db8:1::1',
      [{ address: '2001:db8:1::9/64', iface: 1 }, '2001:db8:7::1/64'],
      '2001:db8:7::1',
    ],
    [
      'its own, of whatever scope, before those of another',
      '2001:db8:1::1',
      [{ address: '2001:db8:1::9/64', iface: 1 }, 'fe80::1/64'],
      'fe80::1',
    ],
    ['of another where it has none', '2001:db8:1::1', [{ address: '2001:db8:1::9/64', iface: 1 }], '2001:db8:1::9'],
  ];
  for (const [name, to, own, want] of rows) {
    test(name, () => {
      const stack = stackWith(own.map((one) => (typeof one === 'string' ? { address: one } : one)));
      const [, first] = stack.interfaces;
      const destination = stack.ip.zoned(ip(to));
      const route = stack.ip.routes.lookup(destination);
      const source = first!.sourceFor(destination, route?.gateway ?? destination);
      assert.equal(`${source?.withZone(0)}`, want);
      stack.close();
    });
  }

  test('none at all', () => {
    const stack = stackWith([{ address: '10.0.0.1/24' }]);
    assert.equal(stack.ip.path(ip('2001:db8::1'), null), null);
    stack.close();
  });
});

describe('destinations: RFC 6724 §6, §10.2', () => {
  const rows: [string, readonly (string | Own)[], readonly string[], readonly string[]][] = [
    [
      'rule 1: what can be reached',
      ['2001:db8:1::2/64'],
      ['198.51.100.121', '2001:db8:1::1'],
      ['2001:db8:1::1', '198.51.100.121'],
    ],
    [
      'rule 2: the matching scope',
      ['2001:db8:1::2/64', 'fe80::1/64', '169.254.13.78/16'],
      ['198.51.100.121', '2001:db8:1::1'],
      ['2001:db8:1::1', '198.51.100.121'],
    ],
    [
      'rule 2: IPv4 where IPv6 is of the link only',
      ['fe80::1/64', '198.51.100.117/24'],
      ['2001:db8:1::1', '198.51.100.121'],
      ['198.51.100.121', '2001:db8:1::1'],
    ],
    [
      'rule 3: no deprecated source',
      [{ address: '2001:db8:1::2/64', deprecated: true }, '10.1.2.4/24'],
      ['2001:db8:1::1', '10.1.2.3'],
      ['10.1.2.3', '2001:db8:1::1'],
    ],
    [
      'rule 5, the matching label',
      ['2002:c633:6401::2/64', 'fe80::1/64'],
      ['2001:db8:1::1', '2002:c633:6401::1'],
      ['2002:c633:6401::1', '2001:db8:1::1'],
    ],
    [
      'rule 6, the precedence',
      ['2002:c633:6401::2/64', '2001:db8:1::2/64', 'fe80::1/64'],
      ['2002:c633:6401::1', '2001:db8:1::1'],
      ['2001:db8:1::1', '2002:c633:6401::1'],
    ],
    [
      'rule 6: IPv6 before IPv4, unique local ones behind',
      ['2001:db8:1::2/64', 'fd00::2/64', '10.1.2.4/24'],
      ['fd00::1', '10.1.2.3', '2001:db8:1::1'],
      ['2001:db8:1::1', '10.1.2.3', 'fd00::1'],
    ],
    [
      'rule 8: the smaller scope',
      ['2001:db8:1::2/64', 'fe80::1/64'],
      ['2001:db8:1::1', 'fe80::7'],
      ['fe80::7%2', '2001:db8:1::1'],
    ],
    [
      'rule 9: the longest matching prefix',
      ['2001:db8:1::2/64', '2001:db8:3f44::2/64'],
      ['2001:db8:3ffe::1', '2001:db8:1::1'],
      ['2001:db8:1::1', '2001:db8:3ffe::1'],
    ],
    [
      'rule 10: equals keep their order',
      ['10.1.2.4/24'],
      ['10.9.9.9', '10.1.2.9', '10.7.7.7'],
      ['10.9.9.9', '10.1.2.9', '10.7.7.7'],
    ],
  ];
  for (const [name, own, given, want] of rows) {
    test(name, () => {
      const stack = stackWith(own.map((one) => (typeof one === 'string' ? { address: one } : one)));
      if (!own.some((one) => typeof one === 'string' && /^\d+\./.test(one))) {
        stack.ip.routes.remove(({ prefix }) => prefix.address.isV4);
      }
      assert.deepEqual(sortDestinations(stack.ip, given.map(ip)).map(String), want);
      assert.equal(stack.interfaces[1]!.neighbours.count, 0, 'nobody is asked for');
      stack.close();
    });
  }
});

test('scopes: RFC 4291 §2.7, RFC 6724 §3.1, §3.2', () => {
  const scopes = [
    'fe80::1',
    '::1',
    'fec0::1',
    'fd00::1',
    '2001:db8::1',
    'ff02::1',
    'ff05::1',
    'ff0e::1',
    '169.254.1.1',
    '127.0.0.1',
    '10.0.0.1',
    '224.0.0.5',
  ];
  assert.deepEqual(
    scopes.map((text) => scopeOf(ip(text))),
    [2, 2, 5, 14, 14, 2, 5, 14, 2, 2, 14, 2],
  );
});
