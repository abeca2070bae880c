/** TUN, TAP and packet sockets against Linux, without the stack: device-child.ts answers by hand. @module */
import assert from 'node:assert/strict';
import { cpSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { Namespace, type Running, skipReason } from './namespace.ts';
import { sleep } from './server.ts';

const CHILD = fileURLToPath(new URL('./device-child.js', import.meta.url));
const options = { timeout: 60_000 };

const start = (space: Namespace, mode: string, settings: unknown = {}): Running =>
  space.spawn(process.execPath, CHILD, mode, JSON.stringify(settings));

/** The JSON behind the first word of a line. */
const parse = (line: string) => JSON.parse(line.slice(line.indexOf(' ') + 1));

async function stats(child: Running) {
  child.say('stats');
  return parse(await child.line(/^stats /));
}

/** Ends the child through its stdin: it must close, give all memory back, and exit by itself. */
async function endCleanly(child: Running): Promise<void> {
  const code = await child.end();
  assert.equal(code, 0, child.stderr);
  assert.deepEqual(parse(child.lines.find((line) => line.startsWith('closed'))!), { usedBytes: 0 });
}

async function ping(space: Namespace, ...args: string[]): Promise<void> {
  const { code, stdout, stderr } = await space.exec('ping', '-W', '2', '-i', '0.2', '-c', '3', ...args);
  assert.equal(code, 0, stdout + stderr);
  assert.match(stdout, / 0% packet loss/);
}

describe('devices answer Linux', { skip: skipReason('ping') }, () => {
  const own = { addresses: ['10.66.0.2', 'fd66::2'] };
  const host = { ...own, hostAddress: ['10.66.0.1/24', 'fd66::1/64'] };
  const rows: { name: string; mode: string; settings: object; mtu: number; offload: boolean; size: number }[] = [
    { name: 'tun', mode: 'tun', settings: {}, mtu: 1500, offload: true, size: 1472 },
    { name: 'tun, no offload', mode: 'tun', settings: { offload: false }, mtu: 1500, offload: false, size: 1472 },
    { name: 'tun, mtu 9000', mode: 'tun', settings: { mtu: 9000 }, mtu: 9000, offload: true, size: 8972 },
    {
      name: 'tun, the largest packet there is',
      mode: 'tun',
      settings: { mtu: 65535 },
      mtu: 65535,
      offload: true,
      size: 65507,
    },
    {
      name: 'tun, the same, no offload',
      mode: 'tun',
      settings: { mtu: 65535, offload: false },
      mtu: 65535,
      offload: false,
      size: 65507,
    },
    { name: 'tap', mode: 'tap', settings: {}, mtu: 1500, offload: true, size: 1472 },
    { name: 'tap, no offload', mode: 'tap', settings: { offload: false }, mtu: 1500, offload: false, size: 1472 },
    {
      name: 'tap, mtu 65521, the largest of TAP',
      mode: 'tap',
      settings: { mtu: 65521 },
      mtu: 65521,
      offload: true,
      size: 65493,
    },
  ];
  for (const { name, mode, settings, mtu, offload, size } of rows) {
    test(name, options, async () => {
      const space = await Namespace.create();
      try {
        const child = start(space, mode, { name: `${mode}0`, ...host, ...settings });
        assert.deepEqual(parse(await child.line(/^ready/)), { mtu, offload });
        await ping(space, '10.66.0.2');
        await ping(space, '-s', `${size}`, '-M', 'do', '10.66.0.2');
        if (mode === 'tun') await ping(space, '-s', '500', 'fd66::2'); // in TAP it would take neighbour discovery
        const counted = await stats(child);
        assert.equal(counted.largest, size + 28 + (mode === 'tap' ? 14 : 0));
        assert.equal(
          counted.truncated + counted.badHeader + counted.noMemory + counted.readErrors + counted.writeErrors,
          0,
        );
        await endCleanly(child);
        assert.notEqual(
          (await space.exec('ip', 'link', 'show', `${mode}0`)).code,
          0,
          'the interface goes with the device',
        );
      } finally {
        await space.dispose();
      }
    });
  }

  test('packet socket on a cable between two namespaces', options, async () => {
    const here = await Namespace.create();
    const there = await Namespace.create();
    try {
      await here.connect(there, 'eth0', 'eth1');
      await there.must('ip', 'addr', 'add', '10.66.0.1/24', 'dev', 'eth1');
      const child = start(here, 'packet', { interface: 'eth0', ...own });
      assert.deepEqual(parse(await child.line(/^ready/)), { mtu: 1500, offload: true });
      await ping(there, '10.66.0.2');
      await ping(there, '-s', '1472', '-M', 'do', '10.66.0.2');
      await endCleanly(child);
    } finally {
      await here.dispose();
      await there.dispose();
    }
  });

  test('packet socket as a sniffer: both ways where asked, and the counts of the kernel', options, async () => {
    const here = await Namespace.create();
    const there = await Namespace.create();
    try {
      await here.connect(there, 'eth0', 'eth1');
      for (const [space, name, address] of [
        [here, 'eth0', '10.66.0.3/24'],
        [there, 'eth1', '10.66.0.1/24'],
      ] as const) {
        await space.must('sysctl', '-qw', `net.ipv6.conf.${name}.disable_ipv6=1`);
        await space.must('ip', 'addr', 'add', address, 'dev', name);
      }
      await ping(here, '10.66.0.1'); // whoever asks for whom has been answered
      for (const outgoing of [false, true]) {
        const child = start(here, 'packet', { interface: 'eth0', outgoing, addresses: [] });
        await child.line(/^ready/);
        await ping(here, '10.66.0.1');
        const least = outgoing ? 6 : 3;
        let seen = await stats(child);
        // A busy machine reads the last of them a little later.
        for (let i = 0; i < 50 && seen.reads < least; i++) {
          await sleep(50);
          seen = await stats(child);
        }
        const { reads, kernel } = seen;
        // Three replies, and the three requests; a neighbour may be asked for again.
        assert.ok(reads >= least && reads <= least + (outgoing ? 4 : 2), `${reads} frames`);
        assert.deepEqual(kernel, { packets: reads, drops: 0 });
        assert.deepEqual((await stats(child)).kernel, kernel, 'counted once');
        await endCleanly(child);
      }
    } finally {
      await here.dispose();
      await there.dispose();
    }
  });

  test('packet socket that is not promiscuous asks nothing of the interface', options, async () => {
    const here = await Namespace.create();
    const there = await Namespace.create();
    try {
      await here.connect(there, 'eth0', 'eth1');
      for (const promiscuous of [true, false]) {
        const child = start(here, 'packet', { interface: 'eth0', promiscuous, ...own });
        await child.line(/^ready/);
        // veth lets everything through by itself: what was asked of it is what can be seen.
        const link = await here.must('ip', '-d', 'link', 'show', 'eth0');
        assert.match(link.stdout, promiscuous ? /promiscuity 1/ : /promiscuity 0/);
        await endCleanly(child);
      }
    } finally {
      await here.dispose();
      await there.dispose();
    }
  });

  test('an idle device uses no processor', options, async () => {
    const space = await Namespace.create();
    try {
      const child = start(space, 'tun', { name: 'tun0', ...host });
      await child.line(/^ready/);
      await ping(space, '10.66.0.2');
      const before = (await stats(child)).cpu;
      await space.must('sleep', '1');
      const after = (await stats(child)).cpu;
      const busyMs = (after.user + after.system - before.user - before.system) / 1000;
      assert.ok(busyMs < 50, `${busyMs} ms of processor in a second of nothing`);
      await endCleanly(child);
    } finally {
      await space.dispose();
    }
  });

  test('an interface that is deleted or goes down does not spin or throw', options, async () => {
    const space = await Namespace.create();
    try {
      const child = start(space, 'tun', { name: 'tun0', ...host });
      await child.line(/^ready/);
      await ping(space, '10.66.0.2');
      await space.must('ip', 'link', 'set', 'tun0', 'down');
      await space.must('ip', 'link', 'set', 'tun0', 'up');
      await ping(space, '10.66.0.2');
      await space.must('ip', 'link', 'del', 'tun0');
      const before = (await stats(child)).cpu;
      await space.must('sleep', '0.5');
      const after = (await stats(child)).cpu;
      assert.ok((after.user + after.system - before.user - before.system) / 1000 < 50, 'spins');
      await endCleanly(child);
    } finally {
      await space.dispose();
    }
  });

  test('opening and closing leaks nothing', options, async () => {
    const space = await Namespace.create();
    try {
      const child = space.spawn(process.execPath, CHILD, 'churn', '50');
      const { before, after, usedBytes } = parse(await child.line(/^churned/));
      assert.equal(after, before);
      assert.equal(usedBytes, 0);
      assert.equal(await child.ended, 0, child.stderr);
    } finally {
      await space.dispose();
    }
  });
});

describe('opening fails with one line that says what to do', { skip: skipReason('setpriv') }, () => {
  interface Row {
    name: string;
    mode: 'tap' | 'tun' | 'packet';
    settings: Record<string, unknown>;
    before?: string[];
    user?: boolean;
    code: string;
    message: RegExp;
  }
  const asUser = ['setpriv', '--reuid', '65534', '--regid', '65534', '--clear-groups'];
  const rows: Row[] = [
    {
      name: 'not root',
      mode: 'tap',
      settings: { name: 'tap0' },
      user: true,
      code: 'EPERM',
      message: /run as root, or (give the user|make it beforehand)/,
    },
    {
      name: 'not root, packet socket',
      mode: 'packet',
      settings: { interface: 'lo' },
      user: true,
      code: 'EPERM',
      message: /run as root/,
    },
    {
      name: 'a name too long',
      mode: 'tun',
      settings: { name: 'sixteen-bytes-xx' },
      code: 'EINVAL',
      message: /interface name too long: sixteen-bytes-xx/,
    },
    { name: 'no name', mode: 'tun', settings: {}, code: 'EINVAL', message: /an interface name is needed/ },
    {
      name: 'a name with a slash',
      mode: 'tun',
      settings: { name: 'a/b' },
      code: 'EINVAL',
      message: /not an interface name/,
    },
    {
      name: 'a tun as tap',
      mode: 'tap',
      settings: { name: 'x0' },
      before: ['ip', 'tuntap', 'add', 'mode', 'tun', 'name', 'x0'],
      code: 'EINVAL',
      message: /x0 is a tun interface, not a tap one: use openTun or another name/,
    },
    {
      name: 'a tap as tun',
      mode: 'tun',
      settings: { name: 'x0' },
      before: ['ip', 'tuntap', 'add', 'mode', 'tap', 'name', 'x0'],
      code: 'EINVAL',
      message: /x0 is a tap interface, not a tun one: use openTap or another name/,
    },
    {
      name: 'no tun at all',
      mode: 'tun',
      settings: { name: 'lo' },
      code: 'EINVAL',
      message: /lo exists and is no TUN or TAP/,
    },
    {
      name: 'no interface',
      mode: 'packet',
      settings: { interface: 'eth9' },
      code: 'ENODEV',
      message: /no interface eth9/,
    },
    {
      name: 'two IPv4 addresses',
      mode: 'tun',
      settings: { name: 'x0', hostAddress: ['10.0.0.1/24', '10.0.1.1/24'] },
      code: 'EINVAL',
      message: /one IPv4 address/,
    },
    {
      name: 'IPv6 on an MTU too small for it',
      mode: 'tun',
      settings: { name: 'x0', mtu: 576, hostAddress: 'fd00::1/64' },
      code: 'EINVAL',
      message: /cannot give it fd00::1\/64/,
    },
  ];
  for (const { name, mode, settings, before, user, code, message } of rows) {
    test(name, options, async () => {
      const space = await Namespace.create();
      try {
        if (before !== undefined) await space.must(before[0]!, ...before.slice(1));
        const command = [...(user ? asUser : []), process.execPath, CHILD, `fail-${mode}`, JSON.stringify(settings)];
        const { stdout, stderr, code: exit } = await space.exec(command[0]!, ...command.slice(1));
        assert.equal(exit, 0, stderr);
        const error = parse(stdout);
        assert.equal(error.name, 'NetError');
        assert.equal(error.code, code, error.message);
        assert.match(error.message, message);
        assert.ok(!error.message.includes('\n'));
      } finally {
        await space.dispose();
      }
    });
  }

  test('an interface in use', options, async () => {
    const space = await Namespace.create();
    try {
      const child = start(space, 'tap', { name: 'tap0', addresses: [] });
      await child.line(/^ready/);
      const { stdout } = await space.exec(process.execPath, CHILD, 'fail-tap', '{"name":"tap0"}');
      const error = parse(stdout);
      assert.equal(error.code, 'EBUSY');
      assert.match(error.message, /interface tap0 is in use by another process/);
      await endCleanly(child);
    } finally {
      await space.dispose();
    }
  });

  test('without root: an interface made for the user opens, another cannot be made', options, async () => {
    const space = await Namespace.create();
    try {
      await space.must('ip', 'tuntap', 'add', 'mode', 'tun', 'user', '65534', 'name', 'x0');
      // Whatever the mode of /dev/net/tun is here: this user may open it, and has no other privilege.
      const user = [...asUser, '--inh-caps', '+dac_override', '--ambient-caps', '+dac_override'];
      const open = (name: string) =>
        space.must(user[0]!, ...user.slice(1), process.execPath, CHILD, 'fail-tun', JSON.stringify({ name }));
      assert.equal((await open('x0')).stdout, 'opened\n');
      await space.must('ip', 'link', 'show', 'x0'); // persistent: it stays
      const error = parse((await open('x1')).stdout);
      assert.equal(error.code, 'EPERM');
      assert.match(
        error.message,
        /no permission to make interface x1: run as root, or make it beforehand with ip tuntap/,
      );
    } finally {
      await space.dispose();
    }
  });

  test('koffi is not installed', options, async () => {
    const folder = mkdtempSync(join(tmpdir(), 'et-no-koffi-'));
    const space = await Namespace.create();
    try {
      cpSync(fileURLToPath(new URL('../../', import.meta.url)), folder, { recursive: true });
      writeFileSync(join(folder, 'package.json'), '{"type":"module"}');
      const child = join(folder, 'test/interop/device-child.js');
      const { stdout, stderr } = await space.exec(process.execPath, child, 'fail-tun', '{"name":"tun0"}');
      const error = parse(stdout || stderr);
      assert.equal(error.name, 'NetError');
      assert.match(error.message, /koffi is not installed; .*: npm install koffi$/);
    } finally {
      await space.dispose();
      rmSync(folder, { recursive: true });
    }
  });
});
