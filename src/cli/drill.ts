/** `ethertype drill`: packet scripts in packetdrill's language, each against a stack of its own in virtual time. @module */
import { readDrillOptions } from '../sim/drill/options.ts';
import {
  formatFailure,
  PROFILE_NAMES,
  type ProfileName,
  SCRIPT_OPTIONS,
  ScriptError,
  type ScriptResult,
} from '../sim/index.ts';
import { readInteger, readOptions } from './args.ts';
import { type Command, UsageError } from './command.ts';
import { findScripts } from './drill/files.ts';
import { type Job, runJobs } from './drill/jobs.ts';

const FILES_MAX = 100_000;
const JOBS_MAX = 64;

const USAGE = `usage: ethertype drill [OPTION]... FILE...

Runs packet scripts in packetdrill's language against this stack, in virtual
time: ten minutes of script take milliseconds. FILE is a script, a folder whose
.pkt files are run, or a pattern such as 'test/**/*.pkt'. Needs no privilege.

  --profile NAME     whose timers, buffers and option order scripts expect:
                     ${PROFILE_NAMES.join(', ')}; default: what
                     a script says by itself (--profile=freebsd), else ethertype
  --define SYM=VAL   replaces a word in scripts, or is for #ifdef; repeatable
  --verbose          prints the trace of scripts that pass too
  --json             prints one JSON document, with a record a script
  --jobs N           runs in N threads, 1 to ${JOBS_MAX}; default 1

Options of scripts may be given here too, as a default for all of them:
${wrap(SCRIPT_OPTIONS.map((name) => `--${name}`))}

Exit code 1 if a script failed or could not be read.`;

function wrap(words: readonly string[]): string {
  const lines = [''];
  for (const word of words) {
    if (lines.at(-1)!.length + word.length > 76) lines.push('');
    lines[lines.length - 1] += ` ${word}`;
  }
  return lines.map((line) => ` ${line}`).join('\n');
}

function readProfile(text: string | undefined): ProfileName | undefined {
  const name = PROFILE_NAMES.find((known) => known === text);
  if (name !== undefined || text === undefined) return name;
  throw new UsageError(`--profile: expected ${PROFILE_NAMES.join(', ')}, got ${JSON.stringify(text)}`);
}

function readDefines(texts: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    texts.map((text) => {
      const match = /^([A-Za-z_]\w*)(?:=(.*))?$/s.exec(text);
      if (match === null) throw new UsageError(`--define: expected SYMBOL=VALUE, got ${JSON.stringify(text)}`);
      return [match[1]!, match[2] ?? ''];
    }),
  );
}

/** What is wrong here would be wrong in every script. */
function checkOptions(options: readonly (readonly [name: string, value: string])[]): void {
  try {
    readDrillOptions(options.map(([name, value]) => ({ name, value, at: { line: 1, column: 1 } })));
  } catch (error) {
    throw error instanceof ScriptError ? new UsageError(error.message) : error;
  }
}

function readArguments(args: string[]) {
  const scriptOptions = Object.fromEntries(SCRIPT_OPTIONS.map((name) => [name, { type: 'string' as const }]));
  // An option without a value, such as --strict_segments, is on.
  const given = args.map((arg) => (arg === '--strict_segments' || arg === '--tcp_ts_ecr_scaled' ? `${arg}=1` : arg));
  const { values, positionals } = readOptions(
    given,
    {
      ...scriptOptions,
      profile: { type: 'string' },
      define: { type: 'string', short: 'D', multiple: true },
      verbose: { type: 'boolean' },
      json: { type: 'boolean' },
      jobs: { type: 'string' },
    },
    FILES_MAX,
  );
  if (positionals.length === 0) throw new UsageError('a script is needed: a file, a folder or a pattern');
  const texts = values as Readonly<Record<string, string | undefined>>;
  const options = SCRIPT_OPTIONS.flatMap((name) => (texts[name] === undefined ? [] : [[name, texts[name]] as const]));
  checkOptions(options);
  const job: Job = {
    profile: readProfile(values.profile as string | undefined),
    defines: readDefines((values.define ?? []) as string[]),
    options: Object.fromEntries(options),
  };
  return {
    job,
    files: positionals,
    verbose: values.verbose === true,
    json: values.json === true,
    jobs: readInteger('jobs', values.jobs as string | undefined, 1, JOBS_MAX) ?? 1,
  };
}

/** What `--verbose` says of a script that passed. */
const formatPassed = ({ name, trace, notes }: ScriptResult): string =>
  [`${name}: passed`, ...trace.map((line) => `    ${line}`), ...notes.map((note) => `  note      ${note}`)].join('\n');

async function run(args: string[]): Promise<number> {
  const { job, files, verbose, json, jobs } = readArguments(args);
  const paths = findScripts(files);
  const results = await runJobs(paths, job, jobs, (result) => {
    if (json) return;
    if (!result.passed) console.log(`${formatFailure(result)}\n`);
    else if (verbose) console.log(`${formatPassed(result)}\n`);
  });
  const failed = results.filter(({ passed }) => !passed).length;
  const passed = results.length - failed;
  if (json) {
    console.log(JSON.stringify({ profile: job.profile ?? null, passed, failed, scripts: results }, null, 2));
  } else {
    console.log(`${passed} passed, ${failed} failed`);
  }
  return failed === 0 ? 0 : 1;
}

export const command: Command = {
  name: 'drill',
  summary: "packet scripts in packetdrill's language, in virtual time",
  usage: USAGE,
  run,
};
