import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { a, cname, soa, zone } from '../../test/dns.ts';
import { inTime } from '../../test/hosts.ts';
import { one, rig, S1, ZONE } from '../../test/resolver.ts';
import * as dns from '../wire/dns.ts';
import { Resolver } from './resolver.ts';

describe('resolver: answers', () => {
  test('both families, both asked at once', async () => {
    const { network, clock, lookup } = one();
    assert.deepEqual(await lookup('example.org'), ['2001:db8::1', '192.0.2.1']);
    assert.deepEqual(network.log.sort(), [`A example.org @${S1}`, `AAAA example.org @${S1}`]);
    assert.equal(clock.now(), 5);
    assert.equal(network.open_, 0);
  });

  test('a chain of aliases, cached link by link, each as long as it lasts', async () => {
    const { network, resolver, clock } = one();
    const answer = await inTime(clock, resolver.query('www.example.org', 'A'));
    assert.deepEqual(
      answer.aliases.map(({ target }) => target),
      ['web.example.org', 'example.org'],
    );
    assert.equal(answer.name, 'example.org');
    assert.equal(network.queries.length, 1);
    clock.advanceTo(29_000);
    await inTime(clock, resolver.query('www.example.org', 'A'));
    assert.equal(network.queries.length, 1);
    clock.advanceTo(31_000); // web.example.org lasted 30 s
    await inTime(clock, resolver.query('www.example.org', 'A'));
    assert.deepEqual(network.log.slice(1), [`A web.example.org @${S1}`]);
  });

  test('an alias that the server did not follow is followed here', async () => {
    const { network, lookup } = rig({
      [S1]: ({ name, type }) => {
        if (name === 'www.example.org') return { answers: [cname('www.example.org', 'elsewhere.net')] };
        return type === 'A' ? { answers: [a('elsewhere.net', '192.0.2.9')] } : { authorities: [soa('net', 60)] };
      },
    });
    assert.deepEqual(await lookup('www.example.org'), ['192.0.2.9']);
    assert.equal(network.log.filter((line) => line.includes('elsewhere.net')).length, 2);
  });

  test('aliases in a circle end', async () => {
    const { network, resolver, clock } = one();
    await assert.rejects(inTime(clock, resolver.query('loop.example.org', 'A')), {
      code: 'EAI_AGAIN',
      message: /too many aliases/,
    });
    assert.equal(network.queries.length, 1);
  });

  test('a circle over many answers ends too', async () => {
    const { network, resolver, clock } = rig({
      [S1]: ({ name }) => ({ answers: [cname(name, name === 'a' ? 'b' : 'a', 0)] }),
    });
    await assert.rejects(inTime(clock, resolver.query('a.', 'A')), { code: 'EAI_AGAIN' });
    assert.ok(network.queries.length <= 18);
  });

  test('TTLs count down, and end', async () => {
    const { network, clock, records } = one();
    assert.equal((await records('four.example.org', 'A'))[0]!.ttl, 10);
    clock.advanceTo(9000);
    assert.equal((await records('four.example.org', 'A'))[0]!.ttl, 2);
    assert.equal(network.queries.length, 1);
    clock.advanceTo(10_100);
    await records('four.example.org', 'A');
    assert.equal(network.queries.length, 2);
  });

  test('TTL 0 is for the transaction in progress only', async () => {
    const { network, records } = rig({ [S1]: zone([a('now.org', '192.0.2.1', 0)]) });
    for (let i = 0; i < 2; i++) assert.equal((await records('now.org', 'A')).length, 1);
    assert.equal(network.queries.length, 2);
  });

  test('RFC 2308: NXDOMAIN is kept for every type, as long as the smaller of TTL and MINIMUM', async () => {
    const { network, clock, resolver } = one();
    const ask = (type: dns.RecordType) =>
      assert.rejects(inTime(clock, resolver.resolve('no.example.org', type)), {
        code: 'ENOTFOUND',
        address: 'no.example.org',
      });
    await ask('A');
    await ask('TXT');
    assert.equal(network.queries.length, 1);
    clock.advanceTo(60_100);
    await ask('TXT');
    assert.equal(network.queries.length, 2);
  });

  test('RFC 2308: no data of a type is kept for that type', async () => {
    const { network, clock, resolver } = one();
    const none = { code: 'ENODATA', address: 'example.org' };
    for (let i = 0; i < 2; i++) await assert.rejects(inTime(clock, resolver.resolve('example.org', 'TXT')), none);
    assert.equal(network.queries.length, 1);
    assert.equal((await inTime(clock, resolver.resolve('example.org', 'A'))).length, 1);
  });

  test('RFC 2308 §5: a negative answer without SOA is not kept', async () => {
    const { network, clock, resolver } = rig({ [S1]: () => ({ rcode: dns.NXDOMAIN }) });
    for (let i = 0; i < 2; i++)
      await assert.rejects(inTime(clock, resolver.resolve('no.org', 'A')), { code: 'ENOTFOUND' });
    assert.equal(network.queries.length, 2);
  });

  test('records that nobody asked about are not believed', async () => {
    const { network, lookup } = rig({
      [S1]: (query) =>
        query.name === 'evil.org'
          ? {
              answers: [a('evil.org', '192.0.2.66'), a('bank.org', '192.0.2.66')],
              additionals: [a('bank.org', '192.0.2.66')],
            }
          : zone([a('bank.org', '192.0.2.1')])(query),
    });
    await lookup('evil.org');
    assert.deepEqual(await lookup('bank.org'), ['192.0.2.1']);
    assert.equal(network.queries.length, 4);
  });

  test('an SOA of elsewhere does not make a negative answer last', async () => {
    const { network, clock, resolver } = rig({
      [S1]: () => ({ rcode: dns.NXDOMAIN, authorities: [soa('other.net', 900)] }),
    });
    for (let i = 0; i < 2; i++)
      await assert.rejects(inTime(clock, resolver.resolve('no.org', 'A')), { code: 'ENOTFOUND' });
    assert.equal(network.queries.length, 2);
  });

  test('the cache is bounded', async () => {
    const { resolver, clock } = rig({ [S1]: ({ name }) => ({ answers: [a(name, '192.0.2.1')] }) });
    for (let i = 0; i < 1100; i++) await inTime(clock, resolver.resolve(`n${i}.org`, 'A'));
    assert.equal(resolver.cached, 1024);
    const big = rig({
      [S1]: ({ name }) => ({ answers: Array.from({ length: 4000 }, (_, i) => a(name, `10.0.${i >> 8}.${i & 255}`)) }),
    });
    for (let i = 0; i < 8; i++) assert.equal((await big.records(`n${i}.org`, 'A')).length, 4000);
    assert.equal(big.resolver.cached, 4);
  });

  test('one family may fail where the other answers', async () => {
    const { lookup, clock } = rig({ [S1]: (query) => (query.type === 'A' ? zone(ZONE)(query) : null) });
    assert.deepEqual(await lookup('example.org'), ['192.0.2.1']);
    assert.ok(clock.now() > 5000);
  });

  test('each family is told as soon as it is known', async () => {
    const { resolver, clock } = rig({ [S1]: (query) => (query.type === 'A' ? zone(ZONE)(query) : null) });
    const told: [number, number, string][] = [];
    const onFamily = (family: number, list: readonly unknown[]) => void told.push([clock.now(), family, `${list}`]);
    await inTime(clock, resolver.lookup('example.org', { onFamily }));
    assert.deepEqual(told, [[5, 4, '192.0.2.1']]);
  });
});

describe('resolver: names', () => {
  test('addresses are their own', async () => {
    const { network, lookup, resolver } = one();
    assert.deepEqual(await lookup('192.0.2.5'), ['192.0.2.5']);
    assert.deepEqual(await lookup('2001:db8::5'), ['2001:db8::5']);
    await assert.rejects(resolver.lookup('192.0.2.5', { families: [6] }), { code: 'ENOTFOUND' });
    assert.equal(network.queries.length, 0);
  });

  test('RFC 6761: localhost is the loopback, invalid does not exist, onion is not asked for', async () => {
    const { network, lookup, records, resolver } = one();
    for (const name of ['localhost', 'LocalHost.', 'x.localhost']) {
      assert.deepEqual(await lookup(name), ['::1', '127.0.0.1']);
    }
    for (const name of ['no.invalid', 'abc.onion']) await assert.rejects(resolver.lookup(name), { code: 'ENOTFOUND' });
    assert.equal(dns.formatData((await records('127.0.0.1', 'PTR'))[0]!), 'localhost.');
    await assert.rejects(resolver.resolve('localhost', 'MX'), { code: 'ENODATA' });
    assert.equal(network.queries.length, 0);
  });

  test('a table of hosts, both ways', async () => {
    const hosts = { printer: ['10.0.0.9', 'fd00::9'], 'Router.lan': '10.0.0.1' };
    const { network, lookup, records, resolver } = one({ hosts });
    assert.deepEqual(await lookup('PRINTER'), ['fd00::9', '10.0.0.9']);
    assert.deepEqual(await lookup('router.lan'), ['10.0.0.1']);
    assert.equal(dns.formatData((await records('10.0.0.1', 'PTR'))[0]!), 'Router.lan.');
    assert.equal(network.queries.length, 0);
    await assert.rejects(resolver.lookup('printer', { families: [4, 6], signal: AbortSignal.abort() }), {
      name: 'AbortError',
    });
    assert.throws(() => new Resolver(network, { hosts: { x: 'nonsense' } }), TypeError);
    assert.throws(() => new Resolver(network, { hosts: { 'a..b': '10.0.0.1' } }), TypeError);
  });

  const searched: [name: string, ndots: number, asked: string[]][] = [
    ['short', 1, ['short.lan']],
    ['four', 1, ['four.lan', 'four.example.org']],
    ['none', 1, ['none.lan', 'none.example.org', 'none']],
    ['none.', 1, ['none']],
    ['a.none', 1, ['a.none', 'a.none.lan', 'a.none.example.org']],
    ['a.none', 2, ['a.none.lan', 'a.none.example.org', 'a.none']],
    ['a\\.none', 1, ['a\\.none.lan', 'a\\.none.example.org', 'a\\.none']],
  ];
  for (const [name, ndots, asked] of searched) {
    test(`search list: ${name}, ndots ${ndots}`, async () => {
      const { network, resolver, clock } = one({ ndots }, ['lan', 'example.org.']);
      await inTime(
        clock,
        resolver.resolve(name, 'A').catch(() => {}),
      );
      assert.deepEqual(
        network.queries.map((query) => query.name),
        asked,
      );
    });
  }

  test('names that are none are not found; arguments of other types are refused', async () => {
    const { resolver } = one();
    for (const name of ['', 'a..b', '.x', 'x'.repeat(64)]) {
      await assert.rejects(resolver.lookup(name), { code: 'ENOTFOUND', address: name });
    }
    await assert.rejects(resolver.lookup(7 as never), {
      name: 'TypeError',
      message: 'name: expected a domain name as a string, got number',
    });
    await assert.rejects(resolver.resolve('x', 'NOPE' as never), { name: 'TypeError', message: /^type: expected/ });
  });

  test('names of other scripts are asked for as IDNA has them', async () => {
    const { network, resolver, clock } = one();
    await inTime(
      clock,
      resolver.resolve('bücher.example', 'A').catch(() => {}),
    );
    assert.equal(network.queries[0]!.name, 'xn--bcher-kva.example');
  });
});
