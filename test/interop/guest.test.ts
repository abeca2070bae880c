/** A Linux in QEMU behind `ethertype proxy`. `npm run guest` runs it alone. @module */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { test } from 'node:test';
import { Guest, skipGuest } from './guest.ts';
import { type Account, assertNothingLeft, execute, MAIN, Machine } from './machine.ts';

const BYTES = 10_000_000;

/** A proxy that calls the machine at `path`, until it is ended by a signal. */
async function startProxy(machine: Machine, path: string, published: number): Promise<ChildProcess> {
  const files = ['--log', machine.path('flows'), '--stats', machine.path('stats')];
  const flags = [
    '--qemu-connect',
    path,
    '--host-loopback',
    '--host',
    'web.test=10.0.2.2',
    '--publish',
    `${published}:7`,
    ...files,
  ];
  const child = spawn(process.execPath, [MAIN, 'proxy', ...flags], { stdio: ['ignore', 'pipe', 'inherit'] });
  await new Promise((resolve) => child.stdout!.once('data', resolve));
  return child;
}

async function end(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = new Promise((resolve) => child.once('exit', resolve));
  child.kill(signal);
  await ended;
}

test('a Linux in QEMU gets an address and a name, fetches, and survives the restart of the proxy', {
  timeout: 180_000,
  skip: skipGuest(),
}, async () => {
  const machine = new Machine();
  const bytes = Buffer.alloc(BYTES, 'a guest of its own');
  const zeros = Buffer.alloc(BYTES / 2);
  const zerosHash = createHash('sha256').update(zeros).digest('hex');
  const hash = createHash('sha256').update(bytes).digest('hex');
  const port = await machine.serveHttp((request, response) =>
    response.end(request.url === '/large' ? bytes : 'served'),
  );
  /** Reads to the end, and answers with the hash. */
  const hasher = createServer({ allowHalfOpen: true }, (socket) => {
    const sum = createHash('sha256');
    socket.on('data', (chunk) => sum.update(chunk));
    socket.on('end', () => socket.end(sum.digest('hex')));
  });
  const hashes = await machine.serve(hasher);
  const port6 = await machine.serveHttp((_request, response) => response.end('served'), '::1');
  const silent = await machine.serve(createServer((socket) => socket.resume()));
  const path = machine.path('net');
  const published = await machine.freePort();
  let proxy = await startProxy(machine, path, published);
  let guest: Guest | null = null;
  try {
    guest = await Guest.start(machine.folder, `stream,server=on,addr.type=unix,addr.path=${path}`);
    const dhcp = 'udhcpc -i eth0 -n -q -s /bin/lease 2>&1';
    assert.match(await guest.must(dhcp), /lease of 10\.0\.2\.100 obtained from 10\.0\.2\.2/);
    const fetchAll = async (): Promise<void> => {
      assert.match(await guest!.must('nslookup web.test'), /Address: 10\.0\.2\.2\n/);
      assert.equal(await guest!.must(`wget -q -O - http://web.test:${port}/`), 'served');
      assert.equal(await guest!.must(`wget -q -O - 'http://[fd00:2::2]:${port6}/'`), 'served');
      assert.equal(await guest!.must(`wget -q -O - http://web.test:${port}/large | sha256sum`), `${hash}  -\n`);
      assert.equal(await guest!.must(`head -c ${zeros.length} /dev/zero | nc 10.0.2.2 ${hashes}`), zerosHash);
      // A server of the guest's: it echoes one connection.
      await guest!.must('(nc -l -p 7 -e cat) > /dev/null 2>&1 & sleep 0.3');
      const echoed = await execute('nc', ['-N', '127.0.0.1', `${published}`], { input: 'into the guest\n' });
      assert.equal(echoed.stdout, 'into the guest\n');
      assert.match(await guest!.must('ping -c 2 -W 2 10.0.2.2'), /2 packets received/);
    };
    const global = 'ip addr show eth0 | grep "inet6 fd00:2::"';
    assert.match(
      await guest.must(`for i in $(seq 50); do ${global} && break; sleep 0.1; done`),
      /inet6 fd00:2::[0-9a-f:]+\/64 scope global/,
    );
    await fetchAll();

    // A connection that is open meanwhile gets a reset: the new proxy knows nothing of it. All else goes on, at once.
    await guest.must(
      `(while sleep 0.2; do echo more; done | nc 10.0.2.2 ${silent} 2> /dev/null; echo over > /tmp/over) & sleep 1`,
    );
    await end(proxy, 'SIGKILL');
    proxy = await startProxy(machine, path, published);
    await fetchAll();
    assert.equal(
      await guest.must('for i in 1 2 3 4 5 6 7 8 9; do [ -e /tmp/over ] || sleep 1; done; cat /tmp/over'),
      'over\n',
    );
    assert.match(await guest.must(dhcp), /lease of 10\.0\.2\.100 obtained from 10\.0\.2\.2/);
    await end(proxy, 'SIGTERM');
    assert.equal(proxy.exitCode, 0);
    const accounts = readFileSync(machine.path('stats'), 'utf8').trim().split('\n');
    assert.equal(accounts.length, 1, 'the one that was killed has written none');
    assertNothingLeft(JSON.parse(accounts[0]!) as Account);
  } finally {
    await guest?.end();
    await end(proxy, 'SIGKILL');
    await machine.close();
  }
});
