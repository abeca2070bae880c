import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { bound } from '../../test/dhcp.ts';
import { Cidr, IpAddress } from '../wire/address.ts';
import * as dhcp from '../wire/dhcpv4.ts';

const { OPTION } = dhcp;
const ip = IpAddress.parse;

describe('dhcp client: settings', () => {
  it('routers: the first is the default route', () => {
    const options = [dhcp.ipOption(OPTION.routers, ip('10.0.0.254'), ip('10.0.0.253'))];
    const peer = bound({ options });
    const route = peer.stack.ip.routes.lookup(ip('1.2.3.4'));
    assert.equal(`${route?.gateway}`, '10.0.0.254');
    peer.client.close();
    assert.equal(peer.stack.ip.routes.lookup(ip('1.2.3.4')), null);
    assert.equal(peer.stack.ip.routes.lookup(ip('10.0.0.9')), null);
  });

  it('RFC 3442: classless routes take the place of routers, and may name what is on the link', () => {
    const route = (prefix: string, router: string) => ({ prefix: Cidr.parse(prefix), router: ip(router) });
    const peer = bound({
      options: [
        dhcp.ipOption(OPTION.routers, ip('10.0.0.254')),
        dhcp.routesOption([
          route('192.168.7.0/24', '0.0.0.0'),
          route('172.16.0.0/12', '192.168.7.1'),
          route('11.0.0.0/8', '10.0.0.200'),
          route('12.0.0.0/8', '13.0.0.1'), // a router that nobody reaches
        ]),
      ],
    });
    const gateway = (to: string) => {
      const found = peer.stack.ip.routes.lookup(ip(to));
      return found === null ? 'none' : found.gateway === null ? 'link' : `${found.gateway}`;
    };
    assert.equal(gateway('192.168.7.9'), 'link');
    assert.equal(gateway('172.20.0.1'), '192.168.7.1');
    assert.equal(gateway('11.1.1.1'), '10.0.0.200');
    assert.equal(gateway('12.1.1.1'), 'none');
    assert.equal(gateway('8.8.8.8'), 'none');
  });

  it('a host prefix whose router is named on the link: as clouds do', () => {
    const route = (prefix: string, router: string) => ({ prefix: Cidr.parse(prefix), router: ip(router) });
    const options = [dhcp.routesOption([route('169.254.1.1/32', '0.0.0.0'), route('0.0.0.0/0', '169.254.1.1')])];
    const peer = bound({ mask: '255.255.255.255', options });
    assert.equal(`${peer.stack.ip.routes.lookup(ip('8.8.8.8'))?.gateway}`, '169.254.1.1');
  });

  it('DNS servers, domain, search list, time servers, MTU', () => {
    const options = [
      dhcp.ipOption(OPTION.dnsServers, ip('10.0.0.3'), ip('10.0.0.4')),
      dhcp.textOption(OPTION.domainName, 'example.com\0'),
      dhcp.domainsOption(['a.example.com', 'example.org']),
      dhcp.ipOption(OPTION.ntpServers, ip('10.0.0.5')),
      dhcp.numberOption(OPTION.mtu, 1280, 2),
    ];
    const peer = bound({ options });
    const [lease] = peer.configured;
    assert.deepEqual(lease!.dnsServers.map(String), ['10.0.0.3', '10.0.0.4']);
    assert.equal(lease!.domain, 'example.com');
    assert.deepEqual(lease!.search, ['a.example.com', 'example.org']);
    assert.deepEqual(lease!.ntpServers.map(String), ['10.0.0.5']);
    assert.equal(peer.iface.mtu, 1280);
    peer.client.close();
    assert.equal(peer.iface.mtu, 1500);
  });

  it('the domain is searched where no list is given; an MTU below 68, or above the device, changes nothing', () => {
    for (const mtu of [67, 9000]) {
      const options = [dhcp.textOption(OPTION.domainName, 'example.com'), dhcp.numberOption(OPTION.mtu, mtu, 2)];
      const peer = bound({ options });
      assert.deepEqual(peer.client.lease!.search, ['example.com']);
      assert.equal(peer.iface.mtu, 1500);
    }
  });

  it('RFC 791: without a mask the class tells', () => {
    for (const [yiaddr, length] of [
      ['10.0.0.5', 8],
      ['172.16.0.5', 16],
      ['192.168.0.5', 24],
    ] as const) {
      const peer = bound({ mask: null, yiaddr });
      assert.deepEqual(peer.iface.addresses.map(String), [`${yiaddr}/${length}`]);
    }
  });
});
