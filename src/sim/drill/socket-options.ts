/** Values of setsockopt and getsockopt as scripts write them: `[1]`, `{onoff=1, linger=0}`, `"cubic"`. @module */
import type { OptionInput, OptionValue } from '../../posix/index.ts';
import type { Expression, Field } from './ast.ts';
import { fieldOf, isEllipsis, numberOf, ValueError } from './values.ts';

/** The struct a value is, in an array of its own or bare; null: it is none. */
function fieldsOf(expression: Expression): readonly Field[] | null {
  if (expression.kind === 'struct') return expression.fields;
  const only = expression.kind === 'list' && expression.items.length === 1 ? expression.items[0]! : null;
  return only?.kind === 'struct' ? only.fields : null;
}

const stringOf = (expression: Expression): string | null => {
  if (expression.kind === 'string') return expression.value;
  const only = expression.kind === 'list' && expression.items.length === 1 ? expression.items[0]! : null;
  return only?.kind === 'string' ? only.value : null;
};

const field = (fields: readonly Field[], ...names: string[]): number | null => {
  for (const name of names) {
    const value = fieldOf(fields, name);
    if (value !== undefined && !isEllipsis(value)) return numberOf(value);
  }
  return null;
};

/** What a script sets an option to. */
export function optionValue(expression: Expression | undefined): OptionInput {
  if (expression === undefined || expression.kind === 'ellipsis') throw new ValueError('expected a value, got ...');
  const text = stringOf(expression);
  if (text !== null) return text;
  const fields = fieldsOf(expression);
  if (fields === null) return numberOf(expression);
  const onoff = field(fields, 'onoff', 'l_onoff');
  if (onoff !== null) return { onoff, linger: field(fields, 'linger', 'l_linger') ?? 0 };
  const sec = field(fields, 'tv_sec', 'sec');
  if (sec !== null) return { sec, usec: field(fields, 'tv_usec', 'usec') ?? 0 };
  throw new ValueError('expected {onoff=..., linger=...} or {tv_sec=..., tv_usec=...}');
}

/** What of a value is not as the script says, or null. */
export function optionFault(expected: Expression | undefined, actual: OptionValue): string | null {
  if (expected === undefined || isEllipsis(expected)) return null;
  const only = expected.kind === 'list' && expected.items.length === 1 ? expected.items[0]! : null;
  if (only?.kind === 'ellipsis') return null;
  const text = stringOf(expected);
  if (text !== null) return text === actual ? null : `expected "${text}", got ${JSON.stringify(actual)}`;
  const fields = fieldsOf(expected);
  if (fields !== null) return structFault(fields, actual);
  const number = numberOf(expected);
  return number === actual ? null : `expected [${number}], got [${JSON.stringify(actual)}]`;
}

/** A field may be called `l_onoff` in C, and `onoff` here. */
function structFault(fields: readonly Field[], actual: OptionValue): string | null {
  if (typeof actual !== 'object') return `expected a struct, got ${JSON.stringify(actual)}`;
  const values = actual as unknown as Readonly<Record<string, unknown>>;
  for (const { name, value } of fields) {
    if (name === null || isEllipsis(value)) continue;
    const key = [name, name.replace(/^(?:l|tv)_/, '')].find((candidate) => candidate in values);
    const expected = numberOf(value);
    if (key === undefined) return `expected a field ${name}, got ${Object.keys(values).join(', ')}`;
    if (values[key] !== expected) return `${name}: expected ${expected}, got ${values[key]}`;
  }
  return null;
}
