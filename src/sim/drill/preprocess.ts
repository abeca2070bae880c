/**
 * What happens to the text of a script before it is read: `#ifdef`, `#ifndef`, `#else`, `#endif`, `#define` and `#undef`, and
 * symbols replaced by what `--define` and `#define` say. Lines keep their numbers, and columns can be asked for. @module
 */
import type { Position } from './ast.ts';
import { ScriptError } from './scanner.ts';

/** Symbols within symbols are replaced so many times at most: a definition may name itself. */
const DEPTH_MAX = 8;

export interface Preprocessed {
  readonly text: string;
  /** The column of the source for a place in {@link text}. */
  readonly columnOf: (at: Position) => number;
}

/** One replacement: from column `at` on, columns stand `shift` further right than in the source. */
interface Shift {
  readonly at: number;
  readonly shift: number;
}

interface Condition {
  readonly line: number;
  readonly outer: boolean;
  taken: boolean;
  hasElse: boolean;
}

/** Strings, comments, commands and code are left alone; what else is a word may be a symbol. */
const TOKEN = /"(?:[^"\\\n]|\\.)*"|\/\/.*|`[^`]*`?|\d\w*|[A-Za-z_]\w*|./g;

export function preprocess(source: string, defines: ReadonlyMap<string, string>): Preprocessed {
  const symbols = new Map(defines);
  const shifts = new Map<number, Shift[]>();
  const conditions: Condition[] = [];
  const isActive = (): boolean => conditions.every((c) => c.taken && c.outer);
  const lines = source.split('\n').map((line, index) => {
    const directive = /^\s*#\s*(ifdef|ifndef|else|endif|define|undef)\b\s*(\w+)?\s*(.*?)\s*$/.exec(line);
    if (directive !== null) {
      direct(directive, index + 1, conditions, symbols, isActive());
      return '';
    }
    if (!isActive()) return '';
    if (symbols.size === 0) return line;
    const moved: Shift[] = [];
    const replaced = substitute(line, symbols, moved);
    if (moved.length > 0) shifts.set(index + 1, moved);
    return replaced;
  });
  const open = conditions.at(-1);
  if (open !== undefined)
    throw new ScriptError({ line: open.line, column: 1 }, 'expected #endif, got the end of the script');
  const columnOf = ({ line, column }: Position): number => {
    const last = shifts.get(line)?.findLast((shift) => shift.at <= column);
    return last === undefined ? column : Math.max(1, column - last.shift);
  };
  return { text: lines.join('\n'), columnOf };
}

function direct(
  directive: RegExpExecArray,
  line: number,
  conditions: Condition[],
  symbols: Map<string, string>,
  active: boolean,
): void {
  const [, name, symbol = '', value = ''] = directive;
  const at = { line, column: directive[0].indexOf('#') + 1 };
  const top = conditions.at(-1);
  if (name === 'else' || name === 'endif') {
    if (top === undefined || (name === 'else' && top.hasElse)) {
      throw new ScriptError(at, `expected #ifdef before it, got #${name}`);
    }
    if (name === 'endif') conditions.pop();
    else {
      top.taken = !top.taken;
      top.hasElse = true;
    }
    return;
  }
  if (symbol === '') throw new ScriptError(at, `expected a symbol behind #${name}, got the end of the line`);
  if (name === 'ifdef' || name === 'ifndef') {
    conditions.push({ line, outer: active, taken: symbols.has(symbol) === (name === 'ifdef'), hasElse: false });
  } else if (active) {
    if (name === 'define') symbols.set(symbol, value);
    else symbols.delete(symbol);
  }
}

function substitute(line: string, symbols: ReadonlyMap<string, string>, moved: Shift[]): string {
  let out = '';
  for (const [token] of line.matchAll(TOKEN)) {
    let value = token;
    // A symbol that was only given, without a value, is for #ifdef.
    for (let depth = 0; depth < DEPTH_MAX && (symbols.get(value) ?? '') !== ''; depth++) value = symbols.get(value)!;
    if (value !== token) {
      const shift = (moved.at(-1)?.shift ?? 0) + value.length - token.length;
      moved.push({ at: out.length + value.length + 1, shift });
    }
    out += value;
  }
  return out;
}
