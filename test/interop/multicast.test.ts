/**
 * Multicast against Linux: a bridge with snooping and a querier of each version, socat as sender and receiver, tshark and
 * scapy. @module
 */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { Namespace, type Running, skipReason } from './namespace.ts';
import { MAIN } from './server.ts';

const CHILD = fileURLToPath(new URL('./multicast-child.js', import.meta.url));
const OURS = '192.168.69.1';
const LINUX = '192.168.69.100';
const LINUX_2 = '192.168.69.101';
const GROUP = '239.1.2.3';
const GROUP6 = 'ff15::1:2';
const PORT = 5000;
const options = { timeout: 60_000 };

/** Intervals of the bridge's querier, in hundredths of a second: fast ones. */
const BRIDGE = [
  ...[
    'mcast_snooping',
    '1',
    'mcast_querier',
    '1',
    'mcast_query_interval',
    '200',
    'mcast_query_response_interval',
    '50',
  ],
  ...['mcast_startup_query_interval', '50', 'mcast_last_member_interval', '20', 'mcast_last_member_count', '2'],
];

/** A namespace with a bridge br0 that has Linux's addresses, tap0 on it, and our host on tap0. */
class Scene {
  readonly space: Namespace;
  readonly host: Running;
  readonly capture: string;
  readonly #folder: string;

  private constructor(space: Namespace, host: Running, folder: string, capture: string) {
    this.space = space;
    this.host = host;
    this.#folder = folder;
    this.capture = capture;
  }

  static async open(versions: { igmp?: 2 | 3; mld?: 1 | 2; querier?: boolean } = {}): Promise<Scene> {
    const { igmp = 3, mld = 2, querier = true } = versions;
    const space = await Namespace.create();
    const folder = mkdtempSync(join(tmpdir(), 'et-multicast-'));
    const capture = join(folder, 'tap0.pcapng');
    try {
      const bridge = querier ? BRIDGE : ['mcast_snooping', '0'];
      const version = querier ? ['mcast_igmp_version', `${igmp}`, 'mcast_mld_version', `${mld}`] : [];
      await space.must('ip', 'link', 'add', 'br0', 'type', 'bridge', ...bridge, ...version);
      await space.must('ip', 'tuntap', 'add', 'tap0', 'mode', 'tap');
      await space.must('ip', 'link', 'set', 'tap0', 'master', 'br0', 'up');
      await space.must('ip', 'link', 'set', 'br0', 'up');
      for (const address of [`${LINUX}/24`, `${LINUX_2}/24`])
        await space.must('ip', 'addr', 'add', address, 'dev', 'br0');
      await space.must('ip', 'addr', 'add', 'fd00:69::100/64', 'dev', 'br0', 'nodad');
      const addresses = [`${OURS}/24`, 'fd00:69::1/64', 'fe80::69/64'];
      const host = space.spawn(process.execPath, CHILD, capture, ...addresses);
      await host.line(/^ready /);
      return new Scene(space, host, folder, capture);
    } catch (error) {
      await space.dispose();
      rmSync(folder, { recursive: true });
      throw error;
    }
  }

  /** Has our host do something. */
  async order(socket: string, order: { bind?: object; call?: string; args?: unknown[] }): Promise<void> {
    this.host.say(JSON.stringify({ socket, ...order }));
    assert.equal(await this.host.line(/^(done|error)/), 'done');
  }

  async bind(socket: string): Promise<void> {
    await this.order(socket, { bind: { port: PORT } });
  }

  call(socket: string, call: string, ...args: unknown[]): Promise<void> {
    return this.order(socket, { call, args });
  }

  /** Waits until the bridge's entry for `group` on tap0 is as it should. */
  async membership(group: string, isAsWanted: (entry: string | undefined) => boolean): Promise<void> {
    const deadline = Date.now() + 10_000;
    for (;;) {
      const { stdout } = await this.space.must('bridge', '-d', 'mdb', 'show');
      const entry = stdout.split('\n').find((line) => line.includes(`port tap0 grp ${group} temp`));
      if (isAsWanted(entry)) return;
      assert.ok(Date.now() < deadline, `${group}: ${entry ?? 'no entry'} in\n${stdout}`);
      await new Promise((resume) => setTimeout(resume, 100));
    }
  }

  /** Linux sends a line to a group. */
  async send(text: string, to: string): Promise<void> {
    await this.space.must('sh', '-c', `echo '${text}' | socat -u - '${to}'`);
  }

  /** Ends our host: nothing it sent or got was malformed, and all memory is back. */
  async close(): Promise<void> {
    try {
      const closed = this.host.line(/^closed /);
      assert.equal(await this.host.end(), 0);
      const { usedBytes, drops } = JSON.parse((await closed).slice('closed '.length));
      assert.equal(usedBytes, 0);
      assert.equal(drops['igmp-bad-checksum'], undefined);
      const bad = [
        '-o',
        'ip.check_checksum:TRUE',
        '-Y',
        '_ws.malformed or igmp.checksum.status == 0 or icmpv6.checksum.status == 0',
      ];
      // Port 5000 is a protocol to tshark that ours is not.
      const { stdout } = await this.space.must('tshark', '-r', this.capture, '-d', `udp.port==${PORT},data`, ...bad);
      assert.equal(stdout, '');
    } finally {
      await this.dispose();
    }
  }

  async dispose(): Promise<void> {
    await this.space.dispose();
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

async function inScene(
  versions: Parameters<typeof Scene.open>[0],
  body: (scene: Scene) => Promise<void>,
): Promise<void> {
  const scene = await Scene.open(versions);
  try {
    await body(scene);
    await scene.close();
  } finally {
    await scene.dispose();
  }
}

describe('multicast', { skip: skipReason('bridge', 'socat', 'tshark') }, () => {
  test("a bridge's querier, IGMPv3 and MLDv2: memberships and sources come and go", options, () =>
    inScene({}, async (scene) => {
      await scene.bind('a');
      for (const group of [GROUP, GROUP6]) {
        await scene.call('a', 'addMembership', group, 'tap0');
        await scene.membership(group, (entry) => entry?.includes('filter_mode exclude') === true);
        // It stays as long as queries are answered: the bridge asks every two seconds.
        await scene.host.line(group === GROUP ? /^> .*igmp v3 report.* is_ex/ : /^> .*listener report v2.* is_ex/);
        await scene.call('a', 'dropMembership', group, 'tap0');
        await scene.membership(group, (entry) => entry === undefined);
      }
      await scene.call('a', 'addSourceSpecificMembership', LINUX, GROUP, 'tap0');
      await scene.call('a', 'addSourceSpecificMembership', 'fd00:69::100', GROUP6, 'tap0');
      await scene.membership(GROUP, (entry) => new RegExp(`filter_mode include.*${LINUX}/`).test(entry ?? ''));
      await scene.membership(GROUP6, (entry) => /filter_mode include.*fd00:69::100\//.test(entry ?? ''));
      await scene.call('a', 'addSourceSpecificMembership', LINUX_2, GROUP, 'tap0');
      await scene.membership(GROUP, (entry) => new RegExp(`include.*${LINUX_2}/`).test(entry ?? ''));
      await scene.call('a', 'dropSourceSpecificMembership', LINUX, GROUP, 'tap0');
      await scene.membership(GROUP, (entry) => entry !== undefined && !entry.includes(`${LINUX}/`));
      await scene.call('a', 'close');
      await scene.membership(GROUP, (entry) => entry === undefined);
      await scene.membership(GROUP6, (entry) => entry === undefined);
    }),
  );

  test('older queriers, IGMPv2 and MLDv1: reports and leaves of their version', options, () =>
    inScene({ igmp: 2, mld: 1 }, async (scene) => {
      await scene.bind('a');
      await scene.host.line(/^< .*igmp query v2/);
      await scene.host.line(/^< .*multicast listener query max/);
      for (const group of [GROUP, GROUP6]) {
        await scene.call('a', 'addMembership', group, 'tap0');
        await scene.host.line(group === GROUP ? /^> .*igmp v2 report 239/ : /^> .*listener report ff15::1:2/);
        await scene.membership(group, (entry) => entry !== undefined);
        await scene.call('a', 'dropMembership', group, 'tap0');
        await scene.membership(group, (entry) => entry === undefined);
        assert.ok(scene.host.lines.some((line) => /^> .*(igmp leave 239\.1\.2\.3|listener done ff15::1:2)/.test(line)));
      }
    }),
  );

  test('Linux sends to our groups: every member gets it, each with its own filter', options, () =>
    inScene({}, async (scene) => {
      for (const socket of ['any', 'only', 'but', 'none']) await scene.bind(socket);
      await scene.call('any', 'addMembership', GROUP);
      await scene.call('any', 'addMembership', GROUP6);
      await scene.call('only', 'addSourceSpecificMembership', LINUX_2, GROUP);
      await scene.call('but', 'addMembership', GROUP);
      await scene.call('but', 'blockSource', LINUX_2, GROUP);
      await scene.membership(GROUP, (entry) => entry !== undefined);
      await scene.membership(GROUP6, (entry) => entry !== undefined);
      const from = (source: string): string =>
        `UDP4-DATAGRAM:${GROUP}:${PORT},ip-multicast-if=${source},bind=${source}`;
      await scene.send('one', from(LINUX));
      await scene.send('two', from(LINUX_2));
      await scene.send('six', `UDP6-DATAGRAM:[${GROUP6}]:${PORT},so-bindtodevice=br0`);
      const got = async (count: number): Promise<string[]> => {
        const lines: string[] = [];
        while (lines.length < count) {
          const { socket, text } = JSON.parse((await scene.host.line(/^got /)).slice(4));
          lines.push(`${socket} ${text}`);
        }
        return lines.sort();
      };
      assert.deepEqual(await got(5), ['any one', 'any six', 'any two', 'but one', 'only two']);
    }),
  );

  test('we send to groups of Linux, and to ourselves by choice', options, () =>
    inScene({}, async (scene) => {
      const listen = (address: string): Running => scene.space.spawn('socat', '-u', address, '-');
      const linux4 = listen(`UDP4-RECV:${PORT},ip-add-membership=${GROUP}:${LINUX}`);
      const linux6 = listen(`UDP6-RECV:${PORT},ipv6-v6only=1,ipv6-join-group=[${GROUP6}]:br0`);
      await scene.bind('a');
      await scene.call('a', 'addMembership', GROUP);
      // Until Linux has joined: its socat has no line for it.
      for (let tries = 0; ; tries++) {
        const { stdout } = await scene.space.must('ip', 'maddr', 'show', 'dev', 'br0');
        if (stdout.includes(GROUP) && stdout.includes(GROUP6)) break;
        assert.ok(tries < 100, `Linux does not join: ${linux4.stderr} ${linux6.stderr}`);
        await new Promise((resume) => setTimeout(resume, 50));
      }
      await scene.call('a', 'send', 'to both\n', { host: GROUP, port: PORT });
      await linux4.line(/^to both$/);
      assert.match(await scene.host.line(/^got /), /"text":"to both"/);
      await scene.call('a', 'setMulticastLoopback', false);
      await scene.call('a', 'send', 'to Linux\n', { host: GROUP, port: PORT });
      await linux4.line(/^to Linux$/);
      await scene.call('a', 'send', 'to six\n', { host: GROUP6, port: PORT });
      await linux6.line(/^to six$/);
      assert.ok(!scene.host.lines.some((line) => line.includes('"to Linux"')), 'it did not come back');
    }),
  );

  test('the command without an address, and Ctrl-C: it ends at once', options, async () => {
    const space = await Namespace.create();
    try {
      const addresses = ['--address', 'fe80::1/64', '--address', 'dhcp'];
      const command = space.spawn(process.execPath, MAIN, 'multicast', GROUP, '--tap', 'tap0', ...addresses);
      await command.line(/^> IP6 .* multicast listener report/);
      await command.end(5000, 'SIGINT');
      assert.equal(command.child.signalCode, 'SIGINT');
    } finally {
      await space.dispose();
    }
  });

  test('the command whose interface is deleted: one line, and exit code 1', options, async () => {
    const space = await Namespace.create();
    try {
      const command = space.spawn(
        process.execPath,
        MAIN,
        'multicast',
        GROUP,
        '--tap',
        'tap0',
        '--address',
        'fe80::1/64',
      );
      await command.line(/^joined /);
      await space.must('ip', 'link', 'del', 'tap0');
      assert.equal(await command.ended, 1);
      assert.match(command.stderr, /^ethertype multicast: interface tap0 is gone: .*$/);
    } finally {
      await space.dispose();
    }
  });

  test('the command joins, hears, sends and leaves', options, async () => {
    const space = await Namespace.create();
    try {
      const args = [
        '--tap',
        'tap0',
        '--address',
        `${OURS}/24`,
        '--address',
        'fe80::69/64',
        '--host-address',
        `${LINUX}/24`,
      ];
      const tool = space.spawn(
        process.execPath,
        MAIN,
        'multicast',
        GROUP,
        'ff02::99',
        ...args,
        '-p',
        `${PORT}`,
        '-c',
        '3',
        '--send',
        'hello',
      );
      await tool.line(/^joined 239\.1\.2\.3 on tap0, port 5000$/);
      await tool.line(/^> .*igmp v3 report, .*gaddr 239\.1\.2\.3 to_ex/);
      await tool.line(/^sent 5 bytes to ff02::99 port 5000$/);
      await space.must('sh', '-c', `printf hi | socat -u - UDP4-DATAGRAM:${GROUP}:${PORT},ip-multicast-if=${LINUX}`);
      await tool.line(/^239\.1\.2\.3 from 192\.168\.69\.100 port \d+, 2 bytes: "hi"$/);
      await tool.line(/^> .*gaddr 239\.1\.2\.3 to_in/);
      assert.equal(await tool.ended, 0);
      assert.ok(
        tool.lines.some((line) => /^ff02::99 from fe80::69\S* port 5000, 5 bytes: "hello"$/.test(line)),
        tool.lines.join('\n'),
      );
    } finally {
      await space.dispose();
    }
  });
});
