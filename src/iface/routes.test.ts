import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PeerDevice } from '../../test/peer.ts';
import { Stack } from '../stack.ts';
import { Cidr, IpAddress } from '../wire/address.ts';

const ip = (text: string): IpAddress => IpAddress.parse(text);

function stackWith(...interfaces: string[][]) {
  const stack = new Stack({ random: () => 7, memory: 1 << 20 });
  const ifaces = interfaces.map((addresses) =>
    stack.addInterface(new PeerDevice(), { addresses: addresses.map((text) => Cidr.parse(text)) }),
  );
  return { stack, ifaces };
}

test('routes: the longest prefix wins, whatever the order; among equals the first', () => {
  const { stack, ifaces } = stackWith(['10.0.0.1/8'], ['10.1.0.1/16']);
  const [wide, narrow] = ifaces;
  stack.addRoute({ prefix: Cidr.parse('10.1.2.0/24'), iface: wide!, gateway: ip('10.0.0.9') });
  stack.addRoute({ prefix: Cidr.parse('10.1.0.0/16'), iface: wide!, gateway: ip('10.0.0.8') });
  stack.addDefaultRoute(ip('10.0.0.254'));
  const way = (to: string) => {
    const route = stack.ip.routes.lookup(ip(to));
    return route === null ? null : [route.iface.name, route.gateway?.toString() ?? null];
  };
  assert.deepEqual(way('10.5.5.5'), ['eth0', null]);
  assert.deepEqual(way('10.1.9.9'), ['eth1', null]);
  assert.deepEqual(way('10.1.2.3'), ['eth0', '10.0.0.9']);
  assert.deepEqual(way('8.8.8.8'), ['eth0', '10.0.0.254']);
  assert.equal(way('fd00::1'), null, "the default of one family is not the other one's");
  assert.ok(narrow);
  stack.close();
});

test('routes: the source is the address on the network of the next hop', () => {
  const { stack } = stackWith(['10.0.0.1/24', '10.0.9.1/24', 'fd00::1/64']);
  assert.equal(stack.ip.path(ip('10.0.9.7'), null)!.source.toString(), '10.0.9.1');
  assert.equal(stack.ip.path(ip('10.0.0.7'), null)!.source.toString(), '10.0.0.1');
  assert.equal(stack.ip.path(ip('fd00::7'), null)!.source.toString(), 'fd00::1');
  assert.equal(
    stack.ip.path(ip('10.0.0.7'), ip('10.0.9.1'))!.source.toString(),
    '10.0.9.1',
    'what the caller bound stays',
  );
  assert.equal(stack.ip.path(ip('192.168.0.1'), null), null);
  assert.equal(stack.ip.path(ip('10.0.9.1'), null)!.iface.isLoopback, true, 'our own never leave');
  stack.close();
});

test('routes: a path is current until the routes change', () => {
  const { stack, ifaces } = stackWith(['10.0.0.1/24']);
  const path = stack.ip.path(ip('10.0.0.7'), null)!;
  assert.equal(stack.ip.isCurrent(path), true);
  stack.addAddress(ifaces[0]!, Cidr.parse('10.7.0.1/24'));
  assert.equal(stack.ip.isCurrent(path), false);
  assert.equal(stack.removeAddress(ifaces[0]!, ip('10.7.0.1')), true);
  assert.equal(stack.removeAddress(ifaces[0]!, ip('10.7.0.1')), false);
  assert.equal(stack.ip.routes.lookup(ip('10.7.0.5')), null, 'the route goes with the address');
  stack.close();
});

test('routes: a gateway must be on a network of ours', () => {
  const { stack } = stackWith(['10.0.0.1/24']);
  assert.throws(() => stack.addDefaultRoute(ip('192.168.0.1')), { name: 'RangeError', message: /192\.168\.0\.1/ });
  stack.close();
});
