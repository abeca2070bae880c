/** What a user's own functions throw while the stack calls them: an uncaught exception, as from any other callback. @module */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';

const program = `
  import { createHost } from ${JSON.stringify(new URL('../../src/index.js', import.meta.url).href)};
  import { pipePair } from ${JSON.stringify(new URL('../../src/phy/index.js', import.meta.url).href)};
  process.on('uncaughtException', (error, origin) => {
    console.log(origin + ': ' + error.message);
    process.exit(0);
  });
  const [left, right] = pipePair();
  const server = createHost({ device: left, addresses: ['10.0.0.1/24'] });
  const client = createHost({ device: right, addresses: ['10.0.0.2/24'] });
  await server.tcp.listen({ port: 80 });
  const stream = await client.tcp.connect({ host: '10.0.0.1', port: 80 });
  stream.socket.trace(() => {
    throw new Error('of the user');
  });
  await stream.write(new Uint8Array(1));
`;

test('what a trace throws is an uncaught exception, and no rejection', { timeout: 20_000 }, () => {
  const args = ['--input-type=module', '--eval', program];
  const { stdout, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8', timeout: 10_000 });
  assert.equal(stdout, 'uncaughtException: of the user\n', stderr);
});
