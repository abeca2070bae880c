import assert from 'node:assert/strict';
import { test } from 'node:test';
import { randomOf } from '../../test/random.ts';
import { IpAddress } from '../wire/address.ts';
import { AddressMap } from './address-map.ts';
import { ANYBODY, excludeOf, type Filter, includeOf, isNobody, merge, NOBODY, passes } from './filter.ts';

const host = (n: number): IpAddress => IpAddress.v4(0x0a000000 | n);
const hosts = (text: string): IpAddress[] => [...text].map((letter) => host(letter.charCodeAt(0)));
const include = (text: string): Filter => includeOf(hosts(text));
const exclude = (text: string): Filter => excludeOf(hosts(text));
const show = ({ isExclude, sources }: Filter): string =>
  `${isExclude ? 'EXCLUDE' : 'INCLUDE'} ${[...sources]
    .map(({ d }) => String.fromCharCode(d & 0xff))
    .sort()
    .join('')}`;
const accepts = (filter: Filter, { a, b, c, d }: IpAddress): boolean => passes(filter, a, b, c, d);

const MERGES: readonly { name: string; filters: Filter[]; merged: string }[] = [
  { name: 'nobody wants anything', filters: [], merged: 'INCLUDE ' },
  { name: 'one INCLUDE', filters: [include('ab')], merged: 'INCLUDE ab' },
  { name: 'INCLUDEs: the union', filters: [include('ab'), include('bc')], merged: 'INCLUDE abc' },
  { name: 'one EXCLUDE', filters: [exclude('ab')], merged: 'EXCLUDE ab' },
  { name: 'EXCLUDEs: the intersection', filters: [exclude('abc'), exclude('bcd')], merged: 'EXCLUDE bc' },
  { name: 'EXCLUDE {} among them', filters: [exclude('abc'), exclude('')], merged: 'EXCLUDE ' },
  // The example of RFC 3376 §3.2: EXCLUDE {a,b,c,d}, EXCLUDE {b,c,d,e}, INCLUDE {d,e,f} make EXCLUDE {b,c}.
  { name: 'the example of §3.2', filters: [exclude('abcd'), exclude('bcde'), include('def')], merged: 'EXCLUDE bc' },
  { name: 'INCLUDE before EXCLUDE', filters: [include('def'), exclude('abcd')], merged: 'EXCLUDE abc' },
];
for (const { name, filters, merged } of MERGES) {
  test(`filter: RFC 3376 §3.2, ${name}`, () => assert.equal(show(merge(filters)), merged));
}

test('filter: what an interface takes in is what one of its sockets at least wants', () => {
  for (let seed = 1; seed <= 300; seed++) {
    const random = randomOf(seed).next;
    const draw = (): Filter => {
      const sources = hosts('abcdefgh').filter(() => random() < 0.4);
      return random() < 0.5 ? includeOf(sources) : excludeOf(sources);
    };
    const filters = Array.from({ length: Math.floor(random() * 5) }, draw);
    const merged = merge(filters);
    for (const source of hosts('abcdefghi')) {
      const wanted = filters.some((filter) => accepts(filter, source));
      assert.equal(accepts(merged, source), wanted, `seed ${seed}: ${filters.map(show).join(', ')}`);
    }
  }
});

test('filter: INCLUDE {} is nobody, EXCLUDE {} anybody', () => {
  assert.ok(isNobody(NOBODY) && !isNobody(ANYBODY) && !isNobody(include('a')));
  assert.ok(accepts(ANYBODY, host(1)) && !accepts(NOBODY, host(1)));
});

test('address map: agrees with a map by text', () => {
  const random = randomOf(7).next;
  const map = new AddressMap<number>();
  const twin = new Map<string, number>();
  for (let i = 0; i < 3000; i++) {
    const word = (): number => Math.floor(random() * 3) << (random() < 0.5 ? 0 : 28);
    const address = new IpAddress(word(), word(), word(), word());
    const key = address.toString();
    if (random() < 0.4) assert.equal(map.delete(address), twin.delete(key));
    else {
      map.set(address, i);
      twin.set(key, i);
    }
    assert.equal(map.size, twin.size);
    assert.equal(map.get(address), twin.get(key));
  }
  assert.deepEqual([...map.keys()].map(String).sort(), [...twin.keys()].sort());
  assert.deepEqual([...map.values()].sort(), [...twin.values()].sort());
});
