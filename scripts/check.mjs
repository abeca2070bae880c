// The whole check, run by `npm test`: build and types, format and lint, purity, size, tests with either kernel.
//
//     npm test                    everything
//     npm test -- PATTERN         only test files whose path contains PATTERN
//     npm test -- --no-checks     build and tests only
//
// Its last line is `N passed, N failed`, with `, N skipped` where tests were.
import { spawn } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { filesUnder } from './files.mjs';
import { COUNTS } from './reporter.mjs';

process.chdir(fileURLToPath(new URL('..', import.meta.url)));

/** After so long a run of tests counts as hung. */
const RUN_MINUTES_MAX = 20;

const options = process.argv.slice(2);
const noChecks = options.includes('--no-checks');
const patterns = options.filter((option) => !option.startsWith('-'));
const unknown = options.find((option) => option.startsWith('-') && option !== '--no-checks');
if (unknown !== undefined) {
  console.error(`check: unknown option ${unknown}; expected --no-checks or parts of paths of test files`);
  process.exit(2);
}

const total = { pass: 0, fail: 0, skip: 0 };

function finish() {
  const skipped = total.skip > 0 ? `, ${total.skip} skipped` : '';
  console.log(`${total.pass} passed, ${total.fail} failed${skipped}`);
  process.exit(total.fail > 0 || total.pass === 0 ? 1 : 0);
}

const seconds = (since) => `${((performance.now() - since) / 1000).toFixed(1)} s`;

/** Runs Node with `args`, passing each line of output to `onLine`; resolves to the exit code, or null if it hung. */
function runNode(args, onLine) {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    let hung = false;
    const timer = setTimeout(() => {
      hung = true;
      child.kill('SIGKILL');
    }, RUN_MINUTES_MAX * 60_000);
    for (const input of [child.stdout, child.stderr]) createInterface({ input }).on('line', onLine);
    child.on('close', (code) => {
      clearTimeout(timer);
      resolve(hung ? null : code);
    });
  });
}

/** One step before the tests: its output is shown, and its failure ends the check. */
async function step(title, advice, args) {
  const since = performance.now();
  const output = [];
  const code = await runNode(args, (line) => output.push(line));
  console.log(`== ${title}: ${code === 0 ? 'ok' : 'failed'} (${seconds(since)})`);
  for (const line of output) console.log(`  ${line}`);
  if (code === 0) return;
  console.log(`check: stopped at '${title}', no tests were run; ${advice}`);
  total.fail++;
  finish();
}

/**
 * One run of test files; a run that ends without its counts has failed. Returns the sources of those that failed, and how
 * many tests did.
 */
async function runTests(title, files, imports, concurrency) {
  const failed = new Set();
  if (files.length === 0) return { failed, fail: 0 };
  const since = performance.now();
  console.log(`== ${title}: ${files.length} files`);
  let counts = null;
  const reporter = ['--test-reporter=./scripts/reporter.mjs', '--test-reporter-destination=stdout'];
  const flags = ['--test', ...imports, ...reporter, `--test-concurrency=${concurrency}`, '--enable-source-maps'];
  const code = await runNode([...flags, ...files], (line) => {
    if (line.startsWith(COUNTS)) counts = JSON.parse(line.slice(COUNTS.length));
    else console.log(line);
    const source = /^\s*FAILED .*\((test\/interop\/[^:)]+):\d+\)$/.exec(line)?.[1];
    if (source !== undefined) failed.add(source);
  });
  if (counts === null || (code !== 0 && counts.fail === 0)) {
    console.log(`  the run ${code === null ? `hung for ${RUN_MINUTES_MAX} minutes` : `ended with exit code ${code}`}`);
    counts = { pass: counts?.pass ?? 0, fail: 1, skip: counts?.skip ?? 0 };
  }
  for (const key of Object.keys(total)) total[key] += counts[key];
  const { pass, fail, skip } = counts;
  console.log(`   ${title}: ${pass} good, ${fail} bad, ${skip} left out (${seconds(since)})`);
  return { failed, fail };
}

/**
 * Tests against programs of the system, one file after the other: they measure time, and share the machine's network. What
 * fails is tried once more by itself, for a machine that was busy elsewhere is no fault of a test; both runs are shown.
 */
async function runInterop(files) {
  const { failed, fail } = await runTests('interop', files, [], 1);
  if (failed.size === 0) return;
  const before = { ...total };
  await runTests('interop, once more', [...failed].map(compiled), [], 1);
  const again = total.fail - before.fail;
  // Each test counts once, by its last run.
  Object.assign(total, { ...before, pass: before.pass + fail - again, fail: before.fail - fail + again });
}

await step('build and types', 'mend what the compiler names', ['scripts/build.mjs']);
if (!noChecks) {
  const biome = ['node_modules/@biomejs/biome/bin/biome', 'check', '--error-on-warnings', '.'];
  await step('format and lint', '`npm run format` mends what can be mended by itself', biome);
  await step('purity of the core', 'see scripts/purity.mjs for the rules', ['scripts/purity.mjs']);
  await step('size of the bundles', 'see scripts/size.mjs for the limits', ['scripts/size.mjs']);
}

// Named by their sources: dist/ may still hold a test whose source is gone.
const wanted = (path) => patterns.length === 0 || patterns.some((pattern) => path.includes(pattern));
const compiled = (path) => `dist/${path.replace(/\.ts$/, '.js')}`;
const sources = [...filesUnder('src', '.test.ts'), ...filesUnder('test', '.test.ts')].filter(wanted);
const files = sources.filter((path) => !path.startsWith('test/interop/')).map(compiled);
const interop = sources.filter((path) => path.startsWith('test/interop/')).map(compiled);

await runTests('tests', files, [], availableParallelism());
await runTests('tests, plain kernel', files, ['--import', './dist/test/plain-kernel.js'], availableParallelism());
await runInterop(interop);
if (sources.length === 0) console.log('check: no test file matches');
finish();
