/** Arguments of system calls as values: names looked up, structs and arrays read. @module */
import { type ErrorCode, NetError } from '../../errors.ts';
import { CONSTANTS } from '../../posix/index.ts';
import type { Expression, Field } from './ast.ts';
import { FREEBSD_NAMES } from './dialect.ts';

/** What a call cannot be made with. */
export class ValueError extends Error {
  override readonly name = 'ValueError';
}

/** Names of other systems and of headers that the system calls do not have; same meaning, the value of Linux where it has one. */
const EXTRA: Readonly<Record<string, number>> = {
  IPTOS_LOWDELAY: 0x10,
  IPTOS_THROUGHPUT: 0x08,
  IPTOS_RELIABILITY: 0x04,
  IPTOS_MINCOST: 0x02,
  IPTOS_ECN_NOTECT: 0,
  IPTOS_ECN_ECT1: 1,
  IPTOS_ECN_ECT0: 2,
  IPTOS_ECN_CE: 3,
  ...Object.fromEntries(Array.from({ length: 8 }, (_, i) => [`IPTOS_DSCP_CS${i}`, i << 5])),
  ...FREEBSD_NAMES,
  NULL: 0,
};

/** POSIX lets the two be one; the stack has the first. */
export const errnoName = (name: string): string => (name === 'EWOULDBLOCK' ? 'EAGAIN' : name);

/** The number of an errno, positive as in C; null: no such name. */
function errnoNumber(name: string): number | null {
  try {
    return -new NetError(errnoName(name) as ErrorCode, 'errno').errno;
  } catch {
    return null;
  }
}

/** The value of a name, or null. */
export function constantOf(name: string): number | null {
  if (Object.hasOwn(CONSTANTS, name)) return CONSTANTS[name]!;
  if (Object.hasOwn(EXTRA, name)) return EXTRA[name]!;
  return /^E[A-Z0-9]+$/.test(name) ? errnoNumber(name) : null;
}

const NETWORK_SHIFT = 8;

/** A number: as it stands, by name, of flags, or by a function such as htons(). */
export function numberOf(expression: Expression): number {
  switch (expression.kind) {
    case 'number':
      return expression.value;
    case 'name':
      return namedNumber(expression.name);
    case 'or':
      return expression.parts.reduce((all, part) => all | numberOf(part), 0);
    case 'list':
      if (expression.items.length === 1) return numberOf(expression.items[0]!);
      break;
    case 'call':
      // Ports are numbers here, in no byte order.
      if (/^(?:htons|htonl|ntohs|ntohl)$/.test(expression.name)) return numberOf(expression.args[0]!);
      if (expression.name === 'INIT_CWND') return numberOf(expression.args[0]!) << NETWORK_SHIFT;
      break;
    default:
  }
  throw new ValueError(`expected a number, got ${expression.kind === 'ellipsis' ? '...' : `a ${expression.kind}`}`);
}

function namedNumber(name: string): number {
  const value = constantOf(name);
  if (value === null) throw new ValueError(`expected a known name, got ${name}`);
  return value;
}

export const isEllipsis = (expression: Expression | undefined): boolean =>
  expression === undefined || expression.kind === 'ellipsis';

/** The value of a field of a struct, undefined where the struct does not have it. */
export const fieldOf = (fields: readonly Field[], name: string): Expression | undefined =>
  fields.find((field) => field.name === name)?.value;

/** The fields of a struct, also of one in an array of its own. */
export function structOf(expression: Expression | undefined, what: string): readonly Field[] {
  if (expression?.kind === 'struct') return expression.fields;
  if (expression?.kind === 'list' && expression.items.length === 1) return structOf(expression.items[0], what);
  throw new ValueError(`expected ${what} in braces, got ${expression?.kind ?? 'nothing'}`);
}
