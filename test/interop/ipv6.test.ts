/**
 * IPv6 and neighbour discovery with Linux over TAP: ping, curl, ndisc6, duplicates both ways, a neighbour that vanishes,
 * radvd's advertisements here and ours in Linux, and the attack suites. @module
 */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { ChildOptions } from './ipv6-child.ts';
import { Namespace, type Running, skipReason } from './namespace.ts';
import { Server, sleep } from './server.ts';

const CHILD = fileURLToPath(new URL('./ipv6-child.js', import.meta.url));
const options = { timeout: 60_000 };
const OURS = 'fd00:69::1';
const LINUX = 'fd00:69::100';

let folder = '';
before(() => {
  folder = mkdtempSync(join(tmpdir(), 'et-ipv6-'));
});
after(() => rmSync(folder, { recursive: true, force: true }));

/** The value under `key` of the next line that the child says and `fits`. */
async function heard<T>(child: Running, key: string, fits: (value: T) => boolean = () => true): Promise<T> {
  for (;;) {
    const value = JSON.parse(await child.line(new RegExp(`^\\{"${key}"`), 20_000))[key] as T;
    if (fits(value)) return value;
  }
}

interface State {
  readonly neighbours: string[];
  readonly addresses: string[];
  readonly routes: string[];
  readonly mtu: number;
  readonly hopLimit: number;
  readonly drops: Record<string, number>;
  readonly usedBytes: number;
}

interface Change {
  readonly address: string;
  readonly origin: string;
  readonly event: string;
}

/** A child in a namespace of its own, whose end is looked after. */
async function withChild(
  settings: ChildOptions,
  body: (child: Running, space: Namespace) => Promise<void>,
): Promise<void> {
  const space = await Namespace.create();
  try {
    const child = space.spawn(process.execPath, CHILD, JSON.stringify(settings));
    await heard(child, 'ready');
    await body(child, space);
    child.child.stdin!.end();
    const { usedBytes } = await heard<{ usedBytes: number }>(child, 'end');
    assert.equal(usedBytes, 0, 'memory that did not come back');
    assert.equal(await child.ended, 0, child.stderr);
  } finally {
    await space.dispose();
  }
}

async function ask<T>(child: Running, command: string, key: string): Promise<T> {
  child.say(command);
  return heard<T>(child, key);
}

/** Repeats `look` until it gives something, for `ms` at most. */
async function until<T>(ms: number, look: () => Promise<T | null | false>): Promise<T> {
  const deadline = Date.now() + ms;
  for (;;) {
    const found = await look();
    if (found !== null && found !== false) return found;
    assert.ok(Date.now() < deadline, 'nothing came of it in time');
    await sleep(100);
  }
}

/** What tshark finds wrong in a capture: it must be nothing. */
async function assertWellFormed(space: Namespace, file: string): Promise<void> {
  // What Linux sends again over TCP, tshark calls an error of its own reassembly.
  const filter = '(_ws.malformed and not tcp) or icmpv6.checksum.status == "Bad"';
  const { stdout } = await space.must('tshark', '-r', file, '-Y', filter);
  assert.equal(stdout, '', 'packets that tshark finds wrong');
}

describe('IPv6 over TAP', { skip: skipReason('ping', 'curl', 'ndisc6', 'tshark', 'scapy') }, () => {
  let server: Server;
  let capture = '';
  before(async () => {
    capture = join(folder, 'server.pcapng');
    const addresses = ['--address', `${OURS}/64`, '--host-address', `${LINUX}/64`];
    server = await Server.start(['--tap', 'tap0', ...addresses, '--pcap', capture]);
    await until(5000, async () => (await server.space.exec('ping', '-6', '-c', '1', '-W', '1', OURS)).code === 0);
  });
  after(() => server?.dispose());
  const sh = async (script: string): Promise<string> => {
    const { code, stdout, stderr } = await server.space.execWith({ timeoutMs: 40_000 }, 'bash', '-c', script);
    assert.equal(code, 0, `${script}: ${stdout}${stderr}`);
    return stdout;
  };

  for (const size of [0, 56, 1452, 20_000]) {
    test(`ping -6 of ${size} bytes`, options, async () => {
      const report = await sh(`ping -6 -c 4 -i 0.2 -W 2 -s ${size} ${OURS}`);
      assert.match(report, /4 packets transmitted, 4 received, 0% packet loss/);
      assert.doesNotMatch(report, /wrong data|truncated|DUP|errors/);
    });
  }

  test('all nodes answer, and the link-local address serves HTTP', options, async () => {
    const report = await sh('ping -6 -c 2 -i 0.3 -W 1 ff02::1%tap0');
    const sources = [...report.matchAll(/bytes from (fe80::\S+)%tap0/g)].map(([, address]) => address!);
    const linux = /inet6 (fe80::\S+)\/64/.exec(await sh('ip -6 addr show tap0'))![1];
    const ours = sources.find((address) => address !== linux);
    assert.ok(ours !== undefined, report);
    assert.match(await sh(`curl -g -sS -m 5 'http://[${ours}%25tap0]/'`), /This is ethertype at fe80:\S+%tap0/);
  });

  test('curl -6, 10 MB both ways', options, async () => {
    assert.equal((await sh(`curl -g -6 -sS -m 20 'http://[${OURS}]/bytes/10000000' | wc -c`)).trim(), '10000000');
    const sum = await sh(`head -c 10000000 /dev/zero | curl -g -6 -sS -m 20 -T - 'http://[${OURS}]/sum'`);
    assert.equal(JSON.parse(sum).bytes, 10_000_000);
  });

  test('ndisc6: the link address', options, async () => {
    assert.match(await sh(`ndisc6 -1 -q ${OURS} tap0`), /02:00:C0:A8:45:01/i);
  });

  test('RFC 4443 §3.4: an unknown protocol is reported with where it stands', options, async () => {
    const script = `from scapy.all import *
p = Ether()/IPv6(dst="${OURS}", nh=253)/Raw(b"x" * 8)
a = srp1(p, iface="tap0", timeout=3, verbose=0)
print(a[ICMPv6ParamProblem].code, a[ICMPv6ParamProblem].ptr)`;
    assert.equal((await sh(`/usr/bin/python3 -c '${script}'`)).trim(), '1 6');
  });

  test('neighbours are confirmed without being asked too often', options, async () => {
    await sh(`ping -6 -c 20 -i 0.02 ${OURS}`);
    assert.match(await sh(`ip -6 neigh show ${OURS} dev tap0`), /lladdr 02:00:c0:a8:45:01.* REACHABLE/);
  });

  test('tshark finds nothing wrong with any packet', options, async () => {
    const account = await server.end();
    assert.equal(account.memory.leakedBytes, 0);
    await assertWellFormed(server.space, capture);
  });
});

describe('the tool pings over IPv6', { skip: skipReason('ping') }, () => {
  test('a neighbour of the link, by its global and its link-local address', options, async () => {
    await using space = await Namespace.create();
    await space.must('ip', 'tuntap', 'add', 'tap0', 'mode', 'tap');
    await space.must('ip', 'link', 'set', 'tap0', 'up');
    await space.must('ip', 'addr', 'add', `${LINUX}/64`, 'dev', 'tap0', 'nodad');
    await withChildIn(space, { tap: 'tap0', addresses: [`${OURS}/64`] }, async (child) => {
      await heard<Change>(child, 'change', ({ address, event }) => address.startsWith(OURS) && event === 'assigned');
      assert.ok('timeMs' in (await ask<object>(child, `ping ${LINUX}`, 'ping')));
      const { stdout } = await space.must('ip', '-6', 'addr', 'show', 'dev', 'tap0', 'scope', 'link');
      const linkLocal = /inet6 (fe80::\S+)\/64/.exec(stdout)![1]!;
      await heard<Change>(child, 'change', ({ origin }) => origin === 'link-local').catch(() => null);
      assert.ok('timeMs' in (await ask<object>(child, `ping ${linkLocal}%tap0`, 'ping')));
    });
  });

  test('a neighbour that vanishes is unreachable, and found again when it comes back', options, async () => {
    await using space = await Namespace.create();
    await space.must('ip', 'tuntap', 'add', 'tap0', 'mode', 'tap');
    await space.must('ip', 'link', 'set', 'tap0', 'up');
    await space.must('ip', 'addr', 'add', `${LINUX}/64`, 'dev', 'tap0', 'nodad');
    await withChildIn(space, { tap: 'tap0', addresses: [`${OURS}/64`] }, async (child) => {
      await heard<Change>(child, 'change', ({ address, event }) => address.startsWith(OURS) && event === 'assigned');
      assert.ok('timeMs' in (await ask<object>(child, `ping ${LINUX}`, 'ping')));
      const { neighbours } = await ask<State>(child, 'state', 'state');
      assert.ok(neighbours.includes(`${LINUX} REACHABLE`), neighbours.join());
      await space.must('ip', 'addr', 'del', `${LINUX}/64`, 'dev', 'tap0');
      assert.deepEqual(await ask(child, 'ping fd00:69::200', 'ping'), { code: 'EHOSTUNREACH' });
      await space.must('ip', 'addr', 'add', 'fd00:69::200/64', 'dev', 'tap0', 'nodad');
      assert.ok('timeMs' in (await ask<object>(child, 'ping fd00:69::200', 'ping')));
    });
  });
});

/** As {@link withChild}, in a namespace that is there. */
async function withChildIn(
  space: Namespace,
  settings: ChildOptions,
  body: (child: Running) => Promise<void>,
): Promise<void> {
  const child = space.spawn(process.execPath, CHILD, JSON.stringify(settings));
  await heard(child, 'ready');
  await body(child);
  child.child.stdin!.end();
  const { usedBytes } = await heard<{ usedBytes: number }>(child, 'end');
  assert.equal(usedBytes, 0, 'memory that did not come back');
}

describe('duplicate addresses', { skip: skipReason('ping') }, () => {
  test('Linux has it: ours is not used', options, async () => {
    await using space = await Namespace.create();
    await space.must('ip', 'tuntap', 'add', 'tap0', 'mode', 'tap');
    await space.must('ip', 'link', 'set', 'tap0', 'up');
    await space.must('ip', 'addr', 'add', `${OURS}/64`, 'dev', 'tap0', 'nodad');
    await withChildIn(space, { tap: 'tap0', addresses: [`${OURS}/64`] }, async (child) => {
      const change = await heard<Change>(child, 'change', ({ address }) => address.startsWith(OURS));
      assert.equal(change.event, 'duplicate');
      const { addresses } = await ask<State>(child, 'state', 'state');
      assert.ok(addresses.includes(`${OURS}/64 static duplicate`), addresses.join());
    });
  });

  test('we have it: Linux does not use it', options, async () => {
    await withChild({ tap: 'tap0', addresses: [`${OURS}/64`] }, async (child, space) => {
      await heard<Change>(child, 'change', ({ address, event }) => address.startsWith(OURS) && event === 'assigned');
      await space.must('ip', 'addr', 'add', `${OURS}/64`, 'dev', 'tap0');
      await until(5000, async () => /dadfailed/.test((await space.must('ip', '-6', 'addr', 'show', 'tap0')).stdout));
    });
  });
});

const RADVD = `interface tap0 {
  AdvSendAdvert on;
  MinRtrAdvInterval 3;
  MaxRtrAdvInterval 10;
  AdvDefaultLifetime 1800;
  AdvDefaultPreference high;
  AdvCurHopLimit 61;
  AdvReachableTime 20000;
  AdvRetransTimer 500;
  AdvLinkMTU 1400;
  AdvOtherConfigFlag off;
  prefix fd00:77::/64 { AdvOnLink on; AdvAutonomous on; AdvValidLifetime 7200; AdvPreferredLifetime 3600; };
  prefix fd00:78::/64 { AdvOnLink on; AdvAutonomous off; };
  route fd00:79::/48 { AdvRoutePreference high; AdvRouteLifetime 600; };
  RDNSS fd00:77::53 fd00:77::54 { AdvRDNSSLifetime 60; };
  DNSSL lab.example example.org { AdvDNSSLLifetime 60; };
};
`;

describe('SLAAC by radvd', { skip: skipReason('radvd') }, () => {
  test('address, routes, MTU, hop limit, name servers; and all of it is gone when radvd says so', options, async () => {
    const config = join(folder, 'radvd.conf');
    writeFileSync(config, RADVD);
    await withChild({ tap: 'tap0', addresses: ['slaac'], ipv6: { temporary: true } }, async (child, space) => {
      await space.must('sysctl', '-q', '-w', 'net.ipv6.conf.all.forwarding=1');
      await space.must('ip', 'addr', 'add', 'fd00:77::1/64', 'dev', 'tap0', 'nodad');
      const radvd = space.spawn('radvd', '-n', '-m', 'stderr', '-C', config, '-p', join(folder, 'radvd.pid'));
      const found = await heard<{ addresses: string[]; dnsServers: string[]; search: string[] }>(
        child,
        'configuration',
        ({ addresses }) => addresses.length === 2,
      );
      for (const address of found.addresses) assert.match(address, /^fd00:77::[0-9a-f:]+\/64$/);
      assert.deepEqual(found.dnsServers, ['fd00:77::53', 'fd00:77::54']);
      assert.deepEqual(found.search, ['lab.example', 'example.org']);
      const state = await ask<State>(child, 'state', 'state');
      const router = state.routes.find((route) => route.startsWith('::/0 '))!.slice(5);
      assert.match(router, /^fe80::/);
      assert.ok(state.routes.includes('fd00:77::/64 link'), state.routes.join());
      assert.ok(state.routes.includes('fd00:78::/64 link'), state.routes.join());
      assert.ok(state.routes.includes(`fd00:79::/48 ${router}`), state.routes.join());
      assert.equal(state.mtu, 1400);
      assert.equal(state.hopLimit, 61);
      assert.ok('timeMs' in (await ask<object>(child, 'ping fd00:77::1', 'ping')));
      // Beyond the link, by the default router.
      await space.must('ip', 'addr', 'add', 'fd00:99::1/128', 'dev', 'lo');
      assert.ok('timeMs' in (await ask<object>(child, 'ping fd00:99::1', 'ping')));
      await radvd.end(5000, 'SIGTERM'); // its last advertisement: no router any more
      await until(5000, async () => {
        const { routes } = await ask<State>(child, 'state', 'state');
        return !routes.some((route) => route.startsWith('::/0 '));
      });
    });
  });
});

describe('our router advertisements', { skip: skipReason('rdisc6', 'tshark') }, () => {
  test('rdisc6 and Linux take them', options, async () => {
    await using space = await Namespace.create();
    await space.must('ip', 'tuntap', 'add', 'tap0', 'mode', 'tap');
    await space.must('sysctl', '-q', '-w', 'net.ipv6.conf.tap0.accept_ra_rt_info_max_plen=64');
    await space.must('ip', 'link', 'set', 'tap0', 'up');
    const settings = { tap: 'tap0', addresses: ['fd00:88::1/64'], advertise: 'fd00:88::/64' };
    await withChildIn(space, settings, async (child) => {
      const told = await until(8000, async () => {
        const { code, stdout } = await space.exec('rdisc6', '-1', '-w', '1500', 'tap0');
        return code === 0 && stdout;
      });
      for (const line of [
        /Router preference +: +high/,
        /Router lifetime +: +1800 /,
        /Prefix +: fd00:88::\/64/,
        /Valid time +: +7200 /,
        /Pref. time +: +3600 /,
        /Route +: fd00:aaaa::\/32/,
        /Recursive DNS server +: fd00:53::53/,
        /DNS search list +: lab\.example/,
        /MTU +: +1400 bytes/,
        /Source link-layer address: /,
      ]) {
        assert.match(told, line);
      }
      await until(8000, async () =>
        /inet6 fd00:88::\S+\/64 .*dynamic/.test((await space.must('ip', '-6', 'addr')).stdout),
      );
      const routes = async (): Promise<string> => (await space.must('ip', '-6', 'route')).stdout;
      assert.match(await routes(), /default via fe80::\S+ dev tap0 .*pref high/);
      assert.match(await routes(), /fd00:aaaa::\/32 via fe80::/);
      assert.equal((await space.exec('ping', '-6', '-c', '1', '-W', '2', 'fd00:88::1')).code, 0);
      child.say('stop');
      await until(5000, async () => !/default via/.test(await routes()));
    });
  });
});

describe('hostile neighbours', { skip: skipReason('ra6', 'na6', 'ns6', 'rd6') }, () => {
  test(
    'floods of advertisements, solicitations and redirects: the host still serves, within its bounds',
    options,
    async () => {
      await withChild({ tap: 'tap0', addresses: [`${OURS}/64`, 'slaac'] }, async (child, space) => {
        await heard<Change>(child, 'change', ({ address, event }) => address.startsWith(OURS) && event === 'assigned');
        await space.must('ip', 'addr', 'add', `${LINUX}/64`, 'dev', 'tap0', 'nodad');
        const { usedBytes } = await ask<State>(child, 'state', 'state');
        const flood = (script: string) =>
          space.execWith({ timeoutMs: 20_000 }, 'bash', '-c', `timeout 2 ${script} || true`);
        await flood('ra6 -i tap0 -d ff02::1 -F 50 -f 20 -w 20 -W 10#3 -e -l -z 1');
        await flood('ra6 -i tap0 -d ff02::1 -F 50 -f 5 -e -y 100 -l -z 1'); // fragmented
        await flood(`na6 -i tap0 -d ${OURS} -t ${LINUX}/64 -T 50 -F 50 -e -o -l -z 1`);
        await flood(`ns6 -i tap0 -d ${OURS} -t ${OURS} -F 200 -e -l -z 1`);
        await flood(`rd6 -i tap0 -s fe80::66 -d ${OURS} -r 2001:db8::/64 -R 50 -t fe80::67 -l -z 1`);
        assert.equal((await space.exec('ping', '-6', '-c', '2', '-i', '0.3', '-W', '2', OURS)).code, 0);
        const state = await ask<State>(child, 'state', 'state');
        assert.ok(state.routes.length < 16 + 64 + 64 + 256 + 8, `${state.routes.length} routes`);
        assert.ok(state.neighbours.length <= 16_384);
        assert.ok(state.addresses.length <= 16 + 8, `${state.addresses.length} addresses`);
        assert.ok(state.usedBytes < usedBytes + (512 << 10), `${state.usedBytes} bytes in use, ${usedBytes} before`);
      });
    },
  );
});

describe('thc-ipv6', { skip: skipReason('atk6-implementation6') }, () => {
  // Of its sixty cases those that come to an answer at once; for silence it waits five seconds.
  const cases: [number, RegExp][] = [
    [1, /hop-by-hop ignore option\s+PASSED/],
    [3, /2 hop-by-hop headers\s+FAILED - error reply \[4:1\]/], // RFC 8200 §4.1: only one, and in front
    [5, /destination ignore option\s+PASSED/],
    [7, /2 destination headers\s+PASSED/],
    [11, /correct fragmentation\s+PASSED/],
    [12, /one-shot fragmentation\s+PASSED/],
    [18, /source-routing \(done\)\s+PASSED/],
    [19, /source-routing \(todo\)\s+FAILED - error reply \[4:0\]/], // RFC 5095
    [27, /fragmentation destination source-route\s+PASSED/],
    [41, /direct neighbor solicitation\s+PASSED/],
    [49, /error option in hop-by-hop\s+FAILED - error reply \[4:2\]/], // RFC 8200 §4.2
    [50, /error option in dsthdr\s+FAILED - error reply \[4:2\]/],
  ];
  test('implementation6: what RFC 8200 wants', options, async () => {
    await withChild({ tap: 'tap0', addresses: [`${OURS}/64`] }, async (child, space) => {
      await heard<Change>(child, 'change', ({ address, event }) => address.startsWith(OURS) && event === 'assigned');
      await space.must('ip', 'addr', 'add', `${LINUX}/64`, 'dev', 'tap0', 'nodad');
      assert.equal((await space.exec('ping', '-6', '-c', '1', '-W', '2', OURS)).code, 0);
      for (const [number, want] of cases) {
        const { stdout } = await space.exec('atk6-implementation6', 'tap0', OURS, `${number}`);
        assert.match(stdout, want);
      }
      assert.equal((await space.exec('ping', '-6', '-c', '1', '-W', '2', OURS)).code, 0);
    });
  });
});
