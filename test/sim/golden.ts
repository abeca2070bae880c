/**
 * The golden tables: goodput by buffer, delay, loss and algorithm, flows that share a bottleneck, and the table smoltcp
 * has of itself. Virtual time makes every number exact, so a change of TCP shows as a difference of a file.
 *
 *     npm run golden               writes test/sim/golden.txt
 *     npm run golden -- --check    compares the whole of it; exit code 1 where it differs
 *
 * `npm test` compares the cells of {@link isQuick}. @module
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import { CONGESTION_NAMES } from '../../src/tcp/congestion/index.ts';
import type { CongestionName } from '../../src/tcp/settings.ts';
import { type Bulk, jain, runBulk } from './goodput.ts';

/** From dist/test/sim. */
const FILE = fileURLToPath(new URL('../../../test/sim/golden.txt', import.meta.url));
const HEAD = `# Goodput over simulated paths, exact under virtual time; written by \`npm run golden\`, not by hand.
#
# grid     one flow, 10 s, 100 Mbit/s, a queue of one bandwidth-delay product, random loss on the way there
# smoltcp  one flow, 60 s, 200 Mbit/s, RTT 100 ms, a queue of one bandwidth-delay product, random loss both ways
# share    flows of one algorithm or of two, 30 s, 100 Mbit/s, a queue of 20 ms; Jain's index, and each flow's share
# octets/s is what arrived at the application, resent are segments, rto are timeouts.
`;

const RATE = 100e6;
const SMOLTCP_RATE = 200e6;
/** Bytes that a rate moves in a round-trip time. */
export const bdpBytes = (bitsPerSecond: number, rttMs: number): number => Math.ceil((bitsPerSecond * rttMs) / 8000);

export interface Cell {
  /** What stands before the colon of its line: names the cell. */
  readonly name: string;
  readonly bulk: Bulk;
}

const kib = (bytes: number): string => (bytes >= 1 << 20 ? `${bytes >> 20} MiB` : `${bytes >> 10} KiB`);
const percent = (p: number): string => `${+(p * 100).toFixed(1)} %`;

function gridCells(congestion: CongestionName): Cell[] {
  const cells: Cell[] = [];
  for (const rttMs of [5, 20, 100]) {
    for (const bufferBytes of [1 << 16, 1 << 18, 1 << 20, 1 << 22]) {
      for (const drop of [0, 0.001, 0.01, 0.03]) {
        const path = { rateBitsPerSecond: RATE, queueBytesMax: bdpBytes(RATE, rttMs), drop };
        const name = `grid ${congestion}, buffer ${kib(bufferBytes)}, RTT ${rttMs} ms, loss ${percent(drop)}`;
        cells.push({ name, bulk: { congestion, bufferBytes, rttMs, seconds: 10, path } });
      }
    }
  }
  return cells;
}

/** One cell of smoltcp's table. */
export function smoltcpBulk(congestion: CongestionName, bufferBytes: number, drop: number): Bulk {
  const path = { rateBitsPerSecond: SMOLTCP_RATE, queueBytesMax: bdpBytes(SMOLTCP_RATE, 100), drop };
  return { congestion, bufferBytes, rttMs: 100, seconds: 60, path, losesAcks: true };
}

export const SMOLTCP_LOSSES = [0, 0.001, 0.01, 0.02, 0.05];

function smoltcpCells(congestion: CongestionName): Cell[] {
  return [1 << 18, 1 << 20].flatMap((bufferBytes) =>
    SMOLTCP_LOSSES.map((drop) => ({
      name: `smoltcp ${congestion}, buffer ${kib(bufferBytes)}, loss ${percent(drop)}`,
      bulk: smoltcpBulk(congestion, bufferBytes, drop),
    })),
  );
}

function shareCells(names: readonly CongestionName[]): Cell[] {
  const cells: Cell[] = [];
  const path = { rateBitsPerSecond: RATE, queueBytesMax: bdpBytes(RATE, 20) };
  const add = (what: string, bulk: Omit<Bulk, 'seconds' | 'path'>): void => {
    cells.push({ name: `share ${what}`, bulk: { ...bulk, seconds: 30, path, staggerMs: 100 } });
  };
  names.forEach((congestion, i) => {
    for (const flows of [2, 4, 8]) add(`${flows} ${congestion}, RTT 20 ms`, { congestion, flows, rttMs: 20 });
    add(`4 ${congestion}, RTT 10 20 40 80 ms`, { congestion, flows: 4, rttMs: [10, 20, 40, 80] });
    for (const other of names.slice(0, i)) {
      const mixed = [congestion, congestion, other, other];
      add(`2 ${congestion} and 2 ${other}, RTT 20 ms`, { congestion: mixed, flows: 4, rttMs: 20 });
    }
  });
  return cells;
}

/** Every cell, in the order of the file. */
export const cellsOf = (names: readonly CongestionName[]): Cell[] => [
  ...names.flatMap(gridCells),
  ...names.flatMap(smoltcpCells),
  ...shareCells(names),
];

/** Whether `npm test` compares the cell: about one in eight, and every table. */
export const isQuick = (cell: Cell, index: number): boolean =>
  cell.name.startsWith('share') ? cell.name.startsWith('share 2') : index % 7 === 0;

/** The line of a cell. */
export function lineOf({ name, bulk }: Cell): string {
  const { goodput, retransmits, timeouts, flowBytes } = runBulk(bulk);
  const all = flowBytes.reduce((sum, bytes) => sum + bytes, 0);
  const shares = flowBytes.map((bytes) => (bytes / all).toFixed(3)).join(' ');
  const share = flowBytes.length > 1 ? `, Jain ${jain(flowBytes).toFixed(4)}, shares ${shares}` : '';
  return `${name}: ${goodput} octets/s, resent ${retransmits}, rto ${timeouts}${share}`;
}

/** The lines that stand in the file, by the name of their cell. */
export function goldenLines(): Map<string, string> {
  const lines = readFileSync(FILE, 'utf8')
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'));
  return new Map(lines.map((line) => [line.slice(0, line.indexOf(':')), line]));
}

/** Runs all cells on all processors; gives their lines in order. */
function linesOfAll(cells: readonly Cell[]): Promise<string[]> {
  const lines = new Array<string>(cells.length);
  const workers = availableParallelism();
  return new Promise((resolve, reject) => {
    let running = workers;
    for (let i = 0; i < workers; i++) {
      const worker = new Worker(new URL(import.meta.url), { workerData: { first: i, step: workers } });
      worker.on('message', ({ index, line }: { index: number; line: string }) => {
        lines[index] = line;
      });
      worker.on('error', reject);
      worker.on('exit', () => {
        if (--running === 0) resolve(lines);
      });
    }
  });
}

async function lead(): Promise<void> {
  const cells = cellsOf(CONGESTION_NAMES);
  const text = `${HEAD}\n${(await linesOfAll(cells)).join('\n')}\n`;
  if (!process.argv.includes('--check')) {
    writeFileSync(FILE, text);
    console.log(`golden: ${cells.length} cells written to test/sim/golden.txt`);
    return;
  }
  const before = readFileSync(FILE, 'utf8').split('\n');
  const changed = text.split('\n').filter((line) => !before.includes(line));
  for (const line of changed) console.log(line);
  const isSame = before.join('\n') === text;
  console.log(`golden: ${cells.length} cells, ${isSame ? 'as in the file' : `${changed.length} lines differ`}`);
  process.exitCode = isSame ? 0 : 1;
}

function work({ first, step }: { first: number; step: number }): void {
  const cells = cellsOf(CONGESTION_NAMES);
  for (let index = first; index < cells.length; index += step) {
    parentPort!.postMessage({ index, line: lineOf(cells[index]!) });
  }
}

if (!isMainThread && workerData?.step !== undefined) work(workerData);
else if (process.argv[1] === fileURLToPath(import.meta.url)) await lead();
