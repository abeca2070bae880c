import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { a, cname } from '../../test/dns.ts';
import { bytesOf, inTime, isSettled, text } from '../../test/hosts.ts';
import { DnsServer, type DnsServerOptions } from '../dns/index.ts';
import { createHost, type HostOptions } from '../index.ts';
import { pipePair } from '../phy/index.ts';
import { Random } from '../phy/random.ts';
import { VirtualClock } from '../sim/clock.ts';
import { Cidr } from '../wire/address.ts';
import * as dns from '../wire/dns.ts';

/** An address that nobody has. */
const NOBODY = '10.0.0.99';

const ZONE: DnsServerOptions = {
  domains: ['lan'],
  hosts: { 'both.lan': ['10.0.0.1', 'fd00::1'], 'four.lan': '10.0.0.1', 'dead6.lan': ['fd00::77', '10.0.0.1'] },
  records: [
    cname('www.lan', 'both.lan'),
    dns.record('lan', 60, { type: 'MX', preference: 10, exchange: 'mail.lan' }),
    dns.record('_http._tcp.lan', 60, { type: 'SRV', priority: 0, weight: 5, port: 80, target: 'both.lan' }),
    dns.record('note.lan', 60, { type: 'TXT', strings: [bytesOf('a note')] }),
    ...Array.from({ length: 300 }, (_, i) => a('many.lan', `10.1.${i >> 8}.${i & 255}`)),
  ],
};

/** Two hosts, one of them with a name server; in virtual time. */
async function rig(client: Partial<HostOptions> = {}, zone: DnsServerOptions = ZONE) {
  const clock = new VirtualClock();
  const random = new Random(3);
  const [left, right] = pipePair({});
  const common = { clock, random: () => random.next() };
  const router = createHost({ device: left, addresses: ['10.0.0.1/24', 'fd00::1/64'], ...common });
  const host = createHost({
    device: right,
    addresses: ['10.0.0.2/24', 'fd00::2/64'],
    nameServers: ['10.0.0.1'],
    searchDomains: ['lan'],
    ...common,
    ...client,
  });
  const server = await DnsServer.start(router, zone);
  const close = async (): Promise<void> => {
    await inTime(clock, Promise.all([server.close(), host.close(), router.close()]));
    assert.equal(host.memory.usedBytes, 0, 'memory is still held');
  };
  const run = <T>(promise: Promise<T>): Promise<T> => inTime(clock, promise);
  return { clock, router, host, server, run, close };
}

describe('host.resolve', () => {
  test('addresses as strings, of one family or both; records of other types', async () => {
    const { host, run, close } = await rig();
    assert.deepEqual(await run(host.resolve('both.lan')), ['10.0.0.1', 'fd00::1']); // RFC 6724 §2.1: fc00::/7 comes behind IPv4
    assert.deepEqual(await run(host.resolve('both', { family: 4 })), ['10.0.0.1']);
    assert.deepEqual(await run(host.resolve('www', { type: 'AAAA' })), ['fd00::1']);
    const [mx] = await run(host.resolve('lan.', { type: 'MX' }));
    assert.deepEqual([mx!.preference, mx!.exchange], [10, 'mail.lan']);
    const [srv] = await run(host.resolve('_http._tcp', { type: 'SRV' }));
    assert.deepEqual([srv!.port, srv!.target, srv!.weight, srv!.priority], [80, 'both.lan', 5, 0]);
    assert.deepEqual(dns.textOf((await run(host.resolve('note', { type: 'TXT' })))[0]!), ['a note']);
    assert.equal((await run(host.resolve('fd00::1', { type: 'PTR' })))[0]!.target, 'both.lan');
    assert.deepEqual(await run(host.resolve('localhost')), ['::1', '127.0.0.1']);
    assert.deepEqual(await run(host.resolveSocketAddress('four', 80)), { address: '10.0.0.1', port: 80 });
    await close();
  });

  test('an answer too large for a datagram comes over TCP', async () => {
    const { host, router, run, close } = await rig();
    assert.equal((await run(host.resolve('many', { type: 'A' }))).length, 300);
    assert.equal(router.stats.tcpPassiveOpens, 1);
    await close();
  });

  test('a dead first server costs a second, once', async () => {
    const { host, clock, run, close } = await rig({ nameServers: [NOBODY, '[fd00::1]:53'] });
    await run(host.resolve('four'));
    const first = clock.now();
    await run(host.resolve('both'));
    assert.ok(first >= 1000 && first < 1100 && clock.now() - first < 10, `${first} ${clock.now()}`);
    await close();
  });

  test('errors', async () => {
    const { host, run, close } = await rig();
    await assert.rejects(run(host.resolve('no.lan')), { code: 'ENOTFOUND', syscall: 'resolve', address: 'no.lan' });
    await assert.rejects(run(host.resolve('four', { family: 6 })), { code: 'ENOTFOUND' });
    await assert.rejects(run(host.resolve('four.lan', { type: 'MX' })), { code: 'ENODATA', address: 'four.lan' });
    await assert.rejects(run(host.resolve('elsewhere.org')), { code: 'EAI_AGAIN' }); // the server refuses
    await assert.rejects(run(host.resolve('x', { family: 5 as never })), {
      name: 'RangeError',
      message: 'family: expected 4 or 6, got 5',
    });
    const waiting = assert.rejects(host.resolve('elsewhere.net'), { code: 'ECANCELED' });
    await run(host.close());
    await waiting;
    await assert.rejects(host.resolve('four'), { code: 'ECANCELED' });
    await close();
  });

  test('cancelled: nothing is left', async () => {
    const { host, run, close } = await rig({ nameServers: [NOBODY] });
    const controller = new AbortController();
    const waiting = host.resolve('four', { signal: controller.signal });
    assert.equal(await isSettled(waiting), false);
    controller.abort(new Error('enough'));
    await assert.rejects(run(waiting), { message: 'enough' });
    await close();
  });

  test('options that are none', () => {
    const [device] = pipePair({});
    for (const [name, options] of [
      ['server', { nameServers: ['ns.example.org'] }],
      ['port', { nameServers: ['10.0.0.1:70000'] }],
      ['search', { searchDomains: ['a..b'] }],
      ['hosts', { hosts: { x: 'y' } }],
    ] as const) {
      assert.throws(() => createHost({ device, ...options }), TypeError, name);
    }
  });

  test('a forged answer from another address or port never comes in', async () => {
    const { host, router, run, clock, close, server } = await rig();
    await server.close();
    router.stack.addAddress(router.iface!, Cidr.parse('10.0.0.66/24'));
    const real = await router.udp.bind({ port: 53, host: '10.0.0.1' });
    const forger = await router.udp.bind({ port: 53, host: '10.0.0.66' });
    const other = await router.udp.bind({ port: 54, host: '10.0.0.1' });
    const asking = host.resolve('four', { type: 'A' });
    const { data, address, port } = await run(real.receive());
    const query = dns.parse(data) as dns.Message;
    const forged = (text: string, fields: Partial<dns.Message> = {}): Uint8Array =>
      dns.emit({
        id: query.id,
        isResponse: true,
        questions: query.questions,
        answers: [a('four.lan', text)],
        ...fields,
      });
    await forger.send(forged('6.6.6.6'), { host: address, port });
    await other.send(forged('6.6.6.7'), { host: address, port });
    await real.send(forged('6.6.6.8'), { host: address, port: port ^ 1 });
    await real.send(forged('6.6.6.9', { id: query.id ^ 1 }), { host: address, port });
    await real.send(forged('10.0.0.1'), { host: address, port });
    assert.deepEqual(await run(asking), ['10.0.0.1']);
    assert.equal(host.stats.drops['udp-no-socket'], 3);
    assert.equal(host.stats.drops['dns-wrong-id'], 1);
    assert.ok(clock.now() < 1000);
    await close();
  });

  test('RFC 5452 §9.2: each query has a port and an id of its own', async () => {
    const { host, router, run, close, server } = await rig();
    await server.close();
    const socket = await router.udp.bind({ port: 53 });
    const ports = new Set<number>();
    const ids = new Set<number>();
    const asking = host.resolve('x.lan', { type: 'A' }).catch(() => {});
    for (let i = 0; i < 3; i++) {
      const { data, port } = await run(socket.receive());
      ports.add(port);
      ids.add((dns.parse(data) as dns.Message).id);
    }
    await run(asking);
    assert.deepEqual([ports.size, ids.size], [3, 3]);
    await close();
  });
});

describe('names in calls', () => {
  test('tcp.connect: by name, IPv6 first', async () => {
    const { host, router, run, close } = await rig();
    await router.tcp.listen({ port: 80 });
    const stream = await run(host.tcp.connect({ host: 'www', port: 80 }));
    assert.equal(stream.remoteAddress, 'fd00::1');
    const bound = await run(host.tcp.connect({ host: 'www', port: 80, localAddress: '10.0.0.2' }));
    assert.equal(bound.remoteAddress, '10.0.0.1');
    await close();
  });

  test('tcp.connect: an IPv6 address that nobody has: IPv4 after 250 ms, and the first attempt leaves nothing', async () => {
    const { host, router, run, clock, close } = await rig();
    await router.tcp.listen({ port: 80 });
    const before = clock.now();
    const stream = await run(host.tcp.connect({ host: 'dead6.lan', port: 80 }));
    assert.equal(stream.remoteAddress, '10.0.0.1');
    assert.ok(clock.now() - before >= 250 && clock.now() - before < 300, `${clock.now() - before}`);
    assert.equal(host.stack.tcp.connections.count, 1);
    await close();
  });

  test('tcp.connect: errors', async () => {
    const { host, run, close } = await rig();
    await assert.rejects(run(host.tcp.connect({ host: 'no.lan', port: 80 })), {
      code: 'ENOTFOUND',
      syscall: 'connect',
      address: 'no.lan',
    });
    await assert.rejects(run(host.tcp.connect({ host: 'both', port: 80 })), {
      code: 'ECONNREFUSED',
      address: 'fd00::1',
      port: 80,
    });
    await assert.rejects(run(host.tcp.connect({ host: 'elsewhere.org', port: 80 })), {
      code: 'EAI_AGAIN',
      syscall: 'connect',
    });
    const controller = new AbortController();
    const waiting = host.tcp.connect({ host: 'dead6', port: 81, signal: controller.signal });
    controller.abort();
    await assert.rejects(run(waiting), { name: 'AbortError' });
    await assert.rejects(host.tcp.connect({ host: 'x', port: 0 }), RangeError);
    await assert.rejects(host.tcp.connect({ host: 5 as never, port: 1 }), TypeError);
    await close();
  });

  test('tcp.connect: the timeout counts the name too', async () => {
    const { host, run, clock, close } = await rig({ nameServers: [NOBODY] });
    const before = clock.now();
    const late = host.tcp.connect({ host: 'four.lan', port: 80, timeout: 700 });
    await assert.rejects(run(late), { code: 'ETIMEDOUT', address: 'four.lan' });
    assert.equal(clock.now() - before, 700);
    await close();
  });

  test('closing the host ends a connect that still looks for the name', async () => {
    const { host, run, close } = await rig({ nameServers: [NOBODY] });
    const waiting = host.tcp.connect({ host: 'four', port: 80 });
    const told = assert.rejects(waiting, { code: 'ECANCELED', syscall: 'connect' });
    await run(host.close());
    await told;
    await close();
  });

  test('localhost', async () => {
    const { host, run, close } = await rig();
    const listener = await host.tcp.listen({ port: 80, host: '127.0.0.1' });
    const stream = await run(host.tcp.connect({ host: 'localhost', port: 80 }));
    assert.equal(stream.remoteAddress, '127.0.0.1');
    await listener.close();
    await close();
  });

  test('udp.send, udp.connect and ping take names', async () => {
    const { host, router, run, close } = await rig();
    const echo = await router.udp.bind({ port: 7 });
    const socket = await host.udp.bind();
    await run(socket.send(bytesOf('one'), { host: 'four', port: 7 }));
    assert.equal((await run(echo.receive())).address, '10.0.0.2');
    const connected = await run(host.udp.connect({ host: 'both.lan', port: 7 }));
    await connected.send(bytesOf('two'));
    const got = await run(echo.receive());
    assert.deepEqual([text(got.data), got.address], ['two', 'fd00::2']);
    assert.equal((await run(host.ping('www'))).address, 'fd00::1');
    await assert.rejects(run(socket.send(bytesOf('x'), { host: 'no.lan', port: 7 })), {
      code: 'ENOTFOUND',
      syscall: 'send',
    });
    await assert.rejects(run(host.ping('no.lan')), { code: 'ENOTFOUND', syscall: 'ping' });
    const late = socket.send(bytesOf('x'), { host: 'note2.lan', port: 7 });
    await socket.close();
    await assert.rejects(run(late), { code: 'ENOTFOUND' });
    await close();
  });
});
