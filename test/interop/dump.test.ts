/**
 * `ethertype dump` beside tcpdump and tshark: on traffic of real programs, on captures that our own devices wrote, and on
 * a live interface. @module
 */
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { compile } from '../../src/cli/dump/filter.ts';
import type { Probe } from '../../src/cli/dump/predicates.ts';
import { LINKTYPE_ETHERNET, readCapture } from '../../src/pcap/index.ts';
import { Dissection, dissect } from '../../src/wire/dissect.ts';
import { octetsOf } from '../../src/wire/octets.ts';
import * as control from '../packets-control.ts';
import { avahi } from './avahi.ts';
import { assertOpens, assertSame, dump, run } from './dump-rows.ts';
import { Namespace, type Running, skipReason } from './namespace.ts';
import { MAIN, OURS, Server } from './server.ts';

const options = { timeout: 60_000 };
const folder = mkdtempSync(join(tmpdir(), 'et-dump-'));
after(() => rmSync(folder, { recursive: true }));
const inFolder = (name: string): string => join(folder, name);

describe('dump: traffic of programs', {
  skip: skipReason('tshark', 'tcpdump', 'curl', 'ping', 'nc', 'capinfos', 'socat'),
}, () => {
  const file = inFolder('programs.pcap');
  let left: Namespace;
  let right: Namespace;

  before(async () => {
    left = await Namespace.create();
    right = await Namespace.create();
    await left.connect(right, 'left', 'right');
    for (const [space, name, id] of [
      [left, 'left', 1],
      [right, 'right', 2],
    ] as const) {
      await space.must('ip', 'addr', 'add', `10.0.0.${id}/24`, 'dev', name);
      await space.must('ip', 'addr', 'add', `fd00::${id}/64`, 'dev', name, 'nodad');
    }
    const capture = left.spawn('tcpdump', '-n', '-i', 'left', '-w', file, '-U', '--immediate-mode');
    await capture.errorLine(/listening/);
    await traffic(left, right);
    await capture.end(5_000, 'SIGINT');
  }, options);
  after(async () => {
    await left.dispose();
    await right.dispose();
  });

  test('every field of every packet is as tshark has it', options, () => {
    const rows = assertSame(file, true);
    for (const name of ['arp', 'icmp', 'icmpv6', 'udp', 'tcp', 'igmp', 'http', 'tls'] as const) {
      assert.ok(
        rows.some((row) => row[name] !== undefined),
        `some ${name}`,
      );
    }
    assert.ok(
      rows.some(({ ipv4 }) => Number(ipv4?.fragmentOffset) > 0) && rows.some(({ ipv6 }) => ipv6?.fragmentOffset),
    );
  });

  test('filters let through what tcpdump lets through', options, () => {
    const filters = [
      ...['tcp', 'udp', 'arp', 'icmp', 'ip', 'ip6', 'not arp', 'tcp port 80', 'greater 1000', 'less 100', 'broadcast'],
      ...['tcp port 80 and host 10.0.0.1', 'net 10.0.0.0/24', 'src net 10 and dst host 10.0.0.2', 'portrange 50-100'],
      ...['src port 80 or dst port 53', 'host fd00::1', 'ip6 net fd00::/64', 'arp host 10.0.0.2', 'ip proto 1'],
      ...[
        'tcp or udp and port 9',
        'udp and (port 9 or port 7)',
        '!arp && !tcp || udp',
        'port 80 or 9',
        'ip6 multicast',
      ],
      ...['ether proto 0x0806', 'ether multicast', 'host 10.0.0.1 and not (port 80 or icmp)', 'src and dst port 9'],
    ];
    for (const filter of filters) {
      const count = run('tcpdump', '-n', '-r', file, filter).lines.length;
      const accept = compile(filter);
      const probe: Probe = {
        dv: new DataView(new ArrayBuffer(0)),
        d: new Dissection(),
        direction: null,
        interface: '',
      };
      const passed = [...readCapture(readFileSync(file))].filter(({ bytes }) => {
        const o = octetsOf(bytes);
        probe.dv = o.dv;
        dissect(o, 0, bytes.length, bytes.length, LINKTYPE_ETHERNET, probe.d);
        return accept(probe);
      });
      assert.equal(passed.length, count, filter);
    }
  });

  test('written anew as pcapng and pcap: the same packets, without a warning', options, () => {
    const all = dump('-t', '-r', file).lines;
    for (const name of ['copy.pcapng', 'copy.pcap']) {
      const { code, stdout } = dump('-r', file, '-w', inFolder(name));
      assert.deepEqual([code, stdout], [0, '']);
      assertOpens(inFolder(name), all.length);
      assert.deepEqual(dump('-t', '-r', inFolder(name)).lines, all);
    }
  });

  test('live: what a ping is, counted by the kernel too, and a tag that it took out', options, async () => {
    const written = inFolder('live.pcapng');
    const text = left.spawn(process.execPath, MAIN, 'dump', '-t', '-i', 'left', '-c', '4', 'icmp');
    const toFile = left.spawn(process.execPath, MAIN, 'dump', '-i', 'left', '-w', written, 'icmp or vlan');
    await Promise.all([text.errorLine(/listening on left/), toFile.errorLine(/listening on left/)]);
    await left.must('ping', '-c', '2', '-i', '0.05', '10.0.0.2');
    assert.equal(await text.ended, 0);
    assert.match(text.lines[0]!, /^IP 10\.0\.0\.1 > 10\.0\.0\.2: ICMP echo request, id \d+, seq 1, length 64$/);
    assert.match(text.lines[3]!, /^IP 10\.0\.0\.2 > 10\.0\.0\.1: ICMP echo reply, id \d+, seq 2, length 64$/);
    assert.match(text.stderr, /4 packets captured, \d+ received, 0 dropped by the kernel/);
    await sendFrame(right, 'right', control.VLAN);
    await new Promise((resolve) => setTimeout(resolve, 300));
    assert.equal(await toFile.end(5_000, 'SIGINT'), 0);
    const packets = [...readCapture(readFileSync(written))];
    assertOpens(written, packets.length);
    assert.deepEqual(
      packets.slice(0, 4).map(({ direction }) => direction),
      ['out', 'in', 'out', 'in'],
    );
    const ageSeconds = Date.now() / 1000 - packets[0]!.seconds;
    assert.ok(ageSeconds >= 0 && ageSeconds < 60, `captured ${ageSeconds} s ago`);
    assert.deepEqual([...packets.at(-1)!.bytes], [...control.VLAN]);
    assert.deepEqual(assertSame(written).at(-1)!.vlan, { ids: [5], priorities: [3], type: '0x0800' });
  });

  test('live: an interface that is not there, and one that goes away', options, async () => {
    const nothing = left.spawn(process.execPath, MAIN, 'dump', '-i', 'nothing');
    assert.equal(await nothing.ended, 1);
    assert.match(nothing.stderr, /ENODEV: no interface nothing/);
    const gone = left.spawn(process.execPath, MAIN, 'dump', '-i', 'left');
    await gone.errorLine(/listening/);
    await left.must('ip', 'link', 'set', 'left', 'down');
    assert.equal(await gone.ended, 1);
    assert.match(gone.stderr, /interface left went down/);
  });
});

/** Sends one frame as it is through a packet socket of ours. */
async function sendFrame(space: Namespace, name: string, frame: Uint8Array): Promise<void> {
  const script = fileURLToPath(new URL('./send-frame.js', import.meta.url));
  await space.must(process.execPath, script, name, Buffer.from(frame).toString('hex'));
}

/** Pings whole and in fragments, HTTP over both families, TLS, datagrams to a closed port, a group. */
async function traffic(left: Namespace, right: Namespace): Promise<void> {
  const answer = inFolder('answer');
  writeFileSync(answer, `HTTP/1.0 200 OK\r\nContent-Length: 100000\r\n\r\n${'x'.repeat(100_000)}`);
  for (const address of ['10.0.0.2', 'fd00::2']) {
    await left.must('ping', '-c', '1', address);
    await left.must('ping', '-c', '1', '-s', '4000', address);
    const server: Running = right.spawn('sh', '-c', `nc -l ${address} 80 < ${answer}`);
    await untilListening(right);
    const host = address.includes(':') ? `[${address}]` : address;
    await left.must('curl', '-sS', '--max-time', '5', '-o', '/dev/null', `http://${host}/`);
    await server.end(2_000, 'SIGTERM');
    await left.exec('sh', '-c', `echo hello | nc -u -q 0 -w 1 ${address} 9`);
  }
  const tls = right.spawn('nc', '-l', '10.0.0.2', '443');
  await untilListening(right, 443);
  await left.exec('curl', '-sk', '-m', '1', '--resolve', 'site.test:443:10.0.0.2', 'https://site.test/');
  await tls.end(2_000, 'SIGTERM');
  const member = left.spawn('socat', '-u', 'UDP4-RECV:5000,ip-add-membership=224.1.2.3:left', '-');
  await new Promise((resolve) => setTimeout(resolve, 500));
  await member.end(2_000, 'SIGTERM');
}

async function untilListening(space: Namespace, port = 80): Promise<void> {
  for (let tries = 0; tries < 100; tries++) {
    const { stdout } = await space.exec('ss', '-Hltn', `sport = :${port}`);
    if (stdout.trim() !== '') return;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  throw new Error(`nothing listens on port ${port}`);
}

describe('dump: names and leases', { skip: skipReason('tshark', 'tcpdump', 'dnsmasq', 'dig', 'dhclient') }, () => {
  test('DHCP, DNS, mDNS and router advertisements are as tshark has them', options, async () => {
    await using client = await Namespace.create();
    await using router = await Namespace.create();
    await client.connect(router, 'eth0', 'lan0');
    await router.must('ip', 'addr', 'add', '10.0.0.2/24', 'dev', 'lan0');
    await router.must('ip', 'addr', 'add', 'fd00::2/64', 'dev', 'lan0', 'nodad');
    const file = inFolder('names.pcap');
    const capture = client.spawn('tcpdump', '-n', '-i', 'eth0', '-w', file, '-U', '--immediate-mode');
    await capture.errorLine(/listening/);
    const ranges = ['--dhcp-range=10.0.0.50,10.0.0.60', '--dhcp-range=fd00::,ra-only', '--enable-ra', '--no-ping'];
    const files = [
      '-C',
      '/dev/null',
      '-d',
      '--no-resolv',
      '--no-hosts',
      '--pid-file=',
      `--dhcp-leasefile=${inFolder('l')}`,
    ];
    const dnsmasq = router.spawn('dnsmasq', ...files, ...ranges, '--interface=lan0', '--address=/x.test/10.0.0.2');
    await dnsmasq.errorLine(/started/);
    const lease = ['-sf', '/bin/true', '-lf', inFolder('leases'), '-pf', inFolder('pid'), 'eth0'];
    await client.execWith({ timeoutMs: 5_000 }, 'dhclient', '-d', '-1', ...lease);
    await client.must('ip', 'addr', 'add', '10.0.0.50/24', 'dev', 'eth0');
    await client.must('dig', '+time=1', '+tries=1', '@10.0.0.2', 'x.test');
    await client.must('dig', '+time=1', '+tries=1', '@10.0.0.2', 'x.test', 'AAAA');
    await client.exec('dig', '+time=1', '+tries=1', '-p', '5353', '@10.0.0.2', 'foo.local');
    await capture.end(5_000, 'SIGINT');
    const rows = assertSame(file);
    const types = rows.map(({ dhcp }) => dhcp?.type).filter((type) => type !== undefined);
    assert.deepEqual(types.slice(0, 4), ['Discover', 'Offer', 'Request', 'ACK']);
    assert.ok(
      rows.some(({ dns }) => String(dns?.answers) === 'x.test A 10.0.0.2'),
      JSON.stringify(rows.map((r) => r.dns)),
    );
    assert.ok(rows.some(({ icmpv6 }) => icmpv6?.type === 134 && icmpv6.prefixes !== undefined));
  });
});

describe('dump: mDNS', {
  skip: skipReason('tshark', 'tcpdump', 'avahi-daemon', 'avahi-resolve', 'dbus-daemon'),
}, () => {
  test('what avahi says is as tshark has it', options, async () => {
    await using one = await Namespace.create();
    await using other = await Namespace.create();
    await one.connect(other, 'eth0', 'eth1');
    const file = inFolder('mdns.pcap');
    const capture = one.spawn('tcpdump', '-n', '-i', 'eth0', '-w', file, '-U', '--immediate-mode');
    await capture.errorLine(/listening/);
    for (const [space, iface, id] of [
      [one, 'eth0', 1],
      [other, 'eth1', 2],
    ] as const) {
      await space.must('ip', 'addr', 'add', `10.0.0.${id}/24`, 'dev', iface);
      await space.must('ip', 'route', 'add', '224.0.0.0/4', 'dev', iface);
      mkdirSync(inFolder(iface));
      const run = await avahi(space, inFolder(iface), iface, iface);
      if (id === 1) continue;
      space.spawn(...run, 'avahi-publish', '-s', 'A printer', '_ipp._tcp', '631', 'rp=queue');
      assert.match((await space.must(...run, 'avahi-resolve', '-4', '-n', 'eth0.local')).stdout, /10\.0\.0\.1/);
    }
    await new Promise((resolve) => setTimeout(resolve, 1500)); // until the service was probed for and announced
    await capture.end(5_000, 'SIGINT');
    const rows = assertSame(file);
    const answers = rows.flatMap(({ mdns }) => (mdns?.answers as string[] | undefined) ?? []);
    assert.ok(
      answers.some((text) => text.startsWith('eth0.local A 10.0.0.1')),
      answers.join('\n'),
    );
    assert.ok(
      answers.some((text) => /_ipp\._tcp\.local (SRV|PTR)/.test(text)),
      answers.join('\n'),
    );
  });
});

describe('dump: a lossy transfer', { skip: skipReason('tshark', 'tcpdump', 'curl') }, () => {
  test('of curl, both ways: every segment is as tshark has it, those sent again too', options, async () => {
    const server = await Server.start([
      '--tap',
      'tap0',
      '--drop',
      '3',
      '--reorder',
      '2',
      '--duplicate',
      '1',
      '--delay',
      '2',
    ]);
    try {
      const file = inFolder('lossy.pcap');
      const { space } = server;
      const capture = space.spawn('tcpdump', '-n', '-i', 'tap0', '-w', file, '-U', '--immediate-mode');
      await capture.errorLine(/listening/);
      const script = `curl -sS -m 30 http://${OURS}/bytes/1000000 | curl -sS -m 30 -T - http://${OURS}/sum`;
      const { stdout } = await space.must('sh', '-c', script);
      assert.equal(JSON.parse(stdout).bytes, 1_000_000);
      await capture.end(5_000, 'SIGINT');
      const segments = assertSame(file).filter(({ tcp }) => (tcp?.length ?? 0) > 0);
      const numbers = segments.map(({ ipv4, tcp }) => `${ipv4!.source} ${tcp!.sourcePort} ${tcp!.seq}`);
      assert.ok(new Set(numbers).size < numbers.length, 'some were sent again');
    } finally {
      await server.dispose();
    }
  });
});
