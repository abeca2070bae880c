import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { a, answer, cname, FakeNetwork, ip, type Query, type Reply, soa, zone } from '../../test/dns.ts';
import { inTime } from '../../test/hosts.ts';
import * as dns from '../wire/dns.ts';
import { Resolver, type ResolverOptions } from './resolver.ts';

const S1 = '10.0.0.53';
const S2 = '10.0.0.54';
const ZONE = [
  a('example.org', '192.0.2.1'),
  a('example.org', '2001:db8::1'),
  cname('www.example.org', 'web.example.org'),
  cname('web.example.org', 'example.org', 30),
  cname('loop.example.org', 'pool.example.org'),
  cname('pool.example.org', 'loop.example.org'),
  a('four.example.org', '192.0.2.4', 10),
  a('short.lan', '192.0.2.7'),
];

function rig(servers: Record<string, (query: Query) => Reply>, options: ResolverOptions = {}, search: string[] = []) {
  const network = new FakeNetwork(servers);
  const resolver = new Resolver(network, options);
  resolver.setServers(
    'static',
    Object.keys(servers).map((address) => ({ address: ip(address) })),
    search,
  );
  const { clock } = network;
  const lookup = (name: string) => inTime(clock, resolver.lookup(name)).then((list) => list.map(String));
  const records = (name: string, type: dns.RecordType) => inTime(clock, resolver.resolve(name, type));
  return { network, resolver, clock, lookup, records };
}

const one = (options: ResolverOptions = {}, search: string[] = []) => rig({ [S1]: zone(ZONE) }, options, search);

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

describe('resolver: servers', () => {
  test('the first that answers is asked first from then on', async () => {
    const { network, clock, records } = rig({ [S1]: () => null, [S2]: zone(ZONE) });
    await records('example.org', 'A');
    assert.equal(clock.now(), 1005);
    await records('four.example.org', 'A');
    assert.equal(clock.now(), 1010);
    assert.deepEqual(network.log.slice(-2), [`A example.org @${S2}`, `A four.example.org @${S2}`]);
    clock.advanceTo(31_000); // the penalty is over
    await records('short.lan', 'A');
    assert.deepEqual(network.log.slice(3), [`A short.lan @${S1}`, `A short.lan @${S2}`]);
    clock.advanceTo(80_000); // twice as long the second time
    await records('www.example.org', 'A');
    assert.deepEqual(network.log.slice(5), [`A www.example.org @${S2}`]);
  });

  for (const rcode of [dns.SERVFAIL, dns.REFUSED, 9]) {
    test(`rcode ${rcode}: the next one is asked at once`, async () => {
      const { clock, records } = rig({ [S1]: () => ({ rcode }), [S2]: zone(ZONE) });
      assert.equal((await records('example.org', 'A')).length, 1);
      assert.equal(clock.now(), 10);
    });
  }

  test('a server that refuses the datagram: the next one at once', async () => {
    const { clock, records } = rig({ [S1]: () => 'ECONNREFUSED', [S2]: zone(ZONE) });
    await records('example.org', 'A');
    assert.equal(clock.now(), 10);
  });

  test('none answers: three rounds, then ETIMEDOUT', async () => {
    const { network, clock, resolver } = rig({ [S1]: () => null, [S2]: () => null });
    await assert.rejects(inTime(clock, resolver.resolve('example.org', 'A')), {
      code: 'ETIMEDOUT',
      syscall: 'resolve',
    });
    assert.equal(clock.now(), 2 * (1000 + 2000 + 4000));
    assert.equal(network.queries.length, 6);
    assert.equal(network.open_, 0);
    // RFC 6891: some servers say nothing to EDNS; the last round is without.
    assert.deepEqual(
      network.queries.map(({ message }) => message.edns !== null),
      [true, true, true, true, false, false],
    );
  });

  test('all fail: EAI_AGAIN; none known: ENOTFOUND', async () => {
    const { clock, resolver } = rig({ [S1]: () => ({ rcode: dns.SERVFAIL }) });
    await assert.rejects(inTime(clock, resolver.lookup('example.org')), { code: 'EAI_AGAIN' });
    await assert.rejects(rig({}).resolver.lookup('example.org'), {
      code: 'ENOTFOUND',
      message: /no name server is known/,
    });
  });

  test('a slow answer that comes after the timeout is not taken, a later one is', async () => {
    const network = rig({
      [S1]: (query) => {
        if (network.network.queries.length > 1) return zone(ZONE)(query);
        network.clock.setTimer(1500, () =>
          query.raw(answer(query.message, { answers: [a(query.name, '192.0.2.66')] })),
        );
        return null;
      },
    });
    assert.equal(dns.formatData((await network.records('example.org', 'A'))[0]!), '192.0.2.1');
  });

  for (const rcode of [dns.FORMERR, dns.NOTIMP, dns.BADVERS]) {
    test(`EDNS is left out for a server that answers it with ${rcode}, and that is remembered`, async () => {
      const { network, records } = rig({
        [S1]: (query) =>
          query.message.edns === null
            ? zone(ZONE)(query)
            : { rcode, edns: rcode > 15 ? { payloadBytes: 512, version: 0, dnssecOk: false } : null },
      });
      await records('example.org', 'A');
      await records('four.example.org', 'A');
      assert.deepEqual(
        network.queries.map(({ message }) => message.edns?.payloadBytes),
        [1232, undefined, undefined],
      );
    });
  }

  test('FORMERR without the question is taken', async () => {
    const { records } = rig({
      [S1]: (query) => (query.message.edns === null ? zone(ZONE)(query) : { rcode: dns.FORMERR, questions: [] }),
    });
    assert.equal((await records('example.org', 'A')).length, 1);
  });

  test('a cut answer is asked for over TCP; where that fails, the next server', async () => {
    const many = Array.from({ length: 500 }, (_, i) => a('big.org', `10.0.${i >> 8}.${i & 255}`));
    const big = (query: Query): Reply =>
      query.overTcp ? { answers: many } : { isTruncated: true, answers: many.slice(0, 20) };
    const good = rig({ [S1]: big });
    assert.equal((await good.records('big.org', 'A')).length, 500);
    assert.deepEqual(good.network.log, [`A big.org @${S1}`, `A big.org @${S1} tcp`]);
    const bad = rig({ [S1]: (query) => (query.overTcp ? 'ECONNREFUSED' : { isTruncated: true }), [S2]: big });
    assert.equal((await bad.records('big.org', 'A')).length, 500);
    const mute = rig({ [S1]: (query) => (query.overTcp ? null : { isTruncated: true }), [S2]: big });
    assert.equal((await mute.records('big.org', 'A')).length, 500);
    assert.ok(mute.clock.now() >= 5000);
  });

  test('sources: static before dhcp before ra, others last; what one took back is gone, and the cache with it', async () => {
    const { resolver, records } = rig({ [S1]: zone(ZONE) }, {}, ['lan']);
    const server = (address: string) => ({ address: ip(address) });
    await records('example.org', 'A');
    assert.equal(resolver.cached, 1);
    resolver.setServers('other', [server('10.0.0.4')], ['other']);
    resolver.setServers('ra', [server('fe80::1'), server('10.0.0.2')], ['ra', 'no..name']);
    resolver.setServers('dhcp', [server('10.0.0.2'), { address: ip('10.0.0.3'), port: 5353 }]);
    assert.equal(resolver.cached, 0);
    assert.deepEqual(
      resolver.servers.map(({ address, port }) => `${address} ${port}`),
      [`${S1} 53`, '10.0.0.2 53', '10.0.0.3 5353', 'fe80::1 53', '10.0.0.4 53'],
    );
    assert.deepEqual(resolver.search, ['lan', 'ra', 'other']);
    resolver.setServers('dhcp', []);
    resolver.setServers('ra', []);
    resolver.setServers('other', []);
    assert.deepEqual([resolver.servers.length, resolver.search], [1, ['lan']]);
    resolver.setServers(
      'ra',
      Array.from({ length: 20 }, (_, i) => server(`10.1.0.${i}`)),
    );
    assert.equal(resolver.servers.length, 8);
  });
});

describe('resolver: RFC 5452, forged answers', () => {
  const forged: [name: string, reason: string, spoil: (query: Query) => Uint8Array][] = [
    [
      'another id',
      'dns-wrong-id',
      ({ message }) => answer(message, { id: message.id ^ 1, answers: [a('example.org', '6.6.6.6')] }),
    ],
    [
      'another name',
      'dns-wrong-question',
      ({ message }) => answer(message, { questions: [dns.question('example.com', 'A')] }),
    ],
    [
      'another type',
      'dns-wrong-question',
      ({ message }) => answer(message, { questions: [dns.question('example.org', 'TXT')] }),
    ],
    [
      'another class',
      'dns-wrong-question',
      ({ message }) => answer(message, { questions: [{ ...message.questions[0]!, class: 3 }] }),
    ],
    [
      'two questions',
      'dns-wrong-question',
      ({ message }) => answer(message, { questions: [...message.questions, ...message.questions] }),
    ],
    ['no question', 'dns-wrong-question', ({ message }) => answer(message, { questions: [] })],
    ['a query', 'dns-not-an-answer', ({ message }) => dns.emit(message)],
    ['another opcode', 'dns-not-an-answer', ({ message }) => answer(message, { opcode: 5 })],
    ['a cut message', 'dns-truncated', ({ message }) => answer(message, {}).slice(0, 20)],
    [
      'a compression loop',
      'dns-bad-name',
      ({ message }) =>
        Uint8Array.of(message.id >> 8, message.id, 0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0, 0xc0, 12, 0, 1, 0, 1),
    ],
    ['nothing', 'dns-truncated', () => new Uint8Array(0)],
  ];
  for (const [name, reason, spoil] of forged) {
    test(`${name}: dropped and counted, and the true answer still taken`, async () => {
      const { network, records } = rig({
        [S1]: (query) => {
          query.raw(spoil(query));
          return zone(ZONE)(query);
        },
      });
      assert.equal(dns.formatData((await records('example.org', 'A'))[0]!), '192.0.2.1');
      assert.deepEqual(network.drops, { [reason]: 1 });
    });
  }

  test('a flood of guesses: TCP is asked instead', async () => {
    const { network, records } = rig({
      [S1]: (query) => {
        if (query.overTcp) return zone(ZONE)(query);
        for (let i = 1; i < 1000; i++)
          query.raw(answer(query.message, { id: query.message.id ^ i, answers: [a('example.org', '6.6.6.6')] }));
        return null;
      },
    });
    assert.equal(dns.formatData((await records('example.org', 'A'))[0]!), '192.0.2.1');
    assert.deepEqual(network.log, [`A example.org @${S1}`, `A example.org @${S1} tcp`]);
    assert.deepEqual(network.drops, { 'dns-wrong-id': 16 });
  });

  test('ids are drawn anew for each query', async () => {
    const { network, clock, resolver } = rig({ [S1]: () => null });
    await inTime(
      clock,
      resolver.resolve('example.org', 'A').catch(() => {}),
    );
    assert.equal(new Set(network.queries.map(({ message }) => message.id)).size, 3);
  });

  test('0x20: letters of the question are mixed, and must come back so', async () => {
    const { network, records } = rig(
      {
        [S1]: (query) => {
          query.raw(
            answer(query.message, {
              questions: [dns.question('example.org', 'A')],
              answers: [a('example.org', '6.6.6.6')],
            }),
          );
          return zone(ZONE)(query);
        },
      },
      { mixCase: true },
    );
    assert.equal(dns.formatData((await records('example.org', 'A'))[0]!), '192.0.2.1');
    assert.notEqual(network.queries[0]!.name, 'example.org');
    assert.deepEqual(network.drops, { 'dns-wrong-question': 1 });
  });
});

describe('resolver: questions under way', () => {
  test('equal ones are asked once', async () => {
    const { network, clock, resolver } = one();
    const all = await inTime(clock, Promise.all([1, 2, 3].map(() => resolver.resolve('Example.org', 'A'))));
    assert.deepEqual(
      all.map((list) => list.length),
      [1, 1, 1],
    );
    assert.equal(network.queries.length, 1);
  });

  test('who leaves does not take the others along; when the last one leaves, it ends', async () => {
    const { network, clock, resolver } = rig({ [S1]: () => null });
    const [first, second] = [new AbortController(), new AbortController()];
    const one = resolver.resolve('example.org', 'A', { signal: first.signal });
    const two = resolver.resolve('example.org', 'A', { signal: second.signal });
    first.abort();
    await assert.rejects(one, { name: 'AbortError' });
    assert.equal(network.open_, 1);
    second.abort(new Error('enough'));
    await assert.rejects(two, { message: 'enough' });
    await inTime(clock, Promise.resolve());
    assert.deepEqual([network.open_, clock.pending], [0, 0]);
    // Another one starts anew, and the end of the old one does not end it.
    const four = resolver.resolve('example.org', 'A').catch((error) => error.code);
    const three = resolver.resolve('example.org', 'A').catch((error) => error.code);
    assert.deepEqual(await inTime(clock, Promise.all([three, four])), ['ETIMEDOUT', 'ETIMEDOUT']);
    assert.equal(network.queries.length, 1 + 3);
  });

  test('too many are refused', async () => {
    const { clock, resolver } = rig({ [S1]: () => null });
    const all = Array.from({ length: 300 }, (_, i) =>
      resolver.resolve(`n${i}.org`, 'A').catch((error) => error.code as string),
    );
    const codes = (await inTime(clock, Promise.all(all))) as string[];
    assert.deepEqual(
      [codes.filter((code) => code === 'ENOBUFS').length, codes.filter((code) => code === 'ETIMEDOUT').length],
      [44, 256],
    );
  });
});
