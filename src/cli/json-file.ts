/** JSON files that people write: read, and checked with errors that name the place in the file. @module */
import { readFileSync } from 'node:fs';
import { Cidr, IpAddress, MacAddress } from '../index.ts';
import { type FaultSettings, NO_FAULTS, resolveFaults } from '../phy/faults.ts';
import { nearest } from './args.ts';
import { CommandError, reasonOf, UsageError } from './command.ts';

/** Bytes of a file, at most. */
const BYTES_MAX = 16 << 20;
/** Characters of a wrong value that are shown. */
const SHOWN_MAX = 60;

/** Names of faults. */
export const FAULT_NAMES = Object.keys(NO_FAULTS) as (keyof FaultSettings)[];

/** A value of a document, and where it stands. */
export class JsonNode {
  readonly value: unknown;
  /** `hosts.alice.faults`; empty: the whole document. */
  readonly path: string;
  readonly #file: string;

  constructor(value: unknown, path: string, file: string) {
    this.value = value;
    this.path = path;
    this.#file = file;
  }

  /** Says that something else was expected here. @throws UsageError */
  fail(expected: string): never {
    const text = JSON.stringify(this.value) ?? 'nothing';
    const shown = text.length > SHOWN_MAX ? `${text.slice(0, SHOWN_MAX)}...` : text;
    throw this.error(`expected ${expected}, got ${shown}`);
  }

  /** An error about this place. */
  error(message: string): UsageError {
    return new UsageError(`${this.#file}: ${this.path === '' ? '' : `${this.path}: `}${message}`);
  }

  child(name: string | number, value: unknown): JsonNode {
    const part = typeof name === 'number' ? `[${name}]` : this.path === '' ? name : `.${name}`;
    return new JsonNode(value, this.path + part, this.#file);
  }

  /** What stands under these names and no others; a name that is not there has undefined. */
  fields<Name extends string>(names: readonly Name[]): Readonly<Record<Name, JsonNode | undefined>> {
    const entries = this.#entries(`an object with ${names.join(', ')}`);
    for (const [name] of entries) {
      if ((names as readonly string[]).includes(name)) continue;
      const near = nearest(name, names);
      const hint = near === null ? `: expected ${names.join(', ')}` : `: did you mean ${near}?`;
      throw this.error(`unknown name ${JSON.stringify(name)}${hint}`);
    }
    return Object.fromEntries(entries) as Record<Name, JsonNode | undefined>;
  }

  /** Values under names of the file's own. */
  map<T>(read: (node: JsonNode, name: string) => T): Record<string, T> {
    const entries = this.#entries('an object with names');
    return Object.fromEntries(
      entries.map(([name, node]) => {
        if (!/^[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?$/.test(name)) {
          throw node.error(`expected a name of letters, digits and hyphens, got ${JSON.stringify(name)}`);
        }
        return [name, read(node, name)];
      }),
    );
  }

  /** Names of the file's own that are none of the network's. */
  entries(): (readonly [string, JsonNode])[] {
    return this.#entries('an object with names');
  }

  #entries(expected: string): (readonly [string, JsonNode])[] {
    const { value } = this;
    if (typeof value !== 'object' || value === null || Array.isArray(value)) this.fail(expected);
    return Object.entries(value as object).map(([name, one]) => [name, this.child(name, one)] as const);
  }

  list<T>(read: (node: JsonNode) => T, max: number): T[] {
    const { value } = this;
    if (!Array.isArray(value)) this.fail('a list');
    const values = value as readonly unknown[];
    if (values.length > max) throw this.error(`expected at most ${max} entries, got ${values.length}`);
    return values.map((one, i) => read(this.child(i, one)));
  }

  text(): string {
    return typeof this.value === 'string' && this.value !== '' ? this.value : this.fail('a text');
  }

  boolean(): boolean {
    return typeof this.value === 'boolean' ? this.value : this.fail('true or false');
  }

  number(min: number, max: number): number {
    const { value } = this;
    if (typeof value === 'number' && value >= min && value <= max) return value;
    return this.fail(`a number from ${min} to ${max}`);
  }

  integer(min: number, max: number): number {
    const { value } = this;
    if (Number.isInteger(value) && (value as number) >= min && (value as number) <= max) return value as number;
    return this.fail(`a whole number from ${min} to ${max}`);
  }

  choice<T extends string>(choices: readonly T[]): T {
    return choices.find((one) => one === this.value) ?? this.fail(`one of ${choices.join(', ')}`);
  }

  /** An address with its prefix. */
  cidr(): Cidr {
    return this.#parsed('an address with prefix like 10.0.0.1/24', (text) => {
      if (!text.includes('/')) throw new TypeError(text);
      return Cidr.parse(text);
    });
  }

  ip(): IpAddress {
    return this.#parsed('an IPv4 or IPv6 address', (text) => IpAddress.parse(text));
  }

  mac(): MacAddress {
    const mac = this.#parsed('six bytes like 02:00:00:00:00:01', (text) => MacAddress.parse(text));
    return mac.isGroup ? this.fail('the address of one host, no group') : mac;
  }

  #parsed<T>(expected: string, parse: (text: string) => T): T {
    try {
      return parse(this.value as string);
    } catch {
      return this.fail(expected);
    }
  }

  /** Faults of one direction, by their names; others than `more` are unknown. */
  faults(more: readonly string[] = []): FaultSettings {
    const fields = this.fields([...FAULT_NAMES, ...more]);
    const faults: Record<string, unknown> = {};
    for (const name of FAULT_NAMES) {
      const node = fields[name];
      if (node === undefined) continue;
      faults[name] = node.value;
      try {
        resolveFaults(NO_FAULTS, { [name]: node.value });
      } catch (error) {
        const { message } = error as Error;
        throw node.error(
          message.replace(/^fault: expected \w+ (from )?/, (_, from) => `expected ${from ? 'a number from ' : ''}`),
        );
      }
    }
    return faults as FaultSettings;
  }
}

/** Reads a file. @throws CommandError where it cannot be read, UsageError where it is no JSON */
export function readJsonFile(path: string): JsonNode {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    throw new CommandError(`cannot read ${path}: ${reasonOf(error)}`);
  }
  if (text.length > BYTES_MAX) throw new UsageError(`${path}: expected at most ${BYTES_MAX} bytes, got ${text.length}`);
  try {
    return new JsonNode(JSON.parse(text), '', path);
  } catch (error) {
    throw new UsageError(`${path}: no JSON: ${jsonError(error as Error, text)}`);
  }
}

/** Engines differ in how they say where: line and column are made of the position, where it is told. */
function jsonError({ message }: Error, text: string): string {
  const position = /position (\d+)/.exec(message)?.[1];
  const plain = message.replace(/ in JSON at position.*$/s, '').replace(/, "[\s\S]*$/, '');
  if (position === undefined) return plain;
  const before = text.slice(0, Number(position)).split('\n');
  return `line ${before.length}, column ${before.at(-1)!.length + 1}: ${plain}`;
}
