/** `ethertype server --threads 2`: Linux spreads its connections over the queues of one TUN interface. @module */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { attachTunQueue, openTunQueues } from '../../src/linux/index.ts';
import { readCapture } from '../../src/pcap/index.ts';
import { Namespace, skipReason } from './namespace.ts';
import { type Account, LOAD, MAIN, OURS, Server } from './server.ts';

const options = { timeout: 60_000 };
const ARGS = ['--tun', 'tun0', '--threads', '2'];
const OURS6 = 'fd69::1';
/** That all of so many flows get the same one of two queues has a chance of 2^-63. */
const CONNECTIONS = 64;
/** Linux forgets where a flow was answered after 3 s (TUN_FLOW_EXPIRE); from then on only the hash says it. */
const FORGOTTEN_MS = 4500;

type Accounts = Account & { readonly threads: readonly Account[] };

let folder = '';
before(() => {
  folder = mkdtempSync(join(tmpdir(), 'et-threads-'));
});
after(() => rmSync(folder, { recursive: true, force: true }));

const connectionsOf = ({ services }: Account): number =>
  Object.values(services).reduce((sum, { connections }) => sum + connections, 0);

/** All were served, by both threads, no segment came to the wrong one, and the account is the sum of its parts. */
function assertShared(account: Accounts, count: number): void {
  assert.equal(account.threads.length, 2);
  const each = account.threads.map(connectionsOf);
  assert.equal(each[0]! + each[1]!, count);
  assert.equal(connectionsOf(account), count);
  assert.ok(Math.min(...each) > 0, `connections of the threads: ${each}`);
  assert.equal(account.stack.drops['tcp-no-socket'], undefined);
  assert.equal(account.stack.framesIn, account.threads[0]!.stack.framesIn + account.threads[1]!.stack.framesIn);
  for (const { memory } of account.threads) assert.equal(memory.leakedBytes, 0);
}

/** A FIN that the wire lost comes again within this, a few times over. */
const LOST_FIN_MS = 3000;

describe('server --threads 2', { skip: skipReason('ping', 'curl', 'ip') }, () => {
  const withThreads = async (args: string[], body: (server: Server) => Promise<number>): Promise<void> => {
    const server = await Server.start([...ARGS, ...args]);
    try {
      const count = await body(server);
      assertShared((await server.endIdle()) as Accounts, count);
    } finally {
      await server.dispose();
    }
  };
  const load = async ({ space }: Server, ...rest: string[]) =>
    JSON.parse((await space.must(process.execPath, LOAD, ...rest)).stdout);

  for (const args of [[], ['--no-offload']]) {
    test(`many connections at once, up and down ${args}`, options, () =>
      withThreads(args, async (server) => {
        const { good, failed } = await load(server, 'parallel', OURS, `${CONNECTIONS}`, '100000');
        assert.deepEqual([good, failed], [CONNECTIONS, null]);
        return CONNECTIONS;
      }),
    );
  }

  test('a flow stays where it is when Linux has forgotten it', options, () =>
    withThreads([], async (server) => {
      const { good, failed } = await load(server, 'echo-later', OURS, '7', `${CONNECTIONS}`, `${FORGOTTEN_MS}`);
      assert.deepEqual([good, failed], [CONNECTIONS, null]);
      return CONNECTIONS;
    }),
  );

  test('ping, UDP, and what was captured where', options, async () => {
    const file = join(folder, 'wire.pcapng');
    const server = await Server.start([...ARGS, '--pcap', file]);
    try {
      await server.space.must('ping', '-c', '3', '-i', '0.2', '-W', '2', OURS);
      assert.deepEqual(await load(server, 'udp-echo', OURS, '7', '1', '1000', '20000'), [true, true, true]);
      assert.equal(await load(server, 'udp-ask', OURS, '12'), 'ECONNREFUSED');
      const account = (await server.end()) as Accounts;
      const packets = [0, 1].map((i) => [...readCapture(readFileSync(join(folder, `wire-${i}.pcapng`)))]);
      for (const [i, thread] of account.threads.entries()) {
        assert.equal(packets[i]!.length, thread.stack.framesIn + thread.stack.framesOut);
      }
      const comments = packets.flat().flatMap((packet) => packet.comments);
      assert.ok(comments.includes('dropped: udp-no-socket'), comments.join());
    } finally {
      await server.dispose();
    }
  });

  test('IPv6: both threads have the same addresses, that of the link too', options, async () => {
    await using space = await Namespace.create();
    const addresses = ['--address', `${OURS6}/64`, '--host-address', 'fd69::100/64'];
    const child = space.spawn(process.execPath, MAIN, 'server', ...ARGS, ...addresses, '--json');
    const line = await child.errorLine(/2 threads/);
    const { stdout } = await space.must(process.execPath, LOAD, 'parallel', OURS6, `${CONNECTIONS}`, '5000');
    assert.equal(JSON.parse(stdout).good, CONNECTIONS, stdout);
    const linkLocal = /fe80::[0-9a-f:]+/.exec(line)![0];
    for (let port = 5000; port < 5016; port++) {
      const from = ['--local-port', `${port}`, '-sS', '-m', '5', '-o', '/dev/null'];
      await space.must('curl', ...from, `http://[${linkLocal}%25tun0]/bytes/10`);
    }
    assert.equal(await child.end(5_000, 'SIGTERM'), 0, child.stderr);
    assertShared(JSON.parse(child.lines.join('\n')) as Accounts, CONNECTIONS + 16);
  });

  test('each thread has faults of its own', options, () =>
    withThreads(['--drop', '3', '--delay', '2', '--seed', '4294967295'], async (server) => {
      const { good } = await load(server, 'parallel', OURS, `${CONNECTIONS}`, '20000');
      assert.equal(good, CONNECTIONS);
      await sleep(LOST_FIN_MS);
      return CONNECTIONS;
    }),
  );

  test('a thread that cannot begin ends the server, with one line', options, async () => {
    await using space = await Namespace.create();
    const args = ['server', ...ARGS, '--address', `${OURS}/24`, '--pcap', join(folder, 'none', 'x.pcapng')];
    const { code, stderr } = await space.exec(process.execPath, MAIN, ...args);
    assert.equal(code, 1);
    assert.match(
      stderr,
      /^ethertype server: cannot write the capture to .*x-[01]\.pcapng: no such file or directory\n$/,
    );
  });

  test('an interface that goes away ends it, and one that has one queue is refused', options, async () => {
    const server = await Server.start(ARGS);
    try {
      await server.space.must('ip', 'link', 'del', 'tun0');
      assert.equal(await server.process.ended, 1);
      assert.match(server.process.stderr, /interface tun0 is gone: .*deleted/);
      await server.space.must('ip', 'tuntap', 'add', 'mode', 'tun', 'name', 'tun1');
      const args = ['server', '--tun', 'tun1', '--threads', '2', '--address', `${OURS}/24`];
      const refused = await server.space.exec(process.execPath, MAIN, ...args);
      assert.equal(refused.code, 1);
      assert.match(refused.stderr, /^ethertype server: .*tun1 exists and is no TUN .* of several queues .*\n$/);
    } finally {
      await server.dispose();
    }
  });
});

describe('openTunQueues', { skip: skipReason() }, () => {
  test('a device a queue, of one interface that is gone with the last', options, async () => {
    const queues = await openTunQueues({ name: 'etq%d', queues: 3, mtu: 1400, up: false });
    const devices = await Promise.all(queues.map(attachTunQueue));
    const names = new Set(devices.map(({ name }) => name));
    assert.equal(names.size, 1);
    assert.match([...names][0]!, /^etq\d+$/);
    assert.deepEqual(
      devices.map(({ medium, mtu, offload }) => ({ medium, mtu, offload })),
      Array(3).fill({ medium: 'ip', mtu: 1400, offload: true }),
    );
    for (const device of devices) device.close();
    const again = await openTunQueues({ name: [...names][0]!, queues: 1, up: false });
    (await attachTunQueue(again[0]!)).close();
  });

  for (const queues of [0, 65, 1.5, Number.NaN]) {
    test(`not ${queues} queues`, async () => {
      await assert.rejects(openTunQueues({ name: 'etq0', queues }), {
        name: 'RangeError',
        message: `openTunQueues: queues: expected 1 to 64, got ${queues}`,
      });
    });
  }
});
