import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { hex, toHex } from '../../test/hex.ts';
import { randomOf } from '../../test/random.ts';
import { encodeNames, parseNames } from './domain-names.ts';

describe('domain-names', () => {
  const good: [string, string, string[]][] = [
    ['nothing', '', []],
    ['one', '016101620363 6f6d00', ['a.b.com']],
    ['two', '016100 026c6e00', ['a', 'ln']],
    // RFC 3397 §2: the example, eng.apple.com and marketing.apple.com.
    ['compressed', '03656e67056170706c6503636f6d00 096d61726b6574696e67c004', ['eng.apple.com', 'marketing.apple.com']],
    ['padding', '016100 000000', ['a']],
    ['underscores and hyphens', '055f646e732d00', ['_dns-']],
  ];
  for (const [name, text, want] of good) it(`reads ${name}`, () => assert.deepEqual(parseNames(hex(text)), want));

  const bad: [string, string][] = [
    ['a label beyond the end', '0561'],
    ['no end', '0161'],
    ['half a pointer', '0161c0'],
    ['a pointer to itself', '0161c002'],
    ['a pointer ahead', 'c004 0000 016100'],
    ['a loop', '0161c000'],
    ['a reserved kind of label', '4161 00'],
    ['a dot in a label', '03612e6200'],
    ['a blank', '0120 00'],
    ['a control character', '010a00'],
    ['a byte beyond ASCII', '01ff00'],
    ['a name of 256 octets', `${`${'3f'.padEnd(128, '61')}`.repeat(4)}00`],
  ];
  for (const [name, text] of bad) it(`refuses ${name}`, () => assert.equal(parseNames(hex(text)), null));

  it('a name of 255 octets is the longest', () => {
    const label = (n: number): string => 'a'.repeat(n);
    const name = [63, 63, 63, 61].map(label).join('.');
    const bytes = encodeNames([name]);
    assert.equal(bytes.length, 255);
    assert.deepEqual(parseNames(bytes), [name]);
    assert.throws(() => encodeNames([`${name}a`]), RangeError);
  });

  it('a list has 32 names at most', () => {
    const names = Array.from({ length: 40 }, (_, i) => `n${i}`);
    assert.deepEqual(parseNames(encodeNames(names)), names.slice(0, 32));
  });

  it('writes what it reads; the last dot is left out', () => {
    assert.equal(toHex(encodeNames(['a.com.'])), '01610363 6f6d00'.replace(' ', ''));
    for (const name of ['', 'a..b', '.a', 'a b', 'ä', 'a'.repeat(64)])
      assert.throws(() => encodeNames([name]), RangeError);
  });

  it('random bytes: never an exception, never a loop', () => {
    const random = randomOf(1);
    for (let i = 0; i < 50_000; i++) {
      const bytes = random.bytes(random.below(40)).map((byte) => (random.below(3) === 0 ? byte : byte & 0xc3));
      parseNames(bytes);
    }
  });
});
