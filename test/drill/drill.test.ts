/** Our own packet scripts, each under the profiles that its second line names; the first line has the RFC clause. @module */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { knownSettings, PROFILES } from '../../src/sim/drill/profiles.ts';
import { Stage } from '../../src/sim/drill/stage.ts';
import { formatFailure, PROFILE_NAMES, type ProfileName, runScript } from '../../src/sim/index.ts';

const FOLDER = fileURLToPath(new URL('../../../test/drill/', import.meta.url));

/** Other initial sequence numbers, half of them above 2^31. */
const SEEDS = [2, 3, 5, 8];

const scripts = readdirSync(FOLDER, { recursive: true, withFileTypes: true })
  .filter((entry) => entry.isFile() && entry.name.endsWith('.pkt'))
  .map((entry) => join(entry.parentPath ?? entry.path, entry.name))
  .sort();

/** `// profiles: ethertype linux`; where nothing is said, ours alone. */
function profilesOf(source: string): ProfileName[] {
  const names = /^\/\/ profiles: (.*)$/m.exec(source)?.[1]?.split(' ') ?? ['ethertype'];
  return names.map((name) => {
    const known = PROFILE_NAMES.find((profile) => profile === name);
    assert.ok(known, `no profile ${name}`);
    return known;
  });
}

assert.ok(scripts.length >= 50, 'the scripts are where they should be');

for (const path of scripts) {
  const source = readFileSync(path, 'utf8');
  describe(relative(FOLDER, path), () => {
    test('names its rule', () => assert.match(source, /^\/\/ .*(?:RFC \d+|POSIX)/));
    for (const profile of profilesOf(source)) {
      test(profile, async () => {
        const result = await runScript(source, { name: relative(FOLDER, path), profile });
        assert.ok(result.passed, formatFailure(result));
      });
    }
    test('whatever the sequence numbers', async () => {
      const profile = profilesOf(source)[0]!;
      const tcp = knownSettings(PROFILES[profile].tcp);
      for (const seed of SEEDS) {
        const scene = (options: ConstructorParameters<typeof Stage>[0]): Stage => new Stage(options, tcp, seed);
        const result = await runScript(source, { name: `${relative(FOLDER, path)}, seed ${seed}`, profile, scene });
        assert.ok(result.passed, formatFailure(result));
      }
    });
  });
}
