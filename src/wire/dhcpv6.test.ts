import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { hex, toHex } from '../../test/hex.ts';
import { randomOf } from '../../test/random.ts';
import { IpAddress, MacAddress } from './address.ts';
import * as dhcp from './dhcpv6.ts';
import { octetsOf } from './octets.ts';

const { OPTION } = dhcp;
const ip = IpAddress.parse;
const read = (bytes: Uint8Array): dhcp.Options => {
  const { dv } = octetsOf(bytes);
  assert.equal(dhcp.check(dv, 0, bytes.length), null);
  return dhcp.parseOptions(dv, 0, bytes.length);
};

describe('dhcpv6', () => {
  it('RFC 8415 §8, §21.1: type, transaction, options', () => {
    const bytes = dhcp.encode(dhcp.INFORMATION_REQUEST, 0x123456, [
      dhcp.requestOption([23, 24]),
      dhcp.numberOption(OPTION.elapsedTime, 0x0102, 2),
    ]);
    assert.equal(toHex(bytes), '0b123456' + '000600040017' + '0018' + '000800020102');
    const { dv } = octetsOf(bytes);
    assert.equal(dhcp.type(dv, 0), 11);
    assert.equal(dhcp.transaction(dv, 0), 0x123456);
    assert.deepEqual(dhcp.readRequested(read(bytes)), [23, 24]);
    assert.equal(dhcp.readNumber(read(bytes), OPTION.elapsedTime, 2), 0x0102);
    assert.equal(dhcp.readNumber(read(bytes), OPTION.elapsedTime, 4), null);
    assert.equal(dhcp.format(dv, 0, bytes.length), 'dhcp6 inf-req (xid=123456), length 18');
  });

  const bad: [string, string, dhcp.Drop][] = [
    ['short', '0b1234', 'dhcp6-truncated'],
    ['no type', '00123456', 'dhcp6-bad-type'],
    ['a relay message', '0c123456', 'dhcp6-bad-type'],
    ['half an option header', '07123456 0001', 'dhcp6-bad-options'],
    ['an option beyond the end', '07123456 00010002 00', 'dhcp6-bad-options'],
    ['257 options', `07123456${'00010000'.repeat(257)}`, 'dhcp6-bad-options'],
  ];
  for (const [name, text, want] of bad) {
    it(`${name}: ${want}`, () => {
      const bytes = hex(text);
      assert.equal(dhcp.check(octetsOf(bytes).dv, 0, bytes.length), want);
      assert.match(dhcp.format(octetsOf(bytes).dv, 0, bytes.length), new RegExp(want));
    });
  }

  it('name servers and search list: RFC 3646', () => {
    const options = read(
      dhcp.encode(dhcp.REPLY, 1, [
        dhcp.ipsOption(OPTION.dnsServers, [ip('fd00::1'), ip('2001:db8::2')]),
        dhcp.domainsOption(['a.b']),
      ]),
    );
    assert.deepEqual(dhcp.readIps(options, OPTION.dnsServers).map(String), ['fd00::1', '2001:db8::2']);
    assert.deepEqual(dhcp.readDomains(options), ['a.b']);
    assert.deepEqual(
      dhcp.readIps(read(hex('07000001 0017000f 000102030405060708090a0b0c0d0e')), OPTION.dnsServers),
      [],
    );
  });

  it('status: success where there is none; of an option twice the first counts', () => {
    assert.equal(dhcp.statusCode(read(hex('07000001'))), 0);
    assert.equal(dhcp.statusCode(read(hex('07000001 000d0002 0005 000d0002 0000'))), 5);
  });

  it('a DUID of the link address: RFC 8415 §11.4', () => {
    assert.equal(toHex(dhcp.duidOf(MacAddress.parse('02:00:00:00:00:05'))), '0003000102000000' + '0005');
  });

  it('random bytes: nothing throws, nothing is read beyond the end', () => {
    const random = randomOf(2);
    for (let i = 0; i < 30_000; i++) {
      const bytes = random
        .bytes(random.below(60))
        .map((byte, at) => (at > 3 && random.below(2) === 0 ? byte & 3 : byte));
      const { dv } = octetsOf(bytes);
      dhcp.format(dv, 0, bytes.length);
      if (dhcp.check(dv, 0, bytes.length) !== null) continue;
      const options = dhcp.parseOptions(dv, 0, bytes.length);
      dhcp.readDomains(options);
      dhcp.readIps(options, OPTION.dnsServers);
      dhcp.readRequested(options);
      dhcp.statusCode(options);
    }
  });
});
