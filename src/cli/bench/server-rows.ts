/**
 * `ethertype server --threads N` beside one thread: N bulk flows of Linux's TCP, each on a thread of its own, in a network
 * namespace. Linux's part of the work costs as little as it can (bulk-child.ts), but where it has no processor of its own
 * it takes time from the threads; so the same is told by processor time too: what the threads would carry if each had a
 * processor to itself. @module
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { median, type Row } from './table.ts';

const run = promisify(execFile);
const MAIN = fileURLToPath(new URL('../main.js', import.meta.url));
const CHILD = fileURLToPath(new URL('./bulk-child.js', import.meta.url));
const OURS = '10.99.0.2';
const THEIRS = '10.99.0.1';
const WARM_MS = 500;
const FIRST_PORT = 40_000;
/** Tries until chance, which spreads flows, gives each thread one. */
const TRIES_MAX = 20;
/** A thread that has a flow has at least so much of its fair share. */
const SHARE_MIN = 0.4;
/** Clock ticks a second in /proc: USER_HZ. */
const TICKS = 100;
const PORTS = { up: 9, down: 80 } as const;

export type Direction = keyof typeof PORTS;

/** One run. */
export interface Served {
  readonly gbit: number;
  /** Gbit a second of processor time of the busiest thread, times the threads. */
  readonly gbitOfProcessor: number;
}

interface Sample {
  readonly bytes: number;
  readonly ms: number;
}

/** Seconds of processor time of each thread of a process. */
function threadSeconds(pid: number): Map<string, number> {
  const times = new Map<string, number>();
  for (const id of readdirSync(`/proc/${pid}/task`)) {
    const fields = readFileSync(`/proc/${pid}/task/${id}/stat`, 'utf8')
      .replace(/^.*\) /s, '')
      .split(' ');
    times.set(id, (Number(fields[11]) + Number(fields[12])) / TICKS); // utime, stime
  }
  return times;
}

/** A flow; `go` when its time counts, then what it moved. */
function startFlow(name: string, direction: Direction, localPort: number, ms: number) {
  const args = [CHILD, direction, OURS, `${PORTS[direction]}`, `${localPort}`, `${WARM_MS}`, `${ms}`];
  const child = spawn('ip', ['netns', 'exec', name, process.execPath, ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const go = lines.next();
  const sample = go.then(() => lines.next()).then(({ value }) => JSON.parse(value ?? 'null') as Sample | null);
  return { go, sample };
}

async function startServer(name: string, threads: number): Promise<ChildProcess> {
  const wire = ['--tun', 'tun0', '--address', `${OURS}/24`, '--host-address', `${THEIRS}/24`];
  const args = [MAIN, 'server', ...wire, '--threads', `${threads}`, '--json'];
  const server = spawn('ip', ['netns', 'exec', name, process.execPath, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
  await once(server.stderr!, 'data'); // the ready line
  return server;
}

/** Ends it; the bytes that each thread had in and out. */
async function endServer(server: ChildProcess): Promise<number[]> {
  let text = '';
  server.stdout!.on('data', (data) => {
    text += data;
  });
  const ended = once(server, 'close');
  server.kill('SIGTERM');
  await ended;
  const { threads, stack } = JSON.parse(text);
  return (threads ?? [{ stack }]).map((one: { stack: { bytesIn: number; bytesOut: number } }) =>
    Math.max(one.stack.bytesIn, one.stack.bytesOut),
  );
}

/** `flows` flows through a server of so many threads; null: some thread had none. */
async function attempt(
  name: string,
  threads: number,
  flows: number,
  direction: Direction,
  firstPort: number,
  ms: number,
): Promise<Served | null> {
  const server = await startServer(name, threads);
  const started = Array.from({ length: flows }, (_, i) => startFlow(name, direction, firstPort + i, ms));
  await Promise.all(started.map(({ go }) => go));
  const before = threadSeconds(server.pid!);
  const startedAt = performance.now();
  const samples = (await Promise.all(started.map(({ sample }) => sample))).filter((sample) => sample !== null);
  const seconds = (performance.now() - startedAt) / 1000;
  const after = threadSeconds(server.pid!);
  const each = await endServer(server);
  const fair = each.reduce((sum, bytes) => sum + bytes, 0) / threads;
  if (samples.length < flows || Math.min(...each) < fair * SHARE_MIN) return null;
  const gbit = samples.reduce((sum, sample) => sum + (sample.bytes * 8) / sample.ms / 1e6, 0);
  const busiest = Math.max(...[...after].map(([id, time]) => time - (before.get(id) ?? 0)));
  return { gbit, gbitOfProcessor: (gbit * seconds) / busiest };
}

/** One run of each, one behind the other. @returns those of one thread, and of all of them */
export async function served(threads: number, direction: Direction, ms: number): Promise<readonly [Served, Served]> {
  const name = `etserve-${process.pid}`;
  await run('ip', ['netns', 'add', name]);
  try {
    await run('ip', ['-n', name, 'link', 'set', 'lo', 'up']);
    const one = await attempt(name, 1, threads, direction, FIRST_PORT, ms);
    for (let i = 1; i <= TRIES_MAX; i++) {
      const all = await attempt(name, threads, threads, direction, FIRST_PORT + i * threads, ms);
      if (one !== null && all !== null) return [one, all];
    }
    throw new Error(`no luck: ${TRIES_MAX} times some thread had no flow`);
  } finally {
    await run('ip', ['netns', 'del', name]).catch(() => {});
  }
}

/** As seen, and by processor time, both ways. */
export async function serverRows(threads: number, rounds: number, ms: number): Promise<Row[]> {
  const rows: Row[] = [];
  for (const [direction, way] of [
    ['up', 'Linux to us'],
    ['down', 'us to Linux'],
  ] as const) {
    const runs: (readonly [Served, Served])[] = [];
    for (let i = 0; i < rounds; i++) runs.push(await served(threads, direction, Math.max(500, ms)));
    const row = (name: string, unit: string, of: (run: Served) => number): Row => ({
      name,
      unit,
      ours: median(runs.map(([, all]) => of(all))),
      peer: 'on one thread',
      theirs: median(runs.map(([one]) => of(one))),
      ratio: median(runs.map(([one, all]) => of(all) / of(one))),
    });
    rows.push(row(`${way}, ${threads} flows, ${threads} threads`, 'Gbit/s', ({ gbit }) => gbit));
    rows.push(row('  by processor time of the threads', 'Gbit/s', ({ gbitOfProcessor }) => gbitOfProcessor));
  }
  return rows;
}
