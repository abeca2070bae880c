import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { fieldsToJson, toJson } from './json.ts';

test('any value as JSON.stringify has it', () => {
  const name = fc.stringMatching(/^[a-zA-Z]\w{0,8}$/);
  const { tree } = fc.letrec((tie) => ({
    tree: fc.oneof(
      { maxDepth: 4 },
      fc.string({ unit: 'binary' }),
      fc.string(),
      fc.integer(),
      fc.boolean(),
      fc.constantFrom(null, undefined),
      fc.array(tie('tree')),
      fc.dictionary(name, tie('tree')),
    ),
  }));
  const property = fc.property(fc.dictionary(name, tree), (value) =>
    assert.equal(toJson(value), JSON.stringify(value)),
  );
  fc.assert(property, { seed: 6, numRuns: 300 });
});

test('what a terminal or a parser could trip over is escaped', () => {
  for (const text of ['"', '\\', '\n', '\x1b[31m', '\u2028', '\ud800', 'ü']) {
    assert.equal(toJson(text), JSON.stringify(text));
  }
});

test('fields of several objects behind each other', () => {
  const json = `{${fieldsToJson({ c: undefined }, fieldsToJson({ b: [2] }, fieldsToJson({ a: 1 }, '')))}}`;
  assert.equal(json, '{"a":1,"b":[2]}');
});
