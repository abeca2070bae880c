/** Many scripts in one process: each in a fresh stack, one after another or in threads. @module */
import { readFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { Worker } from 'node:worker_threads';
import { type ProfileName, runScript, type ScriptResult } from '../../sim/index.ts';

/** What all scripts of a run have in common. */
export interface Job {
  /** Undefined: what the script itself says. */
  readonly profile: ProfileName | undefined;
  readonly defines: Readonly<Record<string, string>>;
  readonly options: Readonly<Record<string, string | null>>;
}

/** Runs one file; one that cannot be read is a failure of its own. */
export async function runFile(path: string, job: Job): Promise<ScriptResult> {
  const beside = (name: string): string | null => {
    try {
      return readFileSync(resolve(dirname(path), name), 'utf8');
    } catch {
      return null;
    }
  };
  let source: string;
  try {
    source = readFileSync(path, 'utf8');
  } catch (error) {
    const { message } = error as Error;
    const failure = {
      kind: 'parse' as const,
      line: 1,
      column: 1,
      message,
      expected: null,
      actual: null,
      differences: [],
    };
    return { name: path, passed: false, failure, trace: [], notes: [], virtualUs: 0 };
  }
  return runScript(source, { name: path, readFile: beside, ...job });
}

/** Runs all files; tells of each in their order. */
export async function runJobs(
  paths: readonly string[],
  job: Job,
  jobs: number,
  tell: (result: ScriptResult) => void,
): Promise<ScriptResult[]> {
  if (jobs > 1 && paths.length > 1) return inThreads(paths, job, Math.min(jobs, paths.length), tell);
  const results: ScriptResult[] = [];
  for (const path of paths) {
    const result = await runFile(path, job);
    tell(result);
    results.push(result);
  }
  return results;
}

async function inThreads(
  paths: readonly string[],
  job: Job,
  jobs: number,
  tell: (result: ScriptResult) => void,
): Promise<ScriptResult[]> {
  const results: (ScriptResult | undefined)[] = paths.map(() => undefined);
  let next = 0;
  let told = 0;
  const done = (index: number, result: ScriptResult): void => {
    results[index] = result;
    for (let ready = results[told]; ready !== undefined; ready = results[told]) {
      tell(ready);
      told++;
    }
  };
  const take = (): number => (next < paths.length ? next++ : -1);
  await Promise.all(Array.from({ length: jobs }, () => thread(paths, job, take, done)));
  return results as ScriptResult[];
}

/** One thread: takes files until there are none. */
function thread(
  paths: readonly string[],
  job: Job,
  take: () => number,
  done: (index: number, result: ScriptResult) => void,
): Promise<void> {
  const name = import.meta.url.endsWith('.ts') ? './worker.ts' : './worker.js';
  const worker = new Worker(new URL(name, import.meta.url), { workerData: job });
  return new Promise((resolve, reject) => {
    let index = -1;
    const give = (): void => {
      index = take();
      if (index < 0) void worker.terminate().then(() => resolve());
      else worker.postMessage(paths[index]);
    };
    worker.on('message', (result: ScriptResult) => {
      done(index, result);
      give();
    });
    worker.on('error', reject);
    give();
  });
}
