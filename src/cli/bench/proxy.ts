/**
 * `ethertype run` beside slirp4netns and passt: the same program in a network namespace behind each, with the same servers
 * on the other side. All of it happens in a namespace of its own, so nothing leaves it. @module
 */
import { execFile, spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type { ProxyFigures, ProxyKind, Round } from './proxy-stage.ts';
import { median, type Row } from './table.ts';

const run = promisify(execFile);
const STAGE = fileURLToPath(new URL('./proxy-stage.js', import.meta.url));
/** With it ends what it started; its own `/proc`, because passt looks for its target there. */
export const STAGE_SPACE = '--user --map-root-user --net --mount --pid --fork --mount-proc --kill-child'.split(' ');
/** A figure is no figure below a second: slow start would be most of it. */
const MS_MIN = 1000;
/** Beside the measurements of a kind, two of each of four figures, for starting and ending. */
const EXTRA_MS = 20_000;
const KINDS: readonly ProxyKind[] = ['ethertype', 'slirp4netns', 'passt', 'direct'];

const has = (tool: string): Promise<boolean> =>
  run('which', [tool]).then(
    () => true,
    () => false,
  );

/** Why it can't run here at all, or null. */
export async function proxyUnavailable(): Promise<string | null> {
  for (const tool of ['unshare', 'nsenter', 'ip', 'iperf3']) if (!(await has(tool))) return `${tool} is not installed`;
  if (!(await has('slirp4netns')) && !(await has('pasta'))) return 'neither slirp4netns nor passt is installed';
  return run('unshare', [...STAGE_SPACE, process.execPath, STAGE, 'probe']).then(
    () => null,
    (error: { stderr?: string; message: string }) => (error.stderr?.trim() || error.message).split('\n')[0]!,
  );
}

/** All that there are, `rounds` times in turn. */
export async function proxyRounds(rounds: number, ms: number): Promise<Round[]> {
  const kinds: ProxyKind[] = [];
  for (const kind of KINDS)
    if (kind === 'ethertype' || kind === 'direct' || (await has(program(kind)))) kinds.push(kind);
  const length = Math.max(MS_MIN, ms);
  const args = [...STAGE_SPACE, process.execPath, STAGE, kinds.join(','), String(rounds), String(length)];
  const timeout = rounds * kinds.length * (8 * length + EXTRA_MS);
  return new Promise((resolve, reject) => {
    const child = spawn('unshare', args, { stdio: ['ignore', 'pipe', 'pipe'], timeout, killSignal: 'SIGKILL' });
    let stdout = '';
    let stderr = '';
    child.stdout.on('data', (chunk) => {
      stdout += chunk;
    });
    child.stderr.on('data', (chunk) => {
      stderr += chunk;
    });
    child.once('error', reject);
    child.once('close', (code) => {
      if (code === 0) resolve(JSON.parse(stdout) as Round[]);
      else reject(new Error(`the namespace of the proxies ended with ${code}: ${stderr.trim()}`));
    });
  });
}

const program = (kind: ProxyKind): string => (kind === 'passt' ? 'pasta' : kind);

const FIGURES: readonly (readonly [key: keyof ProxyFigures, name: string, unit: string])[] = [
  ['down', 'bulk into the guest', 'Gbit/s'],
  ['up', 'bulk out of the guest', 'Gbit/s'],
  ['connections', 'connections opened and closed', '/s'],
  ['roundTrips', '64 B round trips', '/s'],
];

/** A figure of ours beside the same one of each other. */
export async function proxyRows(rounds: number, ms: number): Promise<Row[]> {
  const all = await proxyRounds(rounds, ms);
  const rows: Row[] = [];
  for (const [key, name, unit] of FIGURES) {
    for (const kind of KINDS.slice(1)) {
      const pairs = all.flatMap((round) => {
        const [ours, theirs] = [round.ethertype?.[key], round[kind]?.[key]];
        return ours === undefined || theirs === undefined ? [] : [[ours, theirs] as const];
      });
      if (pairs.length === 0) continue;
      rows.push({
        name: `run: ${name}`,
        unit,
        ours: median(pairs.map(([ours]) => ours)),
        peer: kind === 'direct' ? 'no proxy: loopback' : kind,
        theirs: median(pairs.map(([, theirs]) => theirs)),
        ratio: median(pairs.map(([ours, theirs]) => ours / theirs)),
      });
    }
  }
  return rows;
}
