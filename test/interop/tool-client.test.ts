/** `ethertype ping`, `trace` and `get` against Linux, and scanners against `ethertype server`. @module */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { readCapture } from '../../src/pcap/index.ts';
import { Namespace, type Result, skipReason } from './namespace.ts';
import { LINUX, MAIN, OURS, Server } from './server.ts';

const options = { timeout: 60_000 };
const LINUX_V6 = 'fd69::100';
const WIRES = {
  tap: ['--tap', 'tap0', '--address', `${OURS}/24`, '--host-address', `${LINUX}/24`],
  tun: ['--tun', 'tun0', '--address', 'fd69::1/64', '--host-address', `${LINUX_V6}/64`],
};

/** A web server with redirects, chunks, and an answer that is cut short. */
const WEB = `
import { createServer } from 'node:http';
const serve = (request, response) => {
  const [, what, n] = request.url.split('/');
  if (what === 'to') { response.writeHead(302, { location: n === '0' ? '/text' : '/to/' + (n - 1) }); response.end('gone'); }
  else if (what === 'loop') { response.writeHead(301, { location: '/loop' }); response.end(); }
  else if (what === 'chunks') { for (let i = 0; i < 300; i++) response.write('x'.repeat(i)); response.end(); }
  else if (what === 'short') { response.writeHead(200, { 'content-length': 100 }); response.write('only this'); setTimeout(() => response.destroy(), 50); }
  else if (what === 'text') response.end('hello from Linux\\n');
  else if (what === 'tls') { response.writeHead(302, { location: 'https://' + request.headers.host }); response.end(); }
  else { response.writeHead(404); response.end('no such page\\n'); }
};
createServer(serve).listen(80, '::', () => console.log('ready'));
`;

describe('the tool as a client', { skip: skipReason('ping') }, () => {
  let space: Namespace;
  let folder = '';
  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'et-tool-'));
    space = await Namespace.create();
    const web = space.spawn(process.execPath, '--input-type=module', '-e', WEB);
    await web.line(/ready/);
  });
  after(async () => {
    await space?.dispose();
    rmSync(folder, { recursive: true, force: true });
  });

  const run = (command: string, wire: keyof typeof WIRES, ...args: string[]): Promise<Result> =>
    space.execWith({ timeoutMs: 20_000 }, process.execPath, MAIN, command, ...WIRES[wire], ...args);

  for (const [wire, target] of [
    ['tap', LINUX],
    ['tun', LINUX_V6],
  ] as const) {
    test(`ping over ${wire}: as ping(8) prints it`, options, async () => {
      const { code, stdout, stderr } = await run('ping', wire, '-c', '3', '-i', '0.05', '-s', '100', target);
      assert.equal(code, 0, stderr);
      const lines = stdout.split('\n');
      assert.equal(
        lines[0],
        wire === 'tap'
          ? `PING ${target} (${target}) 100(128) bytes of data.`
          : `PING ${target}(${target}) 100 data bytes`,
      );
      for (let i = 1; i <= 3; i++) {
        assert.match(lines[i]!, new RegExp(`^108 bytes from ${target}: icmp_seq=${i} ttl=64 time=[0-9.]+ ms$`));
      }
      assert.deepEqual(lines.slice(4, 6), ['', `--- ${target} ping statistics ---`]);
      assert.match(lines[6]!, /^3 packets transmitted, 3 received, 0% packet loss, time \d+ms$/);
      assert.match(lines[7]!, /^rtt min\/avg\/max\/mdev = \d+\.\d{3}\/\d+\.\d{3}\/\d+\.\d{3}\/\d+\.\d{3} ms$/);
    });

    test(`trace over ${wire}: as traceroute -n prints it`, options, async () => {
      for (const how of [[], ['-I']]) {
        const { code, stdout, stderr } = await run('trace', wire, '-q', '2', ...how, target);
        assert.equal(code, 0, stderr);
        const lines = stdout.split('\n');
        const bytes = wire === 'tap' ? 60 : 80;
        assert.equal(lines[0], `traceroute to ${target} (${target}), 30 hops max, ${bytes} byte packets`);
        assert.match(lines[1]!, new RegExp(`^ 1  ${target}  \\d+\\.\\d{3} ms  \\d+\\.\\d{3} ms$`));
        assert.deepEqual(lines.slice(2), ['']);
      }
    });

    test(`get over ${wire}`, options, async () => {
      const base = `http://${wire === 'tap' ? target : `[${target}]`}`;
      const got = await run('get', wire, `${base}/to/3`);
      assert.deepEqual([got.code, got.stdout], [0, 'hello from Linux\n'], got.stderr);
      const chunked = await run('get', wire, '-o', join(folder, 'chunks'), `${base}/chunks`);
      assert.deepEqual([chunked.code, chunked.stdout], [0, ''], chunked.stderr);
      assert.equal(readFileSync(join(folder, 'chunks'), 'utf8'), 'x'.repeat((299 * 300) / 2));
      const json = JSON.parse((await run('get', wire, '--json', `${base}/to/1`)).stdout);
      assert.deepEqual([json.status, json.body, json.redirects.length], [200, 'hello from Linux\n', 2]);
      const missing = await run('get', wire, '-i', `${base}/nothing`);
      assert.equal(missing.code, 1);
      assert.match(missing.stdout, /^HTTP\/1\.1 404 Not Found\r\n[\s\S]*\r\n\r\nno such page\n$/);
    });
  }

  test('IPv6 over Ethernet: the addresses of both ends are probed for first', options, async () => {
    const addresses = ['--address', 'fd69::1/64', '--host-address', `${LINUX_V6}/64`];
    const tap = (command: string, ...args: string[]) =>
      space.execWith({ timeoutMs: 20_000 }, process.execPath, MAIN, command, '--tap', 'tap6', ...addresses, ...args);
    const pinged = await tap('ping', '-c', '2', '-i', '0.05', LINUX_V6);
    assert.match(
      pinged.stdout,
      /icmp_seq=1 ttl=64 time=[0-9.]+ ms[\s\S]*2 packets transmitted, 2 received/,
      pinged.stderr,
    );
    const got = await tap('get', `http://[${LINUX_V6}]/text`);
    assert.deepEqual([got.code, got.stdout], [0, 'hello from Linux\n'], got.stderr);
    // An address that Linux has is not taken.
    await space.must('ip', 'tuntap', 'add', 'tap7', 'mode', 'tap');
    await space.must('ip', 'address', 'add', 'fd77::1/64', 'dev', 'tap7', 'nodad');
    await space.must('ip', 'link', 'set', 'tap7', 'up');
    const taken = ['ping', '--tap', 'tap7', '--address', 'fd77::1/64', '-c', '1', 'fd77::9'];
    const refused = await space.exec(process.execPath, MAIN, ...taken);
    assert.deepEqual(
      [refused.code, refused.stderr],
      [1, 'ethertype ping: --address: fd77::1 is in use by another host\n'],
    );
  });

  test('get: what fails says why', options, async () => {
    for (const [args, message] of [
      [[`http://${LINUX}/loop`], /more than 10 redirects/],
      [[`http://${LINUX}/short`], /ends in its middle|ECONNRESET/],
      [[`http://${LINUX}/tls`], /https/],
      [[`http://${LINUX}:81/`], /ECONNREFUSED/],
    ] as const) {
      const { code, stderr } = await run('get', 'tap', ...args);
      assert.equal(code, 1, stderr);
      assert.match(stderr, message);
      assert.equal(stderr.trim().split('\n').length, 1, stderr);
    }
    const usage = await run('get', 'tap', 'ftp://10.0.0.1/');
    assert.equal(usage.code, 2);
  });

  test('ping and get over a spoilt wire: the delay is felt, and the capture tells what was lost', options, async () => {
    const pcap = join(folder, 'spoilt.pcapng');
    const spoilt = ['--delay', '15', '--bad-enter', '20', '--bad-leave', '50', '--seed', '3', '--pcap', pcap];
    const ping = await run('ping', 'tap', '--json', '-c', '20', '-i', '0.02', '-W', '1', ...spoilt, LINUX);
    const { sent, received, replies } = JSON.parse(ping.stdout);
    assert.ok(sent === 20 && received > 0 && received < 20, ping.stdout);
    for (const { timeMs } of replies) assert.ok(timeMs >= 30, `${timeMs} ms`);
    const lost = [...readCapture(readFileSync(pcap))].filter(({ comments }) => comments[0] === 'dropped: fault-lost');
    for (const way of ['in', 'out'])
      assert.ok(
        lost.some(({ direction }) => direction === way),
        way,
      );
    const got = await run('get', 'tun', '--delay', '15', '--drop', '5', `http://[${LINUX_V6}]/chunks`);
    assert.equal(got.stdout, 'x'.repeat((299 * 300) / 2), got.stderr);
  });

  test('ping with a scenario: its times count from the first request', options, async () => {
    const scenario = join(folder, 'scenario.json');
    const schedule = [
      { atMs: 0, tx: { delayMs: 25 } },
      { atMs: 400, tx: { down: true } },
      { atMs: 800, tx: { down: false, delayMs: 0 } },
    ];
    writeFileSync(scenario, JSON.stringify({ schedule }));
    const flags = ['--json', '-c', '24', '-i', '0.05', '-W', '1', '--scenario', scenario];
    const { replies, received } = JSON.parse((await run('ping', 'tap', ...flags, LINUX)).stdout);
    assert.ok(received > 8 && received < 20, `${received} came back`);
    assert.ok(replies[0].timeMs >= 25 && replies.at(-1).timeMs < 20, JSON.stringify(replies));
  });

  test('ping: nobody there, Ctrl-C, --json', options, async () => {
    const nobody = await run('ping', 'tap', '-c', '1', '-W', '6', '192.168.69.77');
    assert.equal(nobody.code, 1);
    assert.match(nobody.stdout, /^From 192\.168\.69\.1 icmp_seq=1 Destination Host Unreachable$/m);
    assert.match(nobody.stdout, /1 packets transmitted, 0 received, \+1 errors, 100% packet loss/);
    const endless = space.spawn(process.execPath, MAIN, 'ping', ...WIRES.tap, '-i', '0.1', LINUX);
    await endless.line(/icmp_seq=3 /);
    assert.equal(await endless.end(5_000, 'SIGINT'), 0);
    assert.match(endless.lines.join('\n'), /ping statistics ---\n\d+ packets transmitted, \d+ received/);
    const json = JSON.parse((await run('ping', 'tap', '--json', '-c', '2', '-i', '0.05', LINUX)).stdout);
    assert.deepEqual([json.sent, json.received, json.replies.length], [2, 2, 2]);
  });
});

/** The link address of an interface. */
const macOf = async (space: Namespace, name: string): Promise<string> =>
  (await space.must('cat', `/sys/class/net/${name}/address`)).stdout.trim();

describe('redirects of Linux', { skip: skipReason('tshark') }, () => {
  test('RFC 1122 §3.2.2.2: after the first packet, the better router of the link has them', options, async () => {
    await using router = await Namespace.create();
    await using better = await Namespace.create();
    const folder = mkdtempSync(join(tmpdir(), 'et-redirect-'));
    try {
      const ip = (...args: string[]) => router.must('ip', ...args);
      await ip('link', 'add', 'br0', 'type', 'bridge');
      await router.connect(better, 'port0', 'eth0');
      await ip('link', 'set', 'port0', 'master', 'br0');
      await ip('tuntap', 'add', 'tap0', 'mode', 'tap');
      await ip('link', 'set', 'tap0', 'master', 'br0', 'up');
      await ip('addr', 'add', '10.9.0.1/24', 'dev', 'br0');
      await ip('link', 'set', 'br0', 'up');
      await ip('route', 'add', '192.0.2.0/24', 'via', '10.9.0.2');
      await router.must('sysctl', '-qw', 'net.ipv4.ip_forward=1', 'net.ipv4.conf.br0.send_redirects=1');
      await better.must('ip', 'addr', 'add', '10.9.0.2/24', 'dev', 'eth0');
      await better.must('ip', 'addr', 'add', '192.0.2.1/32', 'dev', 'lo');
      const pcap = join(folder, 'redirect.pcapng');
      const wire = ['--tap', 'tap0', '--address', '10.9.0.9/24', '--gateway', '10.9.0.1', '--pcap', pcap];
      const { stdout } = await router.must(
        process.execPath,
        MAIN,
        'ping',
        ...wire,
        '-c',
        '3',
        '-i',
        '0.2',
        '192.0.2.1',
      );
      assert.match(stdout, /3 packets transmitted, 3 received/);
      const fields = ['-T', 'fields', '-e', 'eth.dst'];
      const sent = await router.must('tshark', '-r', pcap, '-Y', 'icmp.type == 8 && eth.src[0:2] == 02:00', ...fields);
      const [first, second] = [await macOf(router, 'br0'), await macOf(better, 'eth0')];
      assert.deepEqual(sent.stdout.trim().split('\n'), [first, second, second]);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });
});

describe('scanners against the server', { skip: skipReason('nmap', 'hping3', 'curl') }, () => {
  test('nmap by UDP, by protocol and by TCP, hping3: it tells the truth, and still serves', options, async () => {
    const server = await Server.start(['--tap', 'tap0']);
    try {
      const sh = (script: string) => server.space.execWith({ timeoutMs: 40_000 }, 'bash', '-c', script);
      const nmap = 'nmap -n -Pn --max-retries 2 --host-timeout 20s';
      const udp = await sh(`${nmap} -sU -p 7,53,6969 ${OURS}`);
      assert.match(udp.stdout, /7\/udp +open/);
      assert.match(udp.stdout, /53\/udp +closed/);
      const protocols = await sh(`${nmap} -sO -p 1,6,17,47,89 ${OURS}`);
      for (const [protocol, state] of [
        ['1', 'open'],
        ['6', 'open'],
        ['17', 'open'],
        ['47', 'closed'],
        ['89', 'closed'],
      ]) {
        assert.match(protocols.stdout, new RegExp(`^${protocol} +${state}`, 'm'), protocols.stdout);
      }
      const tcp = await sh(`${nmap} -sS -p 7,80,81 ${OURS}`);
      assert.match(tcp.stdout, /80\/tcp +open/);
      assert.match(tcp.stdout, /81\/tcp +closed/);
      // Timestamp and address mask requests, source routes, odd fragments and flags.
      for (const flood of [
        '-1 -C 13',
        '-1 -C 17',
        '-1 --lsrr 10.1.1.1',
        '-2 -p 99',
        '-F -S -P -p 80',
        '-0 -H 200',
        '-1 -x -d 600',
      ]) {
        await sh(`timeout 2 hping3 -q -c 50 -i u1000 ${flood} ${OURS}`);
      }
      const { stdout } = await sh(
        `curl -sS -m 10 -o /dev/null -w '%{http_code} %{size_download}' http://${OURS}/bytes/1000`,
      );
      assert.equal(stdout, '200 1000');
      const { stack } = await server.endIdle();
      assert.ok(stack.drops['icmp-ignored-type']! >= 50, JSON.stringify(stack.drops));
      assert.ok(stack.drops['ip-source-route']! >= 50, JSON.stringify(stack.drops));
      assert.ok(stack.drops['ip-unknown-protocol']! > 0, JSON.stringify(stack.drops));
    } finally {
      await server.dispose();
    }
  });
});
