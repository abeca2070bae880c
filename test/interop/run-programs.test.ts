/** `ethertype run`: the programs people use, against their real servers on the machine's loopback. @module */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createSecureServer } from 'node:http2';
import { connect, createServer } from 'node:net';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { execute, Machine, NOBODY, Source, skipRun, until } from './machine.ts';

const options = { timeout: 90_000 };
const GIB = 1 << 30;

describe('run: programs and their servers', { skip: skipRun('curl') }, () => {
  const source = new Source();
  let machine: Machine;
  let port = 0;
  let port6 = 0;
  before(async () => {
    machine = new Machine();
    port = await machine.serveHttp(source.answer);
    port6 = await machine.serveHttp(source.answer, '::1');
  });
  after(() => machine.close());

  test('curl: 1 GB down and 1 GB up, with checksums', options, async () => {
    const { stdout, flows } = await machine.script(`
      curl -sS http://10.0.2.2:${port}/${GIB} | sha256sum
      head -c ${GIB} /dev/zero | curl -gsS -T - 'http://[fd00:2::2]:${port6}/'`);
    const zeros = createHash('sha256');
    for (let i = 0; i < 1024; i++) zeros.update(Buffer.alloc(1 << 20));
    assert.deepEqual(stdout.replace('  -', '').trim().split('\n'), [source.hash(GIB), zeros.digest('hex')]);
    assert.deepEqual(
      flows.map(({ destination, result }) => [destination, result]),
      [
        [`10.0.2.2:${port}`, 'closed'],
        [`[fd00:2::2]:${port6}`, 'closed'],
      ],
    );
    assert.ok(flows[0]!.bytesIn > GIB && flows[1]!.bytesOut > GIB);
  });

  test('HTTP/2 by name and TLS: curl, and fifty streams of one connection at once', {
    ...options,
    skip: skipRun('openssl'),
  }, async () => {
    const [keyFile, certFile] = [machine.path('key.pem'), machine.path('cert.pem')];
    const request = 'req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=h2.test';
    const names = ['-addext', 'subjectAltName=DNS:h2.test', '-keyout', keyFile, '-out', certFile];
    execFileSync('openssl', [...request.split(' '), ...names], { stdio: 'pipe' });
    const server = createSecureServer({ key: readFileSync(keyFile), cert: readFileSync(certFile) });
    server.on('request', (request, response) => source.answer(request as never, response as never));
    const h2 = await machine.serve(server as never);
    const [url, each] = [`https://h2.test:${h2}`, 200_000];
    const program = `const client = require('node:http2').connect('${url}', { ca: require('node:fs').readFileSync('${certFile}') });
      const one = () => new Promise((resolve, reject) => { let n = 0; const r = client.request({ ':path': '/${each}' });
        r.on('data', (c) => { n += c.length; }); r.on('end', () => resolve(n)); r.on('error', reject); });
      Promise.all(Array.from({ length: 50 }, one)).then((all) => { console.log(all.reduce((a, b) => a + b)); client.close(); });`;
    const curl = `curl -sS --cacert ${certFile}`;
    const script = `
      ${curl} -w '%{http_version}\\n' -o /dev/null ${url}/5
      ${curl} "${url}/${each}?[1-50]" | wc -c
      ${curl} -Z "${url}/${each}?[1-50]" 2>/dev/null | wc -c
      head -c 5000000 /dev/zero | ${curl} -T - ${url}/
      '${process.execPath}' -e ${quote(program)}`;
    const flags = ['--host', 'h2.test=10.0.2.2', '--allow', 'sni=h2.test'];
    const { stdout, flows } = await machine.script(script, { flags });
    const zeros = createHash('sha256').update(Buffer.alloc(5_000_000)).digest('hex');
    assert.equal(stdout, `2\n${50 * each}\n${50 * each}\n${zeros}${50 * each}\n`);
    // curl closes before it has read the server's last words, which its own system answers with a reset.
    assert.deepEqual(
      flows.map(({ name }) => name),
      Array(5).fill('h2.test'),
      'one connection each',
    );
    server.close();
  });

  test('keep-alive: 2,000 requests over the four connections of an agent', options, async () => {
    const program = `const http = require('node:http');
      const agent = new http.Agent({ keepAlive: true, maxSockets: 4 });
      const one = () => new Promise((resolve, reject) => http.get({ host: '10.0.2.2', port: ${port}, path: '/3000', agent },
        (r) => { let n = 0; r.on('data', (c) => { n += c.length; }); r.on('end', () => resolve(n)); }).on('error', reject));
      (async () => { let sum = 0;
        for (let i = 0; i < 100; i++) for (const n of await Promise.all(Array.from({ length: 20 }, one))) sum += n;
        console.log(sum); agent.destroy(); })();`;
    const { stdout, flows } = await machine.script(`'${process.execPath}' -e ${quote(program)}`);
    assert.equal(stdout, `${2000 * 3000}\n`);
    assert.equal(flows.length, 4);
  });

  test('5,000 connections opened and closed, half-closed first', options, async () => {
    const echo = createServer({ allowHalfOpen: true }, (socket) => {
      const got: Buffer[] = [];
      socket.on('data', (chunk) => got.push(chunk));
      socket.on('end', () => socket.end(Buffer.concat(got)));
    });
    const to = await machine.serve(echo);
    const program = `const net = require('node:net');
      const one = (i) => new Promise((resolve, reject) => {
        const socket = net.connect({ port: ${to}, host: '10.0.2.2', allowHalfOpen: true });
        let got = '';
        socket.on('data', (chunk) => { got += chunk; });
        socket.on('end', () => got === 'no ' + i ? resolve() : reject(new Error(got)));
        socket.on('error', reject);
        socket.end('no ' + i);
      });
      let next = 0;
      const worker = async () => { while (next < 5000) await one(next++); };
      Promise.all(Array.from({ length: 100 }, worker)).then(() => console.log('done'));`;
    const command = `'${process.execPath}' -e ${quote(program)}`;
    const { stdout, flows } = await machine.script(command, { settleSeconds: 2 });
    assert.equal(stdout, 'done\n');
    assert.equal(flows.length, 5000);
    assert.ok(flows.every(({ result }) => result === 'closed'));
    const open = await new Promise<number>((resolve) => echo.getConnections((_e, count) => resolve(count)));
    assert.equal(open, 0);
  });

  test('wrk with 500 connections', { ...options, skip: skipRun('wrk') }, async () => {
    const { stdout, flows } = await machine.script(`wrk -t 2 -c 500 -d 4s --timeout 4s http://10.0.2.2:${port}/100`, {
      settleSeconds: 2,
    });
    assert.doesNotMatch(stdout, /Socket errors|Non-2xx/);
    assert.ok(Number(/(\d+) requests in/.exec(stdout)?.[1]) > 2000, stdout);
    assert.ok(flows.length >= 500 && flows.length <= 502, `${flows.length} flows`);
  });

  test('a server inside: 100 MB down and up, 500 connections, and one that is open at the end', options, async () => {
    const outside = await machine.freePort();
    const server = `const { createHash } = require('node:crypto');
      require('node:http').createServer((q, r) => {
        if (q.method === 'GET') return void r.end(Buffer.alloc(Number(q.url.slice(1)) || 5, 'served'));
        const sum = createHash('sha256'); q.on('data', (c) => sum.update(c)); q.on('end', () => r.end(sum.digest('hex'))); })
        .listen(8000, () => console.log('up'));
      require('node:net').createServer((socket) => { socket.write('held'); socket.once('data', () => process.exit(0)); })
        .listen(8001);`;
    const held = await machine.freePort();
    const flags = ['--publish', `${outside}:8000`, '--publish', `127.0.0.1:${held}:8001`];
    const running = machine.run({ flags }, process.execPath, '-e', server);
    const url = `http://127.0.0.1:${outside}`;
    assert.ok(await until(async () => (await execute('curl', ['-sS', url])).stdout === 'serve'));
    const large = Buffer.alloc(100_000_000, 'served');
    const sum = createHash('sha256').update(large).digest('hex');
    const down = await execute('bash', ['-c', `curl -sS ${url}/${large.length} | sha256sum`]);
    assert.equal(down.stdout, `${sum}  -\n`);
    const up = await execute('bash', ['-c', `curl -sS ${url}/${large.length} | curl -sS -T - ${url}/`]);
    assert.equal(up.stdout, sum);
    for (let i = 0; i < 500; i += 50) {
      const some = await Promise.all(
        Array.from({ length: 50 }, () => fetch(`${url}/30`, { headers: { connection: 'close' } })),
      );
      for (const response of some) assert.equal((await response.text()).length, 30);
    }
    const socket = connect(held, '127.0.0.1');
    const over = new Promise<string>((resolve) => {
      socket.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? ''));
      socket.on('end', () => resolve('end'));
    });
    await new Promise((resolve) => socket.once('data', resolve));
    socket.write('the end');
    const ended = await running;
    assert.deepEqual([ended.code, ended.stderr], [0, '']);
    assert.ok(['end', 'ECONNRESET'].includes(await over));
    assert.equal(ended.after.tcp + ended.after.bytes, 0);
    assert.ok(ended.flows.length >= 503 && ended.flows.every(({ direction }) => direction === 'in'));
    assert.ok(
      ended.flows.some(({ destination }) => destination === '10.0.2.100:8001'),
      'the one at the end has its line',
    );
  });

  test('git clone, and push', { ...options, skip: skipRun('git') }, async () => {
    const repository = machine.path('repository.git');
    const work = machine.path('work');
    const git = (...args: string[]): string =>
      execFileSync('git', ['-c', 'user.name=t', '-c', 'user.email=t@t.test', ...args], {
        encoding: 'utf8',
        stdio: 'pipe',
      });
    git('init', '-q', '--bare', '-b', 'main', repository);
    git('init', '-q', '-b', 'main', work);
    const piece = Buffer.alloc(3 << 20);
    for (let i = 0, word = 1; i < piece.length; i += 4) {
      word = Math.imul(word, 1_664_525) + 1_013_904_223; // bytes that do not compress
      piece.writeInt32LE(word | 0, i);
    }
    writeFileSync(join(work, 'large'), piece);
    for (let i = 0; i < 200; i++) writeFileSync(join(work, `file-${i}`), `${i}\n`.repeat(i));
    git('-C', work, 'add', '.');
    git('-C', work, 'commit', '-q', '-m', 'first');
    git('-C', work, 'push', '-q', repository, 'main');
    const daemon = await machine.freePort();
    await machine.start(daemon, join(git('--exec-path').trim(), 'git-daemon'), [
      '--reuseaddr',
      '--listen=127.0.0.1',
      `--port=${daemon}`,
      `--base-path=${machine.folder}`,
      '--export-all',
      '--enable=receive-pack',
    ]);
    const clone = machine.path('clone');
    const { flows } = await machine.script(`
      git clone -q git://10.0.2.2:${daemon}/repository.git ${clone}
      cd ${clone}; cmp large ${work}/large; echo more > more; git add more
      git -c user.name=t -c user.email=t@t.test commit -q -m second
      git push -q origin main`);
    assert.equal(git('-C', repository, 'show', 'main:more'), 'more\n');
    assert.deepEqual([flows.length, flows[0]!.bytesIn > piece.length], [2, true]);
  });

  test('redis-cli, and a pipe of 20,000 commands', {
    ...options,
    skip: skipRun('redis-server', 'redis-cli'),
  }, async () => {
    const redis = await machine.freePort();
    const settings = ['--port', `${redis}`, '--bind', '127.0.0.1', '--save', '', '--dir', machine.folder];
    await machine.start(redis, 'redis-server', settings);
    const cli = `redis-cli -h 10.0.2.2 -p ${redis}`;
    const { stdout, flows } = await machine.script(`
      ${cli} set word value; ${cli} get word
      for ((i = 0; i < 20000; i++)); do echo "INCR counter"; done | ${cli} --pipe | tail -n 1
      ${cli} get counter
      timeout 0.3 ${cli} subscribe news >/dev/null || true`);
    assert.deepEqual(stdout.trim().split('\n'), ['OK', 'value', 'errors: 0, replies: 20000', '20000']);
    assert.equal(flows.length, 5);
  });

  test('psql', { ...options, skip: skipPostgres() }, async () => {
    const programs = postgres()!;
    const data = machine.path('pg');
    mkdirSync(data);
    const user = userOf(data);
    execFileSync(
      user[0]!,
      [...user.slice(1), join(programs, 'initdb'), '-D', join(data, 'db'), '-A', 'trust', '-U', 'test', '--no-sync'],
      {
        stdio: 'pipe',
        cwd: data,
      },
    );
    const sql = await machine.freePort();
    const settings = [
      '-D',
      join(data, 'db'),
      '-p',
      `${sql}`,
      '-F',
      '-c',
      'listen_addresses=127.0.0.1',
      '-c',
      `unix_socket_directories=${data}`,
    ];
    await machine.start(sql, user[0]!, [...user.slice(1), join(programs, 'postgres'), ...settings], { cwd: data });
    const psql = `psql -h 10.0.2.2 -p ${sql} -U test -d postgres -qAt`;
    const { stdout, flows } = await machine.script(`
      ${psql} -c 'create table t as select i, md5(i::text) as h from generate_series(1, 50000) i'
      ${psql} -c 'copy t to stdout' | sort -n | md5sum
      ${psql} -c 'copy t to stdout' | ${psql} -c 'create temp table u (like t)' -c 'copy u from stdin' -c 'select count(*), min(i), max(i) from u'
      ${psql} -c 'select 1/0' 2>&1 || true`);
    const rows = Array.from(
      { length: 50_000 },
      (_, i) =>
        `${i + 1}\t${createHash('md5')
          .update(`${i + 1}`)
          .digest('hex')}\n`,
    );
    const sum = createHash('md5').update(rows.join('')).digest('hex');
    assert.deepEqual(stdout.trim().split('\n'), [`${sum}  -`, '50000|1|50000', 'ERROR:  division by zero']);
    assert.equal(flows.length, 5);
  });

  test('ssh to a local sshd, with a key', { ...options, skip: skipRun('ssh', 'sshd', 'ssh-keygen') }, async () => {
    const ssh = await sshd(machine);
    const { stdout, flows } = await machine.script(`
      ${ssh} 'echo inside; exit 0'
      head -c 20000000 /dev/zero | ${ssh} 'sha256sum'
      ${ssh} 'head -c 20000000 /dev/zero' | sha256sum
      ${ssh} 'exit 7' || echo $?`);
    const zeros = createHash('sha256').update(Buffer.alloc(20_000_000)).digest('hex');
    assert.deepEqual(stdout.trim().split('\n'), ['inside', `${zeros}  -`, `${zeros}  -`, '7']);
    assert.equal(flows.length, 4);
  });

  test('ping and dig', { ...options, skip: skipRun('ping', 'dig') }, async () => {
    const { stdout, flows } = await machine.script(
      `ping -q -c 5 -i 0.05 10.0.2.2; ping -q -c 5 -i 0.05 10.0.2.3; ping -6 -q -c 5 -i 0.05 fd00:2::2
      dig +short web.test; dig +short +tcp web.test; dig +short @fd00:2::3 web.test; dig +short -x 10.9.8.7`,
      { flags: ['--host', 'web.test=10.9.8.7', '--name-server', '127.0.0.1:1'] },
    );
    assert.equal(stdout.match(/5 received, 0% packet loss/g)?.length, 3);
    assert.deepEqual(stdout.trim().split('\n').slice(-4), ['10.9.8.7', '10.9.8.7', '10.9.8.7', 'web.test.']);
    assert.deepEqual(flows, []);
  });
});

function quote(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

/** The newest of the machine's. */
function postgres(): string | null {
  const folder = '/usr/lib/postgresql';
  if (!existsSync(folder)) return null;
  const version = readdirSync(folder).sort((a, b) => Number(b) - Number(a))[0];
  return version === undefined ? null : join(folder, version, 'bin');
}

function skipPostgres(): string | false {
  return postgres() === null ? 'needs postgresql, not installed here' : skipRun('psql', 'setpriv');
}

/** PostgreSQL does not run as root. The folder becomes the other user's. */
function userOf(folder: string): string[] {
  if (process.getuid?.() !== 0) return ['env'];
  execFileSync('chown', ['nobody:nogroup', folder]);
  return [...NOBODY];
}

/** An sshd with keys of its own; returns the command that logs in from inside. */
async function sshd(machine: Machine): Promise<string> {
  const path = (name: string): string => machine.path(name);
  for (const name of ['host-key', 'user-key']) {
    execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', path(name)]);
  }
  writeFileSync(path('authorized'), readFileSync(path('user-key.pub')));
  chmodSync(path('authorized'), 0o600);
  const port = await machine.freePort();
  const lines = ['ListenAddress 127.0.0.1', `Port ${port}`, `HostKey ${path('host-key')}`, 'PidFile none', 'UsePAM no'];
  lines.push(`AuthorizedKeysFile ${path('authorized')}`, 'StrictModes no', 'PasswordAuthentication no');
  writeFileSync(path('sshd_config'), `${lines.join('\n')}\n`);
  writeFileSync(path('known'), `[10.0.2.2]:${port} ${readFileSync(path('host-key.pub'), 'utf8')}`);
  mkdirSync('/run/sshd', { recursive: true });
  await machine.start(port, existsSync('/usr/sbin/sshd') ? '/usr/sbin/sshd' : 'sshd', [
    '-D',
    '-e',
    '-f',
    path('sshd_config'),
  ]);
  return `ssh -F none -i ${path('user-key')} -o UserKnownHostsFile=${path('known')} -o BatchMode=yes -p ${port} root@10.0.2.2`;
}
