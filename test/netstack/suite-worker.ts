/** The thread of an application: runs the suite over two channels, waiting or blocking, and tells what came of it. */
import { parentPort, workerData } from 'node:worker_threads';
import { Channel } from '../../src/netstack/index.ts';
import { blockingCalls, blockingSide, channelSide, type Setting, suite, waitingCalls, waitingSuite } from './suite.ts';

export interface SuiteWork {
  readonly own: unknown;
  readonly other: unknown;
  readonly isBlocking: boolean;
}

const work = workerData as SuiteWork;
const [own, other] = [Channel.from(work.own), Channel.from(work.other)];
const side = work.isBlocking ? blockingSide : channelSide;
const setting: Setting = { own: side(own), other: side(other), calls: work.isBlocking ? blockingCalls : waitingCalls };

const results: [string, string | null][] = [];
for (const [name, run] of Object.entries(work.isBlocking ? suite : { ...suite, ...waitingSuite })) {
  try {
    await run(setting);
    results.push([name, null]);
  } catch (error) {
    results.push([name, (error as Error).stack ?? String(error)]);
  }
}
own.close();
other.close();
parentPort!.postMessage(results);
