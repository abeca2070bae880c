// Repeats runs of the simulation with a trace of every packet:
//
//     node dist/test/sim/replay.js SEED...            the whole story of each
//     node dist/test/sim/replay.js --plan SEED        only what the seed means
import { planOf } from './plan.ts';
import { runSeed } from './run.ts';

const options = process.argv.slice(2);
const seeds = options.filter((option) => !option.startsWith('-')).map(Number);
if (seeds.length === 0 || seeds.some((seed) => !Number.isInteger(seed))) {
  console.error('replay: expected seeds: node dist/test/sim/replay.js [--plan] SEED...');
  process.exit(2);
}
for (const seed of seeds) {
  console.log(JSON.stringify(planOf(seed), null, 1));
  if (options.includes('--plan')) continue;
  try {
    console.log(JSON.stringify(runSeed(seed, (line) => console.log(line))));
  } catch (error) {
    console.log((error as Error).message);
    process.exitCode = 1;
  }
}
