/** Reads a packet script whole: options, events, calls. What cannot be read is one error with its line and column. @module */
import type {
  Action,
  CallAction,
  CallResult,
  CommandAction,
  EventTime,
  Expression,
  Field,
  OptionLine,
  Script,
  ScriptEvent,
} from './ast.ts';
import { parsePacket } from './parse-packet.ts';
import { preprocess } from './preprocess.ts';
import { Scanner, ScriptError } from './scanner.ts';

/** Events a script may have: a limit that only a mistake reaches. */
const EVENTS_MAX = 100_000;
/** How deep structs and arrays may stand in each other. */
const NESTING_MAX = 32;
const US_PER_S = 1e6;

export interface ParseOptions {
  /** Symbols, as `--define` gives them. */
  readonly defines?: ReadonlyMap<string, string> | undefined;
  /** Options that count as if they stood in front of the script's own. */
  readonly isV4?: boolean | undefined;
}

/**
 * Reads a script.
 * @throws ScriptError with the position of what cannot be read
 * @example parseScript('0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3\n')
 */
export function parseScript(source: string, options: ParseOptions = {}): Script {
  const lines = source.split('\n');
  const head = readOptions(source);
  const defines = new Map(options.defines ?? []);
  for (const { name, value } of head.options) {
    if (name !== 'define') continue;
    const [symbol = '', ...rest] = (value ?? '').split('=');
    if (!defines.has(symbol)) defines.set(symbol, rest.join('='));
  }
  const { text, columnOf } = preprocess(head.rest, defines);
  const version = head.options.findLast(({ name }) => name === 'ip_version')?.value;
  const isV4 = version === undefined || version === null ? (options.isV4 ?? true) : version !== 'ipv6';
  const s = new Scanner(text, columnOf);
  const init = parseCommands(s);
  const events: ScriptEvent[] = [];
  while (s.sees(/[\d.+*]/y)) {
    if (events.length === EVENTS_MAX) throw s.error(`at most ${EVENTS_MAX} events`);
    events.push(parseEvent(s, isV4));
  }
  const cleanup = parseCommands(s);
  if (!s.isAtEnd) throw s.error('a time like 0.1, +.1 or *, or a command in backquotes');
  return { options: head.options, init, events, cleanup, lines };
}

/**
 * Takes the option lines off, leaving blanks in their place. They come first, so that what they define holds for all that
 * follows, and as they are no part of the language's tokens.
 */
function readOptions(source: string): { options: OptionLine[]; rest: string } {
  const options: OptionLine[] = [];
  const s = new Scanner(source);
  let end = 0;
  for (;;) {
    const at = s.position();
    const match = s.take(/--([A-Za-z_]\w*)(?:[ \t]*=[ \t]*(?:"([^"\n]*)"|(\S+))?)?/y);
    if (match === null) break;
    options.push({ at, name: match[1]!, value: match[2] ?? match[3] ?? null });
    end = s.offset;
  }
  if (s.sees(/--/y)) throw s.error('an option like --mtu=1500');
  return { options, rest: source.slice(0, end).replace(/[^\n]/g, ' ') + source.slice(end) };
}

function parseCommands(s: Scanner): CommandAction[] {
  const commands: CommandAction[] = [];
  while (s.sees(/`/y)) commands.push(parseCommand(s));
  return commands;
}

function parseCommand(s: Scanner): CommandAction {
  const match = s.take(/`([^`]*)`/y);
  if (match === null) throw s.error('the backquote that ends the command');
  return { kind: 'command', command: match[1]!.trim() };
}

function parseEvent(s: Scanner, isV4: boolean): ScriptEvent {
  const at = s.position();
  const { time, endUs } = parseTime(s);
  const where = s.position();
  const start = s.offset;
  const action = parseAction(s, isV4, endUs);
  const text = s.text
    .slice(start, s.offset)
    .replace(/\s*(?:\/\/|#)[^\n]*/g, '')
    .replace(/\s+/g, ' ')
    .trim();
  const isOutbound = action.kind === 'packet' && action.direction === 'out';
  if (!isOutbound && (time.kind === 'any' || time.kind === 'range' || time.kind === 'relativeRange')) {
    throw new ScriptError(
      where,
      `expected a packet of the stack, '>', behind a time that is not fixed, got ${action.kind}`,
    );
  }
  if (endUs !== null && action.kind !== 'call')
    throw new ScriptError(where, 'expected a system call behind a time with an end');
  return { at, text, time, action };
}

const SECONDS = /\d+(?:\.(?!\.)\d*)?|\.\d+/y;

function parseSeconds(s: Scanner): number {
  return Math.round(Number(s.need(SECONDS, 'a time in seconds')[0]) * US_PER_S);
}

/** `0.1`, `+.1`, `*`, `0.1~0.2`, `+0~+.1`, and for calls `0...0.3`. */
function parseTime(s: Scanner): { time: EventTime; endUs: number | null } {
  if (s.takes('*')) return { time: { kind: 'any', us: 0, endUs: 0 }, endUs: null };
  const isRelative = s.takes('+');
  const us = parseSeconds(s);
  if (s.takes('~')) {
    const isEndRelative = s.takes('+');
    if (isEndRelative !== isRelative) throw s.error(isRelative ? "a '+' before both times" : "no '+' behind '~'");
    const endUs = parseSeconds(s);
    return { time: { kind: isRelative ? 'relativeRange' : 'range', us, endUs }, endUs: null };
  }
  const time: EventTime = { kind: isRelative ? 'relative' : 'absolute', us, endUs: us };
  if (!s.takes('...')) return { time, endUs: null };
  s.takes('+');
  return { time, endUs: parseSeconds(s) };
}

function parseAction(s: Scanner, isV4: boolean, endUs: number | null): Action {
  if (s.takes('<')) return { kind: 'packet', direction: 'in', packet: parsePacket(s, isV4) };
  if (s.takes('>')) return { kind: 'packet', direction: 'out', packet: parsePacket(s, isV4) };
  if (s.sees(/`/y)) return parseCommand(s);
  const code = s.take(/%\{([\s\S]*?)\}%/y);
  if (code !== null) return { kind: 'code', code: code[1]! };
  if (s.sees(/%\{/y)) throw s.error("the end of the code, '}%'");
  const name = s.take(/[a-z_][a-z0-9_]*(?=\s*\()/y);
  if (name !== null) return parseCall(s, name[0], endUs);
  throw s.error("'<', '>', a system call, a command in backquotes or code in %{ }%");
}

function parseCall(s: Scanner, name: string, endUs: number | null): CallAction {
  s.expect('(');
  const args = parseExpressions(s, ')', 0);
  s.expect('=', "'=' and the result of the call");
  return { kind: 'call', endUs, name, args, result: parseResult(s) };
}

/** `0`, `-1 EAGAIN (try again)`, `0x2 (flags O_RDWR)`, `?`. */
function parseResult(s: Scanner): CallResult {
  const value = s.takes('?') || s.takes('...') ? null : parseExpression(s, 0);
  const errno = s.take(/E[A-Z0-9]+\b/y)?.[0] ?? null;
  s.take(/\([^)\n]*\)/y);
  return { value, errno };
}

function parseExpressions(s: Scanner, close: string, depth: number): Expression[] {
  const items: Expression[] = [];
  if (s.takes(close)) return items;
  do items.push(parseExpression(s, depth));
  while (s.takes(','));
  s.expect(close, `',' or '${close}'`);
  return items;
}

function parseExpression(s: Scanner, depth: number): Expression {
  const parts = [parseTerm(s, depth)];
  while (s.takes('|')) parts.push(parseTerm(s, depth));
  return parts.length === 1 ? parts[0]! : { kind: 'or', parts };
}

function parseTerm(s: Scanner, depth: number): Expression {
  if (depth > NESTING_MAX) throw s.error(`at most ${NESTING_MAX} brackets in each other`);
  if (s.takes('...')) return { kind: 'ellipsis' };
  if (s.takes('[')) return { kind: 'list', items: parseExpressions(s, ']', depth + 1) };
  if (s.takes('{')) return { kind: 'struct', fields: parseFields(s, depth + 1) };
  const string = s.take(/"((?:[^"\\\n]|\\.)*)"/y);
  if (string !== null) return { kind: 'string', value: unescapeString(string[1]!) };
  const number = s.take(/-?(?:0[xX][0-9a-fA-F]+|\d+)/y);
  if (number !== null) return { kind: 'number', value: numberOf(number[0]) };
  const at = s.position();
  const name = s.take(/[A-Za-z_]\w*/y);
  if (name === null) throw s.error('an argument: a number, a name, a string, [...] or {...}');
  if (!s.takes('(')) return { kind: 'name', name: name[0], at };
  return { kind: 'call', name: name[0], args: parseExpressions(s, ')', depth + 1) };
}

const numberOf = (text: string): number => (text.startsWith('-') ? -Number(text.slice(1)) : Number(text));

const ESCAPES: Readonly<Record<string, string>> = { n: '\n', t: '\t', r: '\r', 0: '\0' };

const unescapeString = (text: string): string =>
  text.replace(/\\(?:x([0-9a-fA-F]{2})|(.))/g, (_, hex: string | undefined, other: string) =>
    hex === undefined ? (ESCAPES[other] ?? other) : String.fromCharCode(Number.parseInt(hex, 16)),
  );

/** `{onoff=1, linger=0}`, `{msg_name(...)=..., msg_iov(1)=[{..., 40}], msg_flags=0}`, `{..., 40}`. */
function parseFields(s: Scanner, depth: number): Field[] {
  const fields: Field[] = [];
  if (s.takes('}')) return fields;
  do {
    const name = s.take(/([A-Za-z_]\w*)(?:\([^)\n]*\))?(?=\s*=)/y);
    if (name !== null) s.expect('=');
    fields.push({ name: name?.[1] ?? null, value: parseExpression(s, depth) });
  } while (s.takes(','));
  s.expect('}', "',' or '}'");
  return fields;
}
