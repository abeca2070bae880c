// Runs a folder of packet scripts and tells how many pass, by folder and by reason:
// node test/drill/suite.mjs DIR [--profile NAME] [--define SYM=VAL]... [--reasons N] [--list PATTERN]
import { spawnSync } from 'node:child_process';
import { relative, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    profile: { type: 'string', default: 'ethertype' },
    define: { type: 'string', multiple: true, default: [] },
    reasons: { type: 'string', default: '40' },
    list: { type: 'string' },
  },
});
const [folder] = positionals;
if (folder === undefined) {
  console.error('usage: node test/drill/suite.mjs DIR [--profile NAME] [--define SYM=VAL]...');
  process.exit(2);
}
const main = fileURLToPath(new URL('../../dist/src/cli/main.js', import.meta.url));
const defines = values.define.flatMap((define) => ['--define', define]);
const args = [main, 'drill', '--json', '--profile', values.profile, ...defines, folder];
const { stdout, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8', maxBuffer: 1 << 30 });
if (stdout === '') {
  console.error(stderr);
  process.exit(1);
}
const { passed, failed, scripts } = JSON.parse(stdout);

const group = (path) => relative(folder, path).split(sep).slice(0, -1).join('/') || '.';
const topOf = (path) => relative(folder, path).split(sep)[0];
/** What failed, without the numbers that differ from script to script. */
const reasonOf = ({ kind, message, differences }) =>
  [kind, message.split('\n')[0], ...differences]
    .join(' | ')
    .replace(/\d+(\.\d+)?/g, 'N')
    .slice(0, 240);

const counts = new Map();
const reasons = new Map();
for (const { name, passed: isPassed, failure } of scripts) {
  const count = counts.get(topOf(name)) ?? [0, 0];
  count[isPassed ? 0 : 1]++;
  counts.set(topOf(name), count);
  if (isPassed) continue;
  const reason = reasonOf(failure);
  const names = reasons.get(reason) ?? [];
  names.push(`${relative(folder, name)}:${failure.line}`);
  reasons.set(reason, names);
}
for (const [top, [good, bad]] of counts) console.log(`${top.padEnd(24)} ${good} passed, ${bad} failed`);
console.log(`${'all'.padEnd(24)} ${passed} passed, ${failed} failed\n`);
const sorted = [...reasons].sort(([, a], [, b]) => b.length - a.length).slice(0, Number(values.reasons));
for (const [reason, names] of sorted) {
  const groups = [...new Set(names.map((name) => group(`${folder}/${name}`)))].slice(0, 6);
  console.log(`${String(names.length).padStart(4)} ${reason}\n       in ${groups.join(', ')}; first ${names[0]}`);
}
if (values.list !== undefined) {
  const pattern = new RegExp(values.list);
  for (const [reason, names] of reasons) {
    for (const name of names) if (pattern.test(reason) || pattern.test(name)) console.log(`${name} ${reason}`);
  }
}
