import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { a, cname, soa } from '../../test/dns.ts';
import * as dns from '../wire/dns.ts';
import { Zone } from './zone.ts';

const zone = new Zone({
  domains: ['lan', 'sub.lan'],
  hosts: { 'router.lan': ['10.0.0.1', 'fd00::1'], 'Printer.lan': '10.0.0.9' },
  records: [
    cname('www.lan', 'router.lan'),
    cname('out.lan', 'example.org'),
    cname('gone.lan', 'nothing.lan'),
    cname('x.lan', 'y.lan'),
    cname('y.lan', 'x.lan'),
    a('deep.inner.lan', '10.0.0.3'),
    a('*.wild.lan', '10.0.0.4'),
    a('here.wild.lan', '10.0.0.5'),
    a('below.there.wild.lan', '10.0.0.6'),
    soa('sub.lan', 7, 3600),
    a('alone.example', '10.0.0.7'),
  ],
});

describe('zone', () => {
  const rows: [name: string, type: dns.RecordType, want: string][] = [
    ['router.lan', 'A', '0 10.0.0.1'],
    ['ROUTER.lan', 'AAAA', '0 fd00::1'],
    ['router.lan', 'ANY', '0 10.0.0.1, fd00::1'],
    ['router.lan', 'TXT', '0 | lan 60'],
    ['lan', 'A', '0 | lan 60'],
    ['no.lan', 'A', '3 | lan 60'],
    ['no.sub.lan', 'A', '3 | sub.lan 7'],
    ['inner.lan', 'A', '0 | lan 60'],
    ['www.lan', 'A', '0 router.lan., 10.0.0.1'],
    ['www.lan', 'CNAME', '0 router.lan.'],
    ['www.lan', 'MX', '0 router.lan. | lan 60'],
    ['gone.lan', 'A', '3 nothing.lan. | lan 60'],
    ['out.lan', 'A', '0 example.org. > example.org'],
    ['any.wild.lan', 'A', '0 10.0.0.4'],
    ['two.deep.wild.lan', 'A', '0 10.0.0.4'],
    ['any.wild.lan', 'TXT', '0 | lan 60'],
    ['here.wild.lan', 'A', '0 10.0.0.5'],
    ['here.wild.lan', 'TXT', '0 | lan 60'],
    ['x.there.wild.lan', 'A', '3 | lan 60'], // RFC 4592 §2.2.2: there.wild.lan exists, and has no wildcard
    ['9.0.0.10.in-addr.arpa', 'PTR', '0 Printer.lan.'],
    ['alone.example', 'A', '0 10.0.0.7'],
    ['other.example', 'A', 'not ours'],
    ['example.org', 'A', 'not ours'],
    ['xlan', 'A', 'not ours'],
  ];
  for (const [name, type, want] of rows) {
    test(`${type} ${name}`, () => {
      const answer = zone.answer(name, type);
      if (answer === null) {
        assert.equal('not ours', want);
        return;
      }
      const answers = answer.answers.map(dns.formatData).join(', ');
      const authority = answer.authorities.map((r) => `| ${r.name} ${r.ttl}`).join('');
      const next = answer.leadsTo === null ? '' : `> ${answer.leadsTo}`;
      assert.equal([answer.rcode, answers, authority, next].filter((part) => part !== '').join(' '), want);
    });
  }

  test('aliases in a circle end', () => assert.equal(zone.answer('x.lan', 'A')!.answers.length, 16));

  test('records come and go; the same one twice is one, with its new TTL', () => {
    const table = new Zone({ domains: ['lan'] });
    table.add(a('a.b.lan', '10.0.0.1', 10));
    table.add(a('A.b.lan', '10.0.0.1', 20));
    table.add(a('a.b.lan', 'fd00::1'));
    assert.deepEqual(
      table.answer('a.b.lan', 'A')!.answers.map(({ ttl }) => ttl),
      [20],
    );
    assert.equal(table.answer('b.lan', 'A')!.rcode, dns.NOERROR);
    assert.equal(table.remove('a.b.lan', 'A'), 1);
    assert.equal(table.answer('a.b.lan', 'A')!.rcode, dns.NOERROR);
    assert.equal(table.remove('a.b.lan'), 1);
    assert.equal(table.remove('a.b.lan'), 0);
    assert.equal(table.answer('a.b.lan', 'A')!.rcode, dns.NXDOMAIN);
    assert.equal(table.answer('b.lan', 'A')!.rcode, dns.NXDOMAIN);
  });

  test('arguments', () => {
    assert.throws(() => new Zone({ domains: ['a..b'] }), TypeError);
    assert.throws(() => new Zone({ hosts: { 'a.lan': 'x' } }), TypeError);
  });
});
