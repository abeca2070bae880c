#!/usr/bin/env node
/**
 * The command line tool: finds the command, and turns what it throws into one line on stderr and an exit code: 0 for
 * success, 1 for a failed operation, 2 for wrong usage. @module
 */
import { isatty } from 'node:tty';
import { nearest } from './args.ts';
import { type Command, UsageError } from './command.ts';
import { isNohup } from './until-end.ts';
import { version } from './version.ts';

/** Loaded when called: a command pays for nothing that another needs. */
const COMMANDS: Readonly<Record<string, () => Promise<{ readonly command: Command }>>> = {
  lab: () => import('./lab.ts'),
  server: () => import('./server.ts'),
  dump: () => import('./dump.ts'),
  bench: () => import('./bench.ts'),
  drill: () => import('./drill.ts'),
  ping: () => import('./ping.ts'),
  trace: () => import('./trace.ts'),
  get: () => import('./get.ts'),
  dhcp: () => import('./dhcp.ts'),
  multicast: () => import('./multicast.ts'),
  resolve: () => import('./resolve.ts'),
  run: () => import('./run.ts'),
  proxy: () => import('./proxy.ts'),
};

const names = Object.keys(COMMANDS);
const isHelp = (arg: string | undefined): boolean => arg === '--help' || arg === '-h';

async function load(name: string): Promise<Command> {
  const loader = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
  if (loader !== undefined) return (await loader()).command;
  const near = nearest(name, names);
  const advice = near === null ? `expected ${names.join(', ')}` : `did you mean ${near}?`;
  throw new UsageError(`unknown ${name.startsWith('-') ? 'option' : 'command'} ${name}: ${advice}`);
}

async function help(): Promise<string> {
  const commands = await Promise.all(names.map(load));
  return [
    'ethertype: a TCP/IP stack in TypeScript that a program can own',
    '',
    'usage: ethertype COMMAND [OPTION]...',
    '',
    ...commands.map(({ name, summary }) => `  ${name.padEnd(10)}${summary}`),
    '',
    '  ethertype COMMAND --help    what a command takes',
    '  ethertype --version         the version',
    '',
    'Exit code 0: success; 1: an operation failed; 2: wrong usage.',
  ].join('\n');
}

async function run(args: string[]): Promise<number> {
  const [name, ...rest] = args;
  if (name === undefined) throw new UsageError(`a command is needed: ${names.join(', ')}`);
  if (isHelp(name) || (name === 'help' && rest.length === 0)) {
    console.log(await help());
  } else if (name === '--version' || name === '-v') {
    console.log(version());
  } else if (name === 'help') {
    console.log((await load(rest[0]!)).usage);
  } else {
    const command = await load(name);
    const end = rest.indexOf('--');
    if (!rest.slice(0, end < 0 ? rest.length : end).some(isHelp)) return command.run(rest);
    console.log(command.usage);
  }
  return 0;
}

/** The message of anything thrown, as one line. */
const line = (error: unknown): string =>
  (error instanceof Error ? error.message || error.name : String(error)).replace(/\s*\n\s*/g, ' ');

// Who reads our output may stop early: `ethertype lab | head`.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error;
  process.exit(0);
});

const STREAMS = [0, 1, 2];
const terminals = STREAMS.filter((fd) => isatty(fd));

/** At its end Node sets its terminals back, and aborts where one has hung up meanwhile: then it ends as others do. */
function endWithTerminal(): void {
  if (terminals.every((fd) => isatty(fd))) return;
  process.removeAllListeners('SIGHUP');
  process.kill(process.pid, 'SIGHUP');
}

// Node has set back what nohup(1) ignored.
if (isNohup()) process.on('SIGHUP', () => {});

const args = process.argv.slice(2);
try {
  process.exitCode = await run(args);
  endWithTerminal();
} catch (error) {
  const isUsage = error instanceof UsageError;
  const known = args[0] !== undefined && Object.hasOwn(COMMANDS, args[0]) ? ` ${args[0]}` : '';
  process.stderr.write(`ethertype${known}: ${line(error)}${isUsage ? ` (see ethertype${known} --help)` : ''}\n`);
  // A failure may leave a device or a timer behind that would keep the process.
  process.exit(isUsage ? 2 : 1);
}
