/**
 * Commands in backquotes. There is no shell: those that set what the stack has are read and applied, those that ask for
 * the states of connections are answered, and all others are ignored with a note. @module
 */
import type { SettingsByName } from './profiles.ts';
import { settingsOf } from './sysctls.ts';

/** What commands work on. */
export interface ShellHost {
  apply(settings: SettingsByName): void;
  note(text: string): void;
  /** States of the connections of the stack, FreeBSD's names: `SYN_RCVD`, `TIME_WAIT`. */
  states(): string[];
  /** States of the sockets that the script has open. */
  socketStates(): string[];
  dropTimeWait(): void;
  /** The text of a script file beside the packet script, or null. */
  readFile(path: string): string | null;
}

/** Files that call files: a limit that only a mistake reaches. */
const DEPTH_MAX = 4;

/** Runs a command. @returns what failed, or null */
export function runCommand(command: string, host: ShellHost, depth = 0): string | null {
  const lines = command
    .replace(/\\\n/g, ' ')
    .split(/\n|;|&&|\|\|/)
    .map((line) => line.replace(/(^|\s)#.*/, '').trim())
    .filter((line) => line !== '');
  for (const line of lines) {
    const failure = runLine(line, host, depth);
    if (failure !== null) return failure;
  }
  return null;
}

function runLine(line: string, host: ShellHost, depth: number): string | null {
  const words = wordsOf(line);
  const program = words[0]!.split('/').at(-1)!;
  if (program === 'sysctl') runSysctl(words.slice(1), host);
  else if (program === 'sockstat') return runSockstat(line, host);
  else if (program === 'tcpdrop') host.dropTimeWait();
  else if (program.endsWith('.sh')) return runFile(words[0]!, line, host, depth);
  else host.note(`ignored: ${line}`);
  return null;
}

/** Words of a line, quotes taken off. */
const wordsOf = (line: string): string[] =>
  (line.match(/(?:"[^"]*"|'[^']*'|[^\s"'])+/g) ?? [line]).map((text) => text.replace(/["']/g, ''));

function runFile(path: string, line: string, host: ShellHost, depth: number): string | null {
  const text = depth < DEPTH_MAX ? host.readFile(path) : null;
  if (text !== null) return runCommand(text, host, depth + 1);
  host.note(`ignored, for there is no such file: ${line}`);
  return null;
}

/** `sysctl -w NAME=VALUE...`, and `NAME = VALUE` in quotes. */
function runSysctl(words: readonly string[], host: ShellHost): void {
  for (const assignment of words.filter((text) => !text.startsWith('-'))) {
    const [variable = '', ...rest] = assignment.split('=');
    if (rest.length === 0) continue;
    const value = rest.join('=').trim();
    const settings = settingsOf(variable.trim(), value);
    if (settings === null) host.note(`ignored: sysctl ${assignment}`);
    else host.apply(settings);
  }
}

/** `sockstat ... | grep -c STATE | grep COUNT`: how many sockets are in a state; with `grep NAME` only those of the script. */
function runSockstat(line: string, host: ShellHost): string | null {
  const match = /\|\s*grep\s+-c\s+(\w+)\s*\|\s*grep\s+(\d+)\s*$/.exec(line);
  if (match === null) {
    host.note(`ignored: ${line}`);
    return null;
  }
  const [, state = '', count = ''] = match;
  const isOwn = /\|\s*grep\s+\w+\s*\|\s*grep\s+-c/.test(line);
  const states = isOwn ? host.socketStates() : host.states();
  const found = states.filter((name) => name === state).length;
  if (String(found).includes(count)) return null;
  return `expected ${count} in ${state}, got ${found} (${states.join(', ') || 'none at all'})`;
}
