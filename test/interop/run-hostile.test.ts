/**
 * Programs inside `ethertype run` that mean harm: root in their namespace, with raw sockets, from a seed. Nothing they do may
 * leave a flow, a descriptor, a timer or a byte behind, keep others from being served, or reach what is not theirs. Whatever
 * they send stays in a namespace of the test. @module
 */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { FlowRecord } from '../../src/proxy/index.ts';
import { type Account, MAIN, skipRun } from './machine.ts';
import { Namespace, type Result } from './namespace.ts';

const options = { timeout: 60_000 };
const FAR = '198.51.100.7';
const FAR_CHILD = fileURLToPath(new URL('./far-child.js', import.meta.url));
const MIB = 1 << 20;

/** `far` is whom they may talk to, `ports` what serves there; `link` sends a frame to the router. */
const PRELUDE = `
import json, os, random, resource, socket, struct, sys, time
random.seed(7)
far, ports = '${FAR}', json.loads(sys.argv[1])
GUEST, GUEST6 = '10.0.2.100', 'fd00:2::64'
RESET = struct.pack('ii', 1, 0)
def raw_sockets():
    from scapy.all import conf, getmacbyip
    conf.verb = 0
    os.system('ping -c 1 -W 1 10.0.2.2 > /dev/null')
    return conf.L2socket(iface='tap0'), getmacbyip('10.0.2.2')
`;

describe('run: a hostile guest', { skip: skipRun('scapy', 'curl', 'ping') }, () => {
  let space: Namespace;
  let ports: Record<string, number>;
  let folder = '';
  let count = 0;
  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'et-hostile-run-'));
    space = await Namespace.create();
    await space.must('ip', 'addr', 'add', `${FAR}/32`, 'dev', 'lo');
    // A link with a router that is none, where the machine would send whatever it may.
    await space.must('ip', 'link', 'add', 'out0', 'type', 'veth', 'peer', 'name', 'out1');
    await space.must('ip', 'addr', 'add', '192.0.2.2/24', 'dev', 'out0');
    await space.must('ip', 'addr', 'add', '2001:db8:9::2/64', 'dev', 'out0', 'nodad');
    for (const name of ['out0', 'out1']) await space.must('ip', 'link', 'set', name, 'up');
    await space.must('ip', 'route', 'add', 'default', 'dev', 'out0');
    await space.must('ip', '-6', 'route', 'add', 'default', 'dev', 'out0');
    const far = space.spawn(process.execPath, FAR_CHILD, FAR);
    ports = JSON.parse((await far.line(/^ready/)).replace('ready ', ''));
  });
  after(async () => {
    await space?.dispose();
    rmSync(folder, { recursive: true, force: true });
  });

  /** Runs a program, and then a fetch beside what it has left. */
  async function hostile(program: string, settleSeconds: number): Promise<Result & Account> {
    const [log, stats] = [join(folder, `flows-${count}`), join(folder, `stats-${count++}`)];
    const fetch = `curl -sS -m 10 -o /dev/null -w '%{size_download} bytes' http://${FAR}:${ports.http}/100000`;
    const script = `/usr/bin/python3 -c "$0" "$1" && ${fetch} && sleep ${settleSeconds}`;
    const command = ['bash', '-c', script, `${PRELUDE}${program}`, JSON.stringify(ports)];
    const flags = ['--log', log, '--stats', stats];
    const result = await space.execWith(
      { timeoutMs: 50_000 },
      process.execPath,
      MAIN,
      'run',
      ...flags,
      '--',
      ...command,
    );
    assert.equal(result.code, 0, result.stderr.slice(-2000));
    assert.match(result.stdout, /100000 bytes/, 'it serves on');
    const lines = (file: string): string[] => readFileSync(file, 'utf8').trim().split('\n');
    const flows = lines(log).map((line) => JSON.parse(line) as FlowRecord);
    const account = { ...result, ...(JSON.parse(lines(stats)[0]!) as Account), flows };
    const { start, after: left } = account;
    assert.deepEqual({ ...left, descriptors: 0 }, { tcp: 0, udp: 0, echo: 0, bytes: 0, descriptors: 0 });
    assert.ok(left.descriptors < start.descriptors, `${left.descriptors} descriptors, ${start.descriptors} at first`);
    return account;
  }

  /** Once it is quiet only datagrams' flows last, each with its descriptor, until they have been idle for long enough. */
  function assertQuiet({ start, end }: Account): void {
    assert.deepEqual([end.tcp, end.echo, end.bytes], [0, 0, start.bytes]);
    assert.ok(end.udp <= 1024, `${end.udp} flows of datagrams`);
    assert.ok(end.descriptors <= start.descriptors + end.udp, `${end.descriptors} descriptors, ${end.udp} flows`);
  }

  test('loopback, groups, everybody, the router and nobody: no flow goes where none may', options, async () => {
    const account = await hostile(
      `
from scapy.all import *
sock, mac = raw_sockets()
port = 30000
def everything(packet, src, dst, ping, link):
    global port
    port += 1
    for layer in [TCP(sport=port, dport=ports['hash'], flags='S'), UDP(sport=port, dport=ports['udp'])/b'x', ping]:
        sock.send(Ether(dst=link)/packet(src=src, dst=dst)/layer)
no4 = ['127.0.0.1', '127.9.9.9', '0.0.0.0', '0.1.2.3', '255.255.255.255', '10.0.2.255', '224.0.0.1', '239.1.2.3', '240.0.0.1']
no6 = ['::1', '::', '::ffff:127.0.0.1', '::ffff:0.0.0.0', '::ffff:${FAR}', 'ff02::1', 'ff02::2', 'ff05::2']
for link in [mac, 'ff:ff:ff:ff:ff:ff']:
    for dst in no4 + ['10.0.2.2', '10.0.2.3']:
        everything(IP, GUEST, dst, ICMP(), link)
    for dst in no6 + ['fe80::2', 'fd00:2::2', 'fd00:2::3']:
        everything(IPv6, GUEST6, dst, ICMPv6EchoRequest(), link)
for src in no4 + ['10.0.2.2', '10.0.2.3']:
    everything(IP, src, far, ICMP(), mac)
for src in no6 + ['fd00:2::2', 'fd00:2::3']:
    everything(IPv6, src, '2001:db8:9::9', ICMPv6EchoRequest(), mac)
for dst in ['192.0.2.255', '192.0.2.0']: # everybody on a network of the machine
    everything(IP, GUEST, dst, ICMP(), mac)
time.sleep(1)`,
      0.2,
    );
    const refused = account.flows.filter(({ verdict }) => verdict === 'deny');
    assert.ok(refused.length > 0 && refused.every(({ reason }) => reason.endsWith(' is the gateway itself')));
    const gone = account.flows.filter(({ verdict }) => verdict === 'allow').map(({ destination }) => destination);
    const strangers = gone.filter(
      (destination) => !destination.startsWith(`${FAR}:`) && !/^192\.0\.2\./.test(destination),
    );
    assert.deepEqual(strangers, [], 'nothing else goes out');
    const everybody = account.flows.filter(({ destination }) => destination.startsWith('192.0.2.'));
    assert.ok(everybody.length > 0 && everybody.every(({ bytesIn }) => bytesIn === 0));
    assert.equal(account.flows.filter(({ source }) => !/^(10\.0\.2\.100|\[?fd00:2::)/.test(source)).length, 0);
  });

  test('floods of datagrams, pings and SYNs: memory is bounded, and others are served', options, async () => {
    const account = await hostile(
      `
from scapy.all import *
sock, mac = raw_sockets()
udp = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(50)]
for i in range(8000):
    try: random.choice(udp).sendto(bytes(random.randrange(1400)), (random.choice([far, '192.0.2.9']), 1024 + i % 5000))
    except OSError: pass # what was refused is told with the next one
for i in range(1500):
    sock.send(Ether(dst=mac)/IP(src='10.0.2.%d' % (150 + i % 40), dst=far)/TCP(sport=1024 + i, dport=ports['hold'], flags='S', seq=i))
for i in range(500):
    sock.send(Ether(dst=mac)/IP(src=GUEST, dst=random.choice([far, '192.0.2.9']))/ICMP(seq=i)/bytes(random.randrange(1400)))
print('sent')`,
      0.2,
    );
    const { end } = account;
    assert.ok(end.udp <= 1024 && end.tcp <= 4096 && end.echo <= 256, JSON.stringify(end));
    assert.ok(end.bytes < 32 * MIB, `${end.bytes} bytes of the stack`);
    assert.ok(account.flows.length > 1000);
  });

  test('ten thousand connections at once: the oldest make room, and all are gone at the end', options, async () => {
    const account = await hostile(
      `
import errno, select
most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
total, opened, failed = min(10000, most - 100), [], 0
for first in range(0, total, 250):
    waiting = {}
    poll = select.poll()
    for _ in range(min(250, total - first)):
        s = socket.socket()
        s.setblocking(False)
        s.connect_ex((far, ports['hold']))
        waiting[s.fileno()] = s
        poll.register(s, select.POLLOUT)
    until = time.time() + 2
    while waiting and time.time() < until:
        for fd, _ in poll.poll(100):
            poll.unregister(fd)
            s = waiting.pop(fd)
            if s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR): failed += 1; s.close()
            else: opened.append(s)
    for s in waiting.values(): failed += 1; s.close()
print('opened', len(opened), 'failed', failed, 'of', total)`,
      1.5,
    );
    const [, opened, failed, total] = /opened (\d+) failed (\d+) of (\d+)/.exec(account.stdout)!.map(Number);
    assert.equal(opened! + failed!, total);
    assert.ok(opened! > total! * 0.9, account.stdout);
    assert.ok(account.flows.length >= opened!, `${account.flows.length} lines`);
    assertQuiet(account);
  });

  test('halves closed in any order, and resets in the middle of everything', options, async () => {
    const account = await hostile(
      `
from scapy.all import *
sock, mac = raw_sockets()
def turn(s, what):
    if what == 'send': s.send(bytes(random.randrange(1, 20000)))
    elif what == 'recv': s.recv(random.randrange(1, 20000))
    elif what == 'end': s.shutdown(socket.SHUT_WR)
    elif what == 'deaf': s.shutdown(socket.SHUT_RD)
    elif what == 'wait': time.sleep(random.random() / 50)
    elif what == 'reset': s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET); s.close()
    else: s.close()
for i in range(300):
    s = socket.create_connection((far, ports[random.choice(['hash', 'first', 'reset', 'hold', 'http'])]), 5)
    s.settimeout(0.02)
    for _ in range(random.randrange(7)):
        try: turn(s, random.choice(['send', 'send', 'recv', 'end', 'deaf', 'wait', 'reset', 'close']))
        except OSError: pass
    if random.random() < 0.3: s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET) if s.fileno() >= 0 else None
    s.close()
# Asked, and taken back before the far side can have answered; or answered with what no handshake has.
for i in range(300):
    to = random.choice([far, far, '192.0.2.9', '10.0.2.2'])
    link = Ether(dst=mac)/IP(src=GUEST, dst=to)
    port, seq = 20000 + i, random.randrange(1 << 32)
    sock.send(link/TCP(sport=port, dport=ports['hash'], flags='S', seq=seq))
    if random.random() < 0.3: time.sleep(0.002)
    for flags in random.choice(['R', 'RA', 'A', 'F', 'SA', 'SF', 'SR', 'FPU', 'S', '']):
        sock.send(link/TCP(sport=port, dport=ports['hash'], flags=flags, seq=(seq + random.choice([0, 1, 5000])) % (1 << 32), ack=random.randrange(1 << 32)))
    sock.send(link/TCP(sport=port, dport=ports['hash'], flags='R', seq=(seq + 1) % (1 << 32)))`,
      4,
    );
    assert.ok(account.flows.length >= 500, `${account.flows.length} lines`);
    assertQuiet(account);
  });

  test(
    'fragments: pieces of datagrams that never come whole are bounded, whole ones are answered',
    options,
    async () => {
      const account = await hostile(
        `
from scapy.all import *
sock, mac = raw_sockets()
link, link6 = Ether(dst=mac)/IP(src=GUEST, dst=far), Ether(dst=mac)/IPv6(src=GUEST6, dst='2001:db8:9::9')
for i in range(1500):
    piece = dict(id=i, flags=random.choice(['MF', 'MF', 0]), frag=random.choice([0, 0, 1, 8, 185, 8000]))
    sock.send(Ether(dst=mac)/IP(src=GUEST, dst=far, proto=random.choice([1, 6, 17, 253]), **piece)/bytes(random.randrange(8, 1400) & ~7))
    if i % 3 == 0: sock.send(link6/IPv6ExtHdrFragment(id=i, m=1, offset=random.choice([0, 1, 100]), nh=random.choice([6, 17, 58]))/bytes(random.randrange(8, 1200) & ~7))
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(5)
s.connect((far, ports['udp']))
s.send(b'y' * 20000)
print('answer of', len(s.recv(65536)))`,
        0.2,
      );
      assert.match(account.stdout, /answer of 20004/);
      assert.ok(account.end.bytes < 32 * MIB, `${account.end.bytes} bytes of the stack`);
      assert.equal(account.end.tcp, 0);
    },
  );
});
