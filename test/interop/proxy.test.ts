/** Parts of the gateway that need real sockets of their own kind: pings, names, TAP, and QEMU's framing over TCP. @module */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { createServer as createHttp } from 'node:http';
import { createServer, type Socket } from 'node:net';
import { after, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { createHost, type Host } from '../../src/index.ts';
import { pipePair } from '../../src/phy/index.ts';
import { type FlowRecord, Policy, Relay, type RelayOptions } from '../../src/proxy/index.ts';
import { connectQemu, qemuDevice } from '../../src/qemu/index.ts';
import { bytesOf } from '../hosts.ts';
import { Namespace, skipReason } from './namespace.ts';

const MAIN = fileURLToPath(new URL('../../src/cli/main.js', import.meta.url));
const options = { timeout: 30_000 };
const FAR = '198.51.100.1';
const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** A guest whose every flow, to whatever address, goes to the machine's loopback. */
async function withRelay(
  more: RelayOptions,
  run: (guest: Host, relay: Relay, records: FlowRecord[]) => Promise<void>,
): Promise<void> {
  const [left, right] = pipePair({ medium: 'ip' });
  const records: FlowRecord[] = [];
  const host = createHost({ device: left, addresses: ['10.9.0.1/24'], anyIp: true, probe: false });
  const guest = createHost({ device: right, addresses: ['10.9.0.2/24'], gateway: '10.9.0.1', probe: false });
  const relay = new Relay(host, { redirect: () => '127.0.0.1', onFlow: (record) => records.push(record), ...more });
  await run(guest, relay, records);
  await relay.close();
  await guest.close();
  await host.close();
  assert.equal(host.memory.usedBytes + guest.memory.usedBytes, 0);
}

describe('relay: echo requests', { skip: skipReason('ping') }, () => {
  test('the machine is asked to ping, where that is allowed, and what is denied is unreachable', options, () =>
    withRelay({ policy: new Policy({ allow: [`icmp:${FAR}`] }) }, async (guest, relay, records) => {
      await guest.ping(FAR, { timeout: 10_000 });
      await assert.rejects(guest.ping('198.51.100.2', { timeout: 10_000 }), { code: 'EHOSTUNREACH' });
      assert.deepEqual(
        records.map(({ protocol, destination, verdict, result }) => [protocol, destination, verdict, result]),
        [
          ['icmp', FAR, 'allow', 'closed'],
          ['icmp', '198.51.100.2', 'deny', 'ECONNREFUSED'],
        ],
      );
      assert.deepEqual([relay.echo.stats.replied, relay.echo.stats.unreachable], [1, 1]);
    }),
  );

  test('pings over their rate are dropped, and counted', options, () =>
    withRelay({ limits: { flow: { bytes: 30 }, all: { bytesPerSecond: 40 } } }, async (guest, relay) => {
      await assert.rejects(guest.ping(FAR, { timeout: 5000, size: 32 }), { code: 'EHOSTUNREACH' });
      assert.equal(relay.limiter.stats.ended, 1);
      await guest.ping(FAR, { timeout: 5000, size: 8 });
      for (let i = 0; i < 5; i++) await guest.ping(FAR, { timeout: 100, size: 15 }).catch(() => {});
      assert.ok(relay.limiter.stats.dropped >= 1);
    }),
  );
});

describe('relay: datagrams', () => {
  test('a flow of names lasts shorter than another', options, () =>
    withRelay({}, async (guest, relay) => {
      for (const [port, idleMs] of [
        [53, 10_000],
        [9, 120_000],
      ] as const) {
        const socket = await guest.udp.connect({ host: FAR, port });
        await socket.send(bytesOf('x'));
        for (let i = 0; i < 100 && relay.udp.count === 0; i++) await pause(1);
        const [flow] = relay.udp.flows;
        for (let i = 0; i < 100 && flow!.isPending; i++) await pause(5);
        assert.equal(flow!.idleMs, idleMs, `port ${port}`);
        await socket.close();
        flow!.close();
      }
    }),
  );
});

describe('proxy --tap', { skip: skipReason('curl', 'dig') }, () => {
  test('a router with a resolver on an interface, and a limit of bytes with its line', options, async () => {
    await using space = await Namespace.create();
    const served = `require('node:http').createServer((q, r) => r.end('x'.repeat(q.url === '/large' ? 500_000 : 50_000))).listen(8000, '127.0.0.1', () => console.log('up'))`;
    const server = space.spawn(process.execPath, '-e', served);
    await server.line(/up/);
    const flags = [
      '--host-loopback',
      '--host',
      'web.test=10.0.2.2',
      '--flow-bytes',
      '60k',
      '--name-server',
      '127.0.0.1:1',
    ];
    const proxy = space.spawn(
      process.execPath,
      MAIN,
      'proxy',
      '--tap',
      'tap9',
      '--host-address',
      '10.0.2.100/24',
      ...flags,
    );
    await proxy.line(/10\.0\.2\.2 on tap9/);
    const { stdout: address } = await space.must('dig', '+short', '+time=3', '@10.0.2.3', 'web.test');
    assert.equal(address.trim(), '10.0.2.2');
    const { stdout } = await space.must('curl', '-sS', '-m', '5', 'http://10.0.2.2:8000/');
    assert.equal(stdout.length, 50_000);
    const large = await space.exec('curl', '-sS', '-m', '5', 'http://10.0.2.2:8000/large');
    assert.equal(large.code, 56, 'it is reset while curl receives');
    await proxy.errorLine(
      /tcp 10\.0\.2\.100:\d+ -> 10\.0\.2\.2:8000.*EDQUOT \(the limit of 60000 bytes a flow is reached\)/,
    );
    assert.equal(await proxy.end(5000, 'SIGTERM'), 0);
  });
});

describe('run --flow-rate', { skip: skipReason('unshare', 'curl') }, () => {
  test('TCP goes at the rate both ways, and nothing is lost', options, async (t) => {
    const bytes = 1_500_000;
    const server = createHttp((request, response) => {
      let got = 0;
      request.on('data', (chunk: Buffer) => {
        got += chunk.length;
      });
      request.on('end', () => response.end(request.method === 'PUT' ? `${got}` : Buffer.alloc(bytes, 'x')));
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    t.after(() => {
      server.closeAllConnections();
      server.close();
    });
    const url = `http://10.0.2.2:${(server.address() as { port: number }).port}/`;
    const script = `head -c ${bytes} /dev/zero > /tmp/et-rate-$$ && curl -sS -w ' %{time_total}' ${url} | tail -c +${bytes + 1}; echo
      curl -sS -w ' %{time_total}' -T /tmp/et-rate-$$ ${url}; rm /tmp/et-rate-$$`;
    const child = spawn(process.execPath, [
      MAIN,
      'run',
      '--host-loopback',
      '--flow-rate',
      '1M',
      '--',
      'bash',
      '-c',
      script,
    ]);
    let stdout = '';
    child.stdout.on('data', (chunk) => {
      stdout += chunk;
    });
    assert.equal(await new Promise((resolve) => child.once('close', resolve)), 0);
    const [down, put, up] = stdout.trim().split(/\s+/).map(Number);
    assert.equal(put, bytes);
    // A burst of a tenth of a second goes at once.
    const least = (bytes - 100_000) / 1e6;
    for (const seconds of [down!, up!]) assert.ok(seconds > least * 0.9 && seconds < least * 4, `${seconds} s`);
  });
});

describe('proxy --qemu over TCP', () => {
  const children: ChildProcess[] = [];
  after(() => {
    for (const child of children) child.kill('SIGKILL');
  });

  test('a machine that connects, and one that waits', options, async (t) => {
    const server = createHttp((_request, response) => response.end('served'));
    t.after(() => void server.close());
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as { port: number };
    const fetchThrough = async (socket: Socket): Promise<void> => {
      const guest = createHost({ device: qemuDevice(socket), addresses: ['10.0.2.100/24'], probe: false });
      const stream = await guest.tcp.connect({ host: '10.0.2.2', port });
      await stream.write(bytesOf('GET / HTTP/1.0\r\n\r\n'));
      const chunks: Uint8Array[] = [];
      for await (const chunk of stream) chunks.push(chunk);
      assert.match(`${Buffer.concat(chunks)}`, /served$/);
      await guest.close();
      socket.destroy();
    };
    const start = async (...flags: string[]): Promise<ChildProcess> => {
      const child = spawn(process.execPath, [MAIN, 'proxy', '--host-loopback', ...flags]);
      children.push(child);
      await new Promise((resolve) => child.stdout!.once('data', resolve));
      return child;
    };
    const end = async (child: ChildProcess): Promise<void> => {
      child.kill('SIGTERM');
      assert.equal(await new Promise((resolve) => child.once('exit', resolve)), 0);
    };
    const place = await freePort();
    const waiting = await start('--qemu', `tcp:127.0.0.1:${place}`);
    let calling: { close(): void } | null = null;
    await fetchThrough(
      await new Promise<Socket>((resolve) => {
        calling = connectQemu({ port: place }, resolve);
      }),
    );
    calling!.close();
    await end(waiting);
    const machine = createServer();
    t.after(() => void machine.close());
    await new Promise<void>((resolve) => machine.listen(0, '127.0.0.1', resolve));
    const came = new Promise<Socket>((resolve) => machine.once('connection', resolve));
    const called = await start('--qemu-connect', `tcp::${(machine.address() as { port: number }).port}`);
    await fetchThrough(await came);
    await end(called);
  });

  test('a place that is none is one clear error', options, async () => {
    const rows: [code: number, message: RegExp, ...args: string[]][] = [
      ...['', 'tcp:', 'tcp:1', 'tcp:a:0', 'tcp:a:70000'].map((text): [number, RegExp, ...string[]] => [
        2,
        /--qemu: expected PATH or tcp:HOST:PORT/,
        '--qemu',
        text,
      ]),
      [2, /--qemu-connect: expected PATH or tcp:HOST:PORT/, '--qemu-connect', 'tcp:'],
      [1, /--qemu: .* exists, and is no socket/, '--qemu', MAIN],
      [1, /--qemu-connect: .* exists, and is no socket/, '--qemu-connect', MAIN],
      [2, /--host-address is for --tap and --tun/, '--qemu', '/tmp/et-none', '--host-address', '10.0.2.100/24'],
      [2, /--no-offload is for --tap and --tun/, '--qemu-connect', '/tmp/et-none', '--no-offload'],
      [2, /expected one of --tap NAME, --tun NAME/, '--qemu', '/tmp/et-none', '--tap', 'tap0'],
    ];
    for (const [code, message, ...args] of rows) {
      const child = spawn(process.execPath, [MAIN, 'proxy', ...args]);
      children.push(child);
      let stderr = '';
      child.stderr.on('data', (chunk) => {
        stderr += chunk;
      });
      assert.equal(await new Promise((resolve) => child.once('close', resolve)), code, `${args}`);
      assert.match(stderr, message);
      assert.equal(stderr.trim().split('\n').length, 1);
    }
  });

  test('who calls a machine that is not there yet says so once', options, async () => {
    const child = spawn(process.execPath, [MAIN, 'proxy', '--qemu-connect', '/tmp/et-nobody-is-here']);
    children.push(child);
    let stderr = '';
    child.stderr.on('data', (chunk) => {
      stderr += chunk;
    });
    await new Promise((resolve) => child.stderr.once('data', resolve));
    await pause(600);
    assert.equal(stderr, 'ethertype proxy: nobody waits at /tmp/et-nobody-is-here yet (ENOENT)\n');
    child.kill('SIGTERM');
    assert.equal(await new Promise((resolve) => child.once('exit', resolve)), 0);
  });
});

/** A port of the loopback that nobody listens on. */
async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}
