import { test } from 'node:test';
import { FuzzHost } from './fuzz-host.ts';

/** A million frames in all: half here, half in fuzz-ethernet.test.ts, so that they run side by side. */
const HOSTS = 10;
const FRAMES = 50_000;

for (let seed = 1; seed <= HOSTS; seed++) {
  test(`fuzz: ${FRAMES} IP packets from seed ${seed} throw nothing, leak nothing, and the host still serves`, () => {
    const host = new FuzzHost(seed, 'ip');
    host.run(FRAMES);
    host.finish();
  });
}
