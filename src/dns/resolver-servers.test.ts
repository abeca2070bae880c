import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { a, answer, ip, type Query, type Reply, zone } from '../../test/dns.ts';
import { inTime } from '../../test/hosts.ts';
import { one, rig, S1, S2, ZONE } from '../../test/resolver.ts';
import * as dns from '../wire/dns.ts';

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
