/** `ethertype run` and `ethertype proxy`: Linux programs behind this stack, and servers on the machine's loopback. @module */
import assert from 'node:assert/strict';
import { type ChildProcess, execFile, spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer as createHttp } from 'node:http';
import { createServer, connect as netConnect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { createHost } from '../../src/index.ts';
import { readCapture } from '../../src/pcap/index.ts';
import { qemuDevice } from '../../src/qemu/index.ts';
import { type Account, running, until } from './machine.ts';
import { Namespace, skipReason } from './namespace.ts';

const MAIN = fileURLToPath(new URL('../../src/cli/main.js', import.meta.url));
const options = { timeout: 60_000 };
const MIB = 1 << 20;

function skip(): string | false {
  const reason = skipReason('unshare', 'curl', 'ping', 'dig');
  if (reason !== false) return reason;
  const probe = spawnSync('unshare', ['--user', '--map-root-user', '--net', 'true'], { encoding: 'utf8' });
  return probe.status !== 0 && `needs user namespaces: ${probe.stderr.trim()}`;
}

interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

function ethertype(...args: string[]): Promise<Ended> {
  return new Promise((done) => {
    const settings = { timeout: 40_000, killSignal: 'SIGKILL', maxBuffer: 64 << 20 } as const;
    const child = execFile(process.execPath, [MAIN, ...args], settings, (_error, stdout, stderr) => {
      done({ code: child.exitCode, stdout, stderr });
    });
    child.stdin?.end();
  });
}

const run = (flags: string[], ...command: string[]): Promise<Ended> => ethertype('run', ...flags, '--', ...command);

describe('run', { skip: skip() }, () => {
  let folder = '';
  let port = 0;
  let port6 = 0;
  const servers: { close(): unknown }[] = [];
  const bytes = Buffer.alloc(50 * MIB, 'a piece of forty-one bytes, again and again');
  const hash = createHash('sha256').update(bytes).digest('hex');

  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'et-run-'));
    const serve = async (host: string): Promise<number> => {
      const server = createHttp((request, response) => {
        if (request.method !== 'PUT') {
          response.end(request.url === '/big' ? bytes : 'hello');
          return;
        }
        const sum = createHash('sha256');
        request.on('data', (chunk) => sum.update(chunk));
        request.on('end', () => response.end(sum.digest('hex')));
      });
      await new Promise<void>((resolve) => server.listen(0, host, resolve));
      servers.push({
        close: () => {
          server.closeAllConnections();
          server.close();
        },
      });
      return (server.address() as { port: number }).port;
    };
    port = await serve('127.0.0.1');
    port6 = await serve('::1');
  });
  after(() => {
    for (const server of servers) server.close();
    rmSync(folder, { recursive: true, force: true });
  });

  test('curl both ways and of both families, with checksums, and a line for each flow', options, async () => {
    const log = join(folder, 'flows');
    const pcap = join(folder, 'run.pcapng');
    const script = `set -eo pipefail
      curl -sS -m 30 http://10.0.2.2:${port}/big | sha256sum
      curl -gsS -m 30 'http://[fd00:2::2]:${port6}/big' | sha256sum
      head -c ${bytes.length} /dev/zero | curl -sS -m 30 -T - http://10.0.2.2:${port}/`;
    const flags = ['--host-loopback', '--log', log, '--pcap', pcap];
    const { code, stdout, stderr } = await run(flags, 'bash', '-c', script);
    assert.deepEqual([code, stderr], [0, '']);
    const zeros = createHash('sha256').update(Buffer.alloc(bytes.length)).digest('hex');
    assert.deepEqual(stdout.replaceAll('  -', '').trim().split(/\s+/), [hash, hash, zeros]);
    const records = readFileSync(log, 'utf8')
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    assert.deepEqual(
      records.map(({ protocol, destination, result }) => [protocol, destination, result]),
      [
        ['tcp', `10.0.2.2:${port}`, 'closed'],
        ['tcp', `[fd00:2::2]:${port6}`, 'closed'],
        ['tcp', `10.0.2.2:${port}`, 'closed'],
      ],
    );
    assert.ok(records[0].bytesIn > bytes.length && records[2].bytesOut > bytes.length);
    assert.ok(readFileSync(pcap).length > 3 * bytes.length);
  });

  test('a spoilt wire, and what it lost in the capture', options, async () => {
    const pcap = join(folder, 'spoilt.pcapng');
    const flags = ['--host-loopback', '--delay', '20', '--drop', '10', '--seed', '5', '--pcap', pcap];
    const script = 'ping -c 10 -i 0.05 -W 2 10.0.2.2';
    const { stdout } = await run(flags, 'sh', '-c', `${script}; curl -sS -m 20 http://10.0.2.2:${port}/`);
    assert.match(stdout, /hello$/);
    const times = [...stdout.matchAll(/time=([\d.]+) ms/g)].map((match) => Number(match[1]));
    assert.ok(times.length > 3 && times.every((ms) => ms >= 40), `${times}`);
    const packets = [...readCapture(readFileSync(pcap))];
    assert.ok(packets.some(({ comments }) => comments[0] === 'dropped: fault-lost'));
  });

  test('names, and ping', options, async () => {
    const script = `curl -sS -m 10 http://web.test:${port}/ && ping -c 1 -W 2 10.0.2.3 && ping -6 -c 1 -W 2 fd00:2::2 &&
      dig +short +tcp web.test && dig +short @10.0.2.3 nothing.test; grep nameserver /etc/resolv.conf`;
    const flags = ['--host-loopback', '--host', 'web.test=10.0.2.2', '--name-server', '127.0.0.1:1'];
    const { code, stdout } = await run(flags, 'sh', '-c', script);
    assert.equal(code, 0);
    assert.match(stdout, /^hello/);
    assert.equal(stdout.match(/1 received, 0% packet loss/g)?.length, 2);
    assert.match(stdout, /^10\.0\.2\.2$/m);
    assert.match(stdout, /nameserver 10\.0\.2\.3/);
  });

  test('a DHCP client of Linux gets the guest its address', { ...options, skip: skipReason('dhclient') }, async () => {
    const lease = join(folder, 'lease');
    const script = `ip addr flush dev tap0 && dhclient -4 -1 -v -sf /bin/true -lf ${lease} -pf ${lease}.pid tap0; cat ${lease}`;
    const { code, stdout, stderr } = await run([], 'sh', '-c', script);
    assert.equal(code, 0, stderr);
    assert.match(stdout, /fixed-address 10\.0\.2\.100;/);
    assert.match(stdout, /option routers 10\.0\.2\.2;/);
    assert.match(stdout, /option domain-name-servers 10\.0\.2\.3;/);
  });

  test('what is denied is refused at once, with a line that says so', options, async () => {
    const rows: [flags: string[], target: string, reason: RegExp][] = [
      [['--deny', '198.51.100.0/24'], 'http://198.51.100.1/', /denied tcp .* 198\.51\.100\.1:80: denied by 198\.51/],
      [['--allow', 'tcp:good.test'], 'http://198.51.100.1/', /denied tcp .*: no rule allows it/],
      [['--allow', '*:443'], 'http://[2001:db8::1]/', /denied tcp .* \[2001:db8::1\]:80: no rule allows it/],
      [[], `http://10.0.2.2:${port}/`, /denied tcp .*: 10\.0\.2\.2 is the gateway itself/],
    ];
    for (const [flags, target, reason] of rows) {
      const { code, stderr } = await run(flags, 'curl', '-gsS', '-m', '5', target);
      assert.equal(code, 7, target); // curl: failed to connect
      assert.match(stderr, reason);
    }
  });

  test('exit codes, signals, and a command that cannot be run', options, async () => {
    assert.equal((await run([], 'sh', '-c', 'exit 42')).code, 42);
    assert.equal((await run([], 'sh', '-c', 'kill -9 $$')).code, 137);
    const inner = await run([], process.execPath, MAIN, 'run', '--', 'sh', '-c', 'exit 43');
    assert.deepEqual([inner.code, inner.stderr], [43, ''], 'one in the other');
    const missing = await run([], 'no-such-program');
    assert.deepEqual([missing.code, missing.stderr], [127, 'ethertype run: no-such-program: not found\n']);
    assert.equal((await run([], folder)).code, 126);
    assert.equal((await ethertype('run')).code, 2);
    assert.equal((await ethertype('run', '--allow', '443', '--', 'true')).code, 2);
    const child = spawn(process.execPath, [
      MAIN,
      'run',
      '--',
      'sh',
      '-c',
      'trap "exit 9" TERM; echo up; sleep 30 & wait',
    ]);
    await new Promise((resolve) => child.stdout.once('data', resolve));
    child.kill('SIGTERM');
    assert.equal(await new Promise((resolve) => child.once('exit', resolve)), 9);
  });

  test('everything inside ends with it, also when it is killed', options, async () => {
    const mark = `et-mark-${process.pid}`;
    const script = `(exec -a ${mark} sleep 300) & (exec -a ${mark} setsid sleep 300) & sleep 0.3; exit 3`;
    assert.equal((await run([], 'bash', '-c', script)).code, 3);
    assert.ok(await until(() => running(mark) === 0));
    const child: ChildProcess = spawn(process.execPath, [MAIN, 'run', '--', 'sleep', '299.125']);
    assert.ok(await until(() => running('sleep\u0000299.125\u0000') > 0 && running('299.125') >= 4));
    child.kill('SIGKILL');
    assert.ok(await until(() => running('299.125') === 0));
  });

  test('a server inside is reached by a published port', options, async () => {
    const probe = createServer();
    await new Promise<void>((resolve) => probe.listen(0, '127.0.0.1', resolve));
    const { port: outside } = probe.address() as { port: number };
    await new Promise((resolve) => probe.close(resolve));
    const server = `require('node:http').createServer((q, r) => r.end('inside')).listen(8000, () => console.log('up'))`;
    const flags = ['run', '--publish', `${outside}:8000`, '--', process.execPath, '-e', server];
    const child = spawn(process.execPath, [MAIN, ...flags]);
    await new Promise((resolve) => child.stdout.once('data', resolve));
    const answer = await (await fetch(`http://127.0.0.1:${outside}/`)).text();
    assert.equal(answer, 'inside');
    child.kill('SIGTERM');
    await new Promise((resolve) => child.once('exit', resolve));
    const refused = netConnect(outside, '127.0.0.1');
    const code = await new Promise((resolve) => refused.once('error', (e) => resolve((e as { code?: string }).code)));
    assert.equal(code, 'ECONNREFUSED', 'nobody listens there any more');
  });

  test('1,000 connections of Linux opened and closed, half-closed first', options, async () => {
    const echo = createServer({ allowHalfOpen: true }, (socket) => {
      socket.on('error', () => {});
      const got: Buffer[] = [];
      socket.on('data', (chunk) => got.push(chunk));
      socket.on('end', () => socket.end(Buffer.concat(got)));
    });
    await new Promise<void>((resolve) => echo.listen(0, '127.0.0.1', resolve));
    const { port: to } = echo.address() as { port: number };
    const program = `const net = require('node:net');
      const one = (i) => new Promise((resolve, reject) => {
        const socket = net.connect({ port: ${to}, host: '10.0.2.2', allowHalfOpen: true });
        let got = '';
        socket.on('data', (chunk) => { got += chunk; });
        socket.on('end', () => got === 'no ' + i ? resolve() : reject(new Error(got)));
        socket.on('error', reject);
        socket.end('no ' + i);
      });
      (async () => { for (let i = 0; i < 1000; i += 50) await Promise.all(Array.from({ length: 50 }, (_, k) => one(i + k)));
        console.log('done'); })();`;
    const log = join(folder, 'thousand');
    const result = await run(['--host-loopback', '--log', log], process.execPath, '-e', program);
    assert.deepEqual(result, { code: 0, stdout: 'done\n', stderr: '' });
    const records = readFileSync(log, 'utf8')
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    assert.equal(records.length, 1000);
    assert.ok(records.every(({ result: how }) => how === 'closed'));
    const open = await new Promise<number>((resolve) => echo.getConnections((_e, count) => resolve(count)));
    assert.equal(open, 0, 'no connection is left');
    await new Promise((resolve) => echo.close(resolve));
  });
});

describe('proxy --qemu', () => {
  test('a machine on the socket is served, and again when either has come anew', options, async () => {
    const folder = mkdtempSync(join(tmpdir(), 'et-qemu-'));
    const [path, stats, pcap] = ['net.sock', 'stats', 'guests.pcapng'].map((name) => join(folder, name)) as [
      string,
      string,
      string,
    ];
    const server = createHttp((_request, response) => response.end('served'));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as { port: number };
    const proxy = async (): Promise<ChildProcess> => {
      const flags = ['--qemu', path, '--host-loopback', '--stats', stats, '--pcap', pcap, '--delay', '5'];
      const child = spawn(process.execPath, [MAIN, 'proxy', ...flags]);
      await new Promise((resolve) => child.stdout.once('data', resolve));
      return child;
    };
    const end = async (child: ChildProcess): Promise<void> => {
      child.kill('SIGTERM');
      assert.equal(await new Promise((resolve) => child.once('exit', resolve)), 0);
    };
    /** What QEMU does: connects, and sends frames of its guest; the guest finds out who it is. */
    const guest = async (): Promise<void> => {
      const socket = netConnect(path);
      const host = createHost({ device: qemuDevice(socket), addresses: ['dhcp', 'slaac'] });
      const addresses = await host.configured({ timeout: 20_000 });
      assert.ok(addresses.includes('10.0.2.100/24'), `${addresses}`);
      const stream = await host.tcp.connect({ host: '10.0.2.2', port });
      await stream.write(new TextEncoder().encode('GET / HTTP/1.0\r\n\r\n'));
      const chunks: Uint8Array[] = [];
      for await (const chunk of stream) chunks.push(chunk);
      assert.match(`${Buffer.concat(chunks)}`, /served$/);
      await host.close();
      assert.equal(host.memory.usedBytes, 0);
      socket.destroy();
    };
    let child = await proxy();
    await guest();
    await guest();
    await end(child);
    assert.ok(!existsSync(path));
    const recorded = [...readCapture(readFileSync(pcap))];
    const machines = [...new Set(recorded.map((packet) => packet.interface))];
    assert.deepEqual(
      machines.map(({ name }) => name),
      ['guest', 'guest'],
    );
    child = await proxy();
    await guest();
    const second = await ethertype('proxy', '--qemu', path);
    assert.equal(second.code, 1);
    assert.match(second.stderr, /^ethertype proxy: .*EADDRINUSE.*\n$/);
    await guest();
    // Machines that come and go leave nothing.
    for (let i = 0; i < 50; i++) {
      const socket = netConnect(path);
      await new Promise((resolve) => socket.once('connect', resolve));
      socket.destroy();
    }
    await guest();
    const uses = (): Account[] =>
      readFileSync(stats, 'utf8')
        .split('\n')
        .filter((line) => line !== '')
        .map((line) => JSON.parse(line));
    assert.ok(await until(() => uses().length >= 5));
    const afterwards = uses().map(({ after }) => after);
    assert.ok(afterwards.every(({ tcp, udp, echo, bytes }) => tcp + udp + echo + bytes === 0));
    const [first, last] = [afterwards[0]!.descriptors, afterwards.at(-1)!.descriptors];
    assert.ok(last <= first + 1, `${first} descriptors first, ${last} last`);
    // What is killed leaves its socket behind, and the next one takes it over.
    child.kill('SIGKILL');
    await new Promise((resolve) => child.once('exit', resolve));
    assert.ok(existsSync(path));
    child = await proxy();
    await guest();
    await end(child);
    server.close();
    rmSync(folder, { recursive: true, force: true });
  });
});

describe('proxy --tun', { skip: skipReason('curl') }, () => {
  test('every address behind a tunnel, in a namespace whose loopback has the server', options, async () => {
    await using space = await Namespace.create();
    const flags = ['--host-loopback', '--host-address', '10.0.2.100/24', '--host-address', 'fd00:2::64/64'];
    const served = `require('node:http').createServer((q, r) => r.end('served')).listen(8000, '127.0.0.1', () => console.log('up'))`;
    const server = space.spawn(process.execPath, '-e', served);
    await server.line(/up/);
    const proxy = space.spawn(process.execPath, MAIN, 'proxy', '--tun', 'tun9', ...flags, '--deny', '192.0.2.7');
    await proxy.line(/10\.0\.2\.2 on tun9/);
    const { stdout } = await space.must('curl', '-sS', '-m', '5', 'http://10.0.2.2:8000/');
    assert.equal(stdout, 'served');
    await space.must('ip', 'route', 'add', '192.0.2.0/24', 'dev', 'tun9');
    const denied = await space.exec('curl', '-sS', '-m', '5', 'http://192.0.2.7/');
    assert.equal(denied.code, 7);
    await proxy.errorLine(/denied tcp 10\.0\.2\.100:\d+ -> 192\.0\.2\.7:80: denied by 192\.0\.2\.7/);
    // No route leads from the machine itself to there, and that is what is said.
    const nowhere = await space.exec('curl', '-sS', '-m', '5', 'http://[2001:db8::1]/');
    assert.equal(nowhere.code, 7);
    assert.equal(await proxy.end(5000, 'SIGTERM'), 0);
    assert.ok(!existsSync('/sys/class/net/tun9'));
  });
});
