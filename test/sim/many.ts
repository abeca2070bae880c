// Runs many seeds of the simulation, on all processors: npm run sim -- [--plain] [COUNT [FIRST]]
import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import { setDefaultKernel } from '../../src/memory/kernel.ts';
import { type Result, runSeed } from './run.ts';

const FAILURES_SHOWN = 20;

interface Job {
  readonly first: number;
  readonly last: number;
  readonly step: number;
  /** With the kernel in plain TypeScript. */
  readonly isPlain: boolean;
}

interface Report {
  readonly result: Result | null;
  readonly failure: string | null;
  readonly ms: number;
}

function work({ first, last, step, isPlain }: Job): void {
  if (isPlain) setDefaultKernel('plain');
  for (let seed = first; seed < last; seed += step) {
    const since = performance.now();
    let report: Report;
    try {
      report = { result: runSeed(seed), failure: null, ms: performance.now() - since };
    } catch (error) {
      report = { result: null, failure: (error as Error).message, ms: performance.now() - since };
    }
    parentPort!.postMessage(report);
  }
}

function lead(): void {
  const isPlain = process.argv.includes('--plain');
  const [count = 10_000, first = 1] = process.argv
    .slice(2)
    .filter((arg) => arg !== '--plain')
    .map(Number);
  if (!(Number.isInteger(count) && count > 0 && Number.isInteger(first))) {
    console.error('sim: expected how many seeds, and the first: npm run sim -- [--plain] [COUNT [FIRST]]');
    process.exit(2);
  }
  const workers = availableParallelism();
  const since = performance.now();
  const total = { virtualMs: 0, bytes: 0, segments: 0, retransmits: 0 };
  let done = 0;
  let failed = 0;
  let running = workers;
  for (let i = 0; i < workers; i++) {
    const job: Job = { first: first + i, last: first + count, step: workers, isPlain };
    const worker = new Worker(fileURLToPath(import.meta.url), { workerData: job });
    worker.on('message', ({ result, failure, ms }: Report) => {
      done++;
      if (ms > 5000) console.log(`a seed took ${(ms / 1000).toFixed(1)} s`);
      if (process.stdout.isTTY && done % 100 === 0) process.stdout.write(`\r${done}/${count}, ${failed} failed `);
      if (failure !== null && ++failed <= FAILURES_SHOWN) console.log(`\nFAILED ${failure}`);
      if (result === null) return;
      total.virtualMs += result.virtualMs;
      total.bytes += result.bytes;
      total.segments += result.segments;
      total.retransmits += result.retransmits;
    });
    worker.on('exit', () => {
      if (--running > 0) return;
      const seconds = ((performance.now() - since) / 1000).toFixed(1);
      const hours = (total.virtualMs / 3_600_000).toFixed(1);
      console.log(`\n${done} runs, ${failed} failed, ${seconds} s for ${hours} hours of virtual time`);
      console.log(`${total.bytes} bytes in ${total.segments} segments, ${total.retransmits} sent again`);
      process.exit(failed > 0 || done !== count ? 1 : 0);
    });
  }
}

if (isMainThread) lead();
else work(workerData as Job);
