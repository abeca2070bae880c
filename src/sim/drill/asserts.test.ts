import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { AssertError, type Names, runSnippet } from './asserts.ts';

const names = (): Names =>
  new Map([
    ['tcpi_snd_cwnd', 10],
    ['tcpi_rtt', 100_000],
    ['tcpi_options', 7],
    ['TCPI_OPT_SACK', 2],
    ['big', 2 ** 40],
  ]);

describe('what holds', () => {
  const rows: readonly string[] = [
    'assert tcpi_snd_cwnd == 10',
    'assert tcpi_snd_cwnd == 10, tcpi_snd_cwnd',
    'assert 9 < tcpi_snd_cwnd <= 10 < 11',
    'assert tcpi_snd_cwnd >= 10 and not tcpi_rtt < 5 or False',
    'assert (tcpi_options & TCPI_OPT_SACK) == TCPI_OPT_SACK',
    'assert tcpi_options & TCPI_OPT_SACK',
    'assert 2 + 3 * 4 == 14 and (2 + 3) * 4 == 20 and -2 ** 2 == -4',
    'assert 7 // 2 == 3 and 7 % 4 == 3 and -7 % 4 == 1 and 7 / 2 == 3.5',
    'assert 1 << 4 | 1 == 17 and 0xff ^ 1 == 254 and ~1 == -2',
    'assert big & big == big',
    'assert abs(90 - 100) < 11 and max(1, 2) == 2 and int(3.7) == 3',
    'x = tcpi_snd_cwnd\ny = x + 1\nassert y == 11',
    'assert (1 ==\n  1)',
    'assert 1; assert 2 # a comment with "quotes"',
    'print("cwnd %d" % tcpi_snd_cwnd)',
    'print tcpi_snd_cwnd, "#", 5',
    'assert True, "it is %d, %d" % (1, 2)',
    'import math',
    '',
  ];
  for (const code of rows) test(JSON.stringify(code), () => runSnippet(code, names()));
});

describe('what does not hold, or cannot be read', () => {
  const rows: readonly (readonly [code: string, message: string])[] = [
    ['assert tcpi_snd_cwnd == 9', 'assertion failed: tcpi_snd_cwnd == 9 (tcpi_snd_cwnd = 10)'],
    ['assert 1 < 3 < 2', 'assertion failed: 1 < 3 < 2'],
    ['assert not tcpi_rtt, "rtt"', 'assertion failed: not tcpi_rtt, "rtt": rtt (tcpi_rtt = 100000)'],
    ['assert tcpi_nonsense == 1', "expected a known name, got 'tcpi_nonsense'"],
    ['assert', "expected a value, got 'the end of the line'"],
    ['assert (1', "expected ')', got 'the end of the line'"],
    ['assert 1 1', "expected an operator, got '1'"],
    ['assert $', "expected Python, got '$'"],
    ['for x in y: pass', "expected assert, print or NAME = VALUE, got 'for x in y: pass'"],
    ['assert 1 + "a" == 2', "expected a number, got the string 'a'"],
  ];
  for (const [code, message] of rows) {
    test(JSON.stringify(code), () =>
      assert.throws(() => runSnippet(code, names()), { name: AssertError.name, message }),
    );
  }
});

test('names that a snippet assigns are there for the next', () => {
  const known = names();
  runSnippet('before = tcpi_snd_cwnd', known);
  known.set('tcpi_snd_cwnd', 20);
  runSnippet('assert tcpi_snd_cwnd == 2 * before', known);
});
