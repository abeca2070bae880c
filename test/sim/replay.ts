// Repeats runs of the simulation with a trace of every packet:
//
//     node dist/test/sim/replay.js SEED...            the whole story of each
//     node dist/test/sim/replay.js --pair SEED...     what the seed means for two stacks on a wire
//     node dist/test/sim/replay.js --plan SEED        only what the seed means
//     node dist/test/sim/replay.js --plain SEED       with the kernel in plain TypeScript
import { setDefaultKernel } from '../../src/memory/kernel.ts';
import { pairPlanOf, planOf } from './plan.ts';
import { runPair, runSeed } from './run.ts';

const options = process.argv.slice(2);
const seeds = options.filter((option) => !option.startsWith('-')).map(Number);
if (seeds.length === 0 || seeds.some((seed) => !Number.isInteger(seed))) {
  console.error('replay: expected seeds: node dist/test/sim/replay.js [--pair] [--plan] [--plain] SEED...');
  process.exit(2);
}
if (options.includes('--plain')) setDefaultKernel('plain');
const isPair = options.includes('--pair');
for (const seed of seeds) {
  console.log(JSON.stringify((isPair ? pairPlanOf : planOf)(seed), null, 1));
  if (options.includes('--plan')) continue;
  try {
    console.log(JSON.stringify((isPair ? runPair : runSeed)(seed, (line) => console.log(line))));
  } catch (error) {
    console.log((error as Error).message);
    process.exitCode = 1;
  }
}
