/** What the documents say of the channel is there. */
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { describeError } from '../../src/errors.ts';
import * as netstack from '../../src/netstack/index.ts';
import { Posix } from '../../src/posix/index.ts';

const root = new URL('../../../', import.meta.url);
const read = (path: string): string => readFileSync(new URL(path, root), 'utf8');
const rowsOf = (text: string): string[][] =>
  [...text.matchAll(/^\| (.*) \|$/gm)].map(([, row]) => row!.split(' | ').map((cell) => cell.trim()));

test('every scenario has its row in the table, and its test for host and channel alike', () => {
  const names = [
    ...Array.from({ length: 31 }, (_, i) => `P${i + 1}`),
    ...Array.from({ length: 5 }, (_, i) => `Q${i + 1}`),
  ];
  const rows = rowsOf(read('test/netstack/README.md')).flatMap(([name]) => name!.split(', '));
  const source = read('test/netstack/scenarios.test.ts');
  for (const name of names) {
    assert.equal(rows.filter((row) => row === name).length, 1, `${name}: one row`);
    assert.equal([...source.matchAll(new RegExp(`^ {2}['"]${name} `, 'gm'))].length, 1, `${name}: one test`);
  }
  assert.match(source, /for \(const kind of \['host', 'channel'\] as const\)/);
});

test('what docs/originals.md names is there', () => {
  const text = read('docs/originals.md');
  for (const [, path] of text.matchAll(/\]\(\.\.\/([^)]+)\)/g)) assert.ok(existsSync(new URL(path!, root)), path);
  const ours = rowsOf(text)
    .map(([, cell]) => cell!)
    .flatMap((cell) => [...cell.matchAll(/`([^`]+)`/g)].map(([, name]) => name!));
  assert.ok(ours.length > 100, `only ${ours.length} names`);
  const commands = read('src/netstack/commands.ts');
  const owners: Record<string, object> = {
    netstack: netstack.Netstack.prototype,
    channel: netstack.Channel.prototype,
    driver: netstack.Driver.prototype,
    Channel: netstack.Channel,
    Pipe: netstack.Pipe,
    posix: netstack.ChannelPosix.prototype,
  };
  for (const name of ours) {
    if (['...Blocking', '_blocking', 'RangeError', 'share()'].includes(name)) continue;
    const [, owner, call] = /^(?:new )?(?:(\w+)\.)?([\w-]+)/.exec(name) ?? assert.fail(name);
    if (owner !== undefined) assert.ok(call! in owners[owner]!, name);
    else if (/^E[A-Z]+$/.test(call!)) assert.equal(typeof describeError(call as never), 'string', name);
    else if (call!.includes('-') || commands.includes(`kind: '${call}'`))
      assert.ok(commands.includes(`'${call}'`), name);
    else assert.ok(call! in netstack || call === 'Posix' || call === 'NetError' || call === 'readInto', name);
  }
  for (const call of [
    'socket',
    'bind',
    'listen',
    'accept',
    'connect',
    'close',
    'sendto',
    'recvfrom',
    'read',
    'write',
  ]) {
    assert.ok(call in Posix.prototype && call in netstack.ChannelPosix.prototype, call);
  }
});
