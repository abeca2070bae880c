import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { a } from '../../../test/dns.ts';
import { asks, flushed, ip, Link, ptr, says, settled, short, watched } from '../../../test/mdns.ts';
import * as dns from '../../wire/dns.ts';
import { Mdns } from './mdns.ts';
import { comparedSets } from './registration.ts';

const nothing = (): void => {};
describe('mdns: RFC 6762 §8, probing and announcing', () => {
  test('three probes 250 ms apart after up to 250 ms, then two announcements a second apart', () => {
    const link = new Link();
    const node = link.add('a', '10.0.0.1');
    link.run(10_000);
    const heard = link.take();
    const first = heard[0]!.at;
    assert.ok(first <= 250);
    assert.deepEqual(
      heard.map(({ at }) => at - first),
      [0, 250, 500, 750, 1750],
    );
    const probe = 'query ANY a.local QU? would 10.0.0.1';
    const announcement = 'answer A 10.0.0.1 120 flush, PTR a.local. 120 flush';
    assert.deepEqual(heard.map(short), [probe, probe, probe, announcement, announcement]);
    assert.deepEqual([node.names, node.mdns.isNamed], [['a.local'], true]);
  });

  test('no answers before it is ours', () => {
    const link = new Link();
    link.add('a', '10.0.0.1');
    link.run(600);
    link.take();
    link.inject(asks('a.local', 'A'));
    assert.equal(link.take().length, 0);
  });

  test('§9: the name is taken: the next one', () => {
    const { link } = settled();
    const second = link.add('a', '10.0.0.2');
    link.run(10_000);
    assert.deepEqual(second.names, ['a-2.local']);
    const third = link.add('A', '10.0.0.3');
    link.run(10_000);
    assert.deepEqual(third.names, ['A-3.local']);
  });

  test('any record of the name is a conflict while probing, whatever its type', () => {
    const link = new Link();
    const node = link.add('a', '10.0.0.1');
    link.run(300);
    link.inject(says(dns.record('a.local', 120, { type: 'TXT', strings: [] })));
    link.run(10_000);
    assert.deepEqual(node.names, ['a-2.local']);
  });

  test('the same record from elsewhere is none: a host with two ways onto the link', () => {
    const link = new Link();
    const node = link.add('a', '10.0.0.1');
    link.run(300);
    link.inject(says(a('a.local', '10.0.0.1', 120)));
    link.run(10_000);
    assert.deepEqual(node.names, ['a.local']);
  });

  test('§8.2: two that probe at the same moment: the later address keeps the name', () => {
    const link = new Link();
    const low = link.add('a', '10.0.0.1');
    const high = link.add('a', '10.0.0.2');
    link.run(20_000);
    assert.deepEqual([low.names, high.names], [['a-2.local'], ['a.local']]);
  });

  test('§8.2: sets are compared in order; the longer of two that begin alike is later', () => {
    const rows: [string[], string[], number][] = [
      [['b'], ['a'], 1],
      [['a'], ['b'], -1],
      [['b', 'a'], ['a', 'c'], -1],
      [['a'], ['a', 'b'], -1],
      [['a'], ['a'], 0],
    ];
    for (const [ours, theirs, want] of rows) assert.equal(Math.sign(comparedSets(ours, theirs)), want);
  });

  test('§9: a conflict later: probing again, and the name is kept unless it is defended', () => {
    const { link, node } = settled();
    link.inject(says(flushed(a('a.local', '10.0.0.66', 120))));
    link.run(300);
    assert.match(short(link.heard.at(-1)!), /^query ANY a\.local QU\?/);
    link.run(10_000);
    assert.deepEqual(node.names, ['a.local', 'a.local']);
    link.inject(says(flushed(a('a.local', '10.0.0.66', 120))));
    link.run(300);
    link.inject(says(flushed(a('a.local', '10.0.0.66', 120))));
    link.run(10_000);
    assert.deepEqual(node.names, ['a.local', 'a.local', 'a-2.local']);
  });

  test('§8.1: after fifteen conflicts in ten seconds, five seconds before each try', () => {
    const link = new Link();
    const node = link.add('a', '10.0.0.1');
    for (let i = 0; i < 15; i++) {
      link.run(260);
      link.inject(says(a(node.mdns.hostName, '10.0.0.66', 120)));
    }
    assert.equal(node.mdns.hostName, 'a-16.local');
    const probes = link.take().length;
    link.run(4900);
    assert.equal(link.take().length, 0, `${probes} probes before`);
    link.run(2000);
    assert.deepEqual(node.names, ['a-16.local']);
  });

  test('§8.4: other addresses: the old ones are taken back, the new ones announced', () => {
    const { link, node } = settled();
    node.mdns.setAddresses([ip('10.0.0.5'), ip('fe80::5')], link.now);
    link.run(5000);
    const lines = link.take().map(short);
    assert.equal(lines[0], 'answer A 10.0.0.1 0 flush, PTR a.local. 0 flush');
    assert.match(lines[1]!, /^answer A 10\.0\.0\.5 120 flush, PTR a\.local\. 120 flush, AAAA fe80::5 120 flush, PTR/);
    assert.equal(lines.length, 3);
    node.mdns.setAddresses([ip('10.0.0.5'), ip('fe80::5')], link.now);
    link.run(5000);
    assert.equal(link.take().length, 0);
  });

  test('without an address nothing is said; the first one begins it', () => {
    const link = new Link();
    const node = link.add('a', '10.0.0.1');
    const other = new Mdns({ random: () => 1, drop: nothing, name: 'b' });
    other.setAddresses([], 0);
    assert.equal(other.pollAt(), Number.POSITIVE_INFINITY);
    other.setAddresses([ip('10.0.0.2')], 5);
    assert.ok(other.pollAt() <= 255);
    link.run(3000);
    node.mdns.setAddresses([], link.now);
    link.take();
    link.run(3000);
    assert.deepEqual(link.take().map(short), ['answer A 10.0.0.1 0 flush, PTR a.local. 0 flush']);
  });

  test('§10.1: goodbye', () => {
    const { link, node } = settled();
    node.mdns.close();
    link.run(0);
    assert.deepEqual(link.take().map(short), ['answer A 10.0.0.1 0 flush, PTR a.local. 0 flush']);
    link.inject(asks('a.local', 'A'));
    link.run(1000);
    assert.equal(link.take().length, 0);
  });
});

describe('mdns: RFC 6762 §6, answering', () => {
  test('what is ours alone at once, to everybody, with the other family beside it', () => {
    const { link } = settled('10.0.0.1', 'fe80::1');
    link.inject(asks('A.local', 'A'));
    link.run(5);
    const [heard, ...more] = link.take();
    assert.deepEqual([heard!.to, short(heard!), more.length], ['all', 'answer A 10.0.0.1 120 flush', 0]);
    assert.deepEqual(heard!.message.additionals.map(dns.formatData), ['fe80::1']);
    assert.deepEqual(
      [heard!.message.id, heard!.message.questions.length, heard!.message.isAuthoritative],
      [0, 0, true],
    );
  });

  test('what others may answer too after 20 to 120 ms', () => {
    const { link, node } = settled();
    node.mdns.publish({ type: '_http._tcp', name: 'Site', port: 80 }, nothing, link.now);
    link.run(60_000);
    link.take();
    const asked = link.now;
    link.inject(asks('_http._tcp.local', 'PTR'));
    link.run(1000);
    const [heard] = link.take();
    assert.ok(heard!.at - asked >= 20 && heard!.at - asked <= 120, `${heard!.at - asked}`);
    assert.equal(short(heard!), 'answer PTR Site._http._tcp.local. 4500');
    // RFC 6763 §12.1: what whoever finds the service will ask next.
    assert.deepEqual(
      heard!.message.additionals.map(({ type }) => type),
      ['SRV', 'TXT', 'A'],
    );
  });

  const silent: [name: string, query: Partial<dns.Message>][] = [
    ['another name', asks('b.local', 'A')],
    ['another class', { questions: [{ ...dns.question('a.local', 'A'), class: 3 }] }],
    ['§7.1: known with half of its life left', asks('a.local', 'A', { answers: [a('a.local', '10.0.0.1', 60)] })],
  ];
  for (const [name, query] of silent) {
    test(`no answer: ${name}`, () => {
      const { link } = settled();
      link.inject(query);
      link.run(2000);
      assert.equal(link.take().length, 0);
    });
  }

  test('§7.1: known with less than half of its life left is said again', () => {
    const { link } = settled();
    link.inject(asks('a.local', 'A', { answers: [a('a.local', '10.0.0.1', 59)] }));
    link.run(2000);
    assert.equal(link.take().length, 1);
  });

  test('§6.1: a type that a name of ours does not have: NSEC says so, no more often than anything else', () => {
    const { link } = settled();
    for (let i = 0; i < 5; i++) link.inject(asks('a.local', 'AAAA'));
    link.run(900);
    assert.deepEqual(link.take().map(short), ['answer NSEC a.local. A 120 flush']);
  });

  test('§6: the same record to everybody once a second, to a probe after 250 ms', () => {
    const { link } = settled();
    const start = link.now;
    for (let i = 0; i < 30; i++) {
      link.inject(asks('a.local', 'A'));
      link.run(100);
    }
    assert.deepEqual(
      link.take().map(({ at }) => at - start),
      [0, 1000, 2000, 3000],
    );
    link.run(10_000);
    const again = link.now;
    link.inject(asks('a.local', 'A'));
    link.inject(asks('a.local', 'ANY', { authorities: [a('a.local', '10.0.0.9')] }));
    link.run(500);
    assert.deepEqual(
      link.take().map(({ at }) => at - again),
      [0, 250],
    );
  });

  test('§5.4: by unicast where that is asked, unless everybody should hear it again', () => {
    const { link } = settled();
    link.run(20_000);
    const query = { questions: [dns.question('a.local', 'A', true)] };
    link.inject(query, '10.0.0.7');
    link.run(2000);
    link.inject(query, '10.0.0.7');
    link.run(2000);
    assert.deepEqual(
      link.take().map(({ to }) => to),
      ['all', '10.0.0.7'],
    );
  });

  test('§6.7: an asker that is no mDNS: unicast, its id and question, TTL 10, no flush bit', () => {
    const { link } = settled();
    link.inject(asks('a.local', 'A', { id: 4711 }), '10.0.0.7', 40_000);
    const [heard] = link.take();
    assert.deepEqual([heard!.to, short(heard!)], ['10.0.0.7', 'answer A 10.0.0.1 10']);
    assert.deepEqual([heard!.message.id, heard!.message.questions[0]!.name], [4711, 'a.local']);
  });

  test('§7.2: with more known answers to come, it waits for them', () => {
    const { link } = settled();
    link.inject(asks('a.local', 'A', { isTruncated: true }), '10.0.0.7');
    link.run(300);
    assert.equal(link.take().length, 0);
    link.inject({ answers: [a('a.local', '10.0.0.1', 120)] }, '10.0.0.7');
    link.run(2000);
    assert.equal(link.take().length, 0);
    const asked = link.now;
    link.inject(asks('a.local', 'A', { isTruncated: true }), '10.0.0.7');
    link.inject({ answers: [a('a.local', '10.0.0.1', 120)] }, '10.0.0.8'); // of somebody else
    link.run(2000);
    const [heard] = link.take();
    assert.ok(heard!.at - asked >= 400 && heard!.at - asked <= 500);
  });

  test('§7.4: what another host has just said is not said again', () => {
    const { link, node } = settled();
    node.mdns.publish({ type: '_http._tcp', name: 'Site', port: 80 }, nothing, link.now);
    link.run(60_000);
    link.take();
    link.inject(asks('_http._tcp.local', 'PTR'));
    link.inject(says(ptr('_http._tcp.local', 'Site._http._tcp.local')));
    link.run(1000);
    assert.equal(link.take().length, 0);
  });

  test('the reverse name', () => {
    const { link } = settled();
    link.inject(asks('1.0.0.10.in-addr.arpa', 'PTR'));
    assert.deepEqual(link.take().map(short), ['answer PTR a.local. 120 flush']);
  });
});

describe('mdns: hostile hosts', () => {
  test('RFC 6762 §6, §11, §18: from beyond the link, from another port, with an rcode: dropped and counted', () => {
    const { link, node } = settled();
    const { events } = watched(link, node, 'b.local', 'A');
    const forged = says(a('b.local', '6.6.6.6', 120));
    link.inject(forged, '192.0.2.1', 5353, false);
    link.inject(forged, '10.0.0.7', 53);
    link.inject({ ...forged, rcode: 3 });
    link.inject({ ...forged, opcode: 5 });
    node.mdns.input(Uint8Array.of(1, 2, 3), { address: ip('10.0.0.7'), port: 5353 }, true, link.now);
    assert.deepEqual(events, []);
    assert.deepEqual(node.drops, { 'dns-wrong-source': 2, 'dns-not-an-answer': 2, 'dns-truncated': 1 });
  });

  test('a hundred thousand records: the cache is bounded', () => {
    const { link, node } = settled();
    watched(link, node, '_x._tcp.local', 'PTR');
    for (let i = 0; i < 50; i++) {
      link.inject(says(...Array.from({ length: 2000 }, (_, k) => ptr('_x._tcp.local', `${i}-${k}._x._tcp.local`))));
    }
    assert.equal(node.mdns.querier.cache.count, 4096);
    link.run(3_600_000);
    link.run(3_600_000);
    assert.equal(node.mdns.querier.cache.count, 0);
  });

  test('ten thousand questions: no more than one answer a second', () => {
    const { link } = settled();
    for (let i = 0; i < 10_000; i++) link.inject(asks('a.local', i % 2 === 0 ? 'A' : 'TXT'), `10.0.1.${i & 255}`);
    link.run(900);
    assert.ok(link.take().length <= 2);
  });

  test('conflicts without end: the host goes on, slowly', () => {
    const link = new Link();
    const node = link.add('a', '10.0.0.1');
    for (let i = 0; i < 300; i++) {
      link.run(100);
      link.inject(says(a(node.mdns.hostName, '6.6.6.6', 120)));
    }
    assert.ok(link.take().length < 60);
    link.run(20_000);
    assert.equal(node.mdns.isNamed, true);
  });

  test('random bytes are dropped, never thrown', () => {
    const { link, node } = settled();
    watched(link, node, 'b.local', 'A');
    const whole = dns.emit(
      asks('a.local', 'ANY', { answers: [a('b.local', '10.0.0.9')], authorities: [a('a.local', '10.0.0.8')] }),
    );
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), fc.nat(whole.length - 1), fc.nat(255), (noise, at, byte) => {
        const spoiled = whole.slice();
        spoiled[at] = byte;
        for (const data of [noise, spoiled])
          node.mdns.input(data, { address: ip('10.0.0.7'), port: 5353 }, true, link.now);
        link.flush();
      }),
      { seed: 3, numRuns: 1000 },
    );
  });
});
