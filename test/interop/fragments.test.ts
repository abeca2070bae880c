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
    hostAddress: ['10.9.0.1/24'],
    addresses: ['10.9.0.2/24'],
    peers: ['10.9.0.1'],
    own: ['10.9.0.2'],
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
