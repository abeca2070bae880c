import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { hex, toHex } from '../../test/hex.ts';
import { randomOf } from '../../test/random.ts';
import { Cidr, IpAddress, MacAddress } from './address.ts';
import * as dhcp from './dhcpv4.ts';
import { octetsOf } from './octets.ts';

const { OPTION } = dhcp;
const ip = IpAddress.parse;
const MAC = MacAddress.parse('02:00:00:00:00:05');
const header = { op: dhcp.BOOTREPLY, xid: 0xdeadbeef, mac: MAC };

const read = (bytes: Uint8Array): dhcp.Options => {
  const { dv } = octetsOf(bytes);
  assert.equal(dhcp.check(dv, 0, bytes.length), null);
  return dhcp.parseOptions(dv, 0, bytes.length);
};

/** A message with this options field, and what stands in file and sname. */
function raw(options: string, file = '', sname = ''): Uint8Array {
  const bytes = new Uint8Array(240 + hex(options).length);
  bytes.set(dhcp.encode(header, []).subarray(0, 240));
  bytes.set(hex(options), 240);
  bytes.set(hex(file), 108);
  bytes.set(hex(sname), 44);
  return bytes;
}

const checkOf = (bytes: Uint8Array): dhcp.Drop | null => dhcp.check(octetsOf(bytes).dv, 0, bytes.length);

describe('dhcpv4: the message', () => {
  it('every field stands where RFC 2131 figure 1 has it', () => {
    const bytes = dhcp.encode(
      {
        op: dhcp.BOOTREQUEST,
        xid: 0x11223344,
        mac: MAC,
        secs: 0x5566,
        broadcast: true,
        ciaddr: ip('1.2.3.4').d,
        yiaddr: ip('5.6.7.8').d,
        siaddr: ip('9.10.11.12').d,
        giaddr: ip('13.14.15.16').d,
      },
      [dhcp.numberOption(OPTION.messageType, dhcp.DISCOVER, 1)],
    );
    assert.equal(bytes.length, 300);
    assert.equal(
      toHex(bytes.subarray(0, 44)),
      '010106001122334455668000010203040506070809' + '0a0b0c0d0e0f10020000000005' + '00000000000000000000',
    );
    assert.equal(toHex(bytes.subarray(236, 244)), '6382536335010' + '1ff');
    const { dv } = octetsOf(bytes);
    assert.equal(dhcp.op(dv, 0), 1);
    assert.equal(dhcp.xid(dv, 0), 0x11223344);
    assert.equal(dhcp.secs(dv, 0), 0x5566);
    assert.equal(dhcp.isBroadcast(dv, 0), true);
    assert.equal(dhcp.ciaddr(dv, 0), ip('1.2.3.4').d);
    assert.equal(dhcp.yiaddr(dv, 0), ip('5.6.7.8').d);
    assert.equal(dhcp.siaddr(dv, 0), ip('9.10.11.12').d);
    assert.equal(dhcp.giaddr(dv, 0), ip('13.14.15.16').d);
    assert.equal(dhcp.chaddrHigh(dv, 0), 0x0200);
    assert.equal(dhcp.chaddrLow(dv, 0), 5);
  });

  const bad: [string, Uint8Array, dhcp.Drop][] = [
    ['short', raw('').subarray(0, 239), 'dhcp-truncated'],
    ['not Ethernet', raw('').fill(6, 1, 2), 'dhcp-bad-hardware'],
    ['addresses of another length', raw('').fill(8, 2, 3), 'dhcp-bad-hardware'],
    ['BOOTP without the cookie', raw('').fill(0, 236, 237), 'dhcp-bad-cookie'],
    ['an option without a length', raw('35'), 'dhcp-bad-options'],
    ['an option beyond the end', raw('350201'), 'dhcp-bad-options'],
    ['an option beyond the end of file', raw('340101ff', `${'00'.repeat(126)}0c05`), 'dhcp-bad-options'],
    ['an option beyond the end of sname', raw('340102ff', '', `${'00'.repeat(62)}0c05`), 'dhcp-bad-options'],
  ];
  for (const [name, bytes, want] of bad) it(`${name}: ${want}`, () => assert.equal(checkOf(bytes), want));

  it('an end mark may be missing; what stands behind it is nothing', () => {
    assert.deepEqual([...read(raw('350105')).keys()], [53]);
    assert.deepEqual([...read(raw('00 00 350105 ff 350109ff')).entries()], [[53, Uint8Array.of(5)]]);
  });
});

describe('dhcpv4: options', () => {
  it('RFC 2132 §9.3: overload opens file, sname, or both; without it they are no options', () => {
    const file = '0c0166ff';
    const sname = '0f0173ff';
    const keys = (value: string): number[] => [...read(raw(`3401${value}ff`, file, sname)).keys()];
    assert.deepEqual(keys('01'), [52, 12]);
    assert.deepEqual(keys('02'), [52, 15]);
    assert.deepEqual(keys('03'), [52, 12, 15]);
    assert.deepEqual(keys('00'), [52]);
    assert.deepEqual([...read(raw('ff', file, sname)).keys()], []);
    // An overload in file opens nothing.
    assert.deepEqual([...read(raw('340101ff', '340103ff', sname)).keys()], [52]);
  });

  it('RFC 3396 §5: pieces in the options field, file and sname, in this order, are one option', () => {
    const options = read(raw('0c0161 340103 0c0162 ff', '0c0163ff', '0c0164ff'));
    assert.equal(dhcp.readText(options, OPTION.hostName), 'abcd');
  });

  it('RFC 3396 §4: a long option is written in pieces, and read whole', () => {
    for (const length of [255, 256, 600]) {
      const long = Uint8Array.from({ length }, (_, i) => i & 0xff);
      const bytes = dhcp.encode(header, [[224, long]], 1400);
      assert.deepEqual(read(bytes).get(224), long);
    }
  });

  it('what has no room in the options field goes to the other fields, in order; then it is left out', () => {
    const options = Array.from({ length: 8 }, (_, i): dhcp.Option => [200 + i, new Uint8Array(60).fill(i)]);
    const bytes = dhcp.encode(header, [dhcp.numberOption(OPTION.messageType, 2, 1), ...options], 548);
    assert.ok(bytes.length <= 548);
    const found = read(bytes);
    assert.equal(dhcp.readNumber(found, OPTION.overload, 1), 3);
    assert.deepEqual(
      [...found.keys()].filter((key) => key >= 200),
      [200, 201, 202, 203, 204, 205, 206],
    );
    for (const [code, value] of options.slice(0, 7)) assert.deepEqual(found.get(code), value);
  });

  it('numbers of one length only', () => {
    const options = read(raw('3304 00000e10 1a02 05dc 350105 3602 0a00 ff'));
    assert.equal(dhcp.readNumber(options, OPTION.leaseTime, 4), 3600);
    assert.equal(dhcp.readNumber(options, OPTION.leaseTime, 2), null);
    assert.equal(dhcp.readNumber(options, OPTION.mtu, 2), 1500);
    assert.equal(dhcp.readNumber(options, 99, 4), null);
    assert.equal(dhcp.readIp(options, OPTION.serverId), null);
    assert.equal(dhcp.readNumber(read(raw('3304 ffffffff ff')), OPTION.leaseTime, 4), dhcp.INFINITE);
  });

  it('addresses: whole ones only', () => {
    assert.deepEqual(dhcp.readIps(read(raw('0608 0a000001 0a000002 ff')), 6).map(String), ['10.0.0.1', '10.0.0.2']);
    assert.deepEqual(dhcp.readIps(read(raw('0606 0a000001 0a00 ff')), 6), []);
    assert.deepEqual(dhcp.readIps(read(raw('ff')), 6), []);
  });

  it('text: printable, without zeros behind it', () => {
    const text = (value: string) => dhcp.readText(read(raw(`0c${value}ff`)), OPTION.hostName);
    assert.equal(text('0361620000'.replace('03', '04')), 'ab');
    assert.equal(text('00'), null);
    assert.equal(text('020000'), null);
    assert.equal(text('020a61'), null);
    assert.equal(text('0261ff'), null);
  });

  it('a message type of two bytes is none', () => {
    assert.equal(dhcp.messageType(read(raw('350101 350102 ff'))), 0);
  });

  const routes: [string, string, string[] | null][] = [
    // RFC 3442: the examples of its table.
    ['0.0.0.0/0', '00 0a000001', ['0.0.0.0/0 10.0.0.1']],
    ['10.0.0.0/8', '080a 0a000001', ['10.0.0.0/8 10.0.0.1']],
    ['10.17.0.0/16', '100a11 0a000001', ['10.17.0.0/16 10.0.0.1']],
    ['10.27.129.0/24', '180a1b81 0a000001', ['10.27.129.0/24 10.0.0.1']],
    ['10.229.0.128/25', '190ae50080 0a000001', ['10.229.0.128/25 10.0.0.1']],
    ['10.198.122.47/32', '200ac67a2f 0a000001', ['10.198.122.47/32 10.0.0.1']],
    ['bits beyond the width', '090aff 0a000001', ['10.128.0.0/9 10.0.0.1']],
    ['two', '00 0a000001 080a 00000000', ['0.0.0.0/0 10.0.0.1', '10.0.0.0/8 0.0.0.0']],
    ['a width of 33', '210a000000 00 0a000001', null],
    ['half a router', '00 0a0000', null],
    ['half a prefix', '180a', null],
    ['nothing', '', null],
  ];
  for (const [name, value, want] of routes) {
    it(`RFC 3442: ${name}`, () => {
      const bytes = hex(value);
      const options = new Map([[OPTION.classlessRoutes, bytes]]) as unknown as dhcp.Options;
      const found = dhcp.readRoutes(options);
      assert.deepEqual(found?.map(({ prefix, router }) => `${prefix} ${router}`) ?? null, want);
      if (want !== null && name !== 'bits beyond the width') assert.deepEqual(dhcp.routesOption(found!)[1], bytes);
    });
  }

  it('RFC 3397: the search list, in pieces and compressed', () => {
    assert.deepEqual(dhcp.readDomains(read(raw('7704 03656e67 770d 056170706c6503636f6d00c004 ff'))), [
      'eng.apple.com',
      'apple.com',
    ]);
    assert.deepEqual(dhcp.readDomains(read(raw('7702 0561 ff'))), []);
    const [, value] = dhcp.domainsOption(['a.b', 'c']);
    assert.equal(toHex(value), '01610162000163' + '00');
  });

  it('a line', () => {
    const bytes = dhcp.encode({ ...header, yiaddr: ip('10.0.0.5').d }, [
      dhcp.numberOption(OPTION.messageType, dhcp.OFFER, 1),
      dhcp.ipOption(OPTION.serverId, ip('10.0.0.1')),
      dhcp.numberOption(OPTION.leaseTime, 60, 4),
    ]);
    const line = dhcp.format(octetsOf(bytes).dv, 0, bytes.length);
    assert.equal(
      line,
      'BOOTP/DHCP, Reply, length 300, xid 0xdeadbeef, Offer, your 10.0.0.5, server 10.0.0.1, lease 60 s',
    );
    assert.equal(dhcp.format(octetsOf(bytes).dv, 0, 9), 'BOOTP/DHCP [dhcp-truncated], length 9');
  });

  it('spoiled messages: nothing throws, nothing is read beyond the end', () => {
    const random = randomOf(4);
    const seed = dhcp.encode(
      header,
      [
        dhcp.numberOption(OPTION.messageType, 5, 1),
        dhcp.domainsOption(['a.example.com', 'example.com']),
        dhcp.routesOption([{ prefix: Cidr.parse('10.0.0.0/9'), router: ip('10.0.0.1') }]),
        dhcp.numberOption(OPTION.overload, 3, 1),
      ],
      548,
    );
    let good = 0;
    for (let i = 0; i < 30_000; i++) {
      const bytes = seed.slice(0, random.below(8) === 0 ? random.below(seed.length) : seed.length);
      for (let n = random.below(8); n > 0 && bytes.length > 0; n--) {
        const from = random.below(2) === 0 ? 0 : 240;
        bytes[Math.min(bytes.length - 1, from + random.below(80))] = random.below(256);
      }
      const { dv } = octetsOf(bytes);
      dhcp.format(dv, 0, bytes.length);
      if (dhcp.check(dv, 0, bytes.length) !== null) continue;
      good++;
      const options = dhcp.parseOptions(dv, 0, bytes.length);
      dhcp.readRoutes(options);
      dhcp.readDomains(options);
      for (const code of options.keys()) {
        dhcp.readIps(options, code);
        dhcp.readText(options, code);
      }
    }
    assert.ok(good > 5000, `${good} good`);
  });
});
