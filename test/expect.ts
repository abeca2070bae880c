/** The assertions of tests that also run in a browser, named as `node:assert/strict` names them. */

export class Failed extends Error {
  override readonly name = 'Failed';
}

function show(value: unknown): string {
  if (ArrayBuffer.isView(value)) return `${value.constructor.name}(${value.byteLength})`;
  if (value instanceof Error) return `${value.name}: ${value.message}`;
  try {
    return JSON.stringify(value) ?? String(value);
  } catch {
    return String(value);
  }
}

function same(one: unknown, other: unknown): boolean {
  if (Object.is(one, other)) return true;
  if (typeof one !== 'object' || typeof other !== 'object' || one === null || other === null) return false;
  if (Object.getPrototypeOf(one) !== Object.getPrototypeOf(other)) return false;
  const [names, others] = [Object.keys(one), Object.keys(other)];
  if (names.length !== others.length) return false;
  const [a, b] = [one as Record<string, unknown>, other as Record<string, unknown>];
  return names.every((name) => Object.hasOwn(b, name) && same(a[name], b[name]));
}

function fail(message: string | undefined, what: string): never {
  throw new Failed(message === undefined ? what : `${message}: ${what}`);
}

/** What an error must be: of a class, with these properties, or what a function says. */
export type Expected =
  | (new (
      ...args: never[]
    ) => Error)
  | Readonly<Record<string, unknown>>
  | ((e: unknown) => boolean);

function check(error: unknown, expected: Expected): void {
  if (typeof expected === 'object') {
    for (const [name, value] of Object.entries(expected)) {
      const got = (error as Record<string, unknown> | null)?.[name];
      if (!Object.is(got, value))
        fail(undefined, `expected ${name} ${show(value)}, got ${show(got)} of ${show(error)}`);
    }
  } else if (expected.prototype instanceof Error || expected === (Error as unknown)) {
    const isOne = error instanceof (expected as new () => Error);
    if (!isOne) fail(undefined, `expected a ${expected.name}, got ${show(error)}`);
  } else if (!(expected as (e: unknown) => boolean)(error)) {
    fail(undefined, `not what was expected: ${show(error)}`);
  }
}

export function ok(value: unknown, message?: string): asserts value {
  if (!value) fail(message, `expected something true, got ${show(value)}`);
}

export function equal(got: unknown, expected: unknown, message?: string): void {
  if (!Object.is(got, expected)) fail(message, `expected ${show(expected)}, got ${show(got)}`);
}

export function deepEqual(got: unknown, expected: unknown, message?: string): void {
  if (!same(got, expected)) fail(message, `expected ${show(expected)}, got ${show(got)}`);
}

export function match(text: string, pattern: RegExp, message?: string): void {
  if (!pattern.test(text)) fail(message, `expected ${pattern}, got ${show(text)}`);
}

export function throws(call: () => unknown, expected: Expected): void {
  try {
    call();
  } catch (error) {
    check(error, expected);
    return;
  }
  fail(undefined, 'expected an error, and there was none');
}

export async function rejects(promise: Promise<unknown>, expected: Expected): Promise<void> {
  let value: unknown;
  try {
    value = await promise;
  } catch (error) {
    check(error, expected);
    return;
  }
  fail(undefined, `expected an error, got ${show(value)}`);
}
