import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PeerDevice } from '../../test/peer.ts';
import { Random } from '../phy/random.ts';
import { Stack } from '../stack.ts';
import { Cidr, IpAddress } from '../wire/address.ts';
import type { Route } from './routes.ts';

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

test('routes: the table agrees with a slow twin, through ten thousand changes', () => {
  const { stack, ifaces } = stackWith(['10.0.0.1/8']);
  const { routes } = stack.ip;
  const random = new Random(3);
  const twin: Route[] = [...routes.all];
  const slow = (to: IpAddress): Route | null => {
    let best: Route | null = null;
    for (const route of twin) {
      const { prefix, metric = 0 } = route;
      if (prefix.address.isV4 !== to.isV4 || !prefix.contains(to)) continue;
      if (best === null || prefix.bits > best.prefix.bits) best = route;
      else if (prefix.bits === best.prefix.bits && metric < (best.metric ?? 0)) best = route;
    }
    return best;
  };
  const below = (n: number): number => random.next() % n;
  const address = (): IpAddress =>
    below(2) === 0
      ? IpAddress.v4(0x0a000000 | below(1 << 14))
      : new IpAddress(0x20010db8, below(64), below(4) << 30, below(8));
  for (let i = 0; i < 10_000; i++) {
    if (below(3) > 0 || twin.length < 2) {
      const at = address();
      const prefix = new Cidr(at, at.isV4 ? below(33) : below(129));
      const route: Route = { prefix, iface: ifaces[0]!, gateway: null, metric: below(3) };
      routes.add(route);
      twin.push(route);
    } else {
      const [gone] = twin.splice(1 + below(twin.length - 1), 1);
      assert.equal(routes.delete(gone!), true);
      assert.equal(routes.delete(gone!), false);
    }
    const to = address();
    const [found, want] = [routes.lookup(to), slow(to)];
    assert.equal(found?.prefix.bits, want?.prefix.bits);
    assert.equal(found?.metric, want?.metric);
    assert.equal(routes.count, twin.length);
  }
  assert.equal(
    routes.remove(({ metric }) => metric === 1),
    twin.filter(({ metric }) => metric === 1).length,
  );
  assert.equal(routes.all.length, routes.count);
  stack.close();
});

test('routes: a dead router is passed over, for a shorter prefix too; where all are dead they take turns', () => {
  const { stack, ifaces } = stackWith(['2001:db8::1/64']);
  const [iface] = ifaces;
  const via = (prefix: string, gateway: string): Route => {
    const route: Route = { prefix: Cidr.parse(prefix), iface: iface!, gateway: ip(gateway) };
    stack.addRoute(route);
    return route;
  };
  const a = via('::/0', 'fe80::a');
  const b = via('::/0', 'fe80::b');
  const c = via('2001:db8:9::/48', 'fe80::c');
  const hop = (): string => `${stack.ip.routes.lookup(ip('2001:db8:9::9'))!.gateway}`;
  assert.equal(hop(), 'fe80::c');
  c.isDead = true;
  assert.equal(hop(), 'fe80::a');
  a.isDead = true;
  assert.equal(hop(), 'fe80::b');
  b.isDead = true;
  assert.equal(hop(), 'fe80::c', 'the longest prefix again');
  stack.ip.routes.delete(c);
  assert.deepEqual([hop(), hop(), hop()], ['fe80::a', 'fe80::b', 'fe80::a']);
  stack.close();
});
