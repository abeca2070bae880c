// A reporter for Node's test runner: nothing for what passes, the whole story of each failure, the reason of each skip.
// Its last line is a record of the counts for scripts/check.mjs.
import { relative } from 'node:path';
import { inspect } from 'node:util';

/** What begins the line that carries the counts. */
export const COUNTS = '@counts ';

const placeOf = (data) => (data.file ? ` (${relative(process.cwd(), data.file)}:${data.line ?? 1})` : '');

function failure(data) {
  const error = data.details?.error;
  const cause = error?.cause ?? error;
  const story = cause instanceof Error ? (cause.stack ?? String(cause)) : inspect(cause);
  return `  FAILED ${isFile(data) ? relative(process.cwd(), data.name) : data.name}${placeOf(data)}\n${story.replace(/^/gm, '    ')}\n`;
}

const KEYS = { pass: 'pass', fail: 'fail', cancelled: 'fail', skipped: 'skip', todo: 'skip' };

/** Adds a line of the runner's own summary to `counts`; returns the line if it is another diagnostic. */
function summary(data, counts) {
  const match = /^(tests|suites|pass|fail|cancelled|skipped|todo|duration_ms) ([\d.]+)$/.exec(data.message);
  if (match === null) return `  ${data.message}${placeOf(data)}\n`;
  const key = data.nesting === 0 && KEYS[match[1]];
  if (key) counts[key] += Number(match[2]);
  return '';
}

/** A file stands as a test of its own when it reported none: it is empty, or ended the process by itself. */
const isFile = (data) => data.nesting === 0 && data.name.endsWith('.test.js');

function passed(data, counts) {
  if (isFile(data)) {
    counts.pass--;
    counts.fail++;
    return `  FAILED ${relative(process.cwd(), data.name)}: the file reported no test\n`;
  }
  const skip = data.skip ?? data.todo;
  if (skip === undefined || skip === false) return '';
  return `  skipped ${data.name}${placeOf(data)}: ${skip === true || skip === '' ? 'no reason given' : skip}\n`;
}

export default async function* report(source) {
  const counts = { pass: 0, fail: 0, skip: 0 };
  for await (const { type, data } of source) {
    if (type === 'test:stdout' || type === 'test:stderr') yield data.message;
    else if (type === 'test:diagnostic') yield summary(data, counts);
    else if (type === 'test:pass') yield passed(data, counts);
    else if (type === 'test:fail' && data.details?.error?.failureType !== 'subtestsFailed') yield failure(data);
  }
  yield `${COUNTS}${JSON.stringify(counts)}\n`;
}
