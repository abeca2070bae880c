/**
 * A cursor over the text of a script: skips blanks and comments in the three styles (`//`, C's, `#`), matches patterns, and
 * reports what was expected where. @module
 */
import type { Position } from './ast.ts';

/** A script that cannot be read: `line:column: expected ..., got ...`. */
export class ScriptError extends Error {
  override readonly name = 'ScriptError';
  readonly at: Position;

  constructor(at: Position, message: string) {
    super(message);
    this.at = at;
  }
}

/** Blanks and comments. A `#` that begins a comment cannot be mistaken: no other token has one. */
const BLANK = /(?:\s+|\/\/[^\n]*|\/\*[^]*?\*\/|#[^\n]*)+/y;

/** How much of the text an error message shows. */
const SHOWN_CHARACTERS = 24;

export class Scanner {
  readonly text: string;
  #offset = 0;
  readonly #lineStarts: number[] = [0];
  readonly #columnOf: (at: Position) => number;

  /** @param columnOf - the column in the source, where substitutions moved it */
  constructor(text: string, columnOf: (at: Position) => number = ({ column }) => column) {
    this.text = text;
    this.#columnOf = columnOf;
    for (let i = text.indexOf('\n'); i >= 0; i = text.indexOf('\n', i + 1)) this.#lineStarts.push(i + 1);
    this.skip();
  }

  get offset(): number {
    return this.#offset;
  }

  /** Goes back to an offset this scanner was at. */
  rewind(offset: number): void {
    this.#offset = offset;
  }

  get isAtEnd(): boolean {
    return this.#offset >= this.text.length;
  }

  position(offset = this.#offset): Position {
    let low = 0;
    let high = this.#lineStarts.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.#lineStarts[middle]! <= offset) low = middle;
      else high = middle - 1;
    }
    const at = { line: low + 1, column: offset - this.#lineStarts[low]! + 1 };
    return { line: at.line, column: this.#columnOf(at) };
  }

  skip(): void {
    BLANK.lastIndex = this.#offset;
    const match = BLANK.exec(this.text);
    if (match !== null) this.#offset += match[0].length;
    if (this.text.startsWith('/*', this.#offset)) throw this.error('the end of the comment, */');
  }

  /** Whether `pattern` (sticky) matches here; nothing is taken. */
  sees(pattern: RegExp): boolean {
    pattern.lastIndex = this.#offset;
    return pattern.test(this.text);
  }

  /** Takes what `pattern` (sticky) matches here and the blanks behind it, or gives null. */
  take(pattern: RegExp): RegExpExecArray | null {
    pattern.lastIndex = this.#offset;
    const match = pattern.exec(this.text);
    if (match === null) return null;
    this.#offset += match[0].length;
    this.skip();
    return match;
  }

  /** Takes `text` if it stands here. */
  takes(text: string): boolean {
    if (!this.text.startsWith(text, this.#offset)) return false;
    this.#offset += text.length;
    this.skip();
    return true;
  }

  /** Takes the word `word` if it stands here whole. */
  takesWord(word: string): boolean {
    const after = this.text[this.#offset + word.length];
    if (!this.text.startsWith(word, this.#offset) || (after !== undefined && /\w/.test(after))) return false;
    this.#offset += word.length;
    this.skip();
    return true;
  }

  expect(text: string, what = `'${text}'`): void {
    if (!this.takes(text)) throw this.error(what);
  }

  /** Takes what `pattern` matches. @throws ScriptError saying that `what` was expected */
  need(pattern: RegExp, what: string): RegExpExecArray {
    const match = this.take(pattern);
    if (match === null) throw this.error(what);
    return match;
  }

  /** A whole number, decimal or hexadecimal. */
  needInteger(what: string, max = 0xffff_ffff): number {
    const start = this.#offset;
    const match = this.need(/0[xX][0-9a-fA-F]+|\d+/y, what);
    const value = Number(match[0]);
    if (value <= max) return value;
    throw new ScriptError(this.position(start), `expected ${what} up to ${max}, got ${match[0]}`);
  }

  /** What was expected here, and what stands here instead. */
  error(expected: string): ScriptError {
    return new ScriptError(this.position(), `expected ${expected}, got ${this.#shown()}`);
  }

  #shown(): string {
    if (this.isAtEnd) return 'the end of the script';
    const rest = this.text.slice(this.#offset, this.#offset + SHOWN_CHARACTERS);
    const token = /^(?:[\w.+-]+|\S)/.exec(rest)?.[0] ?? rest;
    return `'${token}'`;
  }
}
