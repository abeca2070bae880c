/** One suite, in every setting that an application can be in. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import { type Transferable, Worker } from 'node:worker_threads';
import { createHost } from '../../src/index.ts';
import { type Driver, pipedPair } from '../../src/netstack/index.ts';
import { pipePair } from '../../src/phy/index.ts';
import {
  channelSide,
  hostSide,
  OTHER_CONFIG,
  OWN_CONFIG,
  type Setting,
  suite,
  waitingCalls,
  waitingSuite,
} from './suite.ts';
import type { SuiteWork } from './suite-worker.ts';

const WORKER = new URL('./suite-worker.js', import.meta.url);

function runHere(name: string, begin: () => { setting: Setting; end: () => Promise<number> }): void {
  for (const [title, run] of Object.entries({ ...suite, ...waitingSuite })) {
    test(`${name}: ${title}`, { timeout: 30_000 }, async () => {
      const { setting, end } = begin();
      await run(setting);
      assert.equal(await end(), 0, 'memory is still held');
    });
  }
}

runHere('host on this thread', () => {
  const [left, right] = pipePair();
  const own = createHost({ device: left, ...OWN_CONFIG });
  const other = createHost({ device: right, ...OTHER_CONFIG });
  const end = async (): Promise<number> => {
    await Promise.all([own.close(), other.close()]);
    return own.memory.usedBytes;
  };
  return { setting: { own: hostSide(own), other: hostSide(other), calls: waitingCalls }, end };
});

function driven(shared: boolean, memory = 64 << 20): [Driver, Driver] {
  const [own, other] = pipedPair({ ...OWN_CONFIG, shared, memory }, OTHER_CONFIG);
  return [own.run(), other.run()];
}

const closed = (drivers: readonly Driver[]): number => {
  for (const driver of drivers) driver.close();
  return drivers[0]!.netstack.memory.usedBytes;
};

runHere('channel on this thread', () => {
  const [own, other] = driven(true);
  const setting = {
    own: channelSide(own.commandChannel()),
    other: channelSide(other.commandChannel()),
    calls: waitingCalls,
  };
  return { setting, end: async () => closed([own, other]) };
});

/** The worker in an engine that lacks Atomics.waitAsync: it is told of answers by messages. */
const lacking = (): string => `delete Atomics.waitAsync; import(${JSON.stringify(WORKER.href)})`;

for (const [name, shared, isBlocking, memory, lacks = false] of [
  ['channel across threads, asynchronous', true, false, 64 << 20],
  ['channel across threads, blocking', true, true, 64 << 20],
  ['channel across threads, without Atomics.waitAsync', true, false, 64 << 20, true],
  ['channel across threads, blocking without Atomics.waitAsync', true, true, 64 << 20, true],
  // Rings of a few KiB, and none at all while others hold the memory.
  ['channel across threads, asynchronous, little memory', true, false, 1 << 19],
  ['channel across threads, blocking, little memory', true, true, 1 << 19],
  ['channel over a message port', false, false, 64 << 20],
] as const) {
  test(name, { timeout: 60_000 }, async (t) => {
    const drivers = driven(shared, memory);
    const [own, other] = drivers.map((driver) => driver.commandChannel().share());
    const worker = new Worker(lacks ? lacking() : WORKER, {
      eval: lacks,
      workerData: { own: own!.channel, other: other!.channel, isBlocking } satisfies SuiteWork,
      transferList: [...own!.transferList, ...other!.transferList] as unknown as Transferable[],
    });
    const [results] = (await once(worker, 'message')) as [[string, string | null][]];
    await worker.terminate();
    assert.equal(results.length, Object.keys(isBlocking ? suite : { ...suite, ...waitingSuite }).length);
    for (const [title, error] of results) await t.test(title, () => assert.equal(error, null));
    assert.equal(closed(drivers), 0, 'memory is still held');
  });
}
