/** Our DHCP client against dnsmasq and ISC's server, our server against ISC's client, and addresses in dispute. @module */
import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { Configuration } from '../../src/index.ts';
import { Namespace, type Running, skipReason } from './namespace.ts';
import { type Account, MAIN, sleep, withServer } from './server.ts';

const CHILD = fileURLToPath(new URL('./dhcp-child.js', import.meta.url));
const options = { timeout: 60_000 };
const MAC = '02:00:00:00:77:01';

let folder = '';
before(() => {
  folder = mkdtempSync(join(tmpdir(), 'et-dhcp-'));
});
after(() => rmSync(folder, { recursive: true, force: true }));

/** What `ethertype dhcp --json` prints. */
interface Told {
  readonly configuration: Configuration | null;
  readonly exchange: readonly string[];
  readonly drops: Readonly<Record<string, number>>;
}

/** A namespace with a bridge, on which a TAP waits for our client. */
class Lan {
  readonly space: Namespace;
  #captures = 0;

  private constructor(space: Namespace) {
    this.space = space;
  }

  static async create(address: string): Promise<Lan> {
    const lan = new Lan(await Namespace.create());
    const ip = (...args: string[]) => lan.space.must('ip', ...args);
    await ip('link', 'add', 'br0', 'type', 'bridge');
    await ip('addr', 'add', address, 'dev', 'br0');
    await ip('tuntap', 'add', 'tap0', 'mode', 'tap');
    await ip('link', 'set', 'tap0', 'master', 'br0', 'up');
    await ip('link', 'set', 'br0', 'up');
    return lan;
  }

  dnsmasq(...args: string[]): Running {
    const leases = join(folder, `${this.space.name}.leases`);
    const fixed = [
      '--conf-file=/dev/null',
      '--no-daemon',
      '--port=0',
      '--interface=br0',
      '--bind-dynamic',
      '--no-ping',
    ];
    const files = [`--dhcp-leasefile=${leases}`, '--pid-file=/dev/null', '--log-dhcp', '--dhcp-sequential-ip'];
    return this.space.spawn('dnsmasq', ...fixed, ...files, ...args);
  }

  async dhcpd(config: string): Promise<Running> {
    const file = join(folder, `${this.space.name}.conf`);
    const leases = join(folder, `${this.space.name}.isc`);
    writeFileSync(file, config);
    writeFileSync(leases, '');
    const args = ['-4', '-f', '-d', '--no-pid', '-cf', file, '-lf', leases, 'br0'];
    const server = this.space.spawn('dhcpd', ...args);
    await server.errorLine(/Server starting service/);
    return server;
  }

  /** Our client, to its end. All that it sent and received is looked at by tshark. */
  async client(...args: string[]): Promise<Told> {
    const pcap = join(folder, `${this.space.name}-${this.#captures++}.pcapng`);
    const own = ['dhcp', '--tap', 'tap0', '--mac', MAC, '--json', '--pcap', pcap, ...args];
    const { code, stdout, stderr } = await this.space.execWith({ timeoutMs: 40_000 }, process.execPath, MAIN, ...own);
    assert.equal(code, 0, stderr);
    await assertWellFormed(this.space, pcap);
    return JSON.parse(stdout) as Told;
  }

  /** Our client, until it is ended. */
  watch(...args: string[]): Running {
    const own = ['dhcp', '--tap', 'tap0', '--mac', MAC, '--watch', ...args];
    return this.space.spawn(process.execPath, MAIN, ...own);
  }
}

async function assertWellFormed(space: Namespace, pcap: string): Promise<void> {
  const { stdout, code, stderr } = await space.exec(
    'tshark',
    '-r',
    pcap,
    '-Y',
    '_ws.malformed || udp.checksum.status == 0 || _ws.expert.severity == error',
  );
  assert.equal(code, 0, stderr);
  assert.equal(stdout, '', 'tshark finds fault');
  const dhcp = await space.exec('tshark', '-r', pcap, '-Y', 'dhcp');
  assert.match(dhcp.stdout, /DHCP (Discover|Request)/);
}

async function withLan(address: string, body: (lan: Lan) => Promise<void>): Promise<void> {
  const lan = await Lan.create(address);
  try {
    await body(lan);
  } finally {
    await lan.space.dispose();
  }
}

/** The messages in order. One that had to be sent again, for an interface may be up before its bridge is, counts once. */
const kinds = ({ exchange }: Told): string[] =>
  exchange.flatMap((line) => /^DHCP[A-Z]+/.exec(line)?.[0] ?? []).filter((kind, i, all) => kind !== all[i - 1]);

describe('dhcp client', { skip: skipReason('dnsmasq', 'dhcpd', 'tshark'), concurrency: 4 }, () => {
  test(
    'dnsmasq: a lease with classless routes, name servers, search list, MTU; then the same address again',
    options,
    () =>
      withLan('10.9.0.1/24', async (lan) => {
        const server = lan.dnsmasq(
          '--dhcp-range=10.9.0.50,10.9.0.60,2m',
          '--dhcp-option=121,0.0.0.0/0,10.9.0.1,192.168.5.0/24,10.9.0.7',
          '--dhcp-option=6,10.9.0.1,10.9.0.2',
          '--domain=example.com',
          '--dhcp-option=option:domain-search,example.com,sub.example.com',
          '--dhcp-option=option:mtu,1400',
          '--dhcp-option=option:ntp-server,10.9.0.3',
        );
        await server.errorLine(/sockets bound|DHCP, IP range/);
        const file = join(folder, 'dnsmasq.json');
        const first = await lan.client('--lease-file', file, '--host-name', 'box');
        assert.deepEqual(first.configuration, {
          source: 'dhcp',
          interface: 'tap0',
          addresses: ['10.9.0.50/24'],
          routes: [
            { prefix: '0.0.0.0/0', gateway: '10.9.0.1' },
            { prefix: '192.168.5.0/24', gateway: '10.9.0.7' },
          ],
          dnsServers: ['10.9.0.1', '10.9.0.2'],
          domain: 'example.com',
          search: ['example.com', 'sub.example.com'],
          ntpServers: ['10.9.0.3'],
          mtu: 1400,
          leaseSeconds: 120,
        });
        assert.deepEqual(kinds(first), ['DHCPDISCOVER', 'DHCPOFFER', 'DHCPREQUEST', 'DHCPACK']);
        await server.errorLine(/DHCPACK\(br0\) 10\.9\.0\.50 02:00:00:00:77:01 box/);
        const again = await lan.client('--lease-file', file, '--release');
        assert.deepEqual(kinds(again), ['DHCPREQUEST', 'DHCPACK', 'DHCPRELEASE']);
        assert.deepEqual(again.configuration!.addresses, ['10.9.0.50/24']);
        await server.errorLine(/DHCPRELEASE\(br0\) 10\.9\.0\.50/);
      }),
  );

  test('dnsmasq: rapid commit, broadcast replies, an address that is asked for', options, () =>
    withLan('10.9.0.1/24', async (lan) => {
      const server = lan.dnsmasq('--dhcp-range=10.9.0.50,10.9.0.60,2m', '--dhcp-rapid-commit');
      await server.errorLine(/DHCP, IP range/);
      const told = await lan.client('--rapid-commit', '--broadcast', '--request', '10.9.0.57', '--release');
      assert.deepEqual(kinds(told), ['DHCPDISCOVER', 'DHCPACK', 'DHCPRELEASE']);
      assert.deepEqual(told.configuration!.addresses, ['10.9.0.57/24']);
    }),
  );

  test('dnsmasq: a NAK after the network has changed, and a new address', options, async () => {
    const file = join(folder, 'moved.json');
    await withLan('10.9.0.1/24', async (lan) => {
      await lan.dnsmasq('--dhcp-range=10.9.0.50,10.9.0.60,1h').errorLine(/DHCP, IP range/);
      await lan.client('--lease-file', file);
    });
    await withLan('10.8.0.1/24', async (lan) => {
      await lan.dnsmasq('--dhcp-range=10.8.0.50,10.8.0.60,1h', '--dhcp-authoritative').errorLine(/DHCP, IP range/);
      const told = await lan.client('--lease-file', file);
      assert.deepEqual(kinds(told), ['DHCPREQUEST', 'DHCPNAK', 'DHCPDISCOVER', 'DHCPOFFER', 'DHCPREQUEST', 'DHCPACK']);
      assert.deepEqual(told.configuration!.addresses, ['10.8.0.50/24']);
    });
  });

  test('dnsmasq: another host holds the address: DECLINE, and the next one ten seconds later', options, () =>
    withLan('10.9.0.1/24', async (lan) => {
      const other = await Namespace.create();
      try {
        await lan.space.connect(other, 'veth0', 'eth0');
        await lan.space.must('ip', 'link', 'set', 'veth0', 'master', 'br0');
        await other.must('ip', 'addr', 'add', '10.9.0.50/24', 'dev', 'eth0');
        const server = lan.dnsmasq('--dhcp-range=10.9.0.50,10.9.0.60,2m');
        await server.errorLine(/DHCP, IP range/);
        const told = await lan.client('--timeout', '25');
        assert.ok(kinds(told).includes('DHCPDECLINE'), told.exchange.join('\n'));
        assert.match(told.exchange.find((line) => line.startsWith('address in use'))!, /in use by ([0-9a-f]{2}:){5}/);
        assert.deepEqual(told.configuration!.addresses, ['10.9.0.51/24']);
        await server.errorLine(/DHCPDECLINE\(br0\) 10\.9\.0\.50/);
      } finally {
        await other.dispose();
      }
    }),
  );

  test('ISC: renewed by the server, rebound by broadcast when it is gone, lost, found again', options, () =>
    withLan('10.9.0.1/24', async (lan) => {
      const config = `
        authoritative; default-lease-time 6; min-lease-time 6; max-lease-time 6;
        option rfc3442 code 121 = array of integer 8;
        subnet 10.9.0.0 netmask 255.255.255.0 {
          range 10.9.0.100 10.9.0.110; option routers 10.9.0.1; option domain-name-servers 10.9.0.1;
          option rfc3442 16, 172, 16, 10, 9, 0, 1;
        }`;
      const server = await lan.dhcpd(config);
      const client = lan.watch('--release');
      await client.line(/^bound to 10\.9\.0\.100 -- renewal in 3 seconds\.$/);
      await client.line(/^DHCPREQUEST for 10\.9\.0\.100 on tap0 to 10\.9\.0\.1 port 67/);
      await client.line(/^DHCPACK of 10\.9\.0\.100/);
      await client.line(/^bound to/);
      await server.end(2000, 'SIGKILL');
      await client.line(/^DHCPREQUEST for 10\.9\.0\.100 on tap0 to 10\.9\.0\.1 port 67/);
      await client.line(/^DHCPREQUEST for 10\.9\.0\.100 on tap0 to 255\.255\.255\.255 port 67/);
      await client.line(/^address lost: expired$/);
      await lan.dhcpd(config);
      await client.line(/^bound to 10\.9\.0\.100/, 20_000);
      assert.equal(await client.end(5000, 'SIGTERM'), 0, client.stderr);
      await client.line(/^DHCPRELEASE of 10\.9\.0\.100/);
    }),
  );

  test('a host whose address is found by DHCP serves; ISC tells its routes', options, () =>
    withLan('10.9.0.1/24', async (lan) => {
      await lan.dhcpd(
        `subnet 10.9.0.0 netmask 255.255.255.0 { range 10.9.0.100 10.9.0.110; option routers 10.9.0.1; }`,
      );
      const server = lan.space.spawn(process.execPath, MAIN, 'server', '--tap', 'tap0', '--address', 'dhcp');
      const ready = await server.line(/^ethertype server: 10\.9\.0\.1\d\d on tap0/);
      const address = /10\.9\.0\.1\d\d/.exec(ready)![0];
      const { stdout } = await lan.space.must('ping', '-c2', '-i0.2', address);
      assert.match(stdout, / 0% packet loss/);
      assert.equal(await server.end(5000, 'SIGTERM'), 0, server.stderr);
    }),
  );

  test('no server: it says so, and ends with 1', options, () =>
    withLan('10.9.0.1/24', async (lan) => {
      const result = await lan.space.exec(process.execPath, MAIN, 'dhcp', '--tap', 'tap0', '--timeout', '1');
      assert.equal(result.code, 1);
      assert.match(result.stderr, /^ethertype dhcp: configured ETIMEDOUT: no address on tap0 after 1000 ms\n$/);
    }),
  );

  test('no server, and Ctrl-C: it ends at once', options, () =>
    withLan('10.9.0.1/24', async (lan) => {
      const client = lan.space.spawn(process.execPath, MAIN, 'dhcp', '--tap', 'tap0');
      await client.line(/^DHCPDISCOVER/);
      assert.equal(await client.end(5000, 'SIGINT'), 1);
      assert.equal(client.stderr, 'ethertype dhcp: ended by a signal before there was an address');
    }),
  );

  test('--watch on an interface that is deleted: one line, and exit code 1', options, () =>
    withLan('10.9.0.1/24', async (lan) => {
      await lan.dhcpd(`subnet 10.9.0.0 netmask 255.255.255.0 { range 10.9.0.100 10.9.0.110; }`);
      const client = lan.space.spawn(process.execPath, MAIN, 'dhcp', '--tap', 'tap0', '--watch');
      await client.line(/^bound to /);
      await lan.space.must('ip', 'link', 'del', 'tap0');
      assert.equal(await client.ended, 1);
      assert.match(client.stderr, /^ethertype dhcp: interface tap0 is gone: .*$/);
    }),
  );
});

describe('dhcp server', { skip: skipReason('dhclient', 'tshark') }, () => {
  test('ISC dhclient: lease, renewal, release; nothing malformed', options, async () => {
    const space = await Namespace.create();
    try {
      const script = join(folder, 'script');
      const environment = join(folder, 'environment');
      writeFileSync(
        script,
        `#!/bin/sh\n[ -n "$new_ip_address" ] && env > ${environment}.new && mv ${environment}.new ${environment}\nexit 0\n`,
        { mode: 0o755 },
      );
      const pcap = join(folder, 'dhclient.pcapng');
      const pool = ['--pool', '10.9.0.100-10.9.0.110', '--router', '10.9.0.1', '--dns', '10.9.0.1', '--domain', 'lan'];
      const more = [
        '--search',
        'lan',
        '--search',
        'example.com',
        '--client-mtu',
        '1400',
        '--lease',
        '6',
        '--pcap',
        pcap,
      ];
      const own = ['dhcp', '--server', '--tap', 'tap0', '--address', '10.9.0.1/24', ...pool, ...more];
      const server = space.spawn(process.execPath, MAIN, ...own);
      await server.line(/^ethertype dhcp: serving/);
      const conf = join(folder, 'dhclient.conf');
      writeFileSync(
        conf,
        'timeout 10;\nrequest subnet-mask, routers, domain-name, domain-name-servers, domain-search, interface-mtu;\n',
      );
      const files = ['-cf', conf, '-lf', join(folder, 'dhclient.leases'), '-pf', join(folder, 'dhclient.pid')];
      const client = space.spawn('dhclient', '-d', '-v', '-sf', script, ...files, 'tap0');
      await client.errorLine(/DHCPACK of 10\.9\.0\.100 from 10\.9\.0\.1/);
      await server.line(/^DHCPREQUEST 10\.9\.0\.100 .*: bound$/);
      await client.errorLine(/^bound to 10\.9\.0\.100/);
      const env = readFileSync(environment, 'utf8');
      assert.match(env, /^new_subnet_mask=255\.255\.255\.0$/m);
      assert.match(env, /^new_routers=10\.9\.0\.1$/m);
      assert.match(env, /^new_domain_name_servers=10\.9\.0\.1$/m);
      assert.match(env, /^new_domain_name=lan$/m);
      assert.match(env, /^new_domain_search=lan\.? example\.com\.?$/m);
      assert.match(env, /^new_interface_mtu=1400$/m);
      await client.errorLine(/DHCPACK of 10\.9\.0\.100 from 10\.9\.0\.1/, 15_000); // renewed
      await client.end(2000, 'SIGKILL');
      await space.exec('dhclient', '-r', '-sf', script, ...files, 'tap0');
      assert.equal(await server.end(5000, 'SIGTERM'), 0, server.stderr);
      await assertWellFormed(space, pcap);
    } finally {
      await space.dispose();
    }
  });
});

describe('dhcpv6, stateless', { skip: skipReason('dnsmasq', 'dhclient'), concurrency: 2 }, () => {
  test('our client and dnsmasq', options, () =>
    withLan('10.9.0.1/24', async (lan) => {
      await lan.space.must('ip', 'addr', 'add', 'fd00:9::1/64', 'dev', 'br0', 'nodad');
      const args = ['--dhcp-range=fd00:9::,ra-stateless', '--dhcp-option=option6:dns-server,[fd00:9::53]'];
      const server = lan.dnsmasq(
        ...args,
        '--dhcp-option=option6:domain-search,lan,example.com',
        '--dhcp-option=option6:information-refresh-time,3600',
      );
      await server.errorLine(/DHCPv6 stateless/);
      const child = lan.space.spawn(process.execPath, CHILD, 'ask');
      const told = JSON.parse(await child.line(/"dhcpv6"/, 15_000)) as Configuration;
      assert.deepEqual(told.dnsServers, ['fd00:9::53']);
      assert.deepEqual(told.search, ['lan', 'example.com']);
      assert.equal(told.leaseSeconds, 3600);
      assert.equal(await child.end(), 0, child.stderr);
      assert.ok(child.lines.includes('{"leakedBytes":0}'));
    }),
  );

  test('our server and ISC dhclient', options, () =>
    withLan('10.9.0.1/24', async (lan) => {
      const child = lan.space.spawn(process.execPath, CHILD, 'serve');
      await child.line(/serving/);
      const script = join(folder, 'script6');
      writeFileSync(
        script,
        `#!/bin/sh\nenv | grep ^new_dhcp6 > ${folder}/environment6.new && mv ${folder}/environment6.new ${folder}/environment6\nexit 0\n`,
        { mode: 0o755 },
      );
      const files = ['-lf', join(folder, 'six.leases'), '-pf', join(folder, 'six.pid')];
      // The link-local address of Linux must have passed its own duplicate detection.
      for (let i = 0; i < 30; i++) {
        const { stdout } = await lan.space.must('ip', '-6', 'addr', 'show', 'dev', 'br0', 'scope', 'link');
        if (stdout.includes('fe80') && !stdout.includes('tentative')) break;
        await sleep(200);
      }
      const client = lan.space.spawn('dhclient', '-6', '-S', '-1', '-d', '-v', '-sf', script, ...files, 'br0');
      await client.errorLine(/RCV: Reply message/, 15_000);
      const file = `${folder}/environment6`;
      for (let i = 0; i < 50 && !existsSync(file); i++) await sleep(100);
      await client.end(3000, 'SIGTERM');
      const env = readFileSync(file, 'utf8');
      assert.match(env, /^new_dhcp6_name_servers=fd00:9::53$/m);
      assert.match(env, /^new_dhcp6_domain_search=lan\.? example\.com\.?$/m);
      assert.equal(await child.end(), 0, child.stderr);
    }),
  );
});

/** Sends replies of servers that are none, spoiled in every field, and ARP of all kinds, to the client at argv[2]. */
const HOSTILE = `
import sys
from scapy.all import ARP, BOOTP, DHCP, Ether, IP, UDP, conf, fuzz, raw
import random
random.seed(7)
conf.verb = 0
mac, own = sys.argv[1], sys.argv[2]
sock = conf.L2socket(iface='br0')
chaddr = bytes.fromhex(mac.replace(':', ''))
types = ['offer', 'ack', 'nak', 'discover', 'inform', 77]
for i in range(1500):
    options = [('message-type', random.choice(types)), ('server_id', random.choice(['10.9.0.1', '10.9.0.66', '0.0.0.0']))]
    options += [(random.randrange(1, 255), bytes(random.randrange(256) for _ in range(random.randrange(20)))) for _ in range(random.randrange(5))]
    boot = BOOTP(op=random.choice([1, 2, 2, 2, 9]), chaddr=chaddr, xid=random.getrandbits(32), yiaddr=random.choice([own, '10.9.0.9', '255.255.255.255']))
    frame = bytearray(raw(Ether(dst=random.choice([mac, 'ff:ff:ff:ff:ff:ff']))/IP(src='10.9.0.1', dst=random.choice([own, '255.255.255.255']))/UDP(sport=67, dport=68, chksum=0)/boot/DHCP(options=options + ['end'])))
    for _ in range(random.randrange(4)):
        frame[random.randrange(42, len(frame))] = random.randrange(256)
    sock.send(bytes(frame[:random.randrange(60, len(frame))] if random.random() < 0.1 else frame))
for i in range(1500):
    sock.send(Ether(dst=random.choice([mac, 'ff:ff:ff:ff:ff:ff']), src='02:00:00:00:00:99')/fuzz(ARP(hwtype=1, ptype=0x800, hwlen=6, plen=4)))
print('sent')
`;

describe('hostile servers', { skip: skipReason('dhcpd', 'scapy') }, () => {
  test(
    'forged and spoiled replies, and ARP of all kinds: the lease stands and is renewed, and nothing leaks',
    options,
    () =>
      withLan('10.9.0.1/24', async (lan) => {
        const times = 'default-lease-time 30; min-lease-time 30; max-lease-time 30;';
        await lan.dhcpd(`${times} subnet 10.9.0.0 netmask 255.255.255.0 { range 10.9.0.100 10.9.0.110; }`);
        const args = ['server', '--tap', 'tap0', '--mac', MAC, '--address', 'dhcp', '--json'];
        const server = lan.space.spawn(process.execPath, MAIN, ...args);
        const ready = await server.errorLine(/^ethertype server: 10\.9\.0\.1\d\d on tap0/);
        const address = /10\.9\.0\.1\d\d/.exec(ready)![0];
        const sent = await lan.space.execWith({ timeoutMs: 40_000 }, '/usr/bin/python3', '-c', HOSTILE, MAC, address);
        assert.match(sent.stdout, /sent/, sent.stderr);
        const { stdout } = await lan.space.must('ping', '-c3', '-i0.2', address);
        assert.match(stdout, / 0% packet loss/);
        assert.equal(await server.end(5000, 'SIGTERM'), 0, server.stderr);
        const account = JSON.parse(server.lines.join('\n')) as Account;
        assert.equal(account.memory.leakedBytes, 0);
        const { drops } = account.stack;
        for (const reason of ['dhcp-other-client', 'dhcp-bad-options']) {
          assert.ok(drops[reason]! > 0, `${reason}: ${JSON.stringify(drops)}`);
        }
      }),
  );
});

describe('address conflicts', { skip: skipReason('arping', 'ping'), concurrency: 3 }, () => {
  const TAP = ['--tap', 'tap0'];

  test('Linux hears where our address is before anybody asks', options, async () => {
    const space = await Namespace.create();
    try {
      await space.must('ip', 'tuntap', 'add', 'tap0', 'mode', 'tap');
      await space.must('ip', 'addr', 'add', '192.168.69.100/24', 'dev', 'tap0');
      await space.must('ip', 'link', 'set', 'tap0', 'up');
      await space.must('sysctl', '-qw', 'net.ipv4.conf.tap0.arp_accept=1'); // what is announced is remembered
      const args = ['server', '--tap', 'tap0', '--mac', MAC, '--address', '192.168.69.1/24'];
      const server = space.spawn(process.execPath, MAIN, ...args);
      await server.line(/^ethertype server/);
      let entry = '';
      for (let i = 0; i < 30 && !entry.includes(MAC); i++) {
        await sleep(100);
        entry = (await space.must('ip', 'neigh', 'show', '192.168.69.1')).stdout;
      }
      assert.match(entry, new RegExp(MAC));
      await server.end(5000, 'SIGTERM');
    } finally {
      await space.dispose();
    }
  });

  test('arping -D finds our address in use; a host that takes it is answered by a defence', options, () =>
    withServer(TAP, async (server) => {
      const { space } = server;
      const seen = await space.exec('arping', '-D', '-c', '2', '-w', '3', '-I', 'tap0', '192.168.69.1');
      assert.equal(seen.code, 1, `${seen.stdout}${seen.stderr}`); // iputils: a reply was received
      const watch = space.spawn('tcpdump', '-lnni', 'tap0', 'arp');
      await watch.errorLine(/listening on/);
      // A second station claims it: sender and target are our address.
      await space.must('ip', 'addr', 'add', '192.168.69.1/32', 'dev', 'tap0');
      await space.exec('arping', '-U', '-c', '2', '-I', 'tap0', '-s', '192.168.69.1', '192.168.69.1');
      await watch.line(/Request who-has 192\.168\.69\.1 .*tell 192\.168\.69\.1/);
      await space.must('ip', 'addr', 'del', '192.168.69.1/32', 'dev', 'tap0');
      await watch.end(2000, 'SIGTERM');
      const { stack } = await server.end();
      assert.ok(stack.drops['arp-conflict']! >= 1, JSON.stringify(stack.drops));
    }),
  );

  test('a link-local address: Linux reaches it', options, async () => {
    const space = await Namespace.create();
    try {
      const args = ['server', '--tap', 'tap0', '--address', 'link-local', '--host-address', '169.254.0.9/16'];
      const server = space.spawn(process.execPath, MAIN, ...args);
      const ready = await server.line(/^ethertype server: 169\.254\.\d+\.\d+ on tap0/, 20_000);
      const address = /169\.254\.\d+\.\d+/.exec(ready)![0];
      const { stdout } = await space.must('ping', '-c2', '-i0.2', address);
      assert.match(stdout, / 0% packet loss/);
      assert.equal(await server.end(5000, 'SIGTERM'), 0, server.stderr);
    } finally {
      await space.dispose();
    }
  });
});
