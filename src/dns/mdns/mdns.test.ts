import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { a } from '../../../test/dns.ts';
import { Link, type Node, short } from '../../../test/mdns.ts';
import { IpAddress } from '../../wire/address.ts';
import * as dns from '../../wire/dns.ts';
import { Mdns } from './mdns.ts';
import { comparedSets } from './registration.ts';
import { decodeText, encodeText, numbered } from './service.ts';

const nothing = (): void => {};
const ip = (text: string): IpAddress => IpAddress.parse(text);
const asks = (name: string, type: dns.RecordType, fields: Partial<dns.Message> = {}): Partial<dns.Message> => ({
  questions: [dns.question(name, type)],
  ...fields,
});
const says = (...answers: dns.ResourceRecord[]): Partial<dns.Message> => ({
  isResponse: true,
  isAuthoritative: true,
  answers,
});
const flushed = (record: dns.ResourceRecord): dns.ResourceRecord => ({ ...record, flush: true });
const ptr = (name: string, target: string, ttl = 4500): dns.ResourceRecord =>
  dns.record(name, ttl, { type: 'PTR', target });

/** A link with one host that has its name since long. */
function settled(...addresses: string[]): { link: Link; node: Node } {
  const link = new Link();
  const node = link.add('a', ...(addresses.length > 0 ? addresses : ['10.0.0.1']));
  link.run(60_000);
  link.take();
  return { link, node };
}

/** Watches a name and notes what happens. */
function watched(link: Link, { mdns }: Node, name: string, type: dns.RecordType) {
  const events: string[] = [];
  const end = mdns.querier.watch(
    name,
    type,
    (event, record) => events.push(`${link.now} ${event} ${dns.formatData(record)}`),
    link.now,
  );
  return { events, end };
}

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

describe('mdns: RFC 6762 §5, asking', () => {
  test('after 20 to 120 ms, then after 1, 2, 4 s, to an hour; the first question may be answered by unicast', () => {
    const link = new Link();
    const node = link.add('a', '10.0.0.1');
    link.run(60_000);
    link.take();
    const start = link.now;
    watched(link, node, '_x._tcp.local', 'PTR');
    link.run(86_400_000);
    const heard = link.take();
    const first = heard[0]!.at - start;
    assert.ok(first >= 20 && first <= 120);
    const gaps = heard.slice(1).map(({ at }, i) => (at - heard[i]!.at) / 1000);
    assert.deepEqual(gaps.slice(0, 13), [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 3600]);
    assert.ok(gaps.slice(13).every((gap) => gap === 3600));
    assert.deepEqual(heard.slice(0, 2).map(short), ['query PTR _x._tcp.local QU?', 'query PTR _x._tcp.local?']);
  });

  test('§5.3: questions due at one moment go in one message', () => {
    const { link, node } = settled();
    for (const name of ['x', 'y', 'z']) watched(link, node, `${name}.local`, 'A');
    link.run(2000);
    const last = link.take().at(-1)!;
    assert.ok(last.message.questions.length >= 1);
    assert.ok(last.bytes < 1472);
  });

  test('records come and go: announced, known, expired', () => {
    const { link, node } = settled();
    const { events } = watched(link, node, 'b.local', 'A');
    link.inject(says(flushed(a('b.local', '10.0.0.2', 10))));
    const at = link.now;
    link.inject(says(flushed(a('b.local', '10.0.0.2', 10))));
    link.run(20_000);
    assert.deepEqual(events, [`${at} added 10.0.0.2`, `${at + 10_000} removed 10.0.0.2`]);
  });

  test('§5.2: what is in use is asked for again at 80, 85, 90 and 95 % of its life', () => {
    const { link, node } = settled();
    link.run(7_200_000);
    watched(link, node, 'b.local', 'A');
    link.run(8_000_000);
    link.take();
    link.inject(says(flushed(a('b.local', '10.0.0.2', 1000))));
    const start = link.now;
    link.run(1_000_000);
    const parts = link
      .take()
      .filter(({ message }) => !message.isResponse)
      .map(({ at }) => (at - start) / 10_000);
    const refreshes = parts.filter((part) => part >= 79);
    assert.equal(refreshes.length, 4, `${parts}`);
    for (const [i, least] of [80, 85, 90, 95].entries()) {
      assert.ok(refreshes[i]! >= least && refreshes[i]! <= least + 2.01, `${refreshes}`);
    }
  });

  test('§7.1: what is known goes with the question, unless more than half of its life is over', () => {
    const { link, node } = settled();
    watched(link, node, '_x._tcp.local', 'PTR');
    link.run(130);
    link.inject(says(ptr('_x._tcp.local', 'fresh._x._tcp.local'), ptr('_x._tcp.local', 'old._x._tcp.local', 5)));
    link.take();
    link.run(8000);
    const lines = link
      .take()
      .map(short)
      .filter((line) => line.startsWith('query PTR _x'));
    assert.match(lines[0]!, /knows fresh.* knows old/);
    assert.match(lines.at(-1)!, /knows fresh/);
    assert.doesNotMatch(lines.at(-1)!, /knows old/);
  });

  test('§7.2: known answers that do not fit into one message follow in others', () => {
    const { link, node } = settled();
    watched(link, node, '_x._tcp.local', 'PTR');
    link.run(130);
    link.inject(
      says(...Array.from({ length: 100 }, (_, i) => ptr('_x._tcp.local', `instance number ${i}._x._tcp.local`))),
    );
    link.take();
    link.run(1000);
    const heard = link.take();
    assert.ok(heard.length > 2);
    assert.equal(heard.flatMap(({ message }) => message.answers).length, 100);
    assert.deepEqual(
      heard.map(({ message }) => message.isTruncated),
      heard.map((_, i) => i < heard.length - 1),
    );
    assert.deepEqual(
      heard.map(({ message }) => message.questions.length),
      heard.map((_, i) => (i === 0 ? 1 : 0)),
    );
    assert.ok(heard.every(({ bytes }) => bytes <= 1440));
  });

  test('§7.3: another host has just asked the same: ours waits for its next turn', () => {
    const { link, node } = settled();
    watched(link, node, '_x._tcp.local', 'PTR');
    link.inject(asks('_x._tcp.local', 'PTR'));
    link.run(900);
    assert.equal(link.take().length, 0);
    link.run(200);
    assert.equal(link.take().length, 1);
  });

  test('§10.1: a goodbye counts after a second; §10.2: so does being left out of an announcement', () => {
    const { link, node } = settled();
    const { events } = watched(link, node, 'b.local', 'A');
    link.inject(says(a('b.local', '10.0.0.2', 120), a('b.local', '10.0.0.3', 120)));
    link.run(5000);
    events.length = 0;
    const at = link.now;
    link.inject(says(a('b.local', '10.0.0.2', 0)));
    link.run(3000);
    assert.deepEqual(events, [`${at + 1000} removed 10.0.0.2`]);
    events.length = 0;
    const later = link.now;
    link.inject(says(flushed(a('b.local', '10.0.0.4', 120))));
    link.inject(says(flushed(a('b.local', '10.0.0.5', 120)))); // within a second: of the same host
    link.run(3000);
    assert.deepEqual(events, [
      `${later} added 10.0.0.4`,
      `${later} added 10.0.0.5`,
      `${later + 1000} removed 10.0.0.3`,
    ]);
  });

  test('NSEC: there is no record of that type', () => {
    const link = new Link();
    const asker = link.add('a', '10.0.0.1');
    link.add('b', '10.0.0.2');
    link.run(10_000);
    const { events } = watched(link, asker, 'b.local', 'AAAA');
    link.run(2000);
    assert.match(events[0]!, /denied b\.local\. A$/);
  });

  test('when nobody asks any more, nothing is asked, and nothing kept', () => {
    const { link, node } = settled();
    const { end } = watched(link, node, 'b.local', 'A');
    link.inject(says(a('b.local', '10.0.0.2', 120)));
    assert.equal(node.mdns.querier.cache.count, 1);
    end();
    assert.equal(node.mdns.querier.cache.count, 0);
    link.run(100_000);
    assert.equal(link.take().length, 0);
    link.inject(says(a('b.local', '10.0.0.2', 120)));
    assert.equal(node.mdns.querier.cache.count, 0);
  });
});

describe('mdns: RFC 6763, services', () => {
  test('published, found, gone', () => {
    const link = new Link();
    const server = link.add('server', '10.0.0.1');
    const client = link.add('client', '10.0.0.2');
    link.run(5000);
    const { events } = watched(link, client, '_http._tcp.local', 'PTR');
    let isReady = false;
    const service = { type: '_http._tcp', name: 'A site. Ours', port: 80, text: { path: '/' } };
    const published = server.mdns.publish(
      service,
      () => {
        isReady = true;
      },
      link.now,
    )!;
    link.run(5000);
    assert.ok(isReady);
    assert.match(events[0]!, /added A site\\\. Ours\._http\._tcp\.local\.$/);
    server.mdns.unpublish(published);
    link.run(3000);
    assert.match(events[1]!, /removed A site/);
  });

  test('a name that is taken gets a number; a host that is renamed takes its services along', () => {
    const { link } = settled();
    const first = link.add('b', '10.0.0.2');
    const second = link.add('a', '10.0.0.3'); // will be a-2
    const service = { type: '_ipp._tcp', name: 'Printer', port: 631 };
    const one = first.mdns.publish(service, nothing, link.now)!;
    link.run(5000);
    const two = second.mdns.publish(service, nothing, link.now)!;
    link.run(20_000);
    assert.deepEqual([one.name(), two.name()], ['Printer', 'Printer (2)']);
    link.take();
    link.inject(asks('Printer (2)._ipp._tcp.local', 'SRV'));
    assert.deepEqual(link.take().map(short), ['answer SRV 0 0 631 a-2.local. 120 flush']);
  });

  test('types, subtypes', () => {
    const { link, node } = settled();
    node.mdns.publish({ type: '_http._tcp', name: 'S', port: 80, subtypes: ['_printer'] }, nothing, link.now);
    link.run(60_000);
    link.take();
    link.inject(asks('_services._dns-sd._udp.local', 'PTR'));
    link.inject(asks('_printer._sub._http._tcp.local', 'PTR'));
    link.run(1000);
    const lines = link.take().map(short).join(', ');
    assert.match(lines, /PTR _http\._tcp\.local\. 4500/);
    assert.match(lines, /PTR S\._http\._tcp\.local\. 4500/);
  });

  test('text', () => {
    const strings = encodeText({ a: '1', flag: true, empty: '', bin: Uint8Array.of(65) });
    assert.deepEqual({ ...decodeText(strings) }, { a: '1', flag: true, empty: '', bin: 'A' });
    assert.deepEqual(encodeText({}), [new Uint8Array(0)]);
    const odd = ['=x', 'A=1', 'a=2', '__proto__=3', ''].map((text) => new TextEncoder().encode(text));
    assert.deepEqual(Object.entries(decodeText(odd)), [
      ['a', '1'],
      ['__proto__', '3'],
    ]);
    assert.throws(() => encodeText({ 'a=b': '1' }), TypeError);
    assert.throws(() => encodeText({ a: 'x'.repeat(300) }), RangeError);
  });

  test('labels with numbers are cut to 63 bytes, whole characters only', () => {
    const label = numbered('é'.repeat(40), ' (2)');
    assert.equal(new TextEncoder().encode(label).length, 62);
    assert.ok(label.endsWith('é (2)'));
  });

  test('arguments', () => {
    const { link, node } = settled();
    const publish = (fields: object): unknown =>
      node.mdns.publish({ type: '_http._tcp', name: 'x', port: 80, ...fields }, nothing, link.now);
    for (const fields of [{ type: 'http' }, { name: '' }, { subtypes: ['a..b'] }])
      assert.throws(() => publish(fields), TypeError);
    assert.throws(() => publish({ port: 70_000 }), RangeError);
    assert.throws(() => new Mdns({ random: () => 0, drop: nothing, name: '' }), TypeError);
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
