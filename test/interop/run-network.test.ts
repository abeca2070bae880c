/**
 * `ethertype run` in a namespace whose only network is made of addresses of its own: what the way to a far host, or
 * another proxy in front of it, says, and how connections end. Nothing can leave it. @module
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { MAIN, pause, skipRun } from './machine.ts';
import { Namespace, type Result, type Running } from './namespace.ts';

const options = { timeout: 60_000 };
const FAR = '198.51.100.7';
const FAR6 = '2001:db8::7';
const BYTES = 30_000_000;
const ZEROS = createHash('sha256').update(Buffer.alloc(BYTES)).digest('hex');
const FAR_CHILD = fileURLToPath(new URL('./far-child.js', import.meta.url));

/** Tries connections from inside, and prints how each went: `OPEN`, or the code of the error. */
const TRY = `const net = require('node:net');
  const one = ([host, port]) => new Promise((resolve) => { const began = Date.now();
    const socket = net.connect({ host, port: Number(port) }, () => { resolve('OPEN'); socket.destroy(); });
    socket.on('error', (e) => resolve(Date.now() - began < 2000 ? e.code : e.code + ' late')); });
  (async () => { for (const target of process.argv.slice(1)) console.log(await one(target.split(' '))); })();`;

/** Asks with one datagram each, and prints how that went: the answer, the code of the error, or `unreachable`. */
const ASK = `const dgram = require('node:dgram');
  const unreachable = () => Number(require('node:fs').readFileSync('/proc/net/snmp', 'utf8').match(/^Icmp: \\d.*$/m)[0].split(' ')[4]);
  const one = ([host, port]) => new Promise((resolve) => { const before = unreachable();
    const socket = dgram.createSocket(host.includes(':') ? 'udp6' : 'udp4');
    // A UDP socket is not told of hosts that cannot be reached: Linux counts what it was told.
    const timer = setInterval(() => { if (unreachable() > before) end('unreachable'); }, 20);
    const end = (what) => { clearInterval(timer); resolve(what); socket.close(); };
    socket.on('error', (e) => end(e.code)); socket.on('message', (m) => end(String(m)));
    socket.connect(Number(port), host, () => socket.send('hello')); });
  (async () => { for (const target of process.argv.slice(1)) console.log(await one(target.split(' '))); })();`;

describe('run: the network there is', { skip: skipRun('nc', 'curl') }, () => {
  let space: Namespace;
  let far: Running;
  let ports: Record<string, number>;
  let ports6: Record<string, number>;
  let folder = '';
  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'et-far-'));
    space = await Namespace.create();
    await space.must('ip', 'addr', 'add', `${FAR}/32`, 'dev', 'lo');
    await space.must('ip', 'addr', 'add', `${FAR6}/128`, 'dev', 'lo', 'nodad');
    await space.must('ip', 'route', 'add', 'unreachable', '203.0.113.0/25');
    await space.must('ip', 'route', 'add', 'prohibit', '203.0.113.128/25');
    const readPorts = (line: string): Record<string, number> => JSON.parse(line.replace('ready ', ''));
    far = space.spawn(process.execPath, FAR_CHILD, FAR);
    const far6 = space.spawn(process.execPath, FAR_CHILD, FAR6);
    ports = readPorts(await far.line(/^ready/));
    ports6 = readPorts(await far6.line(/^ready/));
  });
  after(async () => {
    await space.dispose();
    rmSync(folder, { recursive: true, force: true });
  });

  const run = (flags: readonly string[], ...command: string[]): Promise<Result> =>
    space.execWith({ timeoutMs: 40_000 }, process.execPath, MAIN, 'run', ...flags, '--', ...command);
  const script = (flags: readonly string[], text: string): Promise<Result> =>
    run(flags, 'bash', '-eo', 'pipefail', '-c', text);
  const attempts = async (flags: readonly string[], ...targets: string[]): Promise<string[]> => {
    const { stdout, stderr, code } = await run(flags, process.execPath, '-e', TRY, ...targets);
    assert.equal(code, 0, stderr);
    return stdout.trim().split('\n');
  };
  /** A port of the far host where nobody listens. */
  const CLOSED = 9;

  test('a refusal is one, a host that cannot be reached is one, and both at once', options, async () => {
    const said = await attempts(
      [],
      `${FAR} ${ports.http}`,
      `${FAR} ${CLOSED}`,
      `${FAR6} ${ports6.http}`,
      `${FAR6} ${CLOSED}`,
      '203.0.113.1 80', // EHOSTUNREACH of the machine
      '192.0.2.1 80', // ENETUNREACH of the machine: there is no route
      '2001:db8:1::1 80',
      '203.0.113.200 80', // EACCES of the machine
    );
    const refused = 'ECONNREFUSED';
    const unreachable = 'EHOSTUNREACH';
    assert.deepEqual(said, ['OPEN', refused, 'OPEN', refused, unreachable, unreachable, unreachable, refused]);
  });

  test('datagrams: an answer, a refusal, a host that cannot be reached', options, async () => {
    const targets = [
      `${FAR} ${ports.udp}`,
      `${FAR6} ${ports6.udp}`,
      `${FAR} ${CLOSED}`,
      `${FAR6} ${CLOSED}`,
      '192.0.2.1 9',
    ];
    const { stdout } = await run([], process.execPath, '-e', ASK, ...targets);
    const expected = ['re: hello', 're: hello', 'ECONNREFUSED', 'ECONNREFUSED', 'unreachable'];
    assert.deepEqual(stdout.trim().split('\n'), expected);
  });

  test('what is denied is refused at once, with a line of the log that says why', options, async () => {
    const flags = [
      '--allow',
      `${FAR}:${ports.http}`,
      '--deny',
      '2001:db8::/32',
      '--allow',
      '*:443',
      '--deny',
      'tcp:203.0.113.9',
    ];
    const said = await run(
      flags,
      process.execPath,
      '-e',
      TRY,
      `${FAR} ${ports.http}`,
      `${FAR} ${ports.hold}`,
      `${FAR6} 443`,
      '203.0.113.9 443',
    );
    assert.deepEqual(said.stdout.trim().split('\n'), ['OPEN', 'ECONNREFUSED', 'ECONNREFUSED', 'ECONNREFUSED']);
    const lines = said.stderr
      .trim()
      .split('\n')
      .map((line) => line.replace(/(\[fd00:2::[0-9a-f:]+\]|10\.0\.2\.100):\d+/, 'GUEST'));
    assert.deepEqual(lines, [
      `ethertype run: denied tcp GUEST -> ${FAR}:${ports.hold}: no rule allows it`,
      `ethertype run: denied tcp GUEST -> [${FAR6}]:443: denied by 2001:db8::/32`,
      'ethertype run: denied tcp GUEST -> 203.0.113.9:443: denied by tcp:203.0.113.9',
    ]);
  });

  const halves = async (flags: readonly string[]): Promise<void> => {
    const { code, stdout, stderr } = await script(
      flags,
      `head -c ${BYTES} /dev/zero | nc -N ${FAR} ${ports.hash}
      head -c ${BYTES} /dev/zero | nc -N ${FAR6} ${ports6.hash}
      (sleep 0.3; echo afterwards) | nc -N ${FAR} ${ports.first}`,
    );
    assert.equal(code, 0, stderr);
    assert.equal(stdout, `${ZEROS}\n${ZEROS}\nfirst\n`);
    await far.line(/^heard afterwards$/);
  };

  test('either half may be closed first: nc sends to its end, and then reads to its end', options, () => halves([]));

  test('a reset is one, of either side', options, async () => {
    const program = `const net = require('node:net'); const [host, reset, hold] = process.argv.slice(1);
      const a = net.connect({ host, port: Number(reset) }, () => a.write('x'));
      a.on('error', (e) => { console.log(e.code);
        const b = net.connect({ host, port: Number(hold) }, () => { b.write('x'); setTimeout(() => b.resetAndDestroy(), 100); }); });`;
    for (const [host, { reset, hold }] of [
      [FAR, ports],
      [FAR6, ports6],
    ] as const) {
      const { stdout } = await run([], process.execPath, '-e', program, host, `${reset}`, `${hold}`);
      assert.equal(stdout, 'ECONNRESET\n');
    }
    await far.line(/^error ECONNRESET$/);
  });

  const bulk = async (flags: readonly string[]): Promise<void> => {
    const { code, stdout, stderr } = await script(
      flags,
      `curl -sS http://${FAR}:${ports.http}/${BYTES} | sha256sum
      curl -gsS 'http://[${FAR6}]:${ports6.http}/${BYTES}' | sha256sum
      head -c ${BYTES} /dev/zero | curl -sS -T - http://${FAR}:${ports.http}/; echo
      for i in $(seq 20); do curl -sS http://${FAR}:${ports.http}/10 & done | wc -c; wait`,
    );
    assert.equal(code, 0, stderr);
    assert.equal(stdout, `${ZEROS}  -\n${ZEROS}  -\n${ZEROS}\n200\n`);
  };

  test('out through SOCKS5: ssh -D', { ...options, skip: skipRun('ssh', 'sshd', 'ssh-keygen') }, async () => {
    const [sshd, ssh, socks] = await startSsh(space, folder);
    const flags = ['--upstream', `socks5://127.0.0.1:${socks}`];
    await bulk(flags);
    await halves(flags);
    // A refusal; or, of an ssh that says yes before it has asked, a connection that ends at once.
    const { code } = await run(flags, 'curl', '-sS', `http://${FAR}:${CLOSED}/`);
    assert.ok([7, 52, 56].includes(code ?? 0), `curl ends with ${code}`);
    // It is gone: what the proxy itself says counts.
    await ssh.end(5000, 'SIGTERM');
    await sshd.end(5000, 'SIGTERM');
    assert.deepEqual(await attempts(flags, `${FAR} ${ports.http}`), ['ECONNREFUSED']);
  });

  test('out through SOCKS5 with a password: microsocks', { ...options, skip: skipRun('microsocks') }, async () => {
    const proxy = space.spawn('microsocks', '-i', '127.0.0.1', '-p', '1080', '-u', 'me', '-P', 'secret');
    await listening(space, 1080);
    const flags = ['--upstream', 'socks5://me:secret@127.0.0.1:1080'];
    await bulk(flags);
    const targets = [`${FAR} ${ports.http}`, `${FAR} ${CLOSED}`, '203.0.113.1 80', '192.0.2.1 80'];
    assert.deepEqual(await attempts(flags, ...targets), ['OPEN', 'ECONNREFUSED', 'EHOSTUNREACH', 'EHOSTUNREACH']);
    // It carries no datagrams, and says so.
    const asked = await run(flags, process.execPath, '-e', ASK, `${FAR} ${ports.udp}`, `${FAR} ${ports.udp}`);
    assert.equal(asked.stdout, 'ECONNREFUSED\nECONNREFUSED\n');
    assert.equal(asked.stderr.match(/denied udp .*: the upstream proxy carries no udp/g)?.length, 2, asked.stderr);
    const stranger = await run(
      ['--upstream', 'socks5://me:wrong@127.0.0.1:1080'],
      'curl',
      '-sS',
      `http://${FAR}:${ports.http}/1`,
    );
    assert.equal(stranger.code, 7);
    await proxy.end(5000, 'SIGTERM');
  });

  test('out through SOCKS5 with datagrams: dante', { ...options, skip: skipRun('danted', 'ping') }, async () => {
    const file = join(folder, 'danted.conf');
    const rule = (what: string, more = ''): string => `${what} pass {\n from: 0/0 to: 0/0\n${more}}\n`;
    const lines = [`internal: 127.0.0.1 port = 1082`, `external: ${FAR}`, `external: ${FAR6}`, 'socksmethod: none'];
    lines.push('clientmethod: none', 'user.privileged: root', 'user.unprivileged: nobody', 'logoutput: stderr');
    const commands = ['connect udpassociate', 'udpreply'].map((all) => rule('socks', ` command: ${all}\n`));
    writeFileSync(file, `${lines.join('\n')}\n${rule('client')}${commands.join('')}`);
    const proxy = space.spawn('danted', '-f', file);
    await listening(space, 1082);
    const [log, stats] = [join(folder, 'dante-flows'), join(folder, 'dante-stats')];
    const flags = ['--upstream', 'socks5://127.0.0.1:1082', '--log', log, '--stats', stats];
    const targets = [`${FAR} ${ports.udp}`, `${FAR6} ${ports6.udp}`, `${FAR} ${ports.udp}`];
    const { stdout, stderr } = await run(flags, process.execPath, '-e', ASK, ...targets);
    assert.deepEqual(
      stdout.trim().split('\n'),
      targets.map(() => 're: hello'),
      stderr + proxy.stderr,
    );
    const { start, after: left } = JSON.parse(readFileSync(stats, 'utf8'));
    assert.deepEqual([left.udp, left.bytes, left.descriptors < start.descriptors], [0, 0, true]);
    assert.deepEqual(await attempts(flags, `${FAR} ${ports.http}`), ['OPEN'], 'TCP, too');
    const pinged = await run(flags, 'ping', '-c', '1', '-W', '5', FAR);
    assert.match(pinged.stdout, /Destination Host Unreachable/);
    assert.match(pinged.stderr, new RegExp(`denied icmp 10.0.2.100 -> ${FAR}: the upstream proxy carries no icmp`));
    await proxy.end(5000, 'SIGTERM');
    // It is gone: a datagram is refused, as a connection is.
    const gone = await run(flags, process.execPath, '-e', ASK, `${FAR} ${ports.udp}`);
    assert.equal(gone.stdout, 'ECONNREFUSED\n');
  });

  test('out through HTTP CONNECT: tinyproxy', { ...options, skip: skipRun('tinyproxy') }, async () => {
    const file = join(folder, 'tinyproxy.conf');
    const lines = [
      'Port 8888',
      'Listen 127.0.0.1',
      'Timeout 60',
      'MaxClients 100',
      'BasicAuth me secret',
      'LogLevel Error',
    ];
    writeFileSync(file, `${lines.join('\n')}\n`);
    const proxy = space.spawn('tinyproxy', '-d', '-c', file);
    await listening(space, 8888);
    const flags = ['--upstream', 'http://me:secret@127.0.0.1:8888'];
    await bulk(flags);
    assert.deepEqual(await attempts(flags, `${FAR} ${ports.http}`), ['OPEN']);
    assert.equal((await attempts(flags, `${FAR} ${CLOSED}`)).includes('OPEN'), false);
    const stranger = await run(['--upstream', 'http://127.0.0.1:8888'], 'curl', '-sS', `http://${FAR}:${ports.http}/1`);
    assert.equal(stranger.code, 7);
    await proxy.end(5000, 'SIGTERM');
  });
});

async function listening(space: Namespace, port: number): Promise<void> {
  for (let i = 0; i < 200; i++) {
    if ((await space.exec('nc', '-z', '127.0.0.1', `${port}`)).code === 0) return;
    await pause(50);
  }
  throw new Error(`nobody listens on port ${port}`);
}

/** An sshd in the namespace, and a client of it that is a SOCKS proxy; returns its port, too. */
async function startSsh(space: Namespace, folder: string): Promise<[sshd: Running, ssh: Running, port: number]> {
  const path = (name: string): string => join(folder, name);
  for (const name of ['host-key', 'user-key'])
    execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', path(name)]);
  writeFileSync(path('authorized'), readFileSync(path('user-key.pub')));
  chmodSync(path('authorized'), 0o600);
  const lines = ['ListenAddress 127.0.0.1', 'Port 2222', `HostKey ${path('host-key')}`, 'PidFile none', 'UsePAM no'];
  lines.push(`AuthorizedKeysFile ${path('authorized')}`, 'StrictModes no', 'PasswordAuthentication no');
  writeFileSync(path('sshd_config'), `${lines.join('\n')}\n`);
  writeFileSync(path('known'), `[127.0.0.1]:2222 ${readFileSync(path('host-key.pub'), 'utf8')}`);
  mkdirSync('/run/sshd', { recursive: true });
  const program = existsSync('/usr/sbin/sshd') ? '/usr/sbin/sshd' : 'sshd';
  const sshd = space.spawn(program, '-D', '-e', '-f', path('sshd_config'));
  await listening(space, 2222);
  const login = [
    '-F',
    'none',
    '-i',
    path('user-key'),
    '-o',
    `UserKnownHostsFile=${path('known')}`,
    '-o',
    'BatchMode=yes',
  ];
  const ssh = space.spawn('ssh', ...login, '-N', '-D', '127.0.0.1:1081', '-p', '2222', 'root@127.0.0.1');
  await listening(space, 1081);
  return [sshd, ssh, 1081];
}
