import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { a, cname, ip } from '../../test/dns.ts';
import { inTime } from '../../test/hosts.ts';
import { createHost } from '../index.ts';
import { pipePair } from '../phy/index.ts';
import { Random } from '../phy/random.ts';
import { VirtualClock } from '../sim/clock.ts';
import * as dns from '../wire/dns.ts';
import { DnsServer } from './server.ts';

/** A client, a router that forwards, and a server of the world behind it. */
async function rig(hasForward = true) {
  const clock = new VirtualClock();
  const random = new Random(5);
  const common = { clock, random: () => random.next() };
  const [left, right] = pipePair({});
  const [up, down] = pipePair({});
  const client = createHost({ device: left, addresses: ['10.0.0.2/24'], nameServers: ['10.0.0.1'], ...common });
  const router = createHost({ device: right, addresses: ['10.0.0.1/24'], nameServers: ['10.1.0.1'], ...common });
  router.addInterface(up, { addresses: ['10.1.0.2/24'] });
  const world = createHost({ device: down, addresses: ['10.1.0.1/24'], ...common });
  const outer = await DnsServer.start(world, {
    domains: ['org'],
    records: [
      a('example.org', '192.0.2.1'),
      cname('www.example.org', 'example.org'),
      ...Array.from({ length: 100 }, (_, i) => a('many.org', `10.2.0.${i}`)),
    ],
  });
  const server = await DnsServer.start(router, {
    domains: ['lan'],
    hosts: { 'router.lan': '10.0.0.1' },
    records: [cname('out.lan', 'www.example.org')],
    ...(hasForward ? { forward: router.resolver } : {}),
  });
  const run = <T>(promise: Promise<T>): Promise<T> => inTime(clock, promise);
  const close = async (): Promise<void> => {
    await run(Promise.all([server.close(), outer.close()]));
    await run(Promise.all([client.close(), router.close(), world.close()]));
    assert.equal(client.memory.usedBytes + world.memory.usedBytes, 0, 'memory is still held');
  };
  /** Sends bytes to the router's port 53 and gives what came back within a second, or null. */
  const ask = async (data: Uint8Array): Promise<dns.Message | null> => {
    const socket = await client.udp.connect({ host: '10.0.0.1', port: 53 });
    await socket.send(data);
    const signal = new AbortController();
    const timer = clock.setTimer(clock.now() + 1000, () => signal.abort());
    const got = await run(socket.receive({ signal: signal.signal }).catch(() => null));
    clock.clearTimer(timer);
    await socket.close();
    return got === null ? null : (dns.parse(got.data) as dns.Message);
  };
  return { clock, client, router, world, outer, server, run, close, ask };
}

const query = (name: string, type: dns.RecordType, fields: Partial<dns.Message> = {}): Uint8Array =>
  dns.emit({ id: 77, recursionDesired: true, questions: [dns.question(name, type)], ...fields });
const edns = (payloadBytes: number, version = 0): dns.Edns => ({ payloadBytes, version, dnssecOk: false });

describe('dns server', () => {
  test('the table with authority, the rest forwarded, aliases across both', async () => {
    const { client, router, run, close, ask } = await rig();
    const own = (await ask(query('router.lan', 'A')))!;
    assert.deepEqual([own.isAuthoritative, own.recursionAvailable, own.rcode, own.answers.length], [true, true, 0, 1]);
    assert.deepEqual(await run(client.resolve('www.example.org', { family: 4 })), ['192.0.2.1']);
    const mixed = (await ask(query('out.lan', 'A')))!;
    assert.deepEqual(mixed.answers.map(dns.formatData), ['www.example.org.', 'example.org.', '192.0.2.1']);
    const asked = router.stats.udpOut;
    await ask(query('www.example.org', 'A'));
    assert.equal(router.stats.udpOut, asked + 1, 'the answer came from the cache');
    await close();
  });

  test('negative answers of others go through with their SOA, so that they can be kept', async () => {
    const { router, close, ask } = await rig();
    for (const [name, rcode] of [
      ['no.example.org', dns.NXDOMAIN],
      ['example.org', dns.NOERROR],
    ] as const) {
      const first = (await ask(query(name, 'TXT')))!;
      const sent = router.stats.udpOut;
      const again = (await ask(query(name, 'TXT')))!;
      assert.deepEqual([first.rcode, first.authorities[0]!.type, again.rcode], [rcode, 'SOA', rcode]);
      assert.equal(router.stats.udpOut, sent + 1);
    }
    await close();
  });

  const refused: [name: string, data: Uint8Array, rcode: number][] = [
    ['another opcode', query('router.lan', 'A', { opcode: 4 }), dns.NOTIMP],
    ['no question', dns.emit({ id: 77 }), dns.FORMERR],
    ['two questions', dns.emit({ id: 77, questions: [dns.question('a', 'A'), dns.question('b', 'A')] }), dns.FORMERR],
    ['a cut question', query('router.lan', 'A').slice(0, 20), dns.FORMERR],
    ['a compression loop', Uint8Array.of(0, 77, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0xc0, 12, 0, 1, 0, 1), dns.FORMERR],
    ['EDNS of version 1', query('router.lan', 'A', { edns: edns(1232, 1) }), dns.BADVERS],
    ['class CH', dns.emit({ id: 77, questions: [{ ...dns.question('version.bind', 'TXT'), class: 3 }] }), dns.REFUSED],
    ['a transfer', query('lan', 'AXFR'), dns.REFUSED],
    ['elsewhere, without recursion', query('example.org', 'A', { recursionDesired: false }), dns.REFUSED],
  ];
  test('what is refused, and how', async () => {
    const { close, ask } = await rig();
    for (const [name, data, rcode] of refused) {
      const got = (await ask(data))!;
      assert.deepEqual([got.rcode, got.id, got.isResponse], [rcode, 77, true], name);
    }
    await close();
  });

  test('without a forwarder what is elsewhere is refused', async () => {
    const { close, ask } = await rig(false);
    const got = (await ask(query('example.org', 'A')))!;
    assert.deepEqual([got.rcode, got.recursionAvailable], [dns.REFUSED, false]);
    const alias = (await ask(query('out.lan', 'A')))!;
    assert.deepEqual(alias.answers.map(dns.formatData), ['www.example.org.']);
    await close();
  });

  test('responses and rubbish are not answered', async () => {
    const { router, close, ask } = await rig();
    assert.equal(await ask(dns.emit({ id: 77, isResponse: true, questions: [dns.question('router.lan', 'A')] })), null);
    assert.equal(await ask(Uint8Array.of(1, 2, 3)), null);
    assert.equal(await ask(Uint8Array.of(0, 77, 0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0)), null);
    assert.deepEqual(router.stats.drops, { 'dns-not-a-query': 1, 'dns-truncated': 2 });
    await close();
  });

  test('RFC 6891: datagrams no larger than was asked for, with OPT where it was asked for', async () => {
    const { close, ask } = await rig();
    const sizes: [edns: dns.Edns | null, answers: number, hasEdns: boolean][] = [
      [null, 30, false],
      [edns(512), 29, true],
      [edns(1000), 60, true],
      [edns(65_535), 74, true],
    ];
    for (const [opt, answers, hasEdns] of sizes) {
      const got = (await ask(query('many.org', 'A', { edns: opt })))!;
      assert.deepEqual([got.isTruncated, got.answers.length, got.edns !== null], [true, answers, hasEdns]);
    }
    await close();
  });

  test('TCP: several questions on one connection, in pieces; an idle one is closed', async () => {
    const { client, clock, run, close } = await rig();
    const stream = await run(client.tcp.connect({ host: '10.0.0.1', port: 53 }));
    const data = query('many.org', 'A');
    const framed = Uint8Array.of(0, data.length, ...data, 0, data.length, ...data);
    await stream.write(framed.slice(0, 1));
    await run(new Promise<void>((resolve) => void clock.setTimer(clock.now() + 100, resolve)));
    await stream.write(framed.slice(1));
    for (let i = 0; i < 2; i++) {
      const length = new Uint8Array(2);
      await run(stream.readInto(length));
      const rest = new Uint8Array((length[0]! << 8) | length[1]!);
      for (let at = 0; at < rest.length; ) at += await run(stream.readInto(rest.subarray(at)));
      assert.equal((dns.parse(rest) as dns.Message).answers.length, 100);
    }
    const before = clock.now();
    assert.equal(await run(stream.read()), null);
    assert.ok(clock.now() - before >= 10_000 && clock.now() - before < 10_100);
    await stream.close();
    await close();
  });

  test('a hundred connections: no more than 64 are served, and the host goes on', async () => {
    const { client, router, run, close, ask } = await rig();
    const streams = await run(
      Promise.all(Array.from({ length: 100 }, () => client.tcp.connect({ host: '10.0.0.1', port: 53 }))),
    );
    await ask(query('router.lan', 'A'));
    assert.equal(router.stats.drops['dns-server-busy'], 36);
    for (const stream of streams) await stream.close();
    await close();
  });

  test('a dead upstream: SERVFAIL, and no more than 512 questions wait', async () => {
    const { client, router, outer, run, clock, close } = await rig();
    await run(outer.close());
    router.resolver.setServers('static', [{ address: ip('10.1.0.99') }]);
    const socket = await client.udp.connect({ host: '10.0.0.1', port: 53 });
    for (let i = 0; i < 600; i++) await run(socket.send(query(`n${i}.org`, 'A', { id: i })));
    const codes: number[] = [];
    const reading = (async () => {
      for await (const { data } of socket) codes.push((dns.parse(data) as dns.Message).rcode);
    })();
    await run(new Promise<void>((resolve) => void clock.setTimer(clock.now() + 10_000, resolve)));
    await socket.close();
    await reading;
    // 256 questions under way at the resolver; the others are told at once.
    assert.equal(codes.length, 600);
    assert.ok(codes.every((code) => code === dns.SERVFAIL));
    await close();
  });

  test('the port is taken: EADDRINUSE, and nothing is left behind', async () => {
    const { client, close } = await rig();
    const listener = await client.tcp.listen({ port: 53 });
    await assert.rejects(DnsServer.start(client), { code: 'EADDRINUSE' });
    await listener.close();
    const server = await DnsServer.start(client);
    await server.close();
    await close();
  });
});
