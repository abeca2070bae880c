/** What came of a script, and how it is told. @module */
import type { Position } from './ast.ts';

export type FailureKind = 'parse' | 'packet' | 'time' | 'call' | 'assert' | 'command' | 'internal';

export interface Failure {
  readonly kind: FailureKind;
  readonly line: number;
  readonly column: number;
  readonly message: string;
  /** The packet that was expected, in the script's words; null: the failure is about no packet. */
  readonly expected: string | null;
  /** The packet that came; null: none did. */
  readonly actual: string | null;
  /** What of it is different, a line each. */
  readonly differences: readonly string[];
}

export interface ScriptResult {
  readonly name: string;
  readonly passed: boolean;
  readonly failure: Failure | null;
  /** What happened, a line an event, with virtual times in seconds. */
  readonly trace: readonly string[];
  /** What the script asks for and nobody here has: commands, settings. */
  readonly notes: readonly string[];
  /** Virtual time the script took. */
  readonly virtualUs: number;
}

/** Ends a script. */
export class Fault extends Error {
  override readonly name = 'Fault';
  readonly kind: FailureKind;
  readonly packet: { readonly expected: string; readonly actual: string | null; readonly differences: string[] } | null;
  /** Where, if not at the event that runs. */
  readonly at: Position | null;

  constructor(kind: FailureKind, message: string, packet: Fault['packet'] = null, at: Position | null = null) {
    super(message);
    this.kind = kind;
    this.packet = packet;
    this.at = at;
  }
}

/** A failed script as text: where, what, the packets side by side, and what led there. */
export function formatFailure(result: ScriptResult): string {
  const { failure, name, trace } = result;
  if (failure === null) return `${name}: passed`;
  const lines = [`${name}:${failure.line}:${failure.column}: ${failure.message}`];
  if (failure.expected !== null) {
    lines.push(`  expected  ${failure.expected}`, `  actual    ${failure.actual ?? '(no packet)'}`);
  }
  for (const difference of failure.differences) lines.push(`  differs   ${difference}`);
  if (trace.length > 0) lines.push('  trace so far:', ...trace.map((line) => `    ${line}`));
  for (const note of result.notes) lines.push(`  note      ${note}`);
  return lines.join('\n');
}
