/**
 * Fragments and path MTUs against Linux: large pings and datagrams both ways, a middle hop that takes less, one that says
 * nothing of it, and tools that send fragments as nobody should. @module
 */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { HostSetup, Order } from './fragments-child.ts';
import { Namespace, type Running, skipReason } from './namespace.ts';

const CHILD = fileURLToPath(new URL('./fragments-child.js', import.meta.url));
const options = { timeout: 60_000 };
const LINUX_PORT = 5007;

interface Stats {
  readonly stats: {
    readonly drops: Record<string, number>;
    readonly fragmentsIn: number;
    readonly fragmentsOut: number;
    readonly datagramsReassembled: number;
    readonly tcpMtuProbes?: number;
  };
  readonly usedBytes: number;
  readonly held: number;
}

/** A host of ours in a namespace. */
class Ours {
  readonly space: Namespace;
  readonly #child: Running;

  private constructor(space: Namespace, child: Running) {
    this.space = space;
    this.#child = child;
  }

  static async start(space: Namespace, setup: HostSetup): Promise<Ours> {
    const child = space.spawn(process.execPath, CHILD, 'host', JSON.stringify(setup));
    await child.line(/^"ready"$/);
    // Duplicate address detection would hold the other end's address back for a second.
    return new Ours(space, child);
  }

  async ask(order: Order): Promise<unknown> {
    this.#child.say(JSON.stringify(order));
    return JSON.parse(await this.#child.line(/./, 20_000)) as unknown;
  }

  async stats(): Promise<Stats> {
    return (await this.ask({ do: 'stats' })) as Stats;
  }

  /** Ends it: everything must have been given back. */
  async end(): Promise<void> {
    const code = await this.#child.end();
    assert.equal(code, 0, this.#child.stderr);
    assert.deepEqual(JSON.parse(this.#child.lines.at(-1)!), { leakedBytes: 0 });
  }
}

/** Without duplicate address detection, which takes a second. */
async function space(): Promise<Namespace> {
  const made = await Namespace.create();
  await made.must('sysctl', '-q', '-w', 'net.ipv6.conf.default.accept_dad=0', 'net.ipv6.conf.all.accept_dad=0');
  return made;
}

const WIRES: readonly (HostSetup & {
  readonly name: string;
  readonly peers: readonly string[];
  readonly own: readonly string[];
})[] = [
  ...[true, false].map((offload) => ({
    name: offload ? 'TUN' : 'TUN, no offload',
    kind: 'tun' as const,
    offload,
    hostAddress: ['10.9.0.1/24', 'fd09::1/64'],
    addresses: ['10.9.0.2/24', 'fd09::2/64'],
    peers: ['10.9.0.1', 'fd09::1'],
    own: ['10.9.0.2', 'fd09::2'],
  })),
  {
    name: 'TAP',
    kind: 'tap' as const,
    hostAddress: ['10.9.0.1/24', 'fd09::1/64'],
    addresses: ['10.9.0.2/24', 'fd09::2/64'],
    peers: ['10.9.0.1', 'fd09::1'],
    own: ['10.9.0.2', 'fd09::2'],
  },
];

for (const { name, peers, own, ...setup } of WIRES) {
  describe(`fragments over ${name}`, { skip: skipReason('ping', 'tcpdump', 'tshark', 'tracepath') }, () => {
    let net: Namespace;
    let ours: Ours;
    let folder = '';
    let capture: Running;
    before(async () => {
      folder = mkdtempSync(join(tmpdir(), 'et-frag-'));
      net = await space();
      ours = await Ours.start(net, setup);
      capture = net.spawn('tcpdump', '-i', `${setup.kind}0`, '-U', '-w', join(folder, 'all.pcap'));
      await capture.errorLine(/listening on/);
      await net.spawn(process.execPath, CHILD, 'linux', `${LINUX_PORT}`).line(/ready/);
    });
    after(async () => {
      await net?.dispose();
      rmSync(folder, { recursive: true, force: true });
    });

    test('ping -s 60000 both ways', options, async () => {
      for (const address of own) {
        const { code, stdout } = await net.exec('ping', '-c', '2', '-i', '0.2', '-W', '2', '-s', '60000', address);
        assert.equal(code, 0, stdout);
        assert.doesNotMatch(stdout, /wrong data|truncated|DUP/);
      }
      for (const host of peers) assert.equal(await ours.ask({ do: 'ping', host, size: 60_000 }), 60_000);
    });

    test('the largest datagrams, both ways', options, async () => {
      for (const host of peers) {
        const size = host.includes(':') ? 65_527 : 65_507;
        assert.equal(await ours.ask({ do: 'udp', host, port: LINUX_PORT, size }), true, host);
        assert.equal(await ours.ask({ do: 'udp', host, port: LINUX_PORT, size: size + 1 }), 'EMSGSIZE');
        assert.equal(await ours.ask({ do: 'udp', host, port: LINUX_PORT, size: 2000, mode: 'do' }), 'EMSGSIZE');
      }
    });

    test('tracepath comes to the end', options, async () => {
      for (const address of own) {
        const { stdout } = await net.exec('tracepath', '-n', '-m', '3', address);
        assert.match(stdout, /pmtu 1500/);
        assert.match(stdout, /reached/);
      }
    });

    test('tshark finds nothing malformed; everything is given back', options, async () => {
      await capture.end(5000, 'SIGINT');
      const wrong = '_ws.malformed || ip.checksum.status == 0 || icmp.checksum.status == 0 || udp.checksum.status == 0';
      const wanted = ['-o', 'ip.check_checksum:TRUE', '-o', 'udp.check_checksum:TRUE', '-Y', wrong];
      const { code, stdout, stderr } = await net.exec('tshark', '-r', join(folder, 'all.pcap'), ...wanted);
      assert.equal(code, 0, stderr);
      assert.equal(stdout, '');
      const { stats, held } = await ours.stats();
      assert.equal(held, 0);
      assert.ok(stats.fragmentsIn > 80 && stats.fragmentsOut > 80);
      assert.deepEqual(
        Object.keys(stats.drops).filter((reason) => reason.includes('fragment')),
        [],
      );
      await ours.end();
    });
  });
}

/** Linux as a router between us and another Linux, over a link of `mtu` bytes; in both families where IPv6 may have it. */
class Path {
  readonly router: Namespace;
  readonly far: Namespace;
  readonly ours: Ours;

  private constructor(router: Namespace, far: Namespace, ours: Ours) {
    this.router = router;
    this.far = far;
    this.ours = ours;
  }

  static async start(mtu: number, isSilent: boolean, kind: 'tun' | 'tap' = 'tun'): Promise<Path> {
    const [router, far] = await Promise.all([space(), space()]);
    try {
      await router.connect(far, 'near0', 'far0');
      await Promise.all([
        router.must('sysctl', '-q', '-w', 'net.ipv4.ip_forward=1', 'net.ipv6.conf.all.forwarding=1'),
        router.must('ip', 'link', 'set', 'near0', 'mtu', `${mtu}`),
        router.must('ip', 'address', 'add', '10.8.0.1/24', 'dev', 'near0'),
        far.must('ip', 'address', 'add', '10.8.0.2/24', 'dev', 'far0'),
      ]);
      // The far end announces segments of 1500 bytes, so that TCP does not know; what it sends itself fits.
      await far.must('ip', 'route', 'add', 'default', 'via', '10.8.0.1', 'mtu', `${mtu}`, 'advmss', '1460');
      if (mtu >= 1280) {
        await router.must('ip', '-6', 'address', 'add', 'fd08::1/64', 'dev', 'near0');
        await far.must('ip', '-6', 'address', 'add', 'fd08::2/64', 'dev', 'far0');
        const via = ['via', 'fd08::1', 'mtu', `${mtu}`, 'advmss', '1440'];
        await far.must('ip', '-6', 'route', 'add', 'default', ...via);
      }
      const ours = await Ours.start(router, {
        kind,
        hostAddress: ['10.9.0.1/24', 'fd09::1/64'],
        addresses: ['10.9.0.2/24', 'fd09::2/64'],
        gateway: ['10.9.0.1', 'fd09::1'],
      });
      if (isSilent) {
        // What the router makes itself finds no route: the errors it would send.
        await router.must('ip', 'rule', 'add', 'ipproto', 'icmp', 'type', 'blackhole');
        await router.must('ip', '-6', 'rule', 'add', 'ipproto', 'ipv6-icmp', 'type', 'blackhole');
      }
      await far.spawn(process.execPath, CHILD, 'linux', `${LINUX_PORT}`).line(/ready/);
      return new Path(router, far, ours);
    } catch (error) {
      await Promise.all([router.dispose(), far.dispose()]);
      throw error;
    }
  }

  /** Does it again until it succeeds, a few times; says how often it took. */
  async attempts(order: Order): Promise<number> {
    for (let i = 1; i <= 4; i++) {
      const answer = await this.ours.ask(order);
      if (answer === true || answer === order.size) return i;
    }
    return Number.POSITIVE_INFINITY;
  }

  async dispose(): Promise<void> {
    await Promise.all([this.router.dispose(), this.far.dispose()]);
  }
}

interface Uploaded {
  readonly isSame: boolean;
  readonly mss: number;
  readonly ms: number;
}

for (const [mtu, kind] of [
  [1280, 'tun'],
  [1280, 'tap'],
  [576, 'tun'],
] as const) {
  const title = `path MTU: a middle hop that takes ${mtu} bytes, we on a ${kind.toUpperCase()}`;
  test(title, { ...options, skip: skipReason('tracepath') }, async () => {
    const path = await Path.start(mtu, false, kind);
    const { ours } = path;
    try {
      for (const host of mtu === 576 ? ['10.8.0.2'] : ['10.8.0.2', 'fd08::2']) {
        const isV6 = host.includes(':');
        // IPv4 is cut on the way, without our knowing; IPv6 is told once.
        assert.ok((await path.attempts({ do: 'ping', host, size: 60_000 })) <= (isV6 ? 2 : 1), `${host}: ping`);
        // The first, which nobody may cut, is lost and its sender told; the next is cut.
        const port = LINUX_PORT;
        assert.ok((await path.attempts({ do: 'udp', host, port, size: 1400, mode: 'want' })) <= 2, `${host}: UDP`);
        assert.equal(await ours.ask({ do: 'mtu', host }), mtu);
        assert.equal(await ours.ask({ do: 'udp', host, port, size: 60_000, mode: 'dont' }), true);
        const uploaded = (await ours.ask({ do: 'upload', host, port, size: 1_000_000 })) as Uploaded;
        assert.ok(uploaded.isSame);
        assert.equal(uploaded.mss, mtu - (isV6 ? 72 : 52));
        const { stdout } = await path.far.exec('tracepath', '-n', '-m', '4', isV6 ? 'fd09::2' : '10.9.0.2');
        assert.match(stdout, new RegExp(`pmtu ${mtu}[^]*reached`));
      }
      await ours.end();
    } finally {
      await path.dispose();
    }
  });
}

test('path MTU: RFC 4821: a middle hop that takes 1280 bytes and says nothing', {
  ...options,
  skip: skipReason(),
}, async () => {
  const path = await Path.start(1280, true);
  try {
    for (const host of ['10.8.0.2', 'fd08::2']) {
      const order: Order = { do: 'upload', host, port: LINUX_PORT, size: 3_000_000 };
      const uploaded = (await path.ours.ask(order)) as Uploaded;
      assert.ok(uploaded.isSame);
      const packet = uploaded.mss + (host.includes(':') ? 72 : 52);
      assert.ok(packet > 1270 && packet <= 1280, `${host}: packets of ${packet} bytes, in ${uploaded.ms} ms`);
      assert.equal(await path.ours.ask({ do: 'mtu', host }), 1500, 'nobody told');
    }
    const { stats } = await path.ours.stats();
    assert.ok(stats.tcpMtuProbes! > 0);
    await path.ours.end();
  } finally {
    await path.dispose();
  }
});

/** Fragments as scapy makes them: shuffled, which are whole in the end; overlapping, beyond the end, at random. */
const SCAPY = `
import random
from scapy.all import IP, IPv6, ICMP, ICMPv6EchoRequest, IPv6ExtHdrFragment, Raw, fragment, fragment6, send
random.seed(4)
whole = bytes(range(256)) * 12
v4 = [f for f in fragment(IP(dst='10.9.0.2', id=1) / ICMP(id=1, seq=1) / Raw(whole), fragsize=200)]
v6 = fragment6(IPv6(src='fd08::2', dst='fd09::2') / IPv6ExtHdrFragment(id=2) / ICMPv6EchoRequest(id=1, seq=1, data=whole), 400)
for packets in (v4, v6):
    random.shuffle(packets)
    send(packets, verbose=0)
bad = []
for i in range(300):
    start = random.randrange(0, 40)
    data = bytes(random.randrange(0, 90))
    more = random.randrange(2)
    bad.append(IP(dst='10.9.0.2', id=100 + i % 20, proto=random.choice([1, 6, 17, 200]), flags=more, frag=start) / Raw(data))
    header = IPv6ExtHdrFragment(id=100 + i % 20, m=more, offset=start, nh=random.choice([6, 17, 44, 58, 60, 59]))
    bad.append(IPv6(src='fd08::2', dst='fd09::2') / header / Raw(data))
bad.append(IP(dst='10.9.0.2', id=9, frag=8190) / Raw(bytes(1000)))
send(bad, verbose=0)
print(len(v4), len(v6), len(bad))
`;

test('hostile fragments: frag6, atk6-fragmentation6 and scapy: whoever is served is served on, and all is counted', {
  ...options,
  skip: skipReason('frag6', 'atk6-fragmentation6', 'ping', 'scapy'),
}, async (t) => {
  const path = await Path.start(1500, false);
  const { far, router, ours } = path;
  try {
    const { stdout } = await router.must('cat', '/sys/class/net/near0/address');
    await router.must('ip', 'link', 'set', 'tun0', 'txqueuelen', '20000');
    const frag6 = (seconds: number, ...what: string[]) =>
      far.exec('timeout', `${seconds}`, 'frag6', '-i', 'far0', '-d', 'fd09::2', '-D', stdout.trim(), ...what);
    const policy = await frag6(5, '-W');
    assert.match(policy.stdout, /Randomized IDs/);
    const attacks = [frag6(3, '-X'), frag6(3, '-F', '2000', '-s', 'fd08::/64')];
    attacks.push(far.exec('timeout', '12', 'atk6-fragmentation6', '-f', '-p', 'far0', 'fd09::2'));
    // Meanwhile others are served; what a busy machine cannot take in time waits in Linux's queue.
    for (let i = 0; i < 5; i++) {
      for (const own of ['10.9.0.2', 'fd09::2']) {
        const pinged = await router.exec('ping', '-c', '3', '-i', '0.2', '-W', '2', '-s', '20000', own);
        assert.equal(pinged.code, 0, pinged.stdout);
      }
    }
    await Promise.all(attacks);
    const python = await far.exec('/usr/bin/python3', '-c', SCAPY);
    assert.equal(python.code, 0, python.stderr);
    for (const own of ['10.9.0.2', 'fd09::2']) {
      const pinged = await router.exec('ping', '-c', '1', '-W', '2', '-s', '60000', own);
      assert.equal(pinged.code, 0, pinged.stdout);
    }
    const { stats, usedBytes } = await ours.stats();
    t.diagnostic(JSON.stringify(stats.drops));
    assert.ok((stats.drops['ip-fragment-overlap'] ?? 0) > 20);
    assert.ok((stats.drops['ip-fragment-too-long'] ?? 0) > 0);
    assert.ok(usedBytes < 8 << 20, `${usedBytes} bytes held`);
    await ours.end();
  } finally {
    await path.dispose();
  }
});
