/** Names against Debian's own: dnsmasq as server, dig as client, avahi both ways; tshark reads every message. @module */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { avahi } from './avahi.ts';
import { Namespace, type Running, skipReason } from './namespace.ts';
import { LINUX, MAIN, OURS } from './server.ts';

const CHILD = fileURLToPath(new URL('./dns-child.js', import.meta.url));
const NOBODY = '192.168.69.99';
const options = { timeout: 60_000 };

/** A namespace with tap0 up, and a folder of the test's own. */
async function inSpace(body: (space: Namespace, folder: string) => Promise<void>): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'et-dns-'));
  const space = await Namespace.create();
  try {
    await space.must('ip', 'tuntap', 'add', 'tap0', 'mode', 'tap');
    await space.must('ip', 'addr', 'add', `${LINUX}/24`, 'dev', 'tap0');
    await space.must('ip', 'link', 'set', 'tap0', 'up');
    await body(space, folder);
  } finally {
    await space.dispose();
    rmSync(folder, { recursive: true, force: true });
  }
}

async function dnsmasq(space: Namespace, ...args: string[]): Promise<Running> {
  const common = ['-k', '-C', '/dev/null', '-R', '-h', '--user=root', '--pid-file=', '--log-facility=-'];
  const listen = [`--listen-address=${LINUX}`, '--bind-interfaces'];
  const running = space.spawn('dnsmasq', ...common, ...listen, ...args);
  await running.errorLine(/started/);
  return running;
}

/** Nothing in the capture is malformed, and there is something in it. */
async function assertWellFormed(space: Namespace, path: string): Promise<void> {
  const read = async (filter: string): Promise<string> =>
    (await space.must('tshark', '-r', path, '-Y', filter)).stdout.trim();
  assert.notEqual(await read('dns || mdns'), '');
  assert.equal(await read('_ws.malformed || _ws.expert.severity >= error || udp.checksum.status == 0'), '');
}

async function stopChild(child: Running): Promise<void> {
  child.child.stdin!.end();
  const last = JSON.parse(await child.line(/leakedBytes/)) as { leakedBytes: number };
  assert.equal(last.leakedBytes, 0);
  assert.equal(await child.ended, 0, child.stderr);
}

describe('ethertype resolve, asking dnsmasq', { skip: skipReason('dnsmasq', 'tshark') }, () => {
  const rows: [args: string, want: string][] = [
    ['www.lan', 'fd00::7\n192.168.69.7'],
    ['www', 'fd00::7\n192.168.69.7'],
    ['www.lan --type A', '192.168.69.7'],
    ['WWW.lan --type aaaa', 'fd00::7'],
    ['alias.lan --type A', 'www.lan.\n192.168.69.7'],
    ['192.168.69.7', 'www.lan.'],
    ['fd00::7', 'www.lan.'],
    ['note.lan --type TXT', '"hello world" "two"'],
    ['_http._tcp.lan --type SRV', '1 2 80 www.lan.'],
    ['lan --type MX', '10 mail.lan.'],
    ['odd.lan --type TYPE65280', '\\# 3 010203'],
  ];

  test('records of every kind, over one wire', options, () =>
    inSpace(async (space, folder) => {
      await dnsmasq(
        space,
        '--local=/lan/',
        '--host-record=www.lan,192.168.69.7,fd00::7',
        '--cname=alias.lan,www.lan',
        '--txt-record=note.lan,hello world,two',
        '--srv-host=_http._tcp.lan,www.lan,80,1,2',
        '--mx-host=lan,mail.lan,10',
        '--dns-rr=odd.lan,65280,010203',
      );
      const pcap = join(folder, 'resolve.pcap');
      const common = ['--tap', 'tap0', '--address', `${OURS}/24`, '--server', LINUX, '--search', 'lan', '--pcap', pcap];
      for (const [args, want] of rows) {
        const { code, stdout, stderr } = await space.exec(
          process.execPath,
          MAIN,
          'resolve',
          ...args.split(' '),
          ...common,
        );
        assert.deepEqual([code, stdout.trim(), stderr], [0, want, ''], args);
        await assertWellFormed(space, pcap);
      }
    }),
  );

  test('errors have an exit code of 1 and one line; --json has TTLs and time', options, () =>
    inSpace(async (space) => {
      await dnsmasq(space, '--local=/lan/', '--host-record=www.lan,192.168.69.7,77');
      const resolve = (...args: string[]) =>
        space.exec(process.execPath, MAIN, 'resolve', ...args, '--tap', 'tap0', '--address', `${OURS}/24`);
      const none = await resolve('no.lan', '--server', LINUX);
      assert.deepEqual(
        [none.code, none.stdout, none.stderr.trim()],
        [1, '', 'ethertype resolve: resolve ENOTFOUND no.lan'],
      );
      const empty = await resolve('www.lan', '--type', 'MX', '--server', LINUX);
      assert.deepEqual([empty.code, empty.stderr.trim()], [1, 'ethertype resolve: resolve ENODATA www.lan']);
      const late = await resolve('www.lan', '--server', NOBODY, '--timeout', '0.3');
      assert.deepEqual([late.code, late.stderr.trim()], [1, 'ethertype resolve: resolve ETIMEDOUT www.lan']);
      const wrong = await resolve('www.lan', '--type', 'NOPE');
      assert.equal(wrong.code, 2);
      const { stdout } = await resolve('www.lan', '--type', 'A', '--json', '--server', LINUX);
      const { answers, ms, ...rest } = JSON.parse(stdout);
      assert.deepEqual(rest, { name: 'www.lan', type: 'A', aliases: [] });
      assert.deepEqual(answers, [{ name: 'www.lan', type: 'A', ttl: 77, data: '192.168.69.7' }]);
      assert.ok(ms > 0);
    }),
  );

  test('the server and the domain that DHCP tells of; other commands take names too', options, () =>
    inSpace(async (space) => {
      const lease = ['--dhcp-range=192.168.69.50,192.168.69.60,1h', '--domain=lan', '--dhcp-leasefile=/dev/null'];
      await dnsmasq(space, ...lease, '--dhcp-authoritative', '--local=/lan/', `--host-record=here.lan,${LINUX}`);
      const common = ['--tap', 'tap0', '--address', 'dhcp'];
      const resolved = await space.must(process.execPath, MAIN, 'resolve', 'here.lan', ...common);
      assert.equal(resolved.stdout.trim(), LINUX);
      const fixed = ['--tap', 'tap0', '--address', `${OURS}/24`, '--name-server', LINUX, '--search', 'lan'];
      const pinged = await space.must(process.execPath, MAIN, 'ping', '-c', '1', 'here', ...fixed);
      assert.match(pinged.stdout, /192\.168\.69\.100/);
    }),
  );

  test('a large answer comes over TCP; a dead first server costs a second', options, () =>
    inSpace(async (space, folder) => {
      const hosts = join(folder, 'hosts');
      const lines = Array.from({ length: 200 }, (_, i) => `10.0.0.${i + 1} big.lan`);
      writeFileSync(hosts, `${lines.join('\n')}\n`);
      await dnsmasq(space, '--local=/lan/', `--addn-hosts=${hosts}`);
      const pcap = join(folder, 'big.pcap');
      const args = ['big.lan', '--type', 'A', '--tap', 'tap0', '--address', `${OURS}/24`, '--pcap', pcap, '--json'];
      const servers = ['--server', NOBODY, '--server', LINUX];
      const { stdout } = await space.must(process.execPath, MAIN, 'resolve', ...args, ...servers);
      const { answers, ms } = JSON.parse(stdout);
      assert.equal(answers.length, 200);
      assert.ok(ms >= 1000 && ms < 2000, `${ms} ms`);
      await assertWellFormed(space, pcap);
      const tcp = await space.must('tshark', '-r', pcap, '-Y', 'dns && tcp', '-T', 'fields', '-e', 'dns.count.answers');
      assert.match(tcp.stdout, /200/);
    }),
  );
});

describe('dig, asking our server', { skip: skipReason('dnsmasq', 'dig', 'tshark') }, () => {
  const short: [args: string, want: string][] = [
    ['router.lan', '192.168.69.1'],
    ['ROUTER.lan AAAA', 'fd69::1'],
    ['www.lan', 'router.lan.\n192.168.69.1'],
    ['-x 192.168.69.1', 'router.lan.'],
    ['lan MX', '10 mail.lan.'],
    ['_http._tcp.lan SRV', '1 2 80 router.lan.'],
    ['note.lan TXT', '"say \\"hi\\"" "two"'],
    ['router.lan +tcp', '192.168.69.1'],
    ['far.example', '192.0.2.77'],
    ['out.lan', 'far.example.\n192.0.2.77'],
  ];
  const long: [args: string, want: RegExp][] = [
    ['no.lan', /status: NXDOMAIN.*flags: qr aa rd ra;.*lan\.\s+60\s+IN\s+SOA/s],
    ['router.lan TXT', /status: NOERROR.*ANSWER: 0.*SOA/s],
    ['no.example', /status: NXDOMAIN/],
    ['version.bind CH TXT', /status: REFUSED/],
    ['lan AXFR +tcp', /Transfer failed/],
    ['router.lan +edns=1 +noednsnegotiation', /status: BADVERS/],
    ['router.lan +opcode=4', /status: NOTIMP/],
    ['big.lan +ignore', /flags: qr aa tc rd ra;.*ANSWER: 74/s],
    ['big.lan +noedns +ignore', /flags: qr aa tc rd ra;.*ANSWER: 30/s],
    ['big.lan', /Truncated, retrying in TCP mode.*ANSWER: 300/s],
  ];

  test('the table, what is forwarded, and what is refused', options, () =>
    inSpace(async (space, folder) => {
      await dnsmasq(space, '--host-record=far.example,192.0.2.77', '--local=/example/');
      const pcap = join(folder, 'server.pcap');
      const child = space.spawn(process.execPath, CHILD, 'server', '-', pcap);
      await child.line(/ready/);
      const dig = async (...args: string[]): Promise<string> =>
        (await space.exec('dig', `@${OURS}`, '+tries=1', '+time=3', ...args)).stdout;
      for (const [args, want] of short) assert.equal((await dig('+short', ...args.split(' '))).trim(), want, args);
      for (const [args, want] of long) assert.match(await dig(...args.split(' ')), want, args);
      await stopChild(child);
      await assertWellFormed(space, pcap);
    }),
  );
});

describe('avahi, both ways', { skip: skipReason('avahi-daemon', 'avahi-resolve', 'dbus-daemon', 'tshark') }, () => {
  test('names, services and goodbyes', options, () =>
    inSpace(async (space, folder) => {
      const pcap = join(folder, 'mdns.pcap');
      const child = space.spawn(process.execPath, CHILD, 'mdns', 'ours', pcap);
      await child.line(/ready/);
      await avahi(space, folder, 'linuxbox', 'tap0');
      const env = ['env', `DBUS_SYSTEM_BUS_ADDRESS=unix:path=${join(folder, 'bus')}`] as const;
      const printed = async (...args: string[]): Promise<string> => (await space.must(...env, ...args)).stdout.trim();
      assert.equal(await printed('avahi-resolve', '-4', '-n', 'ours.local'), `ours.local\t${OURS}`);
      assert.equal(await printed('avahi-resolve', '-a', OURS), `${OURS}\tours.local`);
      assert.match(
        await printed('avahi-browse', '-rpt', '_http._tcp'),
        /^=;tap0;IPv4;Our\\032Site;Web Site;local;ours\.local;192\.168\.69\.1;80;"path=\/x"$/m,
      );
      child.child.stdin!.write('linuxbox.local\n');
      assert.deepEqual(JSON.parse(await child.line(/asked/)), { asked: 'linuxbox.local', answer: [LINUX] });
      const publisher = space.spawn(...env, 'avahi-publish', '-s', 'Linux printer', '_ipp._tcp', '631', 'rp=queue');
      assert.deepEqual(JSON.parse(await child.line(/"event"/)), { event: 'up', found: 'Linux printer' });
      const { service } = JSON.parse(await child.line(/"service"/));
      const { addresses, ...rest } = service;
      assert.deepEqual(rest, { host: 'linuxbox.local', port: 631, text: { rp: 'queue' } });
      assert.ok(addresses.includes(LINUX), addresses.join());
      await publisher.end(2000, 'SIGTERM');
      assert.deepEqual(JSON.parse(await child.line(/"event"/)), { event: 'down', found: 'Linux printer' });
      await stopChild(child);
      // Our goodbye has reached avahi.
      await new Promise((resume) => setTimeout(resume, 1200));
      assert.equal(await printed('avahi-browse', '-pt', '_http._tcp'), '');
      await assertWellFormed(space, pcap);
    }),
  );

  test('a name that avahi has: ours gets a number', options, () =>
    inSpace(async (space, folder) => {
      await avahi(space, folder, 'same', 'tap0');
      await new Promise((resume) => setTimeout(resume, 1200)); // until it has probed
      const child = space.spawn(process.execPath, CHILD, 'mdns', 'same');
      assert.deepEqual(JSON.parse(await child.line(/name/)), { name: 'same-2.local' });
      child.child.stdin!.write('same.local\n');
      assert.deepEqual(JSON.parse(await child.line(/asked/)), { asked: 'same.local', answer: [LINUX] });
      await stopChild(child);
    }),
  );

  test('ethertype resolve --mdns; a client without mDNS (dig) gets an answer too', options, () =>
    inSpace(async (space, folder) => {
      await avahi(space, folder, 'linuxbox', 'tap0');
      const args = ['--mdns', '--tap', 'tap0', '--address', `${OURS}/24`];
      const { stdout } = await space.must(process.execPath, MAIN, 'resolve', 'linuxbox.local', '--type', 'A', ...args);
      assert.equal(stdout.trim(), LINUX);
      const child = space.spawn(process.execPath, CHILD, 'mdns', 'ours');
      await child.line(/ready/);
      // dig takes answers from where it asked only, so it asks us and not the group: RFC 6762 §5.5 and §6.7.
      const legacy = await space.must('dig', `@${OURS}`, '-p', '5353', 'ours.local', '+short', '+time=2');
      assert.match(legacy.stdout, /^192\.168\.69\.1$/m);
      await stopChild(child);
    }),
  );
});
