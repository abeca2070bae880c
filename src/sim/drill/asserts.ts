/**
 * The code between `%{` and `}%`: `assert` over the fields of TCP_INFO, in as much of Python as such lines use: comparisons
 * in chains, `and`, `or`, `not`, arithmetic, bits, assignments of names. `print` is read and ignored. @module
 */

/** What is known by name: fields, constants, and what the snippets before have assigned. */
export type Names = Map<string, number>;

/** A snippet that says something false, or that cannot be read. */
export class AssertError extends Error {
  override readonly name = 'AssertError';
}

type Value = number | string;

const TOKEN =
  /\s*(?:(0[xX][0-9a-fA-F]+|\d+(?:\.\d*)?(?:[eE][+-]?\d+)?|\.\d+)|([A-Za-z_]\w*)|("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')|(\*\*|\/\/|==|!=|<=|>=|<<|>>|[-+*/%<>()|&^~,=.[\]:]))/y;

interface Token {
  readonly kind: 'number' | 'name' | 'string' | 'operator' | 'end';
  readonly text: string;
}

function tokens(line: string): Token[] {
  const found: Token[] = [];
  TOKEN.lastIndex = 0;
  const text = line.trimEnd();
  while (TOKEN.lastIndex < text.length) {
    const at = TOKEN.lastIndex;
    const match = TOKEN.exec(text);
    if (match === null) throw new AssertError(`expected Python, got '${text.slice(at).trim()}'`);
    const kinds = ['number', 'name', 'string', 'operator'] as const;
    const index = [1, 2, 3, 4].find((i) => match[i] !== undefined)!;
    found.push({ kind: kinds[index - 1]!, text: match[index]! });
  }
  return [...found, { kind: 'end', text: 'the end of the line' }];
}

/** Statements of a snippet: lines, joined where a bracket is open or a backslash ends one, without comments. */
function statements(code: string): string[] {
  const out: string[] = [];
  let open = '';
  for (const raw of code.replace(/\\\n/g, ' ').split('\n')) {
    const line = open + raw.replace(/("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')|#.*/g, '$1');
    const depth = (line.match(/[([]/g)?.length ?? 0) - (line.match(/[)\]]/g)?.length ?? 0);
    open = depth > 0 ? `${line} ` : '';
    if (depth > 0) continue;
    out.push(...line.split(';').map((part) => part.trim()));
  }
  if (open !== '') out.push(open.trim());
  return out.filter((part) => part !== '');
}

/** Runs a snippet. @throws AssertError with the assertion that failed and the values in it */
export function runSnippet(code: string, names: Names): void {
  for (const statement of statements(code)) runStatement(statement, names);
}

function runStatement(statement: string, names: Names): void {
  if (/^print\b/.test(statement) || /^(?:import|from|pass)\b/.test(statement)) return;
  const assigned = /^([A-Za-z_]\w*)\s*=(?!=)/.exec(statement);
  const isAssert = /^assert\b/.test(statement);
  if (assigned === null && !isAssert)
    throw new AssertError(`expected assert, print or NAME = VALUE, got '${statement}'`);
  const source = statement.slice(isAssert ? 'assert'.length : assigned![0].length);
  const used = new Map<string, number>();
  const parser = new Evaluator(tokens(source), names, used);
  const value = parser.expression();
  const message = isAssert && parser.takes(',') ? parser.expression() : null;
  parser.end();
  if (assigned !== null) names.set(assigned[1]!, Number(value));
  if (!isAssert || isTrue(value)) return;
  const values = [...used].map(([name, number]) => `${name} = ${number}`).join(', ');
  const said = message === null ? '' : `: ${message}`;
  throw new AssertError(`assertion failed: ${source.trim()}${said}${values === '' ? '' : ` (${values})`}`);
}

const isTrue = (value: Value): boolean => value !== 0 && value !== '';
const bool = (is: boolean): number => (is ? 1 : 0);

const COMPARE: Readonly<Record<string, (a: Value, b: Value) => boolean>> = {
  '==': (a, b) => a === b,
  '!=': (a, b) => a !== b,
  '<': (a, b) => a < b,
  '<=': (a, b) => a <= b,
  '>': (a, b) => a > b,
  '>=': (a, b) => a >= b,
};

/** Python's remainder has the sign of the divisor. */
const modulo = (a: number, b: number): number => a - b * Math.floor(a / b);

/** Binary operators from the loosest to the tightest. Bits are of numbers above 32 bits too, hence BigInt. */
const LEVELS: readonly Readonly<Record<string, (a: number, b: number) => number>>[] = [
  { '|': (a, b) => Number(BigInt(a) | BigInt(b)) },
  { '^': (a, b) => Number(BigInt(a) ^ BigInt(b)) },
  { '&': (a, b) => Number(BigInt(a) & BigInt(b)) },
  { '<<': (a, b) => a * 2 ** b, '>>': (a, b) => Math.floor(a / 2 ** b) },
  { '+': (a, b) => a + b, '-': (a, b) => a - b },
  { '*': (a, b) => a * b, '/': (a, b) => a / b, '//': (a, b) => Math.floor(a / b), '%': modulo },
];

const FUNCTIONS: Readonly<Record<string, (...args: number[]) => number>> = {
  abs: Math.abs,
  min: Math.min,
  max: Math.max,
  int: Math.trunc,
  float: (x) => x,
  round: Math.round,
};

/** Reads and evaluates one expression. Both sides of `and` and `or` are read; values have no side effects. */
class Evaluator {
  readonly #tokens: readonly Token[];
  readonly #names: Names;
  readonly #used: Map<string, number>;
  #at = 0;

  constructor(list: readonly Token[], names: Names, used: Map<string, number>) {
    this.#tokens = list;
    this.#names = names;
    this.#used = used;
  }

  get #token(): Token {
    return this.#tokens[this.#at]!;
  }

  takes(text: string): boolean {
    const token = this.#token;
    if (token.text !== text || token.kind === 'string' || token.kind === 'end') return false;
    this.#at++;
    return true;
  }

  end(): void {
    if (this.#token.kind !== 'end') throw new AssertError(`expected an operator, got '${this.#token.text}'`);
  }

  expression(): Value {
    let value = this.#and();
    while (this.takes('or')) {
      const right = this.#and();
      value = isTrue(value) ? value : right;
    }
    return value;
  }

  #and(): Value {
    let value = this.#not();
    while (this.takes('and')) {
      const right = this.#not();
      value = isTrue(value) ? right : value;
    }
    return value;
  }

  #not(): Value {
    return this.takes('not') ? bool(!isTrue(this.#not())) : this.#comparison();
  }

  /** `a < b < c` means both. */
  #comparison(): Value {
    let left = this.#binary(0);
    if (!Object.hasOwn(COMPARE, this.#token.text)) return left;
    let holds = true;
    while (Object.hasOwn(COMPARE, this.#token.text)) {
      const operator = COMPARE[this.#token.text]!;
      this.#at++;
      const right = this.#binary(0);
      holds &&= operator(left, right);
      left = right;
    }
    return bool(holds);
  }

  #binary(level: number): Value {
    const operators = LEVELS[level];
    if (operators === undefined) return this.#unary();
    let left = this.#binary(level + 1);
    while (this.#token.kind === 'operator' && Object.hasOwn(operators, this.#token.text)) {
      const operator = this.#token.text;
      this.#at++;
      const right = this.#binary(level + 1);
      // A message is often made by %: what it shows does not matter.
      left = typeof left === 'string' ? left : operators[operator]!(left, numberOf(right));
    }
    return left;
  }

  #unary(): Value {
    if (this.takes('-')) return -numberOf(this.#unary());
    if (this.takes('+')) return numberOf(this.#unary());
    if (this.takes('~')) return -numberOf(this.#unary()) - 1;
    const base = this.#primary();
    return this.takes('**') ? numberOf(base) ** numberOf(this.#unary()) : base;
  }

  #primary(): Value {
    const { kind, text } = this.#token;
    if (this.takes('(')) return this.#tuple();
    this.#at++;
    if (kind === 'number') return Number(text);
    if (kind === 'string') return text.slice(1, -1);
    if (kind !== 'name') throw new AssertError(`expected a value, got '${text}'`);
    if (text === 'True' || text === 'False') return bool(text === 'True');
    if (Object.hasOwn(FUNCTIONS, text) && this.takes('(')) return this.#call(text);
    const value = this.#names.get(text);
    if (value === undefined) throw new AssertError(`expected a known name, got '${text}'`);
    if (!/^[A-Z]/.test(text)) this.#used.set(text, value);
    return value;
  }

  /** What stands in brackets; of several values the first, for they are only ever the values of a message. */
  #tuple(): Value {
    const value = this.expression();
    while (this.takes(',')) if (this.#token.text !== ')') this.expression();
    if (!this.takes(')')) throw new AssertError(`expected ')', got '${this.#token.text}'`);
    return value;
  }

  #call(name: string): Value {
    const args: number[] = [];
    do args.push(numberOf(this.expression()));
    while (this.takes(','));
    if (!this.takes(')')) throw new AssertError(`expected ')', got '${this.#token.text}'`);
    return FUNCTIONS[name]!(...args);
  }
}

function numberOf(value: Value): number {
  if (typeof value === 'number') return value;
  throw new AssertError(`expected a number, got the string '${value}'`);
}
