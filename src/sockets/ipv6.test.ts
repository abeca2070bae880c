import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { bytesOf, inTime, text } from '../../test/hosts.ts';
import { RouterAdvertiser, type RouterAdvertiserOptions } from '../iface/router-advertiser.ts';
import { pipePair } from '../phy/pipe.ts';
import { Random } from '../phy/random.ts';
import { Switch } from '../phy/switch.ts';
import { VirtualClock } from '../sim/clock.ts';
import { Cidr, IpAddress } from '../wire/address.ts';
import type { Configuration } from './autoconfig.ts';
import { createHost, type Host, type HostOptions } from './host.ts';

/** A LAN in virtual time with a router that advertises, and what makes hosts on it. */
function lan(says: RouterAdvertiserOptions = {}) {
  const clock = new VirtualClock();
  const random = new Random(5);
  const wire = new Switch();
  const hosts: Host[] = [];
  const host = (options: HostOptions): Host => {
    const made = createHost({ device: wire.port(), clock, random: () => random.next(), ...options });
    hosts.push(made);
    return made;
  };
  const router = host({ addresses: ['2001:db8::1/64'], name: 'router' });
  const advertiser = new RouterAdvertiser(router.iface!, {
    prefixes: [{ prefix: Cidr.parse('2001:db8::/64') }],
    ...says,
  });
  advertiser.start();
  const close = async (): Promise<void> => {
    advertiser.stop();
    await inTime(clock, Promise.all(hosts.map((one) => one.close())));
    assert.equal(router.memory.usedBytes, 0);
  };
  return { clock, host, router, advertiser, close, run: <T>(promise: Promise<T>) => inTime(clock, promise) };
}

describe('hosts by SLAAC', () => {
  test("an address, a router, name servers: addresses: ['slaac']", async () => {
    const found: Configuration[] = [];
    const { host, run, close } = lan({
      nameServers: [IpAddress.parse('2001:db8::53')],
      searchDomains: ['lan'],
      mtu: 1400,
    });
    const a = host({ addresses: ['slaac'], onConfigured: (configuration) => found.push(configuration) });
    const b = host({ addresses: ['slaac'] });
    const addresses = await run(a.configured());
    const mine = addresses.find((address) => address.startsWith('2001:db8:'))!;
    assert.match(mine, /^2001:db8::[0-9a-f:]+\/64$/);
    await run(b.configured());
    const last = found.at(-1)!;
    assert.equal(last.source, 'slaac');
    assert.deepEqual(last.dnsServers, ['2001:db8::53']);
    assert.deepEqual(last.search, ['lan']);
    assert.equal(last.mtu, 1400);
    assert.match(last.routes[0]!.gateway!, /^fe80::\S+%eth0$/);
    const listener = await a.tcp.listen({ port: 80 });
    const stream = await run(b.tcp.connect({ host: mine.split('/')[0]!, port: 80 }));
    const peer = await run(listener.accept());
    await run(stream.write(bytesOf('hello')));
    assert.equal(text(await run(peer.read())), 'hello');
    // By the link-local address too, which names the interface.
    const linkLocal = a
      .iface!.addresses.find(({ address }) => address.isLinkLocal && !address.isV4)!
      .address.withZone(0);
    const other = await run(b.tcp.connect({ host: `${linkLocal}%eth0`, port: 80 }));
    assert.equal(other.remoteAddress, `${linkLocal}%eth0`);
    await close();
  });

  test('the router is told of by its last advertisement: no default router any more', async () => {
    const { clock, host, advertiser, run, close } = lan();
    const a = host({ addresses: ['slaac'] });
    await run(a.configured());
    assert.equal(a.iface!.nd!.routers.defaults.length, 1);
    advertiser.stop();
    await run(new Promise<void>((resolve) => void clock.setTimer(clock.now() + 100, resolve)));
    assert.equal(a.iface!.nd!.routers.defaults.length, 0);
    await close();
  });

  test('another host has the address: told, and not used', async () => {
    const { host, router, run, close } = lan();
    const events: string[] = [];
    await run(router.configured());
    const a = host({
      addresses: ['2001:db8::1/64'],
      onAddress: ({ address, event }) => events.push(`${address} ${event}`),
    });
    await assert.rejects(run(a.configured()), { code: 'EADDRNOTAVAIL' }); // while it waits
    await assert.rejects(run(a.configured()), { code: 'EADDRNOTAVAIL' }); // and when all is known
    for (const timeout of [-1, Number.NaN]) await assert.rejects(a.configured({ timeout }), RangeError);
    assert.ok(events.includes('2001:db8::1/64 duplicate'), events.join());
    await close();
  });
});

describe('addresses written out: configured() waits for the probe of each', () => {
  const rows = [
    { name: 'IPv4 is not probed, IPv6 is', addresses: ['10.0.0.7/24', '2001:db8::7/64'], found: 2, leastMs: 1000 },
    { name: 'neither is', addresses: ['10.0.0.7/24', '2001:db8::7/64'], probe: false, found: 2, leastMs: 0 },
    { name: 'both are', addresses: ['10.0.0.7/24', '2001:db8::7/64'], probe: true, found: 2, leastMs: 4000 },
    { name: 'IPv4 alone', addresses: ['10.0.0.7/24'], found: 1, leastMs: 0 },
    { name: 'IPv6 is a duplicate', addresses: ['10.0.0.7/24', '2001:db8::1/64'], found: 1, leastMs: 0 },
    { name: 'IPv4 is', addresses: ['10.0.0.1/24', '2001:db8::7/64'], probe: true, found: 1, leastMs: 1000 },
  ];
  for (const { name, addresses, probe, found, leastMs } of rows) {
    test(name, async () => {
      const { clock, host, router, run, close } = lan();
      await run(router.configured());
      router.stack.addAddress(router.iface!, Cidr.parse('10.0.0.1/24'));
      const since = clock.now();
      const a = host({ addresses, ...(probe === undefined ? {} : { probe }) });
      const got = (await run(a.configured())).filter((cidr) => !cidr.startsWith('fe80:'));
      const ms = clock.now() - since;
      assert.ok(leastMs === 0 ? ms === 0 : ms >= leastMs && ms < 8000, `${ms} ms`);
      assert.equal(got.length, found, got.join());
      // What is there can be used.
      for (const cidr of got) {
        const socket = await a.udp.bind({ host: cidr.split('/')[0]! });
        await socket.close();
      }
      await close();
    });
  }
});

describe('router advertisements: RFC 4861 §6.2', () => {
  test('three soon, then between a third of the interval and the whole', async () => {
    const { clock, router, advertiser, close } = lan({ intervalSeconds: 60 });
    const at: number[] = [];
    let before = 0;
    for (let ms = 0; ms < 1_200_000; ms += 100) {
      await clock.run({ settle: () => Promise.resolve(), until: () => false, maxMs: 100 });
      if (advertiser.sent > before) at.push(clock.now());
      before = advertiser.sent;
    }
    const gaps = at.slice(1).map((ms, i) => ms - at[i]!);
    for (const gap of gaps.slice(0, 2)) assert.ok(gap <= 16_100, `${gap}`);
    for (const gap of gaps.slice(2)) assert.ok(gap >= 19_900 && gap <= 60_100, `${gap}`);
    assert.ok(gaps.length > 20 && gaps.length < 62, `${gaps.length}`);
    assert.equal(router.iface!.nd!.isRouter, true);
    await close();
  });

  test('wrong intervals and lifetimes', () => {
    const { router } = lan();
    const make = (options: RouterAdvertiserOptions) => () => new RouterAdvertiser(router.iface!, options);
    assert.throws(make({ intervalSeconds: 3 }), /intervalSeconds: expected 4 to 1800, got 3/);
    assert.throws(make({ lifetimeSeconds: 5 }), /lifetimeSeconds: expected 0, or 600 to 9000, got 5/);
  });
});

describe('dual stack: RFC 3493 §5.3', () => {
  const pair = () => {
    const [left, right] = pipePair({ medium: 'ip', mtu: 1500 });
    const server = createHost({ device: left, addresses: ['10.0.0.1/24', 'fd00::1/64'] });
    const client = createHost({ device: right, addresses: ['10.0.0.2/24', 'fd00::2/64'] });
    const close = async (): Promise<void> => {
      await Promise.all([client.close(), server.close()]);
      assert.equal(client.memory.usedBytes, 0);
    };
    return { server, client, close };
  };

  test('a listener on :: serves both; with ipv6Only it leaves IPv4 to another', async () => {
    const { server, client, close } = pair();
    const both = await server.tcp.listen({ port: 80 });
    for (const host of ['10.0.0.1', 'fd00::1']) await (await client.tcp.connect({ host, port: 80 })).close();
    await assert.rejects(server.tcp.listen({ port: 80, host: '0.0.0.0' }), { code: 'EADDRINUSE' });
    await both.close();
    await server.tcp.listen({ port: 81, ipv6Only: true });
    await assert.rejects(client.tcp.connect({ host: '10.0.0.1', port: 81 }), { code: 'ECONNREFUSED' });
    const v4 = await server.tcp.listen({ port: 81, host: '0.0.0.0' });
    await client.tcp.connect({ host: 'fd00::1', port: 81 });
    const stream = await client.tcp.connect({ host: '10.0.0.1', port: 81 });
    assert.equal((await v4.accept()).remotePort, stream.localPort);
    await close();
  });

  test('the same of datagrams', async () => {
    const { server, client, close } = pair();
    const v6 = await server.udp.bind({ port: 53, ipv6Only: true });
    const v4 = await server.udp.bind({ port: 53, host: '0.0.0.0' });
    const from = await client.udp.bind();
    await from.send(Uint8Array.of(4), { host: '10.0.0.1', port: 53 });
    await from.send(Uint8Array.of(6), { host: 'fd00::1', port: 53 });
    assert.deepEqual([...(await v4.receive()).data], [4]);
    assert.deepEqual([...(await v6.receive()).data], [6]);
    await assert.rejects(async () => v6.send(Uint8Array.of(1), { host: '10.0.0.2', port: 9 }), {
      code: 'EAFNOSUPPORT',
    });
    await close();
  });
});

describe('flow labels: RFC 6437', () => {
  test('one for all packets of a connection, another for another, none that is 0', async () => {
    const [left, right] = pipePair({ medium: 'ip', mtu: 1500 });
    const server = createHost({ device: left, addresses: ['fd00::1/64'] });
    const labels = new Map<number, Set<number>>();
    const client = createHost({ device: right, addresses: ['fd00::2/64'] });
    const { memory } = client;
    const transmit = right.transmit.bind(right);
    right.transmit = (frame: number): void => {
      const p = frame + 128;
      const port = memory.dv.getUint16(p + 40);
      const seen = labels.get(port) ?? new Set();
      labels.set(port, seen.add(memory.dv.getUint32(p) & 0xfffff));
      transmit(frame);
    };
    const listener = await server.tcp.listen({ port: 80 });
    for (let i = 0; i < 4; i++) {
      const stream = await client.tcp.connect({ host: 'fd00::1', port: 80 });
      const peer = await listener.accept();
      await stream.write(new Uint8Array(5000));
      await peer.read();
      await stream.close();
      await peer.close();
    }
    assert.equal(labels.size, 4);
    const all = [...labels.values()].map((seen) => [...seen]);
    for (const seen of all) assert.equal(seen.length, 1, 'one label a connection');
    assert.equal(new Set(all.flat()).size, 4);
    assert.ok(!all.flat().includes(0));
    await Promise.all([client.close(), server.close()]);
  });
});
