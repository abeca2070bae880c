/** What 10,000 idle connections cost, in memory and in the speed of one more. @module */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { bulk, CorePair } from './core.ts';

export interface IdleCost {
  readonly connections: number;
  /** Heap and stack memory of one end of one connection. */
  readonly bytesEach: number;
  /** Gbit/s of one more connection with none and with all idle ones beside it, medians of paired runs. */
  readonly gbitAlone: number;
  readonly gbitBeside: number;
  /** Median of the paired ratios. */
  readonly ratio: number;
}

const median = (values: readonly number[]): number => [...values].sort((a, b) => a - b)[values.length >> 1]!;

/** Runs a full garbage collection, without a flag on the command line. */
export function collectGarbage(): void {
  setFlagsFromString('--expose-gc');
  (runInNewContext('gc') as () => void)();
}

const heldBytes = (pair: CorePair): number => {
  collectGarbage();
  const { heapUsed, external } = process.memoryUsage();
  // The linear memory is counted by what is handed out: the rest is budget, not use.
  return heapUsed + external - pair.client.memory.bytes + pair.client.memory.usedBytes;
};

/** Measures with `count` connections, in `rounds` pairs of runs of `ms`. */
export function idleCost(count: number, rounds: number, ms: number): IdleCost {
  const alone = new CorePair(false, 64 << 20);
  const [aloneConnection] = alone.connect(9, 1);
  const beside = new CorePair(false, 64 << 20);
  // One of everything first, so that code and tables made once are not counted.
  beside.connect(81, 64);
  collectGarbage();
  const before = heldBytes(beside);
  const idle = beside.connect(80, count);
  collectGarbage();
  const bytesEach = (heldBytes(beside) - before) / (2 * count);
  const [besideConnection] = beside.connect(9, 1);
  bulk(alone, aloneConnection!, ms);
  bulk(beside, besideConnection!, ms);
  const pairs: [number, number][] = [];
  for (let i = 0; i < rounds; i++) {
    pairs.push([bulk(alone, aloneConnection!, ms)[0], bulk(beside, besideConnection!, ms)[0]]);
  }
  if (idle.some(([socket, peer]) => socket.state() !== 'ESTABLISHED' || peer.state() !== 'ESTABLISHED')) {
    throw new Error('an idle connection was lost');
  }
  alone.close();
  beside.close();
  return {
    connections: count,
    bytesEach,
    gbitAlone: median(pairs.map(([a]) => a)),
    gbitBeside: median(pairs.map(([, b]) => b)),
    ratio: median(pairs.map(([a, b]) => b / a)),
  };
}
