/** `ethertype run` by a user who is not root, and what it says where something is missing. @module */
import assert from 'node:assert/strict';
import { cpSync, mkdirSync, symlinkSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { assertNothingLeft, type Ended, execute, MAIN, Machine, NOBODY, skipRun } from './machine.ts';

const options = { timeout: 60_000 };

describe('run: without root', { skip: skipRun('setpriv', 'curl', 'ping', 'dig') }, () => {
  let machine: Machine;
  let port = 0;
  let port6 = 0;
  /** The tool, and koffi beside it, where everybody may read them. */
  let main = '';
  before(async () => {
    machine = new Machine();
    port = await machine.serveHttp((request, response) => {
      if (request.method === 'GET') response.end('served');
      else request.resume().on('end', () => response.end('taken'));
    });
    port6 = await machine.serveHttp((_request, response) => response.end('served'), '::1');
    main = copyTool(machine.path('tool'));
  });
  after(() => machine.close());

  /** As the user, in a shell of the machine that `prepare` was said in first. */
  const asNobody = (script: string): Promise<Ended> =>
    execute('unshare', ['--mount', 'bash', '-c', script], { cwd: '/', env: { HOME: '/nonexistent' } });
  const tool = (): string => `'${process.execPath}' '${main}' run`;

  test('all of it works', options, async () => {
    const inside = `[ "$(id -u)" = 0 ]
      curl -sS http://10.0.2.2:${port}/; curl -gsS 'http://[fd00:2::2]:${port6}/'; curl -sS http://web.test:${port}/
      head -c 30000000 /dev/zero | curl -sS -T - http://10.0.2.2:${port}/
      ping -q -c 2 -i 0.1 10.0.2.2 | grep -c ' 0% packet loss'; dig +short web.test; cat; sleep 0.3`;
    const folder = machine.path('nobody');
    mkdirSync(folder);
    const by = [...NOBODY, 'env', 'HOME=/nonexistent'];
    const flags = ['--host', 'web.test=10.0.2.2', '--deny', '198.51.100.0/24', '--pcap', machine.path('nobody.pcapng')];
    const user = { by, main, flags, cwd: '/', input: 'said to it' };
    const result = await machine.run(user, 'bash', '-eo', 'pipefail', '-c', inside);
    assert.deepEqual([result.code, result.stderr], [0, '']);
    assert.equal(result.stdout, 'servedservedservedtaken1\n10.0.2.2\nsaid to it');
    assertNothingLeft(result);
    assert.equal((await machine.run(user, 'sh', '-c', 'exit 42')).code, 42);
    const denied = await machine.run(user, 'curl', '-sS', 'http://198.51.100.1/');
    assert.equal(denied.code, 7);
    assert.match(denied.stderr, /denied tcp .* 198\.51\.100\.1:80: denied by 198/);
    // Root inside is still the user outside.
    const owned = await machine.run(user, 'sh', '-c', 'cat /etc/shadow');
    assert.notEqual(owned.code, 0);
  });

  test('a server of theirs is reached by a published port', options, async () => {
    const outside = await machine.freePort();
    const server = `require('node:http').createServer((q, r) => r.end('inside')).listen(8000)`;
    const flags = ['--publish', `${outside}:8000`];
    const script = `'${process.execPath}' -e "${server}" & sleep 2; kill %1`;
    const running = machine.run({ by: [...NOBODY], main, flags, cwd: '/' }, 'bash', '-c', script);
    let answer = '';
    for (const until = Date.now() + 5000; answer === '' && Date.now() < until; ) {
      answer = await fetch(`http://127.0.0.1:${outside}/`).then(
        (response) => response.text(),
        () => '',
      );
    }
    assert.equal(answer, 'inside');
    const { flows } = await running;
    assert.ok(flows.some(({ direction, result }) => direction === 'in' && result === 'closed'));
  });

  test('names are asked of the stack only, whatever the machine asks', options, async () => {
    const script = `cp -a /etc ${machine.path('names')}; mount --bind ${machine.path('names')} /etc; mkdir -p /run/nscd
      echo 'passwd: files' > /etc/nsswitch.conf; echo 'hosts: resolve [!UNAVAIL=return] mymachines dns' >> /etc/nsswitch.conf
      ${user} ${tool()} --host web.test=10.9.8.7 -- sh -c 'cat /etc/nsswitch.conf /etc/resolv.conf; getent hosts web.test'`;
    const { stdout, stderr } = await asNobody(script);
    assert.equal(stderr, '');
    assert.match(stdout, /^passwd: files\nhosts: files dns\nnameserver 10\.0\.2\.3\n10\.9\.8\.7 +web\.test\n$/);
  });

  const user = `${NOBODY.join(' ')} env HOME=/nonexistent`;
  const rows: [what: string, script: () => string, said: RegExp][] = [
    [
      'user namespaces are switched off',
      () => `${user} unshare -Ur sh -c "echo 0 > /proc/sys/user/max_user_namespaces; ${tool()} -- true"`,
      /cannot make a namespace: unshare: .* \(user\.max_user_namespaces is 0\)$/,
    ],
    [
      'network namespaces are',
      () => `${user} unshare -Ur sh -c "echo 0 > /proc/sys/user/max_net_namespaces; ${tool()} -- true"`,
      /cannot make a namespace: unshare: .* \(user\.max_net_namespaces is 0\)$/,
    ],
    [
      'there is no unshare',
      () => `PATH=/nonexistent; ${tool()} -- true`,
      /there is no unshare\(1\): install util-linux$/,
    ],
    [
      'there is no /dev/net/tun',
      () => `mount -t tmpfs none /dev/net; ${user} ${tool()} -- true`,
      /no \/dev\/net\/tun: load the driver with modprobe tun, or pass the device into the container$/,
    ],
    [
      'it may not be opened',
      () => `mount -t tmpfs none /dev/net; mknod -m 600 /dev/net/tun c 10 200; ${user} ${tool()} -- true`,
      /no permission to open \/dev\/net\/tun/,
    ],
    [
      'resolv.conf leads nowhere',
      () => `cp -a /etc ${machine.path('etc')}; mount --bind ${machine.path('etc')} /etc; rm /etc/resolv.conf
        ln -s ../run/nowhere /etc/resolv.conf; ${user} ${tool()} -- true`,
      /cannot put the name server into \/etc\/resolv\.conf: it is a link to \.\.\/run\/nowhere, which is not there$/,
    ],
    [
      'koffi is not installed',
      () => `'${process.execPath}' '${withoutKoffi(machine.path('bare'))}' run -- true`,
      /the optional package koffi is not installed.*: npm install koffi$/,
    ],
  ];
  for (const [what, script, said] of rows) {
    test(`one line where ${what}`, options, async () => {
      const { code, stdout, stderr } = await asNobody(script());
      assert.deepEqual([code, stdout, stderr.trimEnd().split('\n').length], [1, '', 1], stderr);
      assert.match(stderr.trimEnd(), said);
    });
  }
});

/** What is installed of a built tree: no more than a user of the package has. */
function copyTool(folder: string): string {
  const from = join(dirname(MAIN), '..', '..', '..');
  cpSync(join(from, 'dist', 'src'), join(folder, 'dist', 'src'), { recursive: true });
  cpSync(join(from, 'package.json'), join(folder, 'package.json'));
  const modules = join(from, 'node_modules');
  for (const name of ['koffi', '@koromix']) {
    cpSync(join(modules, name), join(folder, 'node_modules', name), { recursive: true, dereference: true });
  }
  return join(folder, 'dist', 'src', 'cli', 'main.js');
}

/** The same without koffi. */
function withoutKoffi(folder: string): string {
  const from = join(folder, '..', 'tool');
  mkdirSync(folder);
  cpSync(join(from, 'dist'), join(folder, 'dist'), { recursive: true });
  symlinkSync(join(from, 'package.json'), join(folder, 'package.json'));
  return join(folder, 'dist', 'src', 'cli', 'main.js');
}
