/**
 * Packets that nobody should send, made by scapy from a seed: ARP, IP, ICMP, neighbour discovery, transports, and answers
 * of a name server that lies. The host serves on, its memory is back where it was, and every drop is counted. @module
 */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { Namespace, skipReason } from './namespace.ts';
import { LINUX, OURS, Server, sleep } from './server.ts';

const DNS_CHILD = fileURLToPath(new URL('./dns-child.js', import.meta.url));
const OURS_V6 = 'fd69::1';
const LINUX_V6 = 'fd69::100';
const options = { timeout: 60_000 };

/** What all makers of frames begin with: `spoil` changes bytes of a packet or cuts it, `send` sends `count` of them. */
const PRELUDE = `
import random
from scapy.all import *
random.seed(69)
conf.verb = 0
sock = conf.L2socket(iface='tap0')
mac, any4, any6 = '02:00:c0:a8:45:01', ['${OURS}', '192.168.69.255', '255.255.255.255', '224.0.0.1'], ['${OURS_V6}', 'ff02::1']
blob = lambda most: bytes(random.randrange(256) for _ in range(random.randrange(most)))
from4 = lambda: random.choice(['${LINUX}', '192.168.69.%d' % random.randrange(256), '10.%d.1.1' % random.randrange(256), '127.0.0.1', '${OURS}'])
from6 = lambda: random.choice(['${LINUX_V6}', 'fd69::%x' % random.randrange(65536), 'fe80::%x' % random.randrange(65536), '::1', 'ff02::1', '${OURS_V6}'])
def spoil(packet, first):
    frame = bytearray(raw(packet))
    for _ in range(random.choice([0, 0, 1, 2, 8])):
        frame[random.randrange(first, len(frame))] = random.randrange(256)
    return bytes(frame[:random.randrange(first, len(frame))] if random.random() < 0.1 else frame)
def send(count, make, first=14):
    link = lambda: Ether(dst=random.choice([mac, mac, mac, 'ff:ff:ff:ff:ff:ff', '33:33:00:00:00:01']), src='02:00:00:00:00:99')
    for _ in range(count):
        sock.send(spoil(link()/make(), first))
`;

const KINDS: readonly { readonly name: string; readonly script: string; readonly reasons: readonly string[] }[] = [
  {
    name: 'ARP',
    // The lengths of a real one, or any.
    script: `
send(800, lambda: fuzz(ARP(hwtype=1, ptype=0x800, hwlen=6, plen=4)))
send(200, lambda: fuzz(ARP()))
send(200, lambda: ARP(op=random.choice([1, 2, 3]), psrc=from4(), pdst=from4(), hwsrc='02:00:00:00:00:99'))`,
    reasons: ['arp-'],
  },
  {
    name: 'IPv4, its options and what it carries',
    script: `
option = lambda: IPOption(copy_flag=1, option=random.choice([1, 3, 4, 7, 9, 20, 25]), optclass=random.choice([0, 2]), length=random.choice([None, 0, 3, 4, 39, 255]), value=blob(37))
send(500, lambda: fuzz(IP(dst=random.choice(any4)))/blob(80))
send(300, lambda: IP(src=from4(), dst=random.choice(any4), options=[option()], proto=random.randrange(256))/blob(60))
send(300, lambda: IP(src=from4(), dst='${OURS}', flags=random.randrange(8), frag=random.randrange(64))/blob(200))
send(300, lambda: IP(src=from4(), dst='${OURS}')/fuzz(TCP(dport=random.choice([7, 80, 81]))))
send(300, lambda: IP(src=from4(), dst='${OURS}')/fuzz(UDP(dport=random.choice([7, 53, 68, 5353, 6969])))/blob(60))`,
    reasons: ['ip-', 'tcp-', 'udp-'],
  },
  {
    name: 'ICMP',
    script: `
quote = lambda: random.choice([IP(src='${OURS}', dst=from4())/random.choice([TCP, UDP, ICMP])(), IP(blob(60) + bytes(20))])
send(500, lambda: IP(src=from4(), dst=random.choice(any4))/fuzz(ICMP(chksum=None))/blob(60))
send(500, lambda: IP(src=from4(), dst='${OURS}')/ICMP(type=random.choice([3, 4, 5, 11, 12]), code=random.randrange(17))/quote())
quote6 = lambda: random.choice([IPv6(src='${OURS_V6}', dst=from6())/random.choice([TCP, UDP, ICMPv6EchoRequest])(), blob(80)])
errors = [ICMPv6DestUnreach, ICMPv6PacketTooBig, ICMPv6TimeExceeded, ICMPv6ParamProblem]
def error():
    what = random.choice(errors)
    return random.choice([fuzz(what()), fuzz(what(type=what().type)), what(code=random.randrange(9))])
send(500, lambda: IPv6(src=from6(), dst='${OURS_V6}')/error()/quote6())`,
    reasons: ['icmp'],
  },
  {
    name: 'IPv6 and its extension headers',
    script: `
extensions = [IPv6ExtHdrHopByHop, IPv6ExtHdrDestOpt, IPv6ExtHdrRouting, IPv6ExtHdrFragment]
def chain():
    packet = IPv6(src=from6(), dst=random.choice(any6))
    for _ in range(random.randrange(5)):
        packet = packet/fuzz(random.choice(extensions)())
    return packet/random.choice([TCP(dport=80), UDP(dport=7), ICMPv6EchoRequest(data=blob(60)), Raw(blob(60))])
send(400, lambda: fuzz(IPv6(dst=random.choice(any6)))/blob(80))
send(600, chain)`,
    reasons: ['ip'],
  },
  {
    name: 'neighbour discovery',
    script: `
says = [ICMPv6ND_NS, ICMPv6ND_NA, ICMPv6ND_RS, ICMPv6ND_RA, ICMPv6ND_Redirect]
tells = [ICMPv6NDOptSrcLLAddr, ICMPv6NDOptDstLLAddr, ICMPv6NDOptPrefixInfo, ICMPv6NDOptMTU, ICMPv6NDOptRouteInfo, ICMPv6NDOptRDNSS]
def nd():
    what = random.choice(says)
    given = {'type': what().type, 'code': random.choice([0, 0, 0, 0, 1])}
    if what in (ICMPv6ND_NS, ICMPv6ND_NA, ICMPv6ND_Redirect):
        given['tgt'] = from6()
    packet = IPv6(src=from6(), dst=random.choice(any6), hlim=random.choice([255, 255, 255, 64]))/fuzz(what(**given))
    for _ in range(random.randrange(4)):
        told = random.choice(tells)
        packet = packet/random.choice([fuzz(told()), fuzz(told(type=told().type, len=told().len)), told()])
    return packet
send(1200, nd)`,
    reasons: ['nd'],
  },
];

/** Milliseconds after which what was said of neighbours is found out to be wrong: RFC 4861 §7.3.3. */
const RECOVERY_MS = 12_000;

describe('hostile packets', { skip: skipReason('scapy', 'ping', 'curl', 'tshark') }, () => {
  let server: Server;
  let folder = '';
  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'et-hostile-'));
    const addresses = ['--address', `${OURS_V6}/64`, '--host-address', `${LINUX_V6}/64`];
    server = await Server.start(['--tap', 'tap0', ...addresses, '--pcap', join(folder, 'all.pcapng')]);
  });
  after(async () => {
    await server?.dispose();
    rmSync(folder, { recursive: true, force: true });
  });

  /** It answers both families, pings and whole pages. */
  async function serves(): Promise<void> {
    const deadline = Date.now() + RECOVERY_MS;
    for (const address of [OURS, `[${OURS_V6}]`]) {
      const ping = () => server.space.exec('ping', '-c', '1', '-W', '1', address.replace(/[[\]]/g, ''));
      while ((await ping()).code !== 0) assert.ok(Date.now() < deadline, `${address} does not answer`);
      const args = ['-g', '-sS', '-m', '10', '-o', '/dev/null', '-w', '%{size_download}'];
      const { stdout } = await server.space.must('curl', ...args, `http://${address}/bytes/100000`);
      assert.equal(stdout, '100000');
    }
  }

  for (const { name, script } of KINDS) {
    test(`${name}: it serves on`, options, async () => {
      const program = `${PRELUDE}${script}\nprint('sent')`;
      const { stdout, stderr } = await server.space.execWith({ timeoutMs: 40_000 }, '/usr/bin/python3', '-c', program);
      assert.match(stdout, /sent/, stderr);
      await serves();
    });
  }

  test('every drop has its counter, and memory is back where it was', options, async (t) => {
    await sleep(3000); // what waits for neighbours that are none is given up: RFC 4861 §7.2.2
    const { stack } = await server.endIdle();
    t.diagnostic(JSON.stringify(stack.drops));
    for (const { reasons } of KINDS) {
      for (const beginning of reasons) {
        const counted = Object.entries(stack.drops).filter(([reason]) => reason.startsWith(beginning));
        const sum = counted.reduce((before, [, count]) => before + count, 0);
        assert.ok(sum > 0, `${beginning}: ${JSON.stringify(stack.drops)}`);
      }
    }
    // The capture says at each packet why it was dropped.
    const filter = 'frame.comment == "dropped: arp-bad-type"';
    const { stdout } = await server.space.must('tshark', '-r', join(folder, 'all.pcapng'), '-Y', filter);
    assert.equal(stdout.trim().split('\n').length, stack.drops['arp-bad-type']);
  });
});

/** Answers each question with lies first: by another id, another question, from another port, spoiled; then truly. */
const LIAR = `
import random, socket
from scapy.all import DNS, DNSRR, raw
random.seed(53)
true = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
other = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
true.bind(('${LINUX}', 53)); other.bind(('${LINUX}', 5353))
print('ready', flush=True)
while True:
    data, peer = true.recvfrom(4096)
    asked = DNS(data)
    name = asked.qd.qname
    answer = lambda address, **changed: raw(DNS(**{'id': asked.id, 'qr': 1, 'rd': 1, 'ra': 1, 'qd': asked.qd, 'an': DNSRR(rrname=name, ttl=1, rdata=address), **changed}))
    for _ in range(3): # after 16 that do not fit our host asks over TCP, and nobody is there: RFC 5452 §10
        lie = '203.0.113.%d' % random.randrange(256)
        wrong = asked.qd.copy()
        wrong.qname = b'else.' + name
        true.sendto(answer(lie, id=asked.id ^ random.randrange(1, 65536)), peer)
        true.sendto(answer(lie, qd=wrong), peer)
        true.sendto(answer(lie, qr=0), peer)
        other.sendto(answer(lie), peer)
        true.sendto(answer(lie)[:random.randrange(2, 30)], peer)
        if name.startswith(b'spoiled'):
            frame = bytearray(answer('192.0.2.7'))
            for _ in range(random.randrange(1, 6)):
                frame[random.randrange(2, len(frame))] = random.randrange(256)
            true.sendto(bytes(frame), peer)
    true.sendto(answer('192.0.2.7'), peer)
`;

describe('a name server that lies', { skip: skipReason('scapy', 'dig') }, () => {
  test('answers that are none to our question are not taken; spoiled ones harm nobody', options, async () => {
    await using space = await Namespace.create();
    await space.must('ip', 'tuntap', 'add', 'tap0', 'mode', 'tap');
    await space.must('ip', 'addr', 'add', `${LINUX}/24`, 'dev', 'tap0');
    await space.must('ip', 'link', 'set', 'tap0', 'up');
    await space.spawn('/usr/bin/python3', '-c', LIAR).line(/ready/);
    const child = space.spawn(process.execPath, DNS_CHILD, 'server');
    await child.line(/ready/);
    const dig = async (name: string): Promise<string> =>
      (await space.exec('dig', `@${OURS}`, '+short', '+tries=1', '+time=5', name)).stdout.trim();
    for (let i = 0; i < 20; i++) assert.equal(await dig(`lied${i}.example`), '192.0.2.7');
    for (let i = 0; i < 40; i++) await dig(`spoiled${i}.example`);
    assert.equal(await dig('after.example'), '192.0.2.7');
    assert.equal(await dig('router.lan'), OURS);
    child.child.stdin!.end();
    const { drops, leakedBytes } = JSON.parse(await child.line(/leakedBytes/));
    assert.equal(leakedBytes, 0);
    const counted = Object.entries<number>(drops).filter(([reason]) => reason.startsWith('dns-'));
    assert.ok(counted.length >= 2, JSON.stringify(drops));
    assert.equal(await child.ended, 0, child.stderr);
  });
});
