import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { hex, patched, toHex } from '../../test/hex.ts';
import { IpAddress } from './address.ts';
import * as dns from './dns.ts';
import { PROTOCOL_UDP, pseudoHeaderSum } from './ip.ts';
import * as ipv4 from './ipv4.ts';
import { octetsOf } from './octets.ts';
import { formatIp } from './packet.ts';
import * as udp from './udp.ts';

const ip = (text: string): IpAddress => IpAddress.parse(text);
const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

/** Header of a message with these counts. */
const header = (flags: string, ...counts: number[]): string =>
  `1234${flags}${counts.map((n) => n.toString(16).padStart(4, '0')).join('')}`;
/** example.org at offset 12. */
const EXAMPLE = '076578616d706c65036f726700';
const ASKED = `${EXAMPLE}00010001`;
/** example.org A 192.0.2.1, TTL 300, by a pointer to the question. */
const ANSWER = 'c00c000100010000012c0004c0000201';
const RESPONSE = hex(header('8180', 1, 1, 0, 0) + ASKED + ANSWER);

const parsed = (u8: Uint8Array): dns.Message => {
  const m = dns.parse(u8);
  assert.ok(typeof m !== 'string', `dropped: ${m as string}`);
  return m;
};

describe('dns: names', () => {
  const rows: [name: string, text: string, wire: string, back?: string][] = [
    ['two labels', 'example.org', EXAMPLE],
    ['a last dot', 'example.org.', EXAMPLE, 'example.org'],
    ['the root', '.', '00'],
    ['case is kept', 'ExAmPlE.org', '074578416d506c45036f726700'],
    ['a dot in a label', 'a\\.b.c', '03612e62016300'],
    ['a backslash in a label', 'a\\\\b', '03615c6200'],
    ['a space', 'a b.c', '03612062016300'],
    ['bytes that do not print', '\\000\\010\\127.c', '03000a7f016300'],
    ['UTF-8', 'é.c', '02c3a9016300'],
    ['no UTF-8', '\\255.c', '01ff016300'],
    ['needless escapes', '\\097\\b', '026162', 'ab'],
  ];
  for (const [name, text, wire, back = text] of rows) {
    it(name, () => {
      const emitted = dns.emit({ questions: [dns.question(text, 'A')] });
      assert.equal(toHex(emitted).slice(24, 24 + wire.length), wire);
      assert.equal(parsed(emitted).questions[0]!.name, back);
      assert.equal(dns.normalName(text), back);
    });
  }

  const label = 'x'.repeat(63);
  const bad: [name: string, text: string][] = [
    ['empty', ''],
    ['an empty label', 'a..b'],
    ['a dot in front', '.a'],
    ['two last dots', 'a..'],
    ['a label of 64 bytes', 'x'.repeat(64)],
    ['256 bytes', `${label}.${label}.${label}.${'x'.repeat(62)}`],
    ['an escape without digits', 'a\\12'],
    ['an escape above 255', '\\256'],
    ['a backslash at the end', 'a\\'],
    ['UTF-8 of 64 bytes', 'é'.repeat(32)],
  ];
  for (const [name, text] of bad) {
    it(`no name: ${name}`, () => {
      assert.equal(dns.isName(text), false);
      assert.throws(() => dns.labelsOf(text), { name: 'TypeError', message: /^name: expected a domain name, got "/ });
    });
  }
  it('255 bytes are a name', () => assert.ok(dns.isName(`${label}.${label}.${label}.${'x'.repeat(61)}`)));

  it('RFC 4343: ASCII letters have no case, others do', () => {
    assert.ok(dns.sameName('Example.ORG', 'eXAMPLE.org'));
    assert.ok(!dns.sameName('É.org', 'é.org'));
    assert.ok(!dns.sameName('example.org', 'example.com'));
  });

  it('under a parent', () => {
    const rows: [string, string, boolean][] = [
      ['a.local', 'local', true],
      ['A.LOCAL', 'local', true],
      ['local', 'local', true],
      ['xlocal', 'local', false],
      ['a\\.local', 'local', false],
      ['anything', '.', true],
    ];
    for (const [name, parent, want] of rows) assert.equal(dns.isUnder(name, parent), want, name);
  });

  it('reverse names, and back', () => {
    const v6 = '1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa';
    assert.equal(dns.reverseName(ip('10.0.0.1')), '1.0.0.10.in-addr.arpa');
    assert.equal(dns.reverseName(ip('2001:db8::1')), v6);
    assert.ok(dns.addressOfReverse('1.0.0.10.IN-ADDR.arpa')!.equals(ip('10.0.0.1')));
    assert.ok(dns.addressOfReverse(v6)!.equals(ip('2001:db8::1')));
    for (const none of ['0.10.in-addr.arpa', '256.0.0.10.in-addr.arpa', 'x.ip6.arpa', 'example.org']) {
      assert.equal(dns.addressOfReverse(none), null);
    }
  });
});

describe('dns: parse', () => {
  it('a response', () => {
    const m = parsed(RESPONSE);
    assert.deepEqual(
      [m.id, m.isResponse, m.recursionDesired, m.recursionAvailable, m.isTruncated, m.rcode, m.edns],
      [0x1234, true, true, true, false, dns.NOERROR, null],
    );
    assert.deepEqual(m.questions, [{ name: 'example.org', type: 'A', class: 1, unicast: false }]);
    const want = { name: 'example.org', class: 1, ttl: 300, flush: false, type: 'A', address: ip('192.0.2.1') };
    assert.deepEqual(m.answers, [want]);
  });

  it('EDNS: size, version, DO, and the high bits of the rcode; sizes below 512 are 512', () => {
    const opt = '0000291000' + '01008000' + '0000';
    const m = parsed(hex(header('8180', 1, 0, 0, 1) + ASKED + opt));
    assert.deepEqual(m.edns, { payloadBytes: 4096, version: 0, dnssecOk: true });
    assert.equal(m.rcode, dns.BADVERS);
    assert.deepEqual(m.additionals, []);
    const small = parsed(hex(`${header('0100', 1, 0, 0, 1)}${ASKED}0000290001000000000000`));
    assert.equal(small.edns!.payloadBytes, 512);
  });

  it('mDNS: the top bit of the class', () => {
    const m = parsed(hex(`${header('8400', 1, 1, 0, 0)}${EXAMPLE}00018001c00c000180010000012c0004c0000201`));
    assert.deepEqual([m.questions[0]!.unicast, m.questions[0]!.class], [true, 1]);
    assert.deepEqual([m.answers[0]!.flush, m.answers[0]!.class], [true, 1]);
  });

  it('RFC 2181 §8: a TTL with the high bit is zero', () => {
    assert.equal(parsed(patched(RESPONSE, 35, '80000001')).answers[0]!.ttl, 0);
  });

  it('a record cut short, where the sender says so, leaves what is whole', () => {
    const both = toHex(RESPONSE).replace('818000010001', '838000010002');
    assert.equal(parsed(hex(`${both}c00c0001`)).answers.length, 1);
  });

  const answerOf = (type: string, length: string, data: string): Uint8Array =>
    hex(`${header('8180', 1, 1, 0, 0)}${ASKED}c00c${type}00010000012c${length}${data}`);
  const bad: [name: string, message: Uint8Array, want: dns.Drop][] = [
    ['empty', hex(''), 'dns-truncated'],
    ['eleven bytes', RESPONSE.slice(0, 11), 'dns-truncated'],
    ['no question where one is promised', RESPONSE.slice(0, 12), 'dns-truncated'],
    ['a name without its end', RESPONSE.slice(0, 20), 'dns-truncated'],
    ['a question without class', RESPONSE.slice(0, 27), 'dns-truncated'],
    ['an answer without data', RESPONSE.slice(0, 41), 'dns-truncated'],
    ['data beyond the end', RESPONSE.slice(0, -1), 'dns-truncated'],
    ['half a pointer', hex(`${header('0100', 1, 0, 0, 0)}c0`), 'dns-truncated'],
    ['a pointer to itself', hex(`${header('0100', 1, 0, 0, 0)}c00c00010001`), 'dns-bad-name'],
    ['a pointer forward', hex(`${header('0100', 1, 0, 0, 0)}c00e0161000001`), 'dns-bad-name'],
    ['a pointer into the header', patched(RESPONSE, 29, 'c000'), 'dns-bad-name'],
    ['a loop of two pointers', hex(`${header('0100', 2, 0, 0, 0)}0161c00c000100010162c00c00010001`), 'dns-bad-name'],
    ['a loop by way of a label', hex(`${header('0100', 1, 0, 0, 0)}0161c00c00010001`), 'dns-bad-name'],
    ['a reserved kind of label', patched(RESPONSE, 12, '40'), 'dns-bad-name'],
    ['another reserved kind', patched(RESPONSE, 12, '80'), 'dns-bad-name'],
    [
      'a name over 255 bytes',
      hex(`${header('0100', 1, 0, 0, 0)}${`3f${'61'.repeat(63)}`.repeat(4)}00000100`),
      'dns-bad-name',
    ],
    ['A of three bytes', answerOf('0001', '0003', '000000'), 'dns-bad-record'],
    ['AAAA of four bytes', answerOf('001c', '0004', '00000000'), 'dns-bad-record'],
    ['CNAME with bytes behind it', answerOf('0005', '0003', 'c00c00'), 'dns-bad-record'],
    ['CNAME that ends beyond its length', answerOf('0005', '0002', '016100'), 'dns-bad-record'],
    ['MX without a name', answerOf('000f', '0002', '0001'), 'dns-bad-record'],
    ['SRV without a name', answerOf('0021', '0006', '000100010001'), 'dns-bad-record'],
    ['TXT whose string is too long', answerOf('0010', '0003', '056161'), 'dns-bad-record'],
    ['SOA without its numbers', answerOf('0006', '0004', 'c00cc00c'), 'dns-bad-record'],
    ['NSEC with an empty window', answerOf('002f', '0004', 'c00c0000'), 'dns-bad-record'],
    ['NSEC with a window of 33 bytes', answerOf('002f', '0025', `c00c0021${'00'.repeat(33)}`), 'dns-bad-record'],
    ['two OPT', hex(`${header('0100', 1, 0, 0, 2)}${ASKED}${'0000290200000000000000'.repeat(2)}`), 'dns-bad-record'],
    ['more records than may be', hex(`${header('8180', 1, 4096, 0, 0)}${ASKED}`), 'dns-too-many-records'],
  ];
  for (const [name, message, want] of bad) it(`drops ${name}`, () => assert.equal(dns.parse(message), want));

  it('names that hang on each other are bounded by the 255 bytes of a name', () => {
    // Each name is one label and a pointer to the name before: the 127th has 127 labels, the next would be too long.
    const names = ['016100'];
    for (let i = 0; i < 200; i++) names.push(`0161${(0xc000 | (i === 0 ? 12 : 15 + 8 * (i - 1) + 4)).toString(16)}`);
    const message = (count: number): Uint8Array => {
      const [first, ...rest] = names.slice(0, count);
      return hex(`${header('0100', count, 0, 0, 0)}${first}00010001${rest.map((name) => `${name}00010001`).join('')}`);
    };
    assert.equal(parsed(message(127)).questions.at(-1)!.name.split('.').length, 127);
    assert.equal(dns.parse(message(128)), 'dns-bad-name');
  });

  it('random bytes, and messages with random bytes in them, are read or dropped, never thrown', () => {
    const whole = toHex(RESPONSE);
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), fc.nat(whole.length / 2 - 1), fc.nat(255), (noise, at, byte) => {
        dns.parse(noise);
        dns.format(noise, 0, noise.length);
        dns.parse(patched(RESPONSE, at, byte.toString(16).padStart(2, '0')));
        for (let end = 0; end <= RESPONSE.length; end++) dns.parse(RESPONSE, 0, end);
      }),
      { seed: 1, numRuns: 300 },
    );
  });
});

const SOA: dns.RecordData = {
  type: 'SOA',
  primary: 'ns.example.org',
  mailbox: 'admin.example.org',
  serial: 2026112101,
  refresh: 7200,
  retry: 900,
  expire: 1209600,
  minimum: 300,
};

const DATA: [data: dns.RecordData, shown: string][] = [
  [{ type: 'A', address: ip('192.0.2.1') }, '192.0.2.1'],
  [{ type: 'AAAA', address: ip('2001:db8::1') }, '2001:db8::1'],
  [{ type: 'CNAME', target: 'www.example.org' }, 'www.example.org.'],
  [{ type: 'NS', target: 'ns.example.org' }, 'ns.example.org.'],
  [{ type: 'PTR', target: 'example.org' }, 'example.org.'],
  [{ type: 'DNAME', target: 'example.net' }, 'example.net.'],
  [{ type: 'MX', preference: 10, exchange: 'mail.example.org' }, '10 mail.example.org.'],
  [{ type: 'MX', preference: 0, exchange: '.' }, '0 .'],
  [{ type: 'TXT', strings: [bytes('v=1'), bytes('say "hi"\\'), hex('00ff')] }, '"v=1" "say \\"hi\\"\\\\" "\\000\\255"'],
  [{ type: 'SRV', priority: 1, weight: 2, port: 389, target: 'ldap.example.org' }, '1 2 389 ldap.example.org.'],
  [SOA, 'ns.example.org. admin.example.org. 2026112101 7200 900 1209600 300'],
  [{ type: 'NSEC', next: 'b.example.org', types: ['A', 'AAAA', 'CAA'] }, 'b.example.org. A AAAA CAA'],
  [{ type: 'CAA', data: hex('00056973737565') }, '\\# 7 00056973737565'],
  [{ type: 'TYPE65280', data: hex('') }, '\\# 0'],
];

describe('dns: records, emitted and read', () => {
  for (const [data, shown] of DATA) {
    it(`${data.type} ${shown}`, () => {
      for (const compressAll of [false, true]) {
        const want = dns.record('example.org', 60, data);
        assert.deepEqual(parsed(dns.emit({ answers: [want, want] }, { compressAll })).answers, [want, want]);
      }
      assert.equal(dns.formatData(data), shown);
    });
  }

  it('a TXT record without strings is one empty string: RFC 6763 §6.1', () => {
    const m = parsed(dns.emit({ answers: [dns.record('a', 1, { type: 'TXT', strings: [] })] }));
    assert.deepEqual(m.answers, [dns.record('a', 1, { type: 'TXT', strings: [new Uint8Array(0)] })]);
    assert.deepEqual(dns.textOf(m.answers[0] as dns.RecordOf<'TXT'>), ['']);
  });

  it('RFC 4007 §11: zones do not leave the host', () => {
    const zoned = ip('fe80::1').withZone(3);
    const m = parsed(dns.emit({ answers: [dns.record('a', 1, { type: 'AAAA', address: zoned })] }));
    assert.equal(dns.formatData(m.answers[0]!), 'fe80::1');
    assert.equal(dns.reverseName(zoned), dns.reverseName(ip('fe80::1')));
  });

  it('names of types and their numbers', () => {
    assert.deepEqual(
      ['a', 'AAAA', 'type65', 'TYPE65536', 'NOPE', 'toString'].map(dns.typeNumber),
      [1, 28, 65, -1, -1, -1],
    );
    assert.deepEqual([1, 65, 4711].map(dns.typeName), ['A', 'HTTPS', 'TYPE4711']);
  });
});

describe('dns: emit', () => {
  it('a whole message, bytes as tshark reads them', () => {
    const fields = {
      id: 0x1234,
      isResponse: true,
      recursionDesired: true,
      recursionAvailable: true,
      questions: [dns.question('example.org', 'A')],
      answers: [dns.record('example.org', 300, { type: 'A', address: ip('192.0.2.1') })],
    };
    assert.equal(toHex(dns.emit(fields)), toHex(RESPONSE));
  });

  it('RFC 2782, RFC 4034: targets of SRV and NSEC are compressed for mDNS only', () => {
    const answers = [
      dns.record('a.example.org', 1, { type: 'SRV', priority: 0, weight: 0, port: 1, target: 'a.example.org' }),
    ];
    assert.equal(dns.emit({ answers }, { compressAll: true }).length + 13, dns.emit({ answers }).length);
  });

  it('names compress without regard to case', () => {
    const questions = [dns.question('example.org', 'A'), dns.question('www.EXAMPLE.org', 'A')];
    assert.equal(dns.emit({ questions }).length, 12 + 17 + 10);
  });

  it('what does not fit is left out whole: TC for answers, none for additional records', () => {
    const many = Array.from({ length: 40 }, (_, i) =>
      dns.record('example.org', 1, { type: 'A', address: IpAddress.v4(i) }),
    );
    const questions = [dns.question('example.org', 'A')];
    const edns = { payloadBytes: 1232, version: 0, dnssecOk: false };
    const cut = dns.emit({ questions, answers: many, additionals: many, edns }, { bytesMax: 512 });
    const m = parsed(cut);
    assert.ok(cut.length <= 512 && cut.length > 490);
    assert.deepEqual([m.isTruncated, m.answers.length, m.additionals.length, m.edns], [true, 29, 0, edns]);
    const extra = parsed(dns.emit({ questions, answers: many.slice(0, 2), additionals: many }, { bytesMax: 512 }));
    assert.deepEqual([extra.isTruncated, extra.answers.length, extra.additionals.length], [false, 2, 28]);
  });

  it('rcodes above 15 travel in OPT', () => {
    const edns = { payloadBytes: 1232, version: 0, dnssecOk: false };
    assert.equal(parsed(dns.emit({ isResponse: true, rcode: dns.BADVERS, edns })).rcode, dns.BADVERS);
  });

  it('arguments', () => {
    assert.throws(() => dns.emit({ questions: [dns.question('a..b', 'A')] }), TypeError);
    assert.throws(() => dns.emit({ questions: [dns.question('a', 'NOPE' as never)] }), /type: expected/);
    const answers = [dns.record('a', 1, { type: 'TXT', strings: [new Uint8Array(256)] })];
    assert.throws(() => dns.emit({ answers }), RangeError);
  });

  it('random messages: what was emitted is read', () => {
    const label = fc.uint8Array({ minLength: 1, maxLength: 20 }).map((u8) => dns.formatLabel(u8));
    const name = fc.array(label, { minLength: 1, maxLength: 5 }).map((labels) => labels.join('.'));
    const answers = fc.array(
      fc
        .tuple(name, name, fc.nat(86_400))
        .map(([owner, target, ttl]) => dns.record(owner, ttl, { type: 'PTR', target })),
      { maxLength: 20 },
    );
    fc.assert(
      fc.property(fc.nat(0xffff), answers, (id, records) => {
        const m = parsed(dns.emit({ id, answers: records }));
        assert.deepEqual([m.id, m.answers], [id, records]);
      }),
      { seed: 2, numRuns: 300 },
    );
  });
});

describe('dns: one line', () => {
  const edns = { payloadBytes: 1232, version: 0, dnssecOk: false };
  const q = [dns.question('example.org', 'A')];
  const a = [dns.record('example.org', 1, { type: 'A', address: ip('192.0.2.1') })];
  const rows: [fields: Partial<dns.Message>, want: string][] = [
    [{ id: 7, recursionDesired: true, questions: q }, '7+ A? example.org. (29)'],
    [{ id: 7, questions: q, edns }, '7 [1au] A? example.org. (40)'],
    [{ id: 7, isResponse: true, recursionAvailable: true, questions: q, answers: a }, '7 1/0/0 A 192.0.2.1 (45)'],
    [{ id: 7, isResponse: true, isAuthoritative: true, rcode: dns.NXDOMAIN, questions: q }, '7 NXDomain*- 0/0/0 (29)'],
    [{ id: 7, isResponse: true, isTruncated: true, questions: q, edns }, '7-| 0/0/1 (40)'],
    [
      { questions: [dns.question('_ipp._tcp.local', 'PTR', true)], answers: a },
      '0 [1a] PTR (QU)? _ipp._tcp.local. (60)',
    ],
  ];
  for (const [fields, want] of rows) {
    it(want, () => {
      const u8 = dns.emit(fields);
      assert.equal(dns.format(u8, 0, u8.length), want);
    });
  }
  it('a message that is none', () => assert.equal(dns.format(RESPONSE, 0, 20), 'DNS [dns-truncated] (20)'));

  it('a trace shows it behind the addresses; what is no message stays a datagram', () => {
    const line = (data: Uint8Array): string => {
      const total = 28 + data.length;
      const o = octetsOf(new Uint8Array(total));
      o.u8.set(data, 28);
      const [from, to] = [ip('10.0.0.1'), ip('10.0.0.2')];
      udp.emit(o, 20, 5000, 53, 8 + data.length, pseudoHeaderSum(from, to, PROTOCOL_UDP));
      ipv4.emit(o.dv, 0, total, 0, 1, 0, 64, PROTOCOL_UDP, from.d, to.d);
      return formatIp(o, 0, total);
    };
    const query = dns.emit({ id: 7, recursionDesired: true, questions: q });
    assert.equal(line(query), 'IP 10.0.0.1.5000 > 10.0.0.2.53: 7+ A? example.org. (29)');
    assert.equal(line(query.slice(0, 20)), 'IP 10.0.0.1.5000 > 10.0.0.2.53: UDP, length 20');
  });
});
