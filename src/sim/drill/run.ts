/**
 * Runs packet scripts: each event at its virtual time against a fresh stack, each packet of the stack against what the
 * script expects next. @module
 */
import type { TcpSettings } from '../../tcp/settings.ts';
import type { Position, Script, ScriptEvent } from './ast.ts';
import type { DrillOptions } from './options.ts';
import { parseScript } from './parse.ts';
import { Performance } from './performance.ts';
import type { ProfileName } from './profiles.ts';
import { type Failure, Fault, type ScriptResult } from './result.ts';
import { ScriptError } from './scanner.ts';
import type { Scene } from './scene.ts';

export interface ScriptRunOptions {
  /** What the script is called in messages. Default `script`. */
  readonly name?: string | undefined;
  /** Which system the script was written against. Default: what the script's own `--profile` says, else `ethertype`. */
  readonly profile?: ProfileName | undefined;
  /** Symbols, as `--define` gives them. */
  readonly defines?: Readonly<Record<string, string>> | undefined;
  /** Options as on the lines of a script, without dashes; the script's own come after. */
  readonly options?: Readonly<Record<string, string | null>> | undefined;
  /** Settings of TCP over those of the profile. */
  readonly settings?: Partial<TcpSettings> | undefined;
  /** The text of a file that a command names, such as `./defaults.sh`; null: there is none. Default: there are none. */
  readonly readFile?: ((path: string) => string | null) | undefined;
  /** What to play against. Default: a stack of its own, in virtual time. */
  readonly scene?: ((options: DrillOptions) => Scene) | undefined;
}

/**
 * Runs a packet script against a stack of its own, in virtual time.
 * @returns what came of it; a script that cannot be read, or that does not hold, is a result and not an exception
 * @example
 * const { passed, failure } = await runScript('0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3\n', { profile: 'linux' })
 */
export async function runScript(source: string, options: ScriptRunOptions = {}): Promise<ScriptResult> {
  const name = options.name ?? 'script';
  let performance: Performance;
  let script: Script;
  try {
    const isV4 = options.options?.ip_version !== 'ipv6';
    script = parseScript(source, { defines: new Map(Object.entries(options.defines ?? {})), isV4 });
    performance = new Performance(script, options);
  } catch (error) {
    const failure = failureOf(error, { line: 1, column: 1 });
    return { name, passed: false, failure, trace: [], notes: [], virtualUs: 0 };
  }
  let failure = await perform(performance, script);
  const { trace, notes, nowUs } = performance;
  const leakedBytes = performance.close();
  if (leakedBytes > 0) failure ??= failureOf(new Error(`${leakedBytes} bytes of memory did not come back`), END);
  return { name, passed: failure === null, failure, trace, notes: [...notes], virtualUs: nowUs };
}

const END: Position = { line: 1, column: 1 };

/** Plays the script to its end, or to the first failure; cleans up either way. */
async function perform(performance: Performance, script: Script): Promise<Failure | null> {
  let at: Position = { line: 1, column: 1 };
  let failure: Failure | null = null;
  try {
    for (const { command } of script.init) performance.command(command);
    for (const event of script.events) {
      at = event.at;
      await play(performance, event);
    }
    await performance.finish();
  } catch (error) {
    failure = failureOf(error, at);
  }
  try {
    for (const { command } of script.cleanup) performance.command(command);
  } catch (error) {
    failure ??= failureOf(error, at);
  }
  return failure;
}

async function play(performance: Performance, event: ScriptEvent): Promise<void> {
  const { action } = event;
  if (action.kind === 'packet' && action.direction === 'out') {
    await performance.expect(event, action.packet);
    return;
  }
  const atUs = await performance.goTo(event);
  if (action.kind === 'packet') await performance.inject(action.packet);
  else if (action.kind === 'call') await performance.call(event, action, atUs);
  else if (action.kind === 'code') performance.assert(action.code);
  else performance.command(action.command);
}

function failureOf(error: unknown, at: Position): Failure {
  if (error instanceof ScriptError) {
    return { kind: 'parse', ...error.at, message: error.message, expected: null, actual: null, differences: [] };
  }
  if (error instanceof Fault) {
    const { expected = null, actual = null, differences = [] } = error.packet ?? {};
    return { kind: error.kind, ...(error.at ?? at), message: error.message, expected, actual, differences };
  }
  const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
  return { kind: 'internal', ...at, message: text, expected: null, actual: null, differences: [] };
}
