import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readCapture } from '../../pcap/reader.ts';
import { JsonNode } from '../json-file.ts';
import type { Scenario } from '../scenario.ts';
import { type DeclaredAccount, runDeclared } from './declared.ts';
import { declaredToJson, formatDeclared } from './declared-account.ts';
import { readDeclaration } from './read-declaration.ts';

interface RunOptions {
  readonly seed?: number;
  readonly scenario?: Scenario;
  readonly lists?: boolean;
  /** Takes a capture. */
  readonly chunks?: Uint8Array[];
}

const run = (value: object, { seed = 1, scenario, lists = false, chunks }: RunOptions = {}): Promise<DeclaredAccount> =>
  runDeclared({
    file: readDeclaration(new JsonNode(value, '', 'lab.json')),
    seed,
    scenario: scenario ?? null,
    recording: chunks === undefined ? null : { sink: { write: (bytes) => chunks.push(bytes) }, format: 'pcapng' },
    lists,
  });

/** Two hosts on one link of 10 ms and 8 Mbit/s, and what `alice` does. */
const pair = (activities: readonly object[], more: object = {}): object => ({
  links: { wire: { delayMs: 10, rateBitsPerSecond: 8e6, queueBytesMax: 4e6 } },
  hosts: {
    alice: { on: 'wire', addresses: ['10.0.0.1/24', 'fd00::1/64'], run: activities },
    bob: { on: 'wire', addresses: ['10.0.0.2/24', 'fd00::2/64'], serve: ['echo', 'discard', 'http'] },
  },
  ...more,
});

const balanced = (account: DeclaredAccount): void => assert.equal(account.network.usedBytes, 0);

test('lab FILE: every activity does what it says, over either family', async () => {
  const each = [
    { do: 'ping', to: 'bob', count: 3, intervalMs: 100 },
    { do: 'echo', to: 'bob', count: 2, bytes: 100 },
    { do: 'send', to: 'bob', bytes: 100_000 },
    { do: 'get', from: 'bob', bytes: 50_000 },
    { do: 'get', from: 'bob' },
  ];
  const activities = [4, 6].flatMap((family, i) =>
    each.map((one, j) => ({ ...one, family, atMs: 1000 * (5 * i + j) })),
  );
  const account = await run(pair(activities));
  assert.ok(account.ok, formatDeclared(account, OUTPUT));
  assert.deepEqual(
    account.done.map(({ what }) => what),
    [4, 6].flatMap((family) =>
      ['ping bob', 'UDP echo with bob', 'send 98 KiB to bob', 'get 49 KiB from bob', 'get a page from bob'].map(
        (what) => `${what} over IPv${family}`,
      ),
    ),
  );
  const [ping, echo, send, get, page] = account.done.map(({ details }) => details);
  assert.deepEqual([ping!.sent, ping!.received, ping!.address], [3, 3, '10.0.0.2']);
  // The first one waits for ARP.
  assert.ok(
    (ping!.timesMs as number[]).every((ms, i) => ms > 20 && ms < (i === 0 ? 43 : 22)),
    `${ping!.timesMs}`,
  );
  assert.deepEqual([echo!.sent, echo!.received], [2, 2]);
  assert.equal(send!.bytes, 100_000);
  assert.equal(get!.bytes, 50_000);
  assert.match(String(page!.status), /200 OK/);
  assert.equal(account.observer.flows.length, 6);
  balanced(account);
});

const OUTPUT = { title: 'lab.json', seed: 1, capture: null, page: null, flow: null, rows: 10 };

test('lab FILE: the flow of a clean link has its figures', async () => {
  const account = await run(pair([{ do: 'send', to: 'bob', bytes: 1_000_000, family: 6 }]));
  const [flow] = account.observer.flows;
  assert.deepEqual(
    [flow!.family, flow!.client.host, flow!.client.address, flow!.server],
    [6, 'alice', 'fd00::1', { host: 'bob', address: 'fd00::2', port: 9 }],
  );
  const { main } = flow!;
  assert.equal(main, flow!.forward);
  assert.equal(main.payloadBytes, 1_000_000);
  assert.deepEqual([flow!.resent, flow!.lost], [0, 0]);
  assert.ok(main.roundTrips![0] > 20 && main.roundTrips![0] < 22);
  assert.ok(main.goodput > 6e6 && main.goodput < 8e6, `${main.goodput}`);
  // What the stack tells: the window grows from ten segments, and what is under way stays within it.
  assert.ok(main.cwnd.length > 100 && main.inFlight.length === main.cwnd.length);
  assert.ok(Math.max(...main.cwnd.values.filter((_, i) => i % 2 === 1)) > 20_000);
  assert.ok(main.srtt.values.filter((_, i) => i % 2 === 1).every((ms) => ms > 20));
  balanced(account);
});

const LOSSY = pair([{ do: 'send', to: 'bob', bytes: 500_000 }], {
  links: { wire: { delayMs: 10, rateBitsPerSecond: 8e6, forward: { drop: 0.03 } } },
});

/** All that does not depend on the machine. */
const figures = (account: DeclaredAccount): object => ({ ...declaredToJson(account, OUTPUT), ms: 0 });

test('lab FILE: the same seed gives the same run, packet for packet, another one another', async () => {
  const [first, again] = [await run(LOSSY, { seed: 5, lists: true }), await run(LOSSY, { seed: 5, lists: true })];
  const other = await run(LOSSY, { seed: 6 });
  assert.deepEqual(figures(first), figures(again));
  assert.deepEqual(first.observer.packets, again.observer.packets);
  assert.notDeepEqual(figures(first), figures(other));
  const [flow] = first.observer.flows;
  assert.ok(flow!.lost > 0 && flow!.resent > 0);
  assert.ok(flow!.lost <= first.faults.wire!.dropped, 'multicast reports are lost as well');
  assert.equal(first.observer.packets.length, first.observer.frames);
});

test('lab FILE: a schedule and a scenario cut the wire in their time', async () => {
  const schedule = [
    { atMs: 200, on: 'wire', down: true },
    { atMs: 1200, on: 'wire', down: false },
  ];
  const cut = await run(pair([{ do: 'send', to: 'bob', bytes: 1_000_000 }], { schedule }));
  assert.ok(cut.ok);
  const times = cut.observer.flows[0]!.forward.acked.values.filter((_, i) => i % 2 === 0);
  const base = cut.readyMs;
  assert.ok(!times.some((at) => at > base + 240 && at < base + 1200), 'nothing comes while it is cut');
  assert.ok(times.some((at) => at < base + 240) && times.some((at) => at > base + 1200));
  assert.ok(cut.faults.wire!.dropped > 0);
  const change = { atMs: 0, on: ['wire'], both: { delayMs: 50 }, first: {}, second: {} };
  const slow = await run(pair([{ do: 'ping', to: 'bob', count: 1 }]), {
    scenario: { changes: [change], repeatMs: null },
  });
  assert.ok((slow.done[0]!.details.timesMs as number[])[0]! > 100);
  balanced(cut);
});

test('lab FILE: the settings of TCP act: ECN marks instead of losses, and other congestion control', async () => {
  const wire = { delayMs: 10, rateBitsPerSecond: 8e6, queueBytesMax: 60_000, markBytes: 15_000 };
  const lab = (tcp: object): object => ({
    links: { wire },
    hosts: {
      alice: { on: 'wire', addresses: ['10.0.0.1/24'], tcp, run: [{ do: 'send', to: 'bob', bytes: 2_000_000 }] },
      bob: { on: 'wire', addresses: ['10.0.0.2/24'], serve: ['discard'] },
    },
  });
  const [plain, marked, bbr] = [
    await run(lab({})),
    await run(lab({ ecn: 'on' })),
    await run(lab({ congestion: 'bbr' })),
  ];
  assert.ok(plain.ok && marked.ok && bbr.ok);
  assert.ok(plain.observer.flows[0]!.resent > 0 && plain.faults.wire!.marked === 0);
  assert.ok(marked.faults.wire!.marked > 0 && marked.faults.wire!.overflowed < plain.faults.wire!.overflowed);
  const median = ({ observer }: DeclaredAccount): number => observer.flows[0]!.main.roundTrips![1];
  assert.ok(median(bbr) < median(plain), 'BBR keeps the queue short');
  balanced(bbr);
});

test('lab FILE: what fails is told, and memory still comes back', async () => {
  const account = await run(
    pair(
      [
        { do: 'send', to: 'bob', bytes: 10_000_000 },
        { do: 'get', from: '10.0.0.2', atMs: 10 },
        { do: 'send', to: '10.0.0.99', bytes: 10 },
        { do: 'resolve', name: 'www.example.net' },
      ],
      { seconds: 4 },
    ),
  );
  assert.equal(account.ok, false);
  const outcomes = account.done.map(({ what, ok, text }) => `${what}: ${ok} ${text}`).sort();
  assert.deepEqual(
    outcomes.map((text) => text.replace(/(true) .*/, '$1')),
    [
      'get a page from 10.0.0.2: true',
      'resolve www.example.net: false resolve ENOTFOUND: www.example.net: no name server is known',
      'send 10 B to 10.0.0.99: false connect EHOSTUNREACH 10.0.0.99:9',
      'send 9.5 MiB to bob: false not done in time',
    ],
  );
  assert.match(formatDeclared(account, OUTPUT), /\nFAILED: alice: /);
  balanced(account);
});

test('lab FILE: two routers lease, advertise, forward and know names', async () => {
  const home = {
    on: 'home',
    addresses: ['10.1.0.1/24', 'fd01::1/64'],
    dhcp: { pool: ['10.1.0.50', '10.1.0.60'], reservations: { printer: '10.1.0.9' } },
    advertise: ['fd01::/64'],
  };
  const account = await run({
    switches: { home: {}, office: {} },
    links: { wan: { delayMs: 5 } },
    routers: {
      left: {
        interfaces: [home, { on: 'wan', addresses: ['10.0.0.1/30', 'fd00::1/64'] }],
        gateway: ['10.0.0.2', 'fd00::2'],
        dns: { domains: ['home'], forward: ['10.2.0.53'] },
      },
      right: {
        interfaces: [
          { on: 'wan', addresses: ['10.0.0.2/30', 'fd00::2/64'] },
          { on: 'office', addresses: ['10.2.0.1/24', 'fd02::1/64'] },
        ],
        routes: [
          { to: '10.1.0.0/24', via: '10.0.0.1' },
          { to: 'fd01::/64', via: 'fd00::1' },
        ],
      },
    },
    hosts: {
      laptop: {
        on: 'home',
        addresses: ['dhcp', 'slaac'],
        run: [
          { do: 'get', from: 'www.office', bytes: 10_000 },
          { do: 'ping', to: 'printer.home', count: 1 },
          { do: 'get', from: 'www', family: 6, bytes: 10_000 },
        ],
      },
      printer: { on: 'home', addresses: ['dhcp', 'slaac'], mac: '02:00:00:00:00:09' },
      www: {
        on: 'office',
        addresses: ['10.2.0.80/24', 'fd02::80/64'],
        gateway: ['10.2.0.1', 'fd02::1'],
        serve: ['http'],
      },
      ns: {
        on: 'office',
        addresses: ['10.2.0.53/24'],
        gateway: ['10.2.0.1'],
        dns: { domains: ['office'], hosts: { 'www.office': ['10.2.0.80', 'fd02::80'] } },
      },
    },
  });
  assert.ok(account.ok, formatDeclared(account, OUTPUT));
  assert.deepEqual(account.leases.map(({ router, host, address }) => `${router} ${host} ${address}`).sort(), [
    'left laptop 10.1.0.50',
    'left printer 10.1.0.9',
  ]);
  assert.match(account.hosts[0]!.addresses.join(' '), /^10\.1\.0\.50\/24 fd01::/);
  assert.deepEqual(
    account.observer.flows.map(({ client, server }) => `${client.host} ${server.host}`),
    ['laptop www', 'laptop www'],
  );
  balanced(account);
});

test('lab FILE: the account fits into 80 columns', async () => {
  const account = await run(LOSSY, { seed: 5 });
  const text = formatDeclared(account, { ...OUTPUT, flow: account.observer.flows[0]!, rows: 30 });
  assert.deepEqual(
    text.split('\n').filter((line) => line.length > 80),
    [],
  );
  assert.match(text, / {2}1 {2}alice:\d+ > bob:9 .* 488 KiB .*Mbit\/s/);
  assert.match(text, /\|---+ SYN ---+>\|/);
  assert.match(text, /\nfaults +wire: dropped \d+/);
  assert.match(text, /\nAll well: .* of virtual time in /);
});

test('lab FILE: the capture says what was dropped, where and why, as often as it was, in the order of time', async () => {
  const chunks: Uint8Array[] = [];
  const gateway = ['10.0.0.254'];
  const network = {
    switches: { lan: {} },
    links: { wire: { drop: 0.01, corrupt: 0.02, rateBitsPerSecond: 4e6, queueBytesMax: 8000 } },
    routers: {
      router: {
        interfaces: [
          { on: 'lan', addresses: ['10.0.0.254/24'] },
          { on: 'wire', addresses: ['10.0.1.254/24'] },
        ],
      },
    },
    hosts: {
      alice: {
        on: 'lan',
        addresses: ['10.0.0.1/24'],
        gateway,
        faults: { drop: 0.02 },
        run: [
          { do: 'send', to: 'bob', bytes: 500_000 },
          { do: 'ping', to: '10.9.9.9', count: 2, intervalMs: 100 },
        ],
      },
      bob: { on: 'wire', addresses: ['10.0.1.1/24'], gateway: ['10.0.1.254'], serve: ['discard'] },
    },
  };
  const account = await run(network, { chunks });
  balanced(account);
  const records = [...readCapture(Uint8Array.from(chunks.flatMap((chunk) => [...chunk])))];
  const times = records.map(({ seconds, nanoseconds }) => seconds * 1e9 + nanoseconds);
  assert.ok(times.every((time, i) => i === 0 || time >= times[i - 1]!));
  const counts: Record<string, number> = {};
  for (const { interface: iface, direction, comments } of records) {
    // What is received stands there only where it was dropped.
    assert.equal(comments.length, direction === 'in' ? 1 : Math.min(comments.length, 1));
    if (comments.length > 0) {
      const what = `${iface.name} ${direction} ${comments}`;
      counts[what] = (counts[what] ?? 0) + 1;
    }
  }
  const of = (what: string): number => counts[what] ?? 0;
  const { faults, observer } = account;
  assert.equal(records.filter(({ direction }) => direction === 'out').length, observer.frames);
  assert.equal(of('alice out dropped: fault-lost') + of('alice in dropped: fault-lost'), faults.alice!.dropped);
  assert.ok(of('alice out dropped: fault-lost') > 0 && of('alice in dropped: fault-lost') > 0);
  for (const [sender, way] of [
    ['router.wire', faults.wire!],
    ['bob', faults['wire (back)']!],
  ] as const) {
    assert.equal(of(`${sender} out dropped: fault-lost`), way.dropped);
    assert.equal(of(`${sender} out dropped: fault-queue-full`), way.overflowed);
  }
  assert.ok(faults.wire!.overflowed > 0 && faults.wire!.dropped > 0);
  assert.equal(of('router.lan in dropped: no-route'), 2);
  const spoiled = of('bob in dropped: tcp-bad-checksum') + of('alice in dropped: tcp-bad-checksum');
  assert.ok(spoiled > 0, JSON.stringify(counts));
  assert.equal(spoiled, account.network.drops['tcp-bad-checksum']);
});
