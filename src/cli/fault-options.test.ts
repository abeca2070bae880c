import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { NO_FAULTS } from '../phy/faults.ts';
import { readOptions } from './args.ts';
import { type Command, UsageError } from './command.ts';
import { FAULT_OPTIONS, FAULT_USAGE, readFaults } from './fault-options.ts';

const read = (...args: string[]) => readFaults(readOptions(args, FAULT_OPTIONS).values);

test('faults: none asked for, none made', () => {
  assert.equal(read(), null);
  assert.equal(read('--seed', '9'), null);
});

test('faults: every setting of the model has an option, and the other way round', () => {
  const args = [
    ...['--drop', '1', '--bad-enter', '2', '--bad-leave', '30%', '--bad-drop', '90', '--down', '--corrupt', '0.5'],
    ...['--duplicate', '3', '--reorder', '4', '--reorder-delay', '7', '--delay', '20', '--jitter', '5.5'],
    ...['--jitter-shape', 'pareto', '--rate', '10M', '--burst', '3K', '--queue-bytes', '64K', '--queue-frames', '100'],
    ...['--mark-bytes', '32K', '--size-limit', '1000', '--seed', '9'],
  ];
  const plan = read(...args)!;
  assert.deepEqual(plan.options, {
    drop: 0.01,
    badEnter: 0.02,
    badLeave: 0.3,
    badDrop: 0.9,
    down: true,
    corrupt: 0.005,
    duplicate: 0.03,
    reorder: 0.04,
    reorderMs: 7,
    delayMs: 20,
    jitterMs: 5.5,
    jitterShape: 'pareto',
    rateBitsPerSecond: 10e6,
    burstBytes: 3072,
    queueBytesMax: 65_536,
    queueFramesMax: 100,
    markBytes: 32_768,
    sizeBytesMax: 1000,
  });
  assert.deepEqual([plan.seed, plan.scenario], [9, null]);
  assert.deepEqual(Object.keys(plan.options).sort(), Object.keys(NO_FAULTS).sort());
  for (const name of Object.keys(FAULT_OPTIONS)) assert.ok(FAULT_USAGE.includes(`--${name}`), name);
});

const address = ['--address', '10.0.0.1/24'];
const ON_TAP = ['--tap', 'tap0', ...address];
/** Commands that open a device, or have one in memory, each with what it needs besides. */
const COMMANDS: Record<string, { load: () => Promise<{ command: Command }>; args: string[]; rest?: string[] }> = {
  server: { load: () => import('./server.ts'), args: ON_TAP },
  ping: { load: () => import('./ping.ts'), args: [...ON_TAP, '10.0.0.2'] },
  trace: { load: () => import('./trace.ts'), args: [...ON_TAP, '10.0.0.2'] },
  get: { load: () => import('./get.ts'), args: [...ON_TAP, 'http://10.0.0.2/'] },
  dhcp: { load: () => import('./dhcp.ts'), args: ['--tap', 'tap0'] },
  multicast: { load: () => import('./multicast.ts'), args: [...ON_TAP, '224.0.0.251'] },
  resolve: { load: () => import('./resolve.ts'), args: [...ON_TAP, 'x.test'] },
  proxy: { load: () => import('./proxy.ts'), args: ['--tun', 'tun0'] },
  'proxy --qemu': { load: () => import('./proxy.ts'), args: ['--qemu', '/nowhere/socket'] },
  run: { load: () => import('./run.ts'), args: [], rest: ['--', 'true'] },
  lab: { load: () => import('./lab.ts'), args: [] },
};

const SCENARIOS = [
  { name: 'an unknown name', text: '{"schedule":[{"atMs":1,"dropp":0.1}]}', line: /"dropp": did you mean drop\?/ },
  {
    name: 'a value out of range',
    text: '{"schedule":[{"atMs":1,"drop":3}]}',
    line: /schedule\[0\]\.drop: expected a number from 0 to 1, got 3/,
  },
  { name: 'no JSON', text: '{"schedule":[', line: /scenario\.json: no JSON: / },
];

describe('faults, of every command', () => {
  let folder = '';
  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'et-faults-'));
  });
  after(() => rmSync(folder, { recursive: true }));
  for (const [name, { load, args, rest = [] }] of Object.entries(COMMANDS)) {
    const refused = async (more: string[], line: RegExp): Promise<void> => {
      const { command } = await load();
      await assert.rejects(
        command.run([...args, ...more, ...rest]),
        (error) => error instanceof UsageError && line.test(error.message),
        more.join(' '),
      );
    };

    test(`${name}: every option is known, and a bad value is one clear error`, async () => {
      for (const [option, { type }] of Object.entries(FAULT_OPTIONS)) {
        if (option === 'scenario') continue;
        if (type === 'boolean') await refused([`--${option}=x`], new RegExp(`^--${option} takes no value$`));
        else await refused([`--${option}`, 'x'], new RegExp(`^--${option}: expected .*, got "x"$`));
      }
      assert.ok((await load()).command.usage.includes(FAULT_USAGE));
    });

    test(`${name}: what would do nothing is one clear error, and so are two values where one counts`, async () => {
      const rows: [more: string, line: RegExp][] = [
        ['--bad-leave 3', /^--bad-leave is for --bad-enter: expected both, got no --bad-enter$/],
        ['--bad-drop 3', /^--bad-drop is for --bad-enter/],
        ['--reorder-delay 3', /^--reorder-delay is for --reorder/],
        ['--delay 5 --jitter-shape normal', /^--jitter-shape is for --jitter/],
        ['--burst 10k', /^--burst is for --rate/],
        ['--queue-bytes 10k', /^--queue-bytes is for --rate/],
        ['--queue-frames 10', /^--queue-frames is for --rate/],
        ['--mark-bytes 10k', /^--mark-bytes is for --rate/],
        ['--delay 5 --delay 6', /^--delay: expected one value, got "5" and "6"$/],
      ];
      // The lab's wire is bad by itself: what is said there changes that.
      const own = name === 'lab' ? rows.slice(-1) : rows;
      for (const [more, line] of own) await refused(more.split(' '), line);
    });

    for (const { name: what, text, line } of SCENARIOS) {
      test(`${name}: a scenario with ${what}`, async () => {
        const path = join(folder, 'scenario.json');
        writeFileSync(path, text);
        await refused(['--scenario', path], line);
      });
    }
  }
});
