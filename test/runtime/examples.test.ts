/** Every example runs to its end, and what the README shows is cut from them. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const root = new URL('../../../', import.meta.url);
const run = promisify(execFile);
const names = readdirSync(new URL('examples', root))
  .filter((name) => name.endsWith('.ts'))
  .map((name) => name.replace(/\.ts$/, ''));

/** What an example prints, at least. */
const PRINTS: Record<string, RegExp> = {
  netcore: /^33 bytes, IPv4: hello\n$/,
  netsock: /^33 bytes, IPv4: hello\n$/,
  blocking: /^hello, file\n$/,
  http: /^HTTP\/1.1 200 OK true\n$/,
  server: /^5 clients were greeted\n$/,
  first: /^hello\n$/,
  core: /^hello \d+ segments\n$/,
  posix: /^hello from descriptor to descriptor\n$/,
  names: /^10\.0\.0\.1 true\n$/,
  client: /^olleh\ndlrow\n$/,
  loopback: /^0123456789abcdef came round by \d ms\n$/,
  'loopback-benchmark':
    /^loopback: 67108864 bytes at [\d.]+ Gbit\/s\nwith fault .*: 67108864 bytes at [\d.]+ Gbit\/s\n\d+ frames lost\n$/,
  'packet-to-pcap': /^68 bytes of file hold 28 of packet\n$/,
  slaac: /^addresses (?=.*fe80::).*fd00::[\da-f:]+\/64.*\n(route .*\n)*route ::\/0 by fe80::(.*\n)+ping true\n$/,
  simulated: /^2000000 bytes in \d+\.\d s, \d+ frames lost\n$/,
};

for (const name of names) {
  test(`examples/${name}.ts runs`, { timeout: 30_000 }, async () => {
    const { stdout } = await run(process.execPath, [fileURLToPath(new URL(`dist/examples/${name}.js`, root))]);
    assert.match(stdout, PRINTS[name] ?? /./);
  });
}

test('examples/lab.json runs, and so does examples/scenario.json over it', { timeout: 30_000 }, async () => {
  const [tool, lab, scenario] = ['dist/src/cli/main.js', 'examples/lab.json', 'examples/scenario.json'].map((path) =>
    fileURLToPath(new URL(path, root)),
  );
  const { stdout } = await run(process.execPath, [tool!, 'lab', lab!, '--scenario', scenario!]);
  assert.match(stdout, /\nAll well: /);
});

test('the README shows the examples as they are', () => {
  const readme = readFileSync(new URL('README.md', root), 'utf8');
  const shown = [...readme.matchAll(/<!-- (examples\/\S+) -->\n```ts\n([\s\S]*?)```/g)];
  assert.notEqual(shown.length, 0);
  for (const [, path, text] of shown) assert.equal(text, readFileSync(new URL(path!, root), 'utf8'), path);
});

describe("smoltcp's examples", () => {
  const document = readFileSync(new URL('docs/smoltcp-examples.md', root), 'utf8');
  const rows = [...document.matchAll(/^\| `([^|]+)` \| ([^|]+) \| ([^|]+) \|$/gm)];

  test('each has its row', () => {
    const wanted =
      'server client httpclient ping dns dhcp_client slaac multicast multicast6 loopback loopback_benchmark';
    const others = 'benchmark tcpdump sixlowpan sixlowpan_benchmark packet2pcap';
    assert.deepEqual(
      rows.map(([, name]) => name),
      `${wanted} ${others}`.split(' '),
    );
  });

  for (const [, name, ours, tests] of rows) {
    test(`${name}: what the row names is there`, async () => {
      const files = [...`${ours} ${tests}`.matchAll(/\((?:\.\.\/)?([\w/.-]+\.ts)\)/g)].map(([, path]) => path!);
      for (const path of files) assert.ok(existsSync(new URL(path, root)), path);
      const commands = [...ours!.matchAll(/`ethertype (\w+)[^`]*`/g)].map(([, command]) => command!);
      assert.ok(files.length + commands.length > 0 || ours!.startsWith('none'), ours);
      // One of the tests that the row names is about it: it runs what the row names.
      const texts = [...tests!.matchAll(/\(\.\.\/([\w/.-]+\.ts)\)/g)].map(([, path]) =>
        readFileSync(new URL(path!, root), 'utf8'),
      );
      const whats = [...commands, ...[...ours!.matchAll(/examples\/([\w-]+)\.ts/g)].map(([, example]) => example!)];
      for (const what of whats)
        assert.ok(
          texts.some((text) => new RegExp(`\\b${what}\\b`).test(text)),
          what,
        );
      for (const command of commands) {
        const main = fileURLToPath(new URL('dist/src/cli/main.js', root));
        const { stdout } = await run(process.execPath, [main, command, '--help']);
        assert.match(stdout, new RegExp(`usage: ethertype ${command}`));
      }
    });
  }
});
