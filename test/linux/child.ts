/** One script against Linux: node child.js SCRIPT OPTIONS, alone in a network namespace. Prints its result as JSON. @module */
import { readFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { readDrillOptions } from '../../src/sim/drill/options.ts';
import { parseScript } from '../../src/sim/drill/parse.ts';
import { runScript, type ScriptResult } from '../../src/sim/index.ts';
import { openLinux } from './scene.ts';

/** More than in virtual time: timers have grains of 4 ms, and other programs the processors. */
const TOLERANCE_US = '10000';

async function play(path: string): Promise<ScriptResult> {
  const source = readFileSync(path, 'utf8');
  const script = parseScript(source, { defines: new Map(), isV4: !/^--ip_version=ipv6\b/m.test(source) });
  const scene = await openLinux(readDrillOptions(script.options), dirname(path));
  return runScript(source, {
    name: path,
    profile: 'linux',
    options: { tolerance_usecs: TOLERANCE_US },
    scene: () => scene,
  });
}

const [, , path = ''] = process.argv;
let text: string;
try {
  text = JSON.stringify(await play(path));
} catch (error) {
  text = JSON.stringify({ error: (error as Error).stack });
}
// A thread may still be in a call that nobody ends.
process.stdout.write(text, () => process.exit(0));
