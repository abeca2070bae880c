/**
 * Plays packet scripts against Linux's own TCP, in real time, and against this stack under its profile of Linux, and tells where
 * they differ: node dist/test/linux/run.js [--trace] [--jobs N] SCRIPT... Needs root, unshare, ip and sysctl. @module
 */
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { formatFailure, runScript, type ScriptResult } from '../../src/sim/index.ts';

const CHILD = fileURLToPath(new URL('./child.js', import.meta.url));
/** A script that takes longer is ended: real time is not to be waited for without bound. */
const SCRIPT_MS_MAX = 180_000;
const TRIES = 3;

/** In a namespace of its own, which ends with the process. */
function onLinux(path: string): Promise<ScriptResult> {
  return new Promise((resolve, reject) => {
    const args = ['-n', process.execPath, CHILD, path];
    execFile('unshare', args, { timeout: SCRIPT_MS_MAX, maxBuffer: 1 << 26 }, (error, stdout, stderr) => {
      if (stdout === '') return reject(new Error(`${path}: ${stderr.trim() || String(error)}`));
      const result = JSON.parse(stdout) as ScriptResult & { error?: string };
      if (result.error !== undefined) return reject(new Error(`${path}: ${result.error}`));
      resolve(result);
    });
  });
}

/** Times suffer where others have the processors: what came late once is played again. */
async function onLinuxPatiently(path: string): Promise<ScriptResult> {
  let result = await onLinux(path);
  for (let i = 1; i < TRIES && result.failure?.kind === 'time'; i++) result = await onLinux(path);
  return result;
}

/** Both results; the second is ours. */
async function compare(path: string): Promise<readonly [ScriptResult, ScriptResult]> {
  const linux = await onLinuxPatiently(path);
  return [linux, await runScript(readFileSync(path, 'utf8'), { name: path, profile: 'linux' })];
}

const word = ({ passed }: ScriptResult): string => (passed ? 'passed' : 'FAILED');

function tell(path: string, [linux, ours]: readonly [ScriptResult, ScriptResult], isTraced: boolean): void {
  console.log(`${path}: Linux ${word(linux)}, ethertype ${word(ours)}`);
  for (const [who, result] of [
    ['Linux', linux],
    ['ethertype', ours],
  ] as const) {
    if (isTraced || !result.passed) {
      const shown = isTraced ? result : { ...result, trace: [] };
      console.log(`  ${who}: ${formatFailure(shown).replaceAll('\n', '\n  ')}`);
      if (isTraced && result.passed) for (const line of result.trace) console.log(`    ${line}`);
    }
  }
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { trace: { type: 'boolean', default: false }, jobs: { type: 'string', default: '2' } },
});
if (positionals.length === 0) {
  console.error('usage: node dist/test/linux/run.js [--trace] [--jobs N] SCRIPT...');
  process.exit(2);
}
let next = 0;
let failed = 0;
async function worker(): Promise<void> {
  for (let path = positionals[next++]; path !== undefined; path = positionals[next++]) {
    try {
      const results = await compare(path);
      if (results.some(({ passed }) => !passed)) failed++;
      tell(path, results, values.trace);
    } catch (error) {
      failed++;
      console.log((error as Error).message);
    }
  }
}
await Promise.all(Array.from({ length: Number(values.jobs) }, worker));
console.log(`${positionals.length - failed} of ${positionals.length} scripts hold on both`);
process.exitCode = failed === 0 ? 0 : 1;
