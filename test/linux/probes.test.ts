/** What Linux was seen to do (run.ts plays the probes against it) is what this stack does under its profile. @module */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { formatFailure, runScript } from '../../src/sim/index.ts';

const FOLDER = fileURLToPath(new URL('../../../test/linux/probes/', import.meta.url));
/** Linux forgets the fifth hole and its block; the scoreboard of who sends does better with ours, which are all told. */
const DIFFERENT = ['sack-blocks.pkt'];

const probes = readdirSync(FOLDER)
  .filter((name) => name.endsWith('.pkt'))
  .sort();
assert.ok(probes.length >= 50, 'the probes are where they should be');

for (const name of probes) {
  test(name, async () => {
    const result = await runScript(readFileSync(join(FOLDER, name), 'utf8'), { name, profile: 'linux' });
    if (DIFFERENT.includes(name)) assert.equal(result.passed, false, 'listed as different, and is the same');
    else assert.ok(result.passed, formatFailure(result));
  });
}
