import assert from 'node:assert/strict';
import { test } from 'node:test';
import { arpRequest, EtherPeer } from '../../test/ether.ts';
import { ROUTER, ROUTER_MAC, solicitation } from '../../test/ndp.ts';
import { Cidr, IpAddress } from '../wire/address.ts';
import { mayBeAnyone } from './any-ip.ts';

test('mayBeAnyone: hosts beyond the link, and nothing else', () => {
  const rows: [string, boolean][] = [
    ['10.0.0.9', true],
    ['169.254.169.254', true],
    ['0.0.0.0', false],
    ['0.1.2.3', false],
    ['127.0.0.1', false],
    ['224.0.0.1', false],
    ['240.0.0.1', false],
    ['255.255.255.255', false],
    ['2001:db8::1', true],
    ['fd00::1', true],
    ['::', false],
    ['::1', false],
    ['::2', true],
    ['fe80::1', false],
    ['ff02::1', false],
  ];
  for (const [text, expected] of rows) assert.equal(mayBeAnyone(IpAddress.parse(text)), expected, text);
});

const peerOf = (anyIp: boolean): EtherPeer => {
  const addresses = [Cidr.parse('10.0.0.1/24'), Cidr.parse('2001:db8::1/64')];
  const peer = new EtherPeer({}, { addresses, anyIp, ipv6: { dadTransmits: 0 } });
  peer.pass(3000);
  peer.lines();
  return peer;
};

test('ARP: an any-IP interface answers for hosts beyond its networks, and only for those (RFC 1027)', () => {
  const rows: [name: string, sender: string, target: string, answers: boolean][] = [
    ['itself', '10.0.0.2', '10.0.0.1', true],
    ['a far host', '10.0.0.2', '198.51.100.7', true],
    ['a neighbour', '10.0.0.2', '10.0.0.77', false],
    ['a probe for a far address', '0.0.0.0', '198.51.100.7', false],
    ['an announcement', '198.51.100.7', '198.51.100.7', false],
    ['a link-local address', '10.0.0.2', '169.254.1.1', false],
    ['a group', '10.0.0.2', '224.0.0.5', false],
  ];
  for (const [name, sender, target, answers] of rows) {
    const peer = peerOf(true);
    peer.send(arpRequest({ sender, target }));
    assert.equal(peer.lines().filter((line) => line.includes('Reply')).length, answers ? 1 : 0, name);
    peer.stack.close();
  }
  const plain = peerOf(false);
  plain.send(arpRequest({ target: '198.51.100.7' }));
  assert.deepEqual(plain.lines(), []);
  plain.stack.close();
});

test('ND: the same, without the override flag (RFC 4861 §7.2.8)', () => {
  const asked = (peer: EtherPeer, target: string, from = ROUTER): string[] => {
    peer.send(solicitation(target, { from, mac: ROUTER_MAC, sourceMac: from === '::' ? null : ROUTER_MAC }));
    return peer.lines().filter((line) => line.includes('advertisement'));
  };
  const peer = peerOf(true);
  const [far] = asked(peer, '2001:db8:77::7');
  assert.match(far ?? '', /2001:db8:77::7/);
  assert.doesNotMatch(far ?? '', /override/);
  assert.equal(asked(peer, '2001:db8::1').length, 1, 'our own');
  assert.equal(asked(peer, '2001:db8::77').length, 0, 'a neighbour');
  assert.equal(asked(peer, 'fe80::77').length, 0, 'on the link');
  assert.equal(asked(peer, '2001:db8:77::7', '::').length, 0, 'a probe for duplicates');
  peer.stack.close();
  const plain = peerOf(false);
  assert.equal(asked(plain, '2001:db8:77::7').length, 0);
  assert.equal(plain.stack.stats.drops['ip-no-member'], 1);
  plain.stack.close();
});
