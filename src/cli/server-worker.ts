/** A thread of `ethertype server --threads`: one host on one queue, until it is told to end. @module */
import { parentPort, workerData } from 'node:worker_threads';
import { readSettings, serve } from './server.ts';
import { capturePath, type ThreadMessage, type ThreadWork } from './server-threads.ts';

/** How often the interface is looked after. */
const WATCH_MS = 250;

const { args, index, ...share } = workerData as ThreadWork;
const port = parentPort!;
const say = (message: ThreadMessage): void => port.postMessage(message);

const settings = readSettings(args);
const pcap = settings.pcap === undefined ? undefined : capturePath(settings.pcap, index);
// Threads with the same seed would make the same faults at the same time.
const { faults } = settings;
const own = faults === null ? null : { ...faults, seed: (faults.seed + index) >>> 0 };
const serving = await serve({ ...settings, pcap, faults: own }, share);
const watch = setInterval(() => {
  const failure = serving.failure();
  if (failure === null) return;
  clearInterval(watch);
  say({ kind: 'failed', message: failure.message });
}, WATCH_MS);
port.once('message', async () => {
  clearInterval(watch);
  say({ kind: 'ended', account: await serving.end() });
  port.close();
});
say({ kind: 'ready', line: serving.line });
