import { test } from 'node:test';
import { FuzzHost } from './fuzz-host.ts';

/** A million frames in all: half here, half in fuzz.test.ts, so that they run side by side. */
const HOSTS = 10;
const FRAMES = 50_000;

for (let seed = 1; seed <= HOSTS; seed++) {
  test(`fuzz: ${FRAMES} Ethernet frames from seed ${1000 + seed} throw nothing, leak nothing, and the host still serves`, () => {
    const host = new FuzzHost(1000 + seed, 'ethernet');
    host.run(FRAMES);
    host.finish();
  });
}
