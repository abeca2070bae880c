/** Linux on both sides of our router: two namespaces, and between them two TAPs or TUNs of one forwarding stack. @module */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { Namespace, type Running, skipReason } from './namespace.ts';
import { downloadHash, LOAD } from './server.ts';

const CHILD = fileURLToPath(new URL('./forward-child.js', import.meta.url));
const B = '10.0.2.2';
const B6 = 'fd02::2';
const MIB = 1 << 20;
const options = { timeout: 60_000 };

interface Account {
  readonly ipForwarded: number;
  readonly icmpErrorsOut: number;
  readonly drops: Record<string, number>;
  readonly leakedBytes: number;
}

/** The router, and a namespace of Linux on either side. */
class Path {
  readonly left: Namespace;
  readonly right: Namespace;
  readonly #middle: Namespace;
  readonly #router: Running;

  private constructor(left: Namespace, middle: Namespace, right: Namespace, router: Running) {
    this.left = left;
    this.#middle = middle;
    this.right = right;
    this.#router = router;
  }

  static async create(kind: 'tap' | 'tun', ...args: string[]): Promise<Path> {
    const [left, middle, right] = [await Namespace.create(), await Namespace.create(), await Namespace.create()];
    const router = middle.spawn(process.execPath, CHILD, kind, ...args);
    const path = new Path(left!, middle!, right!, router);
    try {
      await router.line(/^ready$/);
      for (const [i, space] of [left!, right!].entries()) {
        const name = `${kind}${i}`;
        await middle!.must('ip', 'link', 'set', name, 'netns', space.name);
        const ip = (...rest: string[]) => space.must('ip', ...rest);
        await ip('addr', 'add', `10.0.${i + 1}.2/24`, 'dev', name);
        await ip('addr', 'add', `fd0${i + 1}::2/64`, 'dev', name, 'nodad');
        await ip('link', 'set', name, 'up');
        await ip('route', 'add', 'default', 'via', `10.0.${i + 1}.1`);
        await ip('-6', 'route', 'add', 'default', 'via', `fd0${i + 1}::1`, 'dev', name);
      }
      return path;
    } catch (error) {
      await path.dispose();
      throw error;
    }
  }

  /** Runs a script on the left side; gives its stdout, and its stderr behind it. */
  async sh(script: string): Promise<string> {
    const { stdout, stderr } = await this.left.execWith({ timeoutMs: 30_000 }, 'bash', '-c', script);
    return stdout + stderr;
  }

  /** Ends the router, which must have given back all memory. */
  async end(): Promise<Account> {
    const code = await this.#router.end();
    assert.equal(code, 0, this.#router.stderr);
    const account = JSON.parse(this.#router.lines.at(-1)!) as Account;
    assert.equal(account.leakedBytes, 0);
    return account;
  }

  async dispose(): Promise<void> {
    for (const space of [this.#middle, this.left, this.right]) await space.dispose();
  }
}

const tools = ['ping', 'traceroute', 'mtr', 'tracepath', 'curl', 'tshark', 'iperf3'];

for (const kind of ['tap', 'tun'] as const) {
  describe(`Linux through our router over ${kind}`, { skip: skipReason(...tools) }, () => {
    let path: Path;
    let folder = '';
    before(async () => {
      folder = mkdtempSync(join(tmpdir(), 'et-forward-'));
      path = await Path.create(kind, '1500', '1400', 'on', 'on', join(folder, 'capture.pcapng'));
    });
    after(async () => {
      await path?.dispose();
      rmSync(folder, { recursive: true, force: true });
    });
    // IPv6 over Ethernet needs neighbour discovery of the router, which other tests are about.
    const families = kind === 'tun' ? [4, 6] : [4];
    const far = (family: number): string => (family === 4 ? B : B6);
    const near = (family: number): string => (family === 4 ? '10.0.1.1' : 'fd01::1');

    for (const family of families) {
      test(`ping, IPv${family}`, options, async () => {
        const report = await path.sh(`ping -${family} -c 3 -i 0.2 -W 2 ${far(family)}`);
        assert.match(report, /ttl=63/);
        assert.match(report, / 3 received, 0% packet loss/);
      });

      test(`ping with a TTL of 1, IPv${family}`, options, async () => {
        const report = await path.sh(`ping -${family} -n -c 1 -t 1 -W 2 ${far(family)}`);
        const words = family === 4 ? 'Time to live exceeded' : 'Time exceeded: Hop limit';
        assert.ok(report.includes(`From ${near(family)} icmp_seq=1 ${words}`), report);
      });

      test(`ping where no route leads, IPv${family}`, options, async () => {
        const target = family === 4 ? '192.168.99.1' : 'fd99::1';
        const report = await path.sh(`ping -${family} -n -c 1 -W 2 ${target}`);
        const words = family === 4 ? 'Destination Net Unreachable' : 'Destination unreachable: No route';
        assert.ok(report.includes(`From ${near(family)} icmp_seq=1 ${words}`), report);
      });

      test(`ping of more than the second link carries, IPv${family}`, options, async () => {
        const report = await path.sh(`ping -${family} -n -c 1 -M do -s 1440 -W 2 ${far(family)}`);
        const words = family === 4 ? 'Frag needed and DF set (mtu = 1400)' : 'Packet too big: mtu=1400';
        assert.ok(report.includes(`From ${near(family)} icmp_seq=1 ${words}`), report);
      });

      test(`traceroute by UDP, ICMP and TCP, IPv${family}`, options, async () => {
        for (const how of ['', '-I', '-T']) {
          const report = await path.sh(`traceroute -${family} -n ${how} -q 1 -w 2 ${far(family)}`);
          const hops = report
            .split('\n')
            .slice(1, 3)
            .map((line) => line.trim().split(/\s+/).slice(0, 2));
          assert.deepEqual(
            hops,
            [
              ['1', near(family)],
              ['2', far(family)],
            ],
            report,
          );
        }
      });

      test(`mtr and tracepath, IPv${family}`, options, async () => {
        const mtr = await path.sh(`mtr -${family} -n -r -c 2 -i 0.2 ${far(family)}`);
        assert.match(mtr, new RegExp(`1\\.\\|-- ${near(family)} +0\\.0%`));
        assert.match(mtr, new RegExp(`2\\.\\|-- ${far(family)} +0\\.0%`));
        const tracepath = await path.sh(`tracepath -${family} -n ${far(family)}`);
        assert.match(tracepath, new RegExp(`1: +${near(family)} `), tracepath);
        assert.match(tracepath, /pmtu 1400/);
        assert.match(tracepath, new RegExp(`2: +${far(family)} .*reached`));
      });
    }

    if (kind === 'tap') {
      test('ping of a host that is not there', options, async () => {
        const report = await path.sh('ping -n -c 1 -W 5 10.0.2.77');
        assert.match(report, /From 10\.0\.1\.1 icmp_seq=1 Destination Host Unreachable/);
      });
    }

    test('curl', options, async () => {
      const script = `require('node:http').createServer((_, answer) => answer.end(Buffer.alloc(${3 * MIB}, 7))).listen(80, '::', () => console.log('ready'))`;
      const server = path.right.spawn(process.execPath, '-e', script);
      await server.line(/ready/);
      for (const family of families) {
        const host = family === 4 ? B : `[${B6}]`;
        const report = await path.sh(`curl -sS -m 20 -o /dev/null -w '%{http_code} %{size_download}' http://${host}/`);
        assert.equal(report, `200 ${3 * MIB}`);
      }
      await server.end(5_000, 'SIGTERM');
    });

    test('nothing was malformed, and all memory came back', options, async () => {
      const account = await path.end();
      assert.ok(account.ipForwarded > 20, `${account.ipForwarded} packets forwarded`);
      assert.ok(account.icmpErrorsOut > 5, `${account.icmpErrorsOut} errors made`);
      const checks = '-o ip.check_checksum:TRUE -o tcp.check_checksum:TRUE -o udp.check_checksum:TRUE';
      // Packets quoted in errors are cut short: their checksums cannot be checked.
      const bad =
        '_ws.malformed or (not icmp and not icmpv6 and (ip.checksum.status == 0 or tcp.checksum.status == 0))';
      const { code, stdout, stderr } = await path.left.exec(
        'bash',
        '-c',
        `tshark -r ${join(folder, 'capture.pcapng')} ${checks} -Y '${bad}'`,
      );
      assert.deepEqual([code, stdout], [0, ''], stderr);
    });
  });
}

for (const [name, args] of [
  ['TAPs with offload', ['tap', '1500', '1500', 'on', 'on']],
  ['TAPs without offload', ['tap', '1500', '1500', 'off', 'off']],
  ['TUNs, offload on one side only', ['tun', '1500', '1500', 'on', 'off']],
  ['TUNs, a smaller MTU behind the router', ['tun', '1500', '1400', 'on', 'on']],
  ['TUNs, a smaller MTU and no offload behind the router', ['tun', '1500', '1300', 'on', 'off']],
] as const) {
  test(`through our router: ${name}`, { ...options, skip: skipReason('curl', 'iperf3') }, async () => {
    const [kind, ...rest] = args;
    const path = await Path.create(kind, ...rest);
    try {
      const size = 20 * MIB;
      const server = path.right.spawn(process.execPath, LOAD, 'serve', '5000', `${size}`);
      for (let i = 0; i < 3; i++) await server.line(/"port"/);
      const iperf = path.right.spawn('iperf3', '-s', '-1', '--forceflush');
      await iperf.line(/Server listening/);
      // `serve` sends its download to whoever connects.
      const families = kind === 'tun' ? [B, B6] : [B];
      for (const host of families) {
        const sum = await path.sh(`exec 3<>/dev/tcp/${host}/5000; sha256sum <&3`);
        assert.equal(sum.split(' ')[0], downloadHash(size), `from ${host}`);
      }
      const report = JSON.parse(await path.sh(`iperf3 -c ${B} -t 2 -J`));
      const rate = report.end.sum_received.bits_per_second / 1e9;
      process.stderr.write(`# iperf3 through ${name}: ${rate.toFixed(2)} Gbit/s\n`);
      assert.ok(rate > 0.01, `${rate} Gbit/s`);
      const { drops } = await path.end();
      assert.equal(drops['ip-bad-offload'], undefined);
    } finally {
      await path.dispose();
    }
  });
}
