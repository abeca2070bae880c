import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { build, type Plugin } from 'esbuild';
import { runPair, runSeed } from './run.ts';

/** Enough for each of the short ways to be gone, and not to be gone, hundreds of times. */
const SEEDS = 12;

/** The two short ways of a segment, and the question that opens each. */
const SHORT_WAYS = /export const (?:isPredicted|leavesAlone) = \([^)]*\) =>/;

/** The simulation with a stack whose short ways nobody takes. */
async function runsWithoutShortWays(): Promise<typeof import('./run.ts')> {
  let closed = 0;
  const closer: Plugin = {
    name: 'close-short-ways',
    setup({ onLoad }) {
      onLoad({ filter: /[\\/]tcp[\\/](?:predicted|send-alone)\.js$/ }, async ({ path }) => {
        const source = await readFile(path, 'utf8');
        const contents = source.replace(SHORT_WAYS, (question) => `${question} false &&`);
        if (contents !== source) closed++;
        return { contents };
      });
    },
  };
  const { outputFiles } = await build({
    entryPoints: [fileURLToPath(new URL('run.js', import.meta.url))],
    bundle: true,
    write: false,
    format: 'esm',
    platform: 'node',
    plugins: [closer],
  });
  assert.equal(closed, 2, 'both were found');
  return import(`data:text/javascript;base64,${Buffer.from(outputFiles[0]!.contents).toString('base64')}`);
}

/** Every frame and event of a run, and what it came to. */
function storyOf(run: typeof runSeed, seed: number): string[] {
  const lines: string[] = [];
  const result = run(seed, (line) => lines.push(line));
  return [...lines, JSON.stringify(result)];
}

test('simulation: tcp/predicted.ts and tcp/send-alone.ts do what receive.ts and send.ts would have done', async () => {
  const long = await runsWithoutShortWays();
  for (let seed = 1; seed <= SEEDS; seed++) {
    assert.deepEqual(storyOf(runSeed, seed), storyOf(long.runSeed, seed), `seed ${seed}`);
    assert.deepEqual(storyOf(runPair, seed), storyOf(long.runPair, seed), `pair ${seed}`);
  }
});
