/** What a stack finds out by itself, asked for over its channel, in virtual time. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { inTime, isSettled } from '../../test/hosts.ts';
import { DhcpServer } from '../dhcp/index.ts';
import { DnsServer } from '../dns/index.ts';
import { createHost, type Host } from '../index.ts';
import { Memory } from '../memory/memory.ts';
import { Switch } from '../phy/index.ts';
import { Random } from '../phy/random.ts';
import { VirtualClock } from '../sim/clock.ts';
import { IpAddress } from '../wire/address.ts';
import { tcpConnect, udpBind } from './create-socket.ts';
import { Driver } from './driver.ts';
import { Netstack } from './netstack.ts';
import type { NetstackConfig } from './netstack-config.ts';
import { ping } from './probe-calls.ts';
import { configuration, configured, resolve } from './service-calls.ts';

/** A router with DHCP, DNS and mDNS, and a stack behind a channel, on one LAN. */
class Lan {
  readonly clock = new VirtualClock();
  readonly memory = new Memory({ bytes: 32 << 20 });
  readonly switch = new Switch({ memory: this.memory });
  readonly router: Host;
  readonly driver: Driver;
  readonly #random = new Random(5);

  constructor(config: NetstackConfig) {
    const { clock, memory } = this;
    const random = (): number => this.#random.next();
    const addresses = ['192.168.1.1/24', 'fd00::1/64'];
    this.router = createHost({ device: this.switch.port(), addresses, clock, random, mdns: { name: 'router' } });
    const netstack = new Netstack({ medium: 'ethernet', memory, random, ...config }, clock.now());
    this.driver = new Driver(netstack, this.switch.port(), clock).run();
  }

  run<T>(promise: Promise<T>): Promise<T> {
    return inTime(this.clock, promise);
  }

  async close(): Promise<void> {
    this.driver.close();
    await this.run(this.router.close());
    assert.equal(this.memory.usedBytes, 0, 'memory is still held');
  }
}

test('an address by DHCP, its name server, a name in connect and ping', async () => {
  const lan = new Lan({ addresses: ['dhcp'] });
  const { router, driver } = lan;
  const waiting = configured(driver);
  assert.equal(await isSettled(waiting), false);
  await assert.rejects(lan.run(configured(driver, { timeout: 2000 })), { code: 'ETIMEDOUT' });
  const dns = await lan.run(DnsServer.start(router, { domains: ['lan'], hosts: { 'router.lan': '192.168.1.1' } }));
  const own = IpAddress.parse('192.168.1.1');
  const dhcp = new DhcpServer(router.stack, router.iface!, {
    pool: [IpAddress.parse('192.168.1.50'), IpAddress.parse('192.168.1.60')],
    routers: [own],
    dnsServers: [own],
    search: ['lan'],
  });
  const addresses = await lan.run(waiting);
  assert.match(addresses.join(), /^192\.168\.1\.5\d\/24$/);
  const [found] = await lan.run(configuration(driver));
  assert.deepEqual([found!.source, found!.dnsServers, found!.search], ['dhcp', ['192.168.1.1'], ['lan']]);
  assert.deepEqual(await lan.run(resolve(driver, 'router')), ['192.168.1.1']);
  const [record] = await lan.run(resolve(driver, 'router.lan', { type: 'ANY' }));
  assert.ok((record as unknown as { address: IpAddress }).address.equals(own), 'records come as a resolver gives them');
  await assert.rejects(lan.run(resolve(driver, 'nobody.lan')), { code: 'ENOTFOUND', syscall: 'resolve' });
  const listener = await lan.run(router.tcp.listen({ port: 80 }));
  const [stream, peer] = await lan.run(
    Promise.all([tcpConnect(driver, { host: 'router', port: 80 }), listener.accept()]),
  );
  assert.equal(`${peer.remoteAddress}/24`, addresses[0]);
  const statistics = await lan.run(ping(driver, 'router', { count: 3, interval: 100 }));
  assert.deepEqual([statistics.sent, statistics.received], [3, 3]);
  assert.ok(statistics.durationMs >= 200 && statistics.durationMs < 1000, `${statistics.durationMs} ms`);
  await lan.run(Promise.all([stream.close(), peer.close(), listener.close()]));
  await dns.close();
  dhcp.close();
  await lan.close();
});

test('an address that is set is one to be reached by', async () => {
  const lan = new Lan({});
  const waiting = configured(lan.driver);
  assert.equal(await isSettled(waiting), false);
  await lan.run(lan.driver.commandChannel().setAddresses(['192.168.1.7/24']));
  assert.deepEqual(await lan.run(waiting), ['192.168.1.7/24']);
  assert.equal((await lan.run(lan.router.ping('192.168.1.7'))).address, '192.168.1.7');
  await lan.close();
});

test('link-local addresses of IPv6, by the name of the interface and by its index', async () => {
  const lan = new Lan({ addresses: ['192.168.1.7/24', 'fd00::7/64'] });
  const { router, driver } = lan;
  await lan.run(new Promise((resolve) => void lan.clock.setTimer(5000, () => resolve(null)))); // probed for duplicates
  const { address } = router.iface!.addresses.find((cidr) => cidr.address.isLinkLocal)!;
  const host = `${address.withZone(0)}%eth0`;
  const echo = await lan.run(router.udp.bind({ port: 7 }));
  const socket = await lan.run(udpBind(driver));
  await lan.run(socket.send(Uint8Array.of(1), { host, port: 7 }));
  const from = await lan.run(echo.receive());
  assert.match(from.address, /^fe80::.*%eth0$/);
  await lan.run(echo.send(Uint8Array.of(2), { host: from.address, port: from.port }));
  const answer = await lan.run(socket.receive());
  assert.match(answer.address, /^fe80::.*%\d+$/);
  await lan.run(socket.send(Uint8Array.of(3), { host: answer.address, port: 7 }));
  assert.deepEqual((await lan.run(echo.receive())).data, Uint8Array.of(3));
  assert.equal((await lan.run(ping(driver, host))).size, 56);
  const listener = await lan.run(router.tcp.listen({ port: 80 }));
  const stream = await lan.run(tcpConnect(driver, { host, port: 80 }));
  await lan.run(Promise.all([stream.close(), listener.close()]));
  await lan.run(Promise.resolve(socket.addMembership('ff02::77%eth0')));
  await assert.rejects(lan.run(Promise.resolve(socket.addMembership('ff02::78%eth9'))), TypeError);
  await lan.close();
});

test('names of the link by mDNS, and datagrams to them', async () => {
  const lan = new Lan({ addresses: ['192.168.1.2/24'], mdns: { name: 'stack' } });
  const { router, driver } = lan;
  await lan.run(router.mdns!.ready());
  await lan.run(driver.netstack.services.mdns!.ready());
  assert.deepEqual(await lan.run(resolve(driver, 'router.local', { family: 4 })), ['192.168.1.1']);
  assert.deepEqual(await lan.run(router.resolve('stack.local', { family: 4 })), ['192.168.1.2']);
  const socket = await lan.run(router.udp.bind({ port: 9 }));
  const sender = await lan.run(udpBind(driver));
  await lan.run(sender.send(Uint8Array.of(1), { host: 'router.local', port: 9 }));
  assert.equal((await lan.run(socket.receive())).address, '192.168.1.2');
  await lan.close();
});

test('a call that is cancelled, and one whose stack ends', async () => {
  const lan = new Lan({ addresses: ['192.168.1.2/24'], nameServers: ['192.168.1.77'] });
  const { driver } = lan;
  const abort = new AbortController();
  const calls = [
    ping(driver, '192.168.1.77', { signal: abort.signal, timeout: 1e6 }),
    resolve(driver, 'a.b', { signal: abort.signal }),
    tcpConnect(driver, { host: 'a.b', port: 80, signal: abort.signal }),
  ];
  for (const call of calls) assert.equal(await isSettled(call), false);
  abort.abort();
  for (const call of calls) await assert.rejects(lan.run<unknown>(call), { name: 'AbortError' });
  assert.equal(driver.netstack.services.underWay, 0);
  const late = [ping(driver, '192.168.1.77'), resolve(driver, 'a.b'), tcpConnect(driver, { host: 'a.b', port: 80 })];
  for (const call of late) call.catch(() => {});
  for (const call of late) assert.equal(await isSettled(call), false);
  driver.close();
  for (const call of late) await assert.rejects(call, { code: 'ENETDOWN' });
  await lan.close();
});

test('words and settings that are none', () => {
  for (const config of [
    { addresses: ['dhpc'] },
    { nameServers: ['x'] },
    { searchDomains: [7] },
    { mdns: { name: '' } },
  ]) {
    assert.throws(() => new Netstack({ medium: 'ethernet', ...config } as never), TypeError);
  }
});
