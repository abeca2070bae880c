// The purity check. The core runs in any JavaScript engine and is handed its clock and its randomness; and imports
// point inward only. Three checks: every import against the table of rings, every source of the core for globals of a
// platform, and a bundle of the core for a browser without polyfills.
import { existsSync, readFileSync } from 'node:fs';
import { dirname, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build, transform } from 'esbuild';
import { filesUnder } from './files.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
process.chdir(root);

const ENTRY = 'src/core.ts';
const PROTOCOLS = ['tcp', 'udp', 'icmp', 'iface', 'raw', 'multicast'];
const INNER = ['wire', 'memory', 'errors.ts'];
const CORE = [...INNER, ...PROTOCOLS, 'pcap', 'phy', 'sim', 'posix', 'dhcp', 'dns', 'stack.ts', 'core.ts'];

// What each part of src/ may import besides itself, from the inside out; `*` is everything. A part is a folder or a
// file directly in src/; an allowed path with a slash admits that one file only.
const RINGS = {
  wire: [],
  memory: [],
  'errors.ts': ['wire'],
  pcap: ['wire'],
  phy: ['wire', 'memory', 'pcap'],
  ...Object.fromEntries(PROTOCOLS.map((name) => [name, [...INNER, 'phy/device.ts', 'phy/checksum.ts', ...PROTOCOLS]])),
  'stack.ts': [...INNER, 'phy/device.ts', 'phy/loopback.ts', ...PROTOCOLS],
  dhcp: [...INNER, 'phy/device.ts', ...PROTOCOLS, 'stack.ts'],
  'core.ts': [...INNER, 'phy', ...PROTOCOLS, 'stack.ts'],
  sim: [...INNER, 'phy', ...PROTOCOLS, 'stack.ts', 'core.ts', 'posix'],
  posix: [...INNER, 'phy', ...PROTOCOLS, 'stack.ts', 'core.ts'],
  dns: ['wire', 'errors.ts', 'sim/clock.ts'],
  sockets: [...INNER, 'phy', 'sim/clock.ts', ...PROTOCOLS, 'dhcp', 'dns', 'stack.ts', 'core.ts'],
  netstack: [...INNER, 'phy', 'sim/clock.ts', ...PROTOCOLS, 'posix', 'dns', 'stack.ts', 'core.ts', 'sockets'],
  'index.ts': [...INNER, ...PROTOCOLS, 'dhcp', 'dns', 'phy', 'stack.ts', 'core.ts', 'sockets', 'netstack'],
  node: [...INNER, 'phy', 'stack.ts', 'core.ts', 'sockets', 'index.ts'],
  linux: [...INNER, 'phy', 'stack.ts', 'core.ts', 'sockets'],
  web: [...INNER, 'phy', 'stack.ts', 'core.ts', 'sockets', 'index.ts'],
  proxy: [...INNER, ...PROTOCOLS, 'phy', 'dhcp', 'dns', 'stack.ts', 'core.ts', 'sockets', 'index.ts'],
  qemu: ['phy'],
  cli: ['*'],
  lab: ['*'],
};

// Globals the core must not name. esbuild knows scopes: it replaces a free name and leaves a local one alone.
const GLOBALS =
  'Buffer process global require Date performance setTimeout setInterval setImmediate clearTimeout clearInterval ' +
  'queueMicrotask crypto console Math.random';
const BANNED = GLOBALS.split(' ');
const MARK = '__banned_';
const define = Object.fromEntries(
  BANNED.flatMap((name) => [
    [name, MARK + name.replace('.', '_')],
    [`globalThis.${name}`, MARK + name.replace('.', '_')],
  ]),
);
const bannedIn = (code) => BANNED.filter((name) => new RegExp(`${MARK}${name.replace('.', '_')}\\b`).test(code));

const problems = [];

/** The part of src/ that `path` belongs to: its first folder, or its name. */
const partOf = (path) => relative('src', path).split('/')[0];

/** Imported paths of a source, with their lines. */
function importsOf(text) {
  const found = [];
  const pattern =
    /^(?:import|export)\s[^'"`;=]*\bfrom\s*['"]([^'"]+)['"]|^import\s*['"]([^'"]+)['"]|\bimport\(\s*['"]([^'"]+)['"]/gm;
  for (const match of text.matchAll(pattern)) {
    found.push({ name: match[1] ?? match[2] ?? match[3], line: text.slice(0, match.index).split('\n').length });
  }
  return found;
}

function mayImport(from, target) {
  const part = partOf(target);
  const allowed = RINGS[from];
  return part === from || allowed.includes('*') || allowed.includes(part) || allowed.includes(relative('src', target));
}

function checkImports(path, text) {
  const part = partOf(path);
  if (RINGS[part] === undefined) {
    problems.push(`${path}: 'src/${part}' has no ring yet: add it to the table in scripts/purity.mjs`);
    return;
  }
  for (const { name, line } of importsOf(text)) {
    if (!name.startsWith('.')) {
      if (CORE.includes(part)) problems.push(`${path}:${line}: the core imports '${name}'`);
      continue;
    }
    const target = relative(root, resolve(dirname(path), name));
    if (!mayImport(part, target)) problems.push(`${path}:${line}: '${part}' may not import '${target}'`);
  }
}

async function checkGlobals(path, text) {
  const { code } = await transform(text, { loader: 'ts', define, legalComments: 'none' });
  const lines = text.split('\n');
  for (const name of bannedIn(code)) {
    const word = new RegExp(`(?<![.\\w])${name.replace('.', '\\.')}\\b`);
    const line = lines.findIndex((l) => word.test(l) && !/^\s*(\*|\/\/|\/\*)/.test(l)) + 1;
    problems.push(`${path}:${line}: the core uses ${name}`);
  }
}

async function checkBundle() {
  if (!existsSync(ENTRY)) {
    problems.push(`${ENTRY}: missing, nothing to bundle`);
    return;
  }
  const options = { bundle: true, write: false, format: 'esm', platform: 'browser', logLevel: 'silent', define };
  try {
    const result = await build({ ...options, entryPoints: [ENTRY], metafile: true, legalComments: 'none' });
    for (const name of bannedIn(result.outputFiles[0].text)) problems.push(`bundle of ${ENTRY}: uses ${name}`);
    for (const path of Object.keys(result.metafile.inputs)) {
      if (!path.startsWith('src/')) problems.push(`bundle of ${ENTRY}: holds ${path}`);
    }
  } catch (error) {
    for (const { text, location } of error.errors ?? [{ text: String(error) }]) {
      problems.push(`bundle of ${ENTRY}: ${location ? `${location.file}:${location.line}: ` : ''}${text}`);
    }
  }
}

const sources = filesUnder('src', '.ts').filter((path) => !/(\.test|\.d|\.as|kernel-bytes)\.ts$/.test(path));
for (const path of sources) {
  const text = readFileSync(path, 'utf8');
  checkImports(path, text);
  if (CORE.includes(partOf(path))) await checkGlobals(path, text);
}
await checkBundle();
for (const problem of problems) console.error(problem);
console.log(`${sources.length} sources, ${problems.length} problems`);
process.exit(problems.length === 0 ? 0 : 1);
