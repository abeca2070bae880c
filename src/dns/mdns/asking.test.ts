import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { a } from '../../../test/dns.ts';
import { asks, flushed, Link, ptr, says, settled, short, watched } from '../../../test/mdns.ts';
import { Mdns } from './mdns.ts';
import { decodeText, encodeText, numbered } from './service.ts';

const nothing = (): void => {};

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
