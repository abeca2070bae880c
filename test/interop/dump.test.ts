/**
 * `ethertype dump` beside tcpdump and tshark: on traffic of real programs, on captures that our own devices wrote, and on
 * a live interface. @module
 */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { compile } from '../../src/cli/dump/filter.ts';
import type { Probe } from '../../src/cli/dump/predicates.ts';
import { createHost } from '../../src/index.ts';
import { Memory } from '../../src/memory/memory.ts';
import { CaptureWriter, LINKTYPE_ETHERNET, readCapture } from '../../src/pcap/index.ts';
import { Capture, FaultInjector, PcapWriter, pipePair } from '../../src/phy/index.ts';
import { Dissection, dissect } from '../../src/wire/dissect.ts';
import { octetsOf } from '../../src/wire/octets.ts';
import * as control from '../packets-control.ts';
import { avahi } from './avahi.ts';
import { Namespace, type Running, skipReason } from './namespace.ts';
import { OURS, Server } from './server.ts';

const MAIN = fileURLToPath(new URL('../../src/cli/main.js', import.meta.url));
const options = { timeout: 60_000 };
const folder = mkdtempSync(join(tmpdir(), 'et-dump-'));
after(() => rmSync(folder, { recursive: true }));
const inFolder = (name: string): string => join(folder, name);

function run(command: string, ...args: string[]) {
  const { status, stdout, stderr } = spawnSync(command, args, {
    encoding: 'utf8',
    timeout: 30_000,
    maxBuffer: 1 << 28,
  });
  return { code: status, stdout, stderr, lines: stdout.split('\n').slice(0, -1) };
}
const dump = (...args: string[]) => run(process.execPath, MAIN, 'dump', ...args);

/** Fields of tshark, and where `dump --json` has the same. */
interface Row {
  number: number;
  length: number;
  ipv4?: Record<string, unknown>;
  ipv6?: Record<string, unknown>;
  arp?: Record<string, unknown>;
  tcp?: Record<string, number>;
  udp?: Record<string, number>;
  icmp?: Record<string, unknown>;
  icmpv6?: Record<string, unknown>;
  dns?: Record<string, unknown>;
  mdns?: Record<string, unknown>;
  dhcp?: Record<string, unknown>;
  ethernet?: Record<string, unknown>;
  vlan?: { ids: number[]; priorities: number[] };
  igmp?: Record<string, number>;
  http?: { line: string };
  tls?: { serverName: string };
}
const hex = (value: unknown, digits: number): string => `0x${Number(value).toString(16).padStart(digits, '0')}`;
const FIELDS: Record<string, (row: Row) => unknown> = {
  'frame.number': (row) => row.number,
  'frame.len': (row) => row.length,
  'eth.src': ({ ethernet }) => ethernet?.source,
  'eth.dst': ({ ethernet }) => ethernet?.destination,
  'eth.type': ({ ethernet }) => ethernet?.type,
  'vlan.id': ({ vlan }) => vlan?.ids[0],
  'vlan.priority': ({ vlan }) => vlan?.priorities[0],
  'ip.src': ({ ipv4 }) => ipv4?.source,
  'ip.dst': ({ ipv4 }) => ipv4?.destination,
  'ip.id': ({ ipv4 }) => ipv4 && hex(ipv4.id, 4),
  'ip.frag_offset': ({ ipv4 }) => ipv4 && Number(ipv4.fragmentOffset) / 8,
  'ip.proto': ({ ipv4 }) => ipv4?.protocol,
  'ip.len': ({ ipv4 }) => ipv4?.length,
  'ip.hdr_len': ({ ipv4 }) => ipv4?.headerLength,
  'ip.ttl': ({ ipv4 }) => ipv4?.ttl,
  'ip.dsfield': ({ ipv4 }) => ipv4?.ds,
  'ip.flags.df': ({ ipv4 }) => ipv4 && Number(ipv4.dontFragment),
  'ip.flags.mf': ({ ipv4 }) => ipv4 && Number(ipv4.moreFragments),
  'ipv6.src': ({ ipv6 }) => ipv6?.source,
  'ipv6.dst': ({ ipv6 }) => ipv6?.destination,
  'ipv6.plen': ({ ipv6 }) => ipv6?.length,
  'ipv6.hlim': ({ ipv6 }) => ipv6?.hopLimit,
  'ipv6.fraghdr.offset': ({ ipv6 }) =>
    ipv6?.fragmentOffset !== undefined ? Number(ipv6.fragmentOffset) / 8 : undefined,
  'arp.src.proto_ipv4': ({ arp }) => arp?.sender,
  'arp.dst.proto_ipv4': ({ arp }) => arp?.target,
  'tcp.srcport': ({ tcp }) => tcp?.sourcePort,
  'tcp.dstport': ({ tcp }) => tcp?.destinationPort,
  'tcp.flags': ({ tcp }) => tcp && hex(tcp.flagBits, 4),
  'tcp.seq': ({ tcp }) => tcp?.relativeSeq,
  'tcp.ack': ({ tcp }) => tcp?.relativeAck,
  'tcp.seq_raw': ({ tcp }) => tcp?.seq,
  'tcp.len': ({ tcp }) => tcp?.length,
  'tcp.ack_raw': ({ tcp }) => tcp?.ack,
  'tcp.hdr_len': ({ tcp }) => tcp?.headerLength,
  'tcp.window_size_value': ({ tcp }) => tcp?.window,
  'udp.srcport': ({ udp }) => udp?.sourcePort,
  'udp.dstport': ({ udp }) => udp?.destinationPort,
  'udp.length': ({ udp }) => udp && udp.length! + 8,
  'icmp.type': ({ icmp }) => icmp?.type,
  'icmp.code': ({ icmp }) => icmp?.code,
  'icmp.seq': ({ icmp }) => icmp?.seq,
  'icmpv6.type': ({ icmpv6 }) => icmpv6?.type,
  'icmpv6.code': ({ icmpv6 }) => icmpv6?.code,
  'icmpv6.echo.sequence_number': ({ icmpv6 }) => icmpv6?.seq,
  'icmpv6.nd.ns.target_address': ({ icmpv6 }) => (icmpv6?.type === 135 ? icmpv6.target : undefined),
  'igmp.type': ({ igmp }) => igmp && hex(igmp.type, 2),
  'dns.id': ({ dns, mdns }) => (dns ?? mdns) && hex((dns ?? mdns)!.id, 4),
  'dns.flags.response': ({ dns, mdns }) => (dns ?? mdns) && Number((dns ?? mdns)!.response),
  'dns.count.answers': ({ dns, mdns }) =>
    (dns ?? mdns) && (((dns ?? mdns)!.answers as string[] | undefined)?.length ?? 0),
  'dhcp.id': ({ dhcp }) => dhcp?.xid,
  'dhcp.ip.your': ({ dhcp }) => dhcp?.your,
  'http.request.method': ({ http }) => /^([A-Z]+) /.exec(http?.line ?? '')?.[1],
  'http.response.code': ({ http }) => /^HTTP\/1\.\d (\d+)/.exec(http?.line ?? '')?.[1],
  'tls.handshake.extensions_server_name': ({ tls }) => tls?.serverName,
};
/** What errors quote of transports. */
const QUOTED = /^(tcp|udp|dns|dhcp|http|tls)\./;

/**
 * Compares every field of every packet of a file; returns the rows.
 * @param isClean - nothing was sent twice, or seen at two places: of such segments tshark does not look at the text
 */
function assertSame(file: string, isClean = false): Row[] {
  const names = Object.keys(FIELDS).filter((name) => isClean || !/^(http|tls)\./.test(name));
  const settings = ['ip.defragment:FALSE', 'ipv6.defragment:FALSE', 'tcp.desegment_tcp_streams:FALSE'];
  const tshark = run(
    'tshark',
    ...['-n', '-r', file, '-T', 'fields', '-E', 'occurrence=f'],
    ...settings.flatMap((setting) => ['-o', setting]),
    ...names.flatMap((name) => ['-e', name]),
  );
  const ours = dump('-r', file, '--json');
  assert.equal(ours.stderr, '');
  const rows = ours.lines.map((line) => JSON.parse(line) as Row);
  assert.equal(rows.length, tshark.lines.length, 'packets');
  for (const [i, line] of tshark.lines.entries()) {
    const values = line.split('\t').map((value) => ({ True: '1', False: '0' })[value] ?? value);
    const want = Object.fromEntries(names.map((name, k) => [name, values[k] ?? '']));
    const got = Object.fromEntries(names.map((name) => [name, String(FIELDS[name]!(rows[i]!) ?? '')]));
    // What an error quotes tshark lists as if it were sent; where the packet has none of its own it comes first.
    if (rows[i]!.icmp !== undefined || rows[i]!.icmpv6 !== undefined) {
      for (const name of names.filter((field) => QUOTED.test(field))) want[name] = got[name]!;
    }
    assert.deepEqual(got, want, `packet ${i + 1}`);
  }
  return rows;
}

/** It opens without a word, but that it runs as root. */
function assertOpens(file: string, packets: number): void {
  const { code, stdout, stderr } = run('capinfos', '-M', '-c', file);
  assert.equal(code, 0, stderr);
  assert.equal(stderr, '');
  assert.match(stdout, new RegExp(`Number of packets: +${packets}\\b`));
  const tshark = run('tshark', '-n', '-r', file);
  assert.equal(tshark.stderr.replace(/Running as user .*\n/, ''), '');
  assert.equal(tshark.lines.length, packets);
}

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

describe('dump: captures of our own', { skip: skipReason('tshark', 'capinfos') }, () => {
  test('the lab, whose transfers lose packets: every field is as tshark has it', options, () => {
    const file = inFolder('lab.pcapng');
    assert.equal(run(process.execPath, MAIN, 'lab', '--pcap', file, '--loss', '3').code, 0);
    const rows = assertSame(file);
    assert.ok(rows.length > 3000, `${rows.length} packets`);
    assertOpens(file, rows.length);
  });

  test('why a stack dropped a packet is the comment that Wireshark shows', options, async () => {
    const pieces: Uint8Array[] = [];
    const capture = new Capture({ write: (bytes) => pieces.push(bytes) });
    const memory = new Memory({ bytes: 1 << 22 });
    const [a, b] = pipePair({ memory });
    const writer = new PcapWriter(b, capture, { name: 'tun0' });
    const client = createHost({ device: a, addresses: ['10.0.0.1/24'] });
    const server = createHost({ device: writer, addresses: ['10.0.0.2/24'] });
    writer.explain(server.stack.stats);
    const socket = await client.udp.bind();
    await socket.send(new TextEncoder().encode('hello'), { host: '10.0.0.2', port: 7 });
    await client.ping('10.0.0.2');
    socket.close();
    await client.close();
    await server.close();
    const file = inFolder('drops.pcapng');
    writeFileSync(file, Buffer.concat(pieces));
    const fields = ['frame.comment', 'ip.dst', '_ws.col.Protocol'].flatMap((name) => ['-e', name]);
    const { lines, stderr } = run('tshark', '-n', '-r', file, '-T', 'fields', ...fields);
    assert.equal(stderr.replace(/Running as user .*\n/, ''), '');
    assert.deepEqual(
      lines.map((line) => line.split('\t').slice(0, 2)),
      [
        ['dropped: udp-no-socket', '10.0.0.2'],
        ['', '10.0.0.1,10.0.0.2'],
        ['', '10.0.0.2'],
        ['', '10.0.0.1'],
      ],
    );
    assert.match(dump('-r', file).lines[0]!, /UDP, length 5 -- dropped: udp-no-socket$/);
    assert.equal(memory.usedBytes, 0);
  });
});

describe('dump: what could not be sent', { skip: skipReason('tshark', 'capinfos') }, () => {
  test('stands in the capture as outgoing, with the reason; every file opens without a warning', options, async () => {
    const pieces: Uint8Array[] = [];
    const [a, b] = pipePair({ medium: 'ethernet' });
    const writer = new PcapWriter(a, { write: (bytes: Uint8Array) => pieces.push(bytes) });
    const faults = new FaultInjector(writer, { seed: 1 });
    const host = createHost({ device: faults, addresses: ['10.0.0.1/24'], probe: false });
    b.attach(host.memory, () => {});
    writer.explain(host.stack.stats);
    await assert.rejects(host.ping('10.0.0.9', { timeout: 8000 }), /EHOSTUNREACH|ETIMEDOUT/); // nobody answers ARP
    faults.configure({ tx: { drop: 1 } });
    const socket = await host.udp.bind();
    await socket.send(new Uint8Array(10), { host: '10.0.0.255', port: 9 }).catch(() => {});
    socket.setBroadcast(true);
    await socket.send(new Uint8Array(10), { host: '10.0.0.255', port: 9 });
    await new Promise((resolve) => setTimeout(resolve, 50));
    // What there is no memory for has no bytes.
    writer.notes!.refused(0, 74, 'no-memory', performance.now());
    socket.close();
    await host.close();
    b.close();
    const file = inFolder('unsent.pcapng');
    writeFileSync(file, Buffer.concat(pieces));
    const fields = ['frame.packet_flags_direction', 'frame.comment', 'frame.len', 'frame.cap_len', 'ip.dst'];
    const { lines } = run('tshark', '-n', '-r', file, '-T', 'fields', ...fields.flatMap((name) => ['-e', name]));
    const dropped = lines.map((line) => line.split('\t')).filter(([, comment]) => comment !== '');
    assert.deepEqual(
      dropped.map(([direction, ...rest]) => [Number(direction), ...rest]),
      [
        [2, 'dropped: neighbour-unreachable', '98', '98', '10.0.0.9'],
        [2, 'dropped: fault-lost', '52', '52', '10.0.0.255'],
        [2, 'dropped: no-memory', '74', '0', ''],
      ],
    );
    assertOpens(file, lines.length);
    assert.match(dump('-r', file).lines.at(-1)!, /\[ethernet-truncated\], length 74 -- dropped: no-memory$/);
  });
});

describe('dump: files and pipes', () => {
  /** A million packets would take minutes to make: ten thousand fill the pipe many times over. */
  const file = inFolder('many.pcapng');
  const COUNT = 10_000;
  before(() => {
    const pieces: Uint8Array[] = [];
    const writer = new CaptureWriter({ write: (bytes) => pieces.push(bytes) });
    writer.addInterface({ linkType: LINKTYPE_ETHERNET, name: 'eth0' });
    for (let i = 0; i < COUNT; i++) {
      writer.write({ bytes: control.VLAN, seconds: 1_700_000_000 + i, nanoseconds: i });
    }
    writeFileSync(file, Buffer.concat(pieces));
  });

  test('a reader that goes away ends it quietly', options, async () => {
    const child = spawn('sh', ['-c', `${process.execPath} ${MAIN} dump -r ${file} | head -n 1`], { stdio: 'pipe' });
    let [text, errors] = ['', ''];
    child.stdout.on('data', (data) => {
      text += data;
    });
    child.stderr.on('data', (data) => {
      errors += data;
    });
    await new Promise((resolve) => child.once('close', resolve));
    assert.match(text, /^\d\d:\d\d:\d\d\.000000 vlan 5, p 3, IP .*\n$/);
    assert.equal(errors, '');
  });
  test('a reader of -w - that goes away, too', options, () => {
    const { code, stderr } = run(
      'sh',
      '-c',
      `${process.execPath} ${MAIN} dump -r ${file} -w - | head -c 100 > /dev/null`,
    );
    assert.deepEqual([code, stderr], [0, '']);
  });
  test('colours on a terminal, none in a pipe', { ...options, skip: skipReason('script') }, () => {
    const command = `${process.execPath} ${MAIN} dump -t -c 1 -r ${file}`;
    const csi = String.fromCharCode(27);
    const seen = (environment: string): boolean =>
      run('script', '-qec', `${environment} ${command}`, '/dev/null').stdout.includes(csi);
    assert.deepEqual([seen('env -u NO_COLOR'), seen('env NO_COLOR=1')], [true, false]);
    assert.equal(dump('-t', '-c', '1', '-r', file).stdout.includes(csi), false);
  });
  test('standard input, and -c', options, () => {
    const { status, stdout } = spawnSync(process.execPath, [MAIN, 'dump', '-r', '-', '-nc', '3', '-t'], {
      input: readFileSync(file),
      encoding: 'utf8',
    });
    assert.equal(status, 0);
    assert.equal(stdout, 'vlan 5, p 3, IP 10.0.0.1.5000 > 10.0.0.2.9: UDP, length 12\n'.repeat(3));
  });
  test('a file that ends early: what it holds, one line of error, and 1', options, () => {
    const cut = inFolder('cut.pcapng');
    writeFileSync(cut, readFileSync(file).subarray(0, 10_000));
    const { code, lines, stderr } = dump('-r', cut);
    assert.equal(code, 1);
    assert.ok(lines.length > 80, `${lines.length} packets`);
    assert.match(
      stderr,
      /^ethertype dump: .*cut\.pcapng: the file ends early, \d+ bytes into the record behind packet \d+\n$/,
    );
    const written = dump('-r', cut, '-w', inFolder('rest.pcapng'));
    assert.equal(written.code, 1);
    assert.equal(dump('-r', inFolder('rest.pcapng')).lines.length, lines.length);
  });
  test('constant memory, whatever the size of the file', options, () => {
    const { status, stderr } = spawnSync(
      'sh',
      [
        '-c',
        `for i in 1 2 3 4 5 6 7 8 9 10; do cat ${file}; done | ${process.execPath} --max-old-space-size=32 ${MAIN} dump -r - > /dev/null`,
      ],
      { encoding: 'utf8', timeout: 30_000 },
    );
    assert.equal(stderr, '');
    assert.equal(status, 0);
  });
  const wrong: [string[], number, RegExp][] = [
    [[], 2, /expected -i NAME or -r FILE, got neither/],
    [['-i', 'lo', '-r', 'x'], 2, /expected -i NAME or -r FILE, got both/],
    [['-r', 'x', 'frobnicate'], 2, /filter: expected a word like host, port or tcp, got "frobnicate"/],
    [['-r', 'x', '-c', '0'], 2, /--count: expected a whole number from 1/],
    [['-r', 'x', '--time', 'noon'], 2, /--time: expected local, utc, epoch, none, got "noon"/],
    [['-r', 'x', '--json', '-v'], 2, /expected --json alone or -v and -x, got both/],
    [['-r', '/no/such/file'], 1, /cannot read \/no\/such\/file: no such file or directory/],
    [['-r', '/'], 1, /cannot read \/: is a directory/],
    [['-r', MAIN], 1, /no capture file: expected pcap or pcapng/],
    [['-r', file, '-w', '/no/such/file'], 1, /cannot write the capture to \/no\/such\/file/],
  ];
  for (const [args, code, message] of wrong) {
    test(`wrong: ${args.join(' ').replace(folder, '')}`, options, () => {
      const result = dump(...args);
      assert.equal(result.stdout, '');
      assert.match(result.stderr, /^[^\n]+\n$/);
      assert.match(result.stderr, message);
      assert.equal(result.code, code);
    });
  }
});
