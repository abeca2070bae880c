/** A thread that runs scripts: takes paths, gives results. @module */
import { parentPort, workerData } from 'node:worker_threads';
import { type Job, runFile } from './jobs.ts';

parentPort!.on('message', async (path: string) => {
  parentPort!.postMessage(await runFile(path, workerData as Job));
});
