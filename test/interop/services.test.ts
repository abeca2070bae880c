/** Linux's ping, curl, nc and Node against `ethertype server`, over TAP and TUN, with offload and without. @module */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { Namespace, skipReason } from './namespace.ts';
import { downloadHash, LOAD, MAIN, OURS, Server, WIRES } from './server.ts';

const MIB = 1 << 20;
const LARGE = 100 * MIB;
const options = { timeout: 60_000 };
const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

/** The same bytes the server sends, as a file for uploads. */
let folder = '';
let large = '';
before(() => {
  folder = mkdtempSync(join(tmpdir(), 'et-interop-'));
  large = join(folder, 'large');
  writeFileSync(large, Buffer.alloc(LARGE, 'a piece of forty-one bytes, again and again'));
});
after(() => rmSync(folder, { recursive: true, force: true }));

for (const { name, args } of WIRES) {
  describe(`over ${name}`, { skip: skipReason('ping', 'curl', 'nc') }, () => {
    let server: Server;
    before(async () => {
      server = await Server.start(args);
    });
    after(() => server?.dispose());

    const sh = async (script: string): Promise<string> => {
      const { code, stdout, stderr } = await server.space.execWith({ timeoutMs: 40_000 }, 'bash', '-c', script);
      assert.equal(code, 0, `${script}: ${stdout}${stderr}`);
      return stdout;
    };
    const load = async (...rest: string[]) => JSON.parse(await sh([process.execPath, LOAD, ...rest].join(' ')));

    for (const size of [0, 1, 8, 56, 1472]) {
      test(`ping of ${size} bytes`, options, async () => {
        // ping(8) compares the data of each reply, and says so when it differs. For the last reply it waits one interval.
        const report = await sh(`ping -c 4 -i 0.2 -W 2 -M do -s ${size} ${OURS}`);
        assert.match(report, /4 packets transmitted, 4 received, 0% packet loss/);
        assert.doesNotMatch(report, /wrong data|truncated|DUP|errors/);
      });
    }

    for (const size of [0, 1, 65_537, LARGE]) {
      test(`curl gets ${size} bytes`, options, async () => {
        const got = await sh(`set -o pipefail; curl -sS -m 30 http://${OURS}/bytes/${size} | sha256sum`);
        assert.equal(got.split(' ')[0], downloadHash(size));
      });
    }

    test('curl posts nothing, one byte, and 100 MB with a length and in chunks', options, async () => {
      const post = async (what: string) => JSON.parse(await sh(`curl -sS -m 30 ${what} http://${OURS}/sum`));
      const of = (bytes: Uint8Array) => ({ bytes: bytes.length, sha256: sha256(bytes) });
      assert.deepEqual(await post("-X POST -d ''"), of(Buffer.alloc(0)));
      assert.deepEqual(await post('-d x'), of(Buffer.from('x')));
      const wanted = { bytes: LARGE, sha256: (await sh(`sha256sum ${large}`)).split(' ')[0] };
      assert.deepEqual(await post(`-H 'Expect: 100-continue' --data-binary @${large}`), wanted);
      assert.deepEqual(await post(`-T - < ${large}`), wanted); // PUT, chunked
    });

    test('curl: a page, HEAD, one connection for many, and refusals', options, async () => {
      const status = `-o /dev/null -w '%{http_code} %{num_connects} %{size_download}\\n'`;
      assert.match(await sh(`curl -sS http://${OURS}/`), /This is ethertype at 192\.168\.69\.1/);
      assert.match(
        await sh(`curl -sSI http://${OURS}/bytes/123`),
        /^HTTP\/1\.1 200 OK\r\n(.*\r\n)*Content-Length: 123\r\n/,
      );
      const kept = await sh(`curl -sS ${status} http://${OURS}/bytes/10 ${status} http://${OURS}/bytes/20`);
      assert.equal(kept, '200 1 10\n200 0 20\n');
      assert.match(await sh(`curl -sS ${status} http://${OURS}/none`), /^404 /);
      assert.match(await sh(`curl -sS ${status} http://${OURS}/bytes/x`), /^404 /);
      assert.match(await sh(`curl -sS ${status} -X DELETE http://${OURS}/bytes/1`), /^405 /);
      assert.match(await sh(`curl -sS ${status} -H 'X: ${'y'.repeat(20_000)}' http://${OURS}/`), /^431 /);
      assert.match(await sh(`curl -sS ${status} -T ${large} http://${OURS}/none`), /^404 /);
      assert.match(
        await sh(`printf 'nonsense\\r\\n\\r\\n' | nc -N -w 5 ${OURS} 80`),
        /^HTTP\/1\.1 400 Bad Request\r\n/,
      );
      assert.match(await sh(`curl -sS --http1.0 -i http://${OURS}/bytes/0`), /\r\nConnection: close\r\n/);
    });

    test('nc ends its half first, and still gets everything', options, async () => {
      const echoed = await sh(
        `head -c 5000000 ${large} | nc -N -w 10 ${OURS} 7 | sha256sum; sha256sum < <(head -c 5000000 ${large})`,
      );
      const [got, wanted] = echoed.split('\n');
      assert.equal(got, wanted);
    });

    test('the server ends first, and nc gets everything', options, async () => {
      const script = `printf 'GET /bytes/3000000 HTTP/1.0\\r\\n\\r\\n' | nc -w 10 ${OURS} 80 | tail -c 3000000 | sha256sum`;
      assert.equal((await sh(script)).split(' ')[0], downloadHash(3_000_000));
    });

    test('closed ports: a refusal over TCP, and over UDP', options, async () => {
      const { result, ms } = await load('tcp-connect', OURS, '81');
      assert.equal(result, 'ECONNREFUSED');
      assert.ok(ms < 1000, `refused after ${ms} ms`);
      assert.match(await sh(`curl -sS -m 5 http://${OURS}:81/ || echo "code $?"`), /^code 7$/m);
      assert.equal(await load('udp-ask', OURS, '81'), 'ECONNREFUSED');
    });

    test('UDP: echo of 0 to 1472 bytes, discard, chargen', options, async () => {
      const sizes = ['0', '1', '8', '512', '1472'];
      assert.deepEqual(
        await load('udp-echo', OURS, '7', ...sizes),
        sizes.map(() => true),
      );
      assert.equal(await load('udp-ask', OURS, '9'), 'silence');
      assert.match(await load('udp-ask', OURS, '19'), /^[ -~]{72}\r\n$/);
    });

    test('chargen and discard over TCP', options, async () => {
      const lines = (await sh(`nc -w 5 ${OURS} 19 < /dev/null | head -c 740000 | tail -n 5000`)).split('\r\n');
      assert.ok(lines.slice(1, -1).every((line) => /^[ -~]{72}$/.test(line)));
      assert.equal(await sh(`head -c 5000000 ${large} | nc -N -w 10 ${OURS} 9`), '');
    });

    test("what smoltcp's server does on 6969", options, async () => {
      assert.equal(await sh(`echo abcdefg | nc -N -w 5 ${OURS} 6969`), 'gfedcba\n');
      assert.equal(await load('udp-ask', OURS, '6969'), 'yo dawg');
      const chunks = await sh(`printf '%0100d' 1 | nc -N -w 5 ${OURS} 6969`);
      assert.equal(chunks, `${'0'.repeat(64)}1${'0'.repeat(35)}`);
    });

    test('200 connections at once, each checked, more than the memory could buffer', options, async () => {
      const { good, failed } = await load('parallel', OURS, '200', '700000');
      assert.equal(failed, null);
      assert.equal(good, 200);
    });

    test('it ends by SIGTERM with nothing held', options, async () => {
      const { services } = await server.endIdle();
      assert.equal(services.echo!.datagrams, 5);
      assert.ok(services.HTTP!.connections > 200);
    });
  });
}

/** Asks 10.5.0.1 by ARP and ping, in the LAN 5, without a tag, and in another LAN. */
const TAGGED = `
from scapy.all import *
conf.verb = 0
mac = '02:00:00:00:00:99'
def ask(tag, packet, dst='ff:ff:ff:ff:ff:ff'):
    frame = Ether(src=mac, dst=dst)/(Dot1Q(vlan=tag, prio=2)/packet if tag else packet)
    answer = srp1(frame, iface='tap0', timeout=1)
    return answer
arp = lambda: ARP(op=1, hwsrc=mac, psrc='10.5.0.2', pdst='10.5.0.1')
found = ask(5, arp())
print(found[Dot1Q].vlan, found[ARP].hwsrc)
for size in (56, 1472):
    got = ask(5, IP(src='10.5.0.2', dst='10.5.0.1')/ICMP()/(b'x' * size), found[ARP].hwsrc)
    print(got[Dot1Q].vlan, len(got[ICMP].payload))
print(ask(None, arp()), ask(6, arp()))
`;

describe('802.1Q', { skip: skipReason('scapy', 'tshark') }, () => {
  for (const offload of [[], ['--no-offload']]) {
    const title = `--vlan: whole packets with the tag, both ways, and nothing of other LANs${offload.length > 0 ? '; no offload' : ''}`;
    test(title, options, async () => {
      await using space = await Namespace.create();
      const captures = mkdtempSync(join(tmpdir(), 'et-vlan-'));
      try {
        const pcap = join(captures, 'vlan.pcapng');
        const wire = ['--tap', 'tap0', '--mac', '02:00:00:00:00:05', '--vlan', '5', '--address', '10.5.0.1/24'];
        const server = space.spawn(process.execPath, MAIN, 'server', ...wire, '--pcap', pcap, ...offload);
        await server.line(/^ethertype server: 10\.5\.0\.1 on tap0/);
        const { stdout, stderr } = await space.exec('/usr/bin/python3', '-c', TAGGED);
        assert.equal(stdout, '5 02:00:00:00:00:05\n5 56\n5 1472\nNone None\n', stderr);
        assert.equal(await server.end(5000, 'SIGTERM'), 0, server.stderr);
        const read = (filter: string) => space.must('tshark', '-r', pcap, '-Y', filter);
        assert.equal((await read('_ws.malformed')).stdout, '');
        assert.equal((await read('eth.src == 02:00:00:00:00:05 && !(vlan.id == 5)')).stdout, '');
      } finally {
        rmSync(captures, { recursive: true, force: true });
      }
    });
  }
});
