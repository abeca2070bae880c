/** Arguments of commands: options by node:util, and values read with what was expected and what was got. @module */
import { type ParseArgsConfig, parseArgs } from 'node:util';
import { Cidr, IpAddress, MacAddress } from '../wire/address.ts';
import { UsageError } from './command.ts';

type Options = NonNullable<ParseArgsConfig['options']>;
type Parsed<T extends Options> = ReturnType<typeof parseArgs<{ options: T; strict: true; allowPositionals: true }>>;

/**
 * Reads the options of a command.
 * @param positionals - how many arguments without a dash it takes at most; default none
 * @throws UsageError for an option it does not know, a missing value, an argument too many, or two values where one counts
 * @example const { values } = readOptions(args, { seed: { type: 'string' }, json: { type: 'boolean' } })
 */
export function readOptions<T extends Options>(args: string[], options: T, positionals = 0): Parsed<T> {
  let parsed: Parsed<T>;
  try {
    const { tokens, ...rest } = parseArgs({ args, options, strict: true, allowPositionals: true, tokens: true });
    parsed = rest as Parsed<T>;
    refuseSecond(tokens, options);
  } catch (error) {
    if (error instanceof UsageError) throw error;
    throw new UsageError(reword(error as Error & { code?: string }, options));
  }
  const extra = parsed.positionals[positionals];
  if (extra !== undefined) throw new UsageError(`unexpected argument ${JSON.stringify(extra)}`);
  return parsed;
}

type Token = NonNullable<ReturnType<typeof parseArgs>['tokens']>[number];

/** Of two values node:util takes the last, and the first goes unheard. One that is only said twice does no harm. */
function refuseSecond(tokens: readonly Token[], options: Options): void {
  const said = new Map<string, string>();
  for (const token of tokens) {
    if (token.kind !== 'option' || token.value === undefined || options[token.name]?.multiple === true) continue;
    const first = said.get(token.name) ?? token.value;
    if (first !== token.value) {
      const values = `${JSON.stringify(first)} and ${JSON.stringify(token.value)}`;
      throw new UsageError(`--${token.name}: expected one value, got ${values}`);
    }
    said.set(token.name, first);
  }
}

/** What node:util found wrong, in one line of ours. */
function reword(error: Error & { code?: string }, options: Options): string {
  const name = /'(?:-\w, )?(--?[^\s'=]+)/.exec(error.message)?.[1] ?? 'option';
  if (error.code === 'ERR_PARSE_ARGS_UNKNOWN_OPTION') {
    const near = nearest(name.replace(/^-+/, ''), Object.keys(options));
    return `unknown option ${name}${near === null ? '' : `: did you mean --${near}?`}`;
  }
  if (error.message.includes('does not take an argument')) return `${name} takes no value`;
  if (error.message.includes('ambiguous')) return `${name} needs a value; write ${name}=VALUE if it begins with a dash`;
  if (error.message.includes('argument missing')) return `${name} needs a value`;
  return error.message.split('\n')[0]!;
}

/** The one of `names` that differs from `name` by at most two letters, or begins with it; or null. */
export function nearest(name: string, names: readonly string[]): string | null {
  const distances = names.map((other) => (name.length > 1 && other.startsWith(name) ? 1 : distance(name, other)));
  const least = Math.min(...distances);
  return least <= Math.min(2, name.length - 1) ? names[distances.indexOf(least)]! : null;
}

/** Levenshtein's. */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      next[j] = Math.min(row[j]! + 1, next[j - 1]! + 1, row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1));
    }
    row = next;
  }
  return row[b.length]!;
}

const wrong = (option: string, expected: string, text: string): never => {
  throw new UsageError(`--${option}: expected ${expected}, got ${JSON.stringify(text)}`);
};

/** `.2` is what ping(8) takes, too. */
const DECIMAL = /^(\d+(\.\d+)?|\.\d+)$/;

/** A number between two. Each reader gives undefined for undefined: the option was not there. */
export function readNumber(option: string, text: string | undefined, min: number, max: number): number | undefined {
  if (text === undefined) return undefined;
  const value = DECIMAL.test(text) ? Number(text) : Number.NaN;
  return value >= min && value <= max ? value : wrong(option, `a number from ${min} to ${max}`, text);
}

/** A whole number between two. */
export function readInteger(option: string, text: string | undefined, min: number, max: number): number | undefined {
  if (text === undefined) return undefined;
  const value = /^\d+$/.test(text) ? Number(text) : Number.NaN;
  return value >= min && value <= max ? value : wrong(option, `a whole number from ${min} to ${max}`, text);
}

/** A share in percent, `2`, `0.5` or `2%`: the probability, 0 to 1. */
export function readPercent(option: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const number = text.endsWith('%') ? text.slice(0, -1) : text;
  const value = DECIMAL.test(number) ? Number(number) : Number.NaN;
  return value <= 100 ? value / 100 : wrong(option, 'a percentage from 0 to 100', text);
}

/** One of some words. */
export function readChoice<T extends string>(
  option: string,
  text: string | undefined,
  choices: readonly T[],
): T | undefined {
  if (text === undefined) return undefined;
  return choices.find((choice) => choice === text) ?? wrong(option, choices.join(', '), text);
}

const SCALES: Readonly<Record<string, number>> = { '': 1, k: 1e3, m: 1e6, g: 1e9 };

/** Bits a second, `500000`, `10M` or `1.5G`. */
export function readRate(option: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const match = /^(\d+(?:\.\d+)?)([kmg]?)$/i.exec(text);
  const bits = match === null ? Number.NaN : Number(match[1]) * SCALES[match[2]!.toLowerCase()]!;
  return bits >= 1 && bits <= 1e12 ? bits : wrong(option, 'bits a second like 500k, 10M or 1G', text);
}

/** An address with its prefix; without one the prefix would be the address alone, which is hardly ever meant. */
export function readCidr(option: string, text: string): Cidr {
  const expected = 'an address with prefix like 192.168.69.1/24';
  if (!text.includes('/')) return wrong(option, expected, text);
  try {
    return Cidr.parse(text);
  } catch {
    return wrong(option, expected, text);
  }
}

export function readIp(option: string, text: string): IpAddress {
  try {
    return IpAddress.parse(text);
  } catch {
    return wrong(option, 'an IPv4 or IPv6 address', text);
  }
}

/** The Ethernet address of one host: no group. */
export function readMac(option: string, text: string | undefined): MacAddress | undefined {
  if (text === undefined) return undefined;
  let mac: MacAddress;
  try {
    mac = MacAddress.parse(text);
  } catch {
    return wrong(option, 'six bytes like 02:00:00:00:00:01', text);
  }
  if (mac.isGroup || (mac.high === 0 && mac.low === 0)) {
    return wrong(option, 'the address of one host (its first byte even, like 02), no group', text);
  }
  return mac;
}

/** Bytes, `1048576`, `64K`, `64M` or `1G`, with a K of 1024. */
export function readBytes(option: string, text: string | undefined, min: number, max: number): number | undefined {
  if (text === undefined) return undefined;
  const match = /^(\d+)([kmg]?)$/i.exec(text);
  const shift = match === null ? 0 : [' ', 'k', 'm', 'g'].indexOf(match[2]!.toLowerCase() || ' ') * 10;
  const bytes = match === null ? Number.NaN : Number(match[1]) * 2 ** shift;
  return bytes >= min && bytes <= max ? bytes : wrong(option, `bytes like 64M, from ${min} to ${max}`, text);
}
