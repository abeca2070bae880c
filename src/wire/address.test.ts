import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import {
  BROADCAST_MAC,
  Cidr,
  formatMac,
  formatV4,
  formatV6,
  IpAddress,
  MacAddress,
  parseIp,
  UNSPECIFIED_V4,
  UNSPECIFIED_V6,
} from './address.ts';

const SEEDED = { seed: 20260101, numRuns: 2000 };
const word = fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 });
/** Words with runs of zeros in them. */
const sparse = fc.oneof(fc.constant(0), fc.constantFrom(1, 0x10000, -65536, 0xffff), word);

describe('address: parsing', () => {
  // [text, canonical text or null]
  const rows: [string, string | null][] = [
    ['0.0.0.0', '0.0.0.0'],
    ['255.255.255.255', '255.255.255.255'],
    ['10.0.0.1', '10.0.0.1'],
    ['::', '::'],
    ['::1', '::1'],
    ['1::', '1::'],
    ['fe80::1', 'fe80::1'],
    ['::ffff:10.0.0.1', '10.0.0.1'],
    ['::FFFF:0a00:0001', '10.0.0.1'],
    ['::1.2.3.4', '::102:304'],
    ['64:ff9b::192.0.2.33', '64:ff9b::c000:221'],
    ['1:2:3:4:5:6:1.2.3.4', '1:2:3:4:5:6:102:304'],
    ['1:2:3:4:5:6:7::', '1:2:3:4:5:6:7:0'],
    ['::2:3:4:5:6:7:8', '0:2:3:4:5:6:7:8'],
    // RFC 5952 §1: the many ways to write one address, and §4: the one to print.
    ['2001:db8:0:0:1:0:0:1', '2001:db8::1:0:0:1'],
    ['2001:0db8:0:0:1:0:0:1', '2001:db8::1:0:0:1'],
    ['2001:db8::1:0:0:1', '2001:db8::1:0:0:1'],
    ['2001:db8::0:1:0:0:1', '2001:db8::1:0:0:1'],
    ['2001:0db8::1:0:0:1', '2001:db8::1:0:0:1'],
    ['2001:db8:0:0:1::1', '2001:db8::1:0:0:1'],
    ['2001:DB8:0:0:1::1', '2001:db8::1:0:0:1'],
    // RFC 5952 §4.1, §4.2.1: leading zeros go, `::` takes all it can.
    ['2001:0db8::0001', '2001:db8::1'],
    ['2001:db8:0:0:0:0:2:1', '2001:db8::2:1'],
    // RFC 5952 §4.2.2: not for one group only.
    ['2001:db8::1:1:1:1:1', '2001:db8:0:1:1:1:1:1'],
    // RFC 5952 §4.2.3: the longest run, and the first of two.
    ['2001:0:0:1:0:0:0:1', '2001:0:0:1::1'],
    ['2001:db8:0:0:1:0:0:1', '2001:db8::1:0:0:1'],
    ['0:0:0:1:0:0:0:0', '0:0:0:1::'],
    ['1:0:0:0:0:0:0:0', '1::'],
    // RFC 5952 §4.3: lower case.
    ['2001:DB8:AAAA:BBBB:CCCC:DDDD:EEEE:AAAA', '2001:db8:aaaa:bbbb:cccc:dddd:eeee:aaaa'],
    ['', null],
    [' 10.0.0.1', null],
    ['10.0.0.1 ', null],
    ['10.0.0', null],
    ['10.0.0.1.2', null],
    ['10.0.0.256', null],
    ['10.0.0.01', null],
    ['010.0.0.1', null],
    ['10.0.0.', null],
    ['10..0.1', null],
    ['10.0.0.-1', null],
    ['10.0.0.1e1', null],
    ['0x0a.0.0.1', null],
    ['1', null],
    ['localhost', null],
    [':', null],
    [':::', null],
    [':1', null],
    ['1:', null],
    ['1::2::3', null],
    ['1:2:3:4:5:6:7', null],
    ['1:2:3:4:5:6:7:8:9', null],
    ['1:2:3:4:5:6:7:8::', null],
    ['::1:2:3:4:5:6:7:8', null],
    ['1:2:3:4::5:6:7:8', null],
    ['12345::', null],
    ['g::', null],
    ['::1.2.3', null],
    ['::1.2.3.256', null],
    ['1.2.3.4::', null],
    ['1:1.2.3.4::', null],
    ['::1.2.3.4:5', null],
    ['1:2:3:4:5:6:7:1.2.3.4', null],
    ['fe80::1%eth0', null],
    ['[::1]', null],
  ];
  for (const [text, want] of rows) {
    it(`${JSON.stringify(text)} is ${want ?? 'no address'}`, () => {
      assert.equal(parseIp(text)?.toString() ?? null, want);
      if (want === null) assert.throws(() => IpAddress.parse(text), TypeError);
    });
  }
});

describe('address: round trips', () => {
  it('IPv4', () => {
    fc.assert(
      fc.property(word, (w) => {
        const address = IpAddress.parse(formatV4(w));
        return address.isV4 && address.d === w && address.family === 4;
      }),
      SEEDED,
    );
  });
  it('IPv6', () => {
    fc.assert(
      fc.property(sparse, sparse, sparse, sparse, (a, b, c, d) => {
        return IpAddress.parse(formatV6(a, b, c, d)).equals(new IpAddress(a, b, c, d));
      }),
      SEEDED,
    );
  });
  it('IPv6 agrees with the URL parser of the engine', () => {
    fc.assert(
      fc.property(sparse, sparse, sparse, sparse, (a, b, c, d) => {
        fc.pre(!(a === 0 && b === 0 && c === 0xffff)); // URL prints mapped addresses in hexadecimal
        return new URL(`http://[${formatV6(a, b, c, d)}]/`).hostname === `[${formatV6(a, b, c, d)}]`;
      }),
      SEEDED,
    );
  });
  it('Ethernet', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 0xffff }), word, (high, low) => {
        return MacAddress.parse(formatMac(high, low)).equals(new MacAddress(high, low));
      }),
      SEEDED,
    );
  });
  it('any text is an address or null', () => {
    const text = fc.string({ unit: fc.constantFrom(...'0123456789abcdefF:.%/ '), maxLength: 45 });
    fc.assert(
      fc.property(text, (t) => {
        const address = parseIp(t);
        return address === null || parseIp(address.toString())!.equals(address);
      }),
      SEEDED,
    );
  });
});

describe('address: kinds', () => {
  const rows: [string, Partial<IpAddress>][] = [
    ['0.0.0.0', { isUnspecified: true, isV4: true }],
    ['::', { isUnspecified: true, isV4: false, family: 6 }],
    ['::1', { isLoopback: true, isUnspecified: false }],
    ['::2', { isLoopback: false, isUnspecified: false }],
    ['127.0.0.1', { isLoopback: true }],
    ['127.255.255.254', { isLoopback: true }],
    ['128.0.0.1', { isLoopback: false }],
    ['223.255.255.255', { isMulticast: false }],
    ['224.0.0.1', { isMulticast: true }],
    ['239.255.255.255', { isMulticast: true }],
    ['240.0.0.1', { isMulticast: false }],
    ['ff02::1', { isMulticast: true }],
    ['fe00::1', { isMulticast: false, isLinkLocal: false }],
    ['255.255.255.255', { isLimitedBroadcast: true, isMulticast: false }],
    ['10.255.255.255', { isLimitedBroadcast: false }],
    ['ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff', { isLimitedBroadcast: false, isMulticast: true }],
    ['fe80::1', { isLinkLocal: true }],
    ['febf::1', { isLinkLocal: true }],
    ['fec0::1', { isLinkLocal: false }],
    ['169.254.1.1', { isLinkLocal: true }],
    ['169.255.1.1', { isLinkLocal: false }],
  ];
  for (const [text, want] of rows) {
    it(`${text}: ${JSON.stringify(want)}`, () => {
      const address = IpAddress.parse(text);
      for (const [key, value] of Object.entries(want)) assert.equal(address[key as keyof IpAddress], value, key);
    });
  }
  it('constants', () => {
    assert.equal(String(UNSPECIFIED_V4), '0.0.0.0');
    assert.equal(String(UNSPECIFIED_V6), '::');
    assert.equal(UNSPECIFIED_V4.equals(UNSPECIFIED_V6), false);
    assert.equal(String(BROADCAST_MAC), 'ff:ff:ff:ff:ff:ff');
    assert.equal(BROADCAST_MAC.isGroup, true);
  });
});

describe('address: prefixes', () => {
  const contains: [string, string, boolean][] = [
    ['10.0.0.1/24', '10.0.0.255', true],
    ['10.0.0.1/24', '10.0.1.0', false],
    ['10.0.0.1/32', '10.0.0.1', true],
    ['10.0.0.1/32', '10.0.0.0', false],
    ['10.0.0.0/31', '10.0.0.1', true],
    ['0.0.0.0/0', '255.1.2.3', true],
    ['0.0.0.0/0', '::1', false],
    ['128.0.0.0/1', '255.0.0.1', true],
    ['128.0.0.0/1', '127.0.0.1', false],
    ['::/0', 'fd00::1', true],
    ['::/0', '10.0.0.1', true],
    ['fd00::/8', 'fdff::1', true],
    ['fd00::/8', 'fe00::1', false],
    ['fd00:0:0:1::/64', 'fd00:0:0:1:ffff::', true],
    ['fd00:0:0:1::/64', 'fd00:0:0:2::', false],
    ['fd00::/33', 'fd00:0:7fff::', true],
    ['fd00::/33', 'fd00:0:8000::', false],
    ['fd00::1:0/112', 'fd00::1:ffff', true],
    ['fd00::1:0/112', 'fd00::2:0', false],
    ['fd00::1/128', 'fd00::1', true],
    ['fd00::1/128', 'fd00::', false],
  ];
  for (const [prefix, address, want] of contains) {
    it(`${prefix} ${want ? 'has' : 'has not'} ${address}`, () =>
      assert.equal(Cidr.parse(prefix).contains(IpAddress.parse(address)), want));
  }

  const texts: [string, string | null][] = [
    ['10.0.0.1/24', '10.0.0.1/24'],
    ['10.0.0.1', '10.0.0.1/32'],
    ['FD00::1/64', 'fd00::1/64'],
    ['fd00::1', 'fd00::1/128'],
    ['10.0.0.1/0', '10.0.0.1/0'],
    ['10.0.0.1/33', null],
    ['fd00::1/129', null],
    ['10.0.0.1/', null],
    ['10.0.0.1/-1', null],
    ['10.0.0.1/24/24', null],
    ['/24', null],
    ['', null],
  ];
  for (const [text, want] of texts) {
    it(`${JSON.stringify(text)} reads as ${want ?? 'no prefix'}`, () => {
      if (want === null) assert.throws(() => Cidr.parse(text), TypeError);
      else assert.equal(String(Cidr.parse(text)), want);
    });
  }

  for (const bad of [-1, 33, 1.5, Number.NaN]) {
    it(`refuses a length of ${bad}`, () => assert.throws(() => new Cidr(UNSPECIFIED_V4, bad), RangeError));
  }

  const broadcasts: [string, string | null][] = [
    ['10.0.0.1/24', '10.0.0.255'],
    ['10.1.2.3/8', '10.255.255.255'],
    ['10.0.0.1/30', '10.0.0.3'],
    ['10.0.0.1/0', '255.255.255.255'],
    ['10.0.0.1/31', null], // RFC 3021 §2.2.1
    ['10.0.0.1/32', null],
    ['fd00::1/64', null],
  ];
  for (const [prefix, want] of broadcasts) {
    it(`broadcast of ${prefix} is ${want}`, () => assert.equal(Cidr.parse(prefix).broadcast?.toString() ?? null, want));
  }

  it('contains is comparison bit by bit', () => {
    const bit = (a: IpAddress, i: number): number => ([a.a, a.b, a.c, a.d][i >> 5]! >>> (31 - (i & 31))) & 1;
    fc.assert(
      fc.property(sparse, sparse, sparse, sparse, fc.nat(127), fc.nat(128), (a, b, c, d, flip, length) => {
        const address = new IpAddress(a, b, c, d);
        fc.pre(!address.isV4);
        const words = [a, b, c, d];
        words[flip >> 5] = words[flip >> 5]! ^ (1 << (31 - (flip & 31)));
        const other = new IpAddress(words[0]!, words[1]!, words[2]!, words[3]!);
        let same = true;
        for (let i = 0; i < length; i++) if (bit(address, i) !== bit(other, i)) same = false;
        return new Cidr(address, length).contains(other) === same;
      }),
      SEEDED,
    );
  });
});

describe('address: Ethernet', () => {
  const rows: [string, string | null][] = [
    ['02:00:00:00:00:01', '02:00:00:00:00:01'],
    ['FF-FF-FF-FF-FF-FF', 'ff:ff:ff:ff:ff:ff'],
    ['00:00:80:00:00:00', '00:00:80:00:00:00'],
    ['02:00:00:00:00', null],
    ['02:00:00:00:00:01:02', null],
    ['2:0:0:0:0:1', null],
    ['020000000001', null],
    ['0g:00:00:00:00:01', null],
    ['', null],
  ];
  for (const [text, want] of rows) {
    it(`${JSON.stringify(text)} reads as ${want ?? 'no address'}`, () => {
      if (want === null) assert.throws(() => MacAddress.parse(text), TypeError);
      else assert.equal(String(MacAddress.parse(text)), want);
    });
  }
  it('the group bit', () => {
    assert.equal(MacAddress.parse('01:00:5e:00:00:01').isGroup, true);
    assert.equal(MacAddress.parse('33:33:00:00:00:01').isGroup, true);
    assert.equal(MacAddress.parse('02:00:00:00:00:01').isGroup, false);
  });
});
