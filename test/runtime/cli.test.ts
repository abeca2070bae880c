/** The tool as a user runs it: exit codes, one line on stderr where something is wrong, and never a stack trace. @module */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { Namespace, type Result, skipReason } from '../interop/namespace.ts';

const MAIN = fileURLToPath(new URL('../../src/cli/main.js', import.meta.url));
const timeout = 30_000;
const MANIFEST = fileURLToPath(new URL('../../../package.json', import.meta.url));

function run(...args: string[]): Result {
  const { status, stdout, stderr } = spawnSync(process.execPath, [MAIN, ...args], { encoding: 'utf8', timeout });
  return { code: status, stdout, stderr };
}

/** Nothing on stdout, one line on stderr, and this exit code. */
function assertLine({ code, stdout, stderr }: Result, exit: number, line: RegExp): void {
  assert.match(stderr, /^[^\n]+\n$/);
  assert.match(stderr, line);
  assert.equal(stdout, '');
  assert.equal(code, exit);
}

describe('wrong usage: exit code 2', () => {
  const tap = ['server', '--tap', 'tap0'];
  const server = [...tap, '--address', '10.0.0.1/24'];
  const rows: readonly (readonly [name: string, args: readonly string[], line: RegExp])[] = [
    ['no command', [], /a command is needed: lab, server, dump, bench, drill/],
    ['an unknown command', ['fly'], /unknown command fly: expected lab, server, dump, bench, drill/],
    ['a command misspelt', ['sevrer'], /unknown command sevrer: did you mean server\?/],
    ['a name every object has', ['constructor'], /unknown command constructor/],
    ['an unknown option before the command', ['--fast'], /unknown option --fast/],
    [
      'an unknown option',
      [...server, '--frobnicate'],
      /server: unknown option --frobnicate \(see ethertype server --h/,
    ],
    ['an option misspelt', [...server, '--drp', '3'], /unknown option --drp: did you mean --drop\?/],
    ['an unknown short option', [...server, '-q'], /unknown option -q/],
    ['a value missing', ['server', '--tap'], /--tap needs a value/],
    [
      'a value missing before another option',
      [...tap, '--address', '--json'],
      /--address needs a value; write --address=/,
    ],
    ['a value too many', [...server, '--json=yes'], /--json takes no value/],
    ['an argument too many', [...server, 'now'], /unexpected argument "now"/],
    [
      'no interface',
      ['server', '--address', '10.0.0.1/24'],
      /expected one interface, --tap NAME or --tun NAME, got none/,
    ],
    ['two interfaces', [...server, '--tun', 'tun0'], /expected one interface, .*, got both/],
    ['an empty name', ['server', '--tap', '', '--address', '10.0.0.1/24'], /--tap: expected a name like tap0, got ""/],
    ['no address', tap, /at least one --address CIDR/],
    [
      'a bad address',
      [...tap, '--address', '10.0.0.256/24'],
      /--address: expected an address with prefix .*10\.0\.0\.256/,
    ],
    ['an address without its prefix', [...tap, '--address', '10.0.0.1'], /--address: expected an address with prefix/],
    ['a prefix too long', [...tap, '--address', '10.0.0.1/33'], /--address: expected an address with prefix/],
    [
      'a group address',
      [...tap, '--address', '224.0.0.1/24'],
      /--address: expected the address of a host, got 224\.0\.0\.1/,
    ],
    ['a broadcast address', [...tap, '--address', '10.0.0.255/24'], /--address: expected the address of a host/],
    ['a bad host address', [...server, '--host-address', 'x/24'], /--host-address: expected an address with prefix/],
    [
      'the same address twice',
      [...server, '--host-address', '10.0.0.1/24'],
      /--host-address: expected another address/,
    ],
    [
      'two IPv4 addresses for Linux',
      [...server, '--host-address', '10.0.0.2/24', '--host-address', '10.0.0.3/24'],
      /--host-address: expected at most one IPv4 address/,
    ],
    ['a bad gateway', [...server, '--gateway', 'home'], /--gateway: expected an IPv4 or IPv6 address, got "home"/],
    ['a gateway elsewhere', [...server, '--gateway', '10.1.0.1'], /--gateway: expected an address on the network/],
    ['a bad MAC', [...server, '--mac', '02:00:00:00:00'], /--mac: expected six bytes like 02:00:00:00:00:01/],
    ['a group MAC', [...server, '--mac', '01:00:5e:00:00:01'], /--mac: expected the address of one host/],
    [
      'a MAC for a TUN',
      ['server', '--tun', 'tun0', '--address', '10.0.0.1/24', '--mac', '02:00:00:00:00:01'],
      /--mac is for --tap/,
    ],
    ['an MTU too small', [...server, '--mtu', '67'], /--mtu: expected a whole number from 68 to 65535, got "67"/],
    ['an MTU that is none', [...server, '--mtu', '1e3'], /--mtu: expected a whole number/],
    [
      'a percentage that is none',
      [...server, '--drop', 'some'],
      /--drop: expected a percentage from 0 to 100, got "some"/,
    ],
    ['a percentage too large', [...server, '--corrupt', '101'], /--corrupt: expected a percentage from 0 to 100/],
    ['a negative percentage', [...server, '--reorder=-1'], /--reorder: expected a percentage from 0 to 100/],
    ['a delay that is none', [...server, '--delay', 'long'], /--delay: expected a number from 0 to 60000/],
    ['a rate that is none', [...server, '--rate', '10X'], /--rate: expected bits a second like 500k, 10M or 1G/],
    ['a rate of nothing', [...server, '--rate', '0'], /--rate: expected bits a second/],
    ['a seed that is none', [...server, '--seed', 'lucky'], /--seed: expected a whole number/],
    ['a memory too small', [...server, '--memory', '4K'], /--memory: expected bytes like 64M/],
    ['a scenario that is none', [...server, '--scenario', MANIFEST], /package\.json: unknown name "name"/],
    ['an unknown option of lab', ['lab', '--frobnicate'], /^ethertype lab: .*--frobnicate/],
    ['an unknown option of drill', ['drill', '--frobnicate', 'a.pkt'], /^ethertype drill: .*--frobnicate/],
    ['no script', ['drill'], /a script is needed: a file, a folder or a pattern/],
    [
      'no such profile',
      ['drill', '--profile', 'plan9', 'a'],
      /--profile: expected ethertype, linux, freebsd, got "plan9"/,
    ],
    ['a definition that is none', ['drill', '--define', '=5', 'a'], /--define: expected SYMBOL=VALUE, got "=5"/],
    [
      'an option of scripts that is wrong',
      ['drill', '--mtu', 'big', 'a'],
      /^ethertype drill: --mtu: expected an MTU up/,
    ],
    ['no such number of jobs', ['drill', '--jobs', '0', 'a'], /--jobs: expected a whole number from 1 to 64, got "0"/],
    [
      'threads on a TAP',
      ['server', '--tap', 'tap0', '--address', '10.0.0.2/24', '--threads', '2'],
      /^ethertype server: --threads is for --tun: on a TAP, answers of ARP and ND would reach only one of the threads/,
    ],
    [
      'threads with an address to be found',
      ['server', '--tun', 'tun0', '--address', 'slaac', '--threads', '2'],
      /--threads takes addresses like 10\.0\.0\.2\/24, got slaac/,
    ],
    [
      'too many threads',
      ['server', '--tun', 'tun0', '--address', '10.0.0.2/24', '--threads', '65'],
      /--threads: expected a whole number from 1 to 64, got "?65/,
    ],
    ['a loss that is none', ['run', '--loss', '101', '--', 'true'], /^ethertype run: --loss: expected a percentage/],
    [
      'a rule whose name is two words',
      ['run', '--allow', 'my host', '--', 'true'],
      /^ethertype run: --allow: rule "my host": my host is no address, no prefix and no name/,
    ],
    ['an unknown option of bench', ['bench', '--frobnicate'], /^ethertype bench: .*--frobnicate/],
  ];
  for (const [name, args, line] of rows) {
    test(name, { timeout }, () => assertLine(run(...args), 2, line));
  }
});

describe('help and version: exit code 0', () => {
  const { version } = JSON.parse(readFileSync(new URL('../../../package.json', import.meta.url), 'utf8'));
  const rows: readonly (readonly [args: readonly string[], output: RegExp])[] = [
    [['--help'], /^ {2}lab .*\n {2}server .*\n {2}dump .*\n {2}bench .*$/m],
    [['-h'], /usage: ethertype COMMAND/],
    [['help'], /usage: ethertype COMMAND/],
    [['--version'], new RegExp(`^${version.replaceAll('.', '\\.')}\\n$`)],
    [['server', '--help'], /^usage: ethertype server /],
    [['server', '--tap', 'tap0', '-h'], /^usage: ethertype server /],
    [['help', 'server'], /^usage: ethertype server /],
    [['lab', '--help'], /usage: ethertype lab/i],
    [['drill', '--help'], /usage: ethertype drill/i],
    [['bench', '--help'], /usage: ethertype bench/i],
  ];
  for (const [args, output] of rows) {
    test(args.join(' '), { timeout }, () => {
      const { code, stdout, stderr } = run(...args);
      assert.match(stdout, output);
      assert.equal(stderr, '');
      assert.equal(code, 0);
    });
  }

  test('every line fits a terminal of 120 columns', { timeout }, () => {
    const help = run('--help').stdout;
    const names = [...help.matchAll(/^ {2}(?!ethertype)([a-z]+) /gm)].map((found) => found[1]!);
    assert.ok(names.length >= 13, names.join());
    for (const text of [help, ...names.map((name) => run(name, '--help').stdout)]) {
      for (const line of text.split('\n')) assert.ok(line.length <= 120, line);
    }
  });
});

describe('bench', () => {
  test('every row has figures, a peer and a ratio, as JSON and as a table', { timeout: 60_000 }, () => {
    const args = ['bench', '--rounds', '1', '--ms', '5', '--idle', '200', '--no-tun', '--no-proxy'];
    const { code, stdout, stderr } = run(...args, '--json');
    assert.equal(stderr, '');
    assert.equal(code, 0);
    const { rows, tunSkipped } = JSON.parse(stdout) as { rows: Record<string, unknown>[]; tunSkipped: string };
    assert.equal(tunSkipped, '--no-tun');
    for (const { name, ours, theirs, ratio, peer } of rows) {
      for (const figure of [ours, theirs, ratio]) assert.ok(Number(figure) > 0, `${name}: ${figure}`);
      assert.equal(typeof peer, 'string');
    }
    const table = run('bench', '--ipv6', '--rounds', '1', '--ms', '5').stdout.split('\n');
    assert.match(table[0]!, /^ +ethertype +ratio +peer$/);
    assert.match(table[1]!, /^TCP bulk, core, IPv6 +[\d.]+ Gbit\/s +\d+\.\d\d +[\d.]+ {2}the same over IPv4$/);
    const wanted = ['TCP bulk, 256 connections', 'connections opened and closed', 'one end of an idle connection'];
    for (const name of wanted)
      assert.ok(
        rows.some((row) => row.name === name),
        name,
      );
  });
});

describe('drill', () => {
  const folder = mkdtempSync(join(tmpdir(), 'drill-'));
  const file = (name: string, text: string): string => {
    writeFileSync(join(folder, name), text);
    return join(folder, name);
  };
  const call = '0 socket(..., SOCK_STREAM, IPPROTO_TCP) =';
  const good = file('good.pkt', `${call} 3\n`);
  const bad = file('bad.pkt', `${call} -1\n`);
  const wrong = file('wrong.pkt', '\n0 what?\n');
  after(() => rmSync(folder, { recursive: true }));

  test('a script that passes', { timeout }, () => {
    assert.deepEqual(run('drill', good), { code: 0, stdout: '1 passed, 0 failed\n', stderr: '' });
  });
  test('scripts that fail, or cannot be read, say where', { timeout }, () => {
    const { code, stdout } = run('drill', folder);
    assert.equal(code, 1);
    assert.ok(stdout.includes(`${bad}:1:1: socket: expected -1, got `), stdout);
    assert.ok(stdout.includes(`${wrong}:2:3: expected '<', '>', a system call`), stdout);
    assert.match(stdout, /\n1 passed, 2 failed\n$/);
  });
  test('in threads, by a pattern, as JSON: the same, in the same order', { timeout }, () => {
    const { code, stdout } = run('drill', '--json', '--jobs', '3', join(folder, '*.pkt'));
    assert.equal(code, 1);
    const { profile, passed, failed, scripts } = JSON.parse(stdout);
    assert.deepEqual([profile, passed, failed], [null, 1, 2]);
    assert.deepEqual(
      scripts.map(({ name, failure }: { name: string; failure: { kind: string } | null }) => [name, failure?.kind]),
      [
        [bad, 'call'],
        [good, undefined],
        [wrong, 'parse'],
      ],
    );
  });
  test('--verbose shows the trace of what passes', { timeout }, () => {
    assert.match(run('drill', '--verbose', good).stdout, /good\.pkt: passed\n {4}0\.000000 {3}socket\(/);
  });
  test('--define and options of scripts', { timeout }, () => {
    const text = `${call} 3\n+0 bind(3, ..., ...) = 0\n+0 listen(3, 1) = 0
0 < S 0:0(0) win 1 <mss 1000>\n+0 > S. 0:0(0) ack 1 <mss MSS>\n`;
    const path = file('defined.txt', text);
    assert.equal(run('drill', '-D', 'MSS=1460', path).code, 0);
    assert.equal(run('drill', '-D', 'MSS=1160', '--mtu=1200', path).code, 0);
    assert.equal(run('drill', '-D', 'MSS=1160', path).code, 1);
  });
  test('no such file', { timeout }, () => {
    assertLine(run('drill', join(folder, 'none.pkt')), 1, /none\.pkt: expected a script, a folder with \.pkt files/);
  });
});

describe('files that cannot be read or written: exit code 1', () => {
  const none = '/nonexistent/x';
  const told = (what: string): RegExp =>
    new RegExp(`^ethertype \\w+: cannot ${what} ${none}: no such file or directory\\n$`);
  const rows: readonly (readonly [name: string, args: readonly string[], what: string])[] = [
    ['a page', ['lab', '--html', none], 'write the page to'],
    ['a log of run', ['run', '--log', none, '--', 'true'], 'write the log to'],
    ['a log of proxy', ['proxy', '--tun', 'tun0', '--log', none], 'write the log to'],
    ['statistics', ['run', '--stats', none, '--', 'true'], 'write the statistics to'],
    ['a policy', ['run', '--policy', none, '--', 'true'], 'read the policy in'],
  ];
  for (const [name, args, what] of rows) {
    test(name, { timeout }, () => assertLine({ ...run(...args), stdout: '' }, 1, told(what)));
  }

  test('dump does not write over what it reads', { timeout }, () => {
    const folder = mkdtempSync(join(tmpdir(), 'et-dump-'));
    try {
      const path = join(folder, 'a.pcap');
      writeFileSync(path, 'a capture');
      symlinkSync(path, join(folder, 'b.pcap'));
      for (const other of ['a.pcap', 'b.pcap']) {
        assertLine(
          run('dump', '-r', path, '-w', join(folder, other)),
          2,
          /expected two files, got .* to read and to write/,
        );
      }
      assert.equal(readFileSync(path, 'utf8'), 'a capture');
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});

describe('operations that fail: exit code 1', { skip: skipReason('setpriv', 'unshare') }, () => {
  const address = ['--address', '10.66.0.1/24'];
  const asNobody = ['setpriv', '--reuid', '65534', '--regid', '65534', '--clear-groups'];
  const node = [process.execPath, MAIN, 'server'];
  const rows: readonly (readonly [name: string, command: readonly string[], line: RegExp])[] = [
    ['no permission', [...asNobody, ...node, '--tap', 'tap0', ...address], /run as root, or (give|make)/],
    [
      'no driver',
      [
        'unshare',
        '-m',
        'sh',
        '-c',
        'mount -t tmpfs none /dev/net && exec "$@"',
        'sh',
        ...node,
        '--tun',
        'x0',
        ...address,
      ],
      /no \/dev\/net\/tun: load the driver with modprobe tun/,
    ],
    ['no such kind of interface', [...node, '--tap', 'lo', ...address], /lo exists and is no TUN or TAP/],
    ['a name no interface may have', [...node, '--tap', 'sixteen-bytes-xx', ...address], /interface name too long/],
    [
      'a capture that cannot be written',
      [...node, '--tap', 'tap0', ...address, '--pcap', '/nonexistent/x.pcap'],
      /cannot write the capture to \/nonexistent\/x\.pcap: no such file or directory/,
    ],
  ];
  for (const [name, command, line] of rows) {
    test(name, { timeout }, async () => {
      const space = await Namespace.create();
      try {
        const [program, ...args] = command;
        const result = await space.exec(program!, ...args);
        assertLine(result, 1, line);
        assert.match(result.stderr, /^ethertype server: /);
      } finally {
        await space.dispose();
      }
    });
  }

  test('an interface that is taken', { timeout }, async () => {
    const space = await Namespace.create();
    try {
      const first = space.spawn(process.execPath, MAIN, 'server', '--tap', 'tap0', ...address);
      await first.line(/^ethertype server: 10\.66\.0\.1 on tap0, /);
      const second = await space.exec(process.execPath, MAIN, 'server', '--tap', 'tap0', '--address', '10.66.0.2/24');
      assertLine(
        second,
        1,
        /^ethertype server: .*interface tap0 is in use by another process: end that one, or choose another name$/m,
      );
      assert.equal(await first.end(5_000, 'SIGINT'), 0);
      assert.match(first.lines[1]!, /^ethertype server: ended after /);
      assert.equal(first.stderr, '');
    } finally {
      await space.dispose();
    }
  });

  test('koffi is not installed', { timeout }, () => {
    const folder = mkdtempSync(join(tmpdir(), 'et-no-koffi-'));
    try {
      cpSync(fileURLToPath(new URL('../../src', import.meta.url)), join(folder, 'src'), { recursive: true });
      writeFileSync(join(folder, 'package.json'), '{"type":"module"}');
      const main = join(folder, 'src/cli/main.js');
      const args = [main, 'server', '--tap', 'tap0', ...address];
      const { status, stdout, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8', timeout });
      assertLine({ code: status, stdout, stderr }, 1, /koffi is not installed; .*: npm install koffi$/m);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
